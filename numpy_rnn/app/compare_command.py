"""The command `compare`: run implementations with the same options, and check every
update.
"""

import os
import shlex
import shutil
from types import ModuleType

import numpy as np

from numpy_rnn.app.compare_plot import draw_comparisons
from numpy_rnn.app.compare_report import (
    ComparedRun,
    Comparison,
    comparison_report,
)
from numpy_rnn.app.compare_runs import Source, TraceFile, choose_runs
from numpy_rnn.app.figures import write_figure
from numpy_rnn.app.options import CommandOptions
from numpy_rnn.app.output import (
    check_outputs,
    describe_runs,
    progress,
    schedule_name,
    window_lengths,
)
from numpy_rnn.app.training import epoch_losses
from numpy_rnn.common.commands import is_package
from numpy_rnn.common.records import Run
from numpy_rnn.common.texts import one_line
from numpy_rnn.conformance.mutants.hints import hint_for_port, spec_of_run
from numpy_rnn.conformance.mutants.loops import hint_for_run
from numpy_rnn.conformance.ports.abilities import EVERYTHING
from numpy_rnn.conformance.ports.guard import guarded
from numpy_rnn.conformance.ports.port import PackagePort
from numpy_rnn.conformance.ports.program import FIRST_TIMES, ProgramPort
from numpy_rnn.conformance.ports.protocol import PortFault
from numpy_rnn.conformance.ports.user_code import find_port
from numpy_rnn.conformance.runs.judge import judge
from numpy_rnn.conformance.runs.recorded_run import finite_part
from numpy_rnn.conformance.runs.run_sources import (
    PackageSource,
    PortSource,
    source_of,
)
from numpy_rnn.conformance.tested import (
    SUITE,
    SUITE_OF_PROGRAM,
    Subject,
    absent_tensors,
)
from numpy_rnn.conformance.trace import load_trace


def run(rnn: ModuleType, options: CommandOptions) -> int:
    """Compare implementations, and print the verdict.

    The status is 1 if one is wrong, not judged, or fails.
    """
    plot = check_outputs(options, rnn.__name__)
    if plot is not None:
        plot = os.path.abspath(plot)  # a port may change the working folder
    try:
        with guarded():
            comparisons = []
            sources = find_sources(rnn, options)
            fitted = choose_runs(sources, options)
            names = [source.name for source in sources]
            heading = describe_runs(
                names,
                fitted.series,
                fitted.runs,
                has_step=any(source.computed.step for source in sources),
                has_loop=any(source.computed.loop for source in sources),
            )
            print(*fitted.notes, heading, sep="\n", flush=True)
            for source in sources:
                compared = [examine(source, run) for run in fitted.runs]
                subject = subject_of(source, compared[0].run)
                comparison = Comparison(source.name, source.tau, compared, subject)
                comparisons.append(comparison)
            print(comparison_report(comparisons, fitted.remedy))
            judgements = [run.judgement for each in comparisons for run in each.runs]
            if plot is not None and any(judgement.updates for judgement in judgements):
                write_figure(plot, draw_comparisons, comparisons)
            return 0 if all(judgement.passed for judgement in judgements) else 1
    except PortFault as fault:
        print(f"FAILED {fault}")
    except SystemExit as error:
        print(f"FAILED an implementation ends the process: {error}")
    return 1


def find_sources(rnn: ModuleType, options: CommandOptions) -> list[Source]:
    """Find what is compared; with a package, the package of the command too.

    Raises
    ------
    InputError
        If there is no implementation of a name. The message says what to type.
    PortFault
        If a program fails at its start.
    """
    sources = [find_source(name, options.timeout) for name in options.others]
    has_packages = any(isinstance(source, PackageSource) for source in sources)
    if has_packages and rnn.__name__ not in options.others:
        sources.insert(0, PackageSource(PackagePort(rnn)))
    return sources


def subject_of(source: Source, run: Run) -> Subject:
    """Return what the verdict on a source is about."""
    maker = "this command"
    if isinstance(source, TraceFile):
        has_velocity = run.options.step.has_velocity
        absent = absent_tensors(source.recorded.updates, has_velocity)
        return Subject(
            source.computed, EVERYTHING, maker, absent=absent, is_one_run=True
        )
    port = source.port
    suite = f"{SUITE} {source.spelling}"
    if isinstance(port.port, ProgramPort):
        suite = f"{SUITE_OF_PROGRAM} {shlex.quote(source.spelling)}"
    return Subject(source.computed, port.abilities, maker, port.layout_text, suite)


def find_source(name: str, timeout: float) -> Source:
    """Find the implementation that a name means.

    Parameters
    ----------
    name : str
        A package, a port as module:object, the command of a program, or a trace file.
    timeout : float
        Seconds for an answer of a program. A port in Python has a multiple of it, since
        any of its answers may import or compile. A package has no limit.

    Returns
    -------
    Source
        The implementation.
    """
    if name.endswith(".npz"):
        return TraceFile(one_line(name), load_trace(name))
    if is_program(name):
        try:
            return PortSource(ProgramPort(name, timeout), name)
        except PortFault as fault:
            raise PortFault(f"{one_line(name, 80)}, at its start: {fault}") from None
    port = find_port(name)
    port.timeout = FIRST_TIMES * timeout
    return source_of(port, name)


def is_program(name: str) -> bool:
    """Return whether a name is the command of a program, with any arguments."""
    program = name.partition(" ")[0]
    if ":" in program or is_package(name):
        return False
    return shutil.which(program) is not None


def examine(source: Source, run: Run) -> ComparedRun:
    """Record a run of an implementation, and judge every update.

    Updates after the first that is not finite are not judged. Raises PortFault if the
    implementation fails.
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
            where = f"in the run {schedule_name(run)}"
            if not source.computed.loop:
                where = f"in windows of {window_lengths([run])[0]} steps"
            hint = hint_for_run(finite, finding)
            if isinstance(source, PortSource) and not source.computed.loop:
                # Other cases tell more than the windows of one run, if they show it.
                spec = spec_of_run(run, source.port.abilities)
                hint = hint_for_port(source.port, spec, spec.case(), hint)
            finding = finding._replace(where=where, hint=hint)
    return ComparedRun(
        run,
        judgement._replace(first=finding),
        losses=losses,
        overflows=not is_whole,
    )
