"""Both levels: every right way to compute a window is within the bounds, and one wrong element of a tensor is not."""

from functools import cache

import numpy as np
import pytest
from ports_for_tests import RIGHT, WAYS, one_unit, operations, tiny_window, window

from numpy_rnn import Parameters
from numpy_rnn.common.conversion import convert
from numpy_rnn.common.records import DTYPES, Objective, Step, WindowCase
from numpy_rnn.conformance.arithmetics.bounds import Bounds, TanhError
from numpy_rnn.conformance.arithmetics.rounding import Rounding
from numpy_rnn.conformance.case import GIVEN_DY, SHAPES, required_outputs, with_rows
from numpy_rnn.conformance.definition import window_update
from numpy_rnn.conformance.mutants.catalogue import named
from numpy_rnn.conformance.ports.port import validated_report
from numpy_rnn.conformance.random_cases import Recipe
from numpy_rnn.conformance.traces.divergence import EQUATIONS
from numpy_rnn.conformance.window_checks import check_global, check_local, ratios, tolerances

each_dtype = pytest.mark.parametrize("dtype", DTYPES)


def worst(checked):
    """The largest ratio of all tensors."""
    return max(ratio.max() for ratio in checked.values())


# -- right ways ------------------------------------------------------------------------------------------------------


@cache
def telling_window(seed, dtype):
    """A random window.

    In every fourth one, states of tanh are such that 1 − h² is mostly rounding, or the outputs of a softmax are large.
    """
    case = window(seed, dtype)
    if seed % 4 == 1:
        objective = Objective(loss="cross_entropy", reduction=("sum", "mean")[seed % 8 == 1])
        case = window(seed, dtype, objective=objective, logits=1e4, classes=seed % 8 == 1)
    if seed % 4 == 0:
        params = case.params._replace(W_xh=5 * case.params.W_xh)
        case = case._replace(params=params, objective=case.objective._replace(nonlinearity="tanh"))
    return case


@cache
def allowed(seed, dtype):
    """What rounding allows of every tensor of a telling window from its inputs, whoever computes it."""
    return tolerances(telling_window(seed, dtype), [*SHAPES])


class Flushes(np.ndarray):
    """An array whose subnormal numbers are read as zero, and become zero as any result, product and partial sum."""

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **options):
        arrays = [
            flushed(np.asarray(v)) if isinstance(v, np.ndarray | np.generic) else v for v in inputs
        ]
        if ufunc is np.matmul:
            A, B = arrays
            result = np.zeros((len(A), B.shape[1]), A.dtype)
            for k in range(A.shape[1]):
                result = flushed(result + flushed(A[:, k, None] * B[None, k]))
        else:
            result = flushed(getattr(ufunc, method)(*arrays, **options))
        return result.view(type(self)) if isinstance(result, np.ndarray) else result


def flushed(v):
    if getattr(v, "dtype", np.dtype(int)).kind != "f":
        return v
    return np.where(np.abs(v) < np.finfo(v.dtype).smallest_normal, v.dtype.type(0), v)


def converted(case, change):
    """The case with other arrays of floats."""
    return convert(
        lambda v: change(v) if isinstance(v, np.ndarray) and v.dtype.kind == "f" else v, case
    )


def report_of(case, way=WAYS["as it is"], change=lambda array: array):
    """The report of a way to compute the case, in arrays that are changed first."""
    with np.errstate(all="ignore"):
        report = way.window_update(converted(with_rows(case), change))
    return {
        name: np.asarray(array).astype(case.params.W_hh.dtype) for name, array in report.items()
    }


def assert_within_bounds(case, report, levels=(check_local, check_global)):
    for check in levels:
        for name, ratio in check(case, report).items():
            assert (ratio <= 1).all(), f"{check.__name__}: {name} is {ratio.max()} times its bound"


