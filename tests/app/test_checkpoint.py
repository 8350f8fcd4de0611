"""Run files: what is in them, which are refused, when they are written, and what happens if they cannot be."""

import errno
import json
import os
import re
from itertools import count
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from comparing import bits
from fuzz_inputs import Bomb
from in_process import command, configured, losses, refused, succeed, trained

import numpy_rnn
from numpy_rnn import InputError
from numpy_rnn.app import checkpoint, command_line
from numpy_rnn.app.checkpoint import Saver, fingerprint, load_checkpoint, save_checkpoint
from numpy_rnn.app.options import CHANGEABLE
from numpy_rnn.app.run import Hooks
from numpy_rnn.app.storage import load_arrays, load_parameters
from numpy_rnn.common.errors import Interrupted


def interrupted():
    """The checkpoint of a run of two epochs that is interrupted after its 13th update."""
    calls, c = count(1), configured("--seeds 2 --momentum 0.9 --learn-initial-state --k1 2 --k2 3 --epochs 2")
    with pytest.raises(Interrupted) as ended:
        trained(numpy_rnn, c, hooks=Hooks(yield_every=1, stop_signal=lambda: 15 if next(calls) == 13 else None))
    return ended.value.checkpoint


SAVED = interrupted()


def options(**changed):
    """The configuration of the file that is changed, with other values; None: without them."""
    values = SAVED.configuration.to_dict() | changed
    return in_json("configuration", {name: value for name, value in values.items() if changed.get(name, 0) is not None})


def in_json(name, value):
    return {name: np.bytes_(json.dumps(value))}


def diverged(*networks, **changed):
    """Networks that diverged in the first epoch."""
    found = [{"network": n, "epoch": 1, "number": 1, "tensor": "a"} | changed for n in networks]
    return in_json("diverged", found)


KEYS = "format configuration series epoch number window h epochs losses partial diverged"
VERSION = "this version; to start a new run from its weights, use --weights r.npz"
VERSION_2 = "version: expected 'elman-run 2'; to start a new run from its weights, use --weights r.npz"
CHANGED = {  # arrays that are changed, or without a value left out; a piece of the message
    "another format": ({"format": np.bytes_("elman-trace 3")}, "has no format 'elman-run 2'"),
    "another version": ({"format": np.bytes_("elman-run 1")}, f"'elman-run 1' of another {VERSION_2}"),
    "before some options": (options(loss=None, adagrad=None), f"no loss, adagrad: expected all options of {VERSION}"),
    "objects": ({"h": np.array([Bomb()])}, "contains Python objects: expected plain arrays; pickle is never read"),
    "no weights": ({"W_hh": None}, "has no W_hh: expected W_xh, W_hh, W_hy"),
    **{f"no {name}": ({name: None}, f"has no {name}: expected a run that --save wrote") for name in KEYS.split()[1:]},
    "h of more sequences": ({"h": np.zeros((2, 3, 6), "f4")}, "has h of shape (2, 3, 6): expected (2, 1, 6)"),
    "a fraction of an epoch": ({"epoch": np.array(1.5)}, "epoch is float64 of shape (): expected whole numbers"),
    "negative update": ({"number": np.array(-1)}, "number is int64 of shape (): expected whole numbers, shape ()"),
    "another window": ({"window": np.array([2, 4, 5])}, "is that after update 3, window (2, 4, 5): expected (3, 4, 6)"),
    "another update": ({"number": np.array(9)}, "is that after update 9, window (3, 4, 6): expected (15, 16, 18)"),
    "losses of one network": ({"losses": np.zeros(1)}, "losses is float64 of shape (1,): expected float64 of"),
    "losses of nothing": ({"losses": np.float64(1)}, "len() of unsized object"),
    "losses of more epochs": ({"losses": np.zeros((2, 2)), "epochs": np.array([1, 2])}, "of 2 epochs: expected 1, the"),
    "losses without epochs": ({"losses": np.zeros((2, 2))}, "epochs is int64 of shape (1,): expected whole numbers"),
    "losses of another epoch": ({"epochs": np.array([2])}, "epochs are (2,): expected those that a run of so many"),
    "NaN in the losses": ({"losses": np.full((1, 2), np.nan)}, "losses of networks that did not diverge are not finit"),
    "infinite partial": ({"partial": np.array([np.inf, 0])}, "losses of networks that did not diverge are not finite"),
    "another partial loss": ({"partial": np.zeros(3)}, "partial is float64 of shape (3,): expected float64"),
    "another series": ({"series": np.bytes_("0")}, "the series is not the one that the run was trained on:"),
    "no ASCII": ({"series": np.bytes_("é".encode())}, "'ascii' codec can't decode byte"),
    "no JSON": ({"configuration": np.bytes_("{")}, "Expecting property name"),
    "deep JSON": ({"configuration": np.bytes_("[" * 100_000)}, "recursion"),
    "no object": (in_json("configuration", []), "has no attribute 'items'"),
    "unknown option": (options(speed=1), "unexpected keyword argument 'speed'"),
    "text for a number": (options(epochs="3"), "epochs is '3'"),
    "number for a name": (options(data=3), "data is 3"),
    "numbers for names": (options(columns=[1]), "columns is (1,)"),
    "impossible option": (options(momentum=-1), "momentum is -1: expected a finite number"),
    "Boolean for a number": (options(epochs=True), "epochs is True"),
    "infinite rate": (options(learning_rate=10**400), "too large"),
    "long value": (options(epochs="x" * 10**6), "epochs is 'xxx"),
    "more networks": (options(networks=3), "(2,): expected 0 learning rates and 3 networks"),
    "more rates": (options(learning_rate=[1, 2, 3]), "shape (2,): expected 3 learning rates"),
    "no rates": (options(learning_rate=[]), "there is no learning rate: expected one or more"),
    "another hidden size": (options(hidden_size=5), "hidden_size is 5 in the configuration, and 6 in the weights"),
    "biases": (options(bias=True), "bias is True in the configuration, and False in the weights: expected the same"),
    "another dtype": (options(dtype="float64"), "dtype is float64 in the configuration, and float32 in the weights"),
    "no learned state": (options(learn_initial_state=False), "learn_initial_state is False in the configuration, and"),
    "no list of networks": (in_json("diverged", {}), "diverged is {}: expected a list of the networks that diverged"),
    "a network without losses": (diverged(0), "are not finite: expected the sums"),
    "a network that diverged twice": (
        diverged(0, 0),
        "network 0 diverged in epoch 1: expected one of 2 networks, once",
    ),
    "a network that will diverge": (diverged(0, epoch=9), "network 0 diverged in epoch 9"),
    "unknown of a network": (in_json("diverged", [{"speed": 1}]), "unexpected keyword argument 'speed'"),
    "a network too many": (diverged(2), "network 2 diverged in epoch 1: expected one of 2"),
    "negative network": (diverged(-1), "network -1 diverged in"),
    "all diverged": (
        diverged(0, 1) | {"losses": np.full((1, 2), np.nan)},
        "all 2 networks have diverged: expected one",
    ),
}


