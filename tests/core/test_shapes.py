"""What does not fit is refused before anything is computed, in one line that names the value and what was expected."""

import re

import numpy as np
import pytest
from cases import random_case

from numpy_rnn import InputError

T, B, D, H, O = 4, 2, 3, 5, 6  # the example; every test changes one thing about it
E = (7,)


def example(**options):
    return random_case(0, T, B, D, H, O, dtype="float64", **options)


def refused(call, *says):
    """The message of the InputError that the call raises: one line, with all of these words."""
    with pytest.raises(InputError) as refusal:
        call()
    message = str(refusal.value)
    assert "\n" not in message
    assert re.search(r"expected|choose", message), message
    for words in says:
        assert words in message, f"{words!r} is not in {message!r}"
    return message


def forward(rnn, case, **options):
    params, x, _, h_0 = case.of(rnn)
    return rnn.forward(params, x, h_0, **options)


def before_the_gradient(rnn, case):
    """Parameters, activations and a target that perhaps does not fit them."""
    params, x, target, h_0 = case.of(rnn)
    return params, rnn.forward(params, x, h_0), target


def train(rnn, case, **options):
    return rnn.train(*case.of(rnn), **{"k1": 1, "k2": 2, "learning_rate": 0.1, "epochs": 1} | options)


BOTH = pytest.mark.parametrize("run", [forward, train], ids=["forward", "train"])

# -- inputs ---------------------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize(
    ("shape", "says"),
    [
        ((T, D), ["x has shape (4, 3)", "(T, B, D)"]),
        ((T,), ["x has shape (4,)", "(T, B, D)"]),
        ((), ["x has shape ()", "(T, B, D)"]),
        ((T, 1, B, D), ["x has shape (4, 1, 2, 3)", "(T, B, D)"]),
        ((0, B, D), ["x has shape (0, 2, 3)", "no empty axis"]),
        ((T, 0, D), ["x has shape (4, 0, 3)", "no empty axis"]),
        ((T, B, D + 1), ["x has shape (4, 2, 4)", "expected (4, 2, 3)"]),
        ((T, B, 1), ["x has shape (4, 2, 1)", "expected (4, 2, 3)"]),
        ((T, D, B), ["x has shape (4, 3, 2)", "expected (4, 3, 3)"]),
    ],
    ids=str,
)
def test_x_that_does_not_fit(rnn, run, shape, says):
    refused(lambda: run(rnn, example()._replace(x=np.ones(shape))), *says)


@BOTH
@pytest.mark.parametrize("shape", [(H,), (1, H), (B, 1), (H, B), (B, H, 1), (1, B, H), ()], ids=str)
def test_an_initial_state_that_does_not_fit(rnn, run, shape):
    """One that would broadcast is refused too: it would be another run, silently."""
    refused(lambda: run(rnn, example()._replace(h_0=np.ones(shape))), f"h_0 has shape {shape}", "expected (2, 5)")


@BOTH
@pytest.mark.parametrize("name", ["x", "h_0"])
@pytest.mark.parametrize("dtype", ["float32", "int64"])
def test_an_input_of_another_dtype(rnn, run, name, dtype):
    case = example()
    other = case._replace(**{name: getattr(case, name).astype(dtype)})
    refused(lambda: run(rnn, other), f"{name} is ", dtype, "the parameters are ", "float64", "expected one dtype")


@BOTH
def test_an_unknown_nonlinearity(rnn, run):
    refused(lambda: run(rnn, example(), nonlinearity="sigmoid"), "nonlinearity 'sigmoid'", "expected tanh or relu")


# -- target ---------------------------------------------------------------------------------------------------------


def bptt(rnn, case, **options):
    return rnn.bptt(*before_the_gradient(rnn, case), **options)


def adjoints(rnn, case, **options):
    return rnn.adjoints(*before_the_gradient(rnn, case), **options)


def loss(rnn, case, **options):
    _, activations, target = before_the_gradient(rnn, case)
    return rnn.half_squared_error(activations.y, target, **options)


GRADIENTS = pytest.mark.parametrize("run", [bptt, adjoints], ids=["bptt", "adjoints"])


@pytest.mark.parametrize("run", [bptt, adjoints, train], ids=["bptt", "adjoints", "train"])
@pytest.mark.parametrize("shape", [(T, B, O + 1), (T, B, 1), (T, 1, O), (T, O, B), (T, B), (T, 1, B, O)], ids=str)
def test_a_target_that_does_not_fit(rnn, run, shape):
    case = example()._replace(target=np.ones(shape))
    refused(lambda: run(rnn, case), f"target has shape {shape}", "expected (4, 2, 6)")


