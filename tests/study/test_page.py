"""The two pages, read without a browser: their text, their placeholders, and the derivation in them.

page.txt has the numbers of the figures, tables and some sections of the evidence of made-up findings, with the words
around them. To change it on purpose: pytest --inline-snapshot=fix.
"""

import json
import re
from dataclasses import replace
from functools import cache
from html import unescape
from urllib.parse import unquote

import numpy as np
import pytest
from html_faults import Reader, faults
from inline_snapshot import external_file
from study_findings import made_up

from numpy_rnn.study.figures.drawings import DRAWINGS
from numpy_rnn.study.figures.style import Picture
from numpy_rnn.study.findings import Band, Difference, EquationCheck, Outcome
from numpy_rnn.study.page import pages
from numpy_rnn.study.page.document import (
    DOCUMENT,
    NOT_ON_THE_PAGE,
    as_html,
    chapter,
    definitions,
    equation,
    formula,
    law,
    reference,
    sections,
)
from numpy_rnn.study.page.proofs import checked_equation, lines_of_equations
from numpy_rnn.study.page.templates import fill, typeset

SVG = b'<svg xmlns="http://www.w3.org/2000/svg">\n<path fill="#fff" width="5%" id="a&amp;b"/></svg>'
PICTURES = dict.fromkeys(
    (drawing.name for drawing in DRAWINGS), (Picture(SVG, (7.0, 3.0)), Picture(SVG, (4.0, 3.0)))
)


def words_of(html):
    """The lines with numbers of figures and tables, and of the sections on truncation, mistakes and the run."""
    html = re.sub(r"<(math|pre|script|style)\b.*?</\1>", "", html, flags=re.DOTALL)
    html = re.sub(
        r'<h3 id="\d.*?(?=<h3 id="[a-z]|</section>)', "", html, flags=re.DOTALL
    )  # of DERIVATION.md
    whole = r'<section id="(?:truncation|mistakes|run)".*?</section>'
    parts = rf'{whole}|<figure.*?</figure>|<caption id="table-(?!names).*?</table>'
    html = "\n".join(re.findall(parts, html, re.DOTALL))
    html = re.sub(r'<img class="for-narrow"[^>]*>', "", html)
    html = re.sub(r'<img [^>]* alt="([^"]*)">', r"<p>\1</p>", html)
    html = re.sub(
        r"</?(p|h2|h3|h4|tr|caption|figcaption|li|summary|div)\b[^>]*>",
        "\n",
        re.sub(r"<t[dh]\b", " | <td", html),
    )
    lines = (
        " ".join(unescape(re.sub("<[^>]*>", "", line)).split())
        for line in html.replace("</td>", " ").split("\n")
    )
    return "\n".join(line for line in lines if re.search(r"\d|\|", line)) + "\n"


@cache
def made_up_pages():
    return pages.pages(made_up(), PICTURES)


@cache
def identifiers(file):
    return {attributes.get("id") for _, attributes in Reader(made_up_pages()[file]).elements}


def test_the_pages_of_made_up_findings():
    lesson, evidence = made_up_pages().values()
    for text in (lesson, evidence):
        assert [
            fault
            for fault in faults(text)
            if not re.search(r"leads to (lesson|evidence)\.html", fault)
        ] == []
        assert not re.search(r"\{\{|\{%|\bnan\b", words_of(text))
    assert words_of(evidence) == external_file("page.txt")
    figures = {f"figure-{drawing.name}" for drawing in DRAWINGS}
    assert figures | {f"equation-{id}" for id in definitions()} | {"wrong-line-1"} <= identifiers(
        "evidence.html"
    )
    wanted = {f"question-{number}" for number in range(1, 11)} | {
        f"exercise-{number}" for number in range(1, 5)
    }
    assert wanted <= identifiers("lesson.html")
    images = [of for tag, of in Reader(evidence).elements if tag == "img"]
    assert [image["class"] for image in images] == ["for-wide", "for-narrow"] * len(DRAWINGS)
    head, _, source = images[1]["src"].partition(",")
    assert head == "data:image/svg+xml"
    assert not set(source) & set('"#\n&')
    assert unquote(source).encode() == SVG.replace(b"\n", b" ").replace(b'"', b"'")
    assert (images[1]["width"], images[1]["height"]) == ("384", "288")
    (data,) = re.findall(
        r'<script type="application/json" id="data">(.*?)</script>', lesson, re.DOTALL
    )
    assert json.loads(data) == made_up().explorer  # nothing in the data ends its element
    assert pages.pages(made_up(), PICTURES) == made_up_pages()


def test_links_between_the_pages_lead_somewhere():
    made = made_up_pages()
    for file, text in made.items():
        links = re.findall(r'href="(lesson.html|evidence.html)#([^"]+)"', text)
        assert links
        assert [link for link in links if link[1] not in identifiers(link[0])] == []
        assert {other for other, _ in links} == set(made) - {file}


