"""Witnesses of a window, and how far the values by hand are from theirs.

Plain loops, RTRL, ball arithmetic and autograd compute the same tensors in other ways. Differences are absolute and
in units of the bound, aggregated by equation.
"""

import importlib
from collections.abc import Callable, Mapping
from fractions import Fraction
from importlib.util import find_spec
from math import fsum, tanh
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import WindowCase
from numpy_rnn.study.checks.equations import Equation, by_hand, divisor, element, initial_state
from numpy_rnn.study.findings import Difference, EquationCheck
from numpy_rnn.study.suite_parts import Enclosure, enclosures, ratios, sech_squared


class Witnessed(NamedTuple):
    """The values that a witness computes for some elements of a tensor: high + low, to within its own accuracy."""

    at: np.ndarray  # which elements, as indices into the flattened tensor
    high: np.ndarray
    low: np.ndarray  # zero, but of witnesses that know more digits than a float64 has

    def difference(self, hand: np.ndarray) -> np.ndarray:
        """by hand − witness, of these elements."""
        return (hand.ravel()[self.at] - self.high) - self.low


def whole(values, low=None) -> Witnessed:
    """The values that a witness computes for all elements."""
    values = np.asarray(values, np.float64).ravel()
    return Witnessed(np.arange(values.size), values, np.zeros_like(values) if low is None else np.ravel(low))


def compare(witness: str, hand: np.ndarray, witnessed: Witnessed, E: np.ndarray) -> Difference:
    """The largest differences; E: the derived bound of every element of `hand`."""
    hand = np.asarray(hand)
    difference = np.abs(witnessed.difference(hand))
    bounds = ratios(difference, np.ravel(E)[witnessed.at]).max()
    return Difference(witness, float(difference.max()), float(bounds), difference.size, hand.size)


def aggregate(differences: list[Difference]) -> list[Difference]:
    """One difference per witness, in the order of their first appearance: the largest of all, by unit."""
    result = []
    for witness in dict.fromkeys(one.witness for one in differences):
        largest, bounds, compared, of = zip(
            *((d.difference, d.bounds, d.compared, d.of) for d in differences if d.witness == witness)
        )
        result.append(Difference(witness, max(largest), max(bounds), sum(compared), sum(of)))
    return result


class EquationChecker:
    """Collects the differences of one equation."""

    def __init__(self, equation: Equation):
        self.equation, self.differences = equation, list[Difference]()
        self.element, self.values = "", dict[str, float]()

    def add(self, hand: np.ndarray, E: np.ndarray, witnesses: Mapping[str, Witnessed]) -> None:
        """Compare a tensor with each witness."""
        self.differences += [compare(name, hand, witnessed, E) for name, witnessed in witnesses.items()]

    def show(self, hand: np.ndarray, witnesses: Mapping[str, Witnessed], params: Any = None) -> None:
        """Show the largest element, in size, of those that all witnesses computed. params: see `element`."""
        common = np.arange(np.size(hand))
        for witnessed in witnesses.values():
            common = np.intersect1d(common, witnessed.at)
        flat = np.ravel(hand)
        at = int(common[np.abs(flat[common]).argmax()])
        self.element = element(self.equation, at, np.shape(hand), params)
        self.values = {"by hand": float(flat[at])}
        self.values |= {name: float((v.high + v.low)[v.at == at][0]) for name, v in witnesses.items()}

    def findings(self, where: str) -> EquationCheck:
        """The largest differences and the element. where: the numbers are from, in words."""
        what, quantity, _ = self.equation
        return EquationCheck(what, quantity, where, aggregate(self.differences), self.element, self.values)


Results = dict[str, dict[str, Witnessed]]


def evaluate(
    witnesses: Mapping[str, Callable[[Any], dict[str, Witnessed]]], problem: Any, absent: dict[str, str]
) -> Results:
    """The tensors that each witness computes, by witness and tensor.

    A witness that is not installed, or that cannot compute this problem, has its reason in `absent` instead.
    """
    results: Results = {}
    for name, witness in witnesses.items():
        try:
            results[name] = witness(problem)
        except InputError as error:
            absent[name] = str(error)
    return results


def named(results: Results, tensor: str) -> dict[str, Witnessed]:
    """The values of one tensor, by witness."""
    return {witness: values[tensor] for witness, values in results.items() if tensor in values}


def loops(case: WindowCase) -> dict[str, Witnessed]:
    """a, h, y by (F1) to (F3), the losses ℓ_t (L1) and L (L2) by their index forms, element by element.

    No product of NumPy's, no tanh of its own: math.fsum adds without an error, math.tanh is the C library's.
    """
    (T, B, D), (H, O), K = case.x.shape, case.params.W_hy.shape, len(case.target)
    W_xh, W_hh, W_hy = (W.tolist() for W in case.params[:3])
    b_h, b_y = ([0.0] * size if bias is None else bias.tolist() for bias, size in zip(case.params[3:5], (H, O)))
    x, target, before = case.x.tolist(), case.target.tolist(), initial_state(case).tolist()
    phi = tanh if case.objective.nonlinearity == "tanh" else lambda v: max(v, 0.0)
    a, h, y = np.empty((T, B, H)), np.empty((T, B, H)), np.empty((T, B, O))
    for t in range(T):
        for b in range(B):
            for j in range(H):
                inputs = [x[t][b][d] * W_xh[d][j] for d in range(D)]
                states = [before[b][i] * W_hh[i][j] for i in range(H)]
                a[t, b, j] = fsum((*inputs, *states, b_h[j]))
                h[t, b, j] = phi(a[t, b, j])
        before = h[t].tolist()
        for b in range(B):
            for o in range(O):
                y[t, b, o] = fsum((*(before[b][i] * W_hy[i][o] for i in range(H)), b_y[o]))
    squares = [[(y[T - K + k, b, o] - target[k][b][o]) ** 2 for b in range(B) for o in range(O)] for k in range(K)]
    losses = [fsum(step) / 2 for step in squares]
    values = {"a": a, "h": h, "y": y, "losses": losses, "loss": fsum(losses) / divisor(case)}
    return {name: whole(v) for name, v in values.items()}


