"""The state is passed on with its graph."""

import torch
from torch import nn

rnn = nn.RNN(2, 5)
h = torch.zeros(1, 3, 5)
for _ in range(4):
    rnn.zero_grad()
    out, h = rnn(torch.randn(6, 3, 2), h)
    out.square().mean().backward(retain_graph=True)
    for p in rnn.parameters():
        p.data.add_(p.grad, alpha=-0.01)
