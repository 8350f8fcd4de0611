"""Derivatives by perturbing the conformance suite's definition, and the derived bound E of every tensor of a window.

The definition of a total derivative is executed: a number is added to a parameter, an input or a state, or to any
tensor on its way (DERIVATION.md, sections 4.1 and 5). Many passes, each with another addition, run at once, along one
more axis.

E says how far from its true value rounding alone may move a number. Every stage rounds. By how much at most, e_v for
every number v of it, is what the conformance suite's level L1 allows. What becomes of that further on is a matter of
derivatives: a later number q moves by ∂q/∂v e_v, to first order in the unit roundoff u. So

    E_q = Σ_v |∂q/∂v| e_v

over all numbers v of all stages. The ∂q/∂v are found by complex step. Level L2 of the suite carries the sizes |W| from
step to step, holds without "to first order", and is for windows of a few steps: over twenty, products of |W| outgrow
any product of W, and would grant 10¹¹ times what is granted here.

Source: Higham, Accuracy and Stability of Numerical Algorithms, 2nd edition, sections 1.5 and 3.1 to 3.5: first-order
bounds as condition times backward error, and γ_n.
"""

from collections.abc import Callable
from math import prod

import numpy as np

from numpy_rnn.common.records import WindowCase, tree_map
from numpy_rnn.study.checks.comparison import Witnessed
from numpy_rnn.study.checks.equations import BY_STEP, divisor
from numpy_rnn.study.suite_parts import (
    FORWARD,
    Definition,
    Floats,
    Moved,
    Values,
    bounds_of_losses,
    initial_state,
    present,
    squared_error,
    stage_bounds,
    window_update,
)

MAX_ELEMENTS = 512  # elements of a tensor; of more, that many are drawn
SEED = 5
IMAGINARY = 2.0**-100  # its square is negligible, and a product with it is exact
# Least h²/6 |L'''| + u|L|/h is at h³ = 3u |L|/|L'''|; this is the power of two next to that for |L'''| = |L|.
REAL = 2.0**-17

Loss = Callable[[complex], np.ndarray]  # what is added → the losses, one for each element


def passes(case: WindowCase) -> WindowCase:
    """The case without its step, with an axis N for passes: its arrays have one for all, or another for each."""
    params = tree_map(lambda theta: theta[None], case.params)
    return case._replace(params=params, h_0=initial_state(case)[None], step=None)  # type: ignore[arg-type]


def forward(
    case: WindowCase, added: dict[tuple[str, int], np.ndarray], of: Definition = FORWARD
) -> Values:
    """a, h, y and the loss of all passes, (T, N, ...). added: what is added to a tensor, by its name and step."""
    return window_update(case, Moved(added), of)


def step_losses(y: np.ndarray, target: np.ndarray) -> np.ndarray:
    """ℓ_t of every step (L1), undivided: (T, *N, B, O), (T, B, O) → (T, *N)."""
    target = target.reshape(len(y), *(1,) * (y.ndim - 3), *target.shape[1:])
    return squared_error(Floats(np.float64), y, target)[0].sum(axis=(-2, -1))


def complex_step(loss: Loss) -> np.ndarray:
    """Im L(θ + iδ) / δ = L' − δ²/6 L''' + …: nothing is subtracted, so nothing cancels."""
    return loss(1j * IMAGINARY).imag / IMAGINARY


def central_difference(loss: Loss) -> np.ndarray:
    """(L(θ + h) − L(θ − h)) / 2h = L' + h²/6 L''' + …, with the rounding of L divided by h."""
    return (loss(REAL) - loss(-REAL)).real / (2 * REAL)


def differentiated(
    case: WindowCase,
    derivative: Callable[[Loss], np.ndarray] = complex_step,
    names=None,
    most: int = MAX_ELEMENTS,
) -> dict[str, Witnessed]:
    """∂L/∂v of every v that the loss depends on, by name: dy, dh, da, dx, dh_0 and those of the parameters.

    `names`: only these, without the d. Of a tensor with more than `most` elements so many are drawn, always the same.
    """
    (T, B, D), (H, O) = case.x.shape, case.params.W_hy.shape
    shapes: dict[str, tuple[int, ...]] = {
        "y": (T, B, O),
        "h": (T, B, H),
        "a": (T, B, H),
        "x": (T, B, D),
        "h_0": (B, H),
    }
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
    of = passes(case._replace(params=case.params._replace(h_0=None), h_0=initial_state(case)))
    if name in ("y", "h", "a"):
        return forward(of, {(name, t): moved[:, t - 1] for t in range(1, len(case.x) + 1)})["loss"]
    if name == "h_0":
        of = of._replace(h_0=of.h_0 + moved)
    elif name == "x":
        of = of._replace(x=case.x[:, None] + moved.swapaxes(0, 1))
    else:
        of = of._replace(params=of.params._replace(**{name: getattr(of.params, name) + moved}))
    return forward(of, {})["loss"]


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
STAGES = (
    "h",
    "dy",
    "da",
)  # into which the pass is reached: what else is rounded acts through one of them


def bounds(case: WindowCase, hand: Values) -> Values:
    """E of every tensor of (F1) to (B10) by name, in its shape, around the values by hand; of `losses` too."""
    allowed, T, K = stage_bounds(case, hand), len(case.x), len(case.target)
    has_loss = np.arange(T)[:, None, None] >= T - K
    slope = np.abs(
        Floats(np.float64).by_slope(
            np.array(1.0), hand["a"], hand["h"], case.objective.nonlinearity
        )
    )
    rounded = {
        "h": allowed["h"] + slope * allowed["a"],
        "dy": allowed["dy"] + allowed["y"] / divisor(case) * has_loss,
        "da": allowed["da"] + slope * allowed["dh"],
    }
    E = {name: np.zeros_like(limit) for name, limit in allowed.items()}
    for stage in STAGES:
        for first in range(0, rounded[stage].size, PASSES_AT_ONCE):
            at = np.arange(first, min(first + PASSES_AT_ONCE, rounded[stage].size))
            moved = perturb_each(rounded[stage], at, 1j * IMAGINARY)
            for name, value in moved_window(case, stage, moved).items():
                E[name] += np.tensordot(
                    rounded[stage].ravel()[at], np.abs(value.imag) / IMAGINARY, 1
                )
    for name in set(E) - set(STAGES):
        E[name] += allowed[name]
    losses = bounds_of_losses(
        hand["y"][-K:], E["y"][-K:], case.target, case.objective._replace(reduction="sum")
    )
    return E | {"losses": np.array([loss.E for loss, _ in losses])}


def moved_window(case: WindowCase, stage: str, moved: np.ndarray) -> Values:
    """Every tensor of the window in N passes, (N, *its shape). moved: what is added to a stage, (N, T, B, ·)."""
    of, N, T = passes(case), *moved.shape[:2]
    h_0 = np.broadcast_to(of.h_0, (N, *of.h_0.shape[1:]))
    of = of._replace(params=of.params._replace(h_0=None), h_0=h_0)
    tensors = window_update(of, Moved({(stage, t): moved[:, t - 1] for t in range(1, T + 1)}))
    return {
        name: value.swapaxes(0, 1) if name in BY_STEP else value for name, value in tensors.items()
    }
