"""An Elman network in pure NumPy, with gradients by hand; `torch_rnn` is the same in
PyTorch.

DERIVATION.md derives the equations of the reference, `elman.py`, `loss.py`,
`backward.py`, `tbptt.py` and `step.py`; each has an id, which the line of code that
computes it carries. There a public function, such as `forward`, checks its arguments
and calls the one that computes, such as `compute_activations`, which is named after
what it returns. `train` is that of `engine/`, which is faster;
the module `numpy_rnn.reference`, imported by this name, has the plain one.
"""

import importlib
import typing

__version__ = "0.1.0"  # which the build reads here

if typing.TYPE_CHECKING:
    from numpy_rnn.public import *  # noqa: F403
    from numpy_rnn.public import __all__ as __all__
else:
    # NumPy and everything else are imported at the first use of a name (PEP 562): each
    # pytest run, also of another project, imports this package to read the options of
    # conformance/plugin.py.
    def __getattr__(name):
        public = importlib.import_module("numpy_rnn.public")
        if name not in ("__all__", *public.__all__):
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(public, name)
        return value

    def __dir__():
        return sorted(__getattr__("__all__"))  # modules are not for users
