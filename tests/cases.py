"""What the tests share: random cases, witnesses written from the definitions alone, and the one comparison.

The witnesses call nothing of the packages under test but their named tuples: `reference_update` works out one update
step by step, `assert_right` compares a run with it and with the schedule of TBPTT(k1, k2), and `complex_step`
differentiates whatever it is given. They have tests of their own: in test_window.py for a window, in test_sgd.py for
the step, and in test_cases.py for the comparison. `one_update` and `reported` are no witnesses: they ask a backend.
"""

from functools import reduce
from typing import Any, NamedTuple

import numpy as np
from hypothesis import currently_in_test_context, reject, settings
from hypothesis import strategies as st

from numpy_rnn import Activations, Adjoints, Gradients, Parameters

# The error granted to an operation, relative to the size of the terms that it summed: 45 eps. Two correct
# computations of a sum of n terms differ by at most n·eps of that size (Higham, section 3.1), and n ≤ 42 below.
UNIT = {"float64": 1e-14, "float32": 1e-14 * 2.0**29}
# Below the smallest normal number, numbers lie as far apart as the smallest of all: there a product is off by half of
# that in either of two computations, and so is the expected value when it is rounded to the dtype.
UNDERFLOW = {unit: 2 * float(np.finfo(dtype).smallest_subnormal) for dtype, unit in UNIT.items()}
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
    """A window with everything that its gradient depends on, as NumPy arrays."""

    params: Parameters
    x: Any  # (T, B, D), or classes (T, B)
    target: Any  # (K, B, O), or of a cross-entropy classes (K, B)
    h_0: Any  # (B, H), or None where the parameters have a learned one
    options: dict  # nonlinearity, reduction and loss
    weights: Any = None  # (K, B), of the losses; None for 1

    @property
    def dtype(self):
        return self.params.W_hh.dtype

    @property
    def phi(self):
        return {"nonlinearity": self.options["nonlinearity"]}

    @property
    def loss_rows(self):
        """What the loss is made of, in NumPy: (target in rows, weights (K, B, 1), N of (L2))."""
        rows = in_rows(self.target, self.params.W_hy.shape[-1], self.dtype)
        w = np.ones(rows.shape[:1] + rows.shape[-2:-1], self.dtype) if self.weights is None else self.weights
        terms = float(w.sum()) * (rows.shape[-1] if self.options["loss"] == "squared_error" else 1)
        return rows, w[..., None], {"sum": 1, "mean": terms or 1}[self.options["reduction"]]

    def form(self, rnn):
        """Its options as `train`, `bptt` and `adjoints` of a backend take them."""
        return self.options | ({} if self.weights is None else {"weights": rnn.from_numpy(self.weights)})

    def steps(self, start, loss_start, stop):
        """The case of the steps (start, stop], of which those from `loss_start` on have a loss."""
        weights = None if self.weights is None else self.weights[loss_start:stop]
        return self._replace(x=self.x[start:stop], target=self.target[loss_start:stop], weights=weights)

    @property
    def arrays(self):
        return self.params, self.x, self.target, self.h_0

    @property
    def initial(self):
        """The state that the window starts from, learned or not."""
        return self.params.h_0 if self.h_0 is None else self.h_0

    def of(self, rnn):
        """Parameters, x, target and the initial state as arrays of a backend."""
        params, x, target, h_0 = self.for_train(rnn)
        return params, x, target, params.h_0 if h_0 is None else h_0

    def for_train(self, rnn):
        """The same, as `train` takes them: no state where a learned one comes with the parameters."""
        return tuple(map(rnn.from_numpy, self.arrays))


