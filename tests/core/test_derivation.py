"""DERIVATION.md against the code: ids in both directions, and the examples.

Every equation is computed in the reference and in the engine, by a line that carries
its id. The sources are read as text, so nothing here imports torch.
"""

import io
import re
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pytest

from numpy_rnn import Activations, Parameters, adjoints, bptt

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


def test_numbers_of_the_worked_example():
    """Section 4.1: two steps by hand, with relu."""
    one, numbers = np.ones((1, 1)), np.array([[1, 1], [3, 7], [2, 6]], float)
    x, h, target = numbers[..., None, None]
    activations = Activations(x, h, np.concatenate((x[:1], h)), h)
    window = Parameters(one, 2 * one, one), activations, target
    flow = adjoints(*window, nonlinearity="relu")._asdict()
    found = {name: v.ravel().tolist() for name, v in flow.items()}
    assert found == {
        "dy": [1, 1],
        "dh": [3, 1],
        "da": [3, 1],
        "dx": [3, 1],
        "dh_0": [6],
    }
    assert bptt(*window, nonlinearity="relu").W_hh == 6
