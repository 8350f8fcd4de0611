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
from math import prod
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.common.records import NumpyArray, Step, tree_map
from numpy_rnn.conformance import case as cases
from numpy_rnn.conformance.arithmetics.numpy_arithmetic import NumpyArithmetic
from numpy_rnn.conformance.case import FIELDS, NamedArrays, WindowCase, present
from numpy_rnn.conformance.definition import (
    DEFINITION,
    Definition,
    apply_step,
    window_update,
)
from numpy_rnn.conformance.findings import Finding
from numpy_rnn.conformance.judge import single_update
from numpy_rnn.conformance.mutants.catalogue import (
    FORWARD_EQUATIONS,
    LOOPS,
    STEP_MUTANTS,
    Mutant,
    window_mutants,
)
from numpy_rnn.conformance.ports.abilities import stated_by
from numpy_rnn.conformance.ports.port import Port, call_port
from numpy_rnn.conformance.ports.protocol import PortFault
from numpy_rnn.conformance.random_cases import PLAIN, CaseSpec, without_unsupported
from numpy_rnn.conformance.runs import RecordedRun

MAX_RESIDUAL = 1e-10  # the part of the numbers that a hint may leave, in float64
# units in the last place of the largest number, by which right tensors may differ
ROUNDING = 200.0
CLEAR_DEVIATION = (
    30.0  # the deviation of a wrong tensor, in units of what right ones may differ
)
MAX_HINT_STEPS = 30  # of a window that is compared with other truncations
MANY = 12  # updates that are looked at
BEFORE = {"loss", "a", "h", "y"}  # the backward pass
HINT_SIZES = (
    {"T": 11, "B": 3, "D": 2, "H": 4, "O": 5, "K": 7},
    {"T": 7, "B": 2, "D": 3, "H": 5, "O": 4, "K": 4},
)
LETTERS = "KBOTH"  # sizes by which a wrong reduction multiplies
# Products of up to three of them, as their powers; the simplest first.
POWERS = sorted(
    (
        powers
        for powers in product((1, -1, 0), repeat=5)
        if 0 < np.abs(powers).sum() < 4
    ),
    key=lambda powers: (np.abs(powers).sum(), powers),
)
Candidate = tuple[str, Callable[["Fit"], bool]]  # words, and whether they explain it
HINT_GROUPS = {
    "loss": {"loss"},
    "gradients": {"d" + name for name in FIELDS},
    "velocities": {"v" + name for name in FIELDS},
    "step": {*FIELDS},
}
STATEFUL = (
    "another answer to the same case: noise, or gradients or states kept from "
    "call to call"
)


def hint_specs(port: Port, spec: CaseSpec) -> Iterator[CaseSpec]:
    """Yield specs like this one, of several steps: after another update; the first;
    large numbers.

    The second has other options of the step, and clips every tensor; the third clips
    nothing.
    """
    stated = stated_by(port)
    dtype = "float64" if "float64" in port.dtypes else spec.dtype
    for number, usual in enumerate((*HINT_SIZES, HINT_SIZES[0])):
        sizes: dict[str, Any] = dict(usual)
        if number == 0:
            sizes["T"] = max(spec.T, sizes["T"])
        own = stated.sizes[number % len(stated.sizes)] if stated.sizes else {}
        sizes |= own
        if "K" not in own:
            sizes["K"] = sizes["T"] if spec.K == spec.T else min(7, sizes["T"])
        changed = spec._replace(
            **PLAIN,
            **sizes,
            velocity=number != 1,
            gain=3.0 if number == 2 else 1.0,
            step=_hint_step(spec.step, number),
            dtype=dtype,
            seed=spec.seed + number,
        )
        yield without_unsupported(changed, stated)


