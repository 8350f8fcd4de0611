"""A character-level language model: training, as in min-char-rnn, samples and files."""

import os
import re
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import numpy_rnn
from benchmarks.implementations import min_char_rnn
from numpy_rnn import InputError
from numpy_rnn.app import text_model
from numpy_rnn.app.experiment import prepare_experiment
from numpy_rnn.app.model_file import load_model
from numpy_rnn.app.networks import Networks
from numpy_rnn.app.text_model import classes_of, held_out_nats
from numpy_rnn.app.text_report import TextReport
from numpy_rnn.app.training import Diverged, Training
from numpy_rnn.common.trees import tree_map
from tests.helpers.command_line import refused, succeed, train_options
from tests.helpers.comparing import bits

ALICE = str(Path(numpy_rnn.__file__).parent / "app/data/alice.txt")
CHUNKS = 26  # of 25 characters
SHORT_TEXT = Path(ALICE).read_text(encoding="utf-8")[: CHUNKS * 25 + 1]
QUICK = ("--text", "short.txt", "--hidden-size", 12, "--epochs", 2, "--no-plot")


@pytest.fixture(autouse=True)
def _short():
    Path("short.txt").write_text(SHORT_TEXT, encoding="utf-8")


def rows(out):
    """Return the printed rows: (update, epoch, smoothed loss)."""
    texts = re.findall(r"^ *(\d+) +(\d+) +(\d+\.\d{6})$", out, re.MULTILINE)
    return [tuple(map(float, row)) for row in texts]


def samples(out):
    return re.findall(r"^----\n(.*?)\n----$", out, re.MULTILINE | re.DOTALL)


def run_of_words(rnn, words):
    options = train_options(f"--dtype float64 {words}")
    experiment = prepare_experiment(options)
    training = Training(rnn, experiment.run)
    return experiment, TextReport(training, experiment, options)


def test_rows_and_samples_of_every_so_many_updates(capsys):
    nine = *QUICK, "--epochs", 9, "--log-every", 78
    out = succeed(numpy_rnn, capsys, *nine, "--sample", 31)
    assert [row[:2] for row in rows(out)] == [(78, 3), (156, 6), (234, 9)]
    assert [len(text) for text in samples(out)] == [31] * 3
    assert len({*samples(out)}) == 3
    assert f" random is {25 * np.log(len(set(SHORT_TEXT))):.3f}\n" in out
    quiet = succeed(numpy_rnn, capsys, *nine, "--sample", 0)
    assert (rows(quiet), samples(quiet)) == (rows(out), [])


def test_losses_are_those_of_min_char_rnn():
    """With 20 units training is not chaotic: the curves agree but for rounding."""
    words = f"--text {ALICE} --hidden-size 20 --epochs 1"
    experiment, report = run_of_words(numpy_rnn, words)
    losses = []
    expected = 25 * np.log(54)
    assert all(abs(W.std() / 0.01 - 1) < 0.1 for W in experiment.run.params[:3])
    params = [w for w in experiment.run.params if w is not None]
    # It has transposed matrices, and columns for biases.
    weights = [np.array(w.T if w.ndim == 2 else w[:, None]) for w in params]
    text = experiment.data.sequence[:, 0]
    theirs = min_char_rnn.train_chunks(text[:-1], text[1:], weights)
    for update, loss in zip(report.training, theirs):
        losses.append(float(update.loss))
        report.after(update)
        expected = expected * 0.999 + loss * 0.001
        assert abs(report.smoothed_loss - expected) < 1e-9
    np.testing.assert_allclose(losses, theirs, rtol=1e-9)
    assert len(losses) == 105


