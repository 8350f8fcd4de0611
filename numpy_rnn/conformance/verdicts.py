"""What was checked of a right port: the verdict, and the notes above it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from numpy_rnn.conformance.ports.abilities import (
    ABILITIES,
    CAPABILITIES,
    REPORTED,
    stated_by,
)
from numpy_rnn.conformance.ports.port import Port
from numpy_rnn.conformance.window_checks import Counts


@dataclass
class Coverage(Counts):
    """The sizes of the checked windows, and how their checks were judged."""

    low: dict[str, int] = field(default_factory=dict)
    high: dict[str, int] = field(default_factory=dict)
    work: float = 0.0

    def note_sizes(self, sizes: Mapping[str, int]) -> None:
        """Count a window of these sizes."""
        for letter, size in sizes.items():
            self.low[letter] = min(size, self.low.get(letter, size))
            self.high[letter] = max(size, self.high.get(letter, size))

    def add(self, other: Counts) -> None:
        """Add what another one has counted, and widen the ranges of sizes by its."""
        super().add(other)
        if isinstance(other, Coverage):
            self.note_sizes(other.low)
            self.note_sizes(other.high)


def pass_line(port: Port, coverage: Coverage) -> str:
    """Return the verdict on a right port: what was checked, and what was not."""
    stated = stated_by(port)
    results = "loss and gradients"
    if "step" not in stated.unsupported:
        results = "loss, gradients and step"
    layout = getattr(port, "layout_text", "")
    if not layout:
        layout = "sequences" if "batch" in stated.unsupported else "(T, B, D) batches"
    ranges = []
    for letter in "TBDHO":
        if letter in coverage.low:
            low, high = coverage.low[letter], coverage.high[letter]
            text = f"{letter} {low}–{high}" if low < high else f"{letter} {low}"
            ranges.append(text)
    name = getattr(port, "label", port.name)
    text = f"PASS {name}: {results} of {layout}, {' and '.join(port.dtypes)}, "
    text += ", ".join(ranges)
    if "T" in coverage.high:
        text += f"; gradients followed through up to {coverage.high['T']} steps"
    others = [ability.name for ability in ABILITIES if ability.field != "dtype"]
    untested = [name for name in others if name in stated.unsupported]
    for name in CAPABILITIES:
        if name not in (*REPORTED, *stated.capabilities):
            untested.append(name)
    if untested:
        text += f"; not tested: {', '.join(untested)}"
    return text


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
