"""Every size at which the engine takes another path, and how a test sets them."""

from importlib import import_module
from pathlib import Path

import numpy as np
from comparing import arrays_in

from numpy_rnn import engine

FILES = sorted(Path(engine.__file__).parent.glob("[!_]*.py"))
MODULES = [import_module(f"numpy_rnn.engine.{path.stem}") for path in FILES]
# Every size at which the engine takes another path, and values that small cases lie on both sides of.
SIZES = {
    "MAX_GROUPED": (0, 6, 64),
    "MIN_GROUP": (1, 3, 100),
    "GROUP_BYTES": (1, 2000, 2**20),
    "MIN_COLUMNS": (1, 1, 4, 256),
    "MIN_COLUMN_STEPS": (1, 1, 3),
    "MIN_COLUMN_BATCH": (1, 1, 2),
    "TRANSPOSED_AT_ONCE": (1, 3, 64),
    "MAX_STACKED": (0, 3, 128),
    "MIN_TRANSPOSED": (2, 5, 16),
    "MAX_VIEWED": (0, 12, 4096),
    "MAX_WINDOWS": (1, 2, 256),
    "MAX_KEPT": (0, 5, 2048),
    "TAPE_BYTES": (1, 500, 2**19),
    "MAX_TAPES": (1, 64),
    "REMEMBERED": (1, 3),
    "MIN_OF_THREAD": (1, 3, 256),
}


def with_sizes(patch, sizes):
    for name, value in sizes.items():
        for module in MODULES:
            if hasattr(module, name):
                patch.setattr(module, name, value)


def assert_the_same_run(updates, expected, rounding, of=None):
    """Every array within so much of another, relative to the largest number of it and 1. of: what the run is."""
    assert [u[:3] for u in updates] == [u[:3] for u in expected], of
    for one, other in zip(updates, expected, strict=True):
        for name, found, right in zip(one._fields[3:9], one[3:9], other[3:9], strict=True):
            for array, wanted in zip(arrays_in(found), arrays_in(right), strict=True):
                assert (array.shape, array.dtype) == (wanted.shape, wanted.dtype), (one[:3], name, of)
                assert (np.abs(array - wanted) <= rounding * (1 + np.abs(wanted).max())).all(), (one[:3], name, of)
