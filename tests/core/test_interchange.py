"""Parameters as the state of torch.nn.RNN and torch.nn.Linear, and back, to the bit."""

from itertools import product

import numpy as np
import pytest
from comparing import bits
from layer_cases import BIASES, DTYPES, KEYS, UNSAYABLE, WEIGHTS, drawn, numpy_of, state

import numpy_rnn
from numpy_rnn import InputError, Parameters


@BIASES
def test_the_keys_the_layout_and_the_second_bias(rnn, bias):
    params = drawn(bias=bias)
    found = rnn.to_state_dict(rnn.from_numpy(params))
    assert list(found) == (KEYS if bias else WEIGHTS)
    assert all(type(array) is type(rnn.from_numpy(params.W_hh)) for array in found.values())
    assert not any(getattr(array, "requires_grad", False) for array in found.values())
    expected = dict(zip(WEIGHTS, (params.W_xh.T, params.W_hh.T, params.W_hy.T)))
    if bias:
        expected |= dict(zip(KEYS[2:4], (params.b_h, np.zeros(3)))) | {KEYS[5]: params.b_y}
    assert {key: bits(array) for key, array in found.items()} == {key: bits(array) for key, array in expected.items()}


@pytest.mark.parametrize("sizes", [(2, 3, 4), (1, 1, 1)])
def test_there_and_back_is_exact(rnn, sizes):
    """Also the sign of zeros, which a sum with the zeros of the second bias would lose."""
    for bias, dtype in product((True, False), ("float32", "float64")):
        params = drawn(*sizes, bias=bias, dtype=dtype)
        for theta in filter(lambda theta: theta is not None, params):
            theta.flat[0] = -0.0
        ours = rnn.from_numpy(params)
        for prefixes in (
            {},
            {"rnn": "", "linear": "head."},
            {"rnn": "", "linear": ""},
            {"rnn": "a.b.", "linear": "a."},
        ):
            back = rnn.from_state_dict(rnn.to_state_dict(ours, **prefixes), **prefixes)
            assert type(back) is Parameters
            assert bits(back) == bits(params)
            for theta, again in zip(ours, back):
                assert type(again) is type(theta)
                assert getattr(again, "requires_grad", None) == getattr(theta, "requires_grad", None)


def test_all_is_laid_out_in_order(rnn):
    """So that a run from weights that were read is to the bit one from those that were written."""
    params = rnn.from_numpy(drawn(2, 3, 4))
    written = rnn.to_state_dict(params)
    for array in (*written.values(), *rnn.from_state_dict(written)):
        if array is not None:
            assert np.asarray(array.detach() if hasattr(array, "detach") else array).flags.c_contiguous


def test_the_prefixes(rnn):
    found = rnn.to_state_dict(rnn.from_numpy(drawn()), rnn="core.", linear="head.")
    assert list(found) == [key.replace("rnn.", "core.").replace("linear.", "head.") for key in KEYS]


def test_no_memory_is_shared(rnn):
    params = rnn.from_numpy(drawn(1, 1, 1))  # whose weights are their own transposes
    for made, source in (
        (rnn.to_state_dict(params), tuple(params)),
        (rnn.from_state_dict(given := rnn.to_state_dict(params)), tuple(given.values())),
    ):
        before = bits(source)
        for array in made.values() if isinstance(made, dict) else made:
            if array is not None:
                (array.detach() if hasattr(array, "detach") else array)[...] = 7.0
        assert bits(source) == before


def test_two_hidden_biases_become_their_sum(rnn):
    given = state() | {"rnn.bias_hh_l0": np.array([0.5, 0.0, -8.0])}
    b_h = rnn.to_numpy(rnn.from_state_dict(given)).b_h
    assert bits(b_h) == bits(given["rnn.bias_ih_l0"] + [0.5, 0.0, -8.0])


@pytest.mark.needs_torch
@BIASES
@DTYPES
def test_a_module_loads_the_state_and_either_package_reads_it(rnn, bias, dtype):
    """Tensors that require a gradient, as of named_parameters, are read too."""
    import torch

    kind = {"bias": bias, "dtype": getattr(torch, dtype)}
    module = torch.nn.Module()
    module.rnn, module.linear = torch.nn.RNN(2, 3, **kind), torch.nn.Linear(3, 4, **kind)
    params = drawn(bias=bias, dtype=dtype)
    own = rnn.to_state_dict(rnn.from_numpy(params))
    module.load_state_dict({key: torch.tensor(array) for key, array in numpy_of(own).items()})
    for found in (module.state_dict(), dict(module.named_parameters()), numpy_of(module.state_dict())):
        assert bits(rnn.from_state_dict(found)) == bits(params)


