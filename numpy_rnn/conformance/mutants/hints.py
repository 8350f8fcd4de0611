"""Hints: the mutants, and the other truncations, that a wrong result resembles. A hint is not a verdict.

A mutant fits if it gives the wrong numbers of every tensor, not only of the one that is reported. A port is compared on
a case of several steps, because many mistakes are the same in a window of one step.

Public code often truncates differently from TBPTT(k1, k2):

    dh_t = Σ_{j=0}^{k−1} g_{t,j}, where g_{t,0} = dy_t W_hyᵀ and g_{t,j} = (g_{t+1,j−1} ∘ φ'(a_{t+1})) W_hhᵀ    (R1)
    dh_t is that of (B2) for the newest k steps of a window, and 0 for the steps before                         (R2)
    a_t and h_t of the steps without a loss are those of the update that had step t as a new one                (R3)

Source: (R1) rnnlm of Britz 2015, also in ML-From-Scratch; (R2) Deeplearning4j, tBPTTBackwardLength below the forward
one; (R3), which is a mutant, Sutskever 2013, section 2.8.6, and Mikolov's rnnlm.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from numpy_rnn.common.records import WindowCase
from numpy_rnn.conformance import plain_rnn
from numpy_rnn.conformance.bounds.global_bounds import check_global
from numpy_rnn.conformance.bounds.local_bounds import check_local
from numpy_rnn.conformance.case import INTERMEDIATES, case_dtype, format_errors, initial_state, present, with_rows
from numpy_rnn.conformance.mutants.catalogue import MUTANTS, Mutant, load, trace
from numpy_rnn.conformance.plain_rnn import SLOPES, Arrays
from numpy_rnn.conformance.ports.port import abilities, call_port, tanh_error
from numpy_rnn.conformance.random_cases import Recipe, restricted
from numpy_rnn.conformance.traces.divergence import TENSORS, Divergence
from numpy_rnn.conformance.traces.judge import single, stacks
from numpy_rnn.conformance.traces.recorder import ROWS, RecordedRun
from numpy_rnn.conformance.traces.trace_file import PLACE

EXPLAINED = 0.02  # a mutant explains a wrong tensor if less than this part of its deviation is left
ROUNDING = 1000.0  # units in the last place of the largest number, by which right tensors may differ
MAX_HINTS = 3  # if more mutants fit, the numbers do not tell them apart, and none is named
HINT_SIZES = {"T": 6, "B": 3, "D": 2, "H": 4, "O": 5}  # of the case on which a port is compared; all differ
MAX_STEPS = 30  # of a window that is compared with other truncations


def looks_like(names: list[str]) -> str:
    """The hints as the end of a message."""
    return f"; looks like: {', or '.join(names)}" if names else ""


def hints_for_port(port: Any, recipe: Recipe, timeout: float = 10.0) -> list[str]:
    """The hints for a port on a case like this one, but with several steps, after another update or else the first."""
    sizes: dict[str, Any] = HINT_SIZES | {"T": max(recipe.T, HINT_SIZES["T"])}
    sizes["K"] = max(1, sizes["T"] - (recipe.T - recipe.K))
    for velocity in (True, False):
        case = restricted(recipe._replace(**sizes, velocity=velocity), abilities(port)).case()
        report, _ = call_port(port, case, timeout)
        if report is None or format_errors(case, report, intermediates=False):
            return []
        check = check_local if set(INTERMEDIATES) <= report.keys() else check_global
        with np.errstate(all="ignore"):
            ratios = check(case, report, tanh_error(port))
        if wrong := [name for name in TENSORS if name in ratios and not (ratios[name] <= 1).all()]:
            return hints_for_case(case, report, wrong[0])
    return []


def hints_for_run(recorded: RecordedRun, first: Divergence) -> list[str]:
    """The hints for a run whose first divergence is this one."""
    index, found = recorded.update_index(first.epoch, first.number), []
    if first.tensor not in ("window", "initial"):
        found = hints_for_case(*_single_update(recorded, index, first), first.tensor)
    if not found and recorded.run.params.W_hh.ndim == 2:
        found = [mutant.name for mutant in _candidates(first.tensor, True) if _explains_run(mutant, recorded, first)]
    return found if len(found) <= MAX_HINTS else []


def hints_for_case(case: WindowCase, report: Arrays, tensor: str) -> list[str]:
    """The mutants and truncations that give the numbers of this report, whose first wrong tensor is given."""
    dtype = case_dtype(case)
    case = _as_float64(case)
    with np.errstate(all="ignore"):  # a wrong gradient may well overflow
        right = plain_rnn.window_update(case)
        found = [
            mutant.name
            for mutant in _candidates(tensor, False)
            if _fits(report, load(mutant).window_update(case), right, tensor, dtype)
        ]
        others = truncations(with_rows(case), right) if not found else ()
        found += [name for name, values in others if _fits(report, values, right, tensor, dtype)]
    return found if len(found) <= MAX_HINTS else []


def _candidates(tensor: str, in_run: bool) -> Iterator[Mutant]:
    """The mutants that may explain a report whose first wrong tensor is this one: a mutant of a later stage does not.

    A wrong h makes the a of the next step wrong, and a wrong da the dh of the step before.
    """
    last = TENSORS.index({"a": "h", "dh": "da"}.get(tensor, tensor))
    return (mutant for mutant in MUTANTS if mutant.in_run == in_run and TENSORS.index(mutant.stage) <= last)


def _as_float64(value: Any) -> Any:
    """The case with all its numbers in float64."""
    if isinstance(value, np.ndarray):
        return value.astype(np.float64) if value.dtype.kind == "f" else value
    return type(value)(*map(_as_float64, value)) if hasattr(value, "_fields") else value


def _fits(report: Arrays, values: Arrays, right: Arrays, tensor: str, dtype: np.dtype) -> bool:
    """Whether these values are the reported ones, to within a small part of the deviation, or rounding."""
    for name, reported in report.items():
        if name not in values or name not in right or np.shape(values[name]) != np.shape(reported):
            return False
        if not np.isfinite(reported).all():  # an overflow, at the same places
            return np.array_equal(np.isfinite(reported), np.isfinite(values[name]))
        size = np.abs(right[name]).max(initial=0) + np.abs(reported).max(initial=0)
        deviation = np.abs(reported - right[name]).max(initial=0)
        allowed = max(EXPLAINED * deviation, ROUNDING * np.finfo(dtype).eps * size)
        if not np.abs(reported - values[name]).max(initial=0) <= allowed:
            return False
        if name == tensor and not np.abs(values[name] - right[name]).max(initial=0) > 0.5 * deviation:
            return False
    return True


# -- other truncations -----------------------------------------------------------------------------------------------


def truncations(case: WindowCase, right: Arrays) -> Iterator[tuple[str, Arrays]]:
    """(description, report) under (R1) and (R2), for every k that differs from (B2)."""
    for k in range(1, min(len(case.x), MAX_STEPS)):
        steps = f"{k} step{'s' * (k > 1)}"
        yield f"each loss goes back over {steps} (bptt_truncate = {k - 1})", truncated(case, right, "band", k)
        yield f"the backward pass ends after the newest {steps}", truncated(case, right, "back", k)


def truncated(case: WindowCase, right: Arrays, kind: str, k: int) -> Arrays:
    """The report under another truncation, from that of `plain_rnn`; kind: "band", (R1), or "back", (R2)."""
    p, T = present(case.params), len(case.x)
    slopes = SLOPES[case.objective.nonlinearity](right["h"], right["a"])
    if kind == "band":
        g = right["dy"] @ p["W_hy"].T
        dh = g.copy()
        for _ in range(1, k):
            g = (g[1:] * slopes[1 : len(g)]) @ p["W_hh"].T  # (R1)
            dh[: len(g)] += g
    else:
        dh = np.where(np.arange(T)[:, None, None] < T - k, 0, right["dh"])  # (R2)
    da = dh * slopes
    h = np.concatenate((initial_state(case)[None], right["h"]))
    d = plain_rnn.gradients(p, case.x, h, right["dy"], da)
    dh_0 = da[0] @ p["W_hh"].T
    d |= {"h_0": dh_0} if "h_0" in p else {}
    step = {} if case.step is None else plain_rnn.update(p, d, present(case.velocity), case.step)
    flow = {"dh": dh, "da": da, "dx": da @ p["W_xh"].T, "dh_0": dh_0}
    return right | flow | {"d" + name: gradient for name, gradient in d.items()} | step


# -- runs ------------------------------------------------------------------------------------------------------------


def _single_update(recorded: RecordedRun, index: int, first: Divergence) -> tuple[WindowCase, Arrays]:
    """The case and the report of one update, of the network in which it diverges."""
    stack = next(stack for stack in stacks(recorded) if index in stack.chosen)
    E = recorded.run.params.W_hh.ndim - 2
    at = (int(np.flatnonzero(stack.chosen == index)[0]), *first.element[:E])
    return single(stack.case, at), {name: array[at] for name, array in stack.report.items()}


def _explains_run(mutant: Mutant, recorded: RecordedRun, first: Divergence) -> bool:
    """Whether the run of a mutant gives the values of the update that diverges; right runs up to there are the same."""
    schedule = recorded.run.options.schedule._replace(epochs=first.epoch)
    run = recorded.run._replace(options=recorded.run.options._replace(schedule=schedule))
    try:
        with np.errstate(all="ignore"):
            traces = trace(load(mutant), run), trace(plain_rnn, run)  # type: ignore[arg-type]
    except (ValueError, IndexError, KeyError):  # its shapes do not admit the mistake
        return False
    reported, values, right = (_values(each, first) for each in (recorded, *traces))
    if first.tensor == "window" or not values or not reported:
        return reported.get("window") == values.get("window") and bool(right)
    return _fits(reported, values, right, first.tensor, np.dtype(np.float32))


def _values(recorded: RecordedRun, first: Divergence) -> dict[str, Any]:
    """The tensors of the update that diverges; of a wrong schedule, its window. Empty if there is no such update."""
    updates = recorded.updates
    if not ((updates["epoch"] == first.epoch) & (updates["number"] == first.number)).any():
        return {}
    index = recorded.update_index(first.epoch, first.number)
    if first.tensor == "window":
        return {"window": tuple(int(updates[name][index]) for name in PLACE[2:])}
    ends = np.cumsum(updates["stop"] - updates["start"])
    rows = slice(ends[index - 1] if index else 0, ends[index])
    given = {*PLACE, "initial"} - {first.tensor}  # a port is given the initial state of its window
    return {n: np.float64(v[rows] if n in ROWS else v[index]) for n, v in updates.items() if n not in given}
