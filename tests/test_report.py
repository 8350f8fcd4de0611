"""What a run prints: the lines themselves, from numbers that are made up."""

import numpy as np
import pytest
from terminal import actual_and_predicted, free_running, losses

import numpy_rnn
from numpy_rnn import Parameters
from numpy_rnn.common import report
from numpy_rnn.common.configuration import Configuration
from numpy_rnn.common.experiment import Experiment, Result


def made_up(T=4, D=1, E=(), G=2, scale=1.0):
    generator = np.random.default_rng(0)
    x, target = scale * generator.normal(size=(2, T, 1, D))
    params = numpy_rnn.initial_parameters(D, 6, D, networks=E[0] if E else None)
    y, following = (scale * generator.normal(size=(n, *E, 1, D)) for n in (T, G))
    return Experiment("made up", x, target, np.zeros((1, 6)), params), Result(np.ones((3, *E)), params, y, following)


@pytest.mark.parametrize(
    ("configuration", "options", "ending"),
    [
        (Configuration(), {}, "tanh, no biases, sum, k1=1 k2=1, learning rate 0.1, float32, seed 0"),
        (
            Configuration(k1=2, k2=3, nonlinearity="relu", reduction="mean", learning_rate=1e-3, seed=7),
            {"bias": True, "dtype": "float64"},
            "relu, biases, mean, k1=2 k2=3, learning rate 0.001, float64, seed 7",
        ),
        (Configuration(seed=7, networks=3), {"networks": 3}, "float32, seeds 7 to 9"),
        (Configuration(weights="w.npz"), {}, "float32, weights from w.npz"),
    ],
)
def test_the_heading_says_what_is_run(configuration, options, ending):
    experiment = made_up()[0]._replace(params=numpy_rnn.initial_parameters(1, 5, 1, **options))
    heading = report.heading(["numpy_rnn", "torch_rnn"], experiment, configuration)
    assert heading.startswith("numpy_rnn and torch_rnn: made up, T=4 B=1 D=1 H=5 O=1, ")
    assert heading.endswith(ending)


@pytest.mark.parametrize(
    ("every", "epochs", "logged"), [(10, 25, [1, 10, 20, 25]), (1, 3, [1, 2, 3]), (10, 1, [1]), (5, 10, [1, 5, 10])]
)
def test_the_first_the_last_and_every_nth_epoch_are_printed(every, epochs, logged):
    assert [epoch for epoch in range(1, epochs + 1) if report.is_logged(epoch, every, epochs)] == logged


def test_loss_rows():
    assert report.loss_heading(()) == "epoch          loss"
    assert report.loss_row(300, np.array(0.1737856)) == "  300      0.173786"
    assert report.loss_heading((2, 3)) == "epoch   median loss           10 %           90 %   of 6 networks"
    row = report.loss_row(20, np.arange(1.0, 12.0))  # of 1 to 11, the 10th percentile is 2
    assert row == "   20      6.000000       2.000000      10.000000"
    assert report.loss_row(20, np.array([np.nan, 6.0, np.inf])) == "   20      6.000000       6.000000       6.000000"


def test_heads_stand_over_their_columns():
    for E, loss in (((), np.array(1.0)), ((3,), np.ones(3))):
        heading, row = report.loss_heading(E).split("   of ")[0], report.loss_row(1, loss)
        assert len(heading) == len(row)
    experiment, result = made_up(D=2)
    assert len({len(line) for line in report.series_table(experiment, result).splitlines()}) == 1
    table = report.comparison_table({"numpy_rnn": result, "torch_rnn": result}, 1).splitlines()[:-1]
    assert len({len(line) for line in table}) == 1


@pytest.mark.parametrize("scale", [1.0, 1e-6, 1e9])
def test_numbers_of_every_scale_keep_digits(scale):
    experiment, result = made_up(scale=scale)
    table = report.series_table(experiment, result)
    for time, (actual, predicted) in actual_and_predicted(table).items():
        assert abs(actual - experiment.target[time - 2, 0, 0]) <= 1e-5 * scale
        assert abs(predicted - result.predictions[time - 2, 0, 0]) <= 1e-5 * scale
    for time, [value] in free_running(table).items():
        assert abs(value - result.generated[time - 6, 0, 0]) <= 1e-5 * scale
    assert abs(float(report.loss_row(1, np.array(scale / 3)).split()[1]) - scale / 3) <= 1e-5 * scale


