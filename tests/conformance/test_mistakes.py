"""The mistakes that hints name: their words, read as equations, give the numbers that their functions give."""

import re
from collections import Counter
from functools import cache
from itertools import chain
from typing import Any

import numpy as np
import pytest
from ports_for_tests import PLAIN, window

from numpy_rnn.common.records import Objective, Step
from numpy_rnn.conformance.arithmetics.floats import Floats
from numpy_rnn.conformance.case import initial_state, present
from numpy_rnn.conformance.definition import loss_and_error, window_update
from numpy_rnn.conformance.mutants import step_mistakes, window_mistakes
from numpy_rnn.conformance.mutants.hints import Fit
from numpy_rnn.conformance.mutants.window_mistakes import exact_flow, flow

DOES_NOT_APPLY = (LookupError, ValueError, AttributeError, TypeError)  # as hints see it
FORWARD = ", in the forward pass alone"
TERMS = {
    "a_t": ["x_t W_xh", "h_{t-1} W_hh", "b_h", "b_hh"], "y_t": ["h_t W_hy", "b_y"],
    "dh_t": ["dy_t W_hyᵀ", "da_{t+1} W_hhᵀ"], "dh_0": ["da_{t+1} W_hhᵀ"], "dx_t": ["da_t W_xhᵀ"],
    "dW_xh": ["x_tᵀ da_t"], "dW_hh": ["h_{t-1}ᵀ da_t"], "dW_hy": ["h_tᵀ dy_t"],
}  # fmt: skip
FUNCTIONS = {  # φ of a, and φ' of h
    "tanh": (np.tanh, lambda h: 1 - h**2),
    "sigmoid": (lambda a: 1 / (1 + np.exp(-a)), lambda h: h - h**2),
    "relu": (lambda a: a * (a > 0), lambda h: h > 0),
}


def nearest(v, bits, smallest):
    """The nearest numbers of a format, by its bits and the exponent of its smallest number."""
    last = np.maximum(np.frexp(v)[1] - bits, smallest)
    return np.ldexp(np.rint(np.ldexp(v, -last)), last)


def parts(is_part):
    return lambda v, t, T: v if is_part(t, T) else 0 * v


ROUNDED = {rf"(.+) rounded to {name}": lambda v, *_, form=form: nearest(v, *form) for name, form in {
    "float32": (24, -149), "float16": (11, -24), "bfloat16": (8, -133)}.items()}  # fmt: skip
CHANGES = ROUNDED | {  # the words of a change of a value, the step, and T
    r"without (.+)": lambda v, t, T: v - v, r"twice (.+)": lambda v, t, T: v + v, r"-(.+)": lambda v, t, T: 0 - v,
    r"(.+) / B": lambda v, t, T: v / len(v), r"tanh of (.+)": lambda v, t, T: np.tanh(v),
    r"sigmoid of (.+)": lambda v, t, T: 1 / (1 + np.exp(-v)),
    r"(.+) averaged over the batch": lambda v, t, T: np.broadcast_to(np.average(v, 0), v.shape),
    r"(.+) at the first step alone": parts(lambda t, T: t == 1), r"(.+) at the last step alone": parts(int.__eq__),
    r"(.+) left out at the first step": parts(lambda t, T: t > 1), r"(.+) left out at the last step": parts(int.__ne__),
    **{rf"(.+) within ±{c}": lambda v, t, T, c=float(c): np.clip(v, -c, c) for c in (1, 5, 0.5, 2, 10, 3, 0.1)},
}  # fmt: skip
PHIS = {  # of a and φ
    r"no nonlinearity()": lambda a, phi, _: a,
    r"φ applied twice()": lambda a, phi, _: phi(phi(a)),
    r"leaky relu with (.+) for φ": lambda a, phi, c: np.maximum(a, 0) + float(c) * np.minimum(a, 0),
    r"a_t within ±(.+) before φ": lambda a, phi, c: phi(np.clip(a, -float(c), float(c))),
}
SLOPES = {  # of a, h and φ'
    "φ′ squared": lambda a, h, s: s**2, "φ for φ′": lambda a, h, s: h, "φ′ missing": lambda a, h, s: np.ones_like(a),
    "1 − h² for φ′": lambda a, h, s: 1 - h**2, "1 − tanh(h)² for φ′": lambda a, h, s: np.cosh(h) ** -2.0,
    "h(1 − h) for φ′": lambda a, h, s: h - h**2, "a φ′ of 1 at a = 0": lambda a, h, s: 1.0 - (a < 0),
    "leaky φ′ of 0.01": lambda a, h, s: np.select([a > 0], [1.0], 0.01),
}  # fmt: skip

