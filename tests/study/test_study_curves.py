"""The yardstick of training: losses of a pass, learning curves of many networks, and TBPTT by its lengths."""

import numpy as np
import pytest
from study_settings import a_setting, whole_numbers

import numpy_rnn
from numpy_rnn.app.configuration import Configuration
from numpy_rnn.app.experiment import prepare
from numpy_rnn.common.records import Parameters
from numpy_rnn.study.checks.complex_step import step_losses, unrolled
from numpy_rnn.study.setting import DIVERGED_FACTOR, rounded
from numpy_rnn.study.training import learning_curves as curves

# -- the yardstick --------------------------------------------------------------------------------------------------


def test_a_course_has_the_weights_that_an_epoch_left():
    """Whatever the number of updates; the weights as drawn before the first."""
    setting = a_setting(epochs=3)
    params = curves.draw_networks(setting, 2)
    for k1 in (1, 7, 50):
        configuration = setting.configuration.changed(k1=k1, k2=50)
        result = curves.learning_curve(numpy_rnn, params, setting, configuration)
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
    result = curves.losses_of_a_pass([stacked, stacked], setting, setting.configuration)
    expected = [step_losses(unrolled([p] * len(x), x, h_0, "relu").y, target).sum() for p in (params, other)]
    assert expected[0] != expected[1]
    assert np.array_equal(result, [expected, expected])


@pytest.mark.parametrize(
    ("options", "rate", "finite"), [({"nonlinearity": "relu"}, 50.0, False), ({"k1": 50, "k2": 50}, 1e4, True)]
)
def test_what_has_diverged_is_infinite_and_counted(options, rate, finite):
    """Also where the loss is finite, and only far above that of the untrained network."""
    setting = a_setting(epochs=1, **options)
    configuration = setting.configuration.changed(learning_rate=rate)
    result = curves.learning_curve(numpy_rnn, curves.draw_networks(setting, 8), setting, configuration)
    losses = curves.losses_of_a_pass(result.parameters, setting, configuration)
    expected = np.where(losses <= DIVERGED_FACTOR * losses[0], losses, np.inf)
    assert np.array_equal(result.losses, expected)
    assert np.isfinite(losses[-1]).all() == finite
    of_all = curves.summary(result)
    assert of_all["diverged"] == of_all["final"].count(None) == np.isinf(expected[-1]).sum() > 0


def test_quantiles_are_values_of_networks_and_know_infinity():
    losses = np.array([*range(1, 9), np.inf, np.inf])
    assert curves.quantiles(losses).tolist() == [1, 5, np.inf]
    assert rounded([1.00000004, np.inf, np.nan]) == [1.0, None, None]


def test_networks_are_those_that_the_seeds_draw():
    setting = a_setting(seed=7)
    members = curves.draw_networks(setting, 2)
    for n in (0, 1):
        alone = prepare(Configuration(seed=7 + n)).params
        assert all(np.array_equal(theta[n], right) for theta, right in zip(members[:3], alone[:3]))
    assert not curves.draw_networks(setting, 2, bias=True).b_h.any()
    assert curves.draw_networks(setting, 2, dtype="float64").W_hh.dtype == np.float64


def test_epochs_looked_at():
    assert curves.curve_epochs(0) == [0]
    assert curves.curve_epochs(3) == [0, 1, 2, 3]
    many = curves.curve_epochs(3000)
    assert (many[0], many[1], many[-1]) == (0, 1, 3000)
    assert len(many) <= 62


# -- by k and disagreements -----------------------------------------------------------------------------------------


def test_by_k_is_tbptt_of_these_lengths():
    setting = a_setting(seeds=2, steps=4, epochs=2)
    result = curves.by_k(setting)
    assert result["ks"] == curves.lengths(4) == [1, 2, 3, 4]
    assert [(run["k1"], run["k2"]) for run in result["chunks"]] == [(k, k) for k in (1, 2, 3, 4)]
    assert [(run["k1"], run["k2"]) for run in result["sliding"]] == [(1, k) for k in (1, 2, 3, 4)]
    for run in result["chunks"] + result["sliding"]:
        configuration = setting.configuration.changed(k1=run["k1"], k2=run["k2"])
        of_two = curves.learning_curve(numpy_rnn, curves.draw_networks(setting, 2), setting, configuration).losses[-1]
        assert run["final"] == rounded(of_two)
    for kind in ("chunks", "sliding"):
        medians = {run["final_median"]: run["k"] for run in result[kind]}
        assert result[f"best_{kind}"] == medians[min(medians)], kind
    assert (result["diverged"], result["any_diverged"]) == ([], False)
    result = curves.by_k(
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
