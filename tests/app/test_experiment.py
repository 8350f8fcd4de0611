"""A run from its configuration: every option reaches the arithmetic, and the result is what the functions compute."""

import json

import numpy as np
import pytest
from comparing import bits
from in_process import configured, losses, succeed, trained

import numpy_rnn
from numpy_rnn import Parameters
from numpy_rnn.app.configuration import Configuration
from numpy_rnn.app.experiment import prepare
from numpy_rnn.app.options import configuration_of, parser
from numpy_rnn.app.series import inputs_and_targets, sine
from numpy_rnn.app.storage import load_parameters, save_parameters

PRINTED = 0.5e-6  # half a unit of the last of six decimals


SERIES = np.random.default_rng(1).normal(0, 1, (9, 2))
MEAN, DEVIATION = SERIES.mean(axis=0), SERIES.std(axis=0)
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
    "data": ("--data series.npy", {"series": SERIES}, {}),
    "ensemble": ("--seeds 3 --seed 2", {"networks": 3, "seed": 2}, {}),
    "momentum": ("--momentum 0.9 --learning-rate 0.01", {}, {"momentum": 0.9, "learning_rate": 0.01}),
    "dampening": ("--momentum 0.9 --dampening 0.5", {}, {"momentum": 0.9, "dampening": 0.5}),
    "nesterov": ("--momentum 0.5 --nesterov", {}, {"momentum": 0.5, "nesterov": True}),
    "weight decay": ("--weight-decay 0.01", {}, {"weight_decay": 0.01}),
    "clipping": ("--max-norm 0.1", {}, {"max_norm": 0.1}),
    "clipping by value": ("--max-value 0.05", {}, {"max_value": 0.05}),
    "learned initial state": ("--learn-initial-state", {"learned": True}, {}),
    "rates": ("--learning-rate 0.02,0.05", {"E": (2,)}, {"learning_rate": np.array([0.02, 0.05])}),
    "rates from one network": (
        "--weights seed_3.npz --learning-rate 0.02,0",
        {"E": (2,), "seed": 3},
        {"learning_rate": np.array([0.02, 0])},
    ),
    "rates and seeds": (
        "--learning-rate 0.02,0.05 --seeds 3 --learn-initial-state",
        {"networks": 3, "E": (2, 3), "learned": True},
        {"learning_rate": np.array([[0.02], [0.05]])},
    ),
    "column": ("--data series.npy --columns 2", {"series": SERIES[:, 1:]}, {}),
    "columns": ("--data series.npy --columns 2,1", {"series": SERIES[:, ::-1]}, {}),
    "standardized": ("--data series.npy --standardize", {"series": (SERIES - MEAN) / DEVIATION}, {}),
    "held out": ("--data series.npy --held-out 3", {"series": SERIES[:-3]}, {}),
    "standardized by what is trained on": (
        "--data series.npy --standardize --held-out 4",
        {"series": (SERIES[:-4] - SERIES[:-4].mean(axis=0)) / SERIES[:-4].std(axis=0)},
        {},
    ),
}
EPOCHS = 2


def trained_directly(rnn, options, **drawn):
    """The final parameters and the losses of `rnn.train`, called as its docstring says."""
    series, learned, E = drawn.pop("series", sine()), drawn.pop("learned", False), drawn.pop("E", None)
    D = series.shape[1]
    params = rnn.to_numpy(rnn.initial_parameters(D, drawn.pop("hidden_size", 6), D, **drawn))
    *axes, H = params.W_hh.shape[:-1]
    if learned:
        params = params._replace(h_0=np.zeros((*axes, 1, H), params.W_hh.dtype))
    if E is not None:  # the same weights at every rate
        params = Parameters(*(p if p is None else np.stack([p] * E[0]) for p in params))
    params, dtype = rnn.from_numpy(params), params.W_hh.dtype
    x, target = inputs_and_targets(series, dtype)
    arrays = map(rnn.from_numpy, (x, target, None if learned else np.zeros((1, H), dtype)))
    options = {"k1": 1, "k2": 1, "learning_rate": 0.1, **options}
    updates = list(rnn.train(params, *arrays, epochs=EPOCHS, **options))
    weight = [update.window.loss_steps / len(x) if options.get("reduction") == "mean" else 1 for update in updates]
    terms = [np.float64(rnn.to_numpy(update.loss)) * w for update, w in zip(updates, weight, strict=True)]
    sums = np.array(terms).reshape(EPOCHS, -1, *terms[0].shape).sum(axis=1)
    return rnn.to_numpy(updates[-1].parameters), sums