ADJOINTS = {  # of the parts of dh that come from the outputs and from the step after, and φ'
    "φ′ left out of the part of the outputs": lambda direct, flow, s: direct + flow * s,
    "φ′ left out of the flow back": lambda direct, flow, s: direct * s + flow,
}


@cache
def place(word, t, T):
    """The tensor and the step of a word such as h_{t-1}."""
    name, _, at = re.sub("[{}]", "", word).partition("_")
    return name, eval(at, {"t": t, "T": T})


class Written:
    """A window, computed as its equations are written, one of which has other words.

    other: {(result, operand): operand}, or True for a matrix that is transposed. change: {(result, term), or (result,
    ""): function}. phi, slope, adjoint: other functions. beyond: the values of an operand before the first and after
    the last step: zeros, the right operand, or the last one.
    """

    def __init__(self, case, other=(), change=(), phi=None, slope=None, adjoint=None, beyond=0):
        self.other, self.change, self.beyond = dict(other), dict(change), beyond
        self.p, self.T = present(case.params), len(case.x)
        if any(term[:2] == "b_" and term not in self.p for _, term in self.change):
            raise LookupError("it is a mistake of a bias that there is not")
        self.w = {"x": dict(enumerate(case.x, 1)), "h": {0: initial_state(case)}}
        self.w |= {name: {} for name in ("a", "y", "dy", "dh", "da")}
        right_phi, right_slope = FUNCTIONS[case.objective.nonlinearity]
        steps, w = range(1, self.T + 1), self.w
        for t in steps:
            w["a"][t] = self.result("a_t", t)
            a = self.operand("h_t", "a_t", t)
            w["h"][t] = self.changed("h_t", "", phi(a, right_phi) if phi else right_phi(a), t)
            w["y"][t] = self.result("y_t", t)
        K = len(case.target)
        y, weights = (
            np.stack([w["y"][t] for t in steps[-K:]]),
            np.ones(()) if case.weights is None else case.weights,
        )
        loss, dy = loss_and_error(Floats(float), y, case.target, weights[..., None], case.objective)
        w["dy"] |= dict.fromkeys(steps, 0 * y[0]) | dict(zip(steps[-K:], dy))
        w["dh"][self.T + 1] = w["da"][self.T + 1] = 0 * w["h"][0]
        for t in reversed(steps):
            w["dh"][t] = self.result("dh_t", t)
            dh, a, h = (self.operand("da_t", word, t) for word in ("dh_t", "a_t", "h_t"))
            s, direct = right_slope(h), w["dy"][t] @ self.p["W_hy"].T
            da = (
                adjoint(direct, dh - direct, s)
                if adjoint
                else dh * (slope(a, h, s) if slope else s)
            )
            w["da"][t] = self.changed("da_t", "", da, t)
        sums = {
            name: sum(self.result(name, t) for t in steps) for name in ("dW_xh", "dW_hh", "dW_hy")
        }
        stacked = {
            name: np.stack([w[name][t] for t in steps])
            for name in ("a", "h", "y", "dy", "dh", "da")
        }
        dx = np.stack([self.result("dx_t", t) for t in steps])
        self.report = {"loss": loss, "dh_0": self.result("dh_0", 0), "dx": dx} | stacked | sums
        self.report |= {"db_y": stacked["dy"].sum((0, 1))} | dict.fromkeys(
            ("db_h", "db_hh"), stacked["da"].sum((0, 1))
        )

    def operand(self, result, usual, t):
        name, at = place(usual, t, self.T)
        own, word = self.w[name], self.other.get((result, usual), usual)
        if word in ("zeros", "h_T"):  # for h_0 alone
            steps, step = own, at or (self.T if word == "h_T" else None)
        else:
            name, step = place(word, t, self.T)
            steps = self.w[name]
        return (
            steps[step] if step in steps else (0 * own[at], own[at], steps[max(steps)])[self.beyond]
        )

    def factor(self, result, word, t):
        name = word.removesuffix("ᵀ")
        value = self.p[name] if name in self.p else self.operand(result, name, t)
        is_other = self.other.get((result, name)) is True
        return value.T if (name != word) != is_other else value

    def changed(self, result, term, value, t):
        return (
            self.change[result, term](value, t, self.T) if (result, term) in self.change else value
        )

    def result(self, result, t):
        """The sum of its terms, each of which is a product or a bias."""
        terms = []
        for term in TERMS[result]:
            first, _, second = term.partition(" ")
            if second or first in self.p:
                value = self.factor(result, first, t)
                value = value @ self.factor(result, second, t) if second else value + 0 * terms[0]
                terms.append(self.changed(result, term, value, t))
        return self.changed(result, "", sum(terms), t)


