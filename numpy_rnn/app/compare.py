"""The command `compare`: run implementations with the same options, and check every
update.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from numpy_rnn.app.compared_runs import FittedRuns, fitted_runs
from numpy_rnn.app.compared_sources import Source, TraceFile, source
from numpy_rnn.app.comparison_plot import draw_comparisons
from numpy_rnn.app.comparison_report import ComparedRun, Comparison, comparison_report
from numpy_rnn.app.options import Options, option_name
from numpy_rnn.app.outputs import check_files, plot_target, write_figure
from numpy_rnn.app.printing import describe_runs, progress, schedule_name
from numpy_rnn.app.training import begin, epoch_losses, updates_per_epoch
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.files import absolute_path
from numpy_rnn.common.records import Run
from numpy_rnn.conformance.mutants.loops import hint_for_run
from numpy_rnn.conformance.ports.guard import guarded
from numpy_rnn.conformance.ports.port import PackagePort
from numpy_rnn.conformance.ports.protocol import PortFault
from numpy_rnn.conformance.runs.judge import judge
from numpy_rnn.conformance.runs.recorded_run import finite_part
from numpy_rnn.conformance.runs.sources import PackageSource, PortSource

OUTPUT = {"plot", "no_plot", "timeout"}  # options that are not of a run
MAX_KEPT_NUMBERS = 2**29  # of a run, which are all kept in memory


def run(rnn: Any, options: Options) -> int:
    """Compare implementations, and print the verdict.

    Parameters
    ----------
    rnn : module
        The package of the command line.
    options : Options
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


def compare(rnn: Any, options: Options) -> int:
    """Do what `run` does, but raise PortFault where an implementation fails."""
    plot = plot_target(options, rnn.__name__)
    check_files(options, plot)
    if plot is not None:
        plot = absolute_path(plot)  # a port may change the working folder
    sources = all_sources(rnn, options)
    traces = [each for each in sources if isinstance(each, TraceFile)]
    if traces:
        check_traces(traces, options)
        fitted = FittedRuns("series of the trace", [traces[0].recorded.run], [])
    else:
        fitted = fitted_runs(sources, options)
        check_lengths(fitted.runs)
    for each in fitted.runs:
        begin(rnn, each)  # makes no update; options that no run can have are refused
    names = [each.name for each in sources]
    heading = describe_runs(names, fitted.series, fitted.runs)
    print(*fitted.notes, heading, sep="\n", flush=True)
    comparisons = []
    for one in sources:
        found = list[ComparedRun]()
        for each in fitted.runs:
            progress(f"{one.name}: {schedule_name(each)}")
            found.append(examine(one, each))
        comparisons.append(Comparison(one, found))
    print(comparison_report(comparisons))
    if plot is not None:
        write_figure(plot, lambda figure: draw_comparisons(figure, comparisons))
    return 0 if all(each.passed for each in comparisons) else 1


def all_sources(rnn: Any, options: Options) -> list[Source]:
    """Find what is compared; with a package, the package of the command too."""
    sources = [source(other, options.timeout) for other in options.others]
    has_packages = any(isinstance(each, PackageSource) for each in sources)
    if has_packages and rnn.__name__ not in options.others:
        sources.insert(0, PackageSource(PackagePort(rnn)))
    return sources


def check_traces(traces: Sequence[TraceFile], options: Options) -> None:
    """Raise InputError on several traces, and on options of a run with one."""
    given = sorted(options.given.keys() - OUTPUT)
    if given or len(traces) > 1:
        found = " ".join([each.name for each in traces] + [*map(option_name, given)])
        raise InputError(
            f"{found} are given: expected one trace, whose run is repeated, and no"
            " option of a run"
        )


def check_lengths(runs: Sequence[Run]) -> None:
    """Raise InputError on a run without an update, and on one that is too long."""
    for each in runs:
        W_hh = each.params.W_hh
        schedule = each.options.schedule
        updates = schedule.epochs * updates_per_epoch(each)
        steps = min(schedule.k2, len(each.x))
        # a, h, dh and da of every step; gradients, parameters and velocity.
        numbers = updates * (4 * steps * W_hh[..., 0].size + 3 * W_hh.size)
        if not 0 < numbers <= MAX_KEPT_NUMBERS:
            raise InputError(
                f"the run has {updates} updates with {numbers} numbers: expected 1 to"
                f" {MAX_KEPT_NUMBERS}, which are kept in memory; change --epochs or"
                " --steps"
            )


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
    first = judgement.first
    with np.errstate(all="ignore"):  # of wrong numbers of any size
        losses = epoch_losses(recorded.updates["loss"], recorded.run)
        if first is not None:
            where = f"in the run {schedule_name(run)}"
            first = first._replace(where=where, hint=hint_for_run(finite, first))
    updates = finite.updates
    return ComparedRun(
        run,
        judgement._replace(first=first),
        reach=int((updates["stop"] - updates["start"]).max(initial=1)) - 1,
        carried=int(np.count_nonzero(updates["start"])),
        losses=losses,
        overflows=not is_whole,
    )
