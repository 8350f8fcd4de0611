"""Training loops: a right one gets no warning, a wrong one that of its name alone."""

import pytest

import torch_rnn
from tests.helpers.audited_loops import LOOPS, audited, expected_lines, source
from torch_rnn.loop_audit.mistakes import MISTAKES

pytestmark = [
    pytest.mark.needs_torch,
    pytest.mark.filterwarnings("ignore:`parameters` is an empty generator"),
    pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler"),
]


def test_every_mistake_has_a_loop():
    wrong = {name for name in LOOPS if not name.startswith("right_")}
    assert wrong == {name.replace("-", "_") for name in MISTAKES}


@pytest.mark.parametrize("name", LOOPS)
def test_warnings_are_those_of_the_name(name):
    report = audited(name)
    assert report.loop.record.error == ""
    names = {warning.name.replace("-", "_") for warning in report.warnings}
    assert names == (set() if name.startswith("right_") else {name})
    text = " ".join(str(report).split())
    assert [line for line in expected_lines(name) if line not in text] == []


RESET = "zeros, though the data go on from the previous window: 9"
ZEROS = "    h = torch.zeros(1, 1, 5)\n"
EPOCHS = "for _ in range(3):\n"
INDICES = "range(0, 40, 10)"
OTHER = """        other = nn.Linear(2, 1)
        nn.functional.mse_loss(other(x[t]), torch.ones(3, 1)).backward()
        torch.optim.SGD(other.parameters(), 0.1).step()
        if t %"""
SHUFFLED = "([0, 10, 20, 30], [20, 0, 30, 10], [10, 30, 0, 20])[_]"

LAST_ALONE = """range(3):
    h = torch.zeros(3, 4)
    for x in torch.randn(5, 3, 2):
        h = cell(x, h)
        loss = """
FIRST_TWO_UPDATES = """range(6):
    h = torch.zeros(3, 4)
    loss = 0
    for x in torch.randn(5, 3, 2):
        h = cell(x, h)
        loss = (loss if _ > 1 else 0) + """


@pytest.mark.parametrize(
    ("loop", "old", "new", "message"),
    [
        ("state_from_validation", "i % 4 == 3", "i % 2 == 1", "0 mistakes"),
        ("loss_in_no_update", LAST_ALONE, FIRST_TWO_UPDATES, "0 mistakes"),
        ("right_cells", "(x[t], h)", "(x[t], h.detach())", "[state-cut-within-update]"),
        ("right_cells", "        if t %", OTHER, "0 mistakes"),
        ("state_exchanged", "(c, h) = ", "(h, c) = ", "0 mistakes"),
        (
            "state_attached",
            "2), h)",
            "2) + h.sum(), h.detach())",
            "[state-attached]",
        ),
        ("state_attached", "2), h)", "2), h.detach())", "0 mistakes"),
        ("gradients_thrown_away", "3, 2)", "3, 2, requires_grad=True)", "0 mistakes"),
        (
            "clip_without_effect",
            "(rnn.p",
            "(nn.RNN(2, 5).p",
            "[clip-of-wrong-parameters]",
        ),
        ("right_chunks", "h.detach()", "None", RESET),
        ("right_chunks", EPOCHS + ZEROS, ZEROS[4:] + EPOCHS, "epoch, cut: 2"),
        ("right_chunks", INDICES, SHUFFLED, "[state-from-elsewhere]"),
    ],
)
def test_other_forms(loop, old, new, message):
    program = source(loop)
    assert old in program
    with torch_rnn.audit() as report:
        exec(program.replace(old, new), {})
    assert message in " ".join(str(report).split())
