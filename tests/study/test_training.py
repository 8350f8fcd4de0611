"""The run that is studied; disagreements and mistakes: which components they count, at which weights, and what they do
to training; the published findings.

Networks of relu with small whole numbers (and a learning rate that is a power of two) are computed in float64 without
any rounding; so what two programs make of them must be equal to the last bit, and no tolerance is needed.
"""

import json
from contextlib import nullcontext
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from study_runs import near, small, whole_series, with_options

import numpy_rnn
from numpy_rnn import Parameters
from numpy_rnn.common.errors import Diverged
from numpy_rnn.common.records import Objective, Run, RunOptions, Schedule, Step
from numpy_rnn.study.checks.complex_step import forward, passes, step_losses
from numpy_rnn.study.checks.equations import case_of, row
from numpy_rnn.study.components.matrix import (
    added_up,
    component_matrix,
    divisors,
    flat,
    mask,
    pairs,
)
from numpy_rnn.study.findings import NO_EFFECT, FinalLosses, band, plain
from numpy_rnn.study.page.pages import PUZZLES
from numpy_rnn.study.subject import (
    DIVERGED_FACTOR,
    Snapshot,
    changed,
    check_losses,
    snapshot_epochs,
)
from numpy_rnn.study.suite_parts import MUTANTS, changes, named, trained, updates
from numpy_rnn.study.training import mistakes
from numpy_rnn.study.training import outcomes as training
from numpy_rnn.study.training.programs import PROGRAMS, program


def test_the_snapshots_are_the_parameters_of_the_run():
    rounds = {0: [0], 1: [0, 1], 7: [0, 1, 2, 5, 7], 300: [0, 1, 2, 5, 10, 20, 50, 100, 200, 300]}
    assert {epochs: snapshot_epochs(epochs) for epochs in rounds} == rounds
    of = small(epochs=7, hidden_size=3, k1=2, k2=3, momentum=0.5)
    assert [snapshot.epoch for snapshot in of.snapshots] == [0, 1, 2, 5, 7]
    params, x, target, h_0, *_ = of.run
    assert params.W_hh.dtype == np.float32
    run = numpy_rnn.train(
        params, x, target, h_0, k1=2, k2=3, momentum=0.5, learning_rate=0.1, epochs=7
    )
    last = {0: params} | {update.epoch: update.parameters for update in run}
    for epoch, params in of.snapshots:
        assert all(np.array_equal(*pair) for pair in zip(params[:3], last[epoch][:3]))
        assert params.W_hh.dtype == of.x.dtype == np.float64


def test_a_loss_of_a_thousand_times_the_untrained_diverged():
    """With targets of zero the loss is a square of the output weights."""
    of = small(epochs=3, hidden_size=3, dtype="float64")
    for factor, diverges in ((999.0, False), (1001.0, True)):
        grown = of.start._replace(W_hy=of.start.W_hy * np.sqrt(factor))
        snapshots = (Snapshot(0, of.start), Snapshot(1, grown))
        with pytest.raises(Diverged, match="by epoch 1") if diverges else nullcontext():
            check_losses(replace(of, snapshots=snapshots, target=0 * of.target))


@pytest.mark.parametrize(
    ("options", "rate", "finite"),
    [({"nonlinearity": "relu"}, 50.0, False), ({"k1": 50, "k2": 50}, 1e4, True)],
)
def test_the_loss_of_what_has_diverged_is_infinite(options, rate, finite):
    """Also where the loss is finite, and only far above that of the untrained network."""
    of = small(None, 3, epochs=1, **options)
    params, wild = training.draw_networks(of, 8), changed(of.options, learning_rate=rate)
    result = training.last_of(of.train(params, wild), params, of, wild)
    before, after = training.losses_of_a_pass([params, result.parameters], of, of.nonlinearity)
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
    plain_ones, learned = training.draw_networks(small(seed=7), 2), small(learn_initial_state=True)
    for n in (0, 1):
        alone = numpy_rnn.initial_parameters(1, 6, 1, dtype="float32", seed=7 + n)
        assert all(
            np.array_equal(theta[n], right) for theta, right in zip(plain_ones[:3], alone[:3])
        )
    assert plain_ones[3:] == (None, None, None)
    other = training.draw_networks(small(), 2, bias=True, dtype="float64", is_learned=True)
    for zeros in (other.b_h, other.h_0, training.draw_networks(learned, 2).h_0):
        assert zeros.shape in ((2, 6), (2, 1, 6))
        assert not zeros.any()
    assert other.W_hh.dtype == other.h_0.dtype == np.float64


