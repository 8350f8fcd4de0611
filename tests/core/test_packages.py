"""The packages: their imports point down, they export the same names, docstrings follow
numpydoc, their examples run, and the wheel has every file.
"""

import ast
import doctest
import importlib
import inspect
import re
import subprocess
import sys
import zipfile
from graphlib import TopologicalSorter
from importlib.metadata import PathDistribution
from pathlib import Path

import numpy as np
import pytest

import numpy_rnn
from numpy_rnn import reference
from numpy_rnn.common import records, texts
from numpy_rnn.common.records import TrainKeywords
from tests.helpers.calls import PUBLIC_FUNCTIONS

ROOT = Path(__file__).parents[2]
ABOVE = {"__init__", "__main__", "public", "reference"}  # they name what is above them
# What the files of a folder import, besides each other and NumPy: folders, or files.
LAYERS = {
    "numpy_rnn/common": "",
    "numpy_rnn": "numpy_rnn/common",
    "numpy_rnn/engine": "numpy_rnn numpy_rnn/common",
    "torch_rnn": "torch numpy_rnn/common",
    "torch_rnn/loop_audit": "torch numpy_rnn/common",
    "numpy_rnn/conformance/arithmetics": "numpy_rnn/common numpy_rnn/conformance/case",
    "numpy_rnn/conformance/ports": """numpy_rnn numpy_rnn/common
        numpy_rnn/conformance/arithmetics numpy_rnn/conformance/case""",
    "numpy_rnn/conformance/adapters": """torch jax numpy_rnn/common
        numpy_rnn/conformance/case numpy_rnn/conformance/definition
        numpy_rnn/conformance/ports numpy_rnn/conformance/random_cases
        numpy_rnn/conformance/trace numpy_rnn/conformance/user_function""",
    "numpy_rnn/conformance/runs": """numpy_rnn/common
        numpy_rnn/conformance/arithmetics numpy_rnn/conformance/case
        numpy_rnn/conformance/coverage numpy_rnn/conformance/definition
        numpy_rnn/conformance/ports numpy_rnn/conformance/verdicts
        numpy_rnn/conformance/window_checks""",
    "numpy_rnn/conformance/mutants": """numpy_rnn/common
        numpy_rnn/conformance/arithmetics numpy_rnn/conformance/case
        numpy_rnn/conformance/definition numpy_rnn/conformance/ports
        numpy_rnn/conformance/random_cases numpy_rnn/conformance/runs
        numpy_rnn/conformance/verdicts""",
    "numpy_rnn/conformance": """pytest numpy_rnn/common
        numpy_rnn/conformance/arithmetics numpy_rnn/conformance/ports
        numpy_rnn/conformance/runs numpy_rnn/conformance/mutants""",
    "numpy_rnn/conformance/gradients": """numpy_rnn/common
        numpy_rnn/conformance/rounding_runs numpy_rnn/conformance/user_function
        numpy_rnn/conformance/window_checks""",
    "numpy_rnn/conformance/equivalence": """numpy_rnn/common
        numpy_rnn/conformance/rounding_runs numpy_rnn/conformance/tested
        numpy_rnn/conformance/user_function""",
    "numpy_rnn/app": """matplotlib numpy_rnn numpy_rnn/common numpy_rnn/conformance
        numpy_rnn/conformance/arithmetics numpy_rnn/conformance/ports
        numpy_rnn/conformance/runs numpy_rnn/conformance/mutants""",
    "numpy_rnn/study/lesson": "",
    "numpy_rnn/study/evidence": """matplotlib numpy_rnn numpy_rnn/common numpy_rnn/app
        numpy_rnn/conformance numpy_rnn/conformance/arithmetics
        numpy_rnn/conformance/ports numpy_rnn/conformance/runs
        numpy_rnn/study/document numpy_rnn/study/subject""",
    "numpy_rnn/study": """latex2mathml numpy_rnn numpy_rnn/common numpy_rnn/app
        numpy_rnn/study/evidence""",
}
FILES = {*ROOT.glob("*_rnn/**/*.py")}


