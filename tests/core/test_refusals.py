"""Arguments that do not fit are refused before anything is computed: by an InputError that names one."""

from functools import cache
from itertools import product

import numpy as np
import pytest
from cases import OPTIONS, STEPS, Kind, Sizes, random_run, train_stream
from comparing import bits, each
from inline_snapshot import snapshot

import numpy_rnn
from numpy_rnn import Gradients, InputError
from numpy_rnn.common.checks import check_step
from numpy_rnn.common.records import Objective, Step

T, B, D, H, O = 4, 2, 3, 5, 6


@cache
def valid(rnn, E=(), learned=False):
    """By function, or variant of one, all of its arguments by name, and valid. None of them is changed."""
    run = random_run(0, Sizes(T, B, D, H, O, E), Kind(learned=learned, weighted=True))
    data = {
        name: rnn.from_numpy(getattr(run, name))
        for name in ("params", "x", "target", "h_0", "weights")
    }
    params, x, target, h_0, weights = data.values()
    objective = run.options.objective._asdict()
    of_loss = {"target": target, "reduction": "sum", "weights": weights}
    momentum = {
        "momentum": 0.9,
        "dampening": 0.0,
        "nesterov": False,
        "weight_decay": 0.1,
        "adagrad": False,
    }
    rest = {
        "k1": 1,
        "k2": 2,
        "learning_rate": 0.1,
        "record": False,
        "yield_every": 1,
        "max_norm": 1.0,
    }
    rest |= {"max_value": None} | momentum | objective
    series = data | rest | {"epochs": 1}
    resumed = rnn.train(**series)
    velocity = next(resumed).velocity
    activations = rnn.forward(params, x, params.h_0 if h_0 is None else h_0)
    window = {
        "params": params,
        "activations": activations,
        "target": target,
        "weights": weights,
    } | objective
    gradients = rnn.bptt(params, activations, target)
    distributions = rnn.from_numpy(np.full(activations.y.shape, 1 / O))
    single = rnn.from_numpy(random_run(0, Sizes(1, 1, D, H, O)).params)
    sizes = {"input_size": D, "hidden_size": H, "output_size": O}
    return {
        "forward": {"params": params, "x": x, "h_0": activations.h[0], "nonlinearity": "tanh"},
        "bptt": window,
        "adjoints": window,
        "half_squared_error": {"y": activations.y, **of_loss},
        "cross_entropy": {"y": activations.y, **of_loss, "target": distributions},
        "clip_by_global_norm": {"gradients": gradients, "max_norm": 1.0},
        "clip_by_value": {"gradients": gradients, "max_value": 1.0},
        "direction": {"params": params, "gradients": gradients, "velocity": velocity, **momentum},
        "sgd": {"params": params, "delta": gradients, "learning_rate": 0.1},
        "train": series,
        "train, resumed": series | {"resume": resumed.state()},
        "train_stream": {
            "params": params,
            "steps": untouchable(),
            "h_0": h_0,
            "velocity": velocity,
            **rest,
        },
        "windows": {"steps": 5, "k1": 1, "k2": 2},
        "initial_parameters": {**sizes, "bias": True, "dtype": "float32", "seed": 0, "networks": 2},
        "from_numpy": {"value": rnn.to_numpy(x)},
        "to_numpy": {"value": x},
        "to_state_dict": {"params": single},
    }


def untouchable():
    """A stream that fails if a step is asked for: what is refused is refused before."""
    raise AssertionError("a step was asked for")
    yield


def call(rnn, name, given):
    return getattr(rnn, name.partition(",")[0])(**given)


def refusal(rnn, name, given, *names):
    """The message of the InputError that the call raises: one line of moderate length, with one of the names."""
    with pytest.raises(InputError, match=r"\A[^\n]{,400}\Z") as refused:
        call(rnn, name, given)
    message = str(refused.value)
    assert any(word in message for word in ("expected", "choose", "needs")), message
    assert not names or any(part in message for part in names), message
    return message


