"""The character model against min-char-rnn: from the same weights, on the same characters, over 420 updates.

The text is the beginning of chapter I of "Alice's Adventures in Wonderland" by Lewis Carroll, 1865, which is in the
public domain.
"""

from pathlib import Path

import numpy as np
import pytest
from comparing import each

import numpy_rnn
from benchmarks.rows import min_char_rnn
from numpy_rnn.app.configuration import TEXT, Configuration
from numpy_rnn.app.experiment import prepare
from numpy_rnn.app.run import Hooks, Run
from numpy_rnn.common.records import Parameters
from numpy_rnn.conformance.bounds.local_bounds import TAU, ratios, stages
from numpy_rnn.conformance.case import Case
from numpy_rnn.conformance.traces.drive import ALARM, FLOOR

ALICE = str(Path(__file__).parent.parent / "alice.txt")
UPDATES = 420  # of an epoch 105 are made
NETWORKS = 2  # references whose initial weights differ by an ulp


def language_model(**changes):
    configuration = Configuration(**(TEXT | {"text": ALICE, "dtype": "float64", "epochs": 4} | changes))
    return prepare(configuration), configuration


def weights_of(experiment):
    """Those of the experiment, as min-char-rnn has them: columns, and biases of shape (n, 1)."""
    return [np.array(w.T if w.ndim == 2 else w[:, None]) for w in experiment.params if w is not None]


def updates_of(experiment, count=UPDATES):
    """The first updates of min-char-rnn; it leaves out a chunk at the end, unless two characters follow it."""
    data = [*experiment.x[:, 0].tolist(), int(experiment.target[-1, 0]), 0]
    return min_char_rnn.train(data, weights_of(experiment), count)


def of_rows(columns):
    """Weights or gradients of min-char-rnn under the names of this project."""
    return Parameters(*(np.array(w[:, 0] if w.shape[1] == 1 else w.T) for w in columns))


def test_every_update_of_min_char_rnn_is_within_the_bounds_of_the_definition():
    """Level L1 of the equivalence suite: each stage of each update, from the numbers that the program had before it.

    This is with its 100 units, where training is chaotic at first, and no two programs have the same loss curve.
    """
    experiment, configuration = language_model()
    params, velocity, count = experiment.params, None, 60
    for number, update in enumerate(updates_of(experiment, count), start=1):
        loss, _, p, before, gradients, on_the_way, mem, weights = update
        steps = range(configuration.k1)
        report = {name: np.stack([v[t].T for t in steps]) for name, v in on_the_way.items()}
        chunk = slice(p, p + configuration.k1)
        arrays = params, experiment.x[chunk], experiment.target[chunk], before.T.copy()
        case = Case(*arrays, 0.1, sgd=configuration.sgd_options(), velocity=velocity, loss="cross_entropy")
        h_before = np.concatenate([before.T[None], report["h"][:-1]])
        report["a"] = params.W_xh[experiment.x[chunk]] + h_before @ params.W_hh + params.b_h  # which it does not keep
        params, velocity = of_rows(weights), of_rows(mem)
        report["loss"] = np.array(loss)
        for prefix, arrays in (("d", of_rows(gradients)), ("v", velocity), ("", params)):
            report |= {prefix + name: array for name, array in arrays._asdict().items() if array is not None}
        for name, (expected, allowed) in stages(case.in_rows(), report, TAU).items():
            assert (ratios(report[name] - expected, allowed) <= 1).all(), (number, name)
    assert number == count


@pytest.fixture(scope="module")
def curves():
    """The losses of min-char-rnn, the smoothed ones, and what rounding explains.

    As in `compare`, it is ALARM times the spread, so far, of runs whose initial weights differ by an ulp. With the 100
    units of the program an ulp becomes a difference of 1 within 50 updates; with 20 training is not chaotic.
    """
    experiment, configuration = language_model(hidden_size=20)
    theirs = np.array([(loss, smoothed) for loss, smoothed, *_ in updates_of(experiment)])
    generator = np.random.default_rng(0)

    def moved(theta):
        return np.nextafter(theta, generator.choice([-np.inf, np.inf], theta.shape))

    def losses_from(params):
        start = params, experiment.x, experiment.target, experiment.h_0
        epochs = numpy_rnn.train(*start, **configuration.train_options(), yield_every="epoch")
        return np.concatenate([update.losses for update in epochs])

    losses = losses_from(experiment.params)
    spread = np.max([abs(losses_from(each(moved, experiment.params)) - losses) for _ in range(NETWORKS)], axis=0)
    floor = FLOOR * np.finfo(np.float64).eps / 2 * losses
    return theirs, ALARM * np.maximum.accumulate(np.maximum(spread, floor))


@pytest.mark.with_reference
def test_the_loss_curve_is_that_of_min_char_rnn(rnn, curves):
    theirs, allowed = curves
    assert allowed.max() < 1e-9  # a fault is not hidden in chaos
    experiment, configuration = language_model(hidden_size=20)
    smoothed = []
    hooks = Hooks(on_smoothed=lambda state, values: smoothed.extend(values.tolist()))
    run = Run(rnn, experiment, configuration, hooks)
    run.train()
    losses = np.array(smoothed)
    assert len(losses) == UPDATES
    before = np.concatenate([[25 * np.log(len(experiment.alphabet))], losses[:-1]])
    assert (np.abs(losses - theirs[:, 1]) <= allowed).all()
    ours = (losses - 0.999 * before) / 0.001  # of the loss itself, with two roundings per update of the smoothed one
    assert (np.abs(ours - theirs[:, 0]) <= allowed + 4000 * np.finfo(np.float64).eps * before).all()
    assert theirs[-50:, 0].mean() < theirs[0, 0] - 20  # it has learned something
