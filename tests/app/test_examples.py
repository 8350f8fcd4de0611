"""The examples of --help, and the commands and the tables of numpy_rnn/app/README.md."""

import importlib
import os
import re
import shlex
import sys
from io import StringIO
from pathlib import Path

import documents
import numpy as np
import pytest
from in_process import command, main, succeed
from numpy.lib.stride_tricks import sliding_window_view

import numpy_rnn
from numpy_rnn.app import command_line
from numpy_rnn.app.commands import EXAMPLES
from numpy_rnn.app.experiment import prepare
from numpy_rnn.app.options import configuration_of, parser
from numpy_rnn.app.run import run

DOCUMENT = documents.TOP / "numpy_rnn" / "app" / "README.md"
TEXT = DOCUMENT.read_text(encoding="utf-8")


@pytest.fixture
def _files_of_the_examples(monkeypatch):
    """What the examples read: series, a text and a port. Nothing is drawn: test_plots.py tests the plots."""
    steps = np.arange(300)
    np.savetxt("series.csv", np.stack([steps, np.sin(steps)], axis=1), delimiter=",", header="step,value")
    silso = np.stack([steps + 0.5, np.sin(steps), -steps, steps, steps], axis=1)
    np.savetxt("SN_y_tot_V2.0.csv", silso, delimiter=";", fmt="%6.1f")
    shares = np.stack([1 + np.sin(steps), 1 - np.sin(steps)], axis=1) / 2
    np.savetxt("shares.csv", shares, delimiter=",")
    Path("book.txt").write_text("Twinkle, twinkle, little star,\n" * 3, encoding="utf-8")
    Path("my_rnn.py").write_text(documents.files()["my_rnn.py"])
    monkeypatch.syspath_prepend(os.getcwd())
    monkeypatch.setattr(command_line, "plot_target", lambda *_, **__: (None, False))
    yield
    sys.modules.pop("my_rnn", None)


def examples(command):
    """The arguments of every example of --help."""
    return [shlex.split(words.format(other="torch_rnn")) for words, _ in EXAMPLES[command]]


def shorter(words):
    """The same example over few epochs: fewer networks and fewer free-running steps."""
    words, epochs = list(words), "1" if "compare" in words else "2"
    for option, value in (("--epochs", epochs), ("--seeds", "2"), ("--generate", "3")):
        if option in words:
            words[words.index(option) + 1] = value
    has_epochs = not {"--epochs", "--resume", "--version", "trace.npz"}.isdisjoint(words)
    return words if has_epochs else [*words, "--epochs", epochs]


@pytest.mark.parametrize("command", EXAMPLES)
def test_every_option_has_an_example(command):
    known = {"--help", "-h", "--version", "--no-bias", "--no-learn-initial-state", "--no-adagrad"}  # they need none
    options = set(parser("numpy_rnn").options_of(command)) - known
    if command == "compare":  # it takes the options of the run, which `train` has examples of
        options = {"--json", "--plot"}
    used = {word.split("=")[0] for words in examples(command) for word in words if word.startswith("--")}
    assert options - used == set()


