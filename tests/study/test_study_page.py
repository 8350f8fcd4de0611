"""The study's page: its equations, its placeholders, and the file that comes of them, read without a browser."""

import json
import re
from html import unescape
from urllib.parse import unquote

import pytest
from html_faults import Reader, faults

from numpy_rnn.common.records import Parameters
from numpy_rnn.study.figures.svg import Picture, compact
from numpy_rnn.study.page import page as pages
from numpy_rnn.study.page.formulas import DOCUMENT, checked_equation, definitions, equation, formula, reference
from numpy_rnn.study.page.templates import fill
from numpy_rnn.study.setting import Drawing, Table

# -- equations ------------------------------------------------------------------------------------------------------


def test_definitions_are_found_and_cut_into_words_and_formulas():
    found = re.findall(r"\*\*\(([A-Z]\d+)\)\*\*", DOCUMENT.read_text(encoding="utf-8"))
    assert list(definitions()) == found
    assert len(found) == 30
    text = "- **(B1)** $\\quad a = b \\quad$ for $t > 1$,\n  and $0$ else\n\n- **(B2)** words\n- **(B1x)** $c$\n"
    assert definitions(text) == {
        "B1": (("a = b", True), (" for ", False), ("t > 1", True), (", and ", False), ("0", True), (" else", False)),
        "B2": (("words", False),),
    }
    with pytest.raises(ValueError, match=r"\(B1\) is defined twice"):
        definitions("- **(B1)** $a$\n- **(B1)** $b$\n")


def test_formulas_are_mathml_with_words_as_words_and_an_equation_is_its_id_words_and_formulas():
    assert formula("h_t") == "<math><mrow><msub><mi>h</mi><mi>t</mi></msub></mrow></math>"
    assert re.findall("<mtext>(.*?)</mtext>", formula(r"\mathrm{relu}'(target_{t,o})")) == ["relu", "target"]
    for name, pieces in definitions().items():
        reader = Reader(equation(name))
        assert reader.faults == []
        assert reader.text.startswith(f"({name}) ")
        assert not set("\\{}$") & set(reader.text)
        assert sum(tag == "math" for tag, _ in reader.elements) >= sum(piece.is_formula for piece in pieces)
    assert Reader(equation("B1")).text == "(B1) dyt=wt∘et/N for t>T−K, and dyt=0 for the steps without a loss"
    with pytest.raises(ValueError, match="unknown"):
        formula(r"\nonsense x")
    with pytest.raises(ValueError, match=r"\(B11\) is no equation"):
        equation("B11")


def test_references_are_linked_as_in_the_document():
    assert reference("Razvan Pascanu") == "https://proceedings.mlr.press/v28/pascanu13.html"
    assert reference("Boris T. Polyak") == "https://doi.org/10.1016/0041-5553(64)90137-5"
    for author, times in (("Ilya Sutskever", 2), ("Nobody", 0)):
        with pytest.raises(ValueError, match=f"{times} references"):
            reference(author)


CHECK = {
    "what": "a < b",
    "quantity": "dh",
    "checks": [
        {"witness": "complex step", "difference": 2e-16, "ulps": 1.0, "bounds": None, "compared": 12},
        {"witness": "RTRL", "difference": 3e-16, "ulps": 2.0, "bounds": 0.5, "compared": 1},
    ],
    "example": {"element": "dh_3[1]", "values": [{"by": "by hand", "value": 0.1}, {"by": "RTRL", "value": 0.3}]},
}


def test_an_equation_has_its_code_a_number_and_a_folded_proof():
    text = checked_equation("B2", {"B2": CHECK})
    reader = Reader(text)
    assert reader.faults == []
    assert ("div", {"class": "checked", "id": "equation-B2"}) in reader.elements
    for words in (
        "dh[t] += da[t + 1] @ W_hh.mT",
        "In this run, dh_3[1] is 0.1.",
        "Proof of (B2): 2 other methods, one of which differs",
        "a < b",
    ):
        assert words in reader.text
    rows = re.findall(r'<tr><th scope="row">(.*?)</th>(.*?)</tr>', text[text.index("<details>") :])
    assert [(by, re.findall(r"<td.*?>(.*?)</td>", row)) for by, row in rows] == [
        ("by hand", ["0.10000000000000001", "", "", "", ""]),
        ("RTRL", ["0.29999999999999999", "3·10<sup>−16</sup>", "2", "0.5", "1"]),
        ("complex step", ["", "2·10<sup>−16</sup>", "1", "–", "12"]),
    ]
    for ratios, summary in (((0.0, 0.0), "equal to the last bit"), ((0.25, 0.0), "at most 0.25 E away")):
        checks = [{**of, "bounds": ratio} for of, ratio in zip(CHECK["checks"], ratios)]
        assert f"2 other methods, {summary}" in checked_equation("B2", {"B2": {**CHECK, "checks": checks}})
    with pytest.raises(ValueError, match="not checked: U6"):
        checked_equation("U6", {})
    assert "dh_3[1]" not in checked_equation("B2", {"B2": {**CHECK, "example": None}})


