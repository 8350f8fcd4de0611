"""The derivation, the exercises and the mistakes on the page; and the page in a browser, at two widths and in print."""

import re

import numpy as np
import pytest
from html_faults import faults
from study_settings import named_setting

from numpy_rnn.conformance.mutants.catalogue import MUTANTS, named
from numpy_rnn.study.components.jacobians import slopes, states
from numpy_rnn.study.components.measures import components_of
from numpy_rnn.study.figures.svg import for_page
from numpy_rnn.study.page.derivation import as_html, sections
from numpy_rnn.study.page.exercises import NUMBERS, PUZZLES, all_exercises, caught, mistake_table, wrong_functions
from numpy_rnn.study.page.formulas import definitions, lines_of_equations
from numpy_rnn.study.page.page import HERE
from numpy_rnn.study.page.templates import typeset

MARKDOWN = r"""
Words **in $h_t$ bold** and *emphasis*, `code * $x$`; (B2), sections 4.1 and 5, Pascanu 2013, section 2.

- **(F1)** $a$
- an item
  of two lines

$$a = b
\qquad c$$

| a | $b$ |
|---|---|
| (F1) | [link](https://example.org/a_(b)) |

![An image](figures/masks.svg)

*Its caption in the document.*

```python
x = "<&>"

y = 1
```
"""


def test_markdown_becomes_html():
    text = as_html(MARKDOWN, lambda name: f"<equation {name}>", lambda name: f"<figure {name}>")
    assert re.findall("<math([^>]*)>", text)[-3:] == [' displaystyle="true"'] * 2 + [""]  # large in a display alone
    assert re.sub(r"<math.*?</math>", "M", text) == (
        "<p>Words <strong>in M bold</strong> and <em>emphasis</em>, <code>code * $x$</code>;"
        ' <a href="#equation-B2">(B2)</a>, <a href="#4-1-total-and-immediate-derivatives">sections 4.1</a> and'
        ' <a href="#5-1-why-truncate-at-all">5</a>, Pascanu 2013, section 2.</p>\n'
        "<equation F1>\n<ul>\n<li>an item of two lines</li>\n</ul>\n"
        '<div class="display"><span class="part">M M</span> <span class="part">M</span></div>\n'
        '<table class="text">\n<thead><tr><th scope="col">a</th><th scope="col">M</th></tr></thead>\n'
        '<tbody><tr><td><a href="#equation-F1">(F1)</a></td><td><a href="https://example.org/a_(b)">link</a></td></tr>'
        "</tbody></table>\n<figure masks>\n"
        '<pre class="wide program" tabindex="0" role="region" aria-label="program: x = &quot;&lt;&amp;&gt;&quot;">'
        '<code>x = "&lt;&amp;&gt;"\n\ny = 1</code></pre>\n'
    )


def test_the_page_has_every_section_of_the_document_once_in_its_order_without_a_mark_of_markdown():
    templates = "".join(path.read_text(encoding="utf-8") for path in sorted((HERE / "sections").glob("*.html")))
    inserted = re.findall(r'derivation\("([\d.]+)"\)', templates)
    expected = [number for number, section in sections().items() if section.text.strip() and number != "9"]
    assert sorted(inserted) == expected
    chapters = [number for number in inserted if number < "6"]  # the update, the proof and the references follow later
    assert chapters == sorted(chapters)
    for section in sections().values():
        text = as_html(section.text, lambda name: "", lambda name: "")
        words = re.sub(r"<(code|math).*?</\1>|<[^>]*>", "", text, flags=re.DOTALL)
        assert not re.search(r"[`$|\\]|\*\*|\*\w|\]\(", words), section.number


def test_every_equation_has_lines_of_code():
    assert set(lines_of_equations()) == set(definitions())
    for name, lines in lines_of_equations().items():
        [row] = [row for row in sections()["9"].text.splitlines() if row.startswith(f"| ({name}) |")]
        for file, function, code in lines:
            assert f"`{file}`" in row
            assert f"`{function}`" in row
            assert code
            assert f"({name})" not in code


