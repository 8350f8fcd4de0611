"""The run that is studied, learning curves, and which components wrong truncations count, at which weights.

Networks of relu with small whole numbers (and a learning rate that is a power of two) are computed in float64 without
any rounding; so what two programs make of them must be equal to the last bit, and no tolerance is needed.
"""

from contextlib import nullcontext
from itertools import combinations_with_replacement

import numpy as np
import pytest
from study_runs import row, small, whole_series

import numpy_rnn
from numpy_rnn import Parameters
from numpy_rnn.common.errors import Diverged
from numpy_rnn.common.records import Objective, Run, RunOptions, Schedule, Step
from numpy_rnn.study.checks.complex_step import step_losses, unrolled
from numpy_rnn.study.components.matrix import mask
from numpy_rnn.study.findings import FinalLosses, band
from numpy_rnn.study.subject import DIVERGED_FACTOR, Snapshot, Subject, changed, check_losses, snapshot_epochs
from numpy_rnn.study.suite_parts import plain_rnn, updates
from numpy_rnn.study.training import outcomes
from numpy_rnn.study.training.disagreements import VARIANTS, added_up, divisors, variants, weights
from numpy_rnn.study.training.programs import program

# -- the run that is studied ------------------------------------------------------------------------------------------


def test_the_snapshots_are_the_parameters_of_the_run():
    rounds = {0: [0], 1: [0, 1], 7: [0, 1, 2, 5, 7], 300: [0, 1, 2, 5, 10, 20, 50, 100, 200, 300]}
    assert {epochs: snapshot_epochs(epochs) for epochs in rounds} == rounds
    of = small(epochs=7, hidden_size=3, k1=2, k2=3, momentum=0.5)
    assert [snapshot.epoch for snapshot in of.snapshots] == [0, 1, 2, 5, 7]
    params, x, target, h_0, *_ = of.run
    assert params.W_hh.dtype == np.float32
    run = numpy_rnn.train(params, x, target, h_0, k1=2, k2=3, momentum=0.5, learning_rate=0.1, epochs=7)
    last = {0: params} | {update.epoch: update.parameters for update in run}
    for epoch, params in of.snapshots:
        assert all(np.array_equal(*pair) for pair in zip(params[:3], last[epoch][:3]))
        assert params.W_hh.dtype == of.x.dtype == np.float64


def test_a_loss_of_a_thousand_times_the_untrained_has_diverged():
    """With targets of zero the loss is a square of the output weights."""
    of = small(epochs=3, hidden_size=3, dtype="float64")
    for factor, diverges in ((999.0, False), (1001.0, True)):
        grown = of.start._replace(W_hy=of.start.W_hy * np.sqrt(factor))
        snapshots = (Snapshot(0, of.start), Snapshot(1, grown))
        with pytest.raises(Diverged, match="by epoch 1") if diverges else nullcontext():
            check_losses(Subject(**vars(of) | {"snapshots": snapshots, "target": 0 * of.target}))


# -- learning curves --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "rate", "finite"), [({"nonlinearity": "relu"}, 50.0, False), ({"k1": 50, "k2": 50}, 1e4, True)]
)
def test_what_has_diverged_is_infinite(options, rate, finite):
    """Also where the loss is finite, and only far above that of the untrained network."""
    of = small(None, 3, epochs=1, **options)
    params, wild = outcomes.draw_networks(of, 8), changed(of.options, learning_rate=rate)
    result = outcomes.last_of(of.train(params, wild), params, of, wild)
    before, after = outcomes.losses_of_a_pass([params, result.parameters], of, of.nonlinearity)
    assert np.array_equal(result.untrained, before)
    assert np.array_equal(result.final, np.where(after <= DIVERGED_FACTOR * before, after, np.inf))
    assert np.isfinite(after).all() == finite
    assert np.isinf(result.final).any()


def test_quantiles_know_infinity_and_a_middle():
    for values, expected in (
        ([*range(1, 9), np.inf, np.inf], [1, 5.5, np.inf]),
        ([2, np.nan, 1, 5], [1, 2, 5]),
        ([1, np.inf], [1, np.inf, np.inf]),
        ([3], [3, 3, 3]),
    ):
        of = band(np.array(values, float))
        assert [of.low, of.median, of.high] == expected


def test_networks_are_those_that_the_seeds_draw():
    of = small(seed=7)
    members = outcomes.draw_networks(of, 2)
    for n in (0, 1):
        alone = numpy_rnn.initial_parameters(1, 6, 1, dtype="float32", seed=7 + n)
        assert all(np.array_equal(theta[n], right) for theta, right in zip(members[:3], alone[:3]))
    assert not outcomes.draw_networks(of, 2, bias=True).b_h.any()
    assert outcomes.draw_networks(of, 2, dtype="float64").W_hh.dtype == np.float64


