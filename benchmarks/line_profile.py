"""Time of numpy_rnn by line and by equation: `python -m benchmarks.line_profile CASE...` prints it as JSON.

cProfile does not see NumPy's functions of arrays, which are no Python functions; so every line is timed, by a trace
function, from its beginning to that of the next one. What the trace itself takes of a line is measured, on lines that
do nothing, and taken off. A line that is reached from several others counts wherever it is reached from.
"""

import json
import linecache
import re
import sys
from collections import defaultdict
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import NamedTuple

from benchmarks.workloads import Case

LEAST_SECONDS = 0.3  # of a profile
EMPTY_LINES = 20_000
EQUATION = re.compile(r"\([FBLUT]\d+\)")  # as the comments of the code name them

Place = tuple[str, int]  # file and number of a line


class Line(NamedTuple):
    """One line of the package, and its own time."""

    file: str
    number: int
    text: str
    equation: str  # "B2", or "B4, B5", or "" where the line belongs to none
    seconds: float  # a point: an update of a run


class Profile(NamedTuple):
    case: str
    seconds: float  # a point, as it is without a trace
    lines: list[Line]  # the slowest first


class LineTimer:
    """A trace function that adds up the time of every line in the files of a folder."""

    def __init__(self, folder: str):
        self.folder = folder
        self.seconds: dict[Place, float] = defaultdict(float)
        self.events: dict[Place, int] = defaultdict(int)
        self.place: Place | None = None
        self.since = perf_counter()

    def __call__(self, frame, event, argument):
        now = perf_counter()
        if self.place is not None:
            self.seconds[self.place] += now - self.since
            self.events[self.place] += 1
        ours = frame.f_code.co_filename.startswith(self.folder)
        if event == "return":  # the time that follows is the caller's
            frame = frame.f_back
        inside = frame is not None and frame.f_code.co_filename.startswith(self.folder)
        if inside:
            self.place = frame.f_code.co_filename, frame.f_lineno
        self.since = perf_counter()
        return self if ours else None

    def trace(self, call):
        sys.settrace(self)
        try:
            call()
        finally:
            sys.settrace(None)


def profile(case: Case, prepare, folder: Path) -> Profile:
    """Of a run (windows of k2 steps) or of a step, whichever `prepare` makes ready to be called."""
    call = prepare(case).call
    call()
    spent: list[float] = []
    while sum(spent) < LEAST_SECONDS or len(spent) < 3:
        began = perf_counter()
        call()
        spent.append(perf_counter() - began)
    untraced, calls = median(spent) / case.points, len(spent)
    timer = LineTimer(str(folder))
    for _ in range(calls):
        timer.trace(call)
    overhead = seconds_an_event()
    points, lines = calls * case.points, []
    for (file, number), seconds in timer.seconds.items():
        own = max(seconds - overhead * timer.events[file, number], 0.0) / points
        text = linecache.getline(file, number).strip()
        lines.append(Line(str(Path(file).relative_to(folder)), number, text, equation_of(text), own))
    return Profile(case.name, untraced, sorted(lines, key=lambda line: -line.seconds))


def seconds_an_event() -> float:
    """What the trace takes of a line, beyond the line's own time: measured on lines that do nothing."""

    def nothing():
        for _ in range(EMPTY_LINES):
            pass

    began = perf_counter()
    nothing()
    plain = perf_counter() - began
    timer = LineTimer(__file__)
    timer.trace(nothing)
    return max(sum(timer.seconds.values()) - plain, 0.0) / sum(timer.events.values())


def equation_of(text: str) -> str:
    _, _, comment = text.partition("# ")
    return ", ".join(name.strip("()") for name in EQUATION.findall(comment))


def by_equation(found: Profile) -> dict[str, float]:
    """Seconds a point of every equation, in the order of the code's own letters; what belongs to none stands last."""
    sums: dict[str, float] = defaultdict(float)
    for line in found.lines:
        sums[line.equation or "no equation"] += line.seconds
    return dict(sorted(sums.items(), key=lambda item: (item[0] == "no equation", "FLBUT".find(item[0][0]), item[0])))


def main(*cases: str) -> None:
    import numpy_rnn
    from benchmarks.rows import load
    from benchmarks.system import use_threads

    use_threads(1)
    tasks, folder = load("numpy_rnn").tasks, Path(numpy_rnn.__file__).parent
    cases_ = map(Case.from_text, cases)
    found = [profile(case, tasks["step" if case.k2 is None else "run"], folder) for case in cases_]
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