def one_of(table, text):
    """The entry of a table for these words, and the parts of the words."""
    [(found, value)] = [
        (found, value) for words, value in table.items() if (found := re.fullmatch(words, text))
    ]
    return value, *found.groups()


def read(text, number):
    """The changes that the words of a mistake name, as arguments of Written; number: of the same words before."""
    if text.startswith("W_hh transposed"):
        return {"other": {(result, "W_hh"): True for result in ("a_t", "dh_t", "dh_0")}}
    if found := re.fullmatch(r"(\w+) with W_hh transposed", text):
        return {"other": {(found[1], "W_hh"): True}}
    if found := re.fullmatch(r"(\w+) with (\S+) for (\S+)", text):
        result, word, usual = found.groups()
        return {"other": {(result, {"h_0": "h_{t-1}"}.get(usual, usual)): word}, "beyond": number}
    if text in ADJOINTS:
        return {"adjoint": ADJOINTS[text]}
    if text in SLOPES:
        return {"slope": SLOPES[text]}
    if "φ" in text or text == "no nonlinearity":
        phi, constant = one_of(PHIS, text)
        return {"phi": lambda a, right: phi(a, right, constant)}
    result, text = re.fullmatch(r"(?:(\w+) (?:with |(?=without )))?(.*)", text).groups()
    change, term = one_of(CHANGES, text)
    if "da_{t+1}" in text and number == 0:  # the flow back to the initial state is changed too
        return {"change": {("dh_t", term): change, ("dh_0", term): change}}
    return {"change": {(result, term) if result else (term, ""): change}}


def as_fitted(**changes):
    """A case as hints have it."""
    case = window(
        5, **PLAIN | {"T": 3, "K": 2, "B": 2, "D": 1, "H": 2, "O": 2, "weights": True} | changes
    )
    return Fit(case, window_update(case)).case


CASES = {
    "tanh": as_fitted(two_biases=True, objective=Objective("tanh", reduction="mean")),
    "sigmoid": as_fitted(K=3, objective=Objective("sigmoid"), learned=True),
}


def numbers(compute, *given, **options):
    """The report; None if it does not apply."""
    try:
        with np.errstate(all="ignore"):
            return compute(*given, **options)
    except DOES_NOT_APPLY:
        return None


def assert_same(found, expected, words, names=None):
    assert (found is None) == (expected is None), words
    for name in (names or found) if found else ():
        # Sums of a few float64 in other orders, off by some 1e-15; other words change the first digits.
        is_same = np.isclose(found[name], expected[name], 1e-9, 1e-12, equal_nan=True)
        assert is_same.all(), f"{name}: {words}"


