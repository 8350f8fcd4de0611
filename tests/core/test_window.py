"""Every function of one window and its step, in both packages, against the witness."""

import numpy as np
import pytest
from cases import OPTIONS, STEPS, Kind, Sizes, cases, random_run, window_case
from comparing import arrays_in, bits, each, in_numpy
from hypothesis import example, given
from witness import Expected, assert_right, expected_update

from numpy_rnn import Gradients, Parameters, Window, reference
from numpy_rnn.common.records import DTYPES, Objective, Step

DTYPE = pytest.mark.parametrize("dtype", DTYPES)


def of_momentum(step):
    """The keyword arguments of `direction`."""
    names = "momentum", "dampening", "nesterov", "weight_decay", "adagrad"
    return {name: getattr(step, name) for name in names}


def one_update(rnn, case) -> Expected:
    """The update by the single functions of a package, from NumPy to NumPy. They change none of their arguments."""
    *given, weights = map(
        rnn.from_numpy, (case.params, case.x, case.target, case.h_0, case.weights)
    )
    params, x, target, h_0 = given
    before = bits(tuple(given))
    activations = rnn.forward(
        params, x, params.h_0 if h_0 is None else h_0, nonlinearity=case.objective.nonlinearity
    )
    kept = bits(activations)
    function = {"squared_error": rnn.half_squared_error, "cross_entropy": rnn.cross_entropy}[
        case.objective.loss
    ]
    outputs = activations.y[-len(target) :]
    loss = function(outputs, target, reduction=case.objective.reduction, weights=weights)
    of_window = case.objective._asdict() | {"weights": weights}
    adjoints = rnn.adjoints(params, activations, target, **of_window)
    gradients = clipped = rnn.bptt(params, activations, target, **of_window)
    if case.step.max_norm is not None:
        clipped = rnn.clip_by_global_norm(gradients, case.step.max_norm)
    if case.step.max_value is not None:
        clipped = rnn.clip_by_value(gradients, case.step.max_value)
    delta, velocity = rnn.direction(
        params, clipped, rnn.from_numpy(case.velocity), **of_momentum(case.step)
    )
    updated = rnn.sgd(params, delta, case.step.learning_rate)
    assert bits(activations) == kept
    assert bits(tuple(given)) == before
    return rnn.to_numpy(Expected(activations, loss, adjoints, gradients, updated, velocity))


def whole(run, **changes):
    """A run of one network as one window."""
    return window_case(
        run._replace(**changes),
        Window(0, 0, len(run.x)),
        run.params,
        changes.get("h_0", run.h_0),
        None,
    )


MEAN = random_run(
    0, kind=Kind(weighted=True), options=OPTIONS._replace(objective=Objective(reduction="mean"))
)


@given(case=cases())
@example(whole(MEAN, weights=np.zeros_like(MEAN.weights)))
def test_every_function_is_the_witness(rnn, case):
    """And repeats itself to the bit."""
    expected, found = expected_update(case), one_update(rnn, case)
    assert_right(found, expected, case.params.W_hh.dtype)
    assert bits(one_update(rnn, case)) == bits(found)
    assert bits(found.activations.h[0]) == bits(case.params.h_0 if case.h_0 is None else case.h_0)
    assert (found.adjoints.dy[: len(case.x) - len(case.target)] == 0).all()


