"""A trace: every update of a run in one .npz, so that two runs can be compared without repeating them.

The keys, for a program in any language that writes a trace. N updates; S = Σ_n T_n, the steps of all windows,
concatenated; *E the axes of an ensemble, none for a single network. Floats all float32 or all float64.

    format                                 bytes, "elman-trace 3"
    configuration                          bytes, JSON: at least k1, k2, learning_rate and epochs
    x, target                              (T, B, D), (T, B, O): the series; x may hold classes, integers (T, B) from 0
                                           to D − 1, and so may the target of a cross-entropy, from 0 to O − 1
    weights                                (T, B): the weights of the losses; no such key if they are all 1
    initial_h_0                            (B, H): the state at the start of every epoch; a learned one (*E, B, H)
    initial_W_xh, _W_hh, _W_hy, _b_h, _b_y the initial parameters; no bias keys without biases
    epoch, number                          (N,) integers from 1: the epoch, and the update within it
    start, loss_start, stop                (N,) integers: the window (start, stop], with a loss on (loss_start, stop]
    initial                                (N, *E, B, H)  the initial state of the window
    a, h, dh, da                           (S, *E, B, H)  steps 1 to T_n of every window; h without the initial state
    y, dy                                  (S, *E, B, O)
    dx                                     (S, *E, B, D)
    loss                                   (N, *E)
    dh_0                                   (N, *E, B, H)  ∂L/∂h of the initial state of the window
    dW_xh, dW_hh, dW_hy, db_h, db_y        (N, *E, D, H) and so on: the gradients, before clipping
    vW_xh, vW_hh, vW_hy, vb_h, vb_y, vh_0  (N, *E, D, H) and so on: the velocities after the update, with momentum or
                                           adagrad only; with adagrad the sums of squares
    W_xh, W_hh, W_hy, b_h, b_y             the parameters after the update, in the same shapes
    h_0                                    (N, *E, B, H)  the learned initial state after the update

The configuration may also have nonlinearity, reduction, loss, "squared_error" or "cross_entropy", momentum, dampening,
nesterov, weight_decay, adagrad, max_norm and max_value; missing values mean tanh, "sum" and plain gradient descent on
half the squared error. The learning rate is a number, or one per network: a nested list of the shape E, whose axes may
have size 1.

A second bias of the hidden layer, b_hh, has the keys initial_b_hh, db_hh, vb_hh and b_hh, in the shapes of b_h.

The initial state is learned if there is a key h_0. Then dh_0 is needed, and with velocities vh_0. It is a parameter of
the windows with start = 0; the others leave it and its velocity unchanged.

A program that does not compute the intermediate values leaves out all of a, h, y, dy, dh and da, or all but h. Without
h, the initial state of a window is compared with one that is recomputed. A program that does not compute the gradients
of its inputs leaves out dx and dh_0; if it learns the initial state, only dx, and then dh_0 is ignored in the windows
with start > 0.
"""

import json
from typing import Any

import numpy as np

from numpy_rnn.common.checks import NUMPY_ARRAYS, check_run
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.files import load_arrays
from numpy_rnn.common.records import Objective, Parameters, Run, RunOptions, Schedule, Step
from numpy_rnn.conformance.case import INTERMEDIATES, SHAPES, array_error, parameters_from, present

FORMAT = "elman-trace 3"
PLACE = ("epoch", "number", "start", "loss_start", "stop")
NEEDED = (
    "configuration",
    "x",
    "target",
    *(f"initial_{name}" for name in ("h_0", "W_xh", "W_hh", "W_hy")),
    *PLACE,
)


