"""The tables in numpy_rnn/app/README.md, computed again."""

import re
import shlex

import documents
import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

import numpy_rnn
from numpy_rnn.app.experiment import prepare
from numpy_rnn.app.options import configuration_of, parser
from numpy_rnn.app.run import run

DOCUMENT = documents.TOP / "numpy_rnn" / "app" / "README.md"
TEXT = DOCUMENT.read_text(encoding="utf-8")


# -- the sunspots ---------------------------------------------------------------------------------------------------


def command_of_the_sunspots():
    [command] = [command for command in documents.commands(DOCUMENT) if "--data tests/sunspots.csv" in command]
    return shlex.split(command)[3:]


def number_in_the_table(row):
    return [float(number) for number in re.findall(r"\d+\.\d+", re.search(rf"^\| {row}.*\| (.+) \|$", TEXT, re.M)[1])]


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
    configuration = configuration_of(parser("numpy_rnn").parse_args(["train", *command_of_the_sunspots()]))
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
        np.testing.assert_allclose(number_in_the_table(row), found, rtol=0, atol=unit)
    assert median < of_9 < errors.max() < of_2 < persistence


# -- the options ----------------------------------------------------------------------------------------------------


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
