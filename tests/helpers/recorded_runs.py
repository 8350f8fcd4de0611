"""Small runs, and the package that records them."""

import numpy_rnn
from numpy_rnn.common.records import Objective, RunOptions, Schedule, Step
from numpy_rnn.conformance.ports.port import PackagePort
from numpy_rnn.conformance.runs.sources import PackageSource
from tests.helpers.random_runs import Kind, Sizes, random_run
from tests.helpers.windows import SEED

STEP = Step(0.1, 0.9, nesterov=True, weight_decay=0.01, max_norm=0.5)
PACKAGE = PackageSource(PackagePort(numpy_rnn))


def small_run(step=STEP, k1=2, k2=5, epochs=2, N=None, dtype="float64"):
    """Return a run on one sequence of 20 steps, with biases."""
    options = RunOptions(Schedule(k1, k2, epochs), Objective(), step)
    return random_run(Sizes(20, 1, 1, 4, 1, N), Kind(dtype), options, SEED)