def test_final_losses_are_those_of_tbptt_of_these_lengths():
    of = small(4, 2, epochs=2)
    result = training.by_length(of)
    assert list(result.chunks) == list(result.sliding) == training.lengths(4) == [1, 2, 3, 4]
    assert training.lengths(20) == [1, 2, 3, 5, 10, 20]
    params = training.draw_networks(of, 2)
    for kind, runs in (("chunks", result.chunks), ("sliding", result.sliding)):
        for k, final in runs.items():
            options = changed(of.options, k1=k if kind == "chunks" else 1, k2=k)
            assert np.array_equal(
                final, training.last_of(of.train(params, options), params, of, options).final
            )
        assert (
            result.best(kind)
            == min((float(np.median(final)), k) for k, final in runs.items())[::-1]
        )
    every, one = np.full(2, np.inf), np.array([1.0, np.inf])
    wild = FinalLosses({1: every, 2: every}, {1: every, 2: one})
    assert [(of.kind, of.k, of.networks) for of in (*result.diverged, *wild.diverged)] == [
        ("chunks", 1, 2), ("chunks", 2, 2), ("a sliding window", 2, 1)
    ]  # fmt: skip
    assert wild.best("chunks") is None


# -- which components wrong truncations count -------------------------------------------------------------------------

STEPS, RATE = 6, 2.0**-9
VARIANTS = {variant.key: variant for variant in mistakes.VARIANTS}


def one_epoch(of, params, x, target, h_0, k1, k2, learning_rate=0.0):
    """The updates of a program, or of numpy_rnn itself."""
    options = RunOptions(Schedule(k1, k2), Objective("relu"), Step(learning_rate))
    if of is numpy_rnn:
        return list(numpy_rnn.train(params, x, target, h_0, record=True, **options.keywords()))
    return list(updates(of, Run(params, x, target, h_0, None, options)))


def counted_again(steps, k1, k2):
    """How often a component is counted where every step of every window has a loss."""
    counts = np.zeros((steps, steps))
    for start, _, stop in numpy_rnn.windows(steps, k1, k2):
        for t in range(start + 1, stop + 1):
            counts[t - 1, start:t] += 1
    return counts


WEIGHTS = {  # by what components are multiplied in the sum over an epoch; by the definition if it is not here
    "one_more": lambda T, k1, k2: mask(T, k1, k2 + 1),
    "chunks": lambda T, k1, k2: mask(T, k2, k2),
    "again": counted_again,
    "mean": lambda T, k1, k2: mask(T, k1, k2) / divisors(T, k1, 1),
    "squared": lambda T, k1, k2: 2 * mask(T, k1, k2),
    "added_up": added_up,
}


@pytest.mark.parametrize("key", ["numpy_rnn", "definition", *VARIANTS])
def test_gradients_of_an_epoch_are_weighted_components(key):
    """With a learning rate of 0 nothing moves; for all 1 ≤ k1 ≤ k2 ≤ T, and to the last bit but for the division."""
    params, x, target, h_0 = whole_series(1)
    G = flat(component_matrix(params, x, target, h_0, "relu"))
    assert np.array_equal(np.any(G, axis=-1), np.tri(STEPS))  # which can tell the masks apart
    assert np.abs(G).sum() < 2**40  # so no sum of them, times any count that there is, rounds
    rnn = (
        program(VARIANTS[key].name)
        if key in VARIANTS
        else {"numpy_rnn": numpy_rnn, "definition": trained}[key]
    )
    for k1, k2 in pairs(STEPS):
        # Under "mean" every update divides whole numbers by N once in y − target, and sums and products of
        # fractions with that denominator round. Where N is a power of two, as 1, 2 and 4 are, nothing does.
        if key == "mean" and not np.isin(divisors(STEPS, k1, 1), (1, 2, 4)).all():
            continue
        result = sum(
            row(update.gradients) for update in one_epoch(rnn, params, x, target, h_0, k1, k2)
        )
        assert np.array_equal(
            result, np.einsum("ts,tsn->n", WEIGHTS.get(key, mask)(STEPS, k1, k2), G)
        ), (k1, k2)


def test_the_wrong_reduction_is_the_other_one():
    assert [one.name for one in mistakes.variants("sum")][6] == "mean for sum"
    assert [one.name for one in mistakes.variants("mean")][5:7] == ["sum for mean", "2e for e"]


