"""Whatever is wrong with an option is one line on standard error and status 2, and no file is touched (design, 7).

What is wrong with a file is in test_bad_files.py.
"""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from in_process import refused

import numpy_rnn
from numpy_rnn.app.options import parser
from numpy_rnn.app.storage import save_parameters


@pytest.fixture(autouse=True)
def _in_a_new_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


OPTIONS = {
    "unknown option": (
        "--momentun 0.9",
        "unknown option --momentun (did you mean --momentum?); see python -m",
        "--help",
    ),
    "abbreviation": ("--epoch=3", "unknown option --epoch (did you mean --epochs?); see python -m", "--help"),
    "unknown command": (
        "tarin",
        "unknown command 'tarin': expected train or compare",
        "(did you mean train?); see",
        "--help",
    ),
    "an output of another kind": ("--output a.txt", "--output a.txt: unknown ending '.txt'; expected .csv or .json"),
    "no name of a file": ("--data=", "data file '': expected the name of a file"),
    "an address": ("--data http://x/y.csv", "data file http://x/y.csv is a URL: expected a file; download it"),
    "an address with one slash": ("--data http:/x/y.csv", "data file http:/x/y.csv is a URL: expected a file"),
    "no value": ("--epochs", "--epochs: ", "--help"),
    "text for a number": ("--epochs ten", "--epochs: 'ten': expected a whole number, 0 or more", "--help"),
    "fraction": ("--k1 1.5", "--k1: '1.5': expected a whole number, 1 or more", "--help"),
    "negative": ("--seed -1", "--seed: '-1': expected a whole number, 0 or more", "--help"),
    "no hidden units": ("--hidden-size 0", "--hidden-size: '0': expected a whole number, 1 or more", "--help"),
    "NaN rate": ("--learning-rate nan", "--learning-rate: 'nan': expected a finite number", "--help"),
    "infinite rate": ("--learning-rate inf", "--learning-rate: 'inf': expected a finite number", "--help"),
    "negative rate": ("--learning-rate -0.1", "--learning-rate: '-0.1': expected a finite number, 0 or more", "--help"),
    "no rate": ("--learning-rate 0.1,", "--learning-rate: '': expected a finite number, 0 or more", "--help"),
    "rates in a row": ("--learning-rate 0.1,,0.2", "--learning-rate: '': expected a finite number", "--help"),
    "rates apart": ("--learning-rate 0.1 0.2", "unexpected argument '0.2'", "--help"),
    "another separator": ("--learning-rate 0.1;0.2", "--learning-rate: '0.1;0.2': expected a finite number", "--help"),
    "one rate of many": ("--learning-rate 0.1,x,0.2", "--learning-rate: 'x': expected a finite number", "--help"),
    "negative rate of many": ("--learning-rate=0.1,-1", "--learning-rate: '-1': expected a finite number", "--help"),
    "negative momentum": ("--momentum -1", "--momentum: '-1': expected a finite number, 0 or more", "--help"),
    "infinite momentum": ("--momentum inf", "--momentum: 'inf': expected a finite number, 0 or more", "--help"),
    "negative dampening": ("--dampening -1", "--dampening: '-1': expected a finite number, 0 or more", "--help"),
    "negative decay": ("--weight-decay -1", "--weight-decay: '-1': expected a finite number, 0 or more", "--help"),
    "no norm": ("--max-norm 0", "--max-norm: '0': expected a finite number, above 0", "--help"),
    "negative norm": ("--max-norm -3", "--max-norm: '-3': expected a finite number, above 0", "--help"),
    "no momentum": ("--nesterov", "nesterov needs momentum above 0 and dampening 0: they are 0.0 and 0.0"),
    "nesterov dampened": (
        "--nesterov --momentum 0.9 --dampening 0.1",
        "nesterov needs momentum above 0 and dampening 0: they are 0.9 and 0.1",
    ),
    "columns of nothing": (
        "--columns 1",
        "--columns is given without --data",
        "expected --data FILE too",
    ),
    "negative rows": ("--held-out -1", "--held-out: '-1': expected a whole number, 0 or more", "--help"),
    "all rows held out": ("--held-out 21", "21 of 21 rows of sine wave are held out: expected 18 at most"),
    "too many rows held out": (
        "--held-out 19",
        "19 of 21 rows of sine wave are held out: expected 18 at most",
    ),
    "compared and held out": (
        "compare json --held-out 3",
        "--held-out is an option of the command train and not of compare; see",
    ),
    "compared and saved": (
        "compare json --save a.npz",
        "--save is an option of the command train and not of compare; see",
    ),
    "compared and resumed": (
        "compare json --resume a.npz",
        "--resume is an option of the command train and not of compare; see",
    ),
    "save every so often": (
        "--save-every 3",
        "--save-every is given without --save: expected --save FILE",
    ),
    "negative seconds": ("--save a.npz --save-every -1", "--save-every: '-1': expected a finite number, 0 or more"),
    "save nothing": ("--save", "--save: ", "--help"),
    "rates without memory": ("--seeds 99999999 --learning-rate 1,2,3", "299999997 networks", "GiB: expected 8 at most"),
    "unknown dtype": (
        "--dtype float46",
        "--dtype: 'float46': expected float32 or float64 (did you mean float64?); see",
        "--help",
    ),
    "unknown nonlinearity": ("--nonlinearity elu", "'elu': expected tanh or relu (did you mean relu?); see", "--help"),
    "unknown reduction": ("--reduction max", "'max': expected sum or mean; see", "--help"),
    "k2 < k1": (
        "--k1 3 --k2 2",
        "k2 is 2 and k1 is 3: expected k2 ≥ k1",
        "the window must contain the k1 new steps of its update",
        "choose k2 ≥ 3",
    ),
    "seeds and weights": (
        "--seeds 2 --weights w.npz",
        "--weights and --seeds are both given: expected one",
        "leave one",
    ),
    "picture and none": (
        "--no-plot --plot a.png",
        "--no-plot is given with --plot or --show: expected one",
        "leave one",
    ),
    "nothing to compare": ("compare", "OTHER", "see python -m", "compare --help"),
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


@pytest.mark.parametrize("command", ["train", "compare", "study"])
def test_two_dashes_are_no_value_of_any_option(capsys, command):
    """argparse drops them in some versions of Python, and an option is left with a list that is empty."""
    options = [word for word in parser("numpy_rnn").options_of(command) if word.startswith("--")]
    assert len(options) > 20
    for option in options:
        message = refused(numpy_rnn, capsys, command, *(["json"] if command == "compare" else []), f"{option}=--")
        assert message.startswith(f"argument {option}: '--' is not a value: expected a value; for a file of")


def test_a_package_is_not_compared_with_itself(rnn, capsys):
    message = refused(rnn, capsys, "compare", rnn.__name__, "--no-plot")
    assert f"{rnn.__name__} is this package itself: expected another" in message


PLACES = {
    "no such folder": ("none/{}", "the folder", "none does not exist; create it first"),
    "folder": ("folder.png", "is a folder: expected the name of a file"),
    "pipe": ("pipe.png", "is a device or a pipe: expected the name of a file"),
    "below a file": ("file.png/{}", "Not a directory; choose another name"),
    "too long": (300 * "x" + "{}", "File name too long; choose another name"),
    "no permission for the file": ("protected.png", "no permission; choose another place"),
    "no permission for the folder": ("locked/{}", "no permission; choose another place"),
}
OUTPUTS = ["--save", "--trace", "--output", pytest.param("--plot", marks=pytest.mark.needs_matplotlib)]


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
        os,
        "access",
        lambda path, mode: Path(path).name not in ("locked", "protected.png", "protected.csv") and allowed(path, mode),
    )
    name, *pieces = PLACES[place]
    path = name.format("a.png")
    if option == "--output":
        path = path.replace(".png", ".csv")
        for kind in ("folder", "pipe", "file", "protected"):
            os.rename(f"{kind}.png", f"{kind}.csv")
    message = refused(rnn, capsys, option, path, *([] if option == "--plot" else ["--no-plot"]))
    assert message.startswith(f"{option} {path}")
    assert all(piece in message for piece in pieces), message


