"""A trace: every update of a run in one .npz, so that two runs can be compared without repeating them.

The keys, for a program in any language that writes a trace. N updates; S = Σ_n T_n, the steps of all windows,
concatenated; *E the axes of an ensemble, none for a single network. Floats all float32 or all float64.

    format                                 bytes, "elman-trace 3"
    configuration                          bytes, JSON: at least k1, k2, learning_rate, epochs, nonlinearity, reduction
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

The configuration may also have loss, "squared_error" or "cross_entropy", momentum, dampening, nesterov, weight_decay,
adagrad, max_norm and max_value; missing values mean plain gradient descent on half the squared error. The learning rate
is a number, or one per network: a nested list that broadcasts to the shape E.

A second bias of the hidden layer, b_hh, has the keys initial_b_hh, db_hh, vb_hh and b_hh, in the shapes of b_h.

The initial state is learned if there is a key h_0. Then dh_0 is needed, and with velocities vh_0. It is a parameter of
the windows with start = 0; the others leave it and its velocity unchanged.

A program that does not compute the intermediate values leaves out all of a, h, y, dy, dh and da. One that does not
compute the gradients of its inputs leaves out dx and dh_0; if it learns the initial state, only dx, and then dh_0 is
ignored in the windows with start > 0.
"""

import json
from typing import Any

import numpy as np

from numpy_rnn.common.errors import InputError, one_line
from numpy_rnn.common.records import Objective, Run, RunOptions, Schedule, Step
from numpy_rnn.conformance.case import INTERMEDIATES, SHAPES, is_classes, parameters_from, present
from numpy_rnn.conformance.files import load_arrays

FORMAT = "elman-trace 3"
NEEDED = ("k1", "k2", "learning_rate", "epochs", "nonlinearity", "reduction")
MAX_COUNT = 10**9  # of k1, k2 and epochs
SERIES = ("x", "target", "initial_h_0")
WEIGHTS = ("initial_W_xh", "initial_W_hh", "initial_W_hy")
INTEGERS = ("epoch", "number", "start", "loss_start", "stop")


def trace_arrays(run: Run, updates: dict[str, np.ndarray]) -> dict[str, Any]:
    """The arrays of a trace file."""
    options = {
        n: v if v is None or isinstance(v, str) else np.asarray(v).tolist() for n, v in run.options.keywords().items()
    }
    head = {"format": np.bytes_(FORMAT), "configuration": np.bytes_(json.dumps(options))}
    head |= {"x": run.x, "target": run.target} | ({} if run.weights is None else {"weights": run.weights})
    initial = present(run.params) | ({} if run.h_0 is None else {"h_0": run.h_0})
    return head | {"initial_" + name: array for name, array in initial.items()} | updates


def load_trace(path: str) -> tuple[Run, dict[str, np.ndarray]]:
    """The run of a trace file, and the arrays of its updates.

    Raises InputError with the first error if the file is not a complete, readable trace.
    """
    arrays = load_arrays(path, "trace file")
    if arrays.get("format", np.bytes_(b"")).tobytes() != FORMAT.encode():
        raise InputError(f"trace file {path} has no format {FORMAT!r}: expected a trace that --trace wrote")
    try:
        return read_arrays(arrays)
    except InputError as error:
        raise InputError(f"trace file {path}: {error}; conformance/traces/trace_file.py documents the keys") from None


def read_arrays(arrays: dict[str, np.ndarray]) -> tuple[Run, dict[str, np.ndarray]]:
    """The run and the updates of the arrays of a trace. Raises InputError with the first error."""
    if missing := [name for name in ("configuration", *SERIES, *WEIGHTS, *INTEGERS) if name not in arrays]:
        raise InputError(f"{missing[0]} is missing")
    for name in (*SERIES, *WEIGHTS):
        if arrays[name].ndim < 2 or arrays[name].size == 0:
            raise InputError(f"{name} has shape {arrays[name].shape}: expected two axes or more, none of them empty")
    integers = {n: arrays[n].astype(np.int64) for n in (*INTEGERS, "x", "target") if arrays[n].dtype.kind in "iu"}
    arrays = arrays | integers
    E = arrays["initial_W_hh"].shape[:-2]
    params, h_0 = parameters_from(arrays, "initial_"), arrays["initial_h_0"]
    learned = "h_0" in arrays
    params = params._replace(h_0=np.broadcast_to(h_0, (*E, *h_0.shape[-2:])) if learned else None)
    options = _options(arrays["configuration"], E)
    run = Run(params, arrays["x"], arrays["target"], None if learned else h_0, arrays.get("weights"), options)
    updates = {name: array for name, array in arrays.items() if name in (*INTEGERS, "initial", *SHAPES)}
    _check_windows(updates, len(run.x))
    _check_series(run, h_0)
    _check_arrays(run, updates)
    return run, updates


