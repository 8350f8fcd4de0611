"""The errors in the format of a trace, before any of its numbers is judged."""

import json

import numpy as np
import pytest
from test_judge import EVERYTHING, black_box, trace

from numpy_rnn.conformance.traces.trace_format import trace_errors


def errors(right, **changes):
    """The errors in a trace with these arrays; None: without them."""
    return trace_errors({name: array for name, array in (right | changes).items() if array is not None})


def changed(array, index, value):
    """The array with another element."""
    other = np.array(array)
    other[index] = value
    return other


PLAIN, FULL = trace(), trace(EVERYTHING)
NOT_ARRAYS = (np.array(1.0), np.array("text"), np.array(["a", "b"]), np.zeros((0, 1, 1)))
FAULTS = [
    *((PLAIN, {name: None}, f"{name} is missing") for name in ("x", "a", "dW_hh", "dh_0")),
    *((FULL, {name: None}, f"{name} is missing") for name in ("vW_xh", "vb_h", "vh_0", "h_0", "dh_0", "initial_h_0")),
    (PLAIN, {"configuration": np.bytes_(b"no")}, "configuration is not JSON text"),
    (PLAIN, {"configuration": np.bytes_(b"[" * 100_000)}, "configuration is not JSON text"),
    (PLAIN, {"configuration": np.bytes_(b'["k1"]')}, "configuration is not a JSON object: expected"),
    (PLAIN, {"configuration": np.bytes_(b"{}")}, "configuration has no k1"),
    *(
        (PLAIN, {name: array}, f"{name} has shape {array.shape}: expected ")
        for name in ("initial_W_xh", "initial_W_hh", "initial_W_hy", "x", "target", "initial_h_0")
        for array in NOT_ARRAYS
    ),
    *(
        (PLAIN, {name: changed(PLAIN[name], 1, value)}, f"{name}[1] is {value}: expected 1 to 20, one per update")
        for name in ("epoch", "number")
        for value in (-1, 0, 21)
    ),
    (PLAIN, {"h": PLAIN["h"][:-1]}, "h has shape ("),
    (FULL, {"h_0": FULL["h_0"][:-1]}, "h_0 has shape (19, 1, 4): expected (20, 1, 4)"),
    (PLAIN, {"y": PLAIN["y"].astype("f")}, "y is float32: expected float32 or float64, the same everywhere"),
    (PLAIN, {"da": changed(PLAIN["da"], (4, 0, 1), np.nan)}, "da[4, 0, 1] is nan: expected a finite number"),
    (FULL, {"vh_0": FULL["vh_0"] * np.nan}, "vh_0[0, 0, 0] is nan: expected a finite number"),
    (PLAIN, {"epoch": PLAIN["epoch"].astype(float)}, "epoch is float64 of shape (20,): expected (N,) integers"),
    (PLAIN, {"start": PLAIN["start"] + 50}, "a window has no steps, or reaches beyond the series"),
    (PLAIN, {"loss_start": PLAIN["stop"]}, "a window has no step with a loss"),
    (PLAIN, {"target": PLAIN["target"][:-1]}, "x (20, 1, 1) and target (19, 1, 1) do not fit"),
    (PLAIN, {"x": PLAIN["x"][:, 0, 0]}, "x has shape (20,): expected two axes or more"),
    *(
        (PLAIN, {"weights": weights}, f"weights has shape {weights.shape}: expected (20, 1), numbers of 0 or more")
        for weights in (np.full((20, 1), -1.0), np.ones((19, 1)))
    ),
    (PLAIN, {"vW_xh": PLAIN["dW_xh"]}, "vW_xh is present, but the configuration excludes it"),
]
NO_RUN = "the configuration is not one of a run: "
SETTINGS = [
    ({"learn_initial_state": False}, "h_0 is present, but the configuration excludes it"),
    ({"momentum": 0.0, "nesterov": False}, "vW_xh is present, but the configuration excludes it"),
    ({"momentum": -1.0}, NO_RUN + "momentum is -1.0: expected a finite number"),
    ({"max_norm": "1"}, NO_RUN + "max_norm is '1': expected a number"),
    ({"k1": 2.0}, NO_RUN + "k1 is 2.0: expected a whole number, 1000000000 at most"),
    ({"epochs": 10**30}, NO_RUN + "epochs is 10000"),
    ({"nonlinearity": []}, NO_RUN + "nonlinearity is []: expected a text"),
    ({"nesterov": {}}, NO_RUN + "nesterov is {}: expected true or false"),
    ({"learning_rate": [["a"]]}, NO_RUN + "the learning rates are not numbers"),
    ({"k2": 1}, NO_RUN + "k2 is 1 and k1 is 2: expected k2 ≥ k1"),
    ({"nonlinearity": "gelu"}, NO_RUN + "nonlinearity is 'gelu'"),
    ({"learning_rate": [0.1, 0.2]}, NO_RUN + "learning rates of shape (2,) do not"),
    ({"learning_rate": float("nan")}, NO_RUN + "the learning rate is nan"),
]
KNOWN = json.loads(FULL["configuration"].tobytes())
FAULTS += [(FULL, {"configuration": np.bytes_(json.dumps(KNOWN | changes))}, message) for changes, message in SETTINGS]


@pytest.mark.parametrize(("right", "changes", "message"), FAULTS, ids=[message[:60] for *_, message in FAULTS])
def test_an_error_is_named(right, changes, message):
    first, *_ = errors(right, **changes)
    assert first.startswith(message)


def test_what_is_not_required_may_be_missing():
    for right in (PLAIN, FULL):
        assert errors(right) == errors(right, dx=None) == trace_errors(black_box(right)) == []
    assert errors(PLAIN, dx=None, dh_0=None) == []
