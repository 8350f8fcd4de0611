"""The readout has no optimizer.

no step: 2 parameters: Linear.bias (1,): 1, Linear.weight (1, 5): 1
"""

import torch
from torch import nn

rnn = nn.RNN(2, 5)
readout = nn.Linear(5, 1)
optimizer = torch.optim.SGD(rnn.parameters(), lr=0.1)
for _ in range(4):
    optimizer.zero_grad()
    out, _ = rnn(torch.randn(6, 3, 2))
    readout(out).square().mean().backward()
    optimizer.step()