@each_dtype
@pytest.mark.parametrize("way", WAYS)
def test_right_way_is_within_the_bounds(way, dtype):
    """Also in float64 throughout, where reported numbers are rounded afterwards, so that L1 says nothing."""
    for seed in range(5):
        case = telling_window(seed, dtype)
        report = report_of(case, WAYS[way])
        assert_within_bounds(case, report, (check_local,))
        for each in (report, report_of(case, WAYS[way], lambda array: array.astype(np.float64))):
            for name, tolerance in allowed(seed, dtype).items():
                ratio = tolerance.check(each[name]).ratio.max()
                assert ratio <= 1, f"{name} is {ratio} times its bound"


@each_dtype
def test_flushed_subnormals_are_within_every_bound(dtype):
    judged = 0
    for seed in range(16):
        case = tiny_window(seed, dtype)
        report = report_of(case, WAYS["by scaled numbers"], lambda array: array.view(Flushes))
        if all(np.isfinite(v).all() for v in report.values()):
            judged += 1
            assert_within_bounds(case, report)
    assert judged > 8


def test_both_sides_of_the_kink_are_right_within_rounding():
    """0.1·0.3 − 0.3·0.1 + 1e-18 is positive, and float64 may well find 0."""
    case = one_unit([0.1, 0.3, 1e-18], [0.3, -0.1, 1.0], target=1.0, nonlinearity="relu")
    bounds = bounds_of(case)
    assert abs(bounds["a"].value) < bounds["a"].E
    assert bounds["dh"].value == -3
    assert 3 <= bounds["da"].E < 3.0001
    for side in (0.0, 1.0):
        report = report_of(
            case, operations(by_slope=lambda self, dh, *others, side=side: side * dh)
        )
        assert report["da"] == -3 * side
        assert worst(check_global(case, report)) <= 1


@pytest.mark.needs_torch
@each_dtype
def test_stack_of_layers_is_checked_layer_by_layer(dtype):
    """Two torch.nn.RNN, by given dy and dx. A wrong gradient of a layer is found in that layer."""
    import torch

    torch.manual_seed(0)
    kind = {"bias": False, "dtype": getattr(torch, dtype)}
    lower, upper, output = (
        torch.nn.RNN(2, 4, **kind),
        torch.nn.RNN(4, 4, **kind),
        torch.nn.Linear(4, 5, **kind),
    )
    x, target = torch.randn(6, 3, 2, dtype=kind["dtype"]), torch.randn(6, 3, 5, dtype=kind["dtype"])
    h_0 = torch.tanh(torch.randn(2, 3, 4, dtype=kind["dtype"])).requires_grad_()
    states, _ = lower(x, h_0[:1])
    states.retain_grad()
    loss = ((output(upper(states, h_0[1:])[0]) - target) ** 2).sum() / 2
    loss.backward()

    weights = [*lower.parameters(), *upper.parameters(), output.weight]
    W, dW = [p.data.numpy().T for p in weights], [p.grad.numpy().T for p in weights]
    arrays = (v.detach().numpy() for v in (x, target, h_0, h_0.grad, states, states.grad, loss))
    x, target, h_0, dh_0, states, dx, loss = arrays
    top = WindowCase(Parameters(*W[2:]), states, target, h_0[1], None, Objective(), None)
    top_report = {
        "loss": loss,
        "dW_xh": dW[2],
        "dW_hh": dW[3],
        "dW_hy": dW[4],
        "dx": dx,
        "dh_0": dh_0[1],
    }
    # The lower layer has no output: its dy is the gradient of its states, by W_hy = 1.
    params = Parameters(*W[:2], np.eye(4, dtype=dtype))
    bottom = WindowCase(params, x, dx, h_0[0], None, Objective(loss=GIVEN_DY), None)
    dW_hy = np.einsum("tbi,tbj->ij", states, dx)
    bottom_report = {"dW_xh": dW[0], "dW_hh": dW[1], "dW_hy": dW_hy, "dh_0": dh_0[0]}
    transposed = top._replace(params=top.params._replace(W_hh=W[3].T))
    half = bottom._replace(target=dx / 2)  # the gradient from above, lost in part
    for right, wrong, report in ((top, transposed, top_report), (bottom, half, bottom_report)):
        assert worst(check_global(right, report)) <= 1 < worst(check_global(wrong, report))


