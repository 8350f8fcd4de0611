"""Hints: what a wrong result resembles. A hint is not a verdict.

A hint is the name of a mutant, or of a part of the case that is read otherwise, a factor, a wrong sum, another
truncation. It fits if it gives the wrong numbers of every tensor, not only of the one that is reported. A port is
compared on a case of several steps, because many mistakes are the same in a window of one step.

Public code often truncates differently from TBPTT(k1, k2):

    dh_t = Σ_{j=0}^{k−1} g_{t,j}, where g_{t,0} = dy_t W_hyᵀ and g_{t,j} = (g_{t+1,j−1} ∘ φ'(a_{t+1})) W_hhᵀ    (R1)
    dh_t is that of (B2) for the newest k steps of a window, and 0 for the steps before                         (R2)

Source: (R1) rnnlm of Britz 2015, also in ML-From-Scratch; (R2) Deeplearning4j, tBPTTBackwardLength below the forward
one.
"""

from collections.abc import Iterator
from itertools import product
from typing import Any, get_args

import numpy as np

from numpy_rnn.common.conversion import convert
from numpy_rnn.common.records import Nonlinearity, Reduction, Step, WindowCase
from numpy_rnn.conformance import case as cases
from numpy_rnn.conformance.arithmetics.floats import Floats
from numpy_rnn.conformance.arithmetics.nonlinearities import nonlinearity_of
from numpy_rnn.conformance.case import GIVEN_DY, INTERMEDIATES, case_sizes, present
from numpy_rnn.conformance.checks import check_global, check_local
from numpy_rnn.conformance.definition import DEFINITION, Arrays, Tensors, update, window_update
from numpy_rnn.conformance.mutants.catalogue import MUTANTS
from numpy_rnn.conformance.mutants.score import first_violation
from numpy_rnn.conformance.ports.port import abilities, call_port, tanh_error
from numpy_rnn.conformance.random_cases import Recipe, restricted
from numpy_rnn.conformance.traces.divergence import TENSORS

# The part of a deviation that a hint may leave; a mutant may leave more, as a sum in float32 rounds otherwise.
EXACT, EXPLAINED = 1e-6, 0.02
ROUNDING = 1000.0  # units in the last place of the largest number, by which right tensors may differ
MAX_HINTS = 3  # if more mutants fit, the numbers do not tell them apart, and none is named
HINT_SIZES = {"T": 11, "B": 3, "D": 2, "H": 4, "O": 5}  # of the case on which a port is compared; all differ
FEW = 4  # numbers, any of which are right numbers times some factor
MAX_STEPS = 30  # of a window that is compared with other truncations
Candidates = Iterator[tuple[str, Arrays]]


def hint_recipes(port: Any, recipe: Recipe) -> Iterator[Recipe]:
    """Recipes like this one, but with several steps: after another update, and the first."""
    sizes: dict[str, Any] = HINT_SIZES | {"T": max(recipe.T, HINT_SIZES["T"])}
    sizes["K"] = sizes["T"] if recipe.K == recipe.T else sizes["T"] - 4
    for velocity in (True, False):
        yield restricted(recipe._replace(**sizes, velocity=velocity), abilities(port))


def hints_for_port(port: Any, recipe: Recipe, timeout: float = 10.0) -> list[str]:
    """The hints for a port on cases like this one, but with several steps."""
    for each in hint_recipes(port, recipe):
        case = each.case()
        (report, _), (again, _) = (call_port(port, case, timeout) for _ in range(2))
        if any(answer is None or cases.format_errors(case, answer, intermediates=False) for answer in (report, again)):
            return []
        if not all(np.allclose(report[name], again[name], 1e-3, 1e-3) for name in report.keys() & again.keys()):
            return ["it gives another answer to the same case, as if gradients or states were kept from call to call"]
        check = check_local if set(INTERMEDIATES) <= report.keys() else check_global
        with np.errstate(all="ignore"):
            ratios = check(case, report, tanh_error(port))
        first = first_violation(ratios)
        if first is not None and (found := hints_for_case(case, report, first[0])):
            return found
    return []


