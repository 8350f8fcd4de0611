"""SGD by hand, as in the word language model.

TBPTT(6, 6), state carried and cut; 0 mistakes
step: by hand, after backward() (
"""

import torch
from torch import nn

rnn = nn.RNN(2, 5)
h = torch.zeros(1, 3, 5)
for _ in range(4):
    rnn.zero_grad()
    out, h = rnn(torch.randn(6, 3, 2), h.detach())
    out.square().mean().backward()
    nn.utils.clip_grad_norm_(rnn.parameters(), 1.0)
    for p in rnn.parameters():
        p.data.add_(p.grad, alpha=-0.1)
