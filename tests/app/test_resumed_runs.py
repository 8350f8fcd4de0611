"""A run that is interrupted, saved and resumed has the bits of the run that is not interrupted."""

import errno
import importlib
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from children import LIMIT, environment, start
from comparing import bits
from hypothesis import given, settings
from hypothesis import strategies as st
from in_process import command, configured, refused, succeed

import numpy_rnn
from numpy_rnn.app import command_line, run
from numpy_rnn.app.checkpoint import load_checkpoint, load_parameters, save_checkpoint
from numpy_rnn.app.experiment import prepare
from numpy_rnn.app.options import CHANGEABLE
from numpy_rnn.app.run import Trainer
from numpy_rnn.common import exit_status
from numpy_rnn.common.errors import Diverged, InputError
from numpy_rnn.common.files import load_arrays

EPOCHS, GENERATED = 3, 4
RUNS = {
    "sliding window": "--k2 4 --momentum 0.9 --learn-initial-state --bias",
    "all options": "--k1 3 --k2 7 --momentum 0.5 --nesterov --weight-decay 1e-3 --max-norm 0.5 --reduction mean"
    " --dtype float64",
    "ensemble": "--seeds 2 --k1 6 --k2 13 --learn-initial-state --momentum 0.5",
    "some diverge": "--learning-rate 0.1,2,0.2,5 --nonlinearity relu --k1 2 --momentum 0.5",
    "all diverge": "--learning-rate 2,5 --nonlinearity relu --k1 2 --momentum 0.5",
    "series of a file": "--data two.csv --columns b --standardize --held-out 5 --k1 4 --k2 6 --hidden-size 3",
    "a text": "--text abc.txt --hidden-size 5 --k1 3 --k2 3",
    "Fortran order": "--weights f.npz --k1 3 --k2 5 --momentum 0.9 --weight-decay 0.01 --learning-rate 0.01",
}


@pytest.fixture(autouse=True)
def _files():
    rows = np.random.default_rng(0).normal(3, 2, (18, 2))
    np.savetxt("two.csv", rows, delimiter=",", header="a,b", comments="")
    Path("abc.txt").write_text("abacabadabacabaeabacabadabacaba" * 2)
    params = numpy_rnn.initial_parameters(hidden_size=33)._asdict()
    np.savez("f.npz", **{name: np.asfortranarray(W) for name, W in params.items() if W is not None})


def content(saved):
    """Everything in a checkpoint, to be compared; the number of epochs may grow."""
    if saved is None:
        return None
    configuration, series, state, losses, partial, alphabet, smoothed = saved
    return (
        replace(configuration, epochs=0),
        series,
        bits((state, losses, partial)),
        alphabet,
        smoothed,
    )


def part(rnn, options, epochs, resumed=None, updates=10**9):
    """Run until so many yields, or to the end: (checkpoint or None, what came out at the end, losses by epoch)."""
    configuration, rows = configured(options, epochs=epochs), {}
    params = None if resumed is None else resumed.state.parameters
    trainer = Trainer(
        rnn, prepare(configuration, params, resumed and resumed.alphabet), configuration, resumed
    )
    try:
        for progress in trainer:
            if progress.epoch_loss is not None:
                rows[progress.epoch] = bits(progress.epoch_loss)
            assert all(
                np.isfinite(theta).all() for theta in trainer.parameters() if theta is not None
            )
            if (updates := updates - 1) == 0:
                return trainer.checkpoint(), None, rows
        end: Any = content(trainer.checkpoint())
        if configuration.text is None:
            end = end, bits(tuple(trainer.result(GENERATED)))
    except Diverged as error:
        end = str(error), content(trainer.checkpoint())
    return None, end, rows


CASES: list[Any] = [("numpy_rnn", name) for name in RUNS]
CASES += [
    pytest.param("torch_rnn", name, marks=pytest.mark.needs_torch)
    for name in ("ensemble", "Fortran order")
]


