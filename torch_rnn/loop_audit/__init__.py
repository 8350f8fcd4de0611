"""The computation of a PyTorch training loop, seen from its run: `torch_rnn.audit` and `python -m torch_rnn audit`."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from numpy_rnn.common.errors import check_integer

if TYPE_CHECKING:
    from torch_rnn.loop_audit.audit_report import Report


@contextmanager
def audit(updates: int = 200) -> Iterator["Report"]:
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
    from torch_rnn.loop_audit.audit_report import Report
    from torch_rnn.loop_audit.watch import Watch

    watch = Watch(check_integer("updates", updates, 1))
    watch.start()
    try:
        yield Report(watch)
    finally:
        watch.stop()
