"""Derivatives by perturbing the forward pass, and the derived bound E of every tensor of a window.

The definition of a total derivative is executed. Step t has a copy of the parameters of its own, and a number may be
added to any value on its way (DERIVATION.md, sections 4.1 and 5). Real or complex numbers; written step by step and in
full, as a witness that shares no line with `numpy_rnn.forward`.

E says how far from its true value rounding alone may move a number. Every stage rounds. By how much at most, e_v for
every number v of it, is what the conformance suite's level L1 allows (`conformance/bounds/local_bounds.py`). What
becomes of that further on is a matter of derivatives: a later number q moves by ∂q/∂v e_v, to first order in the unit
roundoff u. So

    E_q = Σ_v |∂q/∂v| e_v

over all numbers v of all stages. The ∂q/∂v are found by complex step, in a forward and backward pass into which one may
reach. Level L2 of the suite carries the sizes |W| from step to step, holds without "to first order", and is for windows
of a few steps: over twenty, products of |W| outgrow any product of W, and would grant 10¹¹ times what is granted here.

Source: Higham, Accuracy and Stability of Numerical Algorithms, 2nd edition, sections 1.5 and 3.1 to 3.5: first-order
bounds as condition times backward error, and γ_n.
"""

from collections.abc import Callable, Mapping, Sequence
from math import prod

import numpy as np

from numpy_rnn.common.records import Activations, Parameters, WindowCase
from numpy_rnn.study.checks.comparison import Witnessed
from numpy_rnn.study.checks.equations import divisor
from numpy_rnn.study.suite_parts import ROUNDING, Values, initial_state, present, stage_bounds

NONLINEARITIES: dict[str, Callable[..., np.ndarray]] = {
    "tanh": np.tanh,
    "relu": lambda a: np.where(a.real > 0, a, 0),  # also of complex numbers: its slope is 0 or 1, and 0 at zero
}


def unrolled(
    copies: Sequence[Parameters], x, h_0, nonlinearity: str = "tanh", added: Mapping[tuple[str, int], np.ndarray] = {}
) -> Activations:
    """Run (F1) to (F3) step by step, step t with `copies[t-1]`.

    x: (T, B, D); h_0: (B, H). added: what is added to "x", "a", "h" or "y" at a step, by (name, t), t from 1, before
    anything later reads it; ("h", 0) is the initial state. Copies and additions may carry leading axes N, one entry
    a pass; all passes run at once. Returns Activations with N between time and batch.
    """
    phi = NONLINEARITIES[nonlinearity]

    def perturbed(name, t, value):
        return value + added[name, t] if (name, t) in added else value

    x_t, a, h, y = [], [], [perturbed("h", 0, h_0)], []
    for t, (W_xh, W_hh, W_hy, b_h, b_y, _) in enumerate(copies, start=1):
        x_t.append(perturbed("x", t, x[t - 1]))
        a_t = x_t[-1] @ W_xh + h[-1] @ W_hh
        a.append(perturbed("a", t, a_t if b_h is None else a_t + b_h[..., None, :]))
        h.append(perturbed("h", t, phi(a[-1])))
        y_t = h[-1] @ W_hy
        y.append(perturbed("y", t, y_t if b_y is None else y_t + b_y[..., None, :]))
    return Activations(*(np.stack(np.broadcast_arrays(*v)) for v in (x_t, a, h, y)))


def step_losses(y, target) -> np.ndarray:
    """ℓ_t of every step (L1), undivided: (T, *N, B, O), (T, B, O) → (T, *N). Analytic, so that complex numbers pass."""
    T, *N, B, O = y.shape
    error = y - target.reshape(T, *(1 for _ in N), B, O)
    return 0.5 * (error * error).sum(axis=(-2, -1))


MAX_ELEMENTS = 512  # elements of a tensor; of more, that many are drawn
SEED = 5
IMAGINARY = 2.0**-100  # its square is negligible, and a product with it is exact
# Least h²/6 |L'''| + u|L|/h is at h³ = 3u |L|/|L'''|; this is the power of two next to that for |L'''| = |L|.
REAL = 2.0**-17