@pytest.mark.parametrize(("package", "name"), CASES)
def test_interrupted_run_has_the_bits_of_the_whole_run(monkeypatch, package, name):
    """It is stopped after random numbers of yields, and resumed from its file; until its last part it may have fewer
    epochs.
    """
    rnn, options = importlib.import_module(package), RUNS[name]
    monkeypatch.setattr(run, "MAX_UPDATES", 1 if "diverge" not in name else 3)

    @settings(max_examples=max(3, settings().max_examples // (30 if rnn is numpy_rnn else 50)))
    @given(
        stops=st.lists(st.integers(1, 30), min_size=1, max_size=6), epochs=st.integers(1, EPOCHS)
    )
    def interrupted(stops, epochs):
        now, rows = None, {}
        for stop in stops:
            stopped, _, more = part(rnn, options, epochs, now, stop)
            if stopped is not None:
                save_checkpoint("r.npz", stopped)
                now, rows = load_checkpoint("r.npz"), rows | more
                assert content(now) == content(stopped)
                if not np.isnan(stopped.partial).any():  # it is a weights file too
                    assert bits(load_parameters("r.npz")) == bits(stopped.state.parameters)
                else:
                    with pytest.raises(InputError, match="networks that diverged"):
                        load_parameters("r.npz")
        _, end, more = part(rnn, options, EPOCHS, now)
        assert (end, rows | more) == whole

    whole = part(rnn, options, EPOCHS)[1:]
    interrupted()
    assert ("every network diverged" in str(whole[0][0])) == (name == "all diverge")


@pytest.mark.parametrize("name", ["some diverge", "a text"])
def test_resumed_run_prints_the_rest(capsys, name):
    options = [*RUNS[name].split(), "--no-plot", "--log-every", 1]
    whole = command(numpy_rnn, capsys, "--epochs", 4, *options).out
    command(numpy_rnn, capsys, "--epochs", 2, *options, "--save", "r.npz")
    second = command(numpy_rnn, capsys, "--resume", "r.npz", "--epochs", 4, *options[-3:])
    heading, resuming, *rest = second.out.splitlines(keepends=True)
    assert second.status == 0
    assert resuming.startswith("resuming from r.npz after epoch 2, update ")
    assert whole.startswith(heading)
    assert whole.endswith("".join(rest[2:]))


CHANGES = [
    ("--momentum 0.9 --k2 3", "--momentum 0.5 --weight-decay 0.01 --max-norm 0.1"),
    ("", "--momentum 0.9 --nesterov"),  # the velocity begins at zero
    (
        "--learning-rate 0.1,0.2 --learn-initial-state --momentum 0.9",
        "--learning-rate 0.05,0.02 --momentum 0",
    ),
]


@pytest.mark.parametrize(("first", "second"), CHANGES)
def test_changed_options_apply_from_there_on(capsys, first, second):
    """The second epoch is that of `train`, resumed with the other options."""
    succeed(numpy_rnn, capsys, "--epochs", 1, *first.split(), "--save", "r.npz", "--no-plot")
    state = load_checkpoint("r.npz").state
    succeed(
        numpy_rnn,
        capsys,
        "--resume",
        "r.npz",
        "--epochs",
        2,
        *second.split(),
        "--save",
        "r.npz",
        "--no-plot",
    )
    both = configured(f"{first} {second}", epochs=2)
    *_, last = run.begin(numpy_rnn, prepare(both).run(both.run_options()), state)
    loaded = load_checkpoint("r.npz")
    assert bits(loaded.state.parameters) == bits(last.parameters)
    assert (loaded.configuration, loaded.state.epoch) == (both, 2)


def test_run_is_resumed_in_another_folder(capsys, monkeypatch):
    """Its file is named again, and only then found; another series is refused."""
    options = [*RUNS["series of a file"].split(), "--no-plot"]
    succeed(numpy_rnn, capsys, "--epochs", 1, *options, "--save", "r.npz")
    os.mkdir("elsewhere")
    monkeypatch.chdir("elsewhere")
    Path("other.csv").write_text(Path("../two.csv").read_text() + "\n1,2")
    os.rename("../two.csv", "three.csv")
    resume = ["--resume", "../r.npz", "--no-plot", "--epochs", 3]
    for more, message in (
        (["--data", "other.csv"], "run file ../r.npz: it was trained on another series: expected"),
        ([], "run file ../r.npz: two.csv does not exist; name the file of that run by --data"),
    ):
        assert refused(numpy_rnn, capsys, *resume, *more).startswith(message)
    succeed(numpy_rnn, capsys, *resume, "--data", "three.csv", "--save", "s.npz")
    assert load_checkpoint("s.npz").configuration.data == "three.csv"


@pytest.mark.needs_torch
def test_either_package_resumes_a_run_of_the_other(capsys):
    import torch_rnn

    for one, other in ((numpy_rnn, torch_rnn), (torch_rnn, numpy_rnn)):
        options = "--epochs 1 --momentum 0.9 --learn-initial-state --seeds 2 --k2 3 --save r.npz --no-plot"
        succeed(one, capsys, *options.split())
        succeed(other, capsys, "--resume", "r.npz", "--epochs", 2, "--save", "s.npz", "--no-plot")
        succeed(one, capsys, "--resume", "r.npz", "--epochs", 2, "--save", "r.npz", "--no-plot")
        for theta, own in zip(load_parameters("s.npz"), load_parameters("r.npz"), strict=True):
            assert (
                theta is own is None or np.abs(theta - own).max() < 1e-5
            )  # 20 updates round to 2^-24 each


# -- what is refused --------------------------------------------------------------------------------------------------


DAMAGED: list[
    tuple[dict[str, Any], str]
] = [  # arrays that are changed, or without a value left out; the message
    (
        {"format": np.bytes_("elman-run 2")},
        "it has the format 'elman-run 2': expected 'elman-run 3'; to start a new",
    ),
    ({"W_hh": None}, "it has no W_hh: expected W_xh"),
    ({"window": None}, "it has no 'window'; expected a run that --save wrote"),
    (
        {"h": np.zeros((2, 3, 6), "f4")},
        "h of the state to resume from has shape (2, 3, 6): expected (2, 1, 6)",
    ),
    (
        {"window": np.array([2, 4, 5])},
        "the state to resume from is that after update 10, Window(start=2, loss_start=4, stop=5): expected",
    ),
    ({"losses": np.zeros((5, 2))}, "its losses and weights do not agree: expected"),
    ({"series": np.bytes_("0")}, "it was trained on another series: expected sine wave unchanged"),
    ({"configuration": np.bytes_("{")}, "Expecting property name enclosed in double quotes"),
    ({"configuration": np.bytes_('{"speed": 1}')}, "Configuration.__init__() got an unexpected"),
]
WRONG_TYPES: dict[str, tuple[Any, ...]] = {  # values of an option that no words give
    "k2": ("3", 3.0, True, [3], -1), "networks": ("2", 2.0, {}, 0), "data": (1, ["s.csv"], {}),
    "held_out": (None, "0", 0.5, -2), "columns": ("a", [1], "a,b", [["a"]]), "nesterov": (1, None, "yes"),
    "learning_rate": ("0.1", 1, [0.1], [[0.1]], None), "bias": (0, "no"), "loss": ("cross", None, 3),
    "dtype": ("float16", 32), "max_norm": ("1", [1.0]),
}  # fmt: skip


def test_refused_run_files(capsys):
    options = "--seeds 2 --momentum 0.9 --k1 2 --k2 3 --epochs 2 --save r.npz --no-plot"
    succeed(numpy_rnn, capsys, *options.split())
    whole = load_arrays("r.npz", "run file")
    for changed, message in DAMAGED:
        np.savez(
            "r.npz",
            **{name: array for name, array in (whole | changed).items() if array is not None},
        )
        found = refused(numpy_rnn, capsys, "--resume", "r.npz", "--epochs", 3, "--no-plot")
        assert found.startswith(f"run file r.npz: {message}")


def test_values_of_wrong_types_in_a_run_file_are_refused_by_name(capsys):
    succeed(numpy_rnn, capsys, "--k1", 2, "--k2", 3, "--epochs", 2, "--save", "r.npz", "--no-plot")
    whole = load_arrays("r.npz", "run file")
    configuration = json.loads(whole["configuration"].tobytes())
    for name, others in WRONG_TYPES.items():
        for value in others:
            changed = np.bytes_(json.dumps(configuration | {name: value}))
            np.savez("r.npz", **whole | {"configuration": changed})
            found = refused(numpy_rnn, capsys, "--resume", "r.npz", "--epochs", 3, "--no-plot")
            assert found.startswith(f"run file r.npz: {name} is "), (name, value)


def test_options_of_another_run_are_refused(capsys):
    succeed(numpy_rnn, capsys, "--epochs", 2, "--save", "r.npz", "--no-plot")
    assert "adagrad" not in CHANGEABLE
    allowed = " is given with --resume: expected none but --epochs, --learning-rate, "
    for options, message in (
        ("--seed 0", f"--seed{allowed}"),
        ("--bias", f"--bias{allowed}"),
        ("--data two.csv", f"--data{allowed}"),
        ("--text two.txt", f"--text{allowed}"),
        ("--epochs 1", "run file r.npz: expected --epochs 2, which it has reached, or more"),
        ("--learning-rate 1,2", "--learning-rate: expected 1 values, as the run has"),
    ):
        assert refused(
            numpy_rnn, capsys, "--resume", "r.npz", *options.split(), "--no-plot"
        ).startswith(message)


# -- when the file is written ---------------------------------------------------------------------------------------


def test_run_is_saved_after_a_pause(capsys, monkeypatch):
    """30 seconds after the latest write, also if that failed, and at the end; failed writes do not end the run.

    The clock advances by two seconds whenever it is read: after every yield, which is a quarter of an epoch, and after
    every write. What is written is what was trained until then.
    """
    saved = []

    def save(path, checkpoint):
        saved.append(checkpoint.state)
        if len(saved) < 3:
            raise InputError("no space")

    monkeypatch.setattr(run, "MAX_UPDATES", 5)
    monkeypatch.setattr("numpy_rnn.app.command_line.save_checkpoint", save)
    monkeypatch.setattr("time.monotonic", itertools.count(0, 2).__next__)
    assert "saved to r.npz" in succeed(
        numpy_rnn, capsys, "--epochs", 12, "--save", "r.npz", "--no-plot"
    )
    assert [(state.epoch, state.number) for state in saved] == [(4, 15), (8, 10), (12, 5), (12, 20)]
    configuration = configured("--epochs 12")
    trained = run.begin(numpy_rnn, prepare(configuration).run(configuration.run_options()))
    expected = {(update.epoch, update.number): bits(update.parameters) for update in trained}
    assert all(bits(state.parameters) == expected[state.epoch, state.number] for state in saved)


def test_run_whose_reader_ends_is_saved(capsys, monkeypatch):
    """Between two updates; it continues as if nothing had been."""

    def lost(report, progress):
        if progress.epoch == 3:
            raise BrokenPipeError(errno.EPIPE, "Broken pipe")
        return []

    with monkeypatch.context() as patch:
        patch.setattr(command_line.SeriesReport, "lines", lost)
        patch.setattr(exit_status, "_discard_output", lambda: None)
        for save in ([], ["--save", "r.npz"]):
            assert command(numpy_rnn, capsys, "--epochs", 5, *save, "--no-plot")[::2] == (1, "")
    assert load_checkpoint("r.npz").state[:2] == (3, 20)
    succeed(numpy_rnn, capsys, "--resume", "r.npz", "--save", "r.npz", "--no-plot")
    succeed(numpy_rnn, capsys, "--epochs", 5, "--save", "whole.npz", "--no-plot")
    assert Path("r.npz").read_bytes() == Path("whole.npz").read_bytes()


def test_signal_after_a_write_names_what_the_file_has(capsys, monkeypatch):
    """The second one comes when the file has been replaced, before the program has taken note."""
    replace = os.replace

    def replaced(*names):
        replace(*names)
        if len(written := [*places, load_checkpoint("r.npz").position]) == 2:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGTERM)
        places[:] = written

    places: list[str] = []
    monkeypatch.setattr(run, "MAX_UPDATES", 5)
    monkeypatch.setattr(command_line, "SAVE_EVERY", 0)
    monkeypatch.setattr(os, "replace", replaced)
    ended = command(numpy_rnn, capsys, "--epochs", 3, "--save", "r.npz", "--no-plot")
    assert ended.status in (130, 143)
    assert f"; r.npz has the run after {load_checkpoint('r.npz').position}: continue" in ended.err
    assert load_checkpoint("r.npz").state[:2] == (1, 10)


def test_run_without_updates_keeps_its_weights(rnn, capsys):
    out = succeed(rnn, capsys, "--epochs", 0, "--save", "r.npz", "--no-plot", "--seeds", 2)
    assert out.endswith("weights saved to r.npz\n")
    assert bits(load_parameters("r.npz")) == bits(rnn.to_numpy(rnn.initial_parameters(networks=2)))


SAVING = """
import sys
from numpy_rnn.app import command_line
command_line.SAVE_EVERY = 0  # after every yield
from numpy_rnn.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


def changed_at(path):
    """The time at which the file was written; None without a file."""
    return os.stat(path).st_mtime_ns if os.path.exists(path) else None


@pytest.mark.slow
def test_killed_run_is_resumed_with_the_same_bits(capsys):
    """Its file is saved after every yield, so that most signals come while it is written."""
    random, written, place = np.random.default_rng(0), None, (0, 0)
    given = options = [
        "--seeds",
        "4",
        "--k1",
        "2",
        "--k2",
        "5",
        "--momentum",
        "0.5",
        "--learning-rate",
        "0.02",
    ]
    save = ["--save", "run.npz", "--epochs", "1000000", "--log-every", "1000000", "--no-plot"]
    for order in (signal.SIGINT, signal.SIGKILL, signal.SIGTERM):
        program = [sys.executable, "-c", SAVING, *options, *save]
        pipes: dict[str, Any] = {
            "stdout": subprocess.DEVNULL,
            "stderr": subprocess.PIPE,
            "text": True,
        }
        with start(program, **pipes, env=environment(PYTHONUNBUFFERED="")) as process:
            until = time.monotonic() + LIMIT
            while changed_at("run.npz") == written and time.monotonic() < until:
                time.sleep(0.001)
            time.sleep(random.uniform(0, 0.05))
            process.send_signal(order)
            message = process.stderr.read()
        before, place, written = place, load_checkpoint("run.npz").state[:2], changed_at("run.npz")
        assert place > before
        where = f"after epoch {place[0]}, update {place[1]}: continue with --resume run.npz"
        is_killed = order == signal.SIGKILL
        assert process.returncode == (-order if is_killed else 128 + order)
        assert message == (
            "" if is_killed else f"numpy_rnn: interrupted; run.npz has the run {where}\n"
        )
        options = ["--resume", "run.npz"]
    epochs = "--epochs", place[0], "--no-plot"
    succeed(numpy_rnn, capsys, "--resume", "run.npz", *epochs, "--save", "run.npz")
    succeed(numpy_rnn, capsys, *given, *epochs, "--save", "whole.npz")
    assert Path("run.npz").read_bytes() == Path("whole.npz").read_bytes()