def test_final_losses_are_those_of_tbptt_of_these_lengths():
    of = small(4, 2, epochs=2)
    result = outcomes.by_length(of)
    assert list(result.chunks) == list(result.sliding) == outcomes.lengths(4) == [1, 2, 3, 4]
    for kind in ("chunks", "sliding"):
        runs = getattr(result, kind)
        for k, final in runs.items():
            options = changed(of.options, k1=k if kind == "chunks" else 1, k2=k)
            params = outcomes.draw_networks(of, 2)
            assert np.array_equal(final, outcomes.last_of(of.train(params, options), params, of, options).final)
        assert result.best(kind) == min((float(np.median(final)), k) for k, final in runs.items())[::-1]
    assert result.diverged == []
    every, one = np.full(2, np.inf), np.array([1.0, np.inf])
    wild = FinalLosses({1: every, 2: every}, {1: every, 2: one})
    assert [(of.kind, of.k, of.networks) for of in wild.diverged] == [
        ("chunks", 1, 2), ("chunks", 2, 2), ("a sliding window", 2, 1)
    ]  # fmt: skip
    assert wild.best("chunks") is None


# -- wrong truncations ------------------------------------------------------------------------------------------------

STEPS = 6
DELTA = 2.0**-200  # of a complex step: a power of two, so that multiplying by it rounds nothing


def options_of(k1, k2, reduction="sum"):
    return RunOptions(Schedule(k1, k2), Objective("relu", reduction=reduction), Step(0.0))


def one_epoch(of, params, x, target, h_0, k1, k2, learning_rate=0.0):
    """The updates of a program, or of numpy_rnn itself."""
    options = RunOptions(Schedule(k1, k2), Objective("relu"), Step(learning_rate))
    if of is numpy_rnn:
        return list(numpy_rnn.train(params, x, target, h_0, record=True, **options.keywords()))
    return list(updates(of, Run(params, x, target, h_0, None, options)))


def derivatives(copies, x, target, h_0, moved):
    """∂ℓ_t by a shift of the parameters that is common to the copies of the steps in `moved`: (T, elements)."""
    thetas = [theta for theta in copies[0] if theta is not None]
    ends = np.cumsum([theta.size for theta in thetas])
    units = np.split(np.eye(ends[-1]) * 1j * DELTA, ends[:-1], axis=1)
    shifts = [unit.reshape(-1, *theta.shape) for unit, theta in zip(units, thetas)]
    shifted = [
        Parameters(*(theta + (shift if s in moved else 0) for theta, shift in zip(copy, shifts)))
        for s, copy in enumerate(copies, start=1)
    ]
    return step_losses(unrolled(shifted, x, h_0, "relu").y, target).imag / DELTA


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.key)
def test_the_gradients_of_an_epoch_are_weighted_components(variant):
    """With a learning rate of 0 nothing moves; for all 1 ≤ k1 ≤ k2 ≤ T, and to the last bit but for the division."""
    params, x, target, h_0 = whole_series(1)
    copies = [params] * STEPS
    G = np.stack([derivatives(copies, x, target, h_0, {s}) for s in range(1, STEPS + 1)], axis=1)  # ∂ℓ_t/∂θ_s
    assert np.array_equal(np.any(G, axis=-1), np.tri(STEPS))  # which can tell the masks apart
    assert np.abs(G).sum() < 2**40  # so no sum of them, times any count that there is, rounds
    wrong = program(variant.name)
    for k1, k2 in combinations_with_replacement(range(1, STEPS + 1), 2):
        for package, of in ((numpy_rnn, None), (plain_rnn, None), (wrong, variant)):
            result = sum(row(update.gradients) for update in one_epoch(package, params, x, target, h_0, k1, k2))
            factors = weights(of, options_of(k1, k2), STEPS, 1)
            # Under "mean" every update divides whole numbers by N once in y − target, and sums and products of
            # fractions with that denominator round. Where N is a power of two, as 1, 2 and 4 are, nothing does.
            if variant.key == "mean" and of is not None and not np.isin(divisors(STEPS, k1, 1), (1, 2, 4)).all():
                continue
            assert np.array_equal(result, np.einsum("ts,tsn->n", factors, G)), (k1, k2, of)


def test_state_gradients_add_up_as_in_pascals_triangle():
    counts = added_up(12, 1, 5)
    for t in range(5, 9):  # later losses are not in enough windows any more
        assert counts[t - 1, t - 5 : t].tolist() == [1, 4, 6, 4, 1]


def test_weights_under_mean_and_sum():
    kept, N = mask(5, 2, 3), divisors(5, 2, 2)
    for reduction, name, right, wrong in (
        ("sum", "mean for sum", kept, kept / N),
        ("mean", "sum for mean", kept / N, kept),
    ):
        options, by_key = options_of(2, 3, reduction), {variant.key: variant for variant in variants(reduction)}
        assert by_key["mean"].name == name
        assert np.array_equal(weights(None, options, 5, 2), right)
        assert np.array_equal(weights(by_key["mean"], options, 5, 2), wrong)
    assert np.array_equal(weights(by_key["chunks"], options, 5, 2), mask(5, 3, 3) / divisors(5, 3, 2))


# -- at which weights -----------------------------------------------------------------------------------------------

STALE_NOW = "activations of stale weights kept"
STALE_THEN = "stale activations and stale W_hh kept"
RATE = 2.0**-9


