"""Disagreements and mistakes: their runs, curves, verdicts, and the equation that finds each."""

from functools import cache

import numpy as np
import pytest
from study_runs import near, row, small

import numpy_rnn
from numpy_rnn import Parameters
from numpy_rnn.study.checks.complex_step import step_losses, unrolled
from numpy_rnn.study.components.matrix import mask
from numpy_rnn.study.subject import Subject, changed
from numpy_rnn.study.suite_parts import MUTANTS, mutant, named, plain_rnn, updates, wrong_functions
from numpy_rnn.study.training import learning_curves as training
from numpy_rnn.study.training.disagreements import VARIANTS, compare_steps, disagreements
from numpy_rnn.study.training.mistakes import mistake
from numpy_rnn.study.training.programs import PROGRAMS, program

OPTIONS = {"epochs": 4, "hidden_size": 3, "bias": True, "dtype": "float64"}


@cache
def shared():
    """A run of five networks, its outcomes and its disagreements."""
    outcomes = training.Outcomes(small(8, 5, **OPTIONS))
    return outcomes, {one.key: one for one in disagreements(outcomes)}


def test_the_runs_of_the_variants_and_their_length():
    """The same number of epochs for all; windows that overlap; nothing else than their names say."""
    long = small(12, 3, k1=3, k2=9, epochs=4)
    for epochs in (2, 10**6):
        of = Subject(**vars(long) | {"run": long.run._replace(options=changed(long.options, epochs=epochs))})
        runs = {key: run.options for key, run in training.demo_runs(of).items()}
        expected = min(epochs, training.MAX_UPDATES // 12)
        assert {run.schedule.epochs for run in runs.values()} == {expected}
        assert runs["configured"] == changed(of.options, epochs=expected)
        momentum = {key: (run.step.momentum, run.step.nesterov) for key, run in runs.items() if run.step.momentum}
        assert momentum == {"momentum": (0.5, False), "nesterov": (0.5, True)}
        assert [runs[key].objective.reduction for key in ("mean", "sum")] == ["mean", "sum"]
        assert {key for key, run in runs.items() if run.objective.nonlinearity == "relu"} == {"relu"}
        assert [runs[key].schedule[:2] for key in ("sliding", "chunks", "biases")] == [(1, 5), (5, 5), (1, 5)]
    assert training.demo_runs(small(3, 3))["sliding"].options.schedule.k2 == 3


def trained_alone(rnn, params, of, options):  # rnn: a program, or None for numpy_rnn itself
    """One network: Σ ℓ_t of a pass before training and after every epoch; and all parameters, one row each, before
    the first update and after each of the first epoch.
    """
    ends, path = {0: params}, [row(params)]
    run = of.train(params, options) if rnn is None else updates(rnn, of.run_of(params, options))
    for update in run:
        ends[update.epoch] = update.parameters
        path += [row(update.parameters)] if update.epoch == 1 else []
    outputs = [unrolled([params] * len(of.x), of.x, of.h_0).y for params in ends.values()]
    return [step_losses(y, of.target).sum() for y in outputs], np.array(path)


def difference(right, wrong):
    return np.linalg.norm(wrong - right) / np.linalg.norm(right)


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.key)
def test_a_disagreement_is_that_of_networks_trained_alone(variant):
    """Curves, ratios, verdict and the steps of the first epoch, each network on its own and by numpy_rnn itself."""
    outcomes, found = shared()[0], shared()[1][variant.key]
    of, k = outcomes.subject, 5
    changes = {"sliding": {"k1": 1, "k2": k}, "chunks": {"k1": k, "k2": k}, "biases": {"k1": 1, "k2": k}}[variant.run]
    options, wrong = changed(of.options, **changes), program(variant.name)
    networks = [numpy_rnn.initial_parameters(1, 3, 1, bias=True, dtype="float64", seed=seed) for seed in range(5)]
    curves, paths = {}, {}
    for side, rnn in (("right", None), ("wrong", wrong)):
        alone = [trained_alone(rnn, params, of, options) for params in networks]
        curves[side], paths[side] = np.array([losses for losses, _ in alone]).T, [path for _, path in alone]
        curve = getattr(found.outcome, side)
        near(curve.final, curves[side][-1], side, rtol=1e-8)
        for part, rank in (("low", 0), ("median", 2), ("high", 4)):
            near(getattr(curve.band, part), np.sort(curves[side])[:, rank], (side, part), rtol=1e-8)
    ratios = np.sort(curves["wrong"][-1] / curves["right"][-1])
    for part, rank in (("low", 0), ("median", 2), ("high", 4)):
        near(getattr(found.outcome.ratio, part), ratios[rank], "ratio", rtol=1e-8)
    first, last = (np.median(curves["wrong"][epoch]) for epoch in (0, -1))
    assert found.outcome.verdict == training.verdict(ratios[2], last, first)
    assert np.array_equal(found.right_counts > 0, mask(8, *options.schedule[:2]) > 0)
    if variant.key == "chunks":
        assert found.steps.by_epoch is None  # other updates
        assert np.array_equal(found.counts, mask(8, k, k))
        return
    moves = [[np.diff(path, axis=0) for path in of_network] for of_network in zip(*paths.values())]
    near(found.steps.by_epoch[0], np.median([difference(*both) for both in moves]), "by_epoch", rtol=1e-6)
    by_update = np.median([[difference(*steps) for steps in zip(*both)] for both in moves], axis=0)
    number = int(np.flatnonzero(by_update > 1e-7)[0])
    assert found.steps.first_update == number + 1
    near(found.steps.first_difference, by_update[number], "first_difference", rtol=1e-6)


