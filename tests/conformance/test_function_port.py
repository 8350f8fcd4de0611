"""Functions of every shape as ports: right ones pass in the layout that is found.

The functions below are one network with tanh, written by hand as people write it.
"""

import math

import numpy as np
import pytest

from benchmarks.implementations.min_char_rnn import loss_and_gradients
from numpy_rnn.common.errors import InputError
from numpy_rnn.conformance.adapters import function_port
from numpy_rnn.conformance.case import FIELDS, LOSS_AXES
from numpy_rnn.conformance.ports.protocol import PortFault
from numpy_rnn.conformance.suite import WrongPort, check_port
from tests.helpers.ports import check_levels


def forward(p, x, h_0):
    """Compute the states, with h_0, and the outputs."""
    h = [h_0]
    for x_t in x:
        h.append(np.tanh(x_t @ p["W_xh"] + h[-1] @ p["W_hh"] + p.get("b_h", 0)))
    h = np.stack(h)
    return h, h[1:] @ p["W_hy"] + p.get("b_y", 0)


def backward(p, x, h, dy):
    """Compute the gradients by name from the states and the errors of the outputs."""
    da, flow = np.zeros_like(h[1:]), 0
    for t in reversed(range(len(x))):
        da[t] = (dy[t] @ p["W_hy"].T + flow) * (1 - h[t + 1] ** 2)
        flow = da[t] @ p["W_hh"].T
    pairs = {"W_xh": (x, da), "W_hh": (h[:-1], da), "W_hy": (h[1:], dy)}
    d = {name: np.einsum("tbi,tbj->ij", *pair) for name, pair in pairs.items()}
    return d | {"b_h": da.sum((0, 1)), "b_y": dy.sum((0, 1))}


def by_rows(p, x, target, h_0):
    """Compute Σe²/2 and its gradients; x is (T, B, D), target (T, B, O)."""
    h, y = forward(p, x, h_0)
    e = y - target
    return (e * e).sum() / 2, backward(p, x, h, e)


def steps_last(p, x, target, h_0):
    """Compute the same of series (B, D, T), with a tuple of gradients."""
    loss, d = by_rows(p, x.transpose(2, 0, 1), target.transpose(2, 0, 1), h_0)
    return np.float64(loss), *(d[name] for name in FIELDS)


def one_target(p, x, target, h_0):
    """Compute the same with the last step's target, (B, O), and a list of gradients."""
    h, y = forward(p, x, h_0)
    e = np.zeros_like(y)
    e[-1] = y[-1] - target
    d = backward(p, x, h, e)
    return (e * e).sum() / 2, [d[name] for name in FIELDS]


def one_sequence(p, x, target, h_0):
    """Compute the same of series (T, D) and a state (H,)."""
    return by_rows(p, x[:, None], target[:, None], h_0[None])


def by_columns(p, x, target):
    """Compute the same with weights (H, D) as in nn.Linear, no biases, zero state."""
    assert set(p) == {"W_xh", "W_hh", "W_hy"}
    weights = {name: W.T for name, W in p.items()}
    h_0 = np.zeros((x.shape[1], len(p["W_hh"])), x.dtype)
    loss, d = by_rows(weights, x, target, h_0)
    return loss, {f"d{name}": d[name].T for name in p}


def descent(p, d, rate):
    """Return new parameters."""
    d = named(d)
    return {name: theta - theta.dtype.type(rate) * d[name] for name, theta in p.items()}


def descent_in_place(p, d, rate):
    """Change the parameters; the names of the gradients begin with d."""
    for name, theta in p.items():
        theta -= theta.dtype.type(rate) * d["d" + name]


def named(gradients):
    """Return gradients by name, which are given so or in order."""
    if isinstance(gradients, dict):
        return gradients
    return dict(zip(FIELDS, gradients))


def scaled(result, factor):
    """Return a loss and gradients by name, times a factor."""
    loss, gradients = result
    return factor * loss, {n: factor * g for n, g in named(gradients).items()}


SHAPE_ABILITIES = {"older steps", "many losses", "bias", "h_0", "step", "batch"}
RIGHT_FUNCTIONS = [  # a function, a step, the layout that is found, and what it lacks
    (by_rows, descent, "rows TBN BH", {"older steps"}),
    (steps_last, descent, "rows BNT BH", {"older steps"}),
    (one_target, descent, "rows TBN BH last", {"many losses"}),
    (by_columns, descent_in_place, "columns TBN BH", {"older steps", "bias", "h_0"}),
    (one_sequence, None, "rows TN H", {"older steps", "step", "batch"}),
]


@pytest.mark.parametrize(("function", "step", "layout", "lacks"), RIGHT_FUNCTIONS)
def test_right_function_passes_in_its_layout(function, step, layout, lacks):
    port = function_port(function, step=step)
    assert port.code.layout.name == layout
    assert {*port.lacks} & SHAPE_ABILITIES == lacks
    check_levels(port, "float64")


def twice_the_step(p, d, rate):
    return descent(p, d, 2 * rate)


def mean_over_batch(p, x, target, h_0):
    return divided(("batch",))(p, x, target, h_0)


WRONG_FUNCTIONS = [  # a function, a step, and the verdict
    (by_rows, twice_the_step, r"W_\w\w \(U1\): step × 2"),
    (mean_over_batch, None, "WRONG loss .*: consistent: × 1/B of this lo"),
]


