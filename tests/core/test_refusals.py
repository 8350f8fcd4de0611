"""Functions leave arguments that fit as they are, and refuse others by name before they
compute anything.
"""

import re
from importlib import import_module
from inspect import isfunction
from itertools import product

import numpy as np
import pytest

import numpy_rnn
from numpy_rnn import InputError
from numpy_rnn.common.option_checks import check_step
from numpy_rnn.common.records import DirectionKeywords, Objective, Step
from numpy_rnn.common.terminal import MAX_MESSAGE, failed
from numpy_rnn.common.trees import tree_map
from tests.helpers.calls import B, D, H, O, T, refusal, valid_calls
from tests.helpers.comparing import arrays_in, bits, share_memory
from tests.helpers.random_runs import OPTIONS, STEPS, Kind, Sizes, random_run, train

SERIES = "x", "target"
NAMES = [name for name in numpy_rnn.__all__ if isfunction(getattr(numpy_rnn, name))]
NAMES.remove("from_state_dict")  # test_parameters.py has its refusals


@pytest.mark.parametrize("N", [None, 7])
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.with_reference
def test_valid_arguments_are_accepted_and_left_alone(rnn, N, step):
    """No result shares their memory."""
    for name in NAMES:
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


FOREIGN = [  # what no argument may be, but for some that may be None or a tuple
    np.str_("0.1"),
    [0.5],
    (0.5,),
    {"x": 1},
    object(),
    b"x",
    1j,
    np.array(object()),
    np.ma.masked_array(np.ones((T, B, D)), np.zeros((T, B, D), bool)),
    np.timedelta64(1, "s"),
    None,
]
NONE_IS_VALID = {"velocity", "max_norm", "max_value", "networks", "value"}
CONVERSIONS = {"from_numpy", "to_numpy"}  # of any numbers and tuples
FINITE = {"train", "to_state_dict"}  # which refuse NaN

NOT_FINITE = (np.nan, np.inf, True, 10**400)
SIZES = ("k1", "k2", "input_size", "hidden_size", "output_size", "networks")
COUNTS = ("steps", "epochs", "seed")
FLAGS = ("bias", "record", "nesterov", "adagrad")
NOT_NEGATIVE = ("learning_rate", "momentum", "weight_decay", "max_norm", "max_value")
OUT_OF_RANGE: dict[str, tuple] = {
    "yield_every": (0, 1.0, 2, True),
    "dampening": NOT_FINITE,
    **dict.fromkeys(SIZES, (0, 1.0)),
    **dict.fromkeys(COUNTS, (-1, 1.0)),
    **dict.fromkeys(FLAGS, (1, 0.0)),
    **dict.fromkeys(NOT_NEGATIVE, (-1.0, *NOT_FINITE)),
}
OTHER_NAMES = {  # which messages have too
    "delta": "gradient",
    "value": "the array is",
    "y": "target has shape",  # as one of two does not fit
}


def foreign_values(name, argument):
    """Return values of types that the function does not take for this argument."""
    values = FOREIGN
    if argument in NONE_IS_VALID and not name.startswith("clip"):
        values = [value for value in values if value is not None]
    if name in CONVERSIONS:
        values = [value for value in values if not isinstance(value, tuple)]
    return values


def arrays_of_other_dtypes(rnn, plain):
    """Return an array of NumPy in other dtypes, and one of another package."""
    kinds = ["float16", "complex64", "float32" if plain.dtype.kind == "i" else "int64"]
    if rnn.__name__ == "torch_rnn":
        tensor = import_module("torch").tensor
        return [plain, *(tensor(plain.astype(kind)) for kind in kinds)]
    return [plain.astype(kind) for kind in (*kinds, "longdouble", "object", ">f8")]


def spoiled_arrays(rnn, name, array):
    """Return an array in other dtypes, kinds and shapes, and with NaN or infinity."""
    plain = rnn.to_numpy(array)
    others = arrays_of_other_dtypes(rnn, plain)
    if name in FINITE:
        for value in (np.nan, np.inf, -np.inf):
            changed = plain.copy()
            changed.flat[0] = value
            others.append(rnn.from_numpy(changed))
    others.append(np.ma.masked_array(plain, plain > 0))
    others.append(plain.reshape(len(plain), -1).view(np.matrix))
    others.append(plain.tolist())
    return [*others, array[:, :-1], array[:0], array[None], array[..., 0]]


def spoiled(rnn, name, argument, value):
    """Yield values that the function does not take for this argument."""
    yield from foreign_values(name, argument)
    yield from OUT_OF_RANGE.get(argument, ())
    if isinstance(value, tuple):
        field = value._fields[1]
        if argument == "activations":
            yield value._replace(**{field: None})
        for array in spoiled_arrays(rnn, name, value[1]):
            yield value._replace(**{field: array})
    elif hasattr(value, "ndim") and name not in CONVERSIONS:
        yield from spoiled_arrays(rnn, name, value)


