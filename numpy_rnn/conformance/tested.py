"""What a verdict says: what was tested, and what was not.

A training program has three parts: a function of a window, which gives the loss and the
gradients; the update of the parameters; and the loop, which chooses the windows and
carries the state. `Computed` of coverage.py says which of them a source computes.
`compare`, traces and the suite ask this module, so all of them say the same:

- no part that the source does not compute is called tested;
- what is called tested is what the checked windows had: their tensors, sizes and
  options. What a source has beyond that is named as not tested.
"""

import textwrap
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from numpy_rnn.common.records import CLASS_LOSSES
from numpy_rnn.common.texts import join_names, pluralize
from numpy_rnn.conformance.case import (
    FIELDS,
    GRADIENT_AXES,
    INPUT_GRADIENTS,
    INTERMEDIATES,
    SHAPES,
    STEP_OPTIONS,
    VELOCITY_AXES,
)
from numpy_rnn.conformance.coverage import Computed, Coverage
from numpy_rnn.conformance.ports.abilities import ABILITIES, Abilities, Ability

WIDTH = 88
INDENT = 12  # of the lines below "tested" and "not tested"
SHOW_TRACE = "python -m pydoc numpy_rnn.conformance.trace.Trace"
SUITE = "pytest --pyargs numpy_rnn.conformance --elman-backend"
SUITE_OF_PROGRAM = "pytest --pyargs numpy_rnn.conformance --elman-command"
PARTS_OF_LOOP = "state carried and detached, gradients zeroed"
# Abilities that are told by the parts that a source computes, or by its tensors.
PARTS = {"step", "networks", "h_0", "plain SGD"}
REPORTS = {"intermediates", "input_gradients", "sgd_options"}


class Subject(NamedTuple):
    """What a verdict is about."""

    computed: Computed
    abilities: Abilities
    maker: str  # of the parts that it does not compute: "this command", "the suite"
    layout: str = ""  # of its arrays, if it tells one
    # The command that tests what one run does not: "" for the suite's own verdict.
    suite: str = ""
    absent: tuple[str, ...] = ()  # the tensors that a trace does not have
    is_one_run: bool = (
        False  # a trace, which has no other options than those of its run
    )


class Untested(NamedTuple):
    """What was not tested, and the command that tests it, if there is one."""

    text: str
    command: str = ""


def agreement(names: Sequence[str], subject: Subject, coverage: Coverage) -> str:
    """Return the sentence on right sources of one kind, with all that agrees."""
    is_one = len(names) == 1
    verb = "agrees" if is_one else "agree"
    if subject.computed.loop:
        what, bounds = "every update is", "its rounding bounds"
    else:
        whose = "its" if is_one else "their"
        kinds = kinds_of(tensors_of(subject, coverage))
        what, bounds = f"{whose} {join_names(kinds)} are", "their rounding bounds"
    windows = "1 window" if coverage.windows == 1 else f"{coverage.windows:,} windows"
    sentence = f"{join_names(list(names))} {verb} with the definition: {what}"
    sentence += f" within {bounds} in {windows}"
    if coverage.estimated:
        sentence += " (~: estimated)"
    return sentence


def tensors_of(subject: Subject, coverage: Coverage) -> list[str]:
    """Return the tensors that the source computes, and that are judged somewhere."""
    judged = coverage.judged
    return [n for n in SHAPES if judged[n] and subject.computed.includes(n)]


def kinds_of(tensors: Collection[str]) -> list[str]:
    """Return the loss, and how many gradients and updated parameters there are."""
    kinds = list[str]()
    if "loss" in tensors:
        kinds.append("loss")
    for noun, names in (("gradient", GRADIENT_AXES), ("updated parameter", FIELDS)):
        if count := sum(name in tensors for name in names):
            kinds.append(pluralize(count, noun))
    return kinds


def coverage_lines(subject: Subject, coverage: Coverage) -> list[str]:
    """Return the lines on what was tested and what was not."""
    lines = wrapped("tested", tested(subject, coverage))
    heading = "not tested"
    for untested in not_tested(subject, coverage):
        text = untested.text + (":" if untested.command else "")
        lines += wrapped(heading, text)
        if untested.command:  # on a line of its own, to be pasted
            lines.append(" " * (INDENT + 2) + untested.command)
        heading = ""
    return lines


def wrapped(heading: str, text: str) -> list[str]:
    """Return lines of a text, indented below its heading."""
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=heading.ljust(INDENT),
        subsequent_indent=" " * INDENT,
        break_long_words=False,
        break_on_hyphens=False,
    )


# What is tested


def tested(subject: Subject, coverage: Coverage) -> str:
    """Return what was tested: tensors, steps, sizes, options, the update, the loop."""
    parts = [", ".join(tensors_of(subject, coverage))]
    parts.append(f"gradients that go back {pluralize(coverage.reach, 'step')}")
    parts.append(sizes_in_words(subject, coverage))
    parts.append(options_in_words(coverage))
    if subject.computed.step:
        parts.append(update_in_words(coverage))
    if subject.computed.loop:
        parts.append(
            f"the loop: {pluralize(coverage.epochs, 'epoch')}, {coverage.carried:,} of"
            f" {coverage.windows:,} windows start from a state that was carried"
        )
    return "; ".join(parts)


