"""The equations of DERIVATION.md by their ids, and the runs in which the study
evaluates them.
"""

from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.common.initial import initial_parameters
from numpy_rnn.common.records import (
    Objective,
    Run,
    RunOptions,
    Schedule,
    Step,
)
from numpy_rnn.study.subject import NumpyParameters, Subject

# The runs, by name. Each option of the step has a run of its own: a fault of one is not
# seen in the others.
WINDOW = "one window over the series"
BLOCKS = "overlapping windows"
SLIDING_CLASSES = "a sliding window over classes"
CLIPPED = "clipping by norm"
CLIPPED_BY_VALUE = "clipping by value"
DECAYED = "weight decay"
HEAVY = "momentum with dampening"
NESTEROV = "Nesterov momentum"
ADAGRAD = "Adagrad"

PARAMETER_NAMES = ("W_hh", "W_xh", "W_hy", "b_h", "b_y")
VELOCITIES = tuple(f"v{name}" for name in PARAMETER_NAMES)


class EvaluatedEquation(NamedTuple):
    """The tensors of a report that an equation computes, and the runs that are judged.

    The page shows an element of the first tensor, of the last update of the first run.
    description: the tensor in words, where the formula does not say it.
    """

    tensors: tuple[str, ...]
    runs: tuple[str, ...] = (WINDOW, BLOCKS)
    description: str = ""


SECTIONS = {  # of the page, by the first letter of an id
    "F": "The forward pass",
    "L": "The loss",
    "B": "The gradient",
    "T": "Truncation",
    "U": "The update",
}
EVALUATED = {  # in the order of their computation: the first wrong one is the cause
    "T1": EvaluatedEquation(("stop",), (BLOCKS,)),
    "T2": EvaluatedEquation(("start",), (BLOCKS,)),
    "T3": EvaluatedEquation(("initial",), (BLOCKS,), "initial state of a window"),
    "F1": EvaluatedEquation(("a",)),
    "F4": EvaluatedEquation(("a",), (SLIDING_CLASSES,), "pre-activations of classes"),
    "F2": EvaluatedEquation(("h",)),
    "F3": EvaluatedEquation(("y",)),
    "L1": EvaluatedEquation(("loss",), (BLOCKS,)),
    "L2": EvaluatedEquation(("loss",), (WINDOW,)),
    "L4": EvaluatedEquation(("loss",), (SLIDING_CLASSES,)),
    "B1": EvaluatedEquation(("dy",)),
    "L3": EvaluatedEquation(("dy",), (SLIDING_CLASSES,), "softmax less the target"),
    "B2": EvaluatedEquation(("dh",)),
    "B3": EvaluatedEquation(("da",)),
    "B4": EvaluatedEquation(("dW_xh",), (WINDOW, BLOCKS, SLIDING_CLASSES)),
    "B5": EvaluatedEquation(("dW_hh",)),
    "B6": EvaluatedEquation(("dW_hy",)),
    "B7": EvaluatedEquation(("db_h",)),
    "B8": EvaluatedEquation(("db_y",)),
    "B9": EvaluatedEquation(("dh_0",)),
    "B10": EvaluatedEquation(("dx",)),
    "U1": EvaluatedEquation(PARAMETER_NAMES, (BLOCKS,)),
    "U2": EvaluatedEquation(
        PARAMETER_NAMES, (CLIPPED,), "weights after clipping by norm"
    ),
    "U3": EvaluatedEquation(
        PARAMETER_NAMES, (CLIPPED,), "weights after clipping by norm"
    ),
    "U7": EvaluatedEquation(
        PARAMETER_NAMES, (CLIPPED_BY_VALUE,), "after clipping by value"
    ),
    "U4": EvaluatedEquation(PARAMETER_NAMES, (DECAYED,), "weights after weight decay"),
    "U5": EvaluatedEquation(VELOCITIES, (HEAVY,)),
    "U6": EvaluatedEquation(
        PARAMETER_NAMES, (NESTEROV,), "weights after Nesterov momentum"
    ),
    "U8": EvaluatedEquation(VELOCITIES, (ADAGRAD,)),
    "U9": EvaluatedEquation(PARAMETER_NAMES, (ADAGRAD,), "weights after Adagrad"),
}

K1, K2 = 2, 5  # of the truncated runs, where the series has as many steps
STEP_OPTIONS: dict[str, dict[str, Any]] = {
    BLOCKS: {},
    CLIPPED: {"max_norm": 0.1},  # the gradients of these runs are larger
    CLIPPED_BY_VALUE: {"max_value": 0.01},
    DECAYED: {"weight_decay": 0.1},
    HEAVY: {"momentum": 0.9, "dampening": 0.5},
    NESTEROV: {"momentum": 0.9, "nesterov": True},
    ADAGRAD: {"adagrad": True},
}
CLASS_COUNT = 4


def runs_of(subject: Subject) -> dict[str, Run]:
    """Return the runs by name, in float64. Together they use every equation.

    A network without biases gets biases of zero, which change no value and give (B7)
    and (B8) something to compute. The run over classes has the same hidden size; its
    classes are intervals of the first column of the series.
    """
    T = len(subject.run.x)
    k1 = min(K1, T)
    k2 = min(K2, T)
    rate = float(subject.run.options.step.learning_rate)
    objective = subject.run.options.objective
    start = with_biases(subject.start)
    end = with_biases(subject.end)
    one_window = RunOptions(Schedule(T, T, 2), objective, Step(rate))
    result = {WINDOW: subject.run_of(end, one_window)}
    for name, options in STEP_OPTIONS.items():
        step = Step(rate, **options)
        run_options = RunOptions(Schedule(k1, k2, 2), objective, step)
        result[name] = subject.run_of(start, run_options)
    entropy = Objective(objective.nonlinearity, "cross_entropy")
    class_options = RunOptions(Schedule(1, k2), entropy, Step(rate))
    class_run = subject.run_of(class_parameters(subject), class_options)
    result[SLIDING_CLASSES] = class_run._replace(
        x=class_indices(subject, subject.run.x),
        target=class_indices(subject, subject.run.target),
    )
    return result


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
