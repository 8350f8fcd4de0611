"""Hints: what a wrong port looks like. A hint is a mutant, whose number is measured if
it has one, not a verdict.

The port is asked for a few cases, twice each, and every answer is a fit. What has to be
explained are the tensors of a window that are wrong, or where all windows are right,
those of the step. The mutants are tried in the order of the catalogue, of the families,
and in a run of its loops. A mutant explains the answers if it gives every wrong number
of all cases, and changes none of the right tensors. A forward mutant gives those of the
forward pass, as the gradients may be those of autograd.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from numpy_rnn.common.array_kinds import is_integer
from numpy_rnn.common.records import Run, Step
from numpy_rnn.conformance.case import WindowCase, case_sizes
from numpy_rnn.conformance.mutants.edits import Mutant
from numpy_rnn.conformance.mutants.families import (
    LIMITS,
    step_mutants,
    window_mutants,
)
from numpy_rnn.conformance.mutants.fits import (
    Fit,
    LoopMutant,
    largest,
    measured_number,
    subject,
)
from numpy_rnn.conformance.ports.abilities import Abilities
from numpy_rnn.conformance.ports.port import StatedPort
from numpy_rnn.conformance.ports.protocol import PortFault
from numpy_rnn.conformance.ports.user_code import validated_report
from numpy_rnn.conformance.random_cases import (
    PLAIN,
    CaseSpec,
    usable_shapes,
    without_unsupported,
)

NOISE = 1e-3  # two answers of a port without noise differ by less, as by other threads
FEW_STEPS = 3  # fewer: many mistakes are alike
FORWARD_TENSORS = {"loss", "a", "h", "y"}
FIRST_SIZES = {"T": 11, "B": 3, "D": 2, "H": 4, "O": 5, "K": 7}
OTHER_SIZES = {"T": 7, "B": 2, "D": 3, "H": 5, "O": 4, "K": 4}
HINT_SIZES = (FIRST_SIZES, OTHER_SIZES, FIRST_SIZES)
LIMIT_FACTORS = (1.0, 1e-3, 1e12)  # of options of their steps that are limits
STATEFUL = (
    "another answer to the same case: noise, or gradients or states kept from "
    "call to call"
)

# Cases


def hint_specs(port: StatedPort, spec: CaseSpec) -> Iterator[CaseSpec]:
    """Yield specs like this one, of several steps: after another update; the first;
    large numbers.

    The second clips every tensor, and the third clips nothing.
    """
    abilities = port.abilities
    dtype = "float64" if "float64" in abilities.dtypes else spec.dtype
    for number, usual in enumerate(HINT_SIZES):
        sizes: dict[str, Any] = dict(usual)
        if number == 0:
            sizes["T"] = max(spec.T, sizes["T"])
        shapes = usable_shapes(spec, abilities) or ({},)
        fixed = shapes[number % len(shapes)]
        sizes |= fixed
        if "K" not in fixed:
            has_older = spec.K < spec.T
            sizes["K"] = min(sizes["K"], sizes["T"]) if has_older else sizes["T"]
        other = spec._replace(
            **PLAIN,
            **sizes,
            velocity=number != 1,
            gain=3.0 if number == 2 else 1.0,
            step=_hint_step(spec.step, LIMIT_FACTORS[number]),
            dtype=dtype,
            seed=spec.seed + number,
        )
        yield without_unsupported(other, abilities)


def _hint_step(step: Step | None, factor: float) -> Step | None:
    """Return the step of one of the specs for hints."""
    if step is None:
        return None
    changed: dict[str, Any] = {"learning_rate": step.learning_rate or 0.1}
    for name, default in Step._field_defaults.items():
        limit = getattr(step, name)
        if default is None and limit is not None:
            changed[name] = factor * limit
    return step._replace(**changed)


# Answers


def hint_for_port(
    port: StatedPort, spec: CaseSpec, case: WindowCase, usual: str = ""
) -> str:
    """Return the hint for a port that is wrong on this case, of this spec; "" if
    nothing fits.

    usual: the hint where the port is right in all cases, or fails.
    """
    fits = list[Fit]()
    for asked in (*(other.case() for other in hint_specs(port, spec)), case):
        try:
            report = validated_report(port, asked, "a hint")
            again = validated_report(port, asked, "a hint")
        except PortFault:
            return usual
        for name, array in report.items():
            if not np.allclose(array, again[name], rtol=NOISE, atol=NOISE):
                return STATEFUL
        fits.append(Fit(asked, report))
    if not any(fit.wrong for fit in fits):
        return usual
    if any(fit.wrong for fit in fits[:-1]):
        fits = fits[:-1]
    return explanation(sorted(fits, key=lambda fit: len(fit.case.x)))


def spec_of_run(run: Run, abilities: Abilities) -> CaseSpec:
    """Return the spec of a case like the windows of a run, which a port can have."""
    sizes: dict[str, Any] = case_sizes(run)
    k1, k2, _ = run.options.schedule
    T = min(k2, sizes["T"])
    step = run.options.step
    if np.ndim(step.learning_rate):
        step = step._replace(learning_rate=float(np.ravel(step.learning_rate)[0]))
    spec = CaseSpec(
        **sizes | {"T": T, "K": min(k1, T)},
        dtype=str(run.params.W_hh.dtype),
        objective=run.options.objective,
        step=step,
        bias=run.params.b_h is not None,
        class_inputs=is_integer(run.x),
        velocity=step.has_velocity,
        seed=1,
    )
    return without_unsupported(spec, abilities)


def is_of_step(fits: Sequence[Fit]) -> bool:
    """Return whether all windows are right."""
    return not any(fit.wrong & fit.window_names for fit in fits)


def wrong_names(fits: Sequence[Fit]) -> set[str]:
    """Return the wrong tensors of a window; where there are none, those of its step."""
    names = set[str]().union(*(fit.wrong for fit in fits))
    return names & fits[0].window_names or names


# The search


def explanation(fits: Sequence[Fit], loops: Iterable[LoopMutant] = ()) -> str:
    """Return the hint for these reports, of one port or one run; "" if nothing fits.

    The first wrong one is as large as a part of it that is wrong. loops: mistakes of
    the run, which are tried last.
    """
    fits = sorted(fits, key=lambda fit: not fit.wrong)  # wrong ones first
    wrong = wrong_names(fits)
    if not wrong:
        return ""
    step = fits[0].case.step
    sizes = case_sizes(fits[0].case)
    if step is not None and is_of_step(fits):
        mutants = step_mutants(step)
        has_begun = any(fit.case.velocity for fit in fits)
        are_alike = step.has_velocity and not has_begun
    else:
        limits = {*LIMITS, *common_limits(fits, wrong)}
        mutants = window_mutants(sizes, bool(wrong & FORWARD_TENSORS), sorted(limits))
        are_alike = sizes["T"] < FEW_STEPS
    with np.errstate(all="ignore"):  # a wrong gradient may well overflow
        hint = first_words(fits, mutants, are_alike)
        return hint or first_words(fits, loops)


def common_limits(fits: Sequence[Fit], wrong: set[str]) -> list[float]:
    """Return the largest number of the wrong tensors, if it is the same in several
    fits, as that of gradients that are clamped.
    """
    largest_numbers = set[float]()
    count = 0
    for fit in fits:
        names = fit.wrong & wrong
        if names:
            count += 1
            number = max(largest(fit.report[name]) for name in names)
            largest_numbers.add(float(f"{number:.6g}"))
    return [*largest_numbers] if count > 1 and len(largest_numbers) == 1 else []


def first_words(
    fits: Sequence[Fit],
    mutants: Iterable[Mutant | LoopMutant],
    are_alike: bool = False,
) -> str:
    """Return the words of the first mutant that explains all of these; "" if there is
    none, or where many are alike, if one of other words does too.
    """
    words = (words_of(mutant, fits) for mutant in mutants)
    explaining = filter(None, words)
    hint = next(explaining, "")
    if are_alike and any(other != hint for other in explaining):
        return ""
    return hint


def words_of(mutant: Mutant | LoopMutant, fits: Sequence[Fit]) -> str:
    """Return the words of a mutant, if it explains all of these fits, or ""."""
    names = {*fits[0].report}
    if mutant.is_forward:
        names &= FORWARD_TENSORS
    wrong = wrong_names(fits) & names
    if not wrong:
        return ""
    right = names - wrong
    if "{names}" in mutant.name:
        right = set()  # it changes the tensors that it names
    text = ""
    numbers: Sequence[float] = [1.0] * len(fits)
    if "{number}" in mutant.name:
        common = measured_number(mutant, fits, wrong)
        if common is None:
            return ""
        text, numbers = common
    is_shown = False
    for fit, number in zip(fits, numbers):
        values = fit.values_by(mutant, number)
        if not fit.explains(values, wrong):
            return ""
        if fit.wrong and values is not fit.report:  # which allows anything
            is_shown = True
        if any(fit.is_off(name, values) for name in right & values.keys()):
            return ""
    if not is_shown:
        return ""
    words = mutant.name.replace("{number}", text)
    return words.replace("{names}", subject(fits, wrong))