def sizes_in_words(subject: Subject, coverage: Coverage) -> str:
    """Return the layout and the sizes of the windows."""
    words = subject.layout or "batches"
    if coverage.sizes.get("B") == {1}:
        words = "one sequence"
        if subject.layout:
            words += f", taken as {subject.layout}"
    ranges = list[str]()
    for letter in "TBDHO":
        sizes = coverage.sizes.get(letter, {1})
        low, high = min(sizes), max(sizes)
        ranges.append(f"{letter}={low}" if low == high else f"{letter}={low} to {high}")
    return f"{words}, {', '.join(ranges)}"


def options_in_words(coverage: Coverage) -> str:
    """Return the nonlinearities, biases, losses and dtypes of the windows."""
    uses = coverage.uses
    words = list[str]()
    for field in ("nonlinearity", "bias", "loss", "reduction", "dtype"):
        values = sorted(map(str, uses[field]))
        if field == "bias":
            names = {"True": "biases", "False": "no biases"}
            values = [names[value] for value in reversed(values)]
        words.append(join_names([value.replace("_", " ") for value in values]))
    if True in uses.get("class_inputs", ()):
        words.append("inputs that are classes")
    if True in uses.get("networks", ()):
        words.append("ensembles")
    return ", ".join(words)


def update_in_words(coverage: Coverage) -> str:
    """Return the steps whose updates are checked."""
    rates = sorted(coverage.uses.get("learning_rate", ()))
    words = ["the update"]
    if len(rates) == 1:
        words = [f"the update with learning rate {rates[0]:g}"]
    elif rates:
        words = [f"the update with learning rates {rates[0]:.2g} to {rates[-1]:.2g}"]
    for name, option in STEP_OPTIONS.items():
        if True in coverage.uses.get(option.capability or name, ()):
            words.append(option.words)
    return ", ".join(words)


# What is not tested


def not_tested(subject: Subject, coverage: Coverage) -> list[Untested]:
    """Return what was not tested: the parts that the source does not compute, what no
    window showed, and what the source has beyond what the windows used.
    """
    rest = not_shown(subject, coverage)
    if not subject.computed.loop:
        part = "your loop" if subject.computed.step else "your update and your loop"
        yours = f"{part} ({PARTS_OF_LOOP}), which {subject.maker} made. Record them as"
        yours += " a trace, and run `numpy-rnn compare loop.npz`; this shows how to"
        rest = [Untested(yours, SHOW_TRACE), *rest]
    if subject.is_one_run:
        return [*rest, Untested("other options and other sizes than those of this run")]
    unused = list[str]()
    lacked = list[str]()
    for ability in ABILITIES:
        if ability.name in PARTS | REPORTS or is_pointless(ability, subject):
            continue
        if not subject.abilities.has(ability):
            lacked.append(ability_in_words(ability))
        elif not is_used(ability, coverage):
            unused.append(ability_in_words(ability))
    if subject.suite:
        unused.append("other sizes")
        if subject.computed.step:
            unused.append("other learning rates")
        rest.append(Untested(", ".join(unused), subject.suite))
        return rest
    if unused:
        rest.append(Untested(", ".join(unused)))
    if lacked:
        rest.append(Untested(f"what it does not have: {', '.join(lacked)}"))
    return rest


def not_shown(subject: Subject, coverage: Coverage) -> list[Untested]:
    """Return what no window showed, though the source computes it."""
    shown = list[str]()
    if coverage.reach == 0:
        shown.append("gradients that go back in time")
    if subject.computed.loop:
        if coverage.carried == 0:
            shown.append("a state that is carried from window to window")
        if coverage.epochs < 2:
            shown.append("the state at the start of a second epoch")
        if coverage.updates < 2:
            shown.append("gradients that are zeroed between updates")
        if True not in coverage.uses.get("initial state", ()):
            shown.append("epochs that start from another state than zeros")
    if subject.absent:
        shown.append(f"what the trace does not have: {', '.join(subject.absent)}")
    return [Untested("; ".join(shown))] if shown else []


def is_used(ability: Ability, coverage: Coverage) -> bool:
    """Return whether a window used an ability."""
    values: Collection[Any] = coverage.uses.get(ability.field or ability.name, ())
    return (ability.value if ability.field else True) in values


def is_pointless(ability: Ability, subject: Subject) -> bool:
    """Return whether nothing that the source has uses an ability."""
    has_classes = not {*CLASS_LOSSES}.isdisjoint(subject.abilities.capabilities)
    return ability.name == "large outputs" and not has_classes


def ability_in_words(ability: Ability) -> str:
    """Return the value of a choice, or the words of another ability."""
    if isinstance(ability.value, str):
        return ability.value.replace("_", " ")
    return ability.words


def absent_tensors(reported: Collection[str], has_velocity: bool) -> tuple[str, ...]:
    """Return the tensors of an update that a trace may have, and does not."""
    absent = [n for n in (*INTERMEDIATES, *INPUT_GRADIENTS) if n not in reported]
    if has_velocity and not any(name in reported for name in VELOCITY_AXES):
        absent.append("velocities, in whose place are those of the gradients")
    return tuple(absent)
