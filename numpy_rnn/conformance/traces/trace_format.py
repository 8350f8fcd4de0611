"""The format of traces: validated before their numbers are judged, because `NaN > bound` is false."""

import json
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.app.configuration import Configuration
from numpy_rnn.app.experiment import Experiment
from numpy_rnn.app.trace import BY_STEP, PER_UPDATE, ROWS, load_trace
from numpy_rnn.app.trace import PLACE as INTEGERS
from numpy_rnn.common.errors import InputError, one_line
from numpy_rnn.common.records import Parameters, SgdOptions
from numpy_rnn.common.shapes import fits
from numpy_rnn.conformance.case import FIELDS, parameters_of
from numpy_rnn.conformance.truncations import truncation_of

NEEDED = ("k1", "k2", "learning_rate", "epochs", "nonlinearity", "reduction")
OPTIONAL = (*SgdOptions._fields, "learn_initial_state", "loss", "truncation")
MAX_COUNT = 10**9  # of k1, k2 and epochs


class Settings(NamedTuple):
    """The settings of a run that the judge needs."""

    k1: int
    k2: int
    learning_rate: Any  # a number, or (*E) of the ensemble, 1 for an axis along which it is shared
    epochs: int
    nonlinearity: str
    reduction: str
    sgd: SgdOptions
    learn_initial_state: bool | None  # None: as the keys of the trace show
    loss: str = "squared_error"
    truncation: str = ""  # as in `truncations.py`

    def learns(self, trace) -> bool:
        """Whether the initial state of this trace is learned."""
        return "h_0" in trace if self.learn_initial_state is None else self.learn_initial_state

    def check(self) -> None:
        """Raise InputError on an invalid value, TypeError on one of a wrong type."""
        alone = self._replace(learning_rate=0.0) if np.ndim(self.learning_rate) else self
        alone.configuration(()).check()
        truncation_of(self.truncation)

    def configuration(self, E: tuple[int, ...]) -> Configuration:
        """The configuration of a run with networks of shape E. Raises InputError if there is none."""
        rates, networks = self.learning_rate, E[-1] if E else None
        if np.ndim(rates):
            if rates.size != len(rates) or len(E) > 2:
                raise InputError(
                    f"a run with learning rates of shape {rates.shape} cannot be repeated: expected (R,) or (R, 1)"
                )
            rates = tuple(np.broadcast_to(rates.ravel(), E[:1]).tolist())
            networks = E[1] if len(E) == 2 else None
        values = {name: getattr(self, name) for name in ("k1", "k2", "epochs", "nonlinearity", "reduction", "loss")}
        values |= self.sgd._asdict() | {"learn_initial_state": self.learn_initial_state}
        return Configuration(**values, learning_rate=rates, networks=networks)


def settings_of(trace: dict) -> Settings:
    """The settings of a trace that has its initial parameters.

    Raises InputError if its configuration is no JSON object, lacks a key, or has an invalid value.
    """
    try:
        known = json.loads(trace["configuration"].tobytes().rstrip(b"\0"))
    except (ValueError, TypeError, RecursionError):
        raise InputError("configuration is not JSON text") from None
    if not isinstance(known, dict):
        raise InputError("configuration is not a JSON object: expected one with k1, k2, learning_rate and so on")
    missing = [name for name in NEEDED if name not in known]
    if missing:
        raise InputError(f"configuration has no {missing[0]}")
    values = {name: known.get(name, getattr(Configuration, name, "")) for name in (*NEEDED, *OPTIONAL)}
    for name, value in values.items():
        _check_kind(name, value)
    sgd = SgdOptions(*(values.pop(name) for name in SgdOptions._fields))
    try:
        values["learning_rate"] = _rates(values["learning_rate"], trace["initial_W_hh"].shape[:-2])
        settings = Settings(sgd=sgd, **values)
        settings.check()
    except (TypeError, ValueError) as error:
        raise InputError(f"the configuration is not one of a run: {error}") from None
    return settings


