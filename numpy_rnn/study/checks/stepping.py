"""Derivatives from their definition: reach into the forward pass, add a small number, and see what the loss does.

One pass for every element that is looked at, all at once. Two ways of taking the number: imaginary, the complex step
(DERIVATION.md, section 7), and real, the central difference.

Source: Squire and Trapp 1998, Using complex variables to estimate derivatives of real functions, SIAM Review 40 (1).
"""

from collections.abc import Callable, Iterator

import numpy as np

from numpy_rnn.common.records import Parameters
from numpy_rnn.conformance.case import Case
from numpy_rnn.study.checks.comparing import Witnessed
from numpy_rnn.study.checks.problem import present
from numpy_rnn.study.unrolled import step_losses, unrolled

MOST = 512  # elements of a tensor; of more, that many are drawn
SEED = 5
IMAGINARY = 2.0**-100  # its square vanishes beside 1, and its product with a number rounds nothing
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
    case: Case, derivative: Callable[[Loss], np.ndarray], names=None, most: int = MOST
) -> dict[str, Witnessed]:
    """∂L/∂v of every v that the loss hangs on, by name: dy, dh, da, dx, dh_0 and those of the parameters.

    `names`: only these. Of a tensor with more than `most` elements so many are drawn, always the same.
    """
    found = {}
    for name, at, loss in reached(case, most):
        if names is None or name in names:
            values = derivative(loss)
            found[name] = Witnessed(at, values, np.zeros_like(values))
    return found


def reached(case: Case, most: int) -> Iterator[tuple[str, np.ndarray, Loss]]:
    """Name, elements, and the losses as functions of what is added to each of these."""
    T, B, D, H, O, _ = case.sizes.values()
    for name, width in (("y", O), ("h", H), ("a", H), ("x", D)):
        at = sample(T * B * width, most)

        def of_steps(epsilon, name=name, shape=(T, B, width), at=at):
            moved = one_each(np.zeros(shape), at, epsilon)
            return losses(case, case.params, {(name, t): moved[:, t - 1] for t in range(1, T + 1)})

        yield "d" + name, at, of_steps
    at = sample(B * H, most)

    def of_initial_state(epsilon, at=at):
        return losses(case, case.params, {("h", 0): one_each(np.zeros((B, H)), at, epsilon)})

    yield "dh_0", at, of_initial_state
    for name, theta in present(case.params._replace(h_0=None)).items():
        at = sample(theta.size, most)

        def of_parameter(epsilon, name=name, theta=theta, at=at):
            return losses(case, case.params._replace(**{name: theta + one_each(np.zeros(theta.shape), at, epsilon)}))

        yield "d" + name, at, of_parameter


def losses(case: Case, params: Parameters, added=None) -> np.ndarray:
    """L (L2) of every pass, from a forward pass that is written out step by step."""
    y = unrolled([params] * len(case.x), case.x, case.h_0, case.nonlinearity, added or {}).y
    K, B, O = case.target.shape
    return step_losses(y[-K:], case.target).sum(axis=0) / (K * B * O if case.reduction == "mean" else 1)


def one_each(zeros: np.ndarray, at: np.ndarray, epsilon: complex) -> np.ndarray:
    """(N, *shape): the n-th is zero but for `epsilon` at element at[n]."""
    moved = np.zeros((len(at), zeros.size), complex if isinstance(epsilon, complex) else float)
    moved[np.arange(len(at)), at] = epsilon
    return moved.reshape(len(at), *zeros.shape)


def sample(size: int, most: int) -> np.ndarray:
    """The numbers of all elements; of more than `most`, so many of them, in order."""
    if size <= most:
        return np.arange(size)
    return np.sort(np.random.default_rng(SEED).choice(size, most, replace=False))
