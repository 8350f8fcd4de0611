"""What a port is asked, and what it owes.

One case is one window and its SGD step; `numpy_rnn.common.trace` documents the same names for a whole run.
"""

from typing import NamedTuple

import numpy as np

from numpy_rnn.common.records import Parameters
from numpy_rnn.common.trace import BY_STEP as INTERMEDIATES

SHAPES = {
    "loss": "",
    "a": "TBH",
    "h": "TBH",  # h_1 to h_T, without the entering state
    "y": "TBO",
    "dy": "TBO",  # zero at the steps whose loss is not counted
    "dh": "TBH",
    "da": "TBH",
    "dW_xh": "DH",
    "dW_hh": "HH",
    "dW_hy": "HO",
    "db_h": "H",
    "db_y": "O",
    "W_xh": "DH",  # the parameters after the update
    "W_hh": "HH",
    "W_hy": "HO",
    "b_h": "H",
    "b_y": "O",
}


class Case(NamedTuple):
    """One window: T steps of B sequences, of which the newest K carry a loss. All arrays in one dtype.

    `params` holds NumPy arrays without ensemble axes; x (T, B, D), target (K, B, O), h_0 (B, H).
    """

    params: Parameters
    x: np.ndarray
    target: np.ndarray
    h_0: np.ndarray
    learning_rate: float
    nonlinearity: str = "tanh"
    reduction: str = "sum"

    @property
    def dtype(self) -> np.dtype:
        """float32 or float64."""
        return self.params.W_hh.dtype

    @property
    def sizes(self) -> dict[str, int]:
        """T, B, D, H, O and K by their letters."""
        T, B, D = self.x.shape
        H, O = self.params.W_hy.shape
        return {"T": T, "B": B, "D": D, "H": H, "O": O, "K": len(self.target)}

    @property
    def options(self) -> dict[str, str]:
        """The keyword arguments that a port is given besides the learning rate."""
        return {"nonlinearity": self.nonlinearity, "reduction": self.reduction}


def owed(case: Case, intermediates: bool) -> dict[str, tuple[int, ...]]:
    """The names that a report must hold for this case, exactly, and their shapes."""
    sizes = case.sizes
    biases = case.params.b_h is not None
    return {
        name: tuple(sizes[letter] for letter in letters)
        for name, letters in SHAPES.items()
        if (intermediates or name not in INTERMEDIATES) and (biases or not name.endswith(("b_h", "b_y")))
    }


def form_faults(case: Case, report, intermediates: bool) -> list[str]:
    """What is wrong with the form of a report, a line each: names missing or unknown, shape, dtype, NaN or infinity.

    An empty list: every owed name is there, in the case's dtype, in its shape, and finite. Only then may numbers be
    compared, since NaN passes every comparison that asks whether something is too large.
    """
    if not isinstance(report, dict):
        return [f"the report is a {type(report).__name__}: expected a dict of arrays by name"]
    expected = owed(case, intermediates)
    faults = [f"{name} is missing" for name in expected if name not in report]
    known = owed(case, intermediates=True)
    faults += [f"{name} is not a name that is owed" for name in report if name not in known]
    for name, shape in expected.items():
        if name not in report:
            continue
        array = report[name]
        if not isinstance(array, (np.ndarray, np.generic)):
            faults.append(f"{name} is a {type(array).__name__}: expected a NumPy array")
        elif array.dtype != case.dtype:
            faults.append(f"{name} is {array.dtype}: expected {case.dtype}")
        elif array.shape != shape:
            faults.append(f"{name} has shape {array.shape}: expected {shape}")
        elif not np.isfinite(array).all():
            index = tuple(map(int, np.argwhere(~np.isfinite(array))[0]))
            faults.append(f"{name}{list(index)} is {np.asarray(array)[index]}: expected a finite number")
    return faults