def _hint_step(step: Step | None, number: int) -> Step | None:
    """Return the step of one of the specs for hints."""
    if step is None:
        return None
    step = step._replace(learning_rate=step.learning_rate or 0.1)
    factors: dict[str, float] = {}
    if number == 1:
        factors = dict.fromkeys(Step._fields, 0.6) | {"max_norm": 1e-3}
    if number == 2:
        factors = {"max_norm": 1e3, "max_value": 1e3}
    for name, factor in factors.items():
        value = getattr(step, name)
        if value and value is not True:
            step = step._replace(**{name: factor * value})
    return step


def hint_for_port(port: Port, spec: CaseSpec | None, case: WindowCase) -> str:
    """Return the hint for a port that is wrong on this case, of this spec; "" if
    nothing fits.
    """
    others = [] if spec is None else list(hint_specs(port, spec))
    fits = list[Fit]()
    for each in (*(other.case() for other in others), case):
        try:
            report, again = call_port(port, each), call_port(port, each)
        except PortFault:
            return ""
        for given in (report, again):
            if cases.format_errors(each, given, False):
                return ""
        for name, array in report.items():
            if not np.allclose(array, again[name], 1e-3, 1e-3):
                return STATEFUL
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

    def __init__(self, case: WindowCase, report: NamedArrays, index: int = -1):
        self.index = index  # of the update in its run
        self.step, rows = case.step, cases.with_rows(case)
        arrays = rows._replace(h_0=cases.initial_state_of(case), step=None)  # type: ignore[arg-type]
        changed = {}
        for name in ("params", "velocity", "x", "target", "h_0"):
            value = getattr(arrays, name)
            changed[name] = tree_map(lambda array: array.astype(np.float64), value)
        self.case = arrays._replace(**changed)
        self.report = NamedArrays()
        for name, array in report.items():
            self.report[name] = np.asarray(array, np.float64)
        step = NamedArrays()
        with np.errstate(all="ignore"):
            self.right = window_update(self.case)
            if self.step is not None:
                step = self.step_of(DEFINITION)
        self.right.update(step)  # from the reported gradients
        known = self.report.keys() & self.right.keys()
        self.stepped, self.flow = step.keys() & known, known - step.keys()
        self.eps, terms = np.finfo(case.dtype).eps, len(rows.x) * self.case.h_0.size
        self.unit = ROUNDING * self.eps * max(1.0, (terms / 100) ** 0.5)
        self.wrong = set[str]()
        for name in known:
            own, right = self.report[name], self.right[name]
            size = max(_largest(own), _largest(right))
            if _largest(own - right) > CLEAR_DEVIATION * self.unit * size:
                self.wrong.add(name)

    def step_of(self, of: Definition) -> NamedArrays:
        """Return the velocities and parameters after a step with the reported
        gradients.
        """
        n, p = NumpyArithmetic(np.float64), present(self.case.params)
        d = {name: self.report["d" + name] for name in p}
        apply_step(n, p, d, present(self.case.velocity), self.step, of)
        return n.report()

    def factor(self, name: str) -> tuple[float, float, NumpyArray]:
        """Return the factor of a tensor or of a parameter's change: its error, itself,
        its tensor.
        """
        before = getattr(self.case.params, name, 0.0)
        reported, right = self.report[name] - before, self.right[name] - before
        rounding, size = self.unit * _largest(self.right[name]), _largest(right)
        if size <= rounding:
            return np.inf, 1.0, self.right[name]
        ratio = float(np.vdot(right, reported / np.vdot(right, right)))
        return rounding / size / 50, ratio, before + ratio * right

    def has(self, mutant: Mutant, is_step: bool = False) -> bool:
        """Return whether the mutant gives what is reported, up to the gradients, or of
        the step.
        """
        if is_step:
            return self.explains(self.step_of(mutant.definition), self.stepped)
        names = (
            self.flow & BEFORE
            if mutant.equations.keys() <= FORWARD_EQUATIONS
            else self.flow
        )
        return self.explains(window_update(self.case, of=mutant.definition), names)

    def explains(self, values: NamedArrays, names: Iterable[str]) -> bool:
        """Return whether these are the reported numbers of these tensors."""
        for name in names:
            own, value = self.report[name], values[name]
            if np.shape(value) != np.shape(own) or not np.isfinite(value).all():
                return False  # what is not finite would allow anything
            if _largest(value - own) > self.allowed(name, value):
                return False
        return True

    def allowed(self, name: str, value: NumpyArray) -> float:
        """Return the difference between reported numbers and those of a mistake that
        explains them.
        """
        size, right = _largest(self.report[name]), _largest(self.right[name])
        wrong = _largest(self.report[name] - self.right[name])
        rounding = self.unit * max(size, _largest(value)) + self.unit / 50 * right
        return max(MAX_RESIDUAL * min(size, wrong), rounding)