Loss = Callable[[complex], np.ndarray]  # what is added → the losses, one for each element


def complex_step(loss: Loss) -> np.ndarray:
    """Im L(θ + iδ) / δ = L' − δ²/6 L''' + …: nothing is subtracted, so nothing cancels."""
    return loss(1j * IMAGINARY).imag / IMAGINARY


def central_difference(loss: Loss) -> np.ndarray:
    """(L(θ + h) − L(θ − h)) / 2h = L' + h²/6 L''' + …, with the rounding of L divided by h."""
    return (loss(REAL) - loss(-REAL)).real / (2 * REAL)


def differentiated(
    case: WindowCase, derivative: Callable[[Loss], np.ndarray] = complex_step, names=None, most: int = MAX_ELEMENTS
) -> dict[str, Witnessed]:
    """∂L/∂v of every v that the loss depends on, by name: dy, dh, da, dx, dh_0 and those of the parameters.

    `names`: only these, without the d. Of a tensor with more than `most` elements so many are drawn, always the same.
    """
    (T, B, D), (H, O) = case.x.shape, case.params.W_hy.shape
    shapes: dict[str, tuple[int, ...]] = {"y": (T, B, O), "h": (T, B, H), "a": (T, B, H), "x": (T, B, D), "h_0": (B, H)}
    shapes |= {name: theta.shape for name, theta in present(case.params).items()}
    result = {}
    for name in shapes if names is None else names:
        zeros, at = np.zeros(shapes[name]), sample(prod(shapes[name]), most)

        def loss(epsilon, name=name, zeros=zeros, at=at):
            return perturbed_loss(case, name, perturb_each(zeros, at, epsilon))

        values = derivative(loss)
        result[f"d{name}"] = Witnessed(at, values, np.zeros_like(values))
    return result


def perturbed_loss(case: WindowCase, name: str, moved: np.ndarray) -> np.ndarray:
    """L (L2) of every pass n, in which moved[n] is added to y, h, a, x, h_0 or a parameter."""
    params, added = case.params, {}
    if name == "h_0":
        added = {("h", 0): moved}
    elif name in Parameters._fields:
        params = params._replace(**{name: getattr(params, name) + moved})
    else:
        added = {(name, t): moved[:, t - 1] for t in range(1, len(case.x) + 1)}
    y = unrolled([params] * len(case.x), case.x, initial_state(case), case.objective.nonlinearity, added).y
    return step_losses(y[-len(case.target) :], case.target).sum(axis=0) / divisor(case)


def perturb_each(zeros: np.ndarray, at: np.ndarray, epsilon: complex) -> np.ndarray:
    """(N, *shape): the n-th is zero but for `epsilon` at element at[n]."""
    moved = np.zeros((len(at), zeros.size), complex if isinstance(epsilon, complex) else float)
    moved[np.arange(len(at)), at] = epsilon
    return moved.reshape(len(at), *zeros.shape)


def sample(size: int, most: int) -> np.ndarray:
    """The numbers of all elements; of more than `most`, so many of them, in order."""
    if size <= most:
        return np.arange(size)
    return np.sort(np.random.default_rng(SEED).choice(size, most, replace=False))


PASSES_AT_ONCE = 256  # passes
STAGES = ("h", "dy", "da")  # into which the pass is reached: what else is rounded acts through one of them