@pytest.mark.parametrize("nonlinearity", ["tanh", "sigmoid"])
def test_gradient_is_the_complex_step_of_the_public_forward_pass(nonlinearity):
    """One complex number among real ones, in each array in turn; the loss is half the squared error."""
    run = random_run(5, Sizes(T=4, B=2, D=2, H=3, O=2), Kind(dtype="float64", bias=True))
    params, x, target, h_0 = run.params, run.x, run.target, run.h_0
    activations = reference.forward(params, x, h_0, nonlinearity=nonlinearity)
    gradients = reference.bptt(params, activations, target, nonlinearity=nonlinearity)
    flow = reference.adjoints(params, activations, target, nonlinearity=nonlinearity)
    expected = gradients._replace(h_0=flow.dh_0)._asdict() | {"x": flow.dx}
    arrays = params._replace(h_0=h_0)._asdict() | {"x": x}
    for name, value in arrays.items():
        for place in np.ndindex(value.shape):
            moved = value.astype(complex)
            moved[place] += 1e-30j
            *theta, h, inputs = (arrays | {name: moved}).values()
            y = reference.forward(Parameters(*theta), inputs, h, nonlinearity=nonlinearity).y
            derivative = ((y - target) ** 2).sum().imag / 2e-30
            assert abs(derivative - expected[name][place]) <= 1e-12 * (1 + abs(derivative)), (
                name,
                place,
            )


def test_relu_slope_at_zero_is_zero(rnn):
    """Without biases, zero inputs and a zero state make every a_t exactly 0."""
    run = random_run(
        0, kind=Kind(bias=False), options=OPTIONS._replace(objective=Objective("relu"))
    )
    adjoints = one_update(
        rnn, whole(run, x=np.zeros_like(run.x), h_0=np.zeros_like(run.h_0))
    ).adjoints
    assert (adjoints.dh[-1] != 0).all()
    assert (adjoints.da == 0).all()


@DTYPE
def test_large_logits(rnn, dtype):
    """By hand: log p of a class that is 2·10⁴ below the largest, and of the largest; and of a row of another size."""
    y = rnn.from_numpy(np.array([[[1e4, -1e4, 0]], [[-1e4, -1e4, -1e4]]], dtype))
    for c, expected in enumerate((0, 2e4, 1e4)):
        loss = rnn.to_numpy(rnn.cross_entropy(y, rnn.from_numpy(np.array([[c], [2]])))).item()
        assert abs(loss - expected - np.log(3)) < 8 * np.finfo(dtype).eps * max(expected, 1)


# -- the step ---------------------------------------------------------------------------------------------------------


def random_step(seed, dtype="float64", E=()):
    """Parameters, and gradients of their shapes."""
    params, gradients = (
        random_run(s, Sizes(1, 1, 2, 4, 3, E), Kind(dtype, learned=True)).params for s in (seed, 99)
    )
    return params, Gradients(*gradients)


@DTYPE
@pytest.mark.parametrize("kind", [float, np.float32, np.array], ids=lambda kind: kind.__name__)
def test_learning_rate_is_rounded_first(rnn, kind, dtype):
    """From parameters of zero what is left is η dθ, so that a rate rounded after the product shows in the bits."""
    params, gradients = random_step(0, dtype)
    zeros, rate = each(np.zeros_like, params), kind(0.1)
    updated = rnn.sgd(rnn.from_numpy(zeros), rnn.from_numpy(gradients), rate)
    assert bits(updated) == bits(
        Parameters(*(0 - np.dtype(dtype).type(rate) * g for g in gradients))
    )


@pytest.mark.parametrize("options", STEPS, ids=str)
def test_step_leaves_its_arguments_and_absent_gradients(rnn, options):
    """A parameter without a gradient has no direction, stays in its place and keeps its velocity; also where one of two
    biases is absent. No memory is shared.
    """
    params, gradients = map(rnn.from_numpy, random_step(1))
    params, gradients, velocity = params._replace(b_h=None), gradients._replace(b_h=None), None
    for _ in range(3):
        before = bits((params, gradients, velocity))
        delta, after = rnn.direction(
            params, gradients, velocity, **of_momentum(Step(0.1, **options))
        )
        updated = rnn.sgd(params, delta, 0.1)
        clipped = rnn.clip_by_global_norm(gradients, 1.0), rnn.clip_by_value(gradients, 100.0)
        assert bits((params, gradients, velocity)) == before
        assert [v is None for v in delta] == [g is None for g in gradients]
        assert [bits(v) != bits(theta) for v, theta in zip(updated, params)] == [
            g is not None for g in gradients
        ]
        assert (after is None) == (not Step(0.1, **options).has_velocity)
        old = arrays_in((params, gradients))
        for new in arrays_in(
            (updated._replace(W_hy=None), clipped, after and after._replace(W_hy=None))
        ):
            assert not any(np.shares_memory(in_numpy(new), in_numpy(v)) for v in old)
        assert not any(getattr(g, "requires_grad", False) for g in arrays_in(clipped))
        velocity, gradients = after, gradients._replace(W_hy=None)
    assert velocity is None or velocity.W_hy is not None
    if velocity is not None:  # that of h_0, if it is not learned any more
        params, gradients = params._replace(h_0=None), gradients._replace(h_0=None)
        _, after = rnn.direction(params, gradients, velocity, **of_momentum(Step(0.1, **options)))
        assert bits(after.h_0) == bits(velocity.h_0)


