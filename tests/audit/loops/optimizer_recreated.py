"""An optimizer for each update."""

import torch
from torch import nn

rnn = nn.RNN(2, 5)
for _ in range(4):
    optimizer = torch.optim.Adam(rnn.parameters())
    optimizer.zero_grad()
    out, _ = rnn(torch.randn(6, 3, 2))
    out.square().mean().backward()
    optimizer.step()
