"""Level L2: bounds on the difference between the true values of a window and any correct computation of it.

A bound E is carried through the window, stage by stage, around the values of the oracle, by the formulas of
`local_bounds.py`. Nothing but the loss, the gradients and the new parameters need be reported.
"""

import numpy as np

from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import WindowCase
from numpy_rnn.conformance.bounds.local_bounds import TAU, Checks, Stages, TanhError, after, before, ratios
from numpy_rnn.conformance.bounds.oracle import Enclosure, oracle
from numpy_rnn.conformance.bounds.rounding import Near, Rounding
from numpy_rnn.conformance.bounds.step import StepBounds
from numpy_rnn.conformance.case import case_sizes, required_outputs

Bounds = dict[str, tuple[Enclosure, np.ndarray]]
Ratios = dict[str, np.ndarray]


def global_bounds(case: WindowCase, tau: TanhError = TAU) -> Bounds:
    """The oracle's values of every tensor that the case may require, and E in the same shape, in causal order.

    tau: τ, the error of tanh in units of u|h|: twice its largest error in ulps. Where E reaches over the kink of
    a relu, so that its derivative is open, the bound is that wide.

    Raises InputError where a sum or a norm is so long that γ_n says nothing, and where the oracle does.
    """
    (T, B, D, H, O, K), dtype = case_sizes(case).values(), case.params.W_hh.dtype
    longest = max(T * B, K * B * O + 2, D + H + 1, H + O)
    if longest * np.finfo(dtype).eps > 0.5:
        raise InputError(f"a sum of {longest} terms in {dtype} has no bound: expected fewer, or float64")
    of, enclosures = Stages(case, Rounding(dtype), tau), oracle(case)
    values = {name: value.high for name, value in enclosures.items()}
    E = {name: np.zeros_like(value) for name, value in values.items()}
    a, h, y, dy, dh, da = (Near(values[name], E[name]) for name in ("a", "h", "y", "dy", "dh", "da"))
    for t in range(T):
        now = slice(t, t + 1)
        E["a"][now] = of.pre_activation(of.x.at(now), before(of.h_0, h).at(now)).E
        E["h"][now] = of.state(a.at(now)).E
    E["y"][...] = of.output(h).E
    rounded = 2.0**-53 * np.abs(y.value)  # y is the value of the oracle in float64, from which the target may cancel it
    losses = of.losses(y._replace(E=y.E + rounded))
    E["dy"][...] = losses["dy"].E
    for t in reversed(range(T)):
        now = slice(t, t + 1)
        E["dh"][now] = of.dh(dy.at(now), after(da).at(now)).E
        E["da"][now] = of.da(dh.at(now), a.at(now), h.at(now)).E
    found = losses | of.input_gradients(da) | of.gradients(h, dy, da)
    if case.step is not None:  # (U1) to (U9), by the formulas of `step.py`
        step = StepBounds(case, of.arithmetic)
        names = ["d" + name for name in step.names]
        gradient = Near(step.row(values[name] for name in names), step.row(found[name].E for name in names))
        velocity = step.velocity(step.decayed(gradient))
        if velocity is not None:  # around the value of the oracle
            velocity = velocity._replace(value=step.row(values["v" + name] for name in step.names))
        found |= step.updated(gradient, velocity)
    E |= {name: bound.E for name, bound in found.items()}
    return {name: (value, E[name]) for name, value in enclosures.items()}


def check_global(case: WindowCase, report: dict, tau: TanhError = TAU, bounds: Bounds | None = None) -> Ratios:
    """|reported − value| / (E + radius), by element, of every required tensor and of the others that are reported.

    bounds: those of this case, if they are known. What is missing or has another shape, and NaN, give infinity.
    """
    return {name: ratio for name, ratio, *_ in global_checks(case, report, tau, bounds)}


def global_checks(case: WindowCase, report: dict, tau: TanhError = TAU, bounds: Bounds | None = None) -> Checks:
    """The ratios of `check_global`, with the values and the differences allowed."""
    required = required_outputs(case, intermediates=False)
    for name, (value, E) in (bounds or global_bounds(case, tau)).items():
        allowed, ratio = E + value.radius, np.full(E.shape, np.inf)
        if name in report and np.shape(report[name]) == E.shape:
            ratio = ratios(value.difference(report[name]), allowed)
        if name in report or name in required:
            yield name, ratio, value.high, allowed
