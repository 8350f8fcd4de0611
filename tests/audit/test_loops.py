"""Training loops: a right one gets no warning, a wrong one that of its name alone."""

import pytest
from audited import LOOPS, audited, expected_lines

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
