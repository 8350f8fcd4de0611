"""Derivatives by perturbing the forward pass: the definition of a total derivative, executed.

Step t has a copy of the parameters of its own, and a number may be added to any value on its way (DERIVATION.md,
sections 4.1 and 5). Real or complex numbers; written step by step and in full, as a witness that shares no line with
`numpy_rnn.forward`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from numpy_rnn.common.errors import Choices
from numpy_rnn.common.records import Activations, Parameters
from numpy_rnn.conformance.case import Case
from numpy_rnn.study.checks.equations import Values, present
from numpy_rnn.study.checks.witnesses import Witnessed, whole


def _relu(a):
    return np.where(a.real > 0, a, 0)  # also of complex numbers: its slope is 0 or 1, and 0 at zero


NONLINEARITIES: Choices[Any] = Choices("nonlinearity", tanh=np.tanh, relu=_relu)


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


def complex_step(loss: Loss, step: float = IMAGINARY) -> np.ndarray:
    """Im L(θ + iδ) / δ = L' − δ²/6 L''' + …: nothing is subtracted, so nothing cancels."""
    return loss(1j * step).imag / step


def central_difference(loss: Loss, step: float = REAL) -> np.ndarray:
    """(L(θ + h) − L(θ − h)) / 2h = L' + h²/6 L''' + …, with the rounding of L divided by h."""
    return (loss(step) - loss(-step)).real / (2 * step)


def differentiated(
    case: Case, derivative: Callable[[Loss], np.ndarray], names=None, most: int = MAX_ELEMENTS
) -> dict[str, Witnessed]:
    """∂L/∂v of every v that the loss depends on, by name: dy, dh, da, dx, dh_0 and those of the parameters.

    `names`: only these. Of a tensor with more than `most` elements so many are drawn, always the same.
    """
    result = {}
    for name, at, loss in perturbed(case, most):
        if names is None or name in names:
            values = derivative(loss)
            result[name] = Witnessed(at, values, np.zeros_like(values))
    return result


def perturbed(case: Case, most: int) -> Iterator[tuple[str, np.ndarray, Loss]]:
    """Name, elements, and the losses as functions of what is added to each of these."""
    T, B, D, H, O, _ = case.sizes.values()
    for name, width in (("y", O), ("h", H), ("a", H), ("x", D)):
        at = sample(T * B * width, most)

        def check_steps(epsilon, name=name, shape=(T, B, width), at=at):
            moved = perturb_each(np.zeros(shape), at, epsilon)
            return losses(case, case.params, {(name, t): moved[:, t - 1] for t in range(1, T + 1)})

        yield "d" + name, at, check_steps
    at = sample(B * H, most)

    def of_initial_state(epsilon, at=at):
        return losses(case, case.params, {("h", 0): perturb_each(np.zeros((B, H)), at, epsilon)})

    yield "dh_0", at, of_initial_state
    for name, theta in present(case.params._replace(h_0=None)).items():
        at = sample(theta.size, most)

        def of_parameter(epsilon, name=name, theta=theta, at=at):
            return losses(
                case, case.params._replace(**{name: theta + perturb_each(np.zeros(theta.shape), at, epsilon)})
            )

        yield "d" + name, at, of_parameter


def losses(case: Case, params: Parameters, added=None) -> np.ndarray:
    """L (L2) of every pass, from a forward pass that is written out step by step."""
    y = unrolled([params] * len(case.x), case.x, case.h_0, case.nonlinearity, added or {}).y
    K, B, O = case.target.shape
    return step_losses(y[-K:], case.target).sum(axis=0) / (K * B * O if case.reduction == "mean" else 1)


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


STEPS = 10.0 ** -np.linspace(1, 15, 85)  # six a decade
SMALLER_STEPS = 10.0 ** -np.arange(16.0, 281.0, 4)  # of the complex step alone
WIDE = 1e-3  # of the difference of complex steps that gives L'''
UNIT_ROUNDOFF = 2.0**-53


def v_curve(case: Case, hand: Values, balls: dict[str, Witnessed] | None) -> dict[str, Any] | None:
    """Relative errors of ∂L/∂W_hh,ij by step, for the element with the largest derivative; None if all are zero.

    Measured against ball arithmetic; without it against the value by hand, and then an error below a rounding or two
    says nothing.
    """
    W_hh = case.params.W_hh
    at = int(np.abs(hand["dW_hh"]).argmax())
    true = whole(hand["dW_hh"]) if balls is None else balls["dW_hh"]
    value, rest = float(true.high[at]), float(true.low[at])
    size = abs(value)
    if not size:
        return None

    def loss(epsilon):
        moved = W_hh + perturb_each(np.zeros_like(W_hh), np.array([at]), epsilon)
        return losses(case, case.params._replace(W_hh=moved))

    def errors(derivative, steps):
        return [abs(float(derivative(loss, h)[0]) - value - rest) / size for h in steps]

    third, L = abs(third_derivative(loss)), float(abs(loss(0.0)[0]))
    truncation, rounding = third / 6 / size, UNIT_ROUNDOFF * L / size
    central = errors(central_difference, STEPS)
    smaller = errors(complex_step, SMALLER_STEPS)
    best = int(np.argmin(central))
    i, j = divmod(at, len(W_hh))
    return {
        "element": f"W_hh[{i + 1}, {j + 1}]",
        "value": value,
        "against": "by hand" if balls is None else "ball arithmetic",
        "steps": STEPS.tolist(),
        "central": central,
        "complex": errors(complex_step, STEPS),
        "smaller_steps": SMALLER_STEPS.tolist(),
        "complex_smaller": smaller,
        "truncation": truncation,  # times h²: relative
        "rounding": rounding,  # over h: relative
        "predicted_step": float((rounding / (2 * truncation)) ** (1 / 3)) if truncation and rounding else None,
        "best_step": float(STEPS[best]),
        "best_error": central[best],
        "complex_error": max(smaller),
        "unit_roundoff": UNIT_ROUNDOFF,
    }


def third_derivative(loss) -> float:
    """L''' by the second difference of L', which is known to the last digits by complex step."""

    def slope(shift):
        return float(complex_step(lambda epsilon: loss(shift + epsilon))[0])

    return (slope(WIDE) - 2 * slope(0.0) + slope(-WIDE)) / WIDE**2
