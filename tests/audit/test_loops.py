"""Training loops: a right one gets no warning, a wrong one that of its name alone."""

import inspect

import pytest
import torch
from torch import nn

import torch_rnn
from tests.helpers.audited_loops import LOOPS, RIGHT_LOOPS, audited, source
from torch_rnn.loop_audit import states
from torch_rnn.loop_audit.events import Origin
from torch_rnn.loop_audit.findings import FINDINGS

pytestmark = [
    pytest.mark.needs_torch,
    pytest.mark.filterwarnings("ignore:`parameters` is an empty generator"),
    pytest.mark.filterwarnings("ignore:Using a target size"),
    pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler"),
]


@pytest.mark.parametrize("name", [*RIGHT_LOOPS, *FINDINGS])
def test_warnings_are_those_of_the_name(name):
    loop = name.replace("-", "_")
    report = audited(loop)
    assert report.loop.record.error == ""
    found = {w.name for w in (*report.warnings, *report.questions)}
    assert found == {name} - {*RIGHT_LOOPS}
    text = " ".join(str(report).split())
    _, *expected = inspect.getdoc(LOOPS[loop]).split("\n")
    assert [line for line in expected if line not in text] == []


ZEROS = "        h = torch.zeros(1, 1, 5)\n"
EPOCHS = "    for _ in range(3):\n"
INDICES = "range(0, 40, 10)"
OTHER = """            other = nn.Linear(2, 4)
            loss_of(other(x[t])).backward()
            torch.optim.SGD(other.parameters(), 0.1).step()
            if t %"""
SHARPNESS_AWARE = """
        with torch.no_grad():
            for p in rnn.parameters():
                p.add_(p.grad)
        optimizer.zero_grad()
        rnn(batch())[0].square().mean().backward()
        optimizer.step()"""
VALUE_OF_NEXT_STATE = """
        loss = rnn(batch()[:1], h.detach())[0].mean()
        (loss + out.square().mean())"""
SHUFFLED = "([0, 10, 20, 30], [20, 0, 30, 10], [10, 30, 0, 20])[_]"
CLIPPED = """nn.utils.clip_grad_norm_(rnn.parameters(), 1.0)
        out.square().mean().backward()
"""
PARTIAL_SUMS = """for _ in range(2):
            rnn(batch())[0].mean().backward()
            nn.utils.clip_grad_norm_(rnn.parameters(), 1.0)
"""
CLIPPED_BY_SEQUENCE = """sums = [torch.zeros_like(p) for p in rnn.parameters()]
        for sequence in batch().split(1, dim=1):
            optimizer.zero_grad()
            rnn(sequence)[0].square().mean().backward()
            nn.utils.clip_grad_norm_(rnn.parameters(), 1.0)
            for p, total in zip(rnn.parameters(), sums):
                total += p.grad
        for p, total in zip(rnn.parameters(), sums):
            p.grad = total
"""
BACKWARD_TWICE = """loss = out.square().mean()
        loss.backward(retain_graph=True)
        loss.backward()
"""
LAST_ALONE = """range(3):
        h = torch.zeros(3, 4)
        for x in batch():
            h = cell(x, h)
            loss = """
FIRST_UPDATES = """range(6):
        h = torch.zeros(3, 4)
        loss = 0
        for x in batch():
            h = cell(x, h)
            loss = (loss if _ > 1 else 0) + """
MOST_UPDATES = FIRST_UPDATES.replace("> 1", "> 3")
EVALUATED_BEFORE = """
            for mode in (torch.no_grad, torch.enable_grad):
                with mode():
                    loss = """
WITHOUT_BATCH = """
            results = rnn(series[i : i + 10, 0], h.detach()[:, 0])
            out, h = (result[:, None] for result in results)"""
LOSS = "nn.functional.mse_loss(out, target.expand_as(out))"
CHECKPOINT = """torch.utils.checkpoint.checkpoint(
                nn.functional.mse_loss, out, target.expand_as(out), use_reentrant=True
            )"""
VALIDATED = """        loss.backward()
            with torch.inference_mode():
                rnn(torch.ones(3, 1, 1), h.detach())
"""
REPLACED = """        loss.backward()
            with torch.no_grad():
                h = rnn(torch.ones(3, 1, 1))[1] if i == 20 else h
"""


