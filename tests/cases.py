"""Random cases: a window or a series with its parameters and options, of one network or of an ensemble."""

from typing import Any, NamedTuple

import numpy as np
from comparing import each
from hypothesis import strategies as st
from witness import Expected, in_rows, reference_update

from numpy_rnn import Gradients, Parameters


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
    def loss_rows(self):
        """What the loss is made of, in NumPy: (target in rows, weights (K, B, 1), N of (L2))."""
        rows = in_rows(self.target, self.params.W_hy.shape[-1], self.dtype)
        w = np.ones(rows.shape[:1] + rows.shape[-2:-1], self.dtype) if self.weights is None else self.weights
        terms = float(w.sum()) * (rows.shape[-1] if self.options["loss"] == "squared_error" else 1)
        return rows, w[..., None], {"sum": 1, "mean": terms or 1}[self.options["reduction"]]

    def form(self, rnn):
        """Its options as `train`, `bptt` and `adjoints` of a backend take them."""
        return self.options | ({} if self.weights is None else {"weights": rnn.from_numpy(self.weights)})

    @property
    def arrays(self):
        return self.params, self.x, self.target, self.h_0

    @property
    def initial(self):
        """The state that the window starts from, learned or not."""
        return self.params.h_0 if self.h_0 is None else self.h_0

    def for_train(self, rnn):
        """Its arrays as those of a backend."""
        return tuple(map(rnn.from_numpy, self.arrays))

    def of(self, rnn):
        """The same, with the learned state as the initial one where it comes with the parameters."""
        params, x, target, h_0 = self.for_train(rnn)
        return params, x, target, params.h_0 if h_0 is None else h_0


def random_case(
    seed, T, B, D, H, O, K=None, *, bias=True, nonlinearity="tanh", reduction="sum", dtype="float64",
    E=(), own=(), axes=None, learned=False, loss="squared_error", classes=False, weights=False,
) -> Case:  # fmt: skip
    """Numbers of order one, scaled so that neither tanh saturates nor the state explodes. E: the ensemble's axes, and
    `own` names those of x, target and h_0 that every network has for itself, as it has a learned initial state; their
    `axes` are E, or 1 where networks share them. classes: whether x, and the target of a cross-entropy, hold classes;
    weights: whether the losses have some. The sums of distributions are 1 but for what rounded ones may be off.
    """
    generator = np.random.default_rng(seed)

    def normal(deviation, *shape):
        return generator.normal(0, deviation, shape).astype(dtype)

    def series(name, steps, size):
        of_networks = E if name == "h_0" and learned else (axes or E) if name in own else ()
        return normal(1, *steps, *of_networks, B, size)

    W_xh, W_hh, W_hy = normal(D**-0.5, *E, D, H), normal(H**-0.5, *E, H, H), normal(1, *E, H, O)
    biases = (normal(0.5, *E, H), normal(0.5, *E, O)) if bias else (None, None)
    x, target, h_0 = series("x", (T,), D), series("target", (K or T,), O), series("h_0", (), H)
    options = {"nonlinearity": nonlinearity, "reduction": reduction, "loss": loss}
    params = Parameters(W_xh, W_hh, W_hy, *biases)._replace(h_0=h_0 if learned else None)
    integers = "int32" if T % 2 else "int64"  # which both hold classes
    if classes:
        x = generator.integers(0, D, x.shape[:-1]).astype(integers)
    if loss == "cross_entropy" and classes:
        target = generator.integers(0, O, target.shape[:-1]).astype(integers)
    elif loss == "cross_entropy":
        rows = np.exp(target) / np.exp(target).sum(axis=-1, keepdims=True)
        target = (rows * generator.uniform(0.9995, 1.0005, (*target.shape[:-1], 1))).astype(dtype)
    w = generator.choice([0.0, 1.0, 0.4, 2.0], (K or T, B)).astype(dtype) if weights else None
    return Case(params, x, target, None if learned else h_0, options, w)


def kinds():
    """Options of `random_case`: of the network, of the loss and of the series."""
    return st.fixed_dictionaries({
        "nonlinearity": st.sampled_from(["tanh", "relu", "sigmoid"]),
        "reduction": st.sampled_from(["sum", "mean"]),
        "loss": st.sampled_from(["squared_error", "cross_entropy"]),
        **dict.fromkeys(("learned", "classes", "weights", "bias"), st.booleans()),
    })  # fmt: skip


@st.composite
def cases(draw, *, dtypes=("float64", "float32"), largest=7, all_counted=False):
    """A random Case. T, B, D, H and O are distinct from each other, so that no two can be confused, or small and
    perhaps equal. Hypothesis draws the sizes and options, and a seed for the numbers.

    relu's derivative jumps at 0, so windows with a pre-activation nearer to 0 than its own rounding are no cases.
    """
    distinct = st.lists(st.integers(1, largest), min_size=5, max_size=5, unique=True)
    T, *sizes = draw(distinct | st.lists(st.integers(1, 3), min_size=5, max_size=5))
    K, seed = T if all_counted else draw(st.integers(1, T)), draw(st.integers(0, 2**32 - 1))
    case = random_case(seed, T, *sizes, K, dtype=draw(st.sampled_from(dtypes)), **draw(kinds()))
    if case.options["nonlinearity"] == "relu":
        reference_update(case)
    return case


@st.composite
def steps_of_sgd(draw):
    """Options of the step apart from its learning rate: often none of them, and any of them together."""
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
    T, of_step = len(case.x), draw(steps_of_sgd())
    k1 = draw(st.integers(1, T + 1))
    terms = k1 * case.x.shape[1] * case.params.W_hy.shape[-1] if case.options["reduction"] == "sum" else 1
    rate = draw(st.floats(0.005, 0.05)) / terms * (1 - of_step.get("momentum", 0))
    schedule = {"k1": k1, "k2": draw(st.integers(k1, T + 2)), "epochs": draw(st.integers(1, 3))}
    return case, {**schedule, "learning_rate": rate, **of_step}


def with_ensemble(case, E, seed, **own):
    """A random case of the same sizes, options and dtype with the ensemble axes E; the case itself for E = ()."""
    kind = {"bias": case.params.b_h is not None, "learned": case.h_0 is None, "dtype": str(case.dtype)}
    kind |= {"classes": case.x.dtype.kind == "i", "weights": case.weights is not None}
    sizes = *case.x.shape[:2], *case.params.W_xh.shape, case.params.W_hy.shape[-1]
    return random_case(seed, *sizes, E=E, **own, **kind, **case.options) if E else case


def window_of(case, window, before, initial) -> Case:
    """The Case of one window of a run over `case`, from the parameters before it and its initial state; all NumPy.

    Where another state than the learned one enters, that one takes no part.
    """
    start, loss_start, stop = window
    learned = case.h_0 is None and start == 0
    params, h_0 = (before, None) if learned else (before._replace(h_0=None), initial)
    weights = None if case.weights is None else case.weights[loss_start:stop]
    return Case(params, case.x[start:stop], case.target[loss_start:stop], h_0, case.options, weights)


def random_velocity(case, options, moving):
    """A velocity, or sums of squares, to begin with, in NumPy: "all", of the "weights" alone, or None for "no"."""
    if not (options.get("momentum") or options.get("adagrad")) or moving == "no":
        return None
    velocity = Gradients(*each(lambda theta: theta[..., ::-1].copy(), case.params))
    velocity = each(np.square, velocity) if options.get("adagrad") else velocity
    return velocity if moving == "all" else velocity._replace(h_0=None)


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
