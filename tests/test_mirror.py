"""The two packages are one program written twice: the same names, files and signatures, and few imports between."""

import ast
import inspect
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import numpy_rnn

SOURCE = Path(numpy_rnn.__file__).parents[1]
STANDARD_LIBRARY = sys.stdlib_module_names

# What only one of the packages has, and why.
ONLY_NUMPY = {
    "allocation.py": "torch's own allocator begins arrays at cache lines",
    "DERIVATION.md": "the equations are derived once, beside the code that is written from them",
    "memory.py": "what autograd keeps by itself, NumPy code keeps by hand",
    "vectors.py": "the parameters of torch_rnn are leaves of autograd's graph, each a tensor of its own",
    "common": "what both packages share is written once",
    "conformance": "the suite for any port serves both",
    "figures": "what is drawn for README.md is the network of both",
    "study": "the study of the gradients serves both",
}
ONLY_TORCH = {"modules.py": "torch.nn.RNN and torch.nn.Linear are torch's own"}

# Functions whose docstrings differ, and why; those of all others are word for word the same.
OWN_DOCSTRINGS = {
    "bptt": "numpy_rnn states the equations it codes, torch_rnn what autograd needs",
    "deltas": "the same",
    "from_numpy": "the tensors of torch_rnn require a gradient",
}


def shared_functions():
    return [name for name in numpy_rnn.__all__ if inspect.isfunction(getattr(numpy_rnn, name))]


# -- names and files ------------------------------------------------------------------------------------------------


@pytest.mark.needs_torch
def test_both_export_the_same_names():
    import torch_rnn

    assert torch_rnn.__all__ == numpy_rnn.__all__ == sorted(numpy_rnn.__all__)
    for package in (numpy_rnn, torch_rnn):
        assert all(hasattr(package, name) for name in package.__all__)
        public = {name for name in vars(package) if not name.startswith("_")}
        not_exported = public - set(package.__all__)
        assert all(inspect.ismodule(getattr(package, name)) for name in not_exported), not_exported


@pytest.mark.needs_torch
def test_the_same_functions_have_the_same_signatures_and_docstrings():
    import torch_rnn

    names = shared_functions()
    of_network = {"forward", "half_squared_error", "bptt", "deltas"}
    assert of_network | {"clipped", "direction", "sgd", "train", "train_stream", "initial_parameters"} <= set(names)
    for name in names:
        ours, theirs = getattr(numpy_rnn, name), getattr(torch_rnn, name)
        assert inspect.signature(ours) == inspect.signature(theirs), name
        assert ours.__doc__
        assert (ours.__doc__ != theirs.__doc__) == (name in OWN_DOCSTRINGS), name


@pytest.mark.needs_torch
def test_the_records_and_the_error_are_one_and_the_same():
    import torch_rnn

    records = set(numpy_rnn.__all__) - set(shared_functions())
    assert {"Activations", "Deltas", "Gradients", "InputError", "Parameters", "State", "Update", "Window"} <= records
    for name in records:
        assert getattr(numpy_rnn, name) is getattr(torch_rnn, name), name


def test_a_run_of_either_is_a_training_of_common(rnn):
    from numpy_rnn.common.training import Training

    x, h_0 = (rnn.from_numpy(np.zeros((1, 1, 1), "float32")), rnn.from_numpy(np.zeros((1, 6), "float32")))
    options = {"k1": 1, "k2": 1, "learning_rate": 0.1}
    run = rnn.train(rnn.initial_parameters(), x, x, h_0, **options, epochs=1)
    stream = rnn.train_stream(rnn.initial_parameters(), [(x[0], x[0])], h_0, **options)
    for training in (run, stream):
        assert type(training) is Training
        assert type(next(training)) is numpy_rnn.Update
        assert type(training.state()) is numpy_rnn.State


def test_both_packages_have_the_same_files_but_for_the_listed_ones():
    ours, theirs = (
        {path.name for path in (SOURCE / package).iterdir() if path.name != "__pycache__"}
        for package in ("numpy_rnn", "torch_rnn")
    )
    assert ours - theirs <= set(ONLY_NUMPY), "a file that torch_rnn has not, and no reason why"
    assert theirs - ours == set(ONLY_TORCH)
    assert not theirs & set(ONLY_NUMPY)


def test_both_packages_have_their_loop_in_updates():
    """It exports nothing, so the next test does not see it."""
    for package in ("numpy_rnn", "torch_rnn"):
        tree = ast.parse((SOURCE / package / "updates.py").read_text(encoding="utf-8"))
        names = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
        assert names[:2] == ["updates", "state_of"], package


