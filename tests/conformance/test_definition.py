"""The definition's own proof: its backward lines by its forward ones, its step by torch.optim, names that it must know.

Every other arithmetic is compared with balls in test_arithmetic.py, and with roundings of real code in test_bounds.py.
"""

from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ports_for_tests import one_unit, window
from test_judge import PACKAGE, sine_run

import numpy_rnn
from numpy_rnn.common import checks
from numpy_rnn.common.conversion import convert
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import Objective, Step
from numpy_rnn.conformance.arithmetics.bounds import Bounds
from numpy_rnn.conformance.arithmetics.exact import Exact, Rounds, exact_report
from numpy_rnn.conformance.arithmetics.floats import Floats
from numpy_rnn.conformance.case import (
    GIVEN_DY,
    INTERMEDIATES,
    RateInVelocity,
    parameters_from,
    present,
    with_rows,
)
from numpy_rnn.conformance.definition import update, window_update
from numpy_rnn.conformance.ports.package_port import PackagePort
from numpy_rnn.conformance.random_cases import RandomDraw, exact_recipe
from numpy_rnn.conformance.traces.judge import judge
from numpy_rnn.conformance.window_checks import check_global, exact_checks
from numpy_rnn.engine import losses

SMALL = 1e-30  # an imaginary part whose square is lost in 1
ADJOINTS = {"dy": "y", "dh": "h", "da": "a"}


class Perturbed(Floats):
    """Complex numbers, of which one element of one tensor has a small imaginary part."""

    def __init__(self, tensor: str, t: int, element: tuple[int, ...]):
        super().__init__(np.complex128)
        self.place, self.element = (tensor, t), element

    def phi(self, a, nonlinearity):
        """relu is 0 at exactly 0, and so is its slope."""
        return (
            np.where(a.real > 0, a, 0) if nonlinearity == "relu" else super().phi(a, nonlinearity)
        )

    def see(self, name, t, value):
        if (name, t) == self.place:
            value = np.array(value, np.complex128)
            value[self.element] += 1j * SMALL
        return super().see(name, t, value)


def complex_numbers(value):
    return (
        value.astype(np.complex128)
        if isinstance(value, np.ndarray) and value.dtype.kind == "f"
        else value
    )


def derivative(case, tensor, element):
    """∂L/∂(an element of a parameter, of the inputs, the initial state, or a, h or y at a step), by complex step."""
    case = convert(complex_numbers, with_rows(case)._replace(step=None))
    numbers = Perturbed("nothing", 0, ())
    if tensor in ("a", "h", "y"):
        numbers = Perturbed(tensor, element[0] + 1, element[1:])
    else:
        holder = (
            case if tensor == "x" or (tensor == "h_0" and case.params.h_0 is None) else case.params
        )
        getattr(holder, tensor)[element] += 1j * SMALL
    return window_update(case, numbers)["loss"].imag / SMALL


@given(st.integers(0, 2**32 - 1))
def test_backward_lines_are_the_derivative_of_the_forward_lines(seed):
    """Every adjoint and gradient of a random case, at one element of each."""
    case = window(seed, step=None, two_biases=bool(seed % 2), no_h_0=False)
    report, generator = window_update(case), np.random.default_rng(seed)
    names = (
        {"d" + name: name for name in present(case.params)} | ADJOINTS | {"dx": "x", "dh_0": "h_0"}
    )
    for name, of in names.items():
        if name == "dy" and case.objective.loss == GIVEN_DY:
            continue
        element = tuple(map(int, generator.integers(0, report[name].shape)))
        size = np.abs(report[name]).max()
        assert abs(report[name][element] - derivative(case, of, element)) <= 1e-9 * max(
            size, 1e-3
        ), name


@pytest.mark.needs_torch
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_step_is_that_of_torch(seed, in_velocity):
    """Two steps of torch.optim.SGD after torch's own clipping; the form of Keras where it is the same step."""
    import torch

    step = window(seed).step._replace(adagrad=False)
    case = window(seed, step=step, velocity=False, learned=False)
    d = {
        name: v
        for name, v in window_update(case._replace(step=None)).items()
        if name[1:] in present(case.params)
    }
    params = {
        name: torch.tensor(theta, requires_grad=True)
        for name, theta in present(case.params).items()
    }
    optimizer = torch.optim.SGD(params.values(), step.learning_rate, step.momentum, step.dampening, step.weight_decay,
                                nesterov=step.nesterov)  # fmt: skip
    kind = RateInVelocity if in_velocity and step.momentum == 0 else Step
    for _ in range(2):
        for name, theta in params.items():
            theta.grad = torch.tensor(d["d" + name])
        if step.max_norm is not None:
            torch.nn.utils.clip_grad_norm_(params.values(), step.max_norm)
        if step.max_value is not None:
            torch.nn.utils.clip_grad_value_(params.values(), step.max_value)
        optimizer.step()
        numbers = Floats("float64")
        update(numbers, present(case.params), {name[1:]: g for name, g in d.items()},
                          present(case.velocity), kind(*step))  # fmt: skip
        report = numbers.report()
        case = case._replace(params=parameters_from(report), velocity=parameters_from(report, "v"))
        for name, theta in params.items():
            np.testing.assert_allclose(report[name], theta.detach().numpy(), 1e-12, 1e-14)


