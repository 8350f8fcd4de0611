"""The training loops of tests/audit, and their reports."""

import contextlib
import functools
import inspect

import torch_rnn
from tests.audit import data_loops, loops

LOOPS = vars(data_loops) | vars(loops)
RIGHT_LOOPS = [name for name in LOOPS if name.startswith("right_")]


def source(name, old="", new=""):
    """Return a program that runs a loop, in which a text is replaced."""
    module = inspect.getsource(loops if hasattr(loops, name) else data_loops)
    function = inspect.getsource(LOOPS[name])
    assert old in function
    changed = function.replace(old, new) if old else function
    return f"{module.replace(function, changed)}\n\nout = {name}()\n"


@functools.cache
def audited(name):
    """Return the report of a loop. A RuntimeError, as of backward(), ends it."""
    with torch_rnn.audit() as report, contextlib.suppress(RuntimeError):
        LOOPS[name]()
    return report
