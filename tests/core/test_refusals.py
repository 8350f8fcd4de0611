"""What does not fit is refused before anything is computed, in one line, by every public function.

The tables have a row per change of valid arguments: which functions, the change, words of the message.
"""

import re
import sys
from functools import partial

import numpy as np
import pytest
from cases import each, random_case

import numpy_rnn
from numpy_rnn import Gradients, InputError, Parameters
from numpy_rnn.common.errors import shown

T, B, D, H, O = 4, 2, 3, 5, 6
RUN = {"k1": 1, "k2": 2, "learning_rate": 0.1}
BASES = {
    "one": {},
    "ensemble": {"E": (7,)},
    "learned": {"learned": True},
    "learned ensemble": {"learned": True, "E": (7,)},
}


def arguments(rnn, base="one"):
    """By name, what the functions take; base: a key of BASES, or the axes E of an ensemble."""
    case = random_case(0, T, B, D, H, O, **BASES.get(base, {"E": base}))
    params, x, target, h_0 = case.for_train(rnn)
    activations = rnn.forward(params, x, params.h_0 if h_0 is None else h_0)
    gradients = rnn.bptt(params, activations, target)
    run = rnn.train(params, x, target, h_0, **RUN, momentum=0.9, epochs=1)
    given = {"params": params, "x": x, "target": target, "h_0": h_0, "activations": activations, "gradients": gradients}
    given |= {"velocity": next(run).velocity, "resume": run.state(), "learning_rate": 0.1, "max_norm": 1.0}
    return given | {"y": activations.y, "array": rnn.to_numpy(x)}


def train(rnn, g, **options):
    return rnn.train(g["params"], g["x"], g["target"], g["h_0"], **RUN | {"epochs": 1} | options)


def stream(rnn, g, **options):
    """On a stream that fails if a step is asked for: what is refused is refused before."""

    def untouchable():
        raise AssertionError("a step was asked for")
        yield

    return rnn.train_stream(g["params"], untouchable(), g["h_0"], **RUN | options)


CALLS = {
    "forward": (lambda rnn, g, **o: rnn.forward(g["params"], g["x"], g["h_0"], **o), "params x h_0"),
    "bptt": (
        lambda rnn, g, **o: rnn.bptt(g["params"], g["activations"], g["target"], **o),
        "params activations target",
    ),
    "adjoints": (
        lambda rnn, g, **o: rnn.adjoints(g["params"], g["activations"], g["target"], **o),
        "params activations target",
    ),
    "half_squared_error": (lambda rnn, g, **o: rnn.half_squared_error(g["y"], g["target"], **o), "y target"),
    "clip_by_global_norm": (
        lambda rnn, g: rnn.clip_by_global_norm(g["gradients"], g["max_norm"]),
        "gradients max_norm",
    ),
    "direction": (
        lambda rnn, g, **o: rnn.direction(g["params"], g["gradients"], g["velocity"], **o),
        "params gradients velocity",
    ),
    "sgd": (lambda rnn, g: rnn.sgd(g["params"], g["gradients"], g["learning_rate"]), "params gradients learning_rate"),
    "train": (
        lambda rnn, g, **o: train(rnn, g, **{"learning_rate": g["learning_rate"], "max_norm": g["max_norm"]} | o),
        "params x target h_0 learning_rate max_norm",
    ),
    "resumed": (lambda rnn, g: train(rnn, g, momentum=0.9, resume=g["resume"]), "x target h_0 resume"),
    "stream": (
        lambda rnn, g, **o: stream(rnn, g, **{"learning_rate": g["learning_rate"], "max_norm": g["max_norm"]} | o),
        "params h_0 learning_rate max_norm",
    ),
    "moving_stream": (lambda rnn, g: stream(rnn, g, momentum=0.9, velocity=g["velocity"]), "velocity"),
    "windows": (lambda rnn, g, **o: rnn.windows(**{"steps": 5, "k1": 1, "k2": 2} | o), ""),
    "to_state_dict": (lambda rnn, g: rnn.to_state_dict(g["params"]), "params"),
    "from_numpy": (lambda rnn, g: rnn.from_numpy(g["array"]), "array"),
    "view": (lambda rnn, g: rnn.from_numpy(g["array"], copy=False), "array"),
    "to_numpy": (lambda rnn, g: rnn.to_numpy(g["x"]), "x"),
}
CONVERSIONS = ("from_numpy", "view", "to_numpy")


