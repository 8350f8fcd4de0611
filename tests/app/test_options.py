"""The options: their records and defaults, and refusals."""

import importlib
import os
import re
import shlex
import webbrowser
from pathlib import Path

import numpy as np
import pytest

import numpy_rnn
from numpy_rnn.app import command_line
from numpy_rnn.app.command_line import parse_command
from numpy_rnn.app.options import (
    DEFAULTS_OF,
    declarations_of,
    make_options,
    option_name,
)
from numpy_rnn.common.records import Step
from tests.helpers.command_line import (
    main,
    refused,
    rows_of,
    succeed,
    train_options,
)

REFUSED_OPTIONS = """
--momentun 0.9 → there is no option --momentun (did you mean --momentum?); see numpy-rnn train --help
--epochs x → argument --epochs: invalid int value: 'x'; see numpy-rnn train --help
--max-norm None → argument --max-norm: 'None' is no number: expected a number or none; see numpy-rnn train --help
--timeout 3 → there is no option --timeout (did you mean --time?); see numpy-rnn train --help
--text a --sample -3 → --sample is -3: expected a whole number, 0 or more
--log-every 0 → --log-every is 0: expected a whole number, 1 or more
--held-out 30 → --held-out is 30: expected a whole number, 0 or more and at most 18
--text s.txt → text s.txt: it has 2 characters: expected more than --k1
--text folder → text folder cannot be read: Is a directory; check the path
--text binary.txt → text binary.txt: it is binary: expected a text
--text same.txt → text same.txt: it has fewer than 2 different characters: expected more
--plot a.png --no-plot → --plot and --no-plot are both given: leave one of them out
--plot= → --plot : expected a name that ends with .png or .pdf or .svg or .jpg
--save folder → --save folder: expected a name that ends with .npz
--save s.txt/a.npz → --save s.txt/a.npz: its folder cannot be written to: choose another
--save none/a.npz → --save none/a.npz: its folder cannot be written to: choose another
--data large.csv → data file large.csv: column 1 is too large for float32: leave it out, or change its unit
compare numpy_rnn.reference --data opposite.csv → data file opposite.csv: column 1 is too large for float32: leave it out, or change its unit
--data /dev/zero → data file /dev/zero: it has more than 64 million characters: expected a smaller file
--save folder.npz → --save folder.npz: it is a folder: choose another name
--columns 2 → --columns is given without --data: give both
--weights foreign.npz → weights file foreign.npz: it has x: expected W_xh, W_hh, W_hy and what --save writes
--weights w --seeds 2 → --weights and --seeds are both given: leave one of them out
--weights none.npz → weights file none.npz cannot be read: No such file or directory; check the path
"""  # noqa: E501


@pytest.mark.parametrize("command", ["train", "compare", "study"])
def test_option_whose_value_is_two_dashes_is_refused(command, capsys):
    """argparse gives a list in place of the value."""
    for name, parsing in declarations_of(command).items():
        if not parsing.get("action"):  # flags have no value
            option = option_name(name)
            words = [command, *["numpy_rnn"] * (command == "compare"), f"{option}=--"]
            message = f"argument {option}: expected one argument, not '--'; see"
            told = refused(numpy_rnn, capsys, *words)
            assert told == f"{message} numpy-rnn {command} --help"


@pytest.mark.needs_matplotlib
def test_refused_command_lines(capsys):
    os.mkdir("folder")
    os.mkdir("folder.npz")
    np.savez("foreign.npz", x=1)
    Path("large.csv").write_text("1e200\n1\n2\n")
    Path("opposite.csv").write_text("1e308,1\n-1e308,2\n1e308,3\n")
    Path("s.txt").write_text("ab")
    Path("binary.txt").write_text("ab\0c")
    Path("same.txt").write_text("aaaa")
    for words, message in rows_of(REFUSED_OPTIONS):
        assert refused(numpy_rnn, capsys, *words.split()) == message


NO_VALUE = """
--data=--
--save=--
--weights=--
--text=--
--columns=--
--epochs=--
compare --plot=--
compare numpy_rnn.reference --data=--
predict m.npz --data=--
sample m.npz --start=--
"""


@pytest.mark.parametrize("words", NO_VALUE.strip().splitlines())
def test_option_without_a_value(capsys, words):
    """argparse hands over a list for two dashes, or, as of Python 3.13, the dashes."""
    refused(numpy_rnn, capsys, *words.split())


@pytest.mark.parametrize("name", ["train", "compare", "predict", "sample", "study"])
def test_help_ends_with_examples_that_are_accepted(capsys, monkeypatch, name):
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit):
        main(numpy_rnn, [name, "--help"])
    *_, text = capsys.readouterr().out.split("\nexamples:\n")
    lines = text.strip().splitlines()
    assert len(lines) == 3
    for line in lines:
        program, *words = shlex.split(line)
        assert program == "numpy-rnn"
        assert parse_command("numpy_rnn", words).command == name


