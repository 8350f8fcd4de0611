"""The numbers of this part of the study."""

from collections.abc import Iterable

from numpy_rnn.conformance.mutants.catalogue import MUTANTS, Mutant
from numpy_rnn.study.setting import Setting
from numpy_rnn.study.training.by_k import by_k
from numpy_rnn.study.training.disagreements import disagreements
from numpy_rnn.study.training.mistakes import LEARNS, NETWORKS, SAME, mistakes
from numpy_rnn.study.training.shown_by import MOST_UPDATES


def measure(setting: Setting, mutants: Iterable[Mutant] = MUTANTS) -> dict:
    """Loss curves by k, the disagreements, and the mistakes, as plain values for JSON."""
    found = mistakes(setting, mutants)
    return {
        "by_k": by_k(setting),
        "disagreements": disagreements(setting),
        "mistakes": found,
        "counts": counts_of(found),
        "limits": {"networks": NETWORKS, "learns": LEARNS, "same": SAME, "updates": MOST_UPDATES},
    }


def counts_of(mistakes: list[dict]) -> dict:
    """How many mistakes there are of every kind of outcome, under names for the page's text."""
    verdicts = [mistake["verdict"] for mistake in mistakes]
    good = ("the same", "lower loss", "learns")
    return {
        "all": len(verdicts),
        "in_a_run": len(verdicts) - verdicts.count("not in a run"),
        "learns": sum(verdict in good for verdict in verdicts),
        "same": verdicts.count("the same"),
        "caught": sum(mistake["caught"]["tensor"] is not None for mistake in mistakes),
        "by_case": verdicts.count("not in a run"),
        "less": verdicts.count("learns less"),
        "not": verdicts.count("does not learn"),
        "diverged": verdicts.count("diverged"),
    }
