"""Witnesses of a window: plain loops, RTRL, ball arithmetic and autograd compute the same tensors in other ways.

The first three run the definition of the conformance suite, or start from its forward pass.
"""

import importlib
from fractions import Fraction
from importlib.util import find_spec
from itertools import chain
from math import fsum, tanh
from operator import mul
from typing import Any

import numpy as np

from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import WindowCase
from numpy_rnn.study.checks.comparison import Witnessed, fractions, from_exact, whole
from numpy_rnn.study.checks.complex_step import step_losses
from numpy_rnn.study.checks.equations import by_hand
from numpy_rnn.study.suite_parts import (
    FORWARD,
    Floats,
    enclosures,
    initial_state,
    sech_squared,
    window_update,
)


class PlainLoops(Floats):
    """Python's floats, no product or tanh of NumPy's: fsum adds without an error, tanh is the C library's."""

    def affine(self, products: Any, *biases: Any) -> Any:
        rows = [[A.tolist() for A in parts] for parts in zip(*(A for A, _ in products))]
        columns = [[B.tolist() for B in parts] for parts in zip(*(B.T for _, B in products))]
        more = list(zip(*(b.tolist() for b in biases if b is not None))) or [()] * len(columns)
        return np.array(
            [
                [
                    fsum(chain(b, *(map(mul, A, B) for A, B in zip(row, column))))
                    for column, b in zip(columns, more)
                ]
                for row in rows
            ]
        )

    def phi(self, a: Any, nonlinearity: str) -> Any:
        return np.vectorize(tanh)(a) if nonlinearity == "tanh" else super().phi(a, nonlinearity)


def loops(case: WindowCase) -> dict[str, Witnessed]:
    """a, h, y by (F1) to (F3), the losses ℓ_t (L1) and L (L2), one product after the other."""
    tensors = window_update(case._replace(step=None), PlainLoops(np.float64), FORWARD)  # type: ignore[arg-type]
    tensors["losses"] = step_losses(tensors["y"][-len(case.target) :], case.target)
    return {name: whole(tensors[name]) for name in ("a", "h", "y", "losses", "loss")}


def rtrl(case: WindowCase) -> dict[str, Witnessed]:
    """The gradients of (B4) to (B9) by name, dh_0 of every sequence, (B, H).

    θ are the rows of one matrix V of shape (D+H+1, H), in which W_xh, W_hh and b_h lie upon each other, so that
    a_t = z_t V with z_t = (x_t, h_{t-1}, 1); and the state h_0. The network has biases.
    """
    (T, B, D), (H, O), (_, W_hh, W_hy) = case.x.shape, case.params.W_hy.shape, case.params[:3]
    M = D + H + 1
    forward = window_update(case._replace(step=None), of=FORWARD)  # type: ignore[arg-type]
    a, h, dy = (
        forward["a"],
        np.concatenate((initial_state(case)[None], forward["h"])),
        forward["dy"],
    )
    slope = sech_squared(a) if case.objective.nonlinearity == "tanh" else 1.0 * (a > 0)
    J = np.zeros(
        (B, H, M + 1, H)
    )  # J[b, j, m, i] = ∂h_{t,bj}/∂V_mi, and in row M ∂h_{t,bj}/∂h_{0,bi}
    J[:, :, M] = np.eye(H)
    dV, dh_0, dW_hy, db_y = np.zeros((M, H)), np.zeros((B, H)), np.zeros((H, O)), np.zeros(O)
    diagonal = np.arange(H)
    for t in range(T):
        z = np.concatenate((case.x[t], h[t], np.ones((B, 1))), axis=-1)
        D_t = slope[t][:, :, None] * W_hh.T  # ∂h_{t,bj}/∂h_{t-1,bi}
        J = (D_t @ J.reshape(B, H, -1)).reshape(B, H, M + 1, H)
        J[:, diagonal, :M, diagonal] += (
            slope[t].T[:, :, None] * z
        )  # I_t: ∂a_{t,bj}/∂V_mj = z_{t,bm}
        by_parameter = np.einsum("bj,bjmi->bmi", dy[t] @ W_hy.T, J)
        dV += by_parameter[:, :M].sum(axis=0)
        dh_0 += by_parameter[:, M]
        dW_hy += h[t + 1].T @ dy[t]
        db_y += dy[t].sum(axis=0)

    gradients = {
        "dW_xh": dV[:D],
        "dW_hh": dV[D : D + H],
        "dW_hy": dW_hy,
        "dh_0": dh_0,
        "db_h": dV[-1],
        "db_y": db_y,
    }
    return {name: whole(v) for name, v in gradients.items()}


def balls(case: WindowCase) -> dict[str, Witnessed]:
    """The midpoint of every tensor's ball by name, `losses` among them; the radii are below 2⁻⁹⁶ of it.

    Raises InputError without python-flint, and where the balls stay too wide to be of use.
    """
    if find_spec("flint") is None:
        raise InputError("python-flint is not installed")
    values = enclosures(case)
    y, K = values["y"], len(case.target)
    midpoints = [Fraction(h) + Fraction(l) for h, l in zip(y.high[-K:].ravel(), y.low[-K:].ravel())]
    squares = [(v - wanted) ** 2 / 2 for v, wanted in zip(midpoints, fractions(case.target))]
    per_step = len(squares) // K
    losses = [sum(squares[k * per_step : (k + 1) * per_step], Fraction()) for k in range(K)]  # (L1)
    return {name: whole(value.high, value.low) for name, value in values.items()} | {
        "losses": from_exact(losses)
    }


def check_torch() -> None:
    """Raise InputError where PyTorch is not installed."""
    if find_spec("torch") is None:
        raise InputError("PyTorch is not installed")


def autograd(case: WindowCase) -> dict[str, Witnessed]:
    """Every tensor of the window by name, as torch_rnn computes it. Raises InputError without PyTorch."""
    check_torch()
    return {
        name: whole(v) for name, v in by_hand(case, importlib.import_module("torch_rnn")).items()
    }
