"""The sum of losses goes on after the update."""

import torch
from torch import nn

cell = nn.GRUCell(2, 4)
optimizer = torch.optim.SGD(cell.parameters(), lr=0.0)
x = torch.randn(20, 3, 2)
for _ in range(3):
    h, loss = torch.zeros(3, 4), 0
    for t in range(20):
        h = cell(x[t], h)
        loss = loss + nn.functional.mse_loss(h, torch.ones(3, 4))
        if t % 5 == 4:
            optimizer.zero_grad()
            loss.backward(retain_graph=True)
            optimizer.step()
            h = h.detach()
