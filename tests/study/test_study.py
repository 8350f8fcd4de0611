"""The command `study`: the folder that it writes, and what it refuses."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest

import numpy_rnn
from numpy_rnn.__main__ import main
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.initial import initial_parameters
from numpy_rnn.common.trees import tree_map
from numpy_rnn.conformance.case import present
from numpy_rnn.study import subject as subjects
from numpy_rnn.study.evidence.equation_table import formulas
from numpy_rnn.study.folder import LESSON_FOLDER, check_folder, write_folder
from tests.helpers.command_line import contents, refused, rows_of, succeed

pytestmark = pytest.mark.needs_matplotlib


def test_default_study_is_a_folder(capsys):
    assert main(["study"]) == 0
    heading, verdict, done = capsys.readouterr().out.splitlines()
    count = len(formulas())
    assert verdict == f"{count} of {count} equations agree within rounding"
    assert heading == "numpy_rnn study: sine wave, 20 steps, 6 hidden units, tanh"
    assert re.fullmatch(
        r"\d+\.\d s: open study/lesson/lesson\.html; its evidence is .*", done
    )
    figures = {f"figures/{name}.svg" for name in ("masks", "cosine_bias")}
    lesson = {f"lesson/{name}": text for name, text in contents(LESSON_FOLDER).items()}
    written = contents("study")
    assert written.keys() == {"evidence.html", "evidence.css"} | figures | lesson.keys()
    # The lesson of the folder links to the evidence, and to the derivation from there.
    hidden, shown = lesson.pop("lesson/lesson.html"), written["lesson/lesson.html"]
    assert (b"hidden>What" in hidden, b"hidden>What" in shown) == (True, False)
    derivation = Path(numpy_rnn.__file__).with_name("DERIVATION.md").as_uri().encode()
    assert derivation in shown
    assert written.items() >= lesson.items()


def test_zeros_and_files_of_any_name_have_a_page(capsys):
    """A byte of the name that is no UTF-8 has an escape on the page."""
    np.savez("zero.npz", **present(tree_map(np.zeros_like, initial_parameters())))
    Path("\udcff.csv").write_text("\n".join(map(str, (1, 2, 3, 1, 2, 3, 1))))
    words = "study --steps 3 --epochs 0 --seeds 2 --weights zero.npz --data"
    assert main([*words.split(), "\udcff.csv"]) == 0
    assert "the first 3 of 6 steps are studied" in capsys.readouterr().out
    page = Path("study/evidence.html").read_text()
    assert r"data \udcff.csv" in page
    assert not re.search(r"\bnan\b", page)


def test_networks_are_trained_as_the_run_is(small):
    """Each of 18 updates in float32 rounds a number four times: the product with η, the
    difference, and two in the gradient.
    """
    rounding = 18 * 4 * np.finfo(np.float32).eps
    subject = small(networks=2)
    first_network = subject.networks[0]  # drawn with the seed of the run
    for ours, theirs in zip((subject.start, subject.end), first_network):
        np.testing.assert_allclose(ours.W_hy, theirs.W_hy, rounding)
    assert not (subject.start.W_hh == subject.end.W_hh).all()


def test_diverging_networks_are_left_out(small, monkeypatch):
    def drawn(*sizes, **options):
        params = initial_parameters(*sizes, **options)
        params.W_hy[1] = 1e38
        return params

    monkeypatch.setattr(subjects, "initial_parameters", drawn)
    subject = small(networks=3)
    assert (len(subject.networks), subject.diverged) == (2, 1)


def test_a_study_may_be_written_again_and_is_whole(monkeypatch):
    """Other files stay, and nothing unfinished is left when the disk refuses."""
    page = b'<meta name="generator" content="numpy_rnn study">'
    write_folder("one", {"evidence.html": page})
    Path("one/notes.txt").write_text("mine")
    check_folder("one")
    write_folder("one", {"evidence.html": page + b"new"})
    before = contents()
    assert before["one/evidence.html"] == page + b"new"
    assert before["one/notes.txt"] == b"mine"

    def full(self, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(InputError, match="cannot be written: No space left"):
        write_folder("one", {"a": b"3"})
    assert contents() == before


REFUSED_STUDIES = """
--weights three.npz → the weights are of 3 networks: expected those of one; .*
--folder file → --folder file is a file: expected the name of a folder; choose .*
--folder no/where → --folder no/where cannot be written: No such file or directory; .*
--folder mine → --folder mine has files that no study has written: expected a new .*
--hidden-size 600 → 20 steps and 361200 parameters make a component matrix of .*
--learning-rate 50 --nonlinearity relu → the run diverges: there is nothing to study; .*
"""


def test_what_cannot_be_studied_is_one_line(capsys):
    np.savez("three.npz", **present(initial_parameters(networks=3)))
    Path("file").write_text("")
    Path("mine").mkdir()
    Path("mine/evidence.html").write_text("mine")
    for words, message in rows_of(REFUSED_STUDIES):
        refusal = refused(numpy_rnn, capsys, "study", *words.split())
        assert re.fullmatch(message, refusal), words


@pytest.mark.parametrize("rate", [8, 20, 1000])
def test_runs_that_overflow_without_clipping_are_right(rate, capsys):
    options = ["--nonlinearity", "relu", "--max-norm", 1, "--learning-rate", rate]
    out = succeed(numpy_rnn, capsys, "study", *options)
    assert "equations agree within rounding" in out


@pytest.mark.parametrize("package", ["matplotlib", "latex2mathml"])
def test_a_package_that_is_missing_is_named(package, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    message = refused(numpy_rnn, capsys, "study", "--folder", "study")
    assert re.fullmatch(
        rf"{package} cannot be imported .*: run pip install .*study.*", message
    )
