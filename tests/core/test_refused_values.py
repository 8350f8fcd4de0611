"""What is no array, no class, no weight or no rate is refused by every function and argument, in one line."""

import sys

import numpy as np
import pytest
from comparing import each
from refusal_calls import VARIANTS, B, D, H, O, T, arguments, call, ones, refused

import numpy_rnn
from numpy_rnn import Gradients, Parameters

# -- losses, classes and weights ------------------------------------------------------------------------------------

GRADIENTS = "bptt adjoints"
ROWS, CLASSES = np.full((T, B, O), 1 / O), np.zeros((T, B), int)
ENTROPY = {"loss": "cross_entropy"}


def at_end(array, value):
    """The array with this in its last step."""
    changed = array.copy()
    changed[-1] = value
    return changed


LOSSES: list[tuple] = [  # (the arguments of train that are changed, words)
    ({"x": at_end(CLASSES, D)}, "x holds the class 3: expected classes from 0 to 2"),
    ({"target": at_end(CLASSES, O), **ENTROPY}, "target holds the class 6: expected classes from 0 to 5"),
    ({"target": at_end(CLASSES, -1), **ENTROPY}, "target holds the class -1: expected classes from 0 to 5"),
    ({"x": np.zeros((T, B + 1), int)}, "h_0 has shape (2, 5): expected (3, 5)"),
    ({"x": np.zeros((T, B, D), int)}, "x is "),
    ({"target": CLASSES}, "target has shape (4, 2): expected (4, 2, 6)"),
    ({"target": at_end(ROWS, 1.05 / O), **ENTROPY}, "target has a row whose sum is 1.05"),
    ({"target": at_end(ROWS, 0.9 / O), **ENTROPY}, "target has a row whose sum is 0."),
    ({"target": at_end(ROWS, np.eye(O)[0] - 1e-6 * np.eye(O)[1]), **ENTROPY}, "target holds -1e-06: expected distri"),
    ({"target": at_end(ROWS, np.nan), **ENTROPY}, "target holds NaN or infinity"),
    ({"x": at_end(ones(T, B, D), np.nan)}, "x contains NaN or infinity"),
    ({"target": at_end(ROWS, np.inf)}, "target contains NaN or infinity"),
    ({"weights": ones(T, 1)}, "weights has shape (4, 1): expected (4, 2)"),
    ({"weights": ones(T, B, dtype="float32")}, "weights is "),
    ({"weights": at_end(ones(T, B), -1e-6)}, "weights holds -1e-06: expected numbers of 0 or more"),
    ({"weights": at_end(ones(T, B), np.nan)}, "weights holds NaN or infinity"),
    ({"loss": "hinge"}, "unknown loss 'hinge': expected squared_error or cross_entropy"),
    ({"max_norm": 1.0, "max_value": 2.0}, "max norm is 1.0 and max value is 2.0: expected one of the two limits"),
    ({"max_value": 0}, "max value is 0: expected a finite number above 0"),
]


@pytest.mark.parametrize("chunk", [3, 4096])
def test_losses_classes_and_weights_that_do_not_fit(rnn, chunk, monkeypatch):
    """At the last step; a long series is checked in chunks, of which the last may be shorter."""
    for module in ("shapes", "arrays"):
        monkeypatch.setattr(f"numpy_rnn.common.{module}.CHUNK", chunk)
    start = arguments(rnn)["train"] | {"target": rnn.from_numpy(ROWS)}
    for changed, says in LOSSES:
        changed = {name: rnn.from_numpy(v) if isinstance(v, np.ndarray) else v for name, v in changed.items()}
        refused(rnn, "train", start | changed, says)
    near = {"target": rnn.from_numpy(at_end(ROWS, 1.0009 / O))}
    assert len(list(call(rnn, "train", start | near | ENTROPY))) == T


