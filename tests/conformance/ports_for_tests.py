"""Ports for the tests: the package's, a definition's, one that is changed, and a layer by hand."""

from typing import Any

import numpy as np
from windows_for_tests import window

import numpy_rnn
from numpy_rnn.common.records import Objective, Step
from numpy_rnn.conformance.case import WindowCase, format_errors, parameters_from
from numpy_rnn.conformance.definition import DEFINITION, window_update
from numpy_rnn.conformance.ports.port import PackagePort, call_port
from numpy_rnn.conformance.ports.protocol import CAPABILITIES, SGD_LACKS, PortFault, port_arguments

RIGHT = PackagePort(numpy_rnn)
PLAIN: dict[str, Any] = {"T": 4, "B": 2, "D": 2, "H": 3, "O": 1, "K": 3, "bias": True, "scale": 1.0}
PLAIN |= {"objective": Objective(), "step": Step(0.1), "class_inputs": False, "velocity": False}
CASE = window(5, "float32", **PLAIN)
STEP = Step(0.1, 0.9, 0.3, weight_decay=0.01, max_norm=0.5)
FULL = window(5, "float32", **PLAIN | {"step": STEP, "velocity": True})


class DefinitionPort:
    """A definition as a port; a black box without the capability "intermediates"."""

    name, dtypes, lacks, sizes = "a definition", ("float64",), (), ()

    def __init__(self, of=DEFINITION, *lacks, has=CAPABILITIES, sizes=()):
        self.of, self.lacks, self.capabilities, self.sizes = of, lacks, has, sizes

    def window_update(self, params, x, target, h_0, *, velocity=None, **options):
        objective = {n: options.pop(n) for n in Objective._fields if n in options}
        case = WindowCase(
            params=parameters_from(params),
            x=x,
            target=target,
            h_0=h_0,
            objective=Objective(**objective),
            step=Step(**options) if options else None,
            velocity=parameters_from(velocity) if velocity else None,
        )
        with np.errstate(all="ignore"):
            report = window_update(case, of=self.of)
        if "intermediates" in self.capabilities:
            return report
        unseen = ("a", "h", "y", "dy", "dh", "da")
        return {name: array for name, array in report.items() if name not in unseen}


def right_report(case=CASE):
    arguments = port_arguments(case)
    return RIGHT.window_update(arguments.pop("params"), **arguments)


def verdict_on(port, case=CASE):
    """The fault of the port's answer in one line; None if there is none, or in its numbers."""
    try:
        report = call_port(port, case)
    except PortFault as fault:
        return str(fault) if "\n" not in str(fault) else "more than one line"
    return next(iter(format_errors(case, report, True, True)), None)


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


class Layer:
    """A layer written by hand, with tanh. It refuses to be asked for what it lacks."""

    name, dtypes = "a layer", ("float32", "float64")
    phi = staticmethod(np.tanh)

    def __init__(self, *lacks, has=("intermediates",)):
        self.lacks, self.capabilities = ("relu", "mean", *lacks), has

    def window_update(self, p, x, target, h_0, learning_rate=None, **options):
        self.refuse(p, x, target, h_0, learning_rate, options)
        a, h = [], [h_0]
        for x_t in x:
            a.append(x_t @ p["W_xh"] + p.get("b_h", 0) + h[-1] @ p["W_hh"])
            h.append(self.phi(a[-1]))
        a, h, K = np.stack(a), np.stack(h), len(target)
        y = h[1:] @ p["W_hy"] + p.get("b_y", 0)
        dy = np.concatenate((0 * y[: len(x) - K], y[len(x) - K :] - target))
        dh, da = self.backward(p, h, dy @ p["W_hy"].T)
        report = {"a": a, "h": h[1:], "y": y, "dy": dy, "dh": dh, "da": da}
        report["loss"] = (dy * dy).sum() / 2
        pairs = {"W_xh": (x, da), "W_hh": (h[:-1], da), "W_hy": (h[1:], dy)}
        gradients = {name: np.einsum("tbi,tbj->ij", *pair) for name, pair in pairs.items()}
        sums = {"b_h": da.sum((0, 1)), "b_y": dy.sum((0, 1))}
        gradients |= {name: sums[name] for name in sums if name in p}
        report |= {"d" + name: gradient for name, gradient in gradients.items()}
        if learning_rate is None:
            return report
        decay, factor = options.get("weight_decay", 0), 1
        if options.get("max_norm"):
            norm = np.sqrt(sum((g * g).sum() for g in gradients.values()))
            factor = min(1, options["max_norm"] / (norm + x.dtype.type(1e-6)))
        rate, decay, factor = (x.dtype.type(number) for number in (learning_rate, decay, factor))
        steps = {name: rate * (factor * g + decay * p[name]) for name, g in gradients.items()}
        return report | {name: p[name] - step for name, step in steps.items()}

    def refuse(self, p, x, target, h_0, learning_rate, options):
        lacks = {*self.lacks}
        assert (learning_rate is None) == ("step" in lacks)
        assert "h_0" not in lacks or not h_0.any()
        assert "sgd_options" in self.capabilities or "velocity" not in options
        assert "bias" not in lacks or "b_h" not in p
        assert "older steps" not in lacks or len(x) == len(target)
        assert "many losses" not in lacks or len(target) == 1
        assert not any(options.get(name) for name in lacks & {*SGD_LACKS})

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
