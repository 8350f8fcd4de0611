"""How far apart rounding may drive two correct programs in the first updates of a character model.

The training of min-char-rnn is chaotic: with its 100 units, a difference of an ulp is one of 1 within 50 updates. So
the first updates are checked: the loss of each, and the parameters after the last. As in `rounding_drift.py`, a float64
computation is repeated with every number perturbed, up or down at random. The size of the perturbations is what level
L1 allows the stage that computes the number, for a sum of n terms divided by √n: the bound of L1 is for roundings that
all go one way, and n roundings with random signs add up to about √n of them (Higham, Accuracy and Stability of
Numerical Algorithms, 2nd edition, section 2.8). For a single window that makes little difference; here every update
amplifies it.

The program is independent of all rows: min-char-rnn has columns for its states, and torch and JAX differentiate.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from benchmarks.rounding_drift import PROGRAMS, REPEATS, Bounds, Perturb, cached, unperturbed
from benchmarks.rows import PARAMETERS
from benchmarks.workloads import MAX_GRADIENT, Case
from numpy_rnn.common.records import SgdOptions
from numpy_rnn.conformance.bounds.local_bounds import stages
from numpy_rnn.conformance.case import Case as Window

ADAGRAD_EPS = 1e-8  # under the root
STACKED = ("a", "h", "y", "dy", "dh", "da")  # arrays with an axis of steps
Report = dict[str, Any]  # by name: the numbers of an update


def updates(case: Case, perturb: Callable[[int], Perturb] = lambda number: unperturbed) -> Iterator[Report]:
    """Every update of a training in float64, of one sequence: all numbers of its report, by name.

    perturb(n): what perturbs the numbers of update n, from 0, as soon as they are computed; the sums of squares are
    "vW_xh" and so on. "start" has the parameters, sums of squares, inputs, targets and state before the update.
    """
    params, x, target, h = case.arrays()
    p = {name: getattr(params, name).astype(np.float64) for name in PARAMETERS}
    squares = {name: np.zeros_like(value) for name, value in p.items()}
    rate = float(np.dtype(case.dtype).type(case.learning_rate))
    h, k = h.astype(np.float64), case.k2
    assert k is not None
    for n, first in enumerate(range(0, len(x), k)):
        chunk = slice(first, first + k)
        start = p, squares, x[chunk], target[chunk], h
        report = _update(p, squares, x[chunk, 0], target[chunk, 0], h[0], rate, perturb(n))
        p = {name: report[name] for name in PARAMETERS}
        squares = {name: report["v" + name] for name in PARAMETERS}
        h = report["h"][-1]
        yield report | {"start": start}


def _update(p, squares, x, target, h_0, rate, perturb):
    """One chunk: x and target are classes, (T,), and h_0 is (H,)."""
    W_hh, W_hy = p["W_hh"], p["W_hy"]
    T = len(x)
    of: dict[str, list[Any]] = {name: [None] * T for name in STACKED}
    h, loss = h_0, 0.0
    for t in range(T):
        of["a"][t] = perturb("a", t, p["W_xh"][x[t]] + h @ W_hh + p["b_h"])
        of["h"][t] = h = perturb("h", t, np.tanh(of["a"][t]))
        of["y"][t] = y = perturb("y", t, h @ W_hy + p["b_y"])
        log_p = y - y.max()
        log_p -= np.log(np.exp(log_p).sum())
        loss -= log_p[target[t]]
        dy = np.exp(log_p)
        dy[target[t]] -= 1
        of["dy"][t] = perturb("dy", t, dy)
    d = {name: np.zeros_like(value) for name, value in p.items()}
    later = np.zeros_like(h_0)
    for t in reversed(range(T)):
        h, h_before, dy = of["h"][t], of["h"][t - 1] if t else h_0, of["dy"][t]
        of["dh"][t] = perturb("dh", t, dy @ W_hy.T + later)
        of["da"][t] = da = perturb("da", t, of["dh"][t] * (1 - h * h))
        d["W_xh"][x[t]] += da
        d["W_hh"] += np.outer(h_before, da)
        d["W_hy"] += np.outer(h, dy)
        d["b_h"] += da
        d["b_y"] += dy
        later = da @ W_hh.T
    report: Report = {name: np.stack(values)[:, None] for name, values in of.items()} | {"loss": loss}
    for name, value in p.items():
        report["d" + name] = gradient = perturb("d" + name, 0, d[name])
        clipped = gradient.clip(-MAX_GRADIENT, MAX_GRADIENT)
        report["v" + name] = m = perturb("v" + name, 0, squares[name] + clipped * clipped)
        report[name] = perturb(name, 0, value - rate * clipped / np.sqrt(m + ADAGRAD_EPS))
    return report


def typical_roundings(case: Case, report: Report) -> dict[str, np.ndarray]:
    """By name, how far rounding usually moves each number of an update in the case's dtype: see above."""
    terms = {"a": case.D + case.H + 1, "y": case.H + 1, "dh": case.O + case.H}
    terms |= {"d" + name: len(report["y"]) for name in PARAMETERS}
    allowed = {name: size for name, (_, size) in stages(window_of(case, report), report).items()}
    return {name: size / np.sqrt(terms.get(name, 1)) for name, size in allowed.items()}


def window_of(case: Case, report: Report) -> Window:
    """The update in the form of the equivalence suite, in the case's dtype."""
    p, squares, x, target, h_0 = report["start"]
    given = case.arrays()[0]
    params, velocity = (
        given._replace(**{name: value.astype(case.dtype) for name, value in values.items()}) for values in (p, squares)
    )
    options = SgdOptions(max_value=MAX_GRADIENT, adagrad=True)
    rate = float(np.dtype(case.dtype).type(case.learning_rate))
    arrays = params, x, target, h_0.astype(case.dtype)
    return Window(*arrays, rate, sgd=options, velocity=velocity, loss="cross_entropy")


@cached
def character_bounds(case: Case) -> Bounds:
    """The loss of every update and the parameters after the last, and how far from each a row's may be.

    The drift of the losses never decreases, since an update in which it cancels by chance says nothing about another
    program; that of parameters is the largest of a tensor.
    """
    exact = list(updates(case))
    sizes = [typical_roundings(case, report) for report in exact]
    generator = np.random.default_rng(0)

    def perturbations(n):
        def perturb(name, t, value):
            size = sizes[n][name][t, 0] if name in STACKED else sizes[n][name]
            return value + size * generator.choice((-1.0, 1.0), np.shape(value))

        return perturb

    losses = np.array([report["loss"] for report in exact])
    drift = np.zeros_like(losses)
    ends = {name: np.max(sizes[-1][name]) for name in PARAMETERS}
    for _ in range(REPEATS):
        for n, report in enumerate(updates(case, perturbations)):
            # The differences of the outputs may cancel in the loss.
            off = np.sum(np.abs(exact[n]["dy"] * (report["y"] - exact[n]["y"]))) + np.abs(report["loss"] - losses[n])
            drift[n] = max(drift[n], off + sizes[n]["loss"])
        for name, largest in ends.items():
            ends[name] = max(largest, np.max(np.abs(report[name] - exact[-1][name])))
    programs = PROGRAMS if case.dtype == "float64" else 1  # then the float64 computation has roundings like a row's
    bounds = {"losses": (losses, programs * np.maximum.accumulate(drift))}
    for name, largest in ends.items():
        value = exact[-1][name]
        bounds[name] = value, np.broadcast_to(programs * largest, value.shape)
    return bounds
