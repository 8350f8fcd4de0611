"""For the tests of level L2: random windows, and a port whose every piece can be exchanged.

With its pieces as they are, or with other correct ones, `port` is right; with a wrong piece it is a planted fault.
"""

import numpy as np
from step_port import STEP_PIECES, sgd_step

from numpy_rnn import Parameters
from numpy_rnn.common.records import SgdOptions
from numpy_rnn.conformance.bounds.rounding import UPWARDS
from numpy_rnn.conformance.case import Case
from numpy_rnn.conformance.random_parts import random_velocity
from numpy_rnn.conformance.recipes import random_sgd


def random_window(seed, dtype="float64", largest=6, **fixed) -> Case:
    """Sizes distinct from each other, weights of order one, and every option, all drawn from the seed.

    fixed: what is not to be drawn, of T, B, D, H, O, K, bias, nonlinearity, reduction, learning_rate, sgd, learned and
    velocity, whether one enters where there is momentum.
    """
    random = np.random.default_rng(seed)
    sizes = dict(zip("TBDHO", (int(size) + 1 for size in random.permutation(largest)))) | fixed
    T, B, D, H, O = (sizes[letter] for letter in "TBDHO")
    drawn = {
        "K": int(random.integers(1, T + 1)),
        "bias": bool(random.integers(2)),
        "nonlinearity": ("tanh", "relu")[random.integers(2)],
        "reduction": ("sum", "mean")[random.integers(2)],
        "learning_rate": float(random.uniform(0.01, 0.5)),
    } | fixed

    def normal(deviation, *shape):
        return random.normal(0, deviation, shape).astype(dtype)

    weights = normal(D**-0.5, D, H), normal(H**-0.5, H, H), normal(1, H, O)
    params = Parameters(*weights, *((normal(0.5, H), normal(0.5, O)) if drawn["bias"] else ()))
    arrays = normal(1, T, B, D), normal(1, drawn["K"], B, O), normal(1, B, H)
    sgd = fixed.get("sgd", random_sgd(random))
    learned, enters = (fixed.get(name, bool(random.integers(2))) for name in ("learned", "velocity"))
    if learned:
        params = params._replace(h_0=arrays[2])
    before = random_velocity(random, params) if enters and sgd.momentum else None
    return Case(params, *arrays, drawn["learning_rate"], drawn["nonlinearity"], drawn["reduction"], sgd, before)


def one_unit(x, W_xh, h_0=0.0, target=0.0, nonlinearity="tanh", reduction="sum", dtype="float64"):
    """One step of one unit; x and W_xh may be vectors."""
    x, W_xh = (np.atleast_1d(v).astype(dtype) for v in (x, W_xh))
    params = Parameters(W_xh[:, None], np.full((1, 1), 0.5, dtype), np.full((1, 1), 3.0, dtype))
    others = (np.full(shape, v, dtype) for shape, v in (((1, 1, 1), target), ((1, 1), h_0)))
    return Case(params, x[None, None], *others, 0.25, nonlinearity, reduction)


def huge_window(seed, dtype):
    """All numbers of this window are finite, but not the sum of the squares of its gradient."""
    case = random_window(seed, dtype, nonlinearity="relu", learned=False, sgd=SgdOptions(momentum=0.5, max_norm=1.0))
    largest = np.finfo(dtype).maxexp
    by_input, by_target = (case.dtype.type(2.0 ** int(part * largest)) for part in (0.16, 0.42))
    return case._replace(x=case.x * by_input, h_0=np.abs(case.h_0) * by_input, target=case.target * by_target)


def same(v):
    """v."""
    return v


PIECES = {
    "widen": same,  # of everything that is given
    "keep": same,  # of every result
    "dot": lambda A, B: A @ B,
    "tanh": np.tanh,
    "through_tanh": lambda dh, h, one, a: dh * (one - h * h),
    "through_relu": lambda dh, h, one, a: dh * (h > 0),
    "divide": lambda v, n, one: v / (one * n),
    "W_hh_back": lambda W_hh: W_hh.T,
    **STEP_PIECES,
}


def port(case, **exchanged):
    """The report of one window by (F1) to (U6), with some PIECES exchanged."""
    of = PIECES | exchanged
    keep, dot = of["keep"], lambda A, B: of["keep"](of["dot"](A, B))
    one = of["widen"](case.dtype.type(1))
    W_xh, W_hh, W_hy, b_h, b_y, learned = (None if theta is None else of["widen"](theta) for theta in case.params)
    x, target, h_0 = map(of["widen"], case[1:4])
    T, K = len(x), len(target)
    tanh = case.nonlinearity == "tanh"

    a, h, y = [], [h_0], []
    for x_t in x:
        a.append(keep(dot(x_t, W_xh) + dot(h[-1], W_hh)))
        if b_h is not None:
            a[-1] = keep(a[-1] + b_h)
        h.append(keep(of["tanh"](a[-1]) if tanh else np.maximum(a[-1], 0)))
        y.append(dot(h[-1], W_hy) if b_y is None else keep(dot(h[-1], W_hy) + b_y))
    error = keep(np.stack(y[T - K :]) - target)
    squares = keep(error * error).reshape(1, -1)
    loss = keep(dot(squares, np.ones_like(squares).T)[0, 0] * one / 2)
    counted = error
    if case.reduction == "mean":
        loss, counted = keep(of["divide"](loss, error.size, one)), keep(of["divide"](error, error.size, one))
    dy = np.concatenate((np.zeros_like(np.stack(y))[: T - K], counted))

    dh, da = [None] * T, [None] * T
    for t in reversed(range(T)):
        dh[t] = dot(dy[t], W_hy.T)
        if t < T - 1:
            dh[t] = keep(dh[t] + dot(da[t + 1], of["W_hh_back"](W_hh)))
        da[t] = keep(of["through_tanh" if tanh else "through_relu"](dh[t], h[t + 1], one, a[t]))

    x_rows, before, after, da_rows, dy_rows = (np.concatenate(list(v)) for v in (x, h[:-1], h[1:], da, dy))
    gradients = {"W_xh": dot(x_rows.T, da_rows), "W_hh": dot(before.T, da_rows), "W_hy": dot(after.T, dy_rows)}
    if b_h is not None:
        ones = np.ones_like(dy_rows[:, :1]).T
        gradients |= {"b_h": dot(ones, da_rows)[0], "b_y": dot(ones, dy_rows)[0]}
    dh_0 = dot(da[0], of["W_hh_back"](W_hh))
    if learned is not None:
        gradients["h_0"] = dh_0
    sequences = {"a": a, "h": h[1:], "y": y, "dy": dy, "dh": dh, "da": da, "dx": [dot(d, W_xh.T) for d in da]}
    report = {"loss": loss, "dh_0": dh_0, **sequences, **{"d" + name: d for name, d in gradients.items()}}
    report |= sgd_step(of, case, gradients)
    return {name: np.asarray(value).astype(case.dtype) for name, value in report.items()}


def assert_rounded_up(bound, exact, times=1):
    """The bound is `exact`, made larger by UPWARDS at most so many times, but for float64's own rounding of both."""
    bound, exact, own = np.asarray(bound), np.asarray(exact), 32 * np.finfo(float).eps
    assert (exact * (1 - own) <= bound).all(), f"{bound} is below {exact}"
    assert (bound <= exact * UPWARDS**times * (1 + own)).all(), f"{bound} is too far above {exact}"
