"""The command `compare`: run implementations on one configuration, check every update of each, measure their drift."""

import shlex
import shutil
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

import numpy_rnn
from numpy_rnn import reference
from numpy_rnn.app.command_line import check_files
from numpy_rnn.app.configuration import Configuration
from numpy_rnn.app.experiment import Experiment, prepare
from numpy_rnn.app.options import LOG_EVERY, configuration_of
from numpy_rnn.app.plots import draw, draw_results, plot_target
from numpy_rnn.app.report import heading
from numpy_rnn.app.results import Result, predict
from numpy_rnn.app.storage import save_json
from numpy_rnn.app.trace import PER_UPDATE, ROWS, check_trace_size
from numpy_rnn.common.errors import InputError, one_line, printable
from numpy_rnn.common.packages import backend, is_package
from numpy_rnn.common.shapes import is_integer
from numpy_rnn.conformance import comparison_report
from numpy_rnn.conformance.bounds.local_bounds import TAU, TanhError
from numpy_rnn.conformance.case import FIELDS, Truncation, one_bias, parameters_of
from numpy_rnn.conformance.mutants.hints import hints
from numpy_rnn.conformance.ports.port import ProgramPort, load_python_port
from numpy_rnn.conformance.ports.program import kill_programs_on_signal
from numpy_rnn.conformance.ports.protocol import CAPABILITIES, PortFault
from numpy_rnn.conformance.traces import drive
from numpy_rnn.conformance.traces.drive import check_port, trace_of, trace_of_port
from numpy_rnn.conformance.traces.judge import Judgement, judge
from numpy_rnn.conformance.traces.trace_format import checked_trace, first_updates, read_trace, settings_of, start_of
from numpy_rnn.conformance.truncations import trace_with_truncation, truncation_of, with_truncation

NUMBERS = "its numbers are not finite"
NORM = (
    "the norm of its gradient overflows (U2), which makes the factor 0 (U3): scale the numbers before they are squared"
)
STEPPED = {*FIELDS, *("v" + name for name in FIELDS)}


def finite_part(trace: dict) -> tuple[dict, bool]:
    """The updates before the first one with NaN or infinity, and whether any update is left out."""
    steps = trace["stop"] - trace["start"]
    of_row = np.repeat(np.arange(len(steps)), steps)
    first_nonfinite = len(steps)
    for name, array in trace.items():
        if name in ROWS or name in PER_UPDATE:
            bad = np.flatnonzero(~np.isfinite(array.reshape(len(array), -1)).all(axis=1))
            if len(bad):
                first_nonfinite = min(first_nonfinite, int(of_row[bad[0]] if name in ROWS else bad[0]))
    return (trace, False) if first_nonfinite == len(steps) else (first_updates(trace, first_nonfinite), True)


def judge_in_range(trace: dict, tau: float) -> tuple[dict, Judgement, str | None]:
    """The part of a trace that can be judged, its judgement, and why the rest is left out, or None.

    It ends before the first update that is not finite, and before an update whose step is wrong because the sum of the
    squares overflows in clipping by the global norm: then the norm is infinite, the factor 0 and the gradient lost.
    """
    judged, is_cut = finite_part(trace)
    judgement = judge(judged, tau, whole=not is_cut)
    if judgement.first is not None and judgement.first.tensor in STEPPED:
        place = judgement.first.epoch, judgement.first.number
        (index,) = np.flatnonzero((judged["epoch"] == place[0]) & (judged["number"] == place[1]))
        if _is_stopped_by_its_norm(judged, index, tau):
            judged = first_updates(judged, int(index))
            return judged, judge(judged, tau, whole=False), NORM
    return judged, judgement, NUMBERS if is_cut else None


def _is_stopped_by_its_norm(trace, index, tau):
    """Whether this update is correct if the gradients of the networks whose norm overflows are taken as 0."""
    part = first_updates(trace, int(index) + 1)
    names = ["d" + name for name in FIELDS if name in trace]
    if trace["start"][index] > 0:  # the window does not start from a learned initial state
        names = [name for name in names if name != "dh_0"]
    E = trace["initial_W_hh"].ndim - 2
    with np.errstate(over="ignore"):
        squares = sum(np.square(part[name][index]).sum(axis=tuple(range(E, part[name].ndim - 1))) for name in names)
    overflows = ~np.isfinite(squares)
    if not overflows.any():
        return False
    for name in names:
        part[name] = part[name].copy()
        part[name][index][overflows] = 0
    worst = judge(part, tau, whole=False).worst
    return all(ratio <= 1 for name, ratio in worst.items() if name in STEPPED)


