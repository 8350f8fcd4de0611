"""Functions leave arguments that fit as they are, and refuse others by name before they
compute anything.
"""

import re
from importlib import import_module
from itertools import product

import numpy as np
import pytest

from numpy_rnn import InputError
from numpy_rnn.common.option_checks import checked_step
from numpy_rnn.common.records import DirectionKeywords, Objective, Step
from numpy_rnn.common.trees import tree_map
from tests.helpers.calls import PUBLIC_FUNCTIONS, B, D, H, O, T, refusal, valid_calls
from tests.helpers.comparing import arrays_in, bits, share_memory
from tests.helpers.random_runs import OPTIONS, STEPS, made_run, train_run

SERIES = "x", "target"


@pytest.mark.parametrize("N", [None, 7])
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.with_reference
def test_valid_arguments_are_accepted_and_left_alone(rnn, N, step):
    """No result shares their memory."""
    for name in PUBLIC_FUNCTIONS:
        keywords = dict(valid_calls(rnn, N)[name])
        if "velocity" in keywords:
            velocity = None
            if step.has_velocity:  # a square is a valid sum of squares too
                velocity = tree_map(lambda v: v * v, keywords["velocity"])
            options = step._asdict() | {"velocity": velocity}
            keywords |= {key: options[key] for key in options.keys() & keywords.keys()}
        before = bits(tuple(keywords.values()))
        result = getattr(rnn, name)(**keywords)
        if name in ("train", "windows"):
            result = list(result)
        assert name != "train" or len(result) == T
        assert bits(tuple(keywords.values())) == before
        assert not share_memory(arrays_in((result,)), arrays_in(keywords)), name


@pytest.mark.parametrize("name", PUBLIC_FUNCTIONS)
def test_every_argument_is_checked(rnn, name):
    keywords = valid_calls(rnn)[name]
    for argument in keywords:
        refusal(rnn, name, keywords | {argument: object()})


@pytest.mark.needs_torch
def test_options_of_sgd_are_those_of_torch(monkeypatch):
    """A step accepts exactly the combinations of options that torch.optim.SGD does."""
    optim = import_module("torch").optim
    # which imports the compiler
    monkeypatch.setattr(optim.Optimizer, "__init__", lambda *_: None)
    numbers = (0.0, 0.1, -0.1)
    for values in product(numbers, numbers, (False, True), numbers):
        options = dict(zip(DirectionKeywords.__annotations__, values))
        step = Step(0.1, **options)
        try:
            optim.SGD([], 0.1, **options)
        except ValueError:
            with pytest.raises(InputError):
                checked_step(step)
        else:
            assert checked_step(step) == step


@pytest.mark.with_reference
def test_classes_are_integers_of_any_kind(rnn):
    """Unsigned integers are accepted too, for which torch has few operations."""
    options = OPTIONS._replace(objective=Objective(loss="cross_entropy"))
    run = made_run(options, O=3, class_inputs=True)
    wide = [*map(bits, train_run(rnn, run))]
    tensor = np.array
    if rnn.__name__ == "torch_rnn":
        tensor = import_module("torch").tensor
    kinds = "int8", "uint16", "uint64"
    for kind, convert in product(kinds, (rnn.from_numpy, tensor)):
        series = {name: convert(getattr(run, name).astype(kind)) for name in SERIES}
        assert [*map(bits, train_run(rnn, run, **series))] == wide, kind


ADAGRAD = {"adagrad": True, "momentum": 0.0}
MASKED = np.ma.masked_array(np.ones((T, B, D)), True)
# (function, its arguments or fields of records that are changed, what the message says)
CALLS = [
    ("forward", {"x": MASKED}, "x is of type MaskedArray"),
    ("forward", {"params": (1, 2, 3)}, "params is of type tuple: expected Parameters"),
    ("forward", {"nonlinearity": "cube"}, "unknown nonlinearity 'cube'"),
    ("from_numpy", {"value": np.ones(2, "f2")}, "float16: expected float32 or float64"),
    ("forward", {"x": np.ones((T, B, D), "f4")}, "x is float32 and W_xh is float64"),
    ("forward", {"x": np.ones((0, B, D))}, r"x has shape .*\(0, 2, 3\)"),
    ("train", {"x": np.full((T, B, D), np.nan)}, "x contains NaN or infinity"),
    ("train", {"yield_every": 2}, "yield_every is 2"),
    ("windows", {"k1": 1.0}, "k1 is 1.0: expected a whole number, 1 or more"),
    ("initial_parameters", {"bias": 1}, "bias is 1: expected True or False"),
    ("clip_by_value", {"max_value": 0.0}, "max value is 0.0: .* above 0"),
    (
        "train",
        {"x": np.ones((T, 6, B, D))},
        r"expected \(T, 7, B, 3\) or \(T, B, 3\), time first",
    ),
    ("train", {"learning_rate": np.full(4, 0.1)}, r"expected .* of shape \(7,\)"),
    ("sgd", {"learning_rate": np.ma.masked}, "the learning rate is of type Masked"),
    (
        "bptt",
        {"activations.h": np.ones((T, 7, B, H))},
        r"h of .* expected \(5, 7, 2, 5\)",
    ),
    ("bptt", {"target": np.ones((9, B, O))}, "expected between 1 and 4"),
    ("train", {"params.b_h": None}, "both biases or neither"),
    ("train", {"velocity.W_hy": -np.ones((7, H, O))} | ADAGRAD, "contains -"),
    ("train", {"momentum": 0.0}, "velocity is given without momentum"),
    ("train", {"max_value": 2.0}, "expected one of the two"),
    ("train", {"x": np.full((T, B), D)}, "x contains 3: expected classes from 0 to 2"),
    ("train", {"x": np.zeros((T, B, D), int)}, "as integers are classes, time first"),
    (
        "train",
        {"loss": "cross_entropy"},
        "target is float64, .* classes: expected integers",
    ),
    ("windows", {"k1": 3, "k2": 2}, "choose k2 ≥ 3"),
    ("direction", {"adagrad": True}, "adagrad needs momentum 0"),
    (
        "sgd",
        {"params.b_h": None, "params.b_y": None},
        "there is a gradient of b_h: expected none",
    ),
]


@pytest.mark.parametrize(("name", "changes", "says"), CALLS)
def test_arguments_that_do_not_fit_each_other(rnn, name, changes, says):
    keywords = valid_calls(rnn, 7)[name]
    for key, value in changes.items():
        if type(value) is np.ndarray and name != "from_numpy":
            value = rnn.from_numpy(value)
        record, _, field = key.rpartition(".")
        value = keywords[record]._replace(**{field: value}) if record else value
        keywords = keywords | {record or key: value}
    assert re.search(says, refusal(rnn, name, keywords))


def test_missing_and_unknown_keywords_are_named(rnn):
    """The unknown one goes first, as it may be meant for the missing one."""
    keywords = valid_calls(rnn, 7)["train"]
    with pytest.raises(
        TypeError, match=r"argument 'lr': expected some of .*learning_r"
    ):
        rnn.train(*(keywords[name] for name in ("params", "x", "target", "h_0")), lr=1)
    for name in ("learning_rate", "epochs"):
        rest = {key: value for key, value in keywords.items() if key != name}
        with pytest.raises(TypeError, match=rf"train\(\) misses .* '{name}'"):
            rnn.train(**rest)
