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
    Objective,
)
from numpy_rnn.conformance import window_checks
from numpy_rnn.conformance.arithmetics.monte_carlo import (
    MonteCarloArithmetic,
    repeats,
    sampled,
)
from numpy_rnn.conformance.case import INPUT_GRADIENTS, INTERMEDIATES
from numpy_rnn.conformance.coverage import Coverage
from numpy_rnn.conformance.definition import window_update
from numpy_rnn.conformance.ports.port import PackagePort, stated_port
from numpy_rnn.conformance.ports.user_code import validated_report
from numpy_rnn.conformance.random_cases import CaseSpec
from numpy_rnn.conformance.window_checks import (
    checks_at,
    is_small,
    refined_tolerances,
    tolerances,
)
from tests.helpers.comparing import fewer
from tests.helpers.ways import WAYS, Flushes
from tests.helpers.windows import (
    SEED,
    SEEDS,
    VARIANTS,
    assert_right,
    each_dtype,
    learnt_classifier,
    tiny_window,
)

# Of a gradient, which is refused.
FACTOR = {"float32": 1 + 3e-5, "float64": 1 + 1e-13}


def large(dtype, **changes):
    """Return a window of 60 steps with 64 units, none of which is near relu's kink."""
    spec = CaseSpec(T=60, B=2, D=8, H=64, O=8, K=60, bias=True, dtype=dtype)
    for seed in itertools.count(SEED):
        case = spec._replace(**changes, seed=seed).case()
        if np.abs(window_update(case)["a"]).min() > 3e-5:
            return case
    raise AssertionError


def package_report(case, unseen=(*INTERMEDIATES, *INPUT_GRADIENTS)):
    """Return the report of the package, as a black box."""
    report = validated_report(stated_port(PackagePort(numpy_rnn)), case, "a case")
    return {name: report[name] for name in report.keys() - {*unseen}}


@each_dtype
@pytest.mark.parametrize("variant", VARIANTS)
def test_right_code_is_within_estimates_and_a_factor_is_not(variant, dtype):
    case = large(dtype, **VARIANTS[variant])
    report = package_report(case)
    factor = case.dtype.type(FACTOR[dtype])
    allowed = tolerances(case, [*report])
    for name, value in report.items():
        check = allowed[name].check(value)
        assert (check.ratio <= 1).all(), name
        assert not check.ill_conditioned.any(), name
    for name in ("dW_xh", "dW_hh", "dW_hy"):
        assert allowed[name].check(report[name]).estimated
        wrong = allowed[name].check(factor * report[name])
        assert variant == "relu" or not (wrong.ratio <= 1).all(), name


def test_equal_terms_round_alike():
    """With a readout of zeros and a constant target, all terms of db_y are equal, and
    are added by steps. From a sum of 512 on, each addition rounds off 0.45 of the same
    last digit. Independent roundings of so many would be smaller.
    """
    assert repeats(np.float64([[3], [1], [1], [1]]), 1e-16) == (3 * 3 + 1) / 4
    case = large("float32", T=1000, K=1000, B=1, D=1, H=1, O=1)
    zero = np.zeros(1, "float32")
    params = case.params._replace(W_hy=zero.reshape(1, 1), b_y=zero)
    target = np.full_like(case.target, 1 + 0.45 * 2**-14)
    case = case._replace(params=params, target=target)
    assert_right(case, WAYS["as it is"].report(case), "L1")


def test_batch_of_classes_is_read_from_the_case():
    """Axis −2 of x is that of time where x has classes."""
    spec = CaseSpec(T=250, B=1, D=2, H=1, O=8, K=1, dtype="float32", class_inputs=True)
    assert is_small(spec.case(), is_local=True)
    assert not is_small(spec._replace(B=2).case(), is_local=True)


@each_dtype
@pytest.mark.parametrize("sizes", [{}, {"T": 30, "H": 9, "K": 30}])
@fewer(4, least=3)
@given(SEEDS)
def test_flushed_subnormals_are_within_every_bound(sizes, dtype, seed):
    """The bounds are proven in small windows, and estimated in others."""
    case = tiny_window(seed, dtype, **sizes)
    report = WAYS["by scaled numbers"].report(case, lambda array: array.view(Flushes))
    assume(all(np.isfinite(v).all() for v in report.values()))
    assert_right(case, report)


