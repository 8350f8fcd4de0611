"""Overflow and NaN: located at the right update and tensor, the last finite state is kept, and the message says so.

The place is compared with a witness that examines every number of every update.
"""

import math
import re
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from comparing import bits
from in_process import command, configured, losses, refused, trained

import numpy_rnn
from numpy_rnn import Parameters
from numpy_rnn.app.checkpoint import load_checkpoint, save_checkpoint
from numpy_rnn.app.configuration import Configuration
from numpy_rnn.app.divergence import NORM, Divergence, ResumePoint, begin, first_nonfinite, locate_divergence
from numpy_rnn.app.experiment import prepare
from numpy_rnn.app.run import Hooks
from numpy_rnn.app.storage import load_parameters, save_parameters
from numpy_rnn.common.errors import Diverged


def in_order(update, index, clips):
    """(name, step, numbers) of one network of a recorded update, in the order in which they are computed."""
    _, a, h, y = (array[:, *index] for array in update.activations)
    flow = {name: array if name == "dh_0" else array[:, *index] for name, array in update.adjoints._asdict().items()}
    T = len(a)
    yield "h", 0, h[0]
    for t in range(T):
        yield "a", t + 1, a[t]
        yield "h", t + 1, h[t + 1]
    yield from (("y", t + 1, y[t]) for t in range(T))
    yield "loss", None, update.loss[index]
    yield from (("dy", t + 1, flow["dy"][t]) for t in range(T))
    for t in reversed(range(T)):
        yield "dh", t + 1, flow["dh"][t]
        yield "da", t + 1, flow["da"][t]
    for prefix, tensors in (("d", update.gradients), ("v", update.velocity or ()), ("", update.parameters)):
        for name, theta in zip(Parameters._fields, tensors):
            if theta is not None:
                yield prefix + name, None, theta[index]
        if prefix == "d" and clips:
            yield NORM, None, norm(update, index)


def norm(update, index):
    """Of all gradients of one network, in their dtype. math.hypot overflows only where it must."""
    gradients = [d[index].ravel() for d in update.gradients if d is not None]
    return np.array(math.hypot(*np.concatenate(gradients).tolist())).astype(update.loss.dtype)


class Witness:
    """A recorded run without any watching: of every network, the first update with a loss, a parameter, or a norm that
    is clipped, that is not finite; the first tensor in it; and what there was before.
    """

    def __init__(self, rnn, configuration):
        experiment = prepare(configuration).trained()
        E = experiment.params.W_hh.shape[:-2]
        training = begin(rnn, experiment, configuration.train_options(), ResumePoint(experiment.params, None), True)
        before, clips = (experiment.params, None), configuration.max_norm is not None
        self.found, self.states, self.latest = {}, {}, None
        with np.errstate(all="ignore"):
            for update in map(rnn.to_numpy, training):
                for network in range(int(np.prod(E))):
                    index = np.unravel_index(network, E)
                    ordered = in_order(update, index, clips)
                    wrong = [place for *place, array in ordered if not np.isfinite(array).all()]
                    if network not in self.found and {name for name, _ in wrong} & {"loss", NORM, *Parameters._fields}:
                        self.found[network] = (update.epoch, update.number, *wrong[0])
                        self.states[network] = before
                if E == () and self.found:
                    break
                before = update.parameters, rnn.to_numpy(training.state())
                self.latest = update


# -- divergences that occur ----------------------------------------------------------------------------------------

