"""Windows for the tests of the arithmetics, and right ways to compute a window."""

import secrets
from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st

from numpy_rnn.common.records import (
    REDUCTION_NAMES,
    Objective,
    Step,
    tree_map,
)
from numpy_rnn.conformance.arithmetics.numpy_arithmetic import NumpyArithmetic
from numpy_rnn.conformance.case import WindowCase
from numpy_rnn.conformance.definition import DEFINITION, Definition, window_update
from numpy_rnn.conformance.random_cases import RandomDraw, random_spec
from numpy_rnn.conformance.window_checks import global_checks, local_checks

SEEDS = st.integers(0, 2**32 - 1)
SEED = secrets.randbelow(2**32)  # another one in every run


def window(seed, dtype="float64", **changes) -> WindowCase:
    """Return a random case; changes: fields of its spec."""
    return random_spec(RandomDraw(seed), dtype)._replace(**changes).case()


def tiny_window(seed, dtype, **changes):
    """Return a random window with each tensor scaled: tiny, or weights of up to 1e4."""
    random, case = np.random.default_rng(seed), window(seed, dtype, **changes)
    smallest = float(np.finfo(dtype).smallest_normal)
    tiny = (1e-3 * smallest, smallest, 1e3 * smallest, smallest**0.5)

    def scaled(array, *scales):
        is_float = array.dtype.kind == "f"
        return (array * random.choice(scales)).astype(dtype) if is_float else array

    return case._replace(
        params=tree_map(lambda v: scaled(v, 1e-2, 1.0, 1e4, *tiny[:2]), case.params),
        x=scaled(case.x, 1.0, *tiny),
        target=scaled(case.target, 1.0, *tiny),
        velocity=tree_map(lambda v: scaled(v, 1.0, *tiny), case.velocity),
    )


def learnt_classifier(seed, dtype):
    """Return a random window of a classifier that has learnt it.

    The targets are the network's likeliest classes, and the outputs are so large that
    the largest loss of a step is between 1e-13 and 1e-1, for two classes.
    """
    random = np.random.default_rng(seed)
    T, H = int(random.integers(1, 41)), int(random.integers(4, 65))
    loss = 10 ** random.uniform(-13, -1)
    adagrad = bool(random.integers(2))
    reduction = REDUCTION_NAMES[random.integers(2)]
    spec = random_spec(RandomDraw(seed), dtype)._replace(
        T=T,
        H=H,
        O=int(random.integers(2, 41)),
        K=int(random.integers(1, T + 1)),
        objective=Objective("tanh", "cross_entropy", reduction),
        step=Step(0.1, adagrad=adagrad),
        velocity=adagrad,
        learnt=True,
        logits=1.0,
    )
    case = spec.case()
    y = np.sort(window_update(case._replace(step=None))["y"][-spec.K :].astype(float))
    lead = y[..., -1] - y[..., -2]  # of the likeliest class over the next
    factor = -np.log(loss) / lead.min(where=lead > 0, initial=np.inf)
    outputs = case.params.W_hy, case.params.b_y
    W_hy, b_y = tree_map(lambda theta: (factor * theta).astype(dtype), outputs)
    return case._replace(params=case.params._replace(W_hy=W_hy, b_y=b_y))


class Flushes(np.ndarray):
    """An array that reads subnormal numbers as zero, and gives zero for them
    everywhere.
    """

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **options):
        arrays = [
            flushed(np.asarray(v) if isinstance(v, np.ndarray) else v) for v in inputs
        ]
        if ufunc is np.matmul:
            A, B = arrays
            result = np.zeros((len(A), B.shape[1]), A.dtype)
            for k in range(A.shape[1]):
                result = flushed(result + flushed(A[:, k, None] * B[None, k]))
        else:
            result = flushed(getattr(ufunc, method)(*arrays, **options))
        return result.view(type(self)) if isinstance(result, np.ndarray) else result


def flushed(v):
    if getattr(v, "dtype", np.dtype(int)).kind != "f":
        return v
    return np.where(np.abs(v) < np.finfo(v.dtype).smallest_normal, v.dtype.type(0), v)


