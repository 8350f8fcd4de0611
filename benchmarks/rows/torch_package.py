"""torch_rnn: the twin of numpy_rnn, gradients by autograd."""

import torch_rnn
from benchmarks.rows.package import Package

ROW = Package(torch_rnn).row(
    "torch_rnn", "this package's twin, gradients by torch.autograd: written to be compared with, not for speed"
)
