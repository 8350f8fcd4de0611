"""Overflow and NaN: located at the right update and tensor, a finite state is kept, and the message says so.

The place is compared with a witness that examines every number of every update.
"""

import importlib
import re
from pathlib import Path

import numpy as np
import pytest
from comparing import bits
from in_process import command, configured

import numpy_rnn
from numpy_rnn import Parameters
from numpy_rnn.app.checkpoint import load_checkpoint, load_parameters, save_parameters
from numpy_rnn.app.experiment import prepare
from numpy_rnn.app.run import RECORDS, REMEDIES, Trainer, begin, updates_per_yield
from numpy_rnn.common.errors import Diverged


def in_order(update, index):
    """(name, numbers) of one network of a recorded update, in the order in which they are computed."""
    _, a, h, y = (array[:, *index] for array in update.activations)
    dy, dh, da, *_ = (array[:, *index] for array in update.adjoints[:3])
    yield "h", h[0]
    for t in range(len(a)):
        yield from (("a", a[t]), ("h", h[t + 1]))
    yield from (("y", y), ("loss", update.loss[index]), ("dy", dy))
    for t in reversed(range(len(a))):
        yield from (("dh", dh[t]), ("da", da[t]))
    for prefix, tensors in (
        ("d", update.gradients),
        ("v", update.velocity or ()),
        ("", update.parameters),
    ):
        yield from (
            (prefix + n, theta[index])
            for n, theta in zip(Parameters._fields, tensors)
            if theta is not None
        )


def witness(rnn, configuration):
    """The first update of every network with a loss or a parameter that is not finite, and its first tensor:
    network → (epoch, number, tensor).
    """
    experiment, found = prepare(configuration), {}
    with np.errstate(all="ignore"):
        for recorded in begin(rnn, experiment.run(configuration.run_options()), record=True):
            update = recorded.replace(
                **{name: rnn.to_numpy(getattr(recorded, name)) for name in RECORDS}
            )
            for network, index in enumerate(np.ndindex(experiment.networks)):
                wrong = [
                    name for name, array in in_order(update, index) if not np.isfinite(array).all()
                ]
                if network not in found and {*wrong} & {"loss", *Parameters._fields}:
                    found[network] = (update.epoch, update.number, wrong[0])
            if len(found) == np.prod(experiment.networks):
                break
    return found


# Weights of one hidden unit for float32, in which 3e38 is the largest number.
WEIGHTS = {
    "gradient": {
        "W_xh": 1e21,
        "W_hh": 0,
        "W_hy": 1e-3,
    },  # y and dy are 1e18 and the loss 1e36; times h they are 1e39
    "flow": {"W_xh": 1e-3, "W_hh": 0, "W_hy": 1e21},  # the same y, which is 1e39 times W_hy
    "velocity": {
        "W_xh": 1e21,
        "W_hh": 0,
        "W_hy": 4e-5,
    },  # the gradient of W_hy is 2e38, and twice that is too large
    "state": {
        "W_xh": 1e-3,
        "W_hh": 1e10,
        "W_hy": 0.3,
        "h_0": 0,
    },  # of all gradients, that of h_0 has W_hh as a factor
    "three": {
        "W_xh": 3 * [[[1e-3]]],
        "W_hh": 3 * [[[0]]],
        "W_hy": [[[1]], [[1e21]], [[1]]],
    },  # one is the flow's
}
SINGLE = {  # the first tensor that is not finite
    "--learning-rate 0.4 --seed 2 --nonlinearity relu --k1 4": "a",
    "--learning-rate 5 --nonlinearity relu --seed 2 --dtype float64": "y",
    "--learning-rate 0.5 --nonlinearity relu --k1 4": "loss",
    "--weights flow --k1 20": "dh",
    "--weights gradient --nonlinearity relu --k1 20": "dW_hy",
    "--weights velocity --nonlinearity relu --k1 20 --momentum 0.99 --learning-rate 1e-45": "vW_hy",
    "--learning-rate 1e37 --seed 1 --weight-decay 100": "W_xh",  # while the loss is finite
    "--learning-rate 1e30 --weights state": "h_0",
}
ENSEMBLES = {
    "seeds": "--seeds 4 --nonlinearity relu --learning-rate 0.5 --k1 4",
    "weights of a file": "--weights three --k1 20",
}


def ready(options):
    """The configuration of these options, whose weights file is there if they name one."""
    configuration = configured("--epochs 12 " + options)
    if configuration.weights is not None:
        arrays = {
            name: np.atleast_2d(np.array(value, "f4"))
            for name, value in WEIGHTS[configuration.weights].items()
        }
        save_parameters(configuration.weights, Parameters(**arrays))
    return configuration