def test_help_has_the_defaults_of_data_and_text(capsys, monkeypatch):
    """They are those of the options that are made."""
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit):
        main(numpy_rnn, ["train", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    for source in ("data", "text"):
        options = make_options(**{source: ["x"] if source == "text" else "x"})
        for name in ("epochs", "hidden_size", "k1", "k2", "learning_rate", "log_every"):
            word = f"{option_name(name)} {name.upper()} "
            help_text = text.partition(word)[2].partition(" --")[0]
            value = getattr(options, name)
            default = getattr(make_options(), name)
            told = f"--{source}: {value}" in text.partition(word)[2][:150]
            assert told == (value != default), (name, help_text)
    assert "k1 K1 new steps per update (1; --data: 10; --text: 25)" in text
    assert "train biases (--data: yes; --text: yes)" in text


def test_help_lists_the_commands_of_the_package(rnn, capsys):
    with pytest.raises(SystemExit) as ended:
        main(rnn, ["--help"])
    assert ended.value.code == 0
    listed = re.findall(r"^    (\w+)  +\w", capsys.readouterr().out, re.MULTILINE)
    others = ["study", "lesson"] if rnn is numpy_rnn else ["audit"]
    assert listed == ["train", "predict", "sample", "compare", *others]


def test_option_without_a_heading_is_of_its_command(monkeypatch):
    """A first option of a command is in no group of the command before."""
    declared = {"lesson": {"port": {"type": int}}}
    monkeypatch.setattr(
        command_line, "declarations_of", lambda name: declared.get(name, {})
    )
    _, parsers = command_line.make_parser("numpy-rnn")
    assert parsers["lesson"].parse_args(["--port", "3"]).port == 3


def test_help_of_a_command_has_its_options_and_their_defaults(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    with pytest.raises(SystemExit):
        main(numpy_rnn, ["compare", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "--epochs EPOCHS passes over the series (300; --data: 10; --text: 1)" in text
    assert "--bias, --no-bias train biases (--data: yes; --text: yes) --dtype" in text
    assert "--no-plot do not plot --quiet" in text
    for option in ("held-out", "sample", "temperature", "save", "log-every"):
        assert f"--{option}" not in text  # those of train alone


MISSPELT = """
numpy_rnn → comparee torch_rnn → there is no command 'comparee' (did you mean compare?); see numpy-rnn --help
numpy_rnn → compare torch_rnn --epoch 3 → there is no option --epoch (did you mean --epochs?); see numpy-rnn compare --help
numpy_rnn → --lr 3 → there is no option --lr (did you mean --learning-rate?); see numpy-rnn train --help
numpy_rnn → study --held-out 3 → there is no option --held-out; see numpy-rnn study --help
numpy_rnn → zzz → there is no command 'zzz'; see numpy-rnn --help
numpy_rnn → audit train.py → audit is a command of torch-rnn: type torch-rnn audit
torch_rnn → study → study is a command of numpy-rnn: type numpy-rnn study
"""  # noqa: E501


@pytest.mark.needs_torch
def test_misspelt_words_are_answered_with_the_nearest_ones(capsys):
    """A command that the other package has is answered with the name of its script."""
    for package, words, message in rows_of(MISSPELT):
        rnn = importlib.import_module(package)
        assert refused(rnn, capsys, *words.split()) == message


def test_defaults_of_data():
    """The study of a file has the defaults of the sine wave instead."""
    values = vars(make_options("train", data="a.csv"))
    assert values.items() >= DEFAULTS_OF["data"].items()
    compared = make_options("compare", data="a.csv")
    assert (compared.epochs, compared.steps) == (10, 1000)
    assert make_options(data="a.csv", k2=5).k1 == 5
    assert make_options(text="a.txt").adagrad
    assert not make_options(text="a.txt", momentum=0.9).adagrad
    assert make_options("study", data="a.csv").standardize is False


def test_defaults_that_are_turned_off():
    options = "--text a --max-value none --no-adagrad --no-bias"
    run = train_options(options).run_options()
    assert run.step == Step(0.1)
    assert train_options("--data a --max-norm none").max_norm is None


def test_lesson_is_opened_and_its_path_printed(capsys, monkeypatch):
    opened = []
    monkeypatch.setattr(webbrowser, "open", lambda url: opened.append(url) or True)
    path = Path(succeed(numpy_rnn, capsys, "lesson").strip())
    assert opened == [path.as_uri()]
    assert path.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
