"""The whole study: its numbers, its figures, its page."""

import importlib.metadata
import io
import json
import platform
from collections.abc import Callable, Iterator
from importlib.util import find_spec

import numpy as np

from numpy_rnn.study.checks import drawings as of_checks
from numpy_rnn.study.checks import measure as checks
from numpy_rnn.study.checks import tables as tables_of_checks
from numpy_rnn.study.figures.style import style
from numpy_rnn.study.items import drawings as of_items
from numpy_rnn.study.items import measure as items
from numpy_rnn.study.items import tables as tables_of_items
from numpy_rnn.study.items.explorer import explorer
from numpy_rnn.study.page.page import page
from numpy_rnn.study.records import Drawing, Findings, Table
from numpy_rnn.study.setting import Setting
from numpy_rnn.study.training import drawings as of_training
from numpy_rnn.study.training import measure as training
from numpy_rnn.study.training import tables as tables_of_training

PARTS: dict[str, tuple[str, Callable[[Setting], Findings]]] = {
    "about": ("the run", lambda setting: about(setting)),
    "checks": ("every equation beside its witnesses", checks.measure),
    "items": ("the item matrix, truncation, vanishing and exploding", items.measure),
    "training": ("training: truncations, disagreements, mistakes", training.measure),
    "explorer": ("the numbers to be explored", explorer),
}
DRAWINGS: tuple[Drawing, ...] = (*of_checks.DRAWINGS, *of_items.DRAWINGS, *of_training.DRAWINGS)
PACKAGES = ("numpy", "matplotlib", "torch", "python-flint")
DPI = 110


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
    return tuple(
        table for part in (tables_of_checks, tables_of_items, tables_of_training) for table in part.tables(findings)
    )


def pictures(findings: Findings) -> Iterator[tuple[Drawing, bytes, bytes]]:
    """Every drawing, as SVG and as PNG. The same findings make the same files."""
    with style():
        from matplotlib.figure import Figure

        for drawing in DRAWINGS:
            figure = Figure(figsize=drawing.size)
            drawing.draw(figure, findings)
            svg, png = io.BytesIO(), io.BytesIO()
            figure.savefig(svg, format="svg", metadata={"Date": None})
            figure.savefig(png, format="png", dpi=DPI)
            yield drawing, svg.getvalue(), png.getvalue()


def files_of(findings: Findings) -> dict[str, bytes]:
    """All files of the folder by their names in it: the page, its numbers, its figures."""
    files, drawn = {}, {}
    for drawing, svg, png in pictures(findings):
        drawn[drawing.name] = svg
        files[f"figures/{drawing.name}.svg"] = svg
        files[f"figures/{drawing.name}.png"] = png
    text = page(findings, drawn, DRAWINGS, tables_of(findings))
    numbers = json.dumps(findings, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return {"study.html": text.encode(), "study.json": numbers.encode(), **files}


def _version(name):
    return importlib.metadata.version(name) if find_spec({"python-flint": "flint"}.get(name, name)) else None
