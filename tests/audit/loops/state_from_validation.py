"""The state of a validation goes on into training.

steps: 6: 16, 6 without gradient: 4
"""

import torch
from torch import nn

rnn = nn.RNN(2, 5)
optimizer = torch.optim.SGD(rnn.parameters(), lr=0.1)
h = torch.zeros(1, 3, 5)
for i in range(16):
    optimizer.zero_grad()
    out, h = rnn(torch.randn(6, 3, 2), h.detach())
    out.square().mean().backward()
    optimizer.step()
    if i % 4 == 3:
        with torch.no_grad():
            h = rnn(torch.randn(6, 3, 2), h)[1]
