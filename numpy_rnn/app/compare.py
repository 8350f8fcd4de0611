"""The command `compare`: run implementations with the same options, and check every
update.
"""

import shutil
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

import numpy_rnn
from numpy_rnn.app.command_line import check_files
from numpy_rnn.app.experiment import prepare
from numpy_rnn.app.options import Configuration, option_name
from numpy_rnn.app.plots import draw, plot_target
from numpy_rnn.app.run import (
    Result,
    begin,
    described,
    format_number,
    format_table,
    predict,
)
from numpy_rnn.common.errors import InputError, join_names, one_line, pluralize
from numpy_rnn.common.packages import is_package
from numpy_rnn.common.records import NumpyArray, Parameters, Run
from numpy_rnn.conformance.arithmetics.bounds import STRICT_TANH_ULPS, TAU, TanhError
from numpy_rnn.conformance.case import (
    FIELDS,
    RECURRENT,
    TENSORS,
    equations,
    parameters_from,
)
from numpy_rnn.conformance.judge import Judgement, finite_part, judge
from numpy_rnn.conformance.mutants.hints import hint_for_run
from numpy_rnn.conformance.ports.port import PackagePort, find_port
from numpy_rnn.conformance.ports.program import ProgramPort
from numpy_rnn.conformance.ports.protocol import PortFault
from numpy_rnn.conformance.runs import PackageSource, PortSource, RecordedRun, source_of
from numpy_rnn.conformance.trace import load_trace

GROWTH = 10  # of the loss of an epoch over that of the first: such a run diverges
MAX_STEPS = 10_000_000  # of all windows of a run, whose numbers are all kept in memory
ADVICE = "choose --dtype float64, a smaller --k2, or weights of smaller gain"


class TraceFile(NamedTuple):
    """A trace file as an implementation, whose run is the recorded one."""

    name: str
    recorded: RecordedRun
    tau: TanhError = TAU

    def trace(self, run: Run) -> RecordedRun:
        """The recorded run."""
        return self.recorded


Source = PortSource | TraceFile


class Side(NamedTuple):
    """One of the implementations that are compared, and what was found."""

    source: Source
    judgement: Judgement
    losses: NumpyArray  # (epochs, *E)
    params: Parameters[NumpyArray]  # after the run
    overflows: bool = False  # after the updates that are judged
    hint: str = ""  # a mutant that gives the same wrong values

    @property
    def name(self) -> str:
        """The name of the implementation."""
        return self.source.name


def source(name: str, timeout: float) -> Source:
    """The implementation of this name. Raises InputError on a bad name, PortFault if it
    fails.
    """
    if name.endswith(".npz"):
        return TraceFile(one_line(name), load_trace(name))
    if (
        not is_package(name)
        and ":" not in name
        and any(map(shutil.which, name.split()[:1]))
    ):
        try:
            return PortSource(ProgramPort(name, timeout))
        except PortFault as fault:
            raise PortFault(f"{one_line(name, 80)}, at its start: {fault}") from None
    return source_of(find_port(name))


def examine(source: Source, run: Run) -> Side:
    """Record the run of a source, and judge every update until one is not finite."""
    recorded = source.trace(run)
    finite = finite_part(recorded)
    asked = source if isinstance(source, PortSource) else None
    judgement = judge(finite, source.tau, whole=finite is recorded, source=asked)
    last = {
        name: recorded.updates[name][-1] for name in FIELDS if name in recorded.updates
    }
    with np.errstate(all="ignore"):  # of wrong numbers of any size
        hint = hint_for_run(finite, judgement.first) if judgement.first else ""
    losses, params = epoch_losses(recorded), parameters_from(last)
    return Side(source, judgement, losses, params, finite is not recorded, hint)


def epoch_losses(recorded: RecordedRun) -> NumpyArray:
    """The loss of every whole epoch, (epochs, *E): the sum, or for a mean that of its
    points.
    """
    losses, steps = (
        recorded.updates["loss"],
        [window.loss_steps for window in recorded.windows],
    )
    is_mean, count = recorded.run.options.objective.reduction == "mean", len(steps)
    shares = np.array(steps) / sum(steps) if is_mean else np.ones(count)
    epochs = range(0, len(losses) - count + 1, count)
    with np.errstate(all="ignore"):
        return np.array([shares @ losses[first : first + count] for first in epochs])


def report(sides: Sequence[Side], run: Run) -> str:
    """The verdict first; then the losses, and the worst ratio of every tensor."""
    parts = [
        verdict(sides, run),
        *(losses(side) for side in sides),
        "",
        ratios(sides, run),
    ]
    for side in sides:
        name, found = side.name, side.judgement
        if found.calmed:
            weights = " and ".join(RECURRENT)
            parts.append(
                f"{name}: rounding alone changes {', '.join(found.calmed)} too "
                "much to be judged;"
                f" checked in windows with smaller {weights}"
            )
        rest = [tensor for tensor in found.unjudged if tensor not in found.not_judged]
        if rest:
            parts.append(
                f"{name}: not judged, as they are lost to rounding: {', '.join(rest)}"
            )
        ulps = [side.source.tau.relative / 2, side.source.tau.absolute / 2]
        if ulps[0] > STRICT_TANH_ULPS or ulps[1]:
            errors = f"{ulps[0]:g} ulps" + f" and {ulps[1]:g} ulps of 1" * bool(ulps[1])
            parts.append(f"{name} declares a tanh error of {errors}: not a strict pass")
    return "\n".join(parts)


