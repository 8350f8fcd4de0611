"""Arguments that do not fit are refused before anything is computed, by an error that names one."""

import re
from functools import cache
from importlib import import_module
from itertools import product

import numpy as np
import pytest
from cases import OPTIONS, Kind, Sizes, random_run
from comparing import bits
from draws import STEPS, train

import numpy_rnn
from numpy_rnn import InputError
from numpy_rnn.common.checks import check_step
from numpy_rnn.common.records import MomentumKeywords, Objective, Step

T, B, D, H, O = 4, 2, 3, 5, 6


@cache
def valid(rnn, N=None):
    """By function, all of its arguments by name, and valid. None of them is changed."""
    run = random_run(0, Sizes(T, B, D, H, O, N))
    names = "params", "x", "target", "h_0"
    data = {name: rnn.from_numpy(getattr(run, name)) for name in names}
    params, x, target, h_0 = data.values()
    objective = run.options.objective._asdict()
    options = Step(0.1, momentum=0.9, weight_decay=0.1, max_norm=1.0)._asdict()
    momentum = {name: options[name] for name in MomentumKeywords.__annotations__}
    series = data | objective | options | {"k1": 1, "k2": 2, "epochs": 1}
    velocity = next(rnn.train(**series)).velocity
    activations = rnn.forward(params, x, h_0)
    window = {"params": params, "activations": activations, "target": target, **objective}
    gradients = rnn.bptt(params, activations, target)
    classes = rnn.from_numpy(np.zeros((T, B), int))
    single = rnn.from_numpy(random_run(0, Sizes(1, 1, D, H, O)).params)
    sizes = {"input_size": D, "hidden_size": H, "output_size": O}
    return {
        "forward": {"params": params, "x": x, "h_0": h_0, "nonlinearity": "tanh"},
        "bptt": window,
        "adjoints": window,
        "half_squared_error": {"y": activations.y, "target": target, "reduction": "sum"},
        "cross_entropy": {"y": activations.y, "target": classes, "reduction": "sum"},
        "clip_by_global_norm": {"gradients": gradients, "max_norm": 1.0},
        "clip_by_value": {"gradients": gradients, "max_value": 1.0},
        "direction": {"params": params, "gradients": gradients, "velocity": velocity, **momentum},
        "sgd": {"params": params, "delta": gradients, "learning_rate": 0.1},
        "train": series | {"velocity": velocity, "record": False, "yield_every": 1},
        "windows": {"steps": 5, "k1": 1, "k2": 2},
        "initial_parameters": {**sizes, "bias": True, "dtype": "float32", "seed": 0, "networks": 2},
        "from_numpy": {"value": rnn.to_numpy(x)},
        "to_numpy": {"value": x},
        "to_state_dict": {"params": single},
    }


def refusal(rnn, name, given, *names):
    """The message of the InputError that the call raises: one line, with one of the names."""
    with pytest.raises(InputError, match=r"\A[^\n]{,400}\Z") as refused:
        getattr(rnn, name)(**given)
    message = str(refused.value)
    assert any(word in message for word in ("expected", "choose", "needs")), message
    assert not names or any(part in message for part in names), message
    return message


@pytest.mark.parametrize("N", [None, 7])
@pytest.mark.with_reference
def test_valid_arguments_are_accepted(rnn, N):
    """Else a test of this file might see a refusal for another reason."""
    for (name, given), options in product(valid(rnn, N).items(), STEPS):
        step = Step(0.1, **options)
        changes = {key: value for key, value in step._asdict().items() if key in given}
        if name == "train" and not step.has_velocity:
            changes["velocity"] = None
        if options == {"adagrad": True} and "velocity" in given:
            changes["velocity"] = given["params"].__class__(*(v * v for v in given["velocity"]))
        result = getattr(rnn, name)(**given if name.startswith("clip") else given | changes)
        assert name != "train" or len(list(result)) == T


