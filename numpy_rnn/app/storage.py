"""Files: named arrays (.npz) and JSON, written whole or not at all, and read without pickle."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from numpy_rnn.app.format import to_jsonable
from numpy_rnn.common.checks import check_parameters
from numpy_rnn.common.errors import InputError, some_of
from numpy_rnn.common.records import Parameters
from numpy_rnn.parameters import ARRAYS

Arrays = dict[str, np.ndarray]
RUN_FORMAT = "elman-run 3"  # of a file with the state of a run, including its weights; the number is the version
EXPECTED = "expected W_xh, W_hh, W_hy, optionally b_h and b_y, and optionally h_0, as --save writes them"


def check_can_write(path: str | Path, option: str) -> None:
    """Raise InputError, before a run, if `path` could not be written: it is a regular file or a new name in a folder.

    A file that is the program's own standard input or output is refused too, as in `--save /dev/stdin < series.csv`.
    """
    real = os.path.realpath(path)
    try:
        if os.path.exists(real):
            if not os.path.isfile(real) or _is_a_stream(real):
                raise InputError(f"{option} {path} is not a file, or standard input or output: choose another name")
            with open(real, "rb+"):
                pass
        with tempfile.TemporaryFile(dir=os.path.dirname(real)):
            pass
    except OSError as error:
        raise InputError(f"{option} {path} cannot be written: {error.strerror}; choose another place") from None


def _is_a_stream(path: str) -> bool:
    return any(os.path.exists(f"/dev/fd/{n}") and os.path.samefile(path, f"/dev/fd/{n}") for n in range(3))


@contextmanager
def written_whole(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path, which replaces `path` when the block ends without an error.

    A symbolic link is followed. A replaced file keeps its permissions. Raises InputError if the file cannot be written;
    then nothing is changed.
    """
    real = os.path.realpath(path)
    temporary = Path(os.path.dirname(real), f".unfinished-{os.urandom(8).hex()}")
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        with suppress(FileNotFoundError):
            shutil.copymode(real, temporary)
        os.replace(temporary, real)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or error}; choose another place") from None
    finally:
        temporary.unlink(missing_ok=True)


def save_arrays(path: str | Path, arrays: dict[str, Any]) -> None:
    """Write named arrays as .npz. Raises InputError if the file cannot be written."""
    with written_whole(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, **arrays)


def save_json(path: str | Path, values: Any) -> None:
    """Write values as JSON; NaN and infinity become null. Raises InputError if the file cannot be written."""
    with written_whole(path) as temporary:
        temporary.write_text(json.dumps(to_jsonable(values), indent=1, allow_nan=False) + "\n", encoding="utf-8")


def save_parameters(path: str | Path, params: Parameters) -> None:
    """Write NumPy parameters as .npz under their own names; those that are None are left out."""
    save_arrays(path, {name: theta for name, theta in params._asdict().items() if theta is not None})


def load_arrays(path: str | Path, what: str) -> Arrays:
    """Read all arrays of an .npz file; `what` describes the file in messages.

    Raises InputError if the file is missing, truncated, of another kind, or would need pickle.
    """
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        if all(isinstance(array, np.ndarray) for array in arrays.values()):
            return arrays
    except FileNotFoundError:
        raise InputError(f"{what} {path} does not exist: check the path") from None
    except OSError as error:
        raise InputError(f"{what} {path} cannot be read: {error.strerror or error}; check the path") from None
    except Exception:  # the readers of zip, deflate and .npy raise anything on damaged bytes
        pass
    raise InputError(f"{what} {path} is damaged, or no .npz file of plain arrays: pickle is never read; write it again")


def load_parameters(path: str | Path) -> Parameters:
    """Read the parameters in a weights file or a run file.

    Raises InputError as `load_arrays` does, on names, shapes or dtypes other than those of parameters, and on values
    that are not finite.
    """
    arrays = load_arrays(path, "weights file")
    unknown = [name for name in arrays if name not in Parameters._fields]
    params = parameters_of(arrays, f"weights file {path}")
    if unknown and "format" not in arrays:  # a run file has other keys besides the weights
        raise InputError(f"weights file {path} has {some_of(unknown)}: {EXPECTED}")
    return params


def parameters_of(arrays: Arrays, file: str) -> Parameters:
    """The parameters among named arrays, in C order; `file` names their file in messages.

    Raises InputError as `load_parameters` does.
    """
    missing = [name for name in Parameters._fields[:3] if name not in arrays]
    if missing:
        raise InputError(f"{file} has no {', '.join(missing)}: {EXPECTED}")
    # In C order, as the rounding of products depends on the order, and a file of a resumed run has this one.
    params = {name: np.array(arrays[name], order="C") for name in Parameters._fields if name in arrays}
    for name, theta in params.items():
        if theta.dtype not in (np.float32, np.float64) or theta.size == 0:
            raise InputError(f"{file}: {name} is {theta.dtype} of shape {theta.shape}; expected floats, not empty")
        if not np.isfinite(theta).all():
            raise InputError(f"{file}: {name} contains NaN or infinity; expected finite numbers")
    try:
        check_parameters(ARRAYS, Parameters(**params))
    except InputError as error:
        raise InputError(f"{file}: {error}") from None
    return Parameters(**params)
