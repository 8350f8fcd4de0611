"""What the study says of training: counts of components, ways that disagree, mistakes, and the yardstick of them all.

Networks of relu with small whole numbers (and a learning rate that is a power of two) are computed in float64 without
any rounding; so what two programs make of them must be equal to the last bit, and no tolerance is needed.
"""

from fractions import Fraction
from itertools import product
from math import comb
from pathlib import Path

import numpy as np
import pytest
from study_settings import CHOSEN, near, shared_run

import numpy_rnn
from numpy_rnn.app.configuration import Configuration
from numpy_rnn.app.experiment import prepare
from numpy_rnn.app.series import sine
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import Parameters
from numpy_rnn.conformance.mutants.catalogue import CORE, MUTANTS, load, mutated_source, named
from numpy_rnn.conformance.mutants.score import names_the_stage
from numpy_rnn.study.checks.complex_step import step_losses, unrolled
from numpy_rnn.study.components.matrix import mask
from numpy_rnn.study.findings import rounded
from numpy_rnn.study.setting import DIVERGED_FACTOR, setting_of
from numpy_rnn.study.training.disagreements import (
    VARIANTS,
    _steps,
    added_up,
    disagreements,
    divisors,
    variants,
    weights,
)
from numpy_rnn.study.training.learning_curves import (
    LearningCurve,
    by_k,
    curve_epochs,
    draw_networks,
    learning_curve,
    lengths,
    losses_of_a_pass,
    quantiles,
    summary,
)
from numpy_rnn.study.training.mistakes import compare_lines, counts_of, mistakes
from numpy_rnn.study.training.outcomes import MAX_UPDATES, Outcome, Outcomes, judge_demo_run, named_runs, verdict

STEPS = 6
DELTA = 2.0**-200  # of a complex step: a power of two, so that multiplying by it rounds nothing
HARD = ("mean over the steps alone", "db_h not summed over the batch", "W_xh not transposed where it is square")


def a_setting(seeds=3, steps=None, **values):
    configuration = Configuration(**{"epochs": 4, **values})
    return setting_of(prepare(configuration), configuration, seeds, steps)


def whole_numbers(seed, steps=STEPS):
    """Parameters, inputs, targets and a state of small whole numbers, none of which is lost behind relu's zero."""
    integers = np.random.default_rng(seed).integers
    params = Parameters(*(integers(1, 3, size).astype(float) for size in ((1, 2), (2, 2), (2, 1))))
    x, target = (integers(1, 4, (steps, 1, 1)).astype(float) for _ in range(2))
    return params, x, target, integers(0, 2, (1, 2)).astype(float)


def one_epoch(rnn, params, x, target, h_0, k1, k2, learning_rate=0.0, **options):
    return list(
        rnn.train(
            params, x, target, h_0, k1=k1, k2=k2, learning_rate=learning_rate, epochs=1, nonlinearity="relu", **options
        )
    )


def row(gradients):
    return np.concatenate([theta.ravel() for theta in gradients if theta is not None])


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


