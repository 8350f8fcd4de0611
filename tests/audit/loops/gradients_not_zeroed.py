"""The gradient is never zeroed.

windows: 4 of 6 steps; k1 = 6, k2 = 6: 4
"""

import torch
from torch import nn

rnn = nn.RNN(2, 5)
optimizer = torch.optim.SGD(rnn.parameters(), lr=0.1)
for _ in range(4):
    out, _ = rnn(torch.randn(6, 3, 2))
    out.square().mean().backward()
    optimizer.step()