@pytest.mark.needs_matplotlib
@pytest.mark.parametrize("name", ["a", "a.txt", "a.pn", "a.png.npz"])
def test_a_plot_of_unknown_kind(rnn, capsys, name):
    message = refused(rnn, capsys, "--plot", name)
    assert message.startswith(f"--plot {name}: unknown ending")
    assert message.endswith("expected .png or .pdf or .svg or .jpg")


@pytest.mark.needs_matplotlib
def test_no_window_without_a_display(rnn, capsys, monkeypatch):
    import matplotlib.pyplot as plt

    monkeypatch.setattr(plt, "get_backend", lambda: "svg")
    message = refused(rnn, capsys, "--show")
    assert message == "--show: there is no display for a window; use --plot FILE instead"


def test_two_outputs_are_not_one_file(rnn, capsys):
    Path("s.csv").write_text("1\n2\n3\n")
    assert "--save and --trace both name ./a.npz" in refused(
        rnn, capsys, "--save", "a.npz", "--trace", "./a.npz", "--no-plot"
    )
    assert "--data and --save both name s.csv" in refused(
        rnn, capsys, "--data", "s.csv", "--save", "s.csv", "--no-plot"
    )


def test_no_memory(rnn, capsys, monkeypatch):
    def full(*_):
        raise MemoryError("Unable to allocate 7 GiB")

    monkeypatch.setattr(sys.modules["numpy_rnn.app.experiment"], "draw_parameters", lambda *_, **__: full())
    message = refused(rnn, capsys, "--no-plot")
    assert message == "not enough memory (Unable to allocate 7 GiB): choose fewer hidden units, networks or rows"


