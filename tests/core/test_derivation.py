"""DERIVATION.md against the code: ids in both directions, the figure, the table of places, the snippet.

Every equation is computed in the reference and in the engine, by a line that carries its id. The sources are read as
text, so nothing here imports torch. The checks return the faults that they find; doctored texts check them in turn.
"""

import ast
import re
from collections import Counter
from textwrap import indent

import derivation_reader as reader
import numpy as np
import pytest
from derivation_reader import DOCUMENT, OF_ENGINE, SOURCES

from numpy_rnn import Activations, Parameters, adjoints, bptt, direction, sgd, windows

# -- checking -------------------------------------------------------------------------------------------------------


def id_faults(document, sources):
    """Where the ids of the document and those of the code differ."""
    defined = Counter(reader.DEFINITION.findall(document))
    faults = [f"({name}) is defined {n} times" for name, n in defined.items() if n > 1]
    faults += [f"({name}) is mentioned and not defined" for name in set(reader.ID.findall(document)) - set(defined)]
    for which, folder in reader.IMPLEMENTATIONS.items():
        missing = set(defined) - reader.carried(sources, folder)
        faults += [f"({name}) is defined and no code line of the {which} carries it" for name in missing]
    for path, source in sources.items():
        for where, ids in (
            ("comment", reader.ids_in_comments(source)),
            ("docstring", reader.ids_in_docstrings(source)),
        ):
            faults += [f"({name}) is in a {where} of {path} and not defined" for name in ids - set(defined)]
        here = {name for file in reader.computed_in(path) for name in reader.ids_on_code_lines(sources[file])}
        faults += [
            f"({name}) ends a formula in {path} and no code line carries it"
            for name in sorted(reader.ids_of_formulas(source) - here)
        ]
    return faults


def place_faults(document, sources):
    """Where the last table's files and functions differ from those whose code lines carry the id."""
    listed, found, faults = set(), set(), []
    for name, _, by_hand, in_place in reader.table(reader.section(document, "9.")):
        for cell, is_engine in ((by_hand, False), (in_place, True)):
            for path, functions in re.findall(r"`([\w/]+\.py)`((?: `\w+`,?)+)", cell):
                listed |= {(reader.ID.fullmatch(name)[1], path, function) for function in re.findall(r"\w+", functions)}
                faults += [] if path.startswith("engine/") == is_engine else [f"{name} is in the wrong column"]
    for path in filter(reader.computes, sources):
        functions = [node for node in ast.walk(ast.parse(sources[path])) if isinstance(node, ast.FunctionDef)]
        for number, _, ids in reader.comments(sources[path]):
            around = [function for function in functions if function.lineno <= number <= function.end_lineno]
            place = max(around, key=lambda function: function.lineno).name if around else "no function"
            found |= {(name, path.removeprefix("numpy_rnn/"), place) for name in ids}
    faults += [f"({name}) is not in {path} {function}" for name, path, function in listed - found]
    return faults + [f"({name}) is in {path} {function}, not listed" for name, path, function in found - listed]


def engine_faults(document, sources):
    """What the engine's document names or draws, and the code of the engine does not have."""
    folder = reader.IMPLEMENTATIONS["engine"]
    engine = {path: source for path, source in sources.items() if reader.folder_of(path) == folder}
    code = "\n".join(engine.values())
    names = {name for name in re.findall(r"`([\w.]+)`", document) if not name.startswith("numpy_rnn.")}
    words = {word for name in names if not name.endswith(".py") for word in name.split(".")}
    faults = [f"not in the engine: {word}" for word in words if not re.search(rf"\b{word}\b", code)]
    files = {path.rpartition("/")[2] for path in engine} - {"__init__.py"}
    faults += [f"not linked once: {file}" for file in files if document.count(f"]({file})") != 1]
    [drawing] = re.findall(r"^(vector .*\n.*\n.*)$", document, re.MULTILINE)
    return faults + ([] if indent(drawing, "    ") in code else ["the drawings of the vector differ"])


