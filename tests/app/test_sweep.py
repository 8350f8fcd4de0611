"""A sweep over learning rates: the best rate, the rates that diverge, and both in the plot."""

import numpy as np
import pytest
from comparing import assert_within, bits
from in_process import command, losses, succeed
from made_up import lines, made_up

import numpy_rnn
from numpy_rnn import Parameters
from numpy_rnn.app import plots
from numpy_rnn.app.checkpoint import load_checkpoint
from numpy_rnn.app.divergence import Divergence
from numpy_rnn.app.results import Result


def test_a_sweep_is_resumed_from_one_network(capsys):
    """From weights, at every rate."""
    succeed(numpy_rnn, capsys, "--epochs", 2, "--save", "w.npz", "--no-plot")
    options = ["--weights", "w.npz", "--epochs", 1, "--no-plot"]
    succeed(numpy_rnn, capsys, *options, "--learning-rate", "0.1,0", "--save", "both.npz")
    succeed(numpy_rnn, capsys, *options, "--learning-rate", 0, "--save", "still.npz")
    both, still = (load_checkpoint(name).state.parameters for name in ("both.npz", "still.npz"))
    assert both.W_hh.shape == (2, 6, 6)
    assert bits(both.W_hh[1]) == bits(still.W_hh)
    assert bits(both.W_hh[0]) != bits(still.W_hh)


# -- the best rate --------------------------------------------------------------------------------------------------


def result_of(losses, diverged=()) -> Result:
    """Of a sweep over three rates, whose networks predict what their number is."""
    losses = np.array(losses, float)
    E = losses.shape[1:]
    numbers = np.arange(np.prod(E), dtype=float).reshape(E)
    predictions = np.broadcast_to(numbers[..., None, None], (4, *E, 1, 1))
    params = Parameters(*(numbers.reshape(*E, 1, 1) for _ in range(3)))
    of = int(np.prod(E))
    lines = tuple(Divergence(network, 1, 1, "loss", of=of) for network in diverged)
    return Result(losses, params, predictions, predictions[:2], lines)


def test_the_best_rate_has_the_lowest_median_of_the_networks_that_are_left():
    for of_rates, diverged, best in (
        ([[1, 9, 9], [3, 2, 4]], (), 1),  # the last epoch counts
        ([[3, 2, 4]], (1,), 0),
        ([[3, np.nan, 4]], (), 0),
        ([[3, 2, np.inf]], (), 1),
        ([[2, 2, 2]], (), 0),  # the first of equals
        ([[np.nan, np.nan, 4]], (0, 1), 2),
        (np.zeros((0, 3)), (), 0),  # nothing was trained
        ([[[5, 1, 3], [2, 2, 14], [0, 9, 9]]], (), 1),  # medians 3, 2, 9; means 3, 6, 6
        ([[[5, 1, 3], [2, 2, 4], [0, 9, 9]]], (7, 8), 2),  # of the third rate one is left
        ([[[5, 1, 3], [2, 2, 4], [0, 9, 9]]], (3, 4, 5, 6, 7, 8), 0),
    ):
        assert result_of(of_rates, diverged).best_rate() == best, (of_rates, diverged)


def test_what_came_out_for_a_rate():
    result = result_of([[[5, 1, 3], [2, 2, 4], [0, 9, 9]]], (3, 5, 8))
    of_rate = result.of_rate(1)
    assert of_rate.losses.tolist() == [[2, 2, 4]]
    assert of_rate.params.W_hh.ravel().tolist() == [3, 4, 5]
    assert of_rate.predictions.shape == (4, 3, 1, 1)
    assert of_rate.generated[0].ravel().tolist() == [3, 4, 5]
    assert of_rate.converged().tolist() == [False, True, False]
    assert [(d.network, d.of) for d in of_rate.diverged] == [(0, 3), (2, 3)]
    assert result.of_rate(0).diverged == ()
    of_one_network = result_of([[5, 1, 3]], (1,))
    assert [bool(of_one_network.of_rate(rate).converged()) for rate in range(3)] == [True, False, True]


def test_a_rate_whose_networks_all_diverged_is_a_column_without_numbers(capsys):
    options = ["--learning-rate", "0.1,5", "--seeds", 2, "--nonlinearity", "relu", "--epochs", 4, "--log-every", 1]
    ended = command(numpy_rnn, capsys, *options, "--no-plot")
    assert ended.status == 0
    assert ended.err.splitlines()[-1] == (
        "numpy_rnn: 2 of 4 networks diverged and are left out of the medians and bands"
    )
    rows = losses(ended.out)
    assert np.isnan(rows[4][1])
    assert all(np.isfinite(row[0]) for row in rows.values())
    assert "   of learning rate 0.1\n" in ended.out


# -- the plot ----------------------------------------------------------------------------------------------------------


@pytest.mark.needs_matplotlib
def test_a_rate_far_above_the_others_leaves_the_panel():
    experiment, results = made_up(E=(3,), rates=(0.01, 0.1, 50.0))
    losses = results["numpy_rnn"].losses
    losses[:, 2] = 1e9
    axes = plots.figure(experiment, results).axes[-1]
    low, high = axes.get_ylim()
    assert low <= losses[:, :2].min() < losses[:, :2].max() <= high < 2 * losses[:, :2].max()
    assert [word.get_text() for word in axes.texts[-2:]] == ["50 ↑", "rate"]


@pytest.mark.needs_matplotlib
def test_rates_that_diverged_are_named_and_their_networks_left_out():
    experiment, results = made_up(E=(3, 4), rates=(0.01, 0.1, 50.0))
    result = results["numpy_rnn"]
    result.losses[-1, 2] = np.inf
    result.predictions[3, 0, 1] = np.nan
    result.losses[-1, 1] = 1e-3  # the best
    figure = plots.figure(experiment, results)
    axes = figure.axes[-1]
    assert list(lines(axes)) == ["0.01", "0.1"]
    assert [word.get_text() for word in axes.texts] == ["0.1", "0.01 (3 of 4)", "rate"]
    assert axes.get_title(loc="left") == "diverged at 50"
    assert_within(lines(axes)["0.01"].get_ydata(), np.median(np.delete(result.losses[:, 0], 1, axis=1), axis=1), 1e-12)
    assert "learning rate 0.1, the one of 3 with the lowest final loss" in figure.get_suptitle()


@pytest.mark.needs_matplotlib
def test_a_second_backend_whose_best_rate_diverged_is_left_out_of_the_series():
    experiment, results = made_up(E=(2,), rates=(0.01, 0.1), backends=("numpy_rnn", "torch_rnn"))
    results["numpy_rnn"].losses[-1] = 1, 2
    results["torch_rnn"].losses[-1, 0] = np.inf
    figure = plots.figure(experiment, results)
    assert list(lines(figure.axes[0])) == ["actual", "predicted, numpy_rnn", "free-running, numpy_rnn"]
    assert list(lines(figure.axes[-1])) == ["0.01, numpy_rnn", "0.1, numpy_rnn", "0.1, torch_rnn"]
