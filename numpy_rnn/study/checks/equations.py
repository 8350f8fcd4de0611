"""The equations of DERIVATION.md by their ids: what each computes, and under which name it is checked."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

import numpy_rnn
from numpy_rnn.common.records import Parameters
from numpy_rnn.conformance.case import Case
from numpy_rnn.conformance.ports.backends import PackagePort
from numpy_rnn.study.setting import Setting


class Equation(NamedTuple):
    """One equation."""

    what: str
    quantity: str  # as DERIVATION.md writes it
    name: str  # of the tensor


WINDOW = {
    "F1": Equation("pre-activations", "a", "a"),
    "F2": Equation("hidden states", "h", "h"),
    "F3": Equation("outputs", "y", "y"),
    "L1": Equation("loss of each step", "ℓ", "losses"),
    "L2": Equation("loss of the window", "L", "loss"),
    "B1": Equation("derivatives by the outputs", "dy", "dy"),
    "B2": Equation("derivatives by the states", "dh", "dh"),
    "B3": Equation("derivatives by the pre-activations", "da", "da"),
    "B4": Equation("gradient of the input weights", "dW_xh", "dW_xh"),
    "B5": Equation("gradient of the recurrent weights", "dW_hh", "dW_hh"),
    "B6": Equation("gradient of the output weights", "dW_hy", "dW_hy"),
    "B7": Equation("gradient of the hidden bias", "db_h", "db_h"),
    "B8": Equation("gradient of the output bias", "db_y", "db_y"),
    "B9": Equation("derivative by the initial state", "dh_0", "dh_0"),
    "B10": Equation("derivatives by the inputs", "dx", "dx"),
}
TRUNCATION = {
    "T1": Equation("where each update ends", "e", "e"),
    "T2": Equation("where its window starts", "s", "s"),
    "T3": Equation("initial state of the window, a constant", "h at s", "initial"),
}
STEP = {
    "U1": Equation("new parameters", "θ", "theta"),
    "U2": Equation("norm of all gradients", "‖dθ‖", "norm"),
    "U3": Equation("clipped gradients", "dθ", "clipped"),
    "U4": Equation("gradients with weight decay", "g", "g"),
    "U5": Equation("velocities", "v", "v"),
    "U6": Equation("direction of the step", "Δ", "delta"),
}
BY_STEP = ("a", "h", "y", "losses", "dy", "dh", "da", "dx")  # one row a step


def element(equation: Equation, at: int, shape: tuple[int, ...]) -> str:
    """An element's name, its indices from 1: dh_3[2] is unit 2 of step 3, dW_hh[2, 5] row 2, column 5.

    at: its number in the flattened tensor. A batch of one sequence is left out.
    """
    if not shape:
        return equation.quantity
    index: list[int] = []
    sizes, name = list(shape), equation.quantity
    for size in reversed(sizes):
        at, i = divmod(at, size)
        index.insert(0, i + 1)
    if equation.name in BY_STEP:
        name = f"{name}_{index.pop(0)}"
        sizes.pop(0)
    if equation.name in (*BY_STEP, "dh_0") and len(sizes) > 1 and sizes[0] == 1:
        index.pop(0)
    return f"{name}[{', '.join(map(str, index))}]" if index else name


Values = dict[str, np.ndarray]


class Problem(NamedTuple):
    """A window at one moment of training, its state learned or not in `case.h_0`."""

    where: str
    case: Case


def problems(setting: Setting) -> Iterator[Problem]:
    """Three windows over all T steps: before and after training, and after it with a loss on the newer half only.

    Where the run has no biases, they have zeros: no value of the forward pass changes, and (B7) and (B8) have something
    to be checked on.
    """
    T = len(setting.x)
    for where, params, loss_steps in (
        ("before training", setting.start, T),
        ("after training", setting.end, T),
        ("after training, with a loss on the newer half of the steps", setting.end, (T + 1) // 2),
    ):
        yield Problem(
            where, case_of(setting, with_biases(params), setting.x, setting.target[-loss_steps:], setting.h_0)
        )


def case_of(setting: Setting, params: Parameters, x, target, h_0) -> Case:
    """A window of the run with plain gradient descent; a learned initial state replaces `h_0`."""
    configuration = setting.configuration
    initial_state = h_0 if params.h_0 is None else params.h_0
    options = (configuration.nonlinearity, configuration.reduction)
    rate = float(np.asarray(configuration.learning_rate))
    return Case(params, x, target, initial_state, rate, *options)


def with_biases(params: Parameters) -> Parameters:
    """The parameters with biases of zero where they have none."""
    if params.b_h is not None:
        return params
    H, O = params.W_hy.shape
    return params._replace(b_h=np.zeros(H), b_y=np.zeros(O))


def by_hand(case: Case, rnn: Any = numpy_rnn) -> Values:
    """Every tensor of the window by (F1) to (B10), and one step of plain gradient descent: what `rnn` computes.

    Names and shapes are those of `conformance.case`; `losses` (K,) has the ℓ_t, undivided, of the
    steps with a loss.
    """
    window = {"x": case.x, "target": case.target, "h_0": case.h_0}
    values = PackagePort(rnn).window_update(
        present(case.params), **window, learning_rate=case.learning_rate, **case.options
    )
    steps = zip(values["y"][-len(case.target) :, None], case.target[:, None])
    losses = [rnn.to_numpy(rnn.half_squared_error(*map(rnn.from_numpy, step))) for step in steps]
    return values | {"losses": np.array(losses)}


def present(params: Parameters) -> Values:
    """The parameters that are not None, by name."""
    return {name: theta for name, theta in params._asdict().items() if theta is not None}
