"""The command `study`: the lesson and its evidence in a folder."""

import importlib
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from numpy_rnn.app.experiment import prepare_experiment
from numpy_rnn.app.options import Options, make_options
from numpy_rnn.app.printing import progress
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.texts import printable
from numpy_rnn.study.subject import study_run

PACKAGES = ["matplotlib", "latex2mathml"]
NOT_OF_THE_RUN = ("folder", "given")  # fields of the options
LESSON_FOLDER = Path(__file__).parent / "lesson"
PAGE = "evidence.html"
WRITTEN = (PAGE, "evidence.css", "figures", "lesson")  # in the folder of a study
EVIDENCE = b'<p id="evidence" hidden>', b'<p id="evidence">'  # the lesson's link to it
DERIVATION_FILE = Path(__file__).parents[1] / "DERIVATION.md"
# The lesson's link to the derivation, and the same from anywhere.
DERIVATION_LINK = b"../../DERIVATION.md", DERIVATION_FILE.as_uri().encode()
# In the page of a study.
GENERATOR = b'<meta name="generator" content="numpy_rnn study">'


def run(rnn: Any, options: Options) -> int:
    """Study a run, and write the folder of its pages.

    Parameters
    ----------
    rnn : module
        The package of the command line.
    options : Options
        The run, the number of its networks and steps, and the folder.

    Returns
    -------
    int
        The exit status: 1 if an equation is wrong.

    Raises
    ------
    InputError
        When a package is missing, when the input cannot be used or the folder not be
        written, and when the run diverges.
    """
    check_packages()
    if not options.folder.strip():
        raise InputError("--folder is empty: expected the name of a folder")
    path = os.path.normpath(options.folder)  # x/../y is y, also without an x
    check_folder(path)
    began = time.monotonic()
    experiment = prepare_experiment(options)
    whole = experiment.run(options.run_options())
    progress("training the networks")
    networks = options.seeds or 0  # 32 by default
    subject = study_run(
        experiment.data.name, whole, options.seed, networks, options.steps
    )
    steps = len(subject.x)
    all_steps = len(whole.x)
    hidden = len(subject.start.W_hh)
    print(
        f"{rnn.__name__} study: {subject.name}, {steps} steps, {hidden} hidden "
        f"units, {subject.options.objective.nonlinearity}",
        flush=True,
    )
    if steps < all_steps:
        print(
            f"the first {steps} of {all_steps} steps are studied; --steps changes their"
            " number"
        )
    # It imports packages that check_packages has found.
    from numpy_rnn.study.page import make_evidence

    progress("judging every equation")
    # Of networks that explode.
    with np.errstate(over="ignore", invalid="ignore"):
        evidence = make_evidence(subject, choices_of(options))
    write_folder(path, evidence.files)
    print(evidence.verdict)
    lesson, page = (
        printable(f"{path}/{name}") for name in ("lesson/lesson.html", PAGE)
    )
    print(f"{time.monotonic() - began:.1f} s: open {lesson}; its evidence is {page}")
    return 0 if evidence.is_right else 1


def choices_of(options: Options) -> dict[str, str]:
    """Return the options other than the defaults, in words."""
    default = vars(make_options("study"))
    result = {}
    for name, value in vars(options).items():
        if name not in NOT_OF_THE_RUN and value != default[name]:
            result[name.replace("_", " ")] = printable(str(value))
    return result


def check_packages() -> None:
    """Raise InputError where a package that makes the page cannot be imported."""
    for package in PACKAGES:
        try:
            importlib.import_module(package)
        except ImportError as error:
            why = f"{package} cannot be imported ({error})"
            raise InputError(
                f'{why}: run pip install ".[study]" in a checkout'
            ) from None


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
    page = folder / PAGE
    taken = [name for name in WRITTEN if (folder / name).exists()]
    if taken and not (page.is_file() and GENERATOR in page.read_bytes()):
        raise InputError(
            f"--folder {path}: {folder / taken[0]} was not written by a study;"
            " move it, or choose another folder"
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
    """Return the files of the lesson, with its link to the evidence shown."""
    files = {}
    for source in LESSON_FOLDER.rglob("*"):
        if source.is_file():
            name = source.relative_to(LESSON_FOLDER.parent).as_posix()
            files[name] = source.read_bytes()
    page = "lesson/lesson.html"
    files[page] = files[page].replace(*EVIDENCE).replace(*DERIVATION_LINK)
    return files


def _temporary_folder(folder: Path) -> tempfile.TemporaryDirectory[str]:
    """Return a new folder next to this one, on the same disk."""
    return tempfile.TemporaryDirectory(
        dir=Path(os.path.realpath(folder)).parent,
        prefix=".unfinished-",
        ignore_cleanup_errors=True,
    )
