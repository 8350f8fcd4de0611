"""The suite itself: pytest --pyargs numpy_rnn.conformance --elman-backend
module:object
"""

from collections.abc import Callable


def test_port(elman_check: Callable[[], None]) -> None:
    """Check the port at one level, in one dtype.

    L1: every stage within its own rounding. L2: every result within what rounding
    allows of a whole window. L3: several updates in a row, each from its actual start.
    """
    elman_check()
