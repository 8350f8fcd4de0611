"""What is no array, no class, no weight or no rate is refused by every function and argument, in one line."""

import sys
from functools import partial

import numpy as np
import pytest
from comparing import each
from refusal_calls import CALLS, CONVERSIONS, B, D, H, O, T, arguments, ones, refused, train

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
    for module in ("shapes", "targets"):
        monkeypatch.setattr(f"numpy_rnn.common.{module}.CHUNK", chunk)
    given = arguments(rnn)
    start = given | {"target": rnn.from_numpy(ROWS)}
    for changed, says in LOSSES:
        changed = {name: rnn.from_numpy(v) if isinstance(v, np.ndarray) else v for name, v in changed.items()}
        arrays = {name: value for name, value in changed.items() if name in ("x", "target")}
        options = {name: value for name, value in changed.items() if name not in arrays}
        refused(partial(train, rnn, start | arrays, **options), says)
    near = {"target": rnn.from_numpy(at_end(ROWS, 1.0009 / O))}
    assert len(list(train(rnn, start | near, **ENTROPY))) == T


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
        given = arguments(rnn, E) | {"learning_rate": rate}
        for name in ("sgd", "train", "stream"):
            refused(partial(CALLS[name][0], rnn, given), says)


@pytest.mark.parametrize("option", ["input_size", "hidden_size", "output_size", "seed", "networks", "bias", "dtype"])
def test_initial_parameters_of_no_network(rnn, option):
    for value in ("yes", 1.5, -1, [1], object(), *([None] if option != "networks" else [])):
        refused(lambda value=value: rnn.initial_parameters(**{option: value}))
    if option not in ("bias", "dtype"):
        refused(lambda: rnn.initial_parameters(**{option: True}))
    for options, says in (
        ({"input_size": 0}, "the input size is 0"),
        ({"seed": -1}, "seed is -1: expected a whole number, 0 or more"),
        ({"networks": 0}, "networks is 0: expected a whole number, 1 or more"),
        ({"dtype": "int64"}, "dtype is int64: expected float32 or float64"),
    ):
        refused(lambda options=options: rnn.initial_parameters(**options), says)


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


@pytest.mark.parametrize("name", CALLS)
def test_what_is_no_array_is_refused_by_every_function(rnn, name):
    call, names = CALLS[name]
    given = arguments(rnn)
    for argument in names.split():
        may_be_none = name == "to_numpy" or argument in ("velocity", "max_norm", "h_0", "resume", "array")
        for value in (*FOREIGN, *([] if may_be_none else [None])):
            if name in CONVERSIONS and isinstance(value, tuple):
                continue
            refused(lambda argument=argument, value=value: call(rnn, given | {argument: value}))


@pytest.mark.parametrize("name", [name for name in CALLS if name not in CONVERSIONS])
def test_arrays_of_another_kind_dtype_or_shape_are_refused_by_every_function(rnn, name):
    """Masks, even over finite numbers; lists; dtypes that no network has; and what would broadcast."""
    call, names = CALLS[name]
    given = arguments(rnn)

    def with_one_other(value, change):
        """A record, or an array, with one array that is changed."""
        return value._replace(**{value._fields[1]: change(value[1])}) if isinstance(value, tuple) else change(value)

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
            if (argument in ("x", "y") or name in GRADIENTS) and cut(array).shape in ((1, B, D), (1, B, O)):
                continue  # a shorter series, or the target of the newest step
            if name == "stream" and argument == "h_0" and cut(array).shape == (1, H):
                continue  # a smaller batch
            refused(lambda changed=changed, argument=argument: call(rnn, given | {argument: changed}))


@pytest.mark.needs_torch
@pytest.mark.parametrize("name", CALLS)
def test_arrays_of_the_other_package_are_refused_with_its_name(rnn, name):
    import torch_rnn

    other = torch_rnn if rnn is numpy_rnn else numpy_rnn
    says = "torch_rnn takes tensors" if rnn is numpy_rnn else "numpy_rnn takes NumPy arrays"
    call, names = CALLS[name]
    ours, theirs = arguments(rnn), arguments(other)
    theirs["array"] = theirs["array"] if rnn is torch_rnn else theirs["x"]
    for argument in names.split():
        if argument in ("learning_rate", "max_norm") or (argument == "array" and rnn is torch_rnn):
            continue
        refused(
            lambda argument=argument: call(rnn, ours | {argument: theirs[argument]}), f"this is {rnn.__name__}", says
        )


def test_masked_arrays_are_refused_on_their_way_in(rnn):
    masked = np.ma.masked_array(np.ones((T, B, D)), np.zeros((T, B, D), bool))
    for copy in (True, False):
        refused(lambda copy=copy: rnn.from_numpy(masked, copy=copy), "is a masked array", "fill")
    state = {f"rnn.weight_{name}_l0": np.ma.masked_array(np.ones((H, H))) for name in ("ih", "hh")}
    refused(lambda: rnn.from_state_dict(state | {"linear.weight": np.ones((O, H))}), "is a masked array")


def test_activations_of_another_dtype(rnn):
    given = arguments(rnn)
    single = each(lambda theta: rnn.from_numpy(rnn.to_numpy(theta).astype("float32")), given["params"])
    for name in GRADIENTS.split():
        refused(lambda name=name: CALLS[name][0](rnn, given | {"params": single}),
                "the activations are", "float64", "float32", "run forward on these")  # fmt: skip


@pytest.mark.needs_torch
def test_torch_activations_without_a_graph_or_of_equal_parameters():
    import torch

    import torch_rnn

    given = arguments(torch_rnn)
    with torch.no_grad():
        bare = torch_rnn.forward(given["params"], given["x"], given["h_0"])
    for name in GRADIENTS.split():
        call = CALLS[name][0]
        refused(lambda call=call: call(torch_rnn, given | {"activations": bare}),
                "no autograd graph", "torch.no_grad()", "from_numpy")  # fmt: skip
    equal = torch_rnn.from_numpy(torch_rnn.to_numpy(given["params"]))
    refused(lambda: torch_rnn.bptt(equal, given["activations"], given["target"]), "not of these parameters", "equal")
    plain = each(lambda theta: theta.detach(), given["params"])
    refused(lambda: torch_rnn.bptt(plain, given["activations"], given["target"]), "does not require a gradient")
    assert type(torch_rnn.bptt(given["params"], given["activations"], given["target"])) is Gradients