FORMS = "a package (torch_rnn), a Python port (module:object), a program (./my_port) or a trace file (run.npz)"


class Source(NamedTuple):
    """An implementation to compare: how to get its trace of a run."""

    name: str
    trace: Callable[[Experiment, Configuration], dict]
    tanh_ulps: float = TAU / 2  # the largest error of its tanh; the bound takes twice as much
    start: tuple[Experiment, Configuration] | None = None  # of a trace file: its experiment and configuration
    lacks: tuple[str, ...] = ()  # options that it does not implement
    has: tuple[str, ...] = CAPABILITIES
    tanh_absolute_ulps: float = 0.0
    check: Callable[[Experiment, Configuration], object] = lambda *run: None  # raises InputError on an unsuitable run

    @property
    def tau(self) -> float:
        """The error of its tanh that the bounds allow, in units of u."""
        return TanhError(2 * self.tanh_ulps, 2 * self.tanh_absolute_ulps)


class Side(NamedTuple):
    """One of the implementations that are compared."""

    name: str
    tanh_ulps: float
    losses: np.ndarray  # (epochs, *E)
    result: Result
    judgement: Judgement
    cut: str | None  # why only the first updates are judged: overflow or non-finite values
    looks_like: list[str]  # mutants that give the same wrong values
    tanh_absolute_ulps: float = 0.0
    differs: bool = False  # whether its run is not numpy_rnn's: another truncation, or a second bias


class Comparison(NamedTuple):
    """The results of `compare`."""

    experiment: Experiment
    configuration: Configuration
    sides: tuple[Side, ...]
    drift: drive.Drift | None  # None for an ensemble, under another truncation and with two biases

    @property
    def passed(self) -> bool:
        """Whether all agree: no bound is exceeded, and rounding explains the drift."""
        return all(side.judgement.passed for side in self.sides) and (
            self.drift is None or self.drift.ratio <= drive.ALARM
        )


def package_source(rnn, truncation: Truncation | None = None) -> Source:
    """The source of a package with the functions of numpy_rnn; with a truncation, the plain loop of it."""
    if truncation is not None:
        return Source(
            rnn.__name__, lambda experiment, configuration: trace_with_truncation(experiment, configuration, truncation)
        )
    return Source(rnn.__name__, lambda experiment, configuration: trace_of(rnn, experiment, configuration))


def source(other: str, timeout: float = 10.0, truncation: str = "") -> Source:
    """The source that `other` names. timeout: seconds, for every answer of a port.

    truncation: the name of another truncation than TBPTT(k1, k2), under which a port or a trace is judged; "": its own.

    Raises InputError if it names no implementation or one without this truncation, and PortFault if a program fails at
    its start.
    """
    asked = truncation_of(truncation)
    if other.endswith(".npz"):
        trace = read_trace(other)
        if asked is not None:
            trace = checked_trace(with_truncation(trace, asked), other)
        return Source(one_line(other), lambda experiment, configuration: trace, start=start_of(trace))
    if is_package(other):
        if asked is not None:
            raise InputError(f"{other} trains by TBPTT(k1, k2): expected a port or a trace with --truncation")
        return package_source(backend(other))
    if ":" in other and "/" not in other:
        port = load_python_port(other)
        return _port_source(port, timeout, truncation)
    try:
        words = shlex.split(other)
    except ValueError as error:
        raise InputError(f"{other!r} is not a command: {error}; expected one as in a shell") from None
    if words and shutil.which(words[0]):
        try:
            return _port_source(ProgramPort(other, timeout), timeout, truncation)
        except PortFault as fault:
            raise PortFault(f"{one_line(other, 80)}, at its start: {fault}") from None
    raise InputError(f"unknown implementation {other!r}: expected {FORMS}")


def _port_source(port, timeout, truncation):
    def trace(experiment, configuration):
        return trace_of_port(port, experiment, configuration, timeout, truncation or None)

    def check(experiment, configuration):
        check_port(port, experiment, configuration, truncation or None)

    absolute = port.tanh_absolute_ulps or 0.0
    return Source(port.name, trace, port.tanh_ulps or TAU / 2, None, port.lacks, port.capabilities, absolute, check)


def compare(
    sources: Sequence[Source], experiment: Experiment, configuration: Configuration, generate: int = 0
) -> Comparison:
    """Run or read the sources, judge every update of each, and measure the drift of the others from the first."""
    sides = tuple(_side(each, experiment, configuration, generate) for each in sources)
    measured = None
    comparable = all(
        side.cut is None and len(side.losses) == configuration.epochs and np.isfinite(side.losses).all()
        for side in sides
    )
    if experiment.params.W_hh.ndim == 2 and comparable and not any(side.differs for side in sides):
        measured = drive.measure(sides[0].losses, [side.losses for side in sides[1:]], experiment, configuration)
    return Comparison(experiment, configuration, sides, measured)


