"""The study's page, read without a browser: its text, its placeholders, and the derivation in it.

page.txt has the words of the figures, tables and some sections of the page of made-up findings. To change it on
purpose: pytest --inline-snapshot=fix.
"""

import json
import re
from dataclasses import replace
from html import unescape
from urllib.parse import unquote

import numpy as np
import pytest
from html_faults import Reader, faults
from inline_snapshot import external_file, snapshot
from study_findings import made_up

import numpy_rnn as rnn
from numpy_rnn.study.components.matrix import mask
from numpy_rnn.study.figures.render import Picture
from numpy_rnn.study.findings import Band, Cost, Difference, EquationCheck, Network, Opposite, Outcome
from numpy_rnn.study.page import page as pages
from numpy_rnn.study.page.document import (
    DOCUMENT,
    NOT_ON_THE_PAGE,
    as_html,
    chapter,
    definitions,
    equation,
    reference,
    sections,
)
from numpy_rnn.study.page.exercises import verdict
from numpy_rnn.study.page.formulas import formula
from numpy_rnn.study.page.proofs import checked_equation, lines_of_equations
from numpy_rnn.study.page.templates import fill, typeset
from numpy_rnn.study.study import DRAWINGS

SVG = b'<svg xmlns="http://www.w3.org/2000/svg">\n<path fill="#fff" width="5%" id="a&amp;b"/></svg>'
PICTURES = dict.fromkeys((drawing.name for drawing in DRAWINGS), Picture(SVG, (4.0, 3.0)))
SECTIONS = sorted((pages.HERE / "sections").glob("*.html"))


def words_of(html):
    """The words of figures and tables but that of names, and of the sections on mistakes and the run."""
    html = re.sub(r"<(math|pre|script|style)\b.*?</\1>", "", html, flags=re.DOTALL)
    html = re.sub(r'<h3 id="\d.*?(?=<h3 id="[a-z]|</section>)', "", html, flags=re.DOTALL)  # of DERIVATION.md
    parts = r'<figure.*?</figure>|<caption id="table-(?!names).*?</table>|<section id="(?:mistakes|run)".*?</section>'
    html = "\n".join(re.findall(parts, html, re.DOTALL))
    html = re.sub(r'<img src="[^"]*"[^>]* alt="([^"]*)">', r"<p>\1</p>", html)
    html = re.sub(
        r"</?(p|h2|h3|h4|tr|caption|figcaption|li|summary|div)\b[^>]*>", "\n", re.sub(r"<t[dh]\b", " | <td", html)
    )
    lines = (" ".join(unescape(re.sub("<[^>]*>", "", line)).split()) for line in html.replace("</td>", " ").split("\n"))
    return "\n".join(line for line in lines if line) + "\n"


# -- the page ---------------------------------------------------------------------------------------------------------


def test_the_page_of_made_up_findings():
    text = pages.page(made_up(), PICTURES)
    assert faults(text) == []
    assert not re.search(r"\{\{|\{%|\bnan\b", words_of(text))
    assert words_of(text) == external_file("page.txt")
    elements = Reader(text).elements
    ids = {attributes.get("id") for _, attributes in elements}
    assert {f"figure-{drawing.name}" for drawing in DRAWINGS} | {f"equation-{id}" for id in definitions()} <= ids
    assert {f"exercise-{number}" for number in range(1, 11)} <= ids
    assert "wrong-line-1" in ids  # of the made-up findings
    image = next(of for tag, of in elements if tag == "img")
    head, _, source = image["src"].partition(",")
    assert head == "data:image/svg+xml"
    assert not set(source) & set('"#\n&')
    assert unquote(source).encode() == SVG.replace(b"\n", b" ").replace(b'"', b"'")
    assert (image["width"], image["height"]) == ("384", "288")
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert json.loads(data) == made_up().explorer  # nothing in the data ends its element
    assert pages.page(made_up(), PICTURES) == text


def test_a_section_that_asks_in_vain_is_named():
    inserts = {"figure": lambda name: pages._known(name, PICTURES)}
    with pytest.raises(ValueError, match=r"sections/1_x.html: unknown name 'shpae'"):
        pages.assembled({"1_x": "<h2>X</h2>{{ figure('shpae') }}"}, {"explorer": {}}, inserts)


