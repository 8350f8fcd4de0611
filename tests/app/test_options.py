"""Options: each reaches the arithmetic and has an example, and the examples and the commands of README.md run."""

import importlib
import json
import os
import re
import shlex
import sys
from io import StringIO
from pathlib import Path

import documents
import numpy as np
import pytest
from comparing import bits
from in_process import command, configured, losses, main, succeed, trained
from numpy.lib.stride_tricks import sliding_window_view

import numpy_rnn
from numpy_rnn import Parameters
from numpy_rnn.app import command_line
from numpy_rnn.app.commands import EXAMPLES
from numpy_rnn.app.configuration import Configuration
from numpy_rnn.app.experiment import prepare
from numpy_rnn.app.options import configuration_of, parser
from numpy_rnn.app.series import inputs_and_targets, sine
from numpy_rnn.app.storage import load_parameters, save_parameters

DOCUMENT = documents.TOP / "numpy_rnn" / "app" / "README.md"
TEXT = DOCUMENT.read_text(encoding="utf-8")
SERIES = np.random.default_rng(1).normal(0, 1, (9, 2))


def standardized(rows):
    return (rows - rows.mean(axis=0)) / rows.std(axis=0)


RUNS = {
    "defaults": ("", {}, {}),
    "learning rate": ("--learning-rate 0.02", {}, {"learning_rate": 0.02}),
    "hidden size": ("--hidden-size 3", {"hidden_size": 3}, {}),
    "k1": ("--k1 3", {}, {"k1": 3, "k2": 3}),
    "k2": ("--k2 4", {}, {"k2": 4}),
    "nonlinearity": ("--nonlinearity relu", {}, {"nonlinearity": "relu"}),
    "reduction": ("--reduction mean --k1 3", {}, {"reduction": "mean", "k1": 3, "k2": 3}),
    "bias": ("--bias", {"bias": True}, {}),
    "dtype": ("--dtype float64", {"dtype": "float64"}, {}),
    "seed": ("--seed 4", {"seed": 4}, {}),
    "data": ("--data series.npy", {"series": SERIES}, {}),
    "ensemble": ("--seeds 3 --seed 2", {"networks": 3, "seed": 2}, {}),
    "momentum": ("--momentum 0.9 --learning-rate 0.01", {}, {"momentum": 0.9, "learning_rate": 0.01}),
    "dampening": ("--momentum 0.9 --dampening 0.5", {}, {"momentum": 0.9, "dampening": 0.5}),
    "nesterov": ("--momentum 0.5 --nesterov", {}, {"momentum": 0.5, "nesterov": True}),
    "weight decay": ("--weight-decay 0.01", {}, {"weight_decay": 0.01}),
    "clipping": ("--max-norm 0.1", {}, {"max_norm": 0.1}),
    "clipping by value": ("--max-value 0.05", {}, {"max_value": 0.05}),
    "learned initial state": ("--learn-initial-state", {"learned": True}, {}),
    "rates": ("--learning-rate 0.02,0.05", {"E": (2,)}, {"learning_rate": [0.02, 0.05]}),
    "rates, weights": ("--weights w3.npz --learning-rate 0.1,0", {"E": (2,), "seed": 3}, {"learning_rate": [0.1, 0]}),
    "rates and seeds": (
        "--learning-rate 0.02,0.05 --seeds 3 --learn-initial-state",
        {"networks": 3, "E": (2, 3), "learned": True},
        {"learning_rate": [[0.02], [0.05]]},
    ),
    "column": ("--data series.npy --columns 2", {"series": SERIES[:, 1:]}, {}),
    "columns": ("--data series.npy --columns 2,1", {"series": SERIES[:, ::-1]}, {}),
    "standardized": ("--data series.npy --standardize", {"series": standardized(SERIES)}, {}),
    "held out": ("--data series.npy --held-out 3", {"series": SERIES[:-3]}, {}),
    "standardized by what is trained on": (
        "--data series.npy --standardize --held-out 4",
        {"series": standardized(SERIES[:-4])},
        {},
    ),
}
EPOCHS = 2


