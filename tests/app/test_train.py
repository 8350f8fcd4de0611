"""The command `train` on a series: its numbers, its files, and how it ends."""

import csv
import io
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import numpy_rnn
from numpy_rnn.__main__ import main
from numpy_rnn.app import output
from numpy_rnn.app.experiment import prepare_experiment
from numpy_rnn.app.model_file import load_model
from numpy_rnn.app.output import Progress
from numpy_rnn.app.train_command import drawing_of, make_training
from numpy_rnn.app.train_report import SeriesReport
from numpy_rnn.app.training import Training, epoch_losses
from tests.helpers.command_line import command, succeed, train_options
from tests.helpers.comparing import bits


def training_of(options):
    """Return the run of these options, by numpy_rnn."""
    run = prepare_experiment(options).run
    return Training(numpy_rnn, run)


def result_of(training, experiment):
    """Train, and return what is drawn of the result."""
    assert list(training)
    report = SeriesReport(training, experiment, train_options())
    report.result()
    return drawing_of(report)


def test_default_experiment(rnn, capsys):
    """The predictions are those of the last weights. Some losses are printed."""
    out = succeed(rnn, capsys, "--no-plot", "--epochs", 20)
    experiment = prepare_experiment(train_options("--epochs 20"))
    result = result_of(Training(rnn, experiment.run), experiment)
    series = np.sin(np.linspace(2, 10, 21)).reshape(-1, 1, 1)
    assert bits(result.series.targets[:, None]) == bits(series)
    rows = series.astype("f4")
    data = [*map(rnn.from_numpy, (rows[:-1], rows[1:], np.zeros((1, 6), "f4")))]
    options = {"k1": 1, "k2": 1, "learning_rate": 0.1, "epochs": 20}
    *_, last = rnn.train(rnn.initial_parameters(), *data, **options)
    activations = rnn.forward(last.parameters, data[0], data[2])
    predicted = result.predictions.one_step
    np.testing.assert_array_equal(predicted, rnn.to_numpy(activations.y))
    printed = re.findall(r"^ *(\d+) +(\S+)$", out, re.MULTILINE)
    losses = result.losses.ravel()
    assert printed == [(str(n), f"{losses[n - 1]:.6g}") for n in (1, 10, 20)]
    assert "\nepoch           loss\n" in out


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_loss_of_an_epoch_is_that_of_its_steps(reduction):
    """The last window has fewer steps than others. An unfinished epoch has no loss."""
    options = train_options(f"--epochs 2 --k1 3 --seeds 2 --reduction {reduction}")
    training = training_of(options)
    losses = []
    expected = np.zeros((2, 2))
    for update in training:
        steps = update.window.loss_steps / 20 if reduction == "mean" else 1
        losses.append(update.loss.astype(float))
        expected[update.epoch - 1] += losses[-1] * steps
    # Sums of seven terms, none negative, each with a product, a share and a sum.
    rtol = 2 * 9 * np.finfo(float).eps / 2
    np.testing.assert_allclose(training.losses, expected, rtol)
    whole_epochs = epoch_losses(np.array(losses[:13]), training.run)
    np.testing.assert_array_equal(whole_epochs, training.losses[:1])


def test_training_sees_nothing_of_what_is_held_out(capsys):
    """Other numbers there change no weight, nor the scale of the series."""
    weights = []
    for last in "19":
        Path("s.csv").write_text("\n".join(["1", "3", "2", "4", "2", last, last]))
        words = "--data s.csv --held-out 2 --epochs 3 --k1 2 --k2 2 --save w.npz"
        succeed(numpy_rnn, capsys, *words.split(), "--no-plot")
        weights.append(bits(load_model("w.npz").params))
    assert weights[0] == weights[1]


CONTINUED = {
    "plain": "--k1 3 --k2 7",
    "momentum": "--momentum 0.9 --nesterov --k1 20 --k2 20 --learning-rate 0.01",
    "adagrad": "--adagrad --bias",
    "text": "--text t.txt --k1 5 --k2 8 --hidden-size 4 --sample 0",
}