# Weights of one hidden unit for float32, in which 3e38 is the largest number.
WEIGHTS = {
    "gradient": {"W_xh": 1e21, "W_hh": 0, "W_hy": 1e-3},  # y and dy are 1e18 and the loss 1e36; times h they are 1e39
    "flow": {"W_xh": 1e-3, "W_hh": 0, "W_hy": 1e21},  # the same y, which is 1e39 times W_hy
    "velocity": {"W_xh": 1e21, "W_hh": 0, "W_hy": 4e-5},  # the gradient of W_hy is 2e38, and twice that is too large
    "state": {"W_xh": 1e-3, "W_hh": 1e10, "W_hy": 0.3, "h_0": 0},  # of all gradients, that of h_0 has W_hh as a factor
    "norm": {"W_xh": 4 * [1e21], "W_hh": np.zeros((4, 4)), "W_hy": 4 * [[1e-5]]},  # four gradients of 2e38 each
    "squares": {"W_xh": 1e12, "W_hh": 0, "W_hy": 1e3},  # the gradients of W_hh and W_hy are of 1e30 and 1e27
    "three": {"W_xh": 3 * [[[1e-3]]], "W_hh": 3 * [[[0]]], "W_hy": [[[1]], [[1e21]], [[1]]]},  # one is the flow's
}
SINGLE = {  # the first tensor that is not finite; None where rounding decides which it is, in a chaotic run
    "the pre-activation": ("--learning-rate 0.4 --seed 2 --nonlinearity relu --k1 4", "a"),
    "the pre-activation, late": ("--learning-rate 0.2 --momentum 0.9 --nesterov --nonlinearity relu --k2 6", None),
    "the output in float64": ("--learning-rate 5 --nonlinearity relu --seed 2 --dtype float64", "y"),
    "the loss": ("--learning-rate 0.5 --nonlinearity relu --k1 4", "loss"),
    "the flow back": ("--weights flow --k1 20", "dh"),
    "the norm of the gradient": ("--weights norm --nonlinearity relu --k1 20 --max-norm 1", NORM),
    "a gradient, before its norm": ("--weights gradient --nonlinearity relu --k1 20 --max-norm 1", "dW_hy"),
    "a gradient": ("--weights gradient --nonlinearity relu --k1 20", "dW_hy"),
    "the velocity": ("--weights velocity --nonlinearity relu --k1 20 --momentum 0.99 --learning-rate 1e-45", "vW_hy"),
    "a parameter": ("--learning-rate 1e38 --k1 20", "W_xh"),
    "a parameter, while the loss is finite": ("--learning-rate 1e37 --seed 1 --weight-decay 100", "W_xh"),
    "a learned initial state": ("--learning-rate 1e30 --weights state", "h_0"),
}
ENSEMBLES = {
    "seeds": "--seeds 4 --nonlinearity relu --learning-rate 0.5 --k1 4",
    "rates": "--learning-rate 0.1,0.5,5,1e30 --nonlinearity relu --k1 2 --k2 3",
    "rates and seeds": "--learning-rate 0.1,2,5 --seeds 3 --nonlinearity relu --momentum 0.5 --learn-initial-state",
    "while the loss is finite": "--learning-rate 0.001,1e37,1e38 --seeds 2 --weight-decay 100",
    "clipped": "--learning-rate 0.1,1e30 --seeds 2 --nonlinearity relu --max-norm 1",
    "weights of a file": "--weights three --k1 20",
}


def ready(options):
    """The configuration of these options, whose weights file is there if they name one."""
    configuration = configured("--epochs 12 " + options)
    if configuration.weights is not None:
        arrays = {name: np.atleast_2d(np.array(value, "f4")) for name, value in WEIGHTS[configuration.weights].items()}
        save_parameters(configuration.weights, Parameters(**arrays))
    return configuration


def network_of(params, index):
    """The bits of the parameters of one network."""
    return [None if theta is None else bits(theta[index]) for theta in params]


@pytest.mark.parametrize("name", SINGLE)
def test_a_run_that_diverges_ends_at_the_update_with_the_tensor_and_the_state_before(name):
    options, expected = SINGLE[name]
    configuration = ready(options)
    witness = Witness(numpy_rnn, configuration)
    epoch, number, tensor, step = witness.found[0]
    _, state = witness.states[0]
    assert expected in (tensor, None)
    with pytest.raises(Diverged) as ended:
        trained(numpy_rnn, configuration)
    place = str(Divergence(0, epoch, number, tensor, step))
    assert str(ended.value).startswith(f"the run diverged: {place}; try a --learning-rate")
    checkpoint = ended.value.checkpoint
    assert (state is None) == (checkpoint is None) == ((epoch, number) == (1, 1))
    if state is not None:
        assert bits(checkpoint.state) == bits(state)
        assert (len(checkpoint.losses), checkpoint.diverged) == (epoch - 1, ())


def test_a_gradient_whose_squares_overflow_is_clipped_and_no_divergence():
    """Its norm does not overflow: the step is as long as the rate times the largest norm."""
    configuration = ready("--weights squares --nonlinearity relu --k1 20 --epochs 1 --max-norm 1 --learning-rate 8")
    params = trained(numpy_rnn, configuration).params  # after one update
    assert abs(np.hypot(params.W_hh, params.W_hy - 1000).item() - 8) <= 1e-3  # W_hy, of 1e3, is rounded to 6e-5


