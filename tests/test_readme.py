"""README.md beyond what test_documents.py checks of every document: its equations, losses and bounds."""

import re

import documents

import numpy_rnn
from numpy_rnn.app.configuration import Configuration
from numpy_rnn.app.experiment import prepare
from numpy_rnn.app.run import run
from numpy_rnn.conformance.traces import drive

README = (documents.TOP / "README.md").read_text(encoding="utf-8")
OUTPUT = documents.examples(documents.TOP / "README.md")[0].output.text  # of compare


def test_the_equations_are_those_of_the_derivation():
    derivation = (documents.TOP / "numpy_rnn" / "DERIVATION.md").read_text(encoding="utf-8")
    equations = [re.findall(r"^\| (\(B\d+\)) \| (.*?) \|", text, re.M) for text in (README, derivation)]
    assert equations[0] == equations[1]
    assert [name for name, _ in equations[0]] == re.findall(r"\*\*(\(B\d+\))\*\*", derivation)


def test_loss_columns_are_those_of_a_run():
    """Every printed loss, of both packages, is what numpy_rnn gives here, within the spread of runs an ulp apart."""
    configuration = Configuration()
    experiment = prepare(configuration)
    losses = run(numpy_rnn, experiment, configuration).losses
    spread = drive.measure(losses, [losses], experiment, configuration).spread
    rows = re.findall(r"^ +(\d+) +(\d\.\d{6}) +(\d\.\d{6}) +\S+$", OUTPUT, re.M)
    assert len(rows) == 5
    for epoch, *columns in rows:
        at = int(epoch) - 1
        for printed in columns:
            assert abs(float(printed) - losses[at]) <= drive.ALARM * spread[at] + 0.5e-6


def test_no_ratio_to_a_bound_is_above_one():
    ratios = re.findall(r"^\w+ +[A-Z]\d.* (\d\.\d{3}) +(\d\.\d{3})$", OUTPUT, re.M)
    assert len(ratios) == 6
    assert all(float(ratio) <= 1 for row in ratios for ratio in row)


def test_ci_runs_the_test_command_as_written():
    """`.ci/run` takes the command from the README: exactly one line is it."""
    lines = [line for line in README.splitlines() if re.match(r"python3 -m venv .* pytest", line)]
    assert len(lines) == 1
    ci = (documents.TOP / ".ci" / "run").read_text(encoding="utf-8")
    assert "grep -E '^python3 -m venv .* pytest' README.md" in ci


def test_every_file_in_the_table_of_equations_computes_one_of_its_row():
    """A comment of the file has an id of the row; PyTorch's autograd, which has no lines of its own, is left out."""
    rows = re.findall(r"^\| ((?:[FLBTU]\d+(?:, | to )?)+) \| (.*)$", README, re.M)
    assert len(rows) == 11
    for words, cells in rows:
        letter, (first, *others) = words[0], map(int, re.findall(r"\d+", words))
        ids = [f"({letter}{number})" for number in range(first, (others or [first])[-1] + 1)]
        for path in re.findall(r"\]\((.*?)\)", cells):
            source = (documents.TOP / path).read_text(encoding="utf-8")
            comments = " ".join(re.findall("#.*", source))
            assert path == "torch_rnn/bptt.py" or any(id in comments for id in ids), (path, ids)
