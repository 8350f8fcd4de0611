"""The cell never gets its state."""

import torch
from torch import nn

cell = nn.GRUCell(2, 4)
optimizer = torch.optim.Adam(cell.parameters())
for _ in range(3):
    loss = 0
    for x in torch.randn(5, 3, 2):
        loss = loss + cell(x).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
