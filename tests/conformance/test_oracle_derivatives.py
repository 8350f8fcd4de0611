"""The oracle against the definition of the derivative: central differences in decimal numbers of 60 digits.

Only the forward pass, the loss and the step are written here, with every option that a case can have.
"""

import decimal
from decimal import Decimal

import numpy as np
import pytest

from numpy_rnn.common.records import DTYPES
from numpy_rnn.conformance.bounds.oracle import oracle
from numpy_rnn.conformance.case import required_outputs
from numpy_rnn.conformance.recipes import Recipe

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
    given = case.params._asdict() | {"x": case.x, "target": case.target, "h_0": case.h_0}
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
        h = step("h", np.frompyfunc(PHI[case.nonlinearity], 1, 1)(step("a", x[t] @ W_xh + h @ W_hh + b_h)))
        step("y", h @ W_hy + b_y)
    weights = as_decimals(np.ones(target.shape[:2]) if case.weights is None else case.weights)
    y = np.stack(steps["y"])[T - K :]
    if case.loss == "squared_error":
        losses, terms = ((y - target) ** 2).sum(-1) / 2, weights.sum() * target.shape[-1]
    else:
        log_S, terms = ln(exp(y).sum(-1, keepdims=True)), weights.sum()
        losses = -(target * (y - log_S)).sum(-1)
    loss = (weights * losses).sum() / ((terms or 1) if case.reduction == "mean" else 1)
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
    mu, tau, decay = map(Decimal, (case.sgd.momentum, case.sgd.dampening, case.sgd.weight_decay))
    rate, factor, limit = Decimal(float(case.dtype.type(case.learning_rate))), Decimal(1), case.sgd.max_value
    if case.sgd.max_norm is not None:
        norm = sum((g**2).sum() for g in gradients.values()).sqrt()
        factor = min(factor, Decimal(case.sgd.max_norm) / (norm + SMALL))
    made = {}
    for name, gradient in gradients.items():
        g = gradient * factor if limit is None else np.clip(gradient, -Decimal(limit), Decimal(limit))
        theta, before = as_decimals(getattr(case.params, name)), getattr(case.velocity, name, None)
        s = d = g + decay * theta
        if case.sgd.adagrad:
            v = made["v" + name] = d * d + (0 if before is None else as_decimals(before))
            s = d / np.frompyfunc(Decimal.sqrt, 1, 1)(v + TINY)
        elif mu:
            v = made["v" + name] = d if before is None else mu * as_decimals(before) + (1 - tau) * d
            s = d + mu * v if case.sgd.nesterov else v
        made[name] = theta - rate * s
    return made


SIZES = {"T": 3, "B": 2, "D": 2, "H": 3, "O": 3, "K": 2, "learning_rate": 0.3}
MOMENTUM = {"momentum": 0.9, "velocity": True, "weight_decay": 0.01, "max_norm": 0.1}
VARIANTS = {
    "tanh": MOMENTUM | {"dampening": 0.3, "bias": True},
    "relu": {"nonlinearity": "relu", "reduction": "mean", "momentum": 0.9, "nesterov": True, "learned": True},
    "logistic": {"nonlinearity": "sigmoid", "weights": True, "reduction": "mean", "max_value": 0.03, "momentum": 0.5},
    "cross-entropy": {"loss": "cross_entropy", "weights": True, "reduction": "mean", "max_norm": 10.0},
    "large-logits": {"loss": "cross_entropy", "logits": 1e4, "classes": True},
    "classes": {"loss": "cross_entropy", "classes": True, "class_inputs": True, "reduction": "mean", "weights": True},
    "Adagrad": {"adagrad": True, "velocity": True, "weight_decay": 0.01, "max_value": 0.03},
    "no-weight": {"weights": False, "reduction": "mean"},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_oracle_encloses_the_definition(variant):
    """Every tensor, to within its radius and the accuracy of the differences."""
    dtype = DTYPES[list(VARIANTS).index(variant) % 2]
    case = Recipe(**SIZES | VARIANTS[variant], dtype=dtype, seed=3).case().in_rows()
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
