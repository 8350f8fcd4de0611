"""Both levels: every right way to compute a window is within the bounds, wrong elements
are not.

No bound is ten times as wide as what a correct computation needs: one may round every
operation in the same direction, and errors of such numbers fill every bound to a tenth
at least.
"""

import numpy as np
import pytest
from hypothesis import given, settings

from numpy_rnn.common.records import Objective, Parameters, Step
from numpy_rnn.common.trees import tree_map
from numpy_rnn.conformance.arithmetics.arithmetic import NORM_OFFSET
from numpy_rnn.conformance.arithmetics.bounds import Bounds
from numpy_rnn.conformance.case import WindowCase, present
from numpy_rnn.conformance.definition import window_update
from numpy_rnn.conformance.random_cases import CaseSpec
from tests.helpers.ways import WAYS, operations, skewed_report
from tests.helpers.windows import (
    SEED,
    SEEDS,
    VARIANTS,
    assert_right,
    check_global,
    check_local,
    each_dtype,
    window,
)

LEVELS = {"L1": check_local, "L2": check_global}


@each_dtype
@pytest.mark.parametrize("way", WAYS)
@settings(max_examples=2)
@given(SEEDS)
def test_right_way_is_within_the_bounds(way, dtype, seed):
    """It is right in float64 throughout, too, and where 1 − h² is mostly rounding."""
    special = "saturated" if seed % 2 else ""
    case = WAYS[way].case(window(seed, dtype, special=special))
    report = WAYS[way].report(case)
    # The report is rounded to the dtype afterwards.
    wide = WAYS[way].report(case, lambda array: array.astype(np.float64))
    assert_right(case, report)
    assert_right(case, wide, "L2")


def relu_unit(x, W_xh) -> WindowCase:
    """Return one step of one unit; x and W_xh are vectors."""
    x, one = np.array([[x]]), np.ones((1, 1))
    params = Parameters(np.reshape(W_xh, (-1, 1)), 0.5 * one, 3 * one)
    return WindowCase(params, x, one[None], 0 * one, Objective("relu"), Step(0.25))


def test_both_sides_of_the_kink_are_right_within_rounding():
    """The sum 0.1·0.3 − 0.3·0.1 + 1e-18 is positive, and float64 may well find 0; with
    1e-15 it does not.
    """
    case = relu_unit([0.1, 0.3, 1e-18], [0.3, -0.1, 1.0])
    bounds = window_update(case, Bounds("float64"))
    assert abs(bounds["a"].value) < bounds["a"].E
    assert 3 <= bounds["da"].E < 3.0001
    for side in (0.0, 1.0):
        way = operations(by_slope=lambda self, dh, *others, side=side: side * dh)
        assert_right(case, way.report(case), "L2")
    case = relu_unit([0.1, 0.3, 1e-15], [0.3, -0.1, 1.0])
    report = window_update(case)
    for check in LEVELS.values():
        assert check(case, report)["da"] <= 1
        assert check(case, report | {"da": report["dh"] - report["da"]})["da"] > 1


def test_exact_zero_has_no_error():
    """A pre-activation that is exactly zero shows that relu'(0) = 1 is wrong."""
    case = relu_unit([0.0], [1.0])
    bounds = window_update(case, Bounds("float64"))
    assert all((bounds[name].E == 0).all() for name in ("a", "h", "da", "dW_xh"))
    wrong = operations(by_slope=lambda self, dh, a, h, nonlinearity: dh * (h >= 0))
    assert check_global(case, window_update(case))["da"] == 0
    assert check_global(case, wrong.report(case))["da"] == np.inf


FULL_STEP = Step(0.2, 0.9, 0.25, weight_decay=0.1, max_norm=1.0)
WHOLE = CaseSpec(
    T=3,
    B=2,
    D=4,
    H=3,
    O=5,
    K=2,
    dtype="float64",
    bias=True,
    step=FULL_STEP,
    velocity=True,
)


