"""numpy_rnn, where the user looks at every update."""

import numpy_rnn
from benchmarks.rows.package import Package
from benchmarks.rows.row import RUN

ROW = Package(numpy_rnn, yield_every=1).row(
    "numpy_rnn, every update", "runs by the engine's train, with parameters and gradients after every update", (RUN,)
)