@pytest.mark.parametrize("nonlinearity", CASES)
def test_words_of_a_window_are_its_equations(nonlinearity):
    case, seen = CASES[nonlinearity], Counter()
    makes = [window_mistakes.other_functions]
    if nonlinearity == "tanh":
        makes += [
            getattr(window_mistakes, name)
            for name in ("other_operands", "other_terms", "other_results", "transposes")
        ]
    for mistake in chain.from_iterable(make() for make in makes):
        text, key = mistake.text.removesuffix(FORWARD), (mistake.text, mistake.is_exact)
        if "adds up" in text:
            continue
        found = numbers(exact_flow if mistake.is_exact else flow, case, mistake.of)
        expected = numbers(lambda **words: Written(case, **words).report, **read(text, seen[key]))
        assert_same(found, expected, key, ("loss", "a", "h", "y") if mistake.is_exact else None)
        seen[key] += 1


def test_words_of_a_truncation_are_its_sums():
    """Over the losses of the same window that reach a step, one by one."""
    case, seen = as_fitted(T=4, K=3), Counter()
    right = Written(case).report
    slope, back = 1 - right["h"] ** 2, case.params.W_hh.T
    for mistake in window_mistakes.truncations(4):
        found, (k,) = flow(case, mistake.of), re.findall(r"\d", mistake.text)[:1] or [0]
        dh = np.zeros_like(right["dh"])
        if "each loss" in mistake.text:
            assert mistake.text.endswith(
                f" over {k} step{'' if k == '1' else 's'} (bptt_truncate = {int(k) - 1})"
            )
            for last in range(4):
                part = right["dy"][last] @ case.params.W_hy.T
                for t in range(last, max(last - int(k), -1), -1):
                    dh[t] += part
                    part = part * slope[t] @ back
            da = dh * slope
        else:
            first = 1 if "with a loss" in mistake.text else 4 - int(k)
            place = (
                ("da_t", "")
                if seen[mistake.text] or "with a loss" in mistake.text
                else ("dh_t", "")
            )
            written = Written(
                case, change={place: parts(lambda t, T, first=first: t > first)}
            ).report
            dh, da = written["dh"], written["da"]
        assert_same(
            {name: found[name] for name in ("dh", "da")}, {"dh": dh, "da": da}, mistake.text
        )
        seen[mistake.text] += 1
    assert len(seen) == 1 + 3 + 3


ORDERS = {
    "in reversed order": [3, 2, 1, 0],
    "one step late": [3, 0, 1, 2],
    "one step early": [1, 2, 3, 0],
}


def test_words_of_another_case_are_its_numbers():
    case = as_fitted(T=4, K=4)
    for mistake in step_mistakes.other_cases():
        changed = mistake.change(case)
        names, order = re.fullmatch(
            "(inputs and targets|inputs|targets|the losses) (.+)", mistake.text
        ).groups()
        for name, word in {"x": "inputs", "target": "targets"}.items():
            value = getattr(case, name)
            if word in names and order in ORDERS:
                value = value[ORDERS[order]]
            elif word in names:  # (B, T, N) read as (T, B, N)
                value = np.stack([value[:, b] for b in range(2)]).reshape(value.shape)
            assert (getattr(changed, name) == value).all(), mistake.text
    case = as_fitted(T=4, K=2)
    changed = next(step_mistakes.other_cases()).change(case)
    assert (changed.target[:2] == case.target).all()
    assert (changed.weights == [*case.weights, *np.zeros((2, 2))]).all()