def trace_arrays(run: Run, updates: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays of a trace file."""
    keywords = run.options.keywords().items()
    options = {
        name: v if isinstance(v, str | None) else np.asarray(v).tolist() for name, v in keywords
    }
    head = {"format": np.bytes_(FORMAT), "configuration": np.bytes_(json.dumps(options))}
    head |= {"x": run.x, "target": run.target} | (
        {} if run.weights is None else {"weights": run.weights}
    )
    initial = present(run.params) | ({} if run.h_0 is None else {"h_0": run.h_0})
    return head | {"initial_" + name: array for name, array in initial.items()} | updates


def load_trace(path: str) -> tuple[Run, dict[str, np.ndarray]]:
    """The run of a trace file, and the arrays of its updates. Raises InputError unless it is complete and readable."""
    arrays = load_arrays(path, "trace file")
    if arrays.get("format", np.bytes_(b"")).tobytes() != FORMAT.encode():
        raise InputError(
            f"trace file {path} has no format {FORMAT!r}: expected a trace that --trace wrote"
        )
    try:
        return read_arrays(arrays)
    except InputError as error:
        raise InputError(
            f"trace file {path}: {error}; conformance/traces/trace_file.py documents the keys"
        ) from None


def read_arrays(arrays: dict[str, np.ndarray]) -> tuple[Run, dict[str, np.ndarray]]:
    """The run and the updates of the arrays of a trace. Raises InputError with the first error."""
    if missing := [name for name in NEEDED if name not in arrays]:
        raise InputError(f"{missing[0]} is missing")
    arrays = arrays | {
        n: arrays[n].astype(np.int64)
        for n in (*PLACE, "x", "target")
        if arrays[n].dtype.kind in "iu"
    }
    params, h_0 = parameters_from(arrays, "initial_"), arrays["initial_h_0"]
    learned = "h_0" in arrays
    params = params._replace(h_0=h_0 if learned else None)
    try:
        values = dict(json.loads(arrays["configuration"].tobytes().rstrip(b"\0")))
        if isinstance(rates := values.get("learning_rate"), list):
            values["learning_rate"] = np.array(rates, np.float64)
    except (ValueError, TypeError, OverflowError, RecursionError):
        raise InputError(
            "configuration is not a JSON object of options, with numbers for learning rates"
        ) from None
    options = run_options(values)
    run = Run(
        params,
        arrays["x"],
        arrays["target"],
        None if learned else h_0,
        arrays.get("weights"),
        options,
    )
    try:
        options = check_run(NUMPY_ARRAYS, run._replace(params=Parameters(*params[:6])))[0].options
    except InputError as error:
        raise InputError(f"its run cannot be repeated: {error}") from None
    updates = {
        name: array for name, array in arrays.items() if name in (*PLACE, "initial", *SHAPES)
    }
    N, T = len(updates["epoch"]) if updates["epoch"].ndim else 0, len(run.x)
    for name in PLACE:
        array = updates[name]
        if array.dtype.kind != "i" or array.shape != (N,) or N == 0:
            raise InputError(
                f"{name} is {array.dtype} of shape {array.shape}: expected integers, one per update"
            )
    start, loss_start, stop = (updates[name] for name in PLACE[2:])
    if not ((start >= 0) & (start <= loss_start) & (loss_start < stop) & (stop <= T)).all():
        raise InputError(
            f"the windows are not those of a series of {T} steps: expected 0 ≤ start ≤ loss_start < stop"
        )
    _check_arrays(
        run, h_0.shape[-2], updates, {n: b for n, b in arrays.items() if n == "initial_b_hh"}
    )
    return run._replace(options=options), updates


def run_options(values: dict[str, Any]) -> RunOptions:
    """The options of a run by their names. Raises InputError on a name that is missing or unknown."""
    kinds: tuple[Any, ...] = (Schedule, Objective, Step)
    known, needed = (
        [name for kind in kinds for name in kind._fields],
        ("k1", "k2", "learning_rate", "epochs"),
    )
    for name in (*needed, *values):
        if name not in values:
            raise InputError(f"{name} is missing: expected k1, k2, learning_rate and epochs")
        if name not in known:
            raise InputError(f"{name!r} is no option of a run: expected {', '.join(known)}")
    return RunOptions(
        *(kind(**{name: values[name] for name in kind._fields if name in values}) for kind in kinds)
    )


def _check_arrays(
    run: Run, B: int, updates: dict[str, np.ndarray], second_bias: dict[str, np.ndarray]
) -> None:
    """Raise InputError unless every required array is present, in its shape and dtype, and finite."""
    (*E, D, H), O, dtype = run.params.W_xh.shape, run.params.W_hy.shape[-1], run.params.W_hh.dtype
    sizes = {"B": B, "D": D, "H": H, "O": O}
    N, S = len(updates["start"]), int((updates["stop"] - updates["start"]).sum())
    prefixes = ("d", "v", "") if run.options.step.has_velocity else ("d", "")
    names = [prefix + name for prefix in prefixes for name in present(run.params)] + ["loss"]
    reported = [name for name in INTERMEDIATES if name in updates]
    names += reported if reported == ["h"] else [*INTERMEDIATES] * bool(reported)
    names += ["dx", "dh_0"] * ("dx" in updates) + ["dh_0"] * ("dh_0" in updates)
    expected: dict[str, tuple[int, ...]] = {"initial": (N, *E, B, H)}
    for name in dict.fromkeys(names):
        letters = SHAPES[name]
        expected[name] = (
            S if "T" in letters else N,
            *E,
            *(sizes[letter] for letter in letters if letter != "T"),
        )
    expected |= dict.fromkeys(second_bias, (*E, H))
    if missing := [name for name in expected if name not in updates | second_bias]:
        raise InputError(f"{missing[0]} is missing")
    if unknown := [name for name in updates if name not in (*expected, *PLACE)]:
        raise InputError(f"{unknown[0]} is present, but the configuration excludes it")
    for name, shape in expected.items():
        if error := array_error(name, (updates | second_bias)[name], shape, dtype):
            raise InputError(error)
