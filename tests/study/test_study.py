"""The command `study`: the folder that it writes, and what it refuses."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import numpy_rnn
from numpy_rnn.__main__ import main
from numpy_rnn.app.command_line import parse_command
from numpy_rnn.app.experiment import prepare_experiment
from numpy_rnn.app.options import make_options
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.initial import initial_parameters
from numpy_rnn.common.trees import tree_map
from numpy_rnn.conformance.case import present
from numpy_rnn.study import subject as subjects
from numpy_rnn.study.evaluated_equations import EVALUATED
from numpy_rnn.study.folder import (
    LESSON_FOLDER,
    WRITTEN,
    check_folder,
    write_folder,
)
from numpy_rnn.study.study_command import choices_of
from tests.helpers.command_line import contents, refused, rows_of

pytestmark = [
    pytest.mark.needs_matplotlib,
    pytest.mark.usefixtures("empty_folder"),
]


@pytest.mark.slow
def test_default_study_is_a_folder():
    words = [sys.executable, "-m", "numpy_rnn", "study"]
    ended = subprocess.run(
        words, capture_output=True, text=True, check=True, timeout=300
    )
    heading, verdict, done = ended.stdout.splitlines()
    count = len(EVALUATED)
    assert verdict == f"{count} of {count} equations agree within rounding"
    assert heading == "numpy_rnn study: sine wave, 20 steps, 6 hidden units, tanh"
    assert re.fullmatch(
        r"\d+\.\d s: open study/lesson/lesson\.html; its evidence is .*", done
    )
    figures = {f"figures/{name}.svg" for name in ("masks", "cosine_bias")}
    lesson = {f"lesson/{name}": text for name, text in contents(LESSON_FOLDER).items()}
    written = contents("study")
    assert written.keys() == {"evidence.html", "evidence.css"} | figures | lesson.keys()
    assert {Path(name).parts[0] for name in written} == {*WRITTEN}
    # The lesson of the folder links to the evidence.
    hidden, shown = lesson.pop("lesson/lesson.html"), written["lesson/lesson.html"]
    assert (b"hidden>What" in hidden, b"hidden>What" in shown) == (True, False)
    assert written.items() >= lesson.items()


def test_zeros_and_files_of_any_name_have_a_page(capsys):
    """A byte of the name that is no UTF-8 has an escape on the page."""
    np.savez("zero.npz", **present(tree_map(np.zeros_like, initial_parameters())))
    Path("\udcff.csv").write_text("\n".join(map(str, (1, 2, 3, 1, 2, 3, 1))))
    words = (
        "study --steps 3 --epochs 0 --seeds 2 --weights zero.npz --folder "
        "no/../made --data"
    )
    assert main([*words.split(), "\udcff.csv"]) == 0
    assert "the first 3 of 6 steps are studied" in capsys.readouterr().out
    assert not Path("no").exists()
    page = Path("made/evidence.html").read_text()
    assert r"data \udcff.csv" in page
    assert not re.search(r"\bnan\b", page)


def test_networks_are_trained_as_the_run_is():
    """A series with two columns has two outputs."""
    Path("two.csv").write_text("1,2\n2,1\n3,3\n1,4\n")
    words = "study --data two.csv --epochs 2 --k1 2 --k2 3"
    configuration = parse_command("numpy_rnn", words.split())
    run = prepare_experiment(configuration).run()
    subject = subjects.study_run("two", run, 0, networks=3)
    assert (len(subject.run.x), len(subject.networks), subject.diverged) == (3, 3, 0)
    assert subject.start.W_xh.shape == subject.start.W_hy.T.shape == (2, 6)
    first_network = subject.networks[0]  # drawn with the seed of the run
    for ours, theirs in zip((subject.start, subject.end), first_network):
        assert abs(ours.W_hy - theirs.W_hy).max() < 1e-5
    assert not (subject.start.W_hh == subject.end.W_hh).all()


def test_diverging_networks_are_left_out(small, monkeypatch):
    def drawn(*sizes, **options):
        params = initial_parameters(*sizes, **options)
        params.W_hy[1] = 1e38
        return params

    monkeypatch.setattr(subjects, "initial_parameters", drawn)
    subject = small(networks=3)
    assert (len(subject.networks), subject.diverged) == (2, 1)


def test_a_study_may_be_written_again_and_other_files_stay():
    page = b'<meta name="generator" content="numpy_rnn study">'
    write_folder("one", {"evidence.html": page, "figures/b.svg": b"2"})
    Path("one/notes.txt").write_text("mine")
    check_folder("one")
    write_folder("one", {"evidence.html": page + b"new", "figures/b.svg": b"3"})
    files = contents("one")
    assert files["evidence.html"] == page + b"new"
    assert (files["figures/b.svg"], files["notes.txt"]) == (b"3", b"mine")


def test_nothing_unfinished_is_left_when_the_disk_refuses(monkeypatch):
    write_folder("one", {"a": b"1"})
    before = contents()

    def full(self, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    for folder in ("two", "one"):
        with pytest.raises(
            InputError, match="cannot be written: No space left on device; choose"
        ):
            write_folder(folder, {"a": b"3", "b/d": b"4"})
    assert contents() == before
    assert os.listdir() == ["one"]


REFUSED = """
--weights three.npz → the weights are of 3 networks: expected those of one; .*
--folder file → --folder file is a file: expected the name of a folder; choose .*
--folder no/where → --folder no/where cannot be written: No such file or directory; .*
--folder no/../mine → --folder mine: mine/evidence.html was not written by a study; .*
--folder drawn → --folder drawn: drawn/figures was not written by a study; move it, .*
--folder styled → --folder styled: styled/evidence.css was not written by a study; .*
--folder= → --folder is empty: expected the name of a folder
--hidden-size 2000 → 20 steps and 4004000 parameters make a component matrix of 11.9 GiB: expected 1 at most; choose fewer --steps, or a smaller --hidden-size
--learning-rate 50 --nonlinearity relu → the run diverges: there is nothing to study; try a smaller --learning-rate, or clipping by --max-norm 1
"""  # noqa: E501


def test_what_cannot_be_studied_is_one_line(capsys):
    np.savez("three.npz", **present(initial_parameters(networks=3)))
    Path("file").write_text("")
    for name in (
        "mine/evidence.html",
        "drawn/figures/masks.svg",
        "styled/evidence.css",
    ):
        Path(name).parent.mkdir(parents=True)
        Path(name).write_text("mine")
    for words, message in rows_of(REFUSED):
        refusal = refused(numpy_rnn, capsys, "study", *words.split())
        assert re.fullmatch(message, refusal), words


@pytest.mark.parametrize("package", ["matplotlib", "latex2mathml"])
def test_a_package_that_is_missing_is_named(package, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    message = refused(numpy_rnn, capsys, "study", "--folder", "study")
    assert re.fullmatch(
        rf"{package} cannot be imported .*: run pip install .*study.*", message
    )


def test_page_lists_the_options_that_differ_from_the_defaults():
    chosen = make_options("study", seed=3, folder="pages", nonlinearity="tanh")
    assert choices_of(chosen) == {"seed": "3"}