def test_words_of_other_gradients_are_their_sums():
    case = as_fitted(T=4, K=3, two_biases=True)
    right = window_update(case)
    steps, sequences = np.indices((4, 2))
    is_part = {"first step": steps == 0, "last step": steps == 3, "first sequence": sequences == 0,
               "last sequence": sequences == 1}  # fmt: skip
    found = step_mistakes.other_gradients(case, right)
    own = {name: right[name] for name in right if name[:3] in ("dW_", "db_")}
    assert (found.pop("transposed")["dW_hh"] == right["dW_hh"].T).all()
    for text, gradients in found.items():
        change = re.fullmatch("(of|without|with) the (.+?)( alone| counted twice|)", text)
        if change:
            part = is_part.get(change[2], right["dy"].any((1, 2))[:, None] < 1)
            count = (
                1 * part if change[1] == "of" else 1 - part if change[1] == "without" else 1 + part
            )[..., None]
            dy, da, h = count * right["dy"], count * right["da"], [initial_state(case), *right["h"]]
            sums = {"dW_xh": sum(x.T @ d for x, d in zip(case.x, da)), "dW_hh": sum(x.T @ d for x, d in zip(h, da)),
                    "dW_hy": sum(x.T @ d for x, d in zip(h[1:], dy)), "db_y": dy.sum((0, 1))}  # fmt: skip
            expected = sums | dict.fromkeys(("db_h", "db_hh"), da.sum((0, 1)))
        else:
            expected = {name: one_of(CHANGES, f"g {text}")[0](g, 1, 1) for name, g in own.items()}
        assert gradients.keys() >= expected.keys() == own.keys()
        assert_same(expected, gradients, text)
    assert len(found) == 1 + 3 * 4 + 3 + 7


# -- losses -----------------------------------------------------------------------------------------------------------

WEIGHTS = {  # of the weights, and of the numbers of the steps from the first and the last one
    "loss weights left out": lambda w, first, last: w**0, "loss weights squared": lambda w, first, last: w**2,
    "signs of the loss weights": lambda w, first, last: 1.0 * (w > 0),
    "the loss of the last step alone": lambda w, first, last: w * (last == 0),
    "the loss of the first step alone": lambda w, first, last: w * (first == 0),
    "the loss without the last step": lambda w, first, last: w * (last > 0),
    "the loss without the first step": lambda w, first, last: w * (first > 0),
}  # fmt: skip
ERRORS = {
    "the target not subtracted from p": lambda p, z: p,
    "(p − target) p (1 − p)": lambda p, z: (p - z) * p * (1 - p),
}


def written_loss(case, y, text):
    """L and dy of outputs, with another weight, logarithm or error; None for the mistakes of the catalogue."""
    (only, text), z, w = (
        re.fullmatch("(?:in (.+) alone: )?(.*)", text).groups(),
        case.target,
        case.weights[..., None],
    )
    words, _, divisor = text.partition(", in the divisor of the mean ")
    number = np.arange(len(w)).reshape(-1, 1, 1)
    other = WEIGHTS[words](w, number, number[::-1]) if words in WEIGHTS else w
    is_squared = case.objective.loss == "squared_error"
    p = np.exp(y) / np.exp(y).sum(-1, keepdims=True)
    constant = float(text[8:-1]) if text.startswith("log(p") else 0.0
    if not (words in WEIGHTS or ((text in ERRORS or constant) and not is_squared)):
        return None

    def of(in_sum, in_divisor, error, constant):
        terms, dy = (
            ((y - z) ** 2 / 2, y - z) if is_squared else (-z * np.log(p + constant), error(p, z))
        )
        N = (
            in_divisor.sum() * (y.shape[-1] if is_squared else 1)
            if case.objective.reduction == "mean"
            else 1.0
        )
        return (in_sum * terms).sum() / N, in_sum * dy / N

    right = of(w, w, np.subtract, 0.0)
    wrong = of(
        w if divisor == "alone" else other,
        w if divisor == "not" else other,
        ERRORS.get(text, np.subtract),
        constant,
    )
    return right[0] if only == "dy" else wrong[0], right[1] if only == "the loss" else wrong[1]


