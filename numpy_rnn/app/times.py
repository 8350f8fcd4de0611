"""Times of the rows of a table: dates, numbers that grow by a constant step, and
calendar columns such as year and month; and how they go on.
"""

import calendar
import re
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from math import isfinite
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import NumpyArray

# Common forms of dates; the first that all cells have, in order of time, is taken.
DATES = (
    *("%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d"),
    *("%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y"),
    *("%d.%m.%y", "%d/%m/%y", "%m/%d/%y"),
    *("%d-%b-%Y", "%d-%b-%y", "%b-%d-%Y"),
    *("%b %d %Y", "%b %d, %Y", "%B %d %Y", "%B %d, %Y", "%d %b %Y", "%d %B %Y"),
    *("%Y-%m", "%Y/%m", "%m/%Y", "%m.%Y", "%Y:%m", "%YM%m"),
    *("%b-%Y", "%B-%Y", "%b-%y", "%Y-%b", "%b %Y", "%B %Y", "%Y %b"),
    *("%Y%m%d", "%Y%m", "%y%m%d"),
)
CLOCKS = ("", " %H:%M", " %H:%M:%S", "T%H:%M", "T%H:%M:%S", " %I:%M %p", " %I:%M:%S %p")
FORMATS = [date + clock for clock in CLOCKS for date in DATES]
QUARTERS = (
    re.compile(r"(?P<year>\d{4})[ :/-]?Q(?P<quarter>[1-4])", re.I),
    re.compile(r"Q(?P<quarter>[1-4])[ :/-]?(?P<year>\d{4})", re.I),
)
# Names of columns that are parts of a date, from the longest.
CALENDAR = ("year", "quarter", "month", "week", "day", "hour", "minute", "second")
TIME_NAMES = {*CALENDAR, "time", "date", "datetime", "timestamp", "t", "years"}
SAMPLE = 100  # labels that are looked at
CLEAR_STEP = 5  # a step that is rounded is at least so many of its last digits


class Times(NamedTuple):
    """The times of the rows."""

    name: str  # of the column, or "step"
    labels: Sequence[str]  # as the file has them
    points: Sequence[Any]  # numbers or datetimes, for plots
    form: str = ""  # of dates: a format of strftime, "quarter", or "iso"

    @property
    def is_dated(self) -> bool:
        """Whether the points are datetimes."""
        return bool(self.form)

    def followed_by(self, count: int) -> "Times":
        """Return `count` times after the last: by the same number of months if all
        steps are, or else by the step that is most frequent.
        """
        points = list(self.points[-1:])
        if self.is_dated:
            step = date_step(self.points)
            for _ in range(count):
                points.append(step.after(points[-1]))
            labels = [self.label(point) for point in points]
            if self.lacks_zeros():
                labels = [re.sub(r"\b0(\d)", r"\1", label) for label in labels]
        else:
            step_size = number_step(self.points)
            points = [points[0] + n * step_size for n in range(count + 1)]
            labels = [f"{point:.12g}" for point in points]
        return Times(self.name, labels[1:], points[1:], self.form)

    def lacks_zeros(self) -> bool:
        """Return whether days and months of the labels have no zeros in front."""
        if self.form in ("iso", "quarter"):
            return False
        pairs = zip(self.points[:SAMPLE], self.labels)
        return any(self.label(point) != label for point, label in pairs)

    def label(self, point: datetime) -> str:
        """Return a date in the form of the labels."""
        if self.form == "quarter":
            return f"{point.year}Q{(point.month + 2) // 3}"
        if self.form == "iso":
            return point.isoformat()
        return point.strftime(self.form)


class DateStep(NamedTuple):
    """The step from a date to the next."""

    months: int = 0  # if it is a number of months
    interval: timedelta = timedelta()  # or else
    at_the_end: bool = False  # whether dates are the last days of their months

    def after(self, date: datetime) -> datetime:
        """Return the date a step later. Raises InputError after the year 9999."""
        try:
            if not self.months:
                return date + self.interval
            year, month = divmod(date.year * 12 + date.month - 1 + self.months, 12)
            last = calendar.monthrange(year, month + 1)[1]
            day = last if self.at_the_end else min(date.day, last)
            return date.replace(year=year, month=month + 1, day=day)
        except (ValueError, OverflowError):
            raise InputError(
                f"there is no date a step after {date:%Y-%m-%d}: expected years up to"
                " 9999; use --time none"
            ) from None


def steps_as_times(count: int, first: int = 1) -> Times:
    """Return the numbers of the rows, from 1."""
    points = list(range(first, first + count))
    return Times("step", list(map(str, points)), points)


