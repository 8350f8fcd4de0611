"""Tensors that users of torch have: with gradients and graphs, made under inference_mode, sparse or without numbers."""

import warnings

import numpy as np
import pytest
from cases import Kind, Sizes, arguments, random_run
from comparing import bits, each
from test_refusals import refusal, valid

from numpy_rnn import InputError

pytestmark = pytest.mark.needs_torch


def trained(rnn, given):
    """The bits of all updates of a series, and of one epoch as a stream; without a warning."""
    series = [given[name] for name in ("x", "target", "weights")]
    options = {
        name: value
        for name, value in given.items()
        if name not in ("x", "target", "weights", "epochs")
    }
    with warnings.catch_warnings(action="error"):
        updates = [*rnn.train(**given), *rnn.train_stream(**options, steps=zip(*series))]
    return [bits(rnn.to_numpy((update.loss, update.parameters))) for update in updates]


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_nothing_flows_back_into_arguments(reduction):
    """Not into leaves, whose grad stays None, nor through a graph, which can be used afterwards."""
    import torch

    import torch_rnn as rnn

    given = arguments(rnn, random_run(0, kind=Kind(weighted=True))) | {"reduction": reduction}
    expected = trained(rnn, given)
    names = "x", "target", "weights", "h_0"
    leaves = given | {name: given[name].clone().requires_grad_() for name in names}
    with_graphs = given | {name: leaves[name] * 1 for name in names}
    assert trained(rnn, leaves) == expected
    assert trained(rnn, with_graphs) == expected
    assert [leaves[name].grad for name in names] == [None] * 4
    torch.autograd.backward([with_graphs[name].sum() for name in names])
    assert all((leaves[name].grad == 1).all() for name in names)


def test_weights_are_constants_of_a_loss():
    import torch

    import torch_rnn as rnn

    y, target, weights = (
        torch.rand(*shape, requires_grad=True) for shape in ((4, 2, 3), (4, 2, 3), (4, 2))
    )
    with warnings.catch_warnings(action="error"):
        rnn.half_squared_error(y, target, weights=weights, reduction="mean").backward()
    assert weights.grad is None
    assert bits(rnn.to_numpy(y.grad)) == bits(rnn.to_numpy(-target.grad))


def test_training_under_inference_mode():
    """It has a graph of its own; forward has none there, and none can be made of its tensors outside."""
    import torch

    import torch_rnn as rnn

    run = random_run(0, kind=Kind(weighted=True))
    outside = arguments(rnn, run)
    expected = trained(rnn, outside)
    with torch.inference_mode():
        inside = arguments(rnn, run)
        for given in (inside, outside):
            assert trained(rnn, given) == expected
            activations = rnn.forward(given["params"], given["x"], given["h_0"])
            with pytest.raises(InputError, match="no autograd graph"):
                rnn.bptt(given["params"], activations, given["target"])
    assert trained(rnn, inside) == expected
    for name in ("params", "x", "h_0"):
        mixed = {key: (inside if key == name else outside)[key] for key in ("params", "x", "h_0")}
        refusal(rnn, "forward", mixed, "made under torch.inference_mode")


@pytest.mark.parametrize("kind", ["meta", "sparse", "bfloat16"])
def test_tensors_without_numbers_for_numpy_are_refused(kind):
    import torch

    import torch_rnn as rnn

    def changed(tensor):
        make = {
            "meta": lambda v: v.to("meta"),
            "sparse": torch.Tensor.to_sparse,
            "bfloat16": torch.Tensor.bfloat16,
        }
        return make[kind](tensor.detach())

    for name, argument in (
        ("forward", "x"),
        ("train", "target"),
        ("train", "weights"),
        ("to_numpy", "value"),
    ):
        given = valid(rnn)[name]
        refusal(rnn, name, given | {argument: changed(given[argument])}, kind)
    given = valid(rnn)["bptt"]
    refusal(rnn, "bptt", given | {"params": each(changed, given["params"])}, "W_xh is torch.")


def test_reversed_memory_is_copied():
    import torch_rnn as rnn

    run = random_run(0, Sizes())
    for array in (run.x[::-1], run.x[:, :, ::-1]):
        assert bits(rnn.to_numpy(rnn.from_numpy(array, copy=False))) == bits(array)
    forwards = np.ascontiguousarray(run.x)
    assert (
        rnn.from_numpy(forwards, copy=False).data_ptr() == forwards.__array_interface__["data"][0]
    )


def test_gradient_of_a_learned_state_is_that_of_the_windows_own():
    """forward may have been called with an equal tensor: the initial state of the window is taken to be params.h_0."""
    import torch_rnn as rnn

    run = random_run(0, kind=Kind(learned=True))
    params, x, target = (rnn.from_numpy(value) for value in (run.params, run.x, run.target))
    found = [
        rnn.bptt(params, rnn.forward(params, x, h_0), target).h_0
        for h_0 in (params.h_0, params.h_0.detach().clone())
    ]
    assert bits(rnn.to_numpy(found[0])) == bits(rnn.to_numpy(found[1]))
    assert found[0].abs().min() > 0
