"""The timed implementations compute the right numbers, and one that does not is
refused.
"""

from importlib.util import find_spec

import numpy as np
import pytest

from benchmarks import implementations
from benchmarks.__main__ import disagreement
from benchmarks.cases import CASES, sine
from benchmarks.implementations import IMPLEMENTATIONS, Unsupported, lower_bounds

MARKS = {"torch": pytest.mark.needs_torch, "jax": pytest.mark.slow}
SMALL = sine("small", k2=2, epochs=2, dtype="float64")
# What each implementation can run, by the parts of the names of cases.
SUPPORTED = {
    "numpy_rnn": ("",),
    "torch.nn.RNN": ("default", "sliding", "character", "H ="),
    "tutorial": ("default",),
    "JAX": ("",),
    "min-char-rnn": ("character",),
}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=MARKS.get(IMPLEMENTATIONS[name][1], ()))
        for name in SUPPORTED
    ],
)
def test_implementation_agrees(name, monkeypatch):
    """With the reference on every case that it supports, which are these."""
    if find_spec(IMPLEMENTATIONS[name][1]) is None:
        pytest.skip("not installed")
    monkeypatch.setenv(
        "XLA_FLAGS", "--xla_backend_optimization_level=0"
    )  # compiles faster
    cases = [case for case in CASES.values() if case.networks != 10_000]  # as 1,000
    supported = [
        c.name for c in cases if any(part in c.name for part in SUPPORTED[name])
    ]
    agreeing = []
    for case in cases:
        try:
            reason = disagreement(name, case)
        except Unsupported:
            continue
        assert reason is None, (case.name, reason)
        agreeing.append(case.name)
    assert agreeing == supported


def test_another_training_is_refused(monkeypatch):
    """Another loss, another weight, another dtype, fewer updates, NaN: each is seen
    alone.
    """
    right = implementations.prepare
    losses, weights = right("numpy_rnn", SMALL)()
    losses = np.array(losses)
    wrong = {
        "a loss": (losses * (1 + 1e-7), weights),
        "a weight": (losses, [*weights[:2], weights[2] + 1e-7]),
        "a dtype": (losses, [W.astype(np.float32) for W in weights]),
        "a shape": (losses, [W[..., :1] for W in weights]),
        "NaN": (np.where(losses == losses.flat[0], np.nan, losses), weights),
    }
    for what, found in wrong.items():
        monkeypatch.setattr(
            implementations, "prepare", lambda *_, found=found: lambda: found
        )
        assert disagreement("numpy_rnn", SMALL), what
    monkeypatch.setattr(implementations, "prepare", right)
    assert disagreement("numpy_rnn", SMALL) is None


@pytest.mark.parametrize(
    "case", [SMALL, CASES["sliding window, k2 = 5"], CASES["H = 64, B = 8, T = 50"]]
)
def test_bounds_have_the_products_of_the_equations(case, monkeypatch):
    """Multiplications of (F1), (F3), (B2), (B4), (B5) and (B6), counted by their
    formulas.
    """
    counted = 0

    def dot(left, right, out):
        nonlocal counted
        counted += left.shape[0] * left.shape[1] * right.shape[1]

    monkeypatch.setattr(lower_bounds, "dot", dot)
    k1, k2, epochs = case.options.schedule
    expected = 0
    for stop in range(k1, case.T + 1, k1):
        T, K = min(stop, k2), k1
        outputs = case.B * K * case.H * case.O
        states = case.B * T * (case.D + case.H) * case.H
        expected += 2 * states + 3 * outputs + case.B * (T - 1) * case.H**2
    for name in ("bare calls", "bare GEMMs"):
        counted = 0
        implementations.prepare(name, case)()
        assert counted == epochs * expected


def test_bounds_of_calls_compute_the_states():
    """h and y of the calls are those of the equations from their own inputs: the calls
    are real.
    """
    new = lower_bounds.Memory(SMALL, None)
    calls = lower_bounds.window_calls(SMALL, new, T=3, K=1)
    products = [
        arguments for function, *arguments in calls if function is lower_bounds.dot
    ]
    for function, *arguments in calls:
        function(*arguments)
    (z_1, W, _), *_ = products
    h_1 = np.tanh(z_1 @ W)
    z_2 = products[1][0]
    np.testing.assert_array_max_ulp(h_1, z_2[:, -SMALL.H :], 64)
    h_3, U, y = products[3]
    np.testing.assert_array_max_ulp(h_3 @ U, y, 64)
