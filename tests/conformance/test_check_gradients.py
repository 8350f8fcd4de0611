"""check_gradients: right code of several styles passes, and mistakes are named."""

import re
from typing import NamedTuple

import numpy as np
import pytest

from numpy_rnn.common.errors import InputError
from numpy_rnn.conformance import check_gradients
from numpy_rnn.conformance.gradients import derivatives
from tests.helpers.windows import each_dtype


def sigmoid(a):
    return 0.5 + 0.5 * np.tanh(0.5 * a)


def lstm(params, x, target, scale=1.0, change=None):
    """Run an LSTM with one matrix [x, h], gates i f o g, and a mean squared error.

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
    error = h_all @ V - target
    dy = scale * error / error.size
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
    return scale * (error * error).mean() / 2, d


def chain(params, h_0, steps, style=""):
    """Compute h_t = tanh(U h_{t-1}), and half the squares of the last state."""
    (U,) = params
    h = np.zeros((steps + 1, len(U)), U.dtype if style in ("out", "abs") else float)
    h[0] = h_0
    for t in range(steps):
        if style == "out":
            np.tanh(U @ h[t], out=h[t + 1, :])
        elif style == "lists of floats":
            h[t + 1] = [float(number) for number in np.tanh(U @ h[t])]
        else:
            h[t + 1] = np.array(np.tanh(U @ h[t]))
    dU, dh = 0 * U, h[-1]
    for t in reversed(range(steps)):
        da = dh * (1 - h[t + 1] ** 2)
        dU += np.outer(da, h[t])
        dh = da @ U
    squares = np.abs(h[-1]) ** 2 if style == "abs" else h[-1] * h[-1]
    return squares.sum() / 2, dU


def normal(dtype, *shapes, gain=1.0):
    """Draw arrays of these shapes, others for another number of them."""
    random = np.random.default_rng(len(shapes))
    return [(gain * random.normal(size=shape)).astype(dtype) for shape in shapes]


def lstm_case(dtype="float64", gain=1.0):
    """Return arguments of `lstm`: T = 4, B = 3, D = 2, H = 5, O = 5."""
    params = normal(dtype, (7, 20), (20,), (5, 5), gain=gain)
    return dict(zip("WbV", params)), *normal(dtype, (4, 3, 2), (4, 3, 5))


def chain_case(dtype="float64", H=5, steps=4):
    """Return arguments of `chain`."""
    return normal(dtype, (H, H)), *normal(dtype, (H,)), steps


def wrong_report(f, *arguments):
    """Return the report of a function whose gradients are wrong."""
    with pytest.raises(AssertionError) as raised:
        check_gradients(f, *arguments)
    (report,) = raised.value.args
    return report


@each_dtype
@pytest.mark.parametrize(("scale", "gain"), [(1e-6, 3.0), (1.0, 1e-3), (1e6, 0.3)])
def test_right_lstm_passes(dtype, scale, gain):
    params, x, target = lstm_case(dtype, gain=gain)
    report = check_gradients(lstm, params, x, target, scale)
    assert str(report) == (
        f"PASS dW, db, dV: the derivatives of this loss ({dtype}, complex step)"
    )


@each_dtype
@pytest.mark.parametrize("style", ["array", "out", "lists of floats", "abs"])
def test_right_code_passes_in_every_style(dtype, style):
    arguments = (*chain_case(dtype), style)
    report = check_gradients(chain, *arguments)
    assert report.passed, report

    def wrong(*arguments):
        loss, dU = chain(*arguments)
        return loss, dU * dU.dtype.type(1.001)

    report = wrong_report(wrong, *arguments)
    assert str(report).startswith("WRONG d[0]: × 1.001\n")


def test_mean_over_many_terms():
    def f(params, x):
        y = np.tanh(x * params[0])
        return (y * y).mean(), [(2 * y * (1 - y * y) * x).mean()]

    x = np.random.default_rng(0).normal(size=100_000)
    assert check_gradients(f, [np.float32(0.5)], x).passed


def test_saturated_units_are_not_refused():
    """The factor 1 − s has a relative error of 3 % at 34, and is 0 at 90, in every run
    that rounds to nearest.
    """

    def f(params):
        s = sigmoid(params[0])
        return s.sum(), [s * (1 - s)]

    for w in (34.0, 34.3, 34.7, 90.0):
        assert "NOT JUDGED" in not_judged(f, [np.full(9, w)])


def multiply(name, index, number):
    def change(d):
        d[name][index] *= number

    return change


def transpose(d):
    d["V"] = d["V"].T


ALL = ...
WRONG_GRADIENTS = [
    (multiply("V", ALL, 2), r"WRONG dV: × 2\n"),
    (multiply("V", ALL, 1 / 3), r"WRONG dV: × 1/3 \(3 is data\[0\].shape\[1\]\)"),
    (multiply("b", ALL, 1 + 1e-6), r"WRONG db: × 1\.000001\n"),
    (multiply("W", (3, 4), 1.001), r"WRONG dW: .*; expected \[3, 4\] .*, is"),
    (transpose, "WRONG dV: is the transposed one"),
    (multiply("b", ALL, 0), "WRONG db: is 0 everywhere"),
    (multiply("b", 3, np.nan), "WRONG db: nan or inf in 1 of 20 elements"),
    (multiply("b", 3, 2), r"WRONG db: .*, in 1 of 20 indices of axis 0 \(3\); .*\[3\]"),
    (multiply("W", np.s_[:, 5:], 0.5), r"WRONG dW: .* 15 of 20 .* axis 1 \(5 to 19\);"),
]


@pytest.mark.parametrize(("change", "words"), WRONG_GRADIENTS)
def test_mistake_is_named(change, words):
    report = wrong_report(lstm, *lstm_case(), 1.0, change)
    assert re.match(words, f"{report}\n"), report
    assert report.tensors("right").count(",") == 1


@pytest.mark.parametrize("size", range(1, derivatives.DIRECTIONS + 1))
def test_directions_span_small_tensors(size):
    """Errors of several elements that cancel each other cannot escape."""

    def f(params):
        return np.sum(params["w"]), {"w": np.ones(size)}

    (check,) = check_gradients(f, {"w": np.ones(size)}).checks
    assert np.linalg.matrix_rank(check.derivative.directions) == size


def not_judged(f, *arguments):
    """Return the words of a report that is no PASS, though nothing is wrong."""
    report = check_gradients(f, *arguments)
    assert not report.passed
    assert not report.tensors("wrong")
    return str(report)


def test_chaotic_network_is_not_judged():
    words = not_judged(chain, *chain_case(H=20, steps=150))
    assert "rounding or a kink may change it" in words


@pytest.mark.filterwarnings("error")
def test_parameters_without_effect_are_not_judged():
    def f(params, x):
        return np.sum(params["a"] * x), {"a": x, "b": 0 * x, "c": params["c"]}

    x = np.arange(3.0)
    words = not_judged(f, {"a": x, "b": x, "c": np.zeros((3, 0))}, x)
    assert "NOT JUDGED db: its derivative is 0" in words
    assert "NOT JUDGED dc: it has no elements\nright: da" in words


def real_only(w):
    if np.iscomplexobj(w):
        raise TypeError("expected real numbers")
    return w


@pytest.mark.parametrize("accept", [np.array, real_only])
def test_kink_at_the_very_point_is_not_judged(accept):
    """Any slope from 0 to 1 is right for relu at 0, as for padding. Both methods of
    derivatives see the kink.
    """

    def f(params):
        w = accept(params["w"])
        return np.maximum(w, 0).sum(), {"w": np.where(w > 0, 1.0, 0.0)}

    words = not_judged(f, {"w": np.array([1.0, 0.0, -1.0])})
    assert "NOT JUDGED dw: rounding or a kink" in words


def test_loss_that_is_rounded_is_not_refused():
    """The loss is in float32, which small steps do not change."""

    def f(params):
        h = np.tanh(real_only(params["w"]))
        return np.float32(1000 + h.sum()), {"w": 1 - h**2}

    check_gradients(f, {"w": np.array([0.3, 0.5, -0.2])})


def rounding_mode():
    return (1 + np.array([2.0**-60, -(2.0**-60)])).tolist()


def test_rounding_mode_of_the_caller_never_changes():
    here = rounding_mode()

    def f(params):
        if rounding_mode() != here:
            raise KeyboardInterrupt
        return np.sum(params["w"] ** 2), {"w": 2 * params["w"]}

    with pytest.raises(KeyboardInterrupt):
        check_gradients(f, {"w": np.arange(3.0)})
    assert rounding_mode() == here


def returning(result):
    return lambda params, x: result


def counting(params, x, calls=[0.0]):  # noqa: B006
    calls[0] += 1
    return calls[0], params


def elsewhere(params, x):
    return float(np.sum(x)), params


W = {"W": np.ones((2, 3))}


class Foreign:
    __module__ = "torch"


REFUSALS = [
    (returning(1.0), W, "a float: expected the loss and the gradients"),
    (returning((np.ones(2), W)), W, "the loss has the shape"),
    (returning((Foreign(), W)), W, "use torch.autograd.gradcheck"),
    (returning((1.0, {"U": W["W"]})), W, "dW is missing among U"),
    (returning((1.0, {"W": W["W"].T})), W, r"has the shape \(3, 2\): expected"),
    (elsewhere, {"W": np.ones(2, int)}, "is int64: expected floating-point"),
    (counting, W, "not deterministic"),
]


@pytest.mark.parametrize(("f", "params", "words"), REFUSALS)
def test_refusal(f, params, words):
    with pytest.raises(InputError, match=words) as raised:
        check_gradients(f, params, np.ones(2))
    assert "\n" not in str(raised.value)


def test_parameters_that_are_kept_elsewhere_are_found():
    words = "WRONG dW: expected 0: the loss does not change with it"
    assert words in str(wrong_report(elsewhere, W, np.ones(2)))


class Pair(NamedTuple):
    a: np.ndarray
    b: np.ndarray


def test_arguments_are_passed_on_as_copies():
    def f(params, x, text, nothing, number):
        assert (text, nothing, number) == ("text", None, 3)
        d = [params.b * x[0], params.a * x[0]]
        x[0][:] = 0  # each call has its own copy
        return np.sum(params.a * d[0]), d

    x = np.arange(1.0, 4)
    report = check_gradients(f, Pair(x, 2 * x), (x,), "text", None, 3)
    assert report.tensors("right") == "d[0], d[1]"


@pytest.mark.parametrize("names", [("t", "dt"), ("dt", "ddt")])
def test_name_of_a_parameter_may_be_that_of_a_gradient(names):
    """The key dt is the gradient of dt where t is a key too, and else that of t."""

    def f(params):
        t, dt = params["t"], params["dt"]
        return np.sum(t * dt), dict(zip(names, (dt, t)))

    numbers = np.arange(1.0, 4)
    assert check_gradients(f, {"t": numbers, "dt": numbers**2}).passed
