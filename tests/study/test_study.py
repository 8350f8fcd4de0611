"""The command `study`: its folder and its page, also in headless Chromium, and what it refuses."""

import io
import json
import os
import re
import sys
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pytest
from html_faults import faults
from in_process import command, contents, main, refused
from study_runs import small, with_options

import numpy_rnn
from numpy_rnn.app.checkpoint import save_parameters
from numpy_rnn.app.configuration import Configuration
from numpy_rnn.app.experiment import prepare
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import Parameters
from numpy_rnn.study import study
from numpy_rnn.study.checks.all_checks import measure_checks
from numpy_rnn.study.figures.drawings import DRAWINGS
from numpy_rnn.study.figures.style import Picture, style
from numpy_rnn.study.findings import plain
from numpy_rnn.study.page.pages import PAGES, pages
from numpy_rnn.study.study import check_folder, write_folder
from numpy_rnn.study.suite_parts import named
from numpy_rnn.study.training.mistakes import measure_training, published_training

pytestmark = [pytest.mark.slow, pytest.mark.needs_matplotlib]

OPTIONS = {"epochs": 2, "k1": 50, "k2": 50, "reduction": "mean", "nonlinearity": "relu", "hidden_size": 3,
           "momentum": 0.5, "max_norm": 0.2, "dtype": "float64", "bias": True, "learn_initial_state": True}  # fmt: skip
MISTAKES = tuple(map(named, ("tanh′ missing", "2e for e", "dh_next dropped")))
WIDER = """() => [...document.querySelectorAll("section table, section p, section .display, section svg, section img")]
  .filter((e) => e.checkVisibility() && e.parentElement.closest("table") === null)
  .filter((e) => e.getBoundingClientRect().right > innerWidth || e.scrollWidth > e.clientWidth + 1)
  .map((e) => e.textContent.slice(0, 60))"""
# Texts of drawings that are smaller than 12 px, also where their drawing is scaled down.
SMALL = """() => [...document.querySelectorAll("svg text, svg tspan")].filter((e) => {
  const svg = e.closest("svg");
  return e.checkVisibility() && parseFloat(getComputedStyle(e).fontSize) * svg.getBoundingClientRect().width
    / svg.width.baseVal.value < 11.95;
}).map((e) => e.textContent)"""
EQUATIONS_OF_ALL_MOMENTS = """() => exploredNow(FIGURES.explore.state).moments.flatMap(({what, t}) =>
  explained(exploredNow({...FIGURES.explore.state, at: `${what}_${t}`})).equations)"""
# Leaves one element of each kind, by tags, classes and names, for axe, which takes long to look at all. Formulas have
# the colour of the text around them, and all blocks of equations are made in one way.
DISTINCT = """() => {
  document.querySelectorAll("math, .checked:not(#equation-B2)").forEach((one) => { one.remove(); });
  const kind = (e) => [e.tagName, e.id || e.htmlFor || e.value, e.getAttribute("class")].join();
  const path = (e) => (e ? `${path(e.parentElement)} ${kind(e)}` : "");
  const all = [...document.body.querySelectorAll("*")], first = new Map(all.map((e) => [path(e), e]).reverse());
  all.reverse().filter((e) => first.get(path(e)) !== e && !e.childElementCount).forEach((e) => { e.remove(); });
}"""


def well_made(text):
    """Whether a page has no faults; links to the other page are not followed."""
    return [
        fault for fault in faults(text) if not re.search(r"leads to (lesson|evidence)\.html", fault)
    ] == []