def test_the_numbers_of_the_reader_who_computed_the_recipe_by_hand():
    """x_t = w x_{t-1} with w = 0.2, x_0 = 0.9 (discuss.pytorch.org, topic 15500): 0.108 is right, he got 0.288."""
    w, x_0 = Fraction(1, 5), Fraction(9, 10)
    component = {t: w ** (t - 1) * x_0 for t in (1, 2, 3)}  # ∂x_t/∂w_s, the same for every s ≤ t

    def third_update(counts):
        of_third = counts(3, 1, 3)
        of_third[:2, :2] -= counts(2, 1, 3)
        return sum(int(of_third[t - 1, s - 1]) * component[t] for t in component for s in range(1, t + 1))

    assert third_update(mask) == Fraction(108, 1000)
    assert third_update(added_up) == Fraction(288, 1000)


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
    """PyTorch does, on a graph that is kept: with weights changed behind its back it takes those of now for (B2), and
    with new ones at every update those of then.
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


# -- the yardstick --------------------------------------------------------------------------------------------------


def test_a_course_has_the_weights_that_an_epoch_left():
    """Whatever the number of updates; the weights as drawn before the first."""
    setting = a_setting(epochs=3)
    params = draw_networks(setting, 2)
    for k1 in (1, 7, 50):
        configuration = setting.configuration.changed(k1=k1, k2=50)
        result = learning_curve(numpy_rnn, params, setting, configuration)
        x, target, h_0 = setting.experiment[1:4]
        updates = list(numpy_rnn.train(params, x, target, h_0, **configuration.train_options()))
        ends = [params] + [u.parameters for u in updates if u.window.stop == len(x)]
        assert result.epochs == [0, 1, 2, 3]
        for of_course, right in zip(result.parameters, ends, strict=True):
            assert all(np.array_equal(*pair) for pair in zip(of_course[:3], right[:3]))


def test_the_loss_of_a_pass_is_the_sum_of_the_step_losses():
    """Whole numbers: to the last bit what the step-by-step witness gives, for many networks at once."""
    setting = a_setting(nonlinearity="relu", epochs=1)
    params, x, target, h_0 = whole_numbers(2)
    other = whole_numbers(4)[0]
    setting = setting._replace(x=x, target=target, h_0=h_0)
    stacked = Parameters(*(v if v is None else np.stack((v, w)) for v, w in zip(params, other)))
    result = losses_of_a_pass([stacked, stacked], setting, setting.configuration)
    expected = [step_losses(unrolled([p] * STEPS, x, h_0, "relu").y, target).sum() for p in (params, other)]
    assert expected[0] != expected[1]
    assert np.array_equal(result, [expected, expected])


@pytest.mark.parametrize(
    ("options", "rate", "finite"), [({"nonlinearity": "relu"}, 50.0, False), ({"k1": 50, "k2": 50}, 1e4, True)]
)
def test_what_has_diverged_is_infinite_and_counted(options, rate, finite):
    """Also where the loss is finite, and only far above that of the untrained network."""
    setting = a_setting(epochs=1, **options)
    configuration = setting.configuration.changed(learning_rate=rate)
    result = learning_curve(numpy_rnn, draw_networks(setting, 8), setting, configuration)
    losses = losses_of_a_pass(result.parameters, setting, configuration)
    expected = np.where(losses <= DIVERGED_FACTOR * losses[0], losses, np.inf)
    assert np.array_equal(result.losses, expected)
    assert np.isfinite(losses[-1]).all() == finite
    of_all = summary(result)
    assert of_all["diverged"] == of_all["final"].count(None) == np.isinf(expected[-1]).sum() > 0


def test_quantiles_are_values_of_networks_and_know_infinity():
    losses = np.array([*range(1, 9), np.inf, np.inf])
    assert quantiles(losses).tolist() == [1, 5, np.inf]
    assert rounded([1.00000004, np.inf, np.nan]) == [1.0, None, None]


def test_networks_are_those_that_the_seeds_draw():
    setting = a_setting(seed=7)
    members = draw_networks(setting, 2)
    for n in (0, 1):
        alone = prepare(Configuration(seed=7 + n)).params
        assert all(np.array_equal(theta[n], right) for theta, right in zip(members[:3], alone[:3]))
    assert not draw_networks(setting, 2, bias=True).b_h.any()
    assert draw_networks(setting, 2, dtype="float64").W_hh.dtype == np.float64


def test_epochs_looked_at():
    assert curve_epochs(0) == [0]
    assert curve_epochs(3) == [0, 1, 2, 3]
    many = curve_epochs(3000)
    assert (many[0], many[1], many[-1]) == (0, 1, 3000)
    assert len(many) <= 62


# -- by k and disagreements -----------------------------------------------------------------------------------------


def test_by_k_is_tbptt_of_these_lengths():
    setting = a_setting(seeds=2, steps=4, epochs=2)
    result = by_k(setting)
    assert result["ks"] == lengths(4) == [1, 2, 3, 4]
    assert [(run["k1"], run["k2"]) for run in result["chunks"]] == [(k, k) for k in (1, 2, 3, 4)]
    assert [(run["k1"], run["k2"]) for run in result["sliding"]] == [(1, k) for k in (1, 2, 3, 4)]
    for run in result["chunks"] + result["sliding"]:
        configuration = setting.configuration.changed(k1=run["k1"], k2=run["k2"])
        of_two = learning_curve(numpy_rnn, draw_networks(setting, 2), setting, configuration).losses[-1]
        assert run["final"] == rounded(of_two)
    for kind in ("chunks", "sliding"):
        medians = {run["final_median"]: run["k"] for run in result[kind]}
        assert result[f"best_{kind}"] == medians[min(medians)], kind
    assert (result["diverged"], result["any_diverged"]) == ([], False)
    result = by_k(
        setting._replace(configuration=setting.configuration.changed(nonlinearity="relu", learning_rate=50.0))
    )
    runs = [(kind, run) for kind in ("chunks", "sliding") for run in result[kind]]
    expected = [
        (kind, run["k"], run["diverged"])
        for kind, run in runs
        if run["diverged"] and (kind, run["k"]) != ("sliding", 1)
    ]
    listed = [(one["kind"].split()[0], one["k"], one["diverged"]) for one in result["diverged"]]
    assert listed == expected
    assert {kind for kind, *_ in listed} == {"chunks", "sliding"}


def test_disagreements_are_measured_from_the_same_weights():
    """What is the same up to the window's length differs at the first window that is longer, and by itself then."""
    result = {one["key"]: one for one in shared_run()[1]["training"]["disagreements"]}
    assert [one.key for one in VARIANTS] == list(result)
    first = {key: one["steps"]["first_update"] for key, one in result.items()}
    assert first == {
        "stale_now": 2,
        "stale_then": 2,
        "replayed": 6,
        "one_more": 6,
        "chunks": None,
        "mean": 1,
        "squared": 1,
        "two_biases": 1,
        "added_up": 3,
    }
    for one in result.values():
        assert one["right"]["median"][0] == one["wrong"]["median"][0]
        assert one["steps"]["of_epoch"][0] > 0
    # A step of twice the length, and of a fifth: exact but for the rounding of the two parameters that are subtracted,
    # so it is printed as such to six digits.
    assert f"{result['squared']['steps']['first_difference']:.6f}" == "1.000000"
    assert f"{result['mean']['steps']['first_difference']:.6f}" == "0.800000"


