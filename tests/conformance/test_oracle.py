"""The oracle encloses the definition, in small radii that hold, or says in one line why it cannot.

The derivatives are defined by central differences in decimal numbers of 60 digits. For them the forward pass, the loss
and the step are written here, with every option that a case can have.
"""

import ast
import decimal
import inspect
import sys
from decimal import Decimal

import flint
import numpy as np
import pytest
from windows import one_unit, window

from numpy_rnn import InputError, Parameters
from numpy_rnn.common.records import DTYPES, Objective, Step, WindowCase
from numpy_rnn.conformance.bounds import oracle as oracle_module
from numpy_rnn.conformance.bounds.oracle import MAX_RELATIVE_RADIUS, SUBNORMAL, clip_factor, compute, oracle
from numpy_rnn.conformance.case import case_dtype, initial_state, required_outputs, with_rows
from numpy_rnn.conformance.random_cases import Recipe

# -- radii -----------------------------------------------------------------------------------------------------------


def balls_at(case, precision):
    with flint.ctx.workprec(precision):
        return compute(case)


@pytest.mark.parametrize("seed", range(6))
def test_more_precision_stays_inside_small_radii(seed):
    """The balls of 64 bits hold those of 400, and so do the enclosures with their radii."""
    case = window(seed, DTYPES[seed % 2])
    coarse, fine, enclosures = balls_at(case, 64), balls_at(case, 400), oracle(case)
    shapes = required_outputs(case, intermediates=True, input_gradients=True)
    assert list(fine) == list(enclosures) == list(coarse) == list(shapes)
    with flint.ctx.workprec(400):
        for name, balls in fine.items():
            high, low, radius = enclosures[name]
            assert all(part.dtype == np.float64 and part.shape == shapes[name] for part in (high, low, radius))
            assert (radius <= 2.0**-96 * np.abs(high)).all()
            assert (np.abs(low) <= 2.0**-53 * np.abs(high)).all()
            assert all(wide.contains(narrow) for wide, narrow in zip(coarse[name], balls, strict=True)), name
            parts = (part.ravel().tolist() for part in (high, low, radius))
            assert all(abs(ball - h - l) <= r for ball, h, l, r in zip(balls, *parts, strict=True)), name


@pytest.mark.parametrize(("bits", "precision"), [(20, 128), (53, 256)])
def test_radius_stays_small_after_a_cancellation(bits, precision):
    """y − target, where so many leading bits cancel: by 53, more precision is needed than at first."""
    case = one_unit(1.0, 1.0, target=3 * float(np.tanh(1.0)) * (1 + (2.0**-bits if bits < 53 else 0)))
    before = flint.ctx.prec
    values = oracle(case)
    assert flint.ctx.prec == before
    high, low, radius = (part.item() for part in values["dy"])
    assert 0 < radius <= 2.0**-96 * abs(high)
    with flint.ctx.workprec(precision):
        ball = compute(case)["dy"][0]
        assert abs(ball.mid() - high - low) + ball.rad() <= radius
    assert values["h"].high == np.tanh(1.0)
    assert values["h"].difference(values["h"].high) == -values["h"].low != 0


@pytest.mark.parametrize("a", [40.0, 400.0, -400.0, 1e5, -1e300])
def test_a_saturated_tanh(a):
    """sech²(a) to 2⁻⁹⁶ where 1 − h² would be 0, and below the range of float64 an enclosure around 0."""
    high, _, radius = (part.item() for part in oracle(one_unit(a, 1.0, target=0.5))["da"])
    exact = 4 * np.exp(-2 * abs(a)) * 3 * (3 * np.sign(a) - 0.5)
    # exp within an ulp, four products, and the neglected 2e⁻²ᵃ below 1e-34: seven roundings at most.
    assert abs(high - exact) <= 7 * np.finfo(float).eps * abs(exact)
    assert 0 < radius <= MAX_RELATIVE_RADIUS * abs(exact) + 4 * SUBNORMAL


def test_an_inexact_zero_is_enclosed_around_zero():
    """Two units that are equal, and cancel in y: no precision makes the ball a point.

    The squares of such balls reach below 0, and their sum, the norm, has a root all the same.
    """
    params = Parameters(np.full((1, 2), 0.7), np.full((2, 2), 0.3), np.array([[1.0], [-1.0]]))
    arrays = np.ones((2, 1, 1)), np.zeros((2, 1, 1)), np.zeros((1, 2))
    values = oracle(WindowCase(params, *arrays, None, Objective(), Step(0.1, max_norm=1e-5)))
    for name in ("y", "dW_hy"):
        assert (values[name].high == 0).all()
        assert ((values[name].radius > 0) & (values[name].radius <= 4 * SUBNORMAL)).all()
    assert (values["W_hy"].high == params.W_hy).all()
    assert (values["W_hy"].radius <= MAX_RELATIVE_RADIUS).all()