def without(*keys):
    return {key: array for key, array in state().items() if key not in keys}


def of_size(**shapes):
    return state() | {KEYS[n]: np.zeros(shape) for n, shape in ((int(key[1:]), shape) for key, shape in shapes.items())}


REFUSED = {
    "no mapping": ([1, 2], "the state is a list: expected a dictionary of arrays"),
    "nothing": ({}, "has no rnn.weight_ih_l0, rnn.weight_hh_l0, linear.weight; it has nothing"),
    "a missing weight": (
        without(KEYS[1]),
        r"has no rnn.weight_hh_l0; it has rnn.weight_ih_l0, .*pass other prefixes as rnn= and lin",
    ),
    "other prefixes": (numpy_rnn.to_state_dict(drawn(), rnn="core."), "has no rnn.weight_ih_l0.*it has core.weight_ih"),
    "many other names": (dict.fromkeys(map(str, range(99))), "it has 0, 1, 2, 3, 4, 5, 6, 7, ...: expected"),
    "a second layer": (state() | {"rnn.weight_ih_l1": 0}, "weight_ih_l1, of an RNN with several layers"),
    "a second direction": (state() | {"rnn.weight_ih_l0_reverse": 0}, "_reverse, of a bidirectional RNN"),
    "projections": (state() | {"rnn.weight_hr_l0": 0}, "weight_hr_l0, of an RNN with projections"),
    "another part": (state() | {"embedding.weight": 0}, "embedding.weight, which is not of this network: expected"),
    "one hidden bias": (without(KEYS[3]), "has rnn.bias_ih_l0 alone: expected rnn.bias_ih_l0 and rnn.bias_hh_l0"),
    "a bias in the RNN only": (without(KEYS[5]), "the RNN has biases and the Linear has none.*zeros under linear.bias"),
    "a bias in the Linear only": (without(*KEYS[2:4]), "the Linear has biases and the RNN has none.*rnn.bias_hh_l0"),
    "integers": (state() | {KEYS[0]: np.zeros((3, 2), int)}, "rnn.weight_ih_l0 is int64: expected float32 or float64"),
    "lists": (state() | {KEYS[4]: [[0.0]]}, "linear.weight is list: expected float32 or float64"),
    "two dtypes": (
        state() | {KEYS[3]: np.zeros(3, "float32")},
        "bias_hh_l0 is float32 and rnn.weight_hh_l0 is float64",
    ),
    "a flat weight": (of_size(k0=6), r"rnn.weight_ih_l0 has shape \(6,\): expected \(to, from\)"),
    "an LSTM": (of_size(k0=(12, 2), k1=(12, 3), k2=12, k3=12), r"\(12, 2\): expected \(3, 2\), .*gates of an LSTM$"),
    "not square": (of_size(k1=(4, 3)), r"rnn.weight_hh_l0 has shape \(4, 3\): expected \(3, 3\), to fit the other w"),
    "weights not turned": (of_size(k0=(2, 3)), r"rnn.weight_ih_l0 has shape \(2, 3\): expected \(3, 3\)"),
    "a short bias": (of_size(k3=2), r"rnn.bias_hh_l0 has shape \(2,\): expected \(3,\)"),
    "a readout of others": (of_size(k4=(4, 5)), r"linear.weight has shape \(4, 5\): expected \(4, 3\)"),
    "NaN": (state() | {KEYS[1]: np.full((3, 3), np.nan)}, "W_hh contains NaN or infinity"),
    "infinities that cancel": (
        state() | {KEYS[2]: np.full(3, np.inf), KEYS[3]: np.full(3, -np.inf)},
        "b_h contains NaN or infinity",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_states_of_other_networks_are_refused_in_one_line(rnn, name):
    given, message = REFUSED[name]
    with pytest.raises(InputError, match=message) as refusal:
        rnn.from_state_dict(given)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(("params", "message"), UNSAYABLE.values(), ids=UNSAYABLE)
def test_what_the_layers_cannot_hold_is_refused_in_one_line(rnn, params, message):
    with pytest.raises(InputError, match=message) as refusal:
        rnn.to_state_dict(rnn.from_numpy(params))
    assert "\n" not in str(refusal.value)


@pytest.mark.needs_torch
def test_tensors_of_a_dtype_that_numpy_has_not_are_refused(rnn):
    import torch

    given = {key: torch.tensor(array) for key, array in state().items()}
    with pytest.raises(InputError, match=r"linear.bias is bfloat16: expected float32 or float64"):
        rnn.from_state_dict(given | {"linear.bias": given["linear.bias"].bfloat16()})
