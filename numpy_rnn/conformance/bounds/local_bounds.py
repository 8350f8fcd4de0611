"""The stages of a window, and level L1: every stage recomputed from what the port reported as the input of that stage.

So a faulty stage is found by itself, an error that it passes on does not count again, and the bounds do not loosen with
width or depth. The checker computes in float64, and its own rounding, the same formulas with the unit roundoff of
float64, is added. A reported number that is subnormal may be read as zero by the next stage, which `cc -ffast-math`
does; it then loses itself. Level L2, `global_bounds.py`, takes the same formulas of `Stages`.

Correct is what rounds every operation to nearest, in the case's dtype or a wider one: sums in any order, with or
without fused multiply-add, subnormal numbers kept or flushed to zero, 1 − h² by any of its factorisations, "mean" by
division or by a product with the reciprocal, the SGD step as `step.py` says. Excluded are products of matrices by fewer
multiplications (Strassen) and numbers out of the dtype's range.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from numpy_rnn.common.records import WindowCase
from numpy_rnn.conformance.bounds.loss_bounds import cross_entropy, squared_error
from numpy_rnn.conformance.bounds.rounding import UPWARDS, Near, Rounding, join, sech_squared
from numpy_rnn.conformance.bounds.step import StepBounds
from numpy_rnn.conformance.case import GIVEN_DY, INTERMEDIATES, initial_state, with_rows

STRICT_TANH_ULPS = 8  # the largest error of a usual tanh in ulps (NumPy 1.4, torch 0.75, glibc 2.1, JAX 7)
CHECKER_TAU = 4.0  # NumPy's own, in float64


class TanhError(NamedTuple):
    """The error of tanh that is allowed, in units of u: τ|h|, and an absolute part, which is 0 for a usual tanh."""

    relative: float = 2.0 * STRICT_TANH_ULPS  # τ
    absolute: float = 0.0


TAU = TanhError()


def before(first: Near, states: Near) -> Near:
    """h_0 to h_{T-1} from h_0, (..., B, H), and h_1 to h_T."""
    return Near(*(np.concatenate((v[..., None, :, :], h[..., :-1, :, :]), axis=-3) for v, h in zip(first, states)))


def after(da: Near) -> Near:
    """da_2 to da_T, and 0."""
    return da.map(lambda v: np.concatenate((v[..., 1:, :, :], np.zeros_like(v[..., :1, :, :])), axis=-3))


class Stages:
    """The stages of a case, each from inputs that are near their values. tau: the error of the port's tanh.

    Arrays have the axes (..., T, B, N), and the leading ones are those of updates and networks.
    """

    def __init__(self, case: WindowCase, arithmetic: Rounding, tau: TanhError):
        self.case, self.arithmetic, self.tau = with_rows(case), arithmetic, tau
        given = arithmetic.given
        self.x, self.target, self.h_0 = map(given, (self.case.x, self.case.target, initial_state(case)))
        self.weights = given(1.0 if case.weights is None else case.weights[..., None])
        self.W_xh, self.W_hh, self.W_hy = (given(W[..., None, :, :]) for W in case.params[:3])
        b_h, b_y, _, *second = (None if b is None else given(b[..., None, :, None]) for b in case.params[3:])
        self.hidden_biases, self.output_bias = [b for b in (b_h, *second) if b is not None], b_y

    def pre_activation(self, x: Near, h_before: Near) -> Near:
        """(F1), as one sum. A bias is one more row of the weights, for a one in the inputs."""
        ones = self.arithmetic.given(np.ones((1, 1, len(self.hidden_biases))))
        weights = join(self.W_xh.mT, self.W_hh.mT, *self.hidden_biases).mT
        return self.arithmetic.product(join(x, h_before, ones), weights)

    def state(self, a: Near) -> Near:
        """(F2): for tanh sech²(max(|a|−E_a, 0)) E_a + τu(|h| + that); for relu E_a, and 0 on its dead side.

        The logistic function is 1/(1 + exp(−a)), exp(a)/(1 + exp(a)) or ½ + ½ tanh(a/2): ¼ sech² of half the argument.
        The roundings of the last form are in units of its ½, so that much is allowed where h is smaller: τu(½ + |h|).
        """
        if self.case.objective.nonlinearity == "relu":
            return Near(np.maximum(a.value, 0), np.where(a.value < -a.E, 0.0, a.E))
        nearest, (tau, absolute), u = np.maximum(np.abs(a.value) - a.E, 0), self.tau, self.arithmetic.u
        if self.case.objective.nonlinearity == "tanh":
            h, inherited, more = np.tanh(a.value), sech_squared(nearest) * a.E, 0.0
        else:
            h, more = 0.5 + 0.5 * np.tanh(0.5 * a.value), 0.5
            inherited = sech_squared(nearest / 2) / 4 * a.E
        max_abs = np.abs(h) + inherited + more
        own = (tau * u + CHECKER_TAU * self.arithmetic.own) * max_abs + absolute * u
        return Near(h, (inherited + own + self.arithmetic.flushes(max_abs > 0)) * UPWARDS)

    def output(self, h: Near) -> Near:
        """(F3)."""
        ones = None if self.output_bias is None else self.arithmetic.given(np.ones((1, 1, 1)))
        return self.arithmetic.product(join(h, ones), join(self.W_hy.mT, self.output_bias).mT)

    def losses(self, y: Near) -> dict[str, Near]:
        """(L1) to (L4) and (B1), by the formulas of `loss_bounds.py`. dy is 0 at the steps without a loss."""
        K, (_, name, reduction) = self.case.target.shape[-3], self.case.objective
        arithmetic, mean = self.arithmetic, reduction == "mean"
        newest, loss = y.at((..., slice(-K, None), slice(None), slice(None))), None
        if name == GIVEN_DY:
            dy = self.target
        elif name == "cross_entropy":
            loss, dy = cross_entropy(newest, self.target, self.weights, mean, arithmetic, self.tau.relative)
        else:
            loss, dy = squared_error(newest, self.target, self.weights, mean, arithmetic)
        older = y.at((..., slice(0, -K), slice(None), slice(None))).map(np.zeros_like)
        whole = Near(*(np.concatenate(parts, axis=-3) for parts in zip(older, dy)))
        return ({} if loss is None else {"loss": loss}) | {"dy": whole}

    def dh(self, dy: Near, da_after: Near) -> Near:
        """(B2), as one sum."""
        return self.arithmetic.product(join(dy, da_after), join(self.W_hy, self.W_hh).mT)

    def da(self, dh: Near, a: Near, h: Near, is_reported: bool = False) -> Near:
        """(B3): a product with φ'(a). is_reported: whether h is any number, and not near φ(a).

        Of tanh, 1 − h²: e + γ_3(|D| + e) with e = 2|h|E_h + E_h² + γ_2 max(c, c²), c = |h| + E_h, which covers
        (1−h)(1+h), dh − dh·h² and (dh + dh·h)(1−h) too. D is 1/cosh²(a); where h is reported, |1 − h² − D| is added to
        e. 1/cosh²(a): s(2E_a + γ_{2τ+3}) with s = sech²(max(|a|−E_a, 0)), as the derivative of sech² is at most 2 sech²
        and cosh may be as inaccurate as tanh; and what a flush of the slope loses. E is the larger of the two. The
        logistic function's h(1 − h): the same with |1 − 2h| for 2|h|, which covers dh·h − dh·h² too, and ¼/cosh²(a/2).
        relu': not known where |a| ≤ E_a, so E is 1 there.
        """
        gamma, flushes = self.arithmetic.gamma, self.arithmetic.flushes
        if self.case.objective.nonlinearity == "relu":
            is_open = (np.abs(a.value) <= a.E) & (a.E > 0)
            return self.arithmetic.times(dh, Near((a.value > 0) * 1.0, is_open * 1.0))
        nearest = np.maximum(np.abs(a.value) - a.E, 0)
        if self.case.objective.nonlinearity == "tanh":
            D, s, slope, derivative = sech_squared(a.value), sech_squared(nearest), 1 - h.value**2, 2 * np.abs(h.value)
        else:
            D, s = sech_squared(a.value / 2) / 4, sech_squared(nearest / 2) / 4
            slope, derivative = h.value * (1 - h.value), np.abs(1 - 2 * h.value)
        e = h.E * (derivative + h.E) + gamma(2) * np.maximum(h.max_abs, h.max_abs**2)
        e = e + np.abs(slope - D) if is_reported else e
        by_h = e + gamma(3) * (D + e) + flushes(1)
        by_cosh = s * (2 * a.E + gamma(2 * self.tau.relative + 3)) + flushes(1)
        return self.arithmetic.times(dh, Near(D, np.maximum(by_h, by_cosh) * UPWARDS))

    def gradients(self, h: Near, dy: Near, da: Near) -> dict[str, Near]:
        """(B4) to (B8): sums over time and batch."""
        product, dy, da = self.arithmetic.product, dy.rows, da.rows
        found = {"dW_xh": product(self.x.rows.mT, da), "dW_hh": product(before(self.h_0, h).rows.mT, da)}
        found["dW_hy"] = product(h.rows.mT, dy)
        for name, _ in zip(("db_h", "db_hh"), self.hidden_biases):
            found[name] = self.arithmetic.sum(da)
        return found if self.output_bias is None else found | {"db_y": self.arithmetic.sum(dy)}

    def input_gradients(self, da: Near) -> dict[str, Near]:
        """(B9), (B10)."""
        product, first = self.arithmetic.product, (..., 0, slice(None), slice(None))
        return {"dh_0": product(da, self.W_hh.mT).at(first), "dx": product(da, self.W_xh.mT)}


class Bound(Rounding):
    """The rounding of one stage: in the port's dtype, with the checker's own added."""

    def __init__(self, dtype):
        super().__init__(dtype, own=2.0**-53)


Checks = Iterator[tuple[str, np.ndarray, np.ndarray, np.ndarray]]  # tensor, ratio, expected, allowed


def check_local(case: WindowCase, report: dict, tau: TanhError = TAU) -> dict[str, np.ndarray]:
    """|reported − recomputed| / allowed, for every element of every tensor of a report with all intermediates.

    A correct port is never above 1. Arrays may carry leading axes, the same everywhere, so that all updates of a run
    with windows of one size are checked at once. NaN gives infinity. `case.format_errors` checks the format of a
    report.
    """
    return {name: ratio for name, ratio, *_ in local_checks(case, report, tau)}


def local_checks(case: WindowCase, report: dict, tau: TanhError = TAU) -> Checks:
    """The ratios of `check_local`, with the values and the differences allowed."""
    for name, (expected, allowed) in stages(case, report, tau).items():
        yield name, ratios(np.asarray(report[name], np.float64) - expected, allowed), expected, allowed


def ratios(difference, allowed) -> np.ndarray:
    """|difference| / allowed; 0 where both are 0, infinity where only `allowed` is, or where the difference is NaN.

    A bound that overflowed, to infinity or NaN, accuses nobody: a finite difference has the ratio 0.
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):  # where next to nothing is allowed
        ratio = np.abs(difference) / np.where(np.isnan(allowed), np.inf, allowed)
    return np.where(difference == 0, 0.0, np.where(np.isnan(ratio), np.inf, ratio))