@pytest.mark.parametrize(
    ("loop", "old", "new", "message"),
    [
        ("state_from_validation", "i % 4 == 3", "i % 2 == 1", "0 warnings"),
        ("loss_in_no_update", LAST_ALONE, FIRST_UPDATES, "0 warnings"),
        ("loss_in_no_update", LAST_ALONE, MOST_UPDATES, "[loss-in-no-update]"),
        ("right_cells", "(x[t], h)", "(x[t], h.detach())", "[state-cut-within-update]"),
        ("right_cells", "            if t %", OTHER, "0 warnings"),
        ("state_exchanged", "(c, h) = ", "(h, c) = ", "0 warnings"),
        (
            "state_attached",
            "(), h)",
            "() + h.sum(), h.detach())",
            "[state-attached]",
        ),
        ("state_attached", "(), h)", "(), h.detach())", "0 warnings"),
        (
            "gradients_thrown_away",
            "batch())",
            "batch().requires_grad_())",
            "0 warnings",
        ),
        (
            "gradients_thrown_away",
            "        optimizer.zero_grad()\n        optimizer.step()",
            SHARPNESS_AWARE,
            "0 warnings",
        ),
        (
            "clip_before_backward",
            "(rnn.p",
            "(nn.RNN(2, 5).p",
            "[clip-of-wrong-parameters]",
        ),
        ("clip_before_backward", CLIPPED, PARTIAL_SUMS, "[clip-before-backward]"),
        ("clip_before_backward", CLIPPED, CLIPPED_BY_SEQUENCE, "0 warnings"),
        ("clip_before_backward", CLIPPED, BACKWARD_TWICE, "[loss-used-twice]"),
        (
            "right_by_hand",
            "\n        out.square().mean()",
            VALUE_OF_NEXT_STATE,
            "0 warnings",
        ),
        ("right_chunks", INDICES, SHUFFLED, "[state-from-elsewhere]"),
        ("right_chunks", "\n            loss = ", EVALUATED_BEFORE, "0 warnings"),
        (
            "right_chunks",
            "\n            out, h = rnn(series[i : i + 10], h.detach())",
            WITHOUT_BATCH,
            "is: TBPTT(10, 10), batch of 1, carried, zeros at",
        ),
        (
            "right_chunks",
            "        loss.backward()\n",
            VALIDATED,
            "is: TBPTT(10, 10), batch of 1, carried, zeros at",
        ),
        ("state_attached", "range(4)", "range(2)", "[state-attached]"),
        (
            "right_chunks",
            "        loss.backward()\n",
            REPLACED,
            "[state-from-validation]",
        ),
        # which computes the loss again, by a backward pass within the outer one
        (
            "right_chunks",
            LOSS,
            CHECKPOINT,
            "in 12 of 12 updates, and is that of 1 backward pass, 12 in all.",
        ),
    ],
)
def test_other_forms(loop, old, new, message):
    with torch_rnn.audit() as report:
        exec(source(loop, old, new), {})
    assert message in " ".join(str(report).split())


CHUNK = "out, h = rnn(series[i : i + 10], h.detach())"
FROM_OLDER = """out, last = rnn(series[i : i + 10], (older if i > 10 else h).detach())
            older, h = h, last"""
LOOPS_OF_ORIGINS = {
    Origin.ZEROS: ("right_chunks", "", ""),
    Origin.ATTACHED: ("state_attached", "", ""),
    Origin.PREVIOUS: ("right_chunks", "", ""),
    Origin.INSIDE: ("right_sliding_window", "", ""),
    Origin.OLDER: ("right_chunks", CHUNK, FROM_OLDER),
    Origin.EPOCH: ("right_chunks", EPOCHS + ZEROS, ZEROS[4:] + EPOCHS),
    Origin.ELSEWHERE: ("state_from_elsewhere", "", ""),
    Origin.WITHOUT_GRADIENT: ("state_from_validation", "", ""),
    Origin.COMPUTED: ("right_chunks", "h.detach()", "nn.Parameter(h.detach())"),
    Origin.UNKNOWN: ("right_chunks", "h.detach()", "h.detach() + 1"),
}


@pytest.mark.parametrize("origin", Origin)
def test_origin_of_a_state_is_told(origin):
    with torch_rnn.audit() as report:
        exec(source(*LOOPS_OF_ORIGINS[origin]), {})
    states_of_passes = [forward.state for forward in report.loop.forwards]
    assert origin in {part.origin for state in states_of_passes for part in state}


def test_states_that_come_again_are_not_forgotten(monkeypatch):
    """The oldest ones are forgotten, not those that were first."""
    monkeypatch.setattr(states, "MAX_REMEMBERED", 3)  # a pass has 2 results
    rnn = nn.RNN(2, 5)
    first, second = torch.randn(2, 10, 1, 2)
    with torch_rnn.audit() as report:
        for x in (first, second, first):
            _, h = rnn(x)
        rnn(second, h.detach())
    assert report.loop.forwards[-1].state[0].origin is Origin.PREVIOUS


def test_order_of_data_is_known_through_an_embedding():
    old = "rnn(series[i : i + 10]"
    new = "rnn(nn.functional.embedding(places[i : i + 10], table)"
    table = torch.ones(40, 1, requires_grad=True)
    variables = {"places": torch.arange(40).reshape(40, 1), "table": table}
    with torch_rnn.audit() as report:
        exec(source("right_chunks", old, new), variables)
    assert "whether" not in str(report)


def test_loss_whose_second_backward_fails():
    program = source("loss_used_twice", "retain_graph=True")
    with pytest.raises(RuntimeError), torch_rnn.audit() as report:
        exec(program, {})
    assert [w.name for w in report.warnings] == ["loss-used-twice"]


@pytest.mark.parametrize("is_zeroed", [True, False])
def test_tensors_of_an_optimizer_are_parameters(is_zeroed):
    """Also those that are no nn.Parameter, as of a network from scratch."""
    with torch_rnn.audit() as report:
        weights = [torch.ones(2, requires_grad=True) for _ in range(2)]
        optimizer = torch.optim.SGD(weights, lr=0.1)
        for _ in range(4):
            if is_zeroed:
                optimizer.zero_grad()
            weights[0].square().sum().backward()
            optimizer.step()
    names = [warning.name for warning in report.warnings]
    assert names == ([] if is_zeroed else ["gradients-not-zeroed"])
    assert "1 parameter with no gradient or no step: Tensor (2,)" in str(report)
    assert "how the script has changed" not in str(report)


FAILED_BEFORE = """try:
                x = series[:4].clone().requires_grad_()
                x.register_hook(lambda _: 1 / 0)
                rnn(x)[0].mean().backward()
            except ZeroDivisionError:
                loss.backward()"""


def test_a_backward_that_fails_is_in_no_update():
    """It has changed gradients before it fails."""
    with torch_rnn.audit() as report:
        exec(source("right_chunks", "loss.backward()", FAILED_BEFORE), {})
    text = " ".join(str(report).split())
    assert "1 backward pass, 12 in all. Backward passes in no update: 12" in text
    assert "how the script has changed the gradients of 12 updates" in text
