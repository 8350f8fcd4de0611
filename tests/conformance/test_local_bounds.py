"""Level L1 of the equivalence suite: right reports pass, and every kind of wrong one does not."""

import numpy as np
import pytest
from port_cases import TENSORS

import numpy_rnn
from numpy_rnn.conformance.bounds.local_bounds import check_local, ratios, stages
from numpy_rnn.conformance.ports.backends import PackagePort
from numpy_rnn.conformance.recipes import Recipe

HAS = PackagePort.capabilities
PLAIN = Recipe(T=4, B=3, D=2, H=6, O=5, K=2, dtype="float64", bias=True, reduction="mean", seed=7)
RECIPE = PLAIN._replace(
    momentum=0.9, nesterov=True, weight_decay=0.01, max_norm=0.5, learned=True, velocity=True
)  # it owes every tensor that there is


def report_of(case, rnn=numpy_rnn):
    arrays = case.params._asdict(), case.x, case.target, case.h_0
    return PackagePort(rnn).window_update(*arrays, learning_rate=case.learning_rate, **case.options)


def stacked(cases):
    """Cases that differ in their arrays only, as one."""

    def stack(parameters):
        return numpy_rnn.Parameters(*map(np.stack, zip(*parameters)))

    return cases[0]._replace(
        params=stack(case.params for case in cases),
        velocity=stack(case.velocity for case in cases),
        **{name: np.stack([getattr(case, name) for case in cases]) for name in ("x", "target", "h_0")},
    )


@pytest.mark.parametrize("name", TENSORS)
def test_nan_is_infinitely_wrong(name):
    case = RECIPE.case()
    report = report_of(case)
    wrong = np.array(report[name])
    wrong[(0,) * wrong.ndim] = np.nan
    assert check_local(case, report | {name: wrong})[name].max() == np.inf


def test_the_learning_rate_is_each_networks_own():
    cases = [RECIPE._replace(seed=seed, learning_rate=0.1 * seed).case() for seed in range(1, 4)]
    reports = [report_of(case) for case in cases]
    together = stacked(cases)._replace(learning_rate=np.array([case.learning_rate for case in cases]))
    of_all = {name: np.stack([report[name] for report in reports]) for name in TENSORS}
    assert max(ratio.max() for ratio in check_local(together, of_all).values()) <= 1
    for rates, right in ((cases[0].learning_rate, 0), (together.learning_rate[::-1], 1)):
        wrong = check_local(together._replace(learning_rate=rates), of_all)["W_hh"]
        assert [n for n in range(3) if wrong[n].max() <= 1] == [right]


def test_every_network_is_clipped_by_itself():
    """Two axes in front, updates and networks, and a norm for each; one that is not clipped has other bounds."""
    cases = [RECIPE._replace(seed=seed, gain=gain, max_norm=2.0).case() for seed in (1, 2, 3) for gain in (0.3, 2.0)]
    reports = [report_of(case) for case in cases]

    def grid(array):
        return array.reshape(3, 2, *array.shape[1:])

    flat = stacked(cases)
    each = {name: grid(np.stack([report[name] for report in reports])) for name in TENSORS}
    case = flat._replace(
        params=numpy_rnn.Parameters(*map(grid, flat.params)),
        velocity=numpy_rnn.Parameters(*map(grid, flat.velocity)),
        **{name: grid(getattr(flat, name)) for name in ("x", "target", "h_0")},
    )
    assert max(ratio.max() for ratio in check_local(case, each).values()) <= 1
    _, allowed = stages(case, each)["vW_hh"]
    for index in np.ndindex(3, 2):
        alone = stages(cases[2 * index[0] + index[1]], {name: each[name][index] for name in TENSORS})["vW_hh"][1]
        # Both are sums of positive terms in float64, in another order: over the numbers of the network, and 40 beside.
        terms = sum(theta.size for theta in flat.params) // len(cases) + 40
        np.testing.assert_allclose(allowed[index], alone, rtol=2 * terms * np.finfo(float).eps / 2)


def test_stacked_updates_are_judged_as_single_ones():
    cases = [RECIPE._replace(seed=seed).case() for seed in range(4)]
    reports = [report_of(case) for case in cases]
    together = check_local(stacked(cases), {name: np.stack([report[name] for report in reports]) for name in TENSORS})
    for index, (case, report) in enumerate(zip(cases, reports)):
        for name, ratio in check_local(case, report).items():
            # The sums are the same but for their order, and the ratios differ by less than one rounding of one term.
            assert np.abs(together[name][index] - ratio).max() < 1, name


def test_ratios_of_nothing():
    difference, allowed = np.array([0.0, 1.0, np.nan, 2.0, 1.0]), np.array([0.0, 0.0, 1.0, 4.0, 5e-324])
    assert ratios(difference, allowed).tolist() == [0.0, np.inf, np.inf, 0.5, np.inf]
