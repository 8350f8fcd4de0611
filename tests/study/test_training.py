"""Disagreements and mistakes: their runs, final losses, verdicts, the equation that finds each, the published ones."""

import json
from functools import cache

import numpy as np
import pytest
from study_runs import near, small

import numpy_rnn
from numpy_rnn import Parameters
from numpy_rnn.study.checks.complex_step import step_losses, unrolled
from numpy_rnn.study.components.matrix import mask
from numpy_rnn.study.findings import NO_EFFECT, TrainingFindings, plain, restored
from numpy_rnn.study.page.exercises import PUZZLES
from numpy_rnn.study.subject import Subject, changed
from numpy_rnn.study.suite_parts import MUTANTS, mutant, named, plain_rnn, updates, wrong_functions
from numpy_rnn.study.training import outcomes as training
from numpy_rnn.study.training.disagreements import VARIANTS, disagreements
from numpy_rnn.study.training.mistakes import measure_training, mistake, published_training
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
        assert min(run.schedule.k2 for run in runs.values()) == 5  # so that the backward pass goes back
        momentum = {key: (run.step.momentum, run.step.nesterov) for key, run in runs.items() if run.step.momentum}
        assert momentum == {"momentum": (0.5, False), "nesterov": (0.5, True)}
        assert [runs[key].objective.reduction for key in ("mean", "sum")] == ["mean", "sum"]
        assert {key for key, run in runs.items() if run.objective.nonlinearity == "relu"} == {"relu"}
        assert [runs[key].schedule[:2] for key in ("sliding", "chunks", "biases")] == [(1, 5), (5, 5), (1, 5)]
    assert training.demo_runs(small(3, 3))["sliding"].options.schedule.k2 == 3


def final_alone(rnn, params, of, options):  # rnn: a program, or None for numpy_rnn itself
    """One network: Σ ℓ_t of a pass before and after training."""
    run = of.train(params, options) if rnn is None else updates(rnn, of.run_of(params, options))
    *_, last = run
    outputs = [unrolled([params] * len(of.x), of.x, of.h_0).y for params in (params, last.parameters)]
    return [step_losses(y, of.target).sum() for y in outputs]


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.key)
def test_a_disagreement_is_that_of_networks_trained_alone(variant):
    """Ratios and verdict, each network on its own and by numpy_rnn itself."""
    outcomes, found = shared()[0], shared()[1][variant.key]
    of, k = outcomes.subject, 5
    changes = {"sliding": {"k1": 1, "k2": k}, "chunks": {"k1": k, "k2": k}, "biases": {"k1": 1, "k2": k}}[variant.run]
    options = changed(of.options, **changes)
    networks = [numpy_rnn.initial_parameters(1, 3, 1, bias=True, dtype="float64", seed=seed) for seed in range(5)]
    right, wrong = (
        np.array([final_alone(rnn, params, of, options) for params in networks]).T
        for rnn in (None, program(variant.name))
    )
    (outcome,), ratios = found.outcomes, np.sort(wrong[-1] / right[-1])
    for part, rank in (("low", 0), ("median", 2), ("high", 4)):
        near(getattr(outcome.ratio, part), ratios[rank], part, rtol=1e-8)
    assert outcome.verdict == training.verdict(ratios[2], np.median(wrong[1]), np.median(wrong[0]))
    assert (outcome.learning_rate, outcome.diverged) == (0.1, 0)
    assert np.array_equal(found.right_counts > 0, mask(8, *options.schedule[:2]) > 0)
    if variant.key == "chunks":
        assert np.array_equal(found.counts, mask(8, k, k))


def test_a_mistake_has_the_numbers_of_its_disagreement():
    outcomes, by_key = shared()
    for variant in VARIANTS:
        if variant.name in PROGRAMS:  # and no mutant
            continue
        one, other = mistake(outcomes, named(variant.name)), by_key[variant.key]
        assert one.outcomes is other.outcomes
        assert one.shown_by == other.run
        assert one.verdict == other.outcomes[0].verdict


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
           "again": "loss", "mean": "loss", "squared": "dy", "two_biases": "b_h", "added_up": "dh"}  # fmt: skip

