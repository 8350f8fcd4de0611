"""Windows and ports for the tests: right ways to compute a window, ports that are changed, a layer by hand."""

from typing import Any, NamedTuple

import numpy as np

import numpy_rnn
from numpy_rnn import Parameters
from numpy_rnn.common.records import Objective, Step, WindowCase
from numpy_rnn.conformance import definition as right
from numpy_rnn.conformance.arithmetics.floats import SMALL, Floats
from numpy_rnn.conformance.arithmetics.rounding import UPWARDS
from numpy_rnn.conformance.case import format_errors, initial_state, parameters_from
from numpy_rnn.conformance.definition import DEFINITION, Definition, window_update
from numpy_rnn.conformance.ports.package_port import PackagePort
from numpy_rnn.conformance.ports.port import call_port
from numpy_rnn.conformance.ports.protocol import CAPABILITIES, SGD_LACKS, port_arguments
from numpy_rnn.conformance.random_cases import RandomDraw, random_recipe

RIGHT = PackagePort(numpy_rnn)


def window(seed, dtype="float64", **changes) -> WindowCase:
    """A random case; changes: fields of its recipe."""
    return random_recipe(RandomDraw(seed), dtype)._replace(**changes).case()


def one_unit(
    x, W_xh, h_0=0.0, target=0.0, nonlinearity="tanh", reduction="sum", dtype="float64", **step
):
    """One step of one unit; x and W_xh may be vectors."""
    x, W_xh = (np.atleast_1d(v).astype(dtype) for v in (x, W_xh))
    params = Parameters(W_xh[:, None], np.full((1, 1), 0.5, dtype), np.full((1, 1), 3.0, dtype))
    target, h_0 = (np.full(shape, v, dtype) for shape, v in (((1, 1, 1), target), ((1, 1), h_0)))
    objective = Objective(nonlinearity, reduction=reduction)
    return WindowCase(params, x[None, None], target, h_0, None, objective, Step(0.25, **step))


def huge_window(seed, dtype):
    """All numbers of this window are finite, but not the sum of the squares of its gradient."""
    changes = {"objective": Objective("relu"), "step": Step(0.1, 0.5, max_norm=1.0), "logits": 1.0}
    case = window(
        seed, dtype, **changes, learned=False, class_inputs=False, classes=False, weights=False
    )
    largest = np.finfo(dtype).maxexp
    by_input, by_target = (
        case.params.W_hh.dtype.type(2.0 ** int(part * largest)) for part in (0.16, 0.42)
    )
    h_0 = np.abs(initial_state(case)) * by_input
    return case._replace(x=case.x * by_input, h_0=h_0, target=case.target * by_target)


def tiny_window(seed, dtype):
    """A random window whose every tensor is scaled by itself: to tiny numbers, or to weights of up to 1e4."""
    random = np.random.default_rng(seed)
    case = window(seed, dtype)
    smallest = float(np.finfo(dtype).smallest_normal)
    tiny = (1e-3 * smallest, smallest, 1e3 * smallest, smallest**0.5)

    def scaled(array, *scales):
        return (
            array
            if array is None or array.dtype.kind != "f"
            else (array * random.choice(scales)).astype(dtype)
        )

    params = Parameters(*(scaled(theta, 1e-2, 1.0, 1e4, *tiny[:2]) for theta in case.params))
    target = (
        case.target if case.objective.loss == "cross_entropy" else scaled(case.target, 1.0, *tiny)
    )
    velocity = case.velocity and Parameters(*(scaled(v, 1.0, *tiny) for v in case.velocity))
    return case._replace(
        params=params, x=scaled(case.x, 1.0, *tiny), target=target, velocity=velocity
    )


class Way(NamedTuple):
    """A way to compute a window: operations of floats, and functions of the definition."""

    numbers: type[Floats] = Floats
    of: Definition = DEFINITION

    def window_update(self, case):
        """The report of the case."""
        return window_update(case, self.numbers(case.params.W_hh.dtype), self.of)


def operations(**methods: Any) -> Way:
    """The definition with other operations of floats."""
    return Way(type("OtherFloats", (Floats,), methods))