def refused(call, *says):
    """The message of the InputError that the call raises: one line of moderate length, with these words in order."""
    with pytest.raises(InputError) as refusal:
        call()
    message = str(refusal.value)
    assert "\n" not in message
    assert len(message) < 400
    assert re.search(r"expected|choose|needs", message), message
    at = 0
    for words in says:
        assert words in message[at:], f"{words!r} is not in {message!r}, or not where it should be"
        at = message.index(words, at) + len(words)
    return message


@pytest.mark.parametrize("base", BASES)
def test_the_valid_arguments_are_accepted(rnn, base):
    """Else a test below might see a refusal for another reason."""
    given = arguments(rnn, base)
    for name, (call, _) in CALLS.items():
        if not (base.startswith("learned") and name == "forward") and not (base != "one" and name == "to_state_dict"):
            call(rnn, given)
    assert len(list(train(rnn, given, epochs=2))) == 2 * T


# -- tables ---------------------------------------------------------------------------------------------------------


def ones(*shape, dtype="float64"):
    return np.ones(shape, dtype)


def nan_at_end(*shape, bad=np.nan):
    array = np.ones(shape)
    array.flat[-1] = bad
    return array


ONE = "expected one dtype"
BOTH, GRADIENTS, TARGETS = "forward train", "bptt adjoints", "bptt adjoints train"
NETWORKS = "train stream"
ARRAYS: list[tuple] = [  # (functions, valid arguments, argument or field of params, value, *words)
    (BOTH, "one", "x", ones(T, D), "x has shape (4, 3)", "(T, B, D)"),
    (BOTH, "one", "x", ones(T), "x has shape (4,)", "(T, B, D)"),
    (BOTH, "one", "x", ones(), "x has shape ()", "(T, B, D)"),
    (BOTH, "one", "x", ones(T, 1, B, D), "x has shape (4, 1, 2, 3)", "(T, B, D)"),
    (BOTH, "one", "x", ones(0, B, D), "x has shape (0, 2, 3)", "no empty axis"),
    (BOTH, "one", "x", ones(T, 0, D), "x has shape (4, 0, 3)", "no empty axis"),
    (BOTH, "one", "x", ones(T, B, D + 1), "x has shape (4, 2, 4)", "expected (4, 2, 3)"),
    (BOTH, "one", "x", ones(T, B, 1), "x has shape (4, 2, 1)", "expected (4, 2, 3)"),
    (BOTH, "one", "x", ones(T, D, B), "x has shape (4, 3, 2)", "expected (4, 3, 3)"),
    *(
        (BOTH, "one", "h_0", ones(*shape), f"h_0 has shape {shape}", "expected (2, 5)")  # also what would broadcast
        for shape in ((H,), (1, H), (B, 1), (H, B), (B, H, 1), (1, B, H), ())
    ),
    ("stream", "one", "h_0", ones(B, H + 1), "h_0 has shape (2, 6): expected (2, 5)"),
    ("stream", "one", "h_0", ones(H), "h_0 has shape (5,): expected (B, H)"),
    (NETWORKS, "one", "h_0", None, "no initial state: expected h_0, or parameters with a learned one"),
    (NETWORKS, "learned", "h_0", ones(B, H), "h_0 is given and the parameters have a learned one", "expected None"),
    (BOTH, "one", "x", ones(T, B, D, dtype="float32"), "x is ", "float32", "the parameters are ", "float64", ONE),
    (BOTH, "one", "x", ones(T, B, D, dtype="int64"), "x is ", "int64", "expected"),
    *(
        (BOTH, "one", "h_0", ones(B, H, dtype=dtype), "h_0 is ", dtype, "the parameters are ", "float64", ONE)
        for dtype in ("float32", "int64")
    ),
    (TARGETS, "one", "target", ones(T, B, O, dtype="float32"), "target is ", "float32", "float64", ONE),
    *(
        (TARGETS, "one", "target", ones(*shape), f"target has shape {shape}", "expected (4, 2, 6)")
        for shape in ((T, B, O + 1), (T, B, 1), (T, 1, O), (T, O, B), (T, B), (T, 1, B, O))
    ),
    *(
        (GRADIENTS, "one", "target", ones(steps, B, O), f"target has {steps} steps", "between 1 and 4")
        for steps in (0, T + 1)
    ),
    *(
        ("train", "one", "target", ones(steps, B, O), f"target has {steps} steps", "expected 4, one for every step")
        for steps in (0, 1, T - 1, T + 1)
    ),
    *(
        ("half_squared_error", "one", "target", ones(*shape), f"target has shape {shape}", "(4, 2, 6)")
        for shape in ((1, B, O), (T, 1, O), (T, B, 1), (T + 1, B, O), (T, O, B), (B, O), ())
    ),
    ("half_squared_error", "one", "y", ones(B, O), "y has shape (2, 6): expected (K, B, O)"),
    (NETWORKS, "one", "params.W_xh", ones(D, H + 1), "W_xh has shape (3, 6)", "expected (3, 5)"),
    (NETWORKS, "one", "params.W_xh", ones(H), "W_xh has shape (5,)", "expected 2 axes"),
    (NETWORKS, "one", "params.W_hh", ones(H, H + 1), "W_hh has shape (5, 6): expected a square matrix (H, H)"),
    (NETWORKS, "one", "params.W_hh", ones(H + 1, H + 1), "has shape", "expected"),
    (NETWORKS, "one", "params.W_hh", ones(H), "W_hh has shape (5,)", "expected 2 axes"),
    (NETWORKS, "one", "params.W_hy", ones(H + 1, O), "W_hy has shape (6, 6)", "expected (5, 6)"),
    (NETWORKS, "one", "params.W_hy", ones(2, H, O), "W_hy has shape (2, 5, 6)", "expected (5, 6)"),
    (NETWORKS, "one", "params.b_h", ones(H + 1), "b_h has shape (6,)", "expected (5,)"),
    (NETWORKS, "one", "params.b_h", ones(1), "b_h has shape (1,)", "expected (5,)"),
    (NETWORKS, "one", "params.b_h", ones(), "b_h has shape ()", "expected 1 axes"),
    (NETWORKS, "one", "params.b_y", ones(1), "b_y has shape (1,)", "expected (6,)"),
    (NETWORKS, "one", "params.W_hh", ones(0, H, H), "W_hh has shape (0, 5, 5)", "no empty axis"),
    (NETWORKS, "one", "params.b_h", None, "b_y is given without b_h", "expected both biases or neither"),
    (NETWORKS, "one", "params.b_y", None, "b_h is given without b_y", "expected both biases or neither"),
    *(
        (NETWORKS, "learned", f"params.{name}", ones(*shape, dtype="f4"), f"{name} is ", "float32", "W_hh is ", ONE)
        for name, shape in (("W_xh", (D, H)), ("W_hy", (H, O)), ("b_h", (H,)), ("b_y", (O,)), ("h_0", (B, H)))
    ),
    ("train", "learned", "params.h_0", ones(B + 1, H), "h_0 has shape (3, 5): expected (2, 5)"),
    ("train", "learned", "params.h_0", ones(1, H), "h_0 has shape (1, 5): expected (2, 5)"),
    (NETWORKS, "learned", "params.h_0", ones(B, H + 1), "h_0 has shape (2, 6): expected (2, 5)"),
    (NETWORKS, "learned", "params.h_0", ones(H), "h_0 has shape (5,): expected 2 axes"),
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
    ("sgd direction", "one", "gradients.W_hh", ones(1, H), "gradient of "),  # or one row would move all rows
    ("sgd direction", "one", "gradients.h_0", ones(B, H), "gradient of "),
    ("moving_stream", "one", "velocity.W_hh", ones(2, 2), "the velocity of W_hh is ", "of shape (2, 2): expected"),
    ("moving_stream", "one", "velocity.W_hy", None, "no velocity of W_hy: expected one, as other parameters have one"),
    ("moving_stream", "one", "velocity.b_h", ones(H) * np.nan, "the velocity of b_h contains NaN or infinity"),
    ("moving_stream", "one", "velocity.h_0", ones(1, 1), "there is a velocity of h_0: expected none"),
    *(
        (functions, base, name, nan_at_end(*shape, bad=bad), f"{name.removeprefix('params.')} contains NaN or infinity")
        for bad in (np.nan, np.inf, -np.inf)
        for functions, base, name, shape in (
            ("train", "one", "x", (T, B, D)), ("train", "one", "target", (T, B, O)), (NETWORKS, "one", "h_0", (B, H)),
            (NETWORKS, "one", "params.W_xh", (D, H)), (NETWORKS, "one", "params.b_y", (O,)),
            (NETWORKS, "learned", "params.h_0", (B, H)), ("to_state_dict", "one", "params.W_hh", (H, H)),
        )
    ),
]  # fmt: skip


