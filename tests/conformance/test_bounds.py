"""Both levels: every right way to compute a window is within the bounds, and one wrong element of a tensor is not."""

from functools import cache

import numpy as np
import pytest
from step_port import CORRECT_STEPS, to_float64
from window_port import assert_rounded_up, one_unit, port, random_window

import numpy_rnn
from numpy_rnn import Parameters
from numpy_rnn.common.records import DTYPES, SgdOptions
from numpy_rnn.conformance.bounds.global_bounds import check_global, global_bounds, truncation_signal
from numpy_rnn.conformance.bounds.local_bounds import TAU, Bound, check_local, ratios
from numpy_rnn.conformance.bounds.rounding import Rounding
from numpy_rnn.conformance.case import Case, required_outputs
from numpy_rnn.conformance.mutants.catalogue import load, named
from numpy_rnn.conformance.mutants.score import report_on
from numpy_rnn.conformance.traces.first_divergence import EQUATIONS

of_dtypes = pytest.mark.parametrize("dtype", DTYPES)


def worst(of_tensors):
    """The largest ratio of all tensors."""
    return max(ratio.max() for ratio in of_tensors.values())


# -- right ways ------------------------------------------------------------------------------------------------------


@cache
def window(seed, dtype):
    """A random window and its bounds. In every fourth one, states of tanh are such that 1 − h² is mostly rounding."""
    case = random_window(seed, dtype, **({} if seed % 4 else {"nonlinearity": "tanh"}))
    if seed % 4 == 0:
        case = case._replace(params=case.params._replace(W_xh=5 * case.params.W_xh))
    return case, global_bounds(case)


def in_reverse(A, B):
    """AB with the terms summed from the last to the first, every one rounded."""
    total = np.zeros((len(A), B.shape[1]), A.dtype)
    for k in reversed(range(A.shape[1])):
        total = total + A[:, k, None] * B[None, k]
    return total


def in_pairs(A, B):
    """AB with the terms summed as a tree."""
    terms = [A[:, k, None] * B[None, k] for k in range(A.shape[1])]
    while len(terms) > 1:
        terms = [sum(terms[k : k + 2]) for k in range(0, len(terms), 2)]
    return terms[0]


def float64_sums(A, B):
    return (to_float64(A) @ to_float64(B)).astype(A.dtype)


CORRECT = {
    "summed in reverse": {"dot": in_reverse},
    "summed in pairs": {"dot": in_pairs},
    "with float64 sums": {"dot": float64_sums},
    "kept in float64 throughout": {"widen": to_float64},
    "mean by the reciprocal": {"divide": lambda v, n, one: v * (one / n)},
    "(1 - h)(1 + h)": {"through_tanh": lambda dh, h, one, a: dh * ((one - h) * (one + h))},
    "dh - dh h h": {"through_tanh": lambda dh, h, one, a: dh - dh * h * h},
    "JAX's (dh + dh h)(1 - h)": {"through_tanh": lambda dh, h, one, a: (dh + dh * h) * (one - h)},
    "dh / cosh(a)²": {"through_tanh": lambda dh, h, one, a: dh / np.square(np.cosh(a))},
    # 14 of the 16 u that are allowed
    "a cosh at its limit": {
        "through_tanh": lambda dh, h, one, a: dh / np.square(np.cosh(a) * (one + 7 * np.finfo(one.dtype).eps))
    },
    "a tanh at its limit": {"tanh": lambda a: np.tanh(a) * a.dtype.type(1 - 14 * np.finfo(a.dtype).epsneg)},
    **CORRECT_STEPS,
}


@of_dtypes
@pytest.mark.parametrize("pieces", CORRECT.values(), ids=CORRECT)
def test_a_right_way_is_within_the_bounds(pieces, dtype):
    """At L1 only if the reported numbers are those that the computation used, and are not rounded afterwards."""
    for seed in range(12):
        case, bounds = window(seed, dtype)
        with np.errstate(over="ignore"):
            report = port(case, **pieces)
            levels = {"L2": check_global(case, report, bounds=bounds)}
            if pieces.get("widen") is not to_float64:
                levels["L1"] = check_local(case, report)
        for level, of_level in levels.items():
            for name, ratio in of_level.items():
                assert (ratio <= 1).all(), f"{level}: {name} is {ratio.max()} times its bound"


