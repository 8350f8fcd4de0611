"""The windows are 6 steps long, and advance by 5.

initial states: zeros: 3, elsewhere in the data, cut: 18
"""

import torch
from torch import nn

rnn = nn.RNN(2, 5)
optimizer = torch.optim.SGD(rnn.parameters(), lr=0.1)
series = torch.randn(40, 3, 2)
for _ in range(3):
    h = torch.zeros(1, 3, 5)
    for i in range(0, 35, 5):
        optimizer.zero_grad()
        out, h = rnn(series[i : i + 6], h.detach())
        out.square().mean().backward()
        optimizer.step()
