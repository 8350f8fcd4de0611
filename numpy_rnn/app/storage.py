"""Files of named arrays (.npz): written whole or not at all, read without pickle."""

import json
import os
import platform
import re
import stat
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from numpy_rnn.app.format import to_jsonable
from numpy_rnn.common.errors import InputError, shortened, some_of
from numpy_rnn.common.records import Parameters
from numpy_rnn.common.shapes import check_parameters

RUN_FORMAT = "elman-run 2"  # of a file that holds the state of a run, and so its weights
EXPECTED = "expected W_xh, W_hh, W_hy, and b_h and b_y or neither, and h_0 or not; use what --save wrote"
PLAUSIBLE_SIZE, PLAUSIBLE_RATIO = 2**26, 16  # bytes, and times the size of the file, that its arrays may take in memory


def check_can_write(path, option: str) -> None:
    """Raise InputError, before a run and not after it, when `path` could not be written."""
    real = os.path.realpath(path)
    folder = os.path.dirname(real)
    try:
        mode = os.stat(real).st_mode
    except FileNotFoundError:
        mode = None
    except OSError as error:
        raise InputError(f"{option} {path} cannot be written: {error.strerror}; choose another name") from None
    if mode is None and not os.path.isdir(folder):
        raise InputError(f"{option} {path}: the folder {folder} does not exist; make it first")
    if mode is not None and not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "a device or a pipe"
        raise InputError(f"{option} {path} is {kind}: expected the name of a file")
    if not os.access(folder, os.W_OK) or (mode is not None and not os.access(real, os.W_OK)):
        raise InputError(f"{option} {path} cannot be written: no permission; choose another place")


@contextmanager
def written_whole(path):
    """A temporary name beside `path` to write to; it takes the place of `path` when the block ends without error.

    A symbolic link is followed, so that its target is replaced. A file that is replaced keeps its permissions, and its
    owner where the system allows it; other hard links to it keep the old contents. Raises InputError when the disk
    refuses; then nothing is changed and nothing is left. What writers that were killed have left in the folder is
    removed.
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
    """Give the temporary file the permissions and the owner of the file that it replaces, or those of a new file."""
    try:
        former = os.stat(real)
    except FileNotFoundError:
        os.chmod(temporary, 0o666 & ~_umask())
        return
    if hasattr(os, "chown"):
        with suppress(PermissionError):  # only root gives files away
            os.chown(temporary, former.st_uid, former.st_gid)
    os.chmod(temporary, stat.S_IMODE(former.st_mode))


def _unfinished() -> str:
    """How the temporary names of this machine's writers begin; the writer's process and a random word follow."""
    return f".unfinished-{platform.node()}-"


def _tidy(folder) -> None:
    """Remove what was left by writers of this machine that are no more; those of others may be at work.

    The whole name must match: the name of another machine may begin with the name of this one.
    """
    name = re.compile(re.escape(_unfinished()) + "([0-9]+)-[a-z0-9_]+")  # tempfile's random words have no hyphen
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if (match := name.fullmatch(entry.name)) and not _is_running(int(match[1])):
                os.unlink(entry.path)


def _is_running(process: int) -> bool:
    if os.name != "posix":  # where there is no asking without a signal
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # it is somebody else's, or no number of a process
        pass
    return True


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def save_arrays(path, arrays: dict) -> None:
    """Write named arrays as .npz. Raises InputError when the file cannot be written; then nothing is changed."""
    with written_whole(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, **arrays)
        file.flush()
        os.fsync(file.fileno())


def save_json(path, values: Any) -> None:
    """Write values as JSON, whole or not at all; NaN and infinity become null.

    Raises InputError when the file cannot be written.
    """
    text = json.dumps(to_jsonable(values), indent=1, allow_nan=False)
    with written_whole(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def load_arrays(path, what: str) -> dict:
    """Read all arrays of an .npz file. `what` says in messages what the file should be.

    Raises InputError when the file is missing, truncated, of another kind, or would need pickle.
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
    except Exception as error:  # damaged bytes raise whatever the readers of zip, of deflate and of .npy headers raise
        if "Object arrays" in str(error):
            raise InputError(
                f"{what} {path} holds Python objects: expected plain arrays; pickle is never read"
            ) from None
        raise InputError(
            f"{what} {path} is truncated or damaged: expected a whole .npz file; write or copy it again"
        ) from None
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray):
            raise InputError(
                f"{what} {path} holds {shortened(name)}, which is no array: expected what numpy.savez writes"
            )
    return arrays


def _check_declared_size(entries, size: int, file: str) -> None:
    """Raise InputError, before they are read, when the entries of a zip archive declare far more bytes than it has."""
    declared, most = sum(entry.file_size for entry in entries), PLAUSIBLE_SIZE + PLAUSIBLE_RATIO * size
    if declared > most:
        raise InputError(
            f"{file} has {size} bytes and declares arrays of {declared}: expected {most} at most; it is damaged, or"
            " made to fill the memory"
        )


def save_parameters(path, params: Parameters) -> None:
    """Write NumPy parameters as .npz under their own names, without the biases when there are none."""
    save_arrays(path, {name: theta for name, theta in params._asdict().items() if theta is not None})


def load_parameters(path) -> Parameters:
    """Read what `save_parameters` wrote, or any .npz with these names.

    Raises InputError as `load_arrays` does, and on names, shapes or dtypes that are not those of parameters, and on
    values that are not finite.
    """
    arrays = load_arrays(path, "weights file")
    unknown = [name for name in arrays if name not in Parameters._fields]
    params = parameters_of(arrays, f"weights file {path}")
    if unknown and not is_run(arrays):  # which has other keys beside the weights
        raise InputError(f"weights file {path} has {some_of(unknown)}: {EXPECTED}")
    return params


def is_run(arrays: dict) -> bool:
    """Whether the arrays of a file say that they are a run, see checkpoint.py."""
    return "format" in arrays and arrays["format"].tobytes() == RUN_FORMAT.encode()


def parameters_of(arrays: dict, file: str) -> Parameters:
    """The parameters among named arrays; `file` says in messages where they are from.

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
            raise InputError(f"{file}: {name} holds NaN or infinity; expected finite numbers")
    params = Parameters(**arrays)
    try:
        check_parameters(params)
    except InputError as error:
        raise InputError(f"{file}: {error}") from None
    return params