@pytest.mark.parametrize("temperature", [0.8, 1e-290, 1e9])
def test_sample_draws_from_the_distributions(rnn, temperature):
    """Step by step as NumPy computes them; each character is the next input."""
    words = f"--text short.txt --hidden-size 12 --seed 3 --temperature {temperature}"
    experiment, report = run_of_words(rnn, words)
    generator = np.random.default_rng(1)
    params = tree_map(lambda W: generator.normal(size=W.shape), experiment.run.params)
    report.training.params = rnn.from_numpy(params)
    generator = np.random.default_rng((3, 0))
    expected = ""
    h = experiment.run.h_0
    character = experiment.data.sequence[0, 0]
    with np.errstate(all="ignore"):
        sample = report.sample(60)
        for _ in range(60):
            h = np.tanh(params.W_xh[character] + h @ params.W_hh + params.b_h)
            logits = (h @ params.W_hy + params.b_y)[0]
            p = np.exp((logits - logits.max()) / temperature)
            character = generator.choice(len(p), p=p / p.sum())
            expected += experiment.data.alphabet[character]
    assert sample == expected
    assert len(set(sample)) > 2
    params.b_y[3] = np.inf
    report.training.params = rnn.from_numpy(params)
    with pytest.raises(Diverged, match="y is not finite"):
        report.sample(1)


def test_continued_on_another_text_of_these_characters(capsys):
    succeed(numpy_rnn, capsys, *QUICK, "--save", "r\x1b.npz")
    Path("other.txt").write_text("once or twice she had peeped into the book, " * 3)
    new = "--text", "other.txt", "--epochs", 0, "--no-plot", "--weights", "r\x1b.npz"
    out = succeed(numpy_rnn, capsys, *new, "--save", "s.npz")
    assert (len(samples(out)[0]), "\x1b" in out) == (200, False)
    assert load_model("s.npz").alphabet == "".join(sorted(set(SHORT_TEXT)))
    Path("other.txt").write_text("é" * 60)
    message = refused(numpy_rnn, capsys, *new)
    assert "it has é; expected only characters of --weights" in message


def test_unicode_and_line_ends(capsys):
    """Control characters of a sample cannot command a terminal."""
    text = "Grüße, Ωμέγα,\n日本語 🎉 e\u0301\x1b[31m"
    ends = text.replace("\n", "\r\n") + text.replace("\n", "\r")
    Path("a.txt").write_bytes(b"\xef\xbb\xbf" + ends.encode())
    options = "--epochs 2 --k1 1 --sample 50 --no-plot --text a.txt"
    assert "\x1b" not in succeed(numpy_rnn, capsys, *options.split())
    experiment = prepare_experiment(train_options(options))
    data = experiment.data
    assert "".join(data.alphabet[n] for n in data.sequence[:, 0]) == text * 2


def test_networks_of_a_file_are_refused(capsys):
    Path("short.txt").write_text("abab", encoding="utf-8")
    W_xh, W_hh, W_hy = np.ones((4, 2, 3)), np.ones((4, 3, 3)), np.ones((4, 3, 2))
    np.savez("w.npz", W_xh=W_xh, W_hh=W_hh, W_hy=W_hy)
    words = ["--text", "short.txt", "--k1", 1, "--weights", "w.npz"]
    message = refused(numpy_rnn, capsys, *words)
    assert message == "w.npz has 4 networks: expected one for a text"


def test_several_texts_and_standard_input(capsys, monkeypatch):
    """They are read in their order."""
    Path("a.txt").write_text("abcd" * 20)
    read, write = os.pipe()
    os.write(write, b"xyz" * 20)
    os.close(write)
    with os.fdopen(read) as pipe:
        monkeypatch.setattr(sys, "stdin", pipe)
        words = "--text a.txt --text - --text a.txt --k1 1"
        text = prepare_experiment(train_options(words)).data
    expected = "abcd" * 20 + "xyz" * 20 + "abcd" * 20
    assert "".join(text.alphabet[n] for n in text.classes) == expected
    assert text.name == "a.txt, standard input and a.txt"
    Path("b.txt").write_bytes(b"\0")
    message = refused(numpy_rnn, capsys, "--text", "a.txt", "--text", "b.txt")
    assert message == "text b.txt: it is binary: expected a text"


