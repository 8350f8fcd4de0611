"""The bounds and their table of nonlinearities against numbers of many digits, by
mpmath.
"""

from functools import partial

import mpmath
import numpy as np
import pytest
from hypothesis import given

from numpy_rnn.common.records import DTYPES
from numpy_rnn.common.trees import tree_map
from numpy_rnn.conformance import case as cases
from numpy_rnn.conformance.arithmetics.arithmetic import (
    NONLINEARITIES,
    NumpyArithmetic,
    nonlinearity_of,
)
from numpy_rnn.conformance.arithmetics.bounds import CHECKER_TAU, Bounds
from numpy_rnn.conformance.case import with_rows
from numpy_rnn.conformance.definition import window_update
from tests.helpers.ways import PHI, RoundedArray
from tests.helpers.windows import SEEDS, window


def mpmath_function(name):
    assert name in PHI, f"ways.PHI lacks {name!r}: add the function of mpmath"
    return PHI[name]


class Exact(NumpyArithmetic):
    """Arrays of mpmath's numbers, whose options are the float64 of their names."""

    def from_input(self, array, error=0.0):
        return np.vectorize(mpmath.mpf, otypes=[object])(np.asarray(array, np.float64))

    def phi(self, a, nonlinearity):
        return np.frompyfunc(mpmath_function(nonlinearity), 1, 1)(a)

    def by_slope(self, dh, a, h, nonlinearity):
        if nonlinearity == "relu":
            return dh * (h > 0)
        slope = partial(mpmath.diff, mpmath_function(nonlinearity))
        return dh * np.frompyfunc(slope, 1, 1)(a)

    def softmax(self, y):
        exp, log = np.frompyfunc(mpmath.exp, 1, 1), np.frompyfunc(mpmath.log, 1, 1)
        log_p = y - log(exp(y).sum(axis=-1, keepdims=True))
        return log_p, exp(log_p)

    def rate(self, step, theta):
        return mpmath.mpf(float(self.dtype.type(step.learning_rate)))

    def norm(self, gradients):
        return mpmath.sqrt(sum((g * g).sum() for g in gradients))

    def by_root(self, g, squares):
        return g / np.frompyfunc(mpmath.sqrt, 1, 1)(squares + mpmath.mpf(1e-8))


@pytest.mark.parametrize("dtype", DTYPES)
@given(SEEDS)
def test_values_of_mpmath_are_within_every_bound(dtype, seed):
    """The floats of the dtype are within them too, in every tensor of a random case."""
    case = window(seed, dtype)
    rows = with_rows(case)
    params = tree_map(lambda v: v.astype(float), rows.params)
    with np.errstate(all="ignore"):
        bounds, floats = window_update(case, Bounds(dtype)), window_update(case)
    numbers = Exact(dtype)
    with mpmath.workdps(60):
        exact = window_update(rows._replace(params=params), numbers)
        for name in cases.SHAPES.keys() & exact.keys():
            for value in (bounds[name].value, floats[name]):
                error = np.abs(numbers.from_input(value) - exact[name])
                assert not (np.asarray(error, float) > bounds[name].E).any(), name


@pytest.mark.parametrize("E", [0.4, 0.9, 50.0])
def test_softmax_of_outputs_that_are_far_off_is_within_its_bound(E):
    """The outputs move apart, or together, by all that is allowed."""
    y = np.array([[-7.0, 0.0]])
    bounds = Bounds("float64")
    log_p, p = bounds.softmax(bounds.from_input(y, E))
    for move in ([E, -E], [-E, E]):
        moved_log_p, moved_p = NumpyArithmetic("float64").softmax(y + move)
        assert (np.abs(moved_log_p - log_p.value) <= log_p.E).all()
        assert (np.abs(moved_p - p.value) <= p.E).all()


GRID = np.linspace(-20, 20, 81)
# The exponentials of most of them overflow.
LARGE = np.array([30, -30, 90, -90, 800, -800, 1e4, -1e4])
UNIT = 2.0**-53  # the unit roundoff of float64
WIDEST = 3  # times what is needed, that a column may be
# Of a slope by cosh, in float64: 2τ + 3 roundings, and that of mpmath's number.
OF_SLOPE = (2 * CHECKER_TAU + 4) * UNIT


def derivative(f, a, order=1):
    """Return a derivative from the left, by mpmath."""
    return float(mpmath.diff(f, mpmath.mpf(a), order, direction=-1))


