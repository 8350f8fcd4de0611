"""DERIVATION.md against the code: ids in both directions, the figure, the table of places, the snippet.

Every equation is computed in the reference and in the engine, by a line that carries its id. The sources are read as
text, so nothing here imports torch. The checks return the faults that they find; doctored texts check them in turn.
"""

import ast
import io
import re
import tokenize
from collections import Counter
from contextlib import redirect_stdout
from functools import cache
from pathlib import Path
from textwrap import indent

import numpy as np
import pytest

from numpy_rnn import Activations, Parameters, adjoints, bptt, direction, sgd, windows

ROOT = Path(__file__).parents[2]
DOCUMENT, OF_ENGINE = "numpy_rnn/DERIVATION.md", "numpy_rnn/engine/README.md"
FOLDERS = ("numpy_rnn", "numpy_rnn/engine", "numpy_rnn/common", "torch_rnn")
FILES = [ROOT / DOCUMENT, ROOT / OF_ENGINE, *(path for name in FOLDERS for path in sorted((ROOT / name).glob("*.py")))]
TEXTS = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in FILES}
IMPLEMENTATIONS = {"reference": "numpy_rnn", "engine": "numpy_rnn/engine"}  # the folders that compute all equations
SCHEDULE = "numpy_rnn/common/windows.py"  # shared by all implementations
ID = re.compile(r"\(([A-Z][1-9][0-9]?)\)")
MAX_ERROR = 1e-14  # the error allowed to the document's snippet: 45 eps

# -- reading --------------------------------------------------------------------------------------------------------


def sources(texts, *folders):
    """The Python files of these folders, and of all."""
    return {path: text for path, text in texts.items() if path.endswith(".py") and folder_of(path) in folders}


def folder_of(path):
    return path.rpartition("/")[0]


@cache  # of most sources, which no doctored copy changes
def comments(source):
    """(line number, whether code is before it on that line, its ids) of every comment with an id."""
    return [
        (token.start[0], bool(token.line[: token.start[1]].strip()), ids)
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT and (ids := ID.findall(token.string))
    ]


def ids_on_code_lines(source):
    return {name for _, is_after_code, ids in comments(source) for name in ids if is_after_code}


@cache
def docstrings(source):
    documented = ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef
    nodes = (node for node in ast.walk(ast.parse(source)) if isinstance(node, documented))
    return "\n".join(filter(None, map(ast.get_docstring, nodes)))


def section(document, number):
    """The text between the heading with this number and the next heading."""
    return re.search(rf"^#+ {re.escape(number)} .*?\n(.*?)(?=^##|\Z)", document, re.DOTALL | re.MULTILINE)[1]


def table(text):
    """The cells of the rows of the one table in this text, without its head."""
    rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows[2:]]


# -- checking -------------------------------------------------------------------------------------------------------


def id_faults(texts):
    """Where the ids of the document and those of the code differ."""
    defined = Counter(re.findall(rf"\*\*{ID.pattern}\*\*", texts[DOCUMENT]))
    faults = [f"({name}) is defined {n} times" for name, n in defined.items() if n > 1]
    faults += [f"({name}) is mentioned and not defined" for name in set(ID.findall(texts[DOCUMENT])) - set(defined)]
    schedule = ids_on_code_lines(texts[SCHEDULE])
    for which, folder in IMPLEMENTATIONS.items():
        missing = set(defined) - schedule.union(*map(ids_on_code_lines, sources(texts, folder).values()))
        faults += [f"({name}) is defined and no code line of the {which} carries it" for name in missing]
    for path, source in sources(texts, *FOLDERS).items():
        in_comments = {name for _, _, ids in comments(source) for name in ids}
        for where, ids in (("comment", in_comments), ("docstring", set(ID.findall(docstrings(source))))):
            faults += [f"({name}) is in a {where} of {path} and not defined" for name in ids - set(defined)]
        # A formula of a docstring is followed by its id, which ends the line. The loop states those of the schedule.
        formulas = set(re.findall(rf"\S[^\S\n]+{ID.pattern}\s*$", docstrings(source), re.MULTILINE))
        here = ids_on_code_lines(source) | (schedule if path.endswith("/tbptt.py") else set())
        faults += [f"({name}) ends a formula in {path} and no code line carries it" for name in formulas - here]
    return faults