def random_case(
    seed,
    T,
    B,
    D,
    H,
    O,
    K=None,
    *,
    bias=True,
    nonlinearity="tanh",
    reduction="sum",
    dtype="float64",
    E=(),
    own=(),
    learned=False,
    loss="squared_error",
    classes=False,
    weights=False,
) -> Case:
    """Numbers of order one, scaled so that neither tanh saturates nor the state explodes. E: the ensemble's axes, and
    `own` names those of x, target and h_0 that every network has for itself, as it has a learned initial state.
    classes: whether x, and the target of a cross-entropy, hold classes; weights: whether the losses have some. The sums
    of distributions are 1 but for what rounded ones of any origin may be off.
    """
    generator = np.random.default_rng(seed)

    def normal(deviation, *shape):
        return generator.normal(0, deviation, shape).astype(dtype)

    def series(name, steps, size):
        return normal(1, *steps, *(E if name in own or (name == "h_0" and learned) else ()), B, size)

    W_xh, W_hh, W_hy = normal(D**-0.5, *E, D, H), normal(H**-0.5, *E, H, H), normal(1, *E, H, O)
    biases = (normal(0.5, *E, H), normal(0.5, *E, O)) if bias else (None, None)
    x, target, h_0 = series("x", (T,), D), series("target", (K or T,), O), series("h_0", (), H)
    options = {"nonlinearity": nonlinearity, "reduction": reduction, "loss": loss}
    params = Parameters(W_xh, W_hh, W_hy, *biases)._replace(h_0=h_0 if learned else None)
    if classes:
        x = generator.integers(0, D, x.shape[:-1])
    if loss == "cross_entropy":
        rows = np.exp(target) / np.exp(target).sum(axis=-1, keepdims=True)
        off = generator.uniform(0.9995, 1.0005, (*target.shape[:-1], 1))
        target = generator.integers(0, O, target.shape[:-1]) if classes else (rows * off).astype(dtype)
    w = generator.choice([0.0, 1.0, 0.4, 2.0], (K or T, B)).astype(dtype) if weights else None
    return Case(params, x, target, None if learned else h_0, options, w)


def in_rows(array, size, dtype):
    """Classes as rows with a 1 at their place; rows as they are."""
    return np.eye(size, dtype=dtype)[array] if array.dtype.kind == "i" else array


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
        dtype=draw(st.sampled_from(dtypes)),
        **draw(kinds()),
    )
    reference_update(case)
    return case


@st.composite
def kinds(draw):
    """Options of `random_case`: of the network, of the loss and of the series."""
    return {
        "nonlinearity": draw(st.sampled_from(["tanh", "relu", "sigmoid"])),
        "reduction": draw(st.sampled_from(["sum", "mean"])),
        "learned": draw(st.booleans()),
        "loss": draw(st.sampled_from(["squared_error", "cross_entropy"])),
        "classes": draw(st.booleans()),
        "weights": draw(st.booleans()),
    }


@st.composite
def steps_of_sgd(draw):
    """Options of the step beside its learning rate: often none of them, and any of them together."""
    options = {}
    kind = draw(st.sampled_from([None, "plain", "dampening", "nesterov", "adagrad"]))
    if kind == "adagrad":
        options["adagrad"] = True
    elif kind:
        options["momentum"] = draw(st.sampled_from([0.5, 0.9, 0.99]) | st.floats(0.01, 0.95))
        if kind == "dampening":
            options["dampening"] = draw(st.sampled_from([0.1, 1.0]) | st.floats(0, 1))
        options["nesterov"] = kind == "nesterov"
    if draw(st.booleans()):
        options["weight_decay"] = draw(st.floats(0.001, 0.1))
    clipping = draw(st.sampled_from([None, "max_norm", "max_value"]))
    if clipping:
        options[clipping] = draw(st.sampled_from([0.01, 0.3, 1.0, 3.0, 100.0]))
    return options


@st.composite
def runs(draw, **options):
    """A Case whose every step has a target, with k1, k2 (perhaps longer than the series), learning rate and epochs, and
    perhaps with other options of the step.

    Under "sum" the rate is that of "mean" divided by the number of terms, and under a momentum it is smaller by what
    that adds up to; so it is small enough that relu's states do not explode within three epochs.
    """
    case = draw(cases(all_counted=True, **options))
    T = len(case.x)
    k1 = draw(st.integers(1, T + 1))
    terms = k1 * case.x.shape[1] * case.params.W_hy.shape[-1] if case.options["reduction"] == "sum" else 1
    of_step = draw(steps_of_sgd())
    return case, {
        "k1": k1,
        "k2": draw(st.integers(k1, T + 2)),
        "learning_rate": draw(st.floats(0.005, 0.05)) / terms * (1 - of_step.get("momentum", 0)),
        "epochs": draw(st.integers(1, 3)),
        **of_step,
    }


