"""Initial parameters, and their conversions from and to NumPy and torch's layers, are
right to the bit.

A state dict of torch has a weight's transpose, and two biases of the hidden units,
whose sum is b_h.
"""

from functools import partial
from itertools import product

import numpy as np
import pytest

import numpy_rnn
from numpy_rnn import InputError, Parameters
from numpy_rnn.common.records import DTYPES
from numpy_rnn.common.trees import tree_map
from tests.helpers.comparing import arrays_in, bits, in_numpy, share_memory
from tests.helpers.random_runs import Kind, Sizes, random_run

KINDS = pytest.mark.parametrize(("bias", "dtype"), list(product((True, False), DTYPES)))
KEYS = [
    "rnn.weight_ih_l0",
    "rnn.weight_hh_l0",
    "rnn.bias_ih_l0",
    "rnn.bias_hh_l0",
    "linear.weight",
    "linear.bias",
]


def drawn(D=2, H=3, O=4, N=None, **kind):
    """Return parameters of random numbers, in NumPy."""
    return random_run(Sizes(1, 1, D, H, O, N), Kind(**kind)).params


@pytest.mark.parametrize("dtype", DTYPES)
def test_conversions_change_no_bit(rnn, dtype):
    """The values are arrays, also a transposed one, a number, None and tuples."""
    transposed = np.arange(12, dtype=dtype).reshape(3, 4).T[::2]
    nested = np.array(2.0, dtype), (None, 2)
    for value in (drawn(dtype=dtype), transposed, nested, None, 3):
        there_and_back = rnn.to_numpy(rnn.from_numpy(value))
        assert type(there_and_back) is type(value)
        assert bits(there_and_back) == bits(value)
    shared = rnn.from_numpy(transposed, copy=False)
    assert share_memory([shared], [transposed])
    backwards = transposed[:, ::-1]  # which torch does not have
    assert bits(rnn.from_numpy(backwards, copy=False)) == bits(backwards)


def test_sizes_without_memory_are_refused_before_a_draw(rnn, monkeypatch):
    monkeypatch.setattr(np.random, "default_rng", lambda *_: pytest.fail("drawn"))
    for H, N in ((10**9, None), (6, 10**15), (10**7, 10**12)):
        with pytest.raises(MemoryError):
            rnn.initial_parameters(hidden_size=H, networks=N)


def as_stated(D, H, O, seed, dtype, bias=False):
    """Draw W_xh, W_hh and W_hy by one generator, in float64, and round them."""
    generator = np.random.Generator(np.random.PCG64(seed))
    sizes = (0.4, (D, H)), (0.4, (H, H)), (0.3, (H, O))
    weights = [deviation * generator.standard_normal(size) for deviation, size in sizes]
    biases = (np.zeros(H, dtype), np.zeros(O, dtype)) if bias else (None, None)
    return Parameters(*(w.astype(dtype) for w in weights), *biases)


@KINDS
def test_initial_parameters_are_drawn_as_stated(rnn, bias, dtype):
    """Every package has the same bits. Network n of an ensemble is what seed + n draws
    alone.
    """
    kind = {"input_size": 3, "hidden_size": 5, "output_size": 2}
    kind |= {"bias": bias, "dtype": dtype}
    single = rnn.initial_parameters(**kind, seed=100)
    assert bits(single) == bits(as_stated(3, 5, 2, 100, dtype, bias))
    ensemble = rnn.initial_parameters(**kind, seed=100, networks=4)
    networks = [as_stated(3, 5, 2, seed, dtype, bias) for seed in range(100, 104)]
    assert bits(ensemble) == bits(tree_map(lambda *thetas: np.stack(thetas), *networks))
    assert bits(rnn.initial_parameters()) == bits(as_stated(1, 6, 1, 0, "float32"))


def expected_state(params):
    """Return the arrays of a state by key; the second bias is zero."""
    W_xh, W_hh, W_hy, b_h, b_y = params
    arrays = W_xh.T, W_hh.T, b_h, tree_map(np.zeros_like, b_h), W_hy.T, b_y
    return {key: array for key, array in zip(KEYS, arrays) if array is not None}


@KINDS
@pytest.mark.parametrize("sizes", [(2, 3, 4), (1, 1, 1)], ids=str)
@pytest.mark.parametrize("prefixes", ["rnn. linear.", " head.", "a.b. a."])
def test_state_dict_there_and_back_is_exact(rnn, prefixes, sizes, bias, dtype):
    """Even the signs of zeros stay. No memory is shared, not even that of a weight
    which is its own transpose.
    """
    params = drawn(*sizes, bias=bias, dtype=dtype)
    params.W_xh.flat[0] = params.W_hh.flat[0] = params.W_hy.flat[0] = -0.0
    layer, linear = prefixes.split(" ")
    expected = {}
    for key, array in expected_state(params).items():
        renamed = key.replace("rnn.", layer).replace("linear.", linear)
        expected[renamed] = bits(array)
    ours = rnn.from_numpy(params)
    state = rnn.to_state_dict(ours, rnn=layer, linear=linear)
    assert {key: bits(array) for key, array in state.items()} == expected
    back = rnn.from_state_dict(state, rnn=layer, linear=linear)
    assert bits(back) == bits(params)
    read, written = arrays_in(back), arrays_in(state)
    for array in read + written:
        assert in_numpy(array).flags.c_contiguous
        if rnn.__name__ == "torch_rnn":
            assert array.requires_grad == any(array is theta for theta in read)
    assert not share_memory(written, arrays_in(ours) + read)


