"""Only the last loss reaches backward()."""

import torch
from torch import nn

cell = nn.GRUCell(2, 4)
optimizer = torch.optim.Adam(cell.parameters())
for _ in range(3):
    h = torch.zeros(3, 4)
    for x in torch.randn(5, 3, 2):
        h = cell(x, h)
        loss = nn.functional.mse_loss(h, torch.ones(3, 4))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
