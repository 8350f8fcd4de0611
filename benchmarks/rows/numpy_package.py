"""numpy_rnn: gradients by hand, in NumPy."""

import numpy_rnn
from benchmarks.rows.package import Package

ROW = Package(numpy_rnn).row("this package: forward and bptt; steps and runs by train, which keeps its memory")