@pytest.mark.parametrize("name", ENSEMBLES)
def test_networks_that_diverge_are_named_and_the_others_continue(rnn, name):
    configuration = ready(ENSEMBLES[name])
    witness = Witness(rnn, configuration)
    reported, rows, saved = [], {}, []
    hooks = Hooks(on_divergence=reported.append, on_epoch=rows.__setitem__, save=saved.append)
    result = trained(rnn, configuration, hooks=hooks)
    E = result.params.W_hh.shape[:-2]
    assert {d.network: (d.epoch, d.number, d.tensor, d.step) for d in reported} == witness.found
    assert set(result.diverged) == set(reported)
    assert 0 < len(reported) < np.prod(E)
    for d in reported:
        index = np.unravel_index(d.network, E)
        rate = configuration.rates()[index[0]] if configuration.rates() else None
        seed = None if configuration.networks is None else configuration.seed + index[-1]
        assert (d.of, d.rate, d.seed) == (np.prod(E), rate, seed)

    [checkpoint] = saved
    save_checkpoint("r.npz", checkpoint)
    assert bits(load_parameters("r.npz")) == bits(result.params)
    assert load_checkpoint("r.npz").diverged == result.diverged
    for network in range(int(np.prod(E))):
        index = np.unravel_index(network, E)
        good = network not in witness.found
        assert result.converged()[index] == good
        params = witness.latest.parameters if good else witness.states[network][0]
        assert network_of(result.params, index) == network_of(params, index)
        is_finite = np.isfinite(result.losses[(slice(None), *index)])
        last = configuration.epochs if good else witness.found[network][0] - 1  # the last epoch that it finished
        assert is_finite.tolist() == [True] * last + [False] * (configuration.epochs - last)
    assert [bits(loss) for loss in rows.values()] == [bits(loss) for loss in result.losses]