@pytest.mark.parametrize("case", CHANGED)
def test_a_run_file_that_is_damaged_is_refused(capsys, case):
    save_checkpoint("r.npz", SAVED)
    changed, piece = CHANGED[case]
    arrays = load_arrays("r.npz", "run file") | changed
    np.savez("r.npz", **{name: array for name, array in arrays.items() if array is not None})
    message = refused(numpy_rnn, capsys, "--resume", "r.npz", "--no-plot")
    assert message.startswith("run file r.npz")
    assert piece in message, message
    assert len(message) < 1000
    assert message.count("run file r.npz") == 1
    assert not Path("exploded").exists()
    if message.endswith("use --weights r.npz"):
        assert bits(load_parameters("r.npz")) == bits(SAVED.state.parameters)


def test_the_fingerprint_covers_every_number_of_inputs_and_targets():
    x, target = np.zeros((9000, 1, 2), "f4"), np.ones((9000, 1, 2), "f4")
    prints = {fingerprint(x, target), fingerprint(x.astype("f8"), target), fingerprint(x[:-1], target[:-1])}
    for array in (x, target):
        for step in (0, 4095, 4096, 8191, 8192, 8999):
            array[step, 0, 1] += 1
            prints.add(fingerprint(x, target))
            array[step, 0, 1] -= 1
    assert len(prints) == 3 + 2 * 6
    assert fingerprint(x, target) in prints


OPTIONS = {
    "hidden_size": "6", "loss": "squared_error", "adagrad": "", "k1": "2", "k2": "3", "nonlinearity": "tanh",
    "seed": "0", "reduction": "sum", "learn_initial_state": "", "bias": "", "dtype": "float32", "seeds": "2",
    "columns": "1", "standardize": "", "held_out": "3", "weights": "r.npz",
}  # fmt: skip


def test_an_option_that_would_make_it_another_run_is_refused(capsys):
    fields = set(configured().to_dict())
    assert fields == {name.replace("seeds", "networks") for name in OPTIONS} | set(CHANGEABLE)
    save_checkpoint("r.npz", SAVED)
    for name, value in OPTIONS.items():
        option = f"--{name.replace('_', '-')}"
        message = refused(numpy_rnn, capsys, "--resume", "r.npz", option, *value.split(), "--no-plot")
        assert message == (
            f"{option} is given with --resume: the run keeps its own; only these may change: --epochs, --learning-rate,"
            " --momentum, --dampening, --nesterov, --weight-decay, --max-norm, --max-value, --data, --text"
        )


