"""Is this a trace? Asked before its numbers are judged, as NaN and missing keys pass every comparison."""

import json

import numpy as np

from numpy_rnn.common.configuration import Configuration
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.experiment import Experiment
from numpy_rnn.common.records import Parameters
from numpy_rnn.common.trace import BY_STEP, load_trace
from numpy_rnn.common.trace import PLACE as INTEGERS

NEEDED = ("k1", "k2", "learning_rate", "epochs", "nonlinearity", "reduction")


def read_trace(path) -> dict:
    """Load a trace file and make sure of its form. Raises InputError, with everything wrong in one line."""
    trace = load_trace(path)
    faults = trace_faults(trace)
    if faults:
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        raise InputError(f"trace file {path}: {faults[0]}{more}; numpy_rnn/common/trace.py documents the keys")
    return trace


def trace_faults(trace: dict) -> list[str]:
    """What is wrong with the form of a trace, a line each: keys, shapes, dtypes, NaN or infinity."""
    start = [name for name in ("configuration", "x", "target", "h_0", *_initial()[:3], *INTEGERS) if name not in trace]
    if start:
        return [f"{name} is missing" for name in start]
    faults = _configuration_faults(trace)
    for name in INTEGERS:
        if trace[name].dtype.kind not in "iu" or trace[name].ndim != 1:
            faults.append(f"{name} is {trace[name].dtype} of shape {trace[name].shape}: expected (N,) integers")
    if faults:
        return faults
    lengths = {len(trace[name]) for name in INTEGERS}
    if len(lengths) != 1 or 0 in lengths:
        return [
            f"epoch, number, start, counted_from and stop have {sorted(lengths)} entries: expected N each, 1 or more"
        ]
    steps = trace["stop"] - trace["start"]
    if (steps < 1).any() or (trace["start"] < 0).any() or (trace["stop"] > len(trace["x"])).any():
        return ["a window has no steps, or reaches beyond the series"]
    if ((trace["counted_from"] < trace["start"]) | (trace["counted_from"] >= trace["stop"])).any():
        return ["a window counts no loss, or the loss of steps that are not its own"]
    return _array_faults(trace, len(steps), int(steps.sum()))


def _configuration_faults(trace):
    try:
        configuration = json.loads(trace["configuration"].tobytes().rstrip(b"\0"))
        missing = [name for name in NEEDED if name not in configuration]
    except (ValueError, TypeError):
        return ["configuration is not JSON text"]
    return [f"configuration has no {name}" for name in missing]


def _array_faults(trace, updates, steps):
    initial = [trace.get(name) for name in _initial()]
    *E, H, O = initial[2].shape if initial[2].ndim >= 2 else (0, 0)
    T, D = trace["x"].shape[0], initial[0].shape[-1 - (initial[0].ndim > 1)]
    B = trace["h_0"].shape[-2] if trace["h_0"].ndim >= 2 else 0
    sizes = {"D": D, "H": H, "O": O}
    expected = {"entering": (updates, *E, B, H), "loss": (updates, *E)}
    for name, size in zip(BY_STEP, (H, H, O, O, H, H)):
        if any(other in trace for other in BY_STEP):
            expected[name] = (steps, *E, B, size)
    biases = initial[3] is not None or initial[4] is not None
    for name, letters in zip(Parameters._fields, ("DH", "HH", "HO", "H", "O")):
        if biases or not name.startswith("b"):
            shape = (*E, *(sizes[letter] for letter in letters))
            expected |= {f"initial_{name}": shape, f"d{name}": (updates, *shape), name: (updates, *shape)}
    faults = [f"{name} is missing" for name in expected if name not in trace]
    dtype = initial[1].dtype
    for name in ("x", "target", "h_0", *expected):
        array = trace.get(name)
        if array is None:
            continue
        if array.dtype != dtype or dtype not in (np.float32, np.float64):
            faults.append(f"{name} is {array.dtype}: expected float32 or float64, the same everywhere")
        elif name in expected and array.shape != expected[name]:
            faults.append(f"{name} has shape {array.shape}: expected {expected[name]}")
        elif not np.isfinite(array).all():
            index = tuple(map(int, np.argwhere(~np.isfinite(array))[0]))
            faults.append(f"{name}{list(index)} is {array[index]}: expected a finite number")
    if not faults and (trace["target"].shape[0], trace["target"].shape[-2:], trace["x"].shape[-2:]) != (
        T,
        (B, O),
        (B, D),
    ):
        faults.append(
            f"x {trace['x'].shape} and target {trace['target'].shape} do not fit: expected (T, B, D) and (T, B, O)"
        )
    return faults


def _initial():
    return [f"initial_{name}" for name in Parameters._fields]


def start_of(trace: dict) -> tuple[Experiment, Configuration]:
    """The experiment and configuration that a trace says it ran, so that it can be run again."""
    known = json.loads(trace["configuration"].tobytes().rstrip(b"\0"))
    configuration = Configuration(**{name: known[name] for name in NEEDED})
    configuration.check()
    params = Parameters(*(trace.get(name) for name in _initial()))
    return Experiment("series of the trace", trace["x"], trace["target"], trace["h_0"], params), configuration
