"""Adagrad, against min-char-rnn's own two lines, over runs of many updates.

witness.py has it too, so that ensembles, streams and resumed runs are tested with it like with momentum.
"""

import numpy as np
import pytest

from numpy_rnn import InputError
from numpy_rnn.common.records import Gradients, Parameters

D, H, O, B, T = 5, 4, 3, 2, 11
OPTIONS = {"k1": 2, "k2": 5, "learning_rate": 0.1, "epochs": 3, "loss": "cross_entropy", "adagrad": True}
STEPS: tuple[dict, ...] = ({}, {"max_value": 0.02}, {"max_norm": 0.1, "weight_decay": 0.05})


def problem(dtype, learned=True):
    """Parameters, inputs, targets and initial state; one of the classes never comes."""
    generator = np.random.default_rng(0)
    drawn = (generator.normal(0, 0.5, shape) for shape in ((D, H), (H, H), (H, O), (H,), (O,)))
    h_0 = np.tanh(generator.normal(size=(B, H))).astype(dtype)
    params = Parameters(*(theta.astype(dtype) for theta in drawn))
    params = params._replace(h_0=h_0 if learned else None)
    x, target = generator.integers(0, D - 1, (T, B)), generator.integers(0, O, (T, B))
    return params, x, target, None if learned else h_0


def run_of(rnn, start, resume=None, **options):
    return rnn.train(*map(rnn.from_numpy, start), **(OPTIONS | options), resume=resume)


def clipped(gradients, max_norm=None, max_value=None, weight_decay=0.0):
    """What enters the sum of squares, in float64."""
    numbers = [None if g is None else np.asarray(g, np.float64) for g in gradients]
    if max_value is not None:
        return [None if g is None else g.clip(-max_value, max_value) for g in numbers]
    if max_norm is not None:
        norm = np.sqrt(sum((g * g).sum() for g in numbers if g is not None))
        return [None if g is None else g * min(1, max_norm / (norm + 1e-6)) for g in numbers]
    return numbers


@pytest.mark.with_reference
@pytest.mark.parametrize("of_step", STEPS, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_update_is_that_of_min_char_rnn(rnn, dtype, of_step):
    """mem += dparam * dparam; param += -learning_rate * dparam / np.sqrt(mem + 1e-8), by float64, from the numbers
    before the update."""
    start = problem(dtype)
    params, run = start[0], run_of(rnn, start, **of_step)
    mem = Gradients(*(np.zeros_like(theta) for theta in params))
    few = 32 * np.finfo(dtype).eps
    for update in map(rnn.to_numpy, run):
        for param, dparam, m, new, v in zip(
            params, clipped(update.gradients, **of_step), mem, update.parameters, update.velocity
        ):
            if dparam is None:  # a learned initial state, in a window that does not start from it
                assert np.array_equal(param, new)
                assert v is None or np.array_equal(m, v)
                continue
            param, m = param.astype(np.float64), m.astype(np.float64)
            dparam = dparam + of_step.get("weight_decay", 0) * param
            m += dparam * dparam
            step = -0.1 * dparam / np.sqrt(m + 1e-8)
            assert v.dtype == new.dtype == dtype
            # The gradients are exact here; d has a few roundings, the larger ones of its terms under weight decay.
            size = abs(dparam) + of_step.get("weight_decay", 0) * abs(param)
            assert (abs(v - m) <= few * (m + size * size) + 1e-40).all()
            assert (abs(new - (param + step)) <= few * (abs(param) + 0.1 * size / np.sqrt(m + 1e-8))).all()
        params, mem = update.parameters, Gradients(*(m if v is None else v for m, v in zip(mem, update.velocity)))
    assert (mem.W_xh[-1] == 0).all() != bool(of_step.get("weight_decay"))  # of the character that never comes


@pytest.mark.with_reference
def test_the_first_step_is_as_long_as_the_rate(rnn):
    """(U9) for large gradients, by `direction`; a gradient of 1e-4 gives a step of η/√2."""
    params = rnn.initial_parameters(D, H, O, dtype="float64")
    gradients = rnn.from_numpy(Gradients(*(None if t is None else np.full(t.shape, -1e6) for t in params)))
    s, v = map(rnn.to_numpy, rnn.direction(params, gradients, adagrad=True))
    assert all(np.allclose(d, -1, rtol=1e-12) for d in s[:3])
    assert all((square == 1e12).all() for square in v[:3])
    small = rnn.from_numpy(Gradients(*(None if t is None else np.full(t.shape, 1e-4) for t in params)))
    s, _ = map(rnn.to_numpy, rnn.direction(params, small, adagrad=True))
    assert all(np.allclose(d, 0.5**0.5, rtol=1e-12) for d in s[:3])


REFUSED = {
    "momentum": ({"momentum": 0.9}, "adagrad is given with momentum 0.9, dampening 0 and nesterov False"),
    "dampening": ({"dampening": 0.5}, "adagrad is given with momentum 0, dampening 0.5"),
    "no flag": ({"adagrad": 1}, "adagrad is 1"),
}


@pytest.mark.with_reference
@pytest.mark.parametrize(("options", "message"), REFUSED.values(), ids=REFUSED)
def test_what_does_not_go_with_adagrad(rnn, options, message):
    with pytest.raises(InputError, match=message):
        run_of(rnn, problem("float32"), **options)


@pytest.mark.with_reference
def test_momentum_is_not_continued_by_adagrad(rnn):
    """Its velocity has numbers below 0, whose root is NaN; a stream refuses it too."""
    start = problem("float32", learned=False)
    run = run_of(rnn, start, adagrad=False, momentum=0.9)
    next(run)
    with pytest.raises(InputError, match="expected the sums of squares of Adagrad"):
        run_of(rnn, start, resume=run.state())
    state = run.state()
    options = {name: OPTIONS[name] for name in ("k1", "k2", "learning_rate", "adagrad")}
    with pytest.raises(InputError, match="expected the sums of squares of Adagrad"):
        rnn.train_stream(state.parameters, iter(()), state.h, **options, velocity=state.velocity)
