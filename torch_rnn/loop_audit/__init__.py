"""What a PyTorch training loop computes, seen from its run: `torch_rnn.audit` and `python -m torch_rnn audit`.

places.py           file and line of a call
watch.py            hooks and patches: forward passes, gradients, steps → `Network`
data_evidence.py    what the data say: windows that continue each other, shuffling, swapped axes
loop_windows.py     the windows of an update
records.py          what is recorded: Pass, Window, Update, Network
gradient_check.py   the gradient by hand, and the SGD step, within their rounding bounds
loop_warnings.py    what is probably not meant
audit_report.py     the report: text, JSON, assertions
loop_trace.py       the trace of an audited loop
audit_command.py    the command line
"""

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch_rnn.loop_audit.audit_report import Report


def audit(updates: int = 200) -> "AbstractContextManager[Report]":
    """Watch the training loops of a `with` block: of any network with nn.RNN, nn.LSTM, nn.GRU or a cell of them.

        with torch_rnn.audit() as report:
            train(model)
        report.assert_tbptt(k1=25, k2=25)
        report.assert_correct()
        print(report)

    updates: how many are watched; the hooks are removed after them. The report has `updates`, `warnings` and
    `networks`, and is complete when the block ends. An exception of the block is not suppressed.

    Raises InputError if updates is not a whole number, 1 or more.
    """
    from torch_rnn.loop_audit.audit_report import watched

    return watched(updates)
