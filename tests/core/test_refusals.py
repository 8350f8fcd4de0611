"""What does not fit is refused before anything is computed: by an InputError of one line that names the argument."""

from itertools import product

import numpy as np
import pytest
from cases import STEPS, Sizes, random_run, train_stream
from comparing import bits, each
from inline_snapshot import snapshot
from refusal_calls import B, D, H, O, T, call, fits_too, other_names, refusal, spoiled, valid

import numpy_rnn
from numpy_rnn import Gradients, InputError
from numpy_rnn.common.check_options import check_step
from numpy_rnn.common.records import Step


@pytest.mark.parametrize("options", STEPS[:-1], ids=str)  # the velocity is no sum of squares
@pytest.mark.parametrize(("E", "learned"), [((), False), ((7,), False), ((), True), ((7,), True)])
@pytest.mark.with_reference
def test_valid_arguments_are_accepted(rnn, E, learned, options):
    """Else a test of this file might see a refusal for another reason."""
    for name, given in valid(rnn, E, learned).items():
        of_step = {key: value for key, value in Step(0.1, **options)._asdict().items() if key in given}
        result = call(rnn, name, given if name.startswith("clip") else given | of_step)
        assert name != "train" or len(list(result)) == T


# -- one argument spoiled ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(valid(numpy_rnn)))
def test_one_spoiled_argument_is_refused_by_its_name(rnn, name):
    given = valid(rnn)[name]
    for argument, value in given.items():
        if argument in ("steps", "state") and name != "windows":
            continue  # steps are read later; test_parameters.py spoils state dicts
        if name == "train, resumed" and argument == "params":
            continue  # they are not read
        names = other_names(argument, value)
        for other in spoiled(rnn, name, argument, value):
            if not fits_too(name, argument, other):
                cut = hasattr(other, "shape") and hasattr(value, "shape") and other.shape != value.shape
                refusal(rnn, name, given | {argument: other}, *(() if cut else names))


@pytest.mark.needs_torch
@pytest.mark.parametrize("name", list(valid(numpy_rnn)))
def test_arrays_of_the_other_package_are_refused_by_name(rnn, name):
    import torch_rnn

    other = torch_rnn if rnn is numpy_rnn else numpy_rnn
    says = "torch_rnn takes tensors" if rnn is numpy_rnn else "numpy_rnn takes NumPy arrays"
    given, theirs = valid(rnn)[name], valid(other)[name]
    for argument, value in given.items():
        is_read = argument not in ("steps", "state", "value") and (name, argument) != ("train, resumed", "params")
        if is_read and (isinstance(value, tuple) or hasattr(value, "ndim")):
            assert says in refusal(rnn, name, given | {argument: theirs[argument]}, f"this is {rnn.__name__}")


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