@pytest.mark.parametrize("name", ["everything", "relu"])
def test_the_closed_form_is_the_component(name):
    """Section 5.3, one pair of steps after the other; the components come from back-propagation of one loss."""
    setting = named_setting(name)
    params, T, phi = setting.end, len(setting.x), setting.configuration.nonlinearity
    result = components_of(setting, params)
    h = states(params, setting.x, setting.h_0 if params.h_0 is None else params.h_0, phi)[:, None]
    slope = slopes(h[1:], phi)
    for t in range(1, T + 1):
        dy = h[t] @ params.W_hy + params.b_y - setting.target[t - 1]
        for s in range(1, t + 1):
            M = [params.W_hh * slope[r - 1] for r in range(t, s, -1)]
            flow = np.linalg.multi_dot([dy, params.W_hy.T, *(m.T for m in M)]) * slope[s - 1]
            found = result.gradients.W_hh[t - 1, s - 1]
            np.testing.assert_allclose(found, h[s - 1].T @ flow, rtol=1e-9, atol=1e-12)


def test_letters_have_one_meaning():
    """Section 6 has none of d, an input, n, an update, s, a step, and m, a number of copies."""
    for tex in re.findall(r"\$\$?([^$]+)\$\$?", sections()["6"].text):
        letters = re.findall(r"(?<![\\A-Za-z])[dnsm](?![A-Za-z])", re.sub(r"d(\\theta|[WXahbx])", "", tex))
        assert letters == [], tex


def test_every_solution_is_computed():
    by_name = {one.name: one.solution for one in all_exercises()}
    assert list(by_name) == list(NUMBERS)
    assert len(by_name) == 10
    expected = {
        "two_steps": "$dh_1 = 5$ and $dw = 11$. With the total derivative, 5, the path",
        "softmax_error": f"$dy = (0.25, 0.25, -0.5)$, and the loss is ${np.log(2):.4f}$",
        "kept_components": "5 windows",
        "learned_state": "1 and 2:",
        "memory": "500,000 numbers for BPTT and 1,000 for TBPTT; the $J_t$ of RTRL are 130,000",
        "fading": "lag 44 on",
        "slopes": "at most 0.25",
        "means": "By 8, 8 and 4",
        "clipped": f"({3 / (5 + 1e-6):.8f}, {4 / (5 + 1e-6):.8f}, 0)",
        "steady_velocity": f"1, {10 * (1 - 0.9**10):.3f} and {10 * (1 - 0.9**100):.4f}",
    }
    for name, words in expected.items():
        assert words in " ".join(by_name[name].split()), name
    assert "31 of 55" in by_name["kept_components"]  # 3 rows of 1 and 2, then 3, 4 and so on, by hand


def test_every_puzzle_is_a_mutant_and_shows_its_wrong_line():
    assert len(PUZZLES) == 12
    assert set(PUZZLES) <= {mutant.name for mutant in MUTANTS}
    for name in PUZZLES:
        mutant = named(name)
        code = "\n".join(wrong_functions(mutant))
        assert '"""' not in code
        for _, right, wrong in mutant.changes:
            assert " ".join(wrong.split()) in " ".join(code.split()), name
            assert right in wrong or " ".join(right.split()) not in " ".join(code.split()), name


MISTAKE = {
    "name": "a < b",
    "shown_by": "k1 = 1",
    "lines": [{"module": "bptt.py", "right": "x < 1", "wrong": "x > 1"}],
    "right": {"epochs": [0, 5, 10], "median": [np.e**2, np.e, 1.0]},
    "wrong": {"epochs": [0, 5, 10], "median": [np.e**2, None, np.e]},
    "verdict": "lower loss",
    "ratio": {"median": np.e},
    "caught": {"tensor": "dh", "equation": "B2", "epoch": 3, "update": 2, "ratio": 1e6},
}