@pytest.mark.parametrize(
    ("x", "W_xh", "a"),
    [
        (0.0, 1.0, 0.0),
        ([0.1, 0.1], [0.3, -0.3], 0.0),
        ([1e60, 1e-10, -1e60, -1e-10], [1.0] * 4, 0.0),
        ([1e60, 1e-10, -1e60], [1.0] * 3, 1e-10),
        ([1e60, -1e-10, -1e60], [1.0] * 3, -1e-10),
    ],
)
def test_the_kink_of_relu(x, W_xh, a):
    """At exactly 0, by a zero state or by a cancellation, the slope is exactly 0. Behind a cancellation that takes more
    than the first 128 bits, it is that of its side.
    """
    case = one_unit(x, W_xh, nonlinearity="relu", target=-1.0)
    values = oracle(case)
    assert values["a"].high == a
    assert values["da"].high == values["dh"].high * (a > 0)
    if a == 0:
        assert values["dh"].high == 3
        assert all((part == 0).all() for name in ("a", "h", "da", "dW_xh") for part in values[name])
    else:
        assert balls_at(case, 128) is None


def test_clip_factor_where_its_ball_holds_1():
    """All that min(1, quotient) may be is in the factor's ball, and hardly more."""
    ball = flint.arb
    with flint.ctx.workprec(200):
        limit = ball(5) + ball(1e-6)
        factor = clip_factor({"W_xh": flint.arb_mat([[ball(5, 1e-30)]])}, limit)
        for norm in (ball(5) + ball(1e-30), ball(5), ball(5) - ball(1e-30)):
            assert factor.contains((limit / (norm + ball(1e-6))).min(ball(1)).mid())
        assert factor.rad() < 1e-30


# -- what it cannot do, and does not use -----------------------------------------------------------------------------

ONE = one_unit(1.0, 1.0)
INFINITE = ONE.params._replace(W_hh=np.full((1, 1), np.inf))


@pytest.mark.parametrize(
    ("case", "message"),
    [
        (one_unit(np.nan, 1.0), "x contains NaN or infinity"),
        (one_unit(np.inf, 1.0), "x contains NaN or infinity"),
        (ONE._replace(step=Step(0.25, 0.5), velocity=INFINITE), "vW_hh contains NaN or infinity"),
        (one_unit(1e200, 1e200, nonlinearity="relu"), "overflows float64"),
        (one_unit(1.0, 1.0, nonlinearity="other"), "unknown nonlinearity 'other'"),
        (one_unit(1.0, 1.0, reduction="other"), "unknown reduction 'other'"),
    ],
)
def test_a_case_without_true_values_is_refused(case, message):
    with pytest.raises(InputError, match=message):
        oracle(case)


def test_flint_may_be_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "flint", None)
    with pytest.raises(InputError, match="python-flint is not installed"):
        oracle(ONE)


def test_it_is_code_of_its_own():
    """Nothing of the network is imported, in a function or at the top, and flint only where it is used."""
    tree = ast.parse(inspect.getsource(oracle_module))
    froms = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name for name in froms if "_rnn" in name} == {
        "numpy_rnn.common.errors", "numpy_rnn.common.records", "numpy_rnn.conformance.case"
    }  # fmt: skip

    def imported(nodes):
        return [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]

    assert (imported(tree.body), imported(ast.walk(tree))) == (["numpy"], ["numpy", "flint"])


# -- the definition --------------------------------------------------------------------------------------------------

STEP = Decimal("1e-20")
ACCURACY = Decimal("1e-33")  # of the differences: STEP² for their remainder, 10⁻⁶⁰ / STEP for the digits
SMALL = Decimal.from_float(1e-6)  # added to the norm, (U3)
TINY = Decimal.from_float(1e-8)  # added to the squares, (U9)
as_decimals = np.frompyfunc(lambda v: Decimal(float(v)), 1, 1)


def tanh(a):
    power = (2 * a).exp()
    return (power - 1) / (power + 1)


PHI = {"tanh": tanh, "relu": lambda a: max(a, Decimal(0)), "sigmoid": lambda a: 1 / (1 + (-a).exp())}
exp, ln = (np.frompyfunc(f, 1, 1) for f in (Decimal.exp, Decimal.ln))


def forward(case, name="", nudges=None):
    """a, h, y and the loss; `nudges` are added to the tensor of that name."""
    given = case.params._asdict() | {"x": case.x, "target": case.target, "h_0": initial_state(case)}
    values = {key: as_decimals(np.zeros(1) if array is None else array) for key, array in given.items()}
    if name in values:
        values[name] = values[name] + nudges
    W_xh, W_hh, W_hy, b_h, b_y, h, x, target = values.values()
    T, K = len(x), len(target)
    steps: dict[str, list] = {"a": [], "h": [], "y": []}

    def step(key, value):
        t = len(steps[key])
        steps[key].append(value + nudges[t] if key == name else value)
        return steps[key][t]

    for t in range(T):
        h = step("h", np.frompyfunc(PHI[case.objective.nonlinearity], 1, 1)(step("a", x[t] @ W_xh + h @ W_hh + b_h)))
        step("y", h @ W_hy + b_y)
    weights = as_decimals(np.ones(target.shape[:2]) if case.weights is None else case.weights)
    y = np.stack(steps["y"])[T - K :]
    if case.objective.loss == "squared_error":
        losses, terms = ((y - target) ** 2).sum(-1) / 2, weights.sum() * target.shape[-1]
    else:
        log_S, terms = ln(exp(y).sum(-1, keepdims=True)), weights.sum()
        losses = -(target * (y - log_S)).sum(-1)
    loss = (weights * losses).sum() / ((terms or 1) if case.objective.reduction == "mean" else 1)
    return {"loss": np.asarray(loss), **{key: np.stack(value) for key, value in steps.items()}}


