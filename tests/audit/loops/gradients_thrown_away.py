"""The gradient is zeroed before the step."""

import torch
from torch import nn

rnn = nn.RNN(2, 5)
optimizer = torch.optim.SGD(rnn.parameters(), lr=0.1)
for _ in range(4):
    out, _ = rnn(torch.randn(6, 3, 2))
    out.square().mean().backward()
    optimizer.zero_grad()
    optimizer.step()
