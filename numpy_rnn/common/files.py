"""Files that are read whole up to a limit, and written whole or not at all; .npz without pickle."""

import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from numpy_rnn.common.errors import InputError

Arrays = dict[str, np.ndarray]
MAX_MEGABYTES = 64  # of a file that is read
MAX_RATIO = 100  # of the arrays in a file to its size: more is a zip bomb


def read_bytes(path: str) -> bytes:
    """The bytes of a regular file or a pipe.

    Raises OSError, and InputError on another kind of file and on more than MAX_MEGABYTES.
    """
    kind = os.stat(path).st_mode
    if not (stat.S_ISREG(kind) or stat.S_ISFIFO(kind)):
        raise InputError("it is a folder or a device: expected a regular file or a pipe")
    with open(path, "rb") as file:
        content = file.read(MAX_MEGABYTES * 2**20 + 1)
    if len(content) > MAX_MEGABYTES * 2**20:
        raise InputError(f"it has more than {MAX_MEGABYTES} MB, the limit: expected a smaller file")
    return content


def check_can_write(path: str, option: str, endings: tuple[str, ...] | None = None) -> None:
    """Raise InputError, before a run, if `path` could not be written, or has another ending."""
    folder = os.path.dirname(os.path.realpath(path))
    if os.path.exists(path) and not os.path.isfile(path):
        raise InputError(f"{option} {path} is no regular file: choose another name")
    if not (os.path.isdir(folder) and os.access(folder, os.W_OK)):
        raise InputError(f"{option} {path}: its folder cannot be written to: choose another one")
    if endings is not None and os.path.splitext(path)[1].lower() not in endings:
        raise InputError(f"{option} {path}: expected a name that ends with {' or '.join(endings)}")


def check_files(
    inputs: Mapping[str, str | None],
    outputs: Mapping[str, str | None],
    endings: Mapping[str, tuple[str, ...]],
) -> None:
    """Raise InputError if an output could not be written, or would replace a file of the same
    command. The files are given by the names of their options, and so are the endings.
    """
    options: dict[str, str] = {}
    for name, path in [*inputs.items(), *outputs.items()]:
        if path is None:
            continue
        if name in outputs:
            check_can_write(path, f"--{name}", endings.get(name))
        first = options.setdefault(os.path.realpath(path), name)
        if first != name and name in outputs:
            raise InputError(f"--{first} and --{name} both name {path}: expected different files")


@contextmanager
def written_whole(path: str) -> Iterator[Path]:
    """Yield a temporary path, which replaces `path` when the block ends without an error.

    Raises InputError if the file cannot be written; then nothing is changed.
    """
    real = os.path.realpath(path)
    temporary = Path(os.path.dirname(real), f".unfinished-{os.urandom(8).hex()}")
    try:
        yield temporary
        os.replace(temporary, real)
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"{path} cannot be written: {reason}; choose another place") from None
    finally:
        temporary.unlink(missing_ok=True)


def save_arrays(path: str, arrays: dict[str, Any]) -> None:
    """Write named arrays as .npz. Raises InputError if the file cannot be written."""
    with written_whole(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, **arrays)


def save_json(path: str, values: Any) -> None:
    """Write values as JSON, see `to_jsonable`. Raises InputError if the file cannot be written."""
    import json

    with written_whole(path) as temporary:
        text = json.dumps(to_jsonable(values), indent=1, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")


def to_jsonable(value: Any) -> Any:
    """The value in types of JSON: records become objects, arrays lists, NaN and infinity null."""
    if hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, dict):
        return {str(name): to_jsonable(item) for name, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [to_jsonable(item) for item in value]
    return None if isinstance(value, float) and not isfinite(value) else value


def load_arrays(path: str, what: str) -> Arrays:
    """Read all arrays of an .npz file; `what` describes the file in messages.

    Raises InputError if the file is missing, truncated, of another kind, or would need pickle.
    """
    try:
        if os.path.exists(path) and not os.path.isfile(path):
            raise InputError(f"{what} {path} is a folder or a device: expected an .npz file")
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            size = sum(member.file_size for member in archive.zip.infolist())
            if size > max(MAX_MEGABYTES * 2**21, MAX_RATIO * os.stat(path).st_size):
                limit = f"compressed to less than a {MAX_RATIO}th: write it with numpy.savez"
                raise InputError(f"{what} {path} is {limit}")
            arrays = {name: archive[name] for name in archive.files}
        if all(isinstance(array, np.ndarray) for array in arrays.values()):
            return arrays
    except InputError:
        raise
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"{what} {path} cannot be read: {reason}; check the path") from None
    except Exception:  # the readers of zip, deflate and .npy raise anything on damaged bytes
        pass
    raise InputError(
        f"{what} {path} is damaged, or no .npz file of plain arrays: pickle is never read"
    )