def trained_directly(rnn, options, **drawn):
    """The final parameters and the losses of `rnn.train`, called as its docstring says."""
    series, learned, E = drawn.pop("series", sine()), drawn.pop("learned", False), drawn.pop("E", None)
    D = series.shape[1]
    params = rnn.to_numpy(rnn.initial_parameters(D, drawn.pop("hidden_size", 6), D, **drawn))
    *axes, H = params.W_hh.shape[:-1]
    if learned:
        params = params._replace(h_0=np.zeros((*axes, 1, H), params.W_hh.dtype))
    if E is not None:  # the same weights at every rate
        params = Parameters(*(p if p is None else np.stack([p] * E[0]) for p in params))
    params, dtype = rnn.from_numpy(params), params.W_hh.dtype
    x, target = inputs_and_targets(series, dtype)
    arrays = map(rnn.from_numpy, (x, target, None if learned else np.zeros((1, H), dtype)))
    options = {"k1": 1, "k2": 1, **options, "learning_rate": np.array(options.get("learning_rate", 0.1))}
    updates = list(rnn.train(params, *arrays, epochs=EPOCHS, **options))
    weight = [update.window.loss_steps / len(x) if options.get("reduction") == "mean" else 1 for update in updates]
    terms = [np.float64(rnn.to_numpy(update.loss)) * w for update, w in zip(updates, weight, strict=True)]
    sums = np.array(terms).reshape(EPOCHS, -1, *terms[0].shape).sum(axis=1)
    return rnn.to_numpy(updates[-1].parameters), sums


@pytest.mark.parametrize("case", RUNS)
def test_every_option_reaches_the_run(rnn, capsys, case):
    """The parameters and the losses of the command are those of `rnn.train`."""
    np.save("series.npy", SERIES)
    save_parameters("w3.npz", numpy_rnn.initial_parameters(seed=3))
    options, drawn, changed = RUNS[case]
    succeed(rnn, capsys, *f"--epochs {EPOCHS} --save w.npz --output r.json --no-plot {options}".split())
    params, sums = trained_directly(rnn, changed, **drawn)
    assert bits(load_parameters("w.npz")) == bits(params)
    found = json.loads(Path("r.json").read_text())
    np.testing.assert_allclose(found["losses"], sums, rtol=40 * np.finfo(float).eps)  # 20 products, in any order
    assert (bits(params) == bits(trained_directly(rnn, {})[0])) == (case == "defaults")
    configuration = configured(options)
    assert Configuration.from_dict(json.loads(json.dumps(configuration.to_dict()))) == configuration
    if configuration.held_out == 0:  # an option of `train` only
        compared = parser("numpy_rnn").parse_args(["compare", "x", *options.split()])
        assert configuration_of(compared) == configuration


@pytest.mark.parametrize(("every", "epochs"), [(1, [1, 2, 3, 4, 5]), (2, [1, 2, 4, 5]), (7, [1, 5]), (5, [1, 5])])
def test_log_every(capsys, every, epochs):
    """The first, the last and every n-th epoch are printed, each once."""
    assert list(losses(succeed(numpy_rnn, capsys, "--epochs", 5, "--log-every", every, "--no-plot"))) == epochs


def test_the_dtype_of_weights_is_kept_unless_another_is_asked_for():
    params = prepare(Configuration(dtype="float64")).params
    save_parameters("w.npz", params)
    assert bits(prepare(Configuration(weights="w.npz")).params) == bits(params)
    changed = prepare(Configuration(weights="w.npz", dtype="float32"))
    assert bits(changed.params) == bits(Parameters(*(t if t is None else t.astype("float32") for t in params)))
    assert {str(array.dtype) for array in (changed.x, changed.target, changed.h_0)} == {"float32"}