@pytest.mark.needs_torch
def test_classes_are_integers_of_any_kind():
    """torch has little for unsigned ones, which from_numpy therefore converts."""
    import torch

    import torch_rnn

    params = numpy_rnn.initial_parameters(D, H, O, dtype="float64")
    theta, h_0 = torch_rnn.from_numpy(params), torch.zeros(1, H, dtype=torch.float64)
    for width in (8, 16, 32, 64):
        for dtype in (f"int{width}", f"uint{width}"):
            x = np.array([[0], [2], [1]], dtype)
            for rnn, weights, state in ((numpy_rnn, params, h_0.numpy()), (torch_rnn, theta, h_0)):
                wide, narrow = (rnn.forward(weights, rnn.from_numpy(c), state).y for c in (x.astype(np.int64), x))
                assert bits(narrow) == bits(wide)
            if dtype in ("uint16", "uint32", "uint64"):
                with pytest.raises(InputError, match=f"^x is torch.{dtype}: expected int64; from_numpy converts"):
                    torch_rnn.forward(theta, torch.tensor(x), h_0)


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
    ("train", {"x": ones(T, D)}), ("forward", {"x": ones(0, B, D)}), ("forward", {"x": ones(T, B, D + 1)}),
    ("train", {"h_0": ones(1, H)}), ("train", {"h_0": None}), ("train", {"h_0": ones(B, H)}, (), True),
    ("train_stream", {"h_0": ones(H)}), ("train", {"x": ones(T, B, D, dtype="float32")}),
    ("train", {"x": at_end(ones(T, B, D), np.nan)}), ("bptt", {"target": ones(T, B)}),
    ("bptt", {"target": ones(T + 1, B, O)}), ("train", {"target": ones(T - 1, B, O)}),
    ("half_squared_error", {"y": ones(B, O)}),
    ("train", {"params.W_xh": ones(D, H + 1)}), ("train", {"params.W_hh": ones(H, H + 1)}),
    ("train", {"params.b_h": None}), ("train", {"params.b_h": ones(H, dtype="float32")}),
    ("train", {"params.W_hy": ones(H)}),
    ("train", {"params.b_y": np.full(O, np.inf)}), ("bptt", {"params.h_0": np.zeros((1, H))}),
    ("bptt", {"activations.h": ones(T, B, H)}), ("sgd", {"delta.W_hh": ones(1, H)}), ("sgd", {"delta.h_0": ones(B, H)}),
    ("train_stream", {"velocity.W_hy": None}), ("train_stream", {"velocity.b_h": np.full(H, np.nan)}),
    ("train_stream", {"velocity.W_hh": ones(2, 2)}), ("train", {"x": ones(T, 6, B, D)}, (7,)),
    ("train", {"params.b_h": ones(H)}, (7,)), ("train", {"params.h_0": ones(1, B, H)}, (7,), True),
    ("train", {"learning_rate": np.full(4, 0.1)}, (7,)), ("train", {"learning_rate": np.full((), -0.1)}),
    ("train", {"learning_rate": "fast"}),
    ("to_state_dict", {"params.h_0": ones(1, H)}), ("windows", {"k1": 0}), ("windows", {"k1": 3, "k2": 2}),
    ("train", {"epochs": -1}), ("train", {"yield_every": "all"}),
    ("train_stream", {"steps": 3}), ("train", {"record": 1}),
    ("direction", {"momentum": -0.1}), ("direction", {"dampening": np.nan}),
    ("direction", {"nesterov": True, "dampening": 0.1}), ("direction", {"adagrad": True}),
    ("direction", {"adagrad": True, "momentum": 0.0, "dampening": 0.1}),
    ("direction", {"adagrad": True, "momentum": 0.0, "nesterov": True}),
    ("clip_by_value", {"max_value": 0}), ("train", {"max_value": 2.0}), ("train", {"max_norm": 10**400}),
    ("train", {"nonlinearity": "sin"}), ("train", {"reduction": ["sum"]}), ("train", {"loss": "hinge"}),
    ("initial_parameters", {"hidden_size": 0}), ("initial_parameters", {"dtype": "int64"}),
    ("train", {"x": at_end(CLASSES, D)}), ("train", {"x": np.zeros((T, B, D), int)}), ("train", {"target": CLASSES}),
    ("train", {"target": at_end(CLASSES, -1), **ENTROPY}), ("train", {"target": at_end(ROWS, 1.05 / O), **ENTROPY}),
    ("train", {"target": at_end(ROWS, np.eye(O)[0] - 1e-6 * np.eye(O)[1]), **ENTROPY}),
    ("train", {"target": at_end(ROWS, np.nan), **ENTROPY}), ("train", {"weights": ones(T, 1)}),
    ("train", {"weights": at_end(ones(T, B), -1e-6)}), ("train", {"weights": at_end(ones(T, B), np.nan)}),
    ("train, resumed", {"k1": 2}), ("train, resumed", {"resume.number": 3}), ("train, resumed", {"resume.epoch": 0}),
    ("train, resumed", {"resume.h": ones(B, H + 1)}), ("train, resumed", {"resume.h": np.full((B, H), np.nan)}),
    ("train, resumed", {"momentum": 0.0, "adagrad": True}), ("direction", {"momentum": 0.0, "adagrad": True}),
]  # fmt: skip


def changed(rnn, given, changes):
    """The arguments with other values; "params.W_hh" is a field of one."""
    for name, value in changes.items():
        if isinstance(value, np.ndarray):
            value = rnn.from_numpy(value)
        record, _, field = name.rpartition(".")
        given = given | ({record: given[record]._replace(**{field: value})} if record else {name: value})
    return given


@pytest.mark.with_reference
def test_stream_has_no_epochs_to_yield(rnn):
    refusal(rnn, "train_stream", valid(rnn)["train_stream"] | {"yield_every": "epoch"}, "yield_every")