@pytest.mark.parametrize(("E", "learned"), [((), False), ((7,), False), ((), True), ((7,), True)])
@pytest.mark.with_reference
def test_valid_arguments_are_accepted(rnn, E, learned):
    """Else a test of this file might see a refusal for another reason."""
    for (name, given), options in product(valid(rnn, E, learned).items(), STEPS[:-1]):
        of_step = {
            key: value for key, value in Step(0.1, **options)._asdict().items() if key in given
        }
        result = call(rnn, name, given if name.startswith("clip") else given | of_step)
        assert name != "train" or len(list(result)) == T
    given = valid(rnn, E, learned)[
        "forward"
    ]  # of one sequence, whatever the batch of a learned state
    assert rnn.forward(
        given["params"], given["x"][..., :1, :], given["h_0"][..., :1, :]
    ).y.shape == (T, *E, 1, O)


# -- one argument spoiled ---------------------------------------------------------------------------------------------

MASKED = np.ma.masked_array(
    np.ones((T, B, D)), np.zeros((T, B, D), bool)
)  # over finite numbers, too
FOREIGN = (
    np.str_("0.1"),
    [0.5],
    (0.5,),
    {"x": 1},
    object(),
    b"x",
    1j,
    np.array(object()),
    MASKED,
    np.timedelta64(1, "s"),
    None,
)
ANY_NUMBER = np.nan, np.inf, True, 10**400
NUMBERS: dict[str, tuple] = dict.fromkeys(
    ("k1", "k2", "yield_every", "input_size", "hidden_size", "output_size", "networks"), (0, 1.0)
)
NUMBERS |= dict.fromkeys(("steps", "epochs", "seed"), (-1, 1.0)) | {"dampening": ANY_NUMBER}
NUMBERS |= dict.fromkeys(
    ("learning_rate", "momentum", "weight_decay", "max_norm", "max_value"), (-1.0, *ANY_NUMBER)
)
NUMBERS |= dict.fromkeys(("bias", "record", "nesterov", "adagrad"), (1, 0.0))
OTHER_NAMES = {"steps": "stream", "delta": "gradient", "resume": "velocity"}
NONE_IS_VALID = {"velocity", "weights", "resume", "max_norm", "max_value", "networks", "value"}
NUMBERS_ARE_VALID = {"from_numpy", "to_numpy"}
FINITE = {"train", "train, resumed", "train_stream", "to_state_dict"}  # which refuse NaN


def spoiled_arrays(rnn, name, array):
    """An array of another dtype or package, with a mask or NaN, a list, and shapes that would broadcast."""
    plain, is_torch = rnn.to_numpy(array), rnn.__name__ == "torch_rnn"
    others = [plain.astype(kind) for kind in ("float16", "complex64", "int64")]
    if is_torch:
        import torch

        others = [*map(torch.tensor, others), plain]
    else:
        others += [plain.astype(kind) for kind in ("longdouble", "object", ">f8")]
    cuts = [array[:1], array[None], array[..., :1][..., 0]]
    nan = rnn.from_numpy(
        np.where(np.arange(plain.size).reshape(plain.shape) == plain.size - 1, np.nan, plain)
    )
    return [
        *others,
        np.ma.masked_array(plain, plain > 0),
        plain.tolist(),
        *cuts,
        *([nan] if name in FINITE else []),
    ]


def spoiled(rnn, name, argument, value):
    """Values that no call takes for this argument."""
    takes_none = argument in NONE_IS_VALID and not name.startswith("clip")
    takes_tuple = name in NUMBERS_ARE_VALID
    yield from (
        v for v in FOREIGN if not ((v is None and takes_none) or (type(v) is tuple and takes_tuple))
    )
    yield from NUMBERS.get(argument, ())
    if isinstance(value, tuple):
        field = next(field for field in value._fields[1:] if hasattr(getattr(value, field), "ndim"))
        yield from (
            value._replace(**{field: v}) for v in spoiled_arrays(rnn, name, getattr(value, field))
        )
    elif hasattr(value, "ndim") and name not in NUMBERS_ARE_VALID:
        yield from spoiled_arrays(rnn, name, value)


def other_names(argument, value):
    """The names that a message may call an argument by: its name, as an option is called, or by a field."""
    names = {
        argument,
        argument.rstrip("s"),
        argument.replace("_", " "),
        OTHER_NAMES.get(argument, argument),
    }
    return names | {f"{field} " for field in getattr(value, "_fields", ())} | {"the array is"}