def with_one(rnn, given, name, value):
    """The arguments with another value for one of them, or for one field, "params.W_hh", of a record."""
    value = rnn.from_numpy(value) if isinstance(value, np.ndarray) else value
    record, _, field = name.rpartition(".")
    return given | ({record: given[record]._replace(**{field: value})} if record else {name: value})


@pytest.mark.with_reference
@pytest.mark.parametrize(("functions", "base", "name", "value", "says"), [(*row[:4], row[4:]) for row in ARRAYS],
                         ids=[f"{row[0]}: {row[2]}" for row in ARRAYS])  # fmt: skip
def test_an_array_that_does_not_fit(rnn, functions, base, name, value, says):
    given = with_one(rnn, arguments(rnn, base), name, value)
    for function in functions.split():
        refused(lambda function=function: CALLS[function][0](rnn, given), *says)


@pytest.mark.needs_torch
def test_both_backends_refuse_in_the_same_words():
    import torch_rnn

    for functions, base, name, value, *_ in ARRAYS:
        given = {rnn: with_one(rnn, arguments(rnn, base), name, value) for rnn in (numpy_rnn, torch_rnn)}
        for function in functions.split():
            call = CALLS[function][0]
            ours, theirs = (
                refused(lambda rnn=rnn, call=call, given=given: call(rnn, given[rnn])) for rnn in (numpy_rnn, torch_rnn)
            )
            assert theirs.replace("torch.", "") == ours