def test_messages(rnn):
    """Both packages refuse in the same words."""
    messages = [refusal(rnn, name, changed(rnn, valid(rnn, *kind)[name], changes)) for name, changes, *kind in CALLS]
    assert "\n".join(messages).replace("torch.", "") == snapshot("""\
x has shape (4, 3): expected (T, B, D), time first, with no empty axis
x has shape (0, 2, 3): expected (T, B, D), time first, with no empty axis
x has shape (4, 2, 4): expected (4, 2, 3)
h_0 has shape (1, 5): expected (2, 5)
no initial state: expected h_0, or parameters with a learned one
h_0 is given and the parameters have a learned one: expected None for h_0, or parameters without
h_0 has shape (5,): expected (B, H)
x is float32 and the parameters are float64: expected one dtype; convert one
x contains NaN or infinity: expected finite numbers
target has shape (4, 2): expected (4, 2, 6)
target has 5 steps and x has 4: expected between 1 and 4
target has 3 steps: expected 4, one for every step of x
y has shape (2, 6): expected (K, B, O), time first, with no empty axis
W_xh has shape (3, 6): expected (3, 5)
W_hh has shape (5, 6): expected a square matrix (H, H)
b_y is given without b_h: expected both biases or neither
b_h is float32 and the parameters are float64: expected one dtype; convert one
W_hy has shape (5,): expected 2 axes, after those of an ensemble
b_y contains NaN or infinity: expected finite numbers
the learned h_0 has shape (1, 5): expected (2, 5)
h of the activations has shape (4, 2, 5): expected (5, 2, 5)
the gradient of W_hh has shape (1, 5): expected (5, 5)
there is a gradient of h_0: expected none, as the parameters have no h_0
the state has no velocity of W_hy: expected one, as other parameters have one
the velocity of b_h contains NaN or infinity: expected finite numbers
the velocity of W_hh has shape (2, 2): expected (5, 5)
x has shape (4, 6, 2, 3): expected (4, 2, 3) or (4, 7, 2, 3)
b_h has shape (5,): expected (7, 5)
h_0 has shape (1, 2, 5): expected (7, 2, 5)
the learning rate has shape (4,): expected a number, or one per network, of shape (7,)
the learning rate is -0.1: expected a finite number, 0 or more
the learning rate is fast: expected a finite number, 0 or more
the parameters have a learned h_0, and nn.RNN has no such parameter: expected h_0 None; keep h_0, pass params._replace(h_0=None) here, and h_0[None] to nn.RNN as hx
k1 is 0: expected a whole number, 1 or more
k2 is 2 and k1 is 3: expected k2 ≥ k1, because the window must contain the k1 new steps of its update; choose k2 ≥ 3
epochs is -1: expected a whole number, 0 or more
yield_every is 'all': expected 'epoch', or a whole number of updates, 1 or more
the stream is a int: expected an iterable of pairs (x_t, target_t)
record is 1: expected True or False
momentum is -0.1: expected a finite number, 0 or more
dampening is nan: expected a finite number, usually from 0 to 1
nesterov needs momentum above 0 and dampening 0: they are 0.9, 0.1 and True
adagrad needs momentum 0, dampening 0 and nesterov False: they are 0.9, 0.0 and False; leave them out
adagrad needs momentum 0, dampening 0 and nesterov False: they are 0.0, 0.1 and False; leave them out
adagrad needs momentum 0, dampening 0 and nesterov False: they are 0.0, 0.0 and True; leave them out
max value is 0: expected a finite number above 0
max norm is 1.0 and max value is 2.0: expected one of the two limits; leave the other out
max norm is 10000000000000000000000000000000000000000000000000000000000000000000000000000...: expected a finite number above 0
unknown nonlinearity 'sin': expected tanh or relu or sigmoid
unknown reduction of type list: expected sum or mean
unknown loss 'hinge': expected squared_error or cross_entropy
the hidden size is 0: expected a whole number, 1 or more
dtype is int64: expected float32 or float64
x holds the class 3: expected classes from 0 to 2
x is int64 of shape (4, 2, 3): expected floating-point (T, B, D), or classes (T, B), time first, with no empty axis
target has shape (4, 2): expected (4, 2, 6)
target holds the class -1: expected classes from 0 to 5
target has a row whose sum is 1.05: expected distributions, whose sum is 1
target holds -1e-06: expected numbers of 0 or more
target contains NaN or infinity: expected finite numbers
weights has shape (4, 1): expected (4, 2)
weights holds -1e-06: expected numbers of 0 or more
weights contains NaN or infinity: expected finite numbers
the state to resume from is that after update 1, window (0, 0, 1): expected (0, 0, 2) for k1 = 2, k2 = 2 and 4 steps; resume with the arguments of that run
the state to resume from is that after update 3, window (0, 0, 1): expected (1, 2, 3) for k1 = 1, k2 = 2 and 4 steps; resume with the arguments of that run
the epoch of the state to resume from is 0: expected a whole number, 1 or more
h has shape (2, 6): expected (2, 5)
h contains NaN or infinity: expected finite numbers
the velocity of W_xh has numbers below 0: expected the sums of squares of Adagrad; do not continue a run with momentum by Adagrad
the velocity of W_xh has numbers below 0: expected the sums of squares of Adagrad; do not continue a run with momentum by Adagrad\
""")  # noqa: E501


