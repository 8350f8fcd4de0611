"""The suite: find what is wrong in a port, on random cases.

    random_cases         draws a window or a run,
    ports                answers with a report,
    window_checks, runs  compare it with the definition and its bounds,
    verdicts, mutants    say what is wrong, and what the mistake looks like; or what was
                         checked.

`check(port)` does all of that in a test file of one's own; session.py is the suite in
pytest.
"""

import contextlib
import secrets
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from numpy_rnn.common.errors import errors_about
from numpy_rnn.common.records import CLASS_LOSSES
from numpy_rnn.conformance.case import (
    GRADIENT_AXES,
    TENSORS,
    case_sizes,
    equations,
)
from numpy_rnn.conformance.coverage import Coverage
from numpy_rnn.conformance.mutants.hints import hint_for_port, hint_specs
from numpy_rnn.conformance.mutants.loops import hint_for_run
from numpy_rnn.conformance.ports.port import Port, StatedPort, stated_port
from numpy_rnn.conformance.ports.protocol import PortFault
from numpy_rnn.conformance.ports.user_code import find_port, validated_report
from numpy_rnn.conformance.random_cases import (
    MAX_LOGIT,
    PLAIN,
    CaseSpec,
    RandomDraw,
    facts_of_spec,
    large_spec,
    random_run,
    random_spec,
    without_unsupported,
)
from numpy_rnn.conformance.runs.judge import judge
from numpy_rnn.conformance.runs.run_sources import (
    LOG_SUM_EXP,
    computed_by,
    source_of,
)
from numpy_rnn.conformance.tested import Subject, agreement, coverage_lines
from numpy_rnn.conformance.verdicts import Finding, finding_in
from numpy_rnn.conformance.window_checks import Check, checks_at

__all__ = ["WrongPort", "check", "check_port"]

EXAMPLES = 100  # windows per test
LARGE_EVERY = 6  # one of so many windows is large
LARGE = "THBDO"  # in turn
MAX_WORK = 8e7  # of the windows of a test, in products: fewer where they are large
MIN_WINDOWS = 5  # whatever their work is
LARGE_OUTPUTS_SHARE = 5  # of so many windows, one whose outputs overflow exponentials
RUN_EVERY = 10  # windows per run of several updates
MIN_RUNS = 3  # however large they are
LISTED_RESULTS = ("loss", *GRADIENT_AXES)  # which a verdict lists


class WrongPort(AssertionError):
    """A port is off by more than rounding explains."""

    def __init__(self, finding: Finding):
        super().__init__(finding.report())
        self.finding = finding


def tested_levels(port: StatedPort) -> tuple[list[str], list[str]]:
    """Return the levels that a port has, and its dtypes, the one with more digits
    first.
    """
    abilities = port.abilities
    levels = ["L2", "L3"]
    if "intermediates" in abilities.capabilities:
        levels.insert(0, "L1")
    has_classes = not {*CLASS_LOSSES}.isdisjoint(abilities.capabilities)
    if has_classes and "large outputs" not in abilities.lacks:
        levels.append("large outputs")
    return levels, sorted(abilities.dtypes, reverse=True)


