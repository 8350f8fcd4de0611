"""The losses that are kept of a run: bounded in number, the same ones however often the run is interrupted."""

import numpy as np
import pytest
from comparing import bits
from hypothesis import given
from hypothesis import strategies as st
from in_process import succeed, trained

import numpy_rnn
from numpy_rnn.app import results
from numpy_rnn.app.checkpoint import load_checkpoint, save_checkpoint
from numpy_rnn.app.configuration import Configuration
from numpy_rnn.app.experiment import prepare
from numpy_rnn.app.plots import figure
from numpy_rnn.app.results import Losses, kept_epochs, max_epochs
from numpy_rnn.app.run import Hooks
from numpy_rnn.common.errors import Interrupted


@pytest.fixture
def few(monkeypatch):
    """Of one network 5 epochs are kept and of three 3, so that a short run is a long one."""
    for name, value in (("MAX_EPOCHS", 5), ("MAX_LOSSES", 9), ("MIN_EPOCHS", 2)):
        monkeypatch.setattr(results, name, value)


@given(done=st.integers(0, 10**9), networks=st.integers(1, 10**7))
def test_the_epochs_that_are_kept(done, networks):
    """No more than the bound, the first and the last among them, and in between all steps of the same length."""
    kept = kept_epochs(done, networks)
    assert len(kept) <= max_epochs(networks) + 2
    assert kept[:1] + kept[-1:] == ((1, done) if done else ())
    between = [epoch for epoch in kept if epoch not in (1, done)]
    assert len(set(np.diff(between).tolist())) <= 1
    assert done <= max_epochs(networks) or len(kept) >= max_epochs(networks) // 2
    assert max_epochs(networks) * networks <= max(results.MAX_LOSSES, results.MIN_EPOCHS * networks)


@pytest.mark.parametrize("networks", [1, 3])
def test_one_by_one_they_are_those(few, networks):
    """Also when they continue from those that were kept after any epoch."""
    every = np.arange(1.0, 100)[:, None] + np.zeros(networks)
    one_by_one = Losses((networks,))
    for done in range(1, 100):
        one_by_one = Losses((networks,), one_by_one.epochs, one_by_one.array()) if done % 7 == 0 else one_by_one
        one_by_one.append(every[done - 1])
        assert one_by_one.epochs == kept_epochs(done, networks)
        assert bits(one_by_one.array()) == bits(every[np.array(one_by_one.epochs) - 1])
        assert bits(one_by_one.latest) == bits(every[done - 1])


@pytest.mark.parametrize("networks", [None, 3])
def test_a_long_run_is_the_same_but_for_the_losses_that_are_kept(rnn, monkeypatch, few, networks):
    """Interrupted after any epoch too; what is printed of an epoch is always its own loss."""
    configuration = Configuration(epochs=23, k1=10, k2=10, networks=networks)
    rows: dict[int, np.ndarray] = {}
    result = trained(rnn, configuration, hooks=Hooks(on_epoch=rows.__setitem__))
    with monkeypatch.context() as patch:
        patch.setattr(results, "MAX_EPOCHS", 1000)
        patch.setattr(results, "MAX_LOSSES", 1000)
        unbounded = trained(rnn, configuration)
    assert bits(result.params) == bits(unbounded.params)
    assert tuple(result.epochs) == kept_epochs(23, networks or 1)
    assert bits(result.losses) == bits(unbounded.losses[result.epochs - 1])
    assert list(rows) == list(range(1, 24))
    assert bits(np.array(list(rows.values()))) == bits(unbounded.losses)
    for stop in range(2, 46, 5):
        asked = iter(range(1, 1000))
        hooks = Hooks(yield_every=1, stop_signal=lambda asked=asked, stop=stop: 2 if next(asked) == stop else None)
        with pytest.raises(Interrupted) as ended:
            trained(rnn, configuration, hooks=hooks)
        save_checkpoint("r.npz", ended.value.checkpoint)
        resumed = load_checkpoint("r.npz")
        again = trained(rnn, configuration, resumed=resumed)
        assert bits(again) == bits(result)


def test_the_file_of_a_long_run_does_not_grow(capsys, few):
    sizes = set()
    for epochs in (18, 36, 72):  # whose kept losses are as many
        succeed(numpy_rnn, capsys, "--k1", 20, "--epochs", epochs, "--save", "r.npz", "--no-plot")
        with np.load("r.npz") as archive:
            sizes.add(sum(archive[name].nbytes for name in archive.files if name != "configuration"))
    assert len(sizes) == 1


@pytest.mark.needs_matplotlib
def test_the_curve_is_drawn_over_the_epochs_that_are_kept(few):
    configuration = Configuration(epochs=23, k1=10, k2=10)
    experiment = prepare(configuration)
    result = trained(numpy_rnn, configuration)
    *_, axes = figure(experiment, {"numpy_rnn": result}).axes
    times, curve = axes.lines[0].get_data()
    assert tuple(times) == kept_epochs(23, 1)
    assert bits(np.asarray(curve)) == bits(result.losses)
    assert axes.get_xlim() == (0, 24)
