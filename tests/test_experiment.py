"""A run from its configuration: every option reaches the arithmetic, and the result is what the functions compute."""

import os
from pathlib import Path

import numpy as np
import pytest
from cases import assert_within, bits
from terminal import command, free_running, losses, succeed

from numpy_rnn import InputError, Parameters
from numpy_rnn.common.arguments import configuration_of, parser
from numpy_rnn.common.configuration import Configuration
from numpy_rnn.common.data import inputs_and_targets, sine
from numpy_rnn.common.experiment import prepare, run
from numpy_rnn.common.storage import load_parameters, save_parameters

PRINTED = 0.5e-6  # half a unit of the last of six decimals


@pytest.fixture(autouse=True)
def _in_a_new_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def parsed(*options):
    return configuration_of(parser("numpy_rnn").parse_args(["train", *options]))


def test_the_defaults_of_the_options_are_those_of_the_configuration():
    assert parsed() == Configuration()
    assert configuration_of(parser("torch_rnn").parse_args(["compare", "numpy_rnn"])) == Configuration()


@pytest.mark.parametrize(
    ("options", "changed"),
    [
        ("--epochs 7", {"epochs": 7}),
        ("--learning-rate 0.25", {"learning_rate": 0.25}),
        ("--hidden-size 3", {"hidden_size": 3}),
        ("--k1 2", {"k1": 2, "k2": 2}),
        ("--k2 5", {"k2": 5}),
        ("--k1 2 --k2 5", {"k1": 2, "k2": 5}),
        ("--nonlinearity relu", {"nonlinearity": "relu"}),
        ("--reduction mean", {"reduction": "mean"}),
        ("--bias", {"bias": True}),
        ("--no-bias", {"bias": False}),
        ("--dtype float64", {"dtype": "float64"}),
        ("--seed 4", {"seed": 4}),
        ("--seeds 4", {"networks": 4}),
        ("--data a.csv", {"data": "a.csv"}),
        ("--weights w.npz", {"weights": "w.npz"}),
    ],
)
def test_an_option_changes_its_own_field(options, changed):
    assert parsed(*options.split()) == Configuration(**changed)


SERIES = np.random.default_rng(1).normal(0, 1, (9, 2))
RUNS = {
    "defaults": ("", {}, {}),
    "learning rate": ("--learning-rate 0.02", {}, {"learning_rate": 0.02}),
    "hidden size": ("--hidden-size 3", {"hidden_size": 3}, {}),
    "k1": ("--k1 3", {}, {"k1": 3, "k2": 3}),
    "k2": ("--k2 4", {}, {"k2": 4}),
    "nonlinearity": ("--nonlinearity relu", {}, {"nonlinearity": "relu"}),
    "reduction": ("--reduction mean --k1 3", {}, {"reduction": "mean", "k1": 3, "k2": 3}),
    "bias": ("--bias", {"bias": True}, {}),
    "dtype": ("--dtype float64", {"dtype": "float64"}, {}),
    "seed": ("--seed 4", {"seed": 4}, {}),
    "data": ("--data series.npy", {"input_size": 2, "output_size": 2}, {}),
    "ensemble": ("--seeds 3 --seed 2", {"networks": 3, "seed": 2}, {}),
}


def trained_directly(rnn, drawn, options, epochs=4):
    """The final parameters and the losses of `rnn.train`, called as its docstring says."""
    params = rnn.initial_parameters(**drawn)
    dtype, hidden_size = drawn.get("dtype", "float32"), drawn.get("hidden_size", 6)
    x, target = inputs_and_targets(SERIES if "input_size" in drawn else sine(), dtype)
    arrays = map(rnn.from_numpy, (x, target, np.zeros((1, hidden_size), dtype)))
    options = {"k1": 1, "k2": 1, "learning_rate": 0.1, **options}
    updates = list(rnn.train(params, *arrays, epochs=epochs, **options))
    weight = [update.window.counted / len(x) if options.get("reduction") == "mean" else 1 for update in updates]
    terms = [np.float64(rnn.to_numpy(update.loss)) * w for update, w in zip(updates, weight, strict=True)]
    sums = np.array(terms).reshape(epochs, -1, *terms[0].shape).sum(axis=1)
    return rnn.to_numpy(updates[-1].parameters), sums


