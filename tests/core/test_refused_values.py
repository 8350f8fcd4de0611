"""Every public function refuses values of another kind in one line that names them, in both packages."""

import sys

import numpy as np
import pytest
from cases import bits, each, random_case

from numpy_rnn import Gradients, InputError, Parameters, windows

T, B, D, H, O = 4, 2, 3, 5, 1
RUN = {"k1": 2, "k2": 3, "learning_rate": 0.1}


def arguments(rnn):
    """By name, what the functions take."""
    params, x, target, h_0 = random_case(0, T, B, D, H, O).of(rnn)
    activations = rnn.forward(params, x, h_0)
    gradients = rnn.bptt(params, activations, target)
    run = rnn.train(params, x, target, h_0, **RUN, momentum=0.9, epochs=1)
    given = {"params": params, "x": x, "target": target, "h_0": h_0, "activations": activations, "gradients": gradients}
    given |= {"velocity": next(run).velocity, "resume": run.state(), "learning_rate": 0.1, "max_norm": 1.0}
    return given | {"y": activations.y, "array": rnn.to_numpy(x)}


def train(rnn, given, **options):
    series = (given[name] for name in ("params", "x", "target", "h_0"))
    return next(rnn.train(*series, **RUN | {"epochs": 2} | options))


def stream(rnn, given, **options):
    steps = zip(given["x"], given["target"], strict=True)
    return next(rnn.train_stream(given["params"], steps, given["h_0"], **RUN | options))


CALLS = {
    "forward": (lambda rnn, g: rnn.forward(g["params"], g["x"], g["h_0"]), "params x h_0"),
    "bptt": (lambda rnn, g: rnn.bptt(g["params"], g["activations"], g["target"]), "params activations target"),
    "adjoints": (lambda rnn, g: rnn.adjoints(g["params"], g["activations"], g["target"]), "params activations target"),
    "half_squared_error": (lambda rnn, g: rnn.half_squared_error(g["y"], g["target"]), "y target"),
    "clip_by_global_norm": (
        lambda rnn, g: rnn.clip_by_global_norm(g["gradients"], g["max_norm"]),
        "gradients max_norm",
    ),
    "direction": (
        lambda rnn, g: rnn.direction(g["params"], g["gradients"], g["velocity"], momentum=0.9),
        "params gradients velocity",
    ),
    "sgd": (
        lambda rnn, g: rnn.sgd(g["params"], g["gradients"], g["learning_rate"]),
        "params gradients learning_rate",
    ),
    "train": (
        lambda rnn, g: train(rnn, g, learning_rate=g["learning_rate"], max_norm=g["max_norm"]),
        "params x target h_0 learning_rate max_norm",
    ),
    "train, resumed": (lambda rnn, g: train(rnn, g, momentum=0.9, resume=g["resume"]), "x target h_0 resume"),
    "train_stream": (lambda rnn, g: stream(rnn, g, learning_rate=g["learning_rate"]), "params h_0 learning_rate"),
    "train_stream, moving": (lambda rnn, g: stream(rnn, g, momentum=0.9, velocity=g["velocity"]), "velocity"),
    "to_state_dict": (lambda rnn, g: rnn.to_state_dict(g["params"]), "params"),
    "from_numpy": (lambda rnn, g: rnn.from_numpy(g["array"]), "array"),
    "from_numpy, no copy": (lambda rnn, g: rnn.from_numpy(g["array"], copy=False), "array"),
    "to_numpy": (lambda rnn, g: rnn.to_numpy(g["x"]), "x"),
}


FOREIGN = ["0.1", [0.5], (0.5,), {"x": 1}, object(), b"x", 1j]  # no arrays, no numbers and no records


def other_arrays(rnn, array):
    """By a word of the message, what is not the package's array of its dtype."""
    plain = rnn.to_numpy(array)
    found = {
        "masked": np.ma.masked_array(plain, plain > 0),
        "expected": plain.tolist(),
        ">f8" if sys.byteorder == "little" else "<f8": plain.astype(plain.dtype.newbyteorder())
        if rnn.__name__ == "numpy_rnn"
        else None,
    }
    kinds = ("float16", "complex64", "int64") + (("longdouble", "object") if rnn.__name__ == "numpy_rnn" else ())
    of = np.asarray if rnn.__name__ == "numpy_rnn" else _tensor
    for kind in kinds:
        with np.errstate(invalid="ignore"):
            other = plain.astype(kind)
        found[str(other.dtype)] = other if rnn.__name__ == "numpy_rnn" else of(other)
    return {word: value for word, value in found.items() if value is not None}


