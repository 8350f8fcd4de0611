"""Training loops of many styles, of this project and of public code: what audit says about each of them.

A right loop gets no warning, and a loop with one mistake gets that warning alone. The tests of the records and of the
gradient are in test_audit_records.py, those of the command in test_audit_command.py.
"""

import re

import pytest
from sections import LOOPS, SOURCES, audited

from torch_rnn.loop_audit.loop_warnings import MISTAKES
from torch_rnn.loop_audit.loss_evidence import LOSSES

pytestmark = pytest.mark.needs_torch


def test_every_warning_has_a_loop():
    assert {loop.kind for loop in LOOPS} == {"right", *MISTAKES}


@pytest.mark.filterwarnings("ignore:Using a target size")
def test_every_loss_is_looked_at():
    """Whether it reaches a backward pass, its shapes, and a sigmoid before it."""
    for name in LOSSES:
        kinds, arguments = {"losses overwritten"}, "fc(h).sigmoid(), torch.ones(6, 1)"
        if name in ("cross_entropy", "nll_loss"):
            arguments = "torch.cat((fc(h), h), 1), torch.zeros(6, dtype=int)"
        elif not name.startswith("binary"):
            kinds, arguments = kinds | {"shapes of the loss"}, "fc(h), torch.ones(6)"
        elif name.endswith("logits"):
            kinds |= {"softmax"}
        source = SOURCES["only_the_last_loss"].replace("mse_loss(fc(h), torch.randn(6, 1))", f"{name}({arguments})")
        assert {warning.kind for warning in audited(source)[0].warnings} == kinds, name


@pytest.mark.parametrize("loop", LOOPS, ids=[loop.name for loop in LOOPS])
def test_report_is_true_and_warns_of_mistakes_only(loop):
    report, error, _ = audited(loop.source)
    kinds = [warning.kind for warning in report.warnings]
    assert kinds == ([] if loop.kind == "right" else [loop.kind])
    text = "\n".join([str(report), type(error).__name__])
    assert [line for line in loop.lines if line not in text] == []
    assert error is None or "RuntimeError" in loop.lines
    assert "differ" not in text or loop.kind in ("input changed", "gradient differs", "step differs")
    source = loop.source.splitlines()
    for file, line in re.findall(r"([\w/.]+\.py):(\d+)", text):
        assert file == "loop.py"
        assert source[int(line) - 1].strip()
