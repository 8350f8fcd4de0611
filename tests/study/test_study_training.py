"""Disagreements and mistakes: their runs, curves, verdicts, and the equation that finds each."""

from pathlib import Path

import numpy as np
import pytest
from study_settings import CHOSEN, a_setting, bands_are, near, row, shared_run

import numpy_rnn
from numpy_rnn.app.experiment import prepare
from numpy_rnn.app.series import sine
from numpy_rnn.common.records import Parameters
from numpy_rnn.conformance.mutants.catalogue import MUTANTS, load, mutated_source, named
from numpy_rnn.conformance.mutants.score import names_the_stage
from numpy_rnn.study.checks.complex_step import step_losses, unrolled
from numpy_rnn.study.components.matrix import mask
from numpy_rnn.study.training import learning_curves as training
from numpy_rnn.study.training.disagreements import VARIANTS, _steps, disagreements
from numpy_rnn.study.training.mistakes import compare_lines, counts_of, mistakes


def test_the_runs_of_the_variants_and_their_length():
    """The same number of epochs for all; windows that overlap; nothing else than their names say."""
    long = a_setting(steps=12, k1=3, k2=9)
    for epochs in (2, 10**6):
        setting = long._replace(configuration=long.configuration.changed(epochs=epochs))
        of_runs = {key: run.configuration(setting) for key, run in training.named_runs(setting).items()}
        expected = min(epochs, training.MAX_UPDATES // 12)
        assert {of.epochs for of in of_runs.values()} == {expected}
        assert of_runs["configured"] == setting.configuration.changed(epochs=expected)
        of_momentum = {key: (of.momentum, of.nesterov) for key, of in of_runs.items() if of.momentum}
        assert of_momentum == {"momentum": (0.5, False), "nesterov": (0.5, True)}
        assert [of_runs[key].reduction for key in ("mean", "sum")] == ["mean", "sum"]
        assert {key for key, of in of_runs.items() if of.nonlinearity == "relu"} == {"relu"}
        windows = [(of_runs[key].k1, of_runs[key].k2) for key in ("sliding", "chunks", "biases")]
        assert windows == [(1, 5), (5, 5), (1, 5)]
    assert training.named_runs(a_setting(steps=3))["sliding"].changes["k2"] == 3
    assert {variant.run for variant in VARIANTS} == {"sliding", "chunks", "biases"}


def trained_alone(rnn, params, setting, configuration):
    """Of one network: Σ ℓ_t of a pass before training and after every epoch; and all parameters, one row each, before
    the first update and after each of the first epoch.
    """
    h_0, ends, path = setting.h_0, {0: params}, [row(params)]
    for update in rnn.train(params, setting.x, setting.target, h_0, **configuration.train_options()):
        ends[update.epoch] = update.parameters
        path += [row(update.parameters)] if update.epoch == 1 else []
    outputs = [unrolled([of] * len(setting.x), setting.x, h_0).y for of in ends.values()]
    return [step_losses(y, setting.target).sum() for y in outputs], np.array(path)


def difference(right, wrong):
    return np.linalg.norm(wrong - right) / np.linalg.norm(right)


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.key)
def test_a_disagreement_is_that_of_networks_trained_alone(variant):
    """Curves, ratios, verdict and the steps of the first epoch, each network on its own and by numpy_rnn itself."""
    setting, findings = shared_run()
    [found] = [one for one in findings["training"]["disagreements"] if one["key"] == variant.key]
    k = 5
    changes = {"sliding": {"k1": 1, "k2": k}, "chunks": {"k1": k, "k2": k}, "biases": {"k1": 1, "k2": k}}[variant.run]
    configuration, wrong = setting.configuration.changed(**changes), load(named(variant.mutant))
    networks = [prepare(setting.configuration.changed(seed=seed)).params for seed in range(5)]
    curves, paths = {}, {}
    for side, rnn in (("right", numpy_rnn), ("wrong", wrong)):
        alone = [trained_alone(rnn, params, setting, configuration) for params in networks]
        curves[side], paths[side] = np.array([losses for losses, _ in alone]).T, [path for _, path in alone]
        near(found[side]["final"], curves[side][-1], side)
        bands_are(found[side], curves[side].T, side)
        assert found[side]["final_median"] == found[side]["median"][-1]
        assert found[side]["worse_than_untrained"] == (curves[side][-1] > curves[side][0]).sum()
    ratios = np.sort(curves["wrong"][-1] / curves["right"][-1])
    near([found["ratio"][part] for part in ("low", "median", "high")], ratios[[0, 2, 4]], "ratio")
    first, last = (np.median(curves["wrong"][epoch]) for epoch in (0, -1))
    assert found["verdict"] == training.verdict(ratios[2], last, first)

    both = list(zip(*paths.values()))
    of_epoch = [difference(right[-1] - right[0], wrong[-1] - wrong[0]) for right, wrong in both]
    near(found["steps"]["of_epoch"][0], np.median(of_epoch), "of_epoch")
    if variant.key == "chunks":
        assert found["steps"]["of_step"] is None  # other updates
        assert np.array_equal(found["counts"], mask(8, k, k))
        return
    moves = [[np.diff(path, axis=0) for path in of_network] for of_network in both]
    near(found["steps"]["of_step"][0], np.median([difference(*of_both) for of_both in moves]), "of_step")
    by_update = np.median([[difference(*steps) for steps in zip(*of_both)] for of_both in moves], axis=0)
    number = int(np.flatnonzero(by_update > 1e-7)[0])
    assert found["steps"]["first_update"] == number + 1
    near(found["steps"]["first_difference"], by_update[number], "first_difference")
    assert np.array_equal(np.array(found["right_counts"]) > 0, mask(8, configuration.k1, k) > 0)


