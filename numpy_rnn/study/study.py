"""The command `study`: its numbers, its figures, its page, and the folder that it writes them to."""

import importlib.metadata
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from numpy_rnn.app.experiment import prepare
from numpy_rnn.app.plots import check_matplotlib
from numpy_rnn.app.run import heading
from numpy_rnn.common.errors import InputError, printable
from numpy_rnn.study.checks.all_checks import measure_checks
from numpy_rnn.study.components.measures import explorer, measure_components
from numpy_rnn.study.figures.drawings import DRAWINGS
from numpy_rnn.study.figures.style import pictures
from numpy_rnn.study.findings import About, Findings, TrainingFindings, plain
from numpy_rnn.study.page.templates import check_page_packages
from numpy_rnn.study.subject import Subject, subject_of
from numpy_rnn.study.training.mistakes import measure_training, published_training

Begin: TypeAlias = Callable[[str], object]  # called with the name of the part that begins


def run(rnn: Any, arguments: Any) -> None:
    """Study the run that the arguments ask for, and write the folder.

    Raises InputError when the input cannot be used or the folder not be written, Diverged when the run leaves the range
    of its numbers.
    """
    check_matplotlib("install it; the study draws its figures with it")
    check_page_packages()
    check_folder(arguments.folder)
    configuration = arguments
    experiment = prepare(configuration)
    run = experiment.run(configuration.run_options())
    subject = subject_of(experiment.name, run, configuration.seed, arguments.seeds, arguments.steps)
    studied, given = len(subject.x), len(experiment.x)
    shown = experiment._replace(x=experiment.x[:studied], target=experiment.target[:studied])
    print(heading(f"{rnn.__name__} study", shown, configuration), flush=True)
    if studied < given:
        print(f"the first {studied} of {given} steps are studied; --steps changes their number")
    began = time.monotonic()

    def begin(what):
        print(f"{time.monotonic() - began:5.1f} s  {what}", flush=True)

    choices = {
        name.replace("_", " "): printable(str(v))
        for name, v in configuration.to_dict().items()
        if v is not None
    }
    training = published_training()
    if getattr(arguments, "full", False):
        begin("training: truncations, disagreements, mistakes")
        with np.errstate(over="ignore", invalid="ignore"):  # some of the runs are meant to go wrong
            training = measure_training(subject)
    findings = measure(subject, choices, training, begin, is_full=getattr(arguments, "full", False))
    write_folder(arguments.folder, files_of(findings, begin))
    begin(f"done: open {printable(str(Path(arguments.folder) / PAGE))}")


def about(subject: Subject, choices: dict[str, str], is_full: bool) -> About:
    """The run that is studied, and the versions that study it."""
    (T, B, D), (H, O) = subject.x.shape, subject.start.W_hy.shape
    return About(
        series=subject.name,
        sizes={"T": T, "B": B, "D": D, "H": H, "O": O},
        parameters=sum(theta.size for theta in subject.start if theta is not None),
        options=subject.options,
        choices=choices,
        is_full=is_full,
        dtype=str(subject.run.params.W_hh.dtype),
        seed=subject.seed,
        networks=subject.networks,
        epochs=[snapshot.epoch for snapshot in subject.snapshots],
        versions={"python": platform.python_version()}
        | {name: importlib.metadata.version(name) for name in ("numpy", "matplotlib")},
    )


def measure(
    subject: Subject,
    choices: dict[str, str],
    training: TrainingFindings,
    begin: Begin = lambda what: None,
    is_full: bool = False,
) -> Findings:
    """All numbers, part by part, with those of training, which are of this run if it is full.

    `begin` is called with the name of the next part.
    """

    def part(what, measure_part):
        begin(what)
        with np.errstate(
            over="ignore", invalid="ignore"
        ):  # of networks that are scaled to explode, or diverge
            return measure_part(subject)

    return Findings(
        about=about(subject, choices, is_full),
        checks=part("every equation and its witnesses", measure_checks),
        components=part(
            "the component matrix, truncation, vanishing and exploding", measure_components
        ),
        training=training,
        explorer=explorer(subject),
    )


def files_of(findings: Findings, begin: Begin = lambda what: None) -> dict[str, bytes]:
    """All files of the folder by their names in it: the pages, their numbers, their figures."""
    from numpy_rnn.study.page.pages import (
        pages,
    )  # which needs packages that the command checks first

    files: dict[str, bytes] = {}
    drawn = {}
    for number, drawing in enumerate(DRAWINGS):
        if number % 3 == 0:
            begin(f"figures from {number + 1} of {len(DRAWINGS)}")
        drawn[drawing.name] = pictures(drawing, findings)
        files[f"figures/{drawing.name}.svg"] = drawn[drawing.name][0].svg
    begin("the two pages")
    numbers = plain(replace(findings, explorer={})) | {"explorer": findings.explorer}
    text = json.dumps(numbers, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    training = json.dumps(numbers["training"], ensure_ascii=False, allow_nan=False, indent=0)
    return {
        **{name: text.encode() for name, text in pages(findings, drawn).items()},
        "study.json": text.encode(),
        "training.json": training.encode(),
        **files,
    }


# -- the folder -------------------------------------------------------------------------------------------------------

PAGE = "lesson.html"
GENERATOR = (
    b'<meta name="generator" content="numpy_rnn study">'  # in every page that the study writes
)


def check_folder(path: str) -> None:
    """Raise InputError, before the work and not after it, when the folder cannot be written, or has a page or figures
    that the study did not write.
    """
    folder = Path(path)
    page = folder / PAGE
    if folder.exists() and not folder.is_dir():
        raise InputError(
            f"--folder {path} is a file: expected the name of a folder; choose another name"
        )
    try:
        _temporary_folder(folder).cleanup()
    except OSError as error:
        raise InputError(
            f"--folder {path} cannot be written: {error.strerror}; choose another place"
        ) from None
    taken = next(
        (place for place in (page, folder / "study.json", folder / "figures") if place.exists()),
        None,
    )
    if taken is not None and not (page.is_file() and GENERATOR in page.read_bytes()):
        raise InputError(
            f"--folder {path}: {taken} was not written by a study; move it, or choose another folder"
        )


def write_folder(path: str, files: dict[str, bytes]) -> None:
    """Write files, by their names in the folder: all are written next to it before the first is put in its place.

    Raises InputError when the disk refuses; nothing unfinished is left then.
    """
    folder = Path(path)
    try:
        with _temporary_folder(folder) as temporary:
            for name, content in files.items():
                Path(temporary, name).parent.mkdir(parents=True, exist_ok=True)
                Path(temporary, name).write_bytes(content)
            for name in files:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                os.replace(Path(temporary, name), folder / name)
    except OSError as error:
        raise InputError(
            f"{path} cannot be written: {error.strerror or error}; choose another place"
        ) from None


def _temporary_folder(folder: Path) -> tempfile.TemporaryDirectory[str]:
    """A new folder next to this one, on the same disk."""
    return tempfile.TemporaryDirectory(
        dir=folder.resolve().parent, prefix=".unfinished-", ignore_cleanup_errors=True
    )
