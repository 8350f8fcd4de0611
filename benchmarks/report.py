"""What is printed and written: tables, claims, JSON."""

import json
import os
from collections.abc import Mapping
from math import floor, isfinite, log10
from pathlib import Path
from typing import NamedTuple

from benchmarks.agreement import Agreement
from benchmarks.intervals import Estimate, estimate, paired_differences, paired_ratios

SPEED_ASKED = 10  # times faster than the tutorial loop
IMPORT_ASKED = 30  # ms on top of NumPy


class Claim(NamedTuple):
    text: str
    holds: bool


def agreement_line(name: str, agreement: Agreement) -> str:
    epoch, difference, share = agreement
    verdict = "agrees" if agreement.holds else "DISAGREES and is not timed"
    return f"{name} {verdict}: furthest at epoch {epoch}, by {difference:.1e}, {share:.2f} of the bound of rounding"


def time_table(seconds: Mapping[str, list[float]], points: int, reference: str) -> list[str]:
    """One line a row: µs a point, and how many times faster than the reference, paired within a round."""
    lines = [f"{'row':<18}{'µs a point':<26}{reference} / row"]
    for name, times in seconds.items():
        microseconds = estimate([time / points * 1e6 for time in times])
        ratio = estimate(paired_ratios(seconds[reference], times))
        lines.append(f"{name:<18}{_show(microseconds):<26}{_show(ratio)}")
    return lines


def noise_line(name: str, again: list[float], times: list[float]) -> str:
    """The A/A row: what the ratio of a row with itself looks like on this machine, where it should be 1."""
    ratios = paired_ratios(again, times)
    lowest, highest = three_digits(min(ratios)), three_digits(max(ratios))
    return f"noise floor: {name} / itself {_show(estimate(ratios))}, single rounds {lowest} to {highest}"


def import_table(seconds: Mapping[str, list[float]]) -> list[str]:
    lines = [f"{'import':<18}ms in a fresh process"]
    return lines + [f"{module:<18}{_show(_milliseconds(times))}" for module, times in seconds.items()]


def speed_claim(seconds: Mapping[str, list[float]], reference: str) -> Claim:
    """Holds where the whole interval does. A row that was not timed is not faster."""
    if "numpy_rnn" not in seconds:
        return Claim(f"numpy_rnn was not timed against the {reference} loop (asked: {SPEED_ASKED})", False)
    ratio = estimate(paired_ratios(seconds[reference], seconds["numpy_rnn"]))
    text = f"numpy_rnn is {_show(ratio)} times faster than the {reference} loop (asked: {SPEED_ASKED})"
    return Claim(text, ratio.low >= SPEED_ASKED)


def import_claim(seconds: Mapping[str, list[float]]) -> Claim:
    """Holds where the whole interval does."""
    cost = _milliseconds(paired_differences(seconds["numpy_rnn"], seconds["numpy"]))
    text = f"import numpy_rnn costs {_show(cost)} ms more than import numpy (asked: {IMPORT_ASKED})"
    return Claim(text, cost.high <= IMPORT_ASKED)


def write_json(path: Path, content) -> None:
    """Whole or not at all; a number that is not finite becomes null."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(_finite(content), indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    os.replace(partial, path)


def _finite(value):
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return _finite(value._asdict())
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not isfinite(value) else value


def _milliseconds(seconds):
    return estimate([1e3 * time for time in seconds])


def _show(value: Estimate) -> str:
    median, low, high = map(three_digits, value)
    return f"{median} [{low}, {high}]"


def three_digits(value: float) -> str:
    """At least three of them, and never an exponent."""
    decimals = 2 - floor(log10(abs(value))) if value else 2
    return f"{value:.{max(decimals, 0)}f}"
