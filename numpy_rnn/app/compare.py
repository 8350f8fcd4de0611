"""The command `compare`: run implementations with the same options, check every update of each, measure their drift."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

import numpy_rnn
from numpy_rnn.app import compare_report
from numpy_rnn.app.command_line import check_all_files
from numpy_rnn.app.experiment import Experiment, prepare
from numpy_rnn.app.options import option_name
from numpy_rnn.app.plots import draw, plot_target
from numpy_rnn.app.run import LOG_EVERY, Result, begin, described, predict
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import Run
from numpy_rnn.conformance.arithmetics.bounds import TanhError
from numpy_rnn.conformance.case import FIELDS, one_bias, parameters_from
from numpy_rnn.conformance.mutants.run_hints import hints_for_run
from numpy_rnn.conformance.ports.package_port import PackagePort
from numpy_rnn.conformance.ports.program import kill_programs_on_signal
from numpy_rnn.conformance.ports.protocol import PortFault
from numpy_rnn.conformance.traces import drive
from numpy_rnn.conformance.traces.judge import Judgement, judge
from numpy_rnn.conformance.traces.recorder import ROWS, RecordedRun
from numpy_rnn.conformance.traces.sources import FileSource, PortSource, Source, source

NUMBERS = "its numbers are not finite"
NORM = "the norm of its gradient overflows (U2), which makes the factor 0 (U3): scale the numbers before they are squared"
STEPPED = {*FIELDS, *("v" + name for name in FIELDS)}
MAX_STEPS = 10_000_000  # of all windows of a run, whose numbers are all kept in memory


class Side(NamedTuple):
    """One of the implementations that are compared."""

    name: str
    tau: TanhError
    losses: np.ndarray  # (epochs, *E)
    params: Any  # after the run
    judgement: Judgement
    cut: str | None  # why only the first updates are judged: overflow or non-finite values
    looks_like: list[str]  # mutants that give the same wrong values
    is_port: bool = False  # whether its loop is that of `compare`


class Comparison(NamedTuple):
    """The results of `compare`."""

    run: Run
    sides: tuple[Side, ...]
    drift: drive.Drift | None  # None for an ensemble, and where a run is not finite

    @property
    def passed(self) -> bool:
        """Whether all agree: no bound is exceeded, and rounding explains the drift."""
        return all(side.judgement.passed for side in self.sides) and (
            self.drift is None or self.drift.ratio <= drive.ALARM
        )


def compare(sources: Sequence[Source], run: Run) -> Comparison:
    """Record the run of every source, judge every update, and measure the drift of the others from the first."""
    run = drive.with_second_bias(run, *(each.abilities for each in sources))
    sides = tuple(_side(each, run) for each in sources)
    finite = all(
        side.cut is None
        and len(side.losses) == run.options.schedule.epochs
        and np.isfinite(side.losses).all()
        for side in sides
    )
    measured = None
    if run.params.W_hh.ndim == 2 and finite:
        measured = drive.measure(sides[0].losses, [side.losses for side in sides[1:]], run)
    return Comparison(run, sides, measured)


def _side(source: Source, run: Run) -> Side:
    recorded = source.trace(run)
    judged, judgement, cut = judge_finite(recorded, source.tau)
    last = parameters_from(
        {name: recorded.updates[name][-1] for name in FIELDS if name in recorded.updates}
    )
    with np.errstate(all="ignore"):  # of wrong numbers of any size
        hints = [] if judgement.first is None else hints_for_run(judged, judgement.first)
    losses, is_port = drive.epoch_losses(recorded), isinstance(source, PortSource)
    return Side(source.name, source.tau, losses, one_bias(last), judgement, cut, hints, is_port)


def finite_part(recorded: RecordedRun) -> RecordedRun:
    """The updates before the first one with NaN or infinity."""
    updates = recorded.updates
    steps = updates["stop"] - updates["start"]
    update_of_row = np.repeat(np.arange(len(steps)), steps)
    first = len(steps)
    for name, array in updates.items():
        bad = np.flatnonzero(~np.isfinite(array.reshape(len(array), -1)).all(axis=1))
        if len(bad):
            first = min(first, int(update_of_row[bad[0]] if name in ROWS else bad[0]))
    return recorded if first == len(steps) else recorded.first(first)


def judge_finite(
    recorded: RecordedRun, tau: TanhError
) -> tuple[RecordedRun, Judgement, str | None]:
    """The part of a run that can be judged, its judgement, and why the rest is left out, or None.

    It ends before the first update that is not finite, and before an update whose step is wrong because the sum of the
    squares overflows in clipping by the global norm: then the norm is infinite, the factor 0 and the gradient lost.
    """
    judged = finite_part(recorded)
    is_cut = judged is not recorded
    judgement = judge(judged, tau, whole=not is_cut)
    first = judgement.first
    if first is not None and first.tensor in STEPPED:
        index = judged.update_index(first)
        if _is_stopped_by_its_norm(judged.first(index + 1), tau):
            judged = judged.first(index)
            return judged, judge(judged, tau, whole=False), NORM
    return judged, judgement, NUMBERS if is_cut else None


def _is_stopped_by_its_norm(recorded: RecordedRun, tau: TanhError) -> bool:
    """Whether the last update is correct if the gradients of the networks whose norm overflows are taken as 0."""
    updates, E = recorded.updates, recorded.run.params.W_hh.ndim - 2
    names = ["d" + name for name in FIELDS if name in updates]
    if updates["start"][-1] > 0:  # the window does not start from a learned initial state
        names = [name for name in names if name != "dh_0"]
    with np.errstate(over="ignore"):
        squares = sum(
            np.square(updates[n][-1]).sum(axis=tuple(range(E, updates[n].ndim - 1))) for n in names
        )
    overflows = ~np.isfinite(squares)
    if not overflows.any():
        return False
    changed = {name: updates[name].copy() for name in names}
    for gradients in changed.values():
        gradients[-1][overflows] = 0
    worst = judge(recorded.replace(changed), tau, whole=False).worst
    return all(ratio <= 1 for name, ratio in worst.items() if name in STEPPED)


def run(rnn: Any, arguments: Any) -> int:
    """Compare the package `rnn` with `arguments.others`. Returns 0 if they agree, 1 if one is wrong or fails."""
    path = plot_target(arguments, rnn.__name__)
    check_all_files(arguments, path)
    try:
        with kill_programs_on_signal():
            others = [source(other, arguments.port_timeout) for other in arguments.others]
            return _compare(rnn, others, arguments, path)
    except PortFault as fault:
        print(fault)
        return 1


def _compare(rnn: Any, others: list[Source], arguments: Any, path: str | None) -> int:
    names = [rnn.__name__, *(other.name for other in others)]
    files = [other for other in others if isinstance(other, FileSource)]
    if twice := [name for name in names if names.count(name) > 1]:
        raise InputError(
            f"{twice[0]} is given twice, or is this package itself: expected different implementations"
        )
    if len(files) > 1:
        raise InputError(
            f"{files[0].name} and {files[1].name} are both traces: expected at most one, which is repeated"
        )
    if files:
        for name in arguments.given:
            both = f"{option_name(name)} is given with {files[0].name}"
            raise InputError(f"{both}, a trace, which has the options of its run: leave it out")
        compared = files[0].recorded.run
        h_0: Any = compared.params.h_0 if compared.h_0 is None else compared.h_0
        experiment = Experiment(
            "series of the trace", compared.x, compared.target, h_0, compared.params
        )
    else:
        configuration = arguments
        experiment = prepare(configuration)
        compared = experiment.run(configuration.run_options())
        begin(rnn, compared)  # makes no update; options that no run can have are refused
    check_size(compared)
    compared = drive.with_second_bias(compared, *(other.abilities for other in others))
    for other in others:
        other.check(compared)
    print(f"{described(names, experiment.name, compared)}, {compared.params.W_hh.dtype}")
    if files:
        print(f"options, series and initial weights are read from {files[0].name}")
    comparison = compare([PackagePort(rnn), *others], compared)
    print(compare_report.text(comparison, arguments.log_every or LOG_EVERY))
    if path is not None:
        _plot(
            comparison, experiment, 20 if arguments.generate is None else arguments.generate, path
        )
    return 0 if comparison.passed else 1


def check_size(run: Run) -> None:
    """Raise InputError on a run without an update, or with so many that their numbers would fill the memory."""
    k1, k2, epochs = run.options.schedule
    steps = epochs * -(-len(run.x) // k1) * min(k2, len(run.x))
    if not 0 < steps <= MAX_STEPS:
        raise InputError(
            f"the windows of this run have {steps} steps: expected 1 to {MAX_STEPS}; change --epochs or --k2"
        )


def _plot(comparison: Comparison, experiment: Experiment, generate: int, path: str | None) -> None:
    """Draw losses and predictions, where all networks have one series, and outputs are rows like the inputs."""
    x, target = experiment.x, experiment.target
    if x.ndim != 3 or x.shape[1:] != target.shape[1:]:
        print(
            "no plot: it shows outputs and inputs together, and those of this run are not rows of one series"
        )
        return
    if experiment.series is None:  # of a trace
        experiment = experiment._replace(series=np.concatenate([x[:, 0], target[-1:, 0]]))
    results, objective = {}, comparison.run.options.objective
    whole = max(len(side.losses) for side in comparison.sides)  # a trace may end before
    for side in [side for side in comparison.sides if len(side.losses) == whole]:
        with np.errstate(all="ignore"):
            predictions = predict(numpy_rnn, side.params, experiment, objective, generate)
        results[side.name] = Result(side.losses, *predictions)
    draw(path, experiment, results)