# -- placeholders ---------------------------------------------------------------------------------------------------

FINDINGS = {
    "error": 1.27e-16,
    "large": 12345678.0,
    "share": 0.125,
    "count": 20,
    "nothing": None,
    "words": "a < b & {{ count }}",
    "rows": [{"size": 0.5, "fits": True}, {"size": 2.0, "fits": False}],
    "names": ["F1", "F2"],
    "deep": {"list": [{"90": 7}]},
}
FILLED = {
    "{{ count }}, {{ error | number('.2g') }}, {{ share | number('.1%') }}": "20, 1.3·10<sup>−16</sup>, 12.5%",
    "{{ nothing | number('.2g') }}, {{ nothing }}, {{ words }}": "–, –, a &lt; b &amp; {{ count }}",
    "{{ large | number('.2g') }}, {{ '1e-5' }}, {{ true }}": "1.2·10<sup>7</sup>, 1e-5, True",  # words are left alone
    "{{ names }}, {{ deep.list[0]['90'] }}": "F1, F2, 7",
    "{% for row in rows %}{% if row.fits %}{{ row.size | number('.1f') }}{% endif %}{% endfor %}": "0.5",
    "{{ loud('words') }}, {{ done }}": "<b>WORDS</b>, <i>",
}


def test_placeholders_are_filled_and_what_is_put_in_is_not_filled_again():
    inserts = {"loud": lambda word: f"<b>{word.upper()}</b>", "done": "<i>"}
    assert {text: fill(text, FINDINGS, inserts) for text in FILLED} == FILLED


WRONG = {
    "{{ cuont }}": "'cuont' is undefined",
    "{{ cuont | number('.2g') }}": "'cuont' is undefined",
    "{% for row in rows %}{{ row.nmae }}{% endfor %}": "no attribute 'nmae'",
    "{{ words | number('.2g') }}": "Unknown format code 'g'",
    "{% if cuont %}a{% endif %}": "'cuont' is undefined",
    "a\n{% if count %}a": "line 2: Unexpected end",
    "{% for one in count %}{% endfor %}": "not iterable",
    "{{ fragile('it') }}": "there is no it",
}


def test_wrong_placeholders_are_errors():
    def fragile(name):
        raise ValueError(f"there is no {name}")

    for text, message in WRONG.items():
        with pytest.raises(ValueError, match=message):
            fill(text, FINDINGS, {"fragile": fragile})


# -- the page -------------------------------------------------------------------------------------------------------

DRAWING = Drawing("shape", (4.0, 3.0), lambda figure, findings: None, lambda _: "See `x < y`.", lambda _: 'A "shape".')
PICTURE = b'<svg xmlns="http://www.w3.org/2000/svg">\n<path fill="#fff" width="5%" id="a&amp;b"/></svg>'
TABLE = Table("list", "All of them", ["what", "value"], [["`a<b`", "1.5e-07"], ["c\nd", "−3 %"], ["2nd", "12"]])
TEXTS = {
    "0_first": "<h2>One</h2><p>{{ count }}</p>{{ figure('shape') }}<p id=\"equation-B2\">{{ equation('B2') }}</p>",
    "1_second": "<h2>Two &amp; more</h2>{{ table('list') }}",
    "1b_third": "<h3>Also <em>the</em> last; it is</h3><p>{% if count %}there{% endif %}</p>",
}
WITH_EXPLORER = {
    **FINDINGS,
    "explorer": {"name": "</script><b>", "sizes": {"T": 3, "H": 2}, "nonlinearity": "tanh", "numbers": [1, 0.5, None]},
}


def assembled(texts=TEXTS):
    pictures = {"shape": Picture((PICTURE, DRAWING.size), (PICTURE, (2.0, 5.0)))}
    return pages.assembled(texts, WITH_EXPLORER, pictures, (DRAWING,), (TABLE,))


