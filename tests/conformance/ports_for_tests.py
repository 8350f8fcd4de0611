"""Ports for the tests: right ones that something is done to, and a layer written by hand that has parts only."""

import numpy as np
from windows import RIGHT, window

from numpy_rnn.common.records import Objective, Step
from numpy_rnn.conformance.case import format_errors
from numpy_rnn.conformance.ports.port import call_port
from numpy_rnn.conformance.ports.protocol import CAPABILITIES, SGD_LACKS, port_arguments

PLAIN = {"T": 4, "B": 2, "D": 2, "H": 3, "O": 1, "K": 3, "bias": True, "objective": Objective(), "step": Step(0.1),
         "class_inputs": False, "classes": False, "weights": False, "learned": False, "velocity": False}  # fmt: skip
CASE = window(5, "float32", **PLAIN)
STEP = Step(0.1, 0.9, 0.3, weight_decay=0.01, max_norm=0.5)
FULL = window(5, "float32", **PLAIN | {"step": STEP, "learned": True, "velocity": True, "weights": True})


def arguments_of(case):
    """The parameters of a case, and the other arguments of `window_update`."""
    arguments = port_arguments(case)
    return arguments.pop("params"), arguments


def right_report(case=CASE):
    params, arguments = arguments_of(case)
    return RIGHT.window_update(params, **arguments)


def as_text(report):
    """The arrays as flat lists of hexadecimal strings, and the loss as one such string."""
    texts = {name: [float(value).hex() for value in np.ravel(array)] for name, array in report.items()}
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

    def __init__(self, before=lambda given: None, after=lambda report: report, capabilities=CAPABILITIES):
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
        assert all(options.get(option) in (None, 0, False) for option in set(SGD_LACKS) & set(self.lacks))
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
        report |= {"dh": dh, "da": da} | {"d" + name: gradient for name, gradient in gradients.items()}
        if learning_rate is None:
            return report
        decay, factor = options.get("weight_decay", 0), 1
        if options.get("max_norm"):
            norm = np.sqrt(sum((g * g).sum() for g in gradients.values()))
            factor = min(1, options["max_norm"] / (norm + x.dtype.type(1e-6)))
        rate, decay, factor = (x.dtype.type(number) for number in (learning_rate, decay, factor))
        return report | {name: p[name] - rate * (factor * g + decay * p[name]) for name, g in gradients.items()}

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