def test_adagrad_is_that_of_min_char_rnn():
    """mem += dparam * dparam; param += -learning_rate * dparam / np.sqrt(mem + 1e-8)"""
    generator, step = np.random.default_rng(3), Step(0.1, adagrad=True)
    theta, mem, squares = generator.normal(size=(2, 3)), 0.0, {}
    ours = {"W_hh": theta}
    for scale in (1, 1e-3, 1e-5, 0, 30):
        g = scale * generator.normal(size=(2, 3))
        mem = mem + g * g
        theta = theta - 0.1 * g / np.sqrt(mem + 1e-8)
        numbers = Floats("float64")
        ours = update(numbers, ours, {"W_hh": g}, squares, step)
        squares = {"W_hh": numbers.report()["vW_hh"]}
        np.testing.assert_allclose(ours["W_hh"], theta, 1e-13)


# -- exact cases -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_last_bit_of_every_gradient_is_checked(dtype):
    """numpy_rnn and the definition give all numbers of exact cases; a factor of one ulp on any gradient is refused."""
    refused = 0
    for seed in range(6):
        case = exact_recipe(RandomDraw(seed), dtype).case()
        report = window_update(case)
        assert all((check.ratio == 0).all() for check in exact_checks(case, report))
        factor = report["loss"].dtype.type(1 + np.finfo(dtype).eps)
        for name in [name for name in report if name[0] == "d" and report[name].any()]:
            wrong = exact_checks(case, report | {name: report[name] * factor})
            assert {check.tensor for check in wrong if (check.ratio > 0).any()} == {name}
            refused += 1
    assert refused > 25


def test_number_of_more_than_24_bits_is_seen():
    """2¹² + 2⁻¹² is no number of float32; a loss without a power of two for its divisor is not exact either."""
    for x, is_exact in ((2.0**-11, True), (2.0**-12, False)):
        case = one_unit([2.0**12, x], [1.0, 1.0], nonlinearity="relu")
        case = case._replace(params=case.params._replace(W_hy=np.zeros((1, 1))), step=None)
        assert (exact_report(case) is not None) == is_exact
    with pytest.raises(InputError, match="no exact nonlinearity"):
        exact_report(one_unit(1.0, 1.0))
    n = Exact("float32")
    big, small, odd = (n.given(np.array([number])) for number in (2.0**12, 2.0**-12, 2.0**12 + 1))
    most, one = n.given(np.array([2.0**23, 2.0**23])), n.given(np.ones(1))
    assert (big + 2 * small * big, big * big, most.sum()) == (2.0**12 + 2, 2.0**24, 2.0**24)
    for rounds in (
        lambda: big + small, lambda: big - small, lambda: odd * odd, lambda: n.given(np.array([2.0**-41])),
        lambda: n.total([most[:, None], one[:, None]]), lambda: n.affine([(most[None], np.ones((2, 1)))], one),
    ):  # fmt: skip
        with pytest.raises(Rounds):
            rounds()


# -- names that are not known ----------------------------------------------------------------------------------------

UNKNOWN = [{"nonlinearity": "mish"}, {"loss": "huber"}, {"reduction": "median"}]


@pytest.mark.parametrize("change", UNKNOWN, ids=[next(iter(each)) for each in UNKNOWN])
@pytest.mark.parametrize("numbers", [Floats, Bounds])
def test_unknown_name_is_judged_by_nothing(numbers, change):
    case = window(1, objective=Objective(), step=None)
    case = case._replace(objective=case.objective._replace(**change))
    with pytest.raises(InputError, match=f"{next(iter(change.values()))!r} is no .* known here"):
        window_update(case, numbers("float64"))
    with pytest.raises(InputError):
        check_global(case, {})


def test_loss_that_only_the_core_knows_does_not_agree(monkeypatch):
    """A Huber loss that numpy_rnn names and computes, here as the squared error, and the definition does not know."""
    monkeypatch.setitem(checks.NAMES, "loss", Literal["squared_error", "cross_entropy", "huber"])
    monkeypatch.setitem(
        losses.IS_SOFTMAX, "huber", False
    )  # of the engine, on which numpy_rnn.train runs
    run = sine_run(Step(0.1), learned=False)
    options = run.options._replace(objective=Objective(loss="huber"))
    recorded = PackagePort(numpy_rnn).trace(run._replace(options=options))
    for traced in (recorded, recorded.without(*INTERMEDIATES)):
        with pytest.raises(
            InputError,
            match="'huber' is no loss with a bound that is known here: expected squared_error",
        ):
            judge(traced)
    with pytest.raises(KeyError):
        PACKAGE.window_update(present(run.params), *run[1:4], learning_rate=0.1, loss="huber")
