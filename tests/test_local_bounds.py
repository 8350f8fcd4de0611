"""Level L1 of the equivalence suite: right reports pass, and every kind of wrong one does not."""

import numpy as np
import pytest

import numpy_rnn
from numpy_rnn.conformance.bounds.local_bounds import check_local, ratios, stages
from numpy_rnn.conformance.case import INTERMEDIATES, SHAPES, form_faults
from numpy_rnn.conformance.cases import DTYPES, Recipe, random_recipe
from numpy_rnn.conformance.ports.backends import PackagePort

RECIPE = Recipe(T=4, B=3, D=2, H=6, O=5, K=2, dtype="float64", bias=True, reduction="mean", seed=7)


def report_of(case, rnn=numpy_rnn):
    port = PackagePort(rnn)
    arrays = case.params._asdict(), case.x, case.target, case.h_0
    return port.window_update(*arrays, learning_rate=case.learning_rate, **case.options)


def test_right_reports_are_within_their_bounds(rnn):
    generator = np.random.default_rng(11)
    for dtype in DTYPES:
        for _ in range(150):
            recipe = random_recipe(generator, dtype)
            case = recipe.case()
            report = report_of(case, rnn)
            assert form_faults(case, report, intermediates=True) == []
            for name, ratio in check_local(case, report).items():
                assert (ratio <= 1).all(), f"{recipe}: {name} {ratio.max()}"


def test_bounds_are_not_slack():
    """A right float32 report comes near its bounds: so they could not be much smaller."""
    generator = np.random.default_rng(5)
    worst = dict.fromkeys(SHAPES, 0.0)
    for _ in range(300):
        case = random_recipe(generator, "float32").case()
        for name, ratio in check_local(case, report_of(case)).items():
            worst[name] = max(worst[name], float(ratio.max()))
    # τ is for any tanh, and NumPy's is better; the loss sums so many terms of one sign that their roundings cancel.
    assert {name for name, ratio in worst.items() if ratio < 0.25} <= {"h", "loss"}


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_one_element_off_is_seen(name, dtype):
    """A hundred bounds more on one element exceed the bound of that tensor, whatever the element."""
    case = RECIPE._replace(dtype=dtype).case()
    report = report_of(case)
    _, allowed = stages(case, report)[name]
    generator = np.random.default_rng(3)
    for _ in range(5):
        element = tuple(generator.integers(size) for size in np.shape(report[name]))
        wrong = np.array(report[name])
        step = 100 * np.broadcast_to(allowed, wrong.shape)[element]
        wrong[element] += max(step, 100 * np.spacing(np.abs(wrong[element])))
        assert check_local(case, report | {name: wrong})[name][element] > 1


@pytest.mark.parametrize("name", SHAPES)
def test_nan_is_infinitely_wrong(name):
    case = RECIPE.case()
    report = report_of(case)
    wrong = np.array(report[name])
    wrong[(0,) * wrong.ndim] = np.nan
    assert check_local(case, report | {name: wrong})[name].max() == np.inf


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "backward",
    [
        lambda dh, h: dh - dh * h * h,
        lambda dh, h: (dh + dh * h) * (1 - h),  # JAX
        lambda dh, h: dh * ((1 - h) * (1 + h)),
        lambda dh, h: dh * (1 - h * h),
    ],
)
def test_every_right_way_to_write_the_derivative_of_tanh_passes(dtype, backward):
    """Saturated states among them, where the roundings of 1 − h² are large beside its value."""
    generator = np.random.default_rng(9)
    for _ in range(100):
        recipe = random_recipe(generator, dtype)._replace(nonlinearity="tanh", gain=float(generator.uniform(0.5, 8)))
        case = recipe.case()
        report = report_of(case)
        other = report | {"da": backward(report["dh"], report["h"])}
        assert check_local(case, other)["da"].max() <= 1


def test_form_faults_name_what_is_wrong():
    case = RECIPE.case()
    right = report_of(case)

    def faults(intermediates=True, **changes):
        report = {name: array for name, array in (right | changes).items() if array is not None}
        return form_faults(case, report, intermediates)

    assert faults() == []
    assert faults(dW_hh=None) == ["dW_hh is missing"]
    assert faults(extra=np.zeros(3)) == ["extra is not a name that is owed"]
    assert faults(dW_hy=right["dW_hy"].T) == ["dW_hy has shape (5, 6): expected (6, 5)"]
    assert faults(loss=np.float32(1)) == ["loss is float32: expected float64"]
    assert faults(loss=1.0) == ["loss is a float: expected a NumPy array"]
    bad = right["b_y"].copy()
    bad[2] = np.inf
    assert faults(b_y=bad) == ["b_y[2] is inf: expected a finite number"]
    assert form_faults(case, None, True) == ["the report is a NoneType: expected a dict of arrays by name"]
    without = dict.fromkeys(INTERMEDIATES)
    assert faults(intermediates=False, **without) == []
    assert faults(**without) == [f"{name} is missing" for name in INTERMEDIATES]


def test_biases_are_owed_exactly_when_there_are_some():
    case = RECIPE._replace(bias=False).case()
    report = report_of(case)
    assert form_faults(case, report, True) == []
    assert form_faults(case, report | {"db_h": np.zeros(6)}, True) == ["db_h is not a name that is owed"]
    assert form_faults(RECIPE.case(), report, True)[:1] == ["db_h is missing"]


def test_stacked_updates_are_judged_as_single_ones():
    cases = [RECIPE._replace(seed=seed).case() for seed in range(4)]
    reports = [report_of(case) for case in cases]
    stacked = cases[0]._replace(
        params=numpy_rnn.Parameters(*map(np.stack, zip(*(case.params for case in cases)))),
        **{name: np.stack([getattr(case, name) for case in cases]) for name in ("x", "target", "h_0")},
    )
    together = check_local(stacked, {name: np.stack([report[name] for report in reports]) for name in SHAPES})
    for index, (case, report) in enumerate(zip(cases, reports)):
        for name, ratio in check_local(case, report).items():
            # The sums are the same but for their order, and the ratios differ by less than one rounding of one term.
            assert np.abs(together[name][index] - ratio).max() < 1, name


def test_ratios_of_nothing():
    difference, allowed = np.array([0.0, 1.0, np.nan, 2.0]), np.array([0.0, 0.0, 1.0, 4.0])
    assert ratios(difference, allowed).tolist() == [0.0, np.inf, np.inf, 0.5]