@pytest.mark.parametrize("loss", ["squared_error", "cross_entropy"])
def test_words_of_a_loss_are_its_equations(loss):
    case, seen = as_fitted(T=4, K=3, objective=Objective("tanh", loss, "mean")), 0
    assert (case.weights[0] == 0).any() or (
        case.weights[-1] == 0
    ).any()  # a product with 0 is no quotient
    right = flow(case)
    for mistake in step_mistakes.other_losses():
        found, expected = (
            numbers(flow, case, mistake.of),
            written_loss(case, right["y"][-3:], mistake.text),
        )
        if expected:
            dy = np.concatenate((0 * right["dy"][:1], expected[1]))
            assert_same(
                {name: found[name] for name in ("loss", "dy")},
                {"loss": expected[0], "dy": dy},
                mistake.text,
            )
            seen += 1
    assert seen == {"squared_error": 63, "cross_entropy": 87}[loss]
    constants = [
        words
        for mistake in step_mistakes.other_losses()
        if (words := mistake.text).startswith("log(p")
    ]
    assert constants == [f"log(p + 1e-{digits})" for digits in ("12", "10", "09", "08", "07", "06")]


# -- steps ------------------------------------------------------------------------------------------------------------

OPERANDS = {  # of the results of a step
    "g with weight decay": ("g", "θ"), "v": ("g", "v of before"), "the direction": ("g", "v", "v of before"),
    "the new θ": ("θ", "the direction"),
}  # fmt: skip
STEP_CHANGES: dict[str, Any] = {  # of a value and the step
    r"without (.+)": lambda v, s: v - v, r"twice (.+)": lambda v, s: v + v,
    r"(.+) of the other sign": lambda v, s: 0 - v,
    r"(.+) within ±max_value": lambda v, s: np.maximum(-s.max_value, np.minimum(v, s.max_value)),
    r"\(1 − μ\) (.+)": lambda v, s: v - s.momentum * v, r"μ (.+)": lambda v, s: v * s.momentum,
    r"η (.+)": lambda v, s: v * s.learning_rate, r"the sign of (.+)": lambda v, s: 1.0 * (v > 0) - (v < 0),
    r"(.+) divided by its norm": lambda v, s: v / (v**2).sum() ** 0.5,
    **{words: lambda v, s, change=change: change(v) for words, change in ROUNDED.items()},
}  # fmt: skip
STEPS = {
    "momentum": Step(0.25, 0.6, 0.25, weight_decay=0.1, max_norm=0.4),
    "Nesterov": Step(0.2, 0.75, nesterov=True, max_value=0.3),
    "Adagrad": Step(0.3, adagrad=True, weight_decay=0.1, max_value=0.2),
}


def written_step(
    case, d, changes=(), is_clipped=True, forgets=False, decays_twice=False, root=None
):
    """The velocities and parameters after a step; changes: {(result, operand), or (result, ""): function}."""
    step, report, changes = case.step, {}, dict(changes)
    norm = sum((d["d" + name] ** 2).sum() for name in present(case.params)) ** 0.5

    def part(result, operand, value):
        return changes[result, operand](value, step) if (result, operand) in changes else value

    for name, theta in present(case.params).items():
        g, before = (
            d["d" + name],
            None if case.velocity is None or forgets else getattr(case.velocity, name),
        )
        if step.max_norm is not None:
            g = g * min(1, step.max_norm / (norm + 1e-6))
        elif step.max_value is not None and is_clipped:
            g = np.maximum(-step.max_value, np.minimum(g, step.max_value))
        if step.weight_decay or ("g with weight decay", "g") in changes:
            g = part("g with weight decay", "g", g) + step.weight_decay * part(
                "g with weight decay", "θ", theta
            )
        g = part("g with weight decay", "", g)
        own, old = (
            (g, 0.0) if before is None else (part("v", "g", g), part("v", "v of before", before))
        )
        if step.adagrad:
            v = old + own**2
        else:
            v = own if before is None else step.momentum * old + (1 - step.dampening) * own
        v = report["v" + name] = part("v", "", v)
        values = {"g": g, "v": v, "v of before": v}  # the last one is not used
        g, last, _ = (part("the direction", operand, value) for operand, value in values.items())
        delta = (root or (lambda v: (v + 1e-8) ** 0.5))(last) if step.adagrad else 0
        delta = g / delta if step.adagrad else g + step.momentum * last if step.nesterov else last
        delta = part("the new θ", "the direction", part("the direction", "", delta))
        delta = delta + step.weight_decay * theta if decays_twice else delta
        report[name] = part(
            "the new θ", "", part("the new θ", "θ", theta) - step.learning_rate * delta
        )
    return report


