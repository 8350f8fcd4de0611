"""Monte Carlo estimates: right code in large windows is within them, and small faults
are not.
"""

import itertools

import numpy as np
import pytest
from hypothesis import assume, given

import numpy_rnn
from numpy_rnn.common.records import (
    LOSS_NAMES,
    NONLINEARITY_NAMES,
    Objective,
    Step,
)
from numpy_rnn.conformance import window_checks
from numpy_rnn.conformance.arithmetics.monte_carlo import (
    MonteCarloArithmetic,
    repeats,
    sampled,
)
from numpy_rnn.conformance.case import INPUT_GRADIENTS, INTERMEDIATES
from numpy_rnn.conformance.definition import window_update
from numpy_rnn.conformance.ports.port import PackagePort, validated_report
from numpy_rnn.conformance.random_cases import CaseSpec
from numpy_rnn.conformance.window_checks import (
    global_checks,
    is_small,
    local_checks,
    refined_tolerances,
    tolerances,
)
from tests.helpers.comparing import fewer
from tests.helpers.ways import WAYS, Flushes
from tests.helpers.windows import SEED, SEEDS, learnt_classifier, tiny_window

FACTOR = {"float32": 1 + 3e-5, "float64": 1 + 1e-13}
VARIANTS: dict[str, dict] = {
    **{name: {"objective": Objective(name)} for name in NONLINEARITY_NAMES},
    "classes": {"objective": Objective("sigmoid", "cross_entropy", "mean")},
    "momentum": {"step": Step(0.1, 0.9, nesterov=True), "velocity": True},
    "clipped": {"step": Step(0.1, max_norm=0.1)},
    "Adagrad": {"step": Step(0.1, adagrad=True), "velocity": True},
}


def large(dtype, **changes):
    """Return a window of 60 steps with 64 units, none of which is near relu's kink."""
    sizes: dict = {
        "T": 60,
        "B": 2,
        "D": 8,
        "H": 64,
        "O": 8,
        "K": 60,
        "bias": True,
        "dtype": dtype,
    }
    first = changes.pop("seed", SEED)
    cases = (CaseSpec(**sizes | changes, seed=first + i).case() for i in range(99))
    return next(case for case in cases if np.abs(window_update(case)["a"]).min() > 3e-5)


def reported(case):
    report = validated_report(PackagePort(numpy_rnn), case, "a case")
    return {
        n: v for n, v in report.items() if n not in (*INTERMEDIATES, *INPUT_GRADIENTS)
    }


@pytest.mark.parametrize("dtype", FACTOR)
@pytest.mark.parametrize("variant", VARIANTS)
def test_right_code_is_within_estimates_and_a_factor_is_not(variant, dtype):
    case = large(dtype, **VARIANTS[variant])
    report = reported(case)
    allowed = tolerances(case, [*report])
    for name, value in report.items():
        check = allowed[name].check(value)
        assert (check.ratio <= 1).all(), name
        assert not check.ill_conditioned.any(), name
    for name in ("dW_xh", "dW_hh", "dW_hy"):
        assert allowed[name].check(report[name]).estimated
        wrong = allowed[name].check(
            report[name] * report[name].dtype.type(FACTOR[dtype])
        )
        assert variant == "relu" or not (wrong.ratio <= 1).all(), name


def test_equal_terms_round_alike():
    """A readout of zeros and a constant target: all errors are equal, and are added by
    steps. Independent roundings of so many would be smaller.
    """
    assert repeats(np.float64([[3], [1], [1], [1]]), 1e-16) == (3 * 3 + 1) / 4
    case = large("float32", T=2000, K=2000, B=1, D=1, H=1)
    params = case.params._replace(W_hy=np.zeros_like(case.params.W_hy))
    target = np.broadcast_to(case.target[:1], case.target.shape)
    case = case._replace(params=params, target=target)
    for check in local_checks(case, WAYS["as it is"].report(case)):
        assert (check.ratio <= 1).all(), check.tensor


@pytest.mark.parametrize("factor", [1, -1, 2])
def test_gradient_that_is_lost_to_rounding_is_not_judged(factor):
    """A chaotic network in float32: no code computes its gradient, and none
    is accused.
    """
    case = large("float32", T=200, K=200, gain=3.0, bias=False)
    case = case._replace(x=case.x * np.float32(1e-3))  # inputs that do not drive it
    report = reported(case)
    wrong = report | {"dW_hh": report["dW_hh"] * np.float32(factor)}
    ill_conditioned = {
        check.tensor: check
        for check in global_checks(case, wrong)
        if check.ill_conditioned.any()
    }
    assert {"dW_hh", "dW_xh"} <= ill_conditioned.keys()
    assert all((check.ratio <= 1).all() for check in ill_conditioned.values())