def test_the_lesson_is_short():
    """The words of its text and of what is folded in it, without the numbers of figures and code."""
    lesson = re.sub(r"(?s).*<main>(.*)</main>.*", r"\1", made_up_pages()["lesson.html"])
    words = re.sub(r"<(math|pre|script|svg)\b.*?</\1>|<[^>]*>", " ", lesson, flags=re.DOTALL)
    assert 2000 < len(words.split()) <= 3500
    assert len(pages.LESSON) <= 14


def check(*bounds, where="in this run"):
    """A made-up check of two witnesses."""
    rows = ("complex step", 2e-16, bounds[0], 12, 12), ("RTRL", 3e-16, bounds[1], 1, 1)
    differences = [Difference(*row) for row in rows]
    return EquationCheck(
        "a < b", "dh", where, differences, "dh_3[1]", {"by hand": 0.1, "RTRL": 0.3}
    )


def parts():
    """Parts of the page, as HTML, that do not depend on the text of the derivation and of the code."""
    yield pages.table(
        "t",
        caller=lambda: " All\nof them\n| what | a | b | c\n\n| <code>x</code> | 1.5e-07 | | −3 %\n",
    )
    proofs = {
        "B2": check(np.inf, 0.5),
        "B2, relu": check(0.0, 0.0, where="elsewhere"),
        "U9": check(0.25, 0.0),
    }
    proofs["F1"] = replace(check(0.5, 0.5), differences=check(0.5, 0.5).differences[:1])
    for name, left_out in (("U9", "math|pre"), ("B2", "math|pre|table"), ("F1", "math|table")):
        yield re.sub(
            rf"<({left_out})\b.*?</\1>", "", checked_equation(name, proofs), flags=re.DOTALL
        )
    yield from map(
        formula,
        (
            "h_t",
            r"\mathrm{relu}'(target_{t,o})",
            r"\log O",
            r"\log(O)",
            r"\mathrm{Im} f",
            r"\tanh'(a)",
        ),
    )
    yield formula("h_t", large=True)
    yield re.sub(r"<math.*?</math>", "", "".join(map(law, ("T3", "B2"))), flags=re.DOTALL)
    yield as_html(MARKDOWN, "<p>equation {}</p>".format, "<p>figure {}</p>".format)
    yield from map(reference, ("Razvan Pascanu", "Boris T. Polyak"))
    text = "{{ error | number('.2g') }}, {{ share | number('.1%') }}, {{ nothing }}, {{ undefined }}, {{ words }}"
    text += ", {{ names }}, {{ loud('words') }}, {{ done }}, {{ share | fixed('.2f') }}, {{ error | scientific }}"
    yield fill(text, VALUES, {"loud": lambda word: f"<b>{word.upper()}</b>", "done": "<i></i>"})
    yield from map(
        typeset,
        ("1.3e-04, 2e+10, 5·10⁻¹² and -0.39", "h_{t-1}, dW_xh, ∂ℓ_t/∂θ_s, ℓ_17, ∂h_20, target_t"),
    )
    yield from map(
        typeset,
        ("(k1, k₂), h₀, ρ^lag", '<a href="#k1" title="W_hh">k1</a><code>W_hh 1e-5</code>-1'),
    )
    band = Band(0.5, 0.6, 0.7)
    outcomes = (2, "diverged"), (1, "learns"), (0, "learns"), (0, "diverged")
    yield from (pages.verdict(Outcome(0.1, band, *of)) for of in outcomes)


MARKDOWN = """Words of
(B2), sections 5 and 9, [a file](README.md) and [a page](https://e.org) of $x$.

- one
- **(B2)** $a$ words

![masks](figures/masks.svg)

*A caption.*

```python
f(a < b)
```

```
a -> b
```

| | a |
|-|---|
| b | c |
"""
VALUES = {"error": 1.27e-16, "share": 0.125, "nothing": None, "undefined": np.nan, "words": "a < b & {{ error }}",
          "names": ["F1", "F2"]}  # fmt: skip


def test_parts_of_the_page():
    """parts.txt has their HTML; each is well-formed."""
    for part in parts():
        assert [fault for fault in faults(part) if "leads nowhere" not in fault] == []
    assert "\n".join([*parts(), ""]) == external_file("parts.txt")


