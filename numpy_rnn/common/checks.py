"""Checks of the arguments of public functions, made before anything is computed.

Each public function calls one with the `Arrays` of its package. Axes are written as in
the annotations of `records.py`. All checks raise InputError.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from math import inf, isfinite, ulp
from typing import Any, NamedTuple, Unpack, get_args

import numpy as np

from numpy_rnn.common import records
from numpy_rnn.common.errors import (
    InputError,
    check_flag,
    check_integer,
    check_number,
    short_repr,
)
from numpy_rnn.common.records import (
    DTYPES,
    Objective,
    Parameters,
    Run,
    RunOptions,
    Schedule,
    Step,
)

SERIES = {"x": "T (N) B D?", "h_0": "(N) B H", "y": "K N B O"}
DTYPE_NAMES = " or ".join(DTYPES)
Argument = tuple[str, Any, str]  # the name, the value, and the axes of an array
AXES = {  # of the fields of a record, from their annotations
    kind: [str(hint).split("'")[1] for hint in kind.__annotations__.values()]
    for kind in (Parameters, records.Activations)
}


class Arrays(NamedTuple):
    """The arrays of one package."""

    kind: type  # numpy.ndarray or torch.Tensor
    expected: str  # in messages

    def values(self, name: str, value: Any) -> Any:
        """The value as a NumPy array. Raises InputError on other values, masks and
        matrices.
        """
        if isinstance(value, np.matrix | np.ma.MaskedArray) or not isinstance(
            value, self.kind
        ):
            raise InputError(
                f"{name} is of type {type(value).__name__}: expected {self.expected}"
            )
        return numpy_view(name, value)


NUMPY_ARRAYS = Arrays(
    np.ndarray, "a NumPy array, no mask, no matrix; torch_rnn takes tensors"
)


def numpy_view(name: str, value: Any) -> Any:
    """A tensor as a NumPy array, in the same memory if that is the CPU's; others as
    they are.
    """
    try:
        return value.detach().cpu().numpy() if hasattr(value, "detach") else value
    except (
        TypeError,
        RuntimeError,
    ):  # bfloat16, sparse or quantized, or without numbers (meta)
        kind = f"{value.dtype}, {value.layout}, on the device {value.device}"
        raise InputError(
            f"{name} is {kind}: expected a dense tensor of {DTYPE_NAMES}"
        ) from None


def is_integer(array: records.NumpyArray) -> bool:
    """Whether the array contains classes, with one axis fewer than rows: (T, B) for (T,
    B, D).
    """
    return array.dtype.kind in "iu"


def check_dtype(name: str, values: records.NumpyArray) -> None:
    """Check that the dtype is one of DTYPES, in native byte order."""
    if values.dtype not in DTYPES:
        raise InputError(
            f"{name} is {values.dtype}: expected {DTYPE_NAMES}, in native byte order"
        )


def check_convertible(value: Any) -> None:
    """Check that `from_numpy` can convert the value: float32, float64 or integers of
    int64.
    """
    if not isinstance(value, np.generic):
        NUMPY_ARRAYS.values("the value", value)
    if not (is_integer(value) and value.dtype.isnative):
        check_dtype("the array", value)
    elif value.dtype == np.uint64 and value.size:
        check_integer("the largest number of the array", int(value.max()), 0)


def check_values(
    name: str, values: Any, least: float = -inf, most: float = inf
) -> None:
    """Check that all numbers, or classes, are finite and from `least` to `most`."""
    low, high = (
        values.min(),
        values.max(),
    )  # NaN if any number is; a mapped file is not copied
    if not (isfinite(low) and isfinite(high)):
        raise InputError(f"{name} contains NaN or infinity: expected finite numbers")
    if low < least or high > most:
        what = "classes" if is_integer(values) else "numbers"
        limits = f"of {least:g} or more" if most == inf else f"from {least} to {most}"
        found = low if low < least else high
        raise InputError(f"{name} contains {found}: expected {what} {limits}")


def check_arrays(
    arrays: Arrays, arguments: Iterable[Argument], *, finite: bool = False
) -> None:
    """Check the arrays of one call: all have one dtype, and axes of one letter have one
    size.

    The first array with a letter determines its size, and the first array of all
    whether there is an ensemble. No axis is empty. (N) may be absent, as in an array
    that all networks share. D? allows classes instead of rows, O! requires them.
    finite: whether NaN is an error.
    """
    sizes: dict[str, int] = {}
    is_ensemble = dtype = None
    for name, value, axes in arguments:
        values, letters = arrays.values(name, value), re.findall(r"[\w+]+", axes)
        has_classes = axes[-1] in "?!" and is_integer(values)
        if axes[-1] == "!" and not has_classes:
            found = f"{name} is {values.dtype}, and the loss is one of classes"
            raise InputError(
                f"{found}: expected integers; for other numbers choose squared_error"
            )
        last = letters.pop() if has_classes else ""
        single = [letter for letter in letters if letter != "N"]
        is_ensemble = (
            values.ndim == len(letters) if is_ensemble is None else is_ensemble
        )
        allowed = [letters] * is_ensemble + [single] * (
            not is_ensemble or "(N)" in axes
        )
        form = next((each for each in allowed if len(each) == values.ndim), [])
        known = sizes | {"T+1": sizes.get("T", 0) + 1}
        fits = all(
            known.setdefault(axis, n) == n > 0 for axis, n in zip(form, values.shape)
        )
        if not (form and fits):
            shapes = (
                ", ".join(str(sizes.get(axis, axis)) for axis in each)
                for each in allowed
            )
            expected = " or ".join(f"({shape})" for shape in shapes)
            hint = ", as integers are classes" * has_classes
            hint += ", time first" * (letters[0] in {"T", "K"} - sizes.keys())
            raise InputError(
                f"{name} has shape {values.shape}: expected {expected}{hint}"
            )
        sizes = known
        if has_classes:
            check_values(name, values, 0, sizes[last] - 1)
            continue
        check_dtype(name, values)
        dtype = dtype or values.dtype
        if values.dtype != dtype:
            dtypes = f"{values.dtype} and the parameters are {dtype}"
            raise InputError(f"{name} is {dtypes}: expected one dtype")
        if finite:
            check_values(name, values)


def fields(
    name: str, record: Any, kind: Any, like: Any = None, *, partial: bool = False
) -> Iterator[Argument]:
    """Generate the arrays of a record, and check that none is missing or too many.

    like: the parameters that they belong to. partial: whether any of them may be None.
    """
    if not isinstance(record, kind):
        raise InputError(
            f"{name} is of type {type(record).__name__}: expected {kind.__name__}"
        )
    for field, axes, array, theta in zip(
        kind._fields, AXES[kind], record, like or record
    ):
        if array is not None and theta is None:
            raise InputError(
                f"there is a {name} of {field}: expected none, as params has none"
            )
        if array is not None or not (
            partial or (theta is None and field in kind._field_defaults)
        ):
            yield (field if name == "params" else f"{field} of the {name}"), array, axes


def check_choice(what: str, name: Any, known: Sequence[str]) -> None:
    """Check that the name is one of the known ones."""
    if not (isinstance(name, str) and name in known):
        raise InputError(
            f"unknown {what} {short_repr(name, repr)}: expected {' or '.join(known)}"
        )


def check_schedule(schedule: Schedule) -> Schedule:
    """The schedule in plain integers, 1 ≤ k1 ≤ k2 and epochs ≥ 0."""
    k1, k2 = check_integer("k1", schedule.k1, 1), check_integer("k2", schedule.k2, 1)
    if k2 < k1:
        why = (
            "because the window must contain the k1 new steps of its update; "
            f"choose k2 ≥ {k1}"
        )
        raise InputError(f"k2 is {k2} and k1 is {k1}: expected k2 ≥ k1, {why}")
    return Schedule(k1, k2, check_integer("epochs", schedule.epochs, 0))


def check_step(step: Step) -> Step:
    """The step in plain numbers, except for its learning rate."""
    learning_rate, momentum, dampening, nesterov, decay, adagrad, norm, value = step
    momentum, decay = (
        check_number("momentum", momentum),
        check_number("weight decay", decay),
    )
    dampening = check_number(
        "dampening", dampening, -inf, "a finite number, usually 0 to 1"
    )
    nesterov, adagrad = check_flag("nesterov", nesterov), check_flag("adagrad", adagrad)
    limits = {"max norm": norm, "max value": value}
    norm, value = (
        v if v is None else check_positive(name, v) for name, v in limits.items()
    )
    given = f"they are {momentum}, {dampening} and {nesterov}"
    if adagrad and (momentum != 0 or dampening != 0 or nesterov):
        raise InputError(
            f"adagrad needs momentum 0, dampening 0 and nesterov False: {given}"
        )
    if nesterov and (momentum == 0 or dampening != 0):
        raise InputError(f"nesterov needs momentum above 0 and dampening 0: {given}")
    if norm is not None and value is not None:
        raise InputError(
            f"max norm is {norm} and max value is {value}: expected one of the two"
        )
    return Step(
        learning_rate, momentum, dampening, nesterov, decay, adagrad, norm, value
    )


def check_positive(name: str, value: Any) -> float:
    """The value as a plain float. Raises InputError unless it is finite and above 0."""
    return check_number(name, value, ulp(0.0), "a finite number above 0")


def check_call(
    arrays: Arrays,
    objective: Objective | None = None,
    *,
    finite: bool = False,
    **given: Any,
) -> None:
    """Check the arguments of one call by their names, those of SERIES and of records.

    The target has as many steps as x, or at most as many as the activations. A velocity
    may be None. finite: whether NaN is an error.
    """
    if objective is not None:
        for option, choice in objective._asdict().items():
            check_choice(option, choice, get_args(Objective.__annotations__[option]))
    has_classes = objective is not None and objective.loss == "cross_entropy"
    axes = SERIES | {
        "target": f"{'T' if 'x' in given else 'K'} (N) B O{'!' * has_classes}"
    }
    arguments: list[Argument] = []
    is_direction = "gradient" in given
    for name, value in given.items():
        if name in axes:
            arguments.append((name, value, axes[name]))
        elif name == "activations":
            arguments += fields(name, value, records.Activations)
        elif name != "velocity" or value is not None:
            arguments += fields(
                name, value, Parameters, given.get("params"), partial=is_direction
            )
        if (
            name == "params"
            and not is_direction
            and (value.b_h is None) != (value.b_y is None)
        ):
            raise InputError(
                "one of b_h and b_y is None: expected both biases or neither"
            )
    check_arrays(arrays, arguments, finite=finite)
    if "activations" in given and (K := len(given["target"])) > (
        T := len(given["activations"].x)
    ):
        raise InputError(
            f"target has {K} steps and x has {T}: expected between 1 and {T}"
        )


def check_clipping(arrays: Arrays, gradients: Any, name: str, limit: Any) -> float:
    """The limit of clipping. All gradients may be None except that of W_hh."""
    check_call(arrays, gradient=gradients)
    arrays.values("W_hh of the gradient", gradients.W_hh)
    return check_positive(name, limit)


def check_learning_rate(params: Parameters[Any], learning_rate: Any) -> Any:
    """The learning rate, a number, or a copy of an array (N,) with one per network."""
    name, networks = "the learning rate", tuple(params.W_hh.shape[:-2])
    rates = numpy_view(name, learning_rate)
    if not getattr(rates, "shape", ()):
        return check_number(name, rates[()] if isinstance(rates, np.ndarray) else rates)
    if rates.shape != networks:
        allowed = f", or one per network, of shape {networks}" if networks else ""
        raise InputError(f"{name} has shape {rates.shape}: expected a number{allowed}")
    check_dtype(name, NUMPY_ARRAYS.values(name, rates))
    check_values(name, rates, 0)
    return rates.copy()


def check_run(arrays: Arrays, run: Run) -> Run:
    """The run in plain numbers."""
    schedule, objective, step = run.options
    schedule, step = check_schedule(schedule), check_step(step)
    if run.velocity is not None and not step.has_velocity:
        raise InputError(
            "velocity is given without momentum or adagrad: expected one of them"
        )
    given = {
        name: getattr(run, name)
        for name in ("params", "x", "h_0", "target", "velocity")
    }
    check_call(arrays, objective, finite=True, **given)
    rate = check_learning_rate(run.params, step.learning_rate)
    for name, v in zip(Parameters._fields, run.velocity or ()):
        if step.adagrad and v is not None:
            check_values(
                f"{name} of the velocity, a sum of squares,", numpy_view(name, v), 0
            )
    return run._replace(
        options=RunOptions(schedule, objective, step._replace(learning_rate=rate))
    )


def check_training(
    arrays: Arrays,
    series: tuple[Any, Any, Any, Any],
    **options: Unpack[records.TrainKeywords[Any]],
) -> tuple[Run, bool, bool]:
    """(the run, `record`, whether by epoch), from (params, x, target, h_0) and the
    options.
    """
    given: dict[str, Any] = {
        "velocity": None,
        "record": False,
        "yield_every": 1,
        **options,
    }
    velocity, record, every = (
        given.pop(name) for name in ("velocity", "record", "yield_every")
    )
    run = check_run(arrays, Run(*series, RunOptions.from_keywords(**given), velocity))
    by_epoch = isinstance(every, str) and every == "epoch"
    if not by_epoch:
        expected = "1, for every update, or 'epoch', for the last update of each epoch"
        check_integer("yield_every", every, 1, expected, most=1)
    return run, check_flag("record", record), by_epoch
