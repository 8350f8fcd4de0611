"""TBPTT(10, 10), the right loop.

TBPTT(10, 10), state carried and cut; 0 mistakes of the 16
module RNN: nn.RNN(1, 5), called at
steps: 10: 12 windows: 12 of 10 steps; k1 = 10, k2 = 10: 12
initial states: zeros: 3, the previous window, cut: 9
), 12 times; in 1 update: 12
gradients: from zero in 12 of 12 updates; backward passes: sum of 1: 12
between backward() and step(): 12
), 12 updates of 4 parameters"""

import torch
from torch import nn

torch.manual_seed(0)
rnn = nn.RNN(1, 5)
optimizer = torch.optim.SGD(rnn.parameters(), lr=0.1)
series = torch.sin(torch.linspace(0, 20, 41)).reshape(-1, 1, 1)
for _ in range(3):
    h = torch.zeros(1, 1, 5)
    for i in range(0, 40, 10):
        optimizer.zero_grad()
        out, h = rnn(series[i : i + 10], h.detach())
        target = series[i + 1 : i + 11].expand_as(out)
        loss = nn.functional.mse_loss(out, target)

        loss.backward()
        nn.utils.clip_grad_norm_(rnn.parameters(), 1.0)
        optimizer.step()
