"""Calls of every public function with valid arguments, by name, and what a refusal must be."""

import re
from functools import cache

import numpy as np
import pytest
from cases import random_case

from numpy_rnn import InputError

T, B, D, H, O = 4, 2, 3, 5, 6
RUN = {"k1": 1, "k2": 2, "learning_rate": 0.1}
BASES = {
    "one": {},
    "ensemble": {"E": (7,)},
    "learned": {"learned": True},
    "learned ensemble": {"learned": True, "E": (7,)},
}


@cache
def arguments(rnn, base="one"):
    """By name, what the functions take; base: a key of BASES, or the axes E of an ensemble. None of it is changed."""
    case = random_case(0, T, B, D, H, O, **BASES.get(base, {"E": base}))
    params, x, target, h_0 = case.for_train(rnn)
    activations = rnn.forward(params, x, params.h_0 if h_0 is None else h_0)
    gradients = rnn.bptt(params, activations, target)
    run = rnn.train(params, x, target, h_0, **RUN, momentum=0.9, epochs=1)
    given = {"params": params, "x": x, "target": target, "h_0": h_0, "activations": activations, "gradients": gradients}
    given |= {"velocity": next(run).velocity, "resume": run.state(), "learning_rate": 0.1, "max_norm": 1.0}
    return given | {"y": activations.y, "array": rnn.to_numpy(x)}


def train(rnn, g, **options):
    return rnn.train(g["params"], g["x"], g["target"], g["h_0"], **RUN | {"epochs": 1} | options)


def stream(rnn, g, **options):
    """On a stream that fails if a step is asked for: what is refused is refused before."""

    def untouchable():
        raise AssertionError("a step was asked for")
        yield

    return rnn.train_stream(g["params"], untouchable(), g["h_0"], **RUN | options)


CALLS = {
    "forward": (lambda rnn, g, **o: rnn.forward(g["params"], g["x"], g["h_0"], **o), "params x h_0"),
    "bptt": (
        lambda rnn, g, **o: rnn.bptt(g["params"], g["activations"], g["target"], **o),
        "params activations target",
    ),
    "adjoints": (
        lambda rnn, g, **o: rnn.adjoints(g["params"], g["activations"], g["target"], **o),
        "params activations target",
    ),
    "half_squared_error": (lambda rnn, g, **o: rnn.half_squared_error(g["y"], g["target"], **o), "y target"),
    "clip_by_global_norm": (
        lambda rnn, g: rnn.clip_by_global_norm(g["gradients"], g["max_norm"]),
        "gradients max_norm",
    ),
    "direction": (
        lambda rnn, g, **o: rnn.direction(g["params"], g["gradients"], g["velocity"], **o),
        "params gradients velocity",
    ),
    "sgd": (lambda rnn, g: rnn.sgd(g["params"], g["gradients"], g["learning_rate"]), "params gradients learning_rate"),
    "train": (
        lambda rnn, g, **o: train(rnn, g, **{"learning_rate": g["learning_rate"], "max_norm": g["max_norm"]} | o),
        "params x target h_0 learning_rate max_norm",
    ),
    "resumed": (lambda rnn, g: train(rnn, g, momentum=0.9, resume=g["resume"]), "x target h_0 resume"),
    "stream": (
        lambda rnn, g, **o: stream(rnn, g, **{"learning_rate": g["learning_rate"], "max_norm": g["max_norm"]} | o),
        "params h_0 learning_rate max_norm",
    ),
    "moving_stream": (lambda rnn, g: stream(rnn, g, momentum=0.9, velocity=g["velocity"]), "velocity"),
    "windows": (lambda rnn, g, **o: rnn.windows(**{"steps": 5, "k1": 1, "k2": 2} | o), ""),
    "to_state_dict": (lambda rnn, g: rnn.to_state_dict(g["params"]), "params"),
    "from_numpy": (lambda rnn, g: rnn.from_numpy(g["array"]), "array"),
    "view": (lambda rnn, g: rnn.from_numpy(g["array"], copy=False), "array"),
    "to_numpy": (lambda rnn, g: rnn.to_numpy(g["x"]), "x"),
}
CONVERSIONS = ("from_numpy", "view", "to_numpy")


def refused(call, *says):
    """The message of the InputError that the call raises: one line of moderate length, with these words in order."""
    with pytest.raises(InputError) as refusal:
        call()
    message = str(refusal.value)
    assert "\n" not in message
    assert len(message) < 400
    assert re.search(r"expected|choose|needs", message), message
    at = 0
    for words in says:
        assert words in message[at:], f"{words!r} is not in {message!r}, or not where it should be"
        at = message.index(words, at) + len(words)
    return message


def ones(*shape, dtype="float64"):
    return np.ones(shape, dtype)