def test_a_table_has_labels_and_numbers_at_the_right():
    text = pages.table("t", caller=lambda: " All\nof them\n| what | a | b | c\n\n| <code>x</code> | 1.5e-07 | | −3 %\n")
    assert faults(text) == []
    assert "All of them</caption>" in text
    assert re.findall(r"<td(.*?)>(.*?)</td>", text) == [
        (' data-label="what"', "<code>x</code>"),
        (' class=number data-label="a"', "1.5e-07"),
        ("", ""),
        (' class=number data-label="c"', "−3 %"),
    ]


def words_of_truncation(findings):
    """The text of the chapter on truncation, without tags."""
    (text,) = re.findall(r'<section id="truncation">(.*?)</section>', pages.page(findings, PICTURES), re.DOTALL)
    return " ".join(unescape(re.sub("<[^>]*>", "", text)).split())


KINDS = {"a sliding window": "sliding", "chunks": "chunks"}
TRAINED = r"trained with, (.*?) of k = (\d+), has a cosine of (\S+) and a relative bias of (\S+) after"
BEST = r"the lowest median is (\S+) with (.*?) of k = (\d+) and (\S+) with (.*?) of k = (\d+)\."


@pytest.mark.parametrize(("k1", "k2", "kind"), [(1, 3, "sliding"), (2, 2, "chunks"), (2, 3, None)])
def test_sentences_on_truncation_have_the_numbers_of_their_kind(k1, k2, kind):
    """Each sentence that gives numbers of chunks or of a sliding window gives those of the kind that it names."""
    found = made_up()
    options = found.about.options._replace(schedule=found.about.options.schedule._replace(k1=k1, k2=k2))
    text = words_of_truncation(replace(found, about=replace(found.about, options=options)))
    trained = [(KINDS[words], int(k), *numbers) for words, k, *numbers in re.findall(TRAINED, text)]
    costs = [found.components.own[-1].cost[kind]] if kind else []
    assert trained == [(kind, k2, f"{cost.cosine[k2 - 1]:.2f}", f"{cost.bias[k2 - 1]:.2f}") for cost in costs]
    (opposite,) = re.findall(r"the cosine is negative for (.*?)\. How", text)
    listed = re.findall(r"(\d+) of 3 with (.*?) of k = (\d+)", opposite)
    assert [Opposite(KINDS[words], int(k), int(n)) for n, words, k in listed] == found.components.opposite
    (best,) = re.findall(BEST, text)
    for loss, words, k in (best[:3], best[3:]):
        least_k, least = found.training.by_k.best(KINDS[words])
        assert (loss, int(k)) == (f"{least:.2g}", least_k)


def test_what_windows_and_chunks_keep_is_what_the_page_says():
    """The subjects of the sentence, by the masks of the definition; the count of the caption, by the medians."""
    text, T, k = words_of_truncation(made_up()), 12, 4
    ((every, last),) = re.findall(
        r"The (\w+) keeps the k newest steps for every loss\. In a (\w+), only the last", text
    )
    masks = {"window": mask(T, 1, k), "chunk": mask(T, k, k)}
    assert masks[every].sum(axis=1).tolist() == [min(t, k) for t in range(1, T + 1)]
    assert masks[last].sum(axis=1).tolist() == [1, 2, 3, 4] * 3
    for names in (("chunks", "sliding"), ("sliding", "chunks")):
        found, (higher, lower) = made_up(), names
        cost = found.components.bands[-1].cost
        median = {higher: np.array([0.1, 0.5, 0.7, 1.0]), lower: np.array([0.2, 0.4, 0.6, 1.0])}
        bands = [Network({name: Cost(Band(v, v, v), cost[name].bias) for name, v in median.items()}, *[None] * 3)]
        components = replace(found.components, bands=bands)
        assert components.sliding_is_closer == (2 if higher == "sliding" else 0)


