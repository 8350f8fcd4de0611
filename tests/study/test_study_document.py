"""The page of a whole study: all equations and links, and in headless Chromium at two widths, in print, and by axe."""

import re

import pytest
from html_faults import Reader
from study_explorer import IN_BROWSER, TOO_WIDE, choose
from study_settings import MISTAKES, STUDIED

from numpy_rnn.study.page.formulas import definitions

pytestmark = [pytest.mark.needs_matplotlib, pytest.mark.slow]

T = STUDIED["steps"]
MAX_PRINTED = 25  # pages of A4
WIDER = """() => [...document.querySelectorAll("section table, section p, section .display")]
  .filter((e) => e.checkVisibility() && e.parentElement.closest("#explorer, #live, table") === null)
  .filter((e) => e.getBoundingClientRect().right > innerWidth || e.scrollWidth > e.clientWidth + 1)
  .map((e) => e.textContent.slice(0, 60))"""
CHAPTERS = ["network", "loss", "backward", "sum", "truncate", "components", "truncation", "vanishing"]
CHAPTERS += ["disagreements", "mistakes", "equations"]


@pytest.fixture(scope="module")
def text(made):
    return (made.folder / "study.html").read_text(encoding="utf-8")


def test_every_equation_is_on_the_page_once_with_its_code_number_and_proof(text):
    blocks = re.findall(r'<div class="checked" id="equation-(\w+)">(.*?)</div></details>\n</div>', text, re.DOTALL)
    assert sorted(name for name, _ in blocks) == sorted(definitions())
    for name, block in blocks:
        assert block.index("<math>") < block.index('<pre class="lines">') < block.index("In this run, ")
        assert re.search(r'is <span class="value">[-−]?\d', block) or name in ("T1", "T2"), name
        assert f"<summary>Proof of ({name}): " in block
        assert "one of which differs" not in block, name


def test_every_heading_and_equation_can_be_linked_to(text):
    elements = Reader(text).elements
    ids = {attributes["id"] for _, attributes in elements if "id" in attributes}
    headings = re.findall(r"<h3(.*?)>", text)
    assert headings
    assert all(' id="' in heading for heading in headings)
    assert {f"equation-{name}" for name in definitions()} <= ids
    assert {f"wrong-line-{number}" for number in range(1, 13)} | {
        f"exercise-{number}" for number in range(1, 11)
    } <= ids
    listed = re.findall(r'href="#(\w+)"', text[text.index("<nav") : text.index("</nav>")])
    assert [name for name in listed if name in CHAPTERS] == CHAPTERS


@IN_BROWSER
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (400, "dark")])
def test_the_whole_page_fits_its_screen_and_axe_finds_no_violation(width, scheme, new_page, made):
    """On a wide screen sliders, network, matrix and curves are in view at once; on a narrow one the marker stays so."""
    from axe_playwright_python.sync_playwright import Axe

    page = new_page(made.folder / "study.html", width, color_scheme=scheme)
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(255, 255, 255)") == (scheme == "light")
    page.evaluate("location.hash = '#explore/k1=1&update=3'")
    page.wait_for_timeout(50)
    if width == 1280:
        assert page.evaluate(TOO_WIDE) == []
        for shown in ("#moment", "#k2", "#steps svg", "#weights svg", "#mask svg", "#curves", "#summary"):
            box = page.locator(shown).bounding_box()
            assert 0 <= box["x"] <= box["x"] + box["width"] <= 1280, shown
            assert 0 <= box["y"] <= box["y"] + box["height"] <= 800, shown
    for update in (T, 1):
        choose(page, k1=1, update=update)
        column, marker = (page.locator(f"#steps{part}").bounding_box() for part in ("", " .marker"))
        assert column["x"] <= marker["x"] < marker["x"] + marker["width"] <= column["x"] + column["width"]
    shown = page.evaluate("[...document.querySelectorAll('figure')].map((f) => [...f.querySelectorAll('img')]"
                          ".filter((e) => e.checkVisibility()).map((e) => e.className).join())")  # fmt: skip
    assert set(shown) == {"of-narrow" if width == 400 else "of-wide"}
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(WIDER) == []
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = false; })")
    # Formulas have the colour of the text around them. They are most of the elements, which axe would look at.
    page.evaluate("document.querySelectorAll('math').forEach((one) => { one.remove(); })")
    sections = [["#questions"], ["#explore"], ["#live"], ["#mistakes"]]
    context = None if scheme == "light" else {"include": sections}
    found = Axe().run(page, context=context, options={"resultTypes": ["violations"]}).response["violations"]
    assert [(one["id"], one["nodes"][0]["html"]) for one in found] == []


@IN_BROWSER
def test_the_page_prints_on_few_pages_and_its_table_of_mistakes_is_filtered(new_page, made):
    page = new_page(made.folder / "study.html")
    pdf = page.pdf(prefer_css_page_size=True)
    assert 5 < len(re.findall(rb"/Type\s*/Page\b", pdf)) <= MAX_PRINTED
    rows = "[...document.querySelectorAll('#mistake-table tbody tr')].filter((e) => e.checkVisibility())"
    assert page.evaluate(f"{rows}.length") == len(MISTAKES)
    page.locator("#mistake-words").fill("bptt MISSING tanh")
    assert page.evaluate(f"{rows}.map((e) => e.querySelector('th').textContent)") == ["tanh′ missing"]
    assert page.locator("#mistake-count").text_content() == f"1 of {len(MISTAKES)}"
    page.locator("#mistake-words").fill("")
    verdict = page.evaluate("document.querySelector('#mistake-table tbody tr').dataset.verdict")
    page.locator("#mistake-verdict").select_option(verdict)
    assert set(page.evaluate(f"{rows}.map((e) => e.dataset.verdict)")) == {verdict}