def test_nearer_to_the_kink_than_its_rounding_both_sides_are_right():
    """0.1·0.3 − 0.3·0.1 + 1e-18 is positive, and float64 may well find 0."""
    case = one_unit([0.1, 0.3, 1e-18], [0.3, -0.1, 1.0], target=1.0, nonlinearity="relu")
    bounds = global_bounds(case)
    (a, E_a), (dh, _), (da, E_da) = (bounds[name] for name in ("a", "dh", "da"))
    assert 0 < a.high < E_a
    assert da.high == dh.high == -3
    assert 3 <= E_da < 3.0001
    for side in (0.0, 1.0):
        report = port(case, through_relu=lambda dh, h, one, a, side=side: dh * side)
        assert report["da"] == -3 * side
        assert worst(check_global(case, report, bounds=bounds)) <= 1


@pytest.mark.needs_torch
@of_dtypes
def test_a_stack_is_checked_layer_by_layer(dtype):
    """torch.nn.RNN(num_layers=2), by given dy and dx. A wrong gradient of a layer is found in that layer."""
    import torch

    torch.manual_seed(0)
    T, B, D, H, O, kind = 6, 3, 2, 4, 5, getattr(torch, dtype)
    stack = torch.nn.RNN(D, H, num_layers=2, bias=False, dtype=kind)
    output = torch.nn.Linear(H, O, bias=False, dtype=kind)
    x, target = torch.randn(T, B, D, dtype=kind), torch.randn(T, B, O, dtype=kind)
    h_0 = torch.tanh(torch.randn(2, B, H, dtype=kind)).requires_grad_()

    def loss_of(above):
        return ((output(above) - target) ** 2).sum() / 2

    loss = loss_of(stack(x, h_0)[0])
    loss.backward()
    weights = (*stack.parameters(), output.weight)
    W, dW = ([array.numpy().T for array in of] for of in ([p.data for p in weights], [p.grad for p in weights]))
    dh_0 = h_0.grad.numpy()
    # The states of the lower layer, which the stack does not return, and their gradient, dx of the upper layer.
    lower, upper = (torch.nn.RNN(size, H, bias=False, dtype=kind) for size in (D, H))
    for number, layer in enumerate((lower, upper)):
        layer.load_state_dict({f"weight_{of}_l0": getattr(stack, f"weight_{of}_l{number}") for of in ("ih", "hh")})
    states, _ = lower(x, h_0[:1])
    (dx,) = torch.autograd.grad(loss_of(upper(states, h_0[1:])[0]), states)
    x, target, h_0, states, dx, loss = (v.detach().numpy() for v in (x, target, h_0, states, dx, loss))
    top = Case(Parameters(*W[2:]), states, target, h_0[1], 0.1, has_step=False)
    of_top = {"loss": loss, "dW_xh": dW[2], "dW_hh": dW[3], "dW_hy": dW[4], "dx": dx, "dh_0": dh_0[1]}
    # The lower layer has no output: its dy is the gradient of its states, by W_hy = 1.
    bottom = Case(Parameters(*W[:2], np.eye(H, dtype=dtype)), x, dx, h_0[0], 0.1, given_dy=True, has_step=False)
    dW_hy = np.einsum("tbi,tbj->ij", states, dx)
    of_bottom = {"dW_xh": dW[0], "dW_hh": dW[1], "dW_hy": dW_hy, "dh_0": dh_0[0]}
    for case, report in ((top, of_top), (bottom, of_bottom)):
        assert worst(check_global(case, report)) <= 1
    # The gradient from above, lost in part; and a transposed W_hh.
    half = bottom._replace(target=dx / 2)
    transposed = top._replace(params=top.params._replace(W_hh=W[3].T))
    for case, report in ((half, of_bottom), (transposed, of_top)):
        assert worst(check_global(case, report)) > 1


