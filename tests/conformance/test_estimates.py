"""Large windows, where worst-case bounds say nothing: right code is within the estimate, and small faults are not."""

import numpy as np
import pytest
from ports_for_tests import RIGHT, arguments_of
from test_judge import PACKAGE, sine_run

from numpy_rnn.common.records import Objective, Step
from numpy_rnn.conformance.arithmetics.bounds import Bounds, TanhError
from numpy_rnn.conformance.arithmetics.noisy import Noisy
from numpy_rnn.conformance.case import GIVEN_DY, INTERMEDIATES
from numpy_rnn.conformance.definition import window_update
from numpy_rnn.conformance.random_cases import Recipe
from numpy_rnn.conformance.traces.judge import judge
from numpy_rnn.conformance.window_checks import global_checks, tolerances

FACTOR = {"float32": 1 + 3e-5, "float64": 1 + 1e-13}
VARIANTS = {
    "tanh": {},
    "relu": {
        "objective": Objective("relu"),
        "step": Step(0.1, 0.9, nesterov=True),
        "velocity": True,
    },
    "logistic": {
        "objective": Objective("sigmoid", "cross_entropy", "mean"),
        "step": Step(0.1, max_norm=0.1),
    },
    "Adagrad": {"step": Step(0.1, adagrad=True), "velocity": True, "weights": True},
}


def large(dtype, **changes):
    """A window of 60 steps with 64 units."""
    return Recipe(
        **{"T": 60, "B": 2, "D": 8, "H": 64, "O": 8, "K": 60, "bias": True, "dtype": dtype}
        | changes
    ).case()


def reported(case):
    """The report of numpy_rnn as a black box."""
    params, arguments = arguments_of(case)
    left_out = (*INTERMEDIATES, "dx", "dh_0")
    return {n: v for n, v in RIGHT.window_update(params, **arguments).items() if n not in left_out}


@pytest.mark.parametrize("dtype", FACTOR)
@pytest.mark.parametrize("variant", VARIANTS)
def test_right_code_is_within_the_estimate_and_a_small_factor_is_not(variant, dtype):
    case = large(dtype, **VARIANTS[variant])
    report = reported(case)
    allowed = tolerances(case, [*report])
    checks = {name: allowed[name].check(reported) for name, reported in report.items()}
    for name, check in checks.items():
        assert (check.ratio <= 1).all(), name
        assert not check.lost.any()
    assert all(
        checks[name].ratio.max() > 1e-3 and checks[name].estimated
        for name in ("dW_xh", "dW_hh", "dW_hy")
    )
    for name in ("dW_xh", "dW_hh", "dW_hy") if variant == "tanh" else ():
        wrong = allowed[name].check(report[name] * report[name].dtype.type(FACTOR[dtype]))
        assert not (wrong.ratio <= 1).all()


def test_sum_of_a_given_dy_has_a_spread():
    case = large("float32", objective=Objective(loss=GIVEN_DY), step=None)
    checks = {check.tensor: check for check in global_checks(case, window_update(case))}
    assert all((check.ratio <= 1).all() for check in checks.values())
    assert checks["db_y"].estimated
    assert checks["db_y"].ratio.max() > 1e-3


def test_values_do_not_depend_on_their_bounds():
    """Clipping too, whose norm is of gradients with bounds that overflow."""
    case = large("float64", T=200, step=Step(0.1, max_norm=0.1))
    with np.errstate(all="ignore"):
        near = window_update(case, Bounds("float32"))
    assert not all(np.isfinite(each.E).all() for each in near.values())
    for name, value in window_update(case).items():
        np.testing.assert_allclose(
            near[name].value, value, 1e-9, 1e-9 * np.abs(value).max(), err_msg=name
        )


def test_gradient_that_is_lost_to_rounding_is_not_judged():
    """A chaotic network in float32: no code has its gradient, none is accused, and none is called right."""
    case = large("float32", T=200, K=200, gain=3.0, bias=False)
    case = case._replace(x=case.x * np.float32(1e-3))  # inputs that do not drive it
    report = reported(case)
    allowed = tolerances(case, [*report])
    for factor in (1, 2):
        wrong = report | {"dW_hh": report["dW_hh"] * np.float32(factor)}
        lost = [
            check
            for name, value in wrong.items()
            if (check := allowed[name].check(value)).lost.any()
        ]
        assert "dW_hh" in {check.tensor for check in lost}
        assert all((check.ratio <= 1).all() for check in lost)


