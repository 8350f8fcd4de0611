"""The component matrix, its masks and what they cost."""

import numpy as np
import pytest

from numpy_rnn import InputError, Parameters
from numpy_rnn.common.records import NONLINEARITY_NAMES
from numpy_rnn.study.components import (
    check_components,
    component_matrix,
    mask,
    mask_costs,
)
from numpy_rnn.study.figures import band


@pytest.mark.parametrize("nonlinearity", NONLINEARITY_NAMES)
def test_sums_of_components_are_gradients(nonlinearity, small):
    subject = small(nonlinearity=nonlinearity, bias=True, reduction="mean", k1=2, k2=3)
    for params in (subject.start, subject.end):
        assert check_components(subject, params) < 1e-11


@pytest.mark.parametrize(("t", "s"), [(0, 0), (4, 2), (5, 0), (5, 5)])
def test_a_wrong_component_is_seen(t, s, small, monkeypatch):
    subject = small()

    def wrong(subject, params):
        components = component_matrix(subject, params)
        components[t, s, 1] += 1e-6 * abs(components[t, s]).max()
        return components

    monkeypatch.setattr("numpy_rnn.study.components.component_matrix", wrong)
    assert check_components(subject, subject.start) > 1e-10


def test_components_of_two_steps_by_hand(small):
    """DERIVATION.md, "Two steps, by hand": each ∂ℓ_t/∂w_s, w = 2, whose sum
    is dw = 6.
    """
    subject = small(steps=3, nonlinearity="relu", hidden_size=1, learning_rate=0.01)
    one, target = np.ones((1, 1)), np.array([2.0, 6.0]).reshape(2, 1, 1)
    run = subject.run._replace(x=np.ones((2, 1, 1)), target=target, h_0=one)
    params = Parameters(one, 2 * one, one)
    components = component_matrix(subject._replace(run=run), params)
    assert components[..., 1].tolist() == [[1, 0], [2, 3]]  # W_hh
    assert components[..., 2].tolist() == [[3, 0], [0, 7]]  # W_hy is never cut


def test_masks_keep_what_the_derivation_counts():
    """The derivation has a table of TBPTT(k1, k2) for six steps."""
    kept = {(1, 1): 6, (2, 2): 9, (1, 3): 15, (2, 4): 17, (6, 6): 21}
    for (k1, k2), count in kept.items():
        assert mask(6, k1, k2).sum() == count
    with pytest.raises(InputError):
        mask(4, 2, 1)


def test_costs_by_plain_loops():
    T = 4
    components = np.random.default_rng(1).normal(size=(T, T, 3))
    components *= np.tril(np.ones((T, T)))[..., None]
    costs, full = mask_costs(components), components.sum(axis=(0, 1))
    for kind, k in np.ndindex(2, T):  # TBPTT(k, k) and TBPTT(1, k), k from 0
        kept = mask(T, 1 if kind else k + 1, k + 1)
        part = sum(components[t, s] for t, s in np.argwhere(kept))
        cosine = part @ full / np.sqrt(part @ part) / np.sqrt(full @ full)
        apart = np.sqrt((part - full) @ (part - full) / (full @ full))
        costs_at_k = costs.cosine[kind, k], costs.bias[kind, k]
        assert costs_at_k == pytest.approx((cosine, apart), abs=1e-12)
    assert costs.cosine[:, -1] == pytest.approx(1)


def test_band_has_percentiles_that_are_values_of_networks():
    for count, low, high in ((1, 0, 0), (2, 0, 1), (10, 0, 8), (11, 1, 9), (32, 3, 28)):
        values = np.random.default_rng(count).permutation(count) * 1.0
        percentiles = [part.item() for part in band(values[:, None])]
        assert percentiles == [low, np.median(values), high]
    with_gap = np.array([[1.0], [np.nan], [3.0], [2.0]])
    assert [part.item() for part in band(with_gap)] == [1, 2, 3]
