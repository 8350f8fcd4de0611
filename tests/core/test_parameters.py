"""Parameters: the initial weights, into and out of a backend, and as the layers of torch and back, to the bit."""

import tracemalloc
from itertools import product

import numpy as np
import pytest
from cases import random_case
from comparing import arrays_in, assert_within, bits, each, in_numpy
from refusal_calls import refused
from witness import allowed, reference_update, values

import numpy_rnn
from numpy_rnn import Parameters

DTYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])
KINDS = pytest.mark.parametrize(("bias", "dtype"), list(product((True, False), ("float32", "float64"))))


def drawn(D=2, H=3, O=4, bias=True, dtype="float64", **options):
    """Parameters, in NumPy."""
    return random_case(0, 1, 1, D, H, O, bias=bias, dtype=dtype, **options).params


def overwrite(value, number):
    """Change every array of a backend in place."""
    for array in arrays_in(value):
        in_numpy(array)[...] = number


@pytest.mark.parametrize("way", ["from_numpy", "to_numpy"])
def test_no_memory_is_shared_on_the_way_in_or_out(rnn, way):
    params = drawn(learned=True)
    source, convert = (params, rnn.from_numpy) if way == "from_numpy" else (rnn.from_numpy(params), rnn.to_numpy)
    for value in (source, source.W_hh):
        before = bits(value)
        overwrite(convert(value), 7.0)
        assert bits(value) == before
        made = convert(value)
        overwrite(value, 8.0)
        assert bits(made) == before


@DTYPES
def test_the_way_in_and_out_changes_no_bit(rnn, dtype):
    """For every kind of value that goes that way: an array, also a transposed one, a number, None, and tuples."""
    case = random_case(0, 4, 2, 3, 5, 1, dtype=dtype, learned=True)
    options = {"k1": 2, "k2": 4, "learning_rate": 0.1, "epochs": 1, "momentum": 0.9}
    run = numpy_rnn.train(*case.for_train(numpy_rnn), **options, record=True)
    update = next(run)
    update = update._replace(loss=np.array(update.loss))
    kinds = [*update, update, run.state(), update.parameters._replace(h_0=None), None, 3, np.array(2.0, dtype)]
    for value in (*kinds, np.arange(12, dtype=dtype).reshape(3, 4).T[::2]):
        there_and_back = rnn.to_numpy(rnn.from_numpy(value))
        assert type(there_and_back) is type(value)
        assert bits(there_and_back) == bits(value)
    plain = rnn.to_numpy(rnn.from_numpy((update.loss, (update.loss, None, 2, 0.5))))
    assert bits(plain[0]) == bits(plain[1][0]) == bits(update.loss)
    assert plain[1][1:] == (None, 2, 0.5)


@pytest.mark.needs_torch
def test_torch_parameters_require_a_gradient_and_data_do_not():
    import torch_rnn

    params = torch_rnn.from_numpy(drawn(learned=True))
    assert all(theta.requires_grad and theta.is_leaf for theta in params)
    assert not torch_rnn.from_numpy(np.zeros(3)).requires_grad
    assert all(theta.requires_grad for theta in torch_rnn.initial_parameters()[:3])


def drawn_as_stated(D, H, O, seed, dtype):
    """W_xh, then W_hh, then W_hy, by one generator, in float64 and then rounded."""
    generator = np.random.Generator(np.random.PCG64(seed))
    W_xh = 0.4 * generator.standard_normal(D * H).reshape(D, H)
    W_hh = 0.4 * generator.standard_normal(H * H).reshape(H, H)
    W_hy = 0.3 * generator.standard_normal(H * O).reshape(H, O)
    return W_xh.astype(dtype), W_hh.astype(dtype), W_hy.astype(dtype)