def test_diverged_networks_are_counted_once():
    band = Band(0.5, 0.6, 0.7)
    outcomes = [Outcome(0.1, band, *of) for of in ((2, "diverged"), (1, "learns"), (0, "learns"), (0, "diverged"))]
    assert [verdict(of) for of in outcomes] == ["2 diverge", "learns, 1 diverges", "learns", "diverged"]
    text = words_of(pages.page(made_up(), PICTURES))
    (row,) = re.findall(r"\| variant squared .*", text)  # a variant of which networks diverge
    assert row.endswith(" | 1 diverges")


# -- the derivation ---------------------------------------------------------------------------------------------------


def test_the_chapters_are_in_order_and_the_document_too():
    names = [path.stem for path in SECTIONS]
    assert set(names) <= set(pages.ORDER)
    templates = "".join((pages.HERE / f"sections/{name}.html").read_text() for name in pages.ORDER if name in names)
    inserted = re.findall(r'derivation\("([\d.]+)"', templates)
    there = [number for number, of in sections().items() if of.text.strip() and number not in NOT_ON_THE_PAGE]
    assert inserted == there
    for section in sections().values():
        text = as_html(section.text, lambda name: "", lambda name: "")
        words = re.sub(r"<(code|math).*?</\1>|<[^>]*>", "", text, flags=re.DOTALL)
        assert not re.search(r"[`$|\\]|\*\*|\*\w|\]\(", words), section.number


def test_equations_are_their_id_words_and_formulas():
    assert list(definitions()) == re.findall(r"\*\*\(([A-Z]\d+)\)\*\*", DOCUMENT.read_text(encoding="utf-8"))
    for name in definitions():
        reader = Reader(equation(name))
        assert reader.faults == []
        assert reader.text.startswith(f"({name}) ")
        assert not set("\\{}$*") & set(reader.text)
    assert Reader(equation("B3")).text.startswith("(B3) dat= dht∘φ′(at) with tanh′(at)=1−ht2")
    with pytest.raises(ValueError, match=r"\(B11\) is no equation"):
        equation("B11")


def test_parts_of_a_section_may_stay_in_the_document():
    whole, short = (chapter("5.3", str, str, without) for without in ((), ("In closed form.", "Six steps,")))
    assert "Horner" in whole
    assert "Horner" not in short
    assert "Bands and blocks" in short
    with pytest.raises(ValueError, match=r"section 5.3 of DERIVATION.md has not all of Nothing"):
        chapter("5.3", str, str, ["Nothing"])


def test_formulas_are_mathml_with_words_as_words():
    assert formula("h_t") == "<math><mrow><msub><mi>h</mi><mi>t</mi></msub></mrow></math>"
    assert re.findall("<mtext>(.*?)</mtext>", formula(r"\mathrm{relu}'(target_{t,o})")) == ["relu", "target"]
    assert [formula(text).count("mspace") for text in (r"\log O", r"\log(O)", r"\mathrm{Im} f")] == [1, 0, 1]
    for function, tex in (("φ", r"\varphi'(a)"), ("tanh", r"\tanh'(a)")):
        assert f'<mi>{function}</mi><mo lspace="0" rspace="0">′</mo>' in unescape(formula(tex))
    with pytest.raises(ValueError, match="unknown"):
        formula(r"\nonsense x")


def test_references_are_linked_as_in_the_document():
    assert reference("Razvan Pascanu") == "https://proceedings.mlr.press/v28/pascanu13.html"
    assert reference("Boris T. Polyak") == "https://doi.org/10.1016/0041-5553(64)90137-5"
    for author, times in (("Ilya Sutskever", 2), ("Nobody", 0)):
        with pytest.raises(ValueError, match=f"{times} references"):
            reference(author)


def test_every_equation_has_lines_of_code():
    assert set(lines_of_equations()) == set(definitions())
    for name, lines in lines_of_equations().items():
        [row] = [row for row in sections()["9"].text.splitlines() if row.startswith(f"| ({name}) |")]
        for file, function, code in lines:
            assert f"`{file}`" in row
            assert f"`{function}`" in row
            assert code
            assert f"({name})" not in code