def bounds_of(case, tau=TanhError(), own=2.0**-53):  # noqa: B008
    return window_update(case, Bounds(case.params.W_hh.dtype, tau, own=own))


# -- L2 --------------------------------------------------------------------------------------------------------------


def test_formulas_on_one_number():
    """The docstrings of bounds.py have the numbers; 23 = 2τ + 3. In float32, whose roundings hide those of float64."""
    case = one_unit(0.75, 1.0, h_0=-0.25, target=2.0, reduction="mean", dtype="float32")
    b_h, b_y = np.array([0.0625], np.float32), np.array([-0.25], np.float32)
    case = case._replace(params=case.params._replace(b_h=b_h, b_y=b_y))
    E = {name: near.E.item() for name, near in bounds_of(case, TanhError(10), own=0.0).items()}
    gamma, u = Rounding("float32").gamma, Rounding("float32").u
    a, h, e = 0.6875, np.tanh(0.6875), 2.25 - 3 * np.tanh(0.6875)
    D = 1 - h * h
    expected = {"a": gamma(3) * (0.75 + 0.125 + 0.0625)}
    expected["h"] = expected["a"] / np.cosh(a - expected["a"]) ** 2 + 10 * u * h
    expected["y"] = 3 * expected["h"] + gamma(2) * (3 * h + 0.25)
    E_e = expected["y"]
    expected["dy"] = E_e + gamma(3) * e
    expected["loss"] = e * (E_e + u * e) + gamma(1) * e * e / 2 + gamma(2) * e * e / 2
    expected["dh"] = 3 * expected["dy"] + gamma(1) * 3 * e
    E_D = 2 * h * expected["h"] + expected["h"] ** 2 + gamma(2) * (h + expected["h"])
    E_D += gamma(3) * (D + E_D)
    E_D = max(E_D, (2 * expected["a"] + gamma(23)) / np.cosh(a - expected["a"]) ** 2)
    expected["da"] = expected["dh"] * D + 3 * e * E_D + gamma(1) * 3 * e * D
    expected["dW_xh"] = 0.75 * (expected["da"] + gamma(1) * 3 * e * D)
    expected["dW_hh"] = 0.25 * (expected["da"] + gamma(1) * 3 * e * D)
    expected["dW_hy"] = h * expected["dy"] + e * expected["h"] + gamma(1) * h * e
    expected["dh_0"] = 0.5 * expected["da"] + gamma(1) * 0.5 * 3 * e * D
    expected["dx"] = expected["da"] + gamma(1) * 3 * e * D
    expected |= {"db_h": expected["da"], "db_y": expected["dy"]}
    da = -3 * e * D
    gradients = {"W_xh": 0.75 * da, "W_hh": -0.25 * da, "W_hy": h * -e, "b_h": da, "b_y": -e}
    for (name, d), theta in zip(gradients.items(), (1, 0.5, 3, 0.0625, -0.25)):
        step = 0.25 * expected["d" + name] + u * 0.25 * abs(d)
        expected[name] = step + u * abs(theta - 0.25 * d)
    assert E.keys() == expected.keys()
    for name, number in expected.items():  # but for products of two errors
        assert number <= E[name] * (1 + 1e-12)
        assert E[name] <= number * (1 + 1e-5), name


# It requires every tensor.
STEP = Step(0.2, 0.9, 0.25, False, 0.1, max_norm=1.0)
CASE = window(7, T=3, K=2, B=2, D=4, H=3, O=5, bias=True, objective=Objective(), step=STEP, learned=True,
              velocity=True, class_inputs=False, classes=False, logits=1.0)  # fmt: skip
BOUNDS = bounds_of(CASE)
REPORT = window_update(CASE)


def globally(report):
    return check_global(CASE, report)