@GRADIENTS
@pytest.mark.parametrize("steps", [0, T + 1])
def test_a_target_of_more_steps_than_the_window_or_of_none(rnn, run, steps):
    case = example()._replace(target=np.ones((steps, B, O)))
    refused(lambda: run(rnn, case), f"target has {steps} steps", "x has 4", "expected between 1 and 4")


@pytest.mark.parametrize("steps", [0, 1, T - 1, T + 1])
def test_a_series_needs_a_target_for_every_step(rnn, steps):
    case = example()._replace(target=np.ones((steps, B, O)))
    refused(lambda: train(rnn, case), f"target has {steps} steps", "expected 4, one for every step of x")


@pytest.mark.parametrize("run", [bptt, adjoints, train], ids=["bptt", "adjoints", "train"])
def test_a_target_of_another_dtype(rnn, run):
    case = example()
    other = case._replace(target=case.target.astype("float32"))
    refused(lambda: run(rnn, other), "target is ", "float32", "float64", "expected one dtype")


@pytest.mark.parametrize("run", [loss, bptt, adjoints, train], ids=["loss", "bptt", "adjoints", "train"])
def test_an_unknown_reduction(rnn, run):
    refused(lambda: run(rnn, example(), reduction="average"), "reduction 'average'", "expected sum or mean")


@pytest.mark.parametrize("shape", [(1, B, O), (T, 1, O), (T, B, 1), (T + 1, B, O), (T, O, B), (B, O), ()], ids=str)
def test_a_loss_of_shapes_that_differ(rnn, shape):
    """Above all of those that would broadcast."""
    refused(lambda: loss(rnn, example()._replace(target=np.ones(shape))), f"target has shape {shape}", "(4, 2, 6)")


@pytest.mark.needs_torch
@GRADIENTS
def test_torch_activations_without_a_graph(run):
    import torch

    import torch_rnn

    params, x, target, h_0 = example().of(torch_rnn)
    with torch.no_grad():
        activations = torch_rnn.forward(params, x, h_0)
    call = {bptt: torch_rnn.bptt, adjoints: torch_rnn.adjoints}[run]
    refused(lambda: call(params, activations, target), "no autograd graph", "torch.no_grad()", "from_numpy")


@GRADIENTS
def test_activations_of_other_parameters(rnn, run):
    case = example()
    params, activations, target = before_the_gradient(rnn, case)
    call = getattr(rnn, run.__name__)
    single = rnn.from_numpy(
        type(case.params)(*(theta if theta is None else theta.astype("float32") for theta in case.params))
    )
    refused(
        lambda: call(single, activations, target), "the activations are", "float64", "float32", "run forward on these"
    )
    learned = params._replace(h_0=rnn.from_numpy(np.zeros((1, H))))
    refused(lambda: call(learned, activations, target), "the learned h_0 has shape (1, 5)", "(2, 5)")


# -- parameters -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "shape", "says"),
    [
        ("W_xh", (D, H + 1), ["W_xh has shape (3, 6)", "expected (3, 5)"]),
        ("W_xh", (H,), ["W_xh has shape (5,)", "expected 2 axes"]),
        ("W_hh", (H, H + 1), ["has shape", "expected"]),
        ("W_hh", (H + 1, H + 1), ["has shape", "expected"]),
        ("W_hh", (H,), ["W_hh has shape (5,)", "expected 2 axes"]),
        ("W_hy", (H + 1, O), ["W_hy has shape (6, 6)", "expected (5, 6)"]),
        ("W_hy", (2, H, O), ["W_hy has shape (2, 5, 6)", "expected (5, 6)"]),
        ("b_h", (H + 1,), ["b_h has shape (6,)", "expected (5,)"]),
        ("b_h", (1,), ["b_h has shape (1,)", "expected (5,)"]),
        ("b_h", (), ["b_h has shape ()", "expected 1 axes"]),
        ("b_y", (1,), ["b_y has shape (1,)", "expected (6,)"]),
        ("W_hh", (0, H, H), ["W_hh has shape (0, 5, 5)", "no empty axis"]),
    ],
    ids=str,
)
def test_parameters_that_do_not_fit_each_other(rnn, name, shape, says):
    case = example()
    other = case._replace(params=case.params._replace(**{name: np.ones(shape)}))
    refused(lambda: train(rnn, other), *says)


