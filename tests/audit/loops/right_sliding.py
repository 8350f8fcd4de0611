"""TBPTT(1, 5) in a loop of cells, whose outputs are stacked and cut.

windows: 9 of 5 steps; k1 = 1, k2 = 5: 9
TBPTT(1, 5), state carried and cut; 0 mistakes
"""

import torch
from torch import nn

torch.manual_seed(0)
cell = nn.GRUCell(1, 4)
optimizer = torch.optim.SGD(cell.parameters(), lr=0.1)
x = torch.randn(14, 3, 1)
start = torch.ones(3, 4)
for e in range(5, 14):
    h, states = start, []
    for t in range(e - 5, e):
        h = cell(x[t], h)
        states.append(h)
    start = states[0].detach()
    optimizer.zero_grad()
    torch.stack(states)[-1:].square().mean().backward()
    optimizer.step()