RATE = "the learning rate"
OF_ENSEMBLES = [((), (1,)), ((), (4,)), ((3,), (2,)), ((3,), (3, 1)), ((3,), (1, 3)), ((3, 3), (3,)), ((2, 3), (3, 2))]
RATES: list[tuple] = [  # (E, learning rate, words)
    *((E, np.full(shape, 0.1), f"{RATE} has shape {shape}: expected a number, or one per network, of shape {E}")
      for E, shape in OF_ENSEMBLES),
    *(((3,), np.array([0.1, rate, 0.1]), "expected finite numbers, 0 or more") for rate in (np.nan, -np.inf, -0.1)),
    *(((3,), rate, f"{RATE} is a {type(rate).__name__}: expected a number, or an array of shape (3,)")
      for rate in ([0.1, 0.2, 0.3], "fast", None)),
]  # fmt: skip


def test_rates_of_an_ensemble(rnn):
    """Above all a shape that would broadcast: along the weights, or along another axis of the ensemble."""
    for E, rate, says in RATES:
        for name in ("sgd", "train", "train_stream"):
            refused(rnn, name, arguments(rnn, E)[name] | {"learning_rate": rate}, says)


def test_initial_parameters_of_no_network(rnn):
    for option in ("input_size", "hidden_size", "output_size", "seed", "networks", "bias", "dtype"):
        no_flag = () if option == "bias" else (True,)
        for value in ("yes", 1.5, -1, [1], *no_flag, *(() if option == "networks" else (None,))):
            refused(rnn, "initial_parameters", {option: value})
    for options, says in (
        ({"input_size": 0}, "the input size is 0"),
        ({"seed": -1}, "seed is -1: expected a whole number, 0 or more"),
        ({"networks": 0}, "networks is 0: expected a whole number, 1 or more"),
        ({"dtype": "int64"}, "dtype is int64: expected float32 or float64"),
    ):
        refused(rnn, "initial_parameters", options, says)


# -- every function, every argument ---------------------------------------------------------------------------------

FOREIGN = ["0.1", [0.5], (0.5,), {"x": 1}, object(), b"x", 1j]  # no arrays, no numbers and no records


def other_arrays(rnn, array):
    """By a word of the message, what is not the package's array of its dtype."""
    plain, is_torch = rnn.to_numpy(array), rnn.__name__ == "torch_rnn"
    found = {"masked": np.ma.masked_array(plain, plain > 0), "expected": plain.tolist()}
    if not is_torch:
        swapped = plain.dtype.newbyteorder()
        found[">f8" if sys.byteorder == "little" else "<f8"] = plain.astype(swapped)
    for kind in ("float16", "complex64", "int64", *(() if is_torch else ("longdouble", "object"))):
        with np.errstate(invalid="ignore"):
            other = plain.astype(kind)
        if is_torch:
            import torch

            other = torch.tensor(other)
        found[str(other.dtype)] = other
    return found


CONVERSIONS = "from_numpy", "view", "to_numpy"  # which take tuples, and arrays of any dtype
OF_ARRAYS = [name for name in arguments(numpy_rnn) if name not in ("windows", "initial_parameters", "from_state_dict")]


def to_be_checked(given):
    """The arguments that are looked at, as the parameters of a resumed run are not, and at once, as steps are not."""
    return given.keys() - {"steps", "copy", *(["params"] if "resume" in given else [])}


@pytest.mark.parametrize("name", OF_ARRAYS)
def test_what_is_no_array_is_refused_by_every_function(rnn, name):
    given = arguments(rnn)[name]
    for argument in to_be_checked(given):
        may_be_none = name == "to_numpy" or argument in ("velocity", "h_0", "resume", "max_norm", "max_value", "value")
        for value in (*FOREIGN, *([] if may_be_none else [None])):
            if not (name in CONVERSIONS and isinstance(value, tuple)):
                refused(rnn, name, given | {argument: value})


