"""Hints: what a wrong port looks like. A hint is a mutant, a factor or a truncation, not a verdict.

It gives the wrong numbers of every tensor in several cases. The gradients are explained first, then
the step from the reported ones. Where all windows are so short that different mistakes give the
same numbers, there is a hint only if one fits.

Every update of a run is a case of its own, and a hint explains all that are looked at. Other
mistakes are in its windows, its initial states, and in what goes from one update to the next.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain, product
from typing import Any

import numpy as np

from numpy_rnn.common.records import NumpyArray, Window, tree_map
from numpy_rnn.conformance.arithmetics.floats import Floats
from numpy_rnn.conformance.case import (
    FIELDS,
    WindowCase,
    case_sizes,
    format_errors,
    initial_state,
    leading_axes,
    present,
    with_rows,
)
from numpy_rnn.conformance.definition import DEFINITION, Arrays, Definition, update, window_update
from numpy_rnn.conformance.judge import Divergence, single_update
from numpy_rnn.conformance.mutants.catalogue import (
    MUTANTS,
    STEP_FIELDS,
    STEPS,
    Equation,
    Mutant,
    variants,
)
from numpy_rnn.conformance.ports.port import Port, abilities, call_port
from numpy_rnn.conformance.ports.protocol import PortFault
from numpy_rnn.conformance.random_cases import Recipe, restricted
from numpy_rnn.conformance.runs import RecordedRun

EXACT = 1e-10  # the part of the numbers that a hint may leave, in float64
ROUNDING = 200.0  # units in the last place of the largest number, by which right tensors may differ
CLEAR = 30.0  # the deviation of a wrong tensor, in units of what right ones may differ
MAX_STEPS = 30  # of a window that is compared with other truncations
DIRECTIONS = 3  # in which the derivative of a forward pass is computed, for each parameter
EPSILON = 1e-50  # of the complex step
MANY = 12  # updates that are looked at
BEFORE = {"loss", "a", "h", "y"}  # the backward pass
SIZES = (
    {"T": 11, "B": 3, "D": 2, "H": 4, "O": 5, "K": 7},
    {"T": 7, "B": 2, "D": 3, "H": 5, "O": 4, "K": 4},
)
PLAIN = {"logits": 1.0, "saturated": False, "silent": False, "subnormal": False}
KEPT = "another answer to the same case, as if gradients or states were kept from call to call"


def hint_recipes(port: Port, recipe: Recipe) -> Iterator[Recipe]:
    """Recipes like this one, of several steps: after another update; the first; large numbers.

    The second has other options of the step, and clips every tensor; the third clips nothing.
    """
    has, step = abilities(port), recipe.step
    dtype = "float64" if "float64" in port.dtypes else recipe.dtype
    for i, usual in enumerate((*SIZES, SIZES[0])):
        own = has.sizes[i % len(has.sizes)] if has.sizes else {}
        sizes = usual | {"T": max(recipe.T, usual["T"]) if i == 0 else usual["T"]} | dict(own)
        every = sizes["T"] if recipe.K == recipe.T else min(sizes["K"], sizes["T"])
        sizes["K"] = own.get("K", every)
        if recipe.step is not None:
            step, rate = recipe.step, recipe.step.learning_rate or 0.1
            given = {n: v for n, v in step._asdict().items() if v and not isinstance(v, bool)}
            given["learning_rate"] = rate
            others = {name: 1e-3 if name == "max_norm" else 0.6 for name in given}
            factor = ({}, others, {"max_norm": 1e3, "max_value": 1e3})[i]
            step = step._replace(**{n: v * factor.get(n, 1.0) for n, v in given.items()})
        changes: dict[str, Any] = {
            "velocity": i != 1,
            "gain": 3.0 if i == 2 else 1.0,
            "seed": recipe.seed + i,
        }
        changed = recipe._replace(step=step, dtype=dtype, **PLAIN | sizes | changes)
        yield restricted(changed, has)


def hint_for_port(port: Port, recipe: Recipe | None, case: WindowCase) -> str:
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


def _as_float64(value: NumpyArray) -> NumpyArray:
    return value.astype(np.float64) if value.dtype.kind == "f" else value


def _largest(array: NumpyArray) -> float:
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
        self.dtype, rows = case.dtype, with_rows(case)._replace(h_0=initial_state(case))
        arrays: dict[str, Any] = {
            name: _as_float64(getattr(rows, name)) for name in ("x", "target", "h_0")
        }
        velocity = None if rows.velocity is None else tree_map(_as_float64, rows.velocity)
        params = tree_map(_as_float64, rows.params)
        self.case = rows._replace(params=params, velocity=velocity, **arrays)
        self.report = {name: np.asarray(value, np.float64) for name, value in report.items()}
        with np.errstate(all="ignore"):
            self.right = flow(self.case)
            step = stepped(self.case, self.report) if self.case.step is not None else {}
        self.right |= step  # from the reported gradients
        known = self.report.keys() & self.right.keys()
        self.stepped, self.flow = step.keys() & known, known - step.keys()
        T, B, H = (case_sizes(case)[letter] for letter in "TBH")
        self.unit = ROUNDING * np.finfo(self.dtype).eps * max(1.0, (T * B * H / 100) ** 0.5)
        self.wrong = {name for name in known if self.deviation(name) > CLEAR}

    def deviation(self, name: str) -> float:
        """The deviation of a reported tensor, in units of what right ones may differ."""
        size = max(_largest(self.right[name]), _largest(self.report[name]))
        return _largest(self.report[name] - self.right[name]) / (self.unit * size or 1.0)

    def has(self, mutant: Mutant, by_autograd: bool = False) -> bool:
        """Whether the mutant gives what is reported, up to the gradients."""
        equations = mutant.equations
        if mutant.is_forward or "loss_and_error" in equations:
            forward = Definition(**equations | {"backward": lambda *_: {}})
            if not self.explains(flow(self.case, forward), self.flow & BEFORE):
                return False
            if by_autograd:
                return self.has_slopes(forward)
        elif "backward" not in equations and self.wrong & BEFORE:
            return False
        return self.explains(flow(self.case, mutant.definition), self.flow)

    def has_step(self, mutant: Mutant) -> bool:
        """Whether the mutant gives the reported step, from the reported gradients."""
        return self.explains(stepped(self.case, self.report, mutant.definition), self.stepped)

    def has_slopes(self, of: Definition) -> bool:
        """Whether the reported gradients are those of a forward pass.

        By complex steps in a few random directions, each in a network of its own.
        """
        inputs, generator = (
            present(self.case.params) | {"h_0": self.case.h_0},
            np.random.default_rng(0),
        )
        names = [name for name in inputs if "d" + name in self.flow] * DIRECTIONS
        moved = {n: np.repeat(v[None].astype(complex), len(names), 0) for n, v in inputs.items()}
        directions = [generator.normal(size=inputs[name].shape) for name in names]
        for row, (name, direction) in enumerate(zip(names, directions)):
            moved[name][row] += EPSILON * 1j * direction
        h_0 = moved.pop("h_0")
        case = self.case._replace(params=self.case.params._replace(**moved), h_0=h_0)
        slopes = flow(case, of)["loss"].imag / EPSILON
        return all(
            abs(slope - (self.report["d" + name] * direction).sum())
            <= np.abs(direction).sum() * self.allowed("d" + name, self.report["d" + name])
            for slope, name, direction in zip(slopes, names, directions)
        )

    def explains(self, values: Arrays, names: Iterable[str]) -> bool:
        """Whether these are the reported numbers of these tensors."""
        return all(
            np.shape(values[name]) == np.shape(self.report[name])
            and np.isfinite(values[name]).all()  # else anything would be allowed
            and _largest(values[name] - self.report[name]) <= self.allowed(name, values[name])
            for name in names
        )

    def allowed(self, name: str, value: NumpyArray) -> float:
        """The difference between reported numbers and those of a mistake that explains them."""
        size, right = _largest(self.report[name]), _largest(self.right[name])
        wrong = _largest(self.report[name] - self.right[name])
        rounding = self.unit * max(size, _largest(value)) + self.unit / 50 * right
        return max(EXACT * min(size, wrong), rounding)


Candidates = Iterator[tuple[str, Callable[[Fit], bool]]]


def explanation(fits: Sequence[Fit]) -> str:
    """The hint for these reports, of one port or one run; "" if nothing fits."""
    if not all(np.isfinite(v).all() for fit in fits for v in fit.report.values()):
        return ""
    texts, case = list[str](), fits[0].case
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
            texts.append(_first(fits, of_step(fits), case.step.has_velocity and not has_velocity))
    return " and ".join(texts) if texts and all(texts) else ""


def _first(fits: Sequence[Fit], candidates: Candidates, only: bool = False) -> str:
    """The first mistake that explains all reports; only: if none of other words does."""
    texts = dict[str, None]()
    for text, explains in candidates:
        try:
            if text not in texts and all(map(explains, fits)):
                texts[text] = None
        except (LookupError, ValueError, AttributeError, TypeError):
            continue  # it does not apply to this case
        if texts and not only:
            break
    return next(iter(texts)) if len(texts) == 1 else ""


def of_flow(fits: Sequence[Fit]) -> Candidates:
    """Mistakes that may explain the loss, the intermediates and the gradients."""
    steps = min(MAX_STEPS, max(len(fit.case.x) for fit in fits))
    is_right = not any(fit.wrong & BEFORE for fit in fits)  # the forward pass
    for mutant in chain((m for m in MUTANTS if not m.in_run), variants(steps)):
        if not mutant.is_forward:
            yield mutant.name, partial(Fit.has, mutant=mutant)
        elif not is_right:
            yield mutant.name, partial(Fit.has, mutant=mutant, by_autograd=True)
            yield f"{mutant.name}, in the forward pass alone", partial(Fit.has, mutant=mutant)
    yield from factors(fits, False)


def of_step(fits: Sequence[Fit]) -> Candidates:
    """Mistakes that may explain the step from the reported gradients."""
    known = (m for m in MUTANTS if m.equations.keys() & {*STEP_FIELDS})
    for mutant in chain(known, STEPS):
        yield mutant.name, partial(Fit.has_step, mutant=mutant)
    yield from factors(fits, True)


def factors(fits: Sequence[Fit], is_step: bool) -> Candidates:
    """Tensors times a number that is the same, or the same product of sizes, in all cases."""
    known = fits[0].stepped if is_step else fits[0].flow - {"a", "h", "y"}
    wrong = set[str]().union(*(fit.wrong for fit in fits))
    names = [name for name in fits[0].report if name in known]
    ratios, moved = dict[str, list[float]](), {id(fit): dict(fit.right) for fit in fits}
    for name in (name for name in names if name in wrong):
        ratios[name] = []
        for fit in fits:
            before = getattr(fit.case.params, name, 0.0)  # a step is a change
            reported, right = fit.report[name] - before, fit.right[name] - before
            ratio = np.nan
            if _largest(right) > fit.unit * _largest(fit.right[name]):
                is_zero = _largest(reported) <= fit.unit * _largest(fit.report[name])
                ratio = 0.0 if is_zero else float(np.sum(reported * right) / np.sum(right**2))
                moved[id(fit)][name] = before + ratio * right
            ratios[name].append(ratio)
    found = {name: _factor(fits, ratios[name], fits[0].report[name].size) for name in ratios}
    groups = {"loss": {"loss"}, "step": {*FIELDS}} | {
        words: {prefix + name for name in FIELDS}
        for words, prefix in (("gradients", "d"), ("velocities", "v"))
    }
    texts = list[str]()
    for words, members in groups.items():
        for text in dict.fromkeys(found[name] for name in found if name in members):
            same = [name for name in found if name in members and found[name] == text]
            is_all = {*same} == {name for name in names if name in members}
            one = "step of " * (words == "step") + ", ".join(same)
            texts.append(f"{words if is_all else one} × {text}")
    if found and all(found.values()):
        yield ", ".join(texts), lambda fit: fit.explains(moved[id(fit)], names)


def _factor(fits: Sequence[Fit], ratios: Sequence[float], size: int) -> str:
    """The number in words; "" if it differs between the cases, or may be chance."""
    rtol = max(1e-6 if fit.dtype == np.float64 else 1e-3 for fit in fits)
    pairs = [(_products(fit), ratio) for fit, ratio in zip(fits, ratios) if not np.isnan(ratio)]
    for text in pairs[0][0] if pairs else ():
        if all(np.isclose(table[text], ratio, rtol, 1e-9) for table, ratio in pairs):
            return text
    is_same = all(np.isclose(ratio, pairs[0][1], rtol, 0) for _, ratio in pairs)
    return format(pairs[0][1], ".6g") if pairs and is_same and size >= 4 else ""


def _products(fit: Fit) -> dict[str, float]:
    """Usual factors, and products of up to three sizes, by their text; the simplest first."""
    sizes = {letter: case_sizes(fit.case)[letter] for letter in "KBOTH"}
    rate = np.nan if fit.case.step is None else float(fit.case.step.learning_rate)
    known = {"0": 0.0, "-1": -1.0, "2": 2.0, "1/2": 0.5, "1/ln 2": 1 / np.log(2), "η": rate}
    powers = [each for each in product((1, -1, 0), repeat=5) if 0 < np.abs(each).sum() <= 3]
    for each in sorted(powers, key=lambda each: (np.abs(each).sum(), each)):
        above, below = ("·".join(n for n, k in zip(sizes, each) if k == sign) for sign in (1, -1))
        divided = f"/({below})" if "·" in below else f"/{below}" if below else ""
        value = float(np.prod([size**k for size, k in zip(map(float, sizes.values()), each)]))
        known[(above or "1") + divided] = value
        known[(f"2·{above}" if above else "2") + divided] = 2 * value
    return known


# -- runs -----------------------------------------------------------------------------------------

LOOP_MUTANTS = {mutant.name: mutant.equations for mutant in MUTANTS if mutant.in_run}
WINDOWS: dict[str, Equation] = {
    **{name: each["window"] for name, each in LOOP_MUTANTS.items() if "window" in each},
    "windows of all steps so far": lambda T, new, k1, k2: DEFINITION.window(T, new, k1, T),
    "losses of older steps counted again": lambda *given: (
        lambda w: Window(w.start, w.start, w.stop))(DEFINITION.window(*given)),
    "windows overlap by one step": lambda *given: (
        lambda w, new: Window(min(w.start, new), new, w.stop)
    )(DEFINITION.window(*given), max(given[1] - 1, 0)),
    "windows start a step late": lambda *given: (
        lambda w, start: Window(start, max(w.loss_start, start), w.stop)
    )(w := DEFINITION.window(*given), w.start + (w.start > 0)),
}  # fmt: skip
STATES: dict[str, Equation] = {  # of the latest states by step, the window and the epoch
    "zeros for h_0": lambda h, w, epoch: h[w.start] * (w.start > 0),
    "state reset at every window, to h_0": lambda h, w, epoch: h[0],
    "state set to zero after the first epoch": lambda h, w, epoch: (
        h[w.start] * (w.start > 0 or epoch == 1)
    ),
    **{name: each["carried_state"] for name, each in LOOP_MUTANTS.items()
       if [*each] == ["carried_state"]},
    "the newest state, also at step 0": lambda h, w, epoch: h[w.loss_start],
    "the state of the sequence before": lambda h, w, epoch: (
        np.roll(h[w.start], 1, -2) if w.start else h[0]
    ),
    "the state one step early": lambda h, w, epoch: h[max(w.start - 1, 0)],
    "the state one step late": lambda h, w, epoch: h[w.start + 1 if w.start else 0],
}  # fmt: skip


def hint_for_run(recorded: RecordedRun, first: Divergence) -> str:
    """The hint for a run whose first divergence is this one; "" if nothing fits."""
    if first.tensor == "window":
        return _windows(recorded)
    updates = Updates(recorded, first.element[: leading_axes(recorded.run.params)])
    index, number = recorded.update_index(first), len(updates.number)
    with np.errstate(all="ignore"):
        if first.tensor == "initial":
            return updates.initial_states()
        near = range(max(0, index - 2), min(number, index + MANY - 4))
        chosen = sorted({index, *near, 0, number - 1})
        fits = [updates.fit(i) for i in chosen]
        wrong, others = (
            [f for f in fits if bool(f.wrong) == is_wrong] for is_wrong in (True, False)
        )
        if found := explanation([*wrong[:4], *others[:2]]):
            return found
        loops = _loops(updates)
        return next((text for text, explains in loops if all(map(explains, chosen))), "")


def _windows(recorded: RecordedRun) -> str:
    """The schedule of which all windows of the run are."""
    run, T = recorded.run, len(recorded.run.x)
    rows = list(zip(*(recorded.updates[name].tolist() for name in Window._fields)))
    expected = [*map(tuple, recorded.windows)]
    others = {"the last, shorter window left out": expected[: T // run.options.schedule.k1]}
    others["the last window left out"] = expected[:-1]
    for text, window in WINDOWS.items():
        others[text] = [*map(tuple, RecordedRun(run, {}, Definition(window=window)).windows)]
    for text, windows in others.items():
        if windows != expected and rows == (windows * run.options.schedule.epochs)[: len(rows)]:
            return text
    is_other_order = sorted(rows[: len(expected)]) == sorted(expected) != rows[: len(expected)]
    return "windows in another order" if is_other_order else ""


class Updates:
    """The updates of one network of a run."""

    def __init__(self, recorded: RecordedRun, network: tuple[int, ...]):
        self.recorded, self.network, self.known = recorded, network, dict[int, Fit]()
        self.number, self.epoch = (recorded.updates[name] for name in ("number", "epoch"))

    def fit(self, index: int) -> Fit:
        """An update and its right values."""
        if index not in self.known:
            self.known[index] = Fit(*single_update(self.recorded, index, self.network))
        return self.known[index]

    def initial_states(self) -> str:
        """The way to choose initial states of which those of all updates are."""
        run, columns = self.recorded.run, self.recorded.updates
        place: Any = (slice(None), *self.network)
        initial = columns["initial"][place].astype(np.float64)
        states: dict[int, NumpyArray] = {0: np.broadcast_to(run.h_0, initial[0].shape)}
        fitting, eps = dict(STATES), ROUNDING * np.finfo(run.params.W_hh.dtype).eps
        for i, epoch in enumerate(self.epoch):
            window = Window(*(int(columns[name][i]) for name in Window._fields))
            for text, state in [*fitting.items()]:
                try:
                    found = state(states, window, epoch)
                except LookupError:
                    found = np.nan
                if not np.allclose(initial[i], found, 0, eps):
                    del fitting[text]
            fit = self.fit(i)
            states |= dict(enumerate(fit.report.get("h", fit.right["h"]), window.start + 1))
        return next(iter(fitting), "")


def _loops(updates: Updates) -> Iterator[tuple[str, Callable[[int], bool]]]:
    """Mistakes in what goes from update to update: words, and whether they explain an update."""
    run, columns = updates.recorded.run, updates.recorded.updates
    number, epoch, fit = updates.number, updates.epoch, updates.fit

    def is_same(i: int, values: Arrays) -> bool:
        """Whether these are the reported values, and the step is that of the reported gradients."""
        return fit(i).explains(values, fit(i).flow) and not fit(i).wrong & fit(i).stepped

    def of_run(changed: RecordedRun, i: int) -> bool:
        return is_same(i, Fit(*single_update(changed, i, updates.network)).right)

    older = updates.recorded._replace(updates=columns | {"loss_start": columns["start"]})
    yield "losses of older steps counted again", partial(of_run, older)
    for name, words in (("target", "targets"), ("x", "inputs")):
        for by, when in ((1, "late"), (-1, "early")):
            moved = run._replace(**{name: np.roll(getattr(run, name), by, 0)})
            yield f"{words} one step {when}", partial(of_run, updates.recorded._replace(run=moved))

    def is_reset_every(period: int, phase: int, i: int) -> bool:
        return (i + phase) % period == 0

    def added(is_reset: Callable[[int], bool], i: int) -> bool:
        """Whether the gradients are added to those of the update before."""
        before = {} if i == 0 or is_reset(i) else fit(i - 1).report
        names = ["d" + name for name in present(fit(i).case.params)]
        sums = {name: fit(i).right[name] + before.get(name, 0) for name in names}
        return is_same(i, fit(i).right | sums)

    yield "gradients add up from update to update", partial(added, lambda i: False)
    yield "gradients add up within an epoch", partial(added, lambda i: number[i] == 1)
    for period, phase in ((2, 0), (2, 1), (3, 0), (3, 1), (3, 2)):
        reset = partial(added, partial(is_reset_every, period, phase))
        yield f"gradients set to zero at every {period}th update alone", reset

    def former_weights(i: int) -> bool:
        return is_same(i, flow(fit(i).case._replace(params=fit(max(0, i - 1)).case.params)))

    def keeps_activations(i: int) -> bool:
        """Whether the older steps have the activations of the window before."""
        old, a = len(fit(i).case.x) - len(fit(i).case.target), fit(i).report.get("a")
        if not fit(i).wrong or number[i] == 1 or not old or a is None:
            return not fit(i).wrong
        moved = columns["start"][i] - columns["start"][i - 1]
        return np.array_equal(a[:old], fit(i - 1).report["a"][moved : moved + old])

    def is_step(i: int, gradients: Arrays, **changes: Any) -> bool:
        """Whether the step is another one, and the rest right."""
        values = stepped(fit(i).case._replace(**changes), gradients)
        return not fit(i).wrong & fit(i).flow and fit(i).explains(values, fit(i).stepped)

    def reset_velocity(i: int) -> bool:
        velocity = fit(i).case.velocity if number[i] > 1 else None
        return is_step(i, fit(i).report, velocity=velocity)

    def at_rate(factor: Callable[[int], float], i: int) -> bool:
        step = fit(i).case.step
        rate = step.learning_rate * float(factor(i))
        return is_step(i, fit(i).report, step=step._replace(learning_rate=rate))

    yield "the weights of the update before", former_weights
    yield "activations of stale weights kept", keeps_activations
    yield "the velocity, or sum of squares, reset at every epoch", reset_velocity
    factors: dict[str, Callable[[int], float]] = {
        "the rate divided by the number of the epoch": lambda i: 1 / epoch[i],
        "no step at the first update": lambda i: i > 0,
        "a step at every second update alone": lambda i: i % 2,
        "a step at the last update of an epoch alone": lambda i: np.append(number[1:] == 1, 1)[i],
    }
    for c in (0.5, 0.1, 0.9, 0.95, 0.99, 0.999):
        factors[f"the rate × {c:g} at every epoch"] = partial(lambda c, i: c ** (epoch[i] - 1.0), c)
        factors[f"the rate × {c:g} at every update"] = partial(lambda c, i: c ** float(i), c)
    yield from ((text, partial(at_rate, factor)) for text, factor in factors.items())
