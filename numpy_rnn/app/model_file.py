"""Model files: all that is needed to use a trained network, as .npz, without pickle.

Version 2 has these keys:

- W_xh and so on, the names of the Parameters; vW_xh and so on, the velocity, or with
  `adagrad` the sums of squares;
- options, the keyword arguments of `train` as JSON: k1, k2, nonlinearity, loss ...;
- seeds, those of the networks;
- of a series, columns and target_columns, names; and the scaling of these columns:
  mean, deviation, target_mean, target_deviation;
- of a text, alphabet: the characters in the order of their classes.

Files without a version, which have weights, perhaps a velocity and an alphabet, are
read as well.
"""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.app.series import ModelColumns, Scaling
from numpy_rnn.arrays import ARRAY_KIND
from numpy_rnn.common.checks import check_finite_parameters
from numpy_rnn.common.errors import InputError, errors_about
from numpy_rnn.common.files import load_arrays, save_arrays
from numpy_rnn.common.option_checks import (
    check_objective,
    checked_schedule,
    checked_step,
)
from numpy_rnn.common.records import Gradients, NumpyArray, Parameters, RunOptions
from numpy_rnn.common.texts import printable, some_of

VERSION = 2
WEIGHT_ENTRIES = Parameters._fields
VELOCITY_ENTRIES = tuple("v" + name for name in WEIGHT_ENTRIES)
NAME_ENTRIES = ("columns", "target_columns")
ENTRIES = {
    *WEIGHT_ENTRIES,
    *VELOCITY_ENTRIES,
    *NAME_ENTRIES,
    *Scaling._fields,
    "adagrad",
    "alphabet",
    "options",
    "seeds",
    "version",
}


class SavedModel(NamedTuple):
    """The contents of a model file."""

    params: Parameters[Any]
    velocity: Gradients[Any] | None = None  # or the sums of squares
    alphabet: str = ""  # the characters of a text in the order of their classes
    adagrad: bool = False  # whether the velocity has the sums of squares
    options: RunOptions | None = None  # with which it was trained
    columns: Sequence[str] = ()  # the inputs of a series
    target_columns: Sequence[str] = ()
    scaling: Scaling | None = None  # of these columns
    seeds: Sequence[int] = ()  # of the networks

    def series_columns(self) -> ModelColumns:
        """Return the columns of the series."""
        return ModelColumns(self.columns, self.target_columns)


def save_model(path: str, model: SavedModel) -> None:
    """Write a model of NumPy arrays. A file is replaced at once, and only if all is
    written; otherwise InputError is raised.
    """
    entries: dict[str, Any] = dict(zip(WEIGHT_ENTRIES, model.params))
    entries.update(zip(VELOCITY_ENTRIES, model.velocity or ()))
    if model.scaling is not None:
        entries.update(model.scaling._asdict())
        entries["columns"] = np.array(model.columns, str)
        entries["target_columns"] = np.array(model.target_columns, str)
    if model.options is not None:
        entries["options"] = json.dumps(model.options.keywords())
    arrays = {name: array for name, array in entries.items() if array is not None}
    arrays["alphabet"] = model.alphabet
    arrays["adagrad"] = model.adagrad
    arrays["seeds"] = np.array(model.seeds, np.int64)
    arrays["version"] = VERSION
    save_arrays(path, arrays)


def load_model(path: str) -> SavedModel:
    """Read what `save_model` wrote, or any .npz of weights, without pickle.

    Raises InputError if the file is missing, damaged or foreign, or a shape, a dtype or
    a value does not fit.
    """
    entries = load_arrays(path, "weights file")
    with errors_about(f"weights file {printable(path)}"):
        unknown = entries.keys() - ENTRIES
        if unknown or not entries.keys() >= {*WEIGHT_ENTRIES[:3]}:
            raise InputError(
                f"it has {some_of(sorted(unknown) or entries)}: expected W_xh, W_hh,"
                " W_hy and what --save writes"
            )
        # In C order, on which the rounding of products depends.
        arrays = {name: np.array(array, order="C") for name, array in entries.items()}
        version = arrays.get("version", np.array(1))
        if version.shape or version not in (1, VERSION):
            raise InputError(
                f"its version is {version}: expected 1 or {VERSION}; use the release"
                " that wrote it"
            )
        params: Parameters[Any] = Parameters(*map(arrays.get, WEIGHT_ENTRIES))
        velocity: Gradients[Any] | None = None
        if arrays.keys() & VELOCITY_ENTRIES:
            velocity = Gradients(*map(arrays.get, VELOCITY_ENTRIES))
        check_finite_parameters(ARRAY_KIND, params, velocity)
        model = SavedModel(
            params,
            velocity,
            alphabet=str(arrays.get("alphabet", "")),
            adagrad=bool(np.any(arrays.get("adagrad"))),
        )
        if "options" in arrays:
            model = model._replace(options=options_in(str(arrays["options"])))
        if "mean" in arrays:
            model = with_scaling(model, arrays)
        if "seeds" in arrays:
            model = model._replace(seeds=seeds_in(model, arrays["seeds"]))
    return model


def options_in(text: str) -> RunOptions:
    """Return the options of a run from their JSON."""
    try:
        schedule, objective, step = RunOptions.from_keywords(**json.loads(text))
    except (TypeError, ValueError):
        raise InputError(
            "its options are damaged: expected the JSON that --save writes"
        ) from None
    check_objective(objective)
    return RunOptions(checked_schedule(schedule), objective, checked_step(step))


def with_scaling(model: SavedModel, arrays: dict[str, NumpyArray]) -> SavedModel:
    """Return the model with the names and the scaling of its columns."""
    sizes = (model.params.W_xh.shape[-2], model.params.W_hy.shape[-1])
    names = []
    for entry, size in zip(NAME_ENTRIES, sizes):
        array = arrays.get(entry, np.array(0))
        if array.dtype.kind != "U" or array.shape != (size,):
            raise InputError(f"its {entry} are no {size} names: it is damaged")
        names.append([str(name) for name in array])
    values = []
    for entry, size in zip(Scaling._fields, (sizes[0], sizes[0], sizes[1], sizes[1])):
        array = arrays.get(entry, np.array(0))
        is_right = array.dtype.kind == "f" and array.shape == (size,)
        if not is_right or not np.isfinite(array).all():
            raise InputError(f"its {entry} are no {size} numbers: it is damaged")
        values.append(array)
    return model._replace(
        columns=names[0], target_columns=names[1], scaling=Scaling(*values)
    )


def seeds_in(model: SavedModel, seeds: NumpyArray) -> list[int]:
    """Return the seeds of the networks, if there is one of each."""
    counts = 0, model.params.networks or 1
    if seeds.dtype.kind != "i" or seeds.ndim != 1 or len(seeds) not in counts:
        raise InputError("its seeds are not one for each network: it is damaged")
    return [int(seed) for seed in seeds]
