"""The command `compare`: run implementations with the same options, and check every
update.
"""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from numpy_rnn.app import comparison_plot
from numpy_rnn.app.experiment import prepare
from numpy_rnn.app.fitting import (
    check_ports,
    chosen_words,
    fitted,
    forced_fields,
    schedules,
)
from numpy_rnn.app.options import RUN, Configuration, option_name
from numpy_rnn.app.outputs import check_files, plot_target
from numpy_rnn.app.progress import progress
from numpy_rnn.app.run import begin, described, schedule_name, updates_per_epoch
from numpy_rnn.app.sources import Source, TraceFile, source
from numpy_rnn.app.verdict import ComparedRun, Comparison, report
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.files import absolute_path
from numpy_rnn.common.records import NumpyArray, Run
from numpy_rnn.common.texts import pluralize
from numpy_rnn.conformance.judge import finite_part, judge
from numpy_rnn.conformance.mutants.hints import hint_for_run
from numpy_rnn.conformance.ports.port import PackagePort
from numpy_rnn.conformance.ports.process_exit import exit_raises
from numpy_rnn.conformance.ports.protocol import PortFault
from numpy_rnn.conformance.runs import PackageSource, PortSource, RecordedRun

MAX_STEPS = 10_000_000  # of all windows of a run, whose numbers are all kept in memory


def run(rnn: Any, options: Configuration) -> int:
    """Compare implementations. Returns 0 if all agree, 1 if one is wrong, not judged,
    or fails.
    """
    try:
        with exit_raises():
            return compare(rnn, options)
    except PortFault as fault:
        print(f"FAILED {fault}")
    except SystemExit as error:
        print(f"FAILED an implementation ends the process: {error}")
    return 1


def compare(rnn: Any, options: Configuration) -> int:
    """Do what `run` does, but raise PortFault."""
    plot = plot_target(options, rnn.__name__)
    check_files(options, plot)
    folder = absolute_path(".")  # a port may change the working folder
    sources = all_sources(rnn, options)
    files = [each for each in sources if isinstance(each, TraceFile)]
    if files:
        check_no_options(files, options)
        name, runs = "series of the trace", [files[0].recorded.run]
        chosen = ""
    else:
        fields = forced_fields(sources, options)
        fitting = fitted(options, fields)
        experiment = prepare(fitting)
        name, runs = experiment.name, []
        usual = experiment.run(fitting.run_options())
        for schedule in schedules(fitting, fields, len(usual.x)):
            given = usual.options._replace(schedule=schedule)
            runs.append(usual._replace(options=given))
        chosen = chosen_words(sources, options, fitting, runs)
    for each in runs:
        check_run(rnn, each)
    check_ports(sources, runs)
    if chosen:
        print(chosen)
    print(described([each.name for each in sources], name, runs), flush=True)
    comparisons = []
    for one in sources:
        found = list[ComparedRun]()
        for each in runs:
            with progress(f"{one.name}: {schedule_name(each)}"):
                found.append(examine(one, each))
        comparisons.append(Comparison(one, found))
    print(report(comparisons))
    if plot is not None:
        os.chdir(folder)
        comparison_plot.draw(plot, comparisons)
    return 0 if all(each.passed for each in comparisons) else 1


def all_sources(rnn: Any, options: Configuration) -> list[Source]:
    """Find what is compared; beside a package, the package of the command too."""
    sources = [source(other, options.timeout) for other in options.others]
    if any(isinstance(each, PackageSource) for each in sources):
        sources.insert(0, PackageSource(PackagePort(rnn)))
    names = [each.name for each in sources]
    for name in names:
        if names.count(name) > 1:
            raise InputError(
                f"{name} is given twice: expected different implementations"
            )
    return sources


def check_no_options(files: Sequence[TraceFile], options: Configuration) -> None:
    """Raise InputError on several traces, and on options beside one."""
    if len(files) > 1:
        raise InputError(
            "two traces are given: expected at most one, whose run is repeated"
        )
    for name in RUN:
        if name in options.given:
            both = f"{option_name(name)} is given with {files[0].name}"
            raise InputError(f"{both}, which has the options of its run: leave it out")


def check_run(rnn: Any, run: Run) -> None:
    """Raise InputError on a run that no package makes, and on one that is too long."""
    begin(rnn, run)  # makes no update; options that no run can have are refused
    T, schedule = len(run.x), run.options.schedule
    steps = schedule.epochs * updates_per_epoch(run) * min(schedule.k2, T)
    if not 0 < steps <= MAX_STEPS:
        found = f"the windows have {pluralize(steps, 'step')}"
        raise InputError(f"{found}: expected 1 to {MAX_STEPS}; change --epochs or --k2")


def examine(source: Source, run: Run) -> ComparedRun:
    """Record a run of a source, and judge every update until one is not finite."""
    recorded = source.recorded if isinstance(source, TraceFile) else source.trace(run)
    finite = finite_part(recorded)
    is_whole = finite is recorded
    asked = source if isinstance(source, PortSource) else None
    judgement = judge(finite, source.tau, whole=is_whole, source=asked)
    hint = ""
    if judgement.first is not None:
        with np.errstate(all="ignore"):  # of wrong numbers of any size
            hint = hint_for_run(finite, judgement.first)
    steps = finite.updates["stop"] - finite.updates["start"]
    return ComparedRun(
        run,
        judgement,
        reach=int(steps.max(initial=1)) - 1,
        carried=int(np.count_nonzero(finite.updates["start"])),
        losses=epoch_losses(recorded),
        overflows=not is_whole,
        hint=hint,
    )


def epoch_losses(recorded: RecordedRun) -> NumpyArray:
    """Return the loss of every whole epoch, (epochs, *E): the sum, or for a mean that
    of its points.
    """
    losses = recorded.updates["loss"]
    steps = np.array([window.loss_steps for window in recorded.windows])
    count = len(steps)
    shares = np.ones(count)
    if recorded.run.options.objective.reduction == "mean":
        shares = steps / steps.sum()
    with np.errstate(all="ignore"):
        epochs = [
            shares @ losses[first : first + count]
            for first in range(0, len(losses) - count + 1, count)
        ]
    return np.array(epochs)
