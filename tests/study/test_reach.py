"""The experiment of the lesson: its masks, and what its results bear out."""

import json

import numpy as np
import pytest

import numpy_rnn
from numpy_rnn import Parameters
from numpy_rnn.conformance.case import present
from numpy_rnn.study import reach
from numpy_rnn.study.reach import (
    REACH_RESULTS,
    LagTraining,
    masked_gradients,
    train_on_lag,
)
from tests.helpers.windows import SEED

FOUND = json.loads(REACH_RESULTS.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", ["W_xh", "W_hh"])
def test_terms_of_a_reach_are_derivatives_by_the_copies_of_a_weight(name):
    """Each term is the complex step of one number in one step's copy of a weight.

    The gradients pass four steps, each of which rounds a sum of nine terms and a
    product.
    """
    draw = np.random.default_rng(3)
    shapes = ((1, 1, 8), (1, 8, 8), (1, 8, 1))
    w = Parameters(*(draw.normal(0, 0.5, shape) for shape in shapes))
    x, target = draw.normal(size=(2, 4, 1, 4, 1))
    h_0 = draw.normal(size=(1, 4, 8))
    activations = numpy_rnn.forward(w, x, h_0)
    shorter = np.zeros(8)
    for lag in range(4):
        training = LagTraining(2, 1, lag + 1, lag + 1)
        gradient = masked_gradients(w, activations, target[-1:], training)
        h = h_0 + 0j
        for t in range(4):
            copies = {key: theta + 0j for key, theta in present(w).items()}
            if t == 3 - lag:
                copies[name][0, 0, 5] += 1e-40j
            h = np.tanh(x[t] @ copies["W_xh"] + h @ copies["W_hh"])
        loss = ((h @ w.W_hy - target[-1]) ** 2).mean() / 2
        row = getattr(gradient, name)[0, 0]
        term = row[5] - shorter[5]
        rounding = 4 * 10 * np.finfo(float).eps * abs(row).max()
        assert abs(term - loss.imag * 1e40) <= rounding
        shorter = row


def test_equal_reaches_are_tbptt(monkeypatch):
    monkeypatch.setattr(reach, "LAST", 1)
    errors, w = train_on_lag(LagTraining(2, 2, 5, 5, updates=6), 5, networks=3)
    draw = np.random.default_rng(5)
    shapes = ((0.1, (3, 1, 8)), (0.2, (3, 8, 8)), (0.3, (3, 8, 1)))
    start = Parameters(*(draw.normal(0, size, shape) for size, shape in shapes))
    signs = draw.choice([-1.0, 1.0], (14, 3, 4, 1))
    rule = {"k1": 2, "k2": 5, "learning_rate": 0.2, "epochs": 1, "reduction": "mean"}
    series = signs[2:], signs[:-2], np.zeros((4, 8))
    *_, last = numpy_rnn.train(start, *series, **rule)
    np.testing.assert_allclose(errors.mean(axis=0), 2 * last.loss, 1e-9)
    for ours, theirs in zip(w[:3], last.parameters):
        np.testing.assert_allclose(ours, theirs, 1e-9, 1e-12)


def least(table, d, way):
    return min(FOUND[table][str(d)][way])


def most(table, d, way):
    return max(FOUND[table][str(d)][way])


@pytest.mark.parametrize("deviation", ["0.1", "0.5"])
def test_results_bear_out_the_windows_of_the_lesson(deviation):
    for d in range(1, 7):
        both = least(deviation, d, f"{d + 1}, {d + 1}")
        longer_W_xh = f"{d + 1}, {d}"
        if d < 6:
            assert both > 0.95
        if d < 5:  # W_xh's term suffices
            assert least(deviation, d, longer_W_xh) > 0.95
        else:  # W_hh's helps too
            assert both > 0.2 + most(deviation, d, longer_W_xh)
    for d in (3, 4):  # W_hh's gradient builds
        built = least(deviation, d, f"0, {d}")
        assert built > most(deviation, d, "0, 0") + 0.05
        assert built > most(deviation, d, f"{d}, {d}")
    for d in (1, 2, 3):  # W_xh's spoils
        assert most(deviation, d, f"{d}, 0") < least(deviation, d, "0, 0")


def test_results_bear_out_the_lesson():
    for d in (2, 3, 4):  # W_hh's term does much less
        assert most("0.1", d, f"{d}, {d + 1}") < 0.5 < least("0.1", d, f"{d + 1}, {d}")
    for way in ("1, 1", "5, 5"):
        assert most("0.1", 5, way) == 0
    assert least("chunks", 5, "updates, 6") == 1
    assert most("chunks", 5, "steps, 6") < 0.4
    assert most("lengths", 3, "3, 3") < 0.6 < 1.1 < least("lengths", 3, "0, 3")
    assert most("lengths", 3, "0, 3") < 1.45 < 1.55 < least("lengths", 3, "4, 3")
    (positions,) = FOUND["positions"]["5"].values()
    assert max(positions) < 1.2 * min(positions) < 0.02


@pytest.mark.slow
@pytest.mark.parametrize("way", ["0, 2", "2, 0", "3, 2", "2, 3"])
def test_recorded_shares_are_those_of_other_seeds(way):
    """Shares differ by four standard deviations of a share of 64 networks at most."""
    k_x, k_h = map(int, way.split(", "))
    errors, _ = train_on_lag(LagTraining(2, 1, k_x, k_h), SEED)
    mean = np.mean(FOUND["0.1"]["2"][way])
    spread = np.sqrt(max(mean * (1 - mean), 0.02) / 64 * (1 + 1 / 3))
    assert abs((errors.mean(axis=0) < reach.LEARNED).mean() - mean) < 4 * spread