def hints_for_case(case: WindowCase, report: Arrays, tensor: str) -> list[str]:
    """The hints for a report whose first wrong tensor is given."""
    with np.errstate(all="ignore"):  # a wrong gradient may well overflow
        fit = Fit(case, report, tensor)
        known = list(mutants(fit))
        others = (each(fit) for each in (other_cases, other_gradients, factors, truncations))
        for candidates, left in ((known, EXACT), *((each, EXACT) for each in others), (known, EXPLAINED)):
            fitting = (name for name, values in candidates if fit.explains(values, left))
            if found := list(dict.fromkeys(fitting)):
                return found if len(found) <= MAX_HINTS else []
    return []


def _as_float64(value: Any) -> Any:
    return value.astype(np.float64) if isinstance(value, np.ndarray) and value.dtype.kind == "f" else value


def _largest(array: Any) -> float:
    return float(np.abs(array).max(initial=0))


class Fit:
    """A case and its report, right values of the same tensors, all in float64, and the first tensor that is wrong."""

    def __init__(self, case: WindowCase, report: Arrays, tensor: str):
        self.case, self.tensor, self.dtype = convert(_as_float64, cases.with_rows(case)), tensor, case.params.W_hh.dtype
        self.report = {name: np.asarray(value, np.float64) for name, value in report.items()}
        self.right, unit = window_update(self.case), ROUNDING * np.finfo(self.dtype).eps
        # By how much a tensor is wrong, and by how much a right one may differ.
        self.deviation = {name: _largest(v - self.right[name]) for name, v in self.report.items()}
        self.rounding = {name: unit * (_largest(self.right[name]) + _largest(v)) for name, v in self.report.items()}

    def explains(self, values: Arrays, left: float) -> bool:
        """Whether these values are the reported ones, to within this part of the deviation, or rounding."""
        for name, reported in self.report.items():
            if name not in values or np.shape(values[name]) != np.shape(reported):
                return False
            if not np.isfinite(reported).all():  # an overflow, at the same places
                return np.array_equal(np.isfinite(reported), np.isfinite(values[name]))
            allowed = max(left * self.deviation[name], self.rounding[name])
            if not _largest(reported - values[name]) <= allowed:
                return False
        telling = self.telling
        return bool(_largest(values[telling] - self.right[telling]) > 0.5 * self.deviation[telling])

    @property
    def telling(self) -> str:
        """The tensor that a hint must explain: the first wrong one; of states that are all wrong alike, a later one."""
        excess = {name: self.deviation[name] / (self.rounding[name] or np.inf) for name in self.report}
        return self.tensor if excess.get(self.tensor, 0) > 1 else max(excess, key=lambda name: excess[name])

    def with_step(self, gradients: Arrays) -> Arrays:
        """The right values with other gradients, dW_xh and so on, and the step that they give."""
        p, d = present(self.case.params), {name[1:]: g for name, g in gradients.items()}
        step = self.case.step
        return self.right | gradients | (step_of(p, d, present(self.case.velocity), step) if step else {})

    def gradients(self, values: Arrays) -> Arrays:
        """The gradients among these values."""
        return {name: values[name] for name in ("d" + theta for theta in present(self.case.params))}


def step_of(p: Arrays, d: Arrays, velocity: Arrays, step: Step) -> Arrays:
    """The velocities and new parameters."""
    n = Floats(p["W_hh"].dtype)
    update(n, p, d, velocity, step)
    return n.report()


def sums_of(p: Arrays, x: Any, h: Any, dy: Any, da: Any) -> Arrays:
    """The gradients of weights and biases."""
    n, of = Floats(p["W_hh"].dtype), DEFINITION
    w = Tensors(*({t: v for t, v in enumerate(steps, 1)} for steps in (x, da)))
    w.h, w.dy, w.da = dict(enumerate(h)), dict(enumerate(dy, 1)), dict(enumerate(da, 1))
    d = {"W_xh": of.input_weights_gradient(n, w), "W_hh": of.recurrent_weights_gradient(n, w)}
    d |= {"W_hy": of.output_weights_gradient(n, w)}
    others = {"b_h": of.hidden_bias_gradient, "b_y": of.output_bias_gradient, "b_hh": of.hidden_bias_gradient}
    return d | {name: f(n, w) for name, f in others.items() if name in p}


