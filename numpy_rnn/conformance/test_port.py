"""The suite itself: pytest --pyargs numpy_rnn.conformance --elman-backend module:object"""

import pytest

from numpy_rnn.conformance.ports.protocol import PortFault
from numpy_rnn.conformance.properties import (
    BoundExceeded,
    check_port_global,
    check_port_local,
    check_port_lockstep,
    profile,
)


def pytest_generate_tests(metafunc):
    """Parametrize every test over the dtypes of the port."""
    metafunc.parametrize("dtype", metafunc.config.elman_suite.port.dtypes)


@pytest.fixture
def check(pytestconfig, dtype):
    """Check a property of the port; a failure is one line without a traceback."""

    def check_property(property_of_port):
        state = pytestconfig.elman_suite
        chosen = profile(pytestconfig.getoption("elman_profile"))
        fault = None
        try:
            property_of_port(state.port, dtype, chosen, pytestconfig.getoption("elman_timeout"), state.worst)
        except (BoundExceeded, PortFault) as error:
            fault = str(error)
        if fault is not None:
            pytest.fail(fault, pytrace=False)

    return check_property


def test_local(check):
    """Level L1: every stage within its own rounding."""
    check(check_port_local)


def test_global(check):
    """Level L2: loss, gradients and updated parameters within the bound around the oracle's values."""
    check(check_port_global)


def test_lockstep(check):
    """Level L3: several updates in a row, each checked from its actual start."""
    check(check_port_lockstep)
