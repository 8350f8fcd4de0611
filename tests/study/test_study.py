"""The command `study`: its folder, its numbers, what it refuses (its parts are tested in test_study_*.py)."""

import json
import os
import re
import sys
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from html_faults import Reader, faults
from in_process import command, contents, refused
from study_settings import MISTAKES, RENDERED, STUDIED, measure, small, untrained

import numpy_rnn
from numpy_rnn.app.configuration import Configuration
from numpy_rnn.app.experiment import prepare
from numpy_rnn.app.storage import save_parameters
from numpy_rnn.common.errors import Diverged, InputError
from numpy_rnn.common.records import Parameters
from numpy_rnn.study.figures.svg import NARROW, Picture, pictures
from numpy_rnn.study.page.page import page
from numpy_rnn.study.setting import Snapshot, _check_losses, snapshot_epochs
from numpy_rnn.study.study import DRAWINGS, check_can_write_folder, tables_of, write_folder

pytestmark = pytest.mark.slow

MAX_PAGE = 2_000_000  # bytes
NO_PICTURES = dict.fromkeys((drawing.name for drawing in DRAWINGS), Picture(*2 * ((b"<svg/>", (1.0, 1.0)),)))
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
        folder = request.getfixturevalue("made").folder
        findings = json.loads((folder / "study.json").read_text(encoding="utf-8"))
        text = (folder / "study.html").read_text(encoding="utf-8")
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
        cells = [cell for row in table.rows for cell in row]
        assert all(isinstance(cell, str) for cell in cells), table.name
        assert table.name == "mistakes" or not any("None" in cell for cell in cells), table.name  # there as code


@pytest.mark.needs_matplotlib
def test_the_folder_is_the_page_its_numbers_and_every_figure_twice(made):
    folder, printed = made
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    figures = {f"figures/{drawing.name}.{ending}" for drawing in DRAWINGS for ending in ("svg", "png")}
    assert names == {"study.html", "study.json"} | figures
    assert len(DRAWINGS) == len({drawing.name for drawing in DRAWINGS}) > 10
    for name in figures:
        start = (folder / name).read_bytes()[:8]
        assert start == b"\x89PNG\r\n\x1a\n" if name.endswith("png") else start.startswith(b"<?xml"), name
    about = json.loads((folder / "study.json").read_text(encoding="utf-8"))["about"]
    assert about["sizes"] == {"T": 6, "B": 1, "D": 1, "H": 3, "O": 1}
    assert (about["epochs"], about["seeds"], about["parameters"]) == ([0, 1, 2], 2, 22)
    text = (folder / "study.html").read_text(encoding="utf-8")
    largest = max(len(image.encode()) for image in IMAGE.findall(text))
    missing = 2 * (len(DRAWINGS) - len(RENDERED))  # images, for a wide and for a narrow column
    assert len(text.encode()) + missing * largest < MAX_PAGE
    lines = printed.splitlines()
    heading = "numpy_rnn study: sine wave, T=6 B=1 D=1 H=3 O=1, relu, biases, reduction mean, k1=50 k2=50"
    assert lines[0].startswith(heading)
    assert lines[1] == "the first 6 of 20 steps are studied; --steps changes their number"
    assert re.search(r"\d s  done: open \S+/study.html$", lines[-1])


@pytest.mark.needs_matplotlib
def test_the_folder_is_the_same_each_time(made):
    """So that a study can be kept under version control, and compared. One of the figures is drawn again."""
    findings = measure(small(**STUDIED), MISTAKES)
    assert json.loads((made.folder / "study.json").read_text(encoding="utf-8")) == findings
    *files, picture = pictures(DRAWINGS[-1], findings)
    for content, ending in zip(files, ("svg", "png")):
        assert content == (made.folder / f"figures/{DRAWINGS[-1].name}.{ending}").read_bytes()
    assert b"<text" not in files[0]  # but outlines, which need no font
    assert picture.wide[0] != picture.narrow[0]
    for (svg, (width, _)), expected in zip(picture, (DRAWINGS[-1].size[0], NARROW), strict=True):
        assert width == expected
        assert b"<text" in svg
    text = (made.folder / "study.html").read_text(encoding="utf-8")
    again = page(findings, NO_PICTURES | {DRAWINGS[-1].name: picture}, DRAWINGS, tables_of(findings))
    assert IMAGE.sub("", text) == IMAGE.sub("", again)
    drawn = [image for image in IMAGE.findall(again) if len(image) > 1000]
    assert len(drawn) == 2  # for a wide and for a narrow column
    assert set(drawn) <= set(IMAGE.findall(text))


