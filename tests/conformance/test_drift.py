"""The drift of whole runs: what is measured, and that it tells rounding from a fault."""

from types import SimpleNamespace

import numpy as np
import pytest

import numpy_rnn
from numpy_rnn.app.configuration import Configuration
from numpy_rnn.app.experiment import prepare
from numpy_rnn.conformance import comparison_report
from numpy_rnn.conformance.comparison import Comparison, epoch_losses
from numpy_rnn.conformance.traces import drive
from numpy_rnn.conformance.traces.drive import Drift, trace_of


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_drift_and_spread_are_the_largest_differences_so_far(dtype, monkeypatch):
    """Of the others from the first run, and of 16 reference runs from the unmoved one; the spread is 4 u at least."""
    curves = np.ones((3, 17))
    curves[1, 2:4] += (0.5, -0.25)
    curves[2, 5] += 0.125

    def run(rnn, experiment, configuration, hooks):
        for epoch, losses in enumerate(curves, 1):
            hooks.on_epoch(epoch, losses)

    monkeypatch.setattr(drive, "run", run)
    configuration = Configuration(epochs=3, dtype=dtype)
    first, others = np.array([1.0, 2.0, 3.0]), np.array([[1.0, 2.5, 3.0], [1.0, 2.0, 2.0]])
    measured = drive.measure(first, others, prepare(configuration), configuration)
    assert measured.drift.tolist() == [0, 0.5, 1]
    assert measured.spread.tolist() == [2 * np.finfo(dtype).eps, 0.5, 0.5]
    assert measured.ratio == 2


def test_all_reference_runs_but_the_first_start_an_ulp_away():
    theta = np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)
    copies = drive._moved(theta, np.random.default_rng(0))
    assert copies.shape == (17, 3, 4)
    assert np.array_equal(copies[0], theta)
    for direction in (np.inf, -np.inf):
        assert (copies[1:] == np.nextafter(theta, np.float32(direction))).any(axis=(1, 2)).all()
    assert ((copies[1:] != theta) & (np.abs(copies[1:] - theta) <= 2 * np.spacing(np.abs(theta)))).all()


@pytest.mark.parametrize(("drift", "passes"), [(7.9, True), (8.1, False)])
def test_a_drift_of_more_than_eight_spreads_is_an_alarm(drift, passes):
    measured = Drift(np.array([drift]), np.array([1.0]))
    comparison = Comparison(None, None, (SimpleNamespace(judgement=SimpleNamespace(passed=True)),), measured)
    assert comparison.passed is passes
    printed = comparison_report._drift(measured)
    assert (
        f"drift apart by at most {drift:.1e}; 16 runs whose initial weights differ by an ulp spread by 1.0e+00"
        in printed
    )
    assert (
        f"the largest drift / spread is {drift}, the limit 8: rounding {'explains' if passes else 'does not'}"
        in printed
    )


def test_drift_tells_rounding_from_a_fault():
    """A run that starts an ulp away drifts as rounding would; a learning rate that is 1e-4 off does not."""
    configuration = Configuration(epochs=40, dtype="float64")
    experiment = prepare(configuration)
    losses = epoch_losses(trace_of(numpy_rnn, experiment, configuration), "sum")

    def ratio(params=experiment.params, **changes):
        other = configuration.changed(**changes)
        arrays = trace_of(numpy_rnn, experiment._replace(params=params), other)
        return drive.measure(losses, [epoch_losses(arrays, "sum")], experiment, configuration, seed=3).ratio

    moved = experiment.params._replace(W_hh=np.nextafter(experiment.params.W_hh, 1))
    assert ratio() == 0
    assert 0 < ratio(moved) <= drive.ALARM
    assert ratio(learning_rate=0.1001) > 1e6
