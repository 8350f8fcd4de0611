"""The component matrix, its masks and what they cost."""

import numpy as np
import pytest

import numpy_rnn
from numpy_rnn.common.records import NONLINEARITY_NAMES, Schedule
from numpy_rnn.conformance.case import present
from numpy_rnn.study.evidence.components import component_matrix, mask, mask_costs
from numpy_rnn.study.evidence.figures import band


@pytest.mark.parametrize("nonlinearity", NONLINEARITY_NAMES)
def test_sums_of_components_are_gradients(nonlinearity, small):
    """In a sliding window of k steps with a learning rate of 0, the gradient of ℓ_t is
    the sum of its newest k components. All t and all k are compared. A component passes
    six steps, each of which rounds a sum of five terms and two products.
    """
    subject = small(nonlinearity=nonlinearity, bias=True)
    components = component_matrix(subject, subject.end)
    options = subject.run.options
    still = options.step._replace(learning_rate=0.0)
    rounding = 6 * 7 * np.finfo(float).eps * abs(components).max()
    for k in range(1, 7):
        run_options = options._replace(schedule=Schedule(1, k), step=still)
        run = subject.run_of(subject.end, run_options)
        series = run.x, run.target, run.h_0
        updates = numpy_rnn.train(run.params, *series, **run_options.keywords())
        for t, update in enumerate(updates, start=1):
            parts = present(update.gradients).values()
            gradient = np.concatenate([part.ravel() for part in parts])
            kept = components[t - 1, max(0, t - k) : t].sum(axis=0)
            np.testing.assert_allclose(kept, gradient, rtol=0, atol=rounding)


def test_masks_keep_what_the_derivation_counts():
    """The derivation has a table of TBPTT(k1, k2) for six steps."""
    kept = {(1, 1): 6, (2, 2): 9, (1, 3): 15, (2, 4): 17, (6, 6): 21}
    for (k1, k2), count in kept.items():
        assert mask(6, k1, k2).sum() == count


def test_costs_by_plain_loops():
    """Sums of whole numbers are exact. Two norms, their product and a quotient are
    rounded fewer than 20 times.
    """
    T = 4
    components = np.random.default_rng(1).integers(-9, 10, (T, T, 3)) * 1.0
    components *= np.tril(np.ones((T, T)))[..., None]
    costs, full = mask_costs(components), components.sum(axis=(0, 1))
    rounding = 20 * np.finfo(float).eps
    for kind, k in np.ndindex(2, T):  # TBPTT(k, k) and TBPTT(1, k), k from 0
        kept = mask(T, 1 if kind else k + 1, k + 1)
        part = sum(components[t, s] for t, s in np.argwhere(kept))
        cosine = part @ full / np.sqrt(part @ part) / np.sqrt(full @ full)
        apart = np.sqrt((part - full) @ (part - full) / (full @ full))
        assert costs.cosine[kind, k] == pytest.approx(cosine, rounding, rounding)
        assert costs.bias[kind, k] == pytest.approx(apart, rounding, rounding)


def test_band_has_percentiles_that_are_values_of_networks():
    """NaN is left out."""
    values = np.random.default_rng(1).permutation(32) * 1.0
    percentiles = band(np.append(values, np.nan)[:, None])
    assert [part.item() for part in percentiles] == [3, 15.5, 28]
