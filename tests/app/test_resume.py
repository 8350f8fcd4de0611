"""A run that is interrupted, saved and resumed at any update has the bits of the run that is not interrupted.

What is in its file, and when it is written: test_checkpoint.py. Signals that come at chosen moments: test_process.py.
"""

import importlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from children import LIMIT, environment, start
from comparing import bits
from hypothesis import given, settings
from hypothesis import strategies as st
from in_process import command, configured, refused, succeed, trained

import numpy_rnn
from numpy_rnn.app.checkpoint import load_checkpoint, save_checkpoint
from numpy_rnn.app.experiment import prepare
from numpy_rnn.app.run import Hooks
from numpy_rnn.app.storage import load_parameters
from numpy_rnn.common.errors import Diverged, Interrupted

EPOCHS, GENERATED = 3, 4
RUNS = {
    "default": "",
    "sliding window": "--k2 4 --momentum 0.9 --learn-initial-state --bias",
    "all options": "--k1 3 --k2 7 --momentum 0.5 --nesterov --weight-decay 1e-3 --max-norm 0.5 --reduction mean"
    " --dtype float64",
    "one update per epoch": "--k1 20 --momentum 0.9 --learn-initial-state",
    "ensemble": "--seeds 3 --k1 7 --k2 9 --momentum 0.9 --dampening 0.5",
    "many networks": "--seeds 9 --k1 3 --k2 5 --bias --reduction mean",
    "sweep": "--learning-rate 0.01,0.1,0.2 --k1 5 --reduction mean",
    "sweep of ensembles": "--learning-rate 0.01,0.1 --seeds 2 --k1 6 --k2 13 --learn-initial-state --momentum 0.5",
    "some diverge": "--learning-rate 0.1,2,5 --seeds 3 --nonlinearity relu --k1 2 --momentum 0.5",
    "all diverge": "--learning-rate 2,5 --seeds 2 --nonlinearity relu --k1 2 --momentum 0.5",
    "one diverges": "--nonlinearity relu --k1 4 --learning-rate 0.5",
    "a weight diverges": "--learning-rate 1e37 --seed 1 --weight-decay 100",  # while the loss is finite
    "series of a file": "--data two.csv --columns b --standardize --held-out 5 --k1 4 --k2 6 --hidden-size 3",
}


@pytest.fixture(autouse=True)
def _series():
    rows = np.random.default_rng(0).normal(3, 2, (18, 2))
    np.savetxt("two.csv", rows, delimiter=",", header="a,b", comments="")


def content(checkpoint):
    """Everything in a checkpoint, to be compared; the number of epochs may grow."""
    if checkpoint is None:
        return None
    configuration, series, state, losses, partial, diverged, epochs = checkpoint[:7]
    return configuration.changed(epochs=0), series, diverged, bits((state, losses, partial, epochs, *checkpoint[7:]))


def finished(checkpoint):
    """The number of finished epochs."""
    return checkpoint.epochs[-1] if checkpoint is not None and checkpoint.epochs else 0


class Segment:
    """A run from a checkpoint, or from its start, until `stop_signal` has been called `stop` times, or to its end."""

    def __init__(self, rnn, configuration, resumed=None, stop=0, yield_every: int | None = 1):
        self.rows: dict[int, Any] = {}
        self.diverged: list = []
        self.saved: dict[tuple[int, int], Any] = {}
        self.calls = 0
        self.end: Any = None
        self.checkpoint: Any = None

        def save(checkpoint):
            assert all(np.isfinite(theta).all() for theta in checkpoint.state.parameters if theta is not None)
            self.saved[checkpoint.state[:2]] = content(checkpoint)

        def stop_signal():
            self.calls += 1
            return 15 if self.calls == stop else None

        hooks = Hooks(
            on_epoch=lambda epoch, loss: self.rows.__setitem__(epoch, bits(loss)),
            on_divergence=self.diverged.append,
            save=save,
            is_save_due=lambda: True,
            yield_every=yield_every,
            stop_signal=stop_signal,
        )
        try:
            result = trained(rnn, configuration, GENERATED, hooks, resumed)
            self.end = bits(result[:4]), result.diverged, bits(result.epochs)
        except Diverged as error:
            left = error.checkpoint
            if left is not None and left.diverged:  # all networks: only their weights can be used
                self.end = str(error), left.diverged, bits(left.state.parameters)
            else:
                self.end = str(error), content(left)
        except Interrupted as interrupted:
            self.checkpoint = interrupted.checkpoint


def checked_segment(rnn, configuration, resumed, stop, yield_every, whole):
    """A part of a run: its files, rows and divergences are those of the whole run, each there once."""
    segment = Segment(rnn, configuration, resumed, stop, yield_every)
    assert all(whole.saved[place] == saved for place, saved in segment.saved.items())
    assert all(whole.rows[epoch] == row for epoch, row in segment.rows.items())
    assert list(segment.rows) == list(range(finished(resumed) + 1, finished(resumed) + 1 + len(segment.rows)))
    known = 0 if resumed is None else len(resumed.diverged)
    assert segment.diverged == whole.diverged[known:][: len(segment.diverged)]
    if segment.checkpoint is not None:
        assert len(segment.rows) == finished(segment.checkpoint) - finished(resumed)
        assert content(segment.checkpoint) == whole.saved[segment.checkpoint.state[:2]]
    return segment


