"""Hints: what a wrong port looks like. A hint is a mutant, a factor or a truncation,
not a verdict.

It gives the wrong numbers of every tensor in several cases: of the gradients, or where
they are right, of the step. A forward mutant gives those of the forward pass, as the
gradients may be those of autograd. Every update of a run is a case of its own; other
mistakes are in its windows, its initial states, and in what goes from one update to the
next.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain, pairwise, product
from typing import Any

import numpy as np

from numpy_rnn.common.records import NumpyArray, Window, tree_map
from numpy_rnn.conformance import case as cases
from numpy_rnn.conformance.arithmetics.floats import Floats
from numpy_rnn.conformance.case import FIELDS, WindowCase, present
from numpy_rnn.conformance.definition import (
    DEFINITION,
    Arrays,
    Definition,
    update,
    window_update,
)
from numpy_rnn.conformance.findings import Finding
from numpy_rnn.conformance.judge import single_update
from numpy_rnn.conformance.mutants.catalogue import (
    FORWARD,
    LOOPS,
    STEPS,
    Mutant,
    window_mutants,
)
from numpy_rnn.conformance.ports.abilities import stated_by
from numpy_rnn.conformance.ports.port import Port, call_port
from numpy_rnn.conformance.ports.protocol import PortFault
from numpy_rnn.conformance.random_cases import PLAIN, Recipe, restricted
from numpy_rnn.conformance.runs import RecordedRun

EXACT = 1e-10  # the part of the numbers that a hint may leave, in float64
# units in the last place of the largest number, by which right tensors may differ
ROUNDING = 200.0
CLEAR = 30.0  # the deviation of a wrong tensor, in units of what right ones may differ
MAX_STEPS = 30  # of a window that is compared with other truncations
MANY = 12  # updates that are looked at
BEFORE = {"loss", "a", "h", "y"}  # the backward pass
SIZES = [
    dict(zip("TBDHOK", sizes)) for sizes in ((11, 3, 2, 4, 5, 7), (7, 2, 3, 5, 4, 4))
]
Candidate = tuple[str, Callable[[Any], bool]]  # words, and whether they explain a Fit
KEPT = (
    "another answer to the same case: noise, or gradients or states kept from "
    "call to call"
)


def hint_recipes(port: Port, recipe: Recipe) -> Iterator[Recipe]:
    """Recipes like this one, of several steps: after another update; the first; large
    numbers.

    The second has other options of the step, and clips every tensor; the third clips
    nothing.
    """
    has, step = stated_by(port), recipe.step
    dtype = "float64" if "float64" in port.dtypes else recipe.dtype
    for i, usual in enumerate((*SIZES, SIZES[0])):
        own = dict(has.sizes[i % len(has.sizes)]) if has.sizes else {}
        T = max(recipe.T, usual["T"]) if i == 0 else usual["T"]
        sizes: dict[str, Any] = usual | {"T": T} | own
        sizes["K"] = own.get(
            "K", sizes["T"] if recipe.K == recipe.T else min(7, sizes["T"])
        )
        if recipe.step is not None:
            usual_step = recipe.step._replace(
                learning_rate=recipe.step.learning_rate or 0.1
            )
            given = {
                n: v for n, v in usual_step._asdict().items() if v and v is not True
            }
            others = dict.fromkeys(given, 0.6) | {"max_norm": 1e-3}
            factor = ({}, others, {"max_norm": 1e3, "max_value": 1e3})[i]
            step = usual_step._replace(
                **{n: v * factor.get(n, 1.0) for n, v in given.items()}
            )
        changed = recipe._replace(
            **PLAIN, **sizes, velocity=i != 1, gain=3.0 if i == 2 else 1.0
        )
        yield restricted(
            changed._replace(step=step, dtype=dtype, seed=recipe.seed + i), has
        )


def hint_for_port(port: Port, recipe: Recipe | None, case: WindowCase) -> str:
    """The hint for a port that is wrong on this case, of this recipe; "" if nothing
    fits.
    """
    others = (
        ()
        if recipe is None
        else tuple(each.case() for each in hint_recipes(port, recipe))
    )
    fits = list[Fit]()
    for each in (*others, case):
        try:
            report, again = call_port(port, each), call_port(port, each)
        except PortFault:
            return ""
        if any(cases.format_errors(each, given, False) for given in (report, again)):
            return ""
        if not all(
            np.allclose(report[name], again[name], 1e-3, 1e-3) for name in report
        ):
            return KEPT
        fits.append(Fit(each, report))
    *usual, own = fits
    wrong = [fit for fit in usual if fit.wrong] or [own]
    return explanation([*wrong, *(fit for fit in usual if not fit.wrong)])


def _largest(array: NumpyArray) -> float:
    return float(np.abs(array).max(initial=0))


class Fit:
    """A case and its report, and the right values of the same tensors, all
    in float64.
    """

    def __init__(self, case: WindowCase, report: Arrays):
        self.step, rows = case.step, cases.with_rows(case)
        arrays = (
            rows.params,
            rows.velocity,
            rows.x,
            rows.target,
            cases.initial_state(case),
        )
        params, velocity, *series = tree_map(
            lambda array: array.astype(np.float64), arrays
        )
        self.case = WindowCase(params, *series, case.objective, None, velocity)  # type: ignore
        self.report = {
            name: np.asarray(value, np.float64) for name, value in report.items()
        }
        with np.errstate(all="ignore"):
            self.right = window_update(self.case)
            step = self.step_of(DEFINITION) if self.step is not None else {}
        self.right |= step  # from the reported gradients
        known = self.report.keys() & self.right.keys()
        self.stepped, self.flow = step.keys() & known, known - step.keys()
        self.eps, terms = (
            np.finfo(case.dtype).eps,
            len(rows.x) * series[-1].size,
        )  # T·B·H
        self.unit = ROUNDING * self.eps * max(1.0, (terms / 100) ** 0.5)
        pairs = {name: (self.report[name], self.right[name]) for name in known}
        far = {
            n: CLEAR * self.unit * max(map(_largest, pair)) for n, pair in pairs.items()
        }
        self.wrong = {
            n for n, (own, right) in pairs.items() if _largest(own - right) > far[n]
        }

    def step_of(self, of: Definition) -> Arrays:
        """The velocities and parameters after a step with the reported gradients."""
        n, p = Floats(np.float64), present(self.case.params)
        d = {name: self.report["d" + name] for name in p}
        update(n, p, d, present(self.case.velocity), self.step, of)
        return n.report()

    def factor(self, name: str) -> tuple[float, float, NumpyArray]:
        """The factor of a tensor or of a parameter's change: its error, itself, its
        tensor.
        """
        before = getattr(self.case.params, name, 0.0)
        reported, right = self.report[name] - before, self.right[name] - before
        rounding, size = self.unit * _largest(self.right[name]), _largest(right)
        if size <= rounding:
            return np.inf, 1.0, self.right[name]
        ratio = float(np.vdot(right, reported / np.vdot(right, right)))
        return rounding / size / 50, ratio, before + ratio * right

    def has(self, mutant: Mutant, is_step: bool = False) -> bool:
        """Whether the mutant gives what is reported, up to the gradients, or of the
        step.
        """
        if is_step:
            return self.explains(self.step_of(mutant.definition), self.stepped)
        names = self.flow & BEFORE if mutant.equations.keys() <= FORWARD else self.flow
        return self.explains(window_update(self.case, of=mutant.definition), names)

    def explains(self, values: Arrays, names: Iterable[str]) -> bool:
        """Whether these are the reported numbers of these tensors."""
        return all(
            np.shape(values[name]) == np.shape(self.report[name])
            and np.isfinite(values[name]).all()  # else anything would be allowed
            and _largest(values[name] - self.report[name])
            <= self.allowed(name, values[name])
            for name in names
        )

    def allowed(self, name: str, value: NumpyArray) -> float:
        """The difference between reported numbers and those of a mistake that explains
        them.
        """
        size, right = _largest(self.report[name]), _largest(self.right[name])
        wrong = _largest(self.report[name] - self.right[name])
        rounding = self.unit * max(size, _largest(value)) + self.unit / 50 * right
        return max(EXACT * min(size, wrong), rounding)


def explanation(fits: Sequence[Fit]) -> str:
    """The hint for these reports, of one port or one run; "" if nothing fits."""
    if not any(fit.wrong for fit in fits):
        return ""
    with np.errstate(all="ignore"):  # a wrong gradient may well overflow
        if not any(fit.wrong & fit.flow for fit in fits):
            steps = ((m.name, partial(Fit.has, mutant=m, is_step=True)) for m in STEPS)
            is_first = (
                not any(fit.case.velocity for fit in fits) and fits[0].step.has_velocity
            )
            return _first(fits, chain(steps, factors(fits, True)), is_first)
        T, K = (
            max(len(getattr(fit.case, name)) for fit in fits)
            for name in ("x", "target")
        )
        is_right = not any(fit.wrong & BEFORE for fit in fits)  # the forward pass
        mutants = window_mutants(min(MAX_STEPS, T), is_right)
        known = ((m.name, partial(Fit.has, mutant=m)) for m in mutants)
        short = _first(fits, factors(fits, False)) if T < 3 or K < 2 else ""
        return short or _first(fits, chain(known, factors(fits, False)), T < 3)


def _first(
    fits: Sequence[Any], candidates: Iterable[Candidate], only: bool = False
) -> str:
    """The first mistake that explains all of these; only: if none of other
    words does.
    """
    texts = set[str]()
    for text, explains in candidates:
        try:
            if text not in texts and all(map(explains, fits)):
                texts.add(text)
        except (LookupError, ValueError, AttributeError, TypeError):
            continue  # it does not apply to this case
        if texts and not only:
            break
    return texts.pop() if len(texts) == 1 else ""


def factors(fits: Sequence[Fit], is_step: bool) -> Iterator[Candidate]:
    """Tensors times a number that is the same, or the same product of sizes, in all
    cases.
    """
    known = fits[0].stepped if is_step else fits[0].flow - {"a", "h", "y"}
    names = [name for name in fits[0].report if name in known]
    wrong = [name for name in names if any(name in fit.wrong for fit in fits)]
    groups = {"loss": {"loss"}, "gradients": {"d" + name for name in FIELDS}}
    groups |= {"velocities": {"v" + name for name in FIELDS}, "step": {*FIELDS}}
    found, texts = dict[str, str](), list[str]()
    for words, members in groups.items():
        own = [name for name in wrong if name in members]
        common = _factor(fits, own)
        found |= {name: common or _factor(fits, [name]) for name in own}
        for text in dict.fromkeys(found[name] for name in own):
            same = [name for name in own if found[name] == text]
            is_all = {*same} == {name for name in names if name in members}
            one = "step of " * (words == "step") + ", ".join(same)
            texts.append(f"{words if is_all else one} × {text}")

    def explains(fit: Fit) -> bool:
        return fit.explains(
            fit.right | {name: fit.factor(name)[2] for name in found}, names
        )

    if not (found and all(found.values())):
        return
    factor = found.get("loss", "")
    alike = [f"loss × {factor}", f"gradients × {factor}"]
    if texts == alike:
        yield f"consistent: × {factor} of this loss", explains
    else:
        yield ", ".join(texts), explains


def _factor(fits: Sequence[Fit], names: Sequence[str]) -> str:
    """The factor of these tensors in words; "" if it differs, or may be chance.

    A tensor counts where its rounding leaves the factor enough digits.
    """
    rtol = max(1e-6 if fit.eps < 1e-12 else 1e-3 for fit in fits)
    every = [(*fit.factor(name)[:2], _products(fit)) for name in names for fit in fits]
    measured = [each for each in every if each[0] < rtol]
    if not measured:
        return ""
    error, number, table = min(measured, key=lambda each: each[0])
    for text in table:
        if all(np.isclose(other[text], 1.0) for _, _, other in measured):
            continue  # it is 1 in every case
        if all(np.isclose(other[text], ratio, rtol, e) for e, ratio, other in measured):
            return text
    if np.isclose(number, 1.0, rtol, 0):
        return ""
    is_same = all(np.isclose(ratio, number, rtol, 0) for _, ratio, _ in measured)
    is_chance = sum(fits[0].report[name].size for name in names) < 4
    digits = min(6, -int(np.log10(4 * error)))
    return format(number, f".{digits}g") if is_same and not is_chance else ""


def _products(fit: Fit) -> dict[str, float]:
    """Usual factors, and products of up to three sizes, by their text; the simplest
    first.
    """
    sizes = {letter: cases.case_sizes(fit.case)[letter] for letter in "KBOTH"}
    rate = np.nan if fit.step is None else float(fit.step.learning_rate)
    known = {
        "0": 0.0,
        "-1": -1.0,
        "2": 2.0,
        "1/2": 0.5,
        "1/ln 2": 1 / np.log(2),
        "η": rate,
    }
    powers = [
        each for each in product((1, -1, 0), repeat=5) if 0 < np.abs(each).sum() <= 3
    ]
    powers.sort(key=lambda each: (np.abs(each).sum(), each))
    for (number, times), each in product((("", 1.0), ("2", 2.0), ("½", 0.5)), powers):
        above, below = (
            "·".join(n for n, k in zip(sizes, each) if k == sign) for sign in (1, -1)
        )
        divided = f"/({below})" if "·" in below else f"/{below}" if below else ""
        value = float(
            np.prod([size**k for size, k in zip(map(float, sizes.values()), each)])
        )
        known[("·".join(filter(None, (number, above))) or "1") + divided] = (
            times * value
        )
    return known


def hint_for_run(recorded: RecordedRun, first: Finding) -> str:
    """The hint for a run whose first divergence is this one; "" if nothing fits."""
    if first.tensor == "window":
        return _windows(recorded)
    network = first.element[: cases.leading_axes(recorded.run.params)]
    index, number = recorded.update_index(first), len(recorded.updates["number"])
    near = range(0 if index < MANY else index - 2, min(number, index + MANY - 4))
    with np.errstate(all="ignore"):
        if first.tensor == "initial":
            return _states(recorded, network)
        chosen = sorted({0, *near, number - 1})
        found = {i: Fit(*single_update(recorded, i, network)) for i in chosen}
        wrong, others = (
            [f for f in found.values() if bool(f.wrong) is w] for w in (True, False)
        )
        if not wrong:
            return ""
        if hint := explanation([*wrong[:4], *others[:2]]):
            return hint
        loops = [(m.name, _in_loop(recorded, network, found, m)) for m in LOOPS]
        data = _other_data(recorded, network, found)
        return _first([*found], chain(loops, data)) or _falling_rate(found)


def _windows(recorded: RecordedRun) -> str:
    """The schedule of which all windows of the run are."""
    run, expected = recorded.run, recorded.windows
    rows = [*zip(*(recorded.updates[name].tolist() for name in Window._fields))]
    (k1, _, epochs), T = run.options.schedule, len(run.x)
    others = {"the last, shorter window left out": expected[: T // k1]}
    others |= {m.name: RecordedRun(run, {}, m.definition).windows for m in LOOPS}
    wrong = ((text, windows) for text, windows in others.items() if windows != expected)
    return next((text for text, w in wrong if rows == (w * epochs)[: len(rows)]), "")


def _states(recorded: RecordedRun, network: tuple[int, ...]) -> str:
    """The way to choose initial states of which those of all updates are."""
    states, right = {0: recorded.run.h_0.astype(np.float64)}, Mutant("", {})
    fitting = [right, *(m for m in LOOPS if [*m.equations] == ["carried_state"])]
    for i, epoch in enumerate(recorded.updates["epoch"].tolist()):
        fit, window = Fit(*single_update(recorded, i, network)), recorded.window(i)
        found = [
            (m, m.definition.carried_state(states, window, epoch)) for m in fitting
        ]
        fitting = [
            m for m, state in found if np.allclose(fit.case.h_0, state, 0, fit.unit)
        ]
        states |= dict(enumerate(fit.report.get("h", fit.right["h"]), window.start + 1))
    names = [m.name for m in fitting] or [""]
    return names[0] if all(name.startswith(names[0]) for name in names) else ""


def _in_loop(
    recorded: RecordedRun,
    network: tuple[int, ...],
    fits: dict[int, Fit],
    mutant: Mutant,
) -> Callable[[int], bool]:
    """Whether a mutant gives the reported numbers of an update, from those of the ones
    before.
    """
    of, updates, (k1, k2, _) = (
        mutant.definition,
        recorded.updates,
        recorded.run.options.schedule,
    )
    loss_start = updates["loss_start"].copy()
    for i in fits:
        loss_start[i] = of.window(len(recorded.run.x), loss_start[i], k1, k2).loss_start
    other = recorded._replace(updates=updates | {"loss_start": loss_start})

    def explains(i: int) -> bool:
        if (
            i
            and i - 1 not in fits
            and mutant.equations.keys() & {"backward", "pre_activation"}
        ):
            return True  # it depends on the updates before
        window, epoch = recorded.window(i), int(updates["epoch"][i])
        of.carried_state({window.start: None, 0: None}, window, epoch)
        case = Fit(*single_update(other, i, network)).case._replace(step=fits[i].step)
        return fits[i].explains(window_update(case, of=of), fits[i].report)

    return explains


def _other_data(
    recorded: RecordedRun, network: tuple[int, ...], fits: dict[int, Fit]
) -> Iterator[Candidate]:
    """Mistakes in what an update is computed from: targets, weights, sequences.

    The last window of a series, and the first, may treat a missing target otherwise.
    """
    run, T = recorded.run, len(recorded.run.x)
    windows = {i: recorded.window(i) for i in fits}
    inner = {i for i, w in windows.items() if w.loss_start > 0 and w.stop < T}
    gradients = {"d" + name for name in present(run.params)}
    if not any(fit.wrong & gradients for fit in fits.values()):
        return
    for words, shift in (("ahead", -1), ("behind", 1)):
        moved = run._replace(target=np.roll(run.target, shift, axis=0))
        other = recorded._replace(run=moved)

        def explains_targets(i: int, other: RecordedRun = other) -> bool:
            case = Fit(*single_update(other, i, network)).case
            is_edge = bool(inner) and i not in inner
            return is_edge or fits[i].explains(window_update(case), fits[i].flow)

        yield f"targets one step {words}", explains_targets

    def explains_weights(i: int) -> bool:
        if i == 0:
            return True
        before = Fit(*single_update(recorded, i - 1, network)).case
        case = fits[i].case._replace(params=before.params)
        return fits[i].explains(window_update(case), gradients | fits[i].wrong)

    yield "gradients of the weights before the last update", explains_weights
    for b in range(run.h_0.shape[-2]):

        def explains_sequences(i: int, b: int = b) -> bool:
            case, fit = fits[i].case, fits[i]
            x, target, h_0 = (
                np.delete(v, b, axis=-2) for v in (case.x, case.target, case.h_0)
            )
            right = window_update(case._replace(x=x, target=target, h_0=h_0))
            return fit.explains(right, gradients | fit.wrong)

        yield f"sequence {b} of the batch left out", explains_sequences


def _falling_rate(fits: dict[int, Fit]) -> str:
    """The rate of plain gradient descent, if it falls from update to update."""
    rates = []
    for fit in fits.values():
        if fit.step is None or fit.step.has_velocity or fit.wrong & fit.flow:
            return ""
        ratios = [fit.factor(name)[1] for name in FIELDS if name in fit.stepped]
        if not np.allclose(ratios, ratios[0], rtol=1e-3, atol=0):
            return ""
        rates.append(ratios[0])
    if not all(later < rate for rate, later in pairwise(rates)):
        return ""
    return f"the rate falls from × {rates[0]:.3g} to × {rates[-1]:.3g}"
