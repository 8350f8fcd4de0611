"""Who imports whom: numpy_rnn needs NumPy alone, and every import points down."""

import ast
import sys
from functools import cache
from pathlib import Path

import pytest
from children import run

import numpy_rnn

SOURCE = Path(numpy_rnn.__file__).parents[1]

LOADED = """
import sys
import numpy_rnn as rnn
print([name for name in ("numpy", "importlib.metadata", "numpy.random", "email") if name in sys.modules])
import numpy as np, {modules}
x, h_0 = np.zeros((3, 1, 1), 'float32'), np.zeros((1, 6), 'float32')
list(rnn.train(rnn.initial_parameters(), x, x, h_0, k1=1, k2=1, learning_rate=0.1, epochs=1, record=True))
print([name for name in ("numpy.random", "torch", "matplotlib") if name in sys.modules])
"""


@pytest.mark.slow
def test_numpy_rnn_loads_no_torch_and_no_matplotlib_and_little_at_first():
    """The import alone leaves out what would take most of its time. Neither all modules of the core and the
    application nor a run load more than NumPy.
    """
    folders = ("", "engine", "common", "app")
    paths = [path for folder in folders for path in sorted((SOURCE / "numpy_rnn" / folder).glob("*.py"))]
    modules = [".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__") for path in paths]
    assert {"numpy_rnn", "numpy_rnn.__main__", "numpy_rnn.tbptt", "numpy_rnn.common.windows"} <= set(modules)
    ended = run([sys.executable, "-c", LOADED.format(modules=", ".join(modules))])
    assert ended.returncode == 0, ended.stderr
    at_import, after_run = map(ast.literal_eval, ended.stdout.splitlines())
    assert at_import == ["numpy"]
    assert after_run == ["numpy.random"]


def imports(tree):
    """The modules that a file imports: (by any of its lines, at import time), which leaves out the bodies of functions.

    `from a import b` counts as both a and a.b, since b may be a module.
    """
    found, at_import_time = set(), set()
    pending = [(tree, True)]
    while pending:
        node, at_once = pending.pop()
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: a relative import"
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        found.update(names)
        at_import_time.update(names if at_once else ())
        at_once = at_once and not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        pending.extend((child, at_once) for child in ast.iter_child_nodes(node) if not isinstance(child, ast.expr))
    return found, at_import_time


@cache
def imports_of(folder):
    """{file: what it imports} for every Python file below a folder."""
    files = sorted((SOURCE / folder).rglob("*.py"))
    assert files
    return {str(f.relative_to(SOURCE)): imports(ast.parse(f.read_text(encoding="utf-8"))) for f in files}


def within(module, *packages):
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def test_torch_rnn_imports_from_numpy_rnn_only_what_is_common():
    """And its __main__, the application."""
    for file, (modules, _) in imports_of("torch_rnn").items():
        package = "numpy_rnn.app" if Path(file).name == "__main__.py" else "numpy_rnn.common"
        assert all(within(m, package) for m in modules if within(m, "numpy_rnn")), file


def test_no_file_of_numpy_rnn_imports_torch_or_a_picture_at_import_time():
    """And the core not in a function either. What compares backends names them, and imports them by that name."""
    for file, (modules, at_import_time) in imports_of("numpy_rnn").items():
        assert not [m for m in at_import_time if within(m, "torch", "torch_rnn", "matplotlib")], file
        if Path(file).parts[1] not in ("conformance", "study"):
            assert not [m for m in modules if within(m, "torch", "torch_rnn")], file


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


def test_every_import_points_down_and_needs_nothing_but_numpy():
    """The package and `reference` name the engine. At import time nothing is needed besides the standard library."""
    for file, (modules, at_import_time) in imports_of("numpy_rnn").items():
        if layer(file) not in LAYERS:
            continue
        others = {m for m in at_import_time if m.split(".")[0] not in sys.stdlib_module_names}
        assert all(within(m, "numpy", "numpy_rnn") for m in others), (file, others)
        if Path(file).name not in ("__init__.py", "__main__.py"):
            above = {m for m in modules if within(m, "numpy_rnn") and layer(m) not in LAYERS[layer(file)]}
            assert not above, (file, above)


def test_the_reading_of_imports_sees_them():
    tree = ast.parse(
        "class A:\n    from torch.nn import RNN\n    def f(self):\n        import matplotlib.pyplot, numpy as np"
    )
    at_once = {"torch.nn", "torch.nn.RNN"}
    assert imports(tree) == (at_once | {"matplotlib.pyplot", "numpy"}, at_once)
    with pytest.raises(AssertionError, match="relative"):
        imports(ast.parse("from . import train"))
