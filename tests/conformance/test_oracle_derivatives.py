"""The oracle, against derivatives got in three other ways, in three other arithmetics.

One forward pass serves all three. Written with NumPy's operators alone, it takes complex numbers (complex step),
decimal numbers of 60 digits (central differences) and fractions that carry a derivative along (exact, for relu).
"""

import decimal
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from math import isqrt

import numpy as np
import pytest
from window_port import random_window

from numpy_rnn.conformance.bounds.oracle import oracle
from numpy_rnn.conformance.case import required_outputs


def forward(case, number, phi, name=None, nudges=None):
    """a, h, y and the loss, in numbers of any kind; `nudges` are added to the tensor of that name."""
    given = {**case.params._asdict(), "x": case.x, "target": case.target, "h_0": case.h_0}
    values = {key: number(np.zeros(1) if array is None else array) for key, array in given.items()}
    if name in values:
        values[name] = values[name] + nudges
    W_xh, W_hh, W_hy, b_h, b_y, h, x, target = values.values()
    T, K = len(x), len(target)
    steps = {"a": [], "h": [], "y": []}

    def step(key, value):
        t = len(steps[key])
        steps[key].append(value + nudges[t] if key == name else value)
        return steps[key][t]

    for t in range(T):
        h = step("h", phi(step("a", x[t] @ W_xh + h @ W_hh + b_h)))
        step("y", h @ W_hy + b_y)
    error = np.stack(steps["y"])[T - K :] - target
    loss = (error * error).sum() / (2 * (target.size if case.reduction == "mean" else 1))
    return {"loss": np.asarray(loss), **{key: np.stack(value) for key, value in steps.items()}}


def each_derivative(case, number, phi, derivative):
    """Name, index and ∂L/∂v for every entry of every v that the oracle differentiates by: derivative(nudge → L)."""
    shapes = required_outputs(case, intermediates=True, input_gradients=True)
    for name in (name for name in shapes if name.startswith("d")):
        for index in np.ndindex(shapes[name]):

            def loss(nudge, name=name, index=index):
                nudges = number(np.zeros(shapes[name]))
                nudges[index] = nudge
                return forward(case, number, phi, name[1:], nudges)["loss"][()]

            yield name, index, derivative(loss)


def elementwise(f):
    """f of every element, whatever it returns."""
    return np.vectorize(f, otypes=[object])


# -- complex step ----------------------------------------------------------------------------------------------------


def summed_magnitudes(case, values):
    """What the terms of every derivative sum to in absolute values, the scale of its rounding."""
    size = {name: np.abs(value.high) for name, value in values.items()}
    W_xh, W_hh, W_hy, _, b_y = (0 if theta is None else np.abs(theta) for theta in case.params[:5])
    K = len(case.target)
    dy, dh, da = (np.zeros_like(size[name]) for name in ("dy", "dh", "da"))
    dy[-K:] = (size["h"] @ W_hy + b_y)[-K:] + np.abs(case.target)
    dy /= case.target.size if case.reduction == "mean" else 1
    for t in reversed(range(len(case.x))):
        dh[t] = dy[t] @ W_hy.T + (da[t + 1] @ W_hh.T if t + 1 < len(case.x) else 0)
        da[t] = dh[t] * (np.cosh(size["a"][t]) ** -2 if case.nonlinearity == "tanh" else 1)
    h_before = np.abs(np.concatenate((case.h_0[None], values["h"].high[:-1])))
    inputs = {"dW_xh": (np.abs(case.x), da), "dW_hh": (h_before, da), "dW_hy": (size["h"], dy)}
    sums = {name: np.einsum("tbi,tbj->ij", *pair) for name, pair in inputs.items()}
    sums |= {"dh_0": da[0] @ W_hh.T, "dx": da @ W_xh.T, "db_h": da.sum((0, 1)), "db_y": dy.sum((0, 1))}
    return {"dy": dy, "dh": dh, "da": da, **sums}


@pytest.mark.parametrize("seed", range(16))
def test_complex_step(seed):
    """To 1e-14 of the summed magnitudes. Source: Squire and Trapp 1998."""
    case = random_window(seed)
    values = oracle(case)
    allowed = summed_magnitudes(case, values)

    def number(array):
        return array.astype(complex)

    def phi(a):
        return np.tanh(a) if case.nonlinearity == "tanh" else a * (a.real > 0)

    for name, index, derivative in each_derivative(case, number, phi, lambda loss: loss(1e-200j).imag / 1e-200):
        assert abs(values[name].high[index] - derivative) <= 1e-14 * allowed[name][index], (name, index)


