"""The command `compare`: run implementations with the same options, and check every
update.
"""

import os
from collections.abc import Sequence
from types import ModuleType

import numpy as np

from numpy_rnn.app.compare_plot import draw_comparisons
from numpy_rnn.app.compare_report import ComparedRun, Comparison, comparison_report
from numpy_rnn.app.compare_runs import (
    FittedRuns,
    Source,
    TraceFile,
    find_source,
    fitted_runs,
)
from numpy_rnn.app.options import CommandOptions, option_name
from numpy_rnn.app.outputs import check_files, plot_target, write_figure
from numpy_rnn.app.printing import describe_runs, progress, schedule_name
from numpy_rnn.app.updates import begin, epoch_losses
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.numbers import check_integer
from numpy_rnn.common.records import Run
from numpy_rnn.conformance.mutants.loops import hint_for_run
from numpy_rnn.conformance.ports.guard import guarded
from numpy_rnn.conformance.ports.port import PackagePort
from numpy_rnn.conformance.ports.protocol import PortFault
from numpy_rnn.conformance.runs.judge import judge
from numpy_rnn.conformance.runs.recorded_run import finite_part
from numpy_rnn.conformance.runs.run_sources import PackageSource

NOT_OF_A_RUN = {"plot", "no_plot", "timeout"}  # options


def run(rnn: ModuleType, options: CommandOptions) -> int:
    """Compare implementations, and print the verdict.

    The status is 1 if one is wrong, not judged, or fails.
    """
    try:
        with guarded():
            return compare(rnn, options)
    except PortFault as fault:
        print(f"FAILED {fault}")
    except SystemExit as error:
        print(f"FAILED an implementation ends the process: {error}")
    return 1


def compare(rnn: ModuleType, options: CommandOptions) -> int:
    """Do what `run` does, but raise PortFault where an implementation fails."""
    plot = plot_target(options, rnn.__name__)
    check_files(options, plot)
    if plot is not None:
        plot = os.path.abspath(plot)  # a port may change the working folder
    sources = find_sources(rnn, options)
    fitted = choose_runs(rnn, sources, options)
    names = [source.name for source in sources]
    heading = describe_runs(names, fitted.series, fitted.runs)
    print(*fitted.notes, heading, sep="\n", flush=True)
    comparisons = list[Comparison]()
    for source in sources:
        compared = [examine(source, run) for run in fitted.runs]
        comparisons.append(Comparison(source, compared))
    print(comparison_report(comparisons))
    has_ratios = any(comparison.has_judged_updates for comparison in comparisons)
    if plot is not None and has_ratios:
        write_figure(plot, lambda figure: draw_comparisons(figure, comparisons))
    return 0 if all(comparison.passed for comparison in comparisons) else 1


def find_sources(rnn: ModuleType, options: CommandOptions) -> list[Source]:
    """Find what is compared; with a package, the package of the command too."""
    sources = [find_source(name, options.timeout) for name in options.others]
    has_packages = any(isinstance(source, PackageSource) for source in sources)
    if has_packages and rnn.__name__ not in options.others:
        sources.insert(0, PackageSource(PackagePort(rnn)))
    return sources


def choose_runs(
    rnn: ModuleType, sources: Sequence[Source], options: CommandOptions
) -> FittedRuns:
    """Return the run of a trace, or else runs that all ports can make.

    Raises InputError on options that no run can have.
    """
    traces = [source for source in sources if isinstance(source, TraceFile)]
    if traces:
        check_traces(traces, options)
        fitted = FittedRuns("series of the trace", [traces[0].recorded.run], [])
    else:
        check_integer("--epochs", options.epochs, 1)
        fitted = fitted_runs(sources, options)
    for run in fitted.runs:
        begin(rnn, run)  # it checks the options, and makes no update
    return fitted


def check_traces(traces: Sequence[TraceFile], options: CommandOptions) -> None:
    """Raise InputError on several traces, and on options of a run with one."""
    given = sorted(options.given.keys() - NOT_OF_A_RUN)
    if given or len(traces) > 1:
        words = [trace.name for trace in traces] + list(map(option_name, given))
        raise InputError(
            f"{' '.join(words)} are given: expected one trace, whose run is repeated,"
            " and no option of a run"
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
    progress(f"{source.name}: {schedule_name(run)}")
    recorded = source.trace(run)
    finite = finite_part(recorded)
    is_whole = finite is recorded
    judgement = judge(finite, source.tau, whole=is_whole)
    finding = judgement.first
    with np.errstate(all="ignore"):  # of wrong numbers of any size
        losses = epoch_losses(recorded.updates["loss"], recorded.run)
        if finding is not None:
            finding = finding._replace(
                where=f"in the run {schedule_name(run)}",
                hint=hint_for_run(finite, finding),
            )
    windows = finite.updates
    return ComparedRun(
        run,
        judgement._replace(first=finding),
        reach=int((windows["stop"] - windows["start"]).max(initial=1)) - 1,
        carried=int(np.count_nonzero(windows["start"])),
        losses=losses,
        overflows=not is_whole,
    )