def three_updates(of):
    """Three updates of one new step, windows of three: all numbers have few bits.

    The first target is what the network gives, so that only the second update moves the weights: step 2 was computed
    with other ones than step 3.
    """
    params, x, target, h_0 = whole_series(3, steps=3)
    target[0] = numpy_rnn.forward(params, x, h_0, nonlinearity="relu").y[0]
    return params, one_epoch(of, params, x, target, h_0, 1, 3, RATE), (x, target, h_0)


def test_stale_weights_are_a_common_shift_and_rtrl():
    """∂ℓ_3 by a shift of the weights of all three steps, as they were then: by complex step, and by RTRL with an update
    at every step, whose J is ∂h_t by W_xh and W_hh, one above the other.
    """
    params, updates, run = three_updates(program(STALE_THEN))
    copies = [params, *(update.parameters for update in updates[:2])]
    result = derivatives(copies, *run, moved={1, 2, 3})[2]
    assert np.array_equal(row(updates[2].gradients), result)
    for other in (numpy_rnn, program(STALE_NOW)):
        assert not np.array_equal(row(three_updates(other)[1][2].gradients), result)
    x, h, J = run[0][:, 0], updates[2].activations.h[:, 0], np.zeros((3, 2, 2))
    for t, then in enumerate(copies):
        immediate = np.concatenate((x[t], h[t]))[:, None, None] * np.eye(2)
        J = (immediate + J @ then.W_hh) * (h[t + 1] > 0)
    assert np.array_equal((J @ updates[2].adjoints.dh[-1, 0]).ravel(), result[:6])


def test_replay_starts_from_the_state_of_the_newest_weights():
    params, x, target, h_0 = whole_series(3, steps=3)
    replay = program("states replayed from the start with the current weights")
    right, replayed = (one_epoch(rnn, params, x, target, h_0, 1, 1, RATE) for rnn in (numpy_rnn, replay))
    assert np.array_equal(replayed[0].activations.h[0], h_0)
    for t in (1, 2):
        again = numpy_rnn.forward(replayed[t - 1].parameters, x, h_0, nonlinearity="relu").h[t]
        assert np.array_equal(replayed[t].activations.h[0], again)
        assert not np.array_equal(right[t].activations.h[0], again)


@pytest.mark.no_perturb
@pytest.mark.needs_torch
@pytest.mark.parametrize(("name", "in_place"), [(STALE_NOW, True), (STALE_THEN, False)], ids=["now", "then"])
def test_pytorch_computes_stale_gradients(name, in_place):
    """On a graph that is kept: (B2) takes the current weights if they are changed in place, and those of the forward
    pass if every update makes new ones.
    """
    import torch

    params, updates, (x, target, h_0) = three_updates(program(name))
    W_xh, W_hh, W_hy = (torch.tensor(theta, requires_grad=True) for theta in params[:3])
    leaves, h = [(W_xh, W_hh, W_hy)], torch.tensor(h_0)
    for t, update in enumerate(updates):
        W_xh, W_hh, W_hy = leaves[-1]
        h = torch.relu(torch.tensor(x[t]) @ W_xh + h @ W_hh)
        loss = 0.5 * (h @ W_hy - torch.tensor(target[t])).square().sum()
        distinct = [v for leaf in (leaves[-1:] if in_place else leaves) for v in leaf]
        by_step = torch.autograd.grad(loss, distinct, retain_graph=True, allow_unused=True)
        sums = [sum(g for g in by_step[i::3] if g is not None) for i in range(3)]
        assert np.array_equal(row(update.gradients), np.concatenate([g.numpy().ravel() for g in sums]))
        if in_place:
            for theta, g in zip(leaves[-1], sums):
                theta.data -= RATE * g
        else:
            leaves.append(tuple((v - RATE * g).detach().requires_grad_() for v, g in zip(leaves[-1], sums)))


@pytest.mark.needs_torch
def test_a_pytorch_recipe_adds_up_state_gradients():
    """The recipe with a list of detached states, whose .grad is never made zero; with weights that do not move."""
    import torch

    params, x, target, h_0 = whole_series(1)
    k2 = 4
    wrong = one_epoch(program("state gradients add up over overlapping windows"), params, x, target, h_0, 1, k2)
    theta = [torch.tensor(v, requires_grad=True) for v in params[:3]]
    kept, state = [], torch.tensor(h_0)
    for t, update in enumerate(wrong):
        entered = state.detach().requires_grad_()
        state = torch.relu(torch.tensor(x[t]) @ theta[0] + entered @ theta[1])
        kept = [*kept, (entered, state)][-k2:]
        for v in theta:
            v.grad = None
        (0.5 * (state @ theta[2] - torch.tensor(target[t])).square().sum()).backward(retain_graph=True)
        for (_, before), (after, _) in zip(kept[-2::-1], kept[:0:-1]):
            before.backward(after.grad, retain_graph=True)
        assert np.array_equal(row(update.gradients), np.concatenate([v.grad.numpy().ravel() for v in theta]))
