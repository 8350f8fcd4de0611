"""check_gradients: right code of several styles passes, and mistakes are named."""

import re

import numpy as np
import pytest

from numpy_rnn.common.errors import InputError
from numpy_rnn.conformance import check_gradients

DTYPES = ("float32", "float64")


def sigmoid(a):
    return 0.5 + 0.5 * np.tanh(0.5 * a)


def lstm(params, x, target, scale=1.0, change=None):
    """An LSTM with one matrix [x, h], gates i f o g, and a mean cross-entropy.

    change: called with the gradients before they are returned.
    """
    W, b, V = params["W"], params["b"], params["V"]
    H = len(V)
    h = c = np.zeros((x.shape[1], H))
    caches, states = [], []
    for x_t in x:
        z = np.concatenate([x_t, h], axis=1)
        i, f, o, g = np.split(z @ W + b, 4, axis=1)
        i, f, o, g = sigmoid(i), sigmoid(f), sigmoid(o), np.tanh(g)
        previous, c = c, f * c + i * g
        h = o * np.tanh(c)
        caches.append((z, i, f, o, g, previous, c))
        states.append(h)
    h_all = np.stack(states)
    y = h_all @ V
    y = y - y.max(axis=-1, keepdims=True)
    log_p = y - np.log(np.exp(y).sum(axis=-1, keepdims=True))
    one_hot = np.eye(V.shape[1])[target]
    factor = scale / target.size
    dy = factor * (np.exp(log_p) - one_hot)
    d = {name: np.zeros_like(array) for name, array in params.items()}
    d["V"] = np.einsum("tbh,tbo->ho", h_all, dy)
    dh = dc = np.zeros(h.shape)
    for t in reversed(range(len(x))):
        z, i, f, o, g, previous, c = caches[t]
        dh = dh + dy[t] @ V.T
        dc = dc + dh * o * (1 - np.tanh(c) ** 2)
        gates = [dc * g * i * (1 - i), dc * previous * f * (1 - f)]
        gates += [dh * np.tanh(c) * o * (1 - o), dc * i * (1 - g * g)]
        da = np.hstack(gates)
        d["W"] += z.T @ da
        d["b"] += da.sum(axis=0)
        dh, dc = (da @ W.T)[:, -H:], dc * f
    if change is not None:
        change(d)
    return -factor * (one_hot * log_p).sum(), d


def elman(params, x, target, style=""):
    """One sequence of columns, parameters in a tuple, and half the squared error."""
    W, U, V = params
    h = np.zeros((len(x) + 1, len(U)))
    if style == "like the data":
        h = np.zeros_like(x, shape=h.shape)
    if style == "out":
        h = np.empty(h.shape, U.dtype)
        h[0] = 0
    for t, x_t in enumerate(x):
        a = W @ x_t + U @ h[t]
        if style == "out":
            np.tanh(a, out=h[t + 1, :])
        elif style == "lists of floats":
            h[t + 1] = [float(number) for number in np.tanh(a)]
        else:
            h[t + 1] = np.array(np.tanh(a))
    e = np.vstack([V @ h_t for h_t in h[1:]]) - target
    loss = (np.abs(e) ** 2).sum() / 2 if style == "abs" else (e * e).sum() / 2
    dW, dU, da = np.zeros_like(W), np.zeros_like(U), np.zeros(len(U))
    for t in reversed(range(len(x))):
        da = (V.T @ e[t] + U.T @ da) * (1 - h[t + 1] ** 2)
        dW += np.outer(da, x[t])
        dU += np.outer(da, h[t])
    return loss, dW, dU, e.T @ h[1:]


def lstm_case(dtype="float64", seed=0, gain=1.0, size=1.0):
    T, B, D, H, O = 7, 3, 2, 5, 4
    random = np.random.default_rng(seed)
    shapes = {"W": (D + H, 4 * H), "b": (4 * H,), "V": (H, O)}
    params = {}
    for name, shape in shapes.items():
        params[name] = (gain * random.normal(size=shape)).astype(dtype)
    x = (size * random.normal(size=(T, B, D))).astype(dtype)
    return params, x, random.integers(O, size=(T, B))


def elman_case(dtype="float64", H=5):
    random = np.random.default_rng(0)
    shapes = ((H, 2), (H, H), (3, H))
    params = tuple(random.normal(size=shape).astype(dtype) for shape in shapes)
    x, target = random.normal(size=(7, 2)), random.normal(size=(7, 3))
    return params, x.astype(dtype), target.astype(dtype)