def test_the_runs_of_the_variants_and_their_length():
    """The same number of epochs for all; windows that overlap; nothing else than their names say."""
    long = a_setting(steps=12, k1=3, k2=9)
    for epochs in (2, 10**6):
        setting = long._replace(configuration=long.configuration.changed(epochs=epochs))
        of_runs = {key: run.configuration(setting) for key, run in named_runs(setting).items()}
        expected = min(epochs, MAX_UPDATES // 12)
        assert {of.epochs for of in of_runs.values()} == {expected}
        assert {key: (of.momentum, of.nesterov) for key, of in of_runs.items() if of.momentum} == {
            "momentum": (0.5, False),
            "nesterov": (0.5, True),
        }
        assert {key: of.reduction for key, of in of_runs.items() if key in ("mean", "sum")} == {
            "mean": "mean",
            "sum": "sum",
        }
        assert {key for key, of in of_runs.items() if of.nonlinearity == "relu"} == {"relu"}
        assert of_runs["configured"] == setting.configuration.changed(epochs=expected)
        assert {key: (of_runs[key].k1, of_runs[key].k2) for key in ("sliding", "chunks", "biases")} == {
            "sliding": (1, 5),
            "chunks": (5, 5),
            "biases": (1, 5),
        }
    assert named_runs(a_setting(steps=3))["sliding"].changes["k2"] == 3
    assert {variant.run for variant in VARIANTS} == {"sliding", "chunks", "biases"}


def losses_alone(rnn, params, setting, configuration):
    """Σ ℓ_t of a pass of one network before training and after every epoch."""
    h_0 = setting.h_0
    ends = {0: params}
    for update in rnn.train(params, setting.x, setting.target, h_0, **configuration.train_options()):
        ends[update.epoch] = update.parameters
    outputs = [unrolled([of] * len(setting.x), setting.x, h_0).y for of in ends.values()]
    return [step_losses(y, setting.target).sum() for y in outputs]


def steps_alone(rnn, params, setting, configuration):
    """All parameters before and after each update of one epoch, one row each."""
    options = configuration.changed(epochs=1).train_options()
    updates = list(rnn.train(params, setting.x, setting.target, setting.h_0, **options))
    return np.array([row(of) for of in (params, *(update.parameters for update in updates))])


def difference(right, wrong):
    return np.linalg.norm(wrong - right) / np.linalg.norm(right)


def expected_verdict(ratio, first, last):
    if last is None:
        return "diverged"
    if 1 / 1.01 <= ratio <= 1.01:
        return "the same"
    if ratio <= 2:
        return "lower loss" if ratio < 1 else "learns"
    return "learns less" if last < first / 2 else "does not learn"


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.key)
def test_a_disagreement_is_that_of_networks_trained_alone(variant):
    """Curves, ratios, verdict and the steps of the first epoch, each network on its own and by numpy_rnn itself."""
    setting, findings = shared_run()
    [found] = [one for one in findings["training"]["disagreements"] if one["key"] == variant.key]
    k = 5
    changes = {"sliding": {"k1": 1, "k2": k}, "chunks": {"k1": k, "k2": k}, "biases": {"k1": 1, "k2": k}}[variant.run]
    configuration, wrong = setting.configuration.changed(**changes), load(named(variant.mutant))
    networks = [prepare(setting.configuration.changed(seed=seed)).params for seed in range(5)]
    curves = {}
    for side, rnn in (("right", numpy_rnn), ("wrong", wrong)):
        curves[side] = np.array([losses_alone(rnn, params, setting, configuration) for params in networks]).T
        near(found[side]["final"], curves[side][-1], side)
        for part, share in (("low", 0.1), ("median", 0.5), ("high", 0.9)):
            near(found[side][part], np.quantile(curves[side], share, axis=-1, method="inverted_cdf"), (side, part))
        assert found[side]["final_median"] == found[side]["median"][-1]
        assert found[side]["worse_than_untrained"] == (curves[side][-1] > curves[side][0]).sum()
    ratios = np.sort(curves["wrong"][-1] / curves["right"][-1])
    near([found["ratio"][part] for part in ("low", "median", "high")], ratios[[0, 2, 4]], "ratio")
    first, last = (np.median(curves["wrong"][epoch]) for epoch in (0, -1))
    assert found["verdict"] == expected_verdict(ratios[2], first, last)

    paths = [[steps_alone(rnn, params, setting, configuration) for params in networks] for rnn in (numpy_rnn, wrong)]
    of_epoch = [difference(right[-1] - right[0], wrong[-1] - wrong[0]) for right, wrong in zip(*paths)]
    near(found["steps"]["of_epoch"][0], np.median(of_epoch), "of_epoch")
    if variant.key == "chunks":
        assert found["steps"]["of_step"] is None  # other updates
        assert np.array_equal(found["counts"], mask(8, k, k))
        return
    moves = [[np.diff(path, axis=0) for path in of_network] for of_network in zip(*paths)]
    near(found["steps"]["of_step"][0], np.median([difference(*of_both) for of_both in moves]), "of_step")
    by_update = np.median([[difference(*steps) for steps in zip(*of_both)] for of_both in moves], axis=0)
    number = int(np.flatnonzero(by_update > 1e-7)[0])
    assert found["steps"]["first_update"] == number + 1
    near(found["steps"]["first_difference"], by_update[number], "first_difference")
    assert np.array_equal(np.array(found["right_counts"]) > 0, mask(8, configuration.k1, k) > 0)


