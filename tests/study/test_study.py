"""The command `study`: its folder, its whole page, also in headless Chromium, and what it refuses."""

import os
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from html_faults import Reader, faults
from in_process import command, contents, refused
from study_explorer import IN_BROWSER, choose
from study_settings import MISTAKES, RENDERED, STUDIED, measure, small, untrained

import numpy_rnn
from numpy_rnn.app.configuration import Configuration
from numpy_rnn.app.experiment import prepare
from numpy_rnn.app.storage import save_parameters
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import Parameters
from numpy_rnn.study.figures.svg import NARROW, Picture, pictures
from numpy_rnn.study.page.formulas import definitions
from numpy_rnn.study.page.page import page
from numpy_rnn.study.study import DRAWINGS, check_can_write_folder, tables_of, write_folder

pytestmark = pytest.mark.slow

MAX_PAGE = 2_000_000  # bytes
NO_PICTURES = dict.fromkeys((drawing.name for drawing in DRAWINGS), Picture(*2 * ((b"<svg/>", (1.0, 1.0)),)))
MAX_PRINTED = 25  # pages of A4
WIDER = """() => [...document.querySelectorAll("section table, section p, section .display")]
  .filter((e) => e.checkVisibility() && e.parentElement.closest("#explorer, #live, table") === null)
  .filter((e) => e.getBoundingClientRect().right > innerWidth || e.scrollWidth > e.clientWidth + 1)
  .map((e) => e.textContent.slice(0, 60))"""
TOO_WIDE = """() => [...document.querySelectorAll(".wide:has(> table)")].filter((e) => e.scrollWidth > e.clientWidth)
  .map((e) => e.textContent.slice(0, 40))"""
CHAPTERS = [
    "questions",
    "explore",
    "network",
    "loss",
    "backward",
    "sum",
    "truncate",
    "components",
    "truncation",
    "vanishing",
]
CHAPTERS += ["disagreements", "mistakes", "equations"]
IMAGE = re.compile("""<img (?:"[^"]*"|[^">])*>""")


@pytest.fixture(autouse=True)
def _in_a_new_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


# -- the folder -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("run", ["untrained", pytest.param("everything", marks=pytest.mark.needs_matplotlib)])
def test_the_page_has_every_figure_and_table_in_words_and_no_fault(run, request):
    if run == "untrained":
        findings = untrained()
        text = page(findings, NO_PICTURES, DRAWINGS, tables_of(findings))
    else:
        made = request.getfixturevalue("made")
        findings, text = made.findings, made.page
    assert faults(text) == []
    ids = {attributes.get("id") for _, attributes in Reader(text).elements}
    assert not re.search(r"\{\{|\{%", text)
    for drawing in DRAWINGS:
        assert f"figure-{drawing.name}" in ids
        for words in (drawing.caption(findings), drawing.alternative(findings)):
            assert len(words) > 30
            assert not re.search("None|nan", words), words
    for table in tables_of(findings):
        assert f"table-{table.name}" in ids
        assert table.rows, table.name
        assert all(len(row) == len(table.head) for row in table.rows), table.name
        for cell in (cell for row in table.rows for cell in row):
            assert isinstance(cell, str), table.name
            assert "None" not in cell or table.name == "mistakes", table.name  # there as code


@pytest.mark.needs_matplotlib
def test_the_folder_is_the_page_its_numbers_and_every_figure_twice(made):
    names = {path.relative_to(made.folder).as_posix() for path in made.folder.rglob("*") if path.is_file()}
    figures = {f"figures/{drawing.name}.{ending}" for drawing in DRAWINGS for ending in ("svg", "png")}
    assert names == {"study.html", "study.json"} | figures
    assert len(DRAWINGS) == len({drawing.name for drawing in DRAWINGS}) > 10
    for name in figures:
        start = (made.folder / name).read_bytes()[:8]
        assert start == b"\x89PNG\r\n\x1a\n" if name.endswith("png") else start.startswith(b"<?xml"), name
    about = made.findings["about"]
    assert about["sizes"] == {"T": 6, "B": 1, "D": 1, "H": 3, "O": 1}
    assert (about["epochs"], about["seeds"], about["parameters"]) == ([0, 1, 2], 2, 22)
    largest = max(len(image.encode()) for image in IMAGE.findall(made.page))
    missing = 2 * (len(DRAWINGS) - len(RENDERED))  # images, for a wide and for a narrow column
    assert len(made.page.encode()) + missing * largest < MAX_PAGE
    lines = made.printed.splitlines()
    heading = "numpy_rnn study: sine wave, T=6 B=1 D=1 H=3 O=1, relu, biases, reduction mean, k1=50 k2=50"
    assert lines[0].startswith(heading)
    assert lines[1] == "the first 6 of 20 steps are studied; --steps changes their number"
    assert re.search(r"\d s  done: open \S+/study.html$", lines[-1])


