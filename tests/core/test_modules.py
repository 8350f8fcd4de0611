"""torch.nn.RNN and torch.nn.Linear made of parameters, and what they compute, within the bounds of level L2."""

import numpy as np
import pytest
from comparing import bits
from layer_cases import BIASES, DTYPES, UNSAYABLE, drawn
from window_port import random_window

from numpy_rnn import InputError
from numpy_rnn.common.records import SgdOptions
from numpy_rnn.conformance.bounds.global_bounds import check_global, global_bounds

pytestmark = pytest.mark.needs_torch


def test_modules_that_are_not_this_network_are_refused():
    from torch import nn

    import torch_rnn
    from torch_rnn.modules import from_modules, to_modules

    for rnn, linear, message in (
        (nn.LSTM(2, 3), nn.Linear(3, 4), "the module is a LSTM: expected a torch.nn.RNN"),
        (nn.RNN(2, 3), nn.ReLU(), "the module is a ReLU: expected a torch.nn.Linear"),
        (nn.RNN(2, 3, num_layers=2), nn.Linear(3, 4), "of an RNN with several layers"),
        (nn.RNN(2, 3, bidirectional=True), nn.Linear(6, 4), "of a bidirectional RNN"),
        (nn.RNN(2, 3, bias=False), nn.Linear(3, 4), "the Linear has biases and the RNN has none"),
        (nn.RNN(2, 3), nn.Linear(3, 4, bias=False), "the RNN has biases and the Linear has none"),
        (nn.RNN(2, 3), nn.Linear(5, 4), r"linear.weight has shape \(4, 5\): expected \(4, 3\)"),
        (nn.RNN(2, 3).half(), nn.Linear(3, 4).half(), "rnn.weight_ih_l0 is float16"),
    ):
        with pytest.raises(InputError, match=message):
            from_modules(rnn, linear)

    for params, message in UNSAYABLE.values():
        with pytest.raises(InputError, match=message):
            to_modules(torch_rnn.from_numpy(params))
    for name in ("gelu", "sigmoid"):
        with pytest.raises(InputError, match=f"unknown nonlinearity of torch.nn.RNN '{name}': expected tanh or relu$"):
            to_modules(torch_rnn.from_numpy(drawn()), nonlinearity=name)


# -- modules ----------------------------------------------------------------------------------------------------------


def modules_of(params, **options):
    """`to_modules` of NumPy parameters."""
    import torch_rnn
    from torch_rnn.modules import to_modules

    return to_modules(torch_rnn.from_numpy(params), **options)


@DTYPES
@BIASES
def test_modules_there_and_back_are_exact(bias, dtype):
    from torch_rnn.modules import from_modules

    params = drawn(bias=bias, dtype=dtype)
    layer, readout = modules_of(params, nonlinearity="relu", batch_first=True)
    assert (layer.nonlinearity, layer.batch_first, layer.num_layers, layer.bidirectional) == ("relu", True, 1, False)
    assert (layer.bias, readout.bias is not None) == (bias, bias)
    back = from_modules(layer, readout)
    assert bits(back) == bits(params)
    assert all(theta is None or theta.requires_grad for theta in back)
    assert [name for name, w in layer.named_parameters() if not w.requires_grad] == ["bias_hh_l0"] * bias
    assert all(w.requires_grad for w in readout.parameters())


def test_making_modules_leaves_the_random_state_and_the_parameters():
    import torch

    params = drawn(1, 1, 1)
    before = torch.get_rng_state(), bits(params)
    layer, readout = modules_of(params)
    with torch.no_grad():
        for weight in (*layer.parameters(), *readout.parameters()):
            weight.fill_(7)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert bits(params) == before[1]


# -- what the modules compute -----------------------------------------------------------------------------------------


def trained(layer, readout, learned=None):
    """The tensors that the optimizer moves, by this project's names; a second hidden bias by itself."""
    found = {"W_xh": layer.weight_ih_l0, "W_hh": layer.weight_hh_l0, "W_hy": readout.weight}
    if layer.bias:
        found |= {"b_h": layer.bias_ih_l0, "b_y": readout.bias, "second": layer.bias_hh_l0}
    found["h_0"] = learned
    return {name: weight for name, weight in found.items() if weight is not None and weight.requires_grad}