@pytest.mark.needs_matplotlib
def test_a_study_may_be_written_again_and_other_files_in_its_folder_stay(made):
    made = made.folder
    files = {path.relative_to(made).as_posix(): path.read_bytes() for path in made.rglob("*") if path.is_file()}
    check_can_write_folder(made, "--folder", files)
    os.makedirs("study/figures")
    Path("study/figures/masks.svg").write_text("old")
    Path("study/notes.txt").write_text("mine")
    write_folder("study", files)
    expected = files | {"notes.txt": b"mine"}
    assert {path.relative_to("study").as_posix(): content for path, content in contents().items()} == expected


def test_a_new_folder_appears_whole_or_not_at_all(monkeypatch):
    def full(self, content):
        raise OSError(28, "No space left on device")

    write_folder("one", {"a": b"1", "b/c": b"2"})
    assert contents() == {Path("one/a"): b"1", Path("one/b/c"): b"2"}
    assert Path("one").stat().st_mode == Path(os.makedirs("like") or "like").stat().st_mode
    monkeypatch.setattr(Path, "write_bytes", full)
    for folder in ("two", "one"):
        with pytest.raises(InputError, match=r"cannot be written: No space left on device; choose another place"):
            write_folder(folder, {"a": b"3", "b/d": b"4"})
    assert contents() == {Path("one/a"): b"1", Path("one/b/c"): b"2"}
    assert sorted(os.listdir()) == ["like", "one"]


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
@pytest.mark.parametrize(
    ("words", "where", "ways"),
    [
        (
            "--nonlinearity relu --learning-rate 50 --epochs 20",
            r"before the end of epoch \d+",
            "a --learning-rate smaller than 50, or clipping by --max-norm 1",
        ),
        (
            "--weight-decay 100 --max-norm 1 --epochs 1",
            r"by epoch 1, where the loss is \d\S+",
            "a --learning-rate smaller than 0.1, or a --weight-decay smaller than 100",
        ),
    ],
)
def test_a_run_that_diverges_ends_with_status_3(words, where, ways, capsys):
    """Before anything is measured; also where its numbers are still finite, and only far too large."""
    ended = command(numpy_rnn, capsys, "study", *words.split())
    assert ended.status == 3
    assert "the equations" not in ended.out
    assert re.fullmatch(rf"numpy_rnn: the run diverged {where}: there is nothing to study; try {ways}\n", ended.err)
    assert contents() == {}


@pytest.mark.needs_matplotlib
@pytest.mark.parametrize("package", ["matplotlib", "jinja2", "latex2mathml"])
def test_a_package_that_is_missing_is_named_with_what_to_install(package, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    message = refused(numpy_rnn, capsys, "study")
    assert re.fullmatch(rf"{package} cannot be imported .*: install .*; the study .*", message)
    assert contents() == {}


def test_other_packages_have_no_study(capsys):
    other = SimpleNamespace(__name__="torch_rnn")
    assert "unknown command 'study': expected train or compare; see" in refused(other, capsys, "study")


# -- what it starts from --------------------------------------------------------------------------------------------


def test_the_snapshots_are_the_runs_parameters():
    for epochs, expected in (
        (0, [0]),
        (1, [0, 1]),
        (7, [0, 1, 2, 5, 7]),
        (300, [0, 1, 2, 5, 10, 20, 50, 100, 200, 300]),
    ):
        assert snapshot_epochs(epochs) == expected
    setting = small(epochs=7, hidden_size=3, k1=2, k2=3, momentum=0.5, dtype="float64")
    assert [snapshot.epoch for snapshot in setting.snapshots] == [0, 1, 2, 5, 7]
    x, target, h_0 = setting.x, setting.target, setting.h_0
    run = numpy_rnn.train(setting.start, x, target, h_0, k1=2, k2=3, momentum=0.5, learning_rate=0.1, epochs=7)
    last = {update.epoch: update.parameters for update in run}
    for epoch, params in setting.snapshots[1:]:
        for theta, expected in zip(params[:3], last[epoch]):
            assert np.array_equal(theta, expected)


def test_a_loss_of_more_than_a_thousand_times_that_of_the_untrained_network_has_diverged():
    """With targets of zero the loss is a square of the output weights."""
    given = small(epochs=3, hidden_size=3, dtype="float64")
    for factor, diverges in ((999.0, False), (1001.0, True)):
        grown = given.start._replace(W_hy=given.start.W_hy * np.sqrt(factor))
        snapshots = [Snapshot(0, given.start), Snapshot(1, grown)]
        with pytest.raises(Diverged, match="by epoch 1") if diverges else nullcontext():
            _check_losses(snapshots, given.x, 0 * given.target, given.h_0, given.configuration)


def test_a_run_in_float32_is_studied_at_the_same_numbers():
    setting = small(epochs=3, hidden_size=3, dtype="float32")
    experiment = prepare(Configuration(hidden_size=3))
    assert np.array_equal(setting.x, experiment.x[:5])
    assert np.array_equal(setting.target, experiment.target[:5])
    assert setting.x.dtype == setting.start.W_hh.dtype == np.float64
    assert np.array_equal(setting.start.W_hh, setting.experiment.params.W_hh)