@pytest.mark.parametrize("case", CONTINUED)
def test_one_epoch_at_a_time_is_all_at_once(rnn, capsys, case):
    """Weights and velocity agree bit for bit, by --save and --weights."""
    Path("t.txt").write_text("a man, a plan, a canal: panama! " * 2)
    words = [*CONTINUED[case].split(), "--no-plot"]
    succeed(rnn, capsys, *words, "--epochs", 3, "--save", "whole.npz")
    start = []
    for epoch in "123":
        succeed(rnn, capsys, *words, "--epochs", 1, "--save", f"{epoch}.npz", *start)
        saved = {"--hidden-size", "4", "--bias"}  # the file has them
        words = [word for word in words if word not in saved]
        start = ["--weights", f"{epoch}.npz"]
    whole, parts = load_model("whole.npz"), load_model("3.npz")
    assert (whole.velocity is None) == (case == "plain")
    assert bits((whole.params, whole.velocity)) == bits((parts.params, parts.velocity))
    assert whole.alphabet == parts.alphabet


def test_sums_of_squares_are_no_velocity(capsys):
    """Only weights are taken from a file of another kind of step."""
    words = "--momentum 0.5 --save m.npz --epochs 1 --no-plot"
    succeed(numpy_rnn, capsys, *words.split())
    for step, is_taken in (("--momentum 0.5", True), ("--adagrad", False)):
        experiment = prepare_experiment(train_options(f"--weights m.npz {step}"))
        assert (experiment.run.velocity is not None) == is_taken


@pytest.mark.needs_matplotlib
def test_divergence_is_one_line(rnn, capsys):
    """Both networks have an infinite loss where x is negative, in the fifth step;
    float32 has 3e38 as its largest number. Nothing is written.
    """
    W_xh = np.array([[[-2e20]], [[-1e20]]], "f4")
    one = np.ones((2, 1, 1), "f4")
    np.savez("w.npz", W_xh=W_xh, W_hh=0 * one, W_hy=one)
    options = "--weights w.npz --nonlinearity relu --max-value 1e-9"
    files = "--save r.npz --plot r.png"
    ended = command(rnn, capsys, *options.split(), *files.split())
    line = (
        r"\w+: the run diverged: epoch 1, update 5: the losses of all 2 networks .*\n"
    )
    assert ended.status == 1
    assert re.fullmatch(line, ended.err), ended.err
    assert os.listdir() == ["w.npz"]


@pytest.mark.needs_matplotlib
@pytest.mark.parametrize(
    ("method", "made", "kept"),
    [
        ("after", 47, "40 updates, 2 epochs"),
        ("result", 60, "60 updates, 3 epochs"),
        ("after", 7, "7 updates"),
    ],
)
def test_interrupted_run_saves_its_last_epoch(method, made, kept, capsys, monkeypatch):
    """Ctrl-C comes in epoch 3, while the result is computed, or before any epoch ends:
    then there is nothing better than the latest update.
    """

    def interrupted(self, *update):
        if self.training.updates_made == made:
            os.kill(os.getpid(), signal.SIGINT)
        return []

    words = "--momentum 0.5 --epochs 3"
    monkeypatch.setattr(SeriesReport, method, interrupted)
    ended = command(numpy_rnn, capsys, *words.split(), "--save", "run.npz")
    line = (
        f"numpy_rnn: interrupted after {made} updates; weights saved to run.npz, those"
        f" of {kept}\n"
    )
    made = int(kept.split()[0])
    assert (ended.status, ended.err, os.listdir()) == (130, line, ["run.npz"])
    *_, (expected, _) = zip(training_of(train_options(words)), range(made))
    saved = load_model("run.npz")
    latest = expected.parameters, expected.velocity
    assert bits((saved.params, saved.velocity)) == bits(latest)


def one_of_two_diverges():
    """Write the weights of two networks, and return options with which the second one
    has an infinite loss where x is negative, in the fifth step: float32 has 3e38 as its
    largest number.
    """
    W_xh = np.array([[[0.0]], [[-1e20]]], "f4")
    one = np.ones((2, 1, 1), "f4")
    np.savez("w.npz", W_xh=W_xh, W_hh=0 * one, W_hy=one, seeds=[7, 9], version=2)
    return [
        "--weights",
        "w.npz",
        "--nonlinearity",
        "relu",
        "--max-value",
        "1e-9",
        "--no-plot",
    ]


