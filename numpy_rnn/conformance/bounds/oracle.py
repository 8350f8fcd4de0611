"""Interval (ball) arithmetic of one case: every tensor with a rigorous radius, far below the rounding of float64.

A ball is a midpoint and a radius. The oracle calls none of the network's modules. The numbers of the case are exact,
every operation carries its error along, and tanh' is sech²(a), not 1 − h², so that nothing cancels where the network
saturates.

Source: Johansson 2017, Arb: efficient arbitrary-precision midpoint-radius interval arithmetic, IEEE Transactions on
Computers 66 (8); Rump 2010, Verification methods, Acta Numerica 19, section 5.
"""

from functools import reduce
from operator import add, mul
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import WindowCase
from numpy_rnn.conformance.case import (
    GIVEN_DY,
    RateInVelocity,
    case_dtype,
    case_sizes,
    initial_state,
    required_outputs,
    with_rows,
)


def matrix(array):
    """The matrix of exactly these numbers; a vector is a row."""
    return load_flint().arb_mat(*np.atleast_2d(array).shape, array.ravel().tolist())


def each(f, *matrices):
    """The matrix of f of every ball, or of those of several matrices at the same place."""
    entries = [f(*balls) for balls in zip(*(m.entries() for m in matrices))]
    return load_flint().arb_mat(matrices[0].nrows(), matrices[0].ncols(), entries)


def step(case: WindowCase, gradients: dict[str, Any]) -> dict[str, list[Any]]:
    """Velocities and new parameters as flat lists of balls, by name, from the matrices of the gradients.

    η is rounded to the dtype; the other options are the numbers that they are in float64, and so are 10⁻⁶ and 10⁻⁸.
    """
    if case.step is None:
        return {}
    learning_rate, momentum, dampening, nesterov, decay, adagrad, max_norm, max_value = case.step
    ball = load_flint().arb
    rate, inside = ball(-float(case_dtype(case).type(learning_rate))), isinstance(case.step, RateInVelocity)
    factor = None if max_norm is None else clip_factor(gradients, ball(max_norm))
    velocities, parameters = {}, {}
    for name, gradient in gradients.items():
        theta, s = matrix(getattr(case.params, name)), gradient if factor is None else gradient * factor
        if max_value is not None:
            s = each(lambda number: number.min(ball(max_value)).max(-ball(max_value)), s)
        s = s + theta * ball(decay) if decay else s
        s = s * rate if inside else s
        given = getattr(case.velocity, name, None)
        before = None if given is None else matrix(given)
        if adagrad:
            v = each(lambda g: g * g, s) if before is None else each(lambda old, g: old + g * g, before, s)
            velocities["v" + name] = v.entries()
            s = each(lambda g, square: g / (square.nonnegative_part() + ball(1e-8)).sqrt(), s, v)
        elif momentum:
            v = s if before is None else before * ball(momentum) + s * (1 - ball(dampening))
            velocities["v" + name] = v.entries()
            s = s + v * ball(momentum) if nesterov else v
        parameters[name] = (theta + (s if inside else s * rate)).entries()
    return velocities | parameters


def clip_factor(gradients, max_norm):
    """min(1, max_norm / (n + 10⁻⁶)); where the ball of the quotient holds 1, the ball of all that it may be.

    A sum of squares is not negative, though its ball may reach below 0.
    """
    ball = load_flint().arb
    squares = sum((g * g for gradient in gradients.values() for g in gradient.entries()), ball(0))
    quotient = max_norm / (squares.nonnegative_part().sqrt() + ball(1e-6))
    return quotient.min(ball(1))


def load_flint():
    """The module flint, which only the oracle needs."""
    try:
        import flint as module
    except ImportError as error:
        raise InputError(
            "python-flint is not installed: the oracle needs it; run `pip install python-flint`, or check at level L1"
        ) from error
    return module


PRECISION = 128  # bits at first
MAX_PRECISION = 2**15
MAX_RELATIVE_RADIUS = 2.0**-96  # a radius relative to its value; the rounding of `low` alone gives 2**-106
SUBNORMAL = 5e-324  # the smallest number above 0


class Enclosure(NamedTuple):
    """A tensor of real numbers, each of them within `radius` of high + low. All three arrays are float64."""

    high: np.ndarray  # the float64 nearest to the midpoint
    low: np.ndarray  # the float64 nearest to what `high` leaves
    radius: np.ndarray  # 0 where the number is known to be 0

    def difference(self, reported) -> np.ndarray:
        """reported − value, to within the radius and a relative 2⁻⁵²: the first difference is exact if it is small."""
        return (np.asarray(reported, np.float64) - self.high) - self.low