def test_wrong_tensor_is_found_there():
    """An element is off by 100 bounds, or NaN, and nothing else is accused."""
    case = WHOLE._replace(seed=SEED).case()
    report, bounds = window_update(case), window_update(case, Bounds("float64"))
    for name, near in bounds.items():
        last = tuple(size - 1 for size in near.E.shape)
        wrong_number = near.value[last] + 100 * near.E[last]
        for number, expected in ((wrong_number, 100), (np.nan, np.inf)):
            wrong = np.array(report[name])
            wrong[last] = number
            checked = check_global(case, report | {name: wrong})
            count = sum((~(ratio <= 1)).sum() for ratio in checked.values())
            assert count == 1, name
            assert checked[name][last] == pytest.approx(expected, rel=0.01), name


def positive(spec):
    """Return a case whose numbers have one sign: nothing cancels, and errors add up."""
    case = spec.case()
    fields = ("x", "h_0", "params", "velocity")
    changed = {name: tree_map(np.abs, getattr(case, name)) for name in fields}
    if case.objective.loss == "squared_error":
        changed["target"] = -np.abs(case.target)
    return case._replace(**changed)


SIZES = {"T": 3, "B": 2, "D": 3, "H": 4, "O": 3, "K": 2}
SHORT_FIELDS = SIZES | {"gain": 0.5, "bias": True, "dtype": "float32"}
SATURATED = {"saturated": {"gain": 3.0}}
FILLED = 0.1  # the share of its bound that the largest error fills
EXACT = {"relu": {("L1", "h"), ("L1", "da")}}  # nothing is rounded


@pytest.mark.parametrize("variant", [*VARIANTS, *SATURATED])
def test_skewed_rounding_nearly_fills_every_bound(variant):
    """Every bound is filled in one of some cases."""
    filled = {}
    fields = SHORT_FIELDS | (VARIANTS | SATURATED)[variant]
    # With Adagrad the errors of a gradient and of its square cancel, which L2 does not
    # know.
    least = {"L1": FILLED, "L2": FILLED / (5 if variant == "Adagrad" else 1)}
    for seed in range(SEED, SEED + 20):
        case = positive(CaseSpec(**fields, seed=seed))
        for directions in ([1.0], [-1.0], [-1.0, 1.0]):
            report = skewed_report(case, directions, seed)
            for level, check in LEVELS.items():
                for name, ratio in check(case, report).items():
                    assert (ratio <= 1).all(), f"{level}: {name}"
                    before = filled.get((level, name), 0.0)
                    filled[level, name] = max(before, ratio.max())
        wide = {key: share for key, share in filled.items() if share <= least[key[0]]}
        if wide.keys() <= EXACT.get(variant, set()):
            return
    pytest.fail(f"the shares of the bounds that errors fill: {wide}")


@each_dtype
def test_clipping_at_its_limit_is_right_either_way(dtype):
    """Where max_norm is within some roundings of the norm, one computation clips and
    another does not.
    """
    case = window(SEED, dtype, step=Step(0.1, 0.5, max_norm=1.0), velocity=False)
    report = window_update(case)
    names = present(case.params).keys()
    flat = np.concatenate([report["d" + name].ravel() for name in names])
    norm = float(np.linalg.norm(flat.astype(np.float64)))
    for units in (-3, -1, 0, 1, 3):
        max_norm = (norm + NORM_OFFSET) * (1 + units * float(np.finfo(dtype).eps))
        edge = case._replace(step=case.step._replace(max_norm=max_norm))
        report = window_update(edge)
        unclipped = report | {"v" + name: report["d" + name] for name in names}
        checked = check_global(edge, unclipped)
        assert_right(edge, report, "L1")
        assert all(checked["v" + name].max() <= 1 for name in names)


def test_bound_of_a_norm_scales_with_the_gradients():
    """A power of 2 rounds nothing: what is left is the rounding of E itself."""
    draw = np.random.default_rng(SEED)
    g, error = draw.normal(size=(2, 5, 3))
    bounds = Bounds("float64")
    norm = bounds.norm([bounds.from_input(g, 1e-15 * np.abs(error))])
    for c in (2.0**-20, 2.0**20):
        scaled = bounds.norm([bounds.from_input(c * g, c * 1e-15 * np.abs(error))])
        np.testing.assert_allclose(scaled.E, c * norm.E, rtol=64 * np.finfo(float).eps)
