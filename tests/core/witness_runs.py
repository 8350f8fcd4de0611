"""A run compared with the definition of TBPTT(k1, k2) and with the witness, and one update by a backend.

`assert_right` calls nothing of the packages under test. `one_update` and `reported` do: they ask a backend.
"""

import numpy as np
from cases import network, of_network, window_of
from comparing import assert_within, bits, each
from witness import Expected, allowed, reference_update, values


def definition(T, k1, k2):
    """DERIVATION.md, section 5, with steps numbered from 1: (steps of the window, new steps) of every update."""
    e, n = {0: 0}, 0
    while e[n] < T:
        n += 1
        e[n] = min(n * k1, T)
        s_n = max(0, e[n] - k2)
        yield [t for t in range(1, T + 1) if s_n < t <= e[n]], [t for t in range(1, T + 1) if e[n - 1] < t <= e[n]]


def assert_right(rnn, case, updates, *, k1, k2, learning_rate, epochs, velocity=None, **options):
    """Fail unless these recorded updates are the run of TBPTT(k1, k2), each network by itself.

    The windows are those of the definition. The initial state of a window is the latest one computed for its step, to
    the bit. Each update is that of the witness, from the parameters, the velocity and the state that the run reports.
    A learned initial state moves in the windows that begin with the series, and in no other.
    """
    updates = [(update[:3], reported(rnn, update)) for update in updates]
    steps = list(range(1, len(case.x) + 1))
    found = [(epoch, n, steps[w.start : w.stop], steps[w.loss_start : w.stop]) for (epoch, n, w), _ in updates]
    windows = list(enumerate(definition(len(case.x), k1, k2), start=1))
    assert found == [(epoch, n, *pair) for epoch in range(1, epochs + 1) for n, pair in windows]
    E = case.params.W_hh.shape[:-2]
    for n in np.ndindex(E):
        alone, rate = network(case, n), np.broadcast_to(learning_rate, E)[n]
        before, moving, latest = alone.params, velocity and each(lambda v, n=n: v[n], velocity), {}
        for (*_, window), update in updates:
            result = of_network(update, n)
            if window.start == 0:
                latest[0] = before.h_0 if case.h_0 is None else alone.h_0
            assert bits(result.activations.h[0]) == bits(latest[window.start])
            latest |= dict(zip(range(window.start, window.stop + 1), result.activations.h, strict=True))
            of_window = window_of(alone, window, before, latest[window.start])
            right = taking_part(reference_update(of_window, rate, moving, **options), of_window)
            assert_within(taking_part(result, of_window), values(right, case.dtype), allowed(right))
            if of_window.h_0 is not None:
                state = result.parameters.h_0, result.velocity and result.velocity.h_0
                assert bits(state) == bits((before.h_0, moving and moving.h_0))
            before, moving = result.parameters, result.velocity


def assert_fewer(case, few, updates, every):
    """Fail unless these are, to the bit, the updates of a run that are due with this yield_every, and have all losses:
    each a sum of terms, which may be added in another order. Those of a squared error are not negative; those of a
    cross-entropy may cancel.
    """
    in_epoch = [every != "epoch" and update.number % every == 0 for update in updates]
    due = [n for n, u in enumerate(updates, start=1) if in_epoch[n - 1] or u.window.stop == len(case.x)]
    assert [bits((u[:3], u[4:9])) for u in few] == [bits((updates[n - 1][:3], updates[n - 1][4:9])) for n in due]
    assert all(update.losses is None for update in updates)
    assert list(np.cumsum([len(update.losses) for update in few])) == due
    assert [bits(update.loss) for update in few] == [bits(update.losses[-1]) for update in few]
    losses = [np.asarray(loss) for update in few for loss in update.losses]
    for found, update in zip(losses, updates, strict=True):
        expected = np.asarray(update.loss)
        assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
        size = expected if case.options["loss"] == "squared_error" else 1e3 * (1 + np.abs(expected))
        assert (np.abs(found - expected) <= case.target.size * 9 * np.finfo(case.dtype).eps * size).all()


def one_update(rnn, case, learning_rate, velocity=None, *, max_norm=None, max_value=None, **options) -> Expected:
    """The update by the single functions of a backend, from NumPy arrays to NumPy arrays.

    Neither the arguments nor the activations are changed.
    """
    params, x, target, h_0 = given = case.of(rnn)
    before = bits(given)
    activations = rnn.forward(params, x, h_0, nonlinearity=case.options["nonlinearity"])
    kept = bits(activations)
    form = case.form(rnn)
    of_loss = {name: value for name, value in form.items() if name in ("reduction", "weights")}
    function = {"squared_error": rnn.half_squared_error, "cross_entropy": rnn.cross_entropy}[form["loss"]]
    loss = function(activations.y[-len(target) :], target, **of_loss)
    adjoints = rnn.adjoints(params, activations, target, **form)
    gradients = rnn.bptt(params, activations, target, **form)
    assert bits(activations) == kept
    assert bits(given) == before
    clipped = gradients if max_norm is None else rnn.clip_by_global_norm(gradients, max_norm)
    clipped = clipped if max_value is None else rnn.clip_by_value(clipped, max_value)
    s, moving = rnn.direction(params, clipped, rnn.from_numpy(velocity), **options)
    return rnn.to_numpy(Expected(activations, loss, adjoints, gradients, rnn.sgd(params, s, learning_rate), moving))


def reported(rnn, update) -> Expected:
    """The same from an Update that `train` recorded."""
    parts = update.activations, update.loss, update.adjoints, update.gradients, update.parameters, update.velocity
    return rnn.to_numpy(Expected(*parts))


def taking_part(expected, case) -> Expected:
    """What was reported of one window of a run, without a learned initial state that took no part in it."""
    if case.params.h_0 is not None:
        return expected
    velocity = None if expected.velocity is None else expected.velocity._replace(h_0=None)
    return expected._replace(parameters=expected.parameters._replace(h_0=None), velocity=velocity)