def names_of(argument, value):
    """Return the names of an argument in messages: its own, an option, or a field."""
    if argument in OUT_OF_RANGE and argument != "yield_every":
        return [argument.replace("_", " ")]
    names = [f"{field} " for field in getattr(value, "_fields", ())]
    if argument in OTHER_NAMES:
        names.append(OTHER_NAMES[argument])
    return [argument, argument.rstrip("s"), *names]


@pytest.mark.parametrize("name", NAMES)
def test_one_spoiled_argument_is_refused_by_its_name(rnn, name):
    keywords = valid_calls(rnn)[name]
    for argument, value in keywords.items():
        for other in spoiled(rnn, name, argument, value):
            names = names_of(argument, value)
            refusal(rnn, name, keywords | {argument: other}, *names)


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
                check_step(step)
        else:
            assert check_step(step) == step


def test_message_of_a_long_text_is_cut(capsys):
    assert failed("numpy_rnn", 2, "a long\nname " * 1000) == 2
    line = capsys.readouterr().err
    assert line.startswith("numpy_rnn: a long name a long")
    assert line.endswith("...\n")
    assert len(line) == len("numpy_rnn: \n") + MAX_MESSAGE


@pytest.mark.with_reference
def test_classes_are_integers_of_any_kind(rnn):
    """Unsigned integers are accepted too, for which torch has few operations."""
    options = OPTIONS._replace(objective=Objective(loss="cross_entropy"))
    run = random_run(Sizes(O=3), Kind(classes=True), options)
    wide = [*map(bits, train(rnn, run))]
    tensor = np.array
    if rnn.__name__ == "torch_rnn":
        tensor = import_module("torch").tensor
    kinds = "int8", "int16", "int32", "uint8", "uint16", "uint32", "uint64"
    for kind, convert in product(kinds, (rnn.from_numpy, tensor)):
        series = {name: convert(getattr(run, name).astype(kind)) for name in SERIES}
        assert [*map(bits, train(rnn, run, **series))] == wide, kind


ADAGRAD = {"adagrad": True, "momentum": 0.0}
# (function, its arguments or fields of records that are changed, what the message says)
CALLS = [
    (
        "train",
        {"x": np.ones((T, 6, B, D))},
        r"expected \(T, 7, B, 3\) or \(T, B, 3\), time first",
    ),
    ("train", {"learning_rate": np.full(4, 0.1)}, r"expected .* of shape \(7,\)"),
    ("train", {"learning_rate": np.full(7, 1)}, "the learning rate is int64"),
    ("train", {"learning_rate": "0.1"}, "the learning rate is '0.1': expected a "),
    ("clip_by_value", {"max_value": "1"}, "max value is '1': expected a finite "),
    (
        "bptt",
        {"activations.h": np.ones((T, 7, B, H))},
        r"h of .* expected \(5, 7, 2, 5\)",
    ),
    ("bptt", {"target": np.ones((9, B, O))}, "expected between 1 and 4"),
    (
        "train",
        {"target": np.ones((3, B, O))},
        r"expected \(4, 7, 2, 6\) or \(4, 2, 6\)",
    ),
    ("train", {"params.b_h": None}, "both biases or neither"),
    ("train", {"velocity.W_hy": None}, "W_hy of the velocity is of type NoneType"),
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
    (
        "from_numpy",
        {"value": np.array([2**63], "uint64")},
        "at most 9223372036854775807",
    ),
]


@pytest.mark.parametrize(("name", "changes", "says"), CALLS)
def test_arguments_that_do_not_fit_each_other(rnn, name, changes, says):
    keywords = valid_calls(rnn, 7)[name]
    for key, value in changes.items():
        if type(value) is np.ndarray and key != "value":
            value = rnn.from_numpy(value)
        record, _, field = key.rpartition(".")
        value = keywords[record]._replace(**{field: value}) if record else value
        keywords = keywords | {record or key: value}
    assert re.search(says, refusal(rnn, name, keywords))


NEAREST = {
    "lr": "did you mean 'learning_rate'",
    "momentun": "did you mean 'momentum'",
    "hidden_state": "expected some of ",
}


@pytest.mark.with_reference
@pytest.mark.parametrize("name", NEAREST)
def test_unknown_keyword_is_refused_with_the_nearest_name(rnn, name):
    keywords = dict(valid_calls(rnn)["train"])
    with pytest.raises(TypeError, match=rf"\Atrain\(\) .*'{name}': {NEAREST[name]}"):
        rnn.train(**keywords, **{name: 3})
    del keywords["k1"], keywords["k2"]
    with pytest.raises(TypeError, match=r"\Atrain\(\) needs .* 'k1', 'k2'\Z"):
        rnn.train(**keywords)
    keywords = valid_calls(rnn)["direction"]
    with pytest.raises(TypeError, match=r"\Adirection\(\) .*'lr'"):
        rnn.direction(**keywords, lr=3)