def _check_kind(name, value):
    """Raise InputError unless the value has the type of this setting."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if name in ("k1", "k2", "epochs"):
        fits, expected = (
            is_number and isinstance(value, int) and value <= MAX_COUNT,
            f"a whole number, {MAX_COUNT} at most",
        )
    elif name in ("nonlinearity", "reduction", "loss", "truncation"):
        fits, expected = isinstance(value, str), "a text"
    elif name in ("nesterov", "adagrad", "learn_initial_state"):
        fits, expected = isinstance(value, bool) or (value is None and name == "learn_initial_state"), "true or false"
    elif name == "learning_rate":
        fits, expected = is_number or isinstance(value, list), "a number, or a list of them"
    else:
        fits, expected = is_number or (value is None and name in ("max_norm", "max_value")), "a number"
    if not fits:
        raise InputError(
            f"the configuration is not one of a run: {name} is {one_line(repr(value), 40)}: expected {expected}"
        )


def _rates(learning_rate, E):
    """The learning rates as an array; a list belongs to the first ensemble axis, a nested one to the first axes."""
    if not isinstance(learning_rate, list):
        return learning_rate
    try:
        rates = np.array(learning_rate, np.float64)
    except (TypeError, ValueError, OverflowError):
        raise InputError("the learning rates are not numbers in lists of one length") from None
    rates = rates.reshape(*rates.shape, *(1,) * (len(E) - rates.ndim))
    if rates.ndim != len(E) or any(axis not in (1, size) for axis, size in zip(rates.shape, E)):
        raise InputError(f"learning rates of shape {np.shape(learning_rate)} do not fit networks of shape {E}")
    if not (np.isfinite(rates) & (rates >= 0)).all():
        raise InputError("a learning rate is not a finite number, 0 or more")
    return rates


SERIES = ("x", "target", "initial_h_0")


def read_trace(path) -> dict:
    """Load and validate a trace file. Raises InputError with the first error and the number of others."""
    trace = load_trace(path)
    whole = (*INTEGERS, "x", "target")
    integers = {name: trace[name] for name in whole if name in trace and trace[name].dtype.kind in "iu"}
    return checked_trace(trace | {name: array.astype(np.int64) for name, array in integers.items()}, path)


def first_updates(trace: dict, count: int) -> dict:
    """The trace of the first updates."""
    rows = int((trace["stop"] - trace["start"])[:count].sum())
    part = {name: array[:rows] for name, array in trace.items() if name in ROWS}
    return trace | part | {name: array[:count] for name, array in trace.items() if name in PER_UPDATE}


def checked_trace(trace: dict, path: str) -> dict:
    """The trace, if it is valid. Raises InputError with the first error and the number of others."""
    faults = trace_errors(trace)
    if faults:
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        raise InputError(f"trace file {path}: {faults[0]}{more}; numpy_rnn/app/trace.py documents the keys")
    return trace


def trace_errors(trace: dict) -> list[str]:
    """The errors in the format of a trace, one line each: keys, shapes, dtypes, NaN or infinity."""
    start = [name for name in ("configuration", *SERIES, *_initial()[:3], *INTEGERS) if name not in trace]
    if start:
        return [f"{name} is missing" for name in start]
    for name in _initial()[:3]:
        if trace[name].ndim < 2:
            return [f"{name} has shape {trace[name].shape}: expected two axes, after those of an ensemble"]
    for name in SERIES:
        if trace[name].ndim < 2:
            return [f"{name} has shape {trace[name].shape}: expected two axes or more"]
    for name in (*SERIES, *_initial()[:3]):
        if trace[name].size == 0:
            return [f"{name} has shape {trace[name].shape}: expected no empty axis"]
    try:
        settings = settings_of(trace)
    except InputError as error:
        return [str(error)]
    if settings.truncation == "stale" and any(name not in trace for name in BY_STEP):
        return [f"truncation 'stale' needs the states of every window: expected {', '.join(BY_STEP)}"]
    if settings.truncation and (settings.learns(trace) or trace["initial_W_hh"].ndim > 2):
        return ["another truncation is for one network with a given initial state: expected no others"]
    faults = [
        f"{name} is {trace[name].dtype} of shape {trace[name].shape}: expected (N,) integers"
        for name in INTEGERS
        if trace[name].dtype.kind not in "iu" or trace[name].ndim != 1
    ]
    if faults:
        return faults
    lengths = {len(trace[name]) for name in INTEGERS}
    if len(lengths) != 1 or 0 in lengths:
        return [f"epoch, number, start, loss_start and stop have {sorted(lengths)} entries: expected N each, 1 or more"]
    for name in ("epoch", "number"):
        wrong = np.flatnonzero((trace[name] < 1) | (trace[name] > len(trace[name])))
        if len(wrong):
            return [f"{name}[{wrong[0]}] is {trace[name][wrong[0]]}: expected 1 to {len(trace[name])}, one per update"]
    steps = trace["stop"] - trace["start"]
    if (steps < 1).any() or (trace["start"] < 0).any() or (trace["stop"] > len(trace["x"])).any():
        return ["a window has no steps, or reaches beyond the series"]
    if ((trace["loss_start"] < trace["start"]) | (trace["loss_start"] >= trace["stop"])).any():
        return ["a window has no step with a loss, or a loss at steps outside it"]
    return _array_faults(trace, settings)


def _expected_shapes(trace, settings: Settings) -> dict[str, tuple[int, ...]]:
    """The shapes of all arrays but the series, by key."""
    initial = [trace.get(name) for name in _initial()]
    *E, H, O = initial[2].shape
    D = initial[0].shape[-1 - (initial[0].ndim > 1)]
    B = trace["initial_h_0"].shape[-2] if trace["initial_h_0"].ndim >= 2 else 0
    N, S = len(trace["start"]), int((trace["stop"] - trace["start"]).sum())
    of = {"initial": (N, *E, B, H), "loss": (N, *E)}
    if any(name in trace for name in BY_STEP):
        of |= {name: (S, *E, B, size) for name, size in zip(BY_STEP, (H, H, O, O, H, H))}
    if "dx" in trace:
        of["dx"] = (S, *E, B, D)
    if "dx" in trace or "dh_0" in trace or settings.learns(trace):
        of["dh_0"] = (N, *E, B, H)

    shapes = {"W_xh": (*E, D, H), "W_hh": (*E, H, H), "W_hy": (*E, H, O)}
    if initial[3] is not None or initial[4] is not None:
        shapes |= {"b_h": (*E, H), "b_y": (*E, O)}
    if "initial_b_hh" in trace:
        shapes["b_hh"] = (*E, H)
    if settings.learns(trace):
        shapes["h_0"] = (*E, B, H)
    prefixes = ("d", "v", "") if settings.sgd.has_velocity else ("d", "")
    for name, shape in shapes.items():
        of |= {f"initial_{name}": shape} | {prefix + name: (N, *shape) for prefix in prefixes}
    return of


def _array_faults(trace, settings):
    expected = _expected_shapes(trace, settings)
    faults = [f"{name} is missing" for name in expected if name not in trace]
    known = (*FIELDS, "dh_0", *("v" + name for name in FIELDS))
    faults += [f"{name} is present, but the configuration excludes it" for name in known
               if name in trace and name not in expected]  # fmt: skip
    dtype = trace["initial_W_hh"].dtype
    for name in dict.fromkeys((*SERIES, "weights", *expected)):
        array = trace.get(name)
        if array is None or (name in classes_of(trace, settings)):
            continue
        if array.dtype != dtype or dtype not in (np.float32, np.float64):
            faults.append(f"{name} is {array.dtype}: expected float32 or float64, the same everywhere")
        elif name in expected and array.shape != expected[name]:
            faults.append(f"{name} has shape {array.shape}: expected {expected[name]}")
        elif not np.isfinite(array).all():
            index = tuple(map(int, np.argwhere(~np.isfinite(array))[0]))
            faults.append(f"{name}{list(index)} is {array[index]}: expected a finite number")
    return faults or _series_faults(trace, settings)


def classes_of(trace: dict, settings: Settings) -> dict[str, int]:
    """The series of the trace that hold classes, and how many classes there are."""
    sizes = {"x": trace["initial_W_xh"].shape[-2]}
    if settings.loss == "cross_entropy":
        sizes["target"] = trace["initial_W_hy"].shape[-1]
    return {name: size for name, size in sizes.items() if trace[name].dtype.kind in "iu"}


def in_rows(trace: dict, settings: Settings) -> dict:
    """The trace with rows of 0 and 1 for classes."""
    dtype = trace["initial_W_hh"].dtype
    return trace | {name: np.eye(N, dtype=dtype)[trace[name]] for name, N in classes_of(trace, settings).items()}


def _series_faults(trace, settings):
    """The errors in the shapes of the series: shared by all networks, or one per network."""
    for name, size in classes_of(trace, settings).items():
        if not ((trace[name] >= 0) & (trace[name] < size)).all():
            return [f"{name} holds a class below 0 or above {size - 1}: expected classes from 0 to {size - 1}"]
    if "weights" in trace:
        expected = trace["x"].shape[0], trace["initial_h_0"].shape[-2]
        if trace["weights"].shape != expected or not (trace["weights"] >= 0).all():
            return [f"weights has shape {trace['weights'].shape}: expected {expected}, numbers of 0 or more"]
    trace = in_rows(trace, settings)
    x, target, h_0 = (trace[name].shape for name in SERIES)
    *E, D, H = trace["initial_W_xh"].shape
    T, B, O = x[0], h_0[-2], trace["initial_W_hy"].shape[-1]
    faults = []
    if not (fits(x, (T, B, D), tuple(E)) and fits(target, (T, B, O), tuple(E))):
        faults.append(f"x {x} and target {target} do not fit: expected (T, B, D) and (T, B, O)")
    if not fits(h_0, (B, H), tuple(E)):
        faults.append(f"initial_h_0 has shape {h_0}: expected {(B, H)}, or one per network")
    return faults


def _initial():
    return [f"initial_{name}" for name in Parameters._fields]


def start_of(trace: dict):
    """The experiment and configuration of a trace, with which its run can be repeated.

    Raises InputError on a configuration that cannot be run, and if networks have series of their own.
    """
    for name in ("x", "target"):
        if trace[name].ndim > 3 - (trace[name].dtype.kind in "iu"):
            raise InputError(
                f"{name} has shape {trace[name].shape}: a run with a series per network cannot be repeated"
            )
    settings = settings_of(trace)
    configuration = settings.configuration(trace["initial_W_hh"].shape[:-2])
    params = parameters_of(trace, "initial_")
    if not settings.learns(trace):
        params = params._replace(h_0=None)
    arrays = trace["x"], trace["target"], trace["initial_h_0"]
    return Experiment("series of the trace", *arrays, params, weights=trace.get("weights")), configuration