class Way(NamedTuple):
    """A way to compute a window: operations of floats, and equations of the
    definition.
    """

    numbers: type[NumpyArithmetic] = NumpyArithmetic
    of: Definition = DEFINITION

    def report(self, case, change=lambda array: array):
        """Compute the report of the case, in arrays that are changed first."""

        def changed(v):
            return change(v) if v.dtype.kind == "f" else v

        fields = ("x", "target", "h_0", "params", "velocity")
        arrays = {name: tree_map(changed, getattr(case, name)) for name in fields}
        numbers = type(
            "Changed",
            (self.numbers,),
            {"from_input": lambda self, array: changed(array)},
        )
        with np.errstate(all="ignore"):
            report = window_update(
                case._replace(**arrays), numbers(case.dtype), self.of
            )
        return {
            name: np.asarray(array).astype(case.dtype) for name, array in report.items()
        }


def operations(**methods: Any) -> Way:
    """Return the definition with other operations of floats."""
    return Way(type("OtherArithmetic", (NumpyArithmetic,), methods))


def tanh_slope(product):
    """Return the way whose dh ∘ φ'(a) is another product for tanh."""

    def by_slope(self, dh, a, h, nonlinearity):
        is_tanh = nonlinearity == "tanh"
        return (
            product(dh, a, h)
            if is_tanh
            else NumpyArithmetic.by_slope(self, dh, a, h, nonlinearity)
        )

    return operations(by_slope=by_slope)


def other_phi(name, f):
    """Return the way with another φ for one nonlinearity."""
    return operations(
        phi=lambda self, a, kind: (
            f(a) if kind == name else NumpyArithmetic.phi(self, a, kind)
        )
    )


def scaled_norm(self, gradients):
    """Compute a norm whose squares cannot overflow."""
    numbers = np.concatenate([g.ravel() for g in gradients])
    largest = np.abs(numbers).max() or numbers.dtype.type(1)
    scale = type(largest)(np.ldexp(1.0, np.frexp(largest)[1] - 1))
    return scale * np.sqrt(np.square(numbers / scale).sum())


def fused_velocity(n, g, before, step):
    if before is None or step.adagrad:
        return DEFINITION.velocity(n, g, before, step)
    return (np.float64(step.momentum) * before + (1 - step.dampening) * g).astype(
        g.dtype
    )


def fused_update(n, name, theta, delta, step):
    return (theta - np.float64(n.rate(step, theta)) * delta).astype(theta.dtype)


LIMIT = 7  # ulps, of the 8 that are allowed
WAYS = {
    "as it is": Way(),
    "(1 - h)(1 + h)": tanh_slope(lambda dh, a, h: dh * ((1 - h) * (1 + h))),
    "JAX's": tanh_slope(lambda dh, a, h: (dh + dh * h) * (1 - h)),
    "1/cosh²": tanh_slope(lambda dh, a, h: dh * (1 / np.square(np.cosh(a)))),
    "a cosh at its limit": tanh_slope(
        lambda dh, a, h: (
            dh * (1 / np.square(np.cosh(a) * (1 + LIMIT * np.finfo(a.dtype).eps)))
        )
    ),
    "a tanh at its limit": other_phi(
        "tanh",
        lambda a: np.tanh(a) * a.dtype.type(1 - 2 * LIMIT * np.finfo(a.dtype).epsneg),
    ),
    "a logistic function by exp": other_phi("sigmoid", lambda a: 1 / (1 + np.exp(-a))),
    "by scaled numbers": operations(norm=scaled_norm),
    "fused": Way(of=Definition(velocity=fused_velocity, updated=fused_update)),
}


def check_local(case, report) -> dict[str, Any]:
    """Return the ratios at L1 by tensor."""
    return {check.tensor: check.ratio for check in local_checks(case, report)}


def check_global(case, report) -> dict[str, Any]:
    """Return the ratios at L2 by tensor."""
    return {check.tensor: check.ratio for check in global_checks(case, report)}


def worst(checked) -> float:
    """Return the largest ratio of all tensors."""
    return max(float(ratio.max()) for ratio in checked.values())
