"""What does not fit is refused before anything is computed, in one line, by every public function.

The tables have a row per change of valid arguments: which functions, the change, words of the message.
"""

from functools import cache
from itertools import islice

import numpy as np
import pytest
from cases import random_case
from refusal_calls import BASES, B, D, H, O, T, arguments, call, ones, refused

import numpy_rnn
from numpy_rnn import Parameters
from numpy_rnn.common.errors import shown

# -- arrays ---------------------------------------------------------------------------------------------------------


def at_end(array, value):
    """The array with this in its last step."""
    changed = array.copy()
    changed[-1] = value
    return changed


ONE = "expected one dtype"
RATE, RATED = "the learning rate", "sgd train train_stream"
AXES = [((), (1,)), ((), (4,)), ((3,), (2,)), ((3,), (3, 1)), ((3,), (1, 3)), ((3, 3), (3,)), ((2, 3), (3, 2))]
BOTH, GRADIENTS, TARGETS = "forward train", "bptt adjoints", "bptt adjoints train"
NETWORKS = "train train_stream"
ARRAYS: list[tuple] = [  # (functions, valid arguments, argument or field of params, value, *words)
    (BOTH, "one", "x", ones(T, D), "x has shape (4, 3)", "(T, B, D)"),
    (BOTH, "one", "x", ones(), "x has shape ()", "(T, B, D)"),
    (BOTH, "one", "x", ones(T, 1, B, D), "x has shape (4, 1, 2, 3)", "(T, B, D)"),
    (BOTH, "one", "x", ones(0, B, D), "x has shape (0, 2, 3)", "no empty axis"),
    (BOTH, "one", "x", ones(T, 0, D), "x has shape (4, 0, 3)", "no empty axis"),
    (BOTH, "one", "x", ones(T, B, D + 1), "x has shape (4, 2, 4)", "expected (4, 2, 3)"),
    (BOTH, "one", "x", ones(T, B, 1), "x has shape (4, 2, 1)", "expected (4, 2, 3)"),
    *((BOTH, "one", "h_0", ones(*shape), f"h_0 has shape {shape}", "expected (2, 5)")  # also what would broadcast
      for shape in ((H,), (1, H), (B, 1), (1, B, H))),
    ("train_stream", "one", "h_0", ones(B, H + 1), "h_0 has shape (2, 6): expected (2, 5)"),
    ("train_stream", "one", "h_0", ones(H), "h_0 has shape (5,): expected (B, H)"),
    (NETWORKS, "one", "h_0", None, "no initial state: expected h_0, or parameters with a learned one"),
    (NETWORKS, "learned", "h_0", ones(B, H), "h_0 is given and the parameters have a learned one", "expected None"),
    (BOTH, "one", "x", ones(T, B, D, dtype="float32"), "x is ", "float32", "the parameters are ", "float64", ONE),
    (BOTH, "one", "x", ones(T, B, D, dtype="int64"), "x is ", "int64", "expected"),
    *((BOTH, "one", "h_0", ones(B, H, dtype=dtype), "h_0 is ", dtype, "the parameters are ", "float64", ONE)
      for dtype in ("float32", "int64")),
    (TARGETS, "one", "target", ones(T, B, O, dtype="float32"), "target is ", "float32", "float64", ONE),
    *((TARGETS, "one", "target", ones(*shape), f"target has shape {shape}", "expected (4, 2, 6)")
      for shape in ((T, B, 1), (T, 1, O), (T, B), (T, 1, B, O))),
    *((GRADIENTS, "one", "target", ones(steps, B, O), f"target has {steps} steps", "between 1 and 4")
      for steps in (0, T + 1)),
    *(("train", "one", "target", ones(steps, B, O), f"target has {steps} steps", "expected 4, one for every step")
      for steps in (0, 1, T - 1, T + 1)),
    *(("half_squared_error", "one", "target", ones(*shape), f"target has shape {shape}", "(4, 2, 6)")
      for shape in ((1, B, O), (T, 1, O), (T, B, 1), (B, O), ())),
    ("half_squared_error", "one", "y", ones(B, O), "y has shape (2, 6): expected (K, B, O)"),
    (NETWORKS, "one", "params.W_xh", ones(D, H + 1), "W_xh has shape (3, 6)", "expected (3, 5)"),
    (NETWORKS, "one", "params.W_xh", ones(H), "W_xh has shape (5,)", "expected 2 axes"),
    (NETWORKS, "one", "params.W_hh", ones(H, H + 1), "W_hh has shape (5, 6): expected a square matrix (H, H)"),
    (NETWORKS, "one", "params.W_hy", ones(H + 1, O), "W_hy has shape (6, 6)", "expected (5, 6)"),
    (NETWORKS, "one", "params.W_hy", ones(2, H, O), "W_hy has shape (2, 5, 6)", "expected (5, 6)"),
    (NETWORKS, "one", "params.b_h", ones(H + 1), "b_h has shape (6,)", "expected (5,)"),
    (NETWORKS, "one", "params.b_h", ones(1), "b_h has shape (1,)", "expected (5,)"),
    (NETWORKS, "one", "params.b_h", ones(), "b_h has shape ()", "expected 1 axes"),
    (NETWORKS, "one", "params.b_y", ones(1), "b_y has shape (1,)", "expected (6,)"),
    (NETWORKS, "one", "params.W_hh", ones(0, H, H), "W_hh has shape (0, 5, 5)", "no empty axis"),
    (NETWORKS, "one", "params.b_h", None, "b_y is given without b_h", "expected both biases or neither"),
    (NETWORKS, "one", "params.b_y", None, "b_h is given without b_y", "expected both biases or neither"),
    *((NETWORKS, "learned", f"params.{name}", ones(*shape, dtype="f4"), f"{name} is ", "float32", "W_hh is ", ONE)
      for name, shape in (("W_xh", (D, H)), ("W_hy", (H, O)), ("b_h", (H,)), ("b_y", (O,)), ("h_0", (B, H)))),
    ("train", "learned", "params.h_0", ones(B + 1, H), "h_0 has shape (3, 5): expected (2, 5)"),
    ("train", "learned", "params.h_0", ones(1, H), "h_0 has shape (1, 5): expected (2, 5)"),
    (NETWORKS, "learned", "params.h_0", ones(B, H + 1), "h_0 has shape (2, 6): expected (2, 5)"),
    # Each network learns a state of its own.
    (NETWORKS, "learned ensemble", "params.h_0", ones(B, H), "h_0 has shape (2, 5): expected (7, 2, 5)"),
    (NETWORKS, "learned ensemble", "params.h_0", ones(1, B, H), "h_0 has shape (1, 2, 5): expected (7, 2, 5)"),
    ("train", "ensemble", "x", ones(T, 6, B, D), "x has shape (4, 6, 2, 3)", "expected (4, 2, 3) or (4, 7, 2, 3)"),
    ("train", "ensemble", "x", ones(T, 7, 7, B, D), "x has shape (4, 7, 7, 2, 3)", "(T, B, D)"),
    ("train", "ensemble", "target", ones(T, 6, B, O), "shape (4, 6, 2, 6)", "expected (4, 2, 6) or (4, 7, 2, 6)"),
    (NETWORKS, "ensemble", "h_0", ones(6, B, H), "h_0 has shape (6, 2, 5)", "expected (2, 5) or (7, 2, 5)"),
    (NETWORKS, "ensemble", "params.W_xh", ones(8, D, H), "W_xh has shape (8, 3, 5)", "expected (7, 3, 5)"),
    (NETWORKS, "ensemble", "params.b_h", ones(H), "b_h has shape (5,)", "expected (7, 5)"),
    ("half_squared_error", "ensemble", "target", ones(T, 6, B, O), "(4, 6, 2, 6)", "expected (4, 7, 2, 6)"),
    (GRADIENTS, "one", "params.h_0", np.zeros((1, H)), "the learned h_0 has shape (1, 5)", "(2, 5)"),
    ("direction", "one", "gradients.W_hh", ones(1, H), "gradient of "),  # or one row would move all rows
    ("direction", "one", "gradients.h_0", ones(B, H), "gradient of "),
    ("sgd", "one", "delta.W_hh", ones(1, H), "gradient of "),
    ("sgd", "one", "delta.h_0", ones(B, H), "gradient of "),
    ("moving_stream", "one", "velocity.W_hh", ones(2, 2), "the velocity of W_hh is ", "of shape (2, 2): expected"),
    ("moving_stream", "one", "velocity.W_hy", None, "no velocity of W_hy: expected one, as other parameters have one"),
    ("moving_stream", "one", "velocity.b_h", ones(H) * np.nan, "the velocity of b_h contains NaN or infinity"),
    ("moving_stream", "one", "velocity.h_0", ones(1, 1), "there is a velocity of h_0: expected none"),
    *(
        (functions, base, name, at_end(ones(*shape), bad), f"{name.removeprefix('params.')} contains NaN or infinity")
        for bad in (np.nan, np.inf, -np.inf)
        for functions, base, name, shape in (
            ("train", "one", "x", (T, B, D)), ("train", "one", "target", (T, B, O)), (NETWORKS, "one", "h_0", (B, H)),
            (NETWORKS, "one", "params.W_xh", (D, H)), (NETWORKS, "one", "params.b_y", (O,)),
            (NETWORKS, "learned", "params.h_0", (B, H)), ("to_state_dict", "one", "params.W_hh", (H, H)),
        )
    ),
    ("to_state_dict", "one", "params", random_case(0, 1, 1, D, H, O, E=(5,)).params, "an ensemble of shape (5,): exp"),
    ("to_state_dict", "one", "params.h_0", ones(1, H), "a learned h_0, and torch.nn.RNN has no", "h_0[None] to"),
    ("to_state_dict", "one", "params.W_hy", ones(2, O), "W_hy has shape"),
    ("to_state_dict", "one", "params.b_y", None, "b_h is given without b_y"),
    (GRADIENTS, "one", "params", random_case(0, 1, 1, D, H, O, dtype="float32").params,
     "the activations are", "float64", "float32", "run forward on these"),
    # Rates that would broadcast: along the weights, or along another axis of the ensemble.
    *((RATED, E, "learning_rate", np.full(shape, 0.1),
       f"{RATE} has shape {shape}: expected a number, or one per network, of shape {E}") for E, shape in AXES),
    *((RATED, (3,), "learning_rate", np.array([0.1, rate, 0.1]), "expected finite numbers, 0 or more")
      for rate in (np.nan, -np.inf, -0.1)),
    *((RATED, (3,), "learning_rate", rate, f"{RATE} is a {type(rate).__name__}: expected a number, or an array")
      for rate in ([0.1, 0.2, 0.3], "fast", None)),
]  # fmt: skip


