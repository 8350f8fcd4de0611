"""What the tests share: random cases, witnesses written from the definitions alone, and the one comparison.

The witnesses call nothing of the packages under test but their named tuples: `reference_update` works out one update
step by step, `reference_run` puts the schedule of TBPTT(k1, k2) around it, and `complex_step` differentiates whatever
it is given. They have tests of their own: in test_bptt.py, and test_equivalence.py for the comparison.
"""

from functools import reduce
from typing import Any, NamedTuple

import numpy as np
from hypothesis import currently_in_test_context, reject, settings
from hypothesis import strategies as st

from numpy_rnn import Activations, Deltas, Gradients, Parameters

# The error granted to an operation, relative to the size of the terms that it summed: 45 eps. Two correct
# computations of a sum of n terms differ by at most n·eps of that size (Higham, section 3.1), and n ≤ 42 below.
UNIT = {"float64": 1e-14, "float32": 1e-14 * 2.0**29}
STEP = 1e-200  # of the complex-step derivative: its square vanishes beside anything


def fewer(divisor):
    """Hypothesis settings for a dear property: the profile's number of examples, divided."""
    return settings(max_examples=max(5, settings().max_examples // divisor))


# -- comparing ------------------------------------------------------------------------------------------------------


def assert_within(actual, expected, allowed, name="value"):
    """Fail unless the NumPy array `actual` is `expected` up to `allowed`: same shape, same dtype, all finite, and no
    element further away. Named tuples are compared field by field, and None is only like None.
    """
    if isinstance(expected, tuple):
        assert type(actual) is type(expected), f"{name} is a {type(actual)}, expected a {type(expected)}"
        fields = getattr(expected, "_fields", range(len(expected)))
        for field, *values in zip(fields, actual, expected, allowed, strict=True):
            assert_within(*values, f"{name}.{field}")
        return
    if expected is None:
        assert actual is None, f"{name} is there, expected None"
        return
    assert isinstance(actual, np.ndarray | np.generic), f"{name} is a {type(actual)}, not a NumPy array"
    assert actual.shape == expected.shape, f"{name} has shape {actual.shape}, expected {expected.shape}"
    assert actual.dtype == expected.dtype, f"{name} is {actual.dtype}, expected {expected.dtype}"
    assert np.shape(allowed) in ((), expected.shape), f"{name}: the allowed difference has shape {np.shape(allowed)}"
    for what, array in (("", actual), ("expected ", expected), ("allowed ", allowed)):
        assert np.isfinite(array).all(), f"{what}{name} is not finite: {array}"
    difference = np.abs(np.subtract(actual, expected, dtype=np.float64))
    if not (difference <= allowed).all():
        ratio = np.atleast_1d(difference / np.maximum(allowed, np.finfo(float).tiny))
        worst = np.unravel_index(ratio.argmax(), ratio.shape)
        given, wanted, limit = (np.broadcast_to(v, ratio.shape)[worst] for v in (actual, expected, allowed))
        raise AssertionError(
            f"{name}{[int(i) for i in worst]} is {given!r}, expected {wanted!r} ± {limit:.2g}: "
            f"{ratio.max():.3g} times the allowed difference"
        )


def bits(value):
    """The exact contents of arrays of either backend, nested like the tuples that hold them."""
    if isinstance(value, tuple):
        return tuple(map(bits, value))
    if value is None or isinstance(value, int):
        return value
    array = np.asarray(value.detach() if hasattr(value, "detach") else value)
    return array.shape, str(array.dtype), array.tobytes()


def each(f, value, *more):
    """f of every array of a tuple, or of several tuples of the same form; None stays None."""
    if isinstance(value, tuple):
        results = [each(f, *fields) for fields in zip(value, *more, strict=True)]
        return type(value)(*results) if hasattr(value, "_fields") else tuple(results)
    return None if value is None else f(value, *more)


# -- cases ----------------------------------------------------------------------------------------------------------


class Case(NamedTuple):
    """A window with everything that its update depends on, as NumPy arrays."""

    params: Parameters
    x: Any  # (T, B, D)
    target: Any  # (K, B, O)
    h_0: Any  # (B, H)
    options: dict  # nonlinearity and reduction

    @property
    def dtype(self):
        return self.params.W_hh.dtype

    @property
    def phi(self):
        return {"nonlinearity": self.options["nonlinearity"]}

    @property
    def arrays(self):
        return self.params, self.x, self.target, self.h_0

    def of(self, rnn):
        """Parameters, x, target and h_0 as arrays of a backend."""
        return tuple(map(rnn.from_numpy, self.arrays))


def random_case(
    seed, T, B, D, H, O, K=None, *, bias=True, nonlinearity="tanh", reduction="sum", dtype="float64", E=(), own=()
) -> Case:
    """Numbers of order one, scaled so that neither tanh saturates nor the state explodes. E: the ensemble's axes, and
    `own` names those of x, target and h_0 that every network has for itself.
    """
    generator = np.random.default_rng(seed)

    def normal(deviation, *shape):
        return generator.normal(0, deviation, shape).astype(dtype)

    def series(name, steps, size):
        return normal(1, *steps, *(E if name in own else ()), B, size)

    W_xh, W_hh, W_hy = normal(D**-0.5, *E, D, H), normal(H**-0.5, *E, H, H), normal(1, *E, H, O)
    biases = (normal(0.5, *E, H), normal(0.5, *E, O)) if bias else (None, None)
    x, target, h_0 = series("x", (T,), D), series("target", (K or T,), O), series("h_0", (), H)
    options = {"nonlinearity": nonlinearity, "reduction": reduction}
    return Case(Parameters(W_xh, W_hh, W_hy, *biases), x, target, h_0, options)


def sizes(largest=7):
    """T, B, D, H and O: distinct from each other, so that none can stand for another, or small and perhaps equal."""
    distinct = st.lists(st.integers(1, largest), min_size=5, max_size=5, unique=True)
    return st.one_of(distinct, st.lists(st.integers(1, 3), min_size=5, max_size=5))


@st.composite
def cases(draw, *, dtypes=("float64", "float32"), largest=7, all_counted=False):
    """A random Case. Hypothesis draws the sizes and options, and a seed for the numbers.

    relu's derivative jumps at 0, so windows with a pre-activation nearer to 0 than its own rounding are no cases.
    """
    T, B, D, H, O = draw(sizes(largest))
    case = random_case(
        draw(st.integers(0, 2**32 - 1)),
        *(T, B, D, H, O),
        T if all_counted else draw(st.integers(1, T)),
        bias=draw(st.booleans()),
        nonlinearity=draw(st.sampled_from(["tanh", "relu"])),
        reduction=draw(st.sampled_from(["sum", "mean"])),
        dtype=draw(st.sampled_from(dtypes)),
    )
    reference_update(case)
    return case


@st.composite
def runs(draw, **options):
    """A Case whose every step has a target, with k1, k2 (perhaps longer than the series), learning rate and epochs.

    Under "sum" the rate is that of "mean" divided by the number of terms; both are small enough that relu's states do
    not explode within three epochs.
    """
    case = draw(cases(all_counted=True, **options))
    T = len(case.x)
    k1 = draw(st.integers(1, T + 1))
    terms = case.target[:k1].size if case.options["reduction"] == "sum" else 1
    return case, {
        "k1": k1,
        "k2": draw(st.integers(k1, T + 2)),
        "learning_rate": draw(st.floats(0.005, 0.05)) / terms,
        "epochs": draw(st.integers(1, 3)),
    }


def torch_nn(case):
    """The same network as torch.nn.RNN and torch.nn.Linear, whose weights are (to, from) where ours are (from, to), and
    whose second hidden bias stays zero.
    """
    import torch

    W_xh, W_hh, W_hy, b_h, b_y = each(torch.tensor, case.params)
    kind = {"bias": b_h is not None, "dtype": W_hh.dtype}
    layer, readout = torch.nn.RNN(*W_xh.shape, **kind, **case.phi), torch.nn.Linear(*W_hy.shape, **kind)
    with torch.no_grad():
        layer.weight_ih_l0.copy_(W_xh.T)
        layer.weight_hh_l0.copy_(W_hh.T)
        readout.weight.copy_(W_hy.T)
        if b_h is not None:
            layer.bias_ih_l0.copy_(b_h)
            layer.bias_hh_l0.zero_()
            readout.bias.copy_(b_y)
    return layer, readout


# -- one update, with the rounding that is allowed to it --------------------------------------------------------------


class About:
    """A float64 value, and `off`: how far from it a correct computation may lie.

    Every operation passes on what its operands are off, to the full, and adds `unit` times the size of the terms
    that it sums; so the allowed difference follows the sums that were made, not the result, which may cancel.
    """

    def __init__(self, value, unit, off=0.0):
        self.value = np.asarray(value, dtype=np.float64)
        self.unit = unit
        self.off = off + np.zeros(self.value.shape)

    @property
    def most(self):
        return np.abs(self.value) + self.off

    def __add__(self, other):
        off = self.off + other.off + self.unit * (self.most + other.most)
        return About(self.value + other.value, self.unit, off)

    def __sub__(self, other):
        return self + About(-other.value, self.unit, other.off)

    def __mul__(self, other):
        inherited = self.off * np.abs(other.value) + np.abs(self.value) * other.off + self.off * other.off
        return About(self.value * other.value, self.unit, inherited + self.unit * self.most * other.most)

    def __matmul__(self, other):
        inherited = self.off @ np.abs(other.value) + np.abs(self.value) @ other.off + self.off @ other.off
        return About(self.value @ other.value, self.unit, inherited + self.unit * self.most @ other.most)

    def __truediv__(self, number):
        return About(self.value / number, self.unit, self.off / number + self.unit * self.most / number)

    def sum(self, axis=None):
        return About(self.value.sum(axis), self.unit, self.off.sum(axis) + self.unit * self.most.sum(axis))

    def tanh(self):
        h = np.tanh(self.value)
        steepest = np.cosh(np.maximum(np.abs(self.value) - self.off, 0)) ** -2.0
        return About(h, self.unit, steepest * self.off + self.unit * np.abs(h))

    def relu(self):
        if (np.abs(self.value) <= self.off).any():
            at_the_kink()
        return About(np.maximum(self.value, 0), self.unit, np.where(self.value > 0, self.off, 0))

    def __getitem__(self, index):
        return About(self.value[index], self.unit, self.off[index])

    @property
    def T(self):
        return About(self.value.T, self.unit, self.off.T)

    @staticmethod
    def stack(items):
        return About(np.stack([i.value for i in items]), items[0].unit, np.stack([i.off for i in items]))


def at_the_kink():
    """On which side of relu's kink a number lies is not known: no case for a property, an error elsewhere."""
    if currently_in_test_context():
        reject()
    raise AssertionError("a pre-activation lies nearer to relu's kink than its rounding: choose another seed")


class Expected(NamedTuple):
    """What one update computes, everything About."""

    activations: Activations
    loss: About
    deltas: Deltas
    gradients: Gradients
    parameters: Parameters


def values(expected, dtype):
    """The values of a tuple of About, rounded to a dtype."""
    return each(lambda about: about.value.astype(dtype), expected)


def allowed(expected):
    """How far from those values a correct computation may lie, in tuples of the same form."""
    return each(lambda about: about.off, expected)


def reference_update(case, learning_rate=0.0) -> Expected:
    """One update, written step by step for one network; params and h_0 of the case may be About already."""
    unit = UNIT[str(case.x.dtype)]
    params, x, target, h_0 = each(lambda v: v if isinstance(v, About) else About(v, unit), case.arrays)
    W_xh, W_hh, W_hy, b_h, b_y = params
    T, K = len(case.x), len(case.target)
    tanh = case.options["nonlinearity"] == "tanh"
    terms = {"sum": 1, "mean": case.target.size}[case.options["reduction"]]

    a, h, y = {}, {0: h_0}, {}
    for t in range(1, T + 1):
        a[t] = x[t - 1] @ W_xh + h[t - 1] @ W_hh
        a[t] = a[t] if b_h is None else a[t] + b_h
        h[t] = a[t].tanh() if tanh else a[t].relu()
        y[t] = h[t] @ W_hy
        y[t] = y[t] if b_y is None else y[t] + b_y

    error = {t: y[t] - target[t - (T - K) - 1] for t in range(T - K + 1, T + 1)}
    loss = reduce(About.__add__, [(e * e).sum() / 2 for e in error.values()]) / terms

    one, nothing = About(1.0, unit), About(np.zeros(y[1].value.shape), unit)
    dy = {t: error[t] / terms if t in error else nothing for t in y}
    dh: dict[int, About] = {}
    da: dict[int, About] = {}
    for t in range(T, 0, -1):
        dh[t] = dy[t] @ W_hy.T if t == T else dy[t] @ W_hy.T + da[t + 1] @ W_hh.T
        slope = one - h[t] * h[t] if tanh else About(a[t].value > 0, unit)
        da[t] = dh[t] * slope

    def over_time(term):
        return reduce(About.__add__, [term(t) for t in range(1, T + 1)])

    gradients = Gradients(
        over_time(lambda t: x[t - 1].T @ da[t]),
        over_time(lambda t: h[t - 1].T @ da[t]),
        over_time(lambda t: h[t].T @ dy[t]),
        None if b_h is None else over_time(lambda t: da[t].sum(0)),
        None if b_y is None else over_time(lambda t: dy[t].sum(0)),
    )
    eta = About(case.x.dtype.type(learning_rate), unit)
    updated = (None if theta is None else theta - eta * dtheta for theta, dtheta in zip(params, gradients, strict=True))
    stacked = [About.stack(list(steps.values())) for steps in (a, h, y)]
    backwards = [About.stack([steps[t] for t in range(1, T + 1)]) for steps in (dy, dh, da)]
    return Expected(Activations(x, *stacked), loss, Deltas(*backwards), gradients, Parameters(*updated))


# -- a run ------------------------------------------------------------------------------------------------------------


class ReferenceUpdate(NamedTuple):
    epoch: int
    number: int
    window: list  # the steps, numbered from 1
    new: list  # those of them whose loss is counted
    expected: Expected


def reference_run(case, *, k1, k2, learning_rate, epochs):
    """TBPTT(k1, k2), the definition (design.md, section 4) transcribed: steps from 1, dictionaries, one update a time.

    The allowed differences are carried along too, from update to update, in the parameters and in the states.
    """
    T = len(case.x)
    params = case.params
    for epoch in range(1, epochs + 1):
        latest = {0: case.h_0}  # h at a step, as the latest pass over that step computed it
        e = {0: 0}
        n = 0
        while e[n] < T:
            n += 1
            e[n] = min(n * k1, T)
            s_n = max(0, e[n] - k2)
            window = [step for step in range(1, T + 1) if s_n < step <= e[n]]
            new = [step for step in range(1, T + 1) if e[n - 1] < step <= e[n]]
            x = np.stack([case.x[step - 1] for step in window])
            target = np.stack([case.target[step - 1] for step in new])
            expected = reference_update(Case(params, x, target, latest[s_n], case.options), learning_rate)
            yield ReferenceUpdate(epoch, n, window, new, expected)
            params = expected.parameters
            for passed, step in enumerate(window, start=1):
                latest[step] = expected.activations.h[passed]


# -- derivatives ------------------------------------------------------------------------------------------------------


def complex_step(f, theta):
    """The derivatives of f at the real array theta, (*theta.shape, *f's shape), without a rounding of differences:
    f(θ + iε) = f(θ) + iε f'(θ). All entries are nudged at once: f is given them stacked, (entries, *theta.shape).

    Source: Squire and Trapp 1998.
    """
    nudges = np.eye(theta.size).reshape(theta.size, *theta.shape)
    value = f(theta + 1j * STEP * nudges)
    return (value.imag / STEP).reshape(*theta.shape, *value.shape[1:])


def complex_step_gradients(f, params) -> Gradients:
    """df/dθ for every parameter; f takes Parameters of which one is stacked as in `complex_step`."""

    def derivative(name, theta):
        return None if theta is None else complex_step(lambda nudged: f(params._replace(**{name: nudged})), theta)

    return Gradients(*(derivative(name, theta) for name, theta in params._asdict().items()))


def one_by_one(f):
    """For `complex_step_gradients`: an f that takes one network's complex Parameters at a time."""

    def stacked(params):
        (name,) = (name for name, theta in params._asdict().items() if np.iscomplexobj(theta))
        plain = each(lambda theta: theta.astype(complex), params)
        return np.array([f(plain._replace(**{name: entry})) for entry in getattr(params, name)])

    return stacked


def step_losses(copies, x, target, h_0, nonlinearity, nudge_a=0, nudge_h=0, nudge_y=0):
    """ℓ_t of every step, (..., K), where step s has parameters copies[s-1] of its own (equivalence.md, section 2).

    Anything may be complex and may carry leading axes. The nudges (..., T, B, N) are added to every a, h and y.
    """
    T, K = len(x), len(target)
    nudge_a, nudge_h, nudge_y = (np.zeros((T, 1, 1)) + nudge for nudge in (nudge_a, nudge_h, nudge_y))
    h, losses = h_0, []
    for t, (W_xh, W_hh, W_hy, b_h, b_y) in enumerate(copies):
        a = x[t] @ W_xh + h @ W_hh + (0 if b_h is None else b_h[..., None, :]) + nudge_a[..., t, :, :]
        h = (np.tanh(a) if nonlinearity == "tanh" else a * (a.real > 0)) + nudge_h[..., t, :, :]
        y = h @ W_hy + (0 if b_y is None else b_y[..., None, :]) + nudge_y[..., t, :, :]
        if t >= T - K:
            error = y - target[t - (T - K)]
            losses.append((error * error).sum((-2, -1)) / 2)
    return np.stack(np.broadcast_arrays(*losses), axis=-1)


def counted_loss(params, x, target, h_0, nonlinearity, reduction="sum", **nudges):
    """L of a window: the sum of its step losses, divided under "mean"; all steps share the parameters."""
    losses = step_losses([params] * len(x), x, target, h_0, nonlinearity, **nudges)
    return losses.sum(-1) / {"sum": 1, "mean": target.size}[reduction]
