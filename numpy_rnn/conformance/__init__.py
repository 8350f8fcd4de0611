"""The equivalence suite: checks any implementation of the network against rounding
bounds.

From the equations to the verdict, in the order in which one reads them:

    case, arithmetics       the tensors of a window, and the numbers it is computed in
    definition              every equation, once
    user_function           arrays that a user's function takes and returns
    rounding_runs           runs of it that round in other directions
    ports                   implementations under test, and what they state
    random_cases            the windows and runs on which they are tested
    adapters                ports of code in its own shape
    complex_step            derivatives of the loss, which prove the definition
    window_checks           a report against the bounds
    coverage                what was checked, and which parts of a program a source has
    runs, trace             training runs, each update judged from its own start
    mutants                 what a mistake looks like
    verdicts, tested        the first wrong number; what was tested, and what was not
    suite                   all of that for one port: `check`
    plugin, session         the same as tests of pytest, in test_port

`check_gradients`, in gradients, checks any other recurrent code against its own loss,
and `check_equivalent`, in equivalence, two implementations against each other.
"""

import importlib
import typing

if typing.TYPE_CHECKING:
    from numpy_rnn.conformance.equivalence.check import (
        check_equivalent as check_equivalent,
    )
    from numpy_rnn.conformance.gradients.check import check_gradients as check_gradients
else:
    MODULES = {"check_equivalent": "equivalence", "check_gradients": "gradients"}

    # At the first use: pytest imports this package in every run, to read the options of
    # plugin.py, and must not import NumPy for that (PEP 562).
    def __getattr__(name):
        if name not in MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        module = importlib.import_module(f"{__name__}.{MODULES[name]}.check")
        return getattr(module, name)