def mutants(fit: Fit) -> Candidates:
    """The mutants whose stage is not after the first wrong tensor: a wrong h makes the next a wrong, as da does dh."""
    last = TENSORS.index({"a": "h", "dh": "da"}.get(fit.tensor, fit.tensor))
    for mutant in MUTANTS:
        if not mutant.in_run and TENSORS.index(mutant.stage) <= last:
            yield mutant.name, window_update(fit.case, of=mutant.definition)


def other_cases(fit: Fit) -> Candidates:
    """The right values of another case: a part of it is left out, exchanged, or shifted in time."""
    case, changes = fit.case, list[tuple[str, dict[str, Any]]]()
    objective, step, x, target = case.objective, case.step, case.x, case.target
    for field, names in (("nonlinearity", get_args(Nonlinearity)), ("reduction", get_args(Reduction))):
        own = getattr(objective, field)
        changes += [(f"{n} for {own}", {"objective": objective._replace(**{field: n})}) for n in names if n != own]
    changes += [("inputs in reversed order", {"x": x[::-1]}), ("inputs one step late", {"x": np.roll(x, 1, 0)})]
    if objective.loss != GIVEN_DY and len(target) > 1:
        w = np.ones(target.shape[:2]) if case.weights is None else case.weights
        changes += [
            ("the loss of the last step alone", {"target": target[-1:], "weights": w[-1:]}),
            ("targets one step late", {"target": np.roll(target, 1, 0)}),
            ("targets one step late", {"target": target[:-1], "weights": w[1:]}),
            ("targets one step early", {"target": np.roll(target, -1, 0)}),
            ("loss weights left out", {"weights": None}),
        ]
        if len(x) == len(target):
            changes.append(("the series in reversed order", {"x": x[::-1], "target": target[::-1]}))
    if step is not None:
        changes.append(("the velocity, or sum of squares, of before left out", {"velocity": None}))
        defaults = Step._field_defaults.items()
        changes += [(f"{name} left out", {"step": step._replace(**{name: default})}) for name, default in defaults]
    for name, parts in changes:
        yield name, window_update(case._replace(**parts))


def other_gradients(fit: Fit) -> Candidates:
    """Gradients, some or all, that are other sums, or are reported otherwise than the step uses them."""
    case, p, right = fit.case, present(fit.case.params), fit.gradients(fit.right)
    h = np.concatenate((cases.initial_state(case)[None], fit.right["h"]))
    (T, B, _), K = case.x.shape, len(case.target)
    steps, sequences = np.arange(T)[:, None, None], np.arange(B)[:, None]
    counted = {
        "without the first step": steps > 0,
        "without the last step": steps < T - 1,
        "of the first step alone": steps == 0,
        "of the last step alone": steps == T - 1,
        "without the steps that have no loss": steps >= T - K,
        "of the first sequence alone": sequences == 0,
        "of the last sequence alone": sequences == B - 1,
    }
    others = {"transposed": {name: g.T for name, g in right.items() if g.ndim == 2 and g.shape == g.T.shape}}
    for text, counts in counted.items():
        d = sums_of(p, case.x, h, counts * fit.right["dy"], counts * fit.right["da"])
        others[text] = {"d" + name: g for name, g in d.items()}
    if case.step is not None:
        limits = Step(1.0, max_norm=case.step.max_norm, max_value=case.step.max_value)
        moved = step_of(p, {name[1:]: g for name, g in right.items()}, {}, limits)
        others["after clipping"] = {name: p[name[1:]] - moved[name[1:]] for name in right}
    for text, gradients in others.items():
        wrong = {n: g for n, g in gradients.items() if _largest(fit.report[n] - g) < fit.deviation[n]}
        if wrong:
            words = "gradients" if len(wrong) == len(right) else ", ".join(wrong)
            yield f"{words} {text}", fit.with_step(right | wrong)
            yield f"{words} {text}", fit.right | wrong


def factors(fit: Fit) -> Candidates:
    """Tensors multiplied by numbers; the step is that of the reported gradients."""
    p, found, values = present(fit.case.params), {}, fit.with_step(fit.gradients(fit.report)) | fit.gradients(fit.right)
    for name in [name for name in fit.report if name not in ("a", "h", "y")]:
        before, small = p.get(name, 0.0), fit.rounding[name]
        reported, expected = fit.report[name] - before, values[name] - before
        if _largest(reported - expected) > small:
            is_zero = _largest(reported) <= small
            found[name] = 0.0 if is_zero else float((reported * expected).sum() / (expected * expected).sum())
            values[name] = before + found[name] * expected
    if text := _factors_in_words(fit, found):
        yield text, values