def test_long_windows_of_a_run_are_judged_by_an_estimate():
    run = sine_run(Step(0.01), k1=20, k2=20, epochs=1, learned=False)
    recorded = PACKAGE.trace(run).without(*INTERMEDIATES, "dx", "dh_0")
    judgement = judge(recorded)
    assert judgement.passed
    assert judgement.estimated["dW_hh"] == judgement.updates == 1
    wrong = judge(recorded.replace({"dW_hh": recorded.updates["dW_hh"] * (1 + 1e-11)}))
    assert (wrong.first.tensor, wrong.first.is_estimated) == ("dW_hh", True)
    assert "times what rounding does by estimate, " in wrong.first.message("a trace")


# -- the errors of single operations -----------------------------------------------------------------------------------


def test_every_operation_has_the_error_that_is_stated():
    """Uniform on ± u times a size, of 8 samples; operations that do not round have none."""
    n, generator, u = Noisy("float32"), np.random.default_rng(1), 2.0**-24
    plain, W, b = (generator.normal(size=size) for size in ((8, 60, 30), (8, 30, 50), (8, 50)))
    v = n.given(plain)
    long, rows = np.concatenate((plain, 2 * plain), -1), np.concatenate((plain, 3 * plain), -2)
    tall = np.concatenate((W, -W), -2)

    def of_sum(total, squares, terms):
        return np.sqrt(terms * (squares + total**2 / 3))

    affine = long @ tall + b[:, None]
    sizes = {  # the result, the right one, and the size of its error
        "product": (v * v, plain**2, plain**2),
        "exponential": (np.exp(v), np.exp(plain), np.exp(plain)),
        "sum": (v.sum(axis=-1), plain.sum(-1), of_sum(plain.sum(-1), (plain**2).sum(-1), 30)),
        "total": (n.total([v, n.given(3 * plain)]), rows.sum(-2), of_sum(rows.sum(-2), (rows**2).sum(-2), 120)),
        "affine": (n.affine([(v, n.given(W)), (n.given(2 * plain), n.given(-W))], n.given(b), None), affine,
                   of_sum(affine, long**2 @ tall**2 + b[:, None] ** 2, 61)),
        "maximum": (np.maximum(v, -v), np.abs(plain), 0 * plain),
    }  # fmt: skip
    for name, (result, right, size) in sizes.items():
        errors = (np.asarray(result) - right) / (u * np.where(size > 0, size, 1))
        assert 0.93 * (size > 0).any() <= np.abs(errors).max() <= 1 + 1e-6, name
        assert abs(errors.mean()) <= 3 / (3 * errors.size) ** 0.5, name
        assert not size.any() or np.ptp(errors.reshape(8, -1)[:, 0]) > 0.3, name


def test_error_of_tanh_has_one_sign_in_a_sample():
    n = Noisy("float32", TanhError(16, 4))
    a = np.broadcast_to(np.linspace(-3, 3, 99), (8, 99))
    errors = (np.asarray(n.phi(n.given(a), "tanh")) - np.tanh(a)) / n.u
    assert (np.abs(errors - n.tilt[:, None] * (8 * np.abs(np.tanh(a)) + 4)) <= 1 + 1e-6).all()
    assert np.ptp(n.tilt) > 1


def test_slope_of_relu_is_open_near_its_kink():
    """Within 8 spreads of the samples, unless the pre-activations are reported; and tiny numbers may be zeros."""
    n, random = Noisy("float32"), np.random.default_rng(2)
    noise = random.normal(size=(8, 4000))
    noise = (noise - noise.mean(0)) / noise.std(0)
    for a, share in (
        (7 + noise * 0, None),
        (noise + 5, 0.5),
        (noise - 5, 0.5),
        (noise + 14, 1.0),
        (noise - 14, 0.0),
    ):
        slopes = np.asarray(
            n.by_slope(np.ones(a.shape), n.given(a), n.given(np.maximum(a, 0)), "relu")
        )
        assert set(np.unique(slopes)) <= {0, 1}
        assert abs(slopes.mean() - (1.0 if share is None else share)) < 0.02
    seen = Noisy("float32", reported={"a": noise})
    assert np.asarray(seen.by_slope(1.0, n.given(noise), n.given(np.maximum(noise, 0)), "relu")).tolist() == (
        noise > 0).tolist()  # fmt: skip
    smallest = np.finfo("float32").smallest_normal
    tiny = np.asarray(n.given(np.full((1, 5, 200), smallest / 2)))
    assert tiny.shape == (8, 5, 200)
    assert set(np.unique(tiny)) == {0, smallest / 2}
    assert 0.4 < (tiny == 0).mean() < 0.6
    assert (np.asarray(n.given(np.full((1, 5, 200), smallest))) == smallest).all()