def test_the_examples_of_help_can_be_pasted_into_a_shell(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    with pytest.raises(SystemExit):
        main(numpy_rnn, ["train", "--help"])
    out = capsys.readouterr().out
    text = re.sub(r" \\\n +", " ", out.split("\nexamples:\n")[1])  # a shell reads lines that end so as one
    commands = [words for line in text.splitlines() if (words := shlex.split(line, comments=True))]
    assert commands == [["python", "-m", "numpy_rnn", *words] for words in examples("train")]


@pytest.mark.usefixtures("_files_of_the_examples")
def test_every_example_of_train_runs(capsys):
    """In their order, as --resume reads what --save wrote."""
    of_train = examples("train")
    assert len(of_train) == 28
    for words in of_train:
        ended = command(numpy_rnn, capsys, *shorter(words))
        assert (ended.status, ended.err) == (0, ""), words
        has_result = "  time" in ended.out or ended.out.count("----\n") == 2  # a table of the series, or a sample
        assert (ended.out != "") == has_result == ("--quiet" not in words), words
    assert os.path.exists("run.npz")
    assert os.path.exists("trace.npz")


@pytest.mark.needs_torch
@pytest.mark.usefixtures("_files_of_the_examples")
def test_every_example_of_compare_runs(capsys):
    succeed(numpy_rnn, capsys, "--trace", "trace.npz", "--epochs", 2)
    of_compare = examples("compare")
    assert len(of_compare) == 7
    for words in of_compare:
        assert command(numpy_rnn, capsys, *shorter(words))[::2] == (0, ""), words
    assert os.path.exists("results.json")


@pytest.mark.needs_torch
@pytest.mark.usefixtures("_files_of_the_examples")
def test_the_commands_of_the_document_run(capsys, monkeypatch):
    """Over few epochs. Those on files of tests/ are run by test_documents.py, and the study by tests of its own."""
    of_document = documents.commands(DOCUMENT)
    commands = [line for line in of_document if "tests/" not in line]
    commands.remove("python -m numpy_rnn study")
    assert len(commands) == 19
    for line in commands:
        if line.startswith("cat series.csv | "):
            monkeypatch.setattr("sys.stdin", StringIO(Path("series.csv").read_text()))
        words = shlex.split(line.rpartition(" | ")[2].replace("numpy-rnn ", "python -m numpy_rnn "))
        assert words[:2] == ["python", "-m"]
        try:
            status = main(importlib.import_module(words[2]), shorter(words[3:]))
        except SystemExit as ended:  # --version
            status = ended.code
        assert (status, capsys.readouterr().err) == (0, ""), line


# -- the tables of the document, computed again -----------------------------------------------------------------------


def error_of_autoregression(series, years, held_out):
    """The held-out root mean square error of a linear model of the last years, fitted to all others."""
    before = sliding_window_view(series, years)[:-1]
    inputs, targets = np.column_stack([before, np.ones(len(before))]), series[years:]
    weights = np.linalg.lstsq(inputs[:-held_out], targets[:-held_out], rcond=None)[0]
    return np.sqrt(np.square(inputs @ weights - targets)[-held_out:].mean())


@pytest.mark.slow
def test_the_networks_predict_the_sunspots_as_well_as_the_document_says(monkeypatch):
    """All numbers of the table, to one unit of their last digit; and the claims below it."""
    monkeypatch.chdir(documents.TOP)
    [line] = [line for line in documents.commands(DOCUMENT) if "--data tests/sunspots.csv" in line]
    configuration = configuration_of(parser("numpy_rnn").parse_args(["train", *shlex.split(line)[3:]]))
    experiment = prepare(configuration)
    result = run(numpy_rnn, experiment, configuration)
    spots = experiment.scaling.original(result.predictions)[-50:, :, 0, 0]
    series = np.loadtxt("tests/sunspots.csv", delimiter=",", skiprows=1)[:, 1]
    errors = np.sqrt(np.square(spots - series[-50:, None]).mean(axis=0))
    low, median, high = np.quantile(errors, (0.1, 0.5, 0.9))
    persistence = np.sqrt(np.square(np.diff(series)[-50:]).mean())
    of_2, of_9 = (error_of_autoregression(series, years, 50) for years in (2, 9))
    for row, found, unit in (
        ("persistence", [persistence], 0.01),
        ("linear autoregression on 2 years", [of_2], 0.01),
        ("linear autoregression on 9 years", [of_9], 0.01),
        ("the network, median", [median], 0.1),
        ("the network, 10th to 90th", [low, high], 0.1),
    ):
        cell = re.search(rf"^\| {row}.*\| (.+) \|$", TEXT, re.M)[1]
        np.testing.assert_allclose(list(map(float, re.findall(r"\d+\.\d+", cell))), found, rtol=0, atol=unit)
    assert median < of_9 < errors.max() < of_2 < persistence


def rows_of_options():
    """(options, cells) of the table of what they change."""
    table = TEXT[TEXT.index("| options | median |") :].split("\n\n")[0].splitlines()[2:]
    rows = [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in table]
    return [(options.replace("none", "").split(), cells) for options, *cells in rows]


@pytest.mark.parametrize(("options", "cells"), rows_of_options())
def test_options_change_the_loss_as_the_document_says(options, cells):
    """To one unit of the one digit that is given; and where networks diverge without clipping, none does with it."""
    configuration = configuration_of(parser("numpy_rnn").parse_args(["train", *options, "--seeds", "32"]))
    result = run(numpy_rnn, prepare(configuration), configuration)
    diverged = 32 - result.converged().sum()
    if "diverge" in cells[1]:
        assert 32 / 4 < diverged < 32 / 2
        return
    assert diverged == 0
    given = [float(number) for number in re.findall(r"[\d.]+", " ".join(cells))]
    assert len(given) == 3
    for number, found in zip(given, np.quantile(result.losses[-1], (0.5, 0.1, 0.9)), strict=True):
        assert abs(number - found) <= 10 ** np.floor(np.log10(number)), (number, found)
