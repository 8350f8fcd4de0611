"""The scripts of the lesson, run in node, compute what numpy_rnn does."""

import numpy as np
import pytest

import numpy_rnn
from numpy_rnn import Parameters
from numpy_rnn.common.records import Objective, RunOptions, Schedule, Step
from tests.helpers.lesson import assert_near, gradient_of_parts
from tests.helpers.random_runs import random_run, train

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(("k1", "k2"), [(1, 3), (3, 3), (2, 5)])
def test_training_is_that_of_numpy_rnn(k1, k2, compute):
    """Networks with and without biases agree. The scripts count steps from 1."""
    options = RunOptions(Schedule(k1, k2, 1), Objective(reduction="mean"), Step(0.1))
    run = random_run(options, T=11, H=4, O=2, bias=k1 != 3, seed=k2)
    case = {
        "p": run.params._asdict(),
        "x": [None, *run.x],
        "target": [None, *run.target],
        "h_0": run.h_0,
        "options": {"k1": k1, "k2": k2, "rate": 0.1},
    }
    script_updates = compute("trained", case)
    updates = list(train(numpy_rnn, run))
    losses = [update["loss"] for update in script_updates]
    assert_near(losses, [update.loss for update in updates])
    for name, theta in updates[-1].parameters._asdict().items():
        if theta is not None:
            assert_near(script_updates[-1]["p"][name], theta)


def test_sums_by_lag_are_those_of_windows_of_numpy_rnn(compute):
    """Each lag from 0 to 8 has a sum over 2,400 losses: 600 steps of 4 sequences."""
    script = compute("sums")
    p = {name: theta for name, theta in script["p"].items() if theta is not None}
    params = Parameters(**{name: np.array(theta) for name, theta in p.items()})
    series = script["series"]
    x, target = (np.array(series[name][1:], float) for name in ("x", "target"))
    h = numpy_rnn.forward(params, x, np.zeros((4, 8))).h
    totals = {"W_xh": np.zeros((9, 1, 8)), "W_hh": np.zeros((9, 8, 8))}
    for t in range(20, len(x)):  # from 0
        window = numpy_rnn.forward(params, x[t - 8 : t + 1], h[t - 8])
        da = numpy_rnn.adjoints(params, window, target[t : t + 1]).da[::-1]
        totals["W_xh"] += window.x[::-1].mT @ da / 2400
        totals["W_hh"] += window.h[-2::-1].mT @ da / 2400
    for name, total in totals.items():
        expected = np.linalg.norm(total, axis=(1, 2))
        assert_near(script["sums"][name], expected, 1e-9)  # 2,400 terms


def test_a_cut_changes_the_gradient_alone(compute):
    """It is the gradient of chunks with a constant state. That of W_hy is the same."""
    network = compute("cuts")
    params = Parameters(*(np.array(theta) for theta in network["p"].values()))
    h_0 = np.array([network["h_0"]])
    x = np.reshape(network["x"], (3, 1, 1)).astype(float)
    target = np.reshape(network["target"], (3, 1, 1)).astype(float)
    whole, *others = network["cuts"]
    for cut, update in enumerate(others, start=1):
        parts = [slice(0, cut), slice(cut, 3)]
        expected = gradient_of_parts(params, x, target, h_0, parts)
        for name, total in expected.items():
            assert_near(update["gradient"][name], total)
            is_same = name == "W_hy"
            assert np.allclose(total, whole["gradient"][name], rtol=0.1) == is_same


def test_nudges_are_the_derivatives_of_the_backward_pass(compute):
    """Nudges are central differences of 1e-5; their error is of the order of 1e-10."""
    for nudge, slope, is_lower in compute("nudges"):
        assert nudge == pytest.approx(slope, abs=1e-8)
        assert is_lower  # the loss after a step


def test_still_figures(compute):
    """Check the cliff, and the changes of a state by lag."""
    figures = compute("stills")
    for b, loss, slope in figures["cliffs"]:
        h = 0j
        for _ in range(10):
            h = np.tanh(1.5 * h + b + 1e-40j)
        value = (h - 0.3) ** 2 / 2
        assert_near([loss, slope], [value.real, value.imag * 1e40], 1e-9)
    linear, contracting, saturated = figures["changes"]
    assert_near(linear, 1.5 ** np.arange(31.0))
    assert (np.array(contracting) <= 0.8 ** np.arange(31) * (1 + 1e-12)).all()
    assert saturated[-1] < 1e-3
