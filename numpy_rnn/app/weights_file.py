"""Weights files: the parameters of a run, and what continues it, as .npz.

Keys: W_xh and so on, the names of the Parameters; vW_xh and so on, the velocity, or
with `adagrad` the sums of squares; alphabet, a string: the characters of a text in the
order of their classes. Older files have the options of their run besides, as
`configuration`, which is not read.
"""

from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.arrays import ARRAYS
from numpy_rnn.common.checks import check_finite_parameters
from numpy_rnn.common.errors import InputError, errors_about
from numpy_rnn.common.files import load_arrays, save_arrays
from numpy_rnn.common.records import Gradients, Parameters
from numpy_rnn.common.texts import some_of

THETAS = Parameters._fields
VELOCITY = tuple("v" + name for name in THETAS)
OTHER_ENTRIES = ("alphabet", "adagrad", "configuration")


class Saved(NamedTuple):
    """What a weights file has."""

    params: Parameters[Any]
    velocity: Gradients[Any] | None
    alphabet: str
    adagrad: bool


def save_run(path: str, params: Any, velocity: Any = None, **more: Any) -> None:
    """Write the weights of a run.

    Parameters
    ----------
    path : str
        Of the .npz file, which is replaced at once, and only if all is written.
    params : Parameters
        As NumPy arrays.
    velocity : Gradients, optional
        The velocity, or the sums of squares.
    **more
        Further entries of the file.

    Raises
    ------
    InputError
        If the file cannot be written.
    """
    arrays = dict(zip(THETAS, params)) | dict(zip(VELOCITY, velocity or ()))
    arrays = {name: array for name, array in arrays.items() if array is not None}
    save_arrays(path, arrays | more)


def load_run(path: str) -> Saved:
    """Read the weights that `save_run` wrote.

    Parameters
    ----------
    path : str
        Of the .npz file. It is read without pickle.

    Returns
    -------
    Saved
        Parameters, velocity, alphabet, and the kind of the step.

    Raises
    ------
    InputError
        If the file is missing, damaged or foreign, or a shape, a dtype or a value does
        not fit.
    """
    found = load_arrays(path, "weights file")
    with errors_about(f"weights file {path}"):
        unknown = found.keys() - {*THETAS, *VELOCITY, *OTHER_ENTRIES}
        if unknown or not found.keys() >= {*THETAS[:3]}:
            raise InputError(
                f"it has {some_of(sorted(unknown) or found)}: expected W_xh, W_hh, W_hy"
                " and what --save writes"
            )
        # In C order, on which the rounding of products depends.
        found = {name: np.array(array, order="C") for name, array in found.items()}
        params: Any = Parameters(*map(found.get, THETAS))
        velocity: Any = None
        if found.keys() & VELOCITY:
            velocity = Gradients(*map(found.get, VELOCITY))
        check_finite_parameters(ARRAYS, params, velocity)
    alphabet = str(found.get("alphabet", ""))
    adagrad = found.get("adagrad")
    return Saved(params, velocity, alphabet, bool(np.any(adagrad)))