def read_step(text):
    """The changes that the words of a mistake name, as arguments of written_step; None for another norm."""
    if text in (
        "the velocity of before left out",
        "weight decay both in the gradient and of the weights",
    ):
        return {"forgets": True} if "velocity" in text else {"decays_twice": True}
    if "norm" in text and "divided" not in text:
        return None
    if "root" in text:
        if "without" in text:
            return {"root": lambda v: v + 1e-8}
        outside = float(text.removesuffix(" outside the root"))
        return {"root": lambda v: v**0.5 + outside}
    text, clipped = (
        text.removesuffix(", in place of the gradients"),
        not text.endswith("of the gradients"),
    )
    for result, operands in OPERANDS.items():
        rest = re.sub("^ (with )?", "", text.removeprefix(result))
        for words, change in STEP_CHANGES.items():
            found = re.fullmatch(words, rest)
            if found and found[1] in operands and text.startswith(result):
                return {"changes": {(result, found[1]): change}}
    change, result = one_of(STEP_CHANGES, text)
    return {"changes": {(result, ""): change}, "is_clipped": clipped}


@pytest.mark.parametrize("name", STEPS)
def test_words_of_a_step_are_its_equations(name):
    case = as_fitted(step=STEPS[name], velocity=True)
    d = window_update(case)
    assert_same(step_mistakes.stepped(case, d), written_step(case, d), "right")
    for mistake in step_mistakes.other_steps(case.step):
        if (words := read_step(mistake.text)) is not None:
            expected = numbers(written_step, case, d, **words)
            assert_same(numbers(step_mistakes.stepped, case, d, mistake.of), expected, mistake.text)


OPTIONS = {  # of the option as it is, and as it is by default
    r"(\w+) left out": lambda v, default: default, r"twice the (\w+)": lambda v, default: v + v,
    r"half of the (\w+)": lambda v, default: 0.5 * v, r"(\w+) of the other sign": lambda v, default: 0 - v,
    r"1 − (\w+) for \1": lambda v, default: 1 - v,
}  # fmt: skip
FLAGS = {"Nesterov's momentum": "nesterov", "Adagrad": "adagrad"}


@pytest.mark.parametrize("name", STEPS)
def test_words_of_an_option_are_its_value(name):
    """Every option that the step has is another one, and every flag."""
    case, seen = as_fitted(step=STEPS[name]), Counter()
    step, default = case.step, Step(1.0)
    for mistake in step_mistakes.other_options(step):
        flag = re.fullmatch("(.+?)( left out|, though it is not asked for)", mistake.text)
        if flag and flag[1] in FLAGS:
            option, value = FLAGS[flag[1]], flag[2] != " left out"
        elif mistake.text.startswith("a weight decay of "):
            option, value = "weight_decay", float(mistake.text.rpartition(" ")[2])
        else:
            change, option = one_of(OPTIONS, mistake.text)
            value = change(getattr(step, option), getattr(default, option))
        assert mistake.change(case).step == step._replace(**{option: value}), mistake.text
        assert getattr(step, option) != value or not value, mistake.text
        seen[option] += 1
    given = {option for option in step._fields if getattr(step, option) not in (None, 0)}
    assert {*seen} == given | {"dampening", "weight_decay", "nesterov", "adagrad"}
