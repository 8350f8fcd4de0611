"""A character-level language model from the command line: training, as in min-char-rnn, samples and files.

The text begins "Alice's Adventures in Wonderland" by Lewis Carroll, 1865, which is in the public domain.
"""

import re
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from in_process import command, configured, refused, succeed, trained
from made_up import lines

import numpy_rnn
from benchmarks.rows import min_char_rnn
from numpy_rnn.app.checkpoint import load_checkpoint
from numpy_rnn.app.experiment import prepare
from numpy_rnn.app.options import parse
from numpy_rnn.app.results import HEAD
from numpy_rnn.app.run import Trainer
from numpy_rnn.app.text import TextReport, sample, visible
from numpy_rnn.common.errors import Diverged
from numpy_rnn.common.files import load_arrays
from numpy_rnn.common.records import Parameters
from numpy_rnn.conformance.traces import drive

ALICE = str(Path(numpy_rnn.__file__).parent / "app/data/alice.txt")
SHORT = Path(ALICE).read_text(encoding="utf-8")[
    :651
]  # 26 chunks of 25 characters, and the one after them
QUICK = ("--text", "short.txt", "--hidden-size", 12, "--epochs", 2, "--no-plot")
SMALL = "--text short.txt --hidden-size 12 --epochs 2 --dtype float64"
LARGE = f"--text {ALICE} --hidden-size 20 --epochs 2 --dtype float64"


@pytest.fixture(autouse=True)
def _short():
    Path("short.txt").write_text(SHORT, encoding="utf-8")


def rows(out):
    """The printed rows: (update, epoch, smoothed loss)."""
    return [
        tuple(map(float, row))
        for row in re.findall(r"^ *(\d+) +(\d+) +(\d+\.\d{6})$", out, re.MULTILINE)
    ]


def samples(out):
    return re.findall(r"^----\n(.*?)\n----$", out, re.MULTILINE | re.DOTALL)


def trainer_of(rnn, options):
    configuration = configured(options)
    return Trainer(rnn, prepare(configuration), configuration)


def test_initial_weights_are_those_of_min_char_rnn():
    params = prepare(configured("--text short.txt --hidden-size 400")).params
    assert all(abs(W.std() / 0.01 - 1) < 0.1 for W in params[:3])
    assert not np.concatenate([params.b_h, params.b_y]).any()


def test_rows_and_samples_of_every_so_many_updates(capsys):
    nine = *QUICK, "--epochs", 9, "--log-every", 75
    out = succeed(numpy_rnn, capsys, *nine, "--sample", 31)
    assert [row[:2] for row in rows(out)] == [(75, 3), (150, 6), (225, 9), (234, 9)]
    found = samples(out)
    assert {len(text) for text in found} == {31}
    assert set("".join(found)) <= set(SHORT)
    assert (
        len(found) == len(set(found)) == 3
    )  # the updates of the last two rows are yielded together
    quiet = succeed(numpy_rnn, capsys, *nine, "--sample", 0)
    counts = f"{len(set(SHORT))} different characters, 26 updates per epoch; the loss is the sum over 25 characters,"
    assert f"\n{counts} and {25 * np.log(len(set(SHORT))):.3f} for characters at random\n" in quiet
    assert (rows(quiet), samples(quiet)) == (rows(out), [])
    untrained = succeed(numpy_rnn, capsys, *QUICK, "--epochs", 0)
    assert [row[:2] for row in rows(untrained)] == [(0, 0)]
    often = succeed(numpy_rnn, capsys, *QUICK, "--log-every", 13, "--reduction", "mean")
    assert [row[0] for row in rows(often)] == [13, 26, 39, 52]  # the last is not printed twice
    assert (
        abs(rows(often)[0][2] - np.log(len(set(SHORT)))) < 2e-2
    )  # it begins at random, also a mean
    assert {len(text) for text in samples(often)} == {200}