def explanation(fits: Sequence[Fit]) -> str:
    """Return the hint for these reports, of one port or one run; "" if nothing fits."""
    wrong = set[str]().union(*(fit.wrong for fit in fits))
    if not wrong:
        return ""
    with np.errstate(all="ignore"):  # a wrong gradient may well overflow
        if not any(fit.wrong & fit.flow for fit in fits):
            steps = _candidates(STEP_MUTANTS, is_step=True)
            has_none = not any(fit.case.velocity for fit in fits)
            is_first = has_none and fits[0].step.has_velocity
            return _first(fits, chain(steps, factors(fits, True)), is_first)
        T = max(len(fit.case.x) for fit in fits)
        K = max(len(fit.case.target) for fit in fits)
        mutants = window_mutants(min(MAX_HINT_STEPS, T), not wrong & BEFORE)
        known = _candidates(mutants)
        short = ""
        if T < 3 or K < 2:  # where many mistakes are alike
            short = _first(fits, factors(fits, False))
        return short or _first(fits, chain(known, factors(fits, False)), T < 3)


def _candidates(
    mutants: Iterable[Mutant], is_step: bool = False
) -> Iterator[Candidate]:
    """Yield mutants of a window, or of the step."""
    for mutant in mutants:
        yield mutant.name, partial(Fit.has, mutant=mutant, is_step=is_step)