def _factors_in_words(fit: Fit, found: dict[str, float]) -> str:
    """The factors other than 1 in words; "" if one may be chance: that of a few numbers is a product of sizes, that of
    more any. By clipping, the step is multiplied by any factor too, and then it says nothing.
    """
    theta, step, texts, is_double = present(fit.case.params), fit.case.step, [], fit.dtype == np.float64
    rtol = 1e-6 if is_double else 1e-3
    parts: dict[str, list[str]] = {"loss": [], "gradients": [], "velocities": [], "step": []}
    for name in [name for name in fit.report if name not in ("a", "h", "y")]:
        part = "loss" if name == "loss" else "step" if name in theta else "gradients"
        parts["velocities" if name[0] == "v" else part].append(name)
    for part, names in parts.items():
        for factor in dict.fromkeys(found[name] for name in names if name in found):
            same = [name for name in names if np.isclose(found.get(name, 1.0), factor, rtol * abs(factor - 1), 1e-12)]
            product = next((text for text, v in _products(fit).items() if v != 1 and np.isclose(v, factor, rtol)), None)
            if product is None and sum(np.size(fit.report[name]) for name in same) < FEW:
                return ""
            if part == "step" and factor and step.max_norm is not None and not step.has_velocity:
                return ""
            words = part if same == names else ", ".join(same)
            texts.append(f"{words} × {product or format(factor, '.9g' if is_double else '.5g')}")
    return ", ".join(dict.fromkeys(texts))


def _products(fit: Fit) -> dict[str, float]:
    """Products of sizes, and other usual factors, by their text; the simplest first."""
    sizes: dict[str, float] = {name: case_sizes(fit.case)[name] for name in "KBO"}
    sizes |= {} if fit.case.weights is None else {"Σw": float(fit.case.weights.sum())}
    sizes = {name: size for name, size in sizes.items() if size > 1}
    known = {"0": 0.0, "-1": -1.0, "2": 2.0, "1/2": 0.5, "1/ln 2": 1 / np.log(2), "1/ln 10": 1 / np.log(10)}
    for powers in sorted(product((1, -1, 0), repeat=len(sizes)), key=lambda powers: np.abs(powers).sum()):
        above, below = ["·".join(n for n, power in zip(sizes, powers) if power == sign) for sign in (1, -1)]
        value = float(np.prod([size**power for size, power in zip(sizes.values(), powers)]))
        for factor, text in ((1, above or "1"), (2, f"2·{above}" if above else "2")):
            known.setdefault(text + (f"/({below})" if "·" in below else f"/{below}" if below else ""), factor * value)
    return known


def truncations(fit: Fit) -> Candidates:
    """The report under (R1) and (R2), for every k that differs from (B2)."""
    case, right, p, T = fit.case, fit.right, present(fit.case.params), len(fit.case.x)
    slopes = nonlinearity_of(case.objective.nonlinearity).slope(right["a"], right["h"])
    h = np.stack([cases.initial_state(case), *right["h"]])

    def report(dh):
        da = dh * slopes
        flow = {"dh": dh, "da": da, "dx": da @ p["W_xh"].T, "dh_0": da[0] @ p["W_hh"].T}
        d = sums_of(p, case.x, h, right["dy"], da) | ({"h_0": flow["dh_0"]} if "h_0" in p else {})
        return fit.with_step({"d" + name: g for name, g in d.items()}) | flow

    g = right["dy"] @ p["W_hy"].T
    band = g
    for k in range(1, min(T, MAX_STEPS)):
        steps = f"{k} step{'s' * (k > 1)}"
        yield f"each loss goes back over {steps} (bptt_truncate = {k - 1})", report(band)
        newest = np.where(np.arange(T)[:, None, None] < T - k, 0, right["dh"])  # (R2)
        yield f"the backward pass ends after the newest {steps}", report(newest)
        g = (g[1:] * slopes[1 : len(g)]) @ p["W_hh"].T  # (R1)
        band = band + np.concatenate((g, np.zeros((k, *g.shape[1:]))))
