"""The examples of --help, and the commands of numpy_rnn/app/README.md, run in the order in which they are shown."""

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
from in_process import command, free_running, main, succeed

import numpy_rnn
from numpy_rnn.app import command_line
from numpy_rnn.app.commands import EXAMPLES
from numpy_rnn.app.options import parser


@pytest.fixture(autouse=True)
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


def test_every_example_of_train_runs(capsys):
    """In their order, as --resume reads what --save wrote."""
    of_train = examples("train")
    assert len(of_train) == 28
    for words in of_train:
        ended = command(numpy_rnn, capsys, *shorter(words))
        assert (ended.status, ended.err) == (0, ""), words
        assert (ended.out == "") if "--quiet" in words else _shows_what_the_network_does(ended.out, words)
    assert os.path.exists("run.npz")
    assert os.path.exists("trace.npz")


def _shows_what_the_network_does(out, words):
    if "book" in " ".join(words):
        return out.count("----\n") == 2
    return "--held-out" in words or free_running(out)


@pytest.mark.needs_torch
def test_every_example_of_compare_runs(capsys):
    succeed(numpy_rnn, capsys, "--trace", "trace.npz", "--epochs", 2)
    of_compare = examples("compare")
    assert len(of_compare) == 7
    for words in of_compare:
        assert command(numpy_rnn, capsys, *shorter(words))[::2] == (0, ""), words
    assert os.path.exists("results.json")


@pytest.mark.needs_torch
def test_the_commands_of_the_document_run(capsys, monkeypatch):
    """Over few epochs. Those on files of tests/ are run by test_documents.py, and the study by tests of its own."""
    of_document = documents.commands(documents.TOP / "numpy_rnn" / "app" / "README.md")
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
