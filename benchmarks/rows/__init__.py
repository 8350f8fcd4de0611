"""The ways to train the network that are timed; a file each, or one for a family. `load` gives one by its name."""

from importlib import import_module
from importlib.util import find_spec

from benchmarks.rows.row import Prepared, Row, Unsuited

__all__ = ["FLOORS", "NAMES", "Prepared", "Row", "Unsuited", "load"]

MODULES = {  # the file of every row, and the package that it imports
    "numpy_rnn": ("numpy_package", "numpy"),
    "numpy_rnn, every update": ("numpy_every_update", "numpy"),
    "numpy_rnn.reference": ("numpy_reference", "numpy"),
    "torch_rnn": ("torch_package", "torch"),
    "torch.nn.RNN": ("torch_modules", "torch"),
    "tutorial loop": ("tutorial_loop", "torch"),
    "torch.compile": ("torch_compiled", "torch"),
    "JAX": ("jax_scan", "jax"),
    "HIPS autograd": ("hips_autograd", "autograd"),
    "C loop": ("c_loop", "numpy"),
}
NAMES = tuple(MODULES)
FLOORS = ("bare calls", "bare GEMMs")


def load(name: str) -> Row:
    """The row, or the floor, of this name; where its package is not installed, a row without tasks that says so.

    Imports NumPy and the row's package: the number of threads must be set before.
    """
    if name in FLOORS:
        return import_module("benchmarks.floors").ROWS[name]
    module, package = MODULES[name]
    if find_spec(package) is None:
        return Row(name, "", lambda: f"{package} is not installed", {})
    row = import_module(f"benchmarks.rows.{module}").ROW
    assert row.name == name
    return row
