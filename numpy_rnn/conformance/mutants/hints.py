"""Hints: the mutants that a wrong result resembles. A hint is not a verdict.

A mutant fits if it gives the wrong numbers of every tensor, not only of the one that is reported. A port is compared on
a case of several steps, because many mistakes are the same in a window of one step.
"""

import numpy as np

from numpy_rnn.app.trace import PER_UPDATE, PLACE, ROWS
from numpy_rnn.conformance.bounds.global_bounds import check_global, global_bounds
from numpy_rnn.conformance.case import FIELDS, format_errors, one_bias
from numpy_rnn.conformance.mutants.catalogue import MUTANTS, load
from numpy_rnn.conformance.ports.backends import PackagePort
from numpy_rnn.conformance.ports.port import call_port
from numpy_rnn.conformance.recipes import restricted
from numpy_rnn.conformance.traces.drive import trace_of
from numpy_rnn.conformance.traces.judge import TAU, TENSORS, judge
from numpy_rnn.conformance.traces.trace_format import first_updates, settings_of
from numpy_rnn.conformance.truncations import (
    MAX_CANDIDATES,
    candidates,
    gradients_of,
    truncation_of,
    with_truncation,
)

EXPLAINED = 0.02  # a mutant explains a wrong tensor if less than this part of its deviation is left
MAX_BY_ORACLE = 30  # updates that are checked again by the oracle for a hint
MAX_HINTS = 3  # if more mutants fit, the numbers do not tell them apart, and none is named
MIN_SIZES = {"T": 5, "B": 2, "D": 2, "H": 3, "O": 2}  # of the case on which a port is compared


def looks_like(names: list[str]) -> str:
    """The hints as the end of a message: nothing, one, or those that all fit."""
    return f"; looks like: {', or '.join(names)}" if names else ""


def hints(trace, divergence, experiment, configuration, right) -> list[str]:
    """The mutants whose run goes wrong at the same update, and gives the same wrong values there.

    Where the reference itself has been changed, the mutants of the changed lines cannot be made, and are left out.
    right: a module with the functions of numpy_rnn that is not wrong. Every mutant that is possible is run from the
    same start up to the epoch of the divergence; that costs what these epochs cost, once for every mutant.
    """
    if settings_of(trace).truncation or "b_hh" in trace:  # the mutants have neither
        return truncation_hints(trace, divergence)
    configuration = configuration.changed(epochs=divergence.epoch)
    reported = _values(trace, divergence)
    expected = _values(trace_of(right, experiment, configuration), divergence)
    found = []
    for mutant in _mutants_up_to(divergence.tensor):
        try:
            with np.errstate(all="ignore"):
                values = _values(trace_of(load(mutant), experiment, configuration), divergence)
        except (ValueError, LookupError):  # its shapes do not admit the mistake, or its line has been changed
            continue
        if _explains_update(divergence.tensor, reported, values, expected):
            found.append(mutant.name)
    found = found or truncation_hints(trace, divergence)
    return found if len(found) <= MAX_HINTS else []


def truncation_hints(trace, divergence) -> list[str]:
    """The other truncations under which the run is right, up to and with the update that diverges."""
    trace = first_updates(trace, 1 + int(np.argmax((trace["epoch"] == divergence.epoch)
                                                   & (trace["number"] == divergence.number))))  # fmt: skip
    if divergence.tensor == "window" or trace["initial_W_hh"].ndim > 2 or settings_of(trace).learns(trace):
        return []
    if "a" not in trace and len(trace["epoch"]) > MAX_BY_ORACLE:
        return []
    asked = settings_of(trace).truncation
    found = []
    for other in candidates(int((trace["stop"] - trace["start"]).max())):
        name = "" if other is None else str(other)
        if name == asked or (name == "stale" and "a" not in trace):
            continue
        if judge(with_truncation(trace, other), tau=TAU, whole=False).passed:
            found.append(f"truncation {name}" if name else "TBPTT(k1, k2)")
    return found


def hints_for_port(port, recipe, tau: float, timeout: float = 10.0) -> list[str]:
    """The mutants that give what the port gives for a case like this one, but with several steps.

    Mutants know no other truncation. So a port of one is asked for a window which that does not cut, and then for one
    that it cuts.
    """
    found: list[str] = []
    truncation = truncation_of(recipe.truncation)
    steps = [MIN_SIZES["T"]] if truncation is None else [truncation.steps, truncation.steps + 2]
    for T in steps:
        several = with_several_steps(recipe, T if truncation is None else min(T, MAX_CANDIDATES), truncation is None)
        case = restricted(several, port.lacks, getattr(port, "capabilities", ())).case()
        report, _ = call_port(port, case, timeout)
        if report is not None and not format_errors(case, report, intermediates=False):
            found = found or hints_for_case(case, report, tau)
    return found


def with_several_steps(recipe, T: int = MIN_SIZES["T"], at_least: bool = True):
    """The recipe with sizes of MIN_SIZES at least, with T steps or more, or exactly T, and with as many older steps."""
    sizes = {name: max(getattr(recipe, name), size) for name, size in MIN_SIZES.items()}
    sizes["T"] = max(recipe.T, T) if at_least else T
    return recipe._replace(**sizes, K=max(1, sizes["T"] - (recipe.T - recipe.K)))