@pytest.mark.parametrize("name", BOUNDS)
def test_wrong_tensor_is_found_there(name):
    """Its last element is off by 100 bounds, NaN or infinite; it has another shape, or is missing although required."""
    value, E = BOUNDS[name].value, BOUNDS[name].E
    last = tuple(size - 1 for size in E.shape)

    def spoiled(number):
        wrong = np.array(REPORT[name])
        wrong[last] = number
        return REPORT | {name: wrong}

    def found_in(report):
        checked = globally(report)
        assert sum((~(ratio <= 1)).sum() for ratio in checked.values()) == 1
        return checked[name][last]

    assert 99 < found_in(spoiled(value[last] + 100 * E[last])) < 101
    assert found_in(spoiled(np.nan)) == found_in(spoiled(np.inf)) == np.inf
    assert (globally(REPORT | {name: REPORT[name][None]})[name] == np.inf).all()
    missing = {other: array for other, array in REPORT.items() if other != name}
    if name in required_outputs(CASE, intermediates=False):
        assert (globally(missing)[name] == np.full(E.shape, np.inf)).all()
    else:
        assert name not in globally(missing)


def test_exact_zero_has_no_error():
    """A pre-activation, so that relu'(0) = 1 is found; and dy in a step without a loss."""
    case = one_unit(0.0, 1.0, target=1.0, nonlinearity="relu")
    bounds = bounds_of(case)
    assert all((bounds[name].E == 0).all() for name in ("a", "h", "da", "dW_xh"))
    wrong = report_of(case, operations(by_slope=lambda self, dh, a, h, nonlinearity: dh * (h >= 0)))
    assert check_global(case, report_of(case))["da"].max() == 0
    assert check_global(case, wrong)["da"].max() == np.inf
    assert (globally(REPORT)["dy"][0] == 0).all()
    assert (globally(REPORT | {"dy": REPORT["dy"] + 1e-300})["dy"][0] == np.inf).all()


# -- L1 --------------------------------------------------------------------------------------------------------------


def test_ratios_of_nothing():
    difference, allowed = (
        np.array([0.0, 1.0, np.nan, 2.0, 1.0]),
        np.array([0.0, 0.0, 1.0, 4.0, 5e-324]),
    )
    assert ratios(difference, allowed).tolist() == [0.0, np.inf, np.inf, 0.5, np.inf]


@pytest.mark.parametrize(
    "name", ["zeros for h_0", "2e for e", "dh_next dropped", "h_t for h_{t-1} in dW_hh"]
)
def test_inherited_error_does_not_count_again(name):
    mutant = named(name)
    wrong = [
        t
        for t, ratio in check_local(CASE, window_update(CASE, of=mutant.definition)).items()
        if ratio.max() > 1
    ]
    assert EQUATIONS[wrong[0]] == EQUATIONS[mutant.stage]
    assert {EQUATIONS[tensor] for tensor in wrong} <= {
        EQUATIONS[mutant.stage],
        "B5",
    }  # dW_hh takes the same h_0


def test_parameter_without_a_velocity_takes_its_first_step():
    case = CASE._replace(velocity=CASE.velocity._replace(h_0=None))
    report = validated_report(RIGHT, case, 10, "case")
    assert worst(check_local(case, report)) <= 1
    assert worst(check_global(case, report)) <= 1


def test_bound_that_overflows_accuses_nobody():
    """A window of 60 steps with 32 units, whose worst-case bound is NaN: right gradients are not called wrong."""
    allowed = np.array([np.nan, np.inf, 1.0, np.nan])
    assert ratios(np.array([1.0, 1.0, 2.0, np.nan]), allowed).tolist() == [0, 0, 2, np.inf]
    recipe = Recipe(60, 1, 8, 32, 8, 60, "float64", step=None)
    case = recipe.case()
    W_hh = np.random.default_rng(0).normal(size=(32, 32)) / np.sqrt(32)
    case = case._replace(params=case.params._replace(W_hh=W_hh))
    report = {
        n: v
        for n, v in window_update(case).items()
        if n == "loss" or (n[0] == "d" and n[1] in "Wb")
    }
    with np.errstate(all="ignore"):
        assert all((ratio <= 1).all() for ratio in check_global(case, report).values())
