"""Whatever is wrong with an option is one line on standard error and status 2, and no file is touched (design, 7).

What is wrong with a file is in test_bad_files.py.
"""

import os
import re
import sys
from pathlib import Path

import pytest
from terminal import command, refused


@pytest.fixture(autouse=True)
def _in_a_new_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


OPTIONS = {
    "unknown option": ("--momentum 0.9", "unrecognized arguments: --momentum 0.9; see python -m", "--help"),
    "abbreviation": ("--epoch 3", "unrecognized arguments: --epoch 3", "--help"),
    "unknown command": ("tarin", "invalid choice: 'tarin' (choose from 'train', 'compare')", "--help"),
    "no value": ("--epochs", "--epochs: expected one argument", "--help"),
    "text for a number": ("--epochs ten", "--epochs: 'ten': expected a whole number, 0 or more", "--help"),
    "fraction": ("--k1 1.5", "--k1: '1.5': expected a whole number, 1 or more", "--help"),
    "negative": ("--seed -1", "--seed: '-1': expected a whole number, 0 or more", "--help"),
    "no hidden units": ("--hidden-size 0", "--hidden-size: '0': expected a whole number, 1 or more", "--help"),
    "NaN rate": ("--learning-rate nan", "--learning-rate: 'nan': expected a finite number", "--help"),
    "infinite rate": ("--learning-rate inf", "--learning-rate: 'inf': expected a finite number", "--help"),
    "negative rate": ("--learning-rate -0.1", "--learning-rate: '-0.1': expected a finite number, 0 or more", "--help"),
    "unknown dtype": ("--dtype float16", "--dtype: invalid choice: 'float16'", "'float32', 'float64'", "--help"),
    "unknown nonlinearity": ("--nonlinearity elu", "invalid choice: 'elu'", "'tanh', 'relu'", "--help"),
    "unknown reduction": ("--reduction max", "invalid choice: 'max'", "'sum', 'mean'", "--help"),
    "k2 < k1": ("--k1 3 --k2 2", "k2 = 2 is smaller than k1 = 3", "an update brings k1 new steps", "choose k2 ≥ 3"),
    "seeds and weights": ("--seeds 2 --weights w.npz", "weights from a file and a number of seeds", "choose one"),
    "picture and none": ("--no-plot --plot a.png", "--no-plot and a picture", "choose one"),
    "nothing to compare": ("compare", "required: OTHER", "see python -m", "compare --help"),
    "no such package": ("compare no_such_package", "'no_such_package'", "expected", "package"),
    "not a package name": ("compare .x", "'.x'", "expected", "package"),
    "no backend": ("compare json", "json", "expected", "package"),
    "no memory": ("--hidden-size 99999999", "hidden size 99999999", "GiB: expected 8 at most", "choose fewer"),
    "no memory for seeds": ("--seeds 999999999", "999999999 networks", "GiB: expected 8 at most", "choose fewer"),
    "no memory for a trace": ("--epochs 99999999 --trace t.npz", "GiB: expected", "at most", "choose fewer --epochs"),
    "empty trace": ("--epochs 0 --trace t.npz", "0 epochs", "expected --epochs 1 or more"),
}


@pytest.mark.parametrize("case", OPTIONS)
def test_an_option_that_cannot_be_used(rnn, capsys, case):
    arguments, *pieces = OPTIONS[case]
    message = refused(rnn, capsys, *arguments.split(), *([] if "--plot" in arguments else ["--no-plot"]))
    assert all(piece in message for piece in pieces), message


def test_a_package_is_not_compared_with_itself(rnn, capsys):
    message = refused(rnn, capsys, "compare", rnn.__name__, "--no-plot")
    assert f"{rnn.__name__} is this package itself: expected another" in message


PLACES = {
    "no such folder": ("none/{}", "the folder", "none does not exist; make it first"),
    "folder": ("folder.png", "is a folder: expected the name of a file"),
    "pipe": ("pipe.png", "is a device or a pipe: expected the name of a file"),
    "below a file": ("file.png/{}", "Not a directory; choose another name"),
    "too long": (300 * "x" + "{}", "File name too long; choose another name"),
    "no permission for the file": ("protected.png", "no permission; choose another place"),
    "no permission for the folder": ("locked/{}", "no permission; choose another place"),
}
OUTPUTS = ["--save", "--trace", pytest.param("--plot", marks=pytest.mark.needs_matplotlib)]


@pytest.mark.parametrize("option", OUTPUTS)
@pytest.mark.parametrize("place", PLACES)
def test_an_output_that_cannot_be_written_is_refused_before_the_run(rnn, capsys, monkeypatch, option, place):
    os.mkdir("folder.png")
    os.mkdir("locked")
    os.mkfifo("pipe.png")
    Path("file.png").write_text("kept")
    Path("protected.png").write_text("kept")
    allowed = os.access  # root may write anywhere, so the permissions are played
    monkeypatch.setattr(
        os, "access", lambda path, mode: Path(path).name not in ("locked", "protected.png") and allowed(path, mode)
    )
    name, *pieces = PLACES[place]
    path = name.format("a.png")
    message = refused(rnn, capsys, option, path, *([] if option == "--plot" else ["--no-plot"]))
    assert message.startswith(f"{option} {path}")
    assert all(piece in message for piece in pieces), message


@pytest.mark.needs_matplotlib
@pytest.mark.parametrize("name", ["a", "a.txt", "a.pn", "a.png.npz"])
def test_a_picture_of_unknown_kind(rnn, capsys, name):
    message = refused(rnn, capsys, "--plot", name)
    assert message.startswith(f"--plot {name}: unknown ending")
    assert message.endswith("expected .png or .pdf or .svg or .jpg")


@pytest.mark.needs_matplotlib
def test_no_window_without_a_display(rnn, capsys, monkeypatch):
    import matplotlib.pyplot as plt

    monkeypatch.setattr(plt, "get_backend", lambda: "svg")
    message = refused(rnn, capsys, "--show")
    assert message == "--show: there is no display to open a window on; use --plot FILE instead"


def test_two_outputs_are_not_one_file(rnn, capsys):
    Path("s.csv").write_text("1\n2\n3\n")
    assert "--save and --trace both name ./a.npz" in refused(
        rnn, capsys, "--save", "a.npz", "--trace", "./a.npz", "--no-plot"
    )
    assert "--data and --save both name s.csv" in refused(
        rnn, capsys, "--data", "s.csv", "--save", "s.csv", "--no-plot"
    )


def test_a_run_that_diverges(rnn, capsys):
    ended = command(rnn, capsys, "--learning-rate", 5, "--no-plot", "--save", "w.npz")
    assert ended.status == 2
    assert re.fullmatch(
        rf"{rnn.__name__}: the run diverged: the loss of epoch \d+ is (nan|inf); expected finite numbers;"
        r" choose a --learning-rate smaller than 5, or scale the series to values of order one\n",
        ended.err,
    )
    assert os.listdir() == []


def test_no_memory(rnn, capsys, monkeypatch):
    def full(*_):
        raise MemoryError("Unable to allocate 7 GiB")

    monkeypatch.setattr(sys.modules["numpy_rnn.common.experiment"], "draw_parameters", lambda *_, **__: full())
    message = refused(rnn, capsys, "--no-plot")
    assert message == "not enough memory (Unable to allocate 7 GiB): choose fewer hidden units, networks or rows"
