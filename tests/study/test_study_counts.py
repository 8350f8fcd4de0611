"""Which components wrong truncations count, at which weights: counts, recipes, and programs of PyTorch that do it.

Networks of relu with small whole numbers (and a learning rate that is a power of two) are computed in float64 without
any rounding; so what two programs make of them must be equal to the last bit, and no tolerance is needed.
"""

from itertools import product
from math import comb

import numpy as np
import pytest
from study_settings import row, whole_numbers

import numpy_rnn
from numpy_rnn.app.configuration import Configuration
from numpy_rnn.common.records import Parameters
from numpy_rnn.conformance.mutants.catalogue import load, named
from numpy_rnn.study.checks.complex_step import step_losses, unrolled
from numpy_rnn.study.components.matrix import mask
from numpy_rnn.study.training.disagreements import VARIANTS, added_up, divisors, variants, weights

STEPS = 6
DELTA = 2.0**-200  # of a complex step: a power of two, so that multiplying by it rounds nothing


def one_epoch(rnn, params, x, target, h_0, k1, k2, learning_rate=0.0, **options):
    return list(
        rnn.train(
            params, x, target, h_0, k1=k1, k2=k2, learning_rate=learning_rate, epochs=1, nonlinearity="relu", **options
        )
    )


def derivatives(copies, x, target, h_0, moved, nonlinearity="relu"):
    """∂ℓ_t by a shift of the parameters that is common to the copies of the steps in `moved`: (T, elements)."""
    shapes = [theta.shape for theta in copies[0] if theta is not None]
    sizes = [int(np.prod(shape)) for shape in shapes]
    units = np.split(np.eye(sum(sizes)) * 1j * DELTA, np.cumsum(sizes)[:-1], axis=1)
    shifts = [unit.reshape(-1, *shape) for unit, shape in zip(units, shapes)]
    shifted = [
        Parameters(*(theta + (shift if s in moved else 0) for theta, shift in zip(copy, shifts)))
        for s, copy in enumerate(copies, start=1)
    ]
    return step_losses(unrolled(shifted, x, h_0, nonlinearity).y, target).imag / DELTA


def components(params, x, target, h_0):
    """∂ℓ_t/∂θ_s by complex step: (T, T, elements), [t-1, s-1]."""
    copies = [params] * len(x)
    return np.stack([derivatives(copies, x, target, h_0, {s}) for s in range(1, len(x) + 1)], axis=1)


# -- which components are counted -------------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.key)
def test_the_gradients_of_an_epoch_are_the_components_by_their_weights(variant):
    """With a learning rate of 0 nothing moves; for all 1 ≤ k1 ≤ k2 ≤ T, and to the last bit but for the division."""
    params, x, target, h_0 = whole_numbers(1)
    G, wrong = components(params, x, target, h_0), load(named(variant.mutant))
    assert np.abs(G).sum() < 2**40  # so no sum of them, times any count that there is, rounds
    for k1, k2 in ((k1, k2) for k1, k2 in product(range(1, STEPS + 1), repeat=2) if k1 <= k2):
        configuration = Configuration(k1=k1, k2=k2)
        for package, of in ((numpy_rnn, None), (wrong, variant)):
            result = sum(row(update.gradients) for update in one_epoch(package, params, x, target, h_0, k1, k2))
            factors = weights(of, configuration, STEPS, 1)
            if variant.key == "mean" and of is not None:
                # Every update divides whole numbers by N once in y − target, and sums and products of fractions with
                # that denominator round. Where N is a power of two, as 1, 2 and 4 are, nothing does.
                rows = np.isin(divisors(STEPS, k1, 1), (1, 2, 4)).all()
                if not rows:
                    continue
            assert np.array_equal(result, np.einsum("ts,tsn->n", factors, G)), (k1, k2, of)


def test_the_components_of_the_fixture_can_tell_the_masks_apart():
    G = components(*whole_numbers(1))
    assert all(np.any(G[t, s]) for t in range(STEPS) for s in range(t + 1))
    assert not np.any(G[np.triu_indices(STEPS, 1)])


def test_state_gradients_add_up_as_in_pascals_triangle():
    T, k = 12, 5
    counts = added_up(T, 1, k)
    for t in range(1, T - k + 2):  # later losses are not in enough windows any more
        for lag in range(min(k, t)):
            assert counts[t - 1, t - 1 - lag] == comb(k - 1, lag)
    assert np.array_equal(added_up(T, 3, 3), mask(T, 3, 3))  # windows that do not overlap


def test_weights_under_mean_and_sum():
    sums, means = (Configuration(k1=2, k2=3, reduction=reduction) for reduction in ("sum", "mean"))
    kept, N = mask(5, 2, 3), divisors(5, 2, 2)
    of_sum, of_mean = (next(v for v in variants(reduction) if v.key == "mean") for reduction in ("sum", "mean"))
    assert (of_sum.mutant, of_mean.mutant) == ("mean for sum", "sum for mean")
    assert np.array_equal(weights(None, sums, 5, 2), kept)
    assert np.array_equal(weights(of_sum, sums, 5, 2), kept / N)
    assert np.array_equal(weights(None, means, 5, 2), kept / N)
    assert np.array_equal(weights(of_mean, means, 5, 2), kept)
    chunks = next(v for v in VARIANTS if v.key == "chunks")
    assert np.array_equal(weights(chunks, means, 5, 2), mask(5, 3, 3) / divisors(5, 3, 2))


# -- at which weights -----------------------------------------------------------------------------------------------

