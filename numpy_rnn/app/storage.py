"""Files of named arrays (.npz) and JSON: written completely or not at all, read without pickle."""

import json
import os
import platform
import re
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from numpy_rnn.app.format import to_jsonable
from numpy_rnn.common.errors import InputError, shortened, some_of
from numpy_rnn.common.records import Parameters
from numpy_rnn.common.shapes import check_parameters

RUN_FORMAT = "elman-run 2"  # of a file with the state of a run, including its weights; the number is the version
EXPECTED = "expected W_xh, W_hh, W_hy, optionally b_h and b_y, and optionally h_0, as --save writes them"
PLAUSIBLE_SIZE, PLAUSIBLE_RATIO = 2**26, 16  # bytes of arrays, plus this multiple of the size of their file


def check_can_write(path: str | Path, option: str) -> None:
    """Raise InputError, before a run, if `path` could not be written."""
    real = os.path.realpath(path)
    folder = os.path.dirname(real)
    try:
        mode = os.stat(real).st_mode
    except FileNotFoundError:
        mode = None
    except OSError as error:
        raise InputError(f"{option} {path} cannot be written: {error.strerror}; choose another name") from None
    if mode is None and not os.path.isdir(folder):
        raise InputError(f"{option} {path}: the folder {folder} does not exist; create it first")
    if mode is not None and not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "a device or a pipe"
        raise InputError(f"{option} {path} is {kind}: expected the name of a file")
    if not os.access(folder, os.W_OK) or (mode is not None and not os.access(real, os.W_OK)):
        raise InputError(f"{option} {path} cannot be written: no permission; choose another place")


@contextmanager
def written_whole(path: str | Path) -> Iterator[Any]:
    """Write a file atomically: yields a temporary path, which replaces `path` when the block ends without error.

    A symbolic link is followed, so its target is replaced. A replaced file keeps its permissions, and its owner if the
    system allows it; other hard links to it keep the old contents. Temporary files of writers that were killed are
    removed from the folder.

    Raises InputError if the file cannot be written; then nothing is changed, and no temporary file remains.
    """
    real = os.path.realpath(path)
    folder, temporary = os.path.dirname(real), None
    try:
        handle, temporary = tempfile.mkstemp(dir=folder, prefix=f"{_unfinished()}{os.getpid()}-")
        os.close(handle)
        yield Path(temporary)
        _copy_permissions(real, temporary)
        os.replace(temporary, real)
        temporary = None
        _tidy(folder)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or error}; choose another place") from None
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)


def _copy_permissions(real, temporary) -> None:
    """Give the temporary file the permissions and the owner of the file that it replaces; by default, of a new file."""
    try:
        former = os.stat(real)
    except FileNotFoundError:
        os.chmod(temporary, 0o666 & ~_umask())
        return
    if hasattr(os, "chown"):
        with suppress(PermissionError):  # only root may change owners
            os.chown(temporary, former.st_uid, former.st_gid)
    os.chmod(temporary, stat.S_IMODE(former.st_mode))


def _unfinished() -> str:
    """The prefix of the temporary names of this machine; a process id and a random word follow."""
    return f".unfinished-{platform.node()}-"


def _tidy(folder) -> None:
    """Remove the temporary files of writers of this machine that are not running; others may be in use.

    The whole name must match, as the name of another machine may begin with the name of this one.
    """
    name = re.compile(re.escape(_unfinished()) + "([0-9]+)-[a-z0-9_]+")  # tempfile's random words have no hyphen
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if (match := name.fullmatch(entry.name)) and not _is_running(int(match[1])):
                os.unlink(entry.path)


def _is_running(process: int) -> bool:
    if os.name != "posix":  # elsewhere, os.kill would end the process
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # another user's process, or not a process id
        pass
    return True


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def save_arrays(path: str | Path, arrays: dict[str, Any]) -> None:
    """Write named arrays as .npz. Raises InputError if the file cannot be written; then nothing is changed."""
    with written_whole(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, **arrays)
        file.flush()
        os.fsync(file.fileno())


