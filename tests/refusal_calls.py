"""Calls of every public function with valid arguments, and what a refusal must be."""

import re
from functools import cache

import numpy as np
import pytest
from cases import random_case

from numpy_rnn import InputError

T, B, D, H, O = 4, 2, 3, 5, 6
BASES = {
    "one": {},
    "ensemble": {"E": (7,)},
    "learned": {"learned": True},
    "learned ensemble": {"learned": True, "E": (7,)},
}
VARIANTS = {"resumed": "train", "moving_stream": "train_stream", "view": "from_numpy"}  # with other arguments


@cache
def arguments(rnn, base="one", dtype="float64"):
    """By function, or variant of one, valid arguments by name; base: a key of BASES, or the axes E of an ensemble.

    None of them is changed.
    """
    case = random_case(0, T, B, D, H, O, dtype=dtype, **BASES.get(base, {"E": base}))
    params, x, target, h_0 = case.for_train(rnn)
    activations = rnn.forward(params, x, params.h_0 if h_0 is None else h_0)
    gradients = rnn.bptt(params, activations, target)
    schedule = {"k1": 1, "k2": 2, "learning_rate": 0.1}
    series = {"params": params, "x": x, "target": target, "h_0": h_0, "epochs": 1, **schedule}
    stream = {"params": params, "steps": untouchable(), "h_0": h_0, **schedule}
    run = rnn.train(**series, momentum=0.9)
    velocity = next(run).velocity
    window = {"params": params, "activations": activations, "target": target}
    single = rnn.from_numpy(random_case(0, 1, 1, D, H, O, dtype=dtype).params)
    distributions = rnn.from_numpy(np.full((T, *activations.y.shape[1:]), 1 / O, dtype))
    return {
        "forward": {"params": params, "x": x, "h_0": activations.h[0]},
        "bptt": window,
        "adjoints": window,
        "half_squared_error": {"y": activations.y, "target": target},
        "cross_entropy": {"y": activations.y, "target": distributions},
        "clip_by_global_norm": {"gradients": gradients, "max_norm": 1.0},
        "clip_by_value": {"gradients": gradients, "max_value": 1.0},
        "direction": {"params": params, "gradients": gradients, "velocity": velocity},
        "sgd": {"params": params, "delta": gradients, "learning_rate": 0.1},
        "train": series,
        "resumed": series | {"momentum": 0.9, "resume": run.state()},
        "train_stream": stream,
        "moving_stream": stream | {"momentum": 0.9, "velocity": velocity},
        "windows": {"steps": 5, "k1": 1, "k2": 2},
        "initial_parameters": {"input_size": D, "hidden_size": H, "output_size": O, "dtype": dtype, "seed": 0},
        "from_numpy": {"value": rnn.to_numpy(x)},
        "view": {"value": rnn.to_numpy(x), "copy": False},
        "to_numpy": {"value": x},
        "to_state_dict": {"params": single},
        "from_state_dict": {"state": rnn.to_state_dict(single)},
    }


def untouchable():
    """A stream that fails if a step is asked for: what is refused is refused before."""
    raise AssertionError("a step was asked for")
    yield


def call(rnn, name, given):
    return getattr(rnn, VARIANTS.get(name, name))(**given)


def refused(rnn, name, given, *says):
    """The message of the InputError that the call raises: one line of moderate length, with these words in order."""
    with pytest.raises(InputError) as refusal:
        call(rnn, name, given)
    message = str(refusal.value)
    assert re.search(r"expected|choose|needs", message), message
    assert re.fullmatch(".*".join(map(re.escape, ("", *says, ""))), message), message
    assert len(message) < 400
    return message


def ones(*shape, dtype="float64"):
    return np.ones(shape, dtype)