@pytest.mark.parametrize("case", RUNS)
def test_every_option_reaches_the_run(rnn, capsys, case):
    """The parameters and the losses of the command are those of `rnn.train`."""
    np.save("series.npy", SERIES)
    save_parameters("seed_3.npz", numpy_rnn.initial_parameters(seed=3))
    options, drawn, changed = RUNS[case]
    given = f"--epochs {EPOCHS} --log-every 1 --save w.npz --no-plot {options}"
    out = succeed(rnn, capsys, *given.split())
    params, sums = trained_directly(rnn, changed, **drawn)
    assert bits(load_parameters("w.npz")) == bits(params)
    printed = losses(out)
    assert list(printed) == list(range(1, EPOCHS + 1))
    for epoch, loss in printed.items():
        expected = sums[epoch - 1]
        if "rates" in case:
            wanted = np.median(expected.reshape(2, -1), axis=1)
        else:
            wanted = np.percentile(expected, (50, 10, 90)) if expected.ndim else [expected]
        assert np.abs(np.subtract(loss, wanted)).max() <= PRINTED + 1e-9  # sums may be added up in another order
    assert (bits(params) == bits(trained_directly(rnn, {})[0])) == (case == "defaults")
    configuration = configured(options)
    assert Configuration.from_dict(json.loads(json.dumps(configuration.to_dict()))) == configuration
    if configuration.held_out == 0:  # an option of `train` only
        compared = parser("numpy_rnn").parse_args(["compare", "x", *options.split()])
        assert configuration_of(compared) == configuration


@pytest.mark.parametrize(("every", "epochs"), [(1, [1, 2, 3, 4, 5]), (2, [1, 2, 4, 5]), (7, [1, 5]), (5, [1, 5])])
def test_log_every(capsys, every, epochs):
    """The first, the last and every n-th epoch are printed, each once."""
    assert list(losses(succeed(numpy_rnn, capsys, "--epochs", 5, "--log-every", every, "--no-plot"))) == epochs


def test_the_dtype_of_weights_is_kept_unless_another_is_asked_for():
    params = prepare(Configuration(dtype="float64")).params
    save_parameters("w.npz", params)
    assert bits(prepare(Configuration(weights="w.npz")).params) == bits(params)
    changed = prepare(Configuration(weights="w.npz", dtype="float32"))
    assert bits(changed.params) == bits(Parameters(*(t if t is None else t.astype("float32") for t in params)))
    assert {str(array.dtype) for array in (changed.x, changed.target, changed.h_0)} == {"float32"}


def test_a_learned_initial_state_begins_at_zero_or_in_the_weights(capsys):
    succeed(numpy_rnn, capsys, "--epochs", 2, "--learn-initial-state", "--save", "w.npz", "--no-plot")
    learned = load_parameters("w.npz")
    assert prepare(Configuration(learn_initial_state=True)).params.h_0.tolist() == [[0] * 6]
    assert np.abs(learned.h_0).min() > 0
    for options in ([], ["--learn-initial-state"]):  # what the file holds is learned on
        assert bits(prepare(configured(" ".join(["--weights w.npz", *options]))).params) == bits(learned)
    save_parameters("v.npz", learned._replace(h_0=None))
    assert prepare(configured("--weights v.npz")).params.h_0 is None
    assert prepare(configured("--weights v.npz --learn-initial-state")).params.h_0.tolist() == [[0] * 6]


def test_what_is_held_out_is_predicted_and_free_running_begins_before_it():
    np.savetxt("long.csv", SERIES, delimiter=",")
    np.savetxt("short.csv", SERIES[:-3], delimiter=",")
    long, short = (configured(f"--epochs 3 --data {name}") for name in ("long.csv --held-out 3", "short.csv"))
    result, of_short = trained(numpy_rnn, long, 3), trained(numpy_rnn, short, 3)
    assert (len(result.predictions), len(of_short.predictions)) == (8, 5)
    assert bits(result.generated) == bits(of_short.generated)