@pytest.fixture(autouse=True)
def _in_a_new_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The folder of a small study of other options than the default ones, with few mistakes and no figures, and what it
    printed.
    """
    folder, out = tmp_path_factory.mktemp("made") / "study", io.StringIO()
    words = [
        f"--{name.replace('_', '-')}{'' if value is True else f'={value}'}"
        for name, value in OPTIONS.items()
    ]
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out):
        patch.setattr(
            study, "pictures", lambda drawing, findings: (Picture(b"<svg/>", drawing.size),) * 2
        )
        patch.setattr(
            study, "measure_training", lambda subject: measure_training(subject, MISTAKES)
        )
        assert (
            main(
                numpy_rnn, ("study", *words, "--full", "--steps=6", "--seeds=2", "--folder", folder)
            )
            == 0
        )
    return folder, out.getvalue()


def test_the_folder_is_the_page_its_numbers_and_figures(made):
    folder, out = made
    heading, steps, *timed = out.splitlines()
    assert heading.startswith("numpy_rnn study: sine wave, T=6 B=1 D=1 H=3 O=1, relu, ")
    assert steps == "the first 6 of 20 steps are studied; --steps changes their number"
    assert [line[9:].split(",")[0].split(":")[0] for line in timed] == [
        "training", "every equation and its witnesses", "the component matrix", "figures from 1 of 7",
        "figures from 4 of 7", "figures from 7 of 7", "the two pages", "done",
    ]  # fmt: skip
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    figures = {f"figures/{drawing.name}.svg" for drawing in DRAWINGS}
    assert names == {"lesson.html", "evidence.html", "study.json", "training.json"} | figures
    texts = [(folder / page.file).read_text(encoding="utf-8") for page in PAGES]
    numbers, training = (
        json.loads((folder / f"{name}.json").read_bytes()) for name in ("study", "training")
    )
    for text in texts:
        assert well_made(text)
        assert len(text) < 1_500_000
    assert "one of which differs" not in texts[1]
    assert "networks of this run" in texts[1]  # the numbers of a full study are its own
    about = numbers["about"]
    assert about["sizes"] == {"T": 6, "B": 1, "D": 1, "H": 3, "O": 1}
    assert (about["epochs"], about["networks"], about["parameters"]) == ([0, 1, 2], 2, 22)
    assert about["choices"]["max norm"] == "0.2"
    assert numbers["checks"] == plain(
        measure_checks(small(6, 2, **OPTIONS))
    )  # the same numbers each time
    assert numbers["training"] == training
    assert (training["networks"], [one["name"] for one in training["mistakes"]]) == (
        2,
        [one.name for one in MISTAKES],
    )


def test_without_full_training_is_the_published_one(capsys, monkeypatch):
    monkeypatch.setattr(study, "measure", lambda of, choices, training, begin, is_full: training)
    monkeypatch.setattr(
        study,
        "files_of",
        lambda training, begin: {"lesson.html": json.dumps(plain(training)).encode()},
    )
    assert command(numpy_rnn, capsys, "study", "--epochs", "2", "--steps", "6").status == 0
    assert json.loads(Path("study/lesson.html").read_bytes()) == plain(published_training())


def test_a_study_may_be_written_again_and_other_files_stay():
    page = study.GENERATOR + b"old"
    write_folder("one", {"lesson.html": page, "figures/b.svg": b"2"})
    Path("one/notes.txt").write_text("mine")
    check_folder("one")
    write_folder("one", {"lesson.html": page + b"new", "figures/b.svg": b"3"})
    assert contents() == {
        Path("one/lesson.html"): page + b"new", Path("one/figures/b.svg"): b"3", Path("one/notes.txt"): b"mine"
    }  # fmt: skip


def test_nothing_unfinished_is_left_when_the_disk_refuses(monkeypatch):
    write_folder("one", {"a": b"1", "b/c": b"2"})

    def full(self, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    for folder in ("two", "one"):
        with pytest.raises(
            InputError, match=r"cannot be written: No space left on device; choose another place"
        ):
            write_folder(folder, {"a": b"3", "b/d": b"4"})
    assert contents() == {Path("one/a"): b"1", Path("one/b/c"): b"2"}
    assert os.listdir() == ["one"]


@pytest.mark.parametrize(
    "options", [{"epochs": 0}, {"epochs": 4, "learning_rate": 4.0, "dtype": "float64"}]
)
def test_untrained_and_diverging_networks_have_a_page(options):
    """Without training there is less of everything; of the others most diverge, but the run's own does not."""
    from matplotlib.figure import Figure

    of = small(4, 5, hidden_size=2, **{**options, "learning_rate": 0.1})
    if options["epochs"]:
        of = with_options(of, learning_rate=4.0)
    with np.errstate(all="ignore"):
        training = measure_training(of, MISTAKES[:2])
    findings = study.measure(of, {}, training)
    assert bool(findings.components.diverged) == bool(options["epochs"])
    for drawing in DRAWINGS:
        with style():
            drawing.draw(
                Figure(figsize=drawing.narrow if options["epochs"] else drawing.size), findings
            )
    for text in pages(
        findings, {drawing.name: (Picture(b"<svg/>", (1.0, 1.0)),) * 2 for drawing in DRAWINGS}
    ).values():
        assert well_made(text)
        assert ">nan<" not in text


@pytest.mark.parametrize("file", [page.file for page in PAGES])
def test_the_page_fits_its_screen_and_axe_finds_nothing(file, new_page, made):
    from axe_playwright_python.sync_playwright import Axe

    page = new_page(made[0] / file, color_scheme="light")
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    if file == "lesson.html":
        page.evaluate(
            "FIGURES.example.set({wrong: 1}); FIGURES.explore.set({size: 'full'}); FIGURES.explore.set({k1: 6, k2: 6})"
        )
        named = page.evaluate(EQUATIONS_OF_ALL_MOMENTS)
        there = page.evaluate(
            "[...document.querySelectorAll('#explorer [data-equation]')].map((e) => e.dataset.equation)"
        )
        assert set(named) == set(there)  # of biases, clipping and a learned initial state too
        assert (
            page.evaluate("document.documentElement.scrollHeight") <= 14 * 800 + 1500
        )  # with all details open
    for width in (1280, 800, 400, 320):
        page.set_viewport_size({"width": width, "height": 800})
        page.wait_for_timeout(100)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate(WIDER) == []
        assert page.evaluate(SMALL) == []
    page.evaluate(DISTINCT)
    for scheme in (
        ("light", "dark") if file == "lesson.html" else ("dark",)
    ):  # the pages share their colours
        page.emulate_media(color_scheme=scheme)
        background = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (background == "rgb(255, 254, 252)") == (scheme == "light")
        rules = {} if scheme == "dark" else {"runOnly": ["color-contrast"]}
        found = (
            Axe().run(page, options={"resultTypes": ["violations"], **rules}).response["violations"]
        )
        assert [(one["id"], one["nodes"][0]["html"]) for one in found] == []