def place_faults(texts):
    """Where the last table's files and functions differ from those whose code lines carry the id."""
    listed, found, faults = set(), set(), []
    for name, _, by_hand, in_place in table(section(texts[DOCUMENT], "9.")):
        for cell, is_engine in ((by_hand, False), (in_place, True)):
            for path, functions in re.findall(r"`([\w/]+\.py)`((?: `\w+`,?)+)", cell):
                listed |= {(ID.fullmatch(name)[1], path, function) for function in re.findall(r"\w+", functions)}
                faults += [] if path.startswith("engine/") == is_engine else [f"{name} is in the wrong column"]
    for path, source in ({SCHEDULE: texts[SCHEDULE]} | sources(texts, *IMPLEMENTATIONS.values())).items():
        functions = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)]
        for number, _, ids in comments(source):
            around = [function for function in functions if function.lineno <= number <= function.end_lineno]
            place = max(around, key=lambda function: function.lineno).name if around else "no function"
            found |= {(name, path.removeprefix("numpy_rnn/"), place) for name in ids}
    faults += [f"({name}) is not in {path} {function}" for name, path, function in listed - found]
    return faults + [f"({name}) is in {path} {function}, not listed" for name, path, function in found - listed]


def engine_faults(texts):
    """What the engine's document names or draws, and the code of the engine does not have."""
    document, engine = texts[OF_ENGINE], sources(texts, IMPLEMENTATIONS["engine"])
    code = "\n".join(engine.values())
    names = {name for name in re.findall(r"`([\w.]+)`", document) if not name.startswith("numpy_rnn.")}
    words = {word for name in names if not name.endswith(".py") for word in name.split(".")}
    faults = [f"not in the engine: {word}" for word in words if not re.search(rf"\b{word}\b", code)]
    files = {path.rpartition("/")[2] for path in engine} - {"__init__.py"}
    faults += [f"not linked once: {file}" for file in files if document.count(f"]({file})") != 1]
    [drawing] = re.findall(r"^(vector .*\n.*\n.*)$", document, re.MULTILINE)
    return faults + ([] if indent(drawing, "    ") in code else ["the drawings of the vector differ"])


