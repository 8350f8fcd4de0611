"""The suite: find what is wrong in a port, on random cases and on its own data.

    check_port(port, level, dtype)  →  for every case: a report of the port, its checks

`check(port)` does all of that, for a test file of one's own.
"""

import contextlib
import secrets
from typing import Any, NamedTuple

from numpy_rnn.common.errors import errors_about
from numpy_rnn.conformance import sampling
from numpy_rnn.conformance.case import (
    FIELDS,
    LOSS_KINDS,
    TENSORS,
    case_sizes,
    equations,
)
from numpy_rnn.conformance.findings import Finding, finding_in
from numpy_rnn.conformance.mutants.hints import hint_for_port, hint_specs
from numpy_rnn.conformance.mutants.loops import hint_for_run
from numpy_rnn.conformance.ports.abilities import stated_by
from numpy_rnn.conformance.ports.port import (
    PackagePort,
    Port,
    find_port,
    stated_port,
    validated_report,
)
from numpy_rnn.conformance.ports.program import ProgramPort
from numpy_rnn.conformance.ports.protocol import PortFault
from numpy_rnn.conformance.random_cases import (
    MAX_LOGIT,
    PLAIN,
    CaseSpec,
    RandomDraw,
    is_bounded,
    random_run,
)
from numpy_rnn.conformance.runs.judge import judge
from numpy_rnn.conformance.runs.sources import source_of
from numpy_rnn.conformance.sampling import (
    Coverage,
    NamedCase,
    large_output_cases,
    named_case,
    sampled_cases,
    smaller,
)
from numpy_rnn.conformance.verdicts import pass_line
from numpy_rnn.conformance.window_checks import global_checks, local_checks

__all__ = ["WrongPort", "check", "check_port"]

RUN_EVERY = 10  # windows per run of several updates
ONE_ROWS = 10  # cases of one row, where outputs overflow
MIN_RUNS = 3  # whatever their work is
LISTED_RESULTS = ("loss", *("d" + name for name in FIELDS))  # which a verdict lists


class WrongPort(AssertionError):
    """A port exceeds a bound that a correct port never exceeds."""

    def __init__(self, finding: Finding):
        super().__init__(finding.report())
        self.finding = finding


class Tested(NamedTuple):
    """What a port is checked for: levels, and the dtypes of each."""

    levels: tuple[str, ...]
    dtypes: tuple[str, ...]


def tested(port: Any) -> Tested:
    """Return the levels that a port has, and its dtypes, the one with more digits
    first.
    """
    stated = stated_by(port)
    levels = ["L2", "L3"]
    if "intermediates" in stated.capabilities:
        levels.insert(0, "L1")
    kinds = [LOSS_KINDS[n] for n in LOSS_KINDS if n in stated.capabilities]
    has_classes = any(kind.has_classes for kind in kinds)
    if has_classes and "large outputs" not in stated.unsupported:
        levels.append("large outputs")
    return Tested(tuple(levels), tuple(sorted(port.dtypes, reverse=True)))


def check(port: Any, *, seed: int | None = None, examples: int | None = None) -> str:
    """Check a port as the suite does, in a test file of one's own.

    Parameters
    ----------
    port : object or str
        A port, as `function_port` makes one, or its name, such as "my_rnn:port".
    seed : int, optional
        The seed of the random cases. By default another one in every call.
    examples : int, optional
        The number of windows per level and dtype; 100 by default, and fewer where they
        are large.

    Returns
    -------
    str
        The verdict, one line that begins with PASS and says what was checked.

    Raises
    ------
    InputError
        If there is no such port, or it states what is invalid.
    AssertionError
        If the port is wrong, fails, or cannot be judged. The message is the verdict.

    Examples
    --------
    >>> from numpy_rnn.conformance.suite import check
    >>> check("numpy_rnn", seed=1, examples=3)[:14]
    'PASS numpy_rnn'
    """
    if isinstance(port, str):
        port = find_port(port)
    elif not isinstance(port, PackagePort | ProgramPort):
        with errors_about(f"port of class {type(port).__name__}"):
            port = stated_port(port)
    if seed is None:
        seed = secrets.randbelow(2**32)
    coverage, what = Coverage(), tested(port)
    for level in what.levels:
        for dtype in what.dtypes:
            try:
                coverage.add(check_port(port, level, dtype, seed, examples))
            except PortFault as fault:
                raise AssertionError(str(fault)) from None
    return pass_line(port, coverage)


def check_port(
    port: Port, level: str, dtype: str, seed: int = 0, examples: int | None = None
) -> Coverage:
    """Check a port on random cases at one level.

    Parameters
    ----------
    port : Port
        The implementation under test.
    level : {"L1", "L2", "L3", "large outputs"}
        L1: every stage within its own rounding. L2: every result within what rounding
        allows of a whole window. L3: several updates in a row, each from its actual
        start. "large outputs": L2 where exponentials of outputs overflow.
    dtype : {"float32", "float64"}
        The dtype of the cases.
    seed : int, optional
        The seed of the random cases.
    examples : int, optional
        The number of windows; 100 by default, and fewer where they are large.

    Returns
    -------
    Coverage
        The sizes of the windows, and what was judged.

    Raises
    ------
    WrongPort
        At the first case that is wrong.
    PortFault
        Without a valid report, and where no window judges one of the results.
    """
    coverage = Coverage()
    if level == "L3":
        count = max(examples or sampling.EXAMPLES, RUN_EVERY) // RUN_EVERY
        for number in range(count):
            if found := check_sampled_run(port, dtype, seed + number, coverage):
                raise WrongPort(found)
            is_much = coverage.work > sampling.MAX_WORK and number + 1 >= MIN_RUNS
            if is_much and examples is None:
                break
        return checked_coverage(port, coverage)
    is_large = level == "large outputs"
    sample = large_output_cases if is_large else sampled_cases
    for named in sample(port, dtype, seed, examples):
        try:
            found = check_case(port, level, named, coverage)
        except PortFault as fault:
            raise overflow_fault(port, fault, named) if is_large else fault from None
        if found:
            raise WrongPort(explained(port, level, named, found))
    if is_large:
        return coverage  # what matters is that the numbers are finite
    return checked_coverage(port, coverage)


