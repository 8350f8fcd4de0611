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
    updates: int = 200, ignore: str | Collection[str] = (), expect: str | None = None
) -> Iterator[LoopReport]:
    """Watch the training loops of a `with` block.

    Parameters
    ----------
    updates
        Number of updates that are recorded. Later ones are counted. Updates by hand are
        not limited, but all events are, to 100,000.
    ignore
        Name of a warning or question that is switched off, or several names.
    expect
        What the loop is meant to be, such as "TBPTT(20, 20), carried": parts of the
        line at the end of a report.

    Yields
    ------
    LoopReport
        The report, complete when the block ends. An exception of the block is not
        suppressed. One of autograd gets a note that explains it.

    Raises
    ------
    InputError
        If `updates` is no integer of 1 or more, a name or a part of `expect` is
        unknown, or another audit is running.
    AssertionError
        At the end of the block, if the loop differs from `expect`, or has a warning. It
        has the report.
    """
    # Here, as what is private in torch may change, and torch_rnn imports this module.
    from torch_rnn.loop_audit.audit_report import LoopReport
    from torch_rnn.loop_audit.explanation import explain
    from torch_rnn.loop_audit.recorder import LoopRecorder

    recorder = LoopRecorder(checked_integer("updates", updates, 1))
    names = [ignore] if isinstance(ignore, str) else ignore
    report = LoopReport(recorder.record, names, expect)
    try:
        recorder.start()
        yield report
    except Exception as error:
        recorder.stop()
        explain(error, report.loop)
        raise
    finally:
        recorder.stop()
    if not report.is_as_expected:
        raise AssertionError(f"the loop is not as expected\n{report}")
