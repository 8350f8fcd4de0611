"""Level L1: ratios of nothing and of NaN, and stacked updates of an ensemble, which have the bounds of single ones."""

import numpy as np
import pytest
from port_cases import TENSORS

import numpy_rnn
from numpy_rnn.conformance.bounds.local_bounds import check_local, ratios, stages
from numpy_rnn.conformance.mutants.catalogue import load, named
from numpy_rnn.conformance.mutants.score import report_on
from numpy_rnn.conformance.recipes import Recipe
from numpy_rnn.conformance.traces.first_divergence import EQUATIONS

MOMENTUM = Recipe(
    T=4, B=3, D=2, H=6, O=5, K=2, dtype="float64", reduction="mean", momentum=0.9, velocity=True, learned=True
)
# It owes every tensor that there is.
RECIPE = MOMENTUM._replace(nesterov=True, weight_decay=0.01, max_norm=2.0, bias=True)


def test_ratios_of_nothing():
    difference, allowed = np.array([0.0, 1.0, np.nan, 2.0, 1.0]), np.array([0.0, 0.0, 1.0, 4.0, 5e-324])
    assert ratios(difference, allowed).tolist() == [0.0, np.inf, np.inf, 0.5, np.inf]


@pytest.mark.parametrize(
    "name",
    ["float32 tanh inside float64", "2e for e", "dh_next dropped", "dW_hh transposed", "velocity not damped by μ"],
)
def test_an_error_that_a_stage_passes_on_does_not_count_again(name):
    case, mutant = RECIPE.case(), named(name)
    ratios_of = check_local(case, report_on(case, load(mutant)))
    wrong = {tensor for tensor, ratio in ratios_of.items() if ratio.max() > 1}
    assert {EQUATIONS[tensor] for tensor in wrong} == {EQUATIONS[mutant.stage]}


def test_a_parameter_without_a_velocity_takes_its_first_step():
    case = MOMENTUM._replace(dampening=0.3).case()
    case = case._replace(velocity=case.velocity._replace(h_0=None))
    assert max(ratio.max() for ratio in check_local(case, report_on(case, numpy_rnn)).values()) <= 1


def test_stacked_updates_have_the_bounds_of_single_ones():
    """Two axes in front, updates and networks: every network is clipped by its own norm, or not, and has its own η."""
    cases = [
        RECIPE._replace(seed=seed, gain=gain, learning_rate=0.1 * seed).case()
        for seed in (1, 2, 3)
        for gain in (0.3, 2.0)
    ]

    def grid(arrays):
        return np.stack(arrays).reshape(3, 2, *np.shape(arrays[0]))

    def parameters(each):
        return numpy_rnn.Parameters(*map(grid, zip(*each)))

    together = cases[0]._replace(
        params=parameters(case.params for case in cases),
        velocity=parameters(case.velocity for case in cases),
        **{name: grid([getattr(case, name) for case in cases]) for name in ("x", "target", "h_0", "learning_rate")},
    )
    reports = [report_on(case, numpy_rnn) for case in cases]
    of_all = {name: grid([report[name] for report in reports]) for name in TENSORS}
    assert max(ratio.max() for ratio in check_local(together, of_all).values()) <= 1
    found = stages(together, of_all)
    # Both are sums of positive terms in float64, in another order: over the numbers of the network, and 40 besides.
    terms = sum(theta.size for theta in cases[0].params) + 40
    for index, case, report in zip(np.ndindex(3, 2), cases, reports):
        for name, (_, allowed) in stages(case, report).items():
            np.testing.assert_allclose(found[name][1][index], allowed, rtol=terms * np.finfo(float).eps, err_msg=name)
