"""The docstrings of public functions follow numpydoc, and their examples run."""

import doctest
import importlib
import inspect
import re
import sys

import numpy as np

import numpy_rnn
from numpy_rnn.common import records, texts
from numpy_rnn.common.records import TrainKeywords

FUNCTIONS = [n for n in numpy_rnn.__all__ if inspect.isfunction(getattr(numpy_rnn, n))]
SECTION = re.compile(r"^(\w[\w ]*)\n-+$", re.MULTILINE)
MODULES = {"torch_rnn": ["torch_rnn.modules"], "numpy_rnn": []}


def public_functions(rnn):
    """Return the functions of a package, and of its modules for users."""
    functions = [getattr(rnn, name) for name in FUNCTIONS]
    for module_name in MODULES[rnn.__name__]:
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
