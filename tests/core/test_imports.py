"""The imports and exports of the packages: numpy_rnn needs NumPy alone, arrows point down, both have the same names."""

import ast
import graphlib
import inspect
import pkgutil
import sys
from pathlib import Path

import pytest
from children import run

import numpy_rnn
from numpy_rnn import reference

SOURCE = Path(numpy_rnn.__file__).parents[1]
LAYERS = {  # what a file of each may import of the two packages, also within a function
    "common": {"common"},
    "core": {"core", "common"},
    "engine": {"engine", "core", "common"},
    "torch_rnn": {"torch_rnn", "common"},
}


def imports(path):
    """The modules that a file imports, also within a function."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def layer(module):
    """The layer of a module of the two packages, by its dotted name."""
    package, *parts = module.split(".")
    folder = parts[0] if package == "numpy_rnn" and parts else package
    return folder if folder in {*LAYERS, "app", "conformance", "study", "torch_rnn"} else "core"


def test_imports_point_down_and_need_nothing_but_numpy():
    """`__init__`, `__main__`, `public` and `reference` name what is above them."""
    for path in [*SOURCE.glob("numpy_rnn/**/*.py"), *SOURCE.glob("torch_rnn/*.py")]:
        name = ".".join(path.relative_to(SOURCE).with_suffix("").parts)
        if layer(name) not in LAYERS or path.stem in (
            "__init__",
            "__main__",
            "public",
            "reference",
        ):
            continue
        for module in imports(path):
            package = module.split(".")[0]
            if package in ("numpy_rnn", "torch_rnn"):
                assert layer(module) in LAYERS[layer(name)], (name, module)
            elif package not in sys.stdlib_module_names:
                assert package == "numpy" or (package, layer(name)) == ("torch", "torch_rnn"), (
                    name,
                    module,
                )


def test_no_circle_of_imports():
    """Also of imports within functions. Raises CycleError, which names the circle."""
    paths = [
        path for package in ("numpy_rnn", "torch_rnn") for path in SOURCE.glob(f"{package}/**/*.py")
    ]
    modules = {".".join(path.relative_to(SOURCE).with_suffix("").parts): path for path in paths}
    graph = {}
    for name, path in modules.items():
        named = {each if each in modules else each.rpartition(".")[0] for each in imports(path)}
        graph[name] = named & modules.keys()
    graphlib.TopologicalSorter(graph).prepare()
    assert len(graph) > 100


LOADED = """
import sys
hook = sys.excepthook
import numpy_rnn as rnn, numpy_rnn.conformance.plugin
print([name for name in ("numpy", "importlib.metadata", "numpy.random", "email") if name in sys.modules])
rnn.train
print([name for name in ("numpy", "importlib.metadata", "numpy.random", "email") if name in sys.modules])
import numpy as np, numpy_rnn.reference, numpy_rnn.app, numpy_rnn.study
x, h_0 = np.zeros((3, 1, 1), 'float32'), np.zeros((1, 6), 'float32')
list(rnn.train(rnn.initial_parameters(), x, x, h_0, k1=1, k2=1, learning_rate=0.1, epochs=1, record=True))
print([name for name in ("numpy.random", "torch", "matplotlib") if name in sys.modules], sys.excepthook is hook)
"""


@pytest.mark.slow
def test_import_and_run_load_numpy_alone(tmp_path):
    """Before the first use of a name not even NumPy, as every pytest run imports the options of the suite. Also where
    the package of a user imports numpy_rnn and is run by `python -m`. The hook for errors is Python's.
    """
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/__init__.py").write_text(LOADED)
    (tmp_path / "mine/tool.py").write_text("")
    for command in (["-c", LOADED], ["-m", "mine.tool"]):
        ended = run([sys.executable, *command], cwd=tmp_path)
        assert (ended.returncode, ended.stdout) == (0, "[]\n['numpy']\n['numpy.random'] True\n"), (
            ended.stderr
        )


@pytest.mark.needs_torch
def test_packages_export_the_same_names_and_signatures():
    """And what is no function is one and the same: the records and the error."""
    import torch_rnn

    assert torch_rnn.__all__ == numpy_rnn.__all__ == reference.__all__ == sorted(numpy_rnn.__all__)
    for package in (numpy_rnn, torch_rnn, reference):
        others = {name for name in dir(package) if not name.startswith("_")} - set(package.__all__)
        assert all(inspect.ismodule(getattr(package, name)) for name in others - {"audit"}), others
        modules = {module.name for module in pkgutil.iter_modules(getattr(package, "__path__", []))}
        assert not modules & set(
            package.__all__
        )  # whichever were imported last would hide the other
    for name in numpy_rnn.__all__:
        of_engine, ours, theirs = (
            getattr(package, name) for package in (numpy_rnn, reference, torch_rnn)
        )
        if not inspect.isfunction(ours):
            assert of_engine is ours is theirs, name
            continue
        signatures = [
            [(p.name, p.kind, p.default) for p in inspect.signature(function).parameters.values()]
            for function in (ours, theirs, of_engine)
        ]
        assert signatures[0] == signatures[1] == signatures[2], name
        assert of_engine.__doc__
        assert ours.__doc__
        assert theirs.__doc__