def test_two_hidden_biases_become_their_sum(rnn):
    second = np.array([0.5, 0.0, -8.0])
    state = expected_state(drawn()) | {"rnn.bias_hh_l0": second}
    b_h = rnn.to_numpy(rnn.from_state_dict(state)).b_h
    assert bits(b_h) == bits(drawn().b_h + second)


OTHER_ARRAYS: list[tuple] = [  # a key, its array, and what the message says
    ("rnn.weight_ih_l1", 0, "an unknown rnn.weight_ih_l1"),
    ("rnn.weight_ih_l0", np.zeros((3, 2), int), "rnn.weight_ih_l0 is int64"),
    ("rnn.weight_hh_l0", np.full((3, 3), np.nan), "weight_hh_l0 contains NaN"),
    ("rnn.bias_hh_l0", np.zeros(3, "f4"), "bias_hh_l0 is float32 and .* one dtype"),
    ("linear.weight", [[0.0]], "linear.weight is of type list"),
    ("linear.weight", np.zeros((4, 5)), r"linear.weight has .* expected \(O, 3\)"),
]


def test_states_of_other_networks_are_refused(rnn):
    """They have other layers, missing or unknown keys, or arrays that do not fit."""
    state = expected_state(drawn())
    unknown = "no rnn.weight_ih_l0, .* an unknown 0, 1, 2, .*, ..."
    overflowing = dict.fromkeys(["rnn.bias_ih_l0", "rnn.bias_hh_l0"], np.full(3, 1e308))
    without_bias = {key: state[key] for key in KEYS if key != "linear.bias"}
    refused = [
        ([1, 2], "the state is a list: expected a dictionary"),
        (dict.fromkeys(map(str, range(99))), unknown),
        (without_bias, "no linear.bias"),
        (state | overflowing, "b_h contains"),
    ]
    for key, array, says in OTHER_ARRAYS:
        refused.append((state | {key: array}, says))
    for key in KEYS[1:]:  # the first one tells the sizes
        refused.append((state | {key: state[key].repeat(2, axis=-1)}, key))
    for other, says in refused:
        with pytest.raises(InputError, match=rf"\A[^\n]*{says}[^\n]*\Z"):
            rnn.from_state_dict(other)


def test_prefix_that_is_no_text_is_refused(rnn):
    state = expected_state(drawn())
    with pytest.raises(InputError, match="rnn is None: expected the prefix"):
        rnn.from_state_dict(state, rnn=None)
    with pytest.raises(InputError, match="linear is 3: expected the prefix"):
        rnn.to_state_dict(rnn.from_numpy(drawn()), linear=3)


@pytest.mark.needs_torch
def test_modules_that_are_not_this_network_are_refused():
    from torch.nn import LSTM, RNN, Linear, ReLU

    from torch_rnn import from_numpy
    from torch_rnn.modules import from_modules, to_modules

    ensemble, ours = map(from_numpy, (drawn(N=2), drawn()))
    for convert, modules, says in (
        (from_modules, (LSTM(2, 3), Linear(3, 4)), "are LSTM and Linear: expected a"),
        (
            from_modules,
            (RNN(2, 3), ReLU()),
            "are RNN and ReLU: expected a torch.nn.RNN",
        ),
        (to_modules, (ensemble,), "an ensemble, and torch.nn.RNN is one network"),
        (partial(to_modules, nonlinearity="sigmoid"), (ours,), "expected tanh or relu"),
    ):
        with pytest.raises(InputError, match=says):
            convert(*modules)


@pytest.mark.needs_torch
@KINDS
@pytest.mark.parametrize("kind", [("tanh", False), ("relu", True)], ids=str)
def test_modules_have_the_parameters_and_options(kind, bias, dtype):
    """No bit changes there and back, and the random state of torch stays. No memory is
    shared. Each package reads the state of modules, whose tensors require a gradient.
    """
    import torch

    import torch_rnn
    from torch_rnn.modules import from_modules, to_modules

    params = drawn(bias=bias, dtype=dtype)
    ours = torch_rnn.from_numpy(params)
    random_state = torch.get_rng_state()
    nonlinearity, batch_first = kind
    rnn, linear = to_modules(ours, nonlinearity=nonlinearity, batch_first=batch_first)
    assert torch.equal(torch.get_rng_state(), random_state)
    assert (rnn.nonlinearity, rnn.batch_first) == kind
    modules = torch.nn.ModuleDict({"rnn": rnn, "linear": linear})
    tensors = dict(modules.named_parameters())
    constant = [name for name, theta in tensors.items() if not theta.requires_grad]
    assert constant == ["rnn.bias_hh_l0"] * bias
    read = from_modules(rnn, linear), numpy_rnn.from_state_dict(tensors)
    assert bits(read) == (bits(params), bits(params))
    assert not share_memory(tensors.values(), arrays_in((*read, ours)))