@each_dtype
@fewer(4, least=3)
@given(SEEDS)
def test_right_classifier_that_has_learnt_is_within_every_bound(dtype, seed):
    """Its mean loss is down to 1e-13, and it is right at both levels."""
    case = learnt_classifier(seed, dtype)
    assert_right(case, package_report(case, ()))


@each_dtype
def test_gradient_of_a_learnt_classifier_that_is_1_percent_off_is_refused(dtype):
    """It is refused in nearly every window in which rounding leaves digits of it."""
    refusals = []
    for seed in itertools.count(SEED):
        case = learnt_classifier(seed, dtype)
        wrong = package_report(case)
        wrong["dW_hy"] *= case.dtype.type(1.01)
        checks = {check.tensor: check for check in checks_at("L2", case, wrong)}
        if not checks["dW_hy"].ill_conditioned:
            refusals.append((checks["dW_hy"].ratio > 1).any())
        if len(refusals) == 2:
            break
    assert any(refusals)


@pytest.mark.parametrize("loss", LOSS_NAMES)
@pytest.mark.parametrize("operation", ["stack", "affine", "phi", "by_slope"])
def test_operand_without_noise_is_refused(operation, loss):
    """np.stack is such an operation: it makes a plain array of arrays with noise."""

    def without_noise(self, *operands):
        return np.asarray(getattr(MonteCarloArithmetic, operation)(self, *operands))

    case = large("float32", objective=Objective("tanh", loss), T=3, K=3, H=4)
    methods = {operation: without_noise}
    arithmetic = type("WithoutNoise", (MonteCarloArithmetic,), methods)
    with pytest.raises(TypeError, match="no noise"):
        window_update(sampled(case), arithmetic("float32"))


def test_clipping_rounds_nothing():
    g = np.linspace(-2.0, 2.0, 7)
    arithmetic = MonteCarloArithmetic("float32")
    clipped = arithmetic.clip(arithmetic.from_input(g), 1.0)
    assert (np.asarray(clipped) == np.clip(g, -1, 1)).all()


def test_estimate_that_accuses_is_made_again():
    """The second one has more samples; one that accuses nothing stays."""
    case = large("float64", T=30, K=30, H=32)
    report = package_report(case)
    wrong = report | {"dW_hh": 1.01 * report["dW_hh"]}

    def allowed(estimates):
        return estimates["dW_hh"].check(report["dW_hh"]).allowed

    first = allowed(tolerances(case, [*report]))
    assert (allowed(refined_tolerances(case, report, [*report])) == first).all()
    assert (allowed(refined_tolerances(case, wrong, [*report])) > first).all()


SHARES = [  # that rounding may change of a number, and what is noted
    (0.09, ""),
    (0.11, "wide"),
    (0.49, "wide"),
    (0.51, "ill_conditioned"),
    (np.inf, "ill_conditioned"),
    (np.nan, "ill_conditioned"),
]


def check_within(number, E):
    """Return the check of a right number by a proven bound."""
    expected, bound, no_estimate = np.array([[number], [E], [np.nan]])
    tolerance = window_checks.Tolerance(
        "loss", expected, bound, no_estimate, np.finfo(np.float64), (0,)
    )
    return tolerance.check(expected)


def test_number_that_underflows_has_no_digits_to_lose():
    assert check_within(1e-306, 1e-305).share == 0


@pytest.mark.parametrize(("share", "note"), SHARES)
@pytest.mark.parametrize("number", [1.0, 0.0])
def test_share_of_a_tensor_that_rounding_may_change(share, note, number):
    """A 0 is neither wide nor ill-conditioned, whatever rounding does."""
    counts = Coverage()
    counts.note([check_within(number, share)])
    for name in ("wide", "ill_conditioned"):
        assert getattr(counts, name)["loss"] == (name == note and number != 0)
