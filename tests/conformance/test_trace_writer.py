"""A loop written by hand, and its wrong copies, are recorded and judged."""

import numpy as np
import pytest

from numpy_rnn.common.errors import InputError
from numpy_rnn.conformance.traces.judge import judge
from numpy_rnn.conformance.traces.trace_format import read_trace
from numpy_rnn.conformance.traces.trace_writer import Trace

T, B, D, H, O, K = 12, 2, 3, 4, 2, 3
RATE = 0.05


def loop(path, resets=True, forgets=False, scale=1.0, intermediates=True, stop=T):
    """Chunks of K steps. forgets: the state is reset where it should not be."""
    generator = np.random.default_rng(0)
    x, target = generator.normal(size=(T, B, D)), generator.normal(size=(T, B, O))
    p = {"W_xh": generator.normal(size=(D, H)), "W_hh": generator.normal(size=(H, H)) / 2, "W_hy": np.ones((H, O)) / 3}
    state = np.zeros((B, H))
    trace = Trace(p, x, target, state, k1=K, k2=K, learning_rate=RATE, epochs=2, resets=resets)
    for epoch in (1, 2):
        if resets or forgets:
            state = np.zeros((B, H))
        for start in range(0, stop, K):
            a, h = [], [state]
            for t in range(start, start + K):
                a.append(x[t] @ p["W_xh"] + h[-1] @ p["W_hh"])
                h.append(np.tanh(a[-1]))
            h = np.stack(h)
            y = h[1:] @ p["W_hy"]
            dy = y - target[start : start + K]
            dh, da = np.zeros((K, B, H)), np.zeros((K + 1, B, H))
            for t in reversed(range(K)):
                dh[t] = dy[t] @ p["W_hy"].T + da[t + 1] @ p["W_hh"].T
                da[t] = dh[t] * (1 - h[t + 1] ** 2)
            da = da[:K]
            pairs = {"W_xh": (x[start : start + K], da), "W_hh": (h[:-1], da), "W_hy": (h[1:], dy)}
            d = {name: scale * np.einsum("tbi,tbj->ij", *pair) for name, pair in pairs.items()}
            for name, theta in p.items():
                theta -= RATE * d[name]  # in place
            report = {"a": np.stack(a), "h": h[1:], "y": y, "dy": dy, "dh": dh, "da": da} if intermediates else {}
            gradients = {"d" + name: gradient for name, gradient in d.items()}
            trace.update(epoch, (start, start, start + K), state, loss=(dy**2).sum() / 2, **gradients, **p, **report)
            state = h[-1]
    trace.save(str(path))
    return judge(read_trace(str(path)))


@pytest.mark.parametrize("resets", [True, False])
@pytest.mark.parametrize("intermediates", [True, False])
def test_right_loop_is_judged_right(tmp_path, resets, intermediates):
    judgement = loop(tmp_path / "run.npz", resets, intermediates=intermediates)
    assert judgement.passed, judgement.first
    assert judgement.updates == 2 * T / K


@pytest.mark.parametrize(
    ("options", "tensor", "place"),
    [
        ({"scale": 0.5}, "dW_xh", (1, 1)),
        ({"resets": False, "forgets": True}, "initial", (1, 1 + T // K)),
        ({"stop": T - K}, "window", (1, T // K)),
    ],
)
def test_wrong_loop_is_named_at_its_first_fault(tmp_path, options, tensor, place):
    first = loop(tmp_path / "run.npz", **options).first
    assert (first.tensor, (first.epoch, first.number)) == (tensor, place)


def test_what_cannot_be_recorded_is_one_line():
    arrays = {"W_xh": np.ones((1, 2)), "W_hh": np.ones((2, 2)), "W_hy": np.ones((2, 1))}
    series = np.ones((4, 1, 1)), np.ones((4, 1, 1)), np.zeros((1, 2))
    settings = {"k1": 2, "k2": 2, "learning_rate": 0.1, "epochs": 1}
    for change, message in (
        ({"k2": 1}, "k2 is 1 and k1 is 2: expected k2 ≥ k1"),
        ({"resets": False, "k2": 4}, "expected k2 = k1, and T a multiple of k1"),
        ({"resets": False, "k1": 3, "k2": 3}, "expected k2 = k1, and T a multiple of k1"),
    ):
        with pytest.raises(InputError, match=message):
            Trace(arrays, *series, **settings | change)
    with pytest.raises(InputError, match="a parameter is called 'W': expected W_xh, W_hh, W_hy"):
        Trace({"W": np.ones(1)}, *series, **settings)
    trace = Trace(arrays, *series, **settings)
    for values, message in (
        ({"dW": 0}, "'dW' is not a name of a trace: expected loss, a, h"),
        ({"a": 0}, "h is missing: expected all of a, h, y, dy, dh, da, or none of them"),
    ):
        with pytest.raises(InputError, match=message):
            trace.update(1, (0, 0, 2), series[2], **values)
    with pytest.raises(InputError, match="no update is recorded"):
        trace.save("run.npz")
