"""Model files: complete ones, those of earlier versions, and damaged ones; and the
commands `predict` and `sample`, which need nothing else.
"""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

import numpy_rnn
from numpy_rnn.app.model_file import load_model, save_model
from tests.helpers.command_line import command, refused, succeed
from tests.helpers.comparing import bits

ROWS = np.round(np.random.default_rng(4).normal(20, 3, (40, 3)), 3)
QUICK = ("--epochs", 3, "--no-plot", "--quiet")


def write_data(path="data.csv", names="a,b,c", rows=ROWS):
    np.savetxt(path, rows, "%.3f", delimiter=",", header=names, comments="")


@pytest.fixture(autouse=True)
def _data():
    write_data()
    Path("text.txt").write_text("a man, a plan, a canal: panama! " * 8)


def read_table(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def numbers(rows, name):
    return np.array([float(row[name]) for row in rows if row[name]])


@pytest.mark.parametrize("words", ["", "--seeds 3", "--columns b,a --target a"])
def test_predict_needs_the_model_alone(rnn, capsys, words):
    """Its numbers are those of the training, also with columns in another order."""
    train = "--data", "data.csv", *words.split(), "--nonlinearity", "sigmoid", *QUICK
    steps = "1" if "target" in words else "6"
    files = "--forecast", steps, "--save", "m.npz", "--predictions", "first.csv"
    files += "--dtype", "float64"
    assert succeed(rnn, capsys, *train, *files) == ""
    order = [2, 0, 1]
    write_data("new.csv", ",".join("abc"[n] for n in order), ROWS[:, order])
    predict = "predict", "m.npz", "--data", "new.csv", "--forecast", steps
    out = succeed(rnn, capsys, *predict, "--predictions", "second.csv")
    assert "\nforecast" in out
    first, second = read_table("first.csv"), read_table("second.csv")
    for name in first[0].keys() - {"part", "step"}:
        # The forward passes differ in rounding: by the last of nine digits.
        np.testing.assert_allclose(
            numbers(first, name), numbers(second, name), rtol=1.01e-8
        )
    assert {row["part"] for row in second} == {"predicted", "forecast"}
    assert len(second) == 40 + int(steps)


def test_saved_model_is_complete(capsys):
    words = "--data data.csv --seeds 2 --seed 5 --k1 3 --k2 4 --held-out 10"
    succeed(numpy_rnn, capsys, *words.split(), *QUICK, "--save", "m.npz")
    model = load_model("m.npz")
    schedule, objective, step = model.options
    assert (schedule.k1, schedule.k2, schedule.epochs) == (3, 4, 3)
    assert (objective.nonlinearity, step.momentum) == ("tanh", 0.9)
    assert (model.columns, model.target_columns) == (["a", "b", "c"],) * 2
    trained = ROWS[:30]
    assert bits(model.scaling.mean) == bits(trained.mean(axis=0))
    assert bits(model.scaling.target_deviation) == bits(trained.std(axis=0))
    assert (model.seeds, model.params.networks) == ([5, 6], 2)
    assert model.velocity is not None
    with np.load("m.npz", allow_pickle=False) as archive:
        assert archive["version"] == 2
        assert json.loads(str(archive["options"]))["k2"] == 4
    save_model("again.npz", model)
    again = load_model("again.npz")
    assert bits(again.params) == bits(model.params)
    assert again.options == model.options


def test_model_keeps_its_scaling_when_training_goes_on(capsys):
    """And its nonlinearity; the columns are found by their names."""
    first = "--data", "data.csv", "--columns", "c,a", "--nonlinearity", "relu", *QUICK
    succeed(numpy_rnn, capsys, *first, "--save", "m.npz")
    write_data("other.csv", rows=10 * ROWS)
    new = "--data", "other.csv", "--weights", "m.npz", *QUICK, "--save", "n.npz"
    succeed(numpy_rnn, capsys, *new)
    before, after = load_model("m.npz"), load_model("n.npz")
    assert bits(before.scaling) == bits(after.scaling)
    assert after.columns == ["c", "a"]
    assert after.options.objective.nonlinearity == "relu"


UNFIT = """
predict s.npz --data new.csv → data file new.csv: columns of the model: there is no column 'b'; expected names, or numbers from 1, of a, x, c; or name those that stand for a, b, c by --columns
predict s.npz --data new.csv --columns a,x → the series has 2 inputs, a, x, and the model 3, a, b, c: choose as many by --columns
predict s.npz --data huge.csv → data file huge.csv: b is too large for float32: leave it out, or change its unit
predict s.npz → --data is missing: name the series to predict
predict t.npz --data new.csv → t.npz is a model of characters: expected one of a series; use sample
predict old.npz --data new.csv → old.npz has no scaling and columns, as files of earlier versions: save it again by train --weights old.npz --data FILE --epochs 0 --save new.npz
predict new.csv --data new.csv → weights file new.csv: it is damaged, or no .npz file of plain arrays: pickle is never read
predict s.npz --data data.csv --predictions s.npz → MODEL and --predictions both name s.npz: expected different files
predict s.npz --data data.csv --forecast -1 → --forecast is -1: expected a whole number, 0 or more
sample s.npz → s.npz is no model of characters: expected one that train --text saved; use predict for a series
sample t.npz --start Xa → the start has X: expected only characters of the model, ' !,:aclmnp'
sample t.npz --length -1 → --length is -1: expected a whole number, 0 or more
sample t.npz --temperature 0 → --temperature is 0.0: expected a finite number above 0
sample t.npz --seed -1 → --seed is -1: expected a whole number, 0 or more
--data data.csv --weights t.npz → t.npz is a model of a text: give --text, not --data
--data new.csv --weights s.npz → data file new.csv: columns of the model: there is no column 'b'; expected names, or numbers from 1, of a, x, c; or name those that stand for a, b, c by --columns
"""  # noqa: E501


def test_refused_models(capsys):
    write_data("new.csv", "a,x,c")
    write_data("huge.csv", rows=ROWS * [1, 1e200, 1])
    succeed(numpy_rnn, capsys, "--data", "data.csv", *QUICK, "--save", "s.npz")
    succeed(numpy_rnn, capsys, "--text", "text.txt", *QUICK, "--save", "t.npz")
    with np.load("s.npz") as archive:
        np.savez("old.npz", **{name: archive[name] for name in archive if "_" in name})
    with np.load("old.npz") as archive:
        weights = {name: archive[name] for name in archive if name[-2] in "xhy"}
    weights.pop("target_columns", None)
    np.savez("old.npz", **{n: W for n, W in weights.items() if n[:2] in ("W_", "b_")})
    for line in UNFIT.strip().splitlines():
        words, message = line.split(" → ")
        assert refused(numpy_rnn, capsys, *words.split()) == message, words


DAMAGED = [  # entry, value, part of the message
    ("version", 3, "its version is 3: expected 1 or 2; use the release that wrote it"),
    ("options", "{", "its options are damaged: expected the JSON that --save writes"),
    ("options", '{"k1": 1}', "its options are damaged"),
    ("mean", np.ones(2), "its mean are no 3 numbers: it is damaged"),
    ("deviation", np.full(3, np.nan), "its deviation are no 3 numbers"),
    ("columns", np.array(["a", "b"]), "its columns are no 3 names"),
    ("seeds", np.arange(4), "its seeds are not one for each network"),
    ("more", 1, "it has more: expected W_xh, W_hh, W_hy and what --save writes"),
]


@pytest.mark.parametrize(("entry", "value", "message"), DAMAGED)
def test_damaged_models_are_refused(capsys, entry, value, message):
    succeed(numpy_rnn, capsys, "--data", "data.csv", *QUICK, "--save", "m.npz")
    with np.load("m.npz") as archive:
        entries = dict(archive) | {entry: value}
    np.savez("m.npz", **entries)
    words = "predict", "m.npz", "--data", "data.csv"
    assert message in refused(numpy_rnn, capsys, *words)


def test_columns_that_stand_for_those_of_the_model(capsys):
    succeed(numpy_rnn, capsys, "--data", "data.csv", *QUICK, "--save", "m.npz")
    write_data("new.csv", "x,y,z")
    words = "predict", "m.npz", "--data", "new.csv", "--columns", "1,2,3"
    out = succeed(numpy_rnn, capsys, *words, "--predictions", "p.csv")
    assert "predicted, 39 steps: a" in out
    assert "predicted a" in read_table("p.csv")[0]


def test_file_of_an_earlier_version_can_be_completed(capsys):
    """As the message of `predict` says."""
    succeed(numpy_rnn, capsys, "--data", "data.csv", *QUICK, "--save", "m.npz")
    model = load_model("m.npz")
    weights = {k: v for k, v in model.params._asdict().items() if v is not None}
    np.savez("old.npz", **weights, alphabet="", adagrad=False)
    words = "--weights old.npz --data data.csv --epochs 0 --no-plot --save new.npz"
    succeed(numpy_rnn, capsys, *words.split())
    assert bits(load_model("new.npz").params) == bits(model.params)
    succeed(numpy_rnn, capsys, "predict", "new.npz", "--data", "data.csv")


@pytest.mark.needs_matplotlib
def test_predict_draws_only_if_it_is_asked(capsys):
    succeed(numpy_rnn, capsys, "--data", "data.csv", *QUICK, "--save", "m.npz")
    words = "predict", "m.npz", "--data", "data.csv"
    assert "plot" not in succeed(numpy_rnn, capsys, *words)
    out = succeed(numpy_rnn, capsys, *words, "--plot", "p.png", "--forecast", 4)
    assert out.endswith("plot saved to p.png\n")
    assert Path("p.png").read_bytes().startswith(b"\x89PNG")


def test_predictions_that_overflow(capsys):
    """The status is 1, and nothing is written."""
    one = np.ones((1, 1), "f4")
    np.savez("w.npz", W_xh=one, W_hh=0 * one, W_hy=3e38 * one)
    words = "--weights w.npz --data data.csv --columns a --nonlinearity relu"
    words += " --epochs 0 --no-standardize --no-plot --save m.npz --quiet"
    ended = command(numpy_rnn, capsys, *words.split())
    assert (ended.status, ended.err.count("\n")) == (1, 1)
    assert not Path("m.npz").exists()


def test_sample_needs_the_model_alone(rnn, capsys):
    """Its text begins with the start, and follows the seed."""
    succeed(rnn, capsys, "--text", "text.txt", *QUICK, "--save", "m.npz")
    words = "sample", "m.npz", "--start", "a plan", "--length", 50
    texts = [succeed(rnn, capsys, *words, "--seed", seed) for seed in (0, 0, 1)]
    assert texts[0] == texts[1] != texts[2]
    assert texts[0].startswith("a plan")
    assert len(texts[0]) == len("a plan") + 50 + 1
    assert {*texts[0]} <= {*"a man, plcip:!\n"}
    cold = succeed(rnn, capsys, *words, "--temperature", "1e-9", "--seed", 1)
    assert cold == succeed(rnn, capsys, *words, "--temperature", "1e-9", "--seed", 2)
    assert len(succeed(rnn, capsys, "sample", "m.npz", "--length", 9)) == 10