def test_a_mistake_has_the_numbers_of_its_disagreement_or_of_the_first_run_that_shows_it():
    setting, findings = shared_run()
    by_name = {one["name"]: one for one in findings["training"]["disagreements"]}
    configured = named_runs(setting)["configured"]
    for one, mutant in zip(findings["training"]["mistakes"], CHOSEN, strict=True):
        if one["shown_by"] is None:
            assert one["verdict"] == "not in a run"
            continue
        first, last = (one["wrong"]["median"][epoch] for epoch in (0, -1))
        assert one["verdict"] == expected_verdict(one["ratio"]["median"], first, last), one["name"]
        if other := by_name.get(one["name"]):
            assert (one["ratio"], one["verdict"], one["shown_by"]) == (other["ratio"], other["verdict"], other["run"])
            assert [one[side]["median"] for side in ("right", "wrong")] == [
                other[side]["median"] for side in ("right", "wrong")
            ]
        else:
            try:
                there = judge_demo_run(load(mutant), configured, setting).first is not None
            except InputError:
                there = False
            assert (one["shown_by"] == "as configured") == there, one["name"]
    assert any(one["shown_by"] == "as configured" for one in findings["training"]["mistakes"])


@pytest.mark.parametrize("run", ["float64", "mean", "momentum"])
def test_the_networks_of_an_outcome_train_as_each_would_alone(run):
    """Mutants too: none but the one about ensembles lets a network see the others. float32, so to some digits."""
    setting = a_setting(steps=6, epochs=1)
    demo = named_runs(setting)[run]
    together, configuration = demo.networks(setting, 2), demo.configuration(setting)
    for mutant in MUTANTS:
        if mutant.name in ("one norm for all networks of an ensemble", *HARD):
            continue
        of_both = learning_curve(load(mutant), together, setting, configuration).parameters[-1]
        for n in range(2):
            alone = Parameters(*(None if v is None else v[n] for v in together))
            of_one = learning_curve(load(mutant), alone, setting, configuration).parameters[-1]
            for theta, other in zip(of_one, of_both):
                if theta is not None:
                    np.testing.assert_allclose(theta, other[n], rtol=1e-3, atol=1e-4, err_msg=mutant.name)


