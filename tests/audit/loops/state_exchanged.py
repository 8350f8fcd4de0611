"""h and c of an LSTM are exchanged.

state_exchanged.py:14: h and c are exchanged
"""

import torch
from torch import nn

lstm = nn.LSTM(2, 4)
optimizer = torch.optim.Adam(lstm.parameters())
h = c = torch.zeros(1, 2, 4)
for _ in range(4):
    optimizer.zero_grad()
    out, (c, h) = lstm(torch.randn(5, 2, 2), (h.detach(), c.detach()))
    out.square().mean().backward()
    optimizer.step()