@pytest.mark.parametrize("case", RUNS)
def test_every_option_reaches_the_run(rnn, capsys, case):
    np.save("series.npy", SERIES)
    options, drawn, trained = RUNS[case]
    out = succeed(rnn, capsys, "--epochs", 4, "--log-every", 1, "--save", "w.npz", "--no-plot", *options.split())
    params, sums = trained_directly(rnn, drawn, trained)
    assert bits(load_parameters("w.npz")) == bits(params)
    printed = losses(out)
    assert list(printed) == [1, 2, 3, 4]
    for epoch, loss in printed.items():
        expected = sums[epoch - 1]
        wanted = np.percentile(expected, (50, 10, 90)) if expected.ndim else [expected]
        assert np.abs(np.subtract(loss, wanted)).max() <= PRINTED + 1e-9  # sums may be added up in another order
    if case != "defaults":
        assert bits(params) != bits(trained_directly(rnn, {}, {})[0])


@pytest.mark.parametrize("options", [{}, {"k1": 3, "k2": 5, "bias": True, "reduction": "mean"}])
def test_each_network_of_an_ensemble_is_the_one_its_seed_trains_alone(rnn, options):
    configuration = Configuration(epochs=5, dtype="float64", seed=5, networks=3, **options)
    together = run(rnn, prepare(configuration), configuration, generate=4)
    for n in range(3):
        alone = configuration.changed(networks=None, seed=5 + n)
        result = run(rnn, prepare(alone), alone, generate=4)
        # The same sums in another order: a few hundred roundings of 1e-16 of numbers of order one
        for member, single in (
            (together.losses[:, n], result.losses),
            (together.predictions[:, n], result.predictions),
            (together.generated[:, n], result.generated),
            *((theta[n], of) for theta, of in zip(together.params, result.params, strict=True) if of is not None),
        ):
            assert_within(member, single, 1e-13)
        assert bits(together.params.W_hh[n]) != bits(together.params.W_hh[n - 1])


def test_the_loss_under_mean_is_the_mean_over_all_points_of_the_epoch(rnn):
    # Without learning every window's loss belongs to the same weights, and 20 steps in windows of 7 leave one of 6.
    configuration = Configuration(epochs=1, learning_rate=0, dtype="float64", k1=7, k2=7, reduction="mean")
    experiment = prepare(configuration)
    result = run(rnn, experiment, configuration)
    mean = np.mean((result.predictions - experiment.target) ** 2 / 2)
    assert abs(result.losses[0] - mean) <= 1e-15
    summed = configuration.changed(reduction="sum")
    assert abs(run(rnn, experiment, summed).losses[0] - 20 * mean) <= 1e-14


def test_predictions_have_the_final_weights_and_a_zero_state(rnn):
    configuration = Configuration(epochs=3, k1=4, k2=4)
    experiment = prepare(configuration)
    result = run(rnn, experiment, configuration, generate=5)
    params, x, h_0 = map(rnn.from_numpy, (result.params, experiment.x, np.zeros((1, 6), "float32")))
    assert bits(result.predictions) == bits(rnn.to_numpy(rnn.forward(params, x, h_0).y))
    assert bits(result.predictions) != bits(rnn.to_numpy(rnn.forward(params, x, h_0 + 1).y))
    # Free-running is the network over the series that its own predictions continue. Either way 25 steps of float32.
    assert result.generated.shape == (5, 1, 1)
    continued = np.concatenate([experiment.x, result.predictions[-1:], result.generated[:-1]])
    y = rnn.to_numpy(rnn.forward(params, rnn.from_numpy(continued), h_0).y)
    assert_within(result.generated, y[20:], 25 * 2.0**-23)