def test_the_series_table_of_several_features():
    experiment, result = made_up(D=5)
    table = report.series_table(experiment, result)
    assert table.splitlines()[0].split()[:5] == ["time", "actual", "1", "predicted", "1"]
    rows = actual_and_predicted(table)
    assert list(rows) == [2, 3, 4, 5]
    for time, row in rows.items():  # of five features, the first three
        pairs = np.stack([experiment.target, result.predictions], axis=-1)[time - 2, 0, :3].ravel()
        assert np.abs(row - pairs).max() <= 0.5e-6
    for time, row in free_running(table).items():
        assert np.abs(row - result.generated[time - 6, 0, :3]).max() <= 0.5e-6


def test_the_series_table_of_an_ensemble_has_medians_of_the_networks_that_are_left():
    experiment, result = made_up(E=(4,))
    result.predictions[2, 1] = np.inf
    assert report.divergence(result) == "1 of 4 networks diverged: they are left out of the medians and bands"
    table = report.series_table(experiment, result)
    assert "median predicted" in table.splitlines()[0]
    kept = np.delete(result.predictions, 1, axis=1)[..., 0, 0]
    for time, (_, predicted) in actual_and_predicted(table).items():
        assert abs(predicted - np.median(kept[time - 2])) <= 0.5e-6
    following = np.delete(result.generated, 1, axis=1)[..., 0, 0]
    for time, [value] in free_running(table).items():
        assert abs(value - np.median(following[time - 6])) <= 0.5e-6


def test_nothing_is_said_when_no_network_diverged():
    assert report.divergence(made_up()[1]) is None
    assert report.divergence(made_up(E=(3,))[1]) is None


def test_the_series_table_of_a_long_series_has_its_end():
    experiment, result = made_up(T=100, G=0)
    table = report.series_table(experiment, result)
    assert table.splitlines()[1] == "   ...  (60 earlier times)"
    assert list(actual_and_predicted(table)) == list(range(62, 102))


def compared(a, b):
    params = Parameters(*numpy_rnn.initial_parameters())
    results = {name: Result(np.array(v), params, np.zeros(0), np.zeros(0)) for name, v in (("one", a), ("other", b))}
    return report.comparison_table(results, 1)


def test_the_comparison():
    table = compared([3.0, 2.0, 1.0], [3.0, 2.5, 1.25])
    assert losses(table.split("\nlargest")[0]) == {1: [3, 3, 0], 2: [2, 2.5, 0.5], 3: [1, 1.25, 0.25]}
    assert table.endswith("\nlargest difference 5.0e-01, in epoch 2, where the loss is 2")


def test_the_comparison_of_ensembles():
    table = compared([[3, 1, 2], [6, 4, 5.0]], [[3, 1, 2.5], [6, 4.75, 5]])
    assert losses(table.split("\nlargest")[0]) == {1: [2, 2.5, 0.5], 2: [5, 5, 0.75]}
    assert table.endswith("\nlargest difference 7.5e-01, in epoch 2, where the loss of network 2 is 4")


def test_the_comparison_of_networks_that_diverged():
    nan, inf = np.nan, np.inf
    table = compared([[3, 1.0], [nan, 1]], [[3, 1.5], [inf, 1]])  # both diverged: no difference
    assert table.endswith("\nlargest difference 5.0e-01, in epoch 1, where the loss of network 2 is 1")
    table = compared([[3, 1.0], [4, 1]], [[3, 1.5], [inf, 1]])  # one of them only
    assert table.endswith("\nlargest difference inf, in epoch 2, where the loss of network 1 is 4")


def test_the_comparison_of_no_epochs():
    assert len(compared([], []).splitlines()) == 1
