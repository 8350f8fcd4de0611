"""The batch comes first, and batch_first is not set."""

import torch
from torch import nn

torch.manual_seed(0)
rnn = nn.GRU(1, 5)
optimizer = torch.optim.SGD(rnn.parameters(), lr=0.1)
for _ in range(3):
    out, h = rnn(torch.randn(4, 12, 1))
    optimizer.zero_grad()
    out[:, -1].square().mean().backward()
    optimizer.step()
