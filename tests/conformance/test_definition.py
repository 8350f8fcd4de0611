"""The definition: its backward equations by its forward ones, its step by
torch.optim.
"""

import importlib

import numpy as np
import pytest
from hypothesis import given

from numpy_rnn.common.records import LOSS_NAMES, NONLINEARITY_NAMES, Objective, Step
from numpy_rnn.conformance.arithmetics.bounds import Bounds
from numpy_rnn.conformance.case import present, with_rows
from numpy_rnn.conformance.definition import (
    DEFINITION,
    Definition,
    apply_step,
    window_update,
)
from numpy_rnn.conformance.mutants.catalogue import twice_softmax
from numpy_rnn.study.complex_step import derivatives
from tests.helpers.windows import SEEDS, window

TWICE_SOFTMAX = Definition(loss_and_error=twice_softmax)
CLASSES = {"objective": Objective(loss="cross_entropy"), "scale": 1.0}


@pytest.mark.parametrize(
    ("definition", "options"), [(DEFINITION, {}), (TWICE_SOFTMAX, CLASSES)]
)
@given(SEEDS)
def test_backward_equations_are_the_derivative(definition, options, seed):
    """Every adjoint and gradient of a random case is that of the complex step."""
    # At an a of exactly 0 the complex step of relu is its right derivative, 1.
    options = options | {"step": None, "no_h_0": False, "special": ""}
    case = with_rows(window(seed, **options))
    report = window_update(case, definition=definition)
    for name, derivative in derivatives(case, report, definition).items():
        computed = report[name].ravel()[derivative.elements]
        error = np.abs(computed - derivative.values).max()
        assert error <= 1e-9 * max(np.abs(report[name]).max(), 1e-3), name


def bounded(numbers, arrays):
    """Return the arrays with bounds of their errors, which are 0."""
    return {name: numbers.from_input(array) for name, array in arrays.items()}


def assert_within(ours, other):
    """Fail unless another computation differs by its rounding alone."""
    assert (np.abs(ours.value - other) <= ours.E).all()


@pytest.mark.needs_torch
@given(SEEDS)
def test_step_is_that_of_torch(seed):
    """Both take two steps; torch.optim.SGD takes them after torch's own clipping."""
    import torch

    step = window(seed).step._replace(adagrad=False)
    case = window(seed, step=step, velocity=False)
    d = window_update(case._replace(step=None))
    params = {}
    for name, array in present(case.params).items():
        params[name] = torch.tensor(array, requires_grad=True)
    sgd = torch.optim.SGD(
        params.values(),
        step.learning_rate,
        step.momentum,
        step.dampening,
        step.weight_decay,
        step.nesterov,
    )
    numbers = Bounds("float64")
    ours = bounded(numbers, present(case.params))
    gradients = bounded(numbers, {name: d["d" + name] for name in params})
    velocity = {}
    for _ in range(2):
        for name, theta in params.items():
            theta.grad = torch.tensor(d["d" + name])
        if step.max_norm is not None:
            torch.nn.utils.clip_grad_norm_(params.values(), step.max_norm)
        if step.max_value is not None:
            torch.nn.utils.clip_grad_value_(params.values(), step.max_value)
        sgd.step()
        ours = apply_step(numbers, ours, gradients, velocity, step)
        if step.has_velocity:
            velocity = {name: numbers.tensors["v" + name][None] for name in params}
    for name, theta in params.items():
        assert_within(ours[name], theta.detach().numpy())


@given(SEEDS)
def test_adagrad_is_that_of_min_char_rnn(seed):
    """Its lines are mem += dparam * dparam and
    param += -learning_rate * dparam / np.sqrt(mem + 1e-8).
    """
    random = np.random.default_rng(seed)
    step = Step(0.1, adagrad=True)
    theta = random.normal(size=(2, 3))
    mem = 0.0
    numbers = Bounds("float64")
    ours = bounded(numbers, {"W_hh": theta})
    squares = {}
    for scale in (1, 1e-3, 1e-5, 0, 30):
        g = scale * random.normal(size=(2, 3))
        mem = mem + g * g
        theta = theta - 0.1 * g / np.sqrt(mem + 1e-8)
        ours = apply_step(numbers, ours, bounded(numbers, {"W_hh": g}), squares, step)
        squares = {"W_hh": numbers.tensors["vW_hh"][None]}
        assert_within(ours["W_hh"], theta)


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
        "numpy_rnn.loss.COUNTS",
        "numpy_rnn.backward.LOSS_DERIVATIVES",
        "numpy_rnn.engine.objective.LOSSES",
        "numpy_rnn.conformance.case.LOSS_KINDS",
        "numpy_rnn.conformance.arithmetics.arithmetic.LOSS_TERMS",
        "numpy_rnn.conformance.ports.port.LOSS_FUNCTIONS",
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