def oracle(case: WindowCase) -> dict[str, Enclosure]:
    """The enclosure of every tensor that this case may require, with a radius below 2⁻⁹⁶ of the value.

    The learning rate is rounded to the case's dtype, other options are not; "mean" divides by K·B·O, and relu'(0) = 0.
    The precision is doubled until the radii are small and the sign of every pre-activation of a relu is
    certain. A number below the range of float64 is enclosed around 0.

    Raises InputError without python-flint, on NaN or infinity, and on a case that overflows float64.
    """
    flint = load_flint()
    arrays = {**case.params._asdict(), "x": case.x, "target": case.target, "h_0": case.h_0, "weights": case.weights}
    arrays["η"] = None if case.step is None else case.step.learning_rate
    if case.velocity is not None:
        arrays |= {"v" + name: v for name, v in case.velocity._asdict().items()}
    for name, array in arrays.items():
        if array is not None and not np.isfinite(array).all():
            raise InputError(f"{name} contains NaN or infinity: expected finite numbers")
    precision = PRECISION
    while precision <= MAX_PRECISION:
        with flint.ctx.workprec(precision):
            balls = compute(case)
            enclosures = None if balls is None else _enclosures(case, balls)
        if enclosures is not None:
            return enclosures
        precision *= 2
    raise InputError(
        f"this case is not enclosed at {MAX_PRECISION} bits: it overflows float64, or relu' depends on a cancellation"
    )


def compute(case: WindowCase) -> dict[str, list[Any]] | None:
    """The intervals, balls (flint.arb), of every tensor that may be required, flattened, at flint's present precision.

    None if a ball that a relu takes contains 0 and other numbers, so that its derivative is not known.
    """
    flint, case = load_flint(), with_rows(case)
    T, B, _, H, O, K = case_sizes(case).values()
    steps, (nonlinearity, loss_name, reduction) = range(1, T + 1), case.objective
    phi, row_loss = NONLINEARITIES[nonlinearity], LOSSES[loss_name]

    W_xh, W_hh, W_hy = map(matrix, case.params[:3])
    ones, second = flint.arb_mat(B, 1, [1] * B), getattr(case.params, "b_hh", None)
    bias_h, bias_y = flint.arb_mat(B, H), flint.arb_mat(B, O)
    if case.params.b_h is not None:
        bias_h, bias_y = (ones * matrix(b) for b in case.params[3:5])
    bias_h = bias_h if second is None else bias_h + ones * matrix(second)
    x = {t: matrix(case.x[t - 1]) for t in steps}
    target = {t: matrix(case.target[t - 1 - (T - K)]) for t in steps if t > T - K}
    a, h, slope, y = {}, {0: matrix(initial_state(case))}, {}, {}
    for t in steps:
        a[t] = x[t] * W_xh + h[t - 1] * W_hh + bias_h
        states = [phi(ball) for ball in a[t].entries()]
        if None in states:
            return None
        h[t], slope[t] = (flint.arb_mat(B, H, list(part)) for part in zip(*states))
        y[t] = h[t] * W_hy + bias_y

    w = dict(zip(target, (np.ones((K, B)) if case.weights is None else case.weights).tolist()))
    total = sum((flint.arb(number) for row in w.values() for number in row), flint.arb(0))
    divisor = DIVISORS[reduction](total if row_loss is _cross_entropy else total * O)
    loss, dy = flint.arb(0), {t: flint.arb_mat(B, O) for t in steps}
    for t in target:
        losses, errors = zip(*map(row_loss, y[t].tolist(), target[t].tolist()))
        loss += sum((flint.arb(number) * l for number, l in zip(w[t], losses)), flint.arb(0)) / divisor
        weighted = [flint.arb(number) * e / divisor for number, row in zip(w[t], errors) for e in row]
        dy[t] = flint.arb_mat(B, O, weighted)

    dh, da = {}, {T + 1: flint.arb_mat(B, H)}
    for t in reversed(steps):
        dh[t] = dy[t] * W_hy.transpose() + da[t + 1] * W_hh.transpose()
        da[t] = each(mul, dh[t], slope[t])
    dh_0 = da[1] * W_hh.transpose()

    def summed(lefts, rights):
        return reduce(add, (left.transpose() * right for left, right in zip(lefts, rights)))

    dys, das = ([d[t] for t in steps] for d in (dy, da))
    gradients = {"W_xh": summed(x.values(), das), "W_hh": summed(h.values(), das)}
    gradients["W_hy"] = summed([h[t] for t in steps], dys)
    sums = {"b_h": das, "b_y": dys, "b_hh": das, "h_0": None}
    for name, terms in sums.items():
        if getattr(case.params, name, None) is not None:
            gradients[name] = dh_0 if terms is None else summed([ones] * T, terms)
    sequences = {"a": a, "h": h, "y": y, "dy": dy, "dh": dh, "da": da}
    sequences["dx"] = {t: da[t] * W_xh.transpose() for t in steps}
    balls = {"loss": [loss], "dh_0": dh_0.entries()}
    balls |= {name: [ball for t in steps for ball in sequence[t].entries()] for name, sequence in sequences.items()}
    balls |= {"d" + name: gradient.entries() for name, gradient in gradients.items()} | step(case, gradients)
    return {name: balls[name] for name in required_outputs(case, intermediates=True, input_gradients=True)}