# -- mistakes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_wrong_lines_stand_in_the_wrong_source_and_right_ones_in_the_right(mutant):
    places = compare_lines(mutant)
    folder = Path(numpy_rnn.__file__).parent
    assert {place["module"] for place in places} == {f"{module}.py" for module, _, _ in mutant.changes}
    for place in places:
        assert place["right"] != place["wrong"]
        module = place["module"].removesuffix(".py")
        assert module in CORE
        right = (folder / place["module"]).read_text(encoding="utf-8")
        wrong = mutated_source(mutant, module, right)
        for side, source in (("right", right), ("wrong", wrong)):
            lines = {line.strip() for line in source.splitlines()}
            assert {line.strip() for line in place[side].splitlines()} <= lines
        comparable = (place["right"] + "\n" + place["wrong"]).splitlines()
        assert min(len(line) - len(line.lstrip()) for line in comparable if line) == 0


# In the default run, whose windows have one step and start from the state that the window before left.
SHOWN_ELSEWHERE = {
    "zeros for h_0": "initial",
    "W_hh and W_hh in dh_0 used without transposes": "dh_0",
    "no flow from step to step": "dh_0",
}


@pytest.mark.slow
def test_every_mistake_is_caught_and_named():
    """All of them, on a very short run: by the equation that it changes, and in a run where one can show it."""
    result = mistakes(Outcomes(a_setting(seeds=2, steps=8, epochs=1)))
    assert [one["name"] for one in result] == [mutant.name for mutant in MUTANTS]
    for one, mutant in zip(result, MUTANTS):
        tensor = one["caught"]["tensor"]
        assert tensor == SHOWN_ELSEWHERE.get(mutant.name) or names_the_stage(mutant, "L1", tensor), one
        assert one["caught"]["ratio"] is None or one["caught"]["ratio"] > 1
    assert {one["name"] for one in result if one["shown_by"] is None} >= set(HARD)
    assert counts_of(result)["caught"] == counts_of(result)["all"] == len(MUTANTS)