def figure_faults(texts):
    """Where the figure of section 5 and the table below it differ from the schedule."""
    text = section(texts[DOCUMENT], "5.3")
    figure = re.search(r"^```\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)[1]
    steps = re.findall(r"^t = (\d)", figure, re.MULTILINE)
    pairs = [(int(k1), int(k2)) for k1, k2 in re.findall(r"\((\d), (\d)\)", figure)]
    drawn = [re.findall(r"([x.](?: [x.])+)  (\d)", line) for line in figure.splitlines() if line.startswith("t = ")]
    faults = [] if steps == list("123456") and len(pairs) == 5 else ["the figure is not T = 6, five times"]
    for column, ((k1, k2), row) in enumerate(zip(pairs, table(text), strict=True)):
        schedule = list(windows(len(steps), k1, k2))
        expected = [
            (" ".join("x" if window.start < s <= t else "." for s in range(1, len(steps) + 1)), str(number))
            for number, window in enumerate(schedule, start=1)
            for t in range(window.loss_start + 1, window.stop + 1)
        ]
        kept = sum(items.count("x") for items, _ in expected)
        listed = [f"({k1}, {k2})", ", ".join(f"({window.start}, {window.stop}]" for window in schedule), str(kept)]
        if [line[column] for line in drawn] != expected:
            faults.append(f"the mask of {(k1, k2)} is wrong")
        if [row[0], *row[2:]] != listed:
            faults.append(f"the table's row of {(k1, k2)} is wrong")
    return faults


def snippet_faults(texts):
    """Whether the error that the one program of the document prints is more than rounding."""
    [code] = re.findall(r"^```python\n(.*?)^```$", texts[DOCUMENT], re.DOTALL | re.MULTILINE)
    with redirect_stdout(io.StringIO()) as output:
        exec(compile(code, DOCUMENT, "exec"), {})
    return [] if float(output.getvalue()) < MAX_ERROR else ["the snippet finds the gradient wrong"]


@pytest.mark.parametrize("check", [id_faults, place_faults, engine_faults, figure_faults, snippet_faults])
def test_the_documents_agree_with_the_code(check):
    assert check(TEXTS) == []


FAULTY = [  # (check, beginning of the files' names, a text there, or "" for the end, the new text, faults)
    (id_faults, DOCUMENT, "**(B5)**", "(B5)",
     {"(B5) is in a comment of numpy_rnn/bptt.py and not defined", "(B5) is mentioned and not defined"}),
    (id_faults, DOCUMENT, "", "\n**(B2)**", {"(B2) is defined 2 times"}),
    (id_faults, "numpy_rnn/sgd.py", "", "\nx = 1  # (U99)\n",
     {"(U99) is in a comment of numpy_rnn/sgd.py and not defined"}),
    (id_faults, "numpy_rnn/sgd.py", "  # (U1)", "\n    # (U1)",
     {"(U1) is defined and no code line of the reference carries it"}),
    (id_faults, "torch_rnn/bptt.py", "", '\ndef f():\n    """By (B11)."""\n',
     {"(B11) is in a docstring of torch_rnn/bptt.py and not defined"}),
    (id_faults, "torch_rnn/tbptt.py", "# (T3)", "#",
     {"(T3) ends a formula in torch_rnn/tbptt.py and no code line carries it"}),
    (id_faults, "numpy_rnn/engine/", "(B4)", "", {"(B4) is defined and no code line of the engine carries it"}),
    (place_faults, DOCUMENT, "`sgd.py` `sgd_step`", "`sgd.py` `step`",
     {"(U1) is not in sgd.py step", "(U1) is in sgd.py sgd_step, not listed"}),
    (place_faults, DOCUMENT, "| `sgd.py` `sgd_step`", "| `engine/sgd.py` `sgd_step`", {"(U1) is in the wrong column"}),
    (engine_faults, OF_ENGINE, "`Tape.load`", "`Tape.move`", {"not in the engine: move"}),
    (engine_faults, OF_ENGINE, "|  b_h  H  |", "|  b_h  B  |", {"the drawings of the vector differ"}),
    (engine_faults, OF_ENGINE, "](loop.py)", "](loops.py)", {"not linked once: loop.py"}),
    (figure_faults, DOCUMENT, "x x . . . .  1 ", ". x . . . .  1 ", {"the mask of (2, 2) is wrong"}),
    (figure_faults, DOCUMENT, "(0, 2], (0, 4], (2, 6] | 17", "(0, 2], (0, 4], (2, 6] | 18",
     {"the table's row of (2, 4) is wrong"}),
    (snippet_faults, DOCUMENT, "moved.W_hh[i, j]", "moved.W_hh[j, i]", {"the snippet finds the gradient wrong"}),
]  # fmt: skip


@pytest.mark.parametrize(("check", "where", "old", "new", "expected"), FAULTY)
def test_faulty_texts_are_reported(check, where, old, new, expected):
    changed = {
        name: (text.replace(old, new) if old else text + new) if name.startswith(where) else text
        for name, text in TEXTS.items()
    }
    assert changed != TEXTS
    assert expected <= set(check(changed))


# -- the examples of the document -----------------------------------------------------------------------------------


def test_numbers_of_the_worked_example():
    """Section 4.1: two steps by hand, with relu."""
    x, one = np.ones((2, 1, 1)), np.ones((1, 1))
    states, target = (np.array(steps, float).reshape(-1, 1, 1) for steps in ([1, 3, 7], [2, 6]))
    params = Parameters(one, 2 * one, one)
    window = Activations(x, states[1:], states, states[1:]), target
    found = {name: v.ravel().tolist() for name, v in adjoints(params, *window, nonlinearity="relu")._asdict().items()}
    assert found == {"dy": [1, 1], "dh": [3, 1], "da": [3, 1], "dx": [3, 1], "dh_0": [6]}
    gradients = bptt(params._replace(h_0=one), *window, nonlinearity="relu")
    assert (gradients.W_hh, gradients.h_0) == (6, 6)

    def loss(h_0):  # of the paragraph's h_1 and h_2, as functions of h_0
        return ((1 + 2 * h_0 - 2) ** 2 + (3 + 4 * h_0 - 6) ** 2) / 2

    assert loss(2) - loss(0) == 2 * 6  # of a parabola, the central difference is the derivative
    assert loss(1) == 1


QUARTER, HALF, DECAY = 0.25, 0.5, 0.125  # η, μ and λ: powers of two, so that a few steps round nothing


def descend(steps=6, **options):
    """θ and v after each step of descent on the loss Σ θ²/2, whose gradient is θ, by `direction` and `sgd`."""
    params, v = Parameters(*(np.array([[value]]) for value in (1.0, -3.0, 2.0))), None
    for _ in range(steps):
        s, v = direction(params, params, v, **options)
        params = sgd(params, s, QUARTER)
        yield params.W_xh.item(), v and v.W_xh.item()


def test_momentum_and_weight_decay_are_those_of_section_6():
    theta, u = 1.0, 0.0  # as in the papers, with the rate outside: u ← μu − ηd, θ ← θ + u, and u = −ηv
    for found in descend(momentum=HALF):
        u = HALF * u - QUARTER * theta
        theta += u
        assert found == (theta, -u / QUARTER)
    theta, v = 1.0, 0.0  # Nesterov: v ← μv + d at ψ = θ − ημv, θ ← θ − ηv; the parameters are ψ, which looks ahead
    for found in descend(momentum=HALF, nesterov=True):
        v = HALF * v + (theta - QUARTER * HALF * v)
        theta -= QUARTER * v
        assert found == (theta - QUARTER * HALF * v, v)
    one, v = Parameters(*np.ones((3, 1, 1))), None
    for _ in range(6):  # dampening τ = μ is an average: the weights sum to 1, so equal d have v = d from the first on
        _, v = direction(one, one, v, momentum=HALF, dampening=HALF)
        assert v[:3] == (1, 1, 1)
    s, _ = direction(one, Parameters(*np.zeros((3, 1, 1))), weight_decay=DECAY)
    assert sgd(one, s, QUARTER)[:3] == (1 - QUARTER * DECAY,) * 3  # θ ← (1 − ηλ)θ
