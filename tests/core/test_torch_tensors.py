"""torch_rnn takes tensors with and without graphs, and refuses those of others."""

import pytest

from numpy_rnn import InputError
from numpy_rnn.common.trees import tree_map
from tests.helpers.calls import refusal, valid_calls
from tests.helpers.comparing import UPDATE, arrays_in, bits
from tests.helpers.random_runs import arguments, made_run

pytestmark = pytest.mark.needs_torch
torch, rnn = map(pytest.importorskip, ("torch", "torch_rnn"))

SERIES_NAMES = "x", "target", "h_0"
REST = [name for name in UPDATE if name != "parameters"]
STEP_KEYWORDS = {"momentum": 0.9, "weight_decay": 0.01, "max_norm": 0.5}


def trained_tensors(keywords):
    """Return the bits of all updates."""
    return [bits(update) for update in rnn.train(**keywords)]


@pytest.mark.parametrize("record", [True, False])
@pytest.mark.parametrize("grad", [True, False], ids=["grad", "no_grad"])
def test_updates_hold_no_graph(grad, record):
    """They hold none with and without no_grad, and no tensor keeps a gradient."""
    keywords = arguments(rnn, made_run()) | STEP_KEYWORDS | {"record": record}
    with torch.set_grad_enabled(grad):
        updates = list(rnn.train(**keywords))
    for update in updates:
        rest = arrays_in([getattr(update, name) for name in REST])
        assert not any(getattr(tensor, "requires_grad", False) for tensor in rest)
        assert all(theta.is_leaf and theta.requires_grad for theta in update.parameters)
    assert all(theta.grad is None for theta in keywords["params"])


def test_autocast_has_no_effect():
    keywords = arguments(rnn, made_run(B=4, D=8, H=16, O=8, dtype="float32"))
    expected = trained_tensors(keywords)
    with torch.autocast("cpu", torch.bfloat16):
        assert trained_tensors(keywords) == expected
        product = keywords["x"][0] @ keywords["params"].W_xh
        assert product.dtype == torch.bfloat16


def test_tensors_with_and_without_graphs():
    """They train the same. Nothing flows back into leaves, whose grad stays None, nor
    through a graph, which can be used afterwards.
    """
    keywords = arguments(rnn, made_run())
    params = keywords["params"]
    expected = trained_tensors(keywords)
    plain = tree_map(lambda theta: theta.detach().clone(), params)
    leaves = {name: keywords[name].clone().requires_grad_() for name in SERIES_NAMES}
    with_graphs = {name: leaf * 1 for name, leaf in leaves.items()}
    for changed in ({"params": plain}, leaves, with_graphs):
        assert trained_tensors(keywords | changed) == expected
    torch.autograd.backward([tensor.sum() for tensor in with_graphs.values()])
    assert all((leaf.grad == 1).all() for leaf in leaves.values())
    assert not any(theta.requires_grad for theta in plain)


def test_activations_of_other_parameters_are_refused():
    """The parameters are equal ones or without a gradient, or activations have no graph
    or are copies.
    """
    keywords = valid_calls(rnn)["bptt"]
    params, activations = keywords["params"], keywords["activations"]
    equal = rnn.from_numpy(rnn.to_numpy(params))
    plain = tree_map(torch.Tensor.detach, equal)
    with torch.no_grad():
        bare = rnn.forward(**valid_calls(rnn)["forward"])
    copied = activations._replace(h=1 * activations.h)
    for name, changed in (
        ("bptt", {"activations": bare}),
        ("adjoints", {"activations": bare}),
        ("bptt", {"params": equal}),
        ("adjoints", {"activations": copied}),
        ("bptt", {"params": plain}),
    ):
        refusal(rnn, name, keywords | changed, "begins with these parameters")


def test_training_without_autograd_is_refused():
    updates = rnn.train(**valid_calls(rnn)["train"])
    message = r"outside of .* and inference_mode\(\)"
    with torch.inference_mode(), pytest.raises(InputError, match=message):
        next(updates)


def test_half_precision_has_no_numpy_array():
    refusal(rnn, "to_numpy", {"value": torch.ones(1).half()}, "float16: expected")
    bfloat16 = {"value": torch.ones(1).bfloat16()}
    refusal(rnn, "to_numpy", bfloat16, "BFloat16: expected float32 or float64")
    rate = {"learning_rate": torch.tensor(0.1).bfloat16()}
    expected = "BFloat16: expected float32 or float64"
    refusal(rnn, "sgd", valid_calls(rnn)["sgd"] | rate, expected)
