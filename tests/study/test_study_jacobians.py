"""The derivatives of states by earlier ones, and the starting points where gradients vanish and explode."""

import numpy as np
import pytest
from study_components import balls, case_of, initial_state
from study_settings import SETTINGS, named_setting

from numpy_rnn import forward
from numpy_rnn.study.components.jacobians import (
    MAX_RADIUS,
    RADII_TRIED,
    VANISHING,
    jacobians,
    measure_states,
    saturation,
    singular_values_by_lag,
    slopes,
    spectral_radius,
    states,
    three_starts,
)
from numpy_rnn.study.components.matrix import check_jacobians, jacobians_by_complex_step


def of(setting, params):
    """Parameters, inputs, initial state and nonlinearity."""
    return params, setting.x, initial_state(setting, params), setting.configuration.nonlinearity


@pytest.mark.parametrize("name", ["everything", "relu", "three steps, untrained"])
def test_jacobians_are_those_of_back_propagation_in_balls_and_of_complex_step(name):
    """Column j of ∂h_t/∂h_s is the dh_s of a window whose loss is ½ of the error squared of y_t = h_{t,j} against a
    target 1 below it, so that dy_t is 1, but for the rounding of that target. E bounds any correct computation of it;
    the imaginary parts of complex step have at most twice as many roundings, hence 3E, as in test_study_components.py.
    """
    setting = named_setting(name)
    params, x, h_0, nonlinearity = of(setting, setting.end)
    h = states(params, x, h_0, nonlinearity)
    J = jacobians(params.W_hh, h, nonlinearity)
    T, H = len(x), len(params.W_hh)
    checked = np.stack([jacobians_by_complex_step(params, x, h_0, nonlinearity, s) for s in range(T + 1)], axis=1)
    for t in range(1, T + 1):
        for j in range(H):
            one = params._replace(W_hy=np.eye(H)[:, [j]], b_y=None if params.b_y is None else np.zeros(1))
            target = np.full((T, 1, 1), h[t, j] - 1)
            values = balls(case_of(setting._replace(target=target), one, 0, t - 1, t, h_0))
            dh, E = values["dh"]
            off_one = np.abs(values["dy"][0].difference(1.0))[-1, 0, 0]
            for s in range(1, t + 1):
                allowed = E[s - 1, 0] + dh.radius[s - 1, 0] + 2 * off_one * np.abs(J[t, s, :, j])
                assert (np.abs(dh.difference(J[t, s, :, j][None, None])[s - 1, 0]) <= allowed).all(), (t, s, j)
                assert (np.abs(checked[t, s, :, j] - J[t, s, :, j]) <= 3 * allowed).all(), (t, s, j)
        assert not checked[: t - 1, t].any()
    assert np.abs(J[1:, 1]).max() > 1e-2


@pytest.mark.parametrize("name", SETTINGS)
def test_the_check_of_the_jacobians_finds_a_wrong_factor(name):
    setting = named_setting(name)
    params, x, h_0, nonlinearity = of(setting, setting.start)
    J = jacobians(params.W_hh, states(params, x, h_0, nonlinearity), nonlinearity)
    right = check_jacobians(J, params, x, h_0, nonlinearity)
    wrong = J.copy()
    wrong[2, 1] = wrong[2, 1].T  # as if W_hh had been taken the other way round
    assert check_jacobians(wrong, params, x, h_0, nonlinearity) > 1e6 * max(right, np.finfo(float).eps)
    assert check_jacobians(J * np.where(np.eye(len(J)), 1, 1.001)[..., None, None], params, x, h_0, nonlinearity) > 5e-4


def test_singular_values_are_sorted_by_lag():
    J = np.zeros((3, 3, 2, 2))
    for t, s in ((0, 0), (1, 0), (1, 1), (2, 0), (2, 1), (2, 2)):
        J[t, s] = np.diag([1.0 + s, -10.0 * (t - s + 1)])[::-1]  # a permutation of a diagonal matrix
    assert [np.rint(v).tolist() for v in singular_values_by_lag(J)] == [
        [[10, 1], [10, 2], [10, 3]],
        [[20, 1], [20, 2]],
        [[30, 1]],
    ]