def refused(f, *arguments):
    """The report of a function whose gradients are wrong."""
    with pytest.raises(AssertionError) as raised:
        check_gradients(f, *arguments)
    (report,) = raised.value.args
    return report


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_right_lstm_passes(dtype, scale):
    for seed, gain in enumerate((1e-3, 0.3, 1.0, 3.0)):
        params, x, target = lstm_case(dtype, seed, gain)
        report = check_gradients(lstm, params, x, target, scale)
        expected = "PASS dW, db, dV: the derivatives of this loss"
        assert str(report) == f"{expected} ({dtype}, complex step)"
        assert report.passed


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "style", ["array", "out", "lists of floats", "abs", "like the data"]
)
def test_right_code_passes_in_every_style(dtype, style):
    report = check_gradients(elman, *elman_case(dtype), style)
    assert report.passed, report
    params, x, target = elman_case(dtype)

    def wrong(params, *data):
        loss, dW, dU, dV = elman(params, *data)
        return loss, dW, dU * dU.dtype.type(1.001), dV

    report = refused(wrong, params, x, target, style)
    assert report.tensors("wrong") == "d1", report
    assert "× 1.001" in str(report)


@pytest.mark.parametrize("dtype", DTYPES)
def test_mean_over_many_terms(dtype):
    def f(params, x):
        y = np.tanh(x * params["w"])
        return (y * y).mean(), [(2 * y * (1 - y * y) * x).mean()]

    x = np.random.default_rng(0).normal(size=100_000).astype(dtype)
    assert check_gradients(f, {"w": np.array(0.5, dtype)}, x).passed


@pytest.mark.parametrize("dtype", DTYPES)
def test_saturated_units_are_not_refused(dtype):
    """1 - s has a relative error of 3 % at 34, and is 0 at 90, in every run that rounds
    to nearest.
    """

    def f(params):
        s = sigmoid(params["w"])
        return s.sum(), {"w": s * (1 - s)}

    for w in (34.0, 34.3, 34.7, 90.0):
        with np.errstate(over="ignore"):
            report = check_gradients(f, {"w": np.full(9, w, dtype)})
        assert report.tensors("not judged") == "dw"


def add(name, index, number):
    def change(d):
        d[name][index] += number

    return change


def multiply(name, index, number):
    def change(d):
        d[name][index] *= number

    return change


def clip(d):
    limit = np.sort(np.abs(d["W"]).ravel())[-6]
    np.clip(d["W"], -limit, limit, out=d["W"])


ALL = ...
MISTAKES = [
    (multiply("V", ALL, 2), r"WRONG dV: × 2\n"),
    (multiply("V", ALL, 1 / 3), r"WRONG dV: × 1/3 \(3 is x.shape\[1\]\)"),
    (multiply("W", ALL, 21), r"WRONG dW: × 21 \(21 is x.shape\[0\] × x.shape\[1\]\)"),
    (multiply("b", ALL, -1), "WRONG db: has the wrong sign"),
    (multiply("b", ALL, 0), "WRONG db: is 0 everywhere"),
    (multiply("b", 3, np.nan), "WRONG db: nan or inf in 1 of 20 elements"),
    (multiply("W", np.s_[:, 5:], 0.5), "WRONG dW: .* in columns 5 to 19 of 20; exp"),
    (multiply("W", np.s_[2], 0.5), "WRONG dW: .* in rows 2 to 2 of 7; expected"),
    (add("W", (3, 4), 1e-3), r"WRONG dW: .* expected \[3, 4\] "),
    (clip, "WRONG dW: is clipped at .*, in 6 elements"),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("change", "words"), MISTAKES)
def test_mistake_is_named(change, words, dtype):
    report = refused(lstm, *lstm_case(dtype), 1.0, change)
    assert re.match(words, f"{report}\n"), report
    assert report.tensors("right").count(",") == 1


def test_transposed_and_other_gradients_are_named():
    def transposed(params, *data):
        loss, dW, dU, dV = elman(params, *data)
        return loss, dW, dU.T, dV

    assert "WRONG d1: is the transposed one" in str(refused(transposed, *elman_case()))

    def other(params, x):
        a, b = params["a"], params["b"]
        return np.sum(a * x + a * b * b), {"a": x + b * b, "b": x + b * b}

    x = np.arange(9.0)
    report = refused(other, {"a": x + 1, "b": x - 0.5}, x)
    assert "WRONG db: is da" in str(report)


