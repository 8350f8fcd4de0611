"""numpy_rnn.reference: the training loop that reads like the derivation."""

from benchmarks.rows.package import Package
from benchmarks.rows.row import RUN, STEP
from numpy_rnn import reference

ROW = Package(reference).row(
    "numpy_rnn.reference", "the plain training loop: new arrays for every number, written to be read", (STEP, RUN)
)
