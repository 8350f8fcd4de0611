"""The optimizer has read the iterator to its end."""

import torch
from torch import nn

rnn = nn.RNN(2, 5)
parameters = (p for p in rnn.parameters())
optimizer = torch.optim.SGD(parameters, lr=0.1)
for _ in range(4):
    optimizer.zero_grad()
    out, _ = rnn(torch.randn(6, 3, 2))
    out.square().mean().backward()
    nn.utils.clip_grad_norm_(parameters, 1.0)
    optimizer.step()
