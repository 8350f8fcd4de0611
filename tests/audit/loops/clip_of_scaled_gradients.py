"""Gradients are clipped before they are unscaled."""

import torch
from torch import nn

rnn = nn.RNN(2, 5)
scaler = torch.amp.GradScaler("cpu")
optimizer = torch.optim.SGD(rnn.parameters(), lr=0.1)
for _ in range(4):
    optimizer.zero_grad()
    out, _ = rnn(torch.randn(6, 3, 2))
    scaler.scale(out.square().mean()).backward()
    nn.utils.clip_grad_norm_(rnn.parameters(), 1.0)
    scaler.step(optimizer)
    scaler.update()
