"""The windows are taken in a random order."""

import torch
from torch import nn

torch.manual_seed(0)
rnn = nn.RNN(1, 5)
optimizer = torch.optim.SGD(rnn.parameters(), lr=0.1)
series = torch.sin(torch.linspace(0, 20, 41)).reshape(-1, 1, 1)
for _ in range(3):
    h = torch.zeros(1, 1, 5)
    for i in (16, 0, 30, 8, 24):
        optimizer.zero_grad()
        out, h = rnn(series[i : i + 10], h.detach())
        target = series[i + 1 : i + 11].expand_as(out)
        loss = nn.functional.mse_loss(out, target)
        loss.backward()
        nn.utils.clip_grad_norm_(rnn.parameters(), 1.0)
        optimizer.step()
