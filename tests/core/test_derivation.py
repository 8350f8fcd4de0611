"""DERIVATION.md against the code: ids in both directions, and the examples.

Every equation is computed in the reference and in the engine, by a line that carries
its id. The sources are read as text, so nothing here imports torch.
"""

import io
import re
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from tests.helpers.derivation import DEFINED, DOCUMENT, ID

ROOT = Path(__file__).parents[2]
# Equations that a folder leaves to another one.
ELSEWHERE = {
    "numpy_rnn": set(),
    "numpy_rnn/engine": {"T1", "T2"},  # the windows are shared
    "torch_rnn": {f"B{n}" for n in range(1, 11)},  # by autograd
}


def test_every_id_is_defined_once():
    assert sorted(DEFINED) == sorted(set(ID.findall(DOCUMENT)))


@pytest.mark.parametrize("folder", ELSEWHERE)
def test_every_equation_is_computed_by_a_line_with_its_id(folder):
    found = set()
    for path in (ROOT / folder).glob("*.py"):
        code = path.read_text(encoding="utf-8")
        for comment in re.findall(r"^ *[^# ].*  # (.*)$", code, re.MULTILINE):
            found |= {*ID.findall(comment)}
    assert found == {*DEFINED} - ELSEWHERE[folder]


def test_program_of_the_document_finds_rounding_alone():
    """It prints the largest error of a gradient: 45 eps are allowed."""
    [code] = re.findall(r"^```python\n(.*?)^```$", DOCUMENT, re.DOTALL | re.MULTILINE)
    with redirect_stdout(io.StringIO()) as output:
        exec(compile(code, "DERIVATION.md", "exec"), {})
    assert float(output.getvalue()) < 1e-14