@pytest.mark.parametrize("name", [name for name in OF_ARRAYS if name not in CONVERSIONS])
def test_arrays_of_another_kind_dtype_or_shape_are_refused_by_every_function(rnn, name):
    """Masks, even over finite numbers; lists; dtypes that no network has; and what would broadcast."""
    given = arguments(rnn)[name]

    def with_one_other(value, change):
        """A record, or an array, with one array that is changed."""
        return value._replace(**{value._fields[1]: change(value[1])}) if isinstance(value, tuple) else change(value)

    for argument in to_be_checked(given):
        value = given[argument]
        if not (isinstance(value, Parameters) or hasattr(value, "ndim")):
            continue
        array = value[1] if isinstance(value, tuple) else value
        for says, other in other_arrays(rnn, array).items():
            refused(rnn, name, given | {argument: with_one_other(value, lambda _, other=other: other)}, says)
        for cut in (lambda v: v[:1], lambda v: v[None], lambda v: v[..., :1][..., 0]):
            if (argument in ("x", "y") or name in GRADIENTS) and cut(array).shape in ((1, B, D), (1, B, O)):
                continue  # a shorter series, or the target of the newest step
            if "stream" in name and argument == "h_0" and cut(array).shape == (1, H):
                continue  # a smaller batch
            refused(rnn, name, given | {argument: with_one_other(value, cut)})


@pytest.mark.needs_torch
@pytest.mark.parametrize("name", OF_ARRAYS)
def test_arrays_of_the_other_package_are_refused_with_its_name(rnn, name):
    import torch_rnn

    other = torch_rnn if rnn is numpy_rnn else numpy_rnn
    says = "torch_rnn takes tensors" if rnn is numpy_rnn else "numpy_rnn takes NumPy arrays"
    if VARIANTS.get(name, name) == "from_numpy" and rnn is torch_rnn:
        return  # which takes NumPy arrays
    given, theirs = arguments(rnn)[name], arguments(other)[name] | {"x": arguments(other)["forward"]["x"]}
    for argument in to_be_checked(given):
        if isinstance(given[argument], tuple) or hasattr(given[argument], "ndim"):
            changed = theirs["x" if argument == "value" else argument]
            refused(rnn, name, given | {argument: changed}, f"this is {rnn.__name__}", says)


def test_masked_arrays_are_refused_on_their_way_in(rnn):
    masked = np.ma.masked_array(np.ones((T, B, D)), np.zeros((T, B, D), bool))
    for name in ("from_numpy", "view"):
        refused(rnn, name, arguments(rnn)[name] | {"value": masked}, "is a masked array", "fill")
    state = {f"rnn.weight_{name}_l0": np.ma.masked_array(np.ones((H, H))) for name in ("ih", "hh")}
    refused(rnn, "from_state_dict", {"state": state | {"linear.weight": np.ones((O, H))}}, "is a masked array")


def test_activations_of_another_dtype(rnn):
    single = each(lambda theta: rnn.from_numpy(rnn.to_numpy(theta).astype("float32")), arguments(rnn)["bptt"]["params"])
    for name in GRADIENTS.split():
        says = "the activations are", "float64", "float32", "run forward on these"
        refused(rnn, name, arguments(rnn)[name] | {"params": single}, *says)


@pytest.mark.needs_torch
def test_torch_activations_without_a_graph_or_of_equal_parameters():
    import torch

    import torch_rnn as rnn

    given = arguments(rnn)["bptt"]
    with torch.no_grad():
        bare = call(rnn, "forward", arguments(rnn)["forward"])
    for name in GRADIENTS.split():
        refused(rnn, name, given | {"activations": bare}, "no autograd graph", "torch.no_grad()", "from_numpy")
    equal = rnn.from_numpy(rnn.to_numpy(given["params"]))
    refused(rnn, "bptt", given | {"params": equal}, "not of these parameters", "equal")
    plain = each(lambda theta: theta.detach(), given["params"])
    refused(rnn, "bptt", given | {"params": plain}, "does not require a gradient")
    assert type(call(rnn, "bptt", given)) is Gradients
