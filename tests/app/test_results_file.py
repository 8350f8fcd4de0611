"""--output: the results of a run, as a table and as JSON, are those that were computed, to the last bit."""

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
from comparing import bits
from in_process import configured, succeed, trained

from numpy_rnn.app import results
from numpy_rnn.app.experiment import prepare
from numpy_rnn.app.results import HEAD, save_results


@pytest.fixture(autouse=True)
def _series():
    rows = np.random.default_rng(0).normal(50, 20, (12, 2))
    np.savetxt("s.csv", rows, delimiter=",", fmt="%.17g", header='spots,"per, cent"', comments="")


SERIES = "--data s.csv --standardize --held-out 3"
RUNS = {
    "one network": "",
    "no epochs": "--epochs 0",
    "an ensemble": "--seeds 3 --dtype float64",
    "an ensemble of one": "--seeds 1",
    "rates": "--learning-rate 0.1,0.01",
    "rates and seeds": f"--learning-rate 0.1,0.01 --seeds 3 {SERIES}",
    "two columns": f"{SERIES} --generate 5",
    "the last predictions": SERIES,
    "a column": "--data s.csv --columns 2 --standardize",
}


def read_json(name):
    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(Path(name).read_text(encoding="utf-8"), parse_constant=refuse)


def read_csv(name):
    with open(name, encoding="utf-8", newline="") as file:
        head, *rows = csv.reader(file)
    assert tuple(head) == HEAD
    return rows


@pytest.mark.parametrize("kind", RUNS)
def test_the_files_have_the_results_of_the_run(rnn, capsys, monkeypatch, kind):
    if kind == "the last predictions":
        monkeypatch.setattr(results, "MAX_PREDICTED", 6)
        monkeypatch.setattr(results, "STEPS_PER_PASS", 2)
    words = ["train", "--epochs", "2", *RUNS[kind].split()]
    for name in ("r.json", "r.csv"):
        out = succeed(rnn, capsys, *words[1:], "--output", name, "--no-plot")
        assert out.endswith(f"\nlosses and predictions saved to {name}\n")
    configuration = configured("--epochs 2 " + RUNS[kind].partition(" --generate")[0])
    experiment = prepare(configuration)
    result = trained(rnn, configuration, 5 if "--generate 5" in RUNS[kind] else configuration.held_out or 20)

    T, held_out, D = len(experiment.x), configuration.held_out, experiment.x.shape[-1]
    P = 6 if kind == "the last predictions" else T
    assert len(result.predictions) == P
    mean, deviation = experiment.scaling or (np.zeros(D), np.ones(D))
    predicted, generated = (
        values[..., 0, :].astype(np.float64) * deviation + mean for values in (result.predictions, result.generated)
    )
    series = np.loadtxt("s.csv", delimiter=",", skiprows=1) if "--data" in words else np.sin(np.linspace(2, 10, 21))
    actual = series.reshape(T + 1, -1)[T + 1 - P :, -D:]  # the rows that are predicted

    found = read_json("r.json")
    assert (found["format"], found["package"], found["version"]) == ("elman-results 1", rnn.__name__, rnn.__version__)
    assert found["configuration"] == json.loads(json.dumps(configuration.to_dict()))
    names = {"s.csv": ["spots", "per, cent"]}.get(found["series"], ["feature 1"])
    assert found["columns"] == names[-D:]
    assert found["epochs"] == list(range(1, configuration.epochs + 1))
    assert found["times"] == list(range(T + 2 - P, T + 2))
    assert found["free_running_times"] == list(range(T + 2 - held_out, T + 2 - held_out + len(generated)))
    by_key = {"losses": result.losses, "actual": actual, "predicted": predicted, "free_running": generated}
    for key, expected in by_key.items():
        assert bits(np.array(found[key], np.float64).reshape(expected.shape)) == bits(expected), key

    rates, networks = configuration.rates() or ("",), range(1, (configuration.networks or 1) + 1)
    rows = {tuple(row[:-1]): float(row[-1]) for row in read_csv("r.csv")}
    expected_rows: dict[tuple[str, ...], float] = {}
    for r, rate in enumerate(rates):
        for n in networks:
            place = ((r,) if configuration.rates() else ()) + (() if configuration.networks is None else (n - 1,))
            who = "" if configuration.networks is None else str(n), str(rate)
            for epoch in range(configuration.epochs):
                expected_rows["loss", str(epoch + 1), "", "", *who] = result.losses[epoch, *place]
            for what, first, values in (
                ("predicted", T + 2 - P, predicted),
                ("free-running", T + 2 - held_out, generated),
            ):
                for t, d in np.ndindex(len(values), D):
                    expected_rows[what, "", str(first + t), names[-D:][d], *who] = values[t, *place, d]
    for t, d in np.ndindex(actual.shape):
        expected_rows["actual", "", str(T + 2 - P + t), names[-D:][d], "", ""] = actual[t, d]
    assert rows == expected_rows


def test_numbers_that_are_not_finite_are_null_in_json_and_words_in_a_table(rnn):
    configuration = configured("--epochs 1 --seeds 2")
    experiment, result = prepare(configuration), trained(rnn, configuration, 1)
    result.losses[0] = np.nan, np.inf
    for name in ("r.json", "r.csv"):
        save_results(name, rnn.__name__, experiment, configuration, result)
    assert read_json("r.json")["losses"] == [[None, None]]
    values = [float(row[-1]) for row in read_csv("r.csv") if row[0] == "loss"]
    assert math.isnan(values[0])
    assert values[1] == math.inf