def check(
    port: Port | str, *, seed: int | None = None, examples: int | None = None
) -> str:
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
        The verdict: a line that begins with PASS, and lines on what was tested, and
        what was not.

    Raises
    ------
    InputError
        If there is no such port, or it states what is invalid.
    AssertionError
        If the port is wrong, fails, or cannot be judged. The message is the verdict.

    Examples
    --------
    >>> from numpy_rnn.conformance.suite import check
    >>> check("numpy_rnn", seed=1, examples=10)[:14]
    'PASS numpy_rnn'
    """
    if isinstance(port, str):
        stated = find_port(port)
    else:
        with errors_about(f"port of class {type(port).__name__}"):
            stated = stated_port(port)
    if seed is None:
        seed = secrets.randbelow(2**32)
    coverage = Coverage()
    levels, dtypes = tested_levels(stated)
    for level in levels:
        for dtype in dtypes:
            try:
                coverage.add(check_port(stated, level, dtype, seed, examples))
            except PortFault as fault:
                raise AssertionError(str(fault)) from None
    return pass_verdict(stated, coverage)


def pass_verdict(port: StatedPort, coverage: Coverage) -> str:
    """Return the verdict on a right port: what was tested, and what was not."""
    subject = Subject(
        computed_by(port), port.abilities, "the suite", layout=port.layout_text
    )
    sentence = agreement([port.label], subject, coverage)
    return "\n".join([f"PASS {sentence}", *coverage_lines(subject, coverage)])


def check_port(
    port: Port | StatedPort,
    level: str,
    dtype: str,
    seed: int = 0,
    examples: int | None = None,
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
    stated = stated_port(port)
    coverage = Coverage()
    if level == "large outputs":
        for spec in large_output_specs(stated, dtype, seed, examples):
            try:
                check_window(stated, level, spec, coverage)
            except PortFault as fault:
                raise overflow_fault(stated, fault) from None
        return coverage  # what matters is that the numbers are finite
    if level == "L3":
        check_runs(stated, dtype, seed, examples, coverage)
    else:
        for spec in sampled_specs(stated, dtype, seed, examples):
            check_window(stated, level, spec, coverage)
    if coverage.unjudged:
        advice = "ill-conditioned in all windows; test float64, shorter windows "
        advice += "or smaller sizes"
        raise PortFault(
            f"NOT JUDGED {', '.join(coverage.unjudged)} of {stated.name}: {advice}"
        )
    return coverage


def overflow_fault(port: StatedPort, fault: PortFault) -> PortFault:
    """Return the fault of a port that fails where its outputs are 1e4, without the
    case.
    """
    text = fault.what.removesuffix(": expected a finite number")
    message = f"OVERFLOW {port.name}: {text} for outputs of {MAX_LOGIT:g}: "
    message += f"{LOG_SUM_EXP}, or state "
    message += 'lacks=("large outputs",) in the port, or in the call of its adapter'
    return PortFault(message)


# Windows, levels L1 and L2


def work_of(sizes: Mapping[str, Any]) -> float:
    """Return the number of products of a window of these sizes."""
    T, B, D, H, O = (sizes[letter] for letter in "TBDHO")
    return float(T * B * H * (D + H + O))


def sampled_specs(
    port: StatedPort, dtype: str, seed: int, examples: int | None
) -> Iterator[CaseSpec]:
    """Yield random windows; fewer where they are large. Those whose outputs overflow
    exponentials are left out.
    """
    work = 0.0
    for number in range(examples or EXAMPLES):
        draw = RandomDraw(seed, number)
        if number % LARGE_EVERY == LARGE_EVERY - 1:
            letter = LARGE[number // LARGE_EVERY % len(LARGE)]
            spec = large_spec(draw, letter, dtype, port.abilities)
        else:
            spec = random_spec(draw, dtype, port.abilities)
        work += work_of(spec._asdict())
        if examples is None and number >= MIN_WINDOWS and work > MAX_WORK:
            return
        if spec.logits != MAX_LOGIT:
            yield spec


def large_output_specs(
    port: StatedPort, dtype: str, seed: int, examples: int | None
) -> Iterator[CaseSpec]:
    """Yield windows of a cross-entropy whose outputs overflow exponentials.

    None has learnt: such a one may hide which tensor is wrong.
    """
    windows = examples and max(examples, EXAMPLES)  # half or more have classes
    specs = sampled_specs(port, dtype, seed, windows)
    with_classes = (spec for spec in specs if spec.objective.has_classes)
    count = max(1, (examples or EXAMPLES) // LARGE_OUTPUTS_SHARE)
    for spec in islice(with_classes, count):
        yield spec._replace(logits=MAX_LOGIT, learnt=False)


def smaller_specs(spec: CaseSpec, port: StatedPort) -> Iterator[CaseSpec]:
    """Yield the same with small sizes, if the port has all sizes."""
    if port.abilities.sizes:
        return
    O = 2 if spec.objective.has_classes else 1
    plain = spec._replace(**PLAIN, scale=1.0, gain=1.0, B=1, D=1, H=2, O=O)
    for T in (1, 2, 3, spec.T):
        yield without_unsupported(plain._replace(T=T, K=T), port.abilities)


def check_window(
    port: StatedPort, level: str, spec: CaseSpec, coverage: Coverage
) -> None:
    """Check a window at L1 or L2, and add it to the coverage. Raises WrongPort, with
    the smallest case that shows the mistake, and a hint.
    """
    checks = checks_by_name(port, level, spec)
    coverage.note_sizes({letter: getattr(spec, letter) for letter in "TBDHOK"})
    coverage.note_uses(facts_of_spec(spec), spec.step)
    coverage.note(checks.values())
    coverage.windows += 1
    coverage.reach = max(coverage.reach, spec.T - 1)
    finding = first_finding(checks, level, spec)
    if finding is not None:
        raise WrongPort(explained_finding(port, level, spec, finding))


def checks_by_name(port: StatedPort, level: str, spec: CaseSpec) -> dict[str, Check]:
    """Return the checks of the port's report on a window, by tensor."""
    case = spec.case()
    report = validated_report(port, case, repr(spec))
    checks = checks_at(level, case, report, port.tau)
    return {check.tensor: check for check in checks}