MASKED = np.ma.masked_array(np.ones((T, B, D)), np.zeros((T, B, D), bool))
FOREIGN = (
    *(np.str_("0.1"), [0.5], (0.5,), {"x": 1}, object(), b"x", 1j, np.array(object()), MASKED),
    *(np.timedelta64(1, "s"), None),
)
ANY_NUMBER = np.nan, np.inf, True, 10**400
SIZES = "k1", "k2", "yield_every", "input_size", "hidden_size", "output_size", "networks"
NUMBERS: dict[str, tuple] = dict.fromkeys(SIZES, (0, 1.0)) | {"yield_every": (0, 1.0, 2, True)}
NUMBERS |= dict.fromkeys(("steps", "epochs", "seed"), (-1, 1.0)) | {"dampening": ANY_NUMBER}
NOT_NEGATIVE = "learning_rate", "momentum", "weight_decay", "max_norm", "max_value"
NUMBERS |= dict.fromkeys(NOT_NEGATIVE, (-1.0, *ANY_NUMBER))
NUMBERS |= dict.fromkeys(("bias", "record", "nesterov", "adagrad"), (1, 0.0))
NONE_IS_VALID = {"velocity", "max_norm", "max_value", "networks", "value"}
NUMBERS_ARE_VALID = {"from_numpy", "to_numpy"}
FINITE = {"train", "to_state_dict"}  # which refuse NaN


def spoiled_arrays(rnn, name, array):
    """An array of another dtype or package, with a mask or NaN, a list, and other shapes."""
    plain, is_torch = rnn.to_numpy(array), rnn.__name__ == "torch_rnn"
    others = [plain.astype(kind) for kind in ("float16", "complex64", "int64")]
    if plain.dtype.kind == "i":
        others = [plain.astype(kind) for kind in ("float16", "float32")]
    if is_torch:
        others = [*map(import_module("torch").tensor, others), plain]
    else:
        others += [plain.astype(kind) for kind in ("longdouble", "object", ">f8")]
    cuts = [array[:1], array[:0], array[None], array[..., :1][..., 0]]
    first = (np.arange(plain.size) == 0).reshape(plain.shape)
    nans = [np.where(first, value, plain).astype(float) for value in (np.nan, np.inf, -np.inf)]
    nans = [*map(rnn.from_numpy, nans)] if name in FINITE else []
    return [*others, np.ma.masked_array(plain, plain > 0), plain.tolist(), *cuts, *nans]


def spoiled(rnn, name, argument, value):
    """Values that no call takes for this argument."""
    takes_none = argument in NONE_IS_VALID and not name.startswith("clip")
    takes_tuple = name in NUMBERS_ARE_VALID
    for other in FOREIGN:
        if not ((other is None and takes_none) or (type(other) is tuple and takes_tuple)):
            yield other
    yield from NUMBERS.get(argument, ())
    if isinstance(value, tuple):
        for other in spoiled_arrays(rnn, name, value[1]):
            yield value._replace(**{value._fields[1]: other})
    elif hasattr(value, "ndim") and name not in NUMBERS_ARE_VALID:
        yield from spoiled_arrays(rnn, name, value)


def other_names(argument, value):
    """The names that a message may call an argument by: its name, an option, or a field."""
    names = {argument, argument.rstrip("s"), argument.replace("_", " ")}
    names |= {"gradient"} if argument == "delta" else set()
    return names | {f"{field} " for field in getattr(value, "_fields", ())} | {"the array is"}


def fits_too(argument, value):
    """Whether the shape is that of a shorter series, or of the newest step's target."""
    shape = tuple(getattr(value, "shape", ()))
    return argument in ("x", "target") and shape in ((1, B, D), (1, B, O), (1, B))


@pytest.mark.parametrize("name", list(valid(numpy_rnn)))
def test_one_spoiled_argument_is_refused_by_its_name(rnn, name):
    given = valid(rnn)[name]
    for argument, value in given.items():
        for other in spoiled(rnn, name, argument, value):
            if name == "train" or not fits_too(argument, other):
                names = other_names(argument, value) | {" has shape "}
                refusal(rnn, name, given | {argument: other}, *names)


