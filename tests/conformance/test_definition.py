"""The definition: its backward equations by its forward ones, its step by
torch.optim.
"""

import importlib

import numpy as np
import pytest
from hypothesis import given

from numpy_rnn.common.records import LOSS_NAMES, NONLINEARITY_NAMES, Step
from numpy_rnn.conformance.arithmetics.numpy_arithmetic import NumpyArithmetic
from numpy_rnn.conformance.case import parameters_from, present, with_rows
from numpy_rnn.conformance.definition import apply_step, window_update
from tests.helpers.windows import SEEDS, window

SMALL = 1e-30  # an imaginary part whose square is lost in 1
ADJOINTS = {"dy": "y", "dh": "h", "da": "a"}


class Perturbed(NumpyArithmetic):
    """Complex numbers, of which one element of one tensor has a small
    imaginary part.
    """

    def __init__(self, place=("nothing", 0), element=()):
        super().__init__(np.complex128)
        self.place, self.element = place, element

    def phi(self, a, nonlinearity):
        """relu is 0 at exactly 0, and so is its slope."""
        is_relu = nonlinearity == "relu"
        return np.where(a.real > 0, a, 0) if is_relu else super().phi(a, nonlinearity)

    def record(self, name, t, value):
        if (name, t) == self.place:
            value = np.array(value, np.complex128)
            value[self.element] += 1j * SMALL
        return super().record(name, t, value)


def derivative(case, tensor, element):
    """∂L/∂(an element of a parameter, the inputs, the initial state, a, h or y) by
    complex step.
    """
    case, numbers = with_rows(case), Perturbed()
    arrays = present(case.params) | {"x": case.x, "h_0": case.h_0}
    arrays = {name: array.astype(np.complex128) for name, array in arrays.items()}
    if tensor in arrays:
        arrays[tensor][element] += 1j * SMALL
    else:
        numbers = Perturbed((tensor, element[0] + 1), element[1:])
    case = case._replace(
        params=parameters_from(arrays), x=arrays["x"], h_0=arrays["h_0"]
    )
    return window_update(case, numbers)["loss"].imag / SMALL


@given(SEEDS)
def test_backward_equations_are_the_derivative(seed):
    """Every adjoint and gradient of a random case, at one element of each."""
    case = window(seed, step=None, no_h_0=False)
    report, generator = window_update(case), np.random.default_rng(seed)
    names = {"d" + name: name for name in present(case.params)}
    for name, of in (names | ADJOINTS | {"dx": "x", "dh_0": "h_0"}).items():
        element = tuple(map(int, generator.integers(0, report[name].shape)))
        error = abs(report[name][element] - derivative(case, of, element))
        assert error <= 1e-9 * max(np.abs(report[name]).max(), 1e-3), name


@pytest.mark.needs_torch
@given(SEEDS)
def test_step_is_that_of_torch(seed):
    """Two steps of torch.optim.SGD after torch's own clipping."""
    import torch

    step = window(seed).step._replace(adagrad=False)
    case = window(seed, step=step, velocity=False)
    d = window_update(case._replace(step=None))
    params = {
        n: torch.tensor(v, requires_grad=True) for n, v in present(case.params).items()
    }
    options = step.momentum, step.dampening, step.weight_decay
    sgd = torch.optim.SGD(
        params.values(), step.learning_rate, *options, nesterov=step.nesterov
    )
    for _ in range(2):
        for name, theta in params.items():
            theta.grad = torch.tensor(d["d" + name])
        if step.max_norm is not None:
            torch.nn.utils.clip_grad_norm_(params.values(), step.max_norm)
        if step.max_value is not None:
            torch.nn.utils.clip_grad_value_(params.values(), step.max_value)
        sgd.step()
        numbers, gradients = (
            NumpyArithmetic("float64"),
            {name: d["d" + name] for name in params},
        )
        apply_step(
            numbers, present(case.params), gradients, present(case.velocity), step
        )
        report = numbers.report()
        case = case._replace(
            params=parameters_from(report), velocity=parameters_from(report, "v")
        )
        for name, theta in params.items():
            scale = np.abs(report[name]).max()
            np.testing.assert_allclose(
                report[name], theta.detach(), 1e-12, 1e-14 * scale
            )


@given(SEEDS)
def test_adagrad_is_that_of_min_char_rnn(seed):
    """mem += dparam * dparam; param += -learning_rate * dparam / np.sqrt(mem + 1e-8)"""
    generator, step = np.random.default_rng(seed), Step(0.1, adagrad=True)
    theta, mem, squares = generator.normal(size=(2, 3)), 0.0, {}
    ours = {"W_hh": theta}
    for scale in (1, 1e-3, 1e-5, 0, 30):
        g = scale * generator.normal(size=(2, 3))
        mem = mem + g * g
        theta = theta - 0.1 * g / np.sqrt(mem + 1e-8)
        numbers = NumpyArithmetic("float64")
        ours = apply_step(numbers, ours, {"W_hh": g}, squares, step)
        squares = {"W_hh": numbers.report()["vW_hh"]}
        np.testing.assert_allclose(ours["W_hh"], theta, 1e-13)


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
@pytest.mark.parametrize(
    ("names", "table"), [(names, each) for names in TABLES for each in TABLES[names]]
)
def test_every_table_has_every_name(names, table):
    """The names are those of common/records.py."""
    module, _, attribute = table.rpartition(".")
    absent = {*names} ^ getattr(importlib.import_module(module), attribute).keys()
    assert not absent, f"{table} lacks {', '.join(absent)}, or records.py does"