def verdict(sides: Sequence[Side], run: Run) -> str:
    """One line for every wrong or unjudged side, with what shows it; one line if all
    agree.
    """
    lines, dtype = list[str](), run.params.W_hh.dtype
    for side in sides:
        found, of = side.judgement, f" of {side.name}" if len(sides) > 1 else ""
        if (first := found.first) is not None:
            hint = f": {side.hint}" if side.hint else ""
            lines += [
                f"WRONG {first.tensor} ({first.equation}){of}{hint}",
                f"  {first.message()}",
            ]
            if "a" not in found.worst and first.tensor not in ("window", "initial"):
                lines.append(
                    "  no intermediate values are reported: it may be an earlier stage"
                )
        elif not found.updates:
            lines.append(f"NOT JUDGED{of}: the first update overflows {dtype}")
        elif found.not_judged:
            why = f"rounding alone changes them too much in {dtype}; {ADVICE}"
            lines.append(f"NOT JUDGED {', '.join(found.not_judged)}{of}: {why}")
    if not lines:
        names = join_names([side.name for side in sides])
        agree = (
            f"{names} agree"
            if len(sides) > 1
            else f"{names} agrees with the definition"
        )
        estimated = " (~: estimated)" * any(side.judgement.estimated for side in sides)
        lines.append(f"{agree}: every update is within its rounding bounds{estimated}")
    return "\n".join(lines)


def losses(side: Side) -> str:
    """The losses of the first and last epoch in one line; of an ensemble,
    the medians.
    """
    name, epochs = side.name, len(side.losses)
    if not epochs:
        return f"{name}: no whole epoch"
    ends = [float(np.median(side.losses[epoch])) for epoch in (0, -1)]
    text = f"{name}: loss {format_number(ends[0])} in epoch 1"
    text += f", {format_number(ends[1])} in epoch {epochs}" * (epochs > 1)
    if side.overflows:
        text += (
            f"; it overflows after {side.judgement.updates} updates, which "
            "alone are judged"
        )
    elif not ends[1] <= GROWTH * ends[0]:
        text += "; it diverges: choose a lower --learning-rate"
    return text


def ratios(sides: Sequence[Side], run: Run) -> str:
    """The table of the worst ratios."""
    updates = " and ".join(dict.fromkeys(str(side.judgement.updates) for side in sides))
    tensors = [
        name for name in TENSORS if any(name in side.judgement.worst for side in sides)
    ]
    _, objective, step = run.options
    rows = [
        [
            name,
            equations(name, objective, step),
            *(_ratio(name, side) for side in sides),
        ]
        for name in tensors
    ]
    head = f"largest difference / rounding bound of {updates} updates"
    columns = ["tensor", "equation", *(side.name for side in sides)]
    return "\n".join([head, *format_table(columns, rows, left=2)])


def _ratio(tensor: str, side: Side) -> str:
    found, is_loop = side.judgement, tensor in ("window", "initial")
    has_own_loop = isinstance(
        side.source, TraceFile | PackageSource
    )  # else that of `compare`
    if tensor not in found.worst or (is_loop and not has_own_loop):
        return "-"
    worst = found.worst[tensor]
    if is_loop and worst in (0, np.inf):
        return "WRONG" if worst else "exact"
    if tensor in found.unjudged:
        return "not judged"
    return (
        f"{worst:.1e} !"
        if worst > 1
        else f"{worst:.3f}" + " ~" * (tensor in found.estimated)
    )


def run(rnn: Any, arguments: Configuration) -> int:
    """Compare implementations. Returns 0 if all agree, 1 if one is wrong, not judged,
    or fails.
    """
    try:
        return compare(rnn, arguments)
    except PortFault as fault:
        print(f"FAILED {fault}")
        return 1


def compare(rnn: Any, arguments: Configuration) -> int:
    """`run`, which may raise PortFault."""
    path = plot_target(arguments, rnn.__name__)
    check_files(arguments, path)
    others = [source(other, arguments.port_timeout) for other in arguments.others]
    files = [other for other in others if isinstance(other, TraceFile)]
    has_package = any(isinstance(other, PackageSource) for other in others)
    sources = [PackageSource(PackagePort(rnn)), *others] if has_package else others
    names = [each.name for each in sources]
    if twice := [name for name in names if names.count(name) > 1]:
        raise InputError(
            f"{twice[0]} is given twice: expected different implementations"
        )
    if len(files) > 1:
        raise InputError(
            "two traces are given: expected at most one, whose run is repeated"
        )
    experiment = None
    if files:
        for name in arguments.given:
            both = f"{option_name(name)} is given with {files[0].name}"
            raise InputError(f"{both}, which has the options of its run: leave it out")
        compared = files[0].recorded.run
    else:
        experiment = prepare(arguments)
        compared = experiment.run(arguments.run_options())
        begin(
            rnn, compared
        )  # makes no update; options that no run can have are refused
    k1, k2, epochs = compared.options.schedule
    steps = epochs * -(-len(compared.x) // k1) * min(k2, len(compared.x))
    if not 0 < steps <= MAX_STEPS:
        found = f"the windows have {pluralize(steps, 'step')}"
        raise InputError(f"{found}: expected 1 to {MAX_STEPS}; change --epochs or --k2")
    for each in others:
        if isinstance(each, PortSource):
            each.check(compared)
    print(
        described(
            names, experiment.name if experiment else "series of the trace", compared
        )
    )
    sides = [examine(each, compared) for each in sources]
    print(report(sides, compared))
    if path is not None and experiment is not None:
        results = {}
        for side in sides:
            with np.errstate(all="ignore"):
                made = predict(
                    numpy_rnn, side.params, experiment, compared.options.objective
                )
            results[side.name] = Result(side.losses, *made)
        draw(path, experiment, results)
    elif path is not None:
        print("no plot: a trace has no series")
    return 0 if all(side.judgement.passed for side in sides) else 1