def test_a_mistake_has_the_numbers_of_its_disagreement():
    findings = shared_run()[1]["training"]
    by_name = {one["name"]: one for one in findings["disagreements"]}
    assert [one["name"] for one in findings["mistakes"]] == [mutant.name for mutant in CHOSEN]
    for one in findings["mistakes"]:
        if one["shown_by"] is None:
            assert one["verdict"] == "not in a run"
            continue
        ratio, last = (np.inf if v is None else v for v in (one["ratio"]["median"], one["wrong"]["median"][-1]))
        assert one["verdict"] == training.verdict(ratio, last, one["wrong"]["median"][0]), one["name"]
        if other := by_name.get(one["name"]):
            assert (one["ratio"], one["verdict"], one["shown_by"]) == (other["ratio"], other["verdict"], other["run"])
            for side in ("right", "wrong"):
                assert one[side]["median"] == other[side]["median"]
    assert any(one["shown_by"] == "as configured" for one in findings["mistakes"])


def test_the_networks_of_an_outcome_train_as_each_would_alone():
    """Mutants too: none but the one about ensembles lets a network see the others. float32, so to some digits."""
    setting = a_setting(steps=6, epochs=1)
    run = training.named_runs(setting)["momentum"]
    together, configuration = run.networks(setting, 2), run.configuration(setting)
    alone = Parameters(*(None if v is None else v[1] for v in together))
    for mutant in MUTANTS:
        if mutant.name == "one norm for all networks of an ensemble":
            continue
        rnn = load(mutant)
        curves = [training.learning_curve(rnn, of, setting, configuration) for of in (together, alone)]
        of_both, of_one = (curve.parameters[-1] for curve in curves)
        for theta, other in zip(of_one, of_both):
            if theta is not None:
                np.testing.assert_allclose(theta, other[1], rtol=1e-3, atol=1e-4, err_msg=mutant.name)


def test_wrong_lines_stand_in_the_wrong_source_and_right_ones_in_the_right():
    folder = Path(numpy_rnn.__file__).parent
    for mutant in MUTANTS:
        places = compare_lines(mutant)
        assert {place["module"] for place in places} == {f"{module}.py" for module, _, _ in mutant.changes}
        for place in places:
            assert place["right"] != place["wrong"], mutant.name
            source = (folder / place["module"]).read_text(encoding="utf-8")
            wrong = mutated_source(mutant, place["module"].removesuffix(".py"), source)
            for shown, text in ((place["right"], source), (place["wrong"], wrong)):
                assert {line.strip() for line in shown.splitlines()} <= {line.strip() for line in text.splitlines()}
            shown = (place["right"] + "\n" + place["wrong"]).splitlines()
            assert min(len(line) - len(line.lstrip()) for line in shown if line) == 0, mutant.name