def _tensor(array):
    import torch

    return torch.tensor(array)


def refused(call, *says):
    with pytest.raises(InputError) as refusal:
        call()
    message = str(refusal.value)
    assert "\n" not in message
    assert len(message) < 400
    for words in ("expected", *says):
        assert words in message, message


@pytest.mark.parametrize("name", CALLS)
def test_what_is_no_array_is_refused_by_every_function(rnn, name):
    call, names = CALLS[name]
    given = arguments(rnn)
    call(rnn, given)
    for argument in names.split():
        may_be_none = name == "to_numpy" or argument in ("velocity", "max_norm", "h_0", "resume", "array")
        for value in (*FOREIGN, *([] if may_be_none else [None])):
            if name in ("from_numpy", "from_numpy, no copy", "to_numpy") and isinstance(value, tuple):
                continue
            refused(lambda argument=argument, value=value: call(rnn, given | {argument: value}))


def with_one_other(value, change):
    """A record, or an array, with one array that is changed."""
    if isinstance(value, tuple):
        return value._replace(**{value._fields[1]: change(value[1])})
    return change(value)


@pytest.mark.parametrize(
    "name", [name for name in CALLS if name not in ("from_numpy", "from_numpy, no copy", "to_numpy")]
)
def test_arrays_of_another_kind_dtype_or_shape_are_refused_by_every_function(rnn, name):
    """Masks, even over finite numbers; lists; dtypes that no network has; and what would broadcast."""
    call, names = CALLS[name]
    given = arguments(rnn)
    for argument in names.split():
        value = given[argument]
        if not isinstance(value, Parameters) and not hasattr(value, "ndim"):
            continue
        array = value[1] if isinstance(value, tuple) else value
        for says, other in other_arrays(rnn, array).items():
            changed = with_one_other(value, lambda _, other=other: other)
            refused(lambda changed=changed, argument=argument: call(rnn, given | {argument: changed}), says)
        for cut in (lambda v: v[:1], lambda v: v[None], lambda v: v[..., :1][..., 0]):
            changed = with_one_other(value, cut)
            if argument in ("x", "y") and cut(array).shape == (1, B, D):
                continue  # a shorter series
            if argument == "target" and cut(array).shape == (1, B, O) and name in ("bptt", "adjoints"):
                continue  # the newest step's
            if O == 1 and argument == "target" and cut(array).shape == array.shape:
                continue
            refused(lambda changed=changed, argument=argument: call(rnn, given | {argument: changed}))


@pytest.mark.needs_torch
@pytest.mark.parametrize("name", CALLS)
def test_arrays_of_the_other_package_are_refused_with_its_name(rnn, name):
    import numpy_rnn
    import torch_rnn

    other = torch_rnn if rnn is numpy_rnn else numpy_rnn
    says = "torch_rnn takes tensors" if rnn is numpy_rnn else "numpy_rnn takes NumPy arrays"
    call, names = CALLS[name]
    ours, theirs = arguments(rnn), arguments(other)
    theirs["array"] = theirs["array"] if rnn is torch_rnn else theirs["x"]
    for argument in names.split():
        if argument in ("learning_rate", "max_norm") or (argument == "array" and rnn is torch_rnn):
            continue
        refused(lambda argument=argument: call(rnn, ours | {argument: theirs[argument]}), says, rnn.__name__)


@pytest.mark.parametrize("rate", [None, -1, -1.0, np.nan, np.inf, "0.1", True, 1j, [0.1], 10**400], ids=str)
def test_rates_that_no_step_has_are_refused(rnn, rate):
    given = arguments(rnn) | {"learning_rate": rate}
    for name in ("sgd", "train", "train_stream"):
        refused(lambda name=name: CALLS[name][0](rnn, given), "the learning rate")


