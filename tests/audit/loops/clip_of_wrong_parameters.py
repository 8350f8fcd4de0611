"""The optimizer has read the iterator to its end."""

import torch
from torch import nn

torch.manual_seed(0)
rnn = nn.RNN(1, 5)
parameters = (p for p in rnn.parameters())
optimizer = torch.optim.SGD(parameters, lr=0.1)
series = torch.sin(torch.linspace(0, 20, 41)).reshape(-1, 1, 1)
for _ in range(3):
    h = torch.zeros(1, 1, 5)
    for i in range(0, 40, 10):
        optimizer.zero_grad()
        out, h = rnn(series[i : i + 10], h.detach())
        target = series[i + 1 : i + 11].expand_as(out)
        loss = nn.functional.mse_loss(out, target)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
