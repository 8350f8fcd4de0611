"""Hints: what a wrong port looks like. A hint is a mutant, a factor or a truncation, not a verdict.

It gives the wrong numbers of every tensor in several cases. The gradients are explained first, then
the step from the reported ones. Where all windows are so short that different mistakes give the
same numbers, there is a hint only if one fits.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain, product
from typing import Any

import numpy as np

from numpy_rnn.common.conversion import convert
from numpy_rnn.common.records import Step, WindowCase
from numpy_rnn.conformance.arithmetics.floats import Floats
from numpy_rnn.conformance.case import (
    ADJOINTS,
    FIELDS,
    INPUT_GRADIENTS,
    case_sizes,
    format_errors,
    initial_state,
    present,
    with_rows,
)
from numpy_rnn.conformance.definition import DEFINITION, Arrays, Definition, update, window_update
from numpy_rnn.conformance.mutants.catalogue import MUTANTS, Mutant, other_steps, variants
from numpy_rnn.conformance.ports.port import abilities, call_port
from numpy_rnn.conformance.ports.protocol import PortFault
from numpy_rnn.conformance.random_cases import Recipe, restricted

EXACT = 1e-10  # the part of the numbers that a hint may leave, in float64
ROUNDING = 200.0  # units in the last place of the largest number, by which right tensors may differ
CLEAR = 30.0  # the deviation of a wrong tensor, in units of what right ones may differ
MAX_STEPS = 30  # of a window that is compared with other truncations
DIRECTIONS = 3  # in which the derivative of a forward pass is computed, for each parameter
EPSILON = 1e-50  # of the complex step
BEFORE = {"loss", "a", "h", "y"}  # the backward pass
SIZES = (
    {"T": 11, "B": 3, "D": 2, "H": 4, "O": 5, "K": 7},
    {"T": 7, "B": 2, "D": 3, "H": 5, "O": 4, "K": 4},
)
OTHER_NUMBERS = {  # of the step in the second case, as parts of the first: each tensor is clipped
    "learning_rate": 0.7,
    "momentum": 0.6,
    "dampening": 0.5,
    "weight_decay": 0.8,
    "max_norm": 0.001,
    "max_value": 0.1,
}
KEPT = "another answer to the same case, as if gradients or states were kept from call to call"


def hint_recipes(port: Any, recipe: Recipe) -> Iterator[Recipe]:
    """Recipes like this one, of several steps: after another update; the first; large numbers."""
    has, step = abilities(port), recipe.step
    plain: dict[str, Any] = {"logits": 1.0, "saturated": False, "silent": False, "subnormal": False}
    plain = {name: value for name, value in plain.items() if name in Recipe._fields}
    plain |= {"dtype": "float64"} if "float64" in port.dtypes else {}
    for i, usual in enumerate((*SIZES, SIZES[0])):
        own = has.sizes[i % len(has.sizes)] if has.sizes else {}
        sizes = usual | {"T": max(recipe.T, usual["T"]) if i == 0 else usual["T"]} | dict(own)
        every = sizes["T"] if recipe.K == recipe.T else min(sizes["K"], sizes["T"])
        sizes["K"] = own.get("K", every)
        if recipe.step is not None:  # a rate that is not 0; then other numbers, then no clipping
            step = recipe.step._replace(learning_rate=recipe.step.learning_rate or 0.1)
            given = {name: getattr(step, name) for name in OTHER_NUMBERS if getattr(step, name)}
            others = {name: OTHER_NUMBERS[name] * min(v, 1.0) for name, v in given.items()}
            large = {name: 1000.0 * v for name, v in given.items() if name.startswith("max")}
            step = step._replace(**({}, others, large)[i])
        changes = {"velocity": i != 1, "gain": 3.0 if i == 2 else 1.0, "seed": recipe.seed + i}
        yield restricted(recipe._replace(step=step, **plain | sizes | changes), has)


def hint_for_port(port: Any, recipe: Recipe | None, case: WindowCase) -> str:
    """The hint for a port that is wrong on this case, of this recipe; "" if nothing fits."""
    others = () if recipe is None else tuple(each.case() for each in hint_recipes(port, recipe))
    fits = list[Fit]()
    for each in (*others, case):
        try:
            report, again = call_port(port, each), call_port(port, each)
        except PortFault:
            return ""
        if format_errors(each, report, False) or format_errors(each, again, False):
            return ""
        if not all(np.allclose(report[name], again[name], 1e-3, 1e-3) for name in report):
            return KEPT
        fits.append(Fit(each, report))
    *usual, own = fits
    wrong = [fit for fit in usual if fit.wrong] or [own]
    return explanation([*wrong, *(fit for fit in usual if not fit.wrong)])


def _as_float64(value: Any) -> Any:
    is_float = isinstance(value, np.ndarray) and value.dtype.kind == "f"
    return value.astype(np.float64) if is_float else value


def _largest(array: np.ndarray) -> float:
    return float(np.abs(array).max(initial=0))


def stepped(case: WindowCase, gradients: Arrays, of: Definition = DEFINITION) -> Arrays:
    """The velocities and parameters after the step with these gradients, dW_xh and so on."""
    n, p = Floats(np.float64), present(case.params)
    update(n, p, {name: gradients["d" + name] for name in p}, present(case.velocity), case.step, of)
    return n.report()


def flow(case: WindowCase, of: Definition = DEFINITION) -> Arrays:
    """The loss, the intermediates and the gradients of a case."""
    return window_update(case._replace(step=None), of=of)  # type: ignore[arg-type]


class Fit:
    """A case and its report, and the right values of the same tensors, all in float64."""

    def __init__(self, case: WindowCase, report: Arrays):
        self.dtype, self.case = case.dtype, convert(_as_float64, with_rows(case))
        self.case = self.case._replace(h_0=initial_state(self.case))
        self.report = {name: np.asarray(value, np.float64) for name, value in report.items()}
        with np.errstate(all="ignore"):
            self.right = flow(self.case)
            step = stepped(self.case, self.report) if self.case.step is not None else {}
        self.right |= step  # from the reported gradients
        names = self.report.keys() & self.right.keys()
        self.stepped, self.flow = step.keys() & names, names - step.keys()
        T, B, H = (case_sizes(case)[letter] for letter in "TBH")
        self.unit = ROUNDING * np.finfo(self.dtype).eps * max(1.0, (T * B * H / 100) ** 0.5)
        self.deviation = {name: _largest(self.report[name] - self.right[name]) for name in names}
        self.rounding = {
            name: self.unit * max(_largest(self.right[name]), _largest(self.report[name]))
            for name in names
        }
        self.wrong = {n for n in names if not self.deviation[n] <= CLEAR * self.rounding[n]}

    def has(self, mutant: Mutant, exact: bool = False) -> bool:
        """Whether the mutant gives what is reported, up to the gradients; exact: by autograd."""
        of = mutant.definition
        if mutant.is_forward or "loss_and_error" in mutant.equations:
            forward = Definition(**mutant.equations | {"backward": lambda *_: {}})
            if not self.explains(flow(self.case, forward), self.flow & BEFORE):
                return False
            return self.has_slopes(forward) if exact else self.explains(flow(self.case, of))
        may_fit = "backward" in mutant.equations or not self.wrong & BEFORE
        return may_fit and self.explains(flow(self.case, of))

    def has_step(self, mutant: Mutant) -> bool:
        """Whether the mutant gives the reported step, from the reported gradients."""
        return self.explains(stepped(self.case, self.report, mutant.definition), self.stepped)

    def has_slopes(self, of: Definition) -> bool:
        """Whether the reported gradients are those of a forward pass.

        By complex steps in a few random directions, each in a network of its own.
        """
        inputs = present(self.case.params) | {"h_0": self.case.h_0}
        names = [name for name in inputs if "d" + name in self.flow]
        generator, copies, rows = np.random.default_rng(0), len(names) * DIRECTIONS, iter(range(10**6))
        stacked = {name: np.repeat(v[None].astype(complex), copies, 0) for name, v in inputs.items()}
        expected = list[tuple[str, float, float]]()
        for name, row in zip((n for n in names for _ in range(DIRECTIONS)), rows):
            direction = generator.normal(size=inputs[name].shape)
            stacked[name][row] += EPSILON * 1j * direction
            reported = float((self.report["d" + name] * direction).sum())
            expected.append(("d" + name, reported, float(np.abs(direction).sum())))
        h_0 = stacked.pop("h_0")
        case = self.case._replace(params=self.case.params._replace(**stacked), h_0=h_0)
        slopes = flow(case, of)["loss"].imag / EPSILON
        return all(
            abs(found - reported) <= size * self.allowed(name, self.report[name])
            for found, (name, reported, size) in zip(slopes, expected)
        )

    def explains(self, values: Arrays, names: Iterable[str] | None = None) -> bool:
        """Whether these are the reported numbers of these tensors, or of all up to the gradients."""
        for name in self.flow if names is None else names:
            if name not in values or np.shape(values[name]) != np.shape(self.report[name]):
                return False
            if not _largest(values[name] - self.report[name]) <= self.allowed(name, values[name]):
                return False
        return True

    def allowed(self, name: str, value: np.ndarray) -> float:
        """The difference between reported numbers and those of a mistake that explains them."""
        size = _largest(self.report[name])
        exact = EXACT * min(size, self.deviation[name])
        return max(exact, self.unit * max(size, _largest(value)) + self.unit / 50 * _largest(self.right[name]))


Candidates = Iterator[tuple[str, Callable[[Fit], bool]]]


def explanation(fits: Sequence[Fit]) -> str:
    """The hint for these reports, of one port or one run; "" if nothing fits."""
    if not all(np.isfinite(v).all() for fit in fits for v in fit.report.values()):
        return ""
    texts = list[str]()
    with np.errstate(all="ignore"):  # a wrong gradient may well overflow
        if any(fit.wrong & fit.flow for fit in fits):
            T, K = (max(len(getattr(fit.case, name)) for fit in fits) for name in ("x", "target"))
            text = _first(fits, factors(fits, False)) if T < 3 or K < 2 else ""
            texts.append(text or _first(fits, of_flow(fits), only=T < 3))
            asked = [fit for fit in fits if fit.stepped]
            is_own = all(fit.explains(stepped(fit.case, fit.right), fit.stepped) for fit in asked)
            if texts[0] and is_own and any(fit.wrong & fit.stepped for fit in fits):
                return f"{texts[0]}, as reported; the step has the right ones"
        if any(fit.wrong & fit.stepped for fit in fits):
            has_velocity = any(fit.case.velocity is not None for fit in fits)
            first_alone = fits[0].case.step.has_velocity and not has_velocity
            texts.append(_first(fits, of_step(fits), only=first_alone))
    return " and ".join(texts) if texts and all(texts) else ""


def _first(fits: Sequence[Fit], candidates: Candidates, only: bool = False) -> str:
    """The first mistake that explains all reports; only: if none of other words does."""
    texts = dict[str, None]()
    for text, explains in candidates:
        if text not in texts and all(_tried(explains, fit) for fit in fits):
            texts[text] = None
            if not only:
                break
    return next(iter(texts)) if len(texts) == 1 else ""


def _tried(explains: Callable[[Fit], bool], fit: Fit) -> bool:
    try:
        return explains(fit)
    except (LookupError, ValueError, AttributeError, TypeError):  # it does not apply to this case
        return False


def of_flow(fits: Sequence[Fit]) -> Candidates:
    """Mistakes that may explain the loss, the intermediates and the gradients."""
    steps = min(MAX_STEPS, max(len(fit.case.x) for fit in fits))
    is_right = not any(fit.wrong & BEFORE for fit in fits)  # the forward pass
    for mutant in chain((m for m in MUTANTS if not m.in_run), variants(steps)):
        if not mutant.is_forward:
            yield mutant.name, partial(Fit.has, mutant=mutant)
        elif not is_right:
            yield mutant.name, partial(Fit.has, mutant=mutant, exact=True)
            text = f"{mutant.name}, in the forward pass alone"
            yield text, partial(Fit.has, mutant=mutant)
    yield from factors(fits, False)


def of_step(fits: Sequence[Fit]) -> Candidates:
    """Mistakes that may explain the step from the reported gradients."""
    for mutant in chain((m for m in MUTANTS if not m.in_run), other_steps()):
        yield mutant.name, partial(Fit.has_step, mutant=mutant)
    yield from factors(fits, True)


# -- factors ------------------------------------------------------------------------------------


def factors(fits: Sequence[Fit], is_step: bool) -> Candidates:
    """Tensors multiplied by a number that is the same, or the same product of sizes, everywhere."""
    known = fits[0].stepped if is_step else fits[0].flow - {"a", "h", "y"}
    names = [name for name in fits[0].report if name in known]
    found, moved = dict[str, str](), {id(fit): dict(fit.right) for fit in fits}
    for name in names:
        if not any(name in fit.wrong for fit in fits):
            continue
        ratios = list[tuple[Fit, float]]()
        for fit in fits:
            before = getattr(fit.case.params, name, 0.0)
            reported, right = fit.report[name] - before, fit.right[name] - before
            if _largest(right) > fit.rounding[name]:
                ratio = float(np.sum(reported * right) / np.sum(right**2))
                ratio = 0.0 if _largest(reported) <= fit.rounding[name] else ratio
                ratios.append((fit, ratio))
                moved[id(fit)][name] = before + ratio * right
        found[name] = _factor(ratios, sum(fit.report[name].size for fit, _ in ratios))
        if not found[name]:
            return
    texts = list[str]()
    for part, members in {
        "loss": [name for name in names if name == "loss"],
        "gradients": [name for name in names if name[0] == "d"],
        "velocities": [name for name in names if name[0] == "v"],
        "step": [name for name in names if name in FIELDS],
    }.items():
        for text in dict.fromkeys(found[name] for name in members if name in found):
            same = [name for name in members if found.get(name) == text]
            words = ", ".join(same) if same != members else part
            texts.append(f"{'step of ' * (part == 'step' and same != members)}{words} × {text}")
    if found:
        yield ", ".join(texts), lambda fit: fit.explains(moved[id(fit)], names)


def _factor(ratios: Sequence[tuple[Fit, float]], numbers: int) -> str:
    """The number in words; "" if it differs between the cases, or may be chance."""
    rtol = max((1e-6 if fit.dtype == np.float64 else 1e-3 for fit, _ in ratios), default=0.0)
    tables = [(_products(fit), ratio) for fit, ratio in ratios]
    for text in tables[0][0] if tables else ():
        if all(np.isclose(table.get(text, np.nan), ratio, rtol, 1e-9) for table, ratio in tables):
            return text
    is_same = all(np.isclose(ratio, ratios[0][1], rtol, 0) for _, ratio in ratios)
    return format(ratios[0][1], ".6g") if is_same and numbers >= 4 * len(ratios) > 0 else ""


def _products(fit: Fit) -> dict[str, float]:
    """Usual factors, and products of up to three sizes, by their text; the simplest first."""
    sizes = {letter: case_sizes(fit.case)[letter] for letter in "KBOTH"}
    step: Step | None = fit.case.step
    known = {"0": 0.0, "-1": -1.0, "2": 2.0, "1/2": 0.5, "1/ln 2": 1 / np.log(2)}
    known["η"] = np.nan if step is None else float(step.learning_rate)
    powers = [each for each in product((1, -1, 0), repeat=len(sizes)) if 0 < np.abs(each).sum() <= 3]
    for each in sorted(powers, key=lambda each: (np.abs(each).sum(), each)):
        above, below = ("·".join(n for n, power in zip(sizes, each) if power == sign) for sign in (1, -1))
        divided = f"/({below})" if "·" in below else f"/{below}" if below else ""
        value = float(np.prod([size**power for size, power in zip(sizes.values(), each)]))
        known.setdefault((above or "1") + divided, value)
        known.setdefault((f"2·{above}" if above else "2") + divided, 2 * value)
    return known
