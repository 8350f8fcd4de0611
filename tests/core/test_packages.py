"""The packages: imports that point down, the same names, and a wheel that has every
file.
"""

import ast
import importlib
import inspect
import subprocess
import sys
import zipfile
from configparser import ConfigParser
from pathlib import Path

import pytest

import numpy_rnn
from numpy_rnn import reference
from numpy_rnn.common.records import (
    Clipping,
    Direction,
    DirectionKeywords,
    Objective,
    Schedule,
    Step,
    TrainKeywords,
)

ROOT = Path(__file__).parents[2]
LAYERS = {  # what a folder's files may import of the two packages; "" is numpy_rnn/*.py
    "numpy_rnn/common": {"common"},
    "numpy_rnn": {"", "common"},
    "numpy_rnn/engine": {"engine", "", "common"},
    "torch_rnn": {"torch_rnn", "common"},
}
FOLDERS = {"common", "engine", "app", "conformance", "study"}
ABOVE = {"__init__", "__main__", "public", "reference"}  # they name what is above them


def imports(path):
    """Return the modules that a file imports, also within a function."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("folder", LAYERS)
def test_imports_point_down_and_need_nothing_but_numpy(folder):
    paths = [path for path in (ROOT / folder).glob("*.py") if path.stem not in ABOVE]
    for module in [module for path in paths for module in imports(path)]:
        package, layer = f"{module}.".split(".")[:2]
        if package == "numpy_rnn":
            assert (layer if layer in FOLDERS else "") in LAYERS[folder], module
        elif package not in {"numpy", *sys.stdlib_module_names}:
            assert folder == "torch_rnn", module
            assert package in ("torch", "torch_rnn"), module


LOADED = """
import sys
def loaded(*names): print([name for name in names if name in sys.modules])
import numpy_rnn as rnn, numpy_rnn.conformance.plugin
loaded("numpy", "importlib.metadata", "numpy.random", "email")
rnn.train
loaded("numpy", "importlib.metadata", "numpy.random", "email")
import numpy as np, numpy_rnn.reference, numpy_rnn.app, numpy_rnn.study
x, h_0 = np.zeros((3, 1, 1), "float32"), np.zeros((1, 6), "float32")
params = rnn.initial_parameters()
list(rnn.train(params, x, x, h_0, k1=1, k2=1, learning_rate=0.1, epochs=1))
loaded("numpy.random", "torch", "matplotlib")
"""


@pytest.mark.slow
def test_import_and_run_load_numpy_alone():
    """Not even NumPy before the first use of a name: pytest imports the suite's
    options.
    """
    ended = subprocess.run(
        [sys.executable, "-c", LOADED], capture_output=True, text=True
    )
    expected = (0, "[]\n['numpy']\n['numpy.random']\n")
    assert (ended.returncode, ended.stdout) == expected, ended.stderr


def parameters(function):
    """(name, kind, default) of each parameter of a function."""
    signature = inspect.signature(function)
    return [(p.name, p.kind, p.default) for p in signature.parameters.values()]


@pytest.mark.needs_torch
def test_status_of_torch_rnn_is_that_of_its_command(capsys):
    main = importlib.import_module("torch_rnn.__main__").main
    assert [main(["audit", "no_script.py"]), main(["audit", "--help"])] == [2, 0]
    assert main(["tarin"]) == 2
    assert "no_script.py" in capsys.readouterr().err


@pytest.mark.needs_torch
def test_packages_export_the_same_names_and_signatures():
    """And what is no function is one and the same: the records and the error."""
    packages = numpy_rnn, reference, importlib.import_module("torch_rnn")
    for package in packages:
        assert package.__all__ == sorted(numpy_rnn.__all__)
    for name in numpy_rnn.__all__:
        first, *others = (getattr(package, name) for package in packages)
        if not inspect.isfunction(first):
            assert all(other is first for other in others), name
        else:
            assert all(parameters(other) == parameters(first) for other in others), name


def test_keywords_are_the_fields_of_records():
    """A step is its rate, its direction and its clipping; `train` takes all of them."""
    assert set(Step._fields) == {
        "learning_rate",
        *Direction._fields,
        *Clipping._fields,
    }
    defaults = Direction._field_defaults | Clipping._field_defaults
    assert Step._field_defaults == defaults
    assert {*DirectionKeywords.__annotations__} == {*Direction._fields}
    of_run = {*Schedule._fields, *Objective._fields, *Step._fields}
    others = {"velocity", "record", "yield_every"}
    assert {*TrainKeywords.__annotations__} == of_run | others
    required = {"k1", "k2", "epochs", "learning_rate"}
    assert TrainKeywords.__required_keys__ == required


@pytest.mark.slow
def test_wheel_has_the_packages_and_entry_points(tmp_path):
    """The files of the packages and nothing else, and entry points that can
    be loaded.
    """
    command = [
        sys.executable,
        "-m",
        "hatchling",
        "build",
        "-t",
        "wheel",
        "-d",
        str(tmp_path),
    ]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    [wheel] = map(zipfile.ZipFile, tmp_path.iterdir())
    paths = [
        path for name in ("numpy_rnn", "torch_rnn") for path in (ROOT / name).rglob("*")
    ]
    files = [
        path for path in paths if path.is_file() and "__pycache__" not in path.parts
    ]
    expected = {path.relative_to(ROOT).as_posix(): path.read_bytes() for path in files}
    others = {name for name in wheel.namelist() if ".dist-info/" in name}
    assert {name: wheel.read(name) for name in {*wheel.namelist()} - others} == expected
    [name] = [name for name in others if name.endswith("entry_points.txt")]
    points = ConfigParser()
    points.read_string(wheel.read(name).decode())
    assert {*points.sections()} == {"console_scripts", "pytest11"}
    for point in [point for group in points.values() for point in group.values()]:
        module, _, function = point.partition(":")
        assert not function or callable(
            getattr(importlib.import_module(module), function)
        )