@pytest.mark.no_perturb
@KINDS
def test_initial_parameters_are_drawn_as_stated(rnn, bias, dtype):
    """The same bits in every backend, since each has the bits of this. By default those of the default experiment.
    Network n of an ensemble is what seed + n draws alone.
    """

    def stated(seed):
        biases = (np.zeros(5, dtype), np.zeros(2, dtype)) if bias else (None, None)
        return Parameters(*drawn_as_stated(3, 5, 2, seed, dtype), *biases)

    for seed in (0, 12345):
        assert bits(rnn.initial_parameters(3, 5, 2, bias=bias, dtype=dtype, seed=seed)) == bits(stated(seed))
    ensemble = rnn.initial_parameters(3, 5, 2, bias=bias, dtype=dtype, seed=100, networks=4)
    assert bits(ensemble) == bits(each(lambda *networks: np.stack(networks), *map(stated, range(100, 104))))
    assert bits(rnn.initial_parameters()) == bits(Parameters(*drawn_as_stated(1, 6, 1, 0, "float32")))


@pytest.mark.no_perturb  # which takes memory itself
@DTYPES
def test_large_weights_are_drawn_as_stated_too_and_take_little_more_than_their_own_memory(dtype):
    """Drawn in several parts, each network of an ensemble in its place. NumPy's memory alone is looked at."""
    size = {"hidden_size": 600, "dtype": dtype, "networks": 3}
    tracemalloc.start()
    params = numpy_rnn.initial_parameters(**size)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    own = sum(theta.nbytes for theta in params[:3])
    assert most < own + own / 3 + 2**20  # a network more, and the numbers of a part
    for n in range(3):
        assert bits(tuple(theta[n] for theta in params[:3])) == bits(drawn_as_stated(1, 600, 1, n, dtype))


# -- the layers of torch ------------------------------------------------------------------------------------------

KEYS = ["rnn.weight_ih_l0", "rnn.weight_hh_l0", "rnn.bias_ih_l0", "rnn.bias_hh_l0", "linear.weight", "linear.bias"]
STATE = numpy_rnn.to_state_dict(drawn())


@KINDS
@pytest.mark.parametrize("sizes", [(2, 3, 4), (1, 1, 1)], ids=str)
def test_there_and_back_is_exact(rnn, sizes, bias, dtype):
    """Also the sign of zeros, which a sum with the zeros of the second bias would lose. All is laid out in order, so
    that a run from weights that were read is to the bit one from those that were written. No memory is shared, also
    where weights are their own transposes.
    """
    params = drawn(*sizes, bias=bias, dtype=dtype)
    for theta in params[: 5 if bias else 3]:
        theta.flat[0] = -0.0
    ours = rnn.from_numpy(params)
    second = np.zeros(sizes[1], dtype) if bias else None
    values = params.W_xh.T, params.W_hh.T, params.b_h, second, params.W_hy.T, params.b_y
    expected = [(*key.split("."), bits(value)) for key, value in zip(KEYS, values) if value is not None]
    for prefixes in ({}, {"rnn": "", "linear": "head."}, {"rnn": "", "linear": ""}, {"rnn": "a.b.", "linear": "a."}):
        written = rnn.to_state_dict(ours, **prefixes)
        found = [(key, bits(array)) for key, array in written.items()]
        assert found == [(prefixes.get(layer, f"{layer}.") + name, value) for layer, name, value in expected]
        back = rnn.from_state_dict(written, **prefixes)
        assert type(back) is Parameters
        assert bits(back) == bits(params)
        of_state, of_params = tuple(written.values()), tuple(theta for theta in back if theta is not None)
        assert all(type(array) is type(ours.W_hh) for array in (*of_state, *of_params))
        assert not any(getattr(array, "requires_grad", False) for array in of_state)
        assert all(getattr(theta, "requires_grad", True) for theta in of_params)
        for made, source in ((of_params, of_state), (of_state, ours)):
            before = bits(source)
            for array in made:
                assert in_numpy(array).flags.c_contiguous
                in_numpy(array)[...] = 7.0
            assert bits(source) == before


def test_two_hidden_biases_become_their_sum(rnn):
    given = STATE | {"rnn.bias_hh_l0": np.array([0.5, 0.0, -8.0])}
    b_h = rnn.to_numpy(rnn.from_state_dict(given)).b_h
    assert bits(b_h) == bits(given["rnn.bias_ih_l0"] + [0.5, 0.0, -8.0])