HELD_OUT = "--text short.txt --hidden-size 12 --epochs 2 --held-out 101 --k1 1 --k2 1"


def test_held_out_text_is_not_trained_on(capsys):
    """Other characters of the same alphabet there change no weight."""
    weights = []
    for tail in (SHORT_TEXT[:101], SHORT_TEXT[200:301]):
        Path("short.txt").write_text(SHORT_TEXT + tail, encoding="utf-8")
        words = *HELD_OUT.split(), "--sample", 0, "--save", "w.npz"
        succeed(numpy_rnn, capsys, *words)
        weights.append(bits(load_model("w.npz").params))
    assert weights[0] == weights[1]


def test_bits_of_held_out_characters(rnn, capsys):
    """The network's are those of one pass over the whole text; letters and pairs are
    counted one by one.
    """
    words = f"{HELD_OUT} --epochs 0 --dtype float64"
    out = succeed(rnn, capsys, *words.split(), "--sample", 0)
    text = prepare_experiment(train_options(words)).data
    params = prepare_experiment(train_options(words)).run.params
    border = len(text.classes) - 101
    h = np.zeros((1, 12))
    y = numpy_rnn.forward(params, text.classes[:-1, None], h).y[border - 1 :, 0]
    target = text.classes[border:]
    p = np.exp(y) / np.exp(y).sum(axis=1, keepdims=True)
    network = -np.log2(p[np.arange(101), target]).mean()
    size = len(text.alphabet)
    trained = list(text.classes[:border])
    letters = [(trained.count(n) + 1) / (border + size) for n in range(size)]
    frequencies = -np.log2([letters[n] for n in target]).mean()
    pairs = list(pairwise(trained))
    bigrams = []
    for before, after in zip(text.classes[border - 1 :], target):
        count = pairs.count((before, after)) + letters[after]
        bigrams.append(-np.log2(count / (sum(a == before for a, _ in pairs) + 1)))
    assert out.splitlines()[-1] == (
        f"held out, 101 characters: {network:.3f} bits per character, worse than the"
        f" letters' frequencies ({frequencies:.3f}), and worse than a bigram table"
        f" ({np.mean(bigrams):.3f})"
    )


def test_outputs_of_a_long_text_are_computed_in_pieces(monkeypatch):
    """And only the characters before what is held out are read, for the state."""
    words = f"{HELD_OUT} --dtype float64"
    experiment, report = run_of_words(numpy_rnn, words)
    whole = held_out_nats(report.networks(), experiment.data)
    monkeypatch.setattr(text_model, "PIECE", 7)
    pieces = held_out_nats(report.networks(), experiment.data)
    np.testing.assert_allclose(pieces, whole, rtol=1e-12)
    monkeypatch.setattr(text_model, "WARM_UP", 0)
    cold = held_out_nats(report.networks(), experiment.data)
    assert cold != whole
    np.testing.assert_allclose(cold, whole, rtol=0.1)


def test_losses_of_held_out_text_are_written(capsys):
    words = *HELD_OUT.split(), "--reduction", "mean", "--sample", 0
    succeed(numpy_rnn, capsys, *words, "--losses", "l.csv", "--save", "w.npz")
    rows = Path("l.csv").read_text().splitlines()
    assert rows[0] == "epoch,training loss,held-out loss"
    experiment = prepare_experiment(train_options(HELD_OUT))
    networks = Networks(numpy_rnn, load_model("w.npz").params, "tanh")
    expected = held_out_nats(networks, experiment.data) / 101
    assert rows[2].split(",")[2] == f"{expected:.9g}"


def test_start_has_characters_of_the_model():
    np.testing.assert_array_equal(classes_of("ba", "abc"), [[1], [0]])
    with pytest.raises(InputError, match="the start has x: expected only characters"):
        classes_of("bax", "abc")
