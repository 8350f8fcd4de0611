"""The suite itself: pytest --pyargs numpy_rnn.conformance --elman-backend
module:object
"""

from typing import Any

import pytest


def test_port(pytestconfig: pytest.Config, level: str, dtype: str) -> None:
    """Check the port at one level, in one dtype.

    L1: every stage within its own rounding. L2: every result within what rounding
    allows of a whole window. L3: several updates in a row, each from its actual start.
    "large outputs": L2 of a cross-entropy whose exponentials overflow.
    """
    suite: Any = pytestconfig.pluginmanager.get_plugin("elman-suite")
    suite.check(level, dtype)
