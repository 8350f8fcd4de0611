"""numpy_rnn: gradients by hand, in NumPy."""

import numpy_rnn
from benchmarks.rows.package import Package

ROW = Package(numpy_rnn).row(
    "numpy_rnn", "this package: forward and bptt of the reference; steps and runs by the engine's train"
)