@pytest.mark.parametrize("options", SINGLE)
def test_place_of_a_divergence(options):
    configuration = ready(options)
    [found] = witness(numpy_rnn, configuration).values()
    assert found[2] == SINGLE[options]
    trainer = Trainer(numpy_rnn, prepare(configuration), configuration)
    with pytest.raises(Diverged) as ended:
        list(trainer)
    place = "epoch {}, update {}: {} is not finite".format(*found)
    assert str(ended.value).startswith(f"the run diverged: {place}; {REMEDIES}")
    checkpoint = trainer.checkpoint()
    assert (checkpoint is None) == (found[0] == 1)  # every epoch ends with a yield
    if checkpoint is not None:
        assert checkpoint.state[:2] < found[:2]
        assert all(
            np.isfinite(theta).all() for theta in checkpoint.state.parameters if theta is not None
        )
        assert len(checkpoint.losses) == found[0] - 1


@pytest.mark.parametrize(
    ("package", "name"),
    [
        *(("numpy_rnn", name) for name in ENSEMBLES),
        pytest.param("torch_rnn", "seeds", marks=pytest.mark.needs_torch),
    ],
)
def test_diverged_networks_are_named_and_the_others_continue(package, name):
    rnn, configuration = importlib.import_module(package), ready(ENSEMBLES[name])
    experiment, found = prepare(configuration), witness(rnn, configuration)
    trainer = Trainer(rnn, experiment, configuration)
    reported = [divergence for progress in trainer for divergence in progress.diverged]
    assert {d.network: (d.epoch, d.number, d.tensor) for d in reported} == found
    assert 0 < len(found) < np.prod(experiment.networks)
    with np.errstate(all="ignore"):
        *_, last = begin(rnn, experiment.run(configuration.run_options()), yield_every="epoch")
        result = trainer.result(3)
    last = rnn.to_numpy(last.parameters)
    for network, index in enumerate(np.ndindex(experiment.networks)):
        good = network not in found
        assert result.converged()[index] == good
        finished = configuration.epochs if good else found[network][0] - 1
        is_finite = np.isfinite(result.losses[(slice(None), *index)])
        assert is_finite.tolist() == [True] * finished + [False] * (configuration.epochs - finished)
        for theta, expected in zip(trainer.parameters(), last):
            if theta is not None:
                assert (
                    bits(theta[index]) == bits(expected[index]) if good else not theta[index].any()
                )
    state = trainer.checkpoint().state
    for arrays in (state.parameters, state.velocity or (), [state.h]):
        assert all(bool(array[index].any()) == (n not in found) for array in arrays if array is not None
                   for n, index in enumerate(np.ndindex(experiment.networks)) if n in found)  # fmt: skip


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("", "nothing was saved: --save FILE keeps the run"),
        ("--save r.npz", "r.npz has the run after epoch "),
        ("--weights flow --k1 20 --save r.npz", "nothing was saved\n"),
    ],
)
def test_message_says_what_to_try_and_what_was_saved(capsys, options, message):
    ready(options.partition(" --save")[0])
    ended = command(
        numpy_rnn,
        capsys,
        "--learning-rate",
        5,
        "--nonlinearity",
        "relu",
        *options.split(),
        "--no-plot",
    )
    assert ended.status == 3
    assert re.fullmatch(r"numpy_rnn: the run diverged: epoch \d+, update \d+: [^\n]+\n", ended.err)
    assert f" is not finite; {REMEDIES}; {message}" in ended.err
    if Path("r.npz").exists():
        epoch, number = load_checkpoint("r.npz").state[:2]
        assert ended.err.endswith(
            f"after epoch {epoch}, update {number}: continue with --resume r.npz\n"
        )
        assert np.isfinite(load_parameters("r.npz").W_hh).all()
    assert Path("r.npz").exists() == ("has the run" in message)


def test_predictions_that_are_not_finite(capsys):
    """Every update is finite, the last one too: it is the predictions that overflow."""
    options = "--epochs 1 --learning-rate 1e36 --k1 20 --nonlinearity relu --no-plot --save r.npz"
    ended = command(numpy_rnn, capsys, *options.split())
    assert ended.status == 3
    assert ended.err.startswith(
        f"numpy_rnn: the predictions after epoch 1 are not finite; {REMEDIES}; r.npz has"
    )
    assert load_checkpoint("r.npz").state[:2] == (1, 1)


@pytest.mark.parametrize(
    ("H", "k2", "updates"),
    [(1, 1, 256), (6, 19, 256), (100, 25, 98), (1000, 25, 1), (3000, 900, 1)],
)
def test_yield_waits_for_a_fifth_of_a_second(H, k2, updates):
    """A step takes as long as 10⁴ weights and its own; 5 · 10⁷ of them, and 256 updates at most, are made at once."""
    params = numpy_rnn.initial_parameters(2, H, 2)
    assert updates_per_yield(params, k2) == max(
        1, min(256, int(5e7 / (k2 * (1e4 + 2 * H + H * H + 2 * H))))
    )
    assert updates_per_yield(params, k2) == updates