def hints_for_case(case, report, tau: float) -> list[str]:
    """The mutants that give the same numbers of every tensor of the report; none if the report is right."""
    bounds = global_bounds(case, tau)
    with np.errstate(all="ignore"):
        ratios = check_global(case, report, tau, bounds=bounds)
    wrong = [name for name in TENSORS if name in ratios and not (ratios[name] <= 1).all()]
    if not wrong:
        return []

    def values_of(package):
        asked = case._replace(params=one_bias(case.params))
        if case.given_dy:  # a target that gives this dy
            y = package.forward(asked.params, case.x, case.h_0, nonlinearity=case.nonlinearity).y
            asked = asked._replace(target=y[-len(case.target) :] - case.target, given_dy=False)
        params = {name: theta for name, theta in asked.params._asdict().items() if theta is not None}
        arrays = (params, asked.x, asked.target, asked.h_0)
        values = PackagePort(package).window_update(*arrays, learning_rate=asked.learning_rate, **asked.options)
        return values | ({"db_hh": values["db_h"]} if "db_hh" in report else {})

    found, T = [], len(case.x)
    of_step = FIELDS if "db_hh" in report else ()  # two biases take another step
    compared = [name for name in report if name.removeprefix("v") not in of_step]
    for mutant in _mutants_up_to(wrong[0]) if case.truncation is None or not case.truncation.cuts(T) else ():
        if mutant.level == "update":
            try:
                with np.errstate(all="ignore"):  # a wrong gradient may well overflow
                    values = values_of(load(mutant))
            except (ValueError, LookupError):  # its line has been changed
                continue
            if all(_fits(report[name], values.get(name), *bounds[name]) for name in compared):
                found.append(mutant.name)
    for other in candidates(T)[:-1] if not found else ():
        if other == case.truncation or (other is None and not case.truncation.cuts(T)):
            continue
        values = gradients_of(case._replace(truncation=other))
        if all(_fits(report[name], values[name], *bounds[name]) for name in report if name in values):
            found.append("TBPTT(k1, k2)" if other is None else f"truncation {other}")
    return found if len(found) <= MAX_HINTS else []


def _mutants_up_to(tensor):
    """The mutants that may explain a report whose first wrong tensor is this one: a mutant of a later stage does not.

    A wrong h makes the a of the next step wrong, and a wrong da the dh of the step before.
    """
    last = TENSORS.index({"a": "h", "dh": "da"}.get(tensor, tensor))
    return [mutant for mutant in MUTANTS if TENSORS.index(mutant.stage) <= last]


def _fits(reported, values, exact, E) -> bool:
    """Whether the mutant's values are those that are reported, to within a small part of the deviation, or rounding."""
    if values is None or np.shape(values) != np.shape(reported):
        return False
    if not np.isfinite(reported).all():  # an overflow, at the same places
        return np.array_equal(np.isfinite(reported), np.isfinite(values))
    deviation = np.abs(exact.difference(reported)).max(initial=0)
    allowed = np.maximum(EXPLAINED * deviation, 2 * E)
    return bool((np.abs(np.asarray(reported, np.float64) - values) <= allowed).all())


def _values(trace, divergence) -> dict[str, np.ndarray]:
    """The tensors of the divergent update; of a wrong schedule, its window. Empty if the run has no such update."""
    at = np.flatnonzero((trace["epoch"] == divergence.epoch) & (trace["number"] == divergence.number))
    if not len(at):
        return {}
    index = at[0]
    if divergence.tensor == "window":
        return {"window": np.array([trace[name][index] for name in ("start", "loss_start", "stop")], np.float64)}
    ends = np.cumsum(trace["stop"] - trace["start"])
    rows = slice(ends[index] - (trace["stop"] - trace["start"])[index], ends[index])
    values = {name: trace[name][rows] for name in ROWS if name in trace}
    given = {*PLACE, "initial"} - {divergence.tensor}  # a port is given the initial state of its window
    values |= {name: trace[name][index] for name in PER_UPDATE if name in trace and name not in given}
    return {name: np.asarray(array, np.float64) for name, array in values.items()}


def _explains_update(tensor, reported, values, expected) -> bool:
    """Whether the values of this update are those that are reported.

    The tensor that diverges must be the same to within a small part of its deviation. In the others, what rounding did
    in the updates before is allowed too.
    """
    if not reported or not expected or not values:
        return not reported and not values and bool(expected)
    if not reported.keys() <= values.keys() or any(values[n].shape != reported[n].shape for n in reported):
        return False
    if expected[tensor].shape != reported[tensor].shape:
        return np.array_equal(reported[tensor], values[tensor])
    if not np.isfinite(reported[tensor]).all():  # an overflow, at the same places
        return np.array_equal(np.isfinite(reported[tensor]), np.isfinite(values[tensor]))
    for name, array in reported.items():
        comparable = name in expected and expected[name].shape == array.shape
        deviation = np.abs(array - expected[name]).max(initial=0) if comparable else 0.0
        rounding = 0.0 if name == tensor else np.sqrt(np.finfo(np.float32).eps) * np.abs(array).max(initial=0)
        if name == tensor and deviation == 0:
            return False
        if not np.abs(array - values[name]).max(initial=0) <= max(EXPLAINED * deviation, rounding):
            return False
    return True