def first_finding(
    checks: Mapping[str, Check], level: str, spec: CaseSpec
) -> Finding | None:
    """Return the finding of a window: its first tensor in causal order that exceeds
    its bound.
    """
    wrong = [name for name in TENSORS if name in checks and not checks[name].is_right]
    if not wrong:
        return None
    where = f"{level}, {spec!r}"
    if others := [name for name in wrong[1:] if name in LISTED_RESULTS]:
        where = f"wrong as well: {', '.join(others)}\n  {where}"
    ids = equations(wrong[0], spec.objective, spec.step)
    return finding_in(checks[wrong[0]])._replace(equation=ids, where=where)


def explained_finding(
    port: StatedPort, level: str, spec: CaseSpec, finding: Finding
) -> Finding:
    """Return the finding of the earliest wrong stage in similar cases, with a hint; if
    there is a hint, in the smallest of them.
    """
    hint = hint_for_port(port, spec, spec.case())
    specs = [*smaller_specs(spec, port)] if hint else []
    findings = list[Finding]()
    for other in (*specs, *hint_specs(port, spec)):
        with contextlib.suppress(PortFault, ValueError):
            found = first_finding(checks_by_name(port, level, other), level, other)
            if found is not None:
                findings.append(found)
    earliest = min([*findings, finding], key=lambda f: TENSORS.index(f.tensor))
    return earliest._replace(hint=hint)


# Runs, level L3


def check_runs(
    port: StatedPort, dtype: str, seed: int, examples: int | None, coverage: Coverage
) -> None:
    """Check runs of several updates in lockstep. Raises WrongPort at the first wrong
    one.
    """
    count = max(examples or EXAMPLES, RUN_EVERY) // RUN_EVERY
    work = 0.0
    for number in range(count):
        if examples is None and number >= MIN_RUNS and work > MAX_WORK:
            return
        work += check_run(port, dtype, (seed, number), coverage)


def check_run(
    port: StatedPort, dtype: str, seed: tuple[int, int], coverage: Coverage
) -> float:
    """Check one run, and add it to the coverage. Returns its number of products."""
    run = random_run(RandomDraw(*seed), dtype, port.abilities)
    source = source_of(port)
    recorded = source.trace(run)
    judgement = judge(recorded, source.tau)
    coverage.add(judgement.counts)
    if judgement.first is not None:
        call = f"random_run(RandomDraw{seed}, {dtype!r}, stated_port(port).abilities)"
        hint = hint_for_run(recorded, judgement.first)
        raise WrongPort(judgement.first._replace(where=f"L3, {call}", hint=hint))
    return work_of(case_sizes(run) | {"T": len(run.x) * len(recorded.expected_windows)})
