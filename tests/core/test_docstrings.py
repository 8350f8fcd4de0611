"""The docstrings of public functions and records: complete, and their examples run.

They follow numpydoc.
"""

import doctest
import importlib
import inspect
import re

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
    """Return the names that a section of parameters describes."""
    found = set()
    for names in re.findall(r"^\*{0,2}(\w[\w, ]*)(?: : .*)?$", section, re.MULTILINE):
        found |= {*re.split(", *", names)}
    return found


def test_functions_have_their_sections(rnn):
    """Parameters, each by its name, what is returned and raised, and an example."""
    for name, function in public_functions(rnn):
        found = sections(function)
        assert {"Parameters", "Returns", "Raises", "Examples"} <= found.keys(), name
        assert ">>> " in found["Examples"], name
        expected = {*inspect.signature(function).parameters} - {"options"}
        missing = expected - documented(found["Parameters"])
        assert not missing, f"{name} does not document {missing}"


def test_options_of_train_are_documented():
    named = documented(sections(numpy_rnn.train)["Parameters"])
    assert not TrainKeywords.__annotations__.keys() - named


def test_examples_run(rnn):
    modules = {importlib.import_module(f.__module__) for _, f in public_functions(rnn)}
    for module in modules | {records, texts}:
        with np.printoptions(legacy=False):
            found = doctest.testmod(module)
        assert found.attempted, module
        assert not found.failed, module
