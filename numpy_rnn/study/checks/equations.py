"""The equations of DERIVATION.md by their ids: what each computes, and under which name it is checked."""

from typing import Any, NamedTuple

import numpy as np

import numpy_rnn
from numpy_rnn.common.records import Parameters, WindowCase
from numpy_rnn.study.findings import AFTER, BEFORE
from numpy_rnn.study.subject import Subject
from numpy_rnn.study.suite_parts import Values, initial_state, present


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
SOFTMAX = "B1, cross-entropy"  # (B1) with the other of its two e
OF_CLASSES = {
    "F4": Equation("classes as rows of 0 and 1", "x", "x"),
    "L3": Equation("softmax", "p", "p"),
    "L4": Equation("cross-entropy of each step", "ℓ", "losses"),
    SOFTMAX: Equation("derivatives of the cross-entropy by the outputs, p − target", "dy", "dy"),
}
OF_GRADIENTS = {
    "U7": Equation("gradients clipped by value, to half of the largest", "dθ", "by value"),
    "U8": Equation("sums of squares of Adagrad after two updates", "v", "v"),
    "U9": Equation("direction of Adagrad in the second update", "Δ", "delta"),
}
_ALL = WINDOW | TRUNCATION | STEP | OF_CLASSES | OF_GRADIENTS
EQUATIONS = {id: _ALL[id] for letter in "FLBTU" for id in sorted(_ALL, key=lambda id: (int(id[1:3].strip(",")), id))
             if id[0] == letter}  # fmt: skip
BY_STEP = ("a", "h", "y", "losses", "dy", "dh", "da", "dx", "p", "x")  # one row per step


def element(equation: Equation, at: int, shape: tuple[int, ...], params: Any = None) -> str:
    """An element's name, its indices from 1: dh_3[2] is unit 2 of step 3, dW_hh[2, 5] row 2, column 5.

    at: its number in the flattened tensor. A batch of one sequence is left out. params: where the tensor is the row of
    all parameters, these, for the name of the one that the element belongs to.
    """
    if params is not None and shape:
        for name, theta in present(params).items():
            if at < theta.size:
                return (
                    f"{equation.quantity} of {element(Equation('', name, name), at, theta.shape)}"
                )
            at -= theta.size
    index, name = [int(i) + 1 for i in np.unravel_index(at, shape)], equation.quantity
    if index and equation.name in BY_STEP:
        name, shape = f"{name}_{index.pop(0)}", shape[1:]
    if equation.name in (*BY_STEP, "dh_0") and len(shape) > 1 and shape[0] == 1:
        index.pop(0)
    return f"{name}[{', '.join(map(str, index))}]" if index else name


def problems(subject: Subject) -> dict[str, WindowCase]:
    """Three windows over all T steps: before and after training, and after it with a loss on the newer half only.

    Where the run has no biases, they have zeros: no value of the forward pass changes, and (B7) and (B8) have something
    to be checked on.
    """
    start, end = (_with_biases(params) for params in (subject.start, subject.end))
    newer = subject.target[-((len(subject.x) + 1) // 2) :]
    return {
        BEFORE: case_of(subject, start, subject.x, subject.target),
        AFTER: case_of(subject, end, subject.x, subject.target),
        f"{AFTER}, with a loss on the newer half of the steps": case_of(
            subject, end, subject.x, newer
        ),
    }


def case_of(subject: Subject, params: Parameters, x, target, h_0=None) -> WindowCase:
    """A window of the run; without an initial state, it has the one of the series, learned or not."""
    initial_state = None if params.h_0 is not None else subject.h_0 if h_0 is None else h_0
    return WindowCase(
        params, x, target, initial_state, None, subject.options.objective, subject.options.step
    )


def divisor(case: WindowCase) -> int:
    """The N of (L2)."""
    return case.target.size if case.objective.reduction == "mean" else 1


def _with_biases(params: Parameters) -> Parameters:
    if params.b_h is not None:
        return params
    H, O = params.W_hy.shape
    return params._replace(b_h=np.zeros(H), b_y=np.zeros(O))


def by_hand(case: WindowCase, rnn: Any = numpy_rnn) -> Values:
    """Every tensor of (F1) to (B10) by name, as `rnn` computes it: h_1 to h_T, and `losses` (K,), undivided."""
    params, x, target, h_0 = map(
        rnn.from_numpy, (case.params, case.x, case.target, initial_state(case))
    )
    options: dict[str, Any] = {"nonlinearity": case.objective.nonlinearity}
    activations = rnn.forward(params, x, h_0, **options)
    y, options["reduction"] = activations.y[-len(target) :], case.objective.reduction
    tensors = {name: getattr(activations, name) for name in ("a", "h", "y")}
    tensors["loss"] = rnn.half_squared_error(y, target, reduction=options["reduction"])
    tensors |= rnn.adjoints(params, activations, target, **options)._asdict()
    tensors |= {
        f"d{name}": g
        for name, g in present(rnn.bptt(params, activations, target, **options)).items()
    }
    values = {name: np.asarray(rnn.to_numpy(tensor)) for name, tensor in tensors.items()}
    steps = [rnn.half_squared_error(y[k : k + 1], target[k : k + 1]) for k in range(len(target))]
    return values | {
        "h": values["h"][1:],
        "losses": np.array([float(rnn.to_numpy(loss)) for loss in steps]),
    }


def row(tensors: Any) -> np.ndarray:
    """The tensors that are not None, one after the other."""
    return np.concatenate([v.ravel() for v in present(tensors).values()])