def test_networks_of_which_none_is_left(capsys):
    """The file holds the last finite weights of each, from which a new run can start; this one cannot continue."""
    options = "--learning-rate 0.5,1 --seeds 2 --seed 2 --nonlinearity relu --k1 4"
    witness = Witness(numpy_rnn, ready(options))
    ended = command(numpy_rnn, capsys, *options.split(), "--save", "r.npz", "--no-plot")
    assert ended.status == 3
    in_order = sorted(witness.found, key=lambda n: (witness.found[n][:2], n))
    places = {n: witness.found[n][:2] for n in in_order}
    lines = {n: str(Divergence(n, *witness.found[n], 4, [0.5, 1][n // 2], 2 + n % 2)) for n in in_order}
    *others, last = ended.err.splitlines()
    assert others == [
        f"numpy_rnn: {lines[n]}; the other networks continue" for n in lines if places[n] < max(places.values())
    ]
    assert last == (
        f"numpy_rnn: every network diverged: {'; '.join(list(lines.values())[:3])} and 1 more; try a --learning-rate"
        " below 0.5, or gradient clipping with --max-norm 1; saved the last finite weights to r.npz: start a new run"
        " from them with --weights r.npz"
    )
    params = load_parameters("r.npz")
    for n, (before, _) in witness.states.items():
        assert network_of(params, divmod(n, 2)) == network_of(before, divmod(n, 2))
    assert refused(numpy_rnn, capsys, "--resume", "r.npz", "--no-plot").startswith(
        "run file r.npz: all 4 networks have diverged: expected one that has not; start a new run with"
    )


def test_a_rate_whose_networks_all_diverged_is_a_column_without_numbers(capsys):
    options = "--learning-rate 0.1,5 --seeds 2 --nonlinearity relu --epochs 4 --log-every 1 --no-plot"
    ended = command(numpy_rnn, capsys, *options.split())
    diverged = "numpy_rnn: 2 of 4 networks diverged and are left out of the medians and bands"
    assert (ended.status, ended.err.splitlines()[-1]) == (0, diverged)
    assert np.isfinite([row[0] for row in losses(ended.out).values()]).all()
    assert np.isnan(losses(ended.out)[4][1])
    assert "   of learning rate 0.1\n" in ended.out


# -- the message ----------------------------------------------------------------------------------------------------


def test_the_line_names_the_place_and_of_several_networks_also_number_rate_and_seed():
    for divergence, line in (
        (Divergence(0, 3, 7, "loss"), "epoch 3, update 7: loss is not finite"),
        (Divergence(0, 3, 7, "a", 2), "epoch 3, update 7: a at step 2 of the window is not finite"),
        (Divergence(2, 3, 7, "a", 2, 4), "network 3 of 4, epoch 3, update 7: a at step 2 of the window is not finite"),
        (Divergence(2, 3, 7, "loss", of=4, rate=0.5), "network 3 of 4 (learning rate 0.5), epoch 3, update 7: loss is"),
        (Divergence(2, 3, 7, "loss", of=4, rate=1.0, seed=0), "network 3 of 4 (learning rate 1, seed 0), epoch 3, up"),
    ):
        assert str(divergence).startswith(line)


TRY = "try a --learning-rate below 5"
CLIP = ", or gradient clipping with --max-norm 1"
FULL = "; the last finite weights could not be saved: r.npz cannot be written: No space left on device; choose another"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("", f"{TRY}{CLIP}; nothing was saved: --save FILE keeps the last finite weights"),
        ("--max-norm 1e30", f"{TRY}; nothing was saved: --save FILE keeps the last finite weights"),
        ("--data s.csv", f"{TRY}{CLIP}, or --standardize; nothing was saved"),
        ("--data s.csv --standardize", f"{TRY}{CLIP}; nothing was saved"),
        ("--save r.npz", f"{TRY}{CLIP}; saved the last finite weights to r.npz, after epoch "),
        ("--weights flow --k1 20 --save r.npz", f"{TRY}{CLIP}; nothing was saved: there was no update\n"),
        ("--save r.npz --log-every 99", FULL),
    ],
)
def test_the_message_says_what_to_try_and_what_was_saved(capsys, monkeypatch, options, message):
    np.savetxt("s.csv", np.sin(np.arange(30)))
    ready(options.partition(" --save")[0])
    if message == FULL:
        monkeypatch.setattr("os.replace", Mock(side_effect=OSError(28, "No space left on device")))
    ended = command(numpy_rnn, capsys, "--learning-rate", 5, "--nonlinearity", "relu", *options.split(), "--no-plot")
    assert ended.status == 3
    assert re.fullmatch(r"numpy_rnn: the run diverged: epoch \d+, update \d+: [^\n]+\n", ended.err)
    assert message in ended.err
    assert Path("r.npz").exists() == ("saved the last" in message)
    if Path("r.npz").exists():
        epoch, number = load_checkpoint("r.npz").state[:2]
        assert ended.err.endswith(f"after epoch {epoch}, update {number}: continue with --resume r.npz\n")


def test_predictions_that_are_not_finite_leave_the_weights(capsys):
    """Every update is finite, the last one too: it is the predictions that overflow."""
    options = "--epochs 1 --learning-rate 1e36 --k1 20 --nonlinearity relu --no-plot --save r.npz"
    ended = command(numpy_rnn, capsys, *options.split())
    assert (ended.status, ended.err) == (
        3,
        "numpy_rnn: the predictions after epoch 1 are not finite, as the weights are too large; try a smaller"
        " --learning-rate, gradient clipping with --max-norm 1, or --weight-decay; saved the last finite weights to"
        " r.npz, after epoch 1, update 1: continue with --resume r.npz\n",
    )
    assert load_checkpoint("r.npz").state[:2] == (1, 1)


def test_the_first_tensor_that_is_not_finite_is_found_whichever_it_is():
    """Planted in a recorded update of four steps; of tensors by step in two of them."""
    configuration = Configuration(epochs=1, k1=2, k2=4, momentum=0.5, learn_initial_state=True, bias=True)
    experiment = prepare(configuration)
    start = ResumePoint(experiment.params, None)
    _, update, *_ = begin(numpy_rnn, experiment, configuration.train_options(), start, record=True)
    assert first_nonfinite(update) is None
    assert first_nonfinite(update._replace(loss=np.float32("inf"))) == ("loss", None)
    first = {"a": 2, "h": 1, "y": 2, "dy": 2, "dh": 3, "da": 3}  # backwards from the last step on; h begins with step 0
    prefixes = {"activations": "", "adjoints": "", "gradients": "d", "velocity": "v", "parameters": ""}
    for part, prefix in prefixes.items():
        tensors, by_step = getattr(update, part), part in ("activations", "adjoints")
        for name in first.keys() & tensors._fields if by_step else tensors._fields:
            planted = np.array(getattr(tensors, name))
            planted[np.s_[1:3, 0, 0] if by_step else np.s_[..., -1]] = np.nan if by_step else -np.inf
            found = first_nonfinite(update._replace(**{part: tensors._replace(**{name: planted})}))
            assert found == (prefix + name, first[name] if by_step else None)


def test_a_located_divergence_keeps_the_parameters_of_its_own_network_alone():
    """A view would keep those of all networks in memory."""
    configuration = ready(ENSEMBLES["rates"])
    experiment, options = prepare(configuration), configuration.train_options()
    start, diverged = ResumePoint(experiment.params, None), np.array([False, False, False, True])
    [(divergence, params)] = locate_divergence(numpy_rnn, experiment, options, start, diverged, (12, 10))
    assert divergence.network == 3
    assert all(theta is None or theta.base is None for theta in params)
