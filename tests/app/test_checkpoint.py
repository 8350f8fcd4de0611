"""Run files: what is in them, and which are refused. When they are written: test_saving.py, resumed: test_resume.py."""

import json
import os
import re
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from comparing import bits
from fuzz_inputs import Bomb
from in_process import configured, losses, refused, succeed, trained

import numpy_rnn
from numpy_rnn import InputError
from numpy_rnn.app import checkpoint
from numpy_rnn.app.checkpoint import fingerprint, load_checkpoint, save_checkpoint
from numpy_rnn.app.options import CHANGEABLE
from numpy_rnn.app.run import Hooks
from numpy_rnn.app.storage import load_arrays, load_parameters, save_parameters
from numpy_rnn.common.errors import Interrupted


def interrupted(options, stop):
    """The checkpoint of a run of two epochs that is interrupted after update `stop`."""
    calls = count(1)
    hooks = Hooks(yield_every=1, stop_signal=lambda: 15 if next(calls) == stop else None)
    with pytest.raises(Interrupted) as ended:
        trained(numpy_rnn, configured(options, epochs=2), hooks=hooks)
    return ended.value.checkpoint


SAVED = interrupted("--seeds 2 --momentum 0.9 --learn-initial-state --k1 2 --k2 3", 13)


# -- files that are refused -----------------------------------------------------------------------------------------


def test_a_truncated_file_is_refused():
    save_checkpoint("r.npz", SAVED)
    whole = Path("r.npz").read_bytes()
    for size in (*range(8), *range(8, len(whole), 97), *range(len(whole) - 8, len(whole))):
        Path("cut.npz").write_bytes(whole[:size])
        with pytest.raises(InputError, match=r"^run file cut\.npz is (truncated or damaged|not an \.npz file): .+$"):
            load_checkpoint("cut.npz")