# At least one mutant of each run that shows some: the run, and the tensor that is named.
SHOWN_BY = {
    "zeros for h_0": ("as configured", "initial"),  # windows of one step, from the state that the window before left
    "W_hh and W_hh in dh_0 used without transposes": ("as configured", "dh_0"),
    "no flow from step to step": ("as configured", "dh_0"),
    "only one step back": ("k1 = 1, k2 = 5", "dh"),
    "mean for sum": ("k1 = 5, k2 = 5", "loss"),
    "hidden bias left out": ("k1 = 1, k2 = 5, biases", "a"),
    "clipping per tensor": ("float64, k1 = 1, k2 = 5, biases, max_norm", "W_xh"),
    "float32 products inside float64": ("float64, k1 = 1, k2 = 5, biases, max_norm", "a"),
    "the tail of the series dropped": ("k1 = 3, k2 = 5, mean", "window"),
    "relu′ missing": ("relu, k1 = 1, k2 = 5", "da"),
    "dampening left out": ("momentum, dampening, decay, max_norm, learned h₀", "vW_xh"),
    "nesterov forgotten": ("nesterov", "W_xh"),
    "one norm for all networks of an ensemble": ("an ensemble, max_norm", "W_xh"),
    "mean over the steps alone": (None, "loss"),
    "db_h not summed over the batch": (None, "db_h"),
    "W_xh not transposed where it is square": (None, "dx"),
}


@pytest.mark.slow
def test_a_mistake_is_caught_and_named_in_the_first_run_that_can_show_it():
    """By the equation that it changes, on a very short run; what no run shows, a random case does."""
    mutants = tuple(map(named, SHOWN_BY))
    result = mistakes(training.Outcomes(a_setting(seeds=2, steps=5, epochs=1)), mutants)
    assert {one["name"]: (one["shown_by"], one["caught"]["tensor"]) for one in result} == SHOWN_BY
    for one, mutant in zip(result, mutants):
        assert one["caught"]["ratio"] is None or one["caught"]["ratio"] > 1
        assert one["shown_by"] == "as configured" or names_the_stage(mutant, "L1", one["caught"]["tensor"])


def test_verdicts():
    assert training.verdict(np.nan, 1, 4) == "the correct run diverged"
    assert training.verdict(np.inf, np.inf, 4) == "diverged"
    assert training.verdict(1.005, 1, 4) == training.verdict(0.995, 1, 4) == "the same"
    assert training.verdict(0.98, 1, 4) == "lower loss"
    assert training.verdict(1.02, 1, 4) == training.verdict(2.0, 1, 4) == "learns"
    assert training.verdict(2.1, 1.9, 4) == "learns less"
    assert training.verdict(2.1, 2.0, 4) == "does not learn"
    right, wrong = (training.LearningCurve([0, 1], np.array([[4.0], [last]]), []) for last in (1.0, 2.5))
    assert training.Outcome(right, wrong).findings()["verdict"] == "does not learn"  # by its own losses, from 4 to 2.5
    kinds = ("the same", "lower loss", "learns", "learns less", "does not learn", "diverged", "not in a run")
    counts = {kind: 2**n for n, kind in enumerate(kinds)}
    made = [{"verdict": kind, "caught": {"tensor": None}} for kind, count in counts.items() for _ in range(count)]
    made[0]["caught"]["tensor"] = "a"
    expected = {"all": 127, "in_a_run": 63, "learns": 7, "same": 1, "caught": 1, "by_case": 64, "less": 8, "not": 16}
    assert counts_of(made) == expected | {"diverged": 32}


def test_two_features_are_measured(tmp_path):
    path = tmp_path / "two.csv"
    np.savetxt(path, np.column_stack((sine(), sine()[::-1])), delimiter=",")
    setting = a_setting(seeds=2, epochs=1, data=str(path))
    result = disagreements(training.Outcomes(setting))
    assert setting.x.shape[-1] == 2
    mean = next(one for one in result if one["key"] == "mean")
    assert np.max(mean["counts"]) == 1 / 10  # N = 5 steps × 2 outputs


def test_networks_that_are_not_finite_leave_the_medians_of_the_others():
    """A run of other options than the studied one may diverge on some of its networks."""
    setting = a_setting(seeds=3, steps=6, epochs=1)
    right = training.learning_curve(numpy_rnn, training.draw_networks(setting, 3), setting, setting.configuration)
    bad = right.parameters[-1]._replace(W_hh=right.parameters[-1].W_hh * np.array([1, np.nan, 1])[:, None, None])
    two = [Parameters(*(None if v is None else v[::2] for v in params)) for params in (*right.parameters[:-1], bad)]
    mutant = load(named(VARIANTS[0].mutant))
    configuration = setting.configuration.changed(k2=5)
    of_three = _steps(mutant, right._replace(parameters=[*right.parameters[:-1], bad]), setting, configuration)
    of_two = _steps(mutant, right._replace(parameters=two), setting, configuration)
    assert of_three["of_epoch"][-1] == of_two["of_epoch"][-1] is not None
    assert of_three["of_step"][-1] == of_two["of_step"][-1] is not None
