"""Time of numpy_rnn by line and by equation: `python -m benchmarks.line_profile CASE...` prints it as JSON.

cProfile does not see the methods of NumPy's arrays, which are not Python functions. So a trace function times every
line, from its start to the start of the next one. The time of the trace function itself is measured on lines that do
nothing, and subtracted. A line's time is the sum over all its callers.
"""

import json
import linecache
import re
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, NamedTuple

from benchmarks.rows import OURS, RUN, STEP, Prepared, load
from benchmarks.workloads import Case

MIN_SECONDS = 0.3  # per profile
EMPTY_LINES = 20_000
EQUATION = re.compile(r"\([FBLUT]\d+\)")  # an id in a comment of the code

Place = tuple[str, int]  # file and line number


class Line(NamedTuple):
    """One line of the package and its own time."""

    file: str
    number: int
    text: str
    equation: str  # "B2", or "B4, B5", or "" if the line computes none
    seconds: float  # per point: an update of a run


class Profile(NamedTuple):
    case: str
    seconds: float  # per point, without the trace function
    lines: list[Line]  # the slowest first


class LineTimer:
    """A trace function that sums the time of every line in the files of a folder."""

    def __init__(self, folder: str, clock: Callable[[], float] = perf_counter):
        self.folder = folder
        self.seconds: dict[Place, float] = defaultdict(float)
        self.events: dict[Place, int] = defaultdict(int)
        self.place: Place | None = None
        self.clock = clock
        self.since = clock()

    def __call__(self, frame: Any, event: str, argument: Any) -> "LineTimer | None":
        now = self.clock()
        if self.place is not None:
            self.seconds[self.place] += now - self.since
            self.events[self.place] += 1
        ours = frame.f_code.co_filename.startswith(self.folder)
        if event == "return":  # what follows is the caller's time
            frame = frame.f_back
        inside = frame is not None and frame.f_code.co_filename.startswith(self.folder)
        if inside:
            self.place = frame.f_code.co_filename, frame.f_lineno
        self.since = self.clock()
        return self if ours else None

    def trace(self, call: Callable[[], Any]) -> None:
        sys.settrace(self)
        try:
            call()
        finally:
            sys.settrace(None)


def profile(case: Case, prepare: Callable[[Case], Prepared], folder: Path) -> Profile:
    """The profile of a task on the case. folder: of the package."""
    call = prepare(case).call
    call()
    spent: list[float] = []
    while sum(spent) < MIN_SECONDS or len(spent) < 3:
        start = perf_counter()
        call()
        spent.append(perf_counter() - start)
    untraced, calls = median(spent) / case.points, len(spent)
    timer = LineTimer(str(folder))
    for _ in range(calls):
        timer.trace(call)
    return Profile(case.name, untraced, own_lines(timer, seconds_per_event(), calls * case.points, folder))


def own_lines(timer: LineTimer, overhead: float, points: int, folder: Path) -> list[Line]:
    """The lines with their own time per point, without the trace function's `overhead` per event; slowest first."""
    lines = []
    for (file, number), seconds in timer.seconds.items():
        own = max(seconds - overhead * timer.events[file, number], 0.0) / points
        text = linecache.getline(file, number).strip()
        lines.append(Line(str(Path(file).relative_to(folder)), number, text, equation_of(text), own))
    return sorted(lines, key=lambda line: -line.seconds)


def seconds_per_event() -> float:
    """The time that the trace function adds to a line: measured on lines that do nothing."""

    def nothing():
        for _ in range(EMPTY_LINES):
            pass

    start = perf_counter()
    nothing()
    plain = perf_counter() - start
    timer = LineTimer(__file__)
    timer.trace(nothing)
    return max(sum(timer.seconds.values()) - plain, 0.0) / sum(timer.events.values())


def equation_of(text: str) -> str:
    _, _, comment = text.partition("# ")
    return ", ".join(name.strip("()") for name in EQUATION.findall(comment))


def by_equation(profile: Profile) -> dict[str, float]:
    """Seconds per point of every equation, in the order of DERIVATION.md; the lines of no equation are last."""
    sums: dict[str, float] = defaultdict(float)
    for line in profile.lines:
        sums[line.equation or "no equation"] += line.seconds
    return dict(sorted(sums.items(), key=lambda item: (item[0] == "no equation", "FLBUT".find(item[0][0]), item[0])))


def main(*cases: str) -> None:
    from benchmarks.system import use_cores, use_threads

    use_cores(1)
    import numpy_rnn

    use_threads(1)
    tasks, folder = load(OURS).tasks, Path(numpy_rnn.__file__).parent
    cases_ = map(Case.from_text, cases)
    print(json.dumps([profile(case, tasks[STEP if case.k2 is None else RUN], folder) for case in cases_]))


if __name__ == "__main__":
    main(*sys.argv[1:])
