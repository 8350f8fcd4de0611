"""The docstrings of public functions and records: complete, and their examples run.

They follow numpydoc.
"""

import ast
import doctest
import importlib
import inspect
import re
from pathlib import Path

import numpy as np

import numpy_rnn
from numpy_rnn.common import records, texts
from numpy_rnn.common.records import TrainKeywords

FUNCTIONS = [n for n in numpy_rnn.__all__ if inspect.isfunction(getattr(numpy_rnn, n))]
SECTION = re.compile(r"^(\w[\w ]*)\n-+$", re.MULTILINE)
MODULES = {"torch_rnn": ["torch_rnn.modules"], "numpy_rnn": []}


def public_functions(rnn):
    """(name, function) of a package, and of its modules for users."""
    yield from ((name, getattr(rnn, name)) for name in FUNCTIONS)
    for name in MODULES[rnn.__name__]:
        module = importlib.import_module(name)
        yield from ((each, getattr(module, each)) for each in module.__all__)


def sections(function):
    """Return the texts of a docstring by the titles of their sections."""
    _, *parts = SECTION.split(inspect.getdoc(function))
    return dict(zip(parts[::2], parts[1::2]))


def documented(section):
    """Return the names and the types, by name, of a section of parameters."""
    found = {}
    for names, kind in re.findall(r"^(\*{0,2}\w[\w, ]*)(?: : (.*))?$", section, re.M):
        found |= dict.fromkeys(re.split(", *", names), kind)
    return found


def test_functions_have_their_sections(rnn):
    """Parameters, each by its name, what is returned and raised, and an example."""
    for name, function in public_functions(rnn):
        found = sections(function)
        assert {"Parameters", "Returns", "Raises", "Examples"} <= found.keys(), name
        assert ">>> " in found["Examples"], name
        arguments = [*inspect.signature(function).parameters]
        if name in ("train", "direction"):
            arguments.remove("options")
        named = documented(found["Parameters"])
        assert [each for each in arguments if each not in named] == [], name
        if name == "train" and rnn is numpy_rnn:
            assert named.keys() == {*arguments, *TrainKeywords.__annotations__}
        for array in ("x", "y", "target", "h_0"):
            if array in named:
                text = found["Parameters"].split(f"{array} : ")[1]
                assert re.search(r"shape \((T|K|B), ", text), (name, array)


def test_examples_run(rnn):
    modules = {importlib.import_module(f.__module__) for _, f in public_functions(rnn)}
    for module in modules | {records, texts}:
        with np.printoptions(legacy=False):
            found = doctest.testmod(module)
        assert found.attempted, module
        assert not found.failed, module


def test_fields_of_records_are_documented():
    """By a text of its own after each field, which pdoc and Sphinx show."""
    tree = ast.parse(Path(records.__file__).read_text(encoding="utf-8"))
    for node in tree.body:
        if not isinstance(node, ast.ClassDef) or node.name.endswith("Keywords"):
            continue
        for field, after in zip(node.body, [*node.body[1:], None]):
            if isinstance(field, ast.AnnAssign):
                is_text = isinstance(after, ast.Expr)
                assert is_text, f"{node.name}.{ast.unparse(field.target)}"