def test_the_page_is_whole():
    text = assembled()
    assert faults(text) == []
    assert "{{" not in text
    reader = Reader(text)
    assert [a["id"] for tag, a in reader.elements if tag == "section"] == ["first", "second", "third"]
    contents, anchors = ["#first", "#second"], ["#first", "#equation-B2", "#second", "#also-the-last-it-is"]
    assert [a["href"] for tag, a in reader.elements if tag == "a"] == contents + anchors
    assert "there" in reader.text
    image, narrow = (attributes for tag, attributes in reader.elements if tag == "img")
    head, _, source = image["src"].partition(",")
    assert head == "data:image/svg+xml"
    assert not set(source) & set('"#\n&')
    assert unquote(source).encode() == PICTURE.replace(b"\n", b" ").replace(b'"', b"'")
    assert (image["width"], image["height"], image["alt"]) == ("384", "288", 'A "shape".')
    assert (narrow["src"], narrow["width"], narrow["height"]) == (image["src"], "192", "480")
    assert "See <code>x &lt; y</code>." in text
    assert re.findall(r"<td(.*?)>(.*?)</td>", text[: text.index("<script")], re.DOTALL) == [
        *(("", "<code>a&lt;b</code>"), (" class=number", "1.5·10<sup>−7</sup>")),
        *(("", "c\nd"), (" class=number", "−3 %")),
        *(("", "2nd"), (" class=number", "12")),
    ]
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert json.loads(data) == WITH_EXPLORER["explorer"]  # nothing in the data ends its element
    with pytest.raises(ValueError, match="JSON"):
        pages.embedded([float("nan")])
    assert assembled() == text


def test_a_compact_svg_is_the_same_to_a_hundredth_of_a_point():
    text = """<?xml version="1.0"?>
<svg viewBox="0 0 9.12345 9"> <metadata> <a>x</a> </metadata> <!-- M 1.234567 -->
 <path id="MLC-1.23456" d="M 1.234567 -0.000001
L 2.5 3e-05 Q 1.999999 1e-7 4 12.345678 z
" transform="translate(63.623047 0.1) scale(0.015625)" style="opacity: 0.123456"/>
 <use x="10.999" y="7.005001"/>
</svg>
"""
    short = """<?xml version="1.0"?><svg viewBox="0 0 9.12345 9">\
<path id="MLC-1.23456" d="M1.23 0L2.5 0Q2 0 4 12.35z" \
transform="translate(63.62 0.1) scale(0.015625)" style="opacity: 0.123456"/><use x="11" y="7.01"/></svg>
"""
    assert compact(text.encode()).decode() == short
    assert compact(short.encode()).decode() == short


def test_what_a_section_asks_for_in_vain_is_named():
    for kind in ("figure", "table"):
        with pytest.raises(ValueError, match=r"sections/1_x.html: unknown name 'shpae'"):
            assembled({"1_x": f"<h2>X</h2>{{{{ {kind}('shpae') }}}}"})


# -- the ten questions ----------------------------------------------------------------------------------------------

QUESTIONS = (pages.HERE / "sections/00_questions.html").read_text(encoding="utf-8")


def test_ten_questions_have_an_equation_and_a_link_each():
    *questions, names = re.split("<h3>", QUESTIONS)[1:]
    assert len(questions) == 10
    for text in questions:
        assert len(re.findall(r"\{\{ (?:formula|equation)\(", text)) == 1, text[:40]
        assert '<a href="#' in text
    for name in Parameters._fields:
        assert f"`{name}`" in names or name == "h_0"


def test_the_code_that_checks_a_truncated_gradient_prints_what_the_page_says(capsys):
    (code,) = re.findall(r'<code id="finite-difference-code">(.*?)</code>', QUESTIONS, re.DOTALL)
    exec(compile(unescape(code), "00_questions.html", "exec"), {})
    (held, small), (again, large) = (line.split() for line in capsys.readouterr().out.splitlines())
    assert (held, again) == ("held", "computed_again")
    assert float(small) < 1e-8 < 1e-3 < float(large)


def test_the_names_of_pytorch_are_pytorchs():
    torch = pytest.importorskip("torch")
    modules = {"rnn": torch.nn.RNN(1, 1), "out": torch.nn.Linear(1, 1)}
    names = re.findall(r"`(rnn|out)\.(\w+)", QUESTIONS)
    assert {name for _, name in names} >= {"weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0", "weight", "bias"}
    for module, name in names:
        assert isinstance(getattr(modules[module], name), torch.nn.Parameter)


def test_a_style_sheet_consists_of_rules():
    """Nothing is left without comments and rules, such as a message of a program that wrote the file."""
    for name in pages.STYLES:
        rest = re.sub(r"/\*.*?\*/", "", (pages.HERE / name).read_text(encoding="utf-8"), flags=re.S)
        while rest != (rest := re.sub(r"[^{};]*\{[^{}]*\}", "", rest)):
            pass
        assert rest.strip() == "", name