def with_ensemble(case, E, seed, own=()):
    """A random case of the same sizes, options and dtype with the ensemble axes E; the case itself for E = ()."""
    kind = {"bias": case.params.b_h is not None, "learned": case.h_0 is None, "dtype": str(case.dtype)}
    kind |= {"classes": case.x.dtype.kind == "i", "weights": case.weights is not None}
    sizes = *case.x.shape[:2], *case.params.W_xh.shape, case.params.W_hy.shape[-1]
    return random_case(seed, *sizes, E=E, own=own, **kind, **case.options) if E else case


def window_of(case, window, before, initial) -> Case:
    """The Case of one window of a run over `case`, from the parameters before it and its initial state; all NumPy.

    Where another state than the learned one enters, that one takes no part.
    """
    learned = case.h_0 is None and window.start == 0
    params = before if learned else before._replace(h_0=None)
    return case.steps(*window)._replace(params=params, h_0=None if learned else initial)


# -- one update, with the rounding that is allowed to it --------------------------------------------------------------


class About:
    """A float64 value, and `off`: how far from it a correct computation may lie.

    Every operation passes on what its operands are off, to the full, and adds `unit` times the size of the terms
    that it sums, and what underflow may add; so the allowed difference follows the sums that were made, not the
    result, which may cancel.
    """

    def __init__(self, value, unit, off=0.0):
        self.value = np.asarray(value, dtype=np.float64)
        self.unit = unit
        self.off = off + np.zeros(self.value.shape)

    @property
    def most(self):
        return np.abs(self.value) + self.off

    @property
    def shape(self):
        return self.value.shape

    @property
    def dtype(self):
        return next(np.dtype(name) for name, unit in UNIT.items() if unit == self.unit)

    def __add__(self, other):
        off = self.off + other.off + self.unit * (self.most + other.most)
        return About(self.value + other.value, self.unit, off)

    def __sub__(self, other):
        return self + About(-other.value, self.unit, other.off)

    def __mul__(self, other):
        inherited = self.off * np.abs(other.value) + np.abs(self.value) * other.off + self.off * other.off
        rounding = self.unit * self.most * other.most + UNDERFLOW[self.unit]
        return About(self.value * other.value, self.unit, inherited + rounding)

    def __matmul__(self, other):
        inherited = self.off @ np.abs(other.value) + np.abs(self.value) @ other.off + self.off @ other.off
        rounding = self.unit * self.most @ other.most + self.value.shape[-1] * UNDERFLOW[self.unit]
        return About(self.value @ other.value, self.unit, inherited + rounding)

    def __truediv__(self, number):
        rounding = self.unit * self.most / number + UNDERFLOW[self.unit]
        return About(self.value / number, self.unit, self.off / number + rounding)

    def over(self, other):
        """A quotient by numbers that are not near 0."""
        ratio, least = np.abs(self.value / other.value), other.value - other.off
        off = (self.off + ratio * other.off) / least
        return About(self.value / other.value, self.unit, off + self.unit * (ratio + off) + UNDERFLOW[self.unit])

    def sqrt(self):
        root = np.sqrt(self.value)
        least, most = np.sqrt(np.maximum(self.value - self.off, 0)), np.sqrt(self.value + self.off)
        return About(root, self.unit, np.maximum(root - least, most - root) + self.unit * most)

    def clip_factor(self, max_norm):
        """min(1, max_norm / (norm + 10⁻⁶)) of a norm, at the ends of where it may lie: at 1 nothing is off."""
        value, least, most = (
            np.minimum(1, max_norm / (np.maximum(norm, 0) + 1e-6) * (1 + rounding))
            for norm, rounding in [
                (self.value, 0),
                (self.value + self.off, -self.unit),
                (self.value - self.off, self.unit),
            ]
        )
        return About(value, self.unit, np.maximum(value - least, most - value))

    def sum(self, axis=None):
        return About(self.value.sum(axis), self.unit, self.off.sum(axis) + self.unit * self.most.sum(axis))

    def tanh(self):
        h = np.tanh(self.value)
        steepest = np.cosh(np.maximum(np.abs(self.value) - self.off, 0)) ** -2.0
        return About(h, self.unit, steepest * self.off + self.unit * np.abs(h))

    def sigmoid(self):
        """In the form ½ (1 + tanh(a/2)), whose sum rounds at 1; no slope is above ¼."""
        return About(0.5 * (1 + np.tanh(0.5 * self.value)), self.unit, 0.25 * self.off + self.unit)

    def log_softmax(self):
        """No number changes by more than twice the largest change of its row."""
        shifted = self.value - self.value.max(axis=-1, keepdims=True)
        log_p = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
        rounding = self.unit * (1 + np.abs(shifted).max(axis=-1, keepdims=True) + np.abs(log_p))
        return About(log_p, self.unit, 2 * self.off.max(axis=-1, keepdims=True) + rounding)

    def exp(self):
        p = np.exp(self.value)
        return About(p, self.unit, p * (np.expm1(self.off) + self.unit) + UNDERFLOW[self.unit])

    def clip(self, limit):
        return About(np.clip(self.value, -limit, limit), self.unit, self.off + self.unit * np.abs(self.value))

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
    adjoints: Adjoints
    gradients: Gradients
    parameters: Parameters
    velocity: Gradients | None = None


