"""The sum of losses goes on after the update."""

import torch
from torch import nn

cell = nn.GRUCell(2, 4)
optimizer = torch.optim.SGD(cell.parameters(), lr=0.0)
loss = 0
for x in torch.randn(5, 3, 2):
    loss = loss + nn.functional.mse_loss(cell(x, x.new_ones(3, 4)), torch.ones(3, 4))
    optimizer.zero_grad()
    loss.backward(retain_graph=True)
    optimizer.step()