def test_a_run_without_updates_keeps_its_weights(rnn, capsys):
    out = succeed(rnn, capsys, "--epochs", 0, "--save", "r.npz", "--no-plot", "--seeds", 2)
    assert out.endswith("weights saved to r.npz\n")
    assert losses(out) == {}
    assert bits(load_parameters("r.npz")) == bits(rnn.to_numpy(rnn.initial_parameters(networks=2)))


def test_the_keys_of_the_file_are_documented():
    """checkpoint.py has them in its docstring, for programs in other languages."""
    save_checkpoint("r.npz", SAVED)
    arrays = load_arrays("r.npz", "run file")
    velocities = [f"v{name}" for name in ("W_xh", "W_hh", "W_hy", "h_0")]
    assert list(arrays) == ["W_xh", "W_hh", "W_hy", "h_0", *velocities, *KEYS.split()]
    assert all(re.search(rf"\b{name}\b", checkpoint.__doc__) for name in KEYS.split())
    assert arrays["format"].tobytes() == b"elman-run 2"
    shapes = {name: arrays[name].shape for name in ("window", "h", "epochs", "losses", "partial")}
    assert shapes == {"window": (3,), "h": (2, 1, 6), "epochs": (1,), "losses": (1, 2), "partial": (2,)}


# -- when it is written ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "refusals", "places", "every"),
    [
        ("--save-every 0", 0, [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (2, 3), (2, 3)], 0),  # and once more at the end
        ("--save-every 0", 3, [(2, 1), (2, 2), (2, 3), (2, 3)], 0),  # of a disk that is full at first
        ("--save-every 9.5", 0, [(2, 3)], 9.5),
        ("", 0, [(2, 3)], 30),
    ],
)
def test_a_run_is_saved_every_so_many_seconds_and_at_its_end(capsys, monkeypatch, options, refusals, places, every):
    """A write that fails does not end the run."""
    full, saved, replace = [OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))] * refusals, [], os.replace

    def write(source, target):
        if full:
            raise full.pop()
        replace(source, target)
        saved.append(load_checkpoint(target).state[:2])

    saver = Mock(wraps=Saver)
    monkeypatch.setattr(os, "replace", write)
    monkeypatch.setattr(command_line, "Saver", saver)
    run = ["--epochs", 2, "--k1", 7, "--no-plot"]
    out = succeed(numpy_rnn, capsys, *run, "--save", "r.npz", *options.split())
    assert (saved, os.listdir()) == (places, ["r.npz"])
    assert saver.call_args.args == ("r.npz", every)
    assert out == succeed(numpy_rnn, capsys, *run) + "weights saved to r.npz\n"


@pytest.mark.parametrize(("every", "duration", "pause"), [(30, 0, 30), (30, 2, 30), (3, 2, 20), (0, 2, 0)])
@pytest.mark.parametrize("fails", [False, True])
def test_the_next_checkpoint_is_due_after_a_pause(monkeypatch, every, duration, pause, fails):
    """`every` seconds after the latest one, but at least ten times as long as a write takes, also if it failed."""
    now = 100.0

    def write(*_):
        nonlocal now
        now += duration
        if fails:
            raise InputError("full")

    monkeypatch.setattr("time.monotonic", lambda: now)
    monkeypatch.setattr("numpy_rnn.app.checkpoint.save_checkpoint", write)
    saver = Saver("r.npz", every)
    for wait in (every, pause, pause):
        assert wait == 0 or not saver.is_due()
        now += wait
        assert saver.is_due()
        assert saver.due == now
        saver(Mock())
        assert (saver.error is None, saver.saved is None) == (not fails, fails)


def test_the_trace_and_the_plot_are_made_although_the_run_could_not_be_saved(capsys, monkeypatch):
    monkeypatch.setattr("numpy_rnn.app.checkpoint.save_arrays", Mock(side_effect=InputError("r.npz cannot be written")))
    draw = Mock()
    monkeypatch.setattr(command_line, "_draw", draw)
    ended = command(numpy_rnn, capsys, "--epochs", 1, "--save", "r.npz", "--trace", "t.npz", "--no-plot")
    assert (ended.status, ended.err) == (2, "numpy_rnn: r.npz cannot be written\n")
    assert Path("t.npz").exists()
    assert [call.kwargs["path"] for call in draw.call_args_list] == [None]