def functions(**others: Any) -> Way:
    """The definition with other functions."""
    return Way(of=DEFINITION._replace(**others))


class WayPort:
    """A way to compute a window as a port."""

    name, dtypes, lacks = "a way", ("float64",), ()

    def __init__(self, way, capabilities=RIGHT.capabilities):
        self.way, self.capabilities = way, capabilities

    def window_update(
        self, params, x, target, h_0, *, learning_rate, weights=None, velocity=None, **options
    ):
        step = Step(
            learning_rate, **{name: options.pop(name) for name in Step._fields if name in options}
        )
        before = parameters_from(velocity) if velocity else None
        case = WindowCase(
            parameters_from(params), x, target, h_0, weights, Objective(**options), step, before
        )
        with np.errstate(all="ignore"):
            return self.way.window_update(case)


def assert_rounded_up(bound, exact, times=1):
    """The bound is `exact`, made larger by UPWARDS at most so many times, but for float64's own rounding of both."""
    bound, exact, own = np.asarray(bound), np.asarray(exact), 32 * np.finfo(float).eps
    assert (exact * (1 - own) <= bound).all(), f"{bound} is below {exact}"
    assert (bound <= exact * UPWARDS**times * (1 + own)).all(), f"{bound} is too far above {exact}"


# -- right ways to compute a window -----------------------------------------------------------------------------------


def tanh_slope(product):
    """dh ∘ φ'(a) by another product for tanh."""

    def by_slope(self, dh, a, h, nonlinearity):
        return (
            product(dh, a, h)
            if nonlinearity == "tanh"
            else Floats.by_slope(self, dh, a, h, nonlinearity)
        )

    return operations(by_slope=by_slope)


def other_phi(name, f):
    """Another φ for one nonlinearity."""
    return operations(phi=lambda self, a, kind: f(a) if kind == name else Floats.phi(self, a, kind))


def mean_by_reciprocal(self, y, target, weights, objective):
    sums, N = objective._replace(reduction="sum"), self.divisor(y, weights, objective)
    loss, error = Floats.loss_and_error(self, y, target, weights, sums)
    factor = y.dtype.type(1) / np.asarray(N, y.dtype)
    return loss * factor[(0,) * factor.ndim], error * factor


def quotient_of_exponentials(self, y, target, weights, objective):
    loss, error = Floats.loss_and_error(self, y, target, weights, objective)
    if objective.loss != "cross_entropy":
        return loss, error
    e = np.exp(y - y.max(axis=-1, keepdims=True))
    error = e / e.sum(axis=-1, keepdims=True) * target.sum(axis=-1, keepdims=True) - target
    return loss, weights * error / self.divisor(y, weights, objective)


def scaled_norm(scale_of):
    """A norm whose squares cannot overflow."""

    def norm(self, gradients):
        numbers = np.concatenate([g.ravel() for g in gradients])
        scale = scale_of(np.abs(numbers).max() or numbers.dtype.type(1))
        return scale * np.sqrt(np.square(numbers / scale).sum())

    return operations(norm=norm)


def quotient_last(n, d, p, step):
    if step.max_norm is None:
        return right.clipped(n, d, p, step)
    norm = n.norm(list(d.values()))
    is_clipped = step.max_norm / (norm + SMALL) < 1
    return {name: step.max_norm * g / (norm + SMALL) if is_clipped else g for name, g in d.items()}


def log_sum_exp(self, y):
    largest = y.max(axis=-1, keepdims=True)
    return y - (largest + np.log(np.exp(y - largest).sum(axis=-1, keepdims=True)))


def fused_velocity(n, g, before, step):
    if before is None or step.adagrad:
        return right.velocity(n, g, before, step)
    return (np.float64(step.momentum) * before + (1 - step.dampening) * g).astype(g.dtype)


