"""Gradients are clipped before there are any."""

import torch
from torch import nn

rnn = nn.RNN(2, 5)
optimizer = torch.optim.SGD(rnn.parameters(), lr=0.1)
for _ in range(4):
    optimizer.zero_grad()
    out, _ = rnn(torch.randn(6, 3, 2))
    nn.utils.clip_grad_norm_(rnn.parameters(), 1.0)
    out.square().mean().backward()
    optimizer.step()
