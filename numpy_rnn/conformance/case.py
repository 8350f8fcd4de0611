"""Cases: one window and its SGD step. The tables of tensors.

Without `step` a case has gradients only; without `h_0` its initial state is zero. In
stacked cases all arrays have the same leading axes: first in parameters, velocities and
the learning rate, after the axis of time in the others. The suite takes names, axes and
order of tensors from these tables.
"""

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.common.array_kinds import is_integer
from numpy_rnn.common.numbers import check_choice
from numpy_rnn.common.records import (
    Gradients,
    NumpyArray,
    Objective,
    Parameters,
    Run,
    Step,
)

# Axes of every tensor, in causal order; h is h_1 to h_T, without the initial state.
STATES = {"a": "TBH", "h": "TBH", "y": "TBO"}
ADJOINTS = {"dy": "TBO", "dh": "TBH", "da": "TBH"}
INPUT_GRADIENTS = {"dh_0": "BH", "dx": "TBD"}
PARAMETER_AXES = {"W_xh": "DH", "W_hh": "HH", "W_hy": "HO", "b_h": "H", "b_y": "O"}
FIELDS = tuple(PARAMETER_AXES)
GRADIENT_AXES = {"d" + name: axes for name, axes in PARAMETER_AXES.items()}
VELOCITY_AXES = {"v" + name: axes for name, axes in PARAMETER_AXES.items()}
SHAPES = {
    **STATES,
    "loss": "",
    **ADJOINTS,
    **INPUT_GRADIENTS,
    **GRADIENT_AXES,  # before clipping
    **VELOCITY_AXES,
    **PARAMETER_AXES,  # after the update
}
# Of a run: with its windows, and their initial states.
TENSORS = ("window", "initial", *SHAPES)
# The equations that no option changes; `equations` has all.
FIXED_EQUATIONS = {
    "window": "T1, T2",
    "initial": "T3",
    "a": "F1",
    "h": "F2",
    "y": "F3",
    "dy": "B1",
    "dh": "B2",
    "da": "B3",
    "dh_0": "B9",
    "dx": "B10",
    "dW_xh": "B4",
    "dW_hh": "B5",
    "dW_hy": "B6",
    "db_h": "B7",
    "db_y": "B8",
}
INTERMEDIATES = (*STATES, *ADJOINTS)
# Capabilities that add tensors to a report, and no case or run uses.
REPORTED = {"intermediates": INTERMEDIATES, "input_gradients": tuple(INPUT_GRADIENTS)}
BACKWARDS = ("dh", "da")  # computed from the last step to the first
UPDATED = {*FIELDS, *VELOCITY_AXES}  # what the step computes
LOSS_AXES = ("steps", "batch", "outputs")  # of the terms of a loss


class LossKind(NamedTuple):
    """What a loss is computed from, and by."""

    axes: tuple[str, ...]  # of its terms
    equations: str
    function: str  # of the packages


LOSS_KINDS = {
    "squared_error": LossKind(LOSS_AXES, "L1, L2", "half_squared_error"),
    "cross_entropy": LossKind(LOSS_AXES[:2], "L3, L4, L2", "cross_entropy"),
}


class StepOption(NamedTuple):
    """What the suite knows of an option of the step."""

    words: str  # for a user of the command line
    choices: tuple[Any, ...]  # that random cases draw
    equations: str = ""  # that it adds to those of the gradient
    capability: str = ""  # of its own; empty: it is one of the "sgd_options"


# By the fields of `Step`, in the order in which they are applied.
STEP_OPTIONS = {
    "max_norm": StepOption(
        "clipping by norm", (None, None, 0.1, 0.5, 1.0, 5.0, 30.0), "U2, U3"
    ),
    "max_value": StepOption(
        "clipping by value",
        (None, None, None, None, None, None, 0.03, 0.2, 1.0),
        "U7",
        "clip_by_value",
    ),
    "weight_decay": StepOption("weight decay", (0.0, 0.01, 0.1), "U4"),
    "momentum": StepOption("momentum", (0.0, 0.5, 0.9)),
    "dampening": StepOption("dampening", (0.0, 0.25, 0.7)),
    "nesterov": StepOption("Nesterov momentum", (False, True)),
    "adagrad": StepOption(
        "Adagrad", (False, False, False, False, True), capability="adagrad"
    ),
}
SGD_OPTIONS = tuple(
    name for name, option in STEP_OPTIONS.items() if not option.capability
)


# Options that go together, or need another number than the others, by a name.
OPTION_SETS: dict[str, dict[str, Any]] = {
    "dampened momentum": {"momentum": 0.9, "dampening": 0.5},
    "Nesterov momentum": {"momentum": 0.9, "nesterov": True},
    "clipping by value": {"max_value": 0.01},
}
OPTION_NUMBER = 0.1  # of any other option that is a number


def options_by_run() -> dict[str, dict[str, Any]]:
    """Return sets of options of the step by names: each option is in one of them."""
    result = dict(OPTION_SETS)
    for name, default in Step._field_defaults.items():
        if not any(name in options for options in OPTION_SETS.values()):
            value = True if default is False else OPTION_NUMBER
            result[name.replace("_", " ")] = {name: value}
    return result


