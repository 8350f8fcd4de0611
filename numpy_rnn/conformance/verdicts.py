"""Verdicts: the first number that rounding does not explain, and how it is told.

The checks of a window and of a run make findings, and one function writes them, for
pytest and for `compare`.
"""

from typing import NamedTuple

import numpy as np

from numpy_rnn.common.records import NumpyArray, Window
from numpy_rnn.conformance.case import BACKWARDS, SHAPES, TENSORS
from numpy_rnn.conformance.coverage import Coverage
from numpy_rnn.conformance.window_checks import Check

SMALLEST_CLEAR = 1e-3  # of the largest element: smaller ones have no clear factor
AXIS_WORDS = {
    "T": "steps",
    "B": "sequences",
    "D": "inputs",
    "H": "units",
    "O": "outputs",
}
MATRIX = ("rows", "columns")


class Finding(NamedTuple):
    """The first element, in causal order, whose error rounding does not explain."""

    epoch: int  # 0 in a single window
    number: int  # the update within the epoch; 0 in a single window
    tensor: str
    step: int | None  # of the window, from 1; None for a tensor without time steps
    element: tuple[int, ...]
    reported: float
    expected: float  # recomputed from the inputs of the check
    allowed: float = 0.0  # as where nothing rounds
    ratio: float = np.inf
    equation: str = ""  # ids of DERIVATION.md
    is_estimated: bool = False  # whether `allowed` is an estimate, not a proven bound
    extent: str = ""  # how much of the tensor is wrong
    where: str = ""  # the level and the case
    hint: str = ""
    unit: str = "update"  # what is counted in an epoch; "window" if there is no step

    def report(self, implementation: str = "") -> str:
        """Return the lines of a verdict; implementation: its name, among several."""
        name = f" of {implementation}" if implementation else ""
        hint = f": {self.hint}" if self.hint else ""
        lines = [f"WRONG {self.tensor} ({self.equation}){name}{hint}"]
        lines.append(f"  {self.message()}")
        if self.extent and not self.hint:
            lines.append(f"  {self.tensor} is wrong {self.extent}")
        if self.where:
            lines.append(f"  {self.where}")
        return "\n".join(lines)

    def message(self) -> str:
        """Return the location, the element, both numbers, and what rounding allows."""
        numbers = f"{self.reported:.9g}, expected {self.expected:.9g}"
        location = self.location()
        if location:
            location += ": "
        if self.tensor == "window":
            subject = "the number of updates in this epoch"
            if self.element:
                subject = Window._fields[self.element[0]]
            elif self.reported < self.expected:
                subject = f"this window is missing: {subject}"
            return f"{location}{subject} is {numbers} by TBPTT(k1, k2)"
        limit = "nothing rounds here"
        if self.allowed:
            bound = "the rounding bound"
            if self.is_estimated:
                bound = "what rounding does by estimate"
            limit = f"the difference is {self.ratio:.1e} times {bound}, "
            limit += f"{self.allowed:.1e}"
        index = list(self.element) or ""
        return f"{location}{self.tensor}{index} is {numbers}; {limit}"

    def location(self) -> str:
        """Return the epoch, the update and the step, as far as there are any."""
        parts = []
        if self.epoch:
            parts.append(f"epoch {self.epoch}, {self.unit} {self.number}")
        if self.step:
            parts.append(f"step {self.step}")
        return ", ".join(parts)

    def causal_rank(self) -> tuple[int, ...]:
        """Return its rank in the order of computation: a_1 h_1 a_2 h_2 .., loss, ..
        dh_1 da_1, ..
        """
        stage = {"h": "a", "da": "dh"}.get(self.tensor, self.tensor)
        step = 0
        if stage == "a":
            step = self.step or 0
        elif stage == "dh":
            step = -(self.step or 0)
        order = TENSORS.index
        return self.epoch, self.number, order(stage), step, order(self.tensor)


def finding_in(check: Check) -> Finding:
    """Return the finding of a check of one window that exceeds its bound.

    Of a tensor with steps it is in the first wrong step in the order of computation,
    and there in the element that is off most.
    """
    name = check.tensor
    step = None
    arrays = check.reported, check.expected, check.allowed, check.ratio
    if SHAPES.get(name, "").startswith("T"):
        is_wrong = ~(arrays[-1] <= 1)
        (wrong,) = np.nonzero(is_wrong.reshape(len(is_wrong), -1).any(axis=1))
        index = int(wrong[-1] if name in BACKWARDS else wrong[0])
        step = index + 1
        arrays = tuple(array[index] for array in arrays)
    ratio = arrays[-1]
    element = np.unravel_index(int(np.argmax(ratio)), ratio.shape)
    reported, expected, allowed, worst = (float(array[element]) for array in arrays)
    return Finding(
        epoch=0,
        number=0,
        tensor=name,
        step=step,
        element=tuple(map(int, element)),
        reported=reported,
        expected=expected,
        allowed=allowed,
        ratio=worst,
        is_estimated=bool(np.any(check.estimated)),
        extent=extent_of(check),
    )


def extent_of(check: Check) -> str:
    """Return how much of a tensor of one window is wrong: along the axis on which that
    is least, or by which factors all of it is.
    """
    reported, expected = check.reported, check.expected
    is_wrong = ~(check.ratio <= 1)
    letters = SHAPES.get(check.tensor, "")
    if is_wrong.ndim != len(letters) or is_wrong.size < 2:
        return ""
    if (is_wrong | (expected == 0)).all():
        return "in all of it" + factors_of(reported, expected, check.allowed)
    text = f"in {is_wrong.sum()} of {is_wrong.size} elements"
    least = 1.0
    for axis, letter in enumerate(letters):
        others = tuple(i for i in range(is_wrong.ndim) if i != axis)
        along = np.asarray(is_wrong.any(axis=others))
        words = AXIS_WORDS[letter]
        if letters in ("DH", "HH", "HO"):
            words = MATRIX[axis]
        share = float(along.mean())
        if share < least:
            least = share
            text = f"in {part_of(along)} {words}"
    return text


def part_of(along: NumpyArray) -> str:
    """Return how many are true, and whether these are the first or the last ones."""
    count = int(along.sum())
    n = len(along)
    if n > 2 and along[:count].all():
        return f"the first {count} of {n}"
    if n > 2 and along[n - count :].all():
        return f"the last {count} of {n}"
    return f"{count} of {n}"


def factors_of(reported: NumpyArray, expected: NumpyArray, allowed: NumpyArray) -> str:
    """Return the range of the factors of the clear elements, as words; none where the
    expected values are no more than rounding.
    """
    size = np.abs(expected)
    is_clear = size > np.maximum(SMALLEST_CLEAR * size.max(), allowed)
    with np.errstate(all="ignore"):
        factors = reported[is_clear] / expected[is_clear]
    if factors.size == 0 or not np.isfinite(factors).all():
        return ""
    low, high = f"{factors.min():.4g}", f"{factors.max():.4g}"
    if low == high:
        return f", × {low}"
    return f", × {low} to {high}"


def notes(coverage: Coverage) -> list[str]:
    """Return lines on what was estimated, wide or ill-conditioned."""
    lines = []
    if estimated := coverage.estimated.total():
        lines.append(
            f"{estimated} checks by an estimate of rounding, not a proven bound"
        )
    if wide := coverage.wide:
        names = ", ".join(f"{name} ({count})" for name, count in wide.items())
        lines.append(
            f"wide: rounding allows more than a tenth in some windows of {names}"
        )
    if ill_conditioned := coverage.ill_conditioned:
        lines.append(f"ill-conditioned in some windows: {', '.join(ill_conditioned)}")
    return lines