def _tanh(a):
    """tanh and its derivative, of one ball."""
    return a.tanh(), a.sech() ** 2


def _relu(a):
    """relu and its derivative, of one ball; None if the ball does not say which side of the kink it is on."""
    if a > 0:
        return a, 1
    return (0, 0) if a < 0 or a.is_zero() else None


def _sigmoid(a):
    """The logistic function and its derivative, of one ball: σ(a) and σ(a) σ(−a), in which nothing cancels."""
    h = 1 / (1 + (-a).exp())
    return h, h / (1 + a.exp())


NONLINEARITIES = {"tanh": _tanh, "relu": _relu, "sigmoid": _sigmoid}
DIVISORS = {"sum": lambda terms: 1, "mean": lambda terms: terms if terms > 0 else 1}


def _squared_error(y, target):
    """The loss of a row of balls, and its derivative."""
    errors = [a - b for a, b in zip(y, target)]
    return sum((e * e for e in errors), load_flint().arb(0)) / 2, errors


def _cross_entropy(y, target):
    """The same of softmax cross-entropy: Σ target log S − Σ target (y − m), and p Σ target − target.

    m is the y whose midpoint is the largest, so that its own difference is exactly 0, and log S = log(1 + the other
    terms). Of a class, p − 1 is minus the sum of the other p. So nothing cancels where one p is nearly 1.
    """
    zero = load_flint().arb(0)
    largest = max(range(len(y)), key=lambda o: float(y[o].mid()))
    z = [zero if o == largest else number - y[largest] for o, number in enumerate(y)]
    terms = [number.exp() for number in z]
    rest = sum((term for o, term in enumerate(terms) if o != largest), zero)
    log_S, total = rest.log1p(), sum(target, zero)
    loss = total * log_S - sum((q * number for q, number in zip(target, z)), zero)
    p = [term / (1 + rest) for term in terms]
    if sorted(map(float, target)) == [0.0] * (len(target) - 1) + [1.0]:
        others = sum((part for q, part in zip(target, p) if q == 0), zero)
        return loss, [part if q == 0 else -others for q, part in zip(target, p)]
    return loss, [total * part - q for q, part in zip(target, p)]


def _given_dy(y, dy):
    """The derivative itself; the loss is not required."""
    return load_flint().arb(0), dy


LOSSES: dict[str, Any] = {"squared_error": _squared_error, "cross_entropy": _cross_entropy, GIVEN_DY: _given_dy}


def _enclosures(case, balls) -> dict[str, Enclosure] | None:
    """Arrays of the balls; None if a radius is too large."""
    shapes = required_outputs(case, intermediates=True, input_gradients=True)
    flat = [ball for name in shapes for ball in balls[name]]
    high = np.array([float(ball) for ball in flat])
    if not np.isfinite(high).all():
        return None
    rests = [ball - nearest for ball, nearest in zip(flat, high.tolist())]
    low = np.array([float(rest) for rest in rests])
    # In addition to the radius of the ball: the rounding of `low`, and of what is below the range of float64.
    below = np.array([0.0 if ball.is_zero() else SUBNORMAL for ball in flat])
    radius = np.array([float(rest.rad()) for rest in rests])
    radius = (radius + 2.0**-53 * np.abs(low) + 2 * below) * (1 + 2.0**-50)
    if not (radius <= MAX_RELATIVE_RADIUS * np.abs(high) + 4 * below).all():
        return None
    stops = np.cumsum([len(balls[name]) for name in shapes]).tolist()
    places = zip(shapes.items(), (0, *stops), stops)
    return {n: Enclosure(*(v[i:j].reshape(shape) for v in (high, low, radius))) for (n, shape), i, j in places}
