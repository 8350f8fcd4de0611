"""The batch comes first, and batch_first is not set."""

import torch
from torch import nn

torch.manual_seed(0)
rnn = nn.RNN(1, 5)
optimizer = torch.optim.SGD(rnn.parameters(), lr=0.1)
series = torch.sin(torch.linspace(0, 20, 41)).reshape(-1, 1, 1)
data = torch.utils.data.DataLoader(torch.randn(12, 6, 1), 4)
for _ in range(3):
    for x in data:
        optimizer.zero_grad()
        out, h = rnn(x)
        target = torch.zeros_like(out)
        loss = nn.functional.mse_loss(out, target)
        loss.backward()
        nn.utils.clip_grad_norm_(rnn.parameters(), 1.0)
        optimizer.step()