def test_replay_starts_from_the_state_of_the_newest_weights():
    params, x, target, h_0 = whole_series(3, steps=3)
    replay = program("states replayed from the start with the current weights")
    right, replayed = (
        one_epoch(rnn, params, x, target, h_0, 1, 1, RATE) for rnn in (numpy_rnn, replay)
    )
    assert np.array_equal(replayed[0].activations.h[0], h_0)
    for t in (1, 2):
        again = numpy_rnn.forward(replayed[t - 1].parameters, x, h_0, nonlinearity="relu").h[t]
        assert np.array_equal(replayed[t].activations.h[0], again)
        assert not np.array_equal(right[t].activations.h[0], again)


@pytest.mark.no_perturb
@pytest.mark.needs_torch
@pytest.mark.parametrize(("key", "in_place"), [("stale_now", True), ("stale_then", False)])
def test_pytorch_computes_stale_gradients(key, in_place):
    """On a graph that is kept: (B2) takes the current weights if they are changed in place, and those of the forward
    pass if every update makes new ones.

    The first target is what the network gives, so that only the second update moves the weights: step 2 was computed
    with other ones than step 3, and all numbers have few bits.
    """
    import torch

    params, x, target, h_0 = whole_series(3, steps=3)
    target[0] = numpy_rnn.forward(params, x, h_0, nonlinearity="relu").y[0]
    updates = one_epoch(program(VARIANTS[key].name), params, x, target, h_0, 1, 3, RATE)
    W_xh, W_hh, W_hy = (torch.tensor(theta, requires_grad=True) for theta in params[:3])
    leaves, h = [(W_xh, W_hh, W_hy)], torch.tensor(h_0)
    for t, update in enumerate(updates):
        W_xh, W_hh, W_hy = leaves[-1]
        h = torch.relu(torch.tensor(x[t]) @ W_xh + h @ W_hh)
        loss = 0.5 * (h @ W_hy - torch.tensor(target[t])).square().sum()
        distinct = [v for leaf in (leaves[-1:] if in_place else leaves) for v in leaf]
        by_step = torch.autograd.grad(loss, distinct, retain_graph=True, allow_unused=True)
        sums = [sum(g for g in by_step[i::3] if g is not None) for i in range(3)]
        assert np.array_equal(
            row(update.gradients), np.concatenate([g.numpy().ravel() for g in sums])
        )
        if in_place:
            for theta, g in zip(leaves[-1], sums):
                theta.data -= RATE * g
        else:
            leaves.append(
                tuple((v - RATE * g).detach().requires_grad_() for v, g in zip(leaves[-1], sums))
            )


# -- what they do to training -----------------------------------------------------------------------------------------


@cache
def shared():
    """A run of five networks, its outcomes and its disagreements."""
    outcomes = training.Outcomes(small(8, 5, epochs=4, hidden_size=3, bias=True, dtype="float64"))
    return outcomes, {one.key: one for one in mistakes.disagreements(outcomes)}


