"""Ensembles: network n of many trained at once is the network trained alone."""

import numpy as np
import pytest
from cases import Case, Expected, allowed, assert_within, cases, each, random_case, reference_run, reference_update
from hypothesis import given
from hypothesis import strategies as st

from numpy_rnn import Activations, Deltas, Parameters

ENSEMBLES = [(3,), (2, 3), (1,), (1, 2)]
OWN = [(), ("x",), ("target",), ("h_0",), ("x", "target", "h_0")]
OPTIONS = pytest.mark.parametrize(
    "options",
    [
        {"bias": True, "nonlinearity": "tanh", "reduction": "sum"},
        {"bias": False, "nonlinearity": "tanh", "reduction": "mean"},
        {"bias": True, "nonlinearity": "relu", "reduction": "mean"},
    ],
    ids=["biases-tanh-sum", "no biases-tanh-mean", "biases-relu-mean"],
)


def network(case, n) -> Case:
    """The case of one network: its parameters, and its own data where it has some."""

    def own(array, axes_before, axes):
        return array[(slice(None),) * axes_before + n] if array.ndim > axes else array

    params = Parameters(*(None if theta is None else theta[n] for theta in case.params))
    return Case(params, own(case.x, 1, 3), own(case.target, 1, 3), own(case.h_0, 0, 2), case.options)


def of_network(result: Expected, n) -> Expected:
    """Network n's part of the arrays of an ensemble; x may be shared and have axes of 1."""

    def parameters(value):
        return each(lambda theta: theta[n], value)

    x, a, h, y = result.activations
    x_n = x[(slice(None), *(0 if size == 1 else i for i, size in zip(n, x.shape[1:-2], strict=True)))]
    activations = Activations(x_n, *(v[(slice(None), *n)] for v in (a, h, y)))
    deltas = Deltas(*(v[(slice(None), *n)] for v in result.deltas))
    return Expected(activations, result.loss[n], deltas, parameters(result.gradients), parameters(result.parameters))


def one_update(rnn, case, learning_rate=0.1) -> Expected:
    params, x, target, h_0 = case.of(rnn)
    activations = rnn.forward(params, x, h_0, **case.phi)
    loss = rnn.half_squared_error(activations.y[-len(target) :], target, reduction=case.options["reduction"])
    gradients = rnn.bptt(params, activations, target, **case.options)
    deltas = rnn.deltas(params, activations, target, **case.options)
    return rnn.to_numpy(Expected(activations, loss, deltas, gradients, rnn.sgd(params, gradients, learning_rate)))


@given(case=cases(), E=st.sampled_from(ENSEMBLES), own=st.sampled_from(OWN), seed=st.integers(0, 2**31))
def test_each_network_of_an_ensemble_is_that_network_alone(rnn, case, E, own, seed):
    """One update of everything, K < T included: the ensemble's network n against the solo case n."""
    T, B, D = case.x.shape
    K, _, O = case.target.shape
    bias = case.params.b_h is not None
    sizes = T, B, D, case.params.W_hh.shape[-1], O, K
    together = random_case(seed, *sizes, bias=bias, dtype=str(case.dtype), E=E, own=own, **case.options)
    assert_networks(rnn, together, E)


@OPTIONS
@pytest.mark.parametrize("E", ENSEMBLES, ids=str)
@pytest.mark.parametrize("own", OWN, ids=str)
def test_an_ensemble_of_one_example_per_kind(rnn, own, E, options):
    assert_networks(rnn, random_case(1, 4, 2, 3, 5, 6, 3, E=E, own=own, **options), E)


def assert_networks(rnn, together, E):
    H, T = together.params.W_hh.shape[-1], len(together.x)
    B, O = together.target.shape[-2:]
    K = len(together.target)
    result = one_update(rnn, together)
    assert result.loss.shape == E
    assert [v.shape for v in result.activations[1:]] == [(T, *E, B, H), (T + 1, *E, B, H), (T, *E, B, O)]
    assert [v.shape for v in result.deltas] == [(T, *E, B, O), (T, *E, B, H), (T, *E, B, H)]
    assert [None if g is None else g.shape for g in result.gradients] == [
        None if theta is None else theta.shape for theta in together.params
    ]
    assert K <= T
    for n in np.ndindex(E):
        alone = network(together, n)
        expected = one_update(rnn, alone)
        assert_within(of_network(result, n), expected, allowed(reference_update(alone, 0.1)))


@OPTIONS
@pytest.mark.parametrize("E", [(3,), (2, 3)], ids=str)
@pytest.mark.parametrize("own", [(), ("x", "target", "h_0")], ids=["shared", "own"])
@pytest.mark.parametrize(("k1", "k2"), [(1, 1), (1, 3), (2, 3), (3, 3), (5, 5)])
def test_an_ensemble_trains_as_its_networks_do_alone(rnn, k1, k2, own, E, options):
    """A run of two epochs, the state carried for every network."""
    together = random_case(4, 5, 2, 3, 4, 1, E=E, own=own, **options)
    run = {"k1": k1, "k2": k2, "learning_rate": 0.02, "epochs": 2}
    updates = trained(rnn, together, run)
    assert all(result.loss.shape == E for result in updates)
    for n in np.ndindex(E):
        alone = network(together, n)
        solo = trained(rnn, alone, run)
        for result, expected, reference in zip(updates, solo, reference_run(alone, **run), strict=True):
            assert_within(of_network(result, n), expected, allowed(reference.expected))


def trained(rnn, case, run):
    updates = rnn.train(*case.of(rnn), **run, **case.options, record=True)
    return [rnn.to_numpy(Expected(u.activations, u.loss, u.deltas, u.gradients, u.parameters)) for u in updates]


def test_an_axis_of_one_is_shared(rnn):
    """A series with the ensemble's axes, one of them 1, serves all networks along it."""
    case = random_case(6, 4, 2, 3, 5, 1, E=(2, 3))
    generator = np.random.default_rng(0)
    x, target = generator.normal(size=(4, 2, 1, 2, 3)), generator.normal(size=(4, 1, 3, 2, 1))
    h_0 = generator.normal(size=(1, 3, 2, 5))
    partly = case._replace(x=x, target=target, h_0=h_0)
    fully = case._replace(x=np.repeat(x, 3, axis=2), target=np.repeat(target, 2, axis=1), h_0=np.repeat(h_0, 2, axis=0))
    run = {"k1": 2, "k2": 3, "learning_rate": 0.02, "epochs": 1}
    shared, repeated = trained(rnn, partly, run), trained(rnn, fully, run)
    for n in np.ndindex(2, 3):
        for one, other, reference in zip(shared, repeated, reference_run(network(fully, n), **run), strict=True):
            assert_within(of_network(one, n), of_network(other, n), allowed(reference.expected))


def test_networks_do_not_act_on_each_other(rnn):
    """Another network in the ensemble, and the first keeps its gradient."""
    case = random_case(8, 4, 2, 3, 5, 1, E=(2,))
    changed = case._replace(params=each(lambda theta: np.stack([theta[0], 2 * theta[1] + 1]), case.params))
    first, second = one_update(rnn, case), one_update(rnn, changed)
    limit = allowed(reference_update(network(case, (0,)), 0.1))
    assert_within(of_network(first, (0,)), of_network(second, (0,)), limit)
    assert (first.gradients.W_hh[1] != second.gradients.W_hh[1]).any()