def definitions(package, file):
    """The public functions and classes that a file defines, but not those of its imports."""
    tree = ast.parse((SOURCE / package / file).read_text(encoding="utf-8"))
    found = [node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    return [name for name in found if name in numpy_rnn.__all__]


FILES = ["bptt", "clipping", "elman", "loss", "momentum", "parameters", "sgd", "train", "train_stream"]


@pytest.mark.parametrize("file", [f"{name}.py" for name in FILES])
def test_each_exported_function_is_in_the_file_of_the_same_name(file):
    """And in the same order."""
    assert definitions("numpy_rnn", file) == definitions("torch_rnn", file) != []


# -- imports --------------------------------------------------------------------------------------------------------


def imported(code):
    """Which of torch and matplotlib a fresh interpreter has loaded after running the code."""
    report = "import sys; print([name for name in ('torch', 'matplotlib') if name in sys.modules])"
    path = os.pathsep.join([str(SOURCE), os.environ.get("PYTHONPATH", "")])
    run = subprocess.run(
        [sys.executable, "-c", f"{code}; {report}"],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return ast.literal_eval(run.stdout.splitlines()[-1])


def modules_of(folder):
    """The names of the modules in a folder of numpy_rnn, itself included."""
    files = sorted((SOURCE / "numpy_rnn" / folder).glob("*.py"))
    parts = [file.relative_to(SOURCE).with_suffix("").parts for file in files]
    return [".".join(part for part in p if part != "__init__") for p in parts]


def test_numpy_rnn_loads_neither_torch_nor_matplotlib():
    names = modules_of(".") + [
        name for folder in ("", "/runs", "/files", "/output") for name in modules_of(f"common{folder}")
    ]
    assert {"numpy_rnn", "numpy_rnn.__main__", "numpy_rnn.memory", "numpy_rnn.common.windows"} <= set(names)
    assert imported(f"import {', '.join(names)}") == []


def test_a_run_of_numpy_rnn_loads_neither_torch_nor_matplotlib():
    """The main job, learnt for an epoch."""
    code = (
        "import numpy as np, numpy_rnn as rnn; x, h_0 = np.zeros((3, 1, 1), 'float32'), np.zeros((1, 6), 'float32'); "
        "list(rnn.train(rnn.initial_parameters(), x, x, h_0, k1=1, k2=1, learning_rate=0.1, epochs=1, record=True))"
    )
    assert imported(code) == []


@pytest.mark.needs_torch
def test_the_check_sees_torch_when_it_is_loaded():
    assert "torch" in imported("import torch_rnn")


@pytest.mark.needs_matplotlib
def test_the_check_sees_matplotlib_when_it_is_loaded():
    assert "matplotlib" in imported("import matplotlib")


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
    files = (SOURCE / folder).rglob("*.py")
    trees = {str(f.relative_to(SOURCE)): ast.parse(f.read_text(encoding="utf-8")) for f in files}
    assert trees
    return {file: imports(tree, **options) for file, tree in trees.items()}


def within(module, package):
    return module == package or module.startswith(f"{package}.")


def test_torch_rnn_imports_from_numpy_rnn_only_what_is_common():
    for file, modules in imports_of("torch_rnn").items():
        of_numpy_rnn = {m for m in modules if within(m, "numpy_rnn")}
        assert all(within(m, "numpy_rnn.common") for m in of_numpy_rnn), file


def test_no_file_of_numpy_rnn_imports_torch_or_a_picture_at_import_time():
    for file, modules in imports_of("numpy_rnn", at_import_time=True).items():
        assert not [m for m in modules for p in ("torch", "torch_rnn", "matplotlib") if within(m, p)], file


def test_the_core_of_numpy_rnn_never_imports_torch():
    """Not in a function either. What compares backends names them, and imports them by that name."""
    for file, modules in (imports_of("numpy_rnn") | {}).items():
        if Path(file).parts[1] not in ("conformance", "study"):
            assert not [m for m in modules for p in ("torch", "torch_rnn") if within(m, p)], file


def test_the_core_needs_nothing_but_numpy():
    """At import time, beside the standard library and itself; and common nothing of the network."""
    for file, modules in imports_of("numpy_rnn", at_import_time=True).items():
        if Path(file).parts[1] in ("conformance", "study"):
            continue
        others = {m for m in modules if m.split(".")[0] not in STANDARD_LIBRARY and not within(m, "numpy")}
        allowed = "numpy_rnn.common" if Path(file).parts[1] == "common" else "numpy_rnn"
        assert all(within(m, allowed) for m in others), (file, others)


@pytest.mark.parametrize(
    ("source", "always", "at_import_time"),
    [
        ("import torch", {"torch"}, {"torch"}),
        ("import torch.nn as nn, numpy", {"torch.nn", "numpy"}, {"torch.nn", "numpy"}),
        ("from torch.nn import RNN", {"torch.nn"}, {"torch.nn"}),
        ("def draw():\n    import matplotlib.pyplot", {"matplotlib.pyplot"}, set()),
        ("class A:\n    import torch\n    def f(self):\n        import numpy", {"torch", "numpy"}, {"torch"}),
        ("if True:\n    try:\n        import torch\n    except ImportError:\n        pass", {"torch"}, {"torch"}),
    ],
)
def test_the_reading_of_imports_sees_them(source, always, at_import_time):
    tree = ast.parse(source)
    assert imports(tree) == always
    assert imports(tree, at_import_time=True) == at_import_time


def test_a_relative_import_is_refused():
    with pytest.raises(AssertionError, match="relative"):
        imports(ast.parse("from . import train"))
