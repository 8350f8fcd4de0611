"""The result of a run: predictions, the losses that are kept, the best rate of a sweep, and all of it as a file."""

import csv
import json
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from comparing import bits
from hypothesis import given
from hypothesis import strategies as st
from in_process import configured, succeed, trained

import numpy_rnn
from numpy_rnn import Parameters
from numpy_rnn.app import report, results
from numpy_rnn.app.checkpoint import load_checkpoint, save_checkpoint
from numpy_rnn.app.configuration import Configuration
from numpy_rnn.app.divergence import Divergence
from numpy_rnn.app.experiment import prepare
from numpy_rnn.app.results import HEAD, Losses, Result, kept_epochs, max_epochs, predict, save_results
from numpy_rnn.app.run import Hooks
from numpy_rnn.common.errors import Interrupted

# -- predictions ----------------------------------------------------------------------------------------------------

# The networks here compute without rounding, so that "the same" is the same to the bit: relu, whole numbers, and a W_hh
# that hands on what it holds from unit to unit, so that the state remembers the last inputs.

MAX_PREDICTED, STEPS_PER_PASS = 1000, 100  # a tenth of what they are, so that a short series is a long one
DELAYS = (1, 2, 0, 3)  # what the output is: 1 × the input, 2 × the one before, and so on
ZERO = np.zeros((1, len(DELAYS)))


@pytest.fixture
def _short(monkeypatch):
    monkeypatch.setattr(results, "MAX_PREDICTED", MAX_PREDICTED)
    monkeypatch.setattr(results, "STEPS_PER_PASS", STEPS_PER_PASS)


def factors(E):
    """Of the outputs of the networks: 1, 2, and so on."""
    return np.arange(1.0, 1 + np.prod(E, dtype=int)).reshape(E)[..., None, None]


def network(E=(), learned=None):
    H = len(DELAYS)
    weights = np.eye(1, H), np.eye(H, k=1), np.array(DELAYS, float)[:, None], None, None, learned
    params = Parameters(*(None if theta is None else np.broadcast_to(theta, (*E, *theta.shape)) for theta in weights))
    return params._replace(W_hy=params.W_hy * factors(E))


def series(T):
    return np.random.default_rng(T).integers(0, 9, (T, 1, 1)).astype(float)


def expected(x, h_0, E=()):
    """y_t = Σ_j w_j x_{t-j}, where the inputs before the first are those that the state holds, the newest first."""
    held = np.concatenate([h_0.ravel()[::-1], x.ravel()])
    H, T = len(DELAYS), len(x)
    y = sum(w * held[H - j : H - j + T] for j, w in enumerate(DELAYS))
    return y.reshape(T, *(1,) * len(E), 1, 1) * factors(E)


def continued(x, steps):
    """Free-running from the definition: every value is the prediction after the series and all values before it."""
    values = []
    for _ in range(steps):
        fed = np.concatenate([x, np.reshape([expected(x, ZERO)[-1], *values], (-1, 1, 1))])
        values.append(expected(fed, ZERO)[-1])
    return np.reshape(values, (steps, 1, 1))


def predicted(rnn, params, x, h_0=ZERO, generate=0, held_out=0):
    of_run = predict(rnn, rnn.from_numpy(params), x, h_0, generate, "relu", held_out)
    return tuple(map(np.ascontiguousarray, of_run))


@pytest.mark.usefixtures("_short")
@pytest.mark.parametrize("T", [1, 2, 10, 100, 101, 234, 1000, 1001, 1234, 2500])
def test_predictions_in_parts_are_those_of_one_pass_and_of_a_long_series_the_last_are_kept(rnn, T):
    x = series(T)
    for E in ((), (3,), (2, 2)):
        assert bits(predicted(rnn, network(E), x)[0]) == bits(expected(x, ZERO, E)[-MAX_PREDICTED:])
    for held_out, steps in ((0, 7), (min(5, T - 1), 0), (min(90, T - 1), 1), (min(1111, T - 1), 2)):
        wanted = expected(x, ZERO)[-MAX_PREDICTED:], continued(x[: T - held_out], steps)
        assert bits(predicted(rnn, network(), x, held_out=held_out, generate=steps)) == bits(wanted)