REFUSED = {
    "no equation": (lambda: equation("B11"), r"\(B11\) is no equation"),
    "no check": (lambda: checked_equation("U6", {}), "not checked: U6"),
    "no section": (lambda: chapter("5.9", str, str), r"DERIVATION.md has no section 5.9"),
    "no formula": (lambda: formula(r"\nonsense x"), "unknown"),
    "two references": (lambda: reference("Ilya Sutskever"), "2 references"),
    "no name": (lambda: fill("{{ cuont }}", VALUES, {}), "'cuont' is undefined"),
    "no format": (
        lambda: fill("{{ words | number('.2g') }}", VALUES, {}),
        "Unknown format code 'g'",
    ),
    "no end": (lambda: fill("a\n{% if error %}a", VALUES, {}), "line 2: Unexpected end"),
    "no list": (lambda: fill("{% for one in error %}{% endfor %}", VALUES, {}), "not iterable"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_section_that_asks_in_vain_is_an_error(name):
    ask, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        ask()


def test_the_chapters_are_in_order():
    for page in pages.PAGES:
        assert {path.stem for path in (pages.HERE / page.folder).glob("*.html")} == set(
            page.sections
        )
    shown = re.findall(r'<h3 id="[^"]*">(\d[\d.]*) ', made_up_pages()["evidence.html"])
    assert shown == [
        number
        for number, of in sections().items()
        if of.text.strip() and number not in NOT_ON_THE_PAGE
    ]
    for section in sections().values():
        text = as_html(section.text, lambda name: "", lambda name: "")
        words = re.sub(r"<(code|math).*?</\1>|<[^>]*>", "", text, flags=re.DOTALL)
        assert not re.search(r"[`$|\\]|\*\*|\*\w|\]\(", words), section.number


def test_equations_are_their_id_words_and_formulas():
    assert list(definitions()) == re.findall(
        r"\*\*\(([A-Z]\d+)\)\*\*", DOCUMENT.read_text(encoding="utf-8")
    )
    for name in definitions():
        reader = Reader(equation(name))
        assert reader.faults == []
        assert reader.text.startswith(f"({name}) ")
        assert not set("\\{}$*") & set(reader.text)
        assert "<math>" in law(name)


def test_every_equation_has_lines_of_code():
    assert set(lines_of_equations()) == set(definitions())
    for name, lines in lines_of_equations().items():
        [row] = [
            row for row in sections()["9"].text.splitlines() if row.startswith(f"| ({name}) |")
        ]
        for file, function, code in lines:
            assert f"`{file}`" in row
            assert f"`{function}`" in row
            assert code
            assert f"({name})" not in code


QUESTIONS = (pages.HERE / "evidence/asked.html").read_text(encoding="utf-8")


def test_the_code_of_the_questions_prints_what_the_page_says(capsys):
    (code,) = re.findall(r'<code id="finite-difference-code">(.*?)</code>', QUESTIONS, re.DOTALL)
    exec(compile(unescape(code), "asked.html", "exec"), {})
    (held, small), (again, large) = (line.split() for line in capsys.readouterr().out.splitlines())
    assert (held, again) == ("held", "computed_again")
    assert float(small) < 1e-8
    assert f"{float(large):.2f}" == "0.08"  # as the page says


# -- what the lesson says about PyTorch -------------------------------------------------------------------------------


@pytest.mark.needs_torch
def test_pytorch_says_what_the_lesson_says():
    """The loop of the lesson, and its three changes: the messages are those that PyTorch really prints."""
    import torch
    from torch import nn

    lesson = made_up_pages()["lesson.html"]
    (loop,) = re.findall(r'<code id="pytorch-loop">(.*?)</code>', lesson, re.DOTALL)
    assert all(line in loop for line in (*CHANGES.values(), "optimizer.zero_grad()"))

    def run(loop, updates=3):
        """The gradients of W_hh after each update, and the message that ended the loop."""
        torch.manual_seed(0)
        rnn, out = nn.RNN(1, 3), nn.Linear(3, 1)
        norms, x, target = [], torch.randn(2 * updates, 1, 1), torch.randn(2 * updates, 1, 1)
        optimizer = torch.optim.SGD([*rnn.parameters(), *out.parameters()], 0.1)
        optimizer.register_step_post_hook(lambda *_: norms.append(rnn.weight_hh_l0.grad.clone()))
        chunks = [(x[n : n + 2], target[n : n + 2]) for n in range(0, 2 * updates, 2)]
        try:
            exec(
                unescape(loop),
                {
                    "rnn": rnn,
                    "out": out,
                    "optimizer": optimizer,
                    "chunks": chunks,
                    "h": torch.zeros(1, 1, 3),
                },
            )
        except RuntimeError as error:
            return norms, str(error)
        return norms, None

    right, message = run(loop)
    assert (len(right), message) == (3, None)
    without = loop.replace(CHANGES["detach"], "")
    for id, text in (
        ("no-detach", without),
        ("retain-graph", without.replace("backward()", "backward(retain_graph=True)")),
    ):
        (said,) = re.findall(rf'<span id="error-{id}">(.*?)</span>', lesson)
        gradients, message = run(text)
        assert len(gradients) == 1  # the second update stops
        assert message.startswith(said)
    summed, message = run(loop.replace("optimizer.zero_grad()", "pass"))
    assert message is None
    assert torch.equal(summed[0], right[0])
    _, first = run(loop, 1)
    assert first is None
    assert not torch.allclose(summed[1], right[1])


CHANGES = {"detach": "h = h.detach()", "backward": "loss.backward()"}