def test_the_runs_of_the_variants_and_their_length():
    """The same number of epochs for all; windows that overlap; nothing else than their names say."""
    long = small(12, 3, k1=3, k2=9, epochs=4)
    for epochs in (2, 10**6):
        runs = {
            key: run.options
            for key, run in training.demo_runs(with_options(long, epochs=epochs)).items()
        }
        assert {run.schedule.epochs for run in runs.values()} == {
            min(epochs, training.MAX_UPDATES // 12)
        }
        k1 = {"chunks": 5, "mean": 3, "sum": 3}
        assert {key: run.schedule[:2] for key, run in runs.items()} == {
            key: (k1.get(key, 1), 5) for key in runs
        }
        momentum = {key: run.step.momentum for key, run in runs.items() if run.step.momentum}
        assert momentum == {"momentum": 0.5, "nesterov": 0.5}
        assert [runs[key].objective.reduction for key in ("mean", "sum")] == ["mean", "sum"]
        assert {key for key, run in runs.items() if run.objective.nonlinearity == "relu"} == {
            "relu"
        }
    assert training.demo_runs(small(3, 3))["sliding"].options.schedule.k2 == 3


def final_alone(run, params, of):
    """One network and its updates: Σ ℓ_t of a pass before and after training."""
    *_, last = run
    cases = [passes(case_of(of, params, of.x, of.target)) for params in (params, last.parameters)]
    return [step_losses(forward(case, {})["y"], of.target).sum() for case in cases]


@pytest.mark.parametrize("key", ["stale_now", "stale_then", "mean", "two_biases"])
def test_a_disagreement_is_that_of_networks_trained_alone(key):
    """Ratios and verdict, each network on its own and by numpy_rnn itself; a mutant's are those of its mistake."""
    outcomes, found, variant, k = shared()[0], shared()[1][key], VARIANTS[key], 5
    of = outcomes.subject
    options = changed(of.options, k1=k if variant.run == "chunks" else 1, k2=k)
    networks = [
        numpy_rnn.initial_parameters(1, 3, 1, bias=True, dtype="float64", seed=seed)
        for seed in range(5)
    ]
    right = np.array([final_alone(of.train(params, options), params, of) for params in networks]).T
    runs = (updates(program(variant.name), of.run_of(params, options)) for params in networks)
    wrong = np.array([final_alone(*of_network, of) for of_network in zip(runs, networks)]).T
    (outcome,), ratios = found.outcomes, np.sort(wrong[-1] / right[-1])
    for part, rank in (("low", 0), ("median", 2), ("high", 4)):
        near(getattr(outcome.ratio, part), ratios[rank], part, rtol=1e-8)
    assert outcome.verdict == training.verdict(ratios[2], np.median(wrong[1]), np.median(wrong[0]))
    assert (outcome.learning_rate, outcome.diverged) == (0.1, 0)
    if variant.name not in PROGRAMS:
        one = mistakes.mistake(outcomes, named(variant.name))
        assert one.outcomes is found.outcomes
        assert one.shown_by == found.run


# At least one mutant of each run that shows some: the run, and the tensor that is named.
SHOWN_BY = {
    "zeros for h_0": ("k1 = 1, k2 = 5", "a"),
    "mean for sum": ("k1 = 5, k2 = 5", "loss"),
    "a trained second hidden bias": ("k1 = 1, k2 = 5, biases", "b_h"),
    "clipping per tensor": ("float64, k1 = 1, k2 = 5, biases, max_norm", "W_xh"),
    "sum for mean": ("k1 = 3, k2 = 5, mean", "loss"),
    "relu′ missing": ("relu, k1 = 1, k2 = 5", "da"),
    "dampening at the first step too": (
        "momentum, dampening, decay, max_norm, learned h₀",
        "vW_xh",
    ),
    "nesterov forgotten, or from the velocity before the step": ("nesterov", "W_xh"),
    "10⁻⁸ outside the root": ("adagrad", "W_xh"),
    "softmax applied twice": (None, "loss"),
    "mean of the losses, gradient of their sum": ("k1 = 3, k2 = 5, sum", "loss"),
    "float32 accumulator inside float64": ("float64, k1 = 1, k2 = 5, biases, max_norm", "dW_hh"),
}


def test_what_a_run_changes():
    """The other options are those of the run that is studied, but for the epochs of a long one."""
    of = small(
        20, epochs=300, learning_rate=0.5, momentum=0.3, nesterov=True, max_norm=0.7, k1=2, k2=4
    )
    own, slow = of.options.keywords(), {"k1": 1, "k2": 5, "learning_rate": 0.1}
    drawn = {"bias": None, "dtype": None, "is_learned": False}
    changes, window = {}, {"k1": 1, "k2": 5}
    for name, run in training.demo_runs(of).items():
        options = run.options.keywords()
        assert options["epochs"] == 100
        changes[name] = {
            key: value for key, value in options.items() if value != own[key] and key != "epochs"
        }
        changes[name] |= {
            key: getattr(run, key) for key in drawn if getattr(run, key) != drawn[key]
        }
    plain = {"momentum": 0.0, "nesterov": False}
    assert changes == {
        "sliding": window, "chunks": {"k1": 5, "k2": 5}, "biases": window | {"bias": True},
        "float64": window | {"max_norm": 0.5, "bias": True, "dtype": "float64"},
        "mean": {"k1": 3, "k2": 5, "reduction": "mean", "bias": True}, "sum": {"k1": 3, "k2": 5, "bias": True},
        "relu": slow | {"nonlinearity": "relu", "bias": True},
        "momentum": slow | plain | {"momentum": 0.5, "dampening": 0.25, "weight_decay": 0.001, "max_norm": 0.5,
                                    "bias": True, "is_learned": True},
        "nesterov": slow | {"momentum": 0.5, "bias": True},
        "adagrad": slow | plain | {"adagrad": True, "bias": True},
    }  # fmt: skip
    short = small(3, epochs=1)
    assert [run.options.schedule for run in training.demo_runs(short).values()][:5] == [
        (1, 3, 1), (3, 3, 1), (1, 3, 1), (1, 3, 1), (3, 3, 1)
    ]  # fmt: skip
    many = replace(short, x=np.zeros((3000, 1, 1)))
    assert training.demo_epochs(many) == 1


def test_the_networks_of_an_outcome_train_as_each_would_alone():
    """Mutants too: none lets a network see the others. float32, so to some digits."""
    of = small(6, 3, epochs=1)
    run = training.demo_runs(of)["momentum"]
    together = run.networks(of, 2)
    for one in [one.name for one in MUTANTS] + [*PROGRAMS]:
        sides = (program(one), together), (program(one), training.one_network(together, 1))
        both, single = (
            list(updates(side, of.run_of(params, run.options)))[-1].parameters
            for side, params in sides
        )
        for theta, other in zip(single, both):
            if theta is not None:
                np.testing.assert_allclose(theta, other[1], rtol=1e-3, atol=1e-4, err_msg=one)


def test_the_lines_of_a_mutant_are_shown_as_functions():
    """Those of the catalogue itself, next to those of the definition; of every mutant."""
    head = "def state_adjoint(n, w, p, t):\n    return n.affine([(w.dy[t], p.W_hy.mT)"
    assert changes(named("dh_next dropped")) == [
        (f"{head}, (w.da[t + 1], p.W_hh.mT)])", f"{head}])")
    ]
    starts = {
        "clipping per tensor": "def clipped(n, d, p, step):\n    if step.max_norm is None:\n        return right.",
        "mean of the losses, gradient of their sum": 'loss_and_error = with_reductions("mean", None)\n\ndef with_',
        "activations of stale weights kept": "def carried_state(self, states, window, epoch):\n    self.past,",
    }
    for name, start in starts.items():
        assert changes(named(name))[0][1].startswith(start), name
    for one in MUTANTS:
        assert len(changes(one)) == len(one.functions)
        for correct, wrong in changes(one):
            assert compile(correct, one.name, "exec") != compile(wrong, one.name, "exec")


@pytest.mark.slow
def test_a_mistake_is_shown_by_the_first_run_it_changes():
    """And caught in the equation that it changes, on a very short run; what no run shows, a random case does."""
    outcomes = training.Outcomes(small(6, 2, epochs=1))
    result = [mistakes.mistake(outcomes, named(name)) for name in SHOWN_BY]
    assert {one.name: (one.shown_by, one.caught.tensor) for one in result} == SHOWN_BY
    assert [one.verdict for one in result[-3:]] == [
        "not in a run",
        NO_EFFECT,
        "the same",
    ]  # to a percent


def test_where_networks_diverge_smaller_rates_are_tried():
    outcomes = training.Outcomes(small(8, 3, epochs=3, learning_rate=0.1))
    outcomes.subject = with_options(outcomes.subject, learning_rate=8.0)
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
        training.Trained(
            Parameters(np.array([last]), *2 * (np.zeros(1),)), np.array([4.0]), np.array([last])
        )
        for last in (1.0, 2.5)
    )
    assert (
        training.outcome(right, wrong, 0.1).verdict == "does not learn"
    )  # by its own losses, from 4 to 2.5
    lost = right._replace(parameters=Parameters(*3 * (np.array([np.nan]),)))
    assert training.outcome(lost, lost, 0.1).verdict == NO_EFFECT