def overflow_fault(port: Port, fault: PortFault, named: NamedCase) -> PortFault:
    """Return the fault of a port whose outputs of 1e4 are no finite numbers."""
    text = str(fault).removeprefix(f"{port.name}: ").partition(", in ")[0]
    text = text.removesuffix(": expected a finite number")
    advice = "use log-sum-exp"
    if is_right_on_one_row(port, named):
        advice = "subtract the largest output of each row, not that of all rows"
    message = f"OVERFLOW {port.name}: right for outputs up to 30, but {text} "
    message += f"for outputs of {MAX_LOGIT:g}: {advice}, or state "
    message += 'lacks=("large outputs",) in the port, or in the call of its adapter'
    return PortFault(message)


def is_right_on_one_row(port: Port, named: NamedCase) -> bool:
    """Return whether a port is right for the outputs of one step of one sequence, most
    of whose classes are not the likeliest ones.
    """
    if named.spec is None or stated_by(port).sizes:
        return False
    for seed in range(ONE_ROWS):
        spec = named.spec._replace(T=1, B=1, K=1, O=8, seed=seed, **PLAIN)
        spec = spec._replace(logits=MAX_LOGIT)
        try:
            if check_case(port, "L2", named_case(spec)):
                return False
        except PortFault:
            return False
    return True


def checked_coverage(port: Port, coverage: Coverage) -> Coverage:
    """Return what is covered. Raises PortFault where no window judges a result."""
    if coverage.unjudged:
        advice = "ill-conditioned in all windows; test float64, shorter windows "
        advice += "or smaller sizes"
        raise PortFault(
            f"NOT JUDGED {', '.join(coverage.unjudged)} of {port.name}: {advice}"
        )
    return coverage


def check_case(
    port: Port, level: str, named: NamedCase, coverage: Coverage | None = None
) -> Finding | None:
    """Return the finding of a window at L1 or L2: its first tensor in causal order that
    exceeds its bound.
    """
    report = validated_report(port, named.case, named.name)
    checks = local_checks if level == "L1" else global_checks
    found = {}
    for each in checks(named.case, report, source_of(port).tau):
        found[each.tensor] = each
    if coverage is not None:
        coverage.note_sizes(case_sizes(named.case))
        coverage.note(found.values())
    wrong = [name for name in TENSORS if name in found and not found[name].is_right]
    if not wrong:
        return None
    where = f"{level}, {named.name}"
    if others := [name for name in wrong[1:] if name in LISTED_RESULTS]:
        where = f"wrong as well: {', '.join(others)}\n  {where}"
    ids = equations(wrong[0], named.case.objective, named.case.step)
    return finding_in(found[wrong[0]])._replace(equation=ids, where=where)


def check_sampled_run(
    port: Port, dtype: str, seed: int, coverage: Coverage
) -> Finding | None:
    """Return the finding of a run of several updates in lockstep, at L3; None also if
    the run overflows.
    """
    run = random_run(RandomDraw(seed), dtype, stated_by(port))
    if not is_bounded(run):
        return None
    source = source_of(port)
    recorded = source.trace(run)
    judgement = judge(recorded, source.tau, source=source)
    sizes = case_sizes(run)
    steps = max(window.steps for window in recorded.windows)
    coverage.note_sizes(sizes | {"T": steps})
    coverage.work += sampling.work_of(sizes | {"T": len(run.x) * len(recorded.windows)})
    coverage.add(judgement.counts)
    # A result that is judged with smaller weights only is judged.
    coverage.judged.update(judgement.contracted)
    if judgement.first is None:
        return None
    call = f"random_run(RandomDraw({seed}), {dtype!r}, stated_by(port))"
    hint = hint_for_run(recorded, judgement.first)
    return judgement.first._replace(where=f"L3, {call}", hint=hint)


def explained(port: Port, level: str, named: NamedCase, found: Finding) -> Finding:
    """Return the first wrong case among small ones, or one of the earliest wrong stage,
    with a hint.
    """
    hint, spec = hint_for_port(port, named.spec, named.case), named.spec
    for each in hint_specs(port, spec) if spec else ():
        other = wrong_case(port, level, each, found)
        if other and other.tensor != found.tensor:
            found, spec = other, each
    if hint:
        for each in smaller(spec, port):
            if small := wrong_case(port, level, each, found):
                return small._replace(hint=hint)
    return found._replace(hint=hint)


def wrong_case(
    port: Port, level: str, spec: CaseSpec, found: Finding
) -> Finding | None:
    """Return a finding on this spec, of the same stage or an earlier one."""
    with contextlib.suppress(PortFault, ValueError):
        other = check_case(port, level, named_case(spec))
        if other and TENSORS.index(other.tensor) <= TENSORS.index(found.tensor):
            return other
    return None