def test_verdicts():
    assert verdict(np.nan, 1, 4) == "the correct run diverged"
    assert verdict(np.inf, np.inf, 4) == "diverged"
    assert verdict(1.005, 1, 4) == verdict(0.995, 1, 4) == "the same"
    assert verdict(0.98, 1, 4) == "lower loss"
    assert verdict(1.02, 1, 4) == verdict(2.0, 1, 4) == "learns"
    assert verdict(2.1, 1.9, 4) == "learns less"
    assert verdict(2.1, 2.0, 4) == "does not learn"
    right, wrong = (LearningCurve([0, 1], np.array([[4.0], [last]]), []) for last in (1.0, 2.5))
    assert Outcome(right, wrong).findings()["verdict"] == "does not learn"  # by its own losses, from 4 to 2.5
    kinds = ("the same", "lower loss", "learns", "learns less", "does not learn", "diverged", "not in a run")
    counts = {kind: 2**n for n, kind in enumerate(kinds)}
    made = [{"verdict": kind, "caught": {"tensor": None}} for kind, count in counts.items() for _ in range(count)]
    made[0]["caught"]["tensor"] = "a"
    expected = {"all": 127, "in_a_run": 63, "learns": 7, "same": 1, "caught": 1, "by_case": 64, "less": 8, "not": 16}
    assert counts_of(made) == expected | {"diverged": 32}


@pytest.mark.no_perturb
def test_a_mistake_that_changes_no_weight_has_the_curve_of_the_right_run():
    name = "e² for ½e²"
    (result,) = mistakes(Outcomes(a_setting(epochs=3)), [named(name)])
    assert result["right"] == result["wrong"]
    assert (result["ratio"]["median"], result["verdict"]) == (1.0, "the same")
    assert result["caught"]["equation"] == "L1, L2"


# -- what is made of it ---------------------------------------------------------------------------------------------


def test_two_features_are_measured(tmp_path):
    path = tmp_path / "two.csv"
    np.savetxt(path, np.column_stack((sine(), sine()[::-1])), delimiter=",")
    setting = a_setting(seeds=2, epochs=1, data=str(path))
    result = disagreements(Outcomes(setting))
    assert setting.x.shape[-1] == 2
    mean = next(one for one in result if one["key"] == "mean")
    assert np.max(mean["counts"]) == 1 / 10  # N = 5 steps × 2 outputs


def test_networks_that_are_not_finite_leave_the_medians_of_the_others():
    """A run of other options than the studied one may diverge on some of its networks."""
    setting = a_setting(seeds=3, steps=6, epochs=1)
    right = learning_curve(numpy_rnn, draw_networks(setting, 3), setting, setting.configuration)
    bad = right.parameters[-1]._replace(W_hh=right.parameters[-1].W_hh * np.array([1, np.nan, 1])[:, None, None])
    two = [Parameters(*(None if v is None else v[::2] for v in params)) for params in (*right.parameters[:-1], bad)]
    mutant = load(named(VARIANTS[0].mutant))
    configuration = setting.configuration.changed(k2=5)
    of_three = _steps(mutant, right._replace(parameters=[*right.parameters[:-1], bad]), setting, configuration)
    of_two = _steps(mutant, right._replace(parameters=two), setting, configuration)
    assert of_three["of_epoch"][-1] == of_two["of_epoch"][-1] is not None
    assert of_three["of_step"][-1] == of_two["of_step"][-1] is not None