@pytest.mark.needs_matplotlib
def test_the_folder_is_the_same_each_time(made):
    """So that a study can be kept under version control, and compared. One of the figures is drawn again."""
    findings = measure(small(**STUDIED), MISTAKES)
    assert made.findings == findings
    *files, picture = pictures(DRAWINGS[-1], findings)
    for content, ending in zip(files, ("svg", "png")):
        assert content == (made.folder / f"figures/{DRAWINGS[-1].name}.{ending}").read_bytes()
    assert b"<text" not in files[0]  # but outlines, which need no font
    assert picture.wide[0] != picture.narrow[0]
    for (svg, (width, _)), expected in zip(picture, (DRAWINGS[-1].size[0], NARROW), strict=True):
        assert width == expected
        assert b"<text" in svg
    again = page(findings, NO_PICTURES | {DRAWINGS[-1].name: picture}, DRAWINGS, tables_of(findings))
    assert IMAGE.sub("", made.page) == IMAGE.sub("", again)
    drawn = [image for image in IMAGE.findall(again) if len(image) > 1000]
    assert len(drawn) == 2  # for a wide and for a narrow column
    assert set(drawn) <= set(IMAGE.findall(made.page))


@pytest.mark.needs_matplotlib
def test_a_study_may_be_written_again_and_other_files_in_its_folder_stay(made):
    files = {path.relative_to(made.folder).as_posix(): path.read_bytes() for path in made.folder.rglob("*.*")}
    check_can_write_folder(made.folder, "--folder", files)
    os.makedirs("study/figures")
    Path("study/figures/masks.svg").write_text("old")
    Path("study/notes.txt").write_text("mine")
    write_folder("study", files)
    assert contents() == {Path("study", name): content for name, content in (files | {"notes.txt": b"mine"}).items()}


def test_a_new_folder_appears_whole_or_not_at_all(monkeypatch):
    def full(self, content):
        raise OSError(28, "No space left on device")

    write_folder("one", {"a": b"1", "b/c": b"2"})
    os.makedirs("like")
    assert Path("one").stat().st_mode == Path("like").stat().st_mode
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        for folder in ("two", "one"):
            with pytest.raises(InputError, match=r"cannot be written: No space left on device; choose another place"):
                write_folder(folder, {"a": b"3", "b/d": b"4"})
    assert contents() == {Path("one/a"): b"1", Path("one/b/c"): b"2"}
    assert sorted(os.listdir()) == ["like", "one"]


# -- the page ---------------------------------------------------------------------------------------------------------


@pytest.mark.needs_matplotlib
def test_every_equation_is_on_the_page_once_with_its_number_and_proof_and_headings_can_be_linked_to(made):
    blocks = re.findall(r'<div class="checked" id="equation-(\w+)">(.*?)</div></details>\n</div>', made.page, re.DOTALL)
    assert sorted(name for name, _ in blocks) == sorted(definitions())
    for name, block in blocks:
        assert block.index("<math>") < block.index('<pre class="lines">') < block.index("In this run, ")
        assert re.search(r'is <span class="value">[-−]?\d', block) or name in ("T1", "T2"), name
        assert f"<summary>Proof of ({name}): " in block
        assert "one of which differs" not in block, name
    ids = {attributes["id"] for _, attributes in Reader(made.page).elements if "id" in attributes}
    assert {f"wrong-line-{number}" for number in range(1, 13)} <= ids
    assert {f"exercise-{number}" for number in range(1, 11)} <= ids
    headings = re.findall(r"<h3(.*?)>", made.page)
    assert headings
    assert all(' id="' in heading for heading in headings)
    listed = re.findall(r'href="#(\w+)"', made.page[made.page.index("<nav") : made.page.index("</nav>")])
    assert [name for name in listed if name in CHAPTERS] == CHAPTERS


