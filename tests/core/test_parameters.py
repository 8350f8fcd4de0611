"""Parameters: initial weights, conversions, and the layers of torch, to the bit."""

from itertools import product

import numpy as np
import pytest
from cases import Kind, Sizes, random_run
from comparing import arrays_in, bits, each, in_numpy, members
from draws import train, window_case
from witness import assert_right, expected_update

import numpy_rnn
from numpy_rnn import InputError, Parameters, Window
from numpy_rnn.common.records import DTYPES, Objective

KINDS = pytest.mark.parametrize(("bias", "dtype"), list(product((True, False), DTYPES)))


def drawn(D=2, H=3, O=4, **kind):
    """Parameters, in NumPy."""
    return random_run(0, Sizes(1, 1, D, H, O), Kind(**kind)).params


def overwrite(value, number):
    """Change every array of a package in place."""
    for array in arrays_in(value):
        in_numpy(array)[...] = number


def test_conversions_share_no_memory(rnn):
    for convert, given in ((rnn.from_numpy, drawn()), (rnn.to_numpy, rnn.from_numpy(drawn()))):
        for value in (given, given.W_hh):
            before, made = bits(value), convert(value)
            overwrite(convert(value), 7.0)
            assert bits(value) == before
            overwrite(value, 8.0)
            assert bits(made) == before


@pytest.mark.parametrize("dtype", DTYPES)
def test_conversions_change_no_bit(rnn, dtype):
    """Every kind of value is converted: an array, also a transposed one, a number, None, tuples."""
    run = train(numpy_rnn, random_run(0, kind=Kind(dtype)), momentum=0.9, record=True)
    update = members(next(run))
    kinds = [*update[4:], update, None, 3, (np.array(2.0, dtype), (None, 2))]
    for value in (*kinds, np.arange(12, dtype=dtype).reshape(3, 4).T[::2]):
        there_and_back = rnn.to_numpy(rnn.from_numpy(value))
        assert type(there_and_back) is type(value)
        assert bits(there_and_back) == bits(value)


def test_sizes_without_memory_are_refused_before_anything_is_drawn(rnn, monkeypatch):
    """Beyond what can be addressed, and beyond what can be counted."""
    monkeypatch.setattr(np.random, "default_rng", lambda *_: pytest.fail("drawn"))
    for H, N in ((10**9, None), (6, 10**15), (10**6, 10**12)):
        with pytest.raises(MemoryError):
            rnn.initial_parameters(hidden_size=H, networks=N)


def as_stated(D, H, O, seed, dtype, bias=False):
    """W_xh, then W_hh, then W_hy, by one generator, in float64 and then rounded."""
    generator = np.random.Generator(np.random.PCG64(seed))
    weights = [
        s * generator.standard_normal(n) for s, n in ((0.4, (D, H)), (0.4, (H, H)), (0.3, (H, O)))
    ]
    biases = (np.zeros(H, dtype), np.zeros(O, dtype)) if bias else (None, None)
    return Parameters(*(w.astype(dtype) for w in weights), *biases)


@KINDS
def test_initial_parameters_are_drawn_as_stated(rnn, bias, dtype):
    """The same bits in every package. Network n of an ensemble is what seed + n draws alone."""
    for seed in (0, 12345):
        found = rnn.initial_parameters(3, 5, 2, bias=bias, dtype=dtype, seed=seed)
        assert bits(found) == bits(as_stated(3, 5, 2, seed, dtype, bias))
    ensemble = rnn.initial_parameters(3, 5, 2, bias=bias, dtype=dtype, seed=100, networks=4)
    networks = [as_stated(3, 5, 2, seed, dtype, bias) for seed in range(100, 104)]
    assert bits(ensemble) == bits(each(lambda *thetas: np.stack(thetas), *networks))
    assert bits(rnn.initial_parameters()) == bits(as_stated(1, 6, 1, 0, "float32"))
    half = rnn.to_numpy(rnn.initial_parameters(3, 5, 2, dtype=dtype, deviations=(0.2, 0.15)))
    assert bits(each(lambda theta: 2 * theta, half)) == bits(as_stated(3, 5, 2, 0, dtype))


