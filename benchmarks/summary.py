"""The report: one text in Markdown, which is printed, and written as README.md."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from benchmarks.estimates import Times, Wants, noise_floor
from benchmarks.line_profile import Profile, by_equation
from benchmarks.plan import COLD, IMPORT
from benchmarks.rows import AGAIN, FORWARD, GRADIENT, OURS, RUN, STEP
from benchmarks.timing_tables import (
    Claim,
    agreement_table,
    main_table,
    process_table,
    runs_table,
    table,
    three_digits,
    windows_table,
    wrong_lines,
)
from benchmarks.worker import Verdict
from benchmarks.workloads import MAIN_JOB

SLOWEST_LINES = 12  # of a profile that are shown

READING = """\
[a, b] is the interval that holds the true median with 95 % confidence: order statistics, no assumption on how times are
distributed. Ratios are paired within a round. A row is timed only where its own numbers, on the very same case, are
within the bounds of the equivalence suite. `numpy_rnn again` is numpy_rnn under another name: a ratio within its
spread, or whose interval holds 1, is a tie (`=`). A claim on a ratio or a time passes where its whole interval does,
and fails where none of it does; between the two it is open. `numpy_rnn` is the package: its forward and bptt are the
reference's, its train is the engine's, whose results are read once per epoch; in `numpy_rnn, every update` they are
read after every update, and `numpy_rnn.reference` is the plain training loop. `bare calls` are the fewest NumPy calls
that the equations allow, and `bare GEMMs` the matrix products alone, each in the fastest of all layouts, one after the
other and nothing else: no training that is made of them can take less."""


class Findings(NamedTuple):
    """All that a run of the benchmarks has found."""

    system: Mapping[str, str]
    command: str
    rounds: int
    times: Times
    compiling: Mapping[Any, float]  # seconds, by key
    wants: Wants
    verdicts: Sequence[Verdict]
    broken: Sequence[str]  # pieces whose process ended before its time
    claims: Sequence[Claim]
    memory: Sequence[str] = ()  # lines
    profiles: Sequence[Profile] = ()
    abouts: Mapping[str, str] = {}  # how the rows are written
    figures: Mapping[str, str] = {}  # captions, by file

    @property
    def wrong(self) -> list[str]:
        """What disagreed, failed or broke."""
        return [*wrong_lines(self.verdicts), *self.broken]


def report(found: Findings) -> str:
    parts = [
        ["# How fast it is, and how far from what the machine can do"],
        [
            f"Written by `{found.command}`, {found.rounds} rounds. To make it again: that command, from the top of the"
            ' source, after `pip install ".[torch,plot,benchmark,rows]"`, with a C and a C++ compiler; what is missing'
            " is left out and said. Times are of this machine; ratios are what carries over."
        ],
        table(["", "this run"], [[name, value] for name, value in found.system.items()]),
        [READING],
        ["## Claims"],
        [f"- {claim.line()}" for claim in found.claims],
        [_noise_line(found.times)],
        *_times(found),
        *_figures(found),
        *_profiles(found.profiles),
        ["## Agreement"],
        agreement_table(found.verdicts),
        [f"- {line}" for line in found.wrong],
        ["## The rows", *(f"- {row}: {about}" for row, about in found.abouts.items())] if found.abouts else [],
    ]
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def _noise_line(times):
    noise = noise_floor(times, AGAIN, OURS)
    if noise is None:
        return "Noise floor: not measured, so only intervals tell ties."
    low, high = map(three_digits, noise)
    return f"Noise floor: {OURS} takes {low} to {high} times as long as itself (95 % of the cases; 1 without noise)."


def _times(found):
    """Every table of times that has lines."""
    times, wants = found.times, found.wants
    cases = list(wants.cases.values())
    runs = [case for case in cases if any(key.task == RUN and key.case == case.name for key in wants.keys)]
    windows = [case for case in cases if case not in runs]
    parts = []
    for case in runs:
        if case.name == MAIN_JOB.name:
            parts += [["## The main job"], main_table(times, case, found.compiling)]
    sliding = [case for case in runs if case.networks == 1 and case.name.startswith("sliding")]
    ensembles = [case for case in runs if case.name.endswith("networks")]
    tables = [
        ("## Sliding windows", runs_table(times, "ns a point", sliding)),
    ]
    for threads in sorted({key.threads for key in wants.keys}):
        where = "one thread" if threads == 1 else f"{threads} threads"
        tables.append((f"## Ensembles, {where}", runs_table(times, "ns a point and network", ensembles, threads)))
        for task, title in ((FORWARD, "Forward"), (GRADIENT, "Gradient"), (STEP, "Gradient and update")):
            tables.append((f"## {title}, {where}", windows_table(times, windows, task, threads, found.compiling)))
    tables += [
        ("## Cold start of the main job", process_table(times, COLD)),
        ("## Imports", process_table(times, IMPORT)),
        ("## Memory", list(found.memory)),
    ]
    return parts + [part for title, lines in tables if lines for part in ([title], lines)]


def _figures(found):
    lines = [[f"![{caption}]({file})"] for file, caption in found.figures.items()]
    return [["## Figures"], *lines] if lines else []


def _profiles(profiles: Iterable[Profile]):
    """Where the time of numpy_rnn goes: by equation of DERIVATION.md, and the slowest lines."""
    parts = []
    for profile in profiles:
        whole = sum(line.seconds for line in profile.lines)
        lines = [
            [f"`{file}:{number}`", f"{seconds * 1e6:.2f}", f"{seconds / whole:.0%}", f"`{text}`"]
            for file, number, text, _, seconds in profile.lines[:SLOWEST_LINES]
        ]
        equations = [f"{name} {seconds / whole:.0%}" for name, seconds in by_equation(profile).items()]
        untraced = f"{three_digits(profile.seconds * 1e6)} µs; as the sum of its lines {three_digits(whole * 1e6)} µs"
        parts += [
            [f"## Where the time goes: {profile.case}"],
            [f"A point takes {untraced}. By equation: {', '.join(equations)}."],
            table(["line of numpy_rnn", "µs", "share", "what"], lines),
        ]
    return parts