def fits_too(name, argument, value):
    """Whether the shape is that of a shorter series, of the newest step's target, or of a smaller batch."""
    shape = tuple(getattr(value, "shape", ()))
    of_window = name in ("bptt", "adjoints", "half_squared_error", "cross_entropy", "forward")
    shorter = (
        of_window and argument in ("x", "target", "activations") and shape in ((1, B, D), (1, B, O))
    )
    return shorter or (name == "train_stream" and argument == "h_0" and shape == (1, H))


@pytest.mark.parametrize("name", list(valid(numpy_rnn)))
def test_one_spoiled_argument_is_refused_by_its_name(rnn, name):
    given = valid(rnn)[name]
    for argument, value in given.items():
        if (name, argument) in (("train_stream", "steps"), ("train, resumed", "params")):
            continue  # they are read later, or not at all
        names = other_names(argument, value)
        for other in spoiled(rnn, name, argument, value):
            if not fits_too(name, argument, other):
                cut = (
                    hasattr(other, "shape")
                    and hasattr(value, "shape")
                    and other.shape != value.shape
                )
                refusal(rnn, name, given | {argument: other}, *(() if cut else names))


@pytest.mark.needs_torch
def test_torch_activations_without_a_graph_or_of_equal_parameters():
    import torch

    import torch_rnn as rnn

    given = valid(rnn)["bptt"]
    with torch.no_grad():
        bare = call(rnn, "forward", valid(rnn)["forward"])
    equal = rnn.from_numpy(rnn.to_numpy(given["params"]))
    plain = each(lambda theta: theta.detach(), given["params"])
    refusal(rnn, "bptt", given | {"activations": bare}, "no autograd graph")
    refusal(rnn, "adjoints", given | {"activations": bare}, "no autograd graph")
    refusal(rnn, "bptt", given | {"params": equal}, "not of these parameters")
    refusal(rnn, "bptt", given | {"params": plain}, "which require a gradient")
    assert type(call(rnn, "bptt", given)) is Gradients


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


def test_classes_are_integers_of_any_kind(rnn):
    """Also unsigned ones of torch, which has little for them."""
    params, h_0 = rnn.initial_parameters(D, H, O, dtype="float64"), rnn.from_numpy(np.zeros((1, H)))
    x = np.array([[0], [2], [1]])
    wide = bits(rnn.forward(params, rnn.from_numpy(x), h_0).y)
    for dtype in ("int8", "int16", "int32", "uint8", "uint16", "uint32", "uint64"):
        assert bits(rnn.forward(params, rnn.from_numpy(x.astype(dtype)), h_0).y) == wide
        if rnn.__name__ == "torch_rnn":
            import torch

            assert bits(rnn.forward(params, torch.tensor(x.astype(dtype)), h_0).y) == wide


@pytest.mark.with_reference
def test_classes_of_several_integer_types_in_one_stream(rnn):
    """They are their values, whatever NumPy and torch make of such types together, in inputs and in targets."""
    kinds = ["uint64", "int64", "int8", "uint32", "int16", "uint64", "uint8"]
    for options in ({"k1": 2, "k2": 3}, {"k1": 1, "k2": 1}):
        objective = Objective(loss="cross_entropy")
        run = random_run(0, Sizes(O=3), Kind(classes=True), OPTIONS._replace(objective=objective))
        wide = [bits(rnn.to_numpy(update.loss)) for update in train_stream(rnn, run, **options)]
        steps = list(zip(run.x, run.target, kinds, reversed(kinds)))
        stream = [
            (rnn.from_numpy(x.astype(one)), rnn.from_numpy(y.astype(other)))
            for x, y, one, other in steps
        ]
        if rnn.__name__ == "torch_rnn":  # whose from_numpy has int64 for unsigned types
            import torch

            stream = [
                (torch.tensor(x.astype(one)), torch.tensor(y.astype(other)))
                for x, y, one, other in steps
            ]
        assert [
            bits(rnn.to_numpy(update.loss)) for update in train_stream(rnn, run, stream, **options)
        ] == wide


