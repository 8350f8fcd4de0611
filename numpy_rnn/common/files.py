"""Files: named arrays (.npz) and JSON, written whole or not at all, and read without pickle."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from math import isfinite
from typing import TYPE_CHECKING, Any

import numpy as np

from numpy_rnn.common.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

# Modules that a run without files does not need are imported where they are used: pathlib, json, tempfile.
Arrays = dict[str, np.ndarray]
MAX_BYTES, MAX_RATIO = (
    2**27,
    100,
)  # of the arrays in a file, and what they may be of its size: more is a zip bomb


def check_can_write(path: str, option: str, endings: tuple[str, ...] | None = None) -> None:
    """Raise InputError, before a run, if `path` could not be written, or if it has another ending than these.

    It can be a regular file or a new name in a folder, but not the program's own standard input or output, as in
    `--save /dev/stdin < series.csv`.
    """
    import tempfile

    real = os.path.realpath(path)
    try:
        if os.path.exists(real):
            if not os.path.isfile(real) or _is_a_stream(real):
                raise InputError(
                    f"{option} {path} is not a file, or standard input or output: choose another name"
                )
            with open(real, "rb+"):
                pass
        with tempfile.TemporaryFile(dir=os.path.dirname(real)):
            pass
    except OSError as error:
        raise InputError(
            f"{option} {path} cannot be written: {error.strerror}; choose another place"
        ) from None
    if endings is not None and (ending := os.path.splitext(path)[1].lower()) not in endings:
        raise InputError(
            f"{option} {path}: unknown ending {ending!r}; expected {' or '.join(endings)}"
        )


def _is_a_stream(path: str) -> bool:
    return any(
        os.path.exists(f"/dev/fd/{n}") and os.path.samefile(path, f"/dev/fd/{n}") for n in range(3)
    )


@contextmanager
def written_whole(path: str) -> Iterator["Path"]:
    """Yield a temporary path, which replaces `path` when the block ends without an error.

    A symbolic link is followed. A replaced file keeps its permissions. Raises InputError if the file cannot be written;
    then nothing is changed.
    """
    from pathlib import Path

    real = os.path.realpath(path)
    temporary = Path(os.path.dirname(real), f".unfinished-{os.urandom(8).hex()}")
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        with suppress(FileNotFoundError):
            os.chmod(temporary, stat.S_IMODE(os.stat(real).st_mode))
        os.replace(temporary, real)
    except OSError as error:
        raise InputError(
            f"{path} cannot be written: {error.strerror or error}; choose another place"
        ) from None
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
        temporary.write_text(
            json.dumps(to_jsonable(values), indent=1, allow_nan=False) + "\n", encoding="utf-8"
        )


def to_jsonable(value: Any) -> Any:
    """The value in types of JSON: dicts and records become objects, arrays lists, NaN and infinity null."""
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
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            if sum(member.file_size for member in archive.zip.infolist()) > max(
                MAX_BYTES, MAX_RATIO * os.stat(path).st_size
            ):
                raise InputError(
                    f"{what} {path} is compressed to less than a {MAX_RATIO}th: write it with numpy.savez"
                )
            arrays = {name: archive[name] for name in archive.files}
        if all(isinstance(array, np.ndarray) for array in arrays.values()):
            return arrays
    except InputError:
        raise
    except OSError as error:
        raise InputError(
            f"{what} {path} cannot be read: {error.strerror or error}; check the path"
        ) from None
    except Exception:  # the readers of zip, deflate and .npy raise anything on damaged bytes
        pass
    raise InputError(
        f"{what} {path} is damaged, or no .npz file of plain arrays: pickle is never read; write it again"
    )