def test_an_equation_has_its_code_numbers_and_folded_proofs():
    def check(*bounds, where="in this run"):
        differences = [
            Difference("complex step", 2e-16, bounds[0], 12, 12),
            Difference("RTRL", 3e-16, bounds[1], 1, 1),
        ]
        return EquationCheck("a < b", "dh", where, differences, "dh_3[1]", {"by hand": 0.1, "RTRL": 0.3})

    text = checked_equation("B2", {"B2": check(np.inf, 0.5), "B2, relu": check(0.0, 0.0, where="elsewhere")})
    reader = Reader(text)
    assert reader.faults == []
    for words in (
        "dh[t] += da[t + 1] @ W_hh.mT",
        "In this run, dh_3[1] is 0.1.",
        "Elsewhere, dh_3[1] is 0.1.",
        "a < b",
    ):
        assert words in reader.text
    rows = re.findall(r'<tr><th scope="row">(.*?)</th>(.*?)</tr>', text[text.index("<details>") :])
    assert [(by, re.findall(r"<td.*?>(.*?)</td>", row)) for by, row in rows[:3]] == [
        ("by hand", ["0.10000000000000001", "", "", ""]),
        ("RTRL", ["0.29999999999999999", "3·10<sup>−16</sup>", "0.5", "1"]),
        ("complex step", ["", "2·10<sup>−16</sup>", "–", "12"]),
    ]
    for bounds, summary in (
        ((np.inf, 0.5), "one of which differs"),
        ((0.0, 0.0), "equal"),
        ((0.25, 0.0), "within 0.25 E"),
    ):
        assert f"Proof of (B2): 2 methods, {summary}" in checked_equation("B2", {"B2": check(*bounds)})
    with pytest.raises(ValueError, match="not checked: U6"):
        checked_equation("U6", {})


# -- placeholders -----------------------------------------------------------------------------------------------------

VALUES = {"error": 1.27e-16, "share": 0.125, "nothing": None, "undefined": np.nan, "words": "a < b & {{ error }}",
          "names": ["F1", "F2"]}  # fmt: skip


def test_placeholders_are_filled_and_not_filled_again():
    inserts = {"loud": lambda word: f"<b>{word.upper()}</b>", "done": "<i>"}
    text = "{{ error | number('.2g') }}, {{ share | number('.1%') }}, {{ nothing }}, {{ undefined }}, {{ words }}"
    text += ", {{ names }}, {{ loud('words') }}, {{ done }}, {{ share | fixed('.2f') }}, {{ error | scientific }}"
    assert fill(text, VALUES, inserts) == snapshot(
        "1.3·10<sup>−16</sup>, 12.5%, –, –, a &lt; b &amp; {{ error }}, F1, F2, <b>WORDS</b>, <i>, 0.12, 1·10⁻¹⁶"
    )


WRONG = {
    "{{ cuont }}": "'cuont' is undefined",
    "{{ cuont | number('.2g') }}": "'cuont' is undefined",
    "{{ words | number('.2g') }}": "Unknown format code 'g'",
    "a\n{% if error %}a": "line 2: Unexpected end",
    "{% for one in error %}{% endfor %}": "not iterable",
}


def test_wrong_placeholders_are_errors():
    for text, message in WRONG.items():
        with pytest.raises(ValueError, match=message):
            fill(text, VALUES, {})


TYPESET = {
    "1.3e-04, 2e+10, 5·10⁻¹² and -0.39": "1.3·10<sup>−4</sup>, 2·10<sup>10</sup>, 5·10<sup>−12</sup> and −0.39",
    "h_{t-1}, dW_xh, ∂ℓ_t/∂θ_s": "h<sub>t−1</sub>, dW<sub>xh</sub>, ∂ℓ<sub>t</sub>/∂θ<sub>s</sub>",
    "ℓ_17, ∂h_20, target_t": "ℓ<sub>17</sub>, ∂h<sub>20</sub>, target<sub>t</sub>",
    "(k1, k₂), h₀, ρ^lag": "(k<sub>1</sub>, k<sub>2</sub>), h<sub>0</sub>, ρ<sup>lag</sup>",
    '<a href="#k1" title="W_hh">k1</a><code>W_hh 1e-5</code>-1': '<a href="#k1" title="W_hh">k<sub>1</sub></a>'
    "<code>W_hh 1e-5</code>−1",
}