def _first(
    fits: Sequence[Fit], candidates: Iterable[Candidate], only: bool = False
) -> str:
    """Return the first mistake that explains all of these; only: if none of other words
    does.
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
    """Yield tensors times a number that is the same, or the same product of sizes, in
    all cases.
    """
    known = fits[0].stepped if is_step else fits[0].flow - {"a", "h", "y"}
    names = [name for name in fits[0].report if name in known]
    wrong = [name for name in names if any(name in fit.wrong for fit in fits)]
    found, texts = dict[str, str](), list[str]()
    for words, members in HINT_GROUPS.items():
        own = [name for name in wrong if name in members]
        common = _factor(fits, own)
        for name in own:
            found[name] = common or _factor(fits, [name])
        for text in dict.fromkeys(found[name] for name in own):
            same = [name for name in own if found[name] == text]
            of = ", ".join(same)
            if words == "step":
                of = f"step of {of}"
            if {*same} == {*names} & members:
                of = words
            texts.append(f"{of} × {text}")

    def explains(fit: Fit) -> bool:
        values = dict(fit.right)
        for name in found:
            values[name] = fit.factor(name)[2]
        return fit.explains(values, names)

    if not (found and all(found.values())):
        return
    factor = found.get("loss", "")
    if texts == [f"loss × {factor}", f"gradients × {factor}"]:
        yield f"consistent: × {factor} of this loss", explains
    else:
        yield ", ".join(texts), explains


def _factor(fits: Sequence[Fit], names: Sequence[str]) -> str:
    """Return the factor of these tensors in words; "" if it differs, or may be chance.

    A tensor counts where its rounding leaves the factor enough digits.
    """
    rtol = max(1e-6 if fit.eps < 1e-12 else 1e-3 for fit in fits)
    measured = []
    for name in names:
        for fit in fits:
            error, ratio, _ = fit.factor(name)
            if error < rtol:
                measured.append((error, ratio, _products(fit)))
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
    """Return usual factors, and products of up to three sizes, by their text; the
    simplest first.
    """
    sizes = cases.case_sizes(fit.case)
    known = {"0": 0.0, "-1": -1.0, "2": 2.0, "1/2": 0.5, "1/ln 2": 1 / np.log(2)}
    known["η"] = np.nan if fit.step is None else float(fit.step.learning_rate)
    for number, times in (("", 1.0), ("2", 2.0), ("½", 0.5)):
        for powers in POWERS:
            above = [n for n, power in zip(LETTERS, powers) if power == 1]
            below = [n for n, power in zip(LETTERS, powers) if power == -1]
            text = "·".join([number] * bool(number) + above) or "1"
            if below:
                text += f"/({'·'.join(below)})" if len(below) > 1 else f"/{below[0]}"
            product_above = prod(sizes[n] for n in above)
            known[text] = times * product_above / prod(sizes[n] for n in below)
    return known


def hint_for_run(recorded: RecordedRun, first: Finding) -> str:
    """Return the hint for a run whose first divergence is this one; "" if nothing
    fits.
    """
    if first.tensor == "window":
        return _windows(recorded)
    of = OneNetwork(recorded, first.element[: cases.leading_axes(recorded.run.params)])
    index, count = recorded.update_index(first), recorded.length
    low = 0 if index < MANY else index - 2
    with np.errstate(all="ignore"):
        if first.tensor == "initial":
            return _states(of)
        near = range(low, min(count, index + MANY - 4))
        fits = [of.fit(i) for i in sorted({0, *near, count - 1})]
        wrong = [fit for fit in fits if fit.wrong]
        if not wrong:
            return ""
        right = [fit for fit in fits if not fit.wrong]
        if hint := explanation([*wrong[:4], *right[:2]]):
            return hint
        loops = ((m.name, _in_loop(of, fits, m)) for m in LOOPS)
        return _first(fits, chain(loops, _other_data(of, fits))) or _falling_rate(fits)


class OneNetwork(NamedTuple):
    """A run of one network, or one of an ensemble."""

    recorded: RecordedRun
    network: tuple[int, ...]

    def fit(self, index: int) -> Fit:
        """Return one update as a fit."""
        return Fit(*single_update(self.recorded, index, self.network), index)

    def having(self, **changes: Any) -> "OneNetwork":
        """Return the run with other updates, or with another series."""
        return self._replace(recorded=self.recorded._replace(**changes))


def _windows(recorded: RecordedRun) -> str:
    """Return the schedule of which all windows of the run are."""
    run, expected = recorded.run, recorded.windows
    rows = [recorded.window(i) for i in range(len(recorded.updates["stop"]))]
    k1, _, epochs = run.options.schedule
    others = {"the last, shorter window left out": expected[: len(run.x) // k1]}
    for mutant in LOOPS:
        others[mutant.name] = RecordedRun(run, {}, mutant.definition).windows
    for text, windows in others.items():
        if windows != expected and rows == (windows * epochs)[: len(rows)]:
            return text
    return ""


def _states(of: OneNetwork) -> str:
    """Return the way to choose initial states of which those of all updates are."""
    recorded = of.recorded
    states = {0: recorded.run.h_0.astype(np.float64)}
    fitting = [Mutant("", {})]
    fitting += [m for m in LOOPS if [*m.equations] == ["carried_state"]]
    for index, epoch in enumerate(recorded.updates["epoch"].tolist()):
        fit, window, left = of.fit(index), recorded.window(index), []
        for mutant in fitting:
            state = mutant.definition.carried_state(states, window, epoch)
            if np.allclose(fit.case.h_0, state, 0, fit.unit):
                left.append(mutant)
        fitting = left
        h = fit.report.get("h", fit.right["h"])
        states.update(enumerate(h, window.start + 1))
    names = [mutant.name for mutant in fitting] or [""]
    return names[0] if all(name.startswith(names[0]) for name in names) else ""


def _in_loop(
    of: OneNetwork, fits: Sequence[Fit], mutant: Mutant
) -> Callable[[Fit], bool]:
    """Return whether a mutant gives the reported numbers of an update, from those of
    the ones before.
    """
    definition, recorded = mutant.definition, of.recorded
    T, (k1, k2, _) = len(recorded.run.x), recorded.run.options.schedule
    loss_start = recorded.updates["loss_start"].copy()
    known = {fit.index for fit in fits}
    for i in known:
        loss_start[i] = definition.window(T, loss_start[i], k1, k2).loss_start
    other = of.having(updates=recorded.updates | {"loss_start": loss_start})
    sees_past = mutant.equations.keys() & {"backward", "pre_activation"}

    def explains(fit: Fit) -> bool:
        if sees_past and fit.index and fit.index - 1 not in known:
            return True  # it depends on the updates before
        window = recorded.window(fit.index)
        epoch = int(recorded.updates["epoch"][fit.index])
        definition.carried_state({window.start: None, 0: None}, window, epoch)
        case = other.fit(fit.index).case._replace(step=fit.step)
        return fit.explains(window_update(case, of=definition), fit.report)

    return explains


def _other_data(of: OneNetwork, fits: Sequence[Fit]) -> Iterator[Candidate]:
    """Yield mistakes in what an update is computed from: targets, weights, sequences.

    The last window of a series, and the first, may treat a missing target otherwise.
    """
    run = of.recorded.run
    gradients = {"d" + name for name in present(run.params)}
    if not any(fit.wrong & gradients for fit in fits):
        return
    inner = set[int]()
    for fit in fits:
        window = of.recorded.window(fit.index)
        if window.loss_start > 0 and window.stop < len(run.x):
            inner.add(fit.index)

    def explains_targets(fit: Fit, other: OneNetwork) -> bool:
        if inner and fit.index not in inner:
            return True
        return fit.explains(window_update(other.fit(fit.index).case), fit.flow)

    for words, shift in (("ahead", -1), ("behind", 1)):
        moved = run._replace(target=np.roll(run.target, shift, axis=0))
        explains = partial(explains_targets, other=of.having(run=moved))
        yield f"targets one step {words}", explains

    def explains_weights(fit: Fit) -> bool:
        if fit.index == 0:
            return True
        case = fit.case._replace(params=of.fit(fit.index - 1).case.params)
        return fit.explains(window_update(case), gradients | fit.wrong)

    yield "gradients of the weights before the last update", explains_weights

    def explains_sequences(fit: Fit, b: int) -> bool:
        case = fit.case
        fewer = case._replace(
            x=np.delete(case.x, b, axis=-2),
            target=np.delete(case.target, b, axis=-2),
            h_0=np.delete(case.h_0, b, axis=-2),
        )
        return fit.explains(window_update(fewer), gradients | fit.wrong)

    for b in range(run.h_0.shape[-2]):
        yield f"sequence {b} of the batch left out", partial(explains_sequences, b=b)


def _falling_rate(fits: Sequence[Fit]) -> str:
    """Return the rate of plain gradient descent, if it falls from update to update."""
    rates = []
    for fit in fits:
        if fit.step is None or fit.step.has_velocity or fit.wrong & fit.flow:
            return ""
        ratios = [fit.factor(name)[1] for name in FIELDS if name in fit.stepped]
        if not np.allclose(ratios, ratios[0], rtol=1e-3, atol=0):
            return ""
        rates.append(ratios[0])
    if not all(later < rate for rate, later in pairwise(rates)):
        return ""
    return f"the rate falls from × {rates[0]:.3g} to × {rates[-1]:.3g}"
