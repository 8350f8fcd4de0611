"""The equations of DERIVATION.md by their ids, and the runs in which the study
evaluates them.
"""

from typing import NamedTuple

import numpy as np

from numpy_rnn.common.array_kinds import is_integer
from numpy_rnn.common.initial import initial_parameters
from numpy_rnn.common.records import (
    LOSS_NAMES,
    Objective,
    Run,
    RunOptions,
    Schedule,
    Step,
)
from numpy_rnn.conformance.case import TENSORS, equations, options_by_run
from numpy_rnn.study.subject import NumpyParameters, Subject

# The runs without an option of the step, by name.
OVERLAPPING = "overlapping windows"
ONE_WINDOW = "one window over the series"
K1, K2 = 2, 5  # of the truncated runs, where the series has as many steps
CLASS_COUNT = 4

SECTIONS = {  # of the page, by the first letter of an id
    "F": "The forward pass",
    "L": "The loss",
    "B": "The gradient",
    "T": "Truncation",
    "U": "The update",
}


class EvaluatedEquation(NamedTuple):
    """The tensors of a report that an equation computes, and the runs that are judged.

    The page shows an element of the first tensor, of the last update of the first run.
    """

    tensors: list[str]
    runs: list[str]


def evaluated_equations(runs: dict[str, Run]) -> dict[str, EvaluatedEquation]:
    """Return the equations by their ids, in the order of their computation: the first
    wrong one is the cause.

    They are those that the suite names in its verdicts on these runs. An equation is
    judged in all runs that have no option of the step. If it is in none of them, it is
    judged in the first run that has it, since a fault of one option is not a fault of
    the others.
    """
    found: dict[str, dict[str, list[str]]] = {}
    for tensor in ("stop", "start", *TENSORS[1:]):
        for name, run in runs.items():
            for equation in ids_of(tensor, run):
                found.setdefault(equation, {}).setdefault(name, []).append(tensor)
    result = {}
    for equation, tensors in found.items():
        first, *_ = tensors
        plain = [name for name in tensors if not has_options(runs[name])]
        result[equation] = EvaluatedEquation(tensors[first], plain or [first])
    return result


def has_options(run: Run) -> bool:
    """Return whether the step of a run is not that of plain gradient descent."""
    step = run.options.step
    return step != Step(step.learning_rate)


def ids_of(tensor: str, run: Run) -> list[str]:
    """Return the ids of the equations of a tensor in a run; none if it has no such
    tensor.
    """
    _, objective, step = run.options
    if tensor in ("stop", "start"):
        return ["T1"] if tensor == "stop" else ["T2"]
    if tensor == "a" and is_integer(run.x):
        return ["F4"]
    if tensor.startswith("v") and not step.has_velocity:
        return []
    return equations(tensor, objective, step).split(", ")


def runs_of(subject: Subject) -> dict[str, Run]:
    """Return the runs by name, in float64. Together they use every equation.

    Each option of the step, and each loss, is in a run of its own. A network without
    biases gets biases of zero, which change no value and give (B7) and (B8) something
    to compute. A run over classes has the same hidden size; its classes are intervals
    of the first column of the series.
    """
    T = len(subject.run.x)
    k1 = min(K1, T)
    k2 = min(K2, T)
    rate = float(subject.run.options.step.learning_rate)
    objective = subject.run.options.objective
    start = with_biases(subject.start)
    options = RunOptions(Schedule(k1, k2, 2), objective, Step(rate))
    one_window = options._replace(schedule=Schedule(T, T, 2))
    result = {
        OVERLAPPING: subject.run_of(start, options),
        ONE_WINDOW: subject.run_of(with_biases(subject.end), one_window),
    }
    for loss in LOSS_NAMES:
        if loss != objective.loss:
            other = Objective(objective.nonlinearity, loss)
            run = subject.run_of(start, options._replace(objective=other))
            result[loss.replace("_", " ")] = with_targets_of(subject, run)
    for name, changed in options_by_run().items():
        step = options._replace(step=Step(rate, **changed))
        result[name] = subject.run_of(start, step)
    return result


def with_targets_of(subject: Subject, run: Run) -> Run:
    """Return a run with inputs and targets that its loss has: those of the series, or
    its classes.
    """
    if not run.options.objective.has_classes:
        return run
    schedule = Schedule(1, run.options.schedule.k2)
    return run._replace(
        params=class_parameters(subject),
        x=class_indices(subject, run.x),
        target=class_indices(subject, run.target),
        options=run.options._replace(schedule=schedule),
    )


def with_biases(params: NumpyParameters) -> NumpyParameters:
    """Return the parameters, with biases of zero where they have none."""
    if params.b_h is not None:
        return params
    H, O = params.W_hy.shape
    return params._replace(b_h=np.zeros(H), b_y=np.zeros(O))


def class_parameters(subject: Subject) -> NumpyParameters:
    """Return initial parameters of a network that reads and predicts classes."""
    return initial_parameters(
        input_size=CLASS_COUNT,
        hidden_size=subject.start.W_hh.shape[0],
        output_size=CLASS_COUNT,
        bias=True,
        dtype="float64",
        seed=subject.seed,
    )


def class_indices(subject: Subject, rows: np.ndarray) -> np.ndarray:
    """Return the classes, integers (T, B), of rows (T, B, D): equal intervals between
    the extremes of the first column.
    """
    column = subject.run.x[..., 0]
    edges = np.linspace(column.min(), column.max(), CLASS_COUNT + 1)
    classes: np.ndarray = np.digitize(rows[..., 0], edges[1:-1])
    return classes
