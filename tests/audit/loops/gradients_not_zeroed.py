"""The gradient is never zeroed."""

import torch
from torch import nn

rnn = nn.RNN(2, 5)
optimizer = torch.optim.SGD(rnn.parameters(), lr=0.1)
for _ in range(4):
    out, _ = rnn(torch.randn(6, 3, 2))
    out.square().mean().backward()
    optimizer.step()
