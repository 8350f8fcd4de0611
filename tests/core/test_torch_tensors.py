"""Tensors that users of torch have: with graphs, under inference_mode or autocast,
sparse.
"""

import numpy as np
import pytest

from numpy_rnn import InputError
from numpy_rnn.common.records import tree_map
from tests.core.test_refusals import refusal, valid
from tests.helpers.comparing import UPDATE, arrays_in, bits
from tests.helpers.random_runs import Kind, Sizes, arguments, random_run

pytestmark = pytest.mark.needs_torch
torch, rnn = map(pytest.importorskip, ("torch", "torch_rnn"))

SERIES = "x", "target", "h_0"
OPTIONS = {"momentum": 0.9, "weight_decay": 0.01, "max_norm": 0.5}


def trained(given):
    """Return the bits of all updates."""
    return [bits(update) for update in rnn.train(**given)]


def differentiated(params, x, target, h_0, **_):
    """Return the activations of one window and their derivatives."""
    activations = rnn.forward(params, x, h_0)
    window = params, activations, target
    return activations, rnn.bptt(*window), rnn.adjoints(*window)


@pytest.mark.parametrize("record", [True, False])
@pytest.mark.parametrize("grad", [True, False], ids=["grad", "no_grad"])
def test_updates_hold_no_graph(grad, record):
    """Also within no_grad. Plain tensors are parameters too. No gradient is left."""
    given = arguments(rnn, random_run()) | OPTIONS | {"record": record}
    params = given["params"]
    plain = tree_map(lambda theta: theta.detach().clone(), params)
    activations, *expected = differentiated(**given)
    window = params, activations, given["target"]
    with torch.set_grad_enabled(grad):
        updates = list(rnn.train(**given))
        assert bits((rnn.bptt(*window), rnn.adjoints(*window))) == bits(tuple(expected))
        assert trained(given | {"params": plain}) == [
            bits(update) for update in updates
        ]
    for update in updates:
        rest = [getattr(update, name) for name in UPDATE if name != "parameters"]
        assert not any(
            getattr(tensor, "requires_grad", False) for tensor in arrays_in(rest)
        )
        assert all(theta.is_leaf and theta.requires_grad for theta in update.parameters)
    assert not any(theta.requires_grad for theta in plain)
    assert all(theta.grad is None for theta in (*params, *plain))


def test_nothing_flows_back_into_series():
    """Not into leaves, whose grad stays None, nor through a graph, which can be used
    afterwards.
    """
    given = arguments(rnn, random_run())
    expected = trained(given)
    leaves = given | {name: given[name].clone().requires_grad_() for name in SERIES}
    with_graphs = given | {name: leaves[name] * 1 for name in SERIES}
    assert trained(leaves) == expected
    assert trained(with_graphs) == expected
    assert [leaves[name].grad for name in SERIES] == [None] * 3
    torch.autograd.backward([with_graphs[name].sum() for name in SERIES])
    assert all((leaves[name].grad == 1).all() for name in SERIES)


def test_training_under_inference_mode():
    """It has a graph of its own; forward has none there, and none can be
    made outside.
    """
    outside = arguments(rnn, random_run()) | OPTIONS | {"record": True}
    expected = trained(outside)
    with torch.inference_mode():
        inside = arguments(rnn, random_run()) | OPTIONS | {"record": True}
        for given in (inside, outside):
            assert trained(given) == expected
            with pytest.raises(InputError, match="no autograd graph"):
                differentiated(**given)
    assert trained(inside) == expected
    for name in ("params", "x", "h_0"):
        mixed = {
            key: (inside if key == name else outside)[key]
            for key in ("params", "x", "h_0")
        }
        refusal(rnn, "forward", mixed, "made under torch.inference_mode")


def test_autocast_has_no_effect():
    given = arguments(rnn, random_run(Sizes(7, 4, 8, 16, 8), Kind("float32"))) | {
        "record": True
    }
    expected = bits(differentiated(**given)), trained(given)
    with torch.autocast("cpu", torch.bfloat16):
        assert (bits(differentiated(**given)), trained(given)) == expected
        training = rnn.train(**given)
        product = given["x"][0] @ given["params"].W_xh
        assert next(training).loss.dtype == torch.float32
        assert (
            product.dtype
            == (given["x"][0] @ given["params"].W_xh).dtype
            == torch.bfloat16
        )


@pytest.mark.parametrize("kind", ["meta", "sparse", "bfloat16"])
def test_tensors_without_numbers_for_numpy_are_refused(kind):
    def changed(tensor):
        made = {"meta": tensor.to("meta"), "sparse": tensor.detach().to_sparse()}
        return made.get(kind, tensor.bfloat16())

    for name, argument in (
        ("forward", "x"),
        ("train", "target"),
        ("to_numpy", "value"),
    ):
        given = valid(rnn)[name]
        refusal(rnn, name, given | {argument: changed(given[argument])}, kind)
    given = valid(rnn)["bptt"]
    refusal(
        rnn,
        "bptt",
        given | {"params": tree_map(changed, given["params"])},
        "W_xh is torch.",
    )


def test_reversed_memory_is_copied():
    x = random_run().x
    for array in (x[::-1], x[:, :, ::-1]):
        assert bits(rnn.to_numpy(rnn.from_numpy(array, copy=False))) == bits(array)
    assert np.shares_memory(rnn.from_numpy(x, copy=False).numpy(), x)


def test_activations_without_a_graph_or_of_equal_parameters():
    given = valid(rnn)["bptt"]
    with torch.no_grad():
        bare = rnn.forward(**valid(rnn)["forward"])
    equal = rnn.from_numpy(rnn.to_numpy(given["params"]))
    plain = tree_map(lambda theta: theta.detach(), given["params"])
    refusal(rnn, "bptt", given | {"activations": bare}, "no autograd graph")
    refusal(rnn, "bptt", given | {"params": equal}, "not of these parameters")
    refusal(rnn, "bptt", given | {"params": plain}, "which require a gradient")


def test_errors_of_autograd_are_its_own():
    params, x = rnn.initial_parameters(), torch.ones(2, 1, 1)
    activations = rnn.forward(params, x, torch.zeros(1, 6))
    with pytest.raises(InputError, match="not of these parameters"):
        rnn.bptt(rnn.initial_parameters(), activations, x)
    with pytest.raises(InputError, match="not of these parameters"):
        rnn.adjoints(params, activations._replace(h=1 * activations.h), x)
    with torch.inference_mode():
        inside = rnn.bptt(params, activations, x)
    assert torch.equal(inside.W_hh, rnn.bptt(params, activations, x).W_hh)
    activations.y.sum().backward()
    with pytest.raises(RuntimeError, match="graph a second time"):
        rnn.bptt(params, activations, x)
