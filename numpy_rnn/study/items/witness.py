"""The items and the jacobians by complex step: the definition of a derivative, executed (DERIVATION.md, section 7)."""

from typing import Any

import numpy as np

from numpy_rnn.common.records import Parameters
from numpy_rnn.study.items.items import Items, flat
from numpy_rnn.study.unrolled import step_losses, unrolled

STEP = 1e-100  # its square vanishes beside anything, and what it is multiplied with may be small
MOST = 512  # up to so many parameters, every one is nudged in every copy


def items_by_complex_step(params: Parameters, x, target, h_0, nonlinearity: str, s: int, elements) -> np.ndarray:
    """∂ℓ_t/∂θ_s of the chosen elements, (T, n), where θ_s is step s's copy of the parameters.

    elements: (n,) places in the parameters that are there, flattened and put behind one another. h_0: (B, H), the state
    that enters; where it is learned, only the copy of step 1 has it.
    """
    theta = np.concatenate([p.ravel() for p in params if p is not None])
    nudged = np.broadcast_to(theta, (len(elements), theta.size)).astype(complex)
    nudged[np.arange(len(elements)), elements] += 1j * STEP
    copy, start = {}, 0
    for name, p in params._asdict().items():
        size = 0 if p is None else p.size
        copy[name] = None if p is None else nudged[:, start : start + size].reshape(-1, *p.shape)
        start += size
    copies = [params] * len(x)
    copies[s - 1] = Parameters(**copy)
    initial = copy["h_0"] if s == 1 and params.h_0 is not None else h_0
    y = unrolled(copies, x, initial, nonlinearity).y
    return np.broadcast_to(step_losses(y, target).imag / STEP, (len(x), len(elements)))


def jacobians_by_complex_step(params: Parameters, x, h_0, nonlinearity: str, s: int) -> np.ndarray:
    """∂h_t/∂h_s of the first sequence for all t = 0 to T, (T+1, H, H): a number is added to each unit of h_s."""
    H = params.W_hh.shape[-1]
    added = {("h", s): 1j * STEP * np.eye(H)[:, None, :]}
    return unrolled([params] * len(x), x, h_0, nonlinearity, added).h[:, :, 0].imag / STEP


def check_items(items: Items, params: Parameters, x, target, h_0, nonlinearity: str, seed: int = 0) -> dict[str, Any]:
    """Every item beside its complex step: the largest difference, relative to the largest element of its item.

    With more than MOST parameters, so many (element, step) pairs are drawn, by the seed, and looked at for all t.
    "later": the largest |∂ℓ_t/∂θ_s| for s > t by complex step, which is 0.
    """
    G = flat(items.gradients)
    T, _, P = G.shape
    if P <= MOST:
        chosen = [np.arange(P)] * T
    else:
        drawn = np.random.default_rng(seed).choice(T * P, MOST, replace=False)
        chosen = [drawn[drawn // P == s] % P for s in range(T)]
    worst, at, later, compared = 0.0, (1, 1), 0.0, 0
    for s, elements in enumerate(chosen, start=1):
        found = items_by_complex_step(params, x, target, h_0, nonlinearity, s, elements)
        later = max(later, np.abs(found[: s - 1]).max(initial=0.0))
        difference = np.abs(found - G[:, s - 1, elements])[s - 1 :].max(axis=-1, initial=0.0)
        largest = np.abs(G[s - 1 :, s - 1]).max(axis=-1)
        ratio = np.divide(difference, largest, out=np.where(difference > 0, np.inf, 0.0), where=largest > 0)
        compared += len(elements) * (T - s + 1)
        if ratio.max() > worst:
            worst, at = ratio.max(), (s + int(ratio.argmax()), s)
    return {
        "items": T * (T + 1) // 2,
        "elements": compared,
        "of": P * T * (T + 1) // 2,
        "difference": float(worst),
        "at": {"t": at[0], "s": at[1]},
        "later": float(later),
    }


def check_jacobians(J: np.ndarray, params: Parameters, x, h_0, nonlinearity: str) -> float:
    """The largest difference to complex step, relative to the largest element of its jacobian. J: of `jacobians`."""
    worst = 0.0
    for s in range(len(J)):
        difference = np.abs(jacobians_by_complex_step(params, x, h_0, nonlinearity, s) - J[:, s]).max(axis=(-2, -1))
        largest = np.abs(J[:, s]).max(axis=(-2, -1))
        ratio = np.divide(difference, largest, out=np.where(difference > 0, np.inf, 0.0), where=largest > 0)
        worst = max(worst, float(ratio.max()))
    return worst