@pytest.mark.parametrize(("function", "step", "verdict"), WRONG_FUNCTIONS)
def test_wrong_function_is_refused_with_what_it_looks_like(function, step, verdict):
    port = function_port(function, step=step)
    with pytest.raises(WrongPort, match=verdict):
        check_port(port, "L2", "float64")


def test_code_that_keeps_its_parameters_has_biases():
    """Such is min-char-rnn, whose parameters are variables of its module."""
    kept = {}

    def keeping(p, x, target, h_0):
        kept.update(p)
        loss, gradients = by_rows(kept, x, target, h_0)
        return loss, {name: gradients[name] for name in kept}

    port = function_port(keeping)
    assert "no biases" in port.lacks
    assert "bias" not in port.lacks
    check_levels(port, "float64")


def char_rnn(p, inputs, targets, hprev):
    """min-char-rnn's lossFun, whose biases and state are columns."""
    columns = dict(p)
    for name in ("b_h", "b_y"):
        columns[name] = p[name].reshape(-1, 1)
    params = [columns[name] for name in FIELDS]
    loss, d, _ = loss_and_gradients(inputs, targets, hprev.reshape(-1, 1), params)
    return loss, {name: g.reshape(p[name].shape) for name, g in zip(FIELDS, d)}


def test_code_of_min_char_rnn_passes_unless_its_outputs_are_large():
    """Its −log p is infinite there, and the message says what to state."""
    port = function_port(char_rnn, "cross_entropy", classes=True)
    message = r"^OVERFLOW char_rnn.*: loss is (nan|inf) for outputs of 10000: .*"
    message += r"log-sum-exp, or state lacks=\(\"large outputs\",\)"
    with np.errstate(all="ignore"):
        check_levels(port, "float64", examples=10)
        with pytest.raises(PortFault, match=message):
            check_port(port, "large outputs", "float64", examples=100)


# Functions that are refused


def lossy(p, x, target, h_0):
    return (h_0 @ p["W_hh"] + p["b_h"]).nothing, p


def test_error_of_a_function_names_its_own_line():
    """The error is not that of a trial without biases or in another layout."""
    message = (
        r"^lossy cannot .* has no attribute 'nothing' .test_function_port.py line "
    )
    with pytest.raises(InputError, match=message):
        function_port(lossy)


@pytest.mark.parametrize(
    "options",
    [
        {"capabilities": ["relu"]},  # they are known
        {"names": {"Wxh": "W_xh"}},
        {"lacks": "batch"},  # a tuple of names is meant
    ],
)
def test_unknown_name_is_refused(options):
    (name,) = options
    message = rf"^by_rows: [^\n]*{name}[^\n]*: expected [^\n]+$"
    with pytest.raises(InputError, match=message):
        function_port(by_rows, **options)


def test_function_in_c_without_a_signature_is_called():
    with pytest.raises(InputError, match=r"^max cannot be called in any known way"):
        function_port(max)


def test_dict_of_results_is_told_what_to_return():
    message = "returns a dict with loss, grads: expected the loss and the grad"
    with pytest.raises(InputError, match=message):
        function_port(lambda p, x, target, h_0: {"loss": 1.0, "grads": p})


def test_layouts_are_tried_with_the_sizes_of_the_code():
    """A function of arrays that were made before takes no others."""

    def fixed(p, x, target, h_0):
        assert p["W_hy"].shape == (8, 2)
        return by_rows(p, x, target, h_0)

    check_levels(function_port(fixed, sizes={"D": 3, "H": 8, "O": 2}), "float64")
    with pytest.raises(InputError, match="cannot be called in any known way"):
        function_port(fixed)


# Reductions by parts, and batches


def divided(axes):
    """Return `by_rows` with a loss that is a mean over these axes of the outputs."""

    def mean(p, x, target, h_0):
        sizes = dict(zip(LOSS_AXES, target.shape))
        count = math.prod(sizes[axis] for axis in axes)
        return scaled(by_rows(p, x, target, h_0), 1 / count)

    return mean


def test_mean_over_some_axes_is_a_reduction():
    axes = ("steps", "outputs")
    port = function_port(divided(axes), mean_over=axes)
    assert "assumed" not in port.name
    check_levels(port, "float64")
    with pytest.raises(InputError, match="half_mse is a mean, and mean_over is given"):
        function_port(divided(axes), "half_mse", mean_over=axes)


@pytest.mark.parametrize(("power", "factor"), [(-1, "0.5"), (1, "2")])
def test_code_that_is_right_for_one_sequence_alone_is_refused(power, factor):
    """It passes if it states that it takes no batch."""

    def with_any_rank(p, x, target, h_0):
        if x.ndim == 2:
            return one_sequence(p, x, target, h_0)
        return scaled(by_rows(p, x, target, h_0), float(len(h_0)) ** power)

    message = rf"right for one sequence; .* of 2 the loss is × {factor}: state lacks="
    with pytest.raises(InputError, match=message):
        function_port(with_any_rank)
    port = function_port(with_any_rank, lacks=("batch",))
    assert port.layout_text == "(T, 1, D) sequences"
    check_levels(port, "float64")
