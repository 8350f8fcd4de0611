"""Two trained biases of the hidden layer, as torch.nn.RNN has them: b_h is its b_ih, and b_hh its b_hh.

    a_t = x_t W_xh + b_h + h_{t-1} W_hh + b_hh     (F1)
    db_hh = db_h = Σ_{t,b} da_t                    (B7)

Each is a parameter with its own update, (U1) to (U7): the norm of (U2) includes both gradients, and each has its own
velocity. Under plain gradient descent their sum moves twice as far as one bias would.
"""

from typing import Any, NamedTuple

from numpy_rnn.common.records import Parameters

TWO_BIASES = "two_biases"  # the capability
FIELDS = (*Parameters._fields, "b_hh")


class TwoBiases(NamedTuple):
    """The parameters with a second hidden bias; or what belongs to each of them, such as the velocities."""

    W_xh: Any
    W_hh: Any
    W_hy: Any
    b_h: Any = None
    b_y: Any = None
    h_0: Any = None
    b_hh: Any = None


def parameters_of(arrays: dict[str, Any], prefix: str = "") -> Any:
    """The parameters of these names, None for others; TwoBiases if there is a second bias."""
    kind: Any = TwoBiases if arrays.get(f"{prefix}b_hh") is not None else Parameters
    return kind(*(arrays.get(prefix + name) for name in kind._fields))


def one_bias(params: Any) -> Parameters:
    """The parameters of the same function with one hidden bias, b_h + b_hh."""
    second = getattr(params, "b_hh", None)
    first = Parameters(*params[:6])
    return first if second is None else first._replace(b_h=params.b_h + second)
