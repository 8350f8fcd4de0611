"""The folder of a study: the evidence, and a copy of the lesson that links to it."""

import os
import tempfile
from pathlib import Path

from numpy_rnn.common.errors import InputError

LESSON_FOLDER = Path(__file__).parent / "lesson"
LESSON_PAGE = LESSON_FOLDER / "lesson.html"  # as installed
LESSON_NAME = "lesson/lesson.html"  # in the folder of a study
EVIDENCE_NAME = "evidence.html"
# The mark of the page of a study.
GENERATOR = b'<meta name="generator" content="numpy_rnn study">'

# The lesson's link to the evidence: hidden as installed, shown in the folder.
HIDDEN_LINK = b'<p id="evidence" hidden>'
SHOWN_LINK = b'<p id="evidence">'
# The lesson's link to the derivation: as installed, and from anywhere.
DERIVATION_LINK = b"../../DERIVATION.md"
DERIVATION_URI = (Path(__file__).parents[1] / "DERIVATION.md").as_uri().encode()


def check_folder(path: str) -> None:
    """Raise InputError, before the work and not after it, when the folder cannot be
    written, or holds files that the study did not write.
    """
    folder = Path(path)
    if folder.exists() and not folder.is_dir():
        raise InputError(
            f"--folder {path} is a file: expected the name of a folder; choose "
            "another name"
        )
    try:
        _temporary_folder(folder).cleanup()
    except OSError as error:
        raise InputError(
            f"--folder {path} cannot be written: {error.strerror}; choose another place"
        ) from None
    page = folder / EVIDENCE_NAME
    is_study = page.is_file() and GENERATOR in page.read_bytes()
    if folder.exists() and any(folder.iterdir()) and not is_study:
        raise InputError(
            f"--folder {path} has files that no study has written: expected a new"
            " folder, or that of a study"
        )


def write_folder(path: str, files: dict[str, bytes]) -> None:
    """Write the files, by their names in the folder, and a copy of the lesson.

    All are written next to the folder before the first is put in its place. Raises
    InputError when the disk refuses; nothing unfinished is left then.
    """
    folder = Path(path)
    try:
        with _temporary_folder(folder) as name:
            temporary = Path(name)
            for file, content in (lesson_files() | files).items():
                (temporary / file).parent.mkdir(parents=True, exist_ok=True)
                (temporary / file).write_bytes(content)
            for source in sorted(temporary.rglob("*")):
                target = folder / source.relative_to(temporary)
                if source.is_file():
                    target.parent.mkdir(parents=True, exist_ok=True)
                    os.replace(source, target)
    except OSError as error:
        raise InputError(
            f"{path} cannot be written: {error.strerror or error}; choose another place"
        ) from None


def lesson_files() -> dict[str, bytes]:
    """Return the files of the lesson by name, with its link to the evidence shown."""
    files = {}
    for source in LESSON_FOLDER.rglob("*"):
        if source.is_file():
            name = source.relative_to(LESSON_FOLDER.parent).as_posix()
            files[name] = source.read_bytes()
    page = files[LESSON_NAME].replace(HIDDEN_LINK, SHOWN_LINK)
    files[LESSON_NAME] = page.replace(DERIVATION_LINK, DERIVATION_URI)
    return files


def _temporary_folder(folder: Path) -> tempfile.TemporaryDirectory[str]:
    """Return a new folder next to this one, on the same disk."""
    return tempfile.TemporaryDirectory(
        dir=Path(os.path.realpath(folder)).parent,
        prefix=".unfinished-",
        ignore_cleanup_errors=True,
    )
