"""Ensembles: network n of many trained at once is the network trained alone."""

import numpy as np
import pytest
from cases import (
    allowed,
    assert_within,
    cases,
    each,
    fewer,
    network,
    of_network,
    one_update,
    random_case,
    reference_run,
    reference_update,
    reported,
    runs,
)
from hypothesis import given
from hypothesis import strategies as st

pytestmark = pytest.mark.with_reference

ENSEMBLES = [(3,), (2, 3), (1,), (1, 2)]
OWN = [(), ("x",), ("target",), ("h_0",), ("x", "target", "h_0")]
OPTIONS = pytest.mark.parametrize(
    "options",
    [
        {"bias": True, "nonlinearity": "tanh", "reduction": "sum"},
        {"bias": False, "nonlinearity": "tanh", "reduction": "mean"},
        {"bias": True, "nonlinearity": "relu", "reduction": "mean"},
        {"bias": True, "nonlinearity": "tanh", "reduction": "sum", "learned": True},
    ],
    ids=["biases-tanh-sum", "no biases-tanh-mean", "biases-relu-mean", "learned-tanh-sum"],
)

# From so many networks on numpy_rnn lays them out innermost in memory: here always, or never.
MANY = pytest.mark.parametrize("many", [1, 64], ids=["innermost", "outermost"])


@given(case=cases(), E=st.sampled_from(ENSEMBLES), own=st.sampled_from(OWN), seed=st.integers(0, 2**31))
def test_each_network_of_an_ensemble_is_that_network_alone(rnn, case, E, own, seed):
    """One update of everything, K < T included: the ensemble's network n against the solo case n."""
    T, B, D = case.x.shape
    K, _, O = case.target.shape
    sizes = T, B, D, case.params.W_hh.shape[-1], O, K
    options = {"bias": case.params.b_h is not None, "learned": case.h_0 is None, "dtype": str(case.dtype)}
    together = random_case(seed, *sizes, **options, E=E, own=own, **case.options)
    assert_networks(rnn, together, E)


@OPTIONS
@pytest.mark.parametrize("E", ENSEMBLES, ids=str)
@pytest.mark.parametrize("own", OWN, ids=str)
def test_an_ensemble_of_one_example_per_kind(rnn, own, E, options):
    assert_networks(rnn, random_case(1, 4, 2, 3, 5, 6, 3, E=E, own=own, **options), E)


def assert_networks(rnn, together, E):
    D, H = together.params.W_xh.shape[-2:]
    B, O = together.target.shape[-2:]
    K, T = len(together.target), len(together.x)
    result = one_update(rnn, together, 0.1)
    assert result.loss.shape == E
    sequence = (T, *E, B)
    assert [v.shape for v in result.activations] == [
        (*sequence, D),
        (*sequence, H),
        (T + 1, *E, B, H),
        (*sequence, O),
    ]
    assert [v.shape for v in result.adjoints] == [
        (*sequence, O),
        (*sequence, H),
        (*sequence, H),
        (*sequence, D),
        (*E, B, H),
    ]
    assert [None if g is None else g.shape for g in result.gradients] == [
        None if theta is None else theta.shape for theta in together.params
    ]
    assert K <= T
    for n in np.ndindex(E):
        alone = network(together, n)
        expected = one_update(rnn, alone, 0.1)
        assert_within(of_network(result, n), expected, allowed(reference_update(alone, 0.1)))


@OPTIONS
@pytest.mark.parametrize("E", [(3,), (2, 3)], ids=str)
@pytest.mark.parametrize("own", [(), ("x", "target", "h_0")], ids=["shared", "own"])
@pytest.mark.parametrize(("k1", "k2"), [(1, 1), (1, 3), (2, 3), (3, 3), (5, 5)])
@MANY
def test_an_ensemble_trains_as_its_networks_do_alone(rnn, many, k1, k2, own, E, options, monkeypatch):
    """A run of two epochs, the state carried for every network."""
    monkeypatch.setattr("numpy_rnn.engine.layout.MIN_GROUP", many)
    together = random_case(4, 5, 2, 3, 4, 1, E=E, own=own, **options)
    run = {"k1": k1, "k2": k2, "learning_rate": 0.02, "epochs": 2}
    updates = trained(rnn, together, run)
    assert all(result.loss.shape == E for result in updates)
    for n in np.ndindex(E):
        alone = network(together, n)
        solo = trained(rnn, alone, run)
        for result, expected, reference in zip(updates, solo, reference_run(alone, **run), strict=True):
            assert_within(of_network(result, n), expected, allowed(reference.expected))


@fewer(5)
@given(
    run=runs(dtypes=["float64"]),
    E=st.sampled_from([(2,), (2, 2)]),
    own=st.sampled_from(OWN),
    of_each=st.integers(0, 2**31),
    many=st.sampled_from([1, 64]),
)
def test_an_ensemble_trains_as_its_networks_do_alone_at_rates_of_their_own(rnn, run, E, own, of_each, many):
    """With any options of the step, which are the same for all; the norm that is clipped is each network's own."""
    case, options = run
    sizes = len(case.x), case.x.shape[1], *case.params.W_xh.shape, case.target.shape[-1]
    kind = {"bias": case.params.b_h is not None, "learned": case.h_0 is None}
    together = random_case(of_each, *sizes, E=E, own=own, **kind, **case.options)
    shape = [size if of_each >> axis & 1 else 1 for axis, size in enumerate(E)]
    rates = options["learning_rate"] * np.random.default_rng(of_each).uniform(0, 1, shape)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("numpy_rnn.engine.layout.MIN_GROUP", many)
        updates = trained(rnn, together, options | {"learning_rate": rates})
    for n in np.ndindex(E):
        alone = network(together, n)
        of_one = options | {"learning_rate": np.broadcast_to(rates, E)[n]}
        solo = trained(rnn, alone, of_one)
        for result, expected, reference in zip(updates, solo, reference_run(alone, **of_one), strict=True):
            limit = allowed(reference.expected)
            if max(v.max() for v in limit.parameters if v is not None) > 1e-6:
                break  # as in test_train.py
            assert_within(of_network(result, n), expected, limit)


def trained(rnn, case, run):
    return [reported(rnn, u) for u in rnn.train(*case.for_train(rnn), **run, **case.options, record=True)]


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
    first, second = one_update(rnn, case, 0.1), one_update(rnn, changed, 0.1)
    limit = allowed(reference_update(network(case, (0,)), 0.1))
    assert_within(of_network(first, (0,)), of_network(second, (0,)), limit)
    assert (first.gradients.W_hh[1] != second.gradients.W_hh[1]).any()