def test_prefixes_of_a_state_dict_and_rates_of_odd_types(rnn):
    """Prefixes are text; a number in an array of objects is a number."""
    params = valid(rnn)["to_state_dict"]["params"]
    for name, given in (("to_state_dict", {"params": params}), ("from_state_dict", {"state": {}})):
        for argument, value in (("rnn", b"x"), ("linear", 5)):
            refusal(
                rnn,
                name,
                given | {argument: value},
                f"{argument} is {value!r}: expected the prefix",
            )
    of_step = valid(rnn)["sgd"]
    rates = 0.1, np.array(0.1, object)
    assert (
        len({bits(rnn.to_numpy(rnn.sgd(**of_step | {"learning_rate": rate}))) for rate in rates})
        == 1
    )


# -- messages ---------------------------------------------------------------------------------------------------------


def ones(*shape, dtype="float64"):
    return np.ones(shape, dtype)


def at_end(array, value):
    """The array with this in its last step."""
    changed = array.copy()
    changed[-1] = value
    return changed


ROWS, CLASSES, ENTROPY = np.full((T, B, O), 1 / O), np.zeros((T, B), int), {"loss": "cross_entropy"}
CALLS = [  # (function, its arguments or fields of records that are changed), and then E and `learned` of `valid`
    ("forward", {"x": ones(0, B, D)}), ("train", {"h_0": ones(1, H)}), ("train", {"h_0": None}),
    ("train", {"h_0": ones(B, H)}, (), True), ("train", {"x": ones(T, B, D, dtype="float32")}),
    ("train", {"x": at_end(ones(T, B, D), np.nan)}), ("train", {"x": ones(T, 6, B, D)}, (7,)),
    ("train", {"x": MASKED}), ("bptt", {"activations.h": ones(T, B, H)}), ("train", {"params.b_h": None}),
    ("train", {"params.b_y": None}),
    ("train", {"params.W_hy": ones(H)}), ("sgd", {"delta.h_0": ones(B, H)}), ("train_stream", {"velocity.W_hy": None}),
    ("train_stream", {"steps": 3}), ("train", {"yield_every": "all"}), ("train", {"learning_rate": "fast"}),
    ("train", {"learning_rate": np.full(4, 0.1)}, (7,)), ("windows", {"k1": 0}), ("windows", {"k1": 3, "k2": 2}),
    ("train", {"record": 1}), ("bptt", {"target": ones(9, B, O), "weights": None}), ("direction", {"adagrad": True}),
    ("direction", {"dampening": np.nan}), ("direction", {"nesterov": True, "dampening": 0.1}),
    ("clip_by_value", {"max_value": 0}), ("train", {"max_value": 2.0}), ("train", {"nonlinearity": "sin"}),
    ("initial_parameters", {"dtype": "int64"}), ("initial_parameters", {"deviations": (0.4,)}),
    ("train", {"x": at_end(CLASSES, D)}), ("train", {"x": np.zeros((T, B, D), int)}), ("train", {"target": CLASSES}),
    ("train", {"target": at_end(ROWS, 1.05 / O), **ENTROPY}), ("train", {"weights": at_end(ones(T, B), -1e-6)}),
    ("train, resumed", {"k1": 2}), ("train, resumed", {"resume.window": (0, 0, 1)}),
    ("train, resumed", {"resume.velocity": numpy_rnn.Gradients(*[ones(H, H)] * 5)}),
    ("to_state_dict", {"params.h_0": ones(1, H)}),
]  # fmt: skip


def changed(rnn, given, changes):
    """The arguments with other values; "params.W_hh" is a field of one."""
    for name, value in changes.items():
        if type(value) is np.ndarray:
            value = rnn.from_numpy(value)
        record, _, field = name.rpartition(".")
        given = given | (
            {record: given[record]._replace(**{field: value})} if record else {name: value}
        )
    return given