def test_a_learned_initial_state_begins_at_zero_or_in_the_weights(capsys):
    succeed(numpy_rnn, capsys, "--epochs", 2, "--learn-initial-state", "--save", "w.npz", "--no-plot")
    learned = load_parameters("w.npz")
    assert prepare(Configuration(learn_initial_state=True)).params.h_0.tolist() == [[0] * 6]
    assert np.abs(learned.h_0).min() > 0
    for options in ([], ["--learn-initial-state"]):  # what the file holds is learned on
        assert bits(prepare(configured(" ".join(["--weights w.npz", *options]))).params) == bits(learned)
    save_parameters("v.npz", learned._replace(h_0=None))
    assert prepare(configured("--weights v.npz")).params.h_0 is None
    assert prepare(configured("--weights v.npz --learn-initial-state")).params.h_0.tolist() == [[0] * 6]


def test_what_is_held_out_is_predicted_and_free_running_begins_before_it():
    np.savetxt("long.csv", SERIES, delimiter=",")
    np.savetxt("short.csv", SERIES[:-3], delimiter=",")
    long, short = (configured(f"--epochs 3 --data {name}") for name in ("long.csv --held-out 3", "short.csv"))
    result, of_short = trained(numpy_rnn, long, 3), trained(numpy_rnn, short, 3)
    assert (len(result.predictions), len(of_short.predictions)) == (8, 5)
    assert bits(result.generated) == bits(of_short.generated)


# -- the examples ---------------------------------------------------------------------------------------------------


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
    assert {"run.npz", "trace.npz"} <= set(os.listdir())


@pytest.mark.needs_torch
@pytest.mark.usefixtures("_files_of_the_examples")
def test_every_example_of_compare_and_every_command_of_the_document_runs(capsys, monkeypatch):
    """Those on files of tests/ are run by test_documents.py, and the study by tests of its own."""
    succeed(numpy_rnn, capsys, "--trace", "trace.npz", "--epochs", 2)
    of_compare = [["python", "-m", "numpy_rnn", *words] for words in examples("compare")]
    lines = [line for line in documents.commands(DOCUMENT) if "tests/" not in line and not line.endswith(" study")]
    assert (len(of_compare), len(lines)) == (7, 19)
    after_pipes = [line.rpartition(" | ")[2].replace("numpy-rnn ", "python -m numpy_rnn ") for line in lines]
    for python, m, package, *words in of_compare + list(map(shlex.split, after_pipes)):
        monkeypatch.setattr("sys.stdin", StringIO(Path("series.csv").read_text()))
        try:
            status = main(importlib.import_module(package), shorter(words))
        except SystemExit as ended:  # --version
            status = ended.code
        assert (python, m, status, capsys.readouterr().err) == ("python", "-m", 0, ""), words
    assert os.path.exists("results.json")


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
    configuration = configured(" ".join(shlex.split(line)[3:]))
    experiment, result = prepare(configuration), trained(numpy_rnn, configuration)
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
    return [(options.replace("none", ""), cells) for options, *cells in rows]


@pytest.mark.parametrize(("options", "cells"), rows_of_options())
def test_options_change_the_loss_as_the_document_says(options, cells):
    """To one unit of the one digit that is given; and where networks diverge without clipping, none does with it."""
    result = trained(numpy_rnn, configured(f"{options} --seeds 32"))
    diverged = 32 - result.converged().sum()
    if "diverge" in cells[1]:
        assert 32 / 4 < diverged < 32 / 2
        return
    assert diverged == 0
    given = [float(number) for number in re.findall(r"[\d.]+", " ".join(cells))]
    assert len(given) == 3
    for number, found in zip(given, np.quantile(result.losses[-1], (0.5, 0.1, 0.9)), strict=True):
        assert abs(number - found) <= 10 ** np.floor(np.log10(number)), (number, found)