@pytest.mark.parametrize("E", [(), (3,)], ids=str)
def test_the_state_that_a_pass_starts_from_is_the_given_or_the_learned_one(rnn, E):
    x, state = series(4), np.array([[1.0, 2.0, 3.0, 4.0]])
    for of_run in (predicted(rnn, network(E), x, state), predicted(rnn, network(E, learned=state), x)):
        assert bits(of_run[0]) == bits(expected(x, state, E)) != bits(expected(x, ZERO, E))


@pytest.mark.usefixtures("_short")
def test_a_long_series_is_passed_through_in_parts(rnn, monkeypatch):
    """No forward pass is longer than it need be, so that the activations of a long series are never all in memory."""
    spy = Mock(wraps=results._forward)
    monkeypatch.setattr(results, "_forward", spy)
    predicted(rnn, network(), series(250), held_out=70)
    assert [len(call.args[2]) for call in spy.call_args_list] == [STEPS_PER_PASS, 80, 70]


# -- losses: bounded in number, the same ones however often the run is interrupted -----------------------------------


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
def test_a_long_run_is_the_same_but_for_the_losses_that_are_kept(monkeypatch, few, networks):
    """Interrupted after any epoch too; what is printed of an epoch is always its own loss."""
    configuration = Configuration(epochs=23, k1=10, k2=10, networks=networks)
    rows: list[tuple] = []
    result = trained(numpy_rnn, configuration, hooks=Hooks(on_epoch=lambda *row: rows.append(row)))
    with monkeypatch.context() as patch:
        patch.setattr(results, "MAX_EPOCHS", 1000)
        patch.setattr(results, "MAX_LOSSES", 1000)
        unbounded = trained(numpy_rnn, configuration)
    assert bits(result.params) == bits(unbounded.params)
    assert tuple(result.epochs) == kept_epochs(23, networks or 1)
    assert bits(result.losses) == bits(unbounded.losses[result.epochs - 1])
    assert bits(tuple(rows)) == bits(tuple(enumerate(unbounded.losses, start=1)))
    for stop in range(2, 46, 11):
        signals = iter([None] * (stop - 1) + [2])
        with pytest.raises(Interrupted) as ended:
            trained(
                numpy_rnn, configuration, hooks=Hooks(yield_every=1, stop_signal=lambda signals=signals: next(signals))
            )
        save_checkpoint("r.npz", ended.value.checkpoint)
        assert bits(trained(numpy_rnn, configuration, resumed=load_checkpoint("r.npz"))) == bits(result)


# -- the rates of a sweep -------------------------------------------------------------------------------------------


def result_of(losses, diverged=()) -> Result:
    """Of a sweep over three rates, whose networks predict what their number is."""
    losses = np.array(losses, float)
    E = losses.shape[1:]
    numbers = np.arange(np.prod(E), dtype=float).reshape(E)
    predictions = np.broadcast_to(numbers[..., None, None], (4, *E, 1, 1))
    params = Parameters(*(numbers.reshape(*E, 1, 1) for _ in range(3)))
    lines = tuple(Divergence(network, 1, 1, "loss", of=numbers.size) for network in diverged)
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
    assert of_rate.predictions.shape == (4, 3, 1, 1)
    assert of_rate.params.W_hh.ravel().tolist() == of_rate.generated[0].ravel().tolist() == [3, 4, 5]
    assert of_rate.converged().tolist() == [False, True, False]
    assert [(d.network, d.of) for d in of_rate.diverged] == [(0, 3), (2, 3)]
    assert result.of_rate(0).diverged == ()
    of_one_network = result_of([[5, 1, 3]], (1,))
    assert [bool(of_one_network.of_rate(rate).converged()) for rate in range(3)] == [True, False, True]


# -- files, to the last bit -----------------------------------------------------------------------------------------


SERIES = "--data s.csv --standardize --held-out 3"
RUNS = {
    "one network": "",
    "no epochs": "--epochs 0",
    "an ensemble of one": "--seeds 1 --dtype float64",
    "rates and seeds": f"--learning-rate 0.1,0.01 --seeds 3 {SERIES}",
    "two columns": f"{SERIES} --generate 5",
    "the last predictions": SERIES,
}


def read_json(name):
    refuse = Mock(side_effect=AssertionError("no JSON"))  # NaN, Infinity
    return json.loads(Path(name).read_text(encoding="utf-8"), parse_constant=refuse)


