"""What a run uses of the abilities of a port, and how it is made to fit them."""

from collections.abc import Sequence
from typing import Any

from numpy_rnn.common.array_kinds import is_integer
from numpy_rnn.common.records import Run, Window
from numpy_rnn.conformance.case import case_sizes
from numpy_rnn.conformance.definition import DEFINITION, Definition
from numpy_rnn.conformance.ports.abilities import (
    Abilities,
    Ability,
    Fields,
    Shape,
    facts_of,
    forced_fields,
    missing_abilities,
)


def loop_of(abilities: Abilities, run: Run) -> Definition:
    """Return TBPTT, or chunks with a loss at the last steps where a port cannot have
    one at every step.
    """
    k1, k2, _ = run.options.schedule
    losses = [s.get("K", k1) for s in abilities.sizes if s.get("T") == k1 == k2]
    K = min(losses, default=k1)
    if losses and "many losses" in abilities.lacks:
        K = 1
    if k1 <= K or "older steps" in abilities.lacks:
        return DEFINITION

    def window(T: int, new: int, k1: int, k2: int) -> Window:
        """Return the window of a chunk, with a loss at its last K steps."""
        stop = min(new + k1, T)
        return Window(new, max(new, stop - K), stop)

    return Definition(window=window)


def with_reduction(abilities: Abilities, run: Run) -> Run:
    """Return the run with the reduction of a port that has one of its own."""
    reduction = abilities.reduction
    if reduction is None:
        return run
    objective = run.options.objective._replace(reduction=reduction)
    return run._replace(options=run.options._replace(objective=objective))


def facts_of_run(run: Run, windows: Sequence[Window]) -> dict[str, Any]:
    """Return what is true of a run with these windows."""
    starts = {window.start for window in windows}
    others = {
        "bias": run.params.b_h is not None,
        "class_inputs": is_integer(run.x),
        "batch": run.h_0.shape[-2] > 1,
        "networks": run.params.networks is not None,
        "h_0": bool(run.h_0.any()) or starts != {0},
        "older steps": any(window.loss_start > window.start for window in windows),
        "many losses": any(window.loss_steps > 1 for window in windows),
        "initial state": bool(run.h_0.any()),
    }
    options = run.options
    dtype = str(run.params.W_hh.dtype)
    return facts_of(options.objective, dtype, options.step, others)


def size_fields(shape: Shape) -> dict[str, Any]:
    """Return the fields of a run whose windows have these sizes."""
    fields: dict[str, Any] = {n: size for n, size in shape.items() if n in "BDHO"}
    if "T" in shape:
        fields |= {"k1": shape["T"], "k2": shape["T"]}
    return fields


def unsupported(abilities: Abilities, run: Run) -> list[Ability]:
    """Return every ability that a run uses and a port lacks.

    `words` of an ability are for a user; `remedy` has the fields of a run, and their
    values, that do without it. The last one may be the sizes of the run.
    """
    windows = loop_of(abilities, run).windows(run)
    # The source of a port that has no step makes it.
    facts = facts_of_run(run, windows) | {"step": False}
    lacked = missing_abilities(facts, abilities)
    lengths = {window.steps for window in windows}
    length = lengths.pop() if len(lengths) == 1 else None
    sizes = case_sizes(run) | {"k1": length, "k2": length}
    misfits = list[Fields]()
    for shape in abilities.sizes:
        fields = size_fields(shape).items()
        misfits.append(tuple(field for field in fields if field not in sizes.items()))
    if misfits and all(misfits):
        remedy = min(misfits, key=len)
        words = ", ".join(f"{name} = {value}" for name, value in remedy)
        lacked.append(Ability("sizes", f"sizes but {words}", remedy))
    return lacked


def run_defaults(abilities: Abilities) -> dict[str, Any]:
    """Return the fields of a run that the statements of a port force, by their names.

    They are fields of Objective, Schedule and Step, `bias`, `class_inputs`, `dtype`,
    `networks`, and sizes by their letters. The value of k1 may be "k2", and that of
    both "T", the length of the series.
    """
    fields = forced_fields(abilities)
    if len(abilities.sizes) == 1:
        fields |= size_fields(abilities.sizes[0])
    return fields