def values(expected, dtype):
    """The values of a tuple of About, rounded to a dtype."""
    return each(lambda about: about.value.astype(dtype), expected)


def allowed(expected):
    """How far from those values a correct computation may lie, in tuples of the same form."""
    return each(lambda about: about.off, expected)


def about(value, dtype):
    """A tuple of arrays as About; what is About already stays so, and so does None."""
    return each(lambda v: v if isinstance(v, About) else About(v, UNIT[str(dtype)]), value)


def reference_update(case, learning_rate=0.0, velocity=None, **options) -> Expected:
    """One update, written step by step for one network; params and h_0 of the case may be About already.

    options: of the step, as in `reference_step`.
    """
    dtype = case.dtype
    unit = UNIT[str(dtype)]
    target, weights, terms = case.loss_rows
    x = in_rows(case.x, case.params.W_xh.shape[-2], dtype)
    params, x, target, weights, h_0 = about((case.params, x, target, weights, case.h_0), dtype)
    velocity = about(velocity, dtype)
    W_xh, W_hh, W_hy, b_h, b_y, learned = params
    h_0 = learned if h_0 is None else h_0
    T, K = len(case.x), len(case.target)
    nonlinearity, squared = case.options["nonlinearity"], case.options["loss"] == "squared_error"

    a, h, y = {}, {0: h_0}, {}
    for t in range(1, T + 1):
        a[t] = x[t - 1] @ W_xh + h[t - 1] @ W_hh
        a[t] = a[t] if b_h is None else a[t] + b_h
        h[t] = getattr(a[t], nonlinearity)()
        y[t] = h[t] @ W_hy
        y[t] = y[t] if b_y is None else y[t] + b_y

    losses, error = [], {}
    for t in range(T - K + 1, T + 1):
        target_t, w_t = target[t - (T - K) - 1], weights[t - (T - K) - 1]
        if squared:
            e = y[t] - target_t
            losses.append((w_t * (e * e)).sum() / 2)
        else:
            log_p, sums = y[t].log_softmax(), About(target_t.value.sum(axis=-1, keepdims=True), unit)
            e = log_p.exp() * sums - target_t
            losses.append((w_t * (About(-target_t.value, unit) * log_p)).sum())
        error[t] = w_t * e
    loss = reduce(About.__add__, losses) / terms

    one, nothing = About(1.0, unit), About(np.zeros(y[1].value.shape), unit)
    dy = {t: error[t] / terms if t in error else nothing for t in y}
    dh: dict[int, About] = {}
    da: dict[int, About] = {}
    for t in range(T, 0, -1):
        dh[t] = dy[t] @ W_hy.T if t == T else dy[t] @ W_hy.T + da[t + 1] @ W_hh.T
        slopes = {"tanh": lambda h: one - h * h, "sigmoid": lambda h: h * (one - h)}
        slope = slopes[nonlinearity](h[t]) if nonlinearity in slopes else About(a[t].value > 0, unit)
        da[t] = dh[t] * slope

    def over_time(term):
        return reduce(About.__add__, [term(t) for t in range(1, T + 1)])

    gradients = Gradients(
        over_time(lambda t: x[t - 1].T @ da[t]),
        over_time(lambda t: h[t - 1].T @ da[t]),
        over_time(lambda t: h[t].T @ dy[t]),
        None if b_h is None else over_time(lambda t: da[t].sum(0)),
        None if b_y is None else over_time(lambda t: dy[t].sum(0)),
        None if learned is None else da[1] @ W_hh.T,
    )
    updated, velocity = reference_step(params, gradients, velocity, dtype, learning_rate, **options)
    dx = {t: da[t] @ W_xh.T for t in da}
    stacked = [About.stack(list(steps.values())) for steps in (a, h, y)]
    dys, dhs, das, dxs = (About.stack([steps[t] for t in range(1, T + 1)]) for steps in (dy, dh, da, dx))
    adjoints = Adjoints(dys, dhs, das, dxs, da[1] @ W_hh.T)
    return Expected(Activations(x, *stacked), loss, adjoints, gradients, updated, velocity)