def test_published_findings_are_of_the_default_experiment():
    """And the page's puzzles are among them. The numbers depend on the processor; two verdicts do not."""
    found, text = mistakes.published_training(), mistakes.PUBLISHED.read_text(encoding="utf-8")
    assert plain(found) == json.loads(text)  # also what is infinite
    assert np.isinf(found.by_k.chunks[20]).any()
    assert (found.series, found.networks, found.learning_rate, found.epochs) == (
        "sine wave",
        32,
        0.1,
        100,
    )
    assert found.sizes == {"T": 20, "B": 1, "D": 1, "H": 6, "O": 1}
    assert set(found.by_k.chunks) == set(training.lengths(20))
    assert [one.key for one in found.disagreements] == [
        variant.key for variant in mistakes.VARIANTS
    ]
    verdicts = {one.name: one.verdict for one in found.mistakes}
    assert list(verdicts) == [one.name for one in MUTANTS]  # else run the command again
    assert set(PUZZLES) <= set(verdicts)
    assert all(one.changes and one.functions for one in found.mistakes)
    assert "def " not in text
    outcomes = training.Outcomes(small(20, 3, epochs=50))
    for name in ("2e for e", "dh_next dropped"):
        assert outcomes.of(name, "sliding")[0].verdict == verdicts[name], name
