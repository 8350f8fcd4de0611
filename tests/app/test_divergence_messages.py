"""What is said of a divergence: where it is, what to try, and what was saved. Where it is found: test_divergence.py."""

import re
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from in_process import command, losses, succeed

import numpy_rnn
from numpy_rnn import Parameters
from numpy_rnn.app.checkpoint import load_checkpoint
from numpy_rnn.app.divergence import Divergence
from numpy_rnn.app.storage import save_parameters


def test_of_a_single_network_the_line_names_the_place_alone():
    assert str(Divergence(0, 3, 7, "loss")) == "epoch 3, update 7: loss is not finite"
    assert str(Divergence(0, 3, 7, "a", 2)) == "epoch 3, update 7: a at step 2 of the window is not finite"


def save_weights_that_diverge():
    """one.npz, whose run diverges at once, and three.npz, whose second network does."""
    params = numpy_rnn.initial_parameters(networks=3)
    params.W_hy[1] = 1e30
    save_parameters("three.npz", params)
    save_parameters("one.npz", Parameters(*(None if theta is None else theta[1] for theta in params)))


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ("--seeds 4 --seed 3 --learning-rate 0.4 --k1 4", {4: " (seed 6)"}),
        ("--learning-rate 0.01,5,0.02", {2: " (learning rate 5)"}),
        ("--learning-rate 0.01,5 --seeds 2 --seed 3", {n: f" (learning rate 5, seed {n})" for n in (3, 4)}),
        ("--weights three.npz", {2: ""}),
    ],
)
def test_a_network_is_named_by_number_rate_and_seed(capsys, options, names):
    save_weights_that_diverge()
    ended = command(numpy_rnn, capsys, *options.split(), "--nonlinearity", "relu", "--epochs", 6, "--no-plot")
    form = r"^numpy_rnn: network (\d+) of \d+(.*), epoch \d+, update \d+: \S+ .*; the other networks continue$"
    assert {int(number): name for number, name in re.findall(form, ended.err, re.M)} == names


def test_a_run_that_diverged_is_resumed_with_a_smaller_rate(capsys):
    """And is then the run that had the smaller rate all along."""
    options = ["--save", "r.npz", "--no-plot", "--log-every", 1]
    succeed(numpy_rnn, capsys, "--epochs", 1, "--k1", 20, "--learning-rate", 1e-4, *options)
    ended = command(numpy_rnn, capsys, "--resume", "r.npz", "--epochs", 4, "--learning-rate", 3e38, *options)
    assert (ended.status, losses(ended.out + "  time")) == (3, {})
    assert ended.err == (
        "numpy_rnn: the run diverged: epoch 2, update 1: W_xh is not finite; try a --learning-rate below"
        " 3e+38, or gradient clipping with --max-norm 1; saved the last finite weights to r.npz, after epoch 1, update"
        " 1: continue with --resume r.npz\n"
    )
    succeed(numpy_rnn, capsys, "--resume", "r.npz", "--learning-rate", 1e-4, *options)
    succeed(numpy_rnn, capsys, "--epochs", 4, "--k1", 20, "--learning-rate", 1e-4, "--save", "s.npz", "--no-plot")
    assert Path("r.npz").read_bytes() == Path("s.npz").read_bytes()


TRY = "try a --learning-rate below 5"
CLIP = ", or gradient clipping with --max-norm 1"
FULL = "; the last finite weights could not be saved: r.npz cannot be written: No space left on device; choose another"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("", f"{TRY}{CLIP}; nothing was saved: --save FILE keeps the last finite weights"),
        ("--max-norm 1e30", f"{TRY}; nothing was saved: --save FILE keeps the last finite weights"),
        ("--data s.csv", f"{TRY}{CLIP}, or --standardize; nothing was saved"),
        ("--data s.csv --standardize", f"{TRY}{CLIP}; nothing was saved"),
        ("--save r.npz", f"{TRY}{CLIP}; saved the last finite weights to r.npz, after epoch "),
        ("--weights one.npz --save r.npz", f"{TRY}{CLIP}; nothing was saved: there was no update\n"),
        ("--save r.npz --log-every 99", FULL),
    ],
)
def test_the_message_says_what_to_try_and_what_was_saved(capsys, monkeypatch, options, message):
    np.savetxt("s.csv", np.sin(np.arange(30)))
    save_weights_that_diverge()
    if message == FULL:
        monkeypatch.setattr("os.replace", Mock(side_effect=OSError(28, "No space left on device")))
    ended = command(numpy_rnn, capsys, "--learning-rate", 5, "--nonlinearity", "relu", *options.split(), "--no-plot")
    assert ended.status == 3
    assert re.fullmatch(r"numpy_rnn: the run diverged: epoch \d+, update \d+: [^\n]+\n", ended.err)
    assert message in ended.err
    assert Path("r.npz").exists() == ("saved the last" in message)


def test_predictions_that_are_not_finite_leave_the_weights(capsys):
    """Every update is finite, the last one too: it is the predictions that overflow."""
    options = ["--epochs", 1, "--learning-rate", 1e36, "--k1", 20, "--nonlinearity", "relu", "--no-plot"]
    ended = command(numpy_rnn, capsys, *options, "--save", "r.npz")
    assert ended.status == 3
    assert ended.err == (
        "numpy_rnn: the predictions after epoch 1 are not finite, as the weights are too large; try a smaller"
        " --learning-rate, gradient clipping with --max-norm 1, or --weight-decay; saved the last finite weights to"
        " r.npz, after epoch 1, update 1: continue with --resume r.npz\n"
    )
    assert load_checkpoint("r.npz").state[:2] == (1, 1)