def test_slopes_radius_and_saturation_by_hand():
    h = np.array([[0.5, -0.5], [0.0, -1.0], [0.5, 0.99]])
    assert slopes(h[1:]).tolist() == [[1, 0], [0.75, 1 - 0.99**2]]
    assert slopes(h[1:], "relu").tolist() == [[0, 0], [1, 1]]
    assert spectral_radius(np.diag([-3.0, 2.0])) == 3
    assert spectral_radius(np.array([[0.0, 5.0], [0.0, 0.0]])) == 0
    assert saturation(h, "tanh") == {"slope": 0.442475, "saturated": 0.5}
    assert saturation(np.array([[0.0], [0.89], [0.91]]), "tanh")["saturated"] == 0.5
    assert measure_states(named_setting("three steps, untrained"))["threshold"] == 0.9
    assert saturation(h, "relu") == {"slope": 0.5, "saturated": 0.5}


# -- the three starting points ----------------------------------------------------------------------------------------


def test_the_scaled_starts_have_their_spectral_radii_and_grow_as_said():
    setting = named_setting("sine")
    drawn, vanishing, exploding = three_starts(*of(setting, setting.start))
    assert drawn.params is setting.start
    radius = spectral_radius(setting.start.W_hh)
    for start in (vanishing, exploding):
        assert (start.params.W_hh == start.factor * setting.start.W_hh).all()
        assert start.params._replace(W_hh=None) == setting.start._replace(W_hh=None)
    assert abs(vanishing.factor * radius - VANISHING) <= np.spacing(VANISHING)  # two roundings
    assert exploding.factor * radius <= MAX_RADIUS * (1 + 2**-50)  # three roundings

    def longest(factor):
        _, x, h_0, nonlinearity = of(setting, setting.start)
        scaled = setting.start._replace(W_hh=factor * setting.start.W_hh)
        J = jacobians(scaled.W_hh, forward(scaled, x, h_0, nonlinearity=nonlinearity).h[:, 0], nonlinearity)
        return np.linalg.norm(J[-1, 0], 2)

    tried = [longest(n / RADII_TRIED * MAX_RADIUS / radius) for n in range(1, RADII_TRIED + 1)]
    # The same products in the same order; only the factor may differ, by three roundings.
    assert np.argmax(tried) + 1 == round(exploding.factor * radius / MAX_RADIUS * RADII_TRIED)
    assert longest(exploding.factor) > 1 > longest(1.0) > longest(vanishing.factor)


def test_weights_that_cannot_be_scaled_stay_and_small_ones_are_not_scaled_up_to_vanish():
    setting = named_setting("three steps, untrained")
    params, *rest = of(setting, setting.start)
    nothing = params._replace(W_hh=np.zeros((2, 2)))
    assert [start.name for start in three_starts(nothing, *rest)] == ["as drawn"]
    small = params._replace(W_hh=np.diag([0.125, 0.0625]))
    assert three_starts(small, *rest)[1].factor == 1
    large = params._replace(W_hh=np.diag([8.0, 4.0]))
    drawn, vanishing, exploding = three_starts(large, *rest)
    assert drawn.factor == 1
    assert vanishing.params.W_hh[0, 0] == VANISHING
    assert exploding.factor <= 1  # what is larger than LARGEST already is not enlarged
    _, x, h_0, _ = of(setting, setting.start)
    open_units = large._replace(W_xh=np.ones((1, 2)))  # relu, inputs above 0: the larger W_hh, the larger the product
    assert three_starts(open_units, abs(x), h_0, "relu")[2].factor == 1


def test_states_that_overflow_leave_no_numbers():
    setting = named_setting("relu")
    huge = setting.start._replace(W_hh=np.full((3, 3), 1e200), b_h=np.ones(3))
    snapshots = tuple(snapshot._replace(params=huge) for snapshot in setting.snapshots)
    drawn, *_ = measure_states(setting._replace(snapshots=snapshots))["jacobians"]
    assert drawn["mean"] == []
    assert drawn["at_longest"] is None
    assert drawn["difference"] is None
