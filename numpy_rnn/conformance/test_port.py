"""The suite itself: pytest --pyargs numpy_rnn.conformance --elman-backend
module:object
"""

from collections.abc import Callable

RunCheck = Callable[[], None]


def test_local(elman_check: RunCheck) -> None:
    """Level L1: every stage within its own rounding."""
    elman_check()


def test_global(elman_check: RunCheck) -> None:
    """Level L2: every result within what rounding allows of a whole window."""
    elman_check()


def test_lockstep(elman_check: RunCheck) -> None:
    """Level L3: several updates in a row, each checked from its actual start."""
    elman_check()


def test_large_outputs(elman_check: RunCheck) -> None:
    """Outputs of a cross-entropy whose exponentials overflow, at level L2."""
    elman_check()
