"""Files that are written whole or not at all, text files, and .npz files, which are
read without pickle.
"""

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from numpy_rnn.common.errors import InputError, errors_about

MAX_CHARACTERS = 64_000_000  # of a text file
STANDARD_INPUT = "-"


def read_text(path: str) -> str:
    """Return the UTF-8 text of a file or a pipe, or of standard input where the path is
    "-", with newline characters for line ends and without a byte order mark.

    Raises OSError if it cannot be read, and InputError if it is too long, or not UTF-8.
    """
    source: str | int = path
    if path == STANDARD_INPUT:
        if sys.stdin is None:
            raise InputError("it is closed: expected a file or a pipe")
        source = os.dup(sys.stdin.fileno())
    with open(source, encoding="utf-8-sig") as file:
        try:
            text = file.read(MAX_CHARACTERS + 1)
        except UnicodeDecodeError:
            raise InputError("it is not UTF-8: expected a text file") from None
    if len(text) > MAX_CHARACTERS:
        raise InputError(
            "it has more than 64 million characters: expected a smaller file"
        )
    return text


@contextmanager
def written_whole(path: str) -> Iterator[Path]:
    """Yield a temporary file, which replaces `path` when the block ends without an
    error, and has its mode.

    Raises InputError if the file cannot be written; then nothing is changed.
    """
    real = os.path.realpath(path)
    temporary = Path(real).with_name(f".unfinished-{os.urandom(8).hex()}")
    try:
        if os.path.exists(real):
            if not os.path.isfile(real):
                raise InputError(f"{path} is no file: expected the name of a file")
            temporary.touch(mode=0o600)  # nobody else reads it
        yield temporary
        if os.path.exists(real):
            shutil.copymode(real, temporary)
        os.replace(temporary, real)
    except OSError as error:
        reason = error.strerror or error
        raise InputError(
            f"{path} cannot be written: {reason}; choose another place"
        ) from None
    finally:
        with suppress(OSError):  # it may be in no folder
            temporary.unlink()


def save_arrays(path: str, arrays: dict[str, Any]) -> None:
    """Write named arrays as .npz. Raises InputError if the file cannot be written."""
    with written_whole(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, **arrays)


def load_arrays(path: str, kind: str) -> dict[str, np.ndarray]:
    """Read all arrays of an .npz file, of this kind in messages.

    Raises InputError if the file is missing, truncated, of another kind, or would need
    pickle; MemoryError if there is no memory for its arrays.
    """
    with errors_about(f"{kind} {path}"):
        try:
            with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
                if all(isinstance(array, np.ndarray) for array in arrays.values()):
                    return arrays
        except (OSError, MemoryError):
            raise
        except Exception:  # zip, deflate and .npy raise anything on damaged bytes
            pass
        raise InputError(
            "it is damaged, or no .npz file of plain arrays: pickle is never read"
        )
