"""DERIVATION.md against the code: ids in both directions, and the examples.

Every equation is computed in the reference and in the engine, by a line that carries
its id. The sources are read as text, so nothing here imports torch.
"""

import io
import re
from contextlib import redirect_stdout
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "numpy_rnn/DERIVATION.md").read_text(encoding="utf-8")
ID = re.compile(r"\(([A-Z][1-9][0-9]?)\)")
DEFINED = re.findall(rf"\*\*{ID.pattern}\*\*", DOCUMENT)
ELSEWHERE = {
    "numpy_rnn": set(),
    "numpy_rnn/engine": {"T1", "T2"},
}  # the windows are shared
ELSEWHERE["torch_rnn"] = {f"B{n}" for n in range(1, 11)}  # autograd's


def test_every_id_is_defined_once():
    assert sorted(DEFINED) == sorted(set(ID.findall(DOCUMENT)))


@pytest.mark.parametrize("folder", ELSEWHERE)
def test_every_equation_is_computed(folder):
    """By a line of code, whose comment has its id."""
    code = "".join(
        path.read_text(encoding="utf-8") for path in (ROOT / folder).glob("*.py")
    )
    comments = " ".join(re.findall(r"^ *[^# ].*  # (.*)$", code, re.MULTILINE))
    assert set(ID.findall(comments)) == set(DEFINED) - ELSEWHERE[folder]


def test_snippet_finds_rounding_alone():
    """The program of the document prints the largest error of a gradient: 45 eps are
    allowed.
    """
    [code] = re.findall(r"^```python\n(.*?)^```$", DOCUMENT, re.DOTALL | re.MULTILINE)
    with redirect_stdout(io.StringIO()) as output:
        exec(compile(code, "DERIVATION.md", "exec"), {})
    assert float(output.getvalue()) < 1e-14
