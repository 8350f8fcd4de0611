"""The equivalence suite: checks any implementation of the network against rounding
bounds.

`ports.port.Port` describes what an implementation provides, `case.py` one case and its
outputs. `check_gradients` checks the gradients of any other recurrent code against its
own loss.
"""

import typing

if typing.TYPE_CHECKING:
    from numpy_rnn.conformance.gradients.check import check_gradients as check_gradients
else:
    # At the first use: pytest imports this package in every run, to read the options of
    # plugin.py, and must not import NumPy for that (PEP 562).
    def __getattr__(name):
        if name != "check_gradients":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from numpy_rnn.conformance.gradients.check import check_gradients

        return check_gradients
