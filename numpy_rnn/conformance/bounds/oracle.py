"""Interval (ball) arithmetic of one case: every tensor with a rigorous radius, far below the rounding of float64.

A ball is a midpoint and a radius. The oracle calls none of the network's modules. The numbers of the case are exact,
every operation carries its error along, and tanh' is sech²(a), not 1 − h², so that nothing cancels where the network
saturates. Tensors are arrays of Python objects, flint.arb.

Source: Johansson 2017, Arb: efficient arbitrary-precision midpoint-radius interval arithmetic, IEEE Transactions on
Computers 66 (8); Rump 2010, Verification methods, Acta Numerica 19, section 5.
"""

from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import WindowCase
from numpy_rnn.conformance import case as cases
from numpy_rnn.conformance.case import GIVEN_DY, RateInVelocity, present

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
    The precision is doubled until the radii are small and every relu' is certain; below its range, float64 is 0.

    Raises InputError without python-flint, on NaN or infinity, and on a case that overflows float64.
    """
    flint = load_flint()
    arrays = {**present(case.params), "x": case.x, "target": case.target, "h_0": case.h_0, "weights": case.weights}
    arrays |= {"v" + name: v for name, v in present(case.velocity).items()}
    arrays["η"] = None if case.step is None else case.step.learning_rate
    for name, array in arrays.items():
        if array is not None and not np.isfinite(array).all():
            raise InputError(f"{name} contains NaN or infinity: expected finite numbers")
    precision = PRECISION
    while precision <= MAX_PRECISION:
        with flint.ctx.workprec(precision):
            tensors = compute(case)
            enclosures = None if tensors is None else _enclosures(tensors)
        if enclosures is not None:
            return enclosures
        precision *= 2
    raise InputError(
        f"this case is not enclosed at {MAX_PRECISION} bits: it overflows float64, or relu' depends on a cancellation"
    )


def load_flint():
    """The module flint, which only the oracle needs."""
    try:
        import flint
    except ImportError as error:
        raise InputError(
            "python-flint is not installed: the oracle needs it; run `pip install python-flint`, or check at level L1"
        ) from error
    return flint


def balls(array: Any) -> Any:
    """Exactly these numbers."""
    return each(load_flint().arb)(np.asarray(array, np.float64))


def each(f: Any, results: int = 1) -> Any:
    """The function of arrays that is f of every ball."""
    return np.frompyfunc(f, 1, results)


def product(A: Any, B: Any) -> Any:
    """AB, of matrices."""
    left, right = (load_flint().arb_mat(*M.shape, M.ravel().tolist()) for M in (A, B))
    return np.array((left * right).entries(), object).reshape(len(A), B.shape[1])


def compute(case: WindowCase) -> dict[str, Any] | None:
    """The balls of every tensor that may be required, at flint's present precision; None if a relu' is not known."""
    case = cases.with_rows(case)
    T, B, D, H, O, K = cases.case_sizes(case).values()
    nonlinearity, loss_name, reduction = case.objective
    p = {name: balls(theta) for name, theta in present(case.params).items()}
    W_xh, W_hh, W_hy = p["W_xh"], p["W_hh"], p["W_hy"]
    x, target, weights = map(balls, (case.x, case.target, np.ones((K, B)) if case.weights is None else case.weights))
    a, h, slope = list[Any](), [balls(cases.initial_state(case))], list[Any]()
    for x_t in x:
        a.append(product(x_t, W_xh) + product(h[-1], W_hh) + p.get("b_h", 0) + p.get("b_hh", 0))
        h_t, slope_t = NONLINEARITIES[nonlinearity](a[-1])
        if any(ball is None for ball in slope_t.flat):
            return None
        h, slope = [*h, h_t], [*slope, slope_t]
    y = (product(np.concatenate(h[1:]), W_hy) + p.get("b_y", 0)).reshape(T, B, O)

    losses, errors = LOSSES[loss_name](y[-K:], target)
    terms = weights.sum() * (1 if loss_name == "cross_entropy" else O)
    divisor = terms if reduction == "mean" and terms > 0 else 1
    dy = np.concatenate((balls(np.zeros((T - K, B, O))), weights[..., None] * errors / divisor))

    dh, da, flow = list[Any](), list[Any](), balls(np.zeros((B, H)))
    for t in reversed(range(T)):
        dh.insert(0, product(dy[t], W_hy.T) + flow)
        da.insert(0, dh[0] * slope[t])
        flow = product(da[0], W_hh.T)

    rows = {name: np.concatenate(list(steps)) for name, steps in {"x": x, "h": h, "dy": dy, "da": da}.items()}
    pairs = {"W_xh": (rows["x"], rows["da"]), "W_hh": (rows["h"][:-B], rows["da"]), "W_hy": (rows["h"][B:], rows["dy"])}
    gradients = {name: product(left.T, right) for name, (left, right) in pairs.items()}
    others = {"b_h": rows["da"].sum(0), "b_y": rows["dy"].sum(0), "b_hh": rows["da"].sum(0), "h_0": flow}
    gradients |= {name: others[name] for name in others if name in p}
    dx = product(rows["da"], W_xh.T).reshape(T, B, D)
    loss = np.array((weights * losses).sum() / divisor, object)
    tensors = {"loss": loss, "a": a, "h": h[1:], "y": y, "dy": dy, "dh": dh, "da": da, "dh_0": flow, "dx": dx}
    tensors |= {"d" + name: gradient for name, gradient in gradients.items()} | step(case, p, gradients)
    return {name: np.array(tensors[name], object) for name in cases.required_outputs(case, True, True)}


def step(case: WindowCase, p: dict[str, Any], gradients: dict[str, Any]) -> dict[str, Any]:
    """Velocities and new parameters. η is rounded to the dtype; the other options are float64, as 10⁻⁶ and 10⁻⁸ are."""
    if case.step is None:
        return {}
    learning_rate, momentum, dampening, nesterov, decay, adagrad, max_norm, max_value = case.step
    ball = load_flint().arb
    rate, inside = ball(-float(case.params.W_hh.dtype.type(learning_rate))), isinstance(case.step, RateInVelocity)
    factor, velocities, parameters = ball(1), {}, {}
    if max_norm is not None:  # a sum of squares is not negative, though its ball may reach below 0
        squares = sum(((g * g).sum() for g in gradients.values()), ball(0)).nonnegative_part()
        factor = (ball(max_norm) / (squares.sqrt() + ball(1e-6))).min(ball(1))
    for name, gradient in gradients.items():
        s, before = gradient * factor, getattr(case.velocity, name, None)
        if max_value is not None:
            s = each(lambda number: number.min(ball(max_value)).max(-ball(max_value)))(s)
        s = s + p[name] * ball(decay) if decay else s
        s = s * rate if inside else s
        if adagrad:
            v = velocities["v" + name] = s * s if before is None else balls(before) + s * s
            s = s / each(lambda square: (square.nonnegative_part() + ball(1e-8)).sqrt())(v)
        elif momentum:
            v = s if before is None else balls(before) * ball(momentum) + s * (1 - ball(dampening))
            velocities["v" + name] = v
            s = s + v * ball(momentum) if nesterov else v
        parameters[name] = p[name] + (s if inside else s * rate)
    return velocities | parameters


def _relu(a):
    """relu and its derivative, of one ball; None if the ball does not say which side of the kink it is on."""
    zero = load_flint().arb(0)
    return (a, zero + 1) if a > 0 else (zero, zero) if a < 0 or a.is_zero() else (a, None)


def _sigmoid(a):
    """The logistic function and its derivative, of one ball: σ(a) and σ(a) σ(−a), in which nothing cancels."""
    h = 1 / (1 + (-a).exp())
    return h, h / (1 + a.exp())


NONLINEARITIES = {
    "tanh": each(lambda a: (a.tanh(), a.sech() ** 2), results=2),
    "relu": each(_relu, results=2),
    "sigmoid": each(_sigmoid, results=2),
}


def _squared_error(y, target):
    """The losses of rows of balls, and their derivatives."""
    errors = y - target
    return (errors * errors).sum(-1) / 2, errors


def _cross_entropy(y, target):
    """The same of softmax cross-entropy: Σ target log S − Σ target (y − m), and p Σ target − target.

    m is the y whose midpoint is the largest, so that its own difference is exactly 0, and log S = log(1 + the other
    terms). Of a class, p − 1 is minus the sum of the other p. So nothing cancels where one p is nearly 1.
    """
    largest = y.astype(np.float64).argmax(axis=-1)[..., None]
    is_largest = np.arange(y.shape[-1]) == largest
    z = np.where(is_largest, load_flint().arb(0), y - np.take_along_axis(y, largest, axis=-1))
    terms, total, numbers = each(lambda number: number.exp())(z), target.sum(-1), target.astype(np.float64)
    rest = (terms * ~is_largest).sum(-1)
    p = terms / (1 + rest[..., None])
    is_class = (numbers == 1) & ((numbers != 0).sum(-1, keepdims=True) == 1)
    others = (p * ~is_class).sum(-1, keepdims=True)
    losses = total * each(lambda number: number.log1p())(rest) - (target * z).sum(-1)
    return losses, np.where(is_class, -others, total[..., None] * p - target)


LOSSES: dict[str, Any] = {
    "squared_error": _squared_error,
    "cross_entropy": _cross_entropy,
    GIVEN_DY: lambda y, dy: (0 * dy.sum(-1), dy),  # the loss is not required
}


def _enclosures(tensors: dict[str, Any]) -> dict[str, Enclosure] | None:
    """Arrays of the balls; None if a radius is too large."""
    flat = np.concatenate([tensor.ravel() for tensor in tensors.values()])
    high = flat.astype(np.float64)
    if not np.isfinite(high).all():
        return None
    rests = flat - high
    low = rests.astype(np.float64)
    # In addition to the radius of the ball: the rounding of `low`, and of what is below the range of float64.
    below = np.array([0.0 if ball.is_zero() else SUBNORMAL for ball in flat])
    radius = np.array([float(rest.rad()) for rest in rests])
    radius = (radius + 2.0**-53 * np.abs(low) + 2 * below) * (1 + 2.0**-50)
    if not (radius <= MAX_RELATIVE_RADIUS * np.abs(high) + 4 * below).all():
        return None
    stops = np.cumsum([tensor.size for tensor in tensors.values()])[:-1]
    parts = zip(*(np.split(part, stops) for part in (high, low, radius)))
    return {n: Enclosure(*(v.reshape(tensors[n].shape) for v in part)) for n, part in zip(tensors, parts)}
