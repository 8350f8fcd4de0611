"""The state is cut between two windows of one loss."""

import torch
from torch import nn

rnn = nn.GRU(2, 4)
optimizer = torch.optim.SGD(rnn.parameters(), lr=0.1)
for _ in range(3):
    x = torch.randn(10, 3, 2)
    first, h = rnn(x[:5])
    second, _ = rnn(x[5:], h.detach())
    optimizer.zero_grad()
    (first.square().mean() + second.square().mean()).backward()
    optimizer.step()