LIMIT = 7  # ulps, of the 8 that are allowed
WAYS = {
    "as it is": Way(),
    "(1 - h)(1 + h)": tanh_slope(lambda dh, a, h: dh * ((1 - h) * (1 + h))),
    "dh - dh h h": tanh_slope(lambda dh, a, h: dh - dh * h * h),
    "JAX's": tanh_slope(lambda dh, a, h: (dh + dh * h) * (1 - h)),
    "1/cosh²": tanh_slope(lambda dh, a, h: dh * (1 / np.square(np.cosh(a)))),
    "a cosh at its limit": tanh_slope(
        lambda dh, a, h: dh * (1 / np.square(np.cosh(a) * (1 + LIMIT * np.finfo(a.dtype).eps)))
    ),
    "a tanh at its limit": other_phi(
        "tanh", lambda a: np.tanh(a) * a.dtype.type(1 - 2 * LIMIT * np.finfo(a.dtype).epsneg)
    ),
    "a logistic function by exp": other_phi("sigmoid", lambda a: 1 / (1 + np.exp(-a))),
    "mean by the reciprocal": operations(loss_and_error=mean_by_reciprocal),
    "by the norms of the tensors": operations(
        norm=lambda self, gradients: np.sqrt(sum(np.square(np.sqrt((g * g).sum())) for g in gradients))
    ),
    "by numbers over the largest": scaled_norm(lambda largest: largest),
    "by scaled numbers": scaled_norm(lambda largest: type(largest)(np.ldexp(1.0, np.frexp(largest)[1] - 1))),
    "a product with the reciprocal": operations(
        factor=lambda self, norm, max_norm: np.minimum(1, max_norm * (1 / (norm + SMALL)))
    ),
    "the product before the quotient": functions(clipped=quotient_last),
    "options in the dtype": operations(constant=lambda self, number: self.dtype.type(number)),
    "log-sum-exp": operations(log_softmax=log_sum_exp),
    "a quotient of exponentials": operations(loss_and_error=quotient_of_exponentials),
    "fused": functions(
        velocity=fused_velocity,
        updated=lambda n, name, theta, delta, step: (
            theta - np.float64(n.rate(step, theta)) * delta
        ).astype(theta.dtype),
    ),
}  # fmt: skip


# -- ports -------------------------------------------------------------------------------------------------------------


PLAIN = {"T": 4, "B": 2, "D": 2, "H": 3, "O": 1, "K": 3, "bias": True, "objective": Objective(), "step": Step(0.1),
         "class_inputs": False, "classes": False, "weights": False, "learned": False, "velocity": False}  # fmt: skip
CASE = window(5, "float32", **PLAIN)
STEP = Step(0.1, 0.9, 0.3, weight_decay=0.01, max_norm=0.5)
FULL = window(
    5, "float32", **PLAIN | {"step": STEP, "learned": True, "velocity": True, "weights": True}
)


def arguments_of(case):
    """The parameters of a case, and the other arguments of `window_update`."""
    arguments = port_arguments(case)
    return arguments.pop("params"), arguments


def right_report(case=CASE):
    params, arguments = arguments_of(case)
    return RIGHT.window_update(params, **arguments)


def as_text(report):
    """The arrays as flat lists of hexadecimal strings, and the loss as one such string."""
    texts = {
        name: [float(value).hex() for value in np.ravel(array)] for name, array in report.items()
    }
    return {name: text if np.ndim(report[name]) else text[0] for name, text in texts.items()}


def verdict_on(port, case=CASE, timeout=10.0):
    """The fault of the port's answer in one line; None if there is none but perhaps in its numbers."""
    report, verdict = call_port(port, case, timeout)
    assert verdict is None or ("\n" not in verdict and len(verdict) < 400)
    return next(iter(format_errors(case, report, True, True)), None) if verdict is None else verdict


class Port:
    """A right port, unless something is done to what it is given before, or to its report after."""

    name = "a port"
    dtypes: tuple[str, ...] = ("float32", "float64")

    def __init__(
        self, before=lambda given: None, after=lambda report: report, capabilities=CAPABILITIES
    ):
        self.before, self.after, self.capabilities = before, after, capabilities

    def window_update(self, params, **given):
        self.before({"params": params, **given})
        return self.after(RIGHT.window_update(params, **given))


