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
    shown, derived = [dict(re.findall(r"\| (\(B\d+\)) \| (.*?) (?=\|)", text)) for text in (README, derivation)]
    assert shown == derived
    assert [*derived] == re.findall(r"\*\*(\(B\d+\))\*\*", derivation)


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


def test_the_files_of_a_row_of_the_table_compute_all_its_equations():
    """Their comments have all ids of the row, and each file has one; PyTorch's autograd has no lines of its own."""
    rows = re.findall(r"^\| ([FLBTU]\d[^|]*) \| [^|]* \| (.*) \|$", README, re.M)
    assert len(rows) == 8
    found = set()
    for words, cells in rows:
        ids = {
            f"({part[0]}{number})"
            for part in words.split(", ")
            for first, *last in [[int(number) for number in re.findall(r"\d+", part)]]
            for number in range(first, (last or [first])[0] + 1)
        }
        found |= ids
        for cell in cells.split(" | "):
            comments = {path: comments_of(documents.TOP / path) for path in re.findall(r"\]\((.*?)\)", cell)}
            if "autograd" not in cell and comments:
                assert all(any(id in text for id in ids) for text in comments.values()), (words, [*comments])
                assert all(id in "".join(comments.values()) for id in ids), (words, [*comments])
    derivation = (documents.TOP / "numpy_rnn" / "DERIVATION.md").read_text(encoding="utf-8")
    assert found == set(re.findall(r"\*\*(\([FLBTU]\d+\))\*\*", derivation))


def comments_of(path):
    return " ".join(re.findall("#.*", path.read_text(encoding="utf-8")))