def stages(case: WindowCase, report: dict, tau: TanhError = TAU) -> dict[str, Near]:
    """The value that each stage should have given, and the difference allowed, by tensor in causal order.

    da is a product with φ'(a), or with a function of the reported h; E covers both.
    """
    of = Stages(case, Bound(case.params.W_hh.dtype), tau)
    a, h, y, dy, dh, da = (of.arithmetic.given(report[name]) for name in INTERMEDIATES)
    found = {"a": of.pre_activation(of.x, before(of.h_0, h)), "h": of.state(a), "y": of.output(h)}
    found |= of.losses(y)
    found["dh"] = of.dh(dy, after(da))
    found["da"] = of.da(dh, a, h, is_reported=True)
    found |= {name: v for name, v in of.input_gradients(da).items() if name in report}
    found |= of.gradients(h, dy, da)
    if case.step is None:
        return found
    step = StepBounds(case, of.arithmetic)  # (U1) to (U9), from the reported gradients and velocities
    prefixes = ("d", "v") if case.step.has_velocity else ("d",)
    rows = [step.given(step.row(report[prefix + name] for name in step.names)) for prefix in prefixes]
    with np.errstate(over="ignore", invalid="ignore"):  # reports that are not finite give NaN, which no check passes
        return found | step.updated(*rows)