@DTYPE
def test_clipping_special_numbers_by_value(rnn, dtype):
    """torch.nn.utils.clip_grad_value_ does the same."""
    for limit in map(np.dtype(dtype).type, (0.01, 0.3, 100.0)):
        special = np.array(
            [np.nan, np.inf, -np.inf, -0.0, 5e-324, limit, -limit, -2 * limit, 2 * limit], dtype
        )
        clipped = np.array(
            [np.nan, limit, -limit, -0.0, 5e-324, limit, -limit, -limit, limit], dtype
        )
        gradients = Gradients(None, np.ones((9, 9), dtype), None, special)
        found = rnn.to_numpy(rnn.clip_by_value(rnn.from_numpy(gradients), float(limit))).b_h
        assert bits(found) == bits(clipped)


@DTYPE
def test_norm_of_any_size_is_right(rnn, dtype):
    """The smallest numbers, whose squares are zero, and the largest whose squares are finite in float64. The norm
    is that of all gradients of a network together; clipping leaves gradients that are short enough as they are.
    """
    info = np.finfo(dtype)
    tiny, eps, least = map(float, (info.tiny, info.eps, info.smallest_subnormal))
    for size in (
        64 * least,
        tiny,
        1e-3 * tiny**0.5,
        tiny**0.5,
        1.0,
        min(float(info.max) / 16, 1e152),
    ):
        gradients = each(
            lambda g, size=size: (g / np.abs(g).max() * size).astype(dtype),
            random_step(7, E=(2, 2))[1],
        )
        for g in gradients:
            g[1], g[:, 1] = g[1] / 64, g[:, 1] / 8  # each network has a norm of its own
        result = rnn.to_numpy(rnn.clip_by_global_norm(rnn.from_numpy(gradients), 1.0))
        for n in np.ndindex(2, 2):
            alone = np.concatenate([np.float64(g[n]).ravel() for g in gradients])
            largest = np.abs(alone).max()
            factor = min(1, 1 / (largest * np.sqrt(np.square(alone / largest).sum()) + 1e-6))
            found = np.concatenate([np.float64(g[n]).ravel() for g in result])
            allowed = (
                np.abs(factor * alone) * (len(alone) + 4) * eps + np.abs(alone) * least + least
            )
            assert (np.abs(found - factor * alone) <= allowed).all()
            assert factor < 1 or (found == alone).all()


@DTYPE
def test_nonfinite_norm_leaves_nothing_finite(rnn, dtype):
    """Zero would be a run that silently stops learning. The other network of the ensemble does not notice."""
    for bad in (
        np.nan,
        np.inf,
        -np.inf,
        *([1e200] if dtype == "float64" else []),
    ):  # whose square overflows
        _, gradients = random_step(8, dtype, E=(2,))
        gradients.W_hy[1, 0, 0] = bad
        with np.errstate(over="ignore"):
            result = rnn.to_numpy(rnn.clip_by_global_norm(rnn.from_numpy(gradients), 1.0))
        assert [(np.isfinite(g[0]).all(), np.isfinite(g[1]).any()) for g in result] == [
            (True, False)
        ] * len(result)