def used_options(step: Step) -> dict[str, StepOption]:
    """Return the options that change a step, by their names."""
    defaults = Step._field_defaults
    used = {}
    for name, option in STEP_OPTIONS.items():
        if getattr(step, name) != defaults[name]:
            used[name] = option
    return used


def loss_kind(objective: Objective) -> LossKind:
    """Return the row of a loss. Raises InputError if there is none."""
    check_choice("loss", objective.loss, tuple(LOSS_KINDS))
    return LOSS_KINDS[objective.loss]


NamedArrays = dict[str, NumpyArray]  # by the names of a report


class WindowCase(NamedTuple):
    """One window and its step, as arrays of NumPy: all that a gradient and an update
    depend on.
    """

    params: Parameters[Any]
    x: Any  # (T, N, B, D), or classes
    target: Any  # (K, N, B, O) of the newest K steps, or classes
    h_0: Any  # (N, B, H)
    objective: Objective
    step: Step | None
    velocity: Gradients[Any] | None = None  # before the step
    # The largest error of a velocity that is recomputed; None where it is reported.
    velocity_error: Parameters[Any] | None = None

    @property
    def dtype(self) -> Any:
        """Return the dtype of the parameters."""
        return self.params.W_hh.dtype


def equations(tensor: str, objective: Objective, step: Step | None) -> str:
    """Return the ids of the equations of a tensor under these options, from the tensors
    before it.

    Clipping and weight decay belong to the velocity, and without one to the parameters.
    """
    if tensor == "loss":
        return loss_kind(objective).equations
    if tensor not in UPDATED:
        return FIXED_EQUATIONS[tensor]
    if step is None:
        raise ValueError(f"{tensor} is computed by a step, and there is none")
    ids = [option.equations for option in used_options(step).values()]
    if tensor.startswith("v"):
        ids.append("U8" if step.adagrad else "U5")
    else:
        if step.adagrad:
            ids.append("U9")
        elif step.momentum:  # from the velocity
            ids = ["U6"] if step.nesterov else []
        ids.append("U1")
    return ", ".join(filter(None, ids))


def parameters_from(arrays: Mapping[str, Any], prefix: str = "") -> Parameters[Any]:
    """Return parameters, or what belongs to each, from arrays by name; None where
    there is none.
    """
    return Parameters(**{name: arrays.get(prefix + name) for name in FIELDS})


def present(params: Parameters[Any] | None, prefix: str = "") -> dict[str, Any]:
    """Return the arrays by name, with a prefix, without those that are None."""
    fields = {} if params is None else params._asdict()
    return {prefix + name: v for name, v in fields.items() if v is not None}


def leading_axes(params: Parameters[Any]) -> int:
    """Return the number of axes of networks, updates and samples, before those of one
    parameter.
    """
    name, array = next(iter(present(params).items()))
    return int(array.ndim) - len(SHAPES[name])


def case_sizes(case: WindowCase | Run) -> dict[str, int]:
    """Return T, B, D, H, O and K by their letters."""
    D, H = case.params.W_xh.shape[-2:]
    O = case.params.W_hy.shape[-1]
    B = case.x.shape[-1 if is_integer(case.x) else -2]
    return {"T": len(case.x), "B": B, "D": D, "H": H, "O": O, "K": len(case.target)}


def initial_state_of(case: WindowCase) -> NumpyArray:
    """Return the initial state of the window: the given one, or zeros."""
    sizes = case_sizes(case)
    zeros = np.zeros((sizes["B"], sizes["H"]), case.dtype)
    return zeros if case.h_0 is None else case.h_0


def with_rows(case: WindowCase) -> WindowCase:
    """Return the same case with rows of 0 and 1 for classes."""
    sizes = case_sizes(case)
    for name, letter in (("x", "D"), ("target", "O")):
        classes = getattr(case, name)
        if is_integer(classes):
            rows = np.eye(sizes[letter], dtype=case.dtype)[classes]
            case = case._replace(**{name: rows})
    return case


def required_outputs(
    case: WindowCase, capabilities: Collection[str] = tuple(REPORTED)
) -> dict[str, tuple[int, ...]]:
    """Return the names that a report on this case must have, and their shapes."""
    names = output_names(case.params, case.step)
    for capability, tensors in REPORTED.items():
        if capability in capabilities:
            names.update(tensors)
    sizes = case_sizes(case)
    shapes = {}
    for name, axes in SHAPES.items():
        if name in names:
            shapes[name] = tuple(sizes[letter] for letter in axes)
    return shapes


def output_names(params: Parameters[Any], step: Step | None) -> set[str]:
    """Return the names of the results of a window: the loss, the gradients, and what
    the step computes.
    """
    names = {"loss"}
    for name in present(params):
        names.add("d" + name)
        if step is not None:
            names.add(name)
            if step.has_velocity:
                names.add("v" + name)
    return names
