"""Training loops: a right one gets no warning, a wrong one that of its name alone."""

import pytest

import torch_rnn
from tests.helpers.audited_loops import LOOPS, audited, expected_lines, source
from torch_rnn.loop_audit.mistakes import NAMES

pytestmark = [
    pytest.mark.needs_torch,
    pytest.mark.filterwarnings("ignore:`parameters` is an empty generator"),
    pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler"),
]


def test_every_mistake_has_a_loop():
    wrong = {name for name in LOOPS if not name.startswith("right_")}
    assert wrong == {name.replace("-", "_") for name in NAMES}


@pytest.mark.parametrize("name", LOOPS)
def test_warnings_are_those_of_the_name(name):
    report = audited(name)
    assert report.run.record.error == ""
    names = {warning.name.replace("-", "_") for warning in report.warnings}
    assert names == {name} - {each for each in LOOPS if each.startswith("right_")}
    text = " ".join(str(report).split())
    assert [line for line in expected_lines(name) if line not in text] == []


CLIP = "nn.utils.clip_grad_norm_(rnn.parameters(), 1.0)"
BIAS = "nn.utils.clip_grad_norm_([rnn.bias_hh_l0]"


@pytest.mark.parametrize(
    ("loop", "old", "new", "message"),
    [
        ("right_cells", "(x[t], h)", "(x[t], h.detach())", "cut between steps"),
        ("state_exchanged", "(c, h) = ", "(h, c) = ", "0 mistakes"),
        (
            "state_attached",
            "2), h)",
            "2) + h.sum(), h.detach())",
            "the input or a part",
        ),
        ("state_attached", "2), h)", "2), h.detach())", "0 mistakes"),
        ("gradients_thrown_away", "3, 2)", "3, 2, requires_grad=True)", "0 mistakes"),
        ("clip_without_effect", "(rnn.p", "(nn.RNN(2, 5).p", "that an update changes"),
        ("right_chunks", CLIP, f"{BIAS}, 1.0)\n        {BIAS}, 1.0)", "clipped twice"),
    ],
)
def test_other_forms(loop, old, new, message):
    program = source(loop)
    assert old in program
    with torch_rnn.audit() as report:
        exec(program.replace(old, new), {})
    assert message in " ".join(str(report).split())