def test_messages():
    """The words of numpy_rnn."""
    rnn = numpy_rnn
    messages = [
        refusal(rnn, name, changed(rnn, valid(rnn, *kind)[name], changes))
        for name, changes, *kind in CALLS
    ]
    assert "\n".join(messages) == snapshot("""\
x has shape (0, 2, 3): expected (T, B, 3), time first, with no empty axis
h_0 has shape (1, 5): expected (2, 5)
no h_0: expected either h_0 or parameters with a learned one
h_0 is given, and the parameters have a learned one: expected either h_0 or parameters with a learned one
x is float32 and the parameters are float64: expected one dtype
x contains NaN or infinity: expected finite numbers
x has shape (4, 6, 2, 3): expected (T, 7, B, 3), or without the axes (7,) of the ensemble, time first, with no empty axis
x is of type MaskedArray: expected a NumPy array without a mask; torch_rnn takes tensors
h of the activations has shape (4, 2, 5): expected (5, 2, 5)
b_y is given without b_h: expected both biases or neither
b_h is given without b_y: expected both biases or neither
W_hy has shape (5,): expected (5, O)
there is a gradient of h_0: expected none, as the parameters have no h_0
there is no velocity of W_hy: expected one, as other parameters have one
the stream is a int: expected an iterable of pairs (x_t, target_t)
yield_every is 'all': expected 'epoch', or a whole number of updates, 1 or more
the learning rate is fast: expected a finite number, 0 or more
the learning rate has shape (4,): expected a number, or one per network, of shape (7,)
k1 is 0: expected a whole number, 1 or more
k2 is 2 and k1 is 3: expected k2 ≥ k1, because the window must contain the k1 new steps of its update; choose k2 ≥ 3
record is 1: expected True or False
target has 9 steps and x has 4: expected between 1 and 4
adagrad needs momentum 0, dampening 0 and nesterov False: they are 0.9, 0.0 and False
dampening is nan: expected a finite number, usually from 0 to 1
nesterov needs momentum above 0 and dampening 0: they are 0.9, 0.1 and True
max value is 0: expected a finite number above 0
max norm is 1.0 and max value is 2.0: expected one of the two limits
unknown nonlinearity 'sin': expected tanh or relu or sigmoid
dtype is int64: expected float32 or float64
deviations is (0.4,): expected two numbers
x holds the class 3: expected classes from 0 to 2
x is int64 of shape (4, 2, 3): expected classes (T, B), time first, with no empty axis
target has shape (4, 2): expected (4, 2, 6)
the sum of a row of target holds 1.05: expected numbers from 0.999 to 1.001
weights holds -1e-06: expected numbers of 0 or more
the state to resume from is that after update 1, Window(start=0, loss_start=0, stop=1): expected Window(start=0, loss_start=0, stop=2) for k1 = 2, k2 = 2 and 4 steps; resume with the arguments of that run
the state to resume from is that after update 1, (0, 0, 1): expected Window(start=0, loss_start=0, stop=1) for k1 = 1, k2 = 2 and 4 steps; resume with the arguments of that run
the velocity of W_xh has shape (5, 5): expected (3, 5)
the parameters have a learned h_0, and torch.nn.RNN has not: expected one network with h_0 None; take network n by indexing every array with n, and pass a learned h_0[None] to torch.nn.RNN as hx\
""")


BAD_STEPS = [
    (ones(B, D + 1), ones(B, O)), (ones(1, D), ones(1, O)), (ones(B, D, dtype="float32"), ones(B, O)),
    (ones(B, D) * np.nan, ones(B, O)), ("x", "y"), (ones(B, D), ones(B, O), None), (ones(B, D), np.full(B, O)),
    (np.zeros(B, int), ones(B, O) / O), (ones(B, D), ones(B, O) / O, ones(B)), (ones(B, D),), ones(3, B, D),
]  # fmt: skip


def test_bad_step_of_a_stream_is_refused_by_its_number(rnn):
    """When it comes; the updates before it are made."""
    run = random_run(6, Sizes(T, B, D, H, O))
    steps = [tuple(map(rnn.from_numpy, step)) for step in zip(run.x, np.full((T, B, O), 1 / O))]
    for bad in BAD_STEPS:
        if type(bad) is tuple:
            bad = tuple(rnn.from_numpy(v) if isinstance(v, np.ndarray) else v for v in bad)
        training = train_stream(rnn, run, [*steps[:3], bad], **ENTROPY)
        assert next(training).number == 1
        with pytest.raises(InputError, match=r"\Astep 4 of the stream: [^\n]*expected[^\n]*\Z"):
            next(training)
        assert training.state().number == 1