# -- L2 --------------------------------------------------------------------------------------------------------------


def test_the_formulas_on_one_number():
    """As in the docstrings of global_bounds.py; 23 = 2τ + 3."""
    case = one_unit(0.7, 1.0, h_0=-0.3, target=2.0, reduction="mean")
    case = case._replace(params=case.params._replace(b_h=np.array([0.05]), b_y=np.array([-0.25])))
    E = {name: bound.item() for name, (_, bound) in global_bounds(case, tau=10).items()}
    gamma, u = Rounding("float64").gamma, Rounding("float64").u
    a, h, e = 0.6, np.tanh(0.6), 2.25 - 3 * np.tanh(0.6)
    D = 1 - h * h
    expected = {"a": gamma(3) * (0.7 + 0.15 + 0.05)}
    expected["h"] = expected["a"] / np.cosh(a - expected["a"]) ** 2 + 10 * u * h
    expected["y"] = 3 * expected["h"] + gamma(2) * (3 * h + 0.25)
    expected["dy"] = expected["y"] + gamma(3) * e
    expected["loss"] = e * (expected["y"] + u * e) + gamma(1) * e * e / 2 + gamma(2) * e * e / 2
    expected["dh"] = 3 * expected["dy"] + gamma(1) * 3 * e
    E_D = 2 * h * expected["h"] + gamma(2) * h
    E_D += gamma(3) * (D + E_D)
    E_D = max(E_D, (2 * expected["a"] + gamma(23)) / np.cosh(a - expected["a"]) ** 2)
    expected["da"] = expected["dh"] * D + 3 * e * E_D + gamma(1) * 3 * e * D
    expected["dW_xh"] = 0.7 * (expected["da"] + gamma(1) * 3 * e * D)
    expected["dW_hh"] = 0.3 * (expected["da"] + gamma(1) * 3 * e * D)
    expected["dW_hy"] = h * expected["dy"] + e * expected["h"] + gamma(1) * h * e
    expected["dh_0"] = 0.5 * expected["da"] + gamma(1) * 0.5 * 3 * e * D
    expected["dx"] = expected["da"] + gamma(1) * 3 * e * D
    expected |= {"db_h": expected["da"], "db_y": expected["dy"]}
    da = -3 * e * D
    gradients = {"W_xh": 0.7 * da, "W_hh": -0.3 * da, "W_hy": h * -e, "b_h": da, "b_y": -e}
    for (name, d), theta in zip(gradients.items(), (1, 0.5, 3, 0.05, -0.25)):
        step = 0.25 * expected["d" + name] + u * 0.25 * abs(d)
        expected[name] = step + u * abs(theta - 0.25 * d)
    assert E.keys() == expected.keys()
    for name, number in expected.items():  # from the inputs to the new parameters, no number is rounded up ten times
        assert_rounded_up(E[name], number, times=10)


# It requires every tensor.
SGD = SgdOptions(0.9, 0.25, False, 0.1, 1.0)
CASE = random_window(7, "float64", T=3, K=2, bias=True, nonlinearity="tanh", sgd=SGD, learned=True, velocity=True)
BOUNDS = global_bounds(CASE)
RIGHT = port(CASE)


def globally(report, other=None):
    return check_global(CASE, report, other=other, bounds=BOUNDS)


@pytest.mark.parametrize("name", BOUNDS)
def test_what_is_wrong_with_one_tensor_is_found_there(name):
    """Its last element is off by 100 bounds, NaN or infinite; it has another shape, or is missing although required.

    Two reports may both be off, so that twice as much is allowed.
    """
    value, E = BOUNDS[name]
    last = tuple(size - 1 for size in E.shape)

    def spoiled(number):
        wrong = np.array(RIGHT[name])
        wrong[last] = number
        return RIGHT | {name: wrong}

    def found_in(report, other=None):
        of_tensors = globally(report, other)
        assert sum((~(ratio <= 1)).sum() for ratio in of_tensors.values()) == 1
        return of_tensors[name][last]

    report = spoiled(value.high[last] + 100 * E[last])
    assert 99 < found_in(report) < 101
    assert 99 < 2 * found_in(report, RIGHT) < 101
    for report in (spoiled(np.nan), spoiled(np.inf)):
        assert {found_in(*reports) for reports in ((report,), (report, RIGHT), (RIGHT, report), (report, report))} == {
            np.inf
        }
    assert (globally(RIGHT | {name: RIGHT[name][None]})[name] == np.inf).all()
    missing = {other: array for other, array in RIGHT.items() if other != name}
    for found in (globally(missing), globally(RIGHT, missing)):
        if name in required_outputs(CASE, intermediates=False):
            assert (found[name] == np.full(E.shape, np.inf)).all()
        else:
            assert name not in found


