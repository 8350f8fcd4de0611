"""The equations of DERIVATION.md by their ids, and the runs in which the study
evaluates them.
"""

from typing import NamedTuple

import numpy as np

from numpy_rnn.common.initial import initial_parameters
from numpy_rnn.common.records import (
    Objective,
    Parameters,
    Run,
    RunOptions,
    Schedule,
    Step,
)
from numpy_rnn.study.subject import Subject

# The runs, by name. Each option of the step has a run of its own: a fault of one is not
# seen in the others.
WINDOW = "one window over the series"
BLOCKS = "overlapping windows"
CLASSES = "a sliding window over classes"
CLIPPED = "clipping by norm"
CLIPPED_BY_VALUE = "clipping by value"
DECAYED = "weight decay"
HEAVY = "momentum with dampening"
NESTEROV = "Nesterov momentum"
ADAGRAD = "Adagrad"

WEIGHTS = ("W_hh", "W_xh", "W_hy", "b_h", "b_y")
VELOCITIES = tuple(f"v{name}" for name in WEIGHTS)
K1, K2 = 2, 5  # of the truncated runs, where the series has as many steps
STEPS = {
    BLOCKS: {},
    CLIPPED: {"max_norm": 0.1},  # the gradients of these runs are larger
    CLIPPED_BY_VALUE: {"max_value": 0.01},
    DECAYED: {"weight_decay": 0.1},
    HEAVY: {"momentum": 0.9, "dampening": 0.5},
    NESTEROV: {"momentum": 0.9, "nesterov": True},
    ADAGRAD: {"adagrad": True},
}
CLASS_COUNT = 4


class Equation(NamedTuple):
    """The tensors of a report that an equation computes, and the runs that are judged.

    The page shows an element of the first tensor, of the last update of the first run.
    what: the tensor in words, where the formula does not say it.
    """

    section: str
    tensors: tuple[str, ...]
    runs: tuple[str, ...] = (WINDOW, BLOCKS)
    what: str = ""


FORWARD, LOSS, GRADIENT = "The forward pass", "The loss", "The gradient"
TRUNCATION, UPDATE = "Truncation", "The update"
EQUATIONS = {  # in the order of their computation: the first wrong one is the cause
    "T1": Equation(TRUNCATION, ("stop",), (BLOCKS,)),
    "T2": Equation(TRUNCATION, ("start",), (BLOCKS,)),
    "T3": Equation(TRUNCATION, ("initial",), (BLOCKS,), "initial state of a window"),
    "F1": Equation(FORWARD, ("a",)),
    "F4": Equation(FORWARD, ("a",), (CLASSES,), "pre-activations of classes"),
    "F2": Equation(FORWARD, ("h",)),
    "F3": Equation(FORWARD, ("y",)),
    "L1": Equation(LOSS, ("loss",), (BLOCKS,)),
    "L2": Equation(LOSS, ("loss",), (WINDOW,)),
    "L4": Equation(LOSS, ("loss",), (CLASSES,)),
    "B1": Equation(GRADIENT, ("dy",)),
    "L3": Equation(LOSS, ("dy",), (CLASSES,), "softmax less the target"),
    "B2": Equation(GRADIENT, ("dh",)),
    "B3": Equation(GRADIENT, ("da",)),
    "B4": Equation(GRADIENT, ("dW_xh",), (WINDOW, BLOCKS, CLASSES)),
    "B5": Equation(GRADIENT, ("dW_hh",)),
    "B6": Equation(GRADIENT, ("dW_hy",)),
    "B7": Equation(GRADIENT, ("db_h",)),
    "B8": Equation(GRADIENT, ("db_y",)),
    "B9": Equation(GRADIENT, ("dh_0",)),
    "B10": Equation(GRADIENT, ("dx",)),
    "U1": Equation(UPDATE, WEIGHTS, (BLOCKS,)),
    "U2": Equation(UPDATE, WEIGHTS, (CLIPPED,), "weights after clipping by norm"),
    "U3": Equation(UPDATE, WEIGHTS, (CLIPPED,), "weights after clipping by norm"),
    "U7": Equation(UPDATE, WEIGHTS, (CLIPPED_BY_VALUE,), "after clipping by value"),
    "U4": Equation(UPDATE, WEIGHTS, (DECAYED,), "weights after weight decay"),
    "U5": Equation(UPDATE, VELOCITIES, (HEAVY,)),
    "U6": Equation(UPDATE, WEIGHTS, (NESTEROV,), "weights after Nesterov momentum"),
    "U8": Equation(UPDATE, VELOCITIES, (ADAGRAD,)),
    "U9": Equation(UPDATE, WEIGHTS, (ADAGRAD,), "weights after Adagrad"),
}


def runs_of(subject: Subject) -> dict[str, Run]:
    """Return the runs by name, in float64. Together they use every equation.

    A network without biases gets biases of zero, which change no value and give (B7)
    and (B8) something to compute. The run over classes has the same hidden size; its
    classes are intervals of the first column of the series.
    """
    T, rate = len(subject.x), float(subject.options.step.learning_rate)
    k1, k2 = min(K1, T), min(K2, T)
    start, end = (with_biases(params) for params in (subject.start, subject.end))
    objective = subject.options.objective
    whole = RunOptions(Schedule(T, T, 2), objective, Step(rate))
    result = {WINDOW: subject.run_of(end, whole)}
    for name, options in STEPS.items():
        step = Step(rate, **options)  # type: ignore[arg-type]
        run_options = RunOptions(Schedule(k1, k2, 2), objective, step)
        result[name] = subject.run_of(start, run_options)
    entropy = Objective(objective.nonlinearity, "cross_entropy")
    of_classes = RunOptions(Schedule(1, k2), entropy, Step(rate))
    result[CLASSES] = subject.run_of(class_parameters(subject), of_classes)._replace(
        x=class_indices(subject, subject.x),
        target=class_indices(subject, subject.target),
    )
    return result


def with_biases(params: Parameters) -> Parameters:
    """The parameters, with biases of zero where they have none."""
    if params.b_h is not None:
        return params
    H, O = params.W_hy.shape
    return params._replace(b_h=np.zeros(H), b_y=np.zeros(O))


def class_parameters(subject: Subject) -> Parameters:
    """Initial parameters of a network that reads and predicts classes."""
    H = subject.start.W_hh.shape[0]
    return initial_parameters(
        input_size=CLASS_COUNT,
        hidden_size=H,
        output_size=CLASS_COUNT,
        bias=True,
        dtype="float64",
        seed=subject.seed,
    )


def class_indices(subject: Subject, rows: np.ndarray) -> np.ndarray:
    """The classes, integers (T, B), of rows (T, B, D): equal intervals between the
    extremes of the first column.
    """
    column = subject.x[..., 0]
    inner = np.linspace(column.min(), column.max(), CLASS_COUNT + 1)[1:-1]
    return np.digitize(rows[..., 0], inner)