def read_csv(name):
    with open(name, encoding="utf-8", newline="") as file:
        head, *rows = csv.reader(file)
    assert tuple(head) == HEAD
    return rows


@pytest.mark.parametrize("kind", RUNS)
def test_the_files_have_the_results_of_the_run(capsys, monkeypatch, kind):
    if kind == "the last predictions":
        monkeypatch.setattr(results, "MAX_PREDICTED", 6)
        monkeypatch.setattr(results, "STEPS_PER_PASS", 2)
    rows = np.random.default_rng(0).normal(50, 20, (12, 2))
    np.savetxt("s.csv", rows, delimiter=",", fmt="%.17g", header='spots,"per, cent"', comments="")
    options = f"--epochs 2 {RUNS[kind]}"
    for name in ("r.json", "r.csv"):
        out = succeed(numpy_rnn, capsys, *options.split(), "--output", name, "--no-plot")
        assert out.endswith(f"\nlosses and predictions saved to {name}\n")
    configuration = configured(options)
    experiment = prepare(configuration)
    result = trained(numpy_rnn, configuration, 5 if "--generate 5" in options else configuration.held_out or 20)
    printed = [report.loss_row(epoch, loss, experiment.rates) for epoch, loss in enumerate(result.losses, start=1)]
    assert "\n".join([*printed, report.series_table(experiment, result)]) in out
    assert (report.error_table(experiment, result) in out) == ("--data" in options)

    T, held_out, D = len(experiment.x), configuration.held_out, experiment.x.shape[-1]
    P, G = 6 if kind == "the last predictions" else T, len(result.generated)
    mean, deviation = experiment.scaling or (np.zeros(D), np.ones(D))
    in_units = [values[..., 0, :].astype(np.float64) * deviation + mean for values in result[2:4]]
    series = rows if "--data" in options else np.sin(np.linspace(2, 10, 21))
    found = read_json("r.json")
    by = [found[key] for key in ("format", "package", "version")]
    assert by == ["elman-results 1", "numpy_rnn", numpy_rnn.__version__]
    assert found["configuration"] == json.loads(json.dumps(configuration.to_dict()))
    assert found["columns"] == ({"s.csv": ["spots", "per, cent"]}.get(found["series"], ["feature 1"]))[-D:]
    keys = "losses", "actual", "predicted", "free_running"
    expected = result.losses, series.reshape(T + 1, -1)[T + 1 - P :], *in_units
    for key, values in zip(keys, expected, strict=True):
        assert bits(np.array(found[key], np.float64).reshape(values.shape)) == bits(values), key
    times = {"epochs": (1, len(result.losses)), "times": (T + 2 - P, P), "free_running_times": (T + 2 - held_out, G)}
    assert all(found[key] == list(range(first, first + count)) for key, (first, count) in times.items())

    in_table: dict[tuple[str, ...], float] = {}
    networks = [""] if configuration.networks is None else [str(n + 1) for n in range(configuration.networks)]
    who = [(network, str(rate)) for rate in configuration.rates() or ("",) for network in networks]
    for what, at, values in zip(("loss", "actual", "predicted", "free-running"), (0, 1, 1, 2), expected):
        of_kind = [("", "")] if what == "actual" else who
        columns = [""] if what == "loss" else found["columns"]
        for t, time in enumerate(found[list(times)[at]]):
            place = (str(time), "") if what == "loss" else ("", str(time))
            numbers = values[t].reshape(len(of_kind), len(columns))
            for n, d in np.ndindex(numbers.shape):
                in_table[what, *place, columns[d], *of_kind[n]] = numbers[n, d]
    assert {tuple(row[:-1]): float(row[-1]) for row in read_csv("r.csv")} == in_table


def test_numbers_that_are_not_finite_are_null_in_json_and_words_in_a_table():
    configuration = configured("--epochs 1 --seeds 2")
    experiment, result = prepare(configuration), trained(numpy_rnn, configuration, 1)
    result.losses[0] = np.nan, np.inf
    for name in ("r.json", "r.csv"):
        save_results(name, "numpy_rnn", experiment, configuration, result)
    assert read_json("r.json")["losses"] == [[None, None]]
    values = np.array([float(row[-1]) for row in read_csv("r.csv") if row[0] == "loss"])
    np.testing.assert_array_equal(values, [np.nan, np.inf])
