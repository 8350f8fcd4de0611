"""The mutants of the conformance suite as mistakes: lines, effect on training, and the check that catches them."""

from collections.abc import Iterable

from numpy_rnn.study.findings import Mistake, TrainingFindings
from numpy_rnn.study.subject import Subject
from numpy_rnn.study.suite_parts import MUTANTS, Mutant, judge_case, mutant, wrong_functions
from numpy_rnn.study.training.disagreements import disagreements, variants
from numpy_rnn.study.training.learning_curves import LEARNS, Outcomes, by_length, demo_epochs, judge_demo_run

INPUT_GRADIENTS = ("dh_0", "dx")  # on which no parameter depends


def measure_training(subject: Subject, mutants: Iterable[Mutant] = MUTANTS) -> TrainingFindings:
    """Learning curves by k, the disagreements, and the mistakes."""
    outcomes = Outcomes(subject)
    wrong = [mistake(outcomes, one) for one in mutants]
    return TrainingFindings(by_length(subject), disagreements(outcomes), wrong, demo_epochs(subject), LEARNS)


def mistake(outcomes: Outcomes, of: Mutant) -> Mistake:
    """A mutant on the first run where the suite catches it in more than an input gradient; a disagreement, on its own.

    A mutant that no run of one sequence shows is caught by a random case of the score board.
    """
    subject, functions = outcomes.subject, wrong_functions(of)
    own = [variant.run for variant in variants(subject.options.objective.reduction) if variant.name == of.name]
    for run in dict.fromkeys([*own, *outcomes.runs]):
        try:
            caught = judge_demo_run(mutant(of.name), outcomes.runs[run], subject)
        except ValueError:  # a mistake that this run's shapes do not admit
            continue
        if caught is not None and caught.tensor not in INPUT_GRADIENTS:
            name, outcome = outcomes.runs[run].name, outcomes.of(of.name, run)
            return Mistake(of.name, of.changes, functions, caught, name, outcome)
    return Mistake(of.name, of.changes, functions, judge_case(of), None, None)