def _options(configuration: np.ndarray, E: tuple[int, ...]) -> RunOptions:
    try:
        known = json.loads(configuration.tobytes().rstrip(b"\0"))
    except (ValueError, RecursionError):
        raise InputError("configuration is not JSON text") from None
    if not isinstance(known, dict):
        raise InputError("configuration is not a JSON object: expected one with k1, k2, learning_rate and so on")
    if missing := [name for name in NEEDED if name not in known]:
        raise InputError(f"configuration has no {missing[0]}")
    for name, (is_valid, expected) in EXPECTED.items():
        if name in known and not is_valid(known[name]):
            raise InputError(f"configuration: {name} is {one_line(repr(known[name]), 40)}: expected {expected}")
    known["learning_rate"] = _rates(known["learning_rate"], E)
    kinds: tuple[Any, ...] = (Schedule, Objective, Step)
    return RunOptions(*(kind(**{name: known[name] for name in kind._fields if name in known}) for kind in kinds))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf")


def _is_whole(value: Any) -> bool:
    return type(value) is int and 1 <= value <= MAX_COUNT


EXPECTED: dict[str, Any] = {
    **dict.fromkeys(("k1", "k2", "epochs"), (_is_whole, f"a whole number from 1 to {MAX_COUNT}")),
    "nonlinearity": (("tanh", "relu", "sigmoid").__contains__, "tanh, relu or sigmoid"),
    "loss": (("squared_error", "cross_entropy").__contains__, "squared_error or cross_entropy"),
    "reduction": (("sum", "mean").__contains__, "sum or mean"),
    **dict.fromkeys(("nesterov", "adagrad"), (lambda value: isinstance(value, bool), "true or false")),
    **dict.fromkeys(("momentum", "weight_decay"), (lambda v: _is_number(v) and v >= 0, "a number, 0 or more")),
    "dampening": (_is_number, "a number"),
    **dict.fromkeys(
        ("max_norm", "max_value"), (lambda v: v is None or (_is_number(v) and v > 0), "a number above 0, or null")
    ),
}


def _rates(learning_rate: Any, E: tuple[int, ...]) -> Any:
    """The learning rate, or an array of rates; a list belongs to the first ensemble axis, a nested one to the first."""
    try:
        rates = np.array(learning_rate, np.float64)
        is_valid = bool((np.isfinite(rates) & (rates >= 0)).all())
    except (TypeError, ValueError, OverflowError):
        is_valid = False
    if not is_valid or isinstance(learning_rate, bool | str):
        raise InputError(
            f"configuration: learning_rate is {one_line(repr(learning_rate), 40)}: expected a number, 0 or more, or a"
            " list of them"
        )
    if not isinstance(learning_rate, list):
        return learning_rate
    rates = rates.reshape(*rates.shape, *(1,) * (len(E) - rates.ndim))
    if rates.ndim != len(E) or any(axis not in (1, size) for axis, size in zip(rates.shape, E)):
        raise InputError(f"learning rates of shape {np.shape(learning_rate)} do not fit networks of shape {E}")
    return np.broadcast_to(rates, E).copy()


def _check_windows(updates: dict[str, np.ndarray], T: int) -> None:
    for name in INTEGERS:
        if updates[name].dtype.kind != "i" or updates[name].ndim != 1:
            raise InputError(f"{name} is {updates[name].dtype} of shape {updates[name].shape}: expected (N,) integers")
    lengths = {len(updates[name]) for name in INTEGERS}
    if len(lengths) != 1 or 0 in lengths:
        raise InputError(f"{', '.join(INTEGERS)} have {sorted(lengths)} entries: expected N each, 1 or more")
    for name in ("epoch", "number"):
        wrong = np.flatnonzero((updates[name] < 1) | (updates[name] > len(updates[name])))
        if len(wrong):
            N = len(updates[name])
            raise InputError(f"{name}[{wrong[0]}] is {updates[name][wrong[0]]}: expected 1 to {N}, one per update")
    start, loss_start, stop = (updates[name] for name in ("start", "loss_start", "stop"))
    if (stop <= start).any() or (start < 0).any() or (stop > T).any():
        raise InputError("a window has no steps, or reaches beyond the series")
    if ((loss_start < start) | (loss_start >= stop)).any():
        raise InputError("a window has no step with a loss, or a loss at steps outside it")


