"""What a run needs of a port.

It names the abilities that the port lacks, and the fields of a run that the port's
statements force.
"""

from collections.abc import Sequence
from typing import Any

from numpy_rnn.common.array_kinds import is_integer
from numpy_rnn.common.records import Run, Window
from numpy_rnn.conformance import case as cases
from numpy_rnn.conformance.definition import DEFINITION, Definition
from numpy_rnn.conformance.ports.abilities import (
    Ability,
    CaseUse,
    forced_fields,
    missing,
    stated_by,
)


def loop_of(port: object, run: Run) -> Definition:
    """Return TBPTT, or chunks with a loss at the last steps where a port cannot have
    one at every step.
    """
    stated = stated_by(port)
    k1, k2, _ = run.options.schedule
    losses = [s.get("K", k1) for s in stated.sizes if s.get("T") == k1 == k2]
    K = min(losses, default=k1)
    if losses and "many losses" in stated.unsupported:
        K = 1
    if k1 <= K or "older steps" in stated.unsupported:
        return DEFINITION

    def window(T: int, new: int, k1: int, k2: int) -> Window:
        """Return the window of a chunk, with a loss at its last K steps."""
        stop = min(new + k1, T)
        return Window(new, max(new, stop - K), stop)

    return Definition(window=window)


def with_reduction(port: object, run: Run) -> Run:
    """Return the run with the reduction of a port that has one of its own."""
    reduction = stated_by(port).reduction
    if reduction is None:
        return run
    objective = run.options.objective._replace(reduction=reduction)
    return run._replace(options=run.options._replace(objective=objective))


def use_of_run(run: Run, windows: Sequence[Window]) -> CaseUse:
    """Return what a run with these windows uses of a port."""
    starts = {window.start for window in windows}
    return CaseUse(
        objective=run.options.objective,
        dtype=str(run.params.W_hh.dtype),
        step=run.options.step,
        bias=run.params.b_h is not None,
        class_inputs=is_integer(run.x),
        batch=run.h_0.shape[-2] > 1,
        networks=run.params.networks is not None,
        h_0=bool(run.h_0.any()) or starts != {0},
        older_steps=any(window.loss_start > window.start for window in windows),
        many_losses=any(window.loss_steps > 1 for window in windows),
    )


def unsupported(port: object, run: Run) -> list[Ability]:
    """Return every ability that a run needs and the port has not.

    `words` of an ability are for a user; `remedy` has the fields of a run, and their
    values, that do without it. The last one may be the sizes of the run.
    """
    stated = stated_by(port)
    windows = loop_of(port, run).windows(run)
    used = missing(use_of_run(run, windows), stated)
    # The update of a port without a step is made by its source.
    absent = [ability for ability in used if ability.name != "step"]
    sizes = cases.case_sizes(run)
    lengths = [window.steps for window in windows]
    shortest = min(lengths)
    longest = max(lengths)
    misfits = []  # of every shape: how many sizes, their words, their remedies
    for shape in stated.sizes:
        remedy = dict[str, Any]()
        words = list[str]()
        for letter in "BDHO":
            size = sizes[letter]
            if shape.get(letter, size) != size:
                remedy[letter] = shape[letter]
                words.append(f"{letter} = {size}")
        T = shape.get("T", longest)
        if not (shortest == longest == T):
            words.append(f"windows of {shortest} to {longest} steps")
            remedy |= {"k1": T, "k2": T}
        misfits.append((len(words), ", ".join(words), tuple(remedy.items())))
    if misfits:
        count, text, fields = min(misfits)
        if count:
            absent.append(Ability("sizes", text, lambda use: True, fields))
    return absent


def run_defaults(port: object) -> dict[str, Any]:
    """Return the fields of a run that the statements of a port force, by their names.

    They are fields of Objective, Schedule and Step, `bias`, `class_inputs`, `dtype`,
    `networks`, and sizes by their letters. The value of k1 or k2 may be the name of the
    other one, or "T", the length of the series.
    """
    stated = stated_by(port)
    fields = forced_fields(stated)
    if len(stated.sizes) == 1:
        for letter, size in stated.sizes[0].items():
            if letter == "T":
                fields["k1"], fields["k2"] = size, "k1"
            elif letter != "K":
                fields[letter] = size
    return fields