def saved_and_loaded(checkpoint):
    save_checkpoint("r.npz", checkpoint)
    loaded = load_checkpoint("r.npz")
    assert content(loaded) == content(checkpoint)
    assert bits(load_parameters("r.npz")) == bits(checkpoint.state.parameters)  # it is a weights file too
    return loaded


OF_TORCH = ["sliding window", "sweep of ensembles", "all diverge"]
CASES: list[Any] = [("numpy_rnn", name) for name in RUNS]
CASES += [pytest.param("torch_rnn", name, marks=pytest.mark.needs_torch) for name in OF_TORCH]


@pytest.mark.parametrize(("package", "name"), CASES)
def test_a_run_interrupted_at_any_update_has_the_bits_of_the_whole_run(package, name):
    """After random numbers of updates, and resumed from its file; until its last part it may have fewer epochs."""
    rnn, options = importlib.import_module(package), RUNS[name]

    @settings(max_examples=max(3, settings().max_examples // (30 if rnn is numpy_rnn else 50)))
    @given(
        stops=st.lists(st.integers(1, 30), min_size=1, max_size=6),
        epochs=st.integers(1, EPOCHS),
        yield_every=st.sampled_from([1, 3, None]),
    )
    def interrupted(stops, epochs, yield_every):
        now = None
        for stop in stops:
            segment = checked_segment(rnn, configured(options, epochs=epochs), now, stop, yield_every, whole)
            now = now if segment.checkpoint is None else saved_and_loaded(segment.checkpoint)
        last = checked_segment(rnn, configured(options, epochs=EPOCHS), now, 10**9, yield_every, whole)
        assert last.end == whole.end

    whole = Segment(rnn, configured(options, epochs=EPOCHS))
    interrupted()
    if rnn is numpy_rnn:  # without those of the last update
        assert len(whole.diverged) == {"some diverge": 6, "all diverge": 2}.get(name, 0)
    assert ("every network diverged" in str(whole.end[0])) == (name == "all diverge")


def test_the_stop_signal_is_checked_at_every_yield_and_before_every_pass():
    """Also before every free-running step, and at the end."""
    for options, updates, passes in (("", 20, 1), ("--k1 3 --held-out 5", 5, 2)):
        for yield_every in (1, 3):
            segment = Segment(numpy_rnn, configured(options, epochs=EPOCHS), yield_every=yield_every)
            assert segment.calls == EPOCHS * -(-updates // yield_every) + GENERATED + passes + 1


@pytest.mark.parametrize("name", ["sweep of ensembles", "some diverge", "series of a file"])
def test_what_a_resumed_run_prints_is_the_rest_of_the_longer_run(capsys, name):
    options = [*RUNS[name].split(), "--no-plot", "--log-every", 1]
    whole = command(numpy_rnn, capsys, "--epochs", 4, *options, "--save", "r.npz")
    first = command(numpy_rnn, capsys, "--epochs", 2, *options, "--save", "r.npz")
    second = command(numpy_rnn, capsys, "--resume", "r.npz", "--epochs", 4, "--save", "r.npz", *options[-3:])
    assert [ended.status for ended in (whole, first, second)] == [0, 0, 0]
    updates = -(-len(prepare(configured(RUNS[name])).trained().x) // configured(RUNS[name]).k1)
    heading, resuming, columns, *rows = second.out.splitlines()
    assert resuming == f"resuming from r.npz after epoch 2, update {updates}"
    printed = first.out.split("\n  time")[0].splitlines()
    assert [*printed, *rows] == whole.out.splitlines()
    assert [heading, columns] == printed[:2]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("--momentum 0.9 --k2 3", "--momentum 0.5 --weight-decay 0.01 --max-norm 0.1"),
        ("", "--momentum 0.9 --nesterov"),  # the velocity begins at zero
        ("--momentum 0.9 --learn-initial-state", "--momentum 0"),
        ("--learning-rate 0.1,0.2 --seeds 2", "--learning-rate 0.05,0.02"),
    ],
)
def test_options_that_may_change_apply_from_there_on(rnn, capsys, first, second):
    """The second epoch is that of `train`, resumed with the other options."""
    succeed(rnn, capsys, "--epochs", 1, *first.split(), "--save", "r.npz", "--no-plot")
    state = load_checkpoint("r.npz").state
    succeed(rnn, capsys, "--resume", "r.npz", "--epochs", 2, *second.split(), "--save", "r.npz", "--no-plot")
    both = configured(f"{first} {second}", epochs=2)
    experiment = prepare(both)
    h_0 = None if experiment.params.h_0 is not None else rnn.from_numpy(experiment.h_0)
    series = map(rnn.from_numpy, (experiment.x, experiment.target))
    *_, last = rnn.train(None, *series, h_0, **both.train_options(), resume=rnn.from_numpy(state))
    loaded = load_checkpoint("r.npz")
    assert bits(loaded.state.parameters) == bits(last.parameters)
    assert (loaded.configuration, loaded.state.epoch) == (both, 2)


def test_a_run_is_resumed_in_another_folder_on_the_same_series(capsys, monkeypatch):
    """Its file is named again, and only then found; another series is refused; the end is that of the whole run."""
    options = [*RUNS["series of a file"].split(), "--no-plot"]
    whole = succeed(numpy_rnn, capsys, "--epochs", 3, *options, "--save", "whole.npz")
    succeed(numpy_rnn, capsys, "--epochs", 1, *options, "--save", "r.npz")
    os.mkdir("elsewhere")
    monkeypatch.chdir("elsewhere")
    Path("other.csv").write_text(Path("../two.csv").read_text() + "\n1,2")
    os.rename("../two.csv", "three.csv")
    resume = ["--resume", "../r.npz", "--no-plot", "--epochs", 3, "--data"]
    for arguments, message in (
        ([*resume, "other.csv"], "run file ../r.npz: the series is not the one that"),
        (
            resume[:-1],
            "run file ../r.npz was trained on two.csv, which does not exist: expected the same series; give its path"
            " with --data FILE",
        ),
    ):
        assert refused(numpy_rnn, capsys, *arguments).startswith(message)
    succeed(numpy_rnn, capsys, *resume, "three.csv", "--save", "s.npz")
    loaded, expected = load_checkpoint("s.npz"), load_checkpoint("../whole.npz")
    assert loaded.configuration.data == "three.csv"
    assert bits(loaded[2:5]) == bits(expected[2:5])
    again = succeed(numpy_rnn, capsys, "--resume", "s.npz", "--no-plot")  # it knows where the series is now
    assert again[again.index("  time") :] in whole


@pytest.mark.needs_torch
def test_either_package_can_resume_a_run_of_the_other(capsys):
    import torch_rnn

    for one, other in ((numpy_rnn, torch_rnn), (torch_rnn, numpy_rnn)):
        options = "--epochs 1 --momentum 0.9 --learn-initial-state --seeds 2 --k2 3 --save r.npz --no-plot"
        succeed(one, capsys, *options.split())
        succeed(other, capsys, "--resume", "r.npz", "--epochs", 2, "--save", "s.npz", "--no-plot")
        succeed(one, capsys, "--resume", "r.npz", "--epochs", 2, "--save", "r.npz", "--no-plot")
        for theta, own in zip(load_parameters("s.npz"), load_parameters("r.npz"), strict=True):
            assert theta is own is None or np.abs(theta - own).max() < 1e-5  # 20 updates round to 2^-24 each


# -- processes that are killed ----------------------------------------------------------------------------------------


def changed_at(path):
    """The time at which the file was written; None without a file."""
    return os.stat(path).st_mtime_ns if os.path.exists(path) else None


@pytest.mark.slow
def test_a_run_killed_or_interrupted_at_random_moments_is_resumed_and_has_the_bits_of_one_that_was_not(capsys):
    """Its file is saved after every update, so that most signals come while it is written."""
    random, written, place = np.random.default_rng(0), None, (0, 0)
    given = options = ["--learning-rate", "0.01,0.05", "--seeds", "2", "--k1", "2", "--k2", "5", "--momentum", "0.5"]
    save = ["--save", "run.npz", "--save-every", "0", "--epochs", "100000", "--log-every", "100000", "--no-plot"]
    for order in (signal.SIGINT, signal.SIGKILL, signal.SIGTERM, signal.SIGHUP):
        program = [sys.executable, "-m", "numpy_rnn", *options, *save]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        with start(program, **pipes, env=environment(PYTHONUNBUFFERED="")) as process:
            if options == given:  # two headings, and the loss of the first epoch, at once
                assert [process.stdout.readline() for _ in range(3)][-1].startswith("    1  ")
            until = time.monotonic() + LIMIT
            while changed_at("run.npz") == written and time.monotonic() < until:
                time.sleep(0.001)
            time.sleep(random.uniform(0, 0.05))
            process.send_signal(order)
            message = process.stderr.read()
        before, place, written = place, load_checkpoint("run.npz").state[:2], changed_at("run.npz")
        assert place > before
        saved = (
            f"interrupted; saved the run so far to run.npz, after epoch {place[0]}, update {place[1]}: continue with"
        )
        is_killed = order == signal.SIGKILL
        ended = (-order, "") if is_killed else (128 + order, f"numpy_rnn: {saved} --resume run.npz\n")
        assert (process.returncode, message) == ended
        others = set(os.listdir()) - {"run.npz", "two.csv"}
        assert all(is_killed and name.startswith(".unfinished-") for name in others)
        options = ["--resume", "run.npz"]
    epochs = "--epochs", place[0], "--no-plot"
    succeed(numpy_rnn, capsys, "--resume", "run.npz", *epochs, "--save", "run.npz")
    succeed(numpy_rnn, capsys, *given, *epochs, "--save", "whole.npz")
    assert Path("run.npz").read_bytes() == Path("whole.npz").read_bytes()
    assert sorted(os.listdir()) == ["run.npz", "two.csv", "whole.npz"]  # unfinished files are removed
