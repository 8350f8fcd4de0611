"""A folder of files, written whole."""

import os
import shutil
import tempfile
from pathlib import Path

from numpy_rnn.app.storage import check_can_write, written_whole
from numpy_rnn.common.errors import InputError

PAGE = "study.html"
GENERATOR = b'<meta name="generator" content="numpy_rnn study">'  # in every page that the study writes
HEAD = 4096  # bytes of a page that are searched for it


def check_can_write_folder(path, option: str, names) -> None:
    """Raise InputError, before the work and not after it, when files of these names could not be written there, or
    would replace files that the study did not write.
    """
    if not str(path):
        raise InputError(f"{option} is empty: expected the name of a folder")
    folder = Path(path)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{option} {path} is a file: expected the name of a folder; choose another name")
    if not folder.exists():
        check_can_write(path, option)
        return
    for name in names:
        place = folder / name
        if place.parent.exists():
            check_can_write(place, option)
    taken = next((folder / name for name in names if (folder / name).exists()), None)
    if taken is not None and not _is_page_of_a_study(folder / PAGE):
        raise InputError(f"{option} {path}: {taken} was not written by a study; move it, or choose another folder")


def write_folder(path, files: dict[str, bytes]) -> None:
    """Write files, by their names in the folder. A folder that is new appears whole or not at all; in one that is there
    each file is replaced as a whole, and other files stay.

    Raises InputError when the disk refuses; nothing unfinished is left then.
    """
    folder = Path(path)
    if folder.exists():
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            with written_whole(folder / name) as temporary:
                temporary.write_bytes(content)
        return
    temporary = None
    try:
        temporary = Path(tempfile.mkdtemp(dir=folder.resolve().parent, prefix=".unfinished-"))
        new = temporary / "new"  # made in the ordinary way, with the permissions that folders have here
        for name, content in files.items():
            (new / name).parent.mkdir(parents=True, exist_ok=True)
            (new / name).write_bytes(content)
        os.replace(new, folder)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or error}; choose another place") from None
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def _is_page_of_a_study(path):
    try:
        with open(path, "rb") as file:
            return GENERATOR in file.read(HEAD)
    except OSError:
        return False