KEYS = [f"rnn.{kind}_l0" for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
KEYS += ["linear.weight", "linear.bias"]
STATE = numpy_rnn.to_state_dict(drawn())


@KINDS
@pytest.mark.parametrize("sizes", [(2, 3, 4), (1, 1, 1)], ids=str)
def test_state_dict_there_and_back_is_exact(rnn, sizes, bias, dtype):
    """Also the sign of zeros. No memory is shared, even where weights are their own transposes."""
    params = drawn(*sizes, bias=bias, dtype=dtype)
    for theta in params[: 5 if bias else 3]:
        theta.flat[0] = -0.0
    ours = rnn.from_numpy(params)
    second = np.zeros(sizes[1], dtype) if bias else None
    values = params.W_xh.T, params.W_hh.T, params.b_h, second, params.W_hy.T, params.b_y
    expected = [
        (*key.split("."), bits(value)) for key, value in zip(KEYS, values) if value is not None
    ]
    for prefixes in ({}, {"rnn": "", "linear": "head."}, {"rnn": "a.b.", "linear": "a."}):
        written = rnn.to_state_dict(ours, **prefixes)
        keys = {prefixes.get(layer, f"{layer}.") + name: value for layer, name, value in expected}
        assert {key: bits(array) for key, array in written.items()} == keys
        back = rnn.from_state_dict(written, **prefixes)
        assert bits(back) == bits(params)
        of_state = tuple(written.values())
        of_params = tuple(theta for theta in back if theta is not None)
        assert not any(getattr(array, "requires_grad", False) for array in of_state)
        assert all(getattr(theta, "requires_grad", True) for theta in of_params)
        for made, source in ((of_params, of_state), (of_state, ours)):
            before = bits(source)
            assert all(in_numpy(array).flags.c_contiguous for array in made)
            overwrite(made, 7.0)
            assert bits(source) == before


def test_two_hidden_biases_become_their_sum(rnn):
    second = np.array([0.5, 0.0, -8.0])
    b_h = rnn.to_numpy(rnn.from_state_dict(STATE | {"rnn.bias_hh_l0": second})).b_h
    assert bits(b_h) == bits(STATE["rnn.bias_ih_l0"] + second)


@pytest.mark.needs_torch
@KINDS
def test_module_loads_the_state_and_packages_read_it(rnn, bias, dtype):
    """Tensors that require a gradient are read too."""
    import torch

    kind = {"bias": bias, "dtype": getattr(torch, dtype)}
    module = torch.nn.ModuleDict(
        {"rnn": torch.nn.RNN(2, 3, **kind), "linear": torch.nn.Linear(3, 4, **kind)}
    )
    params = drawn(bias=bias, dtype=dtype)
    own = rnn.to_state_dict(rnn.from_numpy(params))
    module.load_state_dict({key: torch.tensor(np.asarray(array)) for key, array in own.items()})
    plain = {key: tensor.numpy() for key, tensor in module.state_dict().items()}
    for found in (module.state_dict(), dict(module.named_parameters()), plain):
        assert bits(rnn.from_state_dict(found)) == bits(params)


def changed(key, array):
    """The state with another array under a key; None: without the key."""
    state = STATE | {key: array}
    return {key: array for key, array in state.items() if array is not None}


REFUSED = [
    ([1, 2], "the state is a list: expected a dictionary"),
    (dict.fromkeys(map(str, range(99))), "has no rnn.weight_ih_l0, .* an unknown 0, 1, 2, .*, ..."),
    (changed("rnn.weight_ih_l1", 0), "an unknown rnn.weight_ih_l1"),
    (changed("linear.bias", None), "no linear.bias"),
    (changed("rnn.weight_ih_l0", np.zeros((3, 2), int)), "rnn.weight_ih_l0 is int64"),
    (changed("linear.weight", [[0.0]]), "linear.weight is of type list"),
    (STATE | dict.fromkeys(KEYS[2:4], np.full(3, 1e308)), "b_h contains NaN or infinity"),
    (changed("rnn.bias_hh_l0", np.zeros(3, "f4")), "rnn.bias_hh_l0 is float32 and .* one dtype"),
    (changed("linear.weight", np.zeros((4, 5))), r"linear.weight has .* expected \(O, 3\)"),
    (changed("rnn.weight_hh_l0", np.full((3, 3), np.nan)), "rnn.weight_hh_l0 contains NaN"),
]


def test_states_of_other_networks_are_refused(rnn):
    """Layers of another kind, missing or unknown keys, and arrays that do not fit."""
    wide = [(changed(key, STATE[key].repeat(2, axis=-1)), key) for key in KEYS[1:]]
    for state, says in REFUSED + wide:
        with pytest.raises(InputError, match=rf"\A[^\n]*{says}[^\n]*\Z"):
            rnn.from_state_dict(state)


@pytest.mark.needs_torch
def test_modules_that_are_not_this_network_are_refused():
    from torch import nn

    from torch_rnn import from_numpy
    from torch_rnn.modules import from_modules, to_modules

    ensemble = from_numpy(random_run(0, Sizes(N=2)).params)
    for says, function, arguments in (
        (
            "are LSTM and Linear: expected a torch.nn.RNN",
            from_modules,
            (nn.LSTM(2, 3), nn.Linear(3, 4)),
        ),
        ("are RNN and ReLU: expected a torch.nn.RNN", from_modules, (nn.RNN(2, 3), nn.ReLU())),
        ("unknown rnn.weight_ih_l1", from_modules, (nn.RNN(2, 3, 2), nn.Linear(3, 4))),
        ("biases or none", from_modules, (nn.RNN(2, 3, bias=False), nn.Linear(3, 4))),
        (r"an ensemble, and torch\.nn\.RNN is one network", to_modules, (ensemble,)),
    ):
        with pytest.raises(InputError, match=says):
            function(*arguments)
    with pytest.raises(InputError, match="'sigmoid': expected tanh or relu"):
        to_modules(from_numpy(drawn()), nonlinearity="sigmoid")


@pytest.mark.needs_torch
@KINDS
def test_modules_compute_what_the_network_does(bias, dtype):
    """No bit changes there and back, nor the random state of torch. No memory is shared."""
    import torch

    from torch_rnn import from_numpy
    from torch_rnn.modules import from_modules, to_modules

    for nonlinearity, batch_first in product(("tanh", "relu"), (False, True)):
        run = random_run(1, Sizes(5, 2, 3, 4, 6), Kind(dtype, bias))
        case = window_case(run, Window(0, 0, 5))._replace(objective=Objective(nonlinearity))
        ours, random_state = from_numpy(case.params), torch.get_rng_state()
        layer, readout = to_modules(ours, nonlinearity=nonlinearity, batch_first=batch_first)
        assert torch.equal(torch.get_rng_state(), random_state)
        x, h_0 = torch.tensor(case.x), torch.tensor(case.h_0)
        h, _ = layer(x.transpose(0, 1) if batch_first else x, h_0[None])
        found, expected = {"h": h, "y": readout(h)}, expected_update(case)
        for name, array in found.items():
            time_first = in_numpy(array.transpose(0, 1) if batch_first else array)
            assert_right({name: time_first}, {name: expected[name]}, dtype)
        constant = [name for name, w in layer.named_parameters() if not w.requires_grad]
        assert constant == ["bias_hh_l0"] * bias
        back = from_modules(layer, readout)
        with torch.no_grad():
            for weight in (*layer.parameters(), *readout.parameters()):
                weight.fill_(7)
        assert bits((ours, back)) == bits((case.params, case.params))
