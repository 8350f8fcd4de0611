"""Files of the suite: .npz and JSON, written completely or not at all, and read without pickle."""

import contextlib
import json
import os
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np

from numpy_rnn.common.errors import InputError


def check_output(path: str, option: str) -> None:
    """Raise InputError, before a run, if the file could not be written, or its ending is not .json."""
    if not path.endswith(".json"):
        raise InputError(f"{option} {path}: expected a name that ends in .json")
    folder = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(folder):
        raise InputError(f"{option} {path}: the folder {folder} does not exist; create it first")
    if os.path.isdir(path) or not os.access(path if os.path.exists(path) else folder, os.W_OK):
        raise InputError(f"{option} {path} cannot be written: choose another place")


def _write(path: str, write: Callable[[Any], object]) -> None:
    temporary = f"{path}.{os.getpid()}.part"
    try:
        with open(temporary, "xb") as file:
            write(file)
        os.replace(temporary, path)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}; choose another place") from None
    finally:
        with contextlib.suppress(OSError):
            os.unlink(temporary)


def save_arrays(path: str, arrays: dict[str, Any]) -> None:
    """Write named arrays as .npz. Raises InputError if the file cannot be written; then nothing is changed."""
    _write(path, lambda file: np.savez(file, **arrays))


def save_json(path: str, values: Any) -> None:
    """Write values as JSON; NaN and infinity become null. Raises InputError as `save_arrays` does."""
    text = json.dumps(plain(values), indent=1, allow_nan=False)
    _write(path, lambda file: file.write(text.encode() + b"\n"))


def plain(value: Any) -> Any:
    """The value in types of JSON: records and dicts become objects, arrays lists."""
    if hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, dict):
        return {str(name): plain(each) for name, each in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def load_arrays(path: str, what: str) -> dict[str, np.ndarray]:
    """Read all arrays of an .npz file. `what` describes the file in messages.

    Raises InputError if the file is missing, truncated, of another kind, or contains Python objects.
    """
    try:
        with open(path, "rb") as file:
            if not zipfile.is_zipfile(file):
                raise InputError(
                    f"{what} {path} is not a complete .npz file: expected arrays as numpy.savez writes them"
                )
            file.seek(0)
            with np.load(file, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{what} {path} cannot be read: {error.strerror or error}; check the path") from None
    except Exception as error:  # the readers of zip, deflate and .npy raise anything on damaged bytes
        reason = "contains Python objects" if "Object arrays" in str(error) else "is damaged"
        raise InputError(f"{what} {path} {reason}: expected plain arrays, as numpy.savez writes them") from None
    if not_arrays := [name for name, array in arrays.items() if not isinstance(array, np.ndarray)]:
        raise InputError(f"{what} {path} holds {not_arrays[0]}, which is not an array: expected arrays only")
    return arrays
