"""What wrong programs do to training, over many seeds: variants of truncated BPTT in published implementations, and the
mutants of the conformance suite as mistakes, with their lines and the check that catches them.
"""

import importlib.metadata
import json
import platform
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.common.records import Reduction
from numpy_rnn.study.findings import NO_EFFECT, Disagreement, Mistake, TrainingFindings, restored
from numpy_rnn.study.subject import Subject
from numpy_rnn.study.suite_parts import MUTANTS, Mutant, changes, judge_case, named
from numpy_rnn.study.training.outcomes import (
    LEARNS,
    Outcomes,
    by_length,
    demo_epochs,
    judge_demo_run,
)
from numpy_rnn.study.training.programs import program

COMMAND = "python -m numpy_rnn study --full"
PUBLISHED = Path(__file__).with_name("published.json")  # the file training.json of that command
INPUT_GRADIENTS = ("dh_0", "dx")  # on which no parameter depends


class Variant(NamedTuple):
    """A computation that differs from its definition in DERIVATION.md. The page says what is computed, and by whom."""

    key: str
    name: str  # of a mutant, or of one of `programs.PROGRAMS`
    run: str = "sliding"  # key of the run that shows it, see `outcomes.demo_runs`


VARIANTS = (
    Variant("stale_now", "activations of stale weights kept"),
    Variant("stale_then", "stale activations and stale W_hh kept"),
    Variant("replayed", "states replayed from the start with the current weights"),
    Variant("one_more", "bptt over k+1 steps"),
    Variant("chunks", "chunks instead of a sliding window"),
    Variant("again", "losses of older steps counted again"),
    Variant("mean", "mean for sum", "chunks"),
    Variant("squared", "2e for e"),
    Variant("two_biases", "a trained second hidden bias", "biases"),
    Variant("added_up", "state gradients add up over overlapping windows"),
)


def variants(reduction: Reduction) -> tuple[Variant, ...]:
    """All variants. The wrong reduction is the mean; of a run that takes the mean of the loss, it is the sum. There,
    losses that are counted again are left out, since they change the divisor too.
    """
    if reduction == "sum":
        return VARIANTS
    kept = (variant for variant in VARIANTS if variant.key != "again")
    return tuple(
        variant._replace(name="sum for mean") if variant.key == "mean" else variant
        for variant in kept
    )


def disagreements(outcomes: Outcomes) -> list[Disagreement]:
    """Every variant on the run that shows it, and its effect."""
    return [
        Disagreement(key, name, outcomes.runs[run].name, outcomes.of(name, run))
        for key, name, run in variants(outcomes.subject.options.objective.reduction)
    ]


def published_training() -> TrainingFindings:
    """The findings on the default experiment that ship with the package, with the lines of the mutants as they are."""
    published = json.loads(PUBLISHED.read_text(encoding="utf-8"))
    for one in published["mistakes"]:
        one |= lines_of(named(one["name"]))
    findings: TrainingFindings = restored(TrainingFindings, published)
    return findings


def lines_of(mutant: Mutant) -> dict[str, Any]:
    """The fields of a Mistake that are read from the catalogue."""
    pairs = changes(mutant)
    return {"changes": pairs, "functions": [wrong for _, wrong in pairs]}


def measure_training(subject: Subject, mutants: Iterable[Mutant] = MUTANTS) -> TrainingFindings:
    """Final losses by k, the disagreements, and the mistakes, by training the networks of a subject many times."""
    outcomes, step = Outcomes(subject), subject.options.step
    (T, B, D), (H, O) = subject.x.shape, subject.start.W_hy.shape
    return TrainingFindings(
        made_with={
            "command": COMMAND, "python": platform.python_version(), "numpy": importlib.metadata.version("numpy")
        },
        series=subject.name,
        sizes={"T": T, "B": B, "D": D, "H": H, "O": O},
        networks=subject.networks,
        learning_rate=np.asarray(step.learning_rate).item(),
        reduction=subject.options.objective.reduction,
        by_k=by_length(subject),
        disagreements=disagreements(outcomes),
        mistakes=[mistake(outcomes, one) for one in mutants],
        epochs=demo_epochs(subject),
        max_ratio=LEARNS,
    )  # fmt: skip


def mistake(outcomes: Outcomes, of: Mutant) -> Mistake:
    """A mutant on the first run where it moves parameters; a disagreement, on its own.

    It is caught by the first run in which the suite finds more than a wrong input gradient, or by a random case of the
    score board.
    """
    own = [
        variant.run
        for variant in variants(outcomes.subject.options.objective.reduction)
        if variant.name == of.name
    ]
    caught, shown = None, None
    for run in dict.fromkeys([*own, *outcomes.runs]):
        try:
            found = judge_demo_run(program(of.name), outcomes.runs[run], outcomes.subject)
        except ValueError:  # a mistake that this run's shapes do not admit
            continue
        if found is None:
            continue
        if shown is None or outcomes.of(of.name, shown)[0].verdict == NO_EFFECT:
            shown = run
        if found.tensor not in INPUT_GRADIENTS:
            caught = caught or found
        if caught and outcomes.of(of.name, shown)[0].verdict != NO_EFFECT:
            break
    return Mistake(
        name=of.name,
        **lines_of(of),
        caught=caught or judge_case(of),
        shown_by=shown and outcomes.runs[shown].name,
        outcomes=outcomes.of(of.name, shown) if shown else [],
    )
