"""Training loops of many styles: a right one gets no warning, a mistake gets that
alone.
"""

import re
from collections import Counter

import pytest
from sections import LOOPS, SOURCES, audited, audited_anew
from torch.nn.modules.module import register_module_forward_hook
from torch.nn.modules.rnn import RNNBase, RNNCellBase
from torch.optim.optimizer import register_optimizer_step_post_hook

from torch_rnn.loop_audit.audit_report import MISTAKES
from torch_rnn.loop_audit.recorder import LOSSES, SAME_SHAPE

pytestmark = [
    pytest.mark.needs_torch,
    pytest.mark.filterwarnings("ignore:Using a target size"),
    pytest.mark.filterwarnings("ignore:`parameters` is an empty generator"),
]


def test_every_warning_has_a_loop():
    assert {loop.kind for loop in LOOPS} == {"right", *MISTAKES}


@pytest.mark.parametrize("loop", LOOPS, ids=[loop.name for loop in LOOPS])
def test_report_warns_of_mistakes_only(loop):
    report, error, _ = audited(loop.source)
    is_error = any("makes backward() fail" in part for part in loop.parts)
    assert type(error) is (RuntimeError if is_error else type(None)), error
    kinds = [warning.kind for warning in report.warnings]
    assert set(kinds) == ({loop.kind} - {"right"})
    assert report._watch.error == ""
    text = " ".join(str(report).split())
    assert [part for part in loop.parts if part not in text] == []
    source = loop.source.splitlines()
    for line in re.findall(r"\(loop\.py:(\d+)|at loop\.py:(\d+)", text):
        assert source[int("".join(line)) - 1].strip()


@pytest.mark.parametrize("loop", LOOPS, ids=[loop.name for loop in LOOPS])
def test_report_is_short(loop):
    """At most 12 lines for one module and one optimizer, of at most 100 characters."""
    report = audited(loop.source)[0]
    lines = str(report).splitlines()
    assert max(map(len, lines)) <= 100
    if len(report.modules) < 2 and len(report._watch.optimizers) < 2:
        assert len(lines) <= 12
    is_first = ("warning: ", "no warnings", "no update was seen")
    assert lines[0].startswith(is_first)
    assert not re.search(r"\b(none$|none seen|0 of 0)\b", str(report))


@pytest.mark.parametrize("name", [loop.name for loop in LOOPS if loop.kind == "right"])
def test_counts_are_those_of_the_hooks_of_torch(name):
    """Passes by module, and steps."""
    passes, steps = Counter(), Counter()

    def forward(module, inputs, output):
        if isinstance(module, RNNBase | RNNCellBase) and name != "torch_func":
            passes[module] += 1

    def step(optimizer, *_):
        if not hasattr(optimizer, "base_optimizer"):  # whose step is an update
            steps.update([optimizer])

    hooks = [
        register_module_forward_hook(forward),
        register_optimizer_step_post_hook(step),
    ]
    try:
        report, *_ = audited_anew(SOURCES[name])
    finally:
        for hook in hooks:
            hook.remove()
    assert [net.passes.total() for net in report.modules] == list(passes.values())
    by_optimizer = [len(record.updates) for record in report._watch.optimizers]
    assert sorted(filter(None, by_optimizer)) == sorted(steps.values())


ADAM = "optimizer = torch.optim.Adam([*cell.parameters(), *fc.parameters()])"


@pytest.mark.parametrize(
    ("lines", "kinds"),
    [
        ([ADAM.replace("Adam", "RMSprop")], ["made anew"]),
        (
            [ADAM.replace("Adam", "SGD").replace("])", "], 0.01, momentum=0.9)")],
            ["made anew"],
        ),
        ([ADAM.replace("Adam", "SGD")], []),
        (
            [
                "state = optimizer.state_dict()",
                ADAM,
                "optimizer.load_state_dict(state)",
            ],
            [],
        ),
        (["kept.append(optimizer)", ADAM], []),
        (["[p.data.zero_() for p in fc.parameters()]", ADAM], []),
        (
            [
                "cell.weight_ih.data.zero_()",
                "loss = fc(cell(x[0])).square().sum()",
                ADAM,
            ],
            [],
        ),
        ([ADAM.replace("Adam", "ASGD")], []),
        ([ADAM.replace("])", ", nn.UninitializedParameter()])")], ["made anew"]),
        (
            [
                "fc.load_state_dict(fc.state_dict())",
                "loss = fc(h).square().sum()",
                ADAM,
            ],
            [],
        ),
        (
            [
                "cell, fc = nn.GRUCell(2, 4), nn.Linear(4, 1)",
                "loss = fc(cell(x[0])).sum()",
                ADAM,
            ],
            [],
        ),
        ([f"if epoch < 2: {ADAM}"], []),  # no more than half of the updates
    ],
)
def test_optimizer_is_made_anew(lines, kinds):
    """Before each update: a mistake if its moments are lost while the weights go on."""
    update = "            update(optimizer, loss)"
    before = "\n".join(" " * 12 + line for line in lines)
    source = SOURCES["cells"].replace(update, f"{before}\n{update}")
    report, error, _ = audited_anew(source.replace("for epoch", "kept = []\nfor epoch"))
    assert (error, [warning.kind for warning in report.warnings]) == (None, kinds)


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_is_looked_at(name):
    """Whether it reaches a backward pass, and the shapes of its arguments."""
    arguments = {
        "cross_entropy": "h, torch.zeros(3, dtype=int)",
        "nll_loss": "h.log_softmax(1), torch.zeros(3, dtype=int)",
        "kl_div": "h.log_softmax(1), torch.ones(3, 4) / 4, reduction='batchmean'",
        "binary_cross_entropy": "fc(h).sigmoid(), torch.ones(3, 1)",
        "binary_cross_entropy_with_logits": "fc(h), torch.ones(3, 1)",
        "ctc_loss": (
            "h.log_softmax(1)[:, None], torch.ones(1, 2, dtype=int), (3,), (2,)"
        ),
    }
    call = f"F.{name}({arguments.get(name, 'fc(h), torch.ones(3)')})"
    source = SOURCES["only_the_last_loss"].replace(
        "F.mse_loss(fc(h), x[t, :, :1].cos())", call
    )
    assert call in source
    kinds = {warning.kind for warning in audited(source)[0].warnings} - {
        "outside",
        "never changed",
    }
    shapes = {"shapes of the loss"} if name in SAME_SHAPE else set()
    assert kinds == {"losses overwritten"} | shapes
