"""DERIVATION.md against the code: ids in both directions, the table of places, the figure, the examples.

Every equation is computed in the reference and in the engine, by a line that carries its id. The sources are read as
text, so nothing here imports torch.
"""

import ast
import io
import re
import tokenize
from collections import Counter
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np

from numpy_rnn import Activations, Parameters, adjoints, bptt

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "numpy_rnn/DERIVATION.md").read_text(encoding="utf-8")
FOLDERS = ("numpy_rnn", "numpy_rnn/engine", "numpy_rnn/common", "torch_rnn")
FILES = [path for folder in FOLDERS for path in sorted((ROOT / folder).glob("*.py"))]
SCHEDULE = {"T1", "T2"}  # computed once for the reference and the engine
ID = re.compile(r"\(([A-Z][1-9][0-9]?)\)")


def comments(source):
    """(line number, whether code is before it on that line, its ids) of every comment with an id."""
    return [
        (token.start[0], bool(token.line[: token.start[1]].strip()), ids)
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT and (ids := ID.findall(token.string))
    ]


SOURCES = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in FILES}
COMMENTS = {name: comments(source) for name, source in SOURCES.items()}
DEFINED = Counter(re.findall(rf"\*\*{ID.pattern}\*\*", DOCUMENT))


def section(number):
    """The text between the heading with this number and the next heading."""
    return re.search(
        rf"^#+ {re.escape(number)} .*?\n(.*?)(?=^##|\Z)", DOCUMENT, re.DOTALL | re.MULTILINE
    )[1]


def table(text):
    """The cells of the rows of the one table in this text, without its head."""
    rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows[2:]]


def test_every_id_is_defined_once():
    """And the comments of both packages, torch's too, have no other ones."""
    assert [name for name, n in DEFINED.items() if n > 1] == []
    in_code = {found for comments in COMMENTS.values() for _, _, ids in comments for found in ids}
    assert set(ID.findall(DOCUMENT)) == set(DEFINED) >= in_code


def test_every_equation_is_computed_where_the_document_says():
    """The files and functions of the last table are those whose code lines carry the id: one of the reference, and one
    of the engine but for the schedule, which is computed once for both.
    """
    listed, found = set(), set()
    for name, _, by_hand, in_place in table(section("9.")):
        for cell, is_engine in ((by_hand, False), (in_place, True)):
            for path, functions in re.findall(r"`([\w/]+\.py)`((?: `\w+`,?)+)", cell):
                listed |= {
                    (ID.fullmatch(name)[1], path, function)
                    for function in re.findall(r"\w+", functions)
                }
                assert path.startswith("engine/") == is_engine, f"{name} is in the wrong column"
    for path, source in SOURCES.items():
        if path.startswith(("torch_rnn", "numpy_rnn/common")):
            continue
        functions = [
            node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)
        ]
        for number, _, ids in COMMENTS[path]:
            around = [
                function
                for function in functions
                if function.lineno <= number <= function.end_lineno
            ]
            place = (
                max(around, key=lambda function: function.lineno).name if around else "no function"
            )
            found |= {(name, path.removeprefix("numpy_rnn/"), place) for name in ids}
    assert listed == found
    of_engine = {name for name, path, _ in found if path.startswith("engine/")}
    assert {name for name, path, _ in found if not path.startswith("engine/")} == set(DEFINED)
    assert set(DEFINED) - of_engine <= SCHEDULE


def test_snippet_finds_rounding_alone():
    """The one program of the document prints the largest error of a gradient: 45 eps are allowed."""
    [code] = re.findall(r"^```python\n(.*?)^```$", DOCUMENT, re.DOTALL | re.MULTILINE)
    with redirect_stdout(io.StringIO()) as output:
        exec(compile(code, "DERIVATION.md", "exec"), {})
    assert float(output.getvalue()) < 1e-14


# -- the examples of the document -----------------------------------------------------------------------------------


def test_numbers_of_the_worked_example():
    """Section 4.1: two steps by hand, with relu."""
    x, one = np.ones((2, 1, 1)), np.ones((1, 1))
    states, target = (np.array(steps, float).reshape(-1, 1, 1) for steps in ([1, 3, 7], [2, 6]))
    params = Parameters(one, 2 * one, one)
    window = Activations(x, states[1:], states, states[1:]), target
    found = {
        name: v.ravel().tolist()
        for name, v in adjoints(params, *window, nonlinearity="relu")._asdict().items()
    }
    assert found == {"dy": [1, 1], "dh": [3, 1], "da": [3, 1], "dx": [3, 1], "dh_0": [6]}
    gradients = bptt(params._replace(h_0=one), *window, nonlinearity="relu")
    assert (gradients.W_hh, gradients.h_0) == (6, 6)
