"""Tensors that users of torch have: with graphs, under inference_mode or autocast, sparse."""

import warnings

import numpy as np
import pytest
from cases import Kind, Sizes, random_run
from comparing import bits, each
from draws import arguments
from test_refusals import refusal, valid

from numpy_rnn import InputError

pytestmark = pytest.mark.needs_torch

SERIES = "x", "target", "h_0"


def trained(rnn, given):
    """The bits of all updates, without a warning."""
    with warnings.catch_warnings(action="error"):
        return [bits(update) for update in rnn.train(**given)]


def test_nothing_flows_back_into_arguments():
    """Not into leaves, whose grad stays None, nor through a graph, which can be used afterwards."""
    import torch

    import torch_rnn as rnn

    given = arguments(rnn, random_run(0))
    expected = trained(rnn, given)
    leaves = given | {name: given[name].clone().requires_grad_() for name in SERIES}
    with_graphs = given | {name: leaves[name] * 1 for name in SERIES}
    assert trained(rnn, leaves) == expected
    assert trained(rnn, with_graphs) == expected
    assert [leaves[name].grad for name in SERIES] == [None] * 3
    torch.autograd.backward([with_graphs[name].sum() for name in SERIES])
    assert all((leaves[name].grad == 1).all() for name in SERIES)


def test_training_under_inference_mode():
    """It has a graph of its own; forward has none there, and none can be made outside."""
    import torch

    import torch_rnn as rnn

    outside = arguments(rnn, random_run(0)) | {"momentum": 0.9, "record": True}
    expected = trained(rnn, outside)
    with torch.inference_mode():
        inside = arguments(rnn, random_run(0)) | {"momentum": 0.9, "record": True}
        for given in (inside, outside):
            assert trained(rnn, given) == expected
            activations = rnn.forward(given["params"], given["x"], given["h_0"])
            with pytest.raises(InputError, match="no autograd graph"):
                rnn.bptt(given["params"], activations, given["target"])
    assert trained(rnn, inside) == expected
    for name in ("params", "x", "h_0"):
        mixed = {key: (inside if key == name else outside)[key] for key in ("params", "x", "h_0")}
        refusal(rnn, "forward", mixed, "made under torch.inference_mode")


def test_autocast_has_no_effect():
    import torch

    import torch_rnn as rnn

    given = arguments(rnn, random_run(0, Sizes(7, 4, 8, 16, 8), Kind("float32")))

    def computed():
        window = given["params"], rnn.forward(given["params"], given["x"], given["h_0"])
        functions = rnn.bptt, rnn.adjoints
        results = tuple(f(*window, given["target"]) for f in functions)
        return bits((*window, *results)), trained(rnn, given | {"record": True})

    expected = computed()
    with torch.autocast("cpu", torch.bfloat16):
        assert computed() == expected
        training = rnn.train(**given)
        product = given["x"][0] @ given["params"].W_xh
        assert next(training).loss.dtype == torch.float32
        assert product.dtype == (given["x"][0] @ given["params"].W_xh).dtype == torch.bfloat16


@pytest.mark.parametrize("kind", ["meta", "sparse", "bfloat16"])
def test_tensors_without_numbers_for_numpy_are_refused(kind):
    import torch_rnn as rnn

    def changed(tensor):
        made = {"meta": tensor.to("meta"), "sparse": tensor.detach().to_sparse()}
        return made.get(kind, tensor.bfloat16())

    for name, argument in (("forward", "x"), ("train", "target"), ("to_numpy", "value")):
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
    address = forwards.__array_interface__["data"][0]
    assert rnn.from_numpy(forwards, copy=False).data_ptr() == address


def test_activations_without_a_graph_or_of_equal_parameters():
    import torch

    import torch_rnn as rnn

    given = valid(rnn)["bptt"]
    with torch.no_grad():
        bare = rnn.forward(**valid(rnn)["forward"])
    equal = rnn.from_numpy(rnn.to_numpy(given["params"]))
    plain = each(lambda theta: theta.detach(), given["params"])
    refusal(rnn, "bptt", given | {"activations": bare}, "no autograd graph")
    refusal(rnn, "adjoints", given | {"activations": bare}, "no autograd graph")
    refusal(rnn, "bptt", given | {"params": equal}, "not of these parameters")
    refusal(rnn, "bptt", given | {"params": plain}, "which require a gradient")