def test_a_file_with_a_changed_byte_is_refused_or_has_the_same_content():
    """Every 97th byte; some bytes of a zip archive, such as its dates, have no meaning here."""
    save_checkpoint("r.npz", SAVED)
    whole, refusals = Path("r.npz").read_bytes(), []
    places = range(2, len(whole), 97)
    for place in places:
        changed = bytearray(whole)
        changed[place] ^= 0xFF
        Path("r.npz").write_bytes(changed)
        try:
            loaded = load_checkpoint("r.npz")
        except InputError as error:
            refusals.append(str(error))
        else:
            assert bits(loaded[2:5]) == bits(SAVED[2:5])
            assert loaded[:2] + loaded[5:] == SAVED[:2] + SAVED[5:]
    assert all(message.startswith("run file r.npz") for message in refusals)
    assert len(refusals) > len(places) / 2


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
WITH_WEIGHTS = "to start a new run from its weights, use --weights r.npz"
CHANGED = {  # arrays that are changed, or without a value left out; a piece of the message
    "another format": ({"format": np.bytes_("elman-trace 3")}, "has no format 'elman-run 2'"),
    "another version": (
        {"format": np.bytes_("elman-run 1")},
        f"has the format 'elman-run 1' of another version: expected 'elman-run 2'; {WITH_WEIGHTS}",
    ),
    "before some options": (
        options(loss=None, adagrad=None),
        f"the configuration has no loss, adagrad: expected all options of this version; {WITH_WEIGHTS}",
    ),
    "objects": ({"h": np.array([Bomb()])}, "contains Python objects: expected plain arrays; pickle is never read"),
    "no weights": ({"W_hh": None}, "has no W_hh: expected W_xh, W_hh, W_hy"),
    **{f"no {name}": ({name: None}, f"has no {name}: expected a run that --save wrote") for name in KEYS.split()[1:]},
    "no velocity of one": ({"vW_hh": None}, "the state has no velocity of W_hh: expected one, as other parameters hav"),
    "velocity of none": ({"vb_h": np.zeros((2, 6), "f4")}, "a velocity of b_h: expected none, as the parameters have"),
    "NaN in the velocity": ({"vh_0": np.full((2, 1, 6), np.nan, "f4")}, "the velocity of h_0 contains NaN or infinity"),
    "h of too few axes": ({"h": np.float32(0)}, "h is float32 of shape (): expected float32 of shape (2, 1, 6)"),
    "h of more sequences": ({"h": np.zeros((2, 3, 6), "f4")}, "has h of shape (2, 3, 6): expected (2, 1, 6)"),
    "a fraction of an epoch": ({"epoch": np.array(1.5)}, "epoch is float64 of shape (): expected whole numbers"),
    "two epochs": ({"epoch": np.array([1, 2])}, "epoch is int64 of shape (2,): expected whole numbers, shape ()"),
    "negative update": ({"number": np.array(-1)}, "number is int64 of shape (): expected whole numbers, shape ()"),
    "another window": ({"window": np.array([2, 4, 5])}, "is that after update 3, window (2, 4, 5): expected (3, 4, 6)"),
    "another update": ({"number": np.array(9)}, "is that after update 9, window (3, 4, 6): expected (15, 16, 18)"),
    "losses of one network": ({"losses": np.zeros(1)}, "losses is float64 of shape (1,): expected float64 of"),
    "losses of nothing": ({"losses": np.float64(1)}, "len() of unsized object"),
    "losses in float32": ({"losses": np.zeros((1, 2), "f4")}, "losses is float32 of shape (1, 2): expected float64"),
    "losses of more epochs": (
        {"losses": np.zeros((2, 2)), "epochs": np.array([1, 2])},
        "the losses are of 2 epochs: expected 1, the finished ones",
    ),
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
    "unknown choice": (options(nonlinearity="elu"), "nonlinearity is 'elu': expected tanh or relu or sigmoid"),
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
        "network 0 diverged in epoch 1: expected one of 2 networks, once, in one of 2 epochs",
    ),
    "a network that will diverge": (diverged(0, epoch=9), "network 0 diverged in epoch 9"),
    "unknown of a network": (in_json("diverged", [{"speed": 1}]), "unexpected keyword argument 'speed'"),
    "a network too many": (diverged(2), "network 2 diverged in epoch 1: expected one of 2"),
    "negative network": (diverged(-1), "network -1 diverged in"),
    "half a network": (diverged(0.5), "network is 0.5"),
    "all diverged": (
        diverged(0, 1) | {"losses": np.full((1, 2), np.nan)},
        "all 2 networks have diverged: expected one that has not; start a new run with a smaller --learning-rate",
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


def test_the_undamaged_file_can_be_resumed_and_is_a_weights_file(capsys):
    save_checkpoint("r.npz", SAVED)
    assert losses(succeed(numpy_rnn, capsys, "--resume", "r.npz", "--no-plot", "--log-every", 1)).keys() == {2}
    out = succeed(numpy_rnn, capsys, "--weights", "r.npz", "--epochs", 0, "--save", "s.npz", "--no-plot")
    assert bits(load_parameters("s.npz")) == bits(SAVED.state.parameters)
    assert out.splitlines()[0].endswith("float32, weights from r.npz")


def test_files_of_other_kinds_are_refused(capsys):
    save_parameters("w.npz", numpy_rnn.initial_parameters())
    succeed(numpy_rnn, capsys, "--epochs", 1, "--trace", "t.npz", "--no-plot")
    no_format = "has no format 'elman-run 2': expected a run that --save wrote"
    for options, message in (
        (("--resume", "w.npz"), f"run file w.npz {no_format}; it has only weights: use --weights"),
        (("--resume", "t.npz"), f"run file t.npz {no_format}"),
        (("--weights", "t.npz"), "weights file t.npz has format, "),
    ):
        assert refused(numpy_rnn, capsys, *options, "--no-plot").startswith(message)


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


# -- options that do not fit ----------------------------------------------------------------------------------------

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


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--data two.csv", "--data is given with --resume, but the run is on the sine wave: leave --data out"),
        ("--trace t.npz", "--trace and --resume are both given: a trace records a whole run; leave one of them out"),
        ("--epochs 1", "the run in r.npz has reached epoch 2: expected --epochs 2 or more"),
        ("--learning-rate 0.1,0.2", "--learning-rate has 2 values: expected 1, as in the run that --resume continues"),
        ("--learning-rate 0.1", "--learning-rate has 1 value: expected 3, as in the run that --resume continues"),
        ("--momentum 0 --nesterov", "nesterov needs momentum above 0 and dampening 0: they are 0.0 and 0.0"),
    ],
)
def test_options_that_do_not_fit_a_run_that_is_resumed(capsys, options, message):
    is_sweep = "expected 3" in message
    save_checkpoint("r.npz", interrupted("--learning-rate 0.01,0.1,0.2 --k1 5", 3) if is_sweep else SAVED)
    assert refused(numpy_rnn, capsys, "--resume", "r.npz", *options.split(), "--no-plot").startswith(message)


def test_a_series_that_has_changed_is_refused(capsys):
    np.savetxt("two.csv", np.random.default_rng(0).normal(3, 2, (18, 2)), delimiter=",")
    save_checkpoint("r.npz", interrupted("--data two.csv --columns 2 --standardize --held-out 5 --k1 4", 3))
    rows = Path("two.csv").read_text().splitlines()
    Path("two.csv").write_text("\n".join([*rows[:9], "0,0", *rows[10:]]))
    assert refused(numpy_rnn, capsys, "--resume", "r.npz", "--no-plot") == (
        "run file r.npz: the series is not the one that the run was trained on: expected two.csv unchanged; to start a"
        " new run from its weights, use --weights"
    )
    os.remove("two.csv")
    assert refused(numpy_rnn, capsys, "--resume", "r.npz", "--no-plot") == (
        "run file r.npz was trained on two.csv, which does not exist: expected the same series; give its path with"
        " --data FILE"
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
    documented = KEYS.split()
    assert list(arrays) == ["W_xh", "W_hh", "W_hy", "h_0", *velocities, *documented]
    assert all(re.search(rf"\b{name}\b", checkpoint.__doc__) for name in documented)
    assert arrays["format"].tobytes() == b"elman-run 2"
    shapes = {name: arrays[name].shape for name in ("window", "h", "epochs", "losses", "partial")}
    assert shapes == {"window": (3,), "h": (2, 1, 6), "epochs": (1,), "losses": (1, 2), "partial": (2,)}
    assert bits(load_checkpoint("r.npz")[2:5]) == bits(SAVED[2:5])