WHOLE = "expected a whole number"
STEPS = f"{WHOLE} of steps, 1 or more"
RUNS, SCHEDULES, STEPPING = "train stream", "windows train stream", "direction train stream"
NOT_SMALL = "expected a finite number, 0 or more"
NORM = "expected a finite number above 0, or None for no clipping"
NESTEROV = "nesterov needs momentum above 0 and dampening 0: they are"
OPTIONS: list[tuple] = [  # (functions, options, *words)
    *((SCHEDULES, {"k1": k}, f"k1 is {k!r}: {STEPS}") for k in (0, -2, True, 1.0, 1.5, "1", None)),
    *((SCHEDULES, {"k2": k}, f"k2 is {k!r}: {STEPS}") for k in (0, -1, True, 3.0, 3.5, "3", None)),
    (SCHEDULES, {"k1": 3, "k2": 2}, "k2 is 2 and k1 is 3: expected k2 ≥ k1", "must contain", "choose k2 ≥ 3"),
    *(("windows", {"steps": n}, f"steps is {n!r}: {WHOLE}, 0 or more") for n in (-1, 2.5, "3", None, True)),
    *(("train", {"epochs": n}, f"epochs is {n!r}: {WHOLE}, 0 or more") for n in (-1, True, 1.0, 1.5, "1", None)),
    *(
        (RUNS, {"yield_every": n}, f"yield_every is {n!r}: expected ", "whole number")
        for n in (0, -1, 1.5, True, None, "all", "epochs")
    ),
    ("stream", {"yield_every": "epoch"}, f"yield_every is 'epoch': {WHOLE}, 1 or more"),
    *((f"sgd {RUNS}", {"learning_rate": rate}, f"the learning rate is {rate}: expected finite numbers, 0 or more")
      for rate in (-0.1, -1, np.nan, np.inf, np.float32("-inf"), True)),
    *((f"sgd {RUNS}", {"learning_rate": rate}, "the learning rate is a ") for rate in (None, "0.1", 1j, [0.1])),
    (f"sgd {RUNS}", {"learning_rate": 10**400}, "the learning rate is "),
    *((RUNS, {"record": value}, f"record is {value!r}: expected True or False") for value in ("False", None, 1, 0.0)),
    *((STEPPING, {"nesterov": value}, "nesterov is", "expected True or False") for value in ("no", None, 1)),
    *((STEPPING, {"momentum": value}, f"momentum is {shown(value)}: {NOT_SMALL}")
      for value in (-0.1, np.nan, np.inf, "0.9", None, True, 1j, [0.9], 10**400)),
    *((STEPPING, {"weight_decay": value}, f"weight decay is {shown(value)}: {NOT_SMALL}")
      for value in (-1e-3, np.nan, "0.9", None, -(10**400))),
    *((STEPPING, {"dampening": value}, f"dampening is {shown(value)}: expected a finite number, usually from 0 to 1")
      for value in (np.nan, -np.inf, np.inf, "0.9", None, 1j)),
    (STEPPING, {"nesterov": True}, f"{NESTEROV} 0.0 and 0.0"),
    (STEPPING, {"nesterov": True, "momentum": 0.9, "dampening": 0.1}, f"{NESTEROV} 0.9 and 0.1"),
    *((f"clip_by_global_norm {RUNS}", {"max_norm": value}, f"max norm is {shown(value)}: {NORM}")
      for value in (0, 0.0, -1.0, np.nan, np.inf, "1", 1j, True, 10**400)),
    *((f"forward {TARGETS} stream", {"nonlinearity": value}, "nonlinearity", "expected tanh or relu")
      for value in ("sin", None, ["tanh"], 3)),
    *((f"half_squared_error {TARGETS} stream", {"reduction": value}, "reduction", "expected sum or mean")
      for value in ("average", None, {"sum"})),
]  # fmt: skip
TAKEN = [
    {}, {"momentum": 1.5}, {"momentum": 0.9, "dampening": -1.0}, {"momentum": 0.9, "dampening": 2.0},
    {"dampening": 0.5}, {"momentum": 0.9, "nesterov": True}, {"weight_decay": 3.0},
]  # fmt: skip


@pytest.mark.with_reference
def test_options_that_cannot_be(rnn):
    given = arguments(rnn)
    for functions, options, *says in OPTIONS:
        for function in functions.split():
            call = CALLS[function][0]
            arrays = {name: value for name, value in options.items() if name in given}
            others = {name: value for name, value in options.items() if name not in given}
            refused(partial(call, rnn, given | arrays, **others), *says)
    for options in TAKEN:
        for function in STEPPING.split():
            CALLS[function][0](rnn, given, **options)


# -- losses, classes and weights ------------------------------------------------------------------------------------

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
    start = given | {"x": given["x"], "target": rnn.from_numpy(ROWS)}
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


@pytest.mark.needs_torch
def test_torch_optim_sgd_refuses_and_takes_the_same():
    import torch

    theta = [torch.nn.Parameter(torch.zeros(1))]
    for options in ({"momentum": -0.1}, {"weight_decay": -1e-3}, *(row[1] for row in OPTIONS if NESTEROV in row[2])):
        with pytest.raises(ValueError, match=r"momentum|weight_decay"):
            torch.optim.SGD(theta, lr=0.1, **options)
    for options in TAKEN:
        torch.optim.SGD(theta, lr=0.1, **options)


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
