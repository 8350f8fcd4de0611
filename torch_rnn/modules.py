"""Parameters into and out of torch's own layers, torch.nn.RNN and torch.nn.Linear."""

from typing import Any

import torch
from torch import nn

from numpy_rnn.common.checks import check_choice
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import Nonlinearity, Parameters
from torch_rnn.parameters import Array, from_state_dict, to_state_dict


def to_modules(
    params: Parameters[Array],
    *,
    nonlinearity: Nonlinearity = "tanh",
    batch_first: bool = False,
) -> tuple[nn.RNN, nn.Linear]:
    """The network as two new layers: linear(rnn(x, h_0[None])[0]) is the y of
    `forward`.

    bias_hh_l0 is zero and does not require a gradient: under torch.optim.SGD the sum of
    the two biases moves as the one bias of this package does. Raises InputError as
    `to_state_dict` does, and on a nonlinearity that torch.nn.RNN does not have.
    """
    check_choice("nonlinearity of torch.nn.RNN", nonlinearity, ("tanh", "relu"))
    state, W = to_state_dict(params), params.W_hh
    like: Any = {"dtype": W.dtype, "device": W.device, "bias": params.b_h is not None}
    with torch.random.fork_rng(
        devices=[]
    ):  # the layers draw weights, which are replaced
        rnn = nn.RNN(
            *params.W_xh.shape,
            nonlinearity=nonlinearity,
            batch_first=batch_first,
            **like,
        )
        linear = nn.Linear(*params.W_hy.shape, **like)
    nn.ModuleDict({"rnn": rnn, "linear": linear}).load_state_dict(state)
    if rnn.bias:
        rnn.bias_hh_l0.requires_grad_(False)
    return rnn, linear


def from_modules(rnn: nn.RNN, linear: nn.Linear) -> Parameters[Array]:
    """The parameters of two layers, y = linear(rnn(x, hx)[0]), as new tensors.

    Pass nonlinearity=rnn.nonlinearity to `forward` and `train`, and arrays with time
    first. Raises InputError on other modules, and on layers that `from_state_dict`
    refuses.
    """
    if not (isinstance(rnn, nn.RNN) and isinstance(linear, nn.Linear)):
        given = f"{type(rnn).__name__} and {type(linear).__name__}"
        raise InputError(
            f"the modules are {given}: expected a torch.nn.RNN and a torch.nn.Linear"
        )
    return from_state_dict(nn.ModuleDict({"rnn": rnn, "linear": linear}).state_dict())
