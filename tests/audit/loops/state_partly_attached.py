"""h is cut, c is not."""

import torch
from torch import nn

lstm = nn.LSTM(2, 4)
optimizer = torch.optim.SGD(lstm.parameters(), lr=0.0)
h = c = torch.zeros(1, 2, 4)
for _ in range(3):
    optimizer.zero_grad()
    out, (h, c) = lstm(torch.randn(5, 2, 2), (h.detach(), c))
    try:
        out.square().mean().backward()
    except RuntimeError:
        break
    optimizer.step()
