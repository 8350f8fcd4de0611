"""The equations of DERIVATION.md by their ids: what each computes, and under which name it is checked."""

from typing import NamedTuple


class Equation(NamedTuple):
    """One equation."""

    what: str
    quantity: str  # as DERIVATION.md writes it
    name: str  # of the tensor in what the witnesses say


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
    "T3": Equation("the state that enters, a constant", "h at s", "initial"),
}
STEP = {
    "U1": Equation("new parameters", "θ", "theta"),
    "U2": Equation("norm of all gradients", "n", "n"),
    "U3": Equation("clipped gradients", "dθ", "clipped"),
    "U4": Equation("gradients with weight decay", "d", "d"),
    "U5": Equation("velocities", "v", "v"),
    "U6": Equation("direction of the step", "s", "s"),
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
