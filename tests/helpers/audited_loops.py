"""The training loops of `loops/`, which run by themselves, and their reports."""

import ast
import contextlib
import functools
import runpy
from pathlib import Path

import torch_rnn

FOLDER = Path(__file__).parents[1] / "audit" / "loops"
LOOPS = sorted(path.stem for path in FOLDER.glob("*.py"))


def source(name):
    return (FOLDER / f"{name}.py").read_text(encoding="utf-8")


def expected_lines(name):
    """Return the lines of a report that a loop's docstring lists after its summary."""
    text = ast.get_docstring(ast.parse(source(name))) or ""
    return text.splitlines()[2:]


@functools.cache
def audited(name):
    """Return the report of a loop. A RuntimeError, as of backward(), ends it."""
    with torch_rnn.audit() as report, contextlib.suppress(RuntimeError):
        report.namespace = runpy.run_path(str(FOLDER / f"{name}.py"))
    return report