def reference_clipped(gradients, max_norm) -> Gradients:
    """One network's gradients as one vector, at most as long as max_norm; everything About."""
    norm = reduce(About.__add__, [(g * g).sum() for g in gradients if g is not None]).sqrt()
    return each(lambda g: norm.clip_factor(max_norm) * g, gradients)


def reference_step(
    params,
    gradients,
    velocity,
    dtype,
    learning_rate,
    *,
    momentum=0.0,
    dampening=0.0,
    nesterov=False,
    weight_decay=0.0,
    max_norm=None,
    max_value=None,
    adagrad=False,
):
    """(parameters, velocity) after one step, everything About: clipping, weight decay, momentum and step, parameter by
    parameter, as the documentation of torch.optim.SGD and clip_grad_norm_ states them, or Adagrad.
    """
    unit = UNIT[str(dtype)]
    eta, mu, rest, decay = (About(dtype.type(v), unit) for v in (learning_rate, momentum, 1 - dampening, weight_decay))
    if max_norm is not None:
        gradients = reference_clipped(gradients, max_norm)
    if max_value is not None:
        gradients = each(lambda g: g.clip(max_value), gradients)
    new, moving = params._asdict(), velocity._asdict() if velocity is not None else {}
    for name, step in gradients._asdict().items():
        if step is None:
            continue
        theta = new[name]
        if weight_decay:
            step = step + decay * theta
        if adagrad:
            before, square = moving.get(name), step * step
            moving[name] = square if before is None else before + square
            step = step.over((moving[name] + About(1e-8, unit)).sqrt())
        if momentum:
            before = moving.get(name)
            moving[name] = step if before is None else mu * before + rest * step
            step = step + mu * moving[name] if nesterov else moving[name]
        new[name] = theta - eta * step
    return Parameters(**new), Gradients(**dict.fromkeys(Gradients._fields) | moving) if momentum or adagrad else None


def random_velocity(case, options, moving):
    """A velocity, or sums of squares, to begin with, in NumPy: "all", of the "weights" alone, or None for "no"."""
    if not (options.get("momentum") or options.get("adagrad")) or moving == "no":
        return None
    velocity = Gradients(*each(lambda theta: theta[..., ::-1].copy(), case.params))
    velocity = each(np.square, velocity) if options.get("adagrad") else velocity
    return velocity if moving == "all" else velocity._replace(h_0=None)