def rtrl(case: WindowCase) -> dict[str, Witnessed]:
    """The gradients of (B4) to (B9) by name, dh_0 of every sequence, (B, H).

    θ are the rows of one matrix V of shape (D+H+1, H), in which W_xh, W_hh and b_h lie upon each other, so that
    a_t = z_t V with z_t = (x_t, h_{t-1}, 1); and the state h_0.
    """
    (T, B, D), (H, O), K = case.x.shape, case.params.W_hy.shape, len(case.target)
    W_xh, W_hh, W_hy, b_h, b_y, _ = case.params
    M = D + H + 1
    V = np.concatenate((W_xh, W_hh, (np.zeros(H) if b_h is None else b_h)[None]))
    bias_y = np.zeros(O) if b_y is None else b_y
    is_tanh = case.objective.nonlinearity == "tanh"

    h = initial_state(case)
    J = np.zeros((B, H, M + 1, H))  # J[b, j, m, i] = ∂h_{t,bj}/∂V_mi, and in row M ∂h_{t,bj}/∂h_{0,bi}
    J[:, :, M] = np.eye(H)
    dV, dh_0, dW_hy, db_y = np.zeros((M, H)), np.zeros((B, H)), np.zeros((H, O)), np.zeros(O)
    diagonal = np.arange(H)
    for t in range(T):
        z = np.concatenate((case.x[t], h, np.ones((B, 1))), axis=-1)
        a = z @ V
        h, slope = (np.tanh(a), sech_squared(a)) if is_tanh else (np.maximum(a, 0), 1.0 * (a > 0))
        D_t = slope[:, :, None] * W_hh.T  # ∂h_{t,bj}/∂h_{t-1,bi}
        J = (D_t @ J.reshape(B, H, -1)).reshape(B, H, M + 1, H)
        J[:, diagonal, :M, diagonal] += slope.T[:, :, None] * z  # I_t: ∂a_{t,bj}/∂V_mj = z_{t,bm}
        if t < T - K:
            continue
        error = (h @ W_hy + bias_y - case.target[t - (T - K)]) / divisor(case)
        by_parameter = np.einsum("bj,bjmi->bmi", error @ W_hy.T, J)
        dV += by_parameter[:, :M].sum(axis=0)
        dh_0 += by_parameter[:, M]
        dW_hy += h.T @ error
        db_y += error.sum(axis=0)

    gradients = {"dW_xh": dV[:D], "dW_hh": dV[D : D + H], "dW_hy": dW_hy, "dh_0": dh_0}
    gradients |= {} if b_h is None else {"db_h": dV[M - 1], "db_y": db_y}
    return {name: whole(v) for name, v in gradients.items()}


def balls(case: WindowCase) -> dict[str, Witnessed]:
    """The midpoint of every tensor's ball by name, `losses` among them; the radii are below 2⁻⁹⁶ of it.

    Raises InputError without python-flint, and where the balls stay too wide to be of use.
    """
    if find_spec("flint") is None:
        raise InputError("python-flint is not installed")
    values = enclosures(case)
    result = {name: whole(value.high, value.low) for name, value in values.items()}
    return result | {"losses": step_losses(values["y"], case.target)}


def step_losses(y: Enclosure, target: np.ndarray) -> Witnessed:
    """Every ℓ_t (L1) from the balls of y, in fractions: (T, B, O), (K, B, O) → (K,)."""
    K = len(target)
    midpoints = zip(*(v[-K:].reshape(K, -1).tolist() for v in (y.high, y.low)))
    exact = [
        sum(((Fraction(h) + Fraction(l) - Fraction(v)) ** 2 for h, l, v in zip(high, low, wanted)), Fraction()) / 2
        for (high, low), wanted in zip(midpoints, target.reshape(K, -1).tolist())
    ]
    return from_exact(exact)


def from_exact(numbers: list[Any]) -> Witnessed:
    """Fractions or decimals, as a sum of two float64: some 106 bits."""
    high = [float(number) for number in numbers]
    return whole(high, [float(number - type(number)(nearest)) for number, nearest in zip(numbers, high)])


def check_torch() -> None:
    """Raise InputError where PyTorch is not installed."""
    if find_spec("torch") is None:
        raise InputError("PyTorch is not installed")


def autograd(case: WindowCase) -> dict[str, Witnessed]:
    """Every tensor of the window by name, as torch_rnn computes it. Raises InputError without PyTorch."""
    check_torch()
    return {name: whole(v) for name, v in by_hand(case, importlib.import_module("torch_rnn")).items()}