@pytest.mark.needs_torch
def test_options_of_sgd_are_those_of_torch():
    """A step has exactly the combinations of options that torch.optim.SGD accepts."""
    import torch

    names, numbers = ("momentum", "dampening", "nesterov", "weight_decay"), (0.0, 0.1, -0.1)
    for values in product((*numbers, 0.9), (*numbers, 1.5), (False, True), numbers):
        options = dict(zip(names, values))
        try:
            torch.optim.SGD([torch.zeros(1)], lr=0.1, **options)
        except ValueError:
            with pytest.raises(InputError):
                check_step(Step(0.1, **options))
        else:
            assert check_step(Step(0.1, **options)) == Step(0.1, **options)


@pytest.mark.with_reference
def test_classes_are_integers_of_any_kind(rnn):
    """Also unsigned ones of torch, which has little for them."""
    options = OPTIONS._replace(objective=Objective(loss="cross_entropy"))
    run = random_run(0, Sizes(O=3), Kind(classes=True), options)

    def trained(kind, convert):
        series = {name: convert(getattr(run, name).astype(kind)) for name in ("x", "target")}
        return [bits(update) for update in train(rnn, run, **series)]

    wide, converters = trained("int64", rnn.from_numpy), [rnn.from_numpy]
    if rnn.__name__ == "torch_rnn":
        converters.append(import_module("torch").tensor)
    kinds = "int8", "int16", "int32", "uint8", "uint16", "uint32", "uint64"
    for kind, convert in product(kinds, converters):
        assert trained(kind, convert) == wide, kind


CALLS = [  # (function, its arguments or fields of records that are changed, what the message says)
    ("train", {"x": np.ones((T, 6, B, D))}, r"expected \(T, 7, B, 3\) or \(T, B, 3\), time first"),
    ("train", {"learning_rate": np.full(4, 0.1)}, r"expected .* of shape \(7,\)"),
    ("bptt", {"activations.h": np.ones((T, 7, B, H))}, r"h of .* expected \(5, 7, 2, 5\)"),
    ("bptt", {"target": np.ones((9, B, O))}, "expected between 1 and 4"),
    ("train", {"params.b_h": None}, "both biases or neither"),
    ("train", {"velocity.W_hy": None}, "W_hy of the velocity is of type NoneType"),
    ("train", {"velocity.W_hy": np.ones((7, H, H))}, r"W_hy of the velocity .* \(7, 5, 6\)"),
    (
        "train",
        {"velocity.W_hy": -np.ones((7, H, O)), "adagrad": True, "momentum": 0.0},
        "contains -",
    ),
    ("train", {"momentum": 0.0}, "velocity is given without momentum"),
    ("train", {"yield_every": "all"}, "expected 1, .* or 'epoch'"),
    ("train", {"max_value": 2.0}, "expected one of the two"),
    ("train", {"nonlinearity": "sin"}, "'sin': expected tanh or relu or sigmoid"),
    ("train", {"x": np.full((T, B), D)}, "x contains 3: expected classes from 0 to 2"),
    ("train", {"x": np.zeros((T, B, D), int)}, "as integers are classes, time first"),
    ("train", {"loss": "cross_entropy"}, "target is float64, .* classes: expected integers"),
    ("windows", {"k1": 3, "k2": 2}, "choose k2 ≥ 3"),
    ("direction", {"adagrad": True}, "adagrad needs momentum 0"),
    ("sgd", {"params.b_h": None, "params.b_y": None}, "there is a gradient of b_h: expected none"),
    ("direction", {"nesterov": True, "dampening": 0.1}, "nesterov needs .* dampening 0"),
    ("from_numpy", {"value": np.array([2**63], "uint64")}, "at most 9223372036854775807"),
]


@pytest.mark.parametrize(("name", "changes", "says"), CALLS)
def test_arguments_that_do_not_fit_each_other(rnn, name, changes, says):
    given = valid(rnn, 7)[name]
    for key, value in changes.items():
        if type(value) is np.ndarray and key != "value":
            value = rnn.from_numpy(value)
        record, _, field = key.rpartition(".")
        value = given[record]._replace(**{field: value}) if record else value
        given = given | {record or key: value}
    assert re.search(says, refusal(rnn, name, given))
