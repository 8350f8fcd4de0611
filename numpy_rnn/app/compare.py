"""The command `compare`: run implementations with the same options, and check every
update.
"""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from numpy_rnn.app.comparison_plot import draw_comparisons
from numpy_rnn.app.fitting import FittedRuns, fitted_runs
from numpy_rnn.app.options import Configuration, option_name
from numpy_rnn.app.outputs import check_files, plot_target
from numpy_rnn.app.plots import write_figure
from numpy_rnn.app.progress import progress
from numpy_rnn.app.run import (
    begin,
    describe_runs,
    epoch_losses,
    schedule_name,
    updates_per_epoch,
)
from numpy_rnn.app.sources import Source, TraceFile, source
from numpy_rnn.app.verdict import ComparedRun, Comparison, comparison_report
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.files import absolute_path
from numpy_rnn.common.records import Run
from numpy_rnn.common.texts import pluralize
from numpy_rnn.conformance.judge import finite_part, judge
from numpy_rnn.conformance.mutants.loops import hint_for_run
from numpy_rnn.conformance.ports.guard import guarded
from numpy_rnn.conformance.ports.port import PackagePort
from numpy_rnn.conformance.ports.protocol import PortFault
from numpy_rnn.conformance.runs import PackageSource, PortSource

OUTPUT = {"plot", "no_plot", "quiet", "timeout"}  # options that are not of a run
MAX_JUDGED_STEPS = (
    10_000_000  # of all windows of a run, whose numbers are all kept in memory
)


def run(rnn: Any, options: Configuration) -> int:
    """Compare implementations, and print the verdict.

    Parameters
    ----------
    rnn : module
        The package of the command line.
    options : Configuration
        The implementations, `others`, and the run.

    Returns
    -------
    int
        0 if all agree with the definition; 1 if one is wrong, not judged, or fails.

    Raises
    ------
    InputError
        If an implementation is not found, or none of its runs is possible.
    """
    try:
        with guarded():
            return compare(rnn, options)
    except PortFault as fault:
        print(f"FAILED {fault}")
    except SystemExit as error:
        print(f"FAILED an implementation ends the process: {error}")
    return 1


def compare(rnn: Any, options: Configuration) -> int:
    """Do what `run` does, but raise PortFault where an implementation fails."""
    plot = plot_target(options, rnn.__name__)
    check_files(options, plot)
    folder = absolute_path(".")  # a port may change the working folder
    sources = all_sources(rnn, options)
    traces = [each for each in sources if isinstance(each, TraceFile)]
    if traces:
        check_traces(traces, options)
        fitted = FittedRuns("series of the trace", [traces[0].recorded.run], [])
    else:
        fitted = fitted_runs(sources, options)
    for each in fitted.runs:
        check_length(rnn, each)
    names = [each.name for each in sources]
    heading = describe_runs(names, fitted.series, fitted.runs)
    print(*fitted.notes, heading, sep="\n", flush=True)
    comparisons = []
    for one in sources:
        found = list[ComparedRun]()
        for each in fitted.runs:
            with progress(f"{one.name}: {schedule_name(each)}"):
                found.append(examine(one, each))
        comparisons.append(Comparison(one, found))
    print(comparison_report(comparisons))
    if plot is not None:
        os.chdir(folder)
        write_figure(plot, lambda figure: draw_comparisons(figure, comparisons))
    return 0 if all(each.passed for each in comparisons) else 1


def all_sources(rnn: Any, options: Configuration) -> list[Source]:
    """Find what is compared; with a package, the package of the command too."""
    sources = [source(other, options.timeout) for other in options.others]
    has_packages = any(isinstance(each, PackageSource) for each in sources)
    if has_packages and rnn.__name__ not in options.others:
        sources.insert(0, PackageSource(PackagePort(rnn)))
    return sources


def check_traces(traces: Sequence[TraceFile], options: Configuration) -> None:
    """Raise InputError on several traces, and on options of a run with one."""
    given = sorted(options.given.keys() - OUTPUT)
    if given or len(traces) > 1:
        found = " ".join([each.name for each in traces] + [*map(option_name, given)])
        raise InputError(
            f"{found} are given: expected one trace, whose run is repeated, and no"
            " option of a run"
        )


def check_length(rnn: Any, run: Run) -> None:
    """Raise InputError on a run that no package makes, and on one that is too long."""
    begin(rnn, run)  # makes no update; options that no run can have are refused
    T, schedule = len(run.x), run.options.schedule
    steps = schedule.epochs * updates_per_epoch(run) * min(schedule.k2, T)
    if not 0 < steps <= MAX_JUDGED_STEPS:
        found = f"the windows have {pluralize(steps, 'step')}"
        expected = f"expected 1 to {MAX_JUDGED_STEPS}; change --epochs or --k2"
        raise InputError(f"{found}: {expected}")


def examine(source: Source, run: Run) -> ComparedRun:
    """Record a run of an implementation, and judge every update.

    Parameters
    ----------
    source : Source
        The implementation.
    run : Run
        What it trains.

    Returns
    -------
    ComparedRun
        The judgement, the losses and what they cover. Updates after the first that
        is not finite are not judged.

    Raises
    ------
    PortFault
        If the implementation fails.
    """
    recorded = source.trace(run)
    finite = finite_part(recorded)
    is_whole = finite is recorded
    asked = source if isinstance(source, PortSource) else None
    judgement = judge(finite, source.tau, whole=is_whole, source=asked)
    hint = ""
    with np.errstate(all="ignore"):  # of wrong numbers of any size
        losses = epoch_losses(recorded.updates["loss"], recorded.run)
        if judgement.first is not None:
            hint = hint_for_run(finite, judgement.first)
    updates = finite.updates
    return ComparedRun(
        run,
        judgement,
        reach=int((updates["stop"] - updates["start"]).max(initial=1)) - 1,
        carried=int(np.count_nonzero(updates["start"])),
        losses=losses,
        overflows=not is_whole,
        hint=hint,
    )