def figure_faults(document):
    """Where the figure of section 5 and the table below it differ from the schedule."""
    text = reader.section(document, "5.3")
    figure = re.search(r"^```\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)[1]
    steps = re.findall(r"^t = (\d)", figure, re.MULTILINE)
    pairs = [(int(k1), int(k2)) for k1, k2 in re.findall(r"\((\d), (\d)\)", figure)]
    drawn = [re.findall(r"([x.](?: [x.])+)  (\d)", line) for line in figure.splitlines() if line.startswith("t = ")]
    faults = [] if steps == list("123456") and len(pairs) == 5 else ["the figure is not T = 6, five times"]
    for column, ((k1, k2), row) in enumerate(zip(pairs, reader.table(text), strict=True)):
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


# -- the document and the code --------------------------------------------------------------------------------------


def test_ids_agree_with_the_code():
    assert id_faults(DOCUMENT, SOURCES) == []


def test_last_table_names_the_places():
    assert place_faults(DOCUMENT, SOURCES) == []


def test_document_of_the_engine_names_what_is_there():
    assert engine_faults(OF_ENGINE, SOURCES) == []


def test_figure_is_the_schedule():
    assert figure_faults(DOCUMENT) == []


def test_snippet_finds_the_gradient_right():
    assert reader.printed(reader.snippet(DOCUMENT)) < reader.MAX_ERROR


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


def test_momentum_is_that_of_the_papers_with_the_rate_outside():
    """Section 6: u ← μu − ηd, θ ← θ + u, and u = −ηv."""
    theta, u = 1.0, 0.0
    for found in descend(momentum=HALF):
        u = HALF * u - QUARTER * theta
        theta += u
        assert found == (theta, -u / QUARTER)


def test_nesterov_keeps_the_point_that_looks_ahead():
    """Section 6: v ← μv + d at ψ = θ − ημv, θ ← θ − ηv; the parameters are ψ."""
    theta, v = 1.0, 0.0
    for found in descend(momentum=HALF, nesterov=True):
        v = HALF * v + (theta - QUARTER * HALF * v)
        theta -= QUARTER * v
        assert found == (theta - QUARTER * HALF * v, v)


def test_dampening_by_the_momentum_gives_an_average_and_weight_decay_takes_a_share():
    """Section 6: with τ = μ the weights sum to 1, so equal d have v = d, from the first update on; θ ← (1 − ηλ)θ."""
    one, v = Parameters(*np.ones((3, 1, 1))), None
    for _ in range(6):
        _, v = direction(one, one, v, momentum=HALF, dampening=HALF)
        assert v[:3] == (1, 1, 1)
    s, _ = direction(one, Parameters(*np.zeros((3, 1, 1))), weight_decay=DECAY)
    assert sgd(one, s, QUARTER)[:3] == (1 - QUARTER * DECAY,) * 3


# -- the checks themselves ------------------------------------------------------------------------------------------


def doctored(text, old, new):
    assert old in text
    return text.replace(old, new)


FAULTY_IDS = {  # (the document, or the beginning of the files' names; a text there, or None for its end; the new text)
    "lost definition": (
        ("document", "**(B5)**", "(B5)"),
        {"(B5) is in a comment of numpy_rnn/bptt.py and not defined", "(B5) is mentioned and not defined"},
    ),
    "second definition": (("document", None, "\n**(B2)**"), {"(B2) is defined 2 times"}),
    "extra comment": (
        ("numpy_rnn/sgd.py", None, "\nx = 1  # (U99)\n"),
        {"(U99) is in a comment of numpy_rnn/sgd.py and not defined"},
    ),
    "extra docstring": (
        ("torch_rnn/bptt.py", None, '\ndef f():\n    """By (B11)."""\n'),
        {"(B11) is in a docstring of torch_rnn/bptt.py and not defined"},
    ),
    "lost comment of the loop": (
        ("torch_rnn/tbptt.py", "# (T3)", "#"),
        {"(T3) ends a formula in torch_rnn/tbptt.py and no code line carries it"},
    ),
    "lost comments of the engine": (
        ("numpy_rnn/engine/", "(B4)", ""),
        {"(B4) is defined and no code line of the engine carries it"},
    ),
}


@pytest.mark.parametrize("fault", FAULTY_IDS)
def test_faulty_ids_are_reported(fault):
    (where, old, new), expected = FAULTY_IDS[fault]

    def changed(name, text):
        if not name.startswith(where):
            return text
        return text + new if old is None else text.replace(old, new)

    texts = {name: changed(name, text) for name, text in {**SOURCES, "document": DOCUMENT}.items()}
    assert expected <= set(id_faults(texts.pop("document"), texts))


def test_only_comments_on_code_lines_carry_an_id():
    source = '"""D (A1)\n\n    x = y    (A2)\n"""\n# alone (A3)\ns = "# (A4)"  # why (A5) and (A16)\n'
    assert list(reader.comments(source)) == [(5, "", ["A3"]), (6, 's = "# (A4)"', ["A5", "A16"])]
    assert reader.ids_in_comments(source) == {"A3", "A5", "A16"}
    assert reader.ids_on_code_lines(source) == {"A5", "A16"}
    assert reader.ids_in_docstrings(source) == {"A1", "A2"}
    assert reader.ids_of_formulas(source) == {"A1", "A2"}
    assert reader.ids_of_formulas('"""See (A1).\n\n(A2)\nx (A3) y\n"""') == set()


def test_faulty_places_are_reported():
    moved = doctored(DOCUMENT, "`sgd.py` `sgd_step`", "`sgd.py` `step`")
    assert set(place_faults(moved, SOURCES)) == {"(U1) is not in sgd.py step", "(U1) is in sgd.py sgd_step, not listed"}
    [row] = [line for line in DOCUMENT.splitlines() if line.startswith("| (B4) |")]
    _, name, formula, by_hand, in_place, _ = row.split("|")
    swapped = doctored(DOCUMENT, row, "|".join(["", name, formula, in_place, by_hand, ""]))
    assert set(place_faults(swapped, SOURCES)) == {"(B4) is in the wrong column"}


def test_faulty_documents_of_the_engine_are_reported():
    wrong = doctored(doctored(OF_ENGINE, "`Tape.load`", "`Tape.move`"), "|  b_h  H  |", "|  b_h  B  |")
    assert engine_faults(wrong, SOURCES) == ["not in the engine: move", "the drawings of the vector differ"]


def test_faulty_figures_are_reported():
    assert figure_faults(doctored(DOCUMENT, "x x . . . .  1 ", ". x . . . .  1 ")) != []
    assert figure_faults(doctored(DOCUMENT, "(0, 2], (0, 4], (2, 6] | 17", "(0, 2], (0, 4], (2, 6] | 18")) == [
        "the table's row of (2, 4) is wrong"
    ]


def test_snippet_can_find_a_gradient_wrong():
    transposed = doctored(reader.snippet(DOCUMENT), "moved.W_hh[i, j]", "moved.W_hh[j, i]")
    assert reader.printed(transposed) > reader.MAX_ERROR
