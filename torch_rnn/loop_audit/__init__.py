"""The computation of a PyTorch training loop, observed while it runs."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from numpy_rnn.common.numbers import checked_integer

if TYPE_CHECKING:
    from torch_rnn.loop_audit.audit_report import LoopReport


@contextmanager
def audit(
    updates: int = 200, ignore: str | Collection[str] = ()
) -> Iterator[LoopReport]:
    """Watch the training loops of a `with` block.

    Parameters
    ----------
    updates
        Number of steps of optimizers that are recorded. Later ones are counted. Updates
        by hand are not limited, but all events are, to 100,000.
    ignore
        Name of a warning that is switched off, or several names.

    Yields
    ------
    LoopReport
        The report, complete when the block ends. An exception of the block is not
        suppressed.

    Raises
    ------
    InputError
        If `updates` is no integer of 1 or more, a name is unknown, or another audit
        is running.
    """
    # Here, as what is private in torch may change, and torch_rnn imports this module.
    from torch_rnn.loop_audit.audit_report import LoopReport
    from torch_rnn.loop_audit.recorder import LoopRecorder

    recorder = LoopRecorder(checked_integer("updates", updates, 1))
    names = [ignore] if isinstance(ignore, str) else ignore
    report = LoopReport(recorder.record, names)
    try:
        recorder.start()
        yield report
    finally:
        recorder.stop()