def turned(weight):
    """A copy in this project's layout: (from, to) for torch's (to, from), (B, H) for (1, B, H); biases as they are."""
    return weight.T.clone() if weight.ndim == 2 else weight.reshape(weight.shape[-2:]).clone()


def module_update(case, layer, readout, optimizer, learned=None):
    """The report of one window by the two modules, autograd and the optimizer, in this project's names and layout.

    learned: hx as a parameter, (1, B, H).
    """
    import torch

    K = len(case.target)
    x = torch.tensor(case.x).requires_grad_()
    hx = torch.tensor(case.h_0)[None].requires_grad_() if learned is None else learned
    weights = trained(layer, readout, learned)
    optimizer.zero_grad()
    h, _ = layer(x.transpose(0, 1) if layer.batch_first else x, hx)
    y = readout(h)
    h, y = (v.transpose(0, 1) if layer.batch_first else v for v in (h, y))
    y.retain_grad()
    loss = torch.nn.functional.mse_loss(y[-K:], torch.tensor(case.target), reduction=case.reduction) / 2
    loss.backward()
    report = {"loss": loss, "h": h, "y": y, "dy": y.grad, "dx": x.grad, "dh_0": turned(hx.grad)}
    report |= {"d" + name: turned(weight.grad) for name, weight in weights.items()}
    optimizer.step()
    report |= {name: turned(weight) for name, weight in weights.items()}
    return {name: value.detach().numpy() for name, value in report.items()}


def found_in(layer, readout):
    """The parameters that `from_modules` finds, both hidden biases in one, by name; to be judged as the update's."""
    import torch_rnn
    from torch_rnn.modules import from_modules

    params = torch_rnn.to_numpy(from_modules(layer, readout))
    return {name: theta for name, theta in params._asdict().items() if theta is not None}


def sgd_of(layer, readout, learned=None, **options):
    """The optimizer of all that the modules have, and of hx."""
    import torch

    more = () if learned is None else (learned,)
    return torch.optim.SGD([*layer.parameters(), *readout.parameters(), *more], **options)


@pytest.mark.parametrize("seed", range(8))
@DTYPES
def test_modules_are_the_network_within_the_bounds(seed, dtype):
    """The forward, all gradients and the SGD step; a learned initial state is hx, as a parameter."""
    import torch

    nonlinearity, batch_first = ("tanh", "relu")[seed % 2], seed % 4 > 1
    learned, bias = seed % 3 == 0, seed < 4
    case = random_window(seed, dtype, sgd=SgdOptions(), learned=learned, bias=bias, nonlinearity=nonlinearity)
    layers = modules_of(case.params._replace(h_0=None), nonlinearity=nonlinearity, batch_first=batch_first)
    hx = torch.nn.Parameter(torch.tensor(case.h_0)[None]) if learned else None
    report = module_update(case, *layers, sgd_of(*layers, hx, lr=case.learning_rate), hx) | found_in(*layers)
    ratios = check_global(case, report)
    assert ratios.keys() >= {"loss", "h", "y", "dy", "dx", "dh_0"}  # and what is owed, or its ratio is infinite
    for name, ratio in ratios.items():
        assert ratio.max() <= 1, f"{name}: {ratio.max():.3g} times the bound"


def test_the_second_bias_stays_zero_and_would_double_the_step():
    """Under every option of SGD; and when it is trained, the sum is far outside the bounds."""
    from torch_rnn.modules import from_modules

    case = random_window(0, "float64", sgd=SgdOptions(), learned=False, bias=True)
    layers = modules_of(case.params, nonlinearity=case.nonlinearity)
    optimizer = sgd_of(*layers, lr=0.1, momentum=0.9, weight_decay=0.1, nesterov=True)
    for _ in range(5):
        module_update(case, *layers, optimizer)
    assert bits(layers[0].bias_hh_l0) == bits(np.zeros(case.sizes["H"]))
    assert bits(from_modules(*layers).b_h) == bits(layers[0].bias_ih_l0)

    layers = modules_of(case.params, nonlinearity=case.nonlinearity)
    layers[0].bias_hh_l0.requires_grad_(True)
    module_update(case, *layers, sgd_of(*layers, lr=case.learning_rate))
    bounds = {"b_h": global_bounds(case)["b_h"]}
    assert check_global(case, found_in(*layers), bounds=bounds)["b_h"].max() > 1e6