# -- a run ------------------------------------------------------------------------------------------------------------


def definition(T, k1, k2):
    """DERIVATION.md, section 5, with steps numbered from 1: (steps of the window, new steps) of every update."""
    e, n = {0: 0}, 0
    while e[n] < T:
        n += 1
        e[n] = min(n * k1, T)
        s_n = max(0, e[n] - k2)
        yield [t for t in range(1, T + 1) if s_n < t <= e[n]], [t for t in range(1, T + 1) if e[n - 1] < t <= e[n]]


def assert_right(rnn, case, updates, *, k1, k2, learning_rate, epochs, velocity=None, **options):
    """Fail unless these recorded updates are the run of TBPTT(k1, k2), each network by itself.

    The windows are those of the definition. The initial state of a window is the latest one computed for its step, to
    the bit. Each update is that of the witness, from the parameters, the velocity and the state that the run reports.
    A learned initial state moves in the windows that begin with the series, and in no other.
    """
    updates = [(update[:3], reported(rnn, update)) for update in updates]
    steps = list(range(1, len(case.x) + 1))
    found = [
        (place[:2], steps[w.start : w.stop], steps[w.loss_start : w.stop]) for *place, w in (u[0] for u in updates)
    ]
    windows = [(number, *pair) for number, pair in enumerate(definition(len(case.x), k1, k2), start=1)]
    assert found == [([epoch, n], *pair) for epoch in range(1, epochs + 1) for n, *pair in windows]
    E = case.params.W_hh.shape[:-2]
    for n in np.ndindex(E):
        alone, rate = network(case, n), np.broadcast_to(learning_rate, E)[n]
        before, moving, latest = alone.params, velocity and each(lambda v, n=n: v[n], velocity), {}
        for (*_, window), update in updates:
            result = of_network(update, n)
            if window.start == 0:
                latest[0] = before.h_0 if case.h_0 is None else alone.h_0
            assert bits(result.activations.h[0]) == bits(latest[window.start])
            latest |= dict(zip(range(window.start, window.stop + 1), result.activations.h, strict=True))
            of_window = window_of(alone, window, before, latest[window.start])
            right = taking_part(reference_update(of_window, rate, moving, **options), of_window)
            assert_within(taking_part(result, of_window), values(right, case.dtype), allowed(right))
            if of_window.h_0 is not None:
                state = result.parameters.h_0, result.velocity and result.velocity.h_0
                assert bits(state) == bits((before.h_0, moving and moving.h_0))
            before, moving = result.parameters, result.velocity


# -- an update by a backend -------------------------------------------------------------------------------------------


def one_update(rnn, case, learning_rate, velocity=None, *, max_norm=None, max_value=None, **options) -> Expected:
    """The update by the single functions of a backend, from NumPy arrays to NumPy arrays."""
    params, x, target, h_0 = case.of(rnn)
    activations = rnn.forward(params, x, h_0, **case.phi)
    form = case.form(rnn)
    of_loss = {name: value for name, value in form.items() if name in ("reduction", "weights")}
    function = {"squared_error": rnn.half_squared_error, "cross_entropy": rnn.cross_entropy}[form["loss"]]
    loss = function(activations.y[-len(target) :], target, **of_loss)
    adjoints = rnn.adjoints(params, activations, target, **form)
    gradients = rnn.bptt(params, activations, target, **form)
    clipped = gradients if max_norm is None else rnn.clip_by_global_norm(gradients, max_norm)
    clipped = clipped if max_value is None else rnn.clip_by_value(clipped, max_value)
    s, moving = rnn.direction(params, clipped, rnn.from_numpy(velocity), **options)
    return rnn.to_numpy(Expected(activations, loss, adjoints, gradients, rnn.sgd(params, s, learning_rate), moving))


def reported(rnn, update) -> Expected:
    """The same from an Update that `train` recorded."""
    parts = update.activations, update.loss, update.adjoints, update.gradients, update.parameters, update.velocity
    return rnn.to_numpy(Expected(*parts))