@pytest.mark.needs_torch
@KINDS
def test_a_module_loads_the_state_and_either_package_reads_it(rnn, bias, dtype):
    """Tensors that require a gradient, as of named_parameters, are read too. NumPy has no bfloat16."""
    import torch

    kind = {"bias": bias, "dtype": getattr(torch, dtype)}
    module = torch.nn.ModuleDict({"rnn": torch.nn.RNN(2, 3, **kind), "linear": torch.nn.Linear(3, 4, **kind)})
    params = drawn(bias=bias, dtype=dtype)
    own = rnn.to_state_dict(rnn.from_numpy(params))
    module.load_state_dict({key: torch.tensor(np.asarray(array)) for key, array in own.items()})
    plain = {key: tensor.numpy() for key, tensor in module.state_dict().items()}
    for found in (module.state_dict(), dict(module.named_parameters()), plain):
        assert bits(rnn.from_state_dict(found)) == bits(params)
    half = {"state": module.state_dict() | {"linear.weight": module.linear.weight.bfloat16()}}
    refused(rnn, "from_state_dict", half, "linear.weight is bfloat16: expected float32 or float64")


def without(*places):
    return {key: array for n, (key, array) in enumerate(STATE.items()) if n not in places}


def resized(shapes):
    return STATE | {KEYS[place]: np.zeros(shape) for place, shape in shapes.items()}


REFUSED = {  # (state, words of the message)
    "no mapping": ([1, 2], "the state is a list: expected a dictionary of arrays"),
    "nothing": ({}, "has no rnn.weight_ih_l0, rnn.weight_hh_l0, linear.weight; it has nothing"),
    "a missing weight": (without(1), "has no rnn.weight_hh_l0; it has rnn.weight_ih_l0,", "pass other prefixes as rnn"),
    "other prefixes": (numpy_rnn.to_state_dict(drawn(), rnn="a."), "has no rnn.weight_ih_l0", "it has a.weight_ih"),
    "many other names": (dict.fromkeys(map(str, range(99))), "it has 0, 1, 2, 3, 4, 5, 6, 7, ...: expected"),
    "a second layer": (STATE | {"rnn.weight_ih_l1": 0}, "weight_ih_l1, of an RNN with several layers"),
    "a second direction": (STATE | {"rnn.weight_ih_l0_reverse": 0}, "_reverse, of a bidirectional RNN"),
    "projections": (STATE | {"rnn.weight_hr_l0": 0}, "weight_hr_l0, of an RNN with projections"),
    "another part": (STATE | {"embedding.weight": 0}, "embedding.weight, which is not of this network: expected"),
    "one hidden bias": (without(3), "has rnn.bias_ih_l0 alone: expected rnn.bias_ih_l0 and rnn.bias_hh_l0"),
    "a bias in the RNN only": (without(5), "the RNN has biases and the Linear has none", "zeros under linear.bias"),
    "a bias in the Linear only": (without(2, 3), "the Linear has biases and the RNN has none", "rnn.bias_hh_l0"),
    "integers": (STATE | {KEYS[0]: np.zeros((3, 2), int)}, "rnn.weight_ih_l0 is int64: expected float32 or float64"),
    "lists": (STATE | {KEYS[4]: [[0.0]]}, "linear.weight is list: expected float32 or float64"),
    "a mask": (STATE | {KEYS[0]: np.ma.masked_array(np.ones((3, 2)))}, "rnn.weight_ih_l0 is a masked array"),
    "two dtypes": (STATE | {KEYS[3]: np.zeros(3, "f4")}, "bias_hh_l0 is float32 and rnn.weight_hh_l0 is float64"),
    "a flat weight": (resized({0: 6}), "rnn.weight_ih_l0 has shape (6,): expected (to, from)"),
    "an LSTM": (resized({0: (12, 2), 1: (12, 3), 2: 12, 3: 12}), "(12, 2): expected (3, 2), ", "gates of an LSTM"),
    "not square": (resized({1: (4, 3)}), "rnn.weight_hh_l0 has shape (4, 3): expected (3, 3), to fit the other w"),
    "weights not transposed": (resized({0: (2, 3)}), "rnn.weight_ih_l0 has shape (2, 3): expected (3, 3)"),
    "a short bias": (resized({3: 2}), "rnn.bias_hh_l0 has shape (2,): expected (3,)"),
    "a readout of others": (resized({4: (4, 5)}), "linear.weight has shape (4, 5): expected (4, 3)"),
    "NaN": (STATE | {KEYS[1]: np.full((3, 3), np.nan)}, "W_hh contains NaN or infinity"),
    "infinities that cancel": (STATE | {KEYS[2]: np.full(3, np.inf), KEYS[3]: np.full(3, -np.inf)}, "b_h contains NaN"),
}


