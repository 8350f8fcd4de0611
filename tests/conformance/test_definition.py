"""The definition: its backward equations by its forward ones, its step by
torch.optim.
"""

import importlib

import numpy as np
import pytest
from hypothesis import given

from numpy_rnn.common.records import LOSS_NAMES, NONLINEARITY_NAMES, Objective
from numpy_rnn.conformance.adapters import torch_port
from numpy_rnn.conformance.arithmetics.bounds import Bounds
from numpy_rnn.conformance.case import with_rows
from numpy_rnn.conformance.complex_step import derivatives
from numpy_rnn.conformance.definition import (
    DEFINITION,
    Definition,
    window_update,
)
from numpy_rnn.conformance.mutants.window_mutants import twice_softmax
from numpy_rnn.conformance.suite import check_port
from tests.helpers.windows import SEEDS, window

TWICE_SOFTMAX = Definition(loss_and_error=twice_softmax)
CLASSES = {"objective": Objective(loss="cross_entropy"), "scale": 1.0}


@pytest.mark.parametrize(
    ("definition", "options"), [(DEFINITION, {}), (TWICE_SOFTMAX, CLASSES)]
)
@given(SEEDS)
def test_backward_equations_are_the_derivative(definition, options, seed):
    """Every adjoint and gradient of a random case is that of the complex step.

    They differ by less than the proven bounds on the rounding of the two, whose sums
    are as long; those of TWICE_SOFTMAX are of numbers as large.
    """
    # At an a of exactly 0 the complex step of relu is its right derivative, 1.
    options = options | {"step": None, "no_h_0": False, "special": ""}
    case = with_rows(window(seed, **options))
    report = window_update(case, definition=definition)
    bounds = window_update(case, Bounds(case.dtype))
    for name, derivative in derivatives(case, report, definition).items():
        computed = report[name].ravel()[derivative.elements]
        error = np.abs(computed - derivative.values).max()
        assert error <= 2 * bounds[name].E.max(), name


@pytest.mark.needs_torch
def test_step_is_that_of_torch():
    """The port's is that of torch.optim.SGD, after torch's own clipping.

    Adagrad is that of min-char-rnn: tests/app/test_text.py trains both.
    """
    nn = importlib.import_module("torch.nn")

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn, self.out = nn.RNN(2, 3), nn.Linear(3, 2)

        def forward(self, x, h_0):
            return self.out(self.rnn(x, h_0)[0])

    check_port(torch_port(Model()), "L2", "float64", examples=50)


TABLES = {
    NONLINEARITY_NAMES: (
        "numpy_rnn.elman.NONLINEARITIES",
        "numpy_rnn.backward.SLOPES",
        "numpy_rnn.engine.objective.NONLINEARITIES",
        "numpy_rnn.conformance.arithmetics.arithmetic.NONLINEARITIES",
        "torch_rnn.elman.NONLINEARITIES",
    ),
    LOSS_NAMES: (
        "numpy_rnn.loss.TERMS",
        "numpy_rnn.backward.LOSS_DERIVATIVES",
        "numpy_rnn.engine.objective.LOSSES",
        "numpy_rnn.conformance.case.LOSS_KINDS",
        "numpy_rnn.conformance.arithmetics.arithmetic.LOSS_TERMS",
        "torch_rnn.loss.TERMS",
    ),
}


@pytest.mark.needs_torch
@pytest.mark.parametrize("names", TABLES)
def test_every_table_has_every_name(names):
    """The names are those of common/records.py."""
    for table in TABLES[names]:
        module, _, attribute = table.rpartition(".")
        rows = getattr(importlib.import_module(module), attribute)
        absent = {*names} ^ rows.keys()
        assert not absent, f"{table} lacks {', '.join(absent)}, or records.py does"
