"""The whole study: its numbers, its figures, its page."""

import importlib.metadata
import json
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from numpy_rnn.app.experiment import prepare
from numpy_rnn.app.options import configuration_of
from numpy_rnn.app.plots import check_matplotlib
from numpy_rnn.app.report import heading
from numpy_rnn.app.storage import check_can_write, written_whole
from numpy_rnn.common.errors import InputError, printable
from numpy_rnn.study.checks.checks import measure_checks
from numpy_rnn.study.components.measures import explorer, measure_components
from numpy_rnn.study.figures.check_figures import CHECK_DRAWINGS
from numpy_rnn.study.figures.component_figures import COMPONENT_DRAWINGS
from numpy_rnn.study.figures.disagreement_figures import DISAGREEMENT_DRAWINGS, MISTAKE_DRAWINGS
from numpy_rnn.study.figures.svg import Picture, pictures
from numpy_rnn.study.figures.truncation_figures import TRUNCATION_DRAWINGS
from numpy_rnn.study.page.page import page
from numpy_rnn.study.page.tables import check_tables, component_tables, training_tables
from numpy_rnn.study.page.templates import check_page_packages
from numpy_rnn.study.setting import Drawing, Findings, Setting, Table, setting_of
from numpy_rnn.study.training.mistakes import measure_training

PARTS: dict[str, tuple[str, Callable[[Setting], Findings]]] = {
    "about": ("the run", lambda setting: about(setting)),
    "checks": ("every equation and its witnesses", measure_checks),
    "components": ("the component matrix, truncation, vanishing and exploding", measure_components),
    "training": ("training: truncations, disagreements, mistakes", measure_training),
    "explorer": ("the numbers of the explorer", explorer),
}
DRAWINGS: tuple[Drawing, ...] = (
    *CHECK_DRAWINGS,
    *COMPONENT_DRAWINGS,
    *TRUNCATION_DRAWINGS,
    *DISAGREEMENT_DRAWINGS,
    *MISTAKE_DRAWINGS,
)
PACKAGES = ("numpy", "matplotlib", "torch", "python-flint")


def about(setting: Setting) -> Findings:
    """What was studied, and with what."""
    T, B, D = setting.x.shape
    H, O = setting.start.W_hy.shape
    return {
        "series": setting.name,
        "sizes": {"T": T, "B": B, "D": D, "H": H, "O": O},
        "parameters": sum(theta.size for theta in setting.start if theta is not None),
        "configuration": setting.configuration.to_dict(),
        "dtype": str(setting.experiment.params.W_hh.dtype),
        "seeds": setting.seeds,
        "epochs": [snapshot.epoch for snapshot in setting.snapshots],
        "python": platform.python_version(),
        "versions": {name: version for name in PACKAGES if (version := _version(name)) is not None},
        "choices": [
            {"name": name.replace("_", " "), "value": str(value)}
            for name, value in setting.configuration.to_dict().items()
            if value is not None
        ],
    }


def findings_of(setting: Setting, begin: Callable[[str], object] = lambda what: None) -> Findings:
    """All numbers, part by part; `begin` is told what comes next."""
    findings = {}
    for part, (what, measure) in PARTS.items():
        begin(what)
        with np.errstate(over="ignore", invalid="ignore"):  # some of the runs are meant to go wrong
            findings[part] = measure(setting)
    return findings


def tables_of(findings: Findings) -> tuple[Table, ...]:
    """The tables of all parts."""
    return *check_tables(findings), *component_tables(findings), *training_tables(findings)


def files_of(findings: Findings) -> dict[str, bytes]:
    """All files of the folder by their names in it: the page, its numbers, its figures."""
    files: dict[str, bytes] = {}
    drawn: dict[str, Picture] = {}
    for drawing in DRAWINGS:
        svg, png, drawn[drawing.name] = pictures(drawing, findings)
        files[f"figures/{drawing.name}.svg"] = svg
        files[f"figures/{drawing.name}.png"] = png
    text = page(findings, drawn, DRAWINGS, tables_of(findings))
    numbers = json.dumps(findings, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return {"study.html": text.encode(), "study.json": numbers.encode(), **files}


def _version(name):
    return importlib.metadata.version(name) if find_spec({"python-flint": "flint"}.get(name, name)) else None


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


def run(rnn, arguments) -> None:
    """Study the run that the arguments ask for, and write the folder.

    Raises InputError when the input cannot be used or the folder not be written, Diverged when the run leaves the range
    of its numbers.
    """
    check_matplotlib("install it; the study draws its figures with it")
    check_page_packages()
    figures = [f"figures/{drawing.name}.{ending}" for drawing in DRAWINGS for ending in ("svg", "png")]
    check_can_write_folder(arguments.folder, "--folder", [PAGE, "study.json", *figures])
    configuration = configuration_of(arguments)
    experiment = prepare(configuration)
    setting = setting_of(experiment, configuration, arguments.seeds, arguments.steps)
    print(heading([f"{rnn.__name__} study"], setting.experiment, configuration), flush=True)
    if len(setting.x) < len(experiment.x):
        print(f"the first {len(setting.x)} of {len(experiment.x)} steps are studied; --steps changes their number")
    began = time.monotonic()

    def begin(what):
        print(f"{time.monotonic() - began:5.1f} s  {what}", flush=True)

    findings = findings_of(setting, begin)
    begin("figures and page")
    write_folder(arguments.folder, files_of(findings))
    begin(f"done: open {printable(str(Path(arguments.folder) / PAGE))}")
