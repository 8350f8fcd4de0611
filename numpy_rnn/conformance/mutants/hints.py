"""Hints: what a wrong result resembles. A hint is not a verdict.

Mistakes are made from the definition (`window_mistakes`, `step_mistakes`), and tried on several cases. A hint gives the
wrong numbers of every tensor in all of them. The gradients are explained first, then the step from the reported ones.
Where all windows are so short that different mistakes give the same numbers, there is a hint only if one fits.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from itertools import chain, product
from typing import Any

import numpy as np

from numpy_rnn.common.conversion import convert
from numpy_rnn.common.records import WindowCase
from numpy_rnn.conformance import case as cases
from numpy_rnn.conformance.case import case_sizes, initial_state, present
from numpy_rnn.conformance.definition import Arrays
from numpy_rnn.conformance.mutants import step_mistakes, window_mistakes
from numpy_rnn.conformance.mutants.catalogue import MUTANTS
from numpy_rnn.conformance.mutants.step_mistakes import stepped
from numpy_rnn.conformance.mutants.window_mistakes import FORWARD, Mistake, exact_flow, flow
from numpy_rnn.conformance.ports.port import abilities, call_port
from numpy_rnn.conformance.random_cases import Recipe, restricted

EXACT = 1e-6  # the part of a deviation that a hint may leave
ROUNDING = 200.0  # units in the last place of the largest number, by which right tensors may differ
CLEAR = 30.0  # the deviation of a wrong tensor, in units of what right ones may differ
FEW = 4  # numbers per case, any of which are right numbers times some factor
MAX_STEPS = 30  # of a window that is compared with other truncations
BEFORE = {"loss", "a", "h", "y"}  # the backward pass
ADJOINTS = {"dy", "dh", "da", "dx"}  # which autograd does not give
SIZES = (
    {"T": 11, "B": 3, "D": 2, "H": 4, "O": 5, "K": 7},
    {"T": 7, "B": 2, "D": 3, "H": 5, "O": 4, "K": 4},
)
OTHER_NUMBERS = {  # of the step in the second case, as parts of the first: each tensor is clipped
    "learning_rate": 0.7, "momentum": 0.6, "dampening": 0.5, "weight_decay": 0.8, "max_norm": 0.001, "max_value": 0.1,
}  # fmt: skip


def hint_recipes(port: Any, recipe: Recipe) -> Iterator[Recipe]:
    """Recipes like this one, but with several steps: after another update; the first; with larger numbers."""
    has, step = abilities(port), recipe.step
    plain = recipe._replace(logits=1.0, saturated=False, silent=False, subnormal=False)
    plain = plain._replace(dtype="float64") if "float64" in port.dtypes else plain
    for i, usual in enumerate((*SIZES, SIZES[0])):
        own = has.sizes[i % len(has.sizes)] if has.sizes else {}
        sizes: dict[str, int] = (
            usual | {"T": max(recipe.T, usual["T"]) if i == 0 else usual["T"]} | dict(own)
        )
        sizes["K"] = own.get(
            "K", sizes["T"] if recipe.K == recipe.T else min(sizes["K"], sizes["T"])
        )
        if recipe.step is not None:  # a rate that is not 0; then other numbers, then no clipping
            step = recipe.step._replace(learning_rate=recipe.step.learning_rate or 0.1)
            given = {name: getattr(step, name) for name in OTHER_NUMBERS if getattr(step, name)}
            others = {
                name: OTHER_NUMBERS[name] * min(number, 1.0) for name, number in given.items()
            }
            large = {
                name: 1000.0 * number for name, number in given.items() if name.startswith("max")
            }
            step = step._replace(**({}, others, large)[i])
        changes: dict[str, Any] = {
            **sizes,
            "velocity": i != 1,
            "gain": 3.0 if i == 2 else 1.0,
            "seed": recipe.seed + i,
        }
        yield restricted(plain._replace(step=step, **changes), has)


def hints_for_port(port: Any, recipe: Recipe, timeout: float = 10.0) -> list[str]:
    """The hints for a port on cases like this one, but with several steps; on this one if it alone is wrong."""
    fits = list[Fit]()
    for each in (*hint_recipes(port, recipe), recipe):
        case = each.case()
        answers = [call_port(port, case, timeout)[0] for _ in range(1 if fits else 2)]
        if any(
            answer is None or cases.format_errors(case, answer, intermediates=False)
            for answer in answers
        ):
            return []
        report, again = answers[0], answers[-1]
        if not all(
            np.allclose(report[name], again[name], 1e-3, 1e-3)
            for name in report.keys() & again.keys()
        ):
            return [
                "it gives another answer to the same case, as if gradients or states were kept from call to call"
            ]
        fits.append(Fit(case, report))
    *usual, own = fits
    wrong = [fit for fit in usual if fit.wrong] or [own]
    return explanations([*wrong, *(fit for fit in usual if not fit.wrong)])


def _as_float64(value: Any) -> Any:
    return (
        value.astype(np.float64)
        if isinstance(value, np.ndarray) and value.dtype.kind == "f"
        else value
    )


def _largest(array: np.ndarray) -> float:
    return float(np.abs(array).max(initial=0))


class Fit:
    """A case and its report, and the right values of the same tensors, all in float64."""

    def __init__(self, case: WindowCase, report: Arrays):
        self.dtype, self.case = case.params.W_hh.dtype, convert(_as_float64, cases.with_rows(case))
        self.report = {name: np.asarray(value, np.float64) for name, value in report.items()}
        if self.case.params.h_0 is None:
            self.case = self.case._replace(h_0=initial_state(self.case))
        with np.errstate(all="ignore"):
            self.right = flow(self.case)
            step = stepped(self.case, self.report) if self.case.step is not None else {}
        self.right |= step  # from the reported gradients
        names, unit = self.report.keys() & self.right.keys(), ROUNDING * np.finfo(self.dtype).eps
        self.stepped, self.flow = step.keys() & names, names - step.keys()
        self.deviation = {name: _largest(self.report[name] - self.right[name]) for name in names}
        self.rounding = {
            name: unit * max(_largest(self.right[name]), _largest(self.report[name]))
            for name in names
        }
        self.wrong = {
            name for name in names if not self.deviation[name] <= CLEAR * self.rounding[name]
        }

    def has(self, mistake: Mistake) -> bool:
        """Whether the mistake gives what is reported, up to the gradients."""
        of, case = mistake.of, mistake.change(self.case)
        if mistake.field in (*FORWARD, "loss_and_error"):
            if not self.explains(
                flow(case, of._replace(backward=lambda *_: {})), self.flow & BEFORE
            ):
                return False
            if mistake.is_exact:
                return self.explains(exact_flow(case, of), self.flow - ADJOINTS)
        elif mistake.field and self.wrong & BEFORE:
            return False
        return self.explains(flow(case, of))

    def has_step(self, mistake: Mistake) -> bool:
        """Whether the mistake gives the reported step, from the reported gradients."""
        return self.explains(
            stepped(mistake.change(self.case), self.report, mistake.of), self.stepped
        )

    def explains(self, values: Arrays, names: Collection[str] | None = None) -> bool:
        """Whether these are the reported numbers of the tensors of these names, or of all up to the gradients."""
        for name in self.flow if names is None else names:
            if name not in values or np.shape(values[name]) != np.shape(self.report[name]):
                return False
            allowed = max(EXACT * self.deviation[name], self.rounding[name])
            if not _largest(values[name] - self.report[name]) <= allowed:
                return False
        return True


Candidates = Iterator[tuple[str, Callable[[Fit], bool]]]


def explanations(fits: Sequence[Fit]) -> list[str]:
    """The hint for these reports, of one port or one run; none, or one."""
    if not all(np.isfinite(v).all() for fit in fits for v in fit.report.values()):
        return []
    texts, has_velocity = list[str](), any(fit.case.velocity is not None for fit in fits)
    with np.errstate(all="ignore"):  # a wrong gradient may well overflow
        if any(fit.wrong & fit.flow for fit in fits):
            T, K = (max(len(getattr(fit.case, name)) for fit in fits) for name in ("x", "target"))
            text = _first(fits, factors(fits, False)) if T < 3 or K < 2 else ""
            is_still = not any(
                _largest(fit.report["dW_hy"]) for fit in fits
            )  # loss weights that are 0, say
            texts.append(text or _first(fits, of_flow(fits), only=T < 3 or is_still))
            is_own = all(
                fit.explains(stepped(fit.case, fit.right), fit.stepped)
                for fit in fits
                if fit.stepped
            )
            if texts[0] and is_own and any(fit.wrong & fit.stepped for fit in fits):
                return [f"{texts[0]}, as reported; the step has the right ones"]
        if any(fit.wrong & fit.stepped for fit in fits):
            texts.append(
                _first(
                    fits, of_step(fits), only=fits[0].case.step.has_velocity and not has_velocity
                )
            )
    return [" and ".join(texts)] if texts and all(texts) else []


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
    """Mistakes that may explain the loss, the intermediates and the gradients; the plainest first."""
    steps = min(MAX_STEPS, max(len(fit.case.x) for fit in fits))
    is_right = "loss" in fits[0].report and not any(
        fit.wrong & BEFORE for fit in fits
    )  # the forward pass
    yield from (
        (m.name, partial(Fit.has, mistake=Mistake(m.name, m.definition)))
        for m in MUTANTS
        if not m.in_run
    )
    yield from of_gradients(fits)
    for mistake in chain(
        step_mistakes.other_cases(),
        window_mistakes.transposes(),
        window_mistakes.other_terms(),
        step_mistakes.other_losses(),
        window_mistakes.truncations(steps),
        window_mistakes.other_operands(),
        window_mistakes.other_functions(),
        window_mistakes.other_results(),
    ):
        if not (is_right and mistake.field in FORWARD):
            yield mistake.text, partial(Fit.has, mistake=mistake)
    yield from factors(fits, False)


def of_gradients(fits: Sequence[Fit]) -> Candidates:
    """Other sums or values of some gradients."""
    names = set[str]().union(*(fit.wrong & fit.flow for fit in fits))
    own = {"d" + name for name in present(fits[0].case.params)}
    words = (
        "gradients" if names == own else ", ".join(name for name in fits[0].report if name in names)
    )

    def other(fit: Fit, text: str) -> bool:
        return fit.explains(fit.right | {name: known[id(fit)][text][name] for name in names})

    if names <= own:
        known = {id(fit): step_mistakes.other_gradients(fit.case, fit.right) for fit in fits}
        yield from ((f"{words} {text}", partial(other, text=text)) for text in known[id(fits[0])])


def of_step(fits: Sequence[Fit]) -> Candidates:
    """Mistakes that may explain the step from the reported gradients."""
    step = fits[0].case.step
    known = chain(
        (Mistake(m.name, m.definition) for m in MUTANTS), step_mistakes.other_options(step)
    )
    yield from ((mistake.text, partial(Fit.has_step, mistake=mistake)) for mistake in known)
    yield from factors(fits, True, only_products=True)
    yield from ((m.text, partial(Fit.has_step, mistake=m)) for m in step_mistakes.other_steps(step))
    yield from factors(fits, True)


# -- factors ----------------------------------------------------------------------------------------------------------


def factors(fits: Sequence[Fit], is_step: bool, only_products: bool = False) -> Candidates:
    """Tensors multiplied by numbers that are the same product of sizes, or the same number, in all cases."""
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
                is_zero = _largest(reported) <= fit.rounding[name]
                ratios.append(
                    (fit, 0.0 if is_zero else float(np.sum(reported * right) / np.sum(right**2)))
                )
                moved[id(fit)][name] = before + ratios[-1][1] * right
        found[name] = _factor(
            ratios, 0 if only_products else sum(fit.report[name].size for fit, _ in ratios)
        )
        if not found[name]:
            return
    texts = list[str]()
    for part, members in {
        "loss": [name for name in names if name == "loss"], "step": [name for name in names if name in cases.FIELDS],
        "gradients": [name for name in names if name[0] == "d"], "velocities": [n for n in names if n[0] == "v"],
    }.items():  # fmt: skip
        for text in dict.fromkeys(found[name] for name in members if name in found):
            same = [name for name in members if found.get(name) == text]
            texts.append(f"{part if same == members else ', '.join(same)} × {text}")
    if found:
        yield ", ".join(texts), lambda fit: fit.explains(moved[id(fit)], names)


def _factor(ratios: Sequence[tuple[Fit, float]], count: int) -> str:
    """The number in words; "" if it differs between the cases, or may be chance."""
    rtol = max((1e-6 if fit.dtype == np.float64 else 1e-3 for fit, _ in ratios), default=0.0)
    tables = [(_products(fit), ratio) for fit, ratio in ratios]
    texts = [text for text in (tables[0][0] if tables else ())
             if all(np.isclose(table.get(text, np.nan), ratio, rtol, 1e-9) for table, ratio in tables)]  # fmt: skip
    if texts:  # a size may be 2 in all cases
        plain = [text for text in texts if text.removeprefix("1/") in (*"2KBOTH", "Σw")]
        return " or ".join(plain) if texts[0] in ("2", "1/2") else texts[0]
    is_one = count >= FEW * len(ratios) and all(
        np.isclose(ratio, ratios[0][1], rtol, 0) for _, ratio in ratios
    )
    return format(ratios[0][1], ".6g") if ratios and is_one else ""


def _products(fit: Fit) -> dict[str, float]:
    """Products of up to three sizes, and other usual factors, by their text; the simplest first."""
    sizes: dict[str, float] = {name: case_sizes(fit.case)[name] for name in "KBOTH"}
    if fit.case.weights is not None:
        sizes["Σw"] = float(fit.case.weights.sum())
    rate = np.nan if fit.case.step is None else float(fit.case.step.learning_rate)
    known = {"0": 0.0, "-1": -1.0, "2": 2.0, "1/2": 0.5, "1/ln 2": 1 / np.log(2), "η": rate}
    powers = (
        each for each in product((1, -1, 0), repeat=len(sizes)) if 0 < np.abs(each).sum() <= 3
    )
    for each in sorted(powers, key=lambda each: (np.abs(each).sum(), each)):
        above, below = [
            "·".join(n for n, power in zip(sizes, each) if power == sign) for sign in (1, -1)
        ]
        divided = f"/({below})" if "·" in below else f"/{below}" if below else ""
        value = float(np.prod([size**power for size, power in zip(sizes.values(), each)]))
        known.setdefault((above or "1") + divided, value)
        known.setdefault((f"2·{above}" if above else "2") + divided, 2 * value)
    return known