def test_the_table_of_mistakes_is_filtered(new_page, made):
    page = new_page(made[0] / "evidence.html")
    rows = "[...document.querySelectorAll('#mistake-table tbody tr')].filter((e) => e.checkVisibility())"
    page.locator("#mistake-words").fill("w.dh[t] MISSING tanh")
    assert page.evaluate(f"{rows}.map((e) => e.querySelector('th').textContent)") == [
        "tanh′ missing"
    ]


def test_what_cannot_be_studied_is_one_line(capsys):
    params = prepare(Configuration(networks=3)).params
    save_parameters("three.npz", params)
    Path("file").write_text("")
    save_parameters(
        "zero.npz", Parameters(*(None if theta is None else 0 * theta[0] for theta in params))
    )
    for name in ("mine/lesson.html", "drawn/figures/masks.svg"):
        Path(name).parent.mkdir(parents=True)
        Path(name).write_text("mine")
    for words, message in {
        "--learning-rate 0.1,0.2": "2 learning rates are given: expected one; the study is about one run",
        "--weights three.npz": "the weights are of 3 networks: expected those of one; the study is about one run",
        "--nonlinearity sigmoid": "the nonlinearity is sigmoid: expected tanh or relu, those that the study has .*",
        "--folder file": "--folder file is a file: expected the name of a folder; choose another name",
        "--folder no/where": "--folder no/where cannot be written: No such file or directory; choose another place",
        "--folder mine": r"--folder mine: mine/lesson\.html was not written by a study; move it, or .*",
        "--folder drawn": r"--folder drawn: drawn/figures was not written by a study; move it, .*",
        "--weights zero.npz": "the largest derivative of the loss by the initial weights is 0: expected .*",
        "--steps 2": ".*--steps: '2': expected a whole number, 3 to .*; see .* --help",
        "--seeds 1": ".*--seeds: '1': expected a whole number, 2 to .*; see .* --help",
        "--hidden-size 2000": "20 steps and 4004000 parameters make a component matrix of 6 GiB: expected 1 at most;"
        " choose fewer --steps, or a smaller --hidden-size",
        "--k1 2 --k2 1": "k2 is 1 and k1 is 2: expected k2 ≥ k1.*",
        "--data no.csv": r"data file no\.csv cannot be read: .*; check the path",
    }.items():
        assert re.fullmatch(message, refused(numpy_rnn, capsys, "study", *words.split())), words


def test_a_run_that_diverges_ends_with_status_3(capsys):
    """Before anything is measured; also where its numbers are still finite, and only far too large."""
    for words, message in {
        "--nonlinearity relu --learning-rate 50 --epochs 20": r"before the end of epoch \d+: there is nothing to study;"
        " try a smaller --learning-rate, or clipping by --max-norm 1",
        "--weight-decay 100 --max-norm 1 --epochs 1": r"by epoch 1, where the loss is \d\S+: there is nothing to study;"
        " try a smaller --learning-rate",
    }.items():
        ended = command(numpy_rnn, capsys, "study", *words.split())
        assert ended.status == 3
        assert re.fullmatch(f"numpy_rnn: the run diverged {message}\n", ended.err)
    assert contents() == {}


@pytest.mark.parametrize(
    "package", ["matplotlib", "jinja2", "latex2mathml", "markdown_it", "mdit_py_plugins"]
)
def test_a_package_that_is_missing_is_named(package, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    message = refused(numpy_rnn, capsys, "study")
    assert re.fullmatch(rf"{package} cannot be imported .*: install .*; the study .*", message)
    assert contents() == {}


def test_run_on_a_file_of_any_name(monkeypatch):
    """A byte that is no UTF-8 has an escape in the options that the page shows."""
    Path("\udcff.csv").write_text("1\n2\n3\n1\n2\n")
    found = []
    monkeypatch.setattr(
        study, "measure", lambda subject, choices, *others, **options: found.append(choices)
    )
    monkeypatch.setattr(study, "files_of", lambda *findings: {})
    assert (
        main(
            numpy_rnn,
            ("study", "--data", "\udcff.csv", "--epochs", "1", "--seeds", "2", "--folder", "made"),
        )
        == 0
    )
    assert found[0]["data"] == r"\udcff.csv"
    assert json.dumps(found, ensure_ascii=False).encode()
