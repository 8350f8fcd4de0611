"""SGD by hand, as in the word language model.

TBPTT(10, 10), state carried and cut; 0 mistakes
step: by hand, after backward() ("""

import torch
from torch import nn

torch.manual_seed(0)
rnn = nn.RNN(1, 5)
series = torch.sin(torch.linspace(0, 20, 41)).reshape(-1, 1, 1)
for _ in range(3):
    h = torch.zeros(1, 1, 5)
    for i in range(0, 40, 10):
        rnn.zero_grad()
        out, h = rnn(series[i : i + 10], h.detach())
        target = series[i + 1 : i + 11].expand_as(out)
        loss = nn.functional.mse_loss(out, target)
        loss.backward()
        nn.utils.clip_grad_norm_(rnn.parameters(), 1.0)
        for p in rnn.parameters():
            p.data.add_(p.grad, alpha=-0.1)