class BlackBox(Port):
    name, dtypes, lacks = "a black box", ("float32",), ("relu",)

    def __init__(self):
        super().__init__(capabilities=())


class TwiceTheGradient(BlackBox):
    name = "twice"

    def window_update(self, params, *, learning_rate, **given):
        report = super().window_update(params, learning_rate=learning_rate, **given)
        for name, theta in params.items():
            report["d" + name] = report["d" + name] * theta.dtype.type(2)
            report[name] = theta - theta.dtype.type(learning_rate) * report["d" + name]
        return report


class Failing(BlackBox):
    name = "failing"

    def window_update(self, params, **given):
        raise ValueError("no window today")


class Layer:
    """A layer written by hand, with tanh. It refuses to be asked for what it lacks."""

    name, dtypes = "a layer", ("float32", "float64")
    phi = staticmethod(np.tanh)

    def __init__(self, *lacks, has=("intermediates",)):
        self.lacks, self.capabilities = ("relu", "mean", *lacks), has

    def window_update(self, p, x, h_0, target=None, dy=None, learning_rate=None, **options):
        assert (dy is None) == ("given_dy" not in self.capabilities) == (target is not None)
        assert (learning_rate is None) == ("step" in self.lacks)
        assert ("reduction" in options) == (dy is None)
        assert "h_0" not in self.lacks or not h_0.any()
        assert "sgd_options" in self.capabilities or "velocity" not in options
        assert "h_0" not in p
        assert "bias" not in self.lacks or "b_h" not in p
        assert ("b_hh" in p) == ("b_h" in p and "two_biases" in self.capabilities)
        assert all(
            options.get(option) in (None, 0, False) for option in set(SGD_LACKS) & set(self.lacks)
        )
        a, h = [], [h_0]
        for x_t in x:
            a.append(x_t @ p["W_xh"] + p.get("b_h", 0) + h[-1] @ p["W_hh"] + p.get("b_hh", 0))
            h.append(self.phi(a[-1]))
        a, h = np.stack(a), np.stack(h)
        y = h[1:] @ p["W_hy"] + p.get("b_y", 0)
        report = {"a": a, "h": h[1:], "y": y}
        if dy is None:
            K = len(target)
            assert "older steps" not in self.lacks or len(x) == K
            dy = np.concatenate((0 * y[: len(x) - K], y[len(x) - K :] - target))
            report |= {"dy": dy, "loss": (dy * dy).sum() / 2}
        dh, da = self.backward(p, h, dy @ p["W_hy"].T)
        pairs = {"W_xh": (x, da), "W_hh": (h[:-1], da), "W_hy": (h[1:], dy)}
        gradients = {name: np.einsum("tbi,tbj->ij", *pair) for name, pair in pairs.items()}
        sums = {"b_h": da.sum((0, 1)), "b_hh": da.sum((0, 1)), "b_y": dy.sum((0, 1))}
        gradients |= {name: sums[name] for name in sums if name in p}
        report |= {"dh": dh, "da": da} | {
            "d" + name: gradient for name, gradient in gradients.items()
        }
        if learning_rate is None:
            return report
        decay, factor = options.get("weight_decay", 0), 1
        if options.get("max_norm"):
            norm = np.sqrt(sum((g * g).sum() for g in gradients.values()))
            factor = min(1, options["max_norm"] / (norm + x.dtype.type(1e-6)))
        rate, decay, factor = (x.dtype.type(number) for number in (learning_rate, decay, factor))
        return report | {
            name: p[name] - rate * (factor * g + decay * p[name]) for name, g in gradients.items()
        }

    def backward(self, p, h, dh):
        """dh and da, from the part of dh that comes from the outputs."""
        dh, da = dh.copy(), np.zeros_like(dh)
        for t in reversed(range(len(dh))):
            dh[t] += self.carried(p, da[t + 1]) if t + 1 < len(dh) else 0
            da[t] = dh[t] * (1 - h[t + 1] ** 2)
        return dh, da

    def carried(self, p, da_next):
        return da_next @ p["W_hh"].T


class Untransposed(Layer):
    def carried(self, p, da_next):
        return da_next @ p["W_hh"]
