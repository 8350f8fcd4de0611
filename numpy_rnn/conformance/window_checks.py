"""The checks of one window, or of stacked ones: each tensor within what rounding explains.

L0, exact: every number of a case in which nothing rounds; the tolerance is 0. L1, local: every equation from the
reported inputs of that equation. L2, global: every tensor from the inputs of the window; nothing but the loss, the
gradients and the new parameters need be reported.

A proven bound decides in small windows, where it has the size of the true error, and wherever it is narrow. In larger
ones Monte Carlo arithmetic decides, if it estimates less: SPREADS times the spread of its samples. Where that is more
than a hundredth of the tensor, in 2-norms, rounding alone changes the tensor so much that it is *lost*: no code in this
dtype gives it, and what the proven bound allows is not called checked.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from numpy_rnn.common.records import NumpyArray, WindowCase
from numpy_rnn.conformance.arithmetics.bounds import TAU, Bounds, TanhError
from numpy_rnn.conformance.arithmetics.exact import exact_report
from numpy_rnn.conformance.arithmetics.noisy import Noisy, sampled
from numpy_rnn.conformance.case import SHAPES, required_names
from numpy_rnn.conformance.definition import Arrays, window_update

SMALL_WINDOW = 48  # units × steps, up to which the proven bound of a whole window decides
SMALL_SUM = 256  # terms, up to which that of a single equation does
ROUNDINGS = 512.0  # units of roundoff of the tensor: a bound up to that is narrow
LOST = 0.01  # of the tensor
SPREADS = 6.0  # what the estimate allows, in units of its spread
ROUNDOFFS = 4.0  # and in units of roundoff of the tensor, as the spread of few numbers may be small by chance


class Check(NamedTuple):
    """The check of one tensor of a window, or of stacked ones, whose axes come first."""

    tensor: str
    ratio: NumpyArray  # |reported − expected| / allowed, by element; a correct implementation is never above 1
    expected: NumpyArray
    allowed: NumpyArray
    estimated: NumpyArray  # by window: whether an estimate decides, not a proven bound
    lost: NumpyArray  # by window: whether rounding alone changes the tensor by a hundredth or more


class Tolerance(NamedTuple):
    """What rounding allows of one tensor: within E of the expected values, or as the spread of samples estimates."""

    tensor: str
    expected: NumpyArray
    E: NumpyArray
    spread: NumpyArray | None  # of the samples; None if all bounds of the case are narrow
    u: float  # the unit roundoff
    axes: tuple[int, ...]  # those of one window; the others are of stacked ones

    def size(self, array: NumpyArray) -> NumpyArray:
        """The 2-norm of every window."""
        with np.errstate(over="ignore", invalid="ignore"):
            return np.sqrt(np.square(array).sum(axis=self.axes, keepdims=True))

    @property
    def wide(self) -> NumpyArray:
        """By window, whether the proven bound is not narrow, or not finite."""
        return ~(self.size(self.E) <= ROUNDINGS * self.u * self.size(self.expected))

    def check(self, reported: NumpyArray) -> Check:
        """The check of these numbers."""
        difference = np.asarray(reported, np.float64) - self.expected
        if self.spread is None:
            none = np.zeros_like(difference.any(axis=self.axes))
            return Check(self.tensor, ratios(difference, self.E), self.expected, self.E, none, none)
        size = self.size(self.expected)
        limit = SPREADS * self.size(self.spread) + ROUNDOFFS * self.u * size
        estimated = self.wide & ~(self.size(self.E) <= limit)
        lost = estimated & ~(limit <= LOST * size)
        # The whole difference against the whole limit, as the ratio of the largest element.
        largest, whole = (
            np.abs(difference).max(axis=self.axes, keepdims=True),
            self.size(difference),
        )
        limit = np.where(whole > 0, limit * largest / np.where(whole > 0, whole, 1), limit)
        allowed = np.where(estimated & ~lost, limit, self.E)
        flags = (np.squeeze(flag, axis=self.axes) for flag in (estimated, lost))
        return Check(self.tensor, ratios(difference, allowed), self.expected, allowed, *flags)

    def at(self, rows: NumpyArray, windows: NumpyArray) -> "Tolerance":
        """The tolerance of one step of some of the stacked windows, by its index in the axis of time."""

        spread = None if self.spread is None else self.spread[rows, windows]
        expected, E = self.expected[rows, windows], self.E[rows, windows]
        return self._replace(expected=expected, E=E, spread=spread, axes=(-2, -1))


def check_local(case: WindowCase, report: Arrays, tau: TanhError = TAU) -> dict[str, NumpyArray]:
    """The ratios at level L1 of a report with all intermediates, by tensor in causal order. NaN gives infinity."""
    return {check.tensor: check.ratio for check in local_checks(case, report, tau)}


def check_global(case: WindowCase, report: Arrays, tau: TanhError = TAU) -> dict[str, NumpyArray]:
    """The ratios at level L2, of required tensors, and of others that are reported. What is missing gives infinity."""
    return {check.tensor: check.ratio for check in global_checks(case, report, tau)}


def local_checks(case: WindowCase, report: Arrays, tau: TanhError = TAU) -> Iterator[Check]:
    """The checks at level L1."""
    for name, tolerance in tolerances(case, [*report], tau, report).items():
        yield tolerance.check(report[name])


def global_checks(case: WindowCase, report: Arrays, tau: TanhError = TAU) -> Iterator[Check]:
    """The checks at level L2."""
    required = required_names(case, intermediates=False)
    for name, tolerance in tolerances(case, [*required, *report], tau).items():
        right_form = name in report and np.shape(report[name]) == tolerance.expected.shape
        yield tolerance.check(
            report[name] if right_form else np.full(tolerance.expected.shape, np.nan)
        )


def exact_checks(case: WindowCase, report: Arrays) -> Iterator[Check]:
    """The checks at level L0, of a case in which nothing rounds: every reported number is the right one."""
    expected = exact_report(case)
    assert expected is not None, "a case of level L0 rounds"
    for name in [
        name for name in expected if name in {*required_names(case, intermediates=False), *report}
    ]:
        value, reported = expected[name], report.get(name)
        wrong = (
            np.full(value.shape, np.nan)
            if reported is None or reported.shape != value.shape
            else reported - value
        )
        flags = np.zeros(value.shape[:0], bool)
        yield Check(
            name, ratios(wrong, np.zeros_like(value)), value, np.zeros_like(value), flags, flags
        )


def ratios(difference: NumpyArray, allowed: NumpyArray) -> NumpyArray:
    """|difference| / allowed; 0 where both are 0, infinity where only `allowed` is, or where the difference is NaN."""
    with np.errstate(
        divide="ignore", invalid="ignore", over="ignore"
    ):  # where next to nothing is allowed
        ratio = np.abs(difference) / np.where(np.isnan(allowed), np.inf, allowed)
    return np.where(difference == 0, 0.0, np.where(np.isnan(ratio), np.inf, ratio))


def tolerances(
    case: WindowCase, names: Sequence[str], tau: TanhError = TAU, reported: Arrays | None = None
) -> dict[str, Tolerance]:
    """The tolerances of these tensors in causal order. reported: the tensors from which every equation starts."""
    dtype = case.params.W_hh.dtype
    u = float(np.finfo(dtype).eps) / 2
    with np.errstate(all="ignore"):  # a bound that overflows is not used
        bounds = window_update(case, Bounds(dtype, tau, reported))
        found = {
            name: Tolerance(
                name, np.asarray(near.value), np.asarray(near.E), None, u, axes_of(name)
            )
            for name, near in bounds.items()
            if name in names
        }
        if not is_small(case, reported is not None) and any(
            tolerance.wide.any() for tolerance in found.values()
        ):
            samples = window_update(sampled(case), Noisy(dtype, tau, reported))
            for name, tolerance in found.items():
                spread = np.std(samples[name], axis=1 if SHAPES[name].startswith("T") else 0)
                found[name] = tolerance._replace(spread=spread)
    return found


def is_small(case: WindowCase, is_local: bool) -> bool:
    """Whether proven bounds decide in this window."""
    T, B, (D, H) = len(case.x), case.x.shape[-2], case.params.W_xh.shape[-2:]
    outputs = len(case.target) * B * case.params.W_hy.shape[-1]
    return max(T * B, D + H, outputs) <= SMALL_SUM if is_local else T * H <= SMALL_WINDOW


def axes_of(name: str) -> tuple[int, ...]:
    """The axes of one window of a tensor, whose other axes are those of networks or updates."""
    return (0, -2, -1) if SHAPES[name].startswith("T") else tuple(range(-len(SHAPES[name]), 0))