@IN_BROWSER
@pytest.mark.needs_matplotlib
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
    for update in (STUDIED["steps"], 1):
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
@pytest.mark.needs_matplotlib
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


# -- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.needs_matplotlib
def test_what_cannot_be_studied_is_one_line(capsys):
    params = prepare(Configuration(networks=3)).params
    save_parameters("three.npz", params)
    Path("file").write_text("")
    zeros = (None if theta is None else 0 * theta[0] for theta in params)
    save_parameters("zero.npz", Parameters(*zeros))
    os.makedirs("taken/study.html")
    for name in ("mine/study.html", "drawn/figures/masks.svg"):
        Path(name).parent.mkdir(parents=True)
        Path(name).write_text("mine")
    for words, message in {
        "--learning-rate 0.1,0.2": "2 learning rates are given: expected one; the study is about one run",
        "--weights three.npz": "the weights are of 3 networks: expected those of one; the study is about one run",
        "--folder file": "--folder file is a file: expected the name of a folder; choose another name",
        "--folder no/where": r"--folder no/where: the folder .*/no does not exist; create it first",
        "--folder taken": r"--folder taken/study\.html is a folder: expected the name of a file",
        "--folder=": "--folder is empty: expected the name of a folder",
        "--folder mine": r"--folder mine: mine/study\.html was not written by a study; move it, or .*",
        "--folder drawn": r"--folder drawn: drawn/figures/masks\.svg was not written by a study; move it, .*",
        "--weights zero.npz": "the largest derivative of the loss by the initial weights is 0: expected .*",
        "--steps 2": ".*--steps: '2': expected a whole number, 3 or more; see .* --help",
        "--seeds 1": ".*--seeds: '1': expected a whole number, 2 or more; see .* --help",
        "--hidden-size 2000": "20 steps and 4004000 parameters make a component matrix of 6 GiB: expected 1 at most;"
        " choose fewer --steps, or a smaller --hidden-size",
        "--save a.npz": "--save is an option of the command train and not of study; see .* --help",
        "--k1 2 --k2 1": "k2 is 1 and k1 is 2: expected k2 ≥ k1.*",
        "--data no.csv": r".*no\.csv.* does not exist.*",
    }.items():
        assert re.fullmatch(message, refused(numpy_rnn, capsys, "study", *words.split())), words


@pytest.mark.needs_matplotlib
def test_a_run_that_diverges_ends_with_status_3(capsys):
    """Before anything is measured; also where its numbers are still finite, and only far too large."""
    for words, message in {
        "--nonlinearity relu --learning-rate 50 --epochs 20": r"before the end of epoch \d+: there is nothing to study;"
        " try a --learning-rate smaller than 50, or clipping by --max-norm 1",
        "--weight-decay 100 --max-norm 1 --epochs 1": r"by epoch 1, where the loss is \d\S+: there is nothing to study;"
        " try a --learning-rate smaller than 0.1, or a --weight-decay smaller than 100",
    }.items():
        ended = command(numpy_rnn, capsys, "study", *words.split())
        assert ended.status == 3
        assert "the equations" not in ended.out
        assert re.fullmatch(f"numpy_rnn: the run diverged {message}\n", ended.err)
    assert contents() == {}


@pytest.mark.needs_matplotlib
@pytest.mark.parametrize("package", ["matplotlib", "jinja2", "latex2mathml"])
def test_a_package_that_is_missing_is_named_with_what_to_install(package, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    message = refused(numpy_rnn, capsys, "study")
    assert re.fullmatch(rf"{package} cannot be imported .*: install .*; the study .*", message)
    assert contents() == {}


def test_other_packages_have_no_study(capsys):
    message = refused(SimpleNamespace(__name__="torch_rnn"), capsys, "study")
    assert "unknown command 'study': expected train or compare; see" in message