def taking_part(expected, case) -> Expected:
    """What was reported of one window of a run, without a learned initial state that took no part in it."""
    if case.params.h_0 is not None:
        return expected
    velocity = None if expected.velocity is None else expected.velocity._replace(h_0=None)
    return expected._replace(parameters=expected.parameters._replace(h_0=None), velocity=velocity)


# -- one network of an ensemble ---------------------------------------------------------------------------------------


def network(case, n) -> Case:
    """The case of one network of an ensemble: its parameters, and its own data where it has some."""

    def own(array, axes_before, axes):
        if array.ndim == axes - (array.dtype.kind == "i"):
            return array
        shared = tuple(i if size > 1 else 0 for i, size in zip(n, array.shape[axes_before:]))
        return array[(slice(None),) * axes_before + shared]

    params = each(lambda theta: theta[n], case.params)
    h_0 = None if case.h_0 is None else own(case.h_0, 0, 2)
    return case._replace(params=params, x=own(case.x, 1, 3), target=own(case.target, 1, 3), h_0=h_0)


def of_network(result: Expected, n) -> Expected:
    """Network n's part of the arrays of an ensemble."""

    def by_step(value):
        return each(lambda sequence: sequence[(slice(None), *n)], value)

    adjoints = by_step(result.adjoints._replace(dh_0=None))._replace(dh_0=result.adjoints.dh_0[n])
    gradients, parameters, velocity = each(lambda theta: theta[n], result[3:])
    return Expected(by_step(result.activations), result.loss[n], adjoints, gradients, parameters, velocity)


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


def step_losses(case, copies, nudge_a=0, nudge_h=0, nudge_y=0, nudge_x=0, nudge_h_0=0):
    """The terms of L of every step, (..., K), where step s has parameters copies[s-1] of its own (DERIVATION.md,
    section 7).

    The copies may be complex and may carry leading axes. The nudges (..., T, B, N) are added to every a, h, y and x,
    and (..., B, H) to the initial state: that of the case, or if that is None the learned one of the first copy.
    """
    target, weights, N = case.loss_rows
    x, T, K = in_rows(case.x, case.params.W_xh.shape[-2], case.dtype), len(case.x), len(target)
    nudge_a, nudge_h, nudge_y, nudge_x = (np.zeros((T, 1, 1)) + v for v in (nudge_a, nudge_h, nudge_y, nudge_x))
    h, losses = (copies[0].h_0 if case.h_0 is None else case.h_0) + nudge_h_0, []
    phi = {
        "tanh": np.tanh,
        "relu": lambda a: a * (a.real > 0),
        "sigmoid": lambda a: 0.5 * (1 + np.tanh(0.5 * a)),
    }[case.options["nonlinearity"]]
    for t, (W_xh, W_hh, W_hy, b_h, b_y, _) in enumerate(copies):
        x_t = x[t] + nudge_x[..., t, :, :]
        a = x_t @ W_xh + h @ W_hh + (0 if b_h is None else b_h[..., None, :]) + nudge_a[..., t, :, :]
        h = phi(a) + nudge_h[..., t, :, :]
        y = h @ W_hy + (0 if b_y is None else b_y[..., None, :]) + nudge_y[..., t, :, :]
        if t >= T - K:
            target_t, w_t = target[t - (T - K)], weights[t - (T - K)]
            if case.options["loss"] == "squared_error":
                terms = (y - target_t) ** 2 / 2
            else:
                shifted = y - y.real.max(axis=-1, keepdims=True)
                terms = target_t * (np.log(np.exp(shifted).sum(axis=-1, keepdims=True)) - shifted)
            losses.append((w_t * terms).sum((-2, -1)) / N)
    return np.stack(np.broadcast_arrays(*losses), axis=-1)


def window_loss(case, params, **nudges):
    """L of a window whose steps share the parameters."""
    return step_losses(case, [params] * len(case.x), **nudges).sum(-1)
