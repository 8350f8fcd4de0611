"""Parameters into and out of torch's own layers, torch.nn.RNN and torch.nn.Linear."""

import torch
from torch import nn

from numpy_rnn.common.checks import check_finite_parameters
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import Nonlinearity, Parameters
from torch_rnn.arrays import ARRAY_KIND, Array, copy_of

__all__ = ["from_modules", "to_modules"]


def to_modules(
    params: Parameters[Array],
    *,
    nonlinearity: Nonlinearity = "tanh",
    batch_first: bool = False,
) -> tuple[nn.RNN, nn.Linear]:
    """Convert parameters to two new layers, with linear(rnn(x, h_0[None])[0]) as y.

        rnn.weight_ih_l0 = W_xh.T    rnn.bias_ih_l0 = b_h
        rnn.weight_hh_l0 = W_hh.T    rnn.bias_hh_l0 = 0
        linear.weight    = W_hy.T    linear.bias    = b_y

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
        If the parameters are an ensemble, are no tensors, or are not finite.
    ValueError
        By torch.nn.RNN, if it has no such nonlinearity.

    Examples
    --------
    >>> import torch_rnn
    >>> to_modules(torch_rnn.initial_parameters(bias=True))
    (RNN(1, 6), Linear(in_features=6, out_features=1, bias=True))
    """
    check_finite_parameters(ARRAY_KIND, params)
    if params.networks is not None:
        raise InputError(
            "the parameters are an ensemble, and torch.nn.RNN is one network: expected "
            "one; take network n by indexing every array with n"
        )
    W_xh, W_hh, W_hy, b_h, b_y = params
    D, H = W_xh.shape
    bias = b_h is not None
    # The layers draw weights, which are replaced, from a copy of the random state.
    with torch.random.fork_rng(devices=[]):
        rnn = nn.RNN(
            D, H, nonlinearity=nonlinearity, bias=bias, batch_first=batch_first
        ).to(W_hh)
        linear = nn.Linear(H, W_hy.shape[-1], bias=bias).to(W_hh)
    recurrent = {"weight_ih_l0": W_xh.mT, "weight_hh_l0": W_hh.mT}
    readout = {"weight": W_hy.mT}
    if b_h is not None and b_y is not None:
        recurrent |= {"bias_ih_l0": b_h, "bias_hh_l0": torch.zeros_like(b_h)}
        readout["bias"] = b_y
        rnn.bias_hh_l0.requires_grad_(False)
    rnn.load_state_dict(recurrent)
    linear.load_state_dict(readout)
    return rnn, linear


def from_modules(rnn: nn.RNN, linear: nn.Linear) -> Parameters[Array]:
    """Convert two layers, with y = linear(rnn(x, hx)[0]), to parameters.

    It inverts `to_modules`, with b_h = bias_ih_l0 + bias_hh_l0. Pass
    nonlinearity=rnn.nonlinearity to `forward` and `train`, and arrays with time first.

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
        If a module is another one, they do not fit each other, or are not finite.

    Examples
    --------
    >>> from torch import nn
    >>> from_modules(nn.RNN(1, 3), nn.Linear(3, 1)).W_hh.shape
    torch.Size([3, 3])
    """
    are_known = isinstance(rnn, nn.RNN) and isinstance(linear, nn.Linear)
    if not are_known or rnn.num_layers > 1 or rnn.bidirectional:
        raise InputError(
            f"the modules are {type(rnn).__name__} and {type(linear).__name__}: "
            "expected nn.RNN with one layer and one direction, and nn.Linear"
        )
    W_xh, W_hh, *biases = rnn.all_weights[0]
    b_h = biases[0] + biases[1] if biases else None
    params = Parameters(W_xh.mT, W_hh.mT, linear.weight.mT, b_h, linear.bias)
    check_finite_parameters(ARRAY_KIND, params)
    return copy_of(params, as_leaves=True)