def with_one(rnn, given, name, value):
    """The arguments with another value for one of them, or for one field, "params.W_hh", of a record."""
    if isinstance(value, np.ndarray | Parameters) and name != "learning_rate":  # which may be NumPy's in both backends
        value = rnn.from_numpy(value)
    record, _, field = name.rpartition(".")
    return given | ({record: given[record]._replace(**{field: value})} if record else {name: value})


@cache
def refusals_of_arrays(rnn):
    """What every function says to every row of ARRAYS."""
    return [
        refused(rnn, function, with_one(rnn, arguments(rnn, base)[function], name, value), *says)
        for functions, base, name, value, *says in ARRAYS
        for function in functions.split()
    ]


@pytest.mark.with_reference
def test_arrays_that_do_not_fit(rnn):
    assert refusals_of_arrays(rnn)


@pytest.mark.needs_torch
def test_both_backends_refuse_in_the_same_words():
    import torch_rnn

    theirs, ours = ([m.replace("torch.", "") for m in refusals_of_arrays(rnn)] for rnn in (torch_rnn, numpy_rnn))
    assert theirs == ours


# -- options --------------------------------------------------------------------------------------------------------

WHOLE = "expected a whole number"
STEPS = f"{WHOLE} of steps, 1 or more"
SCHEDULES, STEPPING = f"windows {NETWORKS}", f"direction {NETWORKS}"
NOT_SMALL = "expected a finite number, 0 or more"
NORM = "expected a finite number above 0, or None for no clipping"
NESTEROV = "nesterov needs momentum above 0 and dampening 0: they are"
OPTIONS: list[tuple] = [  # (functions, options, *words)
    *((SCHEDULES, {"k1": k}, f"k1 is {k!r}: {STEPS}") for k in (0, -2, True, 1.0, 1.5, "1", None)),
    *((SCHEDULES, {"k2": k}, f"k2 is {k!r}: {STEPS}") for k in (0, -1, True, 3.0, 3.5, "3", None)),
    (SCHEDULES, {"k1": 3, "k2": 2}, "k2 is 2 and k1 is 3: expected k2 ≥ k1", "must contain", "choose k2 ≥ 3"),
    *(("windows", {"steps": n}, f"steps is {n!r}: {WHOLE}, 0 or more") for n in (-1, 2.5, "3", None, True)),
    *(("train", {"epochs": n}, f"epochs is {n!r}: {WHOLE}, 0 or more") for n in (-1, True, 1.0, 1.5, "1", None)),
    *((NETWORKS, {"yield_every": n}, f"yield_every is {n!r}: expected ", "whole number")
      for n in (0, -1, 1.5, True, None, "all", "epochs")),
    ("train_stream", {"yield_every": "epoch"}, f"yield_every is 'epoch': {WHOLE}, 1 or more"),
    *((RATED, {"learning_rate": rate}, f"the learning rate is {rate}: expected finite numbers, 0 or more")
      for rate in (-0.1, -1, np.nan, np.inf, np.float32("-inf"), True)),
    *((RATED, {"learning_rate": rate}, "the learning rate is a ") for rate in (None, "0.1", 1j, [0.1])),
    (RATED, {"learning_rate": 10**400}, "the learning rate is "),
    ("train_stream", {"steps": 3}, "the stream is a int: expected an iterable of pairs"),
    *((NETWORKS, {"record": value}, f"record is {value!r}: expected True or False")
      for value in ("False", None, 1, 0.0)),
    *((STEPPING, {"nesterov": value}, "nesterov is", "expected True or False") for value in ("no", None, 1)),
    *((STEPPING, {"momentum": value}, f"momentum is {shown(value)}: {NOT_SMALL}")
      for value in (-0.1, np.nan, np.inf, "0.9", None, True, 1j, [0.9], 10**400)),
    *((STEPPING, {"weight_decay": value}, f"weight decay is {shown(value)}: {NOT_SMALL}")
      for value in (-1e-3, np.nan, "0.9", None, -(10**400))),
    *((STEPPING, {"dampening": value}, f"dampening is {shown(value)}: expected a finite number, usually from 0 to 1")
      for value in (np.nan, -np.inf, np.inf, "0.9", None, 1j)),
    (STEPPING, {"nesterov": True}, f"{NESTEROV} 0.0 and 0.0"),
    (STEPPING, {"adagrad": 1}, "adagrad is 1: expected True or False"),
    (STEPPING, {"adagrad": True, "momentum": 0.9}, "adagrad is given with momentum 0.9, dampening 0"),
    (STEPPING, {"adagrad": True, "dampening": 0.5}, "adagrad is given with momentum 0", "dampening 0.5"),
    (STEPPING, {"nesterov": True, "momentum": 0.9, "dampening": 0.1}, f"{NESTEROV} 0.9 and 0.1"),
    *((f"clip_by_global_norm {NETWORKS}", {"max_norm": value}, f"max norm is {shown(value)}: {NORM}")
      for value in (0, 0.0, -1.0, np.nan, np.inf, "1", 1j, True, 10**400)),
    *((f"forward {TARGETS} train_stream", {"nonlinearity": value}, "nonlinearity", "expected tanh or relu")
      for value in ("sin", None, ["tanh"], 3)),
    *((f"half_squared_error {TARGETS} train_stream", {"reduction": value}, "reduction", "expected sum or mean")
      for value in ("average", None, {"sum"})),
    ("train", {"loss": "hinge"}, "unknown loss 'hinge': expected squared_error or cross_entropy"),
    ("train", {"max_norm": 1.0, "max_value": 2.0}, "max norm is 1.0 and max value is 2.0: expected one of"),
    ("train", {"max_value": 0}, "max value is 0: expected a finite number above 0"),
    ("initial_parameters", {"input_size": 0}, "the input size is 0"),
    ("initial_parameters", {"seed": -1}, f"seed is -1: {WHOLE}, 0 or more"),
    ("initial_parameters", {"networks": 0}, f"networks is 0: {WHOLE}, 1 or more"),
    ("initial_parameters", {"dtype": "int64"}, "dtype is int64: expected float32 or float64"),
    *(("initial_parameters", {name: value}) for value in ("yes", 1.5, -1, [1], True, None)
      for name in ("input_size", "hidden_size", "output_size", "seed", "networks", "bias", "dtype")
      if (name, value) not in (("bias", True), ("networks", None))),
]  # fmt: skip
TAKEN = [
    {}, {"momentum": 1.5}, {"momentum": 0.9, "dampening": -1.0}, {"momentum": 0.9, "dampening": 2.0},
    {"dampening": 0.5}, {"momentum": 0.9, "nesterov": True}, {"weight_decay": 3.0},
]  # fmt: skip