def save_json(path: str | Path, values: Any) -> None:
    """Write values as JSON, completely or not at all; NaN and infinity become null.

    Raises InputError if the file cannot be written.
    """
    text = json.dumps(to_jsonable(values), indent=1, allow_nan=False)
    with written_whole(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def load_arrays(path: str | Path, what: str) -> dict[str, np.ndarray]:
    """Read all arrays of an .npz file. `what` describes the file in messages.

    Raises InputError if the file is missing, truncated, of another kind, or would need pickle.
    """
    try:
        with open(path, "rb") as file:
            if file.read(4) not in (b"PK\x03\x04", b"PK\x05\x06"):  # a zip archive, perhaps an empty one
                raise InputError(f"{what} {path} is not an .npz file: expected named arrays as numpy.savez writes them")
            file.seek(0)
            with np.load(file, allow_pickle=False) as archive:
                _check_declared_size(archive.zip.infolist(), os.fstat(file.fileno()).st_size, f"{what} {path}")
                arrays = {name: archive[name] for name in archive.files}
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"{what} {path} does not exist: check the path") from None
    except OSError as error:
        raise InputError(f"{what} {path} cannot be read: {error.strerror or error}; check the path") from None
    except Exception as error:  # the readers of zip, deflate and .npy raise anything on damaged bytes
        if "Object arrays" in str(error):
            raise InputError(
                f"{what} {path} contains Python objects: expected plain arrays; pickle is never read"
            ) from None
        raise InputError(
            f"{what} {path} is truncated or damaged: expected a complete .npz file; write or copy it again"
        ) from None
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray):
            raise InputError(
                f"{what} {path} holds {shortened(name)}, which is not an array: expected a file that numpy.savez wrote"
            )
    return arrays


def _check_declared_size(entries, size: int, file: str) -> None:
    """Raise InputError, before they are read, if the entries of a zip archive declare far more bytes than it has."""
    declared, most = sum(entry.file_size for entry in entries), PLAUSIBLE_SIZE + PLAUSIBLE_RATIO * size
    if declared > most:
        raise InputError(
            f"{file} has {size} bytes and declares arrays of {declared}: expected {most} at most; the file is"
            " damaged or malicious"
        )


def save_parameters(path: str | Path, params: Parameters) -> None:
    """Write NumPy parameters as .npz under their own names; those that are None are left out."""
    save_arrays(path, {name: theta for name, theta in params._asdict().items() if theta is not None})


def load_parameters(path: str | Path) -> Parameters:
    """Read the parameters that `save_parameters` wrote, or any .npz with these names.

    Raises InputError as `load_arrays` does, on names, shapes or dtypes other than those of parameters, and on values
    that are not finite.
    """
    arrays = load_arrays(path, "weights file")
    unknown = [name for name in arrays if name not in Parameters._fields]
    params = parameters_of(arrays, f"weights file {path}")
    if unknown and not is_run(arrays):  # a run has other keys besides the weights
        raise InputError(f"weights file {path} has {some_of(unknown)}: {EXPECTED}")
    return params


def is_run(arrays: dict) -> bool:
    """Whether the arrays are those of a run of any version, see checkpoint.py."""
    return "format" in arrays and arrays["format"].tobytes().startswith(RUN_FORMAT.split()[0].encode())


def parameters_of(arrays: dict, file: str) -> Parameters:
    """The parameters among named arrays; `file` names their file in messages.

    Raises InputError as `load_parameters` does.
    """
    required = Parameters._fields[:3]
    missing = [name for name in required if name not in arrays]
    if missing:
        raise InputError(f"{file} has no {', '.join(missing)}: {EXPECTED}")
    arrays = {name: arrays[name] for name in Parameters._fields if name in arrays}
    for name, theta in arrays.items():
        if theta.dtype not in (np.float32, np.float64):
            raise InputError(f"{file}: {name} is {theta.dtype}; expected float32 or float64")
        if theta.size == 0:
            raise InputError(f"{file}: {name} has shape {theta.shape}; expected no axis of length 0")
        if not np.isfinite(theta).all():
            raise InputError(f"{file}: {name} contains NaN or infinity; expected finite numbers")
    params = Parameters(**arrays)
    try:
        check_parameters(params)
    except InputError as error:
        raise InputError(f"{file}: {error}") from None
    return params