@pytest.mark.parametrize("steps", [0, 1, 50])
def test_generate_is_the_number_of_free_running_steps(rnn, capsys, steps):
    out = succeed(rnn, capsys, "--epochs", 1, "--generate", steps, "--no-plot")
    assert list(free_running(out)) == list(range(22, 22 + steps))


@pytest.mark.parametrize(("every", "epochs"), [(1, [1, 2, 3, 4, 5]), (2, [1, 2, 4, 5]), (7, [1, 5])])
def test_log_every(rnn, capsys, every, epochs):
    assert list(losses(succeed(rnn, capsys, "--epochs", 5, "--log-every", every, "--no-plot"))) == epochs


def test_no_epochs(rnn, capsys):
    out = succeed(rnn, capsys, "--epochs", 0, "--save", "w.npz", "--no-plot")
    assert losses(out) == {}
    assert bits(load_parameters("w.npz")) == bits(rnn.to_numpy(rnn.initial_parameters()))


@pytest.mark.parametrize("options", ["", "--bias --dtype float64", "--seeds 2", "--hidden-size 2"])
def test_save_and_weights_go_on_where_the_run_ended(rnn, capsys, options):
    options = ["--no-plot", "--k2", 2, *options.split()]
    succeed(rnn, capsys, "--epochs", 5, "--save", "five.npz", *options)
    succeed(rnn, capsys, "--epochs", 3, "--save", "three.npz", *options)
    out = succeed(rnn, capsys, "--epochs", 2, "--weights", "three.npz", "--save", "both.npz", "--no-plot", "--k2", 2)
    assert bits(load_parameters("both.npz")) == bits(load_parameters("five.npz"))
    assert "weights from three.npz" in out.splitlines()[0]
    assert ("median loss" in out) == ("--seeds" in options)


@pytest.mark.needs_torch
@pytest.mark.parametrize("options", ["", "--bias --dtype float64 --seeds 2"])
def test_weights_pass_from_package_to_package_bit_by_bit(capsys, options):
    import numpy_rnn
    import torch_rnn

    for one, other in ((numpy_rnn, torch_rnn), (torch_rnn, numpy_rnn)):
        succeed(one, capsys, "--epochs", 2, "--save", "one.npz", "--no-plot", *options.split())
        succeed(other, capsys, "--epochs", 0, "--weights", "one.npz", "--save", "other.npz", "--no-plot")
        assert Path("one.npz").read_bytes() == Path("other.npz").read_bytes()


def test_the_dtype_of_weights_is_kept_unless_another_is_asked_for():
    params = prepare(Configuration(dtype="float64")).params
    save_parameters("w.npz", params)
    assert bits(prepare(Configuration(weights="w.npz")).params) == bits(params)
    changed = prepare(Configuration(weights="w.npz", dtype="float32"))
    assert bits(changed.params) == bits(Parameters(*(t if t is None else t.astype("float32") for t in params)))
    assert {str(array.dtype) for array in (changed.x, changed.target, changed.h_0)} == {"float32"}


def test_a_network_of_an_ensemble_that_diverges_is_left_out(rnn, capsys):
    params = rnn.to_numpy(rnn.initial_parameters(networks=3))
    params.W_hy[1] = 1e30
    save_parameters("w.npz", params)
    ended = command(rnn, capsys, "--weights", "w.npz", "--epochs", 3, "--save", "s.npz", "--no-plot")
    assert ended.status == 0
    assert ended.err == f"{rnn.__name__}: 1 of 3 networks diverged: they are left out of the medians and bands\n"
    assert all(np.isfinite(row).all() for row in losses(ended.out).values())
    assert all(np.isfinite(row).all() for row in free_running(ended.out).values())
    assert os.path.exists("s.npz")


def test_predictions_that_are_not_finite_are_a_run_that_diverged(rnn):
    configuration = Configuration(epochs=1, learning_rate=1e38, k1=20, k2=20)  # the loss comes before the update
    with pytest.raises(InputError, match="diverged: the predictions after epoch 1 are not finite"):
        run(rnn, prepare(configuration), configuration)
