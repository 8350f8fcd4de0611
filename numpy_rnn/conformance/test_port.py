"""The suite itself: pytest --pyargs numpy_rnn.conformance --elman-backend module:object"""

import pytest

from numpy_rnn.conformance.ports.protocol import PortFault
from numpy_rnn.conformance.properties import Violation, check_port, profile


def pytest_generate_tests(metafunc):
    """Parametrize every test over the dtypes of the port."""
    metafunc.parametrize("dtype", metafunc.config.elman_suite.port.dtypes)


@pytest.fixture
def check(request, dtype):
    """Check the port at a level; a failure is one line without a traceback."""

    def check_level(level):
        suite, option = request.config.elman_suite, request.config.getoption
        chosen = profile(option("elman_profile"), option("elman_examples"))
        fault = None
        try:
            check_port(level, suite.port, dtype, chosen, option("elman_timeout"), suite.worst, suite.replayed)
        except (Violation, PortFault) as error:
            fault = str(error)
        if fault is not None:
            suite.dump(request.node.name, level, dtype)
            pytest.fail(fault, pytrace=False)

    return check_level


def test_local(check):
    """Level L1: every stage within its own rounding."""
    check("L1")


def test_global(check):
    """Level L2: loss, gradients and updated parameters within the bound around the oracle's values."""
    check("L2")


def test_lockstep(check):
    """Level L3: several updates in a row, each checked from its actual start."""
    check("L3")
