"""Numbers as they are printed, and claims."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from math import floor, log10
from typing import NamedTuple

from benchmarks.estimates import Estimate, Times, is_tie, noise_floor, ratio, seconds
from benchmarks.plan import COLD, Key
from benchmarks.rows import AGAIN, COMPILED, FLOORS, JAX, OURS, ROWS, RUN
from benchmarks.worker import AGREES, DISAGREES, FAILS, LEFT_OUT, Verdict
from benchmarks.workloads import Case


class Claim(NamedTuple):
    """A sentence with its figure, and whether it holds; None where the noise leaves that open."""

    text: str
    holds: bool | None

    def line(self) -> str:
        return f"{ {True: 'pass', False: 'FAIL', None: 'open'}[self.holds] }: {self.text}"


def at_least(found: Estimate, asked: float) -> bool | None:
    """Whether the whole interval is `asked` or more; None where a part of it is."""
    return True if found.low >= asked else None if found.high >= asked else False


def at_most(found: Estimate, asked: float) -> bool | None:
    """Whether the whole interval is `asked` or less; None where a part of it is."""
    return True if found.high <= asked else None if found.low <= asked else False


def every(verdicts: Iterable[bool | None]) -> bool | None:
    """False where one is, else None where one is."""
    known = list(verdicts)
    return False if False in known else None if None in known else True


def show(value: Estimate) -> str:
    median, low, high = map(three_digits, value)
    return f"{median} [{low}, {high}]"


def three_digits(value: float) -> str:
    """At least three of them, and never an exponent."""
    decimals = 2 - floor(log10(abs(value))) if value else 2
    return f"{value:.{max(decimals, 0)}f}"


def table(head: list[str], rows: list[list[str]]) -> list[str]:
    """In Markdown, and aligned; the first column and texts stand to the left, numbers to the right."""
    cells = [[cell.replace("|", "\\|") for cell in line] for line in (head, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    left = [all(not _number(cell) for cell in column[1:]) for column in zip(*cells, strict=True)]
    formats = [f"{{:{'<' if is_left else '>'}{width}}}" for width, is_left in zip(widths, left)]
    rule = ["-" * (width + 1) + ("-" if is_left else ":") for width, is_left in zip(widths, left)]
    lines = [f"| {' | '.join(form.format(cell) for form, cell in zip(formats, line))} |" for line in cells]
    return [lines[0], f"|{'|'.join(rule)}|", *lines[1:]]


def _number(cell):
    return cell[:1].isdigit() or cell[:1] == "-"


def main_table(times: Times, case: Case, compiling: Mapping[Key, float]) -> list[str]:
    """Microseconds a point of every row on a run, and how long it takes beside numpy_rnn."""
    noise, lines = noise_floor(times, AGAIN, OURS), []
    for row in (*ROWS, AGAIN, *FLOORS):
        key = Key(RUN, row, case.name)
        found = seconds(times, key, 1e6 / case.points)
        against = ratio(times, key, key._replace(row=OURS))
        if found is not None:
            first = f"{compiling[key]:.1f}" if key in compiling else ""
            lines.append((found.median, [row, show(found), _against(against, row, noise), first]))
    cells = [line for _, line in sorted(lines)]
    return (
        table([f"{case.name}, {case.epochs} epochs", "µs a point", f"row / {OURS}", "seconds to compile"], cells)
        if cells
        else []
    )


def _against(found, row, noise):
    """A ratio with its interval, and whether it is a tie; the A/A row shows what a tie looks like."""
    if found is None:
        return ""
    return show(found) + (" (a tie)" if row not in (OURS, AGAIN) and is_tie(found, noise) else "")


def runs_table(times: Times, name: str, cases: Sequence[Case], threads: int = 1) -> list[str]:
    """Nanoseconds a point and network of every row, a column a run."""
    lines = []
    for row in (*ROWS, AGAIN, *FLOORS):
        found = [seconds(times, Key(RUN, row, case.name, threads), 1e9 / case.points / case.networks) for case in cases]
        if any(found):
            lines.append([row, *(three_digits(value.median) if value else "" for value in found)])
    return table([name, *(case.name for case in cases)], lines) if lines else []


def windows_table(
    times: Times, cases: Sequence[Case], task: str, threads: int, compiling: Mapping[Key, float]
) -> list[str]:
    """Milliseconds of numpy_rnn on every case, and how long the other rows take beside it; `=` marks a tie. And the
    seconds that those rows compile a case which have a compiler at run time.
    """
    noise, lines = noise_floor(times, AGAIN, OURS), []
    timed = {key.row for key in times if key.task == task and key.threads == threads}
    rows = [row for row in (*ROWS[1:], *FLOORS) if row in timed]
    compilers = [row for row in rows if row in (COMPILED, JAX)]
    for case in cases:
        key = Key(task, OURS, case.name, threads)
        ours = seconds(times, key, 1e3)
        if ours is not None:
            against = [ratio(times, key._replace(row=row), key) for row in rows]
            cells = [
                "" if found is None else three_digits(found.median) + (" =" if is_tie(found, noise) else "")
                for found in against
            ]
            first = [compiling.get(key._replace(row=row)) for row in compilers]
            cells += ["" if value is None else f"{value:.1f}" for value in first]
            lines.append([case.name, show(ours), *cells])
    head = [task, f"{OURS}, ms", *(f"{row} / it" for row in rows), *(f"s to compile: {row}" for row in compilers)]
    return table(head, lines) if lines else []


def process_table(times: Times, task: str) -> list[str]:
    """Milliseconds of whole processes: cold starts, or imports."""
    found = {key.row: seconds(times, key, 1e3) for key in times if key.task == task}
    lines = [[row, show(value)] for row, value in found.items() if value is not None]
    lines.sort(key=lambda line: float(line[1].split()[0]))
    return table([task, "ms, the whole process" if task == COLD else "ms in a fresh process"], lines) if lines else []


def agreement_table(verdicts: Iterable[Verdict]) -> list[str]:
    """Of every row, on how many jobs it agrees, how far it is below the bounds, and what it leaves out and why."""
    by_row: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        by_row.setdefault(Key.from_text(verdict.key).row, []).append(verdict)
    lines = []
    for row, found in sorted(by_row.items()):
        outcomes = Counter(verdict.outcome for verdict in found)
        shares = [verdict.share for verdict in found if verdict.outcome == AGREES and verdict.share is not None]
        why = "; ".join(sorted({verdict.text for verdict in found if verdict.outcome == LEFT_OUT}))
        wrong = outcomes[DISAGREES] + outcomes[FAILS]
        lines.append([row, str(outcomes[AGREES]), f"{max(shares):.2f}" if shares else "", str(wrong), why])
    return table(["row", "agrees on", "worst / bound", "is wrong on", "leaves out"], lines)


def wrong_lines(verdicts: Iterable[Verdict]) -> list[str]:
    """Each job that disagrees or fails, with the tensor and the ratio, or the error."""
    return [
        f"{verdict.key.replace(' | ', ', ')} {verdict.outcome} and is not timed: {verdict.text}"
        for verdict in verdicts
        if verdict.outcome in (DISAGREES, FAILS)
    ]