def class_counts(run: Run) -> dict[str, int]:
    """The series of the run that hold classes, and how many classes there are."""
    sizes = {"x": run.params.W_xh.shape[-2]}
    if run.options.objective.loss == "cross_entropy":
        sizes["target"] = run.params.W_hy.shape[-1]
    return {name: size for name, size in sizes.items() if is_classes(getattr(run, name))}


def _check_series(run: Run, h_0: np.ndarray) -> None:
    """Raise InputError unless the series fit the parameters; each is shared by all networks, or one per network."""
    *E, D, H = run.params.W_xh.shape
    sizes, classes = {"x": D, "target": run.params.W_hy.shape[-1]}, class_counts(run)
    T, B = len(run.x), h_0.shape[-2]
    for name, size in sizes.items():
        array, last = getattr(run, name), () if name in classes else (size,)
        if array.shape not in ((T, B, *last), (T, *E, B, *last)):
            raise InputError(f"{name} has shape {array.shape}: expected {(T, B, *last)}")
        if name in classes and not ((array >= 0) & (array < size)).all():
            raise InputError(f"{name} holds a class below 0 or above {size - 1}: expected classes from 0 to {size - 1}")
    if h_0.shape not in ((B, H), (*E, B, H)):
        raise InputError(f"initial_h_0 has shape {h_0.shape}: expected {(B, H)}, or one per network")
    if run.weights is not None and (run.weights.shape != (T, B) or not (run.weights >= 0).all()):
        raise InputError(f"weights has shape {run.weights.shape}: expected {(T, B)}, numbers of 0 or more")


def _check_arrays(run: Run, updates: dict[str, np.ndarray]) -> None:
    """Raise InputError unless every required array is present, in its shape and dtype, and finite."""
    *E, D, H = run.params.W_xh.shape
    O, B = run.params.W_hy.shape[-1], updates.get("initial", np.zeros((1, 1))).shape[-2]
    sizes = {"B": B, "D": D, "H": H, "O": O}
    N, S = len(updates["start"]), int((updates["stop"] - updates["start"]).sum())
    trained = present(run.params)
    prefixes = ("d", "v", "") if run.options.step.has_velocity else ("d", "")
    names = [prefix + name for prefix in prefixes for name in trained] + ["loss"]
    names += [*INTERMEDIATES] * any(name in updates for name in INTERMEDIATES)
    names += ["dx", "dh_0"] * ("dx" in updates) + ["dh_0"] * ("dh_0" in updates)
    expected: dict[str, tuple[int, ...]] = {"initial": (N, *E, B, H)}
    for name in dict.fromkeys(names):
        letters = SHAPES[name]
        expected[name] = (S if "T" in letters else N, *E, *(sizes[letter] for letter in letters if letter != "T"))
    initial = {f"initial_{name}": theta for name, theta in trained.items()}
    expected |= {f"initial_{name}": expected[name][1:] for name in trained}
    if ("b_h" in trained) != ("b_y" in trained):
        raise InputError("one of initial_b_h and initial_b_y is missing: expected both biases or none")
    if missing := [name for name in expected if name not in updates | initial]:
        raise InputError(f"{missing[0]} is missing")
    if unknown := [name for name in updates if name not in (*expected, *INTEGERS)]:
        raise InputError(f"{unknown[0]} is present, but the configuration excludes it")
    classes, dtype = class_counts(run), run.params.W_hh.dtype
    given = {"x": run.x, "target": run.target, "initial_h_0": run.h_0, "weights": run.weights}
    given = {name: array for name, array in given.items() if array is not None and name not in classes}
    for name, array in (given | initial | {name: updates[name] for name in expected if name in updates}).items():
        if array.dtype != dtype or dtype not in (np.float32, np.float64):
            raise InputError(f"{name} is {array.dtype}: expected float32 or float64, the same everywhere")
        if name in expected and array.shape != expected[name]:
            raise InputError(f"{name} has shape {array.shape}: expected {expected[name]}")
        if not np.isfinite(array).all():
            index = tuple(map(int, np.argwhere(~np.isfinite(array))[0]))
            raise InputError(f"{name}{list(index)} is {array[index]}: expected a finite number")