@pytest.mark.parametrize(("absent", "there"), [("b_h", "b_y"), ("b_y", "b_h")])
def test_one_bias_without_the_other(rnn, absent, there):
    case = example()
    other = case._replace(params=case.params._replace(**{absent: None}))
    refused(lambda: train(rnn, other), f"{there} is given without {absent}", "expected both biases or neither")


@pytest.mark.parametrize("name", ["W_xh", "W_hy", "b_h", "b_y"])
def test_parameters_of_two_dtypes(rnn, name):
    case = example()
    changed = getattr(case.params, name).astype("float32")
    other = case._replace(params=case.params._replace(**{name: changed}))
    refused(lambda: train(rnn, other), f"{name} is ", "float32", "W_hh is ", "float64", "expected one dtype")


# -- ensembles ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "shape", "says"),
    [
        ("x", (T, 6, B, D), ["x has shape (4, 6, 2, 3)", "expected (4, 2, 3) or (4, 7, 2, 3)"]),
        ("x", (T, 7, 7, B, D), ["x has shape (4, 7, 7, 2, 3)", "(T, B, D)"]),
        ("target", (T, 6, B, O), ["target has shape (4, 6, 2, 6)", "expected (4, 2, 6) or (4, 7, 2, 6)"]),
        ("h_0", (6, B, H), ["h_0 has shape (6, 2, 5)", "expected (2, 5) or (7, 2, 5)"]),
    ],
    ids=str,
)
def test_data_of_another_ensemble(rnn, name, shape, says):
    refused(lambda: train(rnn, example(E=E)._replace(**{name: np.ones(shape)})), *says)


def test_parameters_of_two_ensembles(rnn):
    case = example(E=E)
    params = case.params._replace(W_xh=np.ones((8, D, H)))
    refused(lambda: train(rnn, case._replace(params=params)), "W_xh has shape (8, 3, 5)", "expected (7, 3, 5)")
    params = case.params._replace(b_h=np.ones(H))
    refused(lambda: train(rnn, case._replace(params=params)), "b_h has shape (5,)", "expected (7, 5)")


def test_a_loss_over_another_ensemble(rnn):
    y = np.ones((T, 7, B, O))
    target = rnn.from_numpy(np.ones((T, 6, B, O)))
    refused(lambda: rnn.half_squared_error(rnn.from_numpy(y), target), "(4, 6, 2, 6)", "expected (4, 7, 2, 6)")


# -- the run --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"k1": 0}, ["k1 is 0", "expected a whole number of steps, 1 or more"]),
        ({"k2": -1}, ["k2 is -1", "expected a whole number of steps, 1 or more"]),
        ({"k1": 3, "k2": 2}, ["k2 is 2 and k1 is 3: expected k2 ≥ k1", "choose k2 ≥ 3"]),
        ({"epochs": -1}, ["epochs is -1", "expected a whole number, 0 or more"]),
        ({"learning_rate": -0.1}, ["the learning rate is -0.1", "expected finite numbers, 0 or more"]),
        ({"learning_rate": float("nan")}, ["the learning rate is nan", "expected finite numbers"]),
        ({"learning_rate": float("inf")}, ["the learning rate is inf", "expected finite numbers"]),
        ({"learning_rate": np.float32("-inf")}, ["the learning rate is -inf", "expected finite numbers"]),
    ],
    ids=str,
)
def test_options_of_a_run(rnn, options, says):
    refused(lambda: train(rnn, example(), **options), *says)


# -- both say the same ----------------------------------------------------------------------------------------------


@pytest.mark.needs_torch
@pytest.mark.parametrize(
    "change",
    [
        {"x": np.ones((T, D))},
        {"x": np.ones((T, B, 1))},
        {"h_0": np.ones((1, H))},
        {"target": np.ones((T, B, 1))},
        {"target": np.ones((1, B, O))},
        {"params": example().params._replace(b_y=None)},
        {"params": example().params._replace(W_hy=np.ones((1, 1)))},
    ],
    ids=lambda change: "-".join(change),
)
def test_both_backends_refuse_in_the_same_words(change):
    import numpy_rnn
    import torch_rnn

    case = example()._replace(**change)
    assert refused(lambda: train(numpy_rnn, case)) == refused(lambda: train(torch_rnn, case))


def test_the_example_itself_is_accepted(rnn):
    """Else a test above might see a refusal for another reason."""
    for case in (example(), example(E=E), example(bias=False), example(E=E, own=("x", "target", "h_0"))):
        for run in (forward, train, bptt, adjoints, loss):
            run(rnn, case)
        assert len(list(train(rnn, case, epochs=2))) == 2 * T
    assert len(list(train(rnn, random_case(0, T, B, D, H, O, dtype="float32")))) == T