def test_losses_are_those_of_min_char_rnn(monkeypatch):
    """By epoch, as far as rounding explains; with 20 units training is not chaotic, and no fault hides in chaos."""
    monkeypatch.setattr(drive, "REFERENCES", 2)
    trainer = trainer_of(numpy_rnn, LARGE)
    experiment, losses, smoothed = trainer.experiment, [], []
    given = [w for w in experiment.params if w is not None]
    weights = [np.array(w.T if w.ndim == 2 else w[:, None]) for w in given]  # as it has them
    data = [
        *experiment.x[:, 0].tolist(),
        int(experiment.target[-1, 0]),
        0,
    ]  # it leaves out a chunk at the very end
    updates = min_char_rnn.train(data, weights, 2 * trainer.updates_per_epoch)
    theirs = np.array([*updates]).reshape(2, -1)
    for progress in trainer:
        losses += progress.losses.tolist()
        smoothed += progress.smoothed
    found = drive.measure(trainer.losses, [theirs.sum(axis=1)], trainer.run)
    assert found.ratio <= drive.ALARM
    assert found.spread.max() < 1e-9
    assert theirs[-1].mean() < theirs[0, 0] - 15  # it has learned something
    expected = [25 * np.log(len(experiment.alphabet))]
    for loss in losses:
        expected.append(expected[-1] * 0.999 + loss * (1 - 0.999))
    assert smoothed == expected[1:]


@pytest.mark.needs_matplotlib
@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_plot_shows_the_loss_per_character(capsys, reduction):
    """The losses of epochs and updates, and at random, are in one unit; a long name is shortened in its title."""
    from matplotlib.figure import Figure

    trainer = trainer_of(numpy_rnn, f"{SMALL} --reduction {reduction}")
    trainer.experiment = trainer.experiment._replace(name="a long name " * 9)
    report = TextReport(trainer, parse("numpy_rnn", ["--sample", "0"]))
    smoothed = [
        loss for progress in trainer if report.lines(progress) == [] for loss in progress.smoothed
    ]
    report.draw(figure := Figure())
    [axes] = figure.axes
    found = {
        name: [list(line.get_xdata()), list(line.get_ydata())] for name, line in lines(axes).items()
    }
    of_epoch, of_update = (650, 25) if reduction == "sum" else (1, 1)
    assert found.pop("characters at random")[1] == [np.log(len(set(SHORT)))] * 2
    assert found == {
        "mean of the epoch": [[26, 52], [loss / of_epoch for loss in trainer.losses.tolist()]],
        "smoothed": [list(range(1, 53)), [loss / of_update for loss in smoothed]],
    }
    assert axes.get_title() == f"numpy_rnn: {('a long name ' * 9)[:57]}..."


@pytest.mark.parametrize("temperature", [0.8, 1e-300, 1e300])
def test_sample_draws_from_the_distributions(rnn, temperature):
    """Step by step as NumPy computes them; each character is the next input. At an extreme temperature it is the most
    likely one each time, or all have the same probability.
    """
    trainer = trainer_of(rnn, f"{SMALL} --seed 3")
    experiment = trainer.experiment = trainer.experiment._replace(
        x=np.roll(trainer.experiment.x, 11, 0)
    )
    assert experiment.x[0, 0] not in experiment.x[[1, -1], 0]
    generator = np.random.default_rng(1)
    params = Parameters(
        *(None if W is None else generator.normal(size=W.shape) for W in experiment.params)
    )
    trainer.parameters = Mock(return_value=params)
    trainer.progress = trainer.progress._replace(epoch=2, number=4)
    text = sample(trainer, 60, temperature)
    generator, h, character, expected = (
        np.random.default_rng((3, 30)),
        experiment.h_0,
        experiment.x[0, 0],
        [],
    )
    for _ in range(60):
        h = np.tanh(params.W_xh[character] + h @ params.W_hh + params.b_h)
        logits = (h @ params.W_hy + params.b_y)[0]
        with np.errstate(over="ignore"):
            p = np.exp((logits - logits.max()) / temperature)
        character = generator.choice(len(p), p=p / p.sum())
        expected.append(experiment.alphabet[character])
    assert text == "".join(expected)
    assert len(set(text)) > 2


def test_sample_of_an_output_that_overflows_is_a_divergence(rnn):
    trainer = trainer_of(rnn, f"--seed 1 {SMALL}")
    params = trainer.parameters()
    params.b_y[3] = np.inf
    trainer.parameters = Mock(return_value=params)
    with pytest.raises(Diverged, match="an output is not finite"):
        sample(trainer, 1, 1.0)


def test_sample_cannot_command_the_terminal():
    assert visible("a\tb\nc\x1b[31m\x7f\u202e é") == "a\tb\nc\\x1b[31m\\x7f\\u202e é"


