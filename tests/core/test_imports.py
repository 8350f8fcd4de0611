"""The imports and exports of the packages: NumPy alone, arrows point down, the same names."""

import ast
import inspect
import pkgutil
import sys
from pathlib import Path

import pytest
from children import run

import numpy_rnn
from numpy_rnn import reference
from numpy_rnn.common.records import Objective, Step, TrainKeywords

SOURCE = Path(numpy_rnn.__file__).parents[1]
LAYERS = {  # what a file of each may import of the two packages, also within a function
    "common": {"common"},
    "core": {"core", "common"},
    "engine": {"engine", "core", "common"},
    "torch_rnn": {"torch_rnn", "common"},
}
ABOVE = {"__init__", "__main__", "public", "reference"}  # they name what is above them


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
    for path in [*SOURCE.glob("numpy_rnn/**/*.py"), *SOURCE.glob("torch_rnn/*.py")]:
        name = ".".join(path.relative_to(SOURCE).with_suffix("").parts)
        if layer(name) not in LAYERS or path.stem in ABOVE:
            continue
        for module in imports(path):
            package = module.split(".")[0]
            if package in ("numpy_rnn", "torch_rnn"):
                assert layer(module) in LAYERS[layer(name)], (name, module)
            elif package not in sys.stdlib_module_names:
                is_torch = (package, layer(name)) == ("torch", "torch_rnn")
                assert package == "numpy" or is_torch, (name, module)


LOADED = """
import sys
def loaded(*names): print([name for name in names if name in sys.modules])
import numpy_rnn as rnn, numpy_rnn.conformance.plugin
loaded("numpy", "importlib.metadata", "numpy.random", "email")
rnn.train
loaded("numpy", "importlib.metadata", "numpy.random", "email")
import numpy as np, numpy_rnn.reference, numpy_rnn.app, numpy_rnn.study
x, h_0 = np.zeros((3, 1, 1), "float32"), np.zeros((1, 6), "float32")
options = dict(k1=1, k2=1, learning_rate=0.1, epochs=1, record=True)
list(rnn.train(rnn.initial_parameters(), x, x, h_0, **options))
loaded("numpy.random", "torch", "matplotlib")
"""


@pytest.mark.slow
def test_import_and_run_load_numpy_alone():
    """Not even NumPy before the first use of a name: pytest imports the suite's options."""
    ended = run([sys.executable, "-c", LOADED])
    expected = (0, "[]\n['numpy']\n['numpy.random']\n")
    assert (ended.returncode, ended.stdout) == expected, ended.stderr


def parameters(function):
    """(name, kind, default) of each parameter of a function."""
    signature = inspect.signature(function)
    return [(p.name, p.kind, p.default) for p in signature.parameters.values()]


@pytest.mark.needs_torch
def test_packages_export_the_same_names_and_signatures():
    """And what is no function is one and the same: the records and the error."""
    import torch_rnn

    assert torch_rnn.__all__ == numpy_rnn.__all__ == reference.__all__ == sorted(numpy_rnn.__all__)
    for package in (numpy_rnn, torch_rnn, reference):
        others = {name for name in dir(package) if not name.startswith("_")} - set(package.__all__)
        assert all(inspect.ismodule(getattr(package, name)) for name in others - {"audit"}), others
        modules = {module.name for module in pkgutil.iter_modules(getattr(package, "__path__", []))}
        assert not modules & set(package.__all__)  # the one imported last would hide the other
    for name in set(numpy_rnn.__all__):
        functions = [getattr(package, name) for package in (numpy_rnn, reference, torch_rnn)]
        if not inspect.isfunction(functions[0]):
            assert functions[0] is functions[1] is functions[2], name
            continue
        assert all(function.__doc__ for function in functions)
        if name != "train":
            assert parameters(functions[0]) == parameters(functions[1]) == parameters(functions[2])


def test_arguments_of_train_are_written_alike():
    """The public signature, the types of keywords, and the records behind every `train`."""
    public = [p for p in parameters(numpy_rnn.train) if p[1] == inspect.Parameter.KEYWORD_ONLY]
    defaults = {**Objective._field_defaults, **Step._field_defaults}
    assert all(defaults.get(name, default) == default for name, _, default in public)
    required = {name for name, _, default in public if default is inspect.Parameter.empty}
    assert TrainKeywords.__required_keys__ == required
    assert set(TrainKeywords.__annotations__) >= {name for name, *_ in public}
