"""Files that are read whole up to a limit, and written whole or not at all; .npz without pickle."""

import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from numpy_rnn.common.errors import InputError, errors_about

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


def check_files(
    inputs: Mapping[str, str | None],
    outputs: Mapping[str, str | None],
    endings: Mapping[str, tuple[str, ...]],
) -> None:
    """Raise InputError, before a run, if an output could not be written, has another ending, or
    would replace a file of the same command. All are given by the names of their options.
    """
    options = {os.path.realpath(path): name for name, path in inputs.items() if path is not None}
    for name, path in ((name, path) for name, path in outputs.items() if path is not None):
        real, expected = os.path.realpath(path), " or ".join(endings[name])
        folder, given = os.path.dirname(real), f"--{name} {path}"
        if os.path.exists(path) and not os.path.isfile(path):
            raise InputError(f"{given} is no regular file: choose another name")
        if not (os.path.isdir(folder) and os.access(folder, os.W_OK)):
            raise InputError(f"{given}: its folder cannot be written to: choose another one")
        if os.path.splitext(path)[1].lower() not in endings[name]:
            raise InputError(f"{given}: expected a name that ends with {expected}")
        if (first := options.setdefault(real, name)) != name:
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


def load_arrays(path: str, what: str) -> Arrays:
    """Read all arrays of an .npz file; `what` describes the file in messages.

    Raises InputError if the file is missing, truncated, of another kind, or would need pickle.
    """
    with errors_about(f"{what} {path}"):
        status, size = os.stat(path), 0
        most = max(MAX_MEGABYTES * 2**21, MAX_RATIO * status.st_size)
        if not stat.S_ISREG(status.st_mode):
            raise InputError("it is a folder or a device: expected an .npz file")
        try:
            with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
                size = sum(member.file_size for member in archive.zip.infolist())
                arrays = {name: archive[name] for name in archive.files if size <= most}
        except OSError:
            raise
        except Exception:  # the readers of zip, deflate and .npy raise anything on damaged bytes
            arrays = {"damaged": None}
        if size > most:
            raise InputError(f"it is compressed to less than a {MAX_RATIO}th: use numpy.savez")
        if not all(isinstance(array, np.ndarray) for array in arrays.values()):
            raise InputError("it is damaged, or no .npz file of plain arrays: pickle is never read")
    return arrays