def test_a_mistake_has_its_curve_and_its_check():
    text = mistake_table([MISTAKE])
    assert faults(text) == []
    assert re.findall(r'<path class="(\w+)" d="(.*?)"', text) == [
        ("right", "M0 2L66 20L132 38"),  # the logarithms 2, 1 and 0
        ("wrong", "M0 2L132 20"),
    ]
    [row] = re.findall(r"<tr data-verdict=.*?</tr>", text, re.DOTALL)
    cells = re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL)
    assert [" ".join(re.sub("<[^>]*>", " ", cell).split()) for cell in cells] == [
        "a &lt; b",
        "bptt.py − x &lt; 1 + x &gt; 1",
        "a lower loss, final loss × 2.7 k1 = 1",
        "(B2) finds it in dh, in update 2 of epoch 3: 1e+06 times its bound off",
    ]
    nowhere = {"tensor": "dh", "equation": "B2", "epoch": None, "update": None, "ratio": None}
    assert caught({"caught": nowhere}) == "(B2) finds it in dh, in a random case: which is not the expected value"
    assert caught({"caught": {**nowhere, "tensor": None}}) == "no check finds it"


TYPESET = {
    "1.3e-04, 2e+10, 5·10⁻¹² and -0.39": "1.3·10<sup>−4</sup>, 2·10<sup>10</sup>, 5·10<sup>−12</sup> and −0.39",
    "h_{t-1}, dW_xh, ∂ℓ_t/∂θ_s": "h<sub>t−1</sub>, dW<sub>xh</sub>, ∂ℓ<sub>t</sub>/∂θ<sub>s</sub>",
    "(k1, k₂), h₀, ρ^lag": "(k<sub>1</sub>, k<sub>2</sub>), h<sub>0</sub>, ρ<sup>lag</sup>",
    "max_norm, x-1, 3-4, min-char-rnn, one_hot, k10, e-5": "max_norm, x-1, 3-4, min-char-rnn, one_hot, k10, e-5",
    '<a href="#k1" title="W_hh">k1</a><code>W_hh 1e-5</code>-1': '<a href="#k1" title="W_hh">k<sub>1</sub></a>'
    "<code>W_hh 1e-5</code>−1",
}


def test_numbers_and_symbols_are_written_in_one_way():
    assert {html: typeset(html) for html in TYPESET} == TYPESET


def test_the_lines_of_a_figure_of_the_page_are_where_they_were():
    points = np.random.default_rng(0).normal(0, 100, (50, 2)).round(3)
    path = "M 1.25 2 L 3 4 " + "z M " + " L ".join(f"{x} {y}" for x, y in points) + " z"
    [short] = re.findall(r'd="(.*?)"', for_page(f'<svg><path d="{path}"/></svg>'.encode()).decode())
    here, start, found = np.zeros(2), np.zeros(2), []
    for command, numbers in re.findall(r"([Mlz])([^Mlz]*)", short):
        pairs = np.array(re.findall(r"-?(?:\d+\.?\d*|\.\d+)", numbers), float).reshape(-1, 2)
        for pair in pairs:
            here = pair if command == "M" else here + pair
            start = here if command == "M" else start
            found.append(here)
        here = start if command == "z" else here
    np.testing.assert_allclose(found, [(1.25, 2), (3, 4), *points], rtol=0, atol=0.051)
    assert "L" not in short


FAULTY = {
    "<p><b></p></b>": "</p> closes something else",
    "<p>": "<p> is never closed",
    "<b id=a></b><i id=a></i>": "a is the id of 2 elements",
    "<img src='data:,'>": "an image has no alternative text",
    "<svg></svg>": "a drawing has no alternative text",
    "<img src='https://example.org/a.png' alt='a'>": "<img> leads to https://example.org/a.png",
    "<script src='a.js'></script>": "<script> leads to a.js",
    "<a href='a.html'></a>": "<a> leads to a.html",
    "<a href='#there'></a>": "#there leads nowhere",
    "<label for=a></label>": "for=a leads nowhere",
    "<style>a { background: url(b.png) }</style>": "the style loads url(b.png)",
    "<script>fetch('a')</script>": "the script loads by fetch(",
    "<input id=a>": "the input a has no label",
}


def test_faulty_pages_are_reported():
    for text, fault in FAULTY.items():
        assert fault in faults(text), text