def test_expected_value_of_an_element_is_that_of_a_change_of_it():
    """The printed number, by a difference of the loss that is made here."""
    params, x, target = lstm_case()
    report = refused(lstm, params, x, target, 1.0, add("W", (3, 4), 1e-3))
    (expected,) = re.findall(r"expected \[3, 4\] (\S+), is", str(report))
    losses = []
    for step in (1e-5, -1e-5):
        changed = params | {"W": params["W"].copy()}
        changed["W"][3, 4] += step
        losses.append(lstm(changed, x, target)[0])
    assert float(expected) == pytest.approx((losses[0] - losses[1]) / 2e-5, rel=1e-5)


def test_one_wrong_element_of_a_thousand_is_found():
    random = np.random.default_rng()
    for _ in range(2):
        params, x, target = elman_case(H=32)
        index = tuple(random.integers(32, size=2))

        def f(params, *data, index=index):
            loss, dW, dU, dV = elman(params, *data)
            dU[index] *= 1.001
            return loss, dW, dU, dV

        assert refused(f, params, x, target).tensors("wrong") == "d1"


def test_what_is_lost_is_no_pass():
    """A chaotic network, and a parameter that has no effect."""
    random = np.random.default_rng(0)
    params = tuple(random.normal(size=s) for s in ((20, 2), (20, 20), (3, 20)))
    x, target = random.normal(size=(300, 2)), random.normal(size=(300, 3))
    report = check_gradients(elman, (params[0] / 99, params[1], params[2]), x, target)
    assert not report.passed
    assert "NOT JUDGED d0, d1, d2: rounding may change it" in str(report)

    def f(params, x):
        return np.sum(params["a"] * x), {"a": x, "b": 0 * params["b"]}

    x = np.arange(3.0)
    report = check_gradients(f, {"a": x, "b": x}, x)
    assert not report.passed
    assert "NOT JUDGED db: its derivative is 0" in str(report)


def returning(result):
    return lambda params, x: result


def changing(params, x):
    x += 1
    return 1.0, params


def counting(params, x, calls=[0.0]):  # noqa: B006
    calls[0] += 1
    return calls[0], params


def elsewhere(params, x):
    return float(np.sum(x)), params


W = {"W": np.ones((2, 3))}


class Foreign:
    __module__ = "torch"


REFUSALS = [
    (returning(1.0), W, "returns float: expected"),
    (returning((np.ones(2), W)), W, "the loss has the shape"),
    (returning(("1", W)), W, "the loss is 1: expected numbers"),
    (returning((np.nan, W)), W, "the loss is nan"),
    (returning((Foreign(), W)), W, "use torch.autograd.gradcheck"),
    (returning((1.0, {"U": W["W"]})), W, "the gradient dW is missing"),
    (returning((1.0, {"W": W["W"].T})), W, r"has the shape \(3, 2\): expected"),
    (elsewhere, {"W": np.ones(2, int)}, "is int64: expected an array of float32"),
    (elsewhere, {"W": Foreign()}, "use torch.autograd.gradcheck"),
    (elsewhere, np.ones(2), "params: expected a dict"),
    (elsewhere, W, "the loss does not change with params"),
    (changing, W, "changes params or data in place"),
    (counting, W, "not deterministic"),
]


@pytest.mark.parametrize(("f", "params", "words"), REFUSALS)
def test_refusal(f, params, words):
    with pytest.raises(InputError, match=words) as raised:
        check_gradients(f, params, np.ones(2))
    assert "\n" not in str(raised.value)


def test_data_are_passed_on_and_parameters_may_be_nested():
    def f(params, x, text, nothing, number):
        assert (text, nothing, number) == ("text", None, 3)
        loss, *gradients = elman((*params["layers"], params["V"]), *x)
        return loss, {"layers": gradients[:2], "dV": gradients[2]}

    (W, U, V), *data = elman_case()
    report = check_gradients(
        f, {"layers": [W, U], "V": V}, tuple(data), "text", None, 3
    )
    assert report.tensors("right") == "dlayers[0], dlayers[1], dV"