@pytest.mark.with_reference
def test_options_that_cannot_be(rnn):
    for functions, options, *says in OPTIONS:
        for function in functions.split():
            refused(rnn, function, arguments(rnn)[function] | options, *says)


@pytest.mark.with_reference
@pytest.mark.parametrize("base", BASES)
def test_the_valid_arguments_are_accepted(rnn, base):
    """Else a test of this file might see a refusal for another reason."""
    for name, given in arguments(rnn, base).items():
        for options in TAKEN if name in STEPPING.split() else [{}]:
            call(rnn, name, given | options)
    assert len(list(call(rnn, "train", arguments(rnn, base)["train"]))) == T


# -- losses, classes and weights -------------------------------------------------------------------------------------

ROWS, CLASSES = np.full((T, B, O), 1 / O), np.zeros((T, B), int)
ENTROPY = {"loss": "cross_entropy"}
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


# -- states to resume from -------------------------------------------------------------------------------------------


def moving(state, **velocity):
    return state._replace(velocity=state.velocity._replace(**velocity))


PLACE = "the state to resume from is that after update "
STATES: list[tuple] = [  # (updates made, the change of the state, other arguments, words)
    (2, {}, {"k1": 1}, f"{PLACE}2, window (1, 2, 4): expected (0, 1, 2) for k1 = 1, k2 = 3 and 5 steps"),
    (2, {}, {"k2": 2}, f"{PLACE}2, window (1, 2, 4): expected (2, 2, 4) for k1 = 2, k2 = 2 and 5 steps"),
    (1, {}, {"k1": 3}, f"{PLACE}1, window (0, 0, 2): expected (0, 0, 3) for k1 = 3, k2 = 3 and 5 steps"),
    (3, {}, {"k2": 4}, f"{PLACE}3, window (2, 4, 5): expected (1, 4, 5) for k1 = 2, k2 = 4 and 5 steps"),
    (3, {}, {"T": 4}, "and 4 steps; resume with the arguments of that run"),
    (2, {}, {"B": B + 1}, "has h of shape (2, 5): expected (3, 5)"),
    *((2, nowhere, {}, PLACE) for nowhere in ({"epoch": 0}, {"number": 0}, {"number": 3}, {"number": 9})),
    (2, lambda s: s._replace(parameters=s.parameters._replace(b_y=np.full(O, np.nan))), {}, "b_y contains NaN"),
    (2, lambda s: s._replace(h=s.h.astype("float32")), {}, "h is "),
    (2, lambda s: s._replace(h=s.h * np.nan), {}, "h contains NaN or infinity: expected finite numbers"),
    (2, lambda s: moving(s, W_hy=s.velocity.W_hy[:1]), {}, "the velocity of W_hy is "),
    (2, lambda s: moving(s, W_hy=s.velocity.W_hy.astype("float32")), {}, "the velocity of W_hy is "),
    (2, lambda s: moving(s, W_hy=s.velocity.W_hy * np.inf), {}, "the velocity of W_hy contains NaN or infinity"),
    (2, lambda s: moving(s, b_h=None), {}, "has no velocity of b_h: expected one, as other parameters have one"),
    (2, lambda s: moving(s, h_0=s.h[0]), {}, "there is a velocity of h_0: expected none"),
    (2, {}, {"momentum": 0, "adagrad": True}, "expected the sums of squares of Adagrad"),  # none is below 0
]


@pytest.mark.with_reference
def test_a_state_that_does_not_fit_is_refused(rnn):
    for number, change, other, says in STATES:
        options = {"k1": 2, "k2": 3, "learning_rate": 0.05, "epochs": 2, "momentum": 0.9}
        run = rnn.train(*random_case(5, 5, B, D, H, O).for_train(rnn), **options)
        list(islice(run, number))
        state = rnn.to_numpy(run.state())
        state = rnn.from_numpy(change(state) if callable(change) else state._replace(**change))
        options |= other | {"resume": state}
        case = random_case(5, options.pop("T", 5), options.pop("B", B), D, H, O)
        refused(rnn, "train", dict(zip(("params", "x", "target", "h_0"), case.for_train(rnn))) | options, says)
