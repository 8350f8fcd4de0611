"""Numbers as they are printed, and the tables of the report: Markdown that is aligned and readable as plain text."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from math import floor, log10

from benchmarks.estimates import Estimate, Times, frequency, is_tie, noise_floor, ratio, seconds
from benchmarks.plan import COLD, Key
from benchmarks.rows import AGAIN, CHARACTERS, COMPILED, FLOORS, JAX, OURS, ROWS, RUN
from benchmarks.worker import AGREES, CRASHES, DISAGREES, SKIPPED, Verdict
from benchmarks.workloads import Case

NUMBER = re.compile(r"-?\d[\d.,]*%?( \[[^]]*\])?( =| \(a tie\))?")
Table = list[str]  # lines of Markdown; empty if there is nothing to show


def show(value: Estimate) -> str:
    median, low, high = map(three_digits, value)
    return f"{median} [{low}, {high}]"


def three_digits(value: float) -> str:
    """At least three significant digits, without an exponent."""
    rounded = float(f"{value:.2e}")  # or 0.9999 would be 1.000
    decimals = 2 - floor(log10(abs(rounded))) if rounded else 2
    return f"{value:.{max(decimals, 0)}f}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """A Markdown table with aligned columns: numbers to the right, text to the left. Empty without rows."""
    if not rows:
        return []
    cells = [[cell.replace("|", "\\|") for cell in line] for line in (head, *rows)]
    columns = list(zip(*cells, strict=True))
    widths = [max(map(len, column)) for column in columns]
    left = [not any(map(_is_number, column[1:])) for column in columns]
    formats = [f"{{:{'<' if is_left else '>'}{width}}}" for width, is_left in zip(widths, left)]
    rule = ["-" * (width + 1) + ("-" if is_left else ":") for width, is_left in zip(widths, left)]
    lines = [f"| {' | '.join(form.format(cell) for form, cell in zip(formats, line))} |" for line in cells]
    return [lines[0], f"|{'|'.join(rule)}|", *lines[1:]]


def _is_number(cell):
    return NUMBER.fullmatch(cell) is not None


def default_table(times: Times, case: Case, compiling: Mapping[Key, float]) -> Table:
    """Microseconds per point of every row on the default experiment, the fastest row first."""
    head = [f"{case.name}, {case.epochs} epochs", "µs per point", f"row / {OURS}", "seconds to compile"]
    return table(head, _ranked(times, RUN, case, compiling, lambda key: []))


def characters_table(times: Times, case: Case, compiling: Mapping[Key, float]) -> Table:
    """Microseconds per update and updates per second of every row on a character model, the fastest row first."""
    columns = ["µs per update", "updates per second", f"row / {OURS}", "seconds to compile"]
    lines = _ranked(times, CHARACTERS, case, compiling, lambda key: [frequency(times, key, case.points)])
    return table([f"{case.name}, {case.points} updates", *columns], lines)


def _ranked(times, task, case, compiling, more):
    """Rows with their time per point, the estimates of `more`, their ratio to numpy_rnn, and seconds to compile."""
    noise, lines = noise_floor(times, AGAIN, OURS), []
    for row in (*ROWS, AGAIN, *FLOORS):
        key = Key(task, row, case.name)
        value, against = seconds(times, key, 1e6 / case.points), ratio(times, key, key._replace(row=OURS))
        if value is None:
            continue
        tie = " (a tie)" if row not in (OURS, AGAIN) and against is not None and is_tie(against, noise) else ""
        cells = [*map(show, (value, *more(key))), show(against) + tie if against else ""]
        lines.append((value.median, [row, *cells, _one_decimal(compiling.get(key))]))
    return [line for _, line in sorted(lines)]


def runs_table(times: Times, name: str, columns: Mapping[str, Case], threads: int = 1) -> Table:
    """Nanoseconds per point and network of every row; columns: the cases, by the head of their column."""
    lines = []
    for row in (*ROWS, AGAIN, *FLOORS):
        cells = [
            seconds(times, Key(RUN, row, case.name, threads), 1e9 / case.points / case.networks)
            for case in columns.values()
        ]
        if any(cells):
            lines.append([row, *(three_digits(value.median) if value else "" for value in cells)])
    return table([name, *columns], lines)


def windows_table(
    times: Times, cases: Sequence[Case], task: str, threads: int, compiling: Mapping[Key, float]
) -> Table:
    """Milliseconds of numpy_rnn on every case, the other rows' times as multiples of that, and seconds to compile.

    `=` marks a tie.
    """
    noise, lines = noise_floor(times, AGAIN, OURS), []
    timed = {key.row for key in times if key.task == task and key.threads == threads}
    rows = [row for row in (*ROWS[1:], *FLOORS) if row in timed]
    compilers = [row for row in rows if row in (COMPILED, JAX)]
    for case in cases:
        key = Key(task, OURS, case.name, threads)
        ours = seconds(times, key, 1e3)
        if ours is None:
            continue
        ratios = [ratio(times, key._replace(row=row), key) for row in rows]
        cells = [
            "" if value is None else three_digits(value.median) + (" =" if is_tie(value, noise) else "")
            for value in ratios
        ]
        cells += [_one_decimal(compiling.get(key._replace(row=row))) for row in compilers]
        lines.append([case.name, show(ours), *cells])
    head = [task, f"{OURS}, ms", *(f"{row} / {OURS}" for row in rows), *(f"{row}, s to compile" for row in compilers)]
    return table(head, lines)


def process_table(times: Times, task: str) -> Table:
    """Milliseconds of whole processes: cold starts, or imports. The fastest first."""
    values = {key.row: seconds(times, key, 1e3) for key in times if key.task == task}
    known = sorted((value.median, row, value) for row, value in values.items() if value is not None)
    head = [task, "ms of the whole process" if task == COLD else "ms in a fresh process"]
    return table(head, [[row, show(value)] for _, row, value in known])


def agreement_table(verdicts: Iterable[Verdict]) -> Table:
    """The number of jobs on which each row agrees, its distance from the bounds, and what it does not support."""
    by_row: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        by_row.setdefault(Key.from_text(verdict.key).row, []).append(verdict)
    lines = []
    for row, of_row in sorted(by_row.items()):
        outcomes = Counter(verdict.outcome for verdict in of_row)
        shares = [verdict.share for verdict in of_row if verdict.outcome == AGREES and verdict.share is not None]
        reasons = "; ".join(sorted({verdict.text for verdict in of_row if verdict.outcome == SKIPPED}))
        wrong = outcomes[DISAGREES] + outcomes[CRASHES]
        lines.append([row, str(outcomes[AGREES]), f"{max(shares):.2f}" if shares else "", str(wrong), reasons])
    return table(["row", "cases that agree", "largest difference / bound", "cases that do not", "not supported"], lines)


def failure_lines(verdicts: Iterable[Verdict]) -> list[str]:
    """Each job that disagrees or crashes, with the tensor and the ratio, or the error."""
    return [
        f"{verdict.key.replace(' | ', ', ')} {verdict.outcome} and is not timed: {verdict.text}"
        for verdict in verdicts
        if verdict.outcome in (DISAGREES, CRASHES)
    ]


def _one_decimal(value):
    return "" if value is None else f"{value:.1f}"
