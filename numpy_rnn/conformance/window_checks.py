"""The checks of one window, or of stacked ones: each tensor within what rounding
explains.

L1, local: every equation from its reported inputs. L2, global: every tensor from the
inputs of the window; only the loss, the gradients and the new parameters need be
reported.

A proven bound decides in small windows, where it has the size of the true error, and
wherever it is narrow. In larger ones Monte Carlo arithmetic decides, if it estimates
less than a hundredth of the tensor, in 2-norms: SPREADS times the spread of its
samples. Where all that is allowed is more than half of the tensor, rounding alone
changes it so much that it is *ill-conditioned*: no code in this dtype computes it, and
what the proven bound allows is not called checked.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from numpy_rnn.common.records import NumpyArray
from numpy_rnn.conformance.arithmetics.bounds import TAU, Bounds
from numpy_rnn.conformance.arithmetics.monte_carlo import (
    MonteCarloArithmetic,
    sampled,
    spread_of,
)
from numpy_rnn.conformance.arithmetics.rounding import root_of_squares
from numpy_rnn.conformance.case import (
    SHAPES,
    NamedArrays,
    WindowCase,
    case_sizes,
)
from numpy_rnn.conformance.definition import window_update

SMALL_WINDOW = 48  # units × steps: up to that the bound of a whole window decides
SMALL_SUM = 256  # terms: up to that the bound of a single equation decides
ROUNDINGS = 512.0  # units of roundoff of the tensor: a bound up to that is narrow
LARGEST_ESTIMATE = 0.01  # of the tensor
ILL_CONDITIONED = 0.5  # of the tensor
WIDE_SHARE = 0.1  # of the tensor: its check is said to be wide
SPREADS = 6.0  # what the estimate allows, in units of its spread
ESTIMATES = 8  # of which the largest decides, where the first one accuses
# It allows so many units of roundoff too, as the spread of few numbers may be small by
# chance.
ROUNDOFFS = 4.0
# A tensor of so many smallest normal numbers per element, or fewer, is checked as a 0.
UNDERFLOW = 1024.0


class Check(NamedTuple):
    """The check of one tensor of a window, or of stacked ones, whose axes
    come first. The first four arrays have one shape.
    """

    tensor: str
    reported: NumpyArray
    # |reported − expected| / allowed, at most 1 for right code; 0 for 0/0, ∞ for NaN
    ratio: NumpyArray
    expected: NumpyArray
    allowed: NumpyArray
    estimated: NumpyArray  # by window: whether an estimate decides, not a proven bound
    share: NumpyArray  # by window: how much of the tensor rounding alone may change

    @property
    def ill_conditioned(self) -> NumpyArray:
        """By window, whether rounding alone may change the tensor by half."""
        return ~(self.share <= ILL_CONDITIONED)

    @property
    def wide(self) -> NumpyArray:
        """By window, whether it may by more than a tenth, and not by half."""
        return (self.share > WIDE_SHARE) & ~self.ill_conditioned

    @property
    def is_right(self) -> bool:
        """Return whether no element exceeds what is allowed; NaN does."""
        return bool((self.ratio <= 1).all())


class Tolerance(NamedTuple):
    """The rounding error that is allowed in one tensor: E, or an estimate
    by a spread.
    """

    tensor: str
    expected: NumpyArray
    E: NumpyArray
    spread: NumpyArray  # of the samples; NaN if proven bounds decide
    limits: np.finfo
    axes: tuple[int, ...]  # those of one window; the others are of stacked ones

    def size(self, array: NumpyArray) -> NumpyArray:
        """Return the 2-norm of every window."""
        return root_of_squares(array, self.axes)

    @property
    def is_loose(self) -> NumpyArray:
        """By window, whether the proven bound is not narrow, or not finite."""
        narrow = ROUNDINGS * float(self.limits.eps) / 2 * self.size(self.expected)
        return ~(self.size(self.E) <= narrow)

    @np.errstate(all="ignore")
    def check(self, reported: NumpyArray) -> Check:
        """Compare what is reported with what is expected, number by number.

        The proven bound E decides, unless E is loose and an estimate has a smaller
        limit, which is at most LARGEST_ESTIMATE of the tensor. It limits the 2-norm of
        the whole difference in a window: the ratio of the element that is off most is
        then that of the norms, and the other ones are in proportion.
        """
        difference = np.asarray(reported, np.float64) - self.expected
        size = self.size(self.expected)
        u = float(self.limits.eps) / 2
        numbers = self.expected.size / size.size  # of one window
        underflow = numbers**0.5 * float(self.limits.smallest_normal)
        limit = SPREADS * self.size(self.spread) + ROUNDOFFS * (u * size + underflow)
        size_of_E = self.size(self.E)
        is_less = ~(size_of_E <= limit) & (limit <= LARGEST_ESTIMATE * size)
        estimated = self.is_loose & is_less
        # The whole difference against the whole limit, as the ratio of the largest
        # element.
        largest = np.abs(difference).max(axis=self.axes, keepdims=True)
        whole = self.size(difference)
        share = np.divide(largest, whole, out=np.ones_like(whole), where=whole > 0)
        allowed = np.where(estimated, limit * share, self.E)
        allowed_size = np.where(estimated, limit, size_of_E)
        # A tensor that is exactly 0, or underflows, has no digits to lose.
        has_digits = (size != 0) & ~(allowed_size <= UNDERFLOW * underflow)
        lost = np.where(has_digits, allowed_size / size, 0.0)
        ratio = np.abs(difference) / np.where(np.isnan(allowed), np.inf, allowed)
        ratio = np.where(np.isnan(ratio), np.inf, ratio)
        ratio = np.where(difference == 0, 0.0, ratio)
        arrays = np.broadcast_arrays(reported, ratio, self.expected, allowed)
        reported, ratio, expected, allowed = arrays
        by_window = (np.squeeze(v, axis=self.axes) for v in (estimated, lost))
        return Check(self.tensor, reported, ratio, expected, allowed, *by_window)

    def at(self, rows: NumpyArray, windows: NumpyArray) -> "Tolerance":
        """Return the tolerance of one step of some of the stacked windows, by its index
        in time.
        """
        return self._replace(
            expected=self.expected[rows, windows],
            E=self.E[rows, windows],
            spread=self.spread[rows, windows],
            axes=(-2, -1),
        )


def checks_at(
    level: str, case: WindowCase, report: NamedArrays, tau: float = TAU
) -> Iterator[Check]:
    """Return the checks of all reported tensors at a level, in causal order; at L1 the
    report has all intermediates.
    """
    reported = report if level == "L1" else None
    return check_all(refined_tolerances(case, report, [*report], tau, reported), report)


def refined_tolerances(
    case: WindowCase,
    report: NamedArrays,
    names: Sequence[str],
    tau: float = TAU,
    reported: NamedArrays | None = None,
) -> dict[str, Tolerance]:
    """Return the tolerances for a report, as `tolerances` does.

    Among many thousand windows, few samples underestimate the error of some. So an
    estimate that would accuse is made again from more samples, and the largest spread
    decides.
    """
    allowed = tolerances(case, names, tau, reported)
    checks = list(check_all(allowed, report))
    if any(check.estimated.any() and not check.is_right for check in checks):
        for seed in range(1, ESTIMATES):
            for name, other in tolerances(case, names, tau, reported, seed).items():
                spread = np.maximum(allowed[name].spread, other.spread)
                allowed[name] = other._replace(spread=spread)
    return allowed


def check_all(allowed: Mapping[str, Tolerance], report: NamedArrays) -> Iterator[Check]:
    """Yield a check for every tolerance of a reported tensor."""
    for name, tolerance in allowed.items():
        if name in report:
            yield tolerance.check(report[name])


def tolerances(
    case: WindowCase,
    names: Sequence[str],
    tau: float = TAU,
    reported: NamedArrays | None = None,
    seed: int = 0,
) -> dict[str, Tolerance]:
    """Return the tolerances of these tensors in causal order.

    reported: the tensors from which every equation starts, for L1. seed: that of the
    samples of an estimate.
    """
    limits = np.finfo(case.dtype)
    with np.errstate(all="ignore"):  # a bound that overflows is not used
        bounds = window_update(case, Bounds(case.dtype, tau, reported))
        allowed = dict[str, Tolerance]()
        for name, bounded in bounds.items():
            if name in names:
                no_estimate = np.full_like(bounded.value, np.nan)
                allowed[name] = Tolerance(
                    name, bounded.value, bounded.E, no_estimate, limits, axes_of(name)
                )
        are_loose = any(tolerance.is_loose.any() for tolerance in allowed.values())
        if are_loose and not is_small(case, reported is not None):
            noise = MonteCarloArithmetic(case.dtype, tau, reported, seed)
            samples = window_update(sampled(case), noise)
            for name, tolerance in allowed.items():
                axis = 1 if SHAPES[name].startswith("T") else 0
                spread = spread_of(samples[name], axis, tolerance.expected)
                allowed[name] = tolerance._replace(spread=spread)
    return allowed


def is_small(case: WindowCase, is_local: bool) -> bool:
    """Return whether proven bounds decide in this window."""
    sizes = case_sizes(case)
    T, B, D, H, O, K = (sizes[letter] for letter in "TBDHOK")
    if is_local:
        return max(T * B, D + H, K * B * O) <= SMALL_SUM
    return T * H <= SMALL_WINDOW


def axes_of(name: str) -> tuple[int, ...]:
    """Return the axes of one window of a tensor, whose other axes are those of networks
    or updates.
    """
    axes = SHAPES.get(name, "BH")  # of the initial state
    return (0, -2, -1) if axes.startswith("T") else tuple(range(-len(axes), 0))
