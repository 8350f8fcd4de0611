"""Training loops of many styles, of this project and of public code: what audit says about each of them.

A right loop gets no warning, and a loop with one mistake gets that warning alone. The tests of the records and of the
gradient are in test_audit_records.py, those of the command in test_audit_command.py.
"""

import re

import pytest
from sections import LOOPS, SOURCES, Counted, audited, lines_of

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
        source = SOURCES["only_the_last_loss"].replace(
            "mse_loss(fc(h), torch.randn(6, 1))", f"{name}({arguments})"
        )
        assert {warning.kind for warning in audited(source)[0].warnings} == kinds, name


@pytest.mark.parametrize("loop", LOOPS, ids=[loop.name for loop in LOOPS])
def test_report_is_true_and_warns_of_mistakes_only(loop):
    """Each line: those about passes and plain updates are what torch's hooks count, the others are in loops.txt."""
    with Counted() as counted:
        report, error, _ = audited.__wrapped__(loop.source)
    kinds = [warning.kind for warning in report.warnings]
    assert kinds == ([] if loop.kind == "right" else [loop.kind])
    assert type(error) is (RuntimeError if "RuntimeError" in loop.lines else type(None))
    lines, passes = (
        lines_of(report),
        [line for each in counted.passes for line in counted.passes_of(each)],
    )
    assert [line for line in passes if line not in lines] == []
    plain = {line for each in counted.steps for line in counted.steps_of(each)} | {
        "no warnings",
        *passes,
    }
    assert [line for line in lines if line not in plain] == [
        line for line in loop.lines if line != "RuntimeError"
    ]
    networks, updated = (
        report.contents()["networks"],
        sum(bool(net.updates) for net in report.networks),
    )
    for fact in (r"\d+ updates? by ", "gradient: ", "clipping: "):
        assert sum(bool(re.match(fact, line)) for line in lines) == updated
    for net, found in zip(networks, counted.passes.values()):
        assert {
            (each["steps"], each["batch"], each["gradient"]): each["count"]
            for each in net["passes"]
        } == found
        assert net["truncation"].startswith(
            "TBPTT({}, {})".format(*net["tbptt"]) if net["tbptt"] else tuple("ctneg")
        )
    source = loop.source.splitlines()
    for file, line in re.findall(r"([\w/.]+\.py):(\d+)", str(report)):
        assert file == "loop.py"
        assert source[int(line) - 1].strip()
