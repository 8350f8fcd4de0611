"""Implementations on one configuration: every update of each held to its bounds, and their drift to its spread."""

import shlex
import shutil
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

import numpy_rnn
from numpy_rnn import reference
from numpy_rnn.app.configuration import Configuration
from numpy_rnn.app.experiment import Experiment
from numpy_rnn.app.results import Result, predict
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.packages import backend, is_package
from numpy_rnn.common.records import Parameters
from numpy_rnn.conformance.bounds.local_bounds import TAU
from numpy_rnn.conformance.comparison.out_of_range import judge_in_range
from numpy_rnn.conformance.mutants.hints import hints
from numpy_rnn.conformance.ports.faults import CAPABILITIES, PortFault, one_line
from numpy_rnn.conformance.ports.python_port import ProgramPort, load_python_port
from numpy_rnn.conformance.traces import drift
from numpy_rnn.conformance.traces.drive import trace_of, trace_of_port
from numpy_rnn.conformance.traces.judge import Judgement
from numpy_rnn.conformance.traces.trace_form import read_trace, start_of

FORMS = "a package (torch_rnn), a Python port (module:object), a program (./my_port) or a trace file (run.npz)"


class Source(NamedTuple):
    """Where a trace comes from."""

    name: str
    trace: Callable[[Experiment, Configuration], dict]
    tanh_ulps: float = TAU / 2  # the largest error of its tanh; the bound takes twice as much
    start: tuple[Experiment, Configuration] | None = None  # of a trace file: what it ran
    lacks: tuple[str, ...] = ()  # options that it does not have
    has: tuple[str, ...] = CAPABILITIES


class Side(NamedTuple):
    """One of those that are compared."""

    name: str
    tanh_ulps: float
    losses: np.ndarray  # (epochs, *E)
    result: Result
    judgement: Judgement
    cut: str | None  # why only the updates before a certain one are judged: numbers left the range of the dtype
    looks_like: list[str]  # known mistakes that give the same wrong values


class Comparison(NamedTuple):
    """What came of it."""

    experiment: Experiment
    configuration: Configuration
    sides: tuple[Side, ...]
    drift: drift.Drift | None  # None for an ensemble

    @property
    def passed(self) -> bool:
        """Whether all are right: no bound exceeded, and no drift that rounding does not explain."""
        return all(side.judgement.passed for side in self.sides) and (
            self.drift is None or self.drift.ratio <= drift.ALARM
        )


def package_source(rnn) -> Source:
    """A package with the functions of numpy_rnn."""
    return Source(rnn.__name__, lambda experiment, configuration: trace_of(rnn, experiment, configuration))


def source(other: str, timeout: float = 10.0) -> Source:
    """What OTHER names. timeout: seconds, for every answer of a port.

    Raises InputError when it names nothing that can be compared, and PortFault when a program fails at its start.
    """
    if other.endswith(".npz"):
        trace = read_trace(other)
        return Source(one_line(other), lambda experiment, configuration: trace, start=start_of(trace))
    if is_package(other):
        return package_source(backend(other))
    if ":" in other and "/" not in other:
        port = load_python_port(other)
        return _port_source(port, timeout)
    try:
        words = shlex.split(other)
    except ValueError as error:
        raise InputError(f"{other!r} cannot be compared with: {error}; expected a command as in a shell") from None
    if words and shutil.which(words[0]):
        try:
            return _port_source(ProgramPort(other, timeout), timeout)
        except PortFault as fault:
            raise PortFault(f"{one_line(other, 80)}, at its start: {fault}") from None
    raise InputError(f"{other!r} cannot be compared with: expected {FORMS}")


def _port_source(port, timeout):
    def trace(experiment, configuration):
        return trace_of_port(port, experiment, configuration, timeout)

    return Source(port.name, trace, port.tanh_ulps or TAU / 2, lacks=port.lacks, has=port.capabilities)


def compare(
    sources: Sequence[Source], experiment: Experiment, configuration: Configuration, generate: int = 0
) -> Comparison:
    """Run or read them, judge every update of each, and measure how far the others drift from the first."""
    sides = tuple(_side(each, experiment, configuration, generate) for each in sources)
    apart = None
    comparable = all(
        side.cut is None and len(side.losses) == configuration.epochs and np.isfinite(side.losses).all()
        for side in sides
    )
    if experiment.params.W_hh.ndim == 2 and comparable:
        apart = drift.measure(sides[0].losses, [side.losses for side in sides[1:]], experiment, configuration)
    return Comparison(experiment, configuration, sides, apart)


def _side(source, experiment, configuration, generate):
    trace = source.trace(experiment, configuration)
    judged, judgement, cut = judge_in_range(trace, 2 * source.tanh_ulps)
    params = Parameters(*(trace[name][-1] if name in trace else None for name in Parameters._fields))
    D, O = experiment.x.shape[-1], experiment.target.shape[-1]
    generate = generate if D == O else 0  # outputs that are no inputs cannot be fed back
    with np.errstate(all="ignore"):
        series = experiment.x, experiment.h_0
        predictions, generated = predict(
            numpy_rnn, params, *series, generate, configuration.nonlinearity, experiment.held_out
        )
    losses = epoch_losses(trace, configuration.reduction)
    result = Result(losses, params, predictions, generated)
    alike = [] if judgement.passed else hints(judged, judgement.first, experiment, configuration, reference)
    return Side(source.name, source.tanh_ulps, losses, result, judgement, cut, alike)


def epoch_losses(trace: dict, reduction: str) -> np.ndarray:
    """The loss of every epoch, (epochs, *E): summed over its updates, under "mean" over all its points."""
    losses = np.asarray(trace["loss"], np.float64)
    if reduction == "mean":
        share = (trace["stop"] - trace["loss_start"]) / len(trace["x"])
        losses = losses * share.reshape(-1, *(1,) * (losses.ndim - 1))
    totals = np.zeros((int(trace["epoch"].max()), *losses.shape[1:]))
    np.add.at(totals, trace["epoch"] - 1, losses)
    return totals
