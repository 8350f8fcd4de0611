"""The SGD step of `window_port.port`, (U1) to (U6), in pieces that can be exchanged."""

import numpy as np


def at_once(gradients, keep):
    """The root of the sum of all squares."""
    squares = keep(np.concatenate([g.ravel() for g in gradients]) ** 2)
    return keep(np.sqrt(keep(squares.sum())))


def norm_of_norms(gradients, keep):
    """By the norms of the tensors, as clip_grad_norm_ does it."""
    return at_once([at_once([g], keep) for g in gradients], keep)


def scaled_by(scale_of, gradients, keep):
    """Of numbers that are divided by this scale, which is that of the largest; no square overflows."""
    numbers = np.concatenate([g.ravel() for g in gradients])
    scale = scale_of(np.abs(numbers).max()) or numbers.dtype.type(1)
    return keep(scale * at_once([keep(numbers / scale)], keep))


def scaled_by_largest(gradients, keep):
    """Of numbers that are divided by the largest."""
    return scaled_by(lambda largest: largest, gradients, keep)


def scaled_by_power_of_two(gradients, keep):
    """Of numbers that are divided by the power of two below the largest, which rounds nothing."""
    return scaled_by(lambda largest: largest.dtype.type(np.ldexp(1.0, np.frexp(largest)[1] - 1)), gradients, keep)


STEP_PIECES = {
    "scalar": lambda number, dtype: dtype.type(number),
    "norm": at_once,
    "quotient": lambda M, m, keep: keep(M / m),
    "clip": lambda g, factor, M, m, keep: keep(factor * g),
    "rest": lambda scalar, tau: scalar(1 - tau),
    "plus": lambda a, c, b, keep: keep(a + keep(c * b)),
    "step": lambda theta, rate, d: theta - rate * d,
}


def clipped(of, gradients, max_norm, scalar):
    """(U2), (U3)."""
    if max_norm is None:
        return gradients
    keep, M = of["keep"], scalar(max_norm)
    m = keep(of["norm"](list(gradients.values()), keep) + scalar(1e-6))
    factor = np.minimum(M.dtype.type(1), of["quotient"](M, m, keep))
    return {name: g if factor == 1 else of["clip"](g, factor, M, m, keep) for name, g in gradients.items()}


def sgd_step(of, case, gradients):
    """The velocities, under v and the names of the parameters, and the new parameters."""
    momentum, dampening, nesterov, decay, max_norm, *_ = case.sgd
    keep, widen = of["keep"], of["widen"]

    def scalar(number):
        return widen(np.asarray(of["scalar"](number, case.dtype)))

    def plus(a, c, b):
        return of["plus"](a, c, b, keep)

    rate, rest = widen(case.dtype.type(case.learning_rate)), of["rest"](scalar, dampening)
    velocities, updated = {}, {}
    for name, s in clipped(of, gradients, max_norm, scalar).items():
        theta = widen(getattr(case.params, name))
        if decay:
            s = plus(s, scalar(decay), theta)
        if momentum:
            d, before = s, getattr(case.velocity, name, None)
            if before is None:
                s = d
            else:
                s = plus(keep(scalar(momentum) * widen(before)), rest, d) if dampening else plus(
                    d, scalar(momentum), widen(before))  # fmt: skip
            velocities["v" + name] = s
            s = plus(d, scalar(momentum), s) if nesterov else s
        updated[name] = keep(of["step"](theta, rate, s))
    return velocities | updated


# -- other right ways ------------------------------------------------------------------------------------------------


def to_float64(v):
    return v.astype(np.float64)


def fused(a, c, b, keep):
    """a + cb with one rounding, as by a fused multiply-add: that of float32 is exact in float64."""
    return keep((to_float64(a) + to_float64(c) * to_float64(b)).astype(a.dtype))


CORRECT_STEPS: dict[str, dict] = {
    "as it is": {},
    "by the norms of the tensors": {"norm": norm_of_norms},
    "by scaled numbers": {"norm": scaled_by_power_of_two},
    "by numbers over the largest": {"norm": scaled_by_largest},
    "a product with the reciprocal": {"quotient": lambda M, m, keep: keep(M * keep(1 / m))},
    "the product before the quotient": {"clip": lambda g, factor, M, m, keep: keep(keep(M * g) / m)},
    "options in float64": {"scalar": lambda number, dtype: np.float64(number)},
    "1 - tau of the rounded tau": {"rest": lambda scalar, tau: scalar(1) - scalar(tau)},
    "fused": {"plus": fused, "step": lambda theta, rate, d: fused(theta, -rate, d, lambda v: v)},
}