def test_a_mistake_has_the_numbers_of_its_disagreement():
    outcomes, by_key = shared()
    for variant in VARIANTS:
        if variant.name in PROGRAMS:  # and no mutant
            continue
        one, other = mistake(outcomes, named(variant.name)), by_key[variant.key]
        assert one.outcome is other.outcome
        assert one.shown_by == other.run
        assert one.verdict == other.outcome.verdict


def test_the_suite_catches_every_disagreement():
    outcomes = shared()[0]
    found = {variant.key: training.judge_demo_run(program(variant.name), outcomes.runs[variant.run], outcomes.subject)
             for variant in VARIANTS}  # fmt: skip
    assert {key: caught.tensor for key, caught in found.items()} == TENSORS
    assert training.judge_demo_run(plain_rnn, outcomes.runs["sliding"], outcomes.subject) is None


def test_the_networks_of_an_outcome_train_as_each_would_alone():
    """Mutants too: none lets a network see the others. float32, so to some digits."""
    of = small(6, 3, epochs=1)
    run = training.demo_runs(of)["momentum"]
    together = run.networks(of, 2)
    alone = Parameters(*(None if v is None else v[1] for v in together))
    mutants = {one.name: mutant(one.name) for one in MUTANTS}
    for one in mutants | PROGRAMS:
        sides = (program(one), together), (mutants.get(one) or program(one), alone)
        both, single = (list(updates(side, of.run_of(params, run.options)))[-1].parameters for side, params in sides)
        for theta, other in zip(single, both):
            if theta is not None:
                np.testing.assert_allclose(theta, other[1], rtol=1e-3, atol=1e-4, err_msg=one)


def test_the_lines_of_a_mutant_are_shown_with_their_function():
    (function,) = wrong_functions(named("clipping per tensor"))
    assert function.startswith("def update(p, d, velocity, step):\n    E = ")
    ((right, wrong),) = named("clipping per tensor").changes
    assert all(line in function for line in wrong.splitlines())
    assert right not in function
    assert "(U" not in function  # the ids, which the wrong line would not have
    assert len(wrong_functions(named("activations of stale weights kept"))) == 2


# The tensor in which the suite finds a disagreement.
TENSORS = {"stale_now": "a", "stale_then": "a", "replayed": "initial", "one_more": "window", "chunks": "window",
           "mean": "loss", "squared": "dy", "two_biases": "b_h", "added_up": "dh"}  # fmt: skip

# At least one mutant of each run that shows some: the run, and the tensor that is named.
SHOWN_BY = {
    "zeros for h_0": ("as configured", "a"),
    "W_hh used without its transpose": ("k1 = 5, k2 = 5", "dh"),  # in those before, first in dh_0
    "mean for sum": ("k1 = 5, k2 = 5", "loss"),
    "a trained second hidden bias": ("k1 = 1, k2 = 5, biases", "b_h"),
    "clipping per tensor": ("float64, k1 = 1, k2 = 5, biases, max_norm", "W_xh"),
    "sum for mean": ("k1 = 3, k2 = 5, mean", "loss"),
    "relu′ missing": ("relu, k1 = 1, k2 = 5", "da"),
    "dampening at the first step too": ("momentum, dampening, decay, max_norm, learned h₀", "vW_xh"),
    "nesterov forgotten, or from the velocity before the step": ("nesterov", "W_xh"),
    "10⁻⁸ outside the root": ("adagrad", "W_xh"),
    "softmax applied twice": (None, "loss"),
}


@pytest.mark.slow
def test_a_mistake_is_caught_in_the_first_run_that_shows_it():
    """By the equation that it changes, on a very short run; what no run shows, a random case does."""
    outcomes = training.Outcomes(small(5, 2, epochs=1))
    result = [mistake(outcomes, named(name)) for name in SHOWN_BY]
    assert {one.name: (one.shown_by, one.caught.tensor) for one in result} == SHOWN_BY
    assert all(one.caught.ratio > 1 for one in result)
    assert [one.name for one in result if one.verdict == "not in a run"] == ["softmax applied twice"]


def test_verdicts():
    assert training.verdict(np.nan, 1, 4) == "the correct run diverged"
    assert training.verdict(np.inf, np.inf, 4) == "diverged"
    assert training.verdict(1.005, 1, 4) == training.verdict(0.995, 1, 4) == "the same"
    assert training.verdict(0.98, 1, 4) == "lower loss"
    assert training.verdict(1.02, 1, 4) == training.verdict(2.0, 1, 4) == "learns"
    assert training.verdict(2.1, 1.9, 4) == "learns less"
    assert training.verdict(2.1, 2.0, 4) == "does not learn"
    right, wrong = (training.LearningCurve([0, 1], np.array([[4.0], [last]]), []) for last in (1.0, 2.5))
    assert training.outcome(right, wrong).verdict == "does not learn"  # by its own losses, from 4 to 2.5


def test_networks_that_are_not_finite_are_left_out():
    """A run of other options than the studied one may diverge on some of its networks."""
    of = small(6, 3, epochs=1)
    params = training.draw_networks(of, 3)
    right = training.learning_curve(of.train(params, of.options), params, of, of.options)
    bad = right.parameters[-1]._replace(W_hh=right.parameters[-1].W_hh * np.array([1, np.nan, 1])[:, None, None])
    three = [*right.parameters[:-1], bad]
    two = [Parameters(*(None if v is None else v[::2] for v in params)) for params in three]
    options = changed(of.options, k2=5)
    last = [
        compare_steps(mutant(VARIANTS[0].name), right._replace(parameters=networks), of, options).by_epoch[-1]
        for networks in (three, two)
    ]
    assert last[0] == last[1] > 0