def test_numbers_and_symbols_are_written_in_one_way():
    assert {html: typeset(html) for html in TYPESET} == TYPESET


# -- what readers try -------------------------------------------------------------------------------------------------

QUESTIONS = (pages.HERE / "sections/questions.html").read_text(encoding="utf-8")


def test_the_code_of_the_questions_prints_what_the_page_says(capsys):
    (code,) = re.findall(r'<code id="finite-difference-code">(.*?)</code>', QUESTIONS, re.DOTALL)
    exec(compile(unescape(code), "questions.html", "exec"), {})
    (held, small), (again, large) = (line.split() for line in capsys.readouterr().out.splitlines())
    assert (held, again) == ("held", "computed_again")
    assert float(small) < 1e-8
    assert f"{float(large):.2f}" == "0.08"  # as the page says


ONE = np.ones((1, 1))


def solutions():
    """The numbers of the solutions of exercises.txt, computed."""
    params, target = rnn.Parameters(ONE, 2 * ONE, ONE), np.array([2.0, 5.0]).reshape(2, 1, 1)
    activations = rnn.forward(params, np.ones((2, 1, 1)), ONE, nonlinearity="relu")
    flow = rnn.adjoints(params, activations, target, nonlinearity="relu")
    dw = rnn.bptt(params, activations, target, nonlinearity="relu").W_hh.item()
    twice = flow.da[0].item() * 1 + flow.da[1].item() * 5
    yield f"$dh_1 = {flow.dh[0].item():g}$ and $dw = {dw:g}$", f"counted twice: {twice:g}."
    y, classes = np.log([1.0, 1.0, 98.0]).reshape(1, 1, 3), np.array([[0]])
    p = np.exp(y) / np.exp(y).sum() - np.eye(3)[0]
    yield f"$dy = ({', '.join(f'{v:.2f}' for v in p.ravel())})$", f"= {rnn.cross_entropy(y, classes):.4f}$"
    schedule = list(rnn.windows(10, 2, 4))
    kept = sum(t - start for start, loss_start, stop in schedule for t in range(loss_start + 1, stop + 1))
    yield f"{len(schedule)} windows", f"{kept} of {10 * 11 // 2}", f"{sum(w.steps for w in schedule)} steps"
    yield (" and ".join(str(sum(w.start == 0 for w in rnn.windows(6, 2, k2))) for k2 in (3, 4)) + ":",)
    T, H, D = 10_000, 50, 1
    yield f"{T * H:,} numbers for BPTT", f"{20 * H:,} for TBPTT", f"{H * (D * H + H * H + H):,}"
    lag = next(lag for lag in range(1000) if 0.9**lag < 0.01)
    yield f"lag {lag} on", f"{0.9**lag:.4f}"
    yield f"at most ${0.25**10 * 1e7:.2f} \\cdot 10^{{-7}}$", f"{1 - np.tanh(3) ** 2:.4f} at 3"
    first, second, third = (2 * w.loss_steps for w in rnn.windows(10, 4, 8))
    yield f"By {first}, {second} and {third}:", f"\\eta\n= {0.8 / first:g}$"
    gradients = rnn.Gradients(3 * ONE, 4 * ONE, 0 * ONE)
    by_norm, by_value = rnn.clip_by_global_norm(gradients, 1.0), rnn.clip_by_value(gradients, 1.0)
    yield (
        f"({by_norm[0].item():.8f}, {by_norm[1].item():.8f}, 0)",
        f"({by_value[0].item():g}, {by_value[1].item():g}, 0)",
    )
    velocity, found = None, {}
    for number in range(1, 101):
        delta, velocity = rnn.direction(
            rnn.Parameters(ONE, ONE, ONE), rnn.Gradients(ONE, ONE, ONE), velocity, momentum=0.9
        )
        found[number] = delta.W_hh.item()
    yield (f"{found[1]:g}, {found[10]:.3f} and {found[100]:.4f}:",)


def test_the_numbers_of_the_solutions_are_computed():
    for (_, solution), expected in zip(pages.exercises(), solutions(), strict=True):
        for words in expected:
            assert words in solution
