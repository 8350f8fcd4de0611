"""Hints: what a wrong result resembles. A hint is not a verdict.

Mistakes are made from the definition (`mistakes`), and tried on several cases. A hint gives the wrong numbers of every
tensor in all of them. The gradients are explained first, then the step from the gradients that are reported. Where all
windows are so short, or so small, that different mistakes are the same, there is a hint only if one fits.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import chain, product
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.common.conversion import convert
from numpy_rnn.common.records import WindowCase
from numpy_rnn.conformance import case as cases
from numpy_rnn.conformance.arithmetics.floats import Floats
from numpy_rnn.conformance.case import case_sizes, initial_state, present
from numpy_rnn.conformance.definition import Arrays, window_update
from numpy_rnn.conformance.mutants.catalogue import MUTANTS
from numpy_rnn.conformance.mutants import mistakes, other_steps
from numpy_rnn.conformance.mutants.mistakes import FORWARD, Mistake
from numpy_rnn.conformance.ports.port import abilities, call_port
from numpy_rnn.conformance.random_cases import Recipe, restricted

EXACT = 1e-6  # the part of a deviation that a hint may leave
ROUNDING = 200.0  # units in the last place of the largest number, by which right tensors may differ
CLEAR = 30.0  # the deviation of a wrong tensor, in units of what right ones may differ
FEW = 4  # numbers, any of which are right numbers times some factor
MAX_STEPS = 30  # of a window that is compared with other truncations
BEFORE = {"loss", "a", "h", "y"}  # the backward pass
AFTER_DY = {"dh", "da", "dh_0", "dx", "dW_xh", "dW_hh", "db_h", "db_hh"}  # what depends on dh
ONLY = {  # what is wrong by a mistake in a function
    "state_adjoint": AFTER_DY, "pre_activation_adjoint": AFTER_DY, "initial_state_adjoint": {"dh_0"}, "input_adjoint": {"dx"},
    "input_weights_gradient": {"dW_xh"}, "recurrent_weights_gradient": {"dW_hh"}, "output_weights_gradient": {"dW_hy"},
    "hidden_bias_gradient": {"db_h", "db_hh"}, "output_bias_gradient": {"db_y"},
}  # fmt: skip
SIZES = ({"T": 11, "B": 3, "D": 2, "H": 4, "O": 5, "K": 7}, {"T": 7, "B": 2, "D": 3, "H": 5, "O": 4, "K": 4})


def hint_recipes(port: Any, recipe: Recipe) -> Iterator[Recipe]:
    """Recipes like this one, but with several steps: after another update, the first, and with larger numbers."""
    has = abilities(port)
    plain = recipe._replace(logits=1.0, saturated=False, silent=False, subnormal=False, gain=1.0)
    plain = plain._replace(dtype="float64") if "float64" in port.dtypes else plain
    for i, sizes in enumerate((*SIZES, SIZES[0])):
        own = has.sizes[i % len(has.sizes)] if has.sizes else {}
        sizes = {**sizes, "T": max(recipe.T, sizes["T"]) if i == 0 else sizes["T"], **own}
        sizes["K"] = own.get("K", sizes["T"] if recipe.K == recipe.T else min(sizes["K"], sizes["T"]))
        changes: dict[str, Any] = {"velocity": i != 1, "gain": 3.0 if i == 2 else 1.0, "seed": recipe.seed + i}
        yield restricted(plain._replace(**sizes, **changes, step=_stepped(recipe.step, i)), has)


def _stepped(step: Any, i: int) -> Any:
    """The step with a rate that is not 0; with other numbers, and more clipping, in the second case; none in the third."""
    if step is None:
        return None
    step = step._replace(learning_rate=step.learning_rate or 0.1)
    parts = {"learning_rate": 0.7, "momentum": 0.6, "dampening": 0.5, "weight_decay": 0.8, "max_norm": 0.1, "max_value": 0.1}
    changed = {name: part * min(getattr(step, name), 1.0) for name, part in parts.items() if getattr(step, name)}
    large = {name: 1000.0 * getattr(step, name) for name in ("max_norm", "max_value") if getattr(step, name)}
    return step._replace(**({}, changed, large)[i])


def hints_for_port(port: Any, recipe: Recipe, timeout: float = 10.0) -> list[str]:
    """The hints for a port on cases like this one, but with several steps."""
    found = list[Fit]()
    for i, each in enumerate((*hint_recipes(port, recipe), recipe)):
        case = each.case()
        answers = [call_port(port, case, timeout)[0] for _ in range(2 if i == 0 else 1)]
        if any(answer is None or cases.format_errors(case, answer, intermediates=False) for answer in answers):
            return []
        report, again = answers[0], answers[-1]
        if not all(np.allclose(report[name], again[name], 1e-3, 1e-3) for name in report.keys() & again.keys()):
            return ["it gives another answer to the same case, as if gradients or states were kept from call to call"]
        found.append(Fit(case, report))
    clear = [fit for fit in found if fit.wrong]
    usual = [fit for fit in found[:-1] if fit.wrong]
    return explanations([*(usual or clear), *(fit for fit in found[:-1] if not fit.wrong)])


def hints_for_case(case: WindowCase, report: Arrays, tensor: str = "") -> list[str]:
    """The hints for a report on one case."""
    return explanations([Fit(case, report)])


def _as_float64(value: Any) -> Any:
    return value.astype(np.float64) if isinstance(value, np.ndarray) and value.dtype.kind == "f" else value


def _largest(array: Any) -> float:
    return float(np.abs(array).max(initial=0))


class Fit:
    """A case and its report, and the right values of the same tensors, all in float64."""

    def __init__(self, case: WindowCase, report: Arrays):
        self.dtype, self.case = case.params.W_hh.dtype, convert(_as_float64, cases.with_rows(case))
        self.report = {name: np.asarray(value, np.float64) for name, value in report.items()}
        if self.case.h_0 is None and self.case.params.h_0 is None:
            self.case = self.case._replace(h_0=initial_state(self.case))
        with np.errstate(all="ignore"):
            self.right = self.run(Mistake(""), self.kept)
            self.right = self.given(Mistake(""))
            if self.case.step is not None:
                own = {"d" + name: self.report["d" + name] for name in present(self.case.params)}
                self.right |= (step := other_steps.stepped(self.case, own))
            self.stepped = step.keys() if self.case.step is not None else set()
        unit = ROUNDING * np.finfo(self.dtype).eps
        names = self.report.keys() & self.right.keys()
        self.deviation = {name: _largest(self.report[name] - self.right[name]) for name in names}
        self.rounding = {name: unit * max(_largest(self.right[name]), _largest(self.report[name])) for name in names}
        self.wrong = {name for name in names if not self.deviation[name] <= CLEAR * self.rounding[name]}
        self.flow = names - self.stepped

    @cached_property
    def alternatives(self) -> dict[str, Arrays]:
        """Other gradients, by words."""
        return alternatives(self)

    def run(self, mistake: Mistake, backward: Any = None) -> Arrays:
        """The loss, the intermediates and the gradients of the case with a mistake."""
        of = mistake.of if backward is None else mistake.of._replace(backward=backward)
        return window_update(mistake.change(self.case)._replace(step=None), of=of)

    def kept(self, n: Any, w: Any, *rest: Any) -> Arrays:
        """No gradients; what is computed until then is kept."""
        self.forward = n.seen, w, *rest[:2]
        return {}

    def given(self, mistake: Mistake) -> Arrays:
        """The same values, with the right forward pass."""
        n, (seen, w, p, nonlinearity) = Floats(np.float64), self.forward
        n.seen = dict(seen)
        mistake.of.backward(n, replace(w, h=dict(w.h), dh={}, da={}), p, nonlinearity, mistake.of)
        return n.report()

    def is_explained(self, mistake: Mistake) -> bool:
        """Whether the mistake gives what is reported, up to the gradients."""
        if mistake.field in (*FORWARD, "loss_and_error"):
            forward = self.run(mistake, lambda *_: {})
            if not self.explains(forward, self.flow & BEFORE):
                return False
            exact = mistakes.exact_flow(self.case, mistake.of, "da" in self.flow) if mistake.is_exact else None
            return self.explains(exact or self.run(mistake), self.flow)
        if not mistake.field:
            return self.explains(self.run(mistake), self.flow)
        wrong = self.wrong & self.flow
        if wrong & BEFORE or (mistake.field in ONLY and wrong - ONLY[mistake.field]):
            return False
        return self.explains(self.given(mistake), self.flow)

    def explains(self, values: Arrays, names: Any) -> bool:
        """Whether these are the reported numbers of the tensors of these names."""
        for name in names:
            if name not in values or np.shape(values[name]) != np.shape(self.report[name]):
                return False
            allowed = max(EXACT * self.deviation[name], self.rounding[name])
            if not _largest(values[name] - self.report[name]) <= allowed:
                return False
        return True


def explanations(fits: Sequence[Fit]) -> list[str]:
    """The hint for these reports, of one port or one run; none, or one."""
    if not fits or not all(np.isfinite(v).all() for fit in fits for v in fit.report.values()):
        return []
    wrong = set[str]().union(*(fit.wrong for fit in fits))
    with np.errstate(all="ignore"):  # a wrong gradient may well overflow
        flow = step = ""
        if any(fit.wrong & fit.flow for fit in fits):
            flow_names = [name for name in fits[0].report if name in fits[0].flow and name not in "ahy"]
            is_small, has_one = (max(len(rows(fit.case)) for fit in fits) for rows in (lambda c: c.x, lambda c: c.target))
            is_small, has_one = is_small < 3, has_one < 2
            flow = _first(fits, factors(fits, flow_names), False) if is_small or has_one else ""
            flow = flow or _first(fits, of_flow(fits), is_small)
            if not flow:
                return []
            if any(fit.wrong - fit.flow for fit in fits):
                if all(fit.explains(other_steps.stepped(fit.case, fit.right), fit.stepped) for fit in fits):
                    return [f"{flow}, as reported; the step has the right ones"]
        if any(fit.wrong - fit.flow for fit in fits):
            has_before = any(fit.case.velocity is not None for fit in fits)
            step = _first(fits, of_step(fits), fits[0].case.step.has_velocity and not has_before)
            if not step:
                return []
    return [" and ".join(text for text in (flow, step) if text)] if wrong else []


Candidates = Iterator[tuple[str, Callable[[Fit], Arrays | None]]]


def _first(fits: Sequence[Fit], candidates: Iterator[tuple[str, Callable[[Fit], bool]]], is_small: bool) -> str:
    """The first mistake that explains all reports; if the cases are small, the only one."""
    texts = list[str]()
    for text, explains in candidates:
        if text not in texts and all(_tried(explains, fit) for fit in fits):
            texts.append(text)
            if not is_small:
                break
    return texts[0] if len(texts) == 1 else ""


def _tried(explains: Callable[[Fit], bool], fit: Fit) -> bool:
    try:
        return explains(fit)
    except (LookupError, ValueError, AttributeError, TypeError):  # it does not apply to this case
        return False


def of_flow(fits: Sequence[Fit]) -> Iterator[tuple[str, Callable[[Fit], bool]]]:
    """Mistakes that may explain the loss, the intermediates and the gradients."""
    skipped = FORWARD if "loss" in fits[0].report and not any(fit.wrong & BEFORE for fit in fits) else ()
    for mistake in (Mistake(m.name, "", m.definition) for m in MUTANTS if not m.in_run):
        yield mistake.text, lambda fit: fit.is_explained(mistake)
    yield from of_gradients(fits)
    for mistake in chain(other_steps.other_cases(), mistakes.transposes(), mistakes.other_terms(),
                         other_steps.other_losses(), other_steps.truncations(min(MAX_STEPS, max(len(fit.case.x) for fit in fits))),
                         mistakes.other_operands(), mistakes.other_functions(), mistakes.other_results()):  # fmt: skip
        if mistake.field not in skipped:
            yield mistake.text, lambda fit: fit.is_explained(mistake)
    yield from penalties(fits)
    yield from factors(fits, [name for name in fits[0].report if name in fits[0].flow and name not in "ahy"])
    if text := shorter_format(fits):
        yield text, lambda fit: True


def of_gradients(fits: Sequence[Fit]) -> Iterator[tuple[str, Callable[[Fit], bool]]]:
    """Mistakes of some of the gradients, or of all."""
    names = set[str]().union(*(fit.wrong & fit.flow for fit in fits))
    if all(name[0] == "d" and name[1:] in present(fits[0].case.params) for name in names):
        all_names = {"d" + name for name in present(fits[0].case.params)}
        words = "gradients" if names == all_names else ", ".join(name for name in fits[0].report if name in names)
        for text in fits[0].alternatives:
            yield f"{words} {text}", lambda fit: fit.explains(
                fit.right | {name: fit.alternatives[text][name] for name in names}, fit.flow)  # fmt: skip
        for c in {_largest(fit.report[name]) for fit in fits for name in names}:
            yield f"{words} within ±{c:g}", lambda fit: fit.explains(
                fit.right | {name: mistakes.clamped(fit.right[name], c) for name in names}, fit.flow)  # fmt: skip


def of_step(fits: Sequence[Fit]) -> Iterator[tuple[str, Callable[[Fit], bool]]]:
    """Mistakes that may explain the step from the reported gradients."""
    candidates = [(m.name, lambda case, d, m=m: other_steps.stepped(case, d, m.definition))
                  for m in MUTANTS if not m.in_run]  # fmt: skip
    for text, step in chain(candidates, other_steps.other_steps(fits[0].case.step)):
        yield text, lambda fit: fit.explains(step(fit.case, fit.report), fit.stepped)
    yield from factors(fits, [name for name in fits[0].report if name in fits[0].stepped])


# -- gradients that are other sums, factors, formats ------------------------------------------------------------------


def alternatives(fit: Fit) -> dict[str, Arrays]:
    """Gradients that are other sums, or are reported otherwise than the step uses them, by words."""
    case, p, right = fit.case, present(fit.case.params), fit.right
    own = {"d" + name: right["d" + name] for name in p}
    (T, B, _), K = case.x.shape, len(case.target)
    t, b = np.arange(T)[:, None, None], np.arange(B)[:, None]
    counted = {
        "without the first step": t > 0, "without the last step": t < T - 1, "of the first step alone": t == 0,
        "of the last step alone": t == T - 1, "without the steps that have no loss": t >= T - K,
        "with the last step counted twice": 1 + (t == T - 1), "with the first step counted twice": 1 + (t == 0),
        "of the first sequence alone": b == 0, "of the last sequence alone": b == B - 1,
        "without the first sequence": b > 0, "without the last sequence": b < B - 1,
    }  # fmt: skip
    others: dict[str, Arrays] = {"transposed": {"dW_hh": own["dW_hh"].T}}
    h = np.concatenate((initial_state(case)[None], right["h"]))
    for text, counts in counted.items():
        dy, da = counts * right["dy"], counts * right["da"]
        d = {"dW_xh": _sum(case.x, da), "dW_hh": _sum(h[:-1], da), "dW_hy": _sum(h[1:], dy), "db_y": dy.sum((0, 1))}
        others[text] = own | d | {"db_h": da.sum((0, 1)), "db_hh": da.sum((0, 1))}
    others["whose rows are one row, in which all add up"] = {
        name: 0 * g + g.sum(axis=0, keepdims=True) for name, g in own.items() if g.ndim == 2}  # fmt: skip
    others["of the largest norm 1"] = {name: g / np.linalg.norm(g) for name, g in own.items()}
    for name in mistakes.FORMATS:
        others[f"rounded to {name}"] = {n: mistakes.rounded(g, name) for n, g in own.items()}
    if (step := case.step) is not None:
        limits = step._replace(learning_rate=1.0, momentum=0.0, dampening=0.0, nesterov=False, adagrad=False)
        for text, part in (("after clipping", limits._replace(weight_decay=0.0)), ("after clipping and weight decay", limits),
                           ("with weight decay", limits._replace(max_norm=None, max_value=None))):  # fmt: skip
            moved = other_steps.stepped(case._replace(step=part, velocity=None), right)
            others[text] = {"d" + name: theta - moved[name] for name, theta in p.items()}
        moved = other_steps.stepped(case, right)
        others["reported after momentum"] = {"d" + name: moved["v" + name] for name in p if "v" + name in moved}
        others["multiplied by the rate"] = {name: step.learning_rate * g for name, g in own.items()}
    return others


def penalties(fits: Sequence[Fit]) -> Iterator[tuple[str, Callable[[Fit], bool]]]:
    """A weight decay in the loss and the gradients."""

    def penalised(fit: Fit, decay: float, part: float, first: str) -> bool:
        own = {name: theta for name, theta in present(fit.case.params).items() if name.startswith(first)}
        decay = decay or fit.case.step.weight_decay
        added = {"loss": fit.right["loss"] + part * decay * sum(np.sum(theta**2) for theta in own.values())}
        return fit.explains(fit.right | added | {
            "d" + name: fit.right["d" + name] + 2 * part * decay * theta for name, theta in own.items()}, fit.flow)  # fmt: skip

    for decay, (part, words), (first, of) in product(
        (0.0, 1e-4, 1e-3, 0.01, 0.1), ((0.5, "1/2 "), (1.0, "")), (("", "θ²"), ("W", "W²"), ("W_hh", "W_hh²"))
    ):  # fmt: skip
        text = f"{words}{f'{decay:g}' if decay else 'weight_decay'} Σ{of} in the loss and its gradient"
        yield text, lambda fit: penalised(fit, decay, part, first)


def _sum(rows: Any, columns: Any) -> Any:
    return np.einsum("tbi,tbj->ij", rows, columns)


def factors(fits: Sequence[Fit], names: list[str]) -> Iterator[tuple[str, Callable[[Fit], bool]]]:
    """Tensors multiplied by numbers that are the same product of sizes, or the same number, in all cases."""
    found, moved = dict[str, str](), [dict[str, Any](fit.right) for fit in fits]
    for name in names:
        if not any(name in fit.wrong for fit in fits):
            continue
        ratios = list[tuple[Fit, float]]()
        for fit, values in zip(fits, moved):
            before = getattr(fit.case.params, name, 0.0)
            reported, expected = fit.report[name] - before, fit.right[name] - before
            if not _largest(expected) > fit.rounding[name]:
                continue
            ratio = 0.0 if _largest(reported) <= fit.rounding[name] else float(np.sum(reported * expected) / np.sum(expected**2))
            values[name] = before + ratio * expected
            ratios.append((fit, ratio))
        text = _factor(ratios, sum(np.size(fit.report[name]) for fit, _ in ratios))
        if not text:
            return
        found[name] = text
    if found:
        groups = {"loss": ["loss"], "gradients": [n for n in names if n[0] == "d"], "velocities": [n for n in names if n[0] == "v"],
                  "step": [n for n in names if n in cases.FIELDS]}  # fmt: skip
        texts = []
        for part, members in groups.items():
            for text in dict.fromkeys(found[name] for name in members if name in found):
                same = [name for name in members if found.get(name) == text]
                texts.append(f"{part if same == members else ', '.join(same)} × {text}")
        values = {id(fit): each for fit, each in zip(fits, moved)}
        yield ", ".join(texts), lambda fit: fit.explains(values[id(fit)], names)


def _factor(ratios: Sequence[tuple[Fit, float]], count: int) -> str:
    """The number in words; "" if it differs between the cases, or may be chance."""
    if not ratios:
        return ""
    rtol = max(1e-6 if fit.dtype == np.float64 else 1e-3 for fit, _ in ratios)
    tables = [_products(fit) for fit, _ in ratios]
    for text in tables[0]:
        if all(np.isclose(table.get(text, np.nan), ratio, rtol, 1e-9) for table, (_, ratio) in zip(tables, ratios)):
            return text
    first = ratios[0][1]
    if count >= FEW * len(ratios) and all(np.isclose(ratio, first, rtol, 0) for _, ratio in ratios):
        return format(first, ".6g")
    return ""


def _products(fit: Fit) -> dict[str, float]:
    """Products of sizes, and other usual factors, by their text; the simplest first."""
    sizes: dict[str, float] = {name: case_sizes(fit.case)[name] for name in "KBOTH"}
    if fit.case.weights is not None:
        sizes |= {"Σw": float(fit.case.weights.sum()), "(number of weights ≠ 0)": float(np.count_nonzero(fit.case.weights))}
    rate = np.nan if fit.case.step is None else float(fit.case.step.learning_rate)
    known = {"0": 0.0, "-1": -1.0, "2": 2.0, "1/2": 0.5, "1/ln 2": 1 / np.log(2), "1/ln 10": 1 / np.log(10), "η": rate}
    for powers in sorted(product((1, -1, 0), repeat=len(sizes)), key=lambda powers: (np.abs(powers).sum(), powers)):
        if sum(np.abs(powers)) > 3:
            break
        above, below = ["·".join(n for n, power in zip(sizes, powers) if power == sign) for sign in (1, -1)]
        value = float(np.prod([size**power for size, power in zip(sizes.values(), powers)]))
        for factor, text in ((1, above or "1"), (2, f"2·{above}" if above else "2")):
            known.setdefault(text + (f"/({below})" if "·" in below else f"/{below}" if below else ""), factor * value)
    return known


def shorter_format(fits: Sequence[Fit]) -> str:
    """Whether all that differs differs as much as float32 rounds, in a float64 case."""
    parts = [fit.deviation[name] / (_largest(fit.right[name]) or 1) for fit in fits for name in fit.wrong]
    if all(fit.dtype == np.float64 and fit.wrong for fit in fits) and all(1e-10 < part < 1e-6 for part in parts):
        return "numbers rounded to float32 on the way"
    return ""