# -- decimal numbers -------------------------------------------------------------------------------------------------


def tanh(a):
    """(e²ᵃ − 1)/(e²ᵃ + 1), to as many digits as the context has."""
    power = (2 * a).exp()
    return (power - 1) / (power + 1)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("seed", range(3))
def test_central_differences_in_sixty_digits(seed, dtype):
    """Derivatives to a relative 1e-25, by differences over 1e-20; all else to within the radius."""
    case = random_window(seed, dtype, largest=5, nonlinearity="tanh")
    values = oracle(case)
    step = Decimal("1e-20")

    def exact(name, index):
        return Decimal(float(values[name].high[index])) + Decimal(float(values[name].low[index]))

    with decimal.localcontext(prec=60, Emin=-(10**9), Emax=10**9):
        number, phi = elementwise(lambda v: Decimal(float(v))), elementwise(tanh)

        def difference(loss):
            return (loss(step) - loss(-step)) / (2 * step)

        for name, index, derivative in each_derivative(case, number, phi, difference):
            assert abs(exact(name, index) - derivative) <= Decimal("1e-25") * abs(derivative), (name, index)
        for name, array in forward(case, number, phi).items():
            for index in np.ndindex(array.shape):
                off = abs(exact(name, index) - array[index])
                assert off <= Decimal(float(values[name].radius[index])) + Decimal("1e-50"), (name, index)


# -- fractions -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Dual:
    """A rational number, and its derivative along the one entry that is nudged."""

    value: Fraction
    derivative: Fraction = Fraction(0)

    def __add__(self, other):
        return Dual(self.value + other.value, self.derivative + other.derivative)

    def __sub__(self, other):
        return Dual(self.value - other.value, self.derivative - other.derivative)

    def __mul__(self, other):
        return Dual(self.value * other.value, self.value * other.derivative + self.derivative * other.value)

    def __truediv__(self, number):
        return Dual(self.value / number, self.derivative / number)


def rational(case):
    """Every tensor of a case with relu, as {name: {index: Fraction}}, by forward differentiation."""
    zero, unit = Dual(Fraction(0)), Dual(Fraction(0), Fraction(1))

    def number(array):
        return elementwise(lambda v: Dual(Fraction(float(v))))(array)

    def phi(a):
        return elementwise(lambda v: v if v.value > 0 else zero)(a)

    exact = {}
    for name, index, derivative in each_derivative(case, number, phi, lambda loss: loss(unit).derivative):
        exact.setdefault(name, {})[index] = derivative
    for name, array in forward(case, number, phi).items():
        exact[name] = {index: array[index].value for index in np.ndindex(array.shape)}
    return exact | step(case, exact)


def root(number):
    """To 2⁻³⁰⁰."""
    return Fraction(isqrt(int(number * 2**600)), 2**300)


def step(case, exact):
    """The velocities and the new parameters, (U1) to (U6)."""
    rate = Fraction(float(case.dtype.type(case.learning_rate)))
    mu, tau, decay = map(Fraction, (case.sgd.momentum, case.sgd.dampening, case.sgd.weight_decay))
    names = [name for name, theta in case.params._asdict().items() if theta is not None]
    factor = Fraction(1)
    if case.sgd.max_norm is not None:
        norm = root(sum(number**2 for name in names for number in exact["d" + name].values()))
        factor = min(factor, Fraction(case.sgd.max_norm) / (norm + Fraction(1e-6)))
    made = {}
    for name in names:
        before = None if case.velocity is None else getattr(case.velocity, name)
        for index, number in exact["d" + name].items():
            theta = Fraction(float(getattr(case.params, name)[index]))
            s = d = factor * number + decay * theta
            if mu:
                v = d if before is None else mu * Fraction(float(before[index])) + (1 - tau) * d
                made.setdefault("v" + name, {})[index] = v
                s = d + mu * v if case.sgd.nesterov else v
            made.setdefault(name, {})[index] = theta - rate * s
    return made


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("seed", range(8))
def test_relu_is_the_rational_numbers(seed, dtype):
    """Everything, the velocities and new parameters too: equal to within the radius, and the root's 2⁻³⁰⁰."""
    case = random_window(seed, dtype, largest=5, nonlinearity="relu")
    values, exact = oracle(case), rational(case)
    assert exact.keys() == values.keys()
    for name, elements in exact.items():
        assert len(elements) == values[name].high.size
        for index, number in elements.items():
            high, low, radius = (Fraction(float(part[index])) for part in values[name])
            assert abs(high + low - number) <= radius + Fraction(1, 2**290), (name, index)