def test_network_that_diverges_is_left_out(rnn, capsys):
    """It is named once; the others have the numbers of a run without it."""
    words = one_of_two_diverges()
    files = "--save r.npz --predictions p.csv --losses l.csv --forecast 2 --epochs 20"
    out = succeed(rnn, capsys, *words, *files.split())
    told = "network 2 (seed 9) diverged in epoch 1, update 5: left out"
    assert out.count("diverged") == out.count(told) == 1
    together = {name: Path(name).read_text() for name in ("p.csv", "l.csv")}
    saved = load_model("r.npz")
    assert (saved.params.networks, saved.seeds) == (1, [7])
    with np.load("w.npz") as archive:
        first = {name: archive[name][:1] for name in ("W_xh", "W_hh", "W_hy")}
    np.savez("w.npz", **first)
    alone = succeed(rnn, capsys, *words, *files.split())
    row = re.compile(r"^ *\d+( +\S+){3}$", re.MULTILINE)
    printed = [match[0] for match in row.finditer(out)]
    assert printed == [match[0] for match in row.finditer(alone)]
    assert len(printed) == 3
    for name, text in together.items():
        assert Path(name).read_text() == text
    assert bits(load_model("r.npz").params) == bits(saved.params)


def test_network_whose_last_update_diverges_is_left_out(rnn, capsys):
    """Its last loss is finite, but its weights are not."""
    W = np.array([[[0.5]], [[1e30]]], "f4")
    np.savez("w.npz", W_xh=W, W_hh=0 * W, W_hy=0 * W + 1)
    Path("s.csv").write_text("1e-12\n1e-12\n2e-12\n")
    words = "--weights w.npz --data s.csv --no-standardize --nonlinearity relu"
    words += " --momentum 0 --epochs 1 --max-norm none --learning-rate 1e38 --no-plot"
    out = succeed(rnn, capsys, *words.split(), "--save", "r.npz")
    assert "network 2 diverged in the last update: left out" in out
    assert load_model("r.npz").params.networks == 1


def test_losses_of_every_epoch_are_written(capsys):
    """Those held out are of the weights at the end of an epoch."""
    Path("s.csv").write_text("1\n3\n2\n5\n4\n2\n1\n3\n")
    words = "--data s.csv --held-out 3 --epochs 4 --k1 2 --k2 2 --no-plot --log-every 1"
    out = succeed(numpy_rnn, capsys, *words.split(), "--losses", "l.csv")
    with open("l.csv", newline="") as file:
        heading, *rows = csv.reader(file)
    assert heading == ["epoch", "training loss", "held-out loss"]
    printed = re.findall(r"^ *(\d+) +(\S+) +(\S+)$", out, re.MULTILINE)
    for row, (epoch, *losses) in zip(rows, printed, strict=True):
        assert row[0] == epoch
        assert [f"{float(loss):.6g}" for loss in row[1:]] == losses
    experiment = prepare_experiment(train_options(words))
    series, run, scaling, _ = experiment
    x = scaling.scaled_inputs(series, "f4")
    arguments = run.params, run.x, run.target, run.h_0
    epochs = numpy_rnn.train(*arguments, **run.options.keywords(), yield_every="epoch")
    for row, update in zip(rows, epochs, strict=True):
        y = numpy_rnn.forward(update.parameters, x[:-1], run.h_0).y[-3:]
        expected = numpy_rnn.half_squared_error(y, x[-3:], reduction="mean")
        np.testing.assert_allclose(float(row[2]), expected, rtol=1e-6)


