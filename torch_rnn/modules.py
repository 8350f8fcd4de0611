"""Parameters into and out of torch's own layers, torch.nn.RNN and torch.nn.Linear."""

import torch
from torch import nn

from numpy_rnn.common.errors import InputError
from numpy_rnn.common.numbers import check_choice
from numpy_rnn.common.records import Nonlinearity, Parameters
from torch_rnn.arrays import Array
from torch_rnn.parameters import from_state_dict, to_state_dict

__all__ = ["from_modules", "to_modules"]


def to_modules(
    params: Parameters[Array],
    *,
    nonlinearity: Nonlinearity = "tanh",
    batch_first: bool = False,
) -> tuple[nn.RNN, nn.Linear]:
    """Convert parameters to two new layers, with linear(rnn(x, h_0[None])[0]) as y.

    Parameters
    ----------
    params : Parameters
        Of one network.
    nonlinearity : {"tanh", "relu"}
        φ; torch.nn.RNN has no other.
    batch_first : bool
        Whether the layer takes inputs of shape (B, T, D) in place of (T, B, D).

    Returns
    -------
    rnn : torch.nn.RNN
        Its bias_hh_l0 is zero and requires no gradient: under torch.optim.SGD the sum
        of the two biases moves as the one bias of this package does.
    linear : torch.nn.Linear
        The output layer.

    Raises
    ------
    InputError
        If the parameters are an ensemble, or not finite, or torch.nn.RNN does not have
        the nonlinearity.

    Examples
    --------
    >>> import torch_rnn
    >>> to_modules(torch_rnn.initial_parameters(bias=True))
    (RNN(1, 6), Linear(in_features=6, out_features=1, bias=True))
    """
    check_choice("nonlinearity of torch.nn.RNN", nonlinearity, ("tanh", "relu"))
    state = to_state_dict(params)
    D, H = params.W_xh.shape
    O = params.W_hy.shape[-1]
    dtype, device = params.W_hh.dtype, params.W_hh.device
    bias = params.b_h is not None
    # The layers draw weights, which are replaced, from a copy of the random state.
    with torch.random.fork_rng(devices=[]):
        rnn = nn.RNN(
            D,
            H,
            nonlinearity=nonlinearity,
            bias=bias,
            batch_first=batch_first,
            dtype=dtype,
            device=device,
        )
        linear = nn.Linear(H, O, bias=bias, dtype=dtype, device=device)
    nn.ModuleDict({"rnn": rnn, "linear": linear}).load_state_dict(state)
    if rnn.bias:
        rnn.bias_hh_l0.requires_grad_(False)
    return rnn, linear


def from_modules(rnn: nn.RNN, linear: nn.Linear) -> Parameters[Array]:
    """Convert two layers, with y = linear(rnn(x, hx)[0]), to parameters.

    Pass nonlinearity=rnn.nonlinearity to `forward` and `train`, and arrays with time
    first.

    Parameters
    ----------
    rnn : torch.nn.RNN
        Of one layer and one direction.
    linear : torch.nn.Linear
        The output layer.

    Returns
    -------
    Parameters
        New tensors, which require a gradient.

    Raises
    ------
    InputError
        If the modules are others, or `from_state_dict` refuses them.

    Examples
    --------
    >>> from torch import nn
    >>> from_modules(nn.RNN(1, 3), nn.Linear(3, 1)).W_hh.shape
    torch.Size([3, 3])
    """
    if not (isinstance(rnn, nn.RNN) and isinstance(linear, nn.Linear)):
        kinds = f"{type(rnn).__name__} and {type(linear).__name__}"
        raise InputError(
            f"the modules are {kinds}: expected a torch.nn.RNN and a torch.nn.Linear"
        )
    return from_state_dict(nn.ModuleDict({"rnn": rnn, "linear": linear}).state_dict())