# -- steps of a stream ------------------------------------------------------------------------------------------------

BAD_STEPS = [
    (ones(B, D + 1), ones(B, O)), (ones(1, D), ones(1, O)), (ones(B, D), ones(B, 1)),
    (ones(B, D, dtype="float32"), ones(B, O)), (ones(B, D), ones(B, O, dtype="int64")),
    (ones(B, D) * np.nan, ones(B, O)), ("x", "y"), ([[0.0]], ones(B, O)), (ones(B, D), ones(B, O), None),
    (np.zeros(B, int), ones(B, O)), (ones(B, D), ones(B, O), ones(B)), (ones(B, D),), ones(3, B, D),
]  # fmt: skip
BAD_ENTROPY = [
    (ones(B, D), np.full(B, O)), (ones(B, D), ones(B, O)), (np.full(B, -1), ones(B, O) / O),
    (ones(B, D), ones(B, O) / O, ones(B) * np.inf),
]  # fmt: skip


def test_bad_steps_of_a_stream(rnn):
    """A step is refused by its number when it comes, and the updates before it are made."""
    messages = []
    for loss, bad_steps in (("squared_error", BAD_STEPS), ("cross_entropy", BAD_ENTROPY)):
        run = random_run(6, Sizes(T, B, D, H, O))
        target = run.target if loss == "squared_error" else np.full((T, B, O), 1 / O)
        steps = [tuple(map(rnn.from_numpy, step)) for step in zip(run.x, target)]
        first, *_ = train_stream(rnn, run, steps, loss=loss)
        for step in bad_steps:
            if type(step) is tuple:
                step = tuple(rnn.from_numpy(v) if isinstance(v, np.ndarray) else v for v in step)
            training = train_stream(rnn, run, [*steps[:3], step], loss=loss)
            assert bits(next(training)) == bits(first)
            with pytest.raises(InputError, match=r"\Astep 4 of the stream[^\n]*\Z") as refused:
                next(training)
            messages.append(str(refused.value).replace("torch.", "").replace("a Tensor", "a NumPy array"))
            assert training.state().number == 1
    assert "\n".join(messages) == snapshot("""\
step 4 of the stream: x has shape (2, 4): expected (2, 3)
step 4 of the stream: x has shape (1, 3): expected (2, 3)
step 4 of the stream: target has shape (2, 1): expected (2, 6)
step 4 of the stream: x is float32 and the parameters are float64: expected one dtype; convert one
step 4 of the stream: target is int64 and the parameters are float64: expected one dtype; convert one
step 4 of the stream: x contains NaN or infinity: expected finite numbers
step 4 of the stream: x is a str: expected a NumPy array; from_numpy converts a NumPy array
step 4 of the stream: x is a list: expected a NumPy array; from_numpy converts a NumPy array
step 4 of the stream: weights is None: expected a NumPy array; from_numpy converts a NumPy array
step 4 of the stream has another form than those before it: expected classes, rows and weights in the same places
step 4 of the stream has another form than those before it: expected classes, rows and weights in the same places
step 4 of the stream is tuple: expected a pair of arrays, or three with weights
step 4 of the stream is ndarray: expected a pair of arrays, or three with weights
step 4 of the stream: target holds the class 6: expected classes from 0 to 5
step 4 of the stream: target has a row whose sum is 6.0: expected distributions, whose sum is 1
step 4 of the stream: x holds the class -1: expected classes from 0 to 2
step 4 of the stream: weights contains NaN or infinity: expected finite numbers\
""")