# At least one mutant of each run that shows some: the run, and the tensor that is named.
SHOWN_BY = {
    "zeros for h_0": ("k1 = 1, k2 = 5", "a"),
    "W_hh used without its transpose": ("k1 = 1, k2 = 5", "dh"),
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
def test_a_mistake_is_shown_by_the_first_run_that_it_changes():
    """And caught in the equation that it changes, on a very short run; what no run shows, a random case does."""
    outcomes = training.Outcomes(small(6, 2, epochs=1))
    result = [mistake(outcomes, named(name)) for name in SHOWN_BY]
    assert {one.name: (one.shown_by, one.caught.tensor) for one in result} == SHOWN_BY
    assert [one.name for one in result if one.verdict == "not in a run"] == ["softmax applied twice"]


def test_a_mistake_that_only_reports_moves_no_parameter():
    outcomes = training.Outcomes(small(5, 2, epochs=1))
    one = mistake(outcomes, named("mean of the losses, gradient of their sum"))
    assert [of.verdict for of in one.outcomes] == [NO_EFFECT]
    rounding = mistake(outcomes, named("float32 accumulator inside float64"))
    assert rounding.verdict == "the same"  # to a percent, and not to the bit


def test_where_networks_diverge_smaller_learning_rates_are_tried():
    outcomes = training.Outcomes(small(8, 3, epochs=3, learning_rate=0.1))
    of = outcomes.subject
    outcomes.subject = Subject(**vars(of) | {"run": of.run._replace(options=changed(of.options, learning_rate=8.0))})
    outcomes.runs = training.demo_runs(outcomes.subject)
    found = outcomes.of("tanh′ missing", "sliding")
    assert [one.learning_rate for one in found] == [8.0, 2.0, 0.5][: len(found)]
    assert len(found) > 1
    assert all(one.diverged for one in found[:-1])
    assert len(found) == 3 or not found[-1].diverged


def test_verdicts():
    assert training.verdict(np.nan, 1, 4) == "the correct run diverged"
    assert training.verdict(np.inf, np.inf, 4) == "diverged"
    assert training.verdict(1.005, 1, 4) == training.verdict(0.995, 1, 4) == "the same"
    assert training.verdict(0.98, 1, 4) == "lower loss"
    assert training.verdict(1.02, 1, 4) == training.verdict(2.0, 1, 4) == "learns"
    assert training.verdict(2.1, 1.9, 4) == "learns less"
    assert training.verdict(2.1, 2.0, 4) == "does not learn"
    right, wrong = (
        training.Trained(Parameters(np.array([last]), *2 * (np.zeros(1),)), np.array([4.0]), np.array([last]))
        for last in (1.0, 2.5)
    )
    assert training.outcome(right, wrong, 0.1).verdict == "does not learn"  # by its own losses, from 4 to 2.5


# -- published --------------------------------------------------------------------------------------------------------


def test_findings_of_training_are_restored_from_json():
    of = small(5, 2, epochs=1)
    found = measure_training(of, [named("2e for e"), named("softmax applied twice")])
    found.by_k.chunks[1][0] = np.inf
    text = json.dumps(plain(found), allow_nan=False)
    again = restored(TrainingFindings, json.loads(text))
    assert isinstance(again, TrainingFindings)
    assert np.isinf(again.by_k.chunks[1][0])
    assert plain(again) == json.loads(text)


def test_published_findings_are_of_the_default_experiment():
    """And the page's puzzles are among them. The numbers depend on the processor; two verdicts do not."""
    found = published_training()
    assert (found.series, found.networks, found.learning_rate) == ("sine wave", 32, 0.1)
    assert found.sizes == {"T": 20, "B": 1, "D": 1, "H": 6, "O": 1}
    assert found.epochs == 100
    assert set(found.by_k.chunks) == set(training.lengths(20))
    assert [one.key for one in found.disagreements] == [variant.key for variant in VARIANTS]
    verdicts = {one.name: one.verdict for one in found.mistakes}
    assert set(PUZZLES) <= set(verdicts)
    assert found.moved == sum(bool(one.outcomes) and one.outcomes[0].verdict != NO_EFFECT for one in found.mistakes)
    assert found.learn == sum(verdict in ("the same", "lower loss", "learns") for verdict in verdicts.values())
    backward = [one for one in found.mistakes if one.caught.equation in ("B2", "B3", "B5")]
    assert all("k2 = 5" in one.shown_by for one in backward)
    assert len(backward) > 5
    outcomes = training.Outcomes(small(20, 8, epochs=50))
    for name in ("2e for e", "dh_next dropped"):
        assert outcomes.of(name, "sliding")[0].verdict == verdicts[name], name