@pytest.mark.parametrize(
    ("option", "values"),
    [
        ("record", ["False", None, 1, 0.0]),
        ("nesterov", ["no", None, 1]),
        ("k1", [True, 1.0, "1", None]),
        ("k2", [True, 3.0, "3", None]),
        ("epochs", [True, 1.0, "1", None]),
        ("momentum", ["0.9", None, True, 1j, [0.9], 10**400, np.nan]),
        ("dampening", ["0.9", None, 1j, np.inf]),
        ("weight_decay", ["0.9", None, -(10**400)]),
        ("max_norm", ["1", 1j, True, 10**400]),
        ("nonlinearity", [None, ["tanh"], 3, "sin"]),
        ("reduction", [None, {"sum"}, "max"]),
    ],
)
def test_options_of_another_kind_are_refused(rnn, option, values):
    given = arguments(rnn)
    for value in values:
        refused(lambda value=value: train(rnn, given, **{option: value}), option.replace("_", " ").split()[0])


@pytest.mark.parametrize("option", ["input_size", "hidden_size", "output_size", "seed", "networks", "bias", "dtype"])
def test_initial_parameters_of_no_network_are_refused(rnn, option):
    for value in ("yes", 1.5, -1, [1], object(), *([None] if option != "networks" else [])):
        refused(lambda value=value: rnn.initial_parameters(**{option: value}))
    if option not in ("bias", "dtype"):
        refused(lambda: rnn.initial_parameters(**{option: True}))


def test_the_number_of_steps_of_a_schedule_is_a_whole_number():
    for steps in (-1, 2.5, "3", None, True):
        refused(lambda steps=steps: windows(steps, 1, 1), "steps is")


def test_an_update_takes_no_gradient_of_another_shape(rnn):
    """One row of it would otherwise move all rows."""
    given = arguments(rnn)
    gradients, params = given["gradients"], given["params"]
    for other in (gradients._replace(W_hh=gradients.W_hh[:1]), gradients._replace(h_0=given["h_0"])):
        refused(lambda other=other: rnn.sgd(params, other, 0.1), "gradient of ")
        refused(lambda other=other: rnn.direction(params, other), "gradient of ")


def test_plain_tuples_go_in_and_out_like_named_ones(rnn):
    array = np.arange(3.0)
    both = rnn.to_numpy(rnn.from_numpy((array, (array, None, 2, 0.5))))
    assert bits(both[0]) == bits(both[1][0]) == bits(array)
    assert both[1][1:] == (None, 2, 0.5)


def test_a_state_dict_that_cannot_be_read_back_is_not_written(rnn):
    params = each(np.copy, random_case(0, 1, 1, 2, 3, 1).params)
    params.W_hh[0, 0] = np.nan
    refused(lambda: rnn.to_state_dict(rnn.from_numpy(params)), "W_hh contains NaN or infinity")


def test_masked_arrays_are_refused_on_their_way_in(rnn):
    masked = np.ma.masked_array(np.ones((T, B, D)), np.zeros((T, B, D), bool))
    for copy in (True, False):
        refused(lambda copy=copy: rnn.from_numpy(masked, copy=copy), "is a masked array", "fill")
    state = {f"rnn.weight_{name}_l0": np.ma.masked_array(np.ones((H, H))) for name in ("ih", "hh")}
    refused(lambda: rnn.from_state_dict(state | {"linear.weight": np.ones((O, H))}), "is a masked array")


@pytest.mark.needs_torch
def test_torch_activations_of_equal_parameters_are_refused_by_name():
    import torch_rnn

    given = arguments(torch_rnn)
    equal = torch_rnn.from_numpy(torch_rnn.to_numpy(given["params"]))
    refused(lambda: torch_rnn.bptt(equal, given["activations"], given["target"]), "not of these parameters", "equal")
    plain = Parameters(*(None if theta is None else theta.detach() for theta in given["params"]))
    refused(lambda: torch_rnn.bptt(plain, given["activations"], given["target"]), "does not require a gradient")
    assert type(torch_rnn.bptt(given["params"], given["activations"], given["target"])) is Gradients