def test_sums_are_drawn_as_means_of_their_steps():
    """Those of what is held out have fewer."""
    drawings = []
    for reduction in ("mean", "sum"):
        words = f"--held-out 5 --epochs 2 --reduction {reduction} --learning-rate 0"
        options = train_options(words)
        training, report = make_training(
            numpy_rnn, experiment := prepare_experiment(options), options
        )
        assert list(training)
        report.result()
        drawings.append(drawing_of(report))
    assert experiment.data.held_out == 5
    means, sums = drawings
    np.testing.assert_allclose(sums.losses, means.losses, rtol=1e-6)
    np.testing.assert_allclose(sums.held_out, means.held_out, rtol=1e-6)
    assert (means.per_step, sums.per_step) == (False, True)


def test_quiet_prints_nothing_but_errors(rnn, capsys):
    words = "--epochs 2 --no-plot --quiet"
    assert succeed(rnn, capsys, *words.split(), "--save", "m.npz") == ""
    assert Path("m.npz").exists()
    ended = command(rnn, capsys, "--quiet", "--data", "none.csv")
    assert (ended.status, ended.out, ended.err.count("\n")) == (2, "", 1)


class Terminal(io.StringIO):
    """Standard error that is a terminal."""

    def isatty(self):
        return True


def test_progress_of_what_takes_a_while(monkeypatch):
    """The line is erased before others are printed. Nothing is shown elsewhere."""
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    progress = Progress(1000, "update")
    for seconds, done in ((1.9, 95), (0.6, 125), (0.1, 130), (122.5, 250)):
        now[0] += seconds
        progress.show(done)
    progress.clear()
    progress.clear()
    shown = [part.removesuffix("\x1b[K") for part in terminal.getvalue().split("\r")]
    lines = ["update 125 of 1000, 18 s left", "update 250 of 1000, 6 min 15 s left"]
    assert shown == ["", *lines, ""]
    monkeypatch.setattr(sys, "stderr", pipe := io.StringIO())
    progress = Progress(1000, "update")
    now[0] += 50
    progress.show(500)
    progress.clear()
    assert pipe.getvalue() == ""


def test_training_shows_its_progress(capsys, monkeypatch):
    monkeypatch.setattr(output, "QUICK", -1.0)
    monkeypatch.setattr(output, "INTERVAL", -1.0)
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    assert main(["--epochs", "2", "--no-plot"]) == 0
    assert "update 39 of 40, 0 s left" in terminal.getvalue()
    assert terminal.getvalue().endswith("\r\x1b[K")
    assert "\r" not in capsys.readouterr().out


@pytest.mark.slow
def test_streams_that_fail():
    """The reader of the output goes away, or the disk is full."""
    line = "numpy_rnn: the output cannot be written: No space left on device\n"
    for then, status, err in (("| head -n 1", 0, ""), (">/dev/full", 2, line)):
        train = f'"$0" -m numpy_rnn --no-plot --epochs 1000 --log-every 1 {then}'
        ended = subprocess.run(
            ["sh", "-c", train, sys.executable], capture_output=True, text=True
        )
        assert (ended.returncode, ended.stderr) == (status, err)


def test_characters_that_a_terminal_lacks(monkeypatch):
    """They are escaped: the message is no traceback."""
    terminal = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stderr", terminal)
    assert main(["--data", "série.csv"]) == 2
    terminal.flush()
    assert rb"s\xe9rie.csv" in terminal.buffer.getvalue()


@pytest.mark.slow
def test_torch_is_missing():
    """The last line of `python -m torch_rnn` says what to install."""
    code = (
        "import runpy, sys; sys.modules['torch'] = None; runpy.run_module('torch_rnn')"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], stderr=subprocess.PIPE, text=True
    )
    *_, line = ended.stderr.splitlines()
    assert line.startswith("ModuleNotFoundError: torch is not installed: run pip")


SUNSPOTS = Path(numpy_rnn.__file__).parent / "app/data/sunspots.csv"


def test_defaults_of_data_beat_persistence_on_the_sunspots(capsys):
    """The last line says so. There are 200 epochs."""
    out = succeed(numpy_rnn, capsys, "--data", SUNSPOTS, "--seeds", 8, "--no-plot")
    *_, table, verdict = out.splitlines()
    assert table.startswith("trained on, 299 steps: sunspots")
    assert verdict.startswith("trained on, sunspots: better than repeating the last")
    assert "\n  200 " in out
    assert "90 %   of 8 networks\n" in out
