"""Arguments that do not fit are refused before anything is computed, by an error that names one."""

from functools import cache
from itertools import product

import numpy as np
import pytest
from cases import OPTIONS, STEPS, Kind, Sizes, random_run
from comparing import bits
from inline_snapshot import snapshot

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


# -- one argument spoiled --------------------------------------------------------------------------

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
        import torch

        others = [*map(torch.tensor, others), plain]
    else:
        others += [plain.astype(kind) for kind in ("longdouble", "object", ">f8")]
    cuts = [array[:1], array[None], array[..., :1][..., 0]]
    nan = plain.astype(float) + np.where(np.arange(plain.size) == 0, np.nan, 0).reshape(plain.shape)
    nans = [rnn.from_numpy(nan)] if name in FINITE else []
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
                shapes = (getattr(v, "shape", None) for v in (other, value))
                is_cut = None not in (pair := list(shapes)) and pair[0] != pair[1]
                names = () if is_cut else other_names(argument, value)
                refusal(rnn, name, given | {argument: other}, *names)


@pytest.mark.needs_torch
def test_options_of_sgd_are_those_of_torch():
    """A step has exactly the combinations of options that torch.optim.SGD accepts."""
    import torch

    names = "momentum", "dampening", "nesterov", "weight_decay"
    for values in product((0.0, 0.9, -0.1), (0.0, 0.5, 1.5, -0.5), (False, True), (0.0, 0.1, -0.1)):
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
    objective = Objective(loss="cross_entropy")
    run = random_run(0, Sizes(O=3), Kind(classes=True), OPTIONS._replace(objective=objective))

    def trained(convert, kind):
        series = {"x": convert(run.x.astype(kind)), "target": convert(run.target.astype(kind))}
        given = {name: rnn.from_numpy(getattr(run, name)) for name in ("params", "h_0")}
        updates = rnn.train(**given, **series, **run.options.keywords())
        return [bits(rnn.to_numpy(update.parameters)) for update in updates]

    wide, converters = trained(rnn.from_numpy, "int64"), [rnn.from_numpy]
    if rnn.__name__ == "torch_rnn":
        import torch

        converters.append(torch.tensor)
    kinds = "int8", "int16", "int32", "uint8", "uint16", "uint32", "uint64"
    for convert, kind in product(converters, kinds):
        assert trained(convert, kind) == wide, kind


# -- messages --------------------------------------------------------------------------------------


def ones(*shape, dtype="float64"):
    return np.ones(shape, dtype)


def at_end(array, value):
    """The array with this in its last step."""
    changed = array.copy()
    changed[-1] = value
    return changed


CLASSES = np.zeros((T, B), int)
CALLS = [  # (function, its arguments or fields of records that are changed, and N of `valid`)
    ("train", {"x": ones(T, 6, B, D)}, 7),
    ("bptt", {"activations.h": ones(T, B, H)}),
    ("train", {"params.b_h": None}),
    ("train", {"velocity.W_hy": None}),
    ("train", {"velocity.W_hy": ones(H, H)}),
    ("train", {"momentum": 0.0}),
    ("train", {"yield_every": "all"}),
    ("train", {"learning_rate": np.full(4, 0.1)}, 7),
    ("windows", {"k1": 3, "k2": 2}),
    ("bptt", {"target": ones(9, B, O)}),
    ("direction", {"adagrad": True}),
    ("direction", {"nesterov": True, "dampening": 0.1}),
    ("train", {"max_value": 2.0}),
    ("train", {"nonlinearity": "sin"}),
    ("train", {"x": at_end(CLASSES, D)}),
    ("train", {"loss": "cross_entropy"}),
    ("from_numpy", {"value": np.array([2**63], "uint64")}),
]


def changed(rnn, given, changes):
    """The arguments with other values; "params.W_hh" is a field of one."""
    for name, value in changes.items():
        if type(value) is np.ndarray and name != "value":
            value = rnn.from_numpy(value)
        record, _, field = name.rpartition(".")
        value = given[record]._replace(**{field: value}) if record else value
        given = given | {record or name: value}
    return given


def test_messages():
    """The words of numpy_rnn."""
    messages = []
    for name, changes, *N in CALLS:
        given = changed(numpy_rnn, valid(numpy_rnn, *N)[name], changes)
        messages.append(refusal(numpy_rnn, name, given))
    assert "\n".join(messages) == snapshot("""\
x has shape (4, 6, 2, 3): expected (4, 7, B, 3) or (4, B, 3)
h of the activations has shape (4, 2, 5): expected (5, 2, 5)
b_y is given without b_h: expected both biases or neither
there is no velocity of W_hy: expected one for each parameter
the velocity of W_hy has shape (5, 5): expected (5, 6)
a velocity is given without momentum or adagrad: expected None; pass the momentum or adagrad=True of the run that the velocity is from
yield_every is 'all': expected 1, for every update, or 'epoch', for the last update of each epoch
the learning rate has shape (4,): expected a number, or one per network, of shape (7,)
k2 is 2 and k1 is 3: expected k2 ≥ k1, because the window must contain the k1 new steps of its update; choose k2 ≥ 3
target has 9 steps and x has 4: expected between 1 and 4
adagrad needs momentum 0, dampening 0 and nesterov False: they are 0.9, 0.0 and False
nesterov needs momentum above 0 and dampening 0: they are 0.9, 0.1 and True
max norm is 1.0 and max value is 2.0: expected one of the two
unknown nonlinearity 'sin': expected tanh or relu or sigmoid
x holds the class 3: expected classes from 0 to 2
target is float64: expected classes, which are integers, as the loss is cross_entropy; for other numbers choose squared_error
the largest number of the array is 9223372036854775808: expected a whole number, 0 or more and at most 9223372036854775807\
""")
