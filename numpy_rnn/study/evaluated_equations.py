"""The equations of DERIVATION.md by their ids, and the names of the runs in which the
study evaluates them.
"""

from typing import NamedTuple

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

    section: str
    tensors: tuple[str, ...]
    runs: tuple[str, ...] = (WINDOW, BLOCKS)
    description: str = ""


FORWARD_SECTION = "The forward pass"
LOSS_SECTION = "The loss"
GRADIENT_SECTION = "The gradient"
TRUNCATION_SECTION = "Truncation"
UPDATE_SECTION = "The update"
EVALUATED = {  # in the order of their computation: the first wrong one is the cause
    "T1": EvaluatedEquation(TRUNCATION_SECTION, ("stop",), (BLOCKS,)),
    "T2": EvaluatedEquation(TRUNCATION_SECTION, ("start",), (BLOCKS,)),
    "T3": EvaluatedEquation(
        TRUNCATION_SECTION, ("initial",), (BLOCKS,), "initial state of a window"
    ),
    "F1": EvaluatedEquation(FORWARD_SECTION, ("a",)),
    "F4": EvaluatedEquation(
        FORWARD_SECTION, ("a",), (SLIDING_CLASSES,), "pre-activations of classes"
    ),
    "F2": EvaluatedEquation(FORWARD_SECTION, ("h",)),
    "F3": EvaluatedEquation(FORWARD_SECTION, ("y",)),
    "L1": EvaluatedEquation(LOSS_SECTION, ("loss",), (BLOCKS,)),
    "L2": EvaluatedEquation(LOSS_SECTION, ("loss",), (WINDOW,)),
    "L4": EvaluatedEquation(LOSS_SECTION, ("loss",), (SLIDING_CLASSES,)),
    "B1": EvaluatedEquation(GRADIENT_SECTION, ("dy",)),
    "L3": EvaluatedEquation(
        LOSS_SECTION, ("dy",), (SLIDING_CLASSES,), "softmax less the target"
    ),
    "B2": EvaluatedEquation(GRADIENT_SECTION, ("dh",)),
    "B3": EvaluatedEquation(GRADIENT_SECTION, ("da",)),
    "B4": EvaluatedEquation(
        GRADIENT_SECTION, ("dW_xh",), (WINDOW, BLOCKS, SLIDING_CLASSES)
    ),
    "B5": EvaluatedEquation(GRADIENT_SECTION, ("dW_hh",)),
    "B6": EvaluatedEquation(GRADIENT_SECTION, ("dW_hy",)),
    "B7": EvaluatedEquation(GRADIENT_SECTION, ("db_h",)),
    "B8": EvaluatedEquation(GRADIENT_SECTION, ("db_y",)),
    "B9": EvaluatedEquation(GRADIENT_SECTION, ("dh_0",)),
    "B10": EvaluatedEquation(GRADIENT_SECTION, ("dx",)),
    "U1": EvaluatedEquation(UPDATE_SECTION, PARAMETER_NAMES, (BLOCKS,)),
    "U2": EvaluatedEquation(
        UPDATE_SECTION, PARAMETER_NAMES, (CLIPPED,), "weights after clipping by norm"
    ),
    "U3": EvaluatedEquation(
        UPDATE_SECTION, PARAMETER_NAMES, (CLIPPED,), "weights after clipping by norm"
    ),
    "U7": EvaluatedEquation(
        UPDATE_SECTION, PARAMETER_NAMES, (CLIPPED_BY_VALUE,), "after clipping by value"
    ),
    "U4": EvaluatedEquation(
        UPDATE_SECTION, PARAMETER_NAMES, (DECAYED,), "weights after weight decay"
    ),
    "U5": EvaluatedEquation(UPDATE_SECTION, VELOCITIES, (HEAVY,)),
    "U6": EvaluatedEquation(
        UPDATE_SECTION, PARAMETER_NAMES, (NESTEROV,), "weights after Nesterov momentum"
    ),
    "U8": EvaluatedEquation(UPDATE_SECTION, VELOCITIES, (ADAGRAD,)),
    "U9": EvaluatedEquation(
        UPDATE_SECTION, PARAMETER_NAMES, (ADAGRAD,), "weights after Adagrad"
    ),
}
