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

WINDOW = "one window over the series"
SLIDING = "a sliding window"
BLOCKS = "overlapping windows"
CLASSES = "a sliding window over classes"
SQUARED = (WINDOW, SLIDING, BLOCKS)  # errors
ALL = (*SQUARED, CLASSES)
WEIGHTS = ("W_hh", "W_xh", "W_hy", "b_h", "b_y")
VELOCITIES = tuple(f"v{name}" for name in WEIGHTS)

K1, K2 = 2, 5  # of the truncated runs, where the series has as many steps
MOMENTUM, DAMPENING, DECAY = 0.9, 0.5, 0.01
LIMIT = 0.1  # of clipping: the gradients of these runs are larger
CLASS_COUNT = 4


class Equation(NamedTuple):
    """The tensors of a report that an equation computes, and the runs that are
    compared.

    The page shows an element of the first tensor, of the last update of the first run.
    what: the tensor in words, where it is not the left side of the equation.
    """

    tensors: tuple[str, ...]
    runs: tuple[str, ...] = SQUARED
    what: str = ""


EQUATIONS = {
    "F1": Equation(("a",)),
    "F2": Equation(("h",)),
    "F3": Equation(("y",)),
    "F4": Equation(("a",), (CLASSES,), "Pre-activations with classes as inputs"),
    "L1": Equation(("loss",), (SLIDING,)),
    "L2": Equation(("loss",), (WINDOW, BLOCKS)),
    "L3": Equation(("dy",), (CLASSES,), "Softmax less the target"),
    "L4": Equation(("loss",), (CLASSES,)),
    "B1": Equation(("dy",), ALL),
    "B2": Equation(("dh",), ALL),
    "B3": Equation(("da",), ALL),
    "B4": Equation(("dW_xh",), ALL),
    "B5": Equation(("dW_hh",), ALL),
    "B6": Equation(("dW_hy",), ALL),
    "B7": Equation(("db_h",), ALL),
    "B8": Equation(("db_y",), ALL),
    "B9": Equation(("dh_0",), ALL),
    "B10": Equation(("dx",)),
    "T1": Equation(("end",), (BLOCKS, SLIDING)),
    "T2": Equation(("start",), (BLOCKS, SLIDING)),
    "T3": Equation(("initial",), (BLOCKS, SLIDING)),
    "U1": Equation(WEIGHTS, (BLOCKS,), "Parameters after the step of this run"),
    "U2": Equation(WEIGHTS, (SLIDING,), "Parameters after clipping by norm"),
    "U3": Equation(WEIGHTS, (SLIDING,), "Parameters after clipping by norm"),
    "U4": Equation(WEIGHTS, (SLIDING,), "Parameters after weight decay"),
    "U5": Equation(VELOCITIES, (WINDOW, SLIDING)),
    "U6": Equation(
        WEIGHTS, (SLIDING, WINDOW), "Parameters after momentum and Nesterov"
    ),
    "U7": Equation(WEIGHTS, (CLASSES,), "Parameters after clipping by value"),
    "U8": Equation(VELOCITIES, (CLASSES,)),
    "U9": Equation(WEIGHTS, (CLASSES,), "Parameters after Adagrad"),
}


def runs_of(subject: Subject) -> dict[str, Run]:
    """The runs by name, in float64. Together they use every equation.

    A network without biases gets biases of zero, which change no value and give (B7)
    and (B8) something to compute. The run over classes has the same hidden size; its
    classes are intervals of the first column of the series.
    """
    T, rate = len(subject.x), float(subject.options.step.learning_rate)
    k1, k2 = min(K1, T), min(K2, T)
    heavy = Step(rate, momentum=MOMENTUM, dampening=DAMPENING)
    nesterov = Step(
        rate, momentum=MOMENTUM, nesterov=True, weight_decay=DECAY, max_norm=LIMIT
    )
    adagrad = Step(rate, adagrad=True, max_value=LIMIT)
    start, end = (with_biases(params) for params in (subject.start, subject.end))
    classes = subject.run_of(class_parameters(subject), subject.options)._replace(
        x=class_indices(subject, subject.x),
        target=class_indices(subject, subject.target),
    )

    def options(k1: int, k2: int, epochs: int, step: Step) -> RunOptions:
        return RunOptions(Schedule(k1, k2, epochs), subject.options.objective, step)

    entropy = Objective(subject.options.objective.nonlinearity, "cross_entropy")
    return {
        WINDOW: subject.run_of(end, options(T, T, 2, heavy)),
        SLIDING: subject.run_of(start, options(1, k2, 1, nesterov)),
        BLOCKS: subject.run_of(start, options(k1, k2, 2, subject.options.step)),
        CLASSES: classes._replace(
            options=RunOptions(Schedule(1, k2), entropy, adagrad)
        ),
    }


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