def _side(source, experiment, configuration, generate):
    trace = source.trace(experiment, configuration)
    judged, judgement, cut = judge_in_range(trace, source.tau)
    params = one_bias(parameters_of({name: trace[name][-1] for name in FIELDS if name in trace}))
    generate = generate if _is_series(experiment) else 0  # or else outputs cannot be fed back as inputs
    with np.errstate(all="ignore"):
        objective = configuration.run_options().objective
        predictions, generated = predict(numpy_rnn, params, experiment, objective, generate)
    losses = epoch_losses(trace, configuration.reduction)
    result = Result(losses, params, predictions, generated)
    similar = [] if judgement.passed else hints(judged, judgement.first, experiment, configuration, reference)
    of_source = source.name, source.tanh_ulps, losses
    differs = bool(settings_of(trace).truncation) or "b_hh" in trace
    return Side(*of_source, result, judgement, cut, similar, source.tanh_absolute_ulps, differs)


def _is_series(experiment):
    """Whether outputs are rows like the inputs."""
    return not is_integer(experiment.x) and experiment.x.shape[-1] == experiment.target.shape[-1]


def epoch_losses(trace: dict, reduction: str) -> np.ndarray:
    """The loss of every epoch, (epochs, *E): summed over its updates, under "mean" over all its points."""
    losses = np.asarray(trace["loss"], np.float64)
    if reduction == "mean":
        share = (trace["stop"] - trace["loss_start"]) / len(trace["x"])
        losses = losses * share.reshape(-1, *(1,) * (losses.ndim - 1))
    totals = np.zeros((int(trace["epoch"].max()), *losses.shape[1:]))
    np.add.at(totals, trace["epoch"] - 1, losses)
    return totals


def run(rnn, arguments) -> int:
    """Compare the package `rnn` with all of `arguments.others`, print the results and plot them.

    Returns the exit status: 0 if they agree, 1 if one of them is wrong
    or fails. Raises InputError on invalid input.
    """
    path, show = plot_target(arguments, rnn.__name__)
    inputs = {"--data": arguments.data, "--text": arguments.text}
    check_files({**inputs, "--output": arguments.output, "--plot": path})
    try:
        with kill_programs_on_signal():
            others = [source(other, arguments.port_timeout, arguments.truncation) for other in arguments.others]
            return _compare(rnn, others, arguments, (path, show))
    except PortFault as fault:
        print(fault)
        return 1


def _compare(rnn, others, arguments, target):
    names = [rnn.__name__, *(other.name for other in others)]
    if rnn.__name__ in names[1:]:
        raise InputError(f"{rnn.__name__} is this package itself: expected another implementation")
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise InputError(f"{twice[0]} is given twice: expected different implementations")
    of_traces = [other for other in others if other.start is not None]
    if len(of_traces) > 1:
        raise InputError(
            f"{of_traces[0].name} and {of_traces[1].name} are both traces: expected at most one, whose run is repeated"
        )
    experiment, configuration = of_traces[0].start if of_traces else (None, configuration_of(arguments))
    experiment = experiment or prepare(configuration)
    check_trace_size(experiment, configuration)
    for other in others:
        other.check(experiment, configuration)
    print(heading(names, experiment, configuration))
    if of_traces:
        print(f"configuration, series and initial weights are read from {of_traces[0].name}")
    asked = arguments.truncation
    if not asked and of_traces:
        asked = settings_of(of_traces[0].trace(experiment, configuration)).truncation
    if asked:
        print(f"truncation: {asked}")
    first = package_source(rnn, truncation_of(asked))
    generate = 20 if arguments.generate is None else arguments.generate
    compared = compare([first, *others], experiment, configuration, generate)
    print(comparison_report.text(compared, arguments.log_every or LOG_EVERY))
    if arguments.output is not None:
        save_json(arguments.output, comparison_report.values(compared))
        print(f"results saved to {printable(arguments.output)}")
    if is_integer(experiment.x):
        print("no plot: it shows outputs and inputs together, and the inputs of this run are classes")
    elif not _is_series(experiment):
        D, O = experiment.x.shape[-1], experiment.target.shape[-1]
        print(f"no plot: it shows outputs and inputs together, and this run has {O} outputs and {D} inputs")
    else:
        results = {side.name: side.result for side in compared.sides}
        draw(*target, lambda plot: draw_results(plot, experiment, results, compared.drift))
    return 0 if compared.passed else 1