def date_step(dates: Sequence[datetime]) -> DateStep:
    """Return the step between dates: whole months, or else the most frequent one."""
    days = {date.day for date in dates}
    lengths = {calendar.monthrange(d.year, d.month)[1] - d.day for d in dates}
    at_the_end = lengths == {0}
    months = [date.year * 12 + date.month for date in dates]
    steps = {later - earlier for earlier, later in pairwise(months)}
    if len(steps) == 1 and min(steps) > 0 and (at_the_end or len(days) == 1):
        return DateStep(months=steps.pop(), at_the_end=at_the_end and len(days) > 1)
    intervals = Counter(later - earlier for earlier, later in pairwise(dates))
    [(interval, _)] = intervals.most_common(1)
    return DateStep(interval=interval)


def number_step(points: Sequence[float]) -> float:
    """Return the step between numbers: the mean one if it is constant but for
    rounding, or else the most frequent one.
    """
    steps = np.diff(points)
    mean = float((points[-1] - points[0]) / (len(points) - 1))
    if np.allclose(steps, mean, rtol=0.5):
        return mean
    [(step, _)] = Counter(steps.tolist()).most_common(1)
    return float(step)


def parse_dates(cells: Sequence[str]) -> tuple[list[datetime], str] | None:
    """Return the dates of cells, and their form; None if some cell is no date.

    Of several forms, the first is taken in which the dates are in order, from a regular
    step on.
    """
    if not all(any(map(str.isdigit, cell)) for cell in cells):
        return None
    quarters = [quarter_in(cell) for cell in cells]
    if None not in quarters:
        return [date for date in quarters if date is not None], "quarter"
    candidates = []
    for form in FORMATS:
        try:
            dates = [datetime.strptime(cell, form) for cell in cells]
        except ValueError:
            continue
        candidates.append((dates, form))
    if not candidates:
        try:
            dates = [without_zone(datetime.fromisoformat(cell)) for cell in cells]
        except ValueError:
            return None
        return dates, "iso"
    return max(candidates, key=lambda found: regularity(found[0]))


def without_zone(date: datetime) -> datetime:
    """Return a date in UTC if it has a zone."""
    return date.astimezone(UTC).replace(tzinfo=None) if date.tzinfo else date


def regularity(dates: Sequence[datetime]) -> int:
    """Return 2 if dates go on by a constant step, 1 if they go on, or else 0."""
    in_order = sorted(dates)
    if list(dates) not in (in_order, in_order[::-1]):
        return 0
    if date_step(in_order).months:
        return 2
    steps = {later - earlier for earlier, later in pairwise(dates)}
    return 2 if len(steps) == 1 else 1


def quarter_in(cell: str) -> datetime | None:
    """Return the first day of a quarter such as 1959Q1; None if the cell is none."""
    for pattern in QUARTERS:
        if match := pattern.fullmatch(cell):
            month = 3 * int(match["quarter"]) - 2
            return datetime(int(match["year"]), month, 1)
    return None


def grows_by_a_step(values: NumpyArray, cells: Sequence[str]) -> bool:
    """Return whether numbers grow, or fall, by a constant step, but for the rounding of
    their last digit. Whole numbers have none.
    """
    if len(values) < 2 or not np.isfinite(values).all():
        return False
    with np.errstate(over="ignore"):
        steps = np.diff(values)
    if not steps[0] or not np.isfinite(steps).all():
        return False
    if (steps == steps[0]).all():
        return True
    digits = max(len(re.split("[.,]", cell)[-1]) for cell in cells)
    if all(isfinite(value) and value == int(value) for value in values):
        return False
    last_digit = 10.0**-digits
    line = np.linspace(values[0], values[-1], len(values))
    step = abs(line[1] - line[0])
    is_clear = step >= CLEAR_STEP * last_digit
    return bool(is_clear and (abs(values - line) <= last_digit).all())


def calendar_times(columns: dict[str, list[int]]) -> Times | None:
    """Return the times of calendar columns, from the longest, such as year and month;
    None if they do not grow from each row to the next.
    """
    rows = list(zip(*columns.values()))
    if not rows or any(later <= earlier for earlier, later in pairwise(rows)):
        return None
    name = "-".join(columns)
    parts = tuple(columns)
    try:
        if parts[:1] == ("year",) and parts[1:2] in (("quarter",), ("month",)):
            dates = [calendar_date(parts, row) for row in rows]
            form = "%Y-%m-%d" if parts[2:] == ("day",) else "%Y-%m"
            if parts == ("year", "quarter"):
                form = "quarter"
            if parts in (("year", "quarter"), ("year", "month"), (*parts[:2], "day")):
                times = Times(name, (), dates, form)
                return times._replace(labels=[times.label(date) for date in dates])
    except ValueError:  # a month of 13
        return None
    labels = ["-".join(map(str, row)) for row in rows]
    if len(parts) == 1:
        return Times(name, labels, [float(row[0]) for row in rows])
    return Times(name, labels, list(range(1, len(rows) + 1)))


def calendar_date(parts: tuple[str, ...], row: tuple[int, ...]) -> datetime:
    """Return the date of a row of calendar columns."""
    values = dict(zip(parts, row))
    month = values["month"] if "month" in values else 3 * values["quarter"] - 2
    return datetime(values["year"], month, values.get("day", 1))
