"""The mutants of the equivalence suite as mistakes: lines, effect on training, and the check that catches them."""

from collections.abc import Iterable
from difflib import SequenceMatcher
from pathlib import Path
from textwrap import dedent

import numpy_rnn
from numpy_rnn.conformance.mutants.catalogue import MUTANTS, Mutant, load, mutated_source
from numpy_rnn.conformance.mutants.score import LEVELS, score
from numpy_rnn.conformance.traces.first_divergence import EQUATIONS
from numpy_rnn.study.setting import Setting, rounded
from numpy_rnn.study.training.disagreements import disagreements, variants
from numpy_rnn.study.training.learning_curves import LEARNS, SAME, Outcomes, by_k, epochs_of, judge_demo_run


def measure_training(setting: Setting, mutants: Iterable[Mutant] = MUTANTS) -> dict:
    """Learning curves by k, the disagreements, and the mistakes, as plain values for JSON."""
    outcomes = Outcomes(setting)
    result = mistakes(outcomes, mutants)
    return {
        "by_k": by_k(setting),
        "disagreements": disagreements(outcomes),
        "mistakes": result,
        "counts": counts_of(result),
        "limits": {"networks": setting.seeds, "learns": LEARNS, "same": SAME, "epochs": epochs_of(setting)},
    }


def mistakes(outcomes: Outcomes, mutants: Iterable[Mutant] = MUTANTS) -> list[dict]:
    """One dict per mutant, in the suite's order. A disagreement is shown on its own run, the others on the first run
    where the suite catches them.
    """
    setting = outcomes.setting
    own_run = {variant.mutant: variant.run for variant in variants(setting.configuration.reduction)}
    result = []
    for mutant in mutants:
        about = {"name": mutant.name, "stage": mutant.stage, "lines": compare_lines(mutant)}
        run, check = _first_shown(mutant, outcomes, own_run.get(mutant.name))
        if run is None:
            result.append(about | _by_case(mutant))
        else:
            outcome = outcomes.of(mutant, run).findings()
            curves = {side: {key: outcome[side][key] for key in ("epochs", "median")} for side in ("right", "wrong")}
            result.append(about | {"shown_by": outcomes.runs[run].name, "caught": check} | outcome | curves)
    return result


def _first_shown(mutant, outcomes, own_run):
    """The first run in which the suite catches the mutant, and its verdict; the mutant's own run is tried first."""
    for run in dict.fromkeys([*([own_run] if own_run else []), *outcomes.runs]):
        try:
            first = judge_demo_run(load(mutant), outcomes.runs[run], outcomes.setting).first
        except ValueError:  # a mistake that this run's shapes do not admit, or that leaves no update of it
            continue
        if first is not None:
            return run, {
                "level": "L1, in lockstep",
                "tensor": first.tensor,
                "equation": first.equation,
                "epoch": first.epoch,
                "update": first.number,
                "ratio": rounded(first.ratio),
            }
    return None, None


def _by_case(mutant: Mutant) -> dict:
    """What a run of one sequence does not show, a random case of the score board does."""
    level = LEVELS[mutant.level][0]
    of_case = score(mutant, level)
    caught = {
        "level": level,
        "tensor": of_case.tensor,
        "equation": EQUATIONS.get(of_case.tensor or "", "form"),
        "epoch": None,
        "update": None,
        "ratio": rounded(of_case.factor),
    }
    nothing = {"low": None, "median": None, "high": None}
    return {"shown_by": None, "caught": caught, "right": None, "wrong": None} | {
        "ratio": nothing,
        "verdict": "not in a run",
    }


def compare_lines(mutant: Mutant) -> list[dict]:
    """One dict per place: "module", the "right" lines of numpy_rnn, and the "wrong" ones of the mutant."""
    folder = Path(numpy_rnn.__file__).parent
    result = []
    for module in dict.fromkeys(module for module, _, _ in mutant.changes):
        right = (folder / f"{module}.py").read_text(encoding="utf-8")
        wrong = mutated_source(mutant, module, right)
        lines = right.splitlines(), wrong.splitlines()
        for kind, *ends in SequenceMatcher(None, *lines, autojunk=False).get_opcodes():
            if kind != "equal":
                result.append({"module": f"{module}.py"} | _beside(*lines, *ends))
    return result


def _beside(right, wrong, start, stop, wrong_start, wrong_stop):
    """Both, less the indentation that they share; where lines are only added, the line before them is shown too."""
    if start == stop and start > 0:
        start, wrong_start = start - 1, wrong_start - 1
    sides = right[start:stop], wrong[wrong_start:wrong_stop]
    together = dedent("\n".join(sides[0] + sides[1])).split("\n")
    return {"right": "\n".join(together[: len(sides[0])]), "wrong": "\n".join(together[len(sides[0]) :])}


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