def test_sample_of_a_finished_run_and_new_run_from_its_weights(capsys):
    """The new run is on another text of these characters."""
    whole = succeed(numpy_rnn, capsys, *QUICK, "--save", "r.npz")
    again = succeed(
        numpy_rnn, capsys, "--resume", "r.npz", "--sample", 30, "--temperature", 0.5, "--no-plot"
    )
    assert rows(again) == rows(whole)[-1:]
    assert len(samples(again)[0]) == 30
    Path("other.txt").write_text(
        "once or twice she had peeped into the book, " * 3, encoding="utf-8"
    )
    new = "--text", "other.txt", "--weights", "r.npz", "--epochs", 1, "--save", "s.npz", "--no-plot"
    assert f"D={len(set(SHORT))} H=12 O={len(set(SHORT))}" in succeed(numpy_rnn, capsys, *new)
    assert load_checkpoint("s.npz").alphabet == load_checkpoint("r.npz").alphabet


def test_unicode_and_line_ends(capsys):
    text = "Grüße, Ωμέγα,\n日本語 🎉 e\u0301\t"
    content = (
        b"\xef\xbb\xbf"
        + ((text * 2).replace("\n", "\r\n") + (text * 2).replace("\n", "\r")).encode()
    )
    Path("a.txt").write_bytes(content)
    options = "--epochs", 2, "--k1", 1, "--sample", 50, "--save", "r.npz", "--no-plot"
    out = succeed(numpy_rnn, capsys, "--text", "a.txt", *options)
    assert load_checkpoint("r.npz").alphabet == "".join(sorted(set(text)))
    assert set(samples(out)[0]) <= set(visible(text))
    assert " T=91 " in out  # 4 times 23 characters, with every line end as one
    codes = np.array([*map(ord, load_checkpoint("r.npz").alphabet)])
    series = prepare(configured("--text a.txt --k1 1")).x[:, 0]
    assert "".join(map(chr, codes[series])) == (text * 4)[:-1]


def test_results_as_files(capsys):
    succeed(numpy_rnn, capsys, *QUICK, "--output", "r.csv")
    losses = trained(numpy_rnn, configured(" ".join(map(str, QUICK[:-1])))).losses.tolist()
    rows_of_file = [["loss", str(n), "", "", "", str(loss)] for n, loss in enumerate(losses, 1)]
    assert np.loadtxt("r.csv", str, delimiter=",").tolist() == [[*HEAD], *rows_of_file]


def test_refused_when_resuming(capsys):
    for name, content in (("a.txt", "abcd"), ("other.txt", "abcdé"), ("reversed.txt", "dcba")):
        Path(name).write_text(content * 30, encoding="utf-8")
    succeed(numpy_rnn, capsys, "--text", "a.txt", "--epochs", 1, "--save", "r.npz", "--no-plot")
    kept = load_arrays("r.npz", "run file")
    for alphabet, text, message in (
        ("abcd", "other.txt", "text other.txt: it has 'é' (U+00E9); expected only characters that"),
        ("abcd", "reversed.txt", "run file r.npz: it was trained on another series"),
        ("abc", "a.txt", "run file r.npz: its alphabet and weights do not agree"),
        ("abdc", "a.txt", "run file r.npz: the alphabet of a run is damaged"),
    ):
        np.savez("r.npz", **(kept | {"alphabet": np.array(alphabet)}))
        resume = "--resume", "r.npz", "--epochs", 2, "--text", text, "--no-plot"
        assert refused(numpy_rnn, capsys, *resume).startswith(message)


def test_sample_of_outputs_that_overflow_is_a_divergence(capsys):
    """All weights are finite; the run is saved, and can be looked at without a sample."""
    options = "--text short.txt --epochs 1 --k1 650 --learning-rate 1e38 --save s.npz --output o.csv --no-plot"
    ended = command(numpy_rnn, capsys, *options.split())
    assert (ended.status, ended.err.count("\n")) == (3, 1)
    assert (
        "an output is not finite; try a smaller --learning-rate; s.npz has the run after epoch 1, update 1"
        in ended.err
    )
    assert not Path("o.csv").exists()
    assert command(numpy_rnn, capsys, "--resume", "s.npz", "--sample", 5, "--no-plot").status == 3
