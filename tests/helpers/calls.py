"""One valid call of each public function, and the message of one that is refused."""

from functools import cache
from inspect import isfunction

import numpy as np
import pytest

import numpy_rnn
from numpy_rnn import InputError
from numpy_rnn.common.records import CLASS_LOSSES, DirectionKeywords, Step
from numpy_rnn.conformance.case import LOSS_KINDS
from tests.helpers.random_runs import OPTIONS, arguments, made_run

T, B, D, H, O = 4, 2, 3, 5, 6
PUBLIC_FUNCTIONS = [
    name for name in numpy_rnn.__all__ if isfunction(getattr(numpy_rnn, name))
]


def direction_options(step):
    """Return the keyword arguments of `direction` for a step."""
    return {name: getattr(step, name) for name in DirectionKeywords.__annotations__}


@cache
def valid_calls(rnn, N=None):
    """Return all arguments by name, for each function. They are not to be changed."""
    step = Step(0.1, momentum=0.9, weight_decay=0.1, max_norm=1.0)
    options = OPTIONS._replace(step=step)
    run = made_run(options, N, T=T, B=B, D=D, H=H, O=O, velocity=True)
    series = arguments(rnn, run)
    params, x, target, h_0 = map(rnn.from_numpy, run[:4])
    activations = rnn.forward(params, x, h_0)
    gradients = rnn.bptt(params, activations, target)
    window = {"params": params, "activations": activations, "target": target}
    window |= options.objective._asdict()
    losses = {"y": activations.y, "reduction": "sum"}
    classes = rnn.from_numpy(np.zeros((T, B), int))
    direction = {"params": params, "gradients": gradients}
    direction |= {"velocity": series["velocity"]} | direction_options(step)
    initial = {
        "input_size": D,
        "hidden_size": H,
        "output_size": O,
        "bias": True,
        "dtype": "float32",
        "seed": 0,
        "networks": 2,
    }
    calls = {
        "forward": {"params": params, "x": x, "h_0": h_0, "nonlinearity": "tanh"},
        "bptt": window,
        "adjoints": window,
        "clip_by_global_norm": {"gradients": gradients, "max_norm": 1.0},
        "clip_by_value": {"gradients": gradients, "max_value": 1.0},
        "direction": direction,
        "sgd": {"params": params, "delta": gradients, "learning_rate": 0.1},
        "train": series | {"record": False, "yield_every": 1},
        "windows": {"steps": 5, "k1": 1, "k2": 2},
        "initial_parameters": initial,
        "from_numpy": {"value": rnn.to_numpy(x)},
        "to_numpy": {"value": x},
    }
    for name, kind in LOSS_KINDS.items():
        of_loss = classes if name in CLASS_LOSSES else target
        calls[kind.function] = losses | {"target": of_loss}
    return calls


def refusal(rnn, name, keywords, *names):
    """Return the message of the InputError that a call raises.

    It is one line of at most 400 characters that says what is expected, and has one of
    the names.
    """
    with pytest.raises(InputError, match=r"\A[^\n]{,400}\Z") as refused:
        getattr(rnn, name)(**keywords)
    message = str(refused.value)
    assert any(word in message for word in ("expected", "choose", "needs")), message
    assert not names or any(part in message for part in names), message
    return message