def test_what_is_exactly_zero_has_no_error():
    """A pre-activation, so that relu'(0) = 1 is found; and dy in a step without a loss."""
    case = one_unit(0.0, 1.0, target=1.0, nonlinearity="relu")
    bounds = global_bounds(case)
    assert all((bounds[name][1] == 0).all() for name in ("a", "h", "da", "dW_xh"))
    faulty = port(case, through_relu=lambda dh, h, one, a: dh * (h >= 0))
    assert check_global(case, port(case), bounds=bounds)["da"].max() == 0
    assert check_global(case, faulty, bounds=bounds)["da"].max() == np.inf
    assert (globally(RIGHT)["dy"][0] == 0).all()
    assert (globally(RIGHT | {"dy": RIGHT["dy"] + 1e-300})["dy"][0] == np.inf).all()


@of_dtypes
def test_truncation_signal(dtype):
    """It is what a port that drops the recurrent term shows in dW_hh, by a tenth of the bound's excess.

    There is none in a window of one step, and hardly one where all states are saturated.
    """
    case = random_window(3, dtype, T=4, K=3, nonlinearity="tanh")
    excess = check_global(case, port(case, W_hh_back=np.zeros_like))["dW_hh"].max()
    assert abs(10 * truncation_signal(case) - excess) <= 1  # the port's own rounding: one bound at most
    assert truncation_signal(case, global_bounds(case)) == truncation_signal(case) > 1
    assert truncation_signal(random_window(3, T=1)) == 0
    assert truncation_signal(case._replace(x=1000 * case.x)) < 1


# -- L1 --------------------------------------------------------------------------------------------------------------


def test_ratios_of_nothing():
    difference, allowed = np.array([0.0, 1.0, np.nan, 2.0, 1.0]), np.array([0.0, 0.0, 1.0, 4.0, 5e-324])
    assert ratios(difference, allowed).tolist() == [0.0, np.inf, np.inf, 0.5, np.inf]


@pytest.mark.parametrize(
    "name",
    ["float32 tanh inside float64", "2e for e", "dh_next dropped", "dW_hh transposed", "velocity not damped by μ"],
)
def test_an_error_that_a_stage_passes_on_does_not_count_again(name):
    mutant = named(name)
    wrong = [tensor for tensor, ratio in check_local(CASE, report_on(CASE, load(mutant))).items() if ratio.max() > 1]
    assert {EQUATIONS[tensor] for tensor in wrong} == {EQUATIONS[mutant.stage]}


@of_dtypes
def test_every_way_to_compute_the_logistic_function_is_within_its_bound(dtype):
    """With a tanh at its limit, or an exponential."""
    a, half, off = np.linspace(-30, 30, 601).astype(dtype), np.dtype(dtype).type(0.5), 1 - 14 * np.finfo(dtype).epsneg
    expected, allowed = Bound(dtype).nonlinearity("sigmoid", a.astype(np.float64), TAU)
    for h in (half + half * (np.tanh(half * a) * off), 1 / (1 + np.exp(-a)), np.exp(a) / (1 + np.exp(a))):
        assert (np.abs(h - expected) <= allowed).all()


def test_a_parameter_without_a_velocity_takes_its_first_step():
    case = CASE._replace(velocity=CASE.velocity._replace(h_0=None))
    assert worst(check_local(case, report_on(case, numpy_rnn))) <= 1