def bounds(case: WindowCase, hand: Values) -> Values:
    """E of every tensor of (F1) to (B10) by name, in its shape, around the values by hand; of `losses` too."""
    allowed = {name: limit for name, limit in stage_bounds(case, hand).items() if name not in Parameters._fields}
    T, K = len(case.x), len(case.target)
    has_loss = np.arange(T)[:, None, None] >= T - K
    slope = 1 - hand["h"] ** 2 if case.objective.nonlinearity == "tanh" else hand["h"] > 0
    rounded = {
        "h": allowed["h"] + np.abs(slope) * allowed["a"],
        "dy": allowed["dy"] + allowed["y"] / divisor(case) * has_loss,
        "da": allowed["da"] + np.abs(slope) * allowed["dh"],
    }
    E = {name: np.zeros_like(limit) for name, limit in allowed.items()}
    for stage in STAGES:
        for first in range(0, rounded[stage].size, PASSES_AT_ONCE):
            at = np.arange(first, min(first + PASSES_AT_ONCE, rounded[stage].size))
            moved = perturb_each(rounded[stage], at, 1j * IMAGINARY).swapaxes(0, 1)  # time first
            for name, value in perturbed_pass(case, {stage: moved}).items():
                change = np.abs(value.imag) / IMAGINARY
                E[name] += np.tensordot(rounded[stage].ravel()[at], change, 1)
    for name in set(E) - set(STAGES):
        E[name] += allowed[name]
    return E | {"losses": bound_of_losses(case, hand, E["y"])}


def bound_of_losses(case: WindowCase, hand: Values, E_y: np.ndarray) -> np.ndarray:
    """E of every ℓ_t (L1): (|y − target| + E/2) E of every output, and the rounding of a sum of squares."""
    K, B, O = case.target.shape
    error, E = np.abs(hand["y"][-K:] - case.target), E_y[-K:]
    inherited = ((error + E / 2) * E).sum(axis=(-2, -1))
    return inherited + ROUNDING.gamma(B * O + 2) * hand["losses"] + ROUNDING.flushes(B * O)


def perturbed_pass(case: WindowCase, moved: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Every tensor of the window in N passes, (N, *its shape). moved: what is added to h, dy or da, (T, N, B, ·).

    The backward pass is written as in `backward.py`, with φ'(a_t) from h_t, because its roundings are followed.
    """
    W_xh, W_hh, W_hy, b_h, *_ = case.params
    (T, B, D), H, K = case.x.shape, len(case.params.W_hh), len(case.target)
    N, is_tanh = next(iter(moved.values())).shape[1], case.objective.nonlinearity == "tanh"
    nothing = np.zeros((T, 1, 1, 1))
    add_h, add_dy, add_da = (moved.get(stage, nothing) for stage in STAGES)
    h_0 = np.broadcast_to(initial_state(case), (N, B, H))
    added = {("h", t): add_h[t - 1] for t in range(1, T + 1)}
    _, a, h, y = unrolled([case.params] * T, case.x, h_0, case.objective.nonlinearity, added)
    error = np.zeros_like(y)
    error[T - K :] = (y[T - K :] - case.target[:, None]) / divisor(case)
    dy, dh, da, flow = error + add_dy, [y[0]] * T, [a[0]] * T, np.zeros((N, B, H))
    for t in reversed(range(T)):
        dh[t] = dy[t] @ W_hy.T + flow
        da[t] = dh[t] * (1 - h[t + 1] ** 2 if is_tanh else h[t + 1].real > 0) + add_da[t]
        flow = da[t] @ W_hh.T
    steps = {"a": a, "h": h[1:], "y": y, "dy": dy, "dh": np.stack(dh), "da": np.stack(da)}
    result = {name: values.swapaxes(0, 1) for name, values in steps.items()}
    before, x = h[:-1].swapaxes(0, 1), np.broadcast_to(case.x, (N, T, B, D))
    result["loss"] = 0.5 * ((result["y"][:, -K:] - case.target) ** 2).sum(axis=(1, 2, 3)) / divisor(case)
    result["dx"], result["dh_0"] = result["da"] @ W_xh.T, flow
    for name, inputs, adjoints in (("dW_xh", x, "da"), ("dW_hh", before, "da"), ("dW_hy", result["h"], "dy")):
        result[name] = inputs.reshape(N, T * B, -1).mT @ result[adjoints].reshape(N, T * B, -1)
    if b_h is not None:
        result["db_h"], result["db_y"] = result["da"].sum(axis=(1, 2)), result["dy"].sum(axis=(1, 2))
    return result