@pytest.mark.parametrize("name", NONLINEARITIES)
def test_row_of_a_nonlinearity_has_the_values_and_slopes_of_mpmath(name):
    """The row has φ, φ' from a and h and from a alone, and |∂φ'/∂h|."""
    row = nonlinearity_of(name)
    f = mpmath_function(name)
    bounds = Bounds("float64")
    with mpmath.workdps(40):
        slopes = np.array([derivative(f, a) for a in GRID])
        for numbers in (LARGE, GRID):
            near = bounds.phi(bounds.from_input(numbers), name)
            exact = [f(mpmath.mpf(a)) for a in numbers]
            errors = [abs(v - computed) for v, computed in zip(exact, near.value)]
            assert (np.array(errors, float) <= near.E).all()
    np.testing.assert_allclose(row.slope_of_a(GRID), slopes, OF_SLOPE)
    h = near.value
    roundings = row.roundings(GRID, np.zeros_like(GRID))
    error_of_h = CHECKER_TAU * UNIT * (np.abs(h) + roundings)
    # Three roundings of numbers up to 1: two of the slope, and that of mpmath's number.
    allowed = row.change(h) * error_of_h + 3 * UNIT
    assert (np.abs(row.slope(GRID, h) - slopes) <= allowed).all()
    if not row.has_kink:  # a complex step, with two roundings of numbers up to 2
        change = np.abs(row.slope(GRID, h + 1e-30j).imag / 1e-30)
        np.testing.assert_allclose(row.change(h), change, rtol=0, atol=4 * UNIT)


SMOOTH = [name for name, row in NONLINEARITIES.items() if not row.has_kink]


@pytest.mark.parametrize("name", SMOOTH)
def test_steepest_slope_and_curvature_are_those_of_mpmath(name):
    """The columns are at least these values, and not much more."""
    row = nonlinearity_of(name)
    f = mpmath_function(name)
    # a ± E has one rounding, and φ' changes by `curvature` times as much of itself.
    up = 1 + OF_SLOPE + row.curvature * (GRID.max() + 1) * UNIT
    with mpmath.workdps(40):
        for E in (0.0, 1e-3, 0.5):
            near = np.linspace(GRID - E, GRID + E, 5)
            slopes = np.abs(np.vectorize(partial(derivative, f))(near))
            at_zero = np.where(np.abs(GRID) <= E, abs(derivative(f, 0)), 0)
            largest = np.maximum(slopes.max(axis=0), at_zero)
            column = row.steepest(GRID, np.full_like(GRID, E))
            assert (largest <= column * up).all(), "steepest: too small"
            assert (column <= WIDEST * largest).all(), "steepest: too wide"
        curvatures = np.abs([derivative(f, a, 2) for a in GRID])
        ratio = (curvatures / np.abs([derivative(f, a) for a in GRID])).max()
    assert ratio <= row.curvature * (1 + 3 * UNIT), "curvature: too small"
    assert row.curvature <= WIDEST * ratio, "curvature: too wide"


SHARE = 2.0**-20
# No one number is right for all a: its column is a function.
BY_LOG1P = nonlinearity_of("sigmoid")._replace(
    phi=lambda a: np.log1p(np.exp(a)), roundings=lambda a, E: 1 / (1 + np.exp(-a - E))
)
ROWS = [*map(nonlinearity_of, SMOOTH), BY_LOG1P]


@pytest.mark.parametrize("row", ROWS, ids=[*SMOOTH, "log1p(exp(a))"])
def test_roundings_of_a_nonlinearity_are_in_units_of_its_column(row):
    """Where tanh, exp and log are off by τ u of their value, φ is off by as much of |h|
    and the column at most, and where |h| is smallest by a third of that at least.
    """
    grid = GRID[GRID != 0]
    h = row.phi(grid)
    unit = np.abs(h) + row.roundings(grid, np.zeros_like(grid))
    used = np.zeros_like(h)
    for share in (SHARE, -SHARE):
        numbers = type("Inexact", (RoundedArray,), {"share": lambda *_, s=share: s})
        error = np.abs(np.asarray(row.phi(grid.view(numbers))) - h)
        used = np.maximum(used, error / SHARE / unit)
    # The computed errors have some roundings of h, and terms of share².
    assert used.max() <= 1 + 2 * SHARE, "roundings: too small"
    assert used[np.argmin(np.abs(h))] >= 1 / WIDEST, "roundings: too wide"
