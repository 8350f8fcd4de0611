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
    """A test for every dtype of the port."""
    metafunc.parametrize("dtype", metafunc.config.elman_suite.port.dtypes)


@pytest.fixture
def hold(pytestconfig, dtype):
    """Hold the port to a property, and turn what it found into one clear failure."""

    def check(property_of_port):
        held = pytestconfig.elman_suite
        chosen = profile(pytestconfig.getoption("elman_profile"))
        fault = None
        try:
            property_of_port(held.port, dtype, chosen, pytestconfig.getoption("elman_timeout"), held.tally)
        except (BoundExceeded, PortFault) as found:
            fault = str(found)
        if fault is not None:
            pytest.fail(fault, pytrace=False)

    return check


def test_local(hold):
    """Level L1: every stage within its own rounding."""
    hold(check_port_local)


def test_global(hold):
    """Level L2: loss, gradients and new parameters within the bound around the oracle's values."""
    hold(check_port_global)


def test_lockstep(hold):
    """Level L3: several updates in a row, each from where it really started."""
    hold(check_port_lockstep)
