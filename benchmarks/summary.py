"""The report: one text in Markdown, which is printed, and written as README.md."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from benchmarks.claims import Claim
from benchmarks.estimates import Requested, Times, noise_floor, times_of
from benchmarks.line_profile import Line, Profile, by_equation
from benchmarks.load import Load
from benchmarks.machine import Machine
from benchmarks.plan import COLD, IMPORT, Key, in_words
from benchmarks.rows import AGAIN, FORWARD, GRADIENT, OURS, RUN, STEP
from benchmarks.store import FINDINGS
from benchmarks.timing_tables import (
    agreement_table,
    characters_table,
    default_table,
    failure_lines,
    process_table,
    runs_table,
    table,
    three_digits,
    windows_table,
)
from benchmarks.worker import Verdict
from benchmarks.workloads import DEFAULT_EXPERIMENT, MAX_GRADIENT, SUCCESSORS, Case

MAX_PROFILE_LINES = 12

READING = """\
[a, b] is the interval that contains the true median with 95 % confidence: order statistics, without assumptions on how
times are distributed. Ratios are paired within rounds. A row is timed only if its own results on the same case are
within the bounds of the equivalence suite. `numpy_rnn again` is numpy_rnn under another name: a ratio within its range,
or whose interval contains 1, is a tie (`=`). A claim on a ratio or a time passes if its whole interval does, fails if
no part of it does, and is open otherwise. `numpy_rnn` is the package: its forward and bptt are the reference's, its
train is the engine's, whose results are read once per epoch; `numpy_rnn, every update` reads them after every update,
and `numpy_rnn.reference` is the reference's training loop. `bare calls` are the fewest NumPy calls that the equations
need, and `bare GEMMs` the matrix products alone, each in the fastest of all layouts, called in sequence without other
work: a lower bound on the time of training that consists of them."""


class Findings(NamedTuple):
    """Everything that a run of the benchmarks measured."""

    machine: Machine
    start: Load  # before the first round
    pools: Sequence[str]  # thread pools of the processes that measured
    command: str
    rounds: int
    times: Times
    compiling: Mapping[Key, float]  # seconds
    requested: Requested
    verdicts: Sequence[Verdict]
    crashes: Sequence[str]  # pieces whose process failed
    claims: Sequence[Claim]
    memory: Sequence[str] = ()  # lines of a table
    profiles: Sequence[Profile] = ()
    descriptions: Mapping[str, str] = {}  # how the rows are written
    figures: Mapping[str, str] = {}  # captions, by file

    @property
    def failures(self) -> list[str]:
        """What disagreed or crashed."""
        return [*failure_lines(self.verdicts), *self.crashes]


def to_json(findings: Findings) -> dict[str, Any]:
    """Everything but the times, in types that JSON has."""
    requested = findings.requested
    return {
        **findings._asdict(),
        "times": None,
        "machine": findings.machine._asdict(),
        "compiling": {key.to_text(): seconds for key, seconds in findings.compiling.items()},
        "requested": [sorted(key.to_text() for key in requested.keys), list(requested.cases.values())],
    }


def from_json(suite: Mapping[str, Any]) -> Findings:
    """The findings of a results.json, of which `report` makes the same text again."""
    values = suite[FINDINGS]
    keys, cases = values["requested"]
    parsed = {
        "times": times_of(suite),
        "machine": Machine.from_json(values["machine"]),
        "start": Load(*values["start"]),
        "compiling": {Key.from_text(text): seconds for text, seconds in values["compiling"].items()},
        "requested": Requested(frozenset(map(Key.from_text, keys)), {case[0]: Case(*case) for case in cases}),
        "verdicts": [Verdict(*verdict) for verdict in values["verdicts"]],
        "claims": [Claim(*claim) for claim in values["claims"]],
        "profiles": [
            Profile(case, seconds, [Line(*line) for line in lines]) for case, seconds, lines in values["profiles"]
        ],
    }
    return Findings(**{**values, **parsed})


def report(findings: Findings) -> str:
    rows = [f"- {row}: {about}" for row, about in findings.descriptions.items()]
    parts = [
        ["# Speed, and the limits of the machine"],
        [
            f"Written by `{findings.command}`, {findings.rounds} rounds. To repeat it, run this command at the top of"
            ' the source tree after `pip install ".[torch,plot,benchmark,rows]"`, with a C and a C++ compiler; rows'
            " whose packages or compilers are missing are left out. Times depend on the machine; ratios depend on it"
            " less."
        ],
        table(["", "this run"], [[name, value] for name, value in machine_rows(findings)]),
        [READING],
        ["## Claims"],
        [forced] if (forced := _forced_line(findings.machine)) else [],
        [f"- {claim.line()}" for claim in findings.claims],
        [_noise_line(findings.times)],
        *_times(findings),
        *_figures(findings),
        *_profiles(findings.profiles),
        ["## Agreement"],
        agreement_table(findings.verdicts),
        [f"- {line}" for line in findings.failures],
        ["## The rows"] if rows else [],
        rows,
    ]
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def machine_rows(findings: Findings) -> list[tuple[str, str]]:
    """What the run was measured on, with the load at its start and the thread pools of its processes."""
    others, steal = findings.start.cores()
    load = f"other processes took {others:.2f} cores, other virtual machines {steal:.2f} cores"
    pools = [("Thread pools, as measured", "; ".join(findings.pools))] if findings.pools else []
    return [*findings.machine.rows(), ("Load at the start", load), *pools]


def _forced_line(machine):
    """Printed above every group of results, so that a run with forced kernels cannot be mistaken for another."""
    return f"**Kernels are forced by {machine.forced()}.**" if machine.forcing else ""


def _noise_line(times):
    noise = noise_floor(times, AGAIN, OURS)
    if noise is None:
        return "Noise floor: not measured; a ratio is a tie if its interval contains 1."
    low, high = map(three_digits, noise)
    return f"Noise floor: {OURS} takes {low} to {high} times as long as itself (95 % of the cases; 1 without noise)."


def _times(findings):
    """Every table of times that has lines, with its title."""
    times, requested, compiling = findings.times, findings.requested, findings.compiling
    names = {key.case for key in requested.keys if key.task == RUN}
    runs = {name: case for name, case in requested.cases.items() if name in names}
    models = [case for case in requested.cases.values() if case.characters]
    windows = [case for name, case in requested.cases.items() if name not in names and not case.characters]
    default = runs.get(DEFAULT_EXPERIMENT.name)
    sliding = {"k2=1": default} if default else {}
    sliding |= {name.removeprefix("sliding "): case for name, case in runs.items() if name.startswith("sliding")}
    ensembles = {"1 network": default} if default else {}
    ensembles |= {name: case for name, case in runs.items() if "network" in name}
    ensembles = ensembles if len(ensembles) > 1 else {}
    tables = []
    if default:
        tables.append(("The default experiment", default_table(times, default, compiling)))
    if len(sliding) > 1:
        tables.append(("Sliding windows", runs_table(times, "ns per point", sliding)))
    tables.append(("Character model", _character_lines(times, models, compiling)))
    for threads in sorted({key.threads for key in requested.keys}):
        where = in_words(threads)
        tables.append((f"Ensembles, {where}", runs_table(times, "ns per point and network", ensembles, threads)))
        for task, title in ((FORWARD, "Forward"), (GRADIENT, "Gradient"), (STEP, "Gradient and update")):
            tables.append((f"{title}, {where}", windows_table(times, windows, task, threads, compiling)))
    tables += [
        ("Cold start: the default experiment in a fresh process", process_table(times, COLD)),
        ("Imports", process_table(times, IMPORT)),
        ("Memory", list(findings.memory)),
    ]
    forced = [[line]] if (line := _forced_line(findings.machine)) else []
    return [part for title, lines in tables if lines for part in ([f"## {title}"], *forced, lines)]


def _character_lines(times, models, compiling):
    """What the models are, and a table for each dtype."""
    tables = [lines for case in models if (lines := characters_table(times, case, compiling))]
    if not tables:
        return []
    case = models[0]
    about = (
        f"The model of min-char-rnn: H = {case.H}, {case.D} characters, chunks of {case.k2} steps with carried state,"
        f" two biases, cross-entropy, gradients clipped by value at {MAX_GRADIENT:g}, Adagrad with rate"
        f" {case.learning_rate:g}. The text is random: each character is followed by one of {SUCCESSORS}. The time is"
        " that of a training from the initial weights, per update."
    )
    return [about, *(line for lines in tables for line in ("", *lines))]


def _figures(findings):
    lines = [[f"![{caption}]({file})"] for file, caption in findings.figures.items()]
    return [["## Figures"], *lines] if lines else []


def _profiles(profiles: Iterable[Profile]) -> list[list[str]]:
    """The time of numpy_rnn by equation of DERIVATION.md, and the slowest lines."""
    parts = []
    for profile in profiles:
        whole = sum(line.seconds for line in profile.lines)
        lines = [
            [f"`{file}:{number}`", f"{seconds * 1e6:.2f}", f"{seconds / whole:.0%}", f"`{text}`"]
            for file, number, text, _, seconds in profile.lines[:MAX_PROFILE_LINES]
        ]
        equations = [f"{name} {seconds / whole:.0%}" for name, seconds in by_equation(profile).items()]
        untraced, traced = three_digits(profile.seconds * 1e6), three_digits(whole * 1e6)
        parts += [
            [f"## Where the time goes: {profile.case}"],
            [
                f"A point takes {untraced} µs; the sum of its lines, timed individually, is {traced} µs. By equation:"
                f" {', '.join(equations)}."
            ],
            table(["line of numpy_rnn", "µs", "share", "code"], lines),
        ]
    return parts
