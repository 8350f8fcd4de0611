"""Which known mistake does a divergence look like? A hint, not a verdict."""

import numpy as np

import numpy_rnn
from numpy_rnn.app.trace import ROWS
from numpy_rnn.conformance.mutants.catalogue import MUTANTS, load
from numpy_rnn.conformance.ports.backends import PackagePort
from numpy_rnn.conformance.traces.drive import trace_of

EXPLAINED = 0.02  # a mistake explains a wrong tensor when less than this part of its deviation is left


def hints(trace, divergence, experiment, configuration, right) -> list[str]:
    """The mutants whose run goes wrong at the same update and tensor and gives the same wrong values.

    Where the reference itself has been changed, the mutants of the changed lines cannot be made, and are left out.
    right: a module with the functions of numpy_rnn that is not wrong. Every mutant is run from the same start up to
    the epoch of the divergence; that costs what these epochs cost, once for every mutant.
    """
    configuration = configuration.changed(epochs=divergence.epoch)
    reported = _values(trace, divergence)
    expected = _values(trace_of(right, experiment, configuration), divergence)
    found = []
    for mutant in MUTANTS:
        try:
            with np.errstate(all="ignore"):
                values = _values(trace_of(load(mutant), experiment, configuration), divergence)
        except (ValueError, LookupError):  # its shapes do not admit the mistake, or its line has been changed
            continue
        if _explains(reported, values, expected):
            found.append(mutant.name)
    return found


def hints_for_case(case, report, tensor) -> list[str]:
    """The mutants that give the same wrong values of this tensor for one window update."""

    def ask(package):
        port = PackagePort(package)
        params = {name: theta for name, theta in case.params._asdict().items() if theta is not None}
        arrays = (params, case.x, case.target, case.h_0)
        with np.errstate(all="ignore"):  # a wrong gradient may well overflow
            return port.window_update(*arrays, learning_rate=case.learning_rate, **case.options)[tensor]

    reported, expected = report[tensor], ask(numpy_rnn)
    found = []
    for mutant in MUTANTS:
        if mutant.level == "update":
            try:
                values = ask(load(mutant))
            except LookupError:  # its line has been changed
                continue
            if _explains(reported, values, expected):
                found.append(mutant.name)
    return found


def _values(trace, divergence) -> np.ndarray:
    """The tensor of the divergent update; of a wrong schedule, its window. Empty when the run has no such update."""
    at = np.flatnonzero((trace["epoch"] == divergence.epoch) & (trace["number"] == divergence.number))
    if not len(at):
        return np.empty(0)
    index = at[0]
    if divergence.tensor == "window":
        return np.array([trace[name][index] for name in ("start", "loss_start", "stop")], np.float64)
    if divergence.tensor in ROWS:
        ends = np.cumsum(trace["stop"] - trace["start"])
        begin = ends[index] - (trace["stop"] - trace["start"])[index]
        return np.asarray(trace[divergence.tensor][begin : ends[index]], np.float64)
    return np.asarray(trace[divergence.tensor][index], np.float64)


def _explains(reported, values, expected) -> bool:
    if reported.shape != values.shape:
        return False
    if reported.shape != expected.shape:
        return np.array_equal(reported, values)
    if not np.isfinite(reported).all():  # an overflow, at the same places
        return np.array_equal(np.isfinite(reported), np.isfinite(values))
    deviation = np.abs(reported - expected).max(initial=0)
    return bool(deviation > 0 and np.abs(reported - values).max(initial=0) <= EXPLAINED * deviation)