def derivative(case, name, shape):
    """∂L/∂v for every entry of a tensor v."""
    found = np.empty(shape, object)
    for index in np.ndindex(shape):
        nudges = np.full(shape, Decimal(0))
        nudges[index] = STEP
        found[index] = (forward(case, name, nudges)["loss"] - forward(case, name, -nudges)["loss"]) / (2 * STEP)
    return found


def updated(case, gradients):
    """The velocities and the new parameters, (U1) to (U9)."""
    step = case.step
    mu, tau, decay = map(Decimal, (step.momentum, step.dampening, step.weight_decay))
    rate, factor, limit = Decimal(float(case_dtype(case).type(step.learning_rate))), Decimal(1), step.max_value
    if step.max_norm is not None:
        norm = sum((g**2).sum() for g in gradients.values()).sqrt()
        factor = min(factor, Decimal(step.max_norm) / (norm + SMALL))
    made = {}
    for name, gradient in gradients.items():
        g = gradient * factor if limit is None else np.clip(gradient, -Decimal(limit), Decimal(limit))
        theta, before = as_decimals(getattr(case.params, name)), getattr(case.velocity, name, None)
        s = d = g + decay * theta
        if step.adagrad:
            v = made["v" + name] = d * d + (0 if before is None else as_decimals(before))
            s = d / np.frompyfunc(Decimal.sqrt, 1, 1)(v + TINY)
        elif mu:
            v = made["v" + name] = d if before is None else mu * as_decimals(before) + (1 - tau) * d
            s = d + mu * v if step.nesterov else v
        made[name] = theta - rate * s
    return made


SIZES = {"T": 3, "B": 2, "D": 2, "H": 3, "O": 3, "K": 2}
CROSS_ENTROPY, MEAN = {"loss": "cross_entropy"}, {"reduction": "mean"}
MOMENTUM = {"momentum": 0.9, "weight_decay": 0.01, "max_norm": 0.1}
VARIANTS = {  # fields of the objective, of the step, and of the recipe
    "tanh": ({}, MOMENTUM | {"dampening": 0.3}, {"velocity": True, "bias": True}),
    "relu": ({"nonlinearity": "relu"} | MEAN, {"momentum": 0.9, "nesterov": True}, {"learned": True}),
    "logistic": ({"nonlinearity": "sigmoid"} | MEAN, {"max_value": 0.03, "momentum": 0.5}, {"weights": True}),
    "cross-entropy": (CROSS_ENTROPY | MEAN, {"max_norm": 10.0}, {"weights": True}),
    "large-logits": (CROSS_ENTROPY, {}, {"logits": 1e4, "classes": True}),
    "classes": (CROSS_ENTROPY | MEAN, {}, {"classes": True, "class_inputs": True, "weights": True}),
    "Adagrad": ({}, {"adagrad": True, "weight_decay": 0.01, "max_value": 0.03}, {"velocity": True}),
    "no-weight": (MEAN, {}, {}),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_oracle_encloses_the_definition(variant):
    """Every tensor, to within its radius and the accuracy of the differences."""
    dtype = DTYPES[list(VARIANTS).index(variant) % 2]
    objective, step, others = VARIANTS[variant]
    options = {"objective": Objective(**objective), "step": Step(0.3, **step)}
    case = with_rows(Recipe(**SIZES | options | others, dtype=dtype, seed=3).case())
    if variant == "no-weight":
        case = case._replace(weights=np.zeros(case.target.shape[:2], dtype))
    values = oracle(case)
    with decimal.localcontext(prec=60, Emin=-(10**9), Emax=10**9):
        exact = forward(case)
        for name, shape in required_outputs(case, intermediates=True, input_gradients=True).items():
            if name.startswith("d"):
                exact[name] = derivative(case, name[1:], shape)
        names = [name for name, theta in case.params._asdict().items() if theta is not None]
        exact |= updated(case, {name: exact["d" + name] for name in names})
        assert exact.keys() == values.keys()
        for name, array in exact.items():
            high, low, radius = map(as_decimals, values[name])
            allowed = radius + ACCURACY * (1 + np.abs(array))
            wrong = np.argwhere(np.abs(high + low - array) > allowed).tolist()
            assert not wrong, f"{name}{wrong[0]} is {values[name].high[tuple(wrong[0])]}"
