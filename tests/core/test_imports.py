"""Who imports whom: numpy_rnn needs NumPy alone, and every import points down."""

import ast
import sys
from functools import cache
from pathlib import Path

import pytest
from children import run

import numpy_rnn

SOURCE = Path(numpy_rnn.__file__).parents[1]
STANDARD_LIBRARY = sys.stdlib_module_names


def imported(code, names=("torch", "matplotlib")):
    """Which of these modules a fresh interpreter has loaded after running the code."""
    report = f"import sys; print([name for name in {names} if name in sys.modules])"
    ended = run([sys.executable, "-c", f"{code}; {report}"])
    assert ended.returncode == 0, ended.stderr
    return ast.literal_eval(ended.stdout.splitlines()[-1])


def modules_of(folder):
    """The names of the modules in a folder of numpy_rnn, itself included."""
    files = sorted((SOURCE / "numpy_rnn" / folder).glob("*.py"))
    parts = [file.relative_to(SOURCE).with_suffix("").parts for file in files]
    return [".".join(part for part in p if part != "__init__") for p in parts]


RUN = (
    "import numpy as np, numpy_rnn as rnn; x, h_0 = np.zeros((3, 1, 1), 'float32'), np.zeros((1, 6), 'float32'); "
    "list(rnn.train(rnn.initial_parameters(), x, x, h_0, k1=1, k2=1, learning_rate=0.1, epochs=1, record=True))"
)


@pytest.mark.slow
def test_numpy_rnn_loads_neither_torch_nor_matplotlib():
    """Nor does a run of it."""
    names = modules_of(".") + [name for folder in ("engine", "common", "app") for name in modules_of(folder)]
    assert {"numpy_rnn", "numpy_rnn.__main__", "numpy_rnn.tbptt", "numpy_rnn.common.windows"} <= set(names)
    assert imported(f"import {', '.join(names)}; {RUN}") == []


@pytest.mark.slow
def test_the_import_leaves_out_what_would_take_most_of_its_time():
    names = ("importlib.metadata", "numpy.random", "email")
    assert imported("import numpy_rnn", names) == []
    assert imported("import numpy.random, importlib.metadata", names) != []


@pytest.mark.needs_matplotlib
@pytest.mark.slow
def test_the_check_sees_them_when_they_are_loaded():
    assert imported("import torch_rnn, matplotlib") == ["torch", "matplotlib"]


def imports(tree, at_import_time=False):
    """The modules that a file imports, by their full names; `from a import b` counts as both a and a.b, since b may be
    a module. At import time: without the bodies of functions.
    """
    found = set()
    pending = [tree]
    while pending:
        node = pending.pop()
        if at_import_time and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: a relative import"
            found.add(node.module)
        pending.extend(ast.iter_child_nodes(node))
    return found


def imports_of(folder, **options):
    """{file: modules} for every Python file below a folder."""
    found = {file: imports(tree, **options) for file, tree in trees_of(folder).items()}
    assert found
    return found


@cache
def trees_of(folder):
    files = (SOURCE / folder).rglob("*.py")
    return {str(f.relative_to(SOURCE)): ast.parse(f.read_text(encoding="utf-8")) for f in files}


def within(module, package):
    return module == package or module.startswith(f"{package}.")


def test_torch_rnn_imports_from_numpy_rnn_only_what_is_common():
    """And its __main__, the application."""
    for file, modules in imports_of("torch_rnn").items():
        package = "numpy_rnn.app" if Path(file).name == "__main__.py" else "numpy_rnn.common"
        assert all(within(m, package) for m in modules if within(m, "numpy_rnn")), file


def test_no_file_of_numpy_rnn_imports_torch_or_a_picture_at_import_time():
    for file, modules in imports_of("numpy_rnn", at_import_time=True).items():
        assert not [m for m in modules for p in ("torch", "torch_rnn", "matplotlib") if within(m, p)], file


def test_the_core_of_numpy_rnn_never_imports_torch():
    """Not in a function either. What compares backends names them, and imports them by that name."""
    for file, modules in (imports_of("numpy_rnn") | {}).items():
        if Path(file).parts[1] not in ("conformance", "study"):
            assert not [m for m in modules for p in ("torch", "torch_rnn") if within(m, p)], file


# What a file of each folder may import of numpy_rnn, also within a function: every arrow points down.
LAYERS = {
    "common": ["common"],
    "core": ["core", "common"],
    "engine": ["engine", "core", "common"],
    "app": ["app", "engine", "core", "common"],
}


def layer(module):
    """The layer of a module of numpy_rnn, given as its dotted name or its path."""
    parts = module.removesuffix(".py").replace("/", ".").split(".")
    folder = parts[1] if len(parts) > 1 else "core"
    return folder if folder in {*LAYERS, "conformance", "study", "figures"} else "core"


def test_every_import_points_down():
    """The package and `reference` name the engine."""
    for file, modules in imports_of("numpy_rnn").items():
        if layer(file) in LAYERS and Path(file).name not in ("__init__.py", "__main__.py"):
            above = {m for m in modules if within(m, "numpy_rnn") and layer(m) not in LAYERS[layer(file)]}
            assert not above, (file, above)


def test_the_core_and_the_application_need_nothing_but_numpy():
    """At import time, besides the standard library and numpy_rnn."""
    for file, modules in imports_of("numpy_rnn", at_import_time=True).items():
        if layer(file) in LAYERS:
            others = {m for m in modules if m.split(".")[0] not in STANDARD_LIBRARY}
            assert all(within(m, "numpy") or within(m, "numpy_rnn") for m in others), (file, others)


def test_the_reading_of_imports_sees_them():
    tree = ast.parse(
        "class A:\n    from torch.nn import RNN\n    def f(self):\n        import matplotlib.pyplot, numpy as np"
    )
    assert imports(tree) == {"torch.nn", "matplotlib.pyplot", "numpy"}
    assert imports(tree, at_import_time=True) == {"torch.nn"}
    with pytest.raises(AssertionError, match="relative"):
        imports(ast.parse("from . import train"))
