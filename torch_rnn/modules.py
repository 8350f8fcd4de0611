"""Parameters into and out of torch's own layers, torch.nn.RNN and torch.nn.Linear."""

from typing import Any

import torch
from torch import nn

from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import Nonlinearity, Parameters
from torch_rnn.parameters import Array, from_state_dict, to_state_dict


def to_modules(
    params: Parameters[Array], *, nonlinearity: Nonlinearity = "tanh", batch_first: bool = False
) -> tuple[nn.RNN, nn.Linear]:
    """The network as two layers: linear(rnn(x, h_0[None])[0]) is the y of `forward`.

    With batch_first, x and y are (B, T, D) and (B, T, O); hx stays (1, B, H). New modules, which share no memory with
    params. bias_ih_l0 is b_h; bias_hh_l0 is zero and does not require a gradient, so that under torch.optim.SGD the sum
    of the two moves as the one bias of this package does.

    Raises InputError on a nonlinearity that torch.nn.RNN does not have, an ensemble, and a learned h_0, which is its
    argument hx.
    """
    if nonlinearity not in ("tanh", "relu"):
        raise InputError(f"unknown nonlinearity of torch.nn.RNN {nonlinearity!r}: expected tanh or relu")
    state = to_state_dict(params)
    (D, H), O = params.W_xh.shape, params.W_hy.shape[-1]
    like: dict[str, Any] = {"bias": params.b_h is not None, "dtype": params.W_hh.dtype, "device": params.W_hh.device}
    with torch.random.fork_rng(devices=[]):  # the layers draw initial weights, which are replaced
        rnn = nn.RNN(D, H, nonlinearity=nonlinearity, batch_first=batch_first, **like)
        linear = nn.Linear(H, O, **like)
    nn.ModuleDict({"rnn": rnn, "linear": linear}).load_state_dict(state)
    if rnn.bias:
        rnn.bias_hh_l0.requires_grad_(False)
    return rnn, linear


def from_modules(rnn: nn.RNN, linear: nn.Linear) -> Parameters[Array]:
    """The parameters of two layers, y = linear(rnn(x, hx)[0]); b_h = bias_ih_l0 + bias_hh_l0.

    Returns new parameters, which share no memory with the modules. Pass to `forward` and `train` what is not a
    parameter: nonlinearity=rnn.nonlinearity, and arrays with time first, whatever rnn.batch_first.

    Raises InputError on other modules, and on layers that `from_state_dict` refuses: several, two directions, biases in
    one of the two only.
    """
    for module, kind in ((rnn, nn.RNN), (linear, nn.Linear)):
        if not isinstance(module, kind):
            raise InputError(f"the module is a {type(module).__name__}: expected a torch.nn.{kind.__name__}")
    return from_state_dict(nn.ModuleDict({"rnn": rnn, "linear": linear}).state_dict())
