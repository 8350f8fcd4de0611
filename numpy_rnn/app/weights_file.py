"""Weights files: the parameters of a run, and what continues it, as .npz.

Keys: W_xh and so on, the names of the Parameters; vW_xh and so on, the velocity, or
with `adagrad` the sums of squares; alphabet, a string: the characters of a text in the
order of their classes.
"""

from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.arrays import ARRAY_KIND
from numpy_rnn.common.checks import check_finite_parameters
from numpy_rnn.common.errors import InputError, errors_about
from numpy_rnn.common.files import load_arrays, save_arrays
from numpy_rnn.common.records import Gradients, Parameters
from numpy_rnn.common.texts import some_of

WEIGHT_ENTRIES = Parameters._fields
VELOCITY_ENTRIES = tuple("v" + name for name in WEIGHT_ENTRIES)
ENTRIES = {*WEIGHT_ENTRIES, *VELOCITY_ENTRIES, "alphabet", "adagrad"}


class SavedRun(NamedTuple):
    """The contents of a weights file."""

    params: Parameters[Any]
    velocity: Gradients[Any] | None = None  # or the sums of squares
    alphabet: str = ""  # the characters of a text in the order of their classes
    adagrad: bool = False  # whether the velocity has the sums of squares


def save_run(path: str, saved: SavedRun) -> None:
    """Write a run of NumPy arrays. A file is replaced at once, and only if all is
    written; otherwise InputError is raised.
    """
    entries = dict(zip(WEIGHT_ENTRIES, saved.params))
    entries.update(zip(VELOCITY_ENTRIES, saved.velocity or ()))
    arrays = {name: array for name, array in entries.items() if array is not None}
    save_arrays(path, arrays | {"alphabet": saved.alphabet, "adagrad": saved.adagrad})


def load_run(path: str) -> SavedRun:
    """Read what `save_run` wrote, or any .npz of weights, without pickle.

    Raises InputError if the file is missing, damaged or foreign, or a shape, a dtype or
    a value does not fit.
    """
    entries = load_arrays(path, "weights file")
    with errors_about(f"weights file {path}"):
        unknown = entries.keys() - ENTRIES
        if unknown or not entries.keys() >= {*WEIGHT_ENTRIES[:3]}:
            raise InputError(
                f"it has {some_of(sorted(unknown) or entries)}: expected W_xh, W_hh,"
                " W_hy and what --save writes"
            )
        # In C order, on which the rounding of products depends.
        arrays = {name: np.array(array, order="C") for name, array in entries.items()}
        params: Parameters[Any] = Parameters(*map(arrays.get, WEIGHT_ENTRIES))
        velocity: Gradients[Any] | None = None
        if arrays.keys() & VELOCITY_ENTRIES:
            velocity = Gradients(*map(arrays.get, VELOCITY_ENTRIES))
        check_finite_parameters(ARRAY_KIND, params, velocity)
    return SavedRun(
        params,
        velocity,
        alphabet=str(arrays.get("alphabet", "")),
        adagrad=bool(np.any(arrays.get("adagrad"))),
    )
