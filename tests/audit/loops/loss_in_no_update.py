"""Only the last loss reaches backward()."""

import torch
from torch import nn

cell = nn.GRUCell(2, 4)
optimizer = torch.optim.Adam(cell.parameters())
x = torch.randn(20, 3, 2)
for _ in range(3):
    h, loss = torch.zeros(3, 4), 0
    for t in range(20):
        h = cell(x[t], h)
        loss = nn.functional.mse_loss(h, torch.ones(3, 4))
        if t % 5 == 4:
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            h, loss = h.detach(), 0