def imports(path):
    """Return the modules that a file imports, also within a function."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def file_of(module):
    """Return the file of a module, or of what has a name in one; None elsewhere."""
    path = ROOT / module.replace(".", "/")
    while path != ROOT:
        for file in (path.with_suffix(".py"), path / "__init__.py"):
            if file in FILES:
                return file
        path = path.parent
    return None


def places_of(module):
    """Return the folder and the file of a module; of another package, its name."""
    file = file_of(module)
    if file is None:
        return {module.partition(".")[0]}
    path = file.relative_to(ROOT)
    return {path.parent.as_posix(), path.with_suffix("").as_posix()}


@pytest.mark.parametrize("folder", LAYERS)
def test_imports_point_down(folder):
    allowed = {folder, *LAYERS[folder].split(), "numpy", *sys.stdlib_module_names}
    for path in (ROOT / folder).glob("*.py"):
        if path.stem not in ABOVE:
            others = [name for name in imports(path) if not places_of(name) & allowed]
            assert not others, f"{path.name} imports {others}: see LAYERS"


def test_every_folder_is_a_layer_and_no_files_import_each_other():
    folders = {path.parent.relative_to(ROOT).as_posix() for path in FILES}
    assert folders == {*LAYERS}
    graph = {path: {*map(file_of, imports(path))} - {path, None} for path in FILES}
    TopologicalSorter(graph).prepare()  # raises an error that names a circle


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
    """The import loads not even NumPy before the first use of a name: pytest imports
    the suite's options.
    """
    ended = subprocess.run(
        [sys.executable, "-c", LOADED], capture_output=True, text=True
    )
    expected = (0, "[]\n['numpy']\n['numpy.random']\n")
    assert (ended.returncode, ended.stdout) == expected, ended.stderr


def parameters(function):
    """Return the name, kind and default of each parameter of a function."""
    signature = inspect.signature(function)
    return [(p.name, p.kind, p.default) for p in signature.parameters.values()]


@pytest.mark.needs_torch
def test_packages_export_the_same_names_and_signatures():
    """The records and the error, which are no functions, are the same objects."""
    packages = numpy_rnn, reference, importlib.import_module("torch_rnn")
    for package in packages:
        assert package.__all__ == sorted(numpy_rnn.__all__)
    for name in numpy_rnn.__all__:
        first, *others = (getattr(package, name) for package in packages)
        if not inspect.isfunction(first):
            assert all(other is first for other in others), name
        else:
            assert all(parameters(other) == parameters(first) for other in others), name


@pytest.mark.slow
def test_wheel_has_the_packages_and_entry_points(tmp_path):
    """It has their files and nothing else, and its entry points can be loaded."""
    command = f"{sys.executable} -m hatchling build -t wheel -d {tmp_path}"
    subprocess.run(command.split(), cwd=ROOT, check=True, capture_output=True)
    [wheel] = map(zipfile.ZipFile, tmp_path.iterdir())
    packed = {name: wheel.read(name) for name in wheel.namelist()}
    for path in ROOT.glob("*_rnn/**/*"):
        if path.is_file() and "__pycache__" not in path.parts:
            name = path.relative_to(ROOT).as_posix()
            assert packed.pop(name) == path.read_bytes()
    assert all(".dist-info/" in name for name in packed)
    [info] = (path for path in zipfile.Path(wheel).iterdir() if "info" in path.name)
    points = PathDistribution(info).entry_points
    assert {point.group for point in points} == {"console_scripts", "pytest11"}
    assert all(point.load() for point in points)


SECTION = re.compile(r"^(\w[\w ]*)\n-+$", re.MULTILINE)
MODULES_OF_USERS = {"torch_rnn": ["torch_rnn.modules"], "numpy_rnn": []}


def public_functions(rnn):
    """Return the functions of a package, and of its modules for users."""
    functions = [getattr(rnn, name) for name in PUBLIC_FUNCTIONS]
    for module_name in MODULES_OF_USERS[rnn.__name__]:
        module = importlib.import_module(module_name)
        functions += [getattr(module, name) for name in module.__all__]
    return functions


def sections(function):
    """Return the texts of a docstring by the titles of their sections."""
    _, *parts = SECTION.split(inspect.getdoc(function))
    return dict(zip(parts[::2], parts[1::2]))


def documented(section):
    """Return the names that a section of parameters describes."""
    described = set()
    for names in re.findall(r"^\*{0,2}(\w[\w, ]*)(?: : .*)?$", section, re.MULTILINE):
        described |= {*re.split(", *", names)}
    return described


def test_functions_have_their_sections(rnn):
    """Each says what it returns and raises, shows an example, and describes each of its
    parameters by name.
    """
    for function in public_functions(rnn):
        name = function.__name__
        texts_of = sections(function)
        assert {"Parameters", "Returns", "Raises", "Examples"} <= texts_of.keys(), name
        assert ">>> " in texts_of["Examples"], name
        expected = {*inspect.signature(function).parameters} - {"options"}
        missing = expected - documented(texts_of["Parameters"])
        assert not missing, f"{name} does not document {missing}"


def test_options_of_train_are_documented():
    described = documented(sections(numpy_rnn.train)["Parameters"])
    assert not TrainKeywords.__annotations__.keys() - described


def test_examples_run(rnn):
    modules = {sys.modules[f.__module__] for f in public_functions(rnn)}
    for module in modules | {records, texts}:
        with np.printoptions(legacy=False):
            results = doctest.testmod(module)
        assert results.attempted, module
        assert not results.failed, module