def test_batch_of_classes_is_read_from_the_case():
    """Not from an axis of x, which for classes is that of time."""
    spec = CaseSpec(T=250, B=1, D=2, H=1, O=8, K=1, dtype="float32", class_inputs=True)
    assert is_small(spec.case(), is_local=True)
    assert not is_small(spec._replace(B=2).case(), is_local=True)


@pytest.mark.parametrize("dtype", FACTOR)
@pytest.mark.parametrize("sizes", [{}, {"T": 30, "H": 9, "K": 30}])
@fewer(4, least=3)
@given(SEEDS)
def test_flushed_subnormals_are_within_every_bound(sizes, dtype, seed):
    """Proven, or estimated."""
    case = tiny_window(seed, dtype, **sizes)
    report = WAYS["by scaled numbers"].report(case, lambda array: array.view(Flushes))
    assume(all(np.isfinite(v).all() for v in report.values()))
    for checks in (local_checks, global_checks):
        for check in checks(case, report):
            assert (check.ratio <= 1).all(), (checks.__name__, check.tensor)


@pytest.mark.parametrize("dtype", FACTOR)
@fewer(4, least=3)
@given(SEEDS)
def test_right_classifier_that_has_learnt_is_within_every_bound(dtype, seed):
    """With a mean loss down to 1e-13, at both levels."""
    case = learnt_classifier(seed, dtype)
    report = validated_report(PackagePort(numpy_rnn), case, "a case")
    for checks in (local_checks, global_checks):
        for check in checks(case, report):
            assert (check.ratio <= 1).all(), (checks.__name__, check.tensor)


@pytest.mark.parametrize("dtype", FACTOR)
def test_gradient_of_a_learnt_classifier_that_is_1_percent_off_is_refused(dtype):
    """In nearly every window in which rounding leaves digits of it."""
    judged = refused = 0
    for seed in itertools.count(SEED):
        if judged == 3:
            break
        case = learnt_classifier(seed, dtype)
        wrong = reported(case)
        wrong["dW_hy"] *= case.dtype.type(1.01)
        found = {check.tensor: check for check in global_checks(case, wrong)}["dW_hy"]
        if not found.ill_conditioned:
            judged += 1
            refused += bool((found.ratio > 1).any())
    assert refused >= 2, f"{refused} refused of {judged} judged"


@pytest.mark.parametrize("loss", LOSS_NAMES)
@pytest.mark.parametrize("operation", ["stack", "affine", "phi", "by_slope"])
def test_operand_without_noise_is_refused(operation, loss):
    """As from np.stack, which gives a plain array of arrays with noise."""

    def without_noise(self, *operands):
        return np.asarray(getattr(MonteCarloArithmetic, operation)(self, *operands))

    case = large("float32", objective=Objective("tanh", loss), T=3, K=3, H=4)
    numbers = type("WithoutNoise", (MonteCarloArithmetic,), {operation: without_noise})(
        "float32"
    )
    with pytest.raises(TypeError, match="no noise"):
        window_update(sampled(case), numbers)


def test_estimate_that_accuses_is_made_again():
    """From more samples; otherwise the first one stays."""
    case = large("float64")
    report = reported(case)
    wrong = report | {"dW_hh": 1.01 * report["dW_hh"]}
    first = tolerances(case, [*report])["dW_hh"].check(report["dW_hh"]).allowed
    right, again = (
        refined_tolerances(case, each, [*report])["dW_hh"]
        .check(report["dW_hh"])
        .allowed
        for each in (report, wrong)
    )
    assert (right == first).all()
    assert (again > first).all()


@pytest.mark.parametrize(
    ("allowed", "is_wide", "is_ill_conditioned"),
    [
        (0.09, False, False),
        (0.11, True, False),
        (0.49, True, False),
        (0.51, False, True),
        (np.inf, False, True),
        (np.nan, False, True),
    ],
)
def test_share_of_a_tensor_that_rounding_may_change(
    allowed, is_wide, is_ill_conditioned
):
    """More than a tenth is wide, more than a half ill-conditioned; a 0 is neither."""
    limits, ones = np.finfo(np.float64), np.ones(1)
    for expected, flag in ((ones, True), (0 * ones, False)):
        tolerance = window_checks.Tolerance(
            "loss", expected, allowed * ones, None, limits, (0,)
        )
        counts = window_checks.Counts()
        counts.note([tolerance.check(expected)])
        assert counts.wide["loss"] == (is_wide and flag)
        assert counts.ill_conditioned["loss"] == (is_ill_conditioned and flag)