def test_states_of_other_networks_are_refused_in_one_line(rnn):
    for state, *says in REFUSED.values():
        refused(rnn, "from_state_dict", {"state": state}, *says)


@pytest.mark.needs_torch
def test_modules_that_are_not_this_network_are_refused():
    from torch import nn

    from torch_rnn import from_numpy, modules

    for layer, readout, says in (
        (nn.LSTM(2, 3), nn.Linear(3, 4), "the module is a LSTM: expected a torch.nn.RNN"),
        (nn.RNN(2, 3), nn.ReLU(), "the module is a ReLU: expected a torch.nn.Linear"),
        (nn.RNN(2, 3, num_layers=2), nn.Linear(3, 4), "of an RNN with several layers"),
        (nn.RNN(2, 3, bias=False), nn.Linear(3, 4), "the Linear has biases and the RNN has none"),
    ):
        refused(modules, "from_modules", {"rnn": layer, "linear": readout}, says)
    params = from_numpy(drawn())
    learned = {"params": params._replace(h_0=from_numpy(np.zeros((1, 3))))}
    refused(modules, "to_modules", learned, "a learned h_0, and torch.nn.RNN has no", "h_0[None] to")
    for name in ("gelu", "sigmoid"):
        says = f"unknown nonlinearity of torch.nn.RNN '{name}': expected tanh or relu"
        assert refused(modules, "to_modules", {"params": params, "nonlinearity": name}, says).endswith(says)


@pytest.mark.needs_torch
@KINDS
def test_modules_there_and_back_are_exact(bias, dtype):
    """The random state of torch stays as it is, and no memory is shared."""
    import torch

    from torch_rnn import from_numpy
    from torch_rnn.modules import from_modules, to_modules

    for sizes in ((2, 3, 4), (1, 1, 1)):
        params = drawn(*sizes, bias=bias, dtype=dtype)
        ours, random_state = from_numpy(params), torch.get_rng_state()
        layer, readout = to_modules(ours, nonlinearity="relu", batch_first=True)
        assert torch.equal(torch.get_rng_state(), random_state)
        assert (layer.nonlinearity, layer.batch_first, layer.bias) == ("relu", True, bias)
        back = from_modules(layer, readout)
        assert bits(back) == bits(params)
        assert all(theta is None or theta.requires_grad for theta in back)
        assert [name for name, w in layer.named_parameters() if not w.requires_grad] == ["bias_hh_l0"] * bias
        assert all(w.requires_grad for w in readout.parameters())
        with torch.no_grad():
            for weight in (*layer.parameters(), *readout.parameters()):
                weight.fill_(7)
        assert bits((ours, back)) == bits((params, params))


@pytest.mark.needs_torch
@KINDS
def test_modules_compute_what_the_network_does(bias, dtype):
    """README.md of torch_rnn trains them with torch.optim."""
    import torch

    from torch_rnn import from_numpy
    from torch_rnn.modules import to_modules

    for nonlinearity, batch_first in product(("tanh", "relu"), (False, True)):
        case = random_case(1, 5, 2, 3, 4, 6, bias=bias, dtype=dtype, nonlinearity=nonlinearity)
        layer, readout = to_modules(from_numpy(case.params), nonlinearity=nonlinearity, batch_first=batch_first)
        x, h_0 = torch.tensor(case.x), torch.tensor(case.h_0)
        h, _ = layer(x.transpose(0, 1) if batch_first else x, h_0[None])
        found = tuple(in_numpy(v.transpose(0, 1) if batch_first else v) for v in (h, readout(h)))
        activations = reference_update(case).activations
        expected = activations.h[1:], activations.y
        assert_within(found, values(expected, dtype), allowed(expected))