COLUMNS = {
    "3": "there is no column '3'; expected 'time', 'spots', or a number, 1 to 2",
    "0": "there is no column '0'; expected 'time', 'spots', or a number, 1 to 2",
    "-1": "there is no column '-1'; expected 'time', 'spots', or a number, 1 to 2",
    "sputs": "there is no column 'sputs' (did you mean 'spots'?); expected 'time', 'spots', or a number, 1 to 2",
    "sunspots": "there is no column 'sunspots' (did you mean 'spots'?); expected 'time', 'spots', or a number, 1 to 2",
    "sun": "there is no column 'sun'; expected 'time', 'spots', or a number, 1 to 2",
    "2,": "there is no column ''; expected 'time', 'spots', or a number, 1 to 2",
    "2,spots": "column 'spots' is chosen twice; expected every column once",
}


@pytest.mark.parametrize("columns", COLUMNS)
def test_columns_that_are_not_there(rnn, capsys, columns):
    Path("s.csv").write_text("time,spots\n1,2\n3,4\n5,6\n")
    message = refused(rnn, capsys, "--data", "s.csv", f"--columns={columns}", "--no-plot")
    assert message == f"data file s.csv: {COLUMNS[columns]}"


def test_a_column_that_never_changes_cannot_be_standardized(rnn, capsys):
    """Among the rows that are trained on: it may change later."""
    Path("s.csv").write_text("7\n7\n7\n7\n8\n")
    message = refused(rnn, capsys, "--data", "s.csv", "--standardize", "--held-out", 1, "--no-plot")
    assert message.startswith("column 1 of the series is 7 in all 4 rows and cannot be standardized")


def test_a_learned_initial_state_that_is_in_the_weights_is_not_switched_off(rnn, capsys):
    params = rnn.to_numpy(rnn.initial_parameters())
    save_parameters("w.npz", params._replace(h_0=np.ones((1, 6), "f4")))
    message = refused(rnn, capsys, "--weights", "w.npz", "--no-learn-initial-state", "--no-plot")
    assert message == "weights file w.npz has a learned initial state: leave --no-learn-initial-state out"
    save_parameters("w.npz", params._replace(h_0=np.ones((2, 6), "f4")))
    message = refused(rnn, capsys, "--weights", "w.npz", "--no-plot")
    assert message == "weights file w.npz has an initial state for 2 sequences: expected 1"


def test_several_rates_are_for_one_network_of_a_file(rnn, capsys):
    save_parameters("w.npz", rnn.to_numpy(rnn.initial_parameters(networks=3)))
    message = refused(rnn, capsys, "--weights", "w.npz", "--learning-rate", "0.1,0.2", "--no-plot")
    assert message == (
        "weights file w.npz has an ensemble of shape (3,), but 2 learning rates are given: expected weights of one"
        " network, or one learning rate"
    )