STALE_NOW, STALE_THEN, REPLAYED = (
    load(named(name))
    for name in (
        "activations of stale weights kept",
        "stale activations and stale W_hh kept",
        "states replayed from the start with the current weights",
    )
)
RATE = 2.0**-9


def three_updates(rnn, **options):
    """Three updates of one new step, windows of three: all numbers have few bits.

    The first target is what the network gives, so that only the second update moves the weights: step 2 was computed
    with other ones than step 3.
    """
    params, x, target, h_0 = whole_numbers(3, steps=3)
    target[0] = numpy_rnn.forward(params, x, h_0, nonlinearity="relu").y[0]
    return params, one_epoch(rnn, params, x, target, h_0, 1, 3, RATE, **options), (x, target, h_0)


def test_weights_of_then_is_a_derivative_by_a_common_shift():
    """∂ℓ_3 by a shift of the weights of all three steps, as they were then: by complex step."""
    params, updates, run = three_updates(STALE_THEN)
    copies = [params, *(update.parameters for update in updates[:2])]
    result = derivatives(copies, *run, moved={1, 2, 3})[2]
    assert np.array_equal(row(updates[2].gradients), result)
    for other in (numpy_rnn, STALE_NOW):
        assert not np.array_equal(row(three_updates(other)[1][2].gradients), result)


def rtrl(x, h, W_hh, slopes):
    """J_T = ∂h_T/∂(W_xh, W_hh) by J_t = I_t + D_t J_{t-1}, of one sequence; W_hh and slopes: one a step."""
    T, H = slopes.shape
    D = x.shape[-1]
    J = np.zeros((D + H, H, H))  # of element (i, j) of both matrices, one above the other, on unit k
    for t in range(T):
        immediate = np.concatenate((x[t], h[t]))[:, None, None] * np.eye(H)
        J = (immediate + J @ W_hh[t]) * slopes[t]
    return J


@pytest.mark.parametrize(("mutant", "kept"), [(STALE_THEN, True), (STALE_NOW, False)], ids=["old W_hh", "current W_hh"])
def test_stale_gradients_are_those_of_rtrl(mutant, kept):
    """With the old W_hh, RTRL with an update at every step; with the current one, the same sum with it throughout."""
    params, updates, (x, _, _) = three_updates(mutant, record=True)
    last, h = updates[2], updates[2].activations.h[:, 0]
    of_steps = [params.W_hh, *(update.parameters.W_hh for update in updates[:2])]
    dh, slopes = last.adjoints.dh[-1, 0], (h[1:] > 0).astype(float)
    old, current = (rtrl(x[:, 0], h, W_hh, slopes) @ dh for W_hh in (of_steps, [of_steps[2]] * 3))
    reported = np.concatenate((last.gradients.W_xh, last.gradients.W_hh))
    assert np.array_equal(reported, old if kept else current)
    assert not np.array_equal(old, current)


def test_replay_enters_with_the_state_of_the_newest_weights():
    params, x, target, h_0 = whole_numbers(3, steps=3)
    first, second, third = one_epoch(REPLAYED, params, x, target, h_0, 1, 1, RATE, record=True)
    again = unrolled([first.parameters], x[:1], h_0, "relu").h[1]
    assert np.array_equal(second.activations.h[0], again)
    right = one_epoch(numpy_rnn, params, x, target, h_0, 1, 1, RATE, record=True)
    assert not np.array_equal(right[1].activations.h[0], again)
    assert np.array_equal(first.activations.h[0], h_0)
    of_third = numpy_rnn.forward(second.parameters, x, h_0, nonlinearity="relu").h[2]
    assert np.array_equal(third.activations.h[0], of_third)


@pytest.mark.no_perturb
@pytest.mark.needs_torch
@pytest.mark.parametrize(("mutant", "in_place"), [(STALE_NOW, True), (STALE_THEN, False)], ids=["now", "then"])
def test_who_computes_stale_gradients(mutant, in_place):
    """PyTorch does, on a graph that is kept: (B2) takes the current weights if they are changed in place, and those of
    the forward pass if every update makes new ones.
    """
    import torch

    params, updates, (x, target, h_0) = three_updates(mutant)
    W_xh, W_hh, W_hy = (torch.tensor(theta, requires_grad=True) for theta in params[:3])
    leaves, h = [(W_xh, W_hh, W_hy)], torch.tensor(h_0)
    for t, update in enumerate(updates):
        W_xh, W_hh, W_hy = leaves[-1]
        h = torch.relu(torch.tensor(x[t]) @ W_xh + h @ W_hh)
        loss = 0.5 * (h @ W_hy - torch.tensor(target[t])).square().sum()
        distinct = leaves if not in_place else leaves[-1:]
        by_step = torch.autograd.grad(
            loss, [v for leaf in distinct for v in leaf], retain_graph=True, allow_unused=True
        )
        sums = [sum(g for g in by_step[i::3] if g is not None) for i in range(3)]
        assert np.array_equal(row(update.gradients), np.concatenate([g.numpy().ravel() for g in sums]))
        if in_place:
            for theta, g in zip(leaves[-1], sums):
                theta.data -= RATE * g
        else:
            leaves.append(tuple((v - RATE * g).detach().requires_grad_() for v, g in zip(leaves[-1], sums)))


@pytest.mark.needs_torch
def test_who_adds_up_state_gradients():
    """The recipe with a list of detached states, whose .grad is never made zero; with weights that do not move."""
    import torch

    params, x, target, h_0 = whole_numbers(1)
    k2 = 4
    wrong = one_epoch(load(named("state gradients add up over overlapping windows")), params, x, target, h_0, 1, k2)
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
