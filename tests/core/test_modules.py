"""torch.nn.RNN and torch.nn.Linear made of parameters, and what they compute, within the bounds of level L2."""

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
        (nn.RNN(2, 3, bias=False), nn.Linear(3, 4), "the Linear has biases and the RNN has none"),
    ):
        with pytest.raises(InputError, match=message):
            from_modules(rnn, linear)

    for params, message in UNSAYABLE.values():
        with pytest.raises(InputError, match=message):
            to_modules(torch_rnn.from_numpy(params))
    for name in ("gelu", "sigmoid"):
        with pytest.raises(InputError, match=f"unknown nonlinearity of torch.nn.RNN '{name}': expected tanh or relu$"):
            to_modules(torch_rnn.from_numpy(drawn()), nonlinearity=name)


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


def turned(weight):
    """In this project's layout: (from, to) for torch's (to, from), (B, H) for (1, B, H); biases as they are."""
    return weight.T if weight.ndim == 2 else weight.reshape(weight.shape[-2:])


@pytest.mark.parametrize("seed", range(8))
@DTYPES
def test_modules_are_the_network_within_the_bounds(seed, dtype):
    """The forward pass and all gradients; README.md of torch_rnn has a run of them with torch.optim."""
    import torch

    nonlinearity, batch_first, bias = ("tanh", "relu")[seed % 2], seed % 4 > 1, seed < 4
    case = random_window(seed, dtype, sgd=SgdOptions(), learned=False, bias=bias, nonlinearity=nonlinearity)
    layer, readout = modules_of(case.params, nonlinearity=nonlinearity, batch_first=batch_first)
    x, hx = torch.tensor(case.x).requires_grad_(), torch.tensor(case.h_0)[None].requires_grad_()
    h, _ = layer(x.transpose(0, 1) if batch_first else x, hx)
    y = readout(h)
    h, y = (v.transpose(0, 1) if batch_first else v for v in (h, y))
    y.retain_grad()
    target = torch.tensor(case.target)
    loss = torch.nn.functional.mse_loss(y[-len(target) :], target, reduction=case.reduction) / 2
    loss.backward()
    weights = {"W_xh": layer.weight_ih_l0, "W_hh": layer.weight_hh_l0, "W_hy": readout.weight}
    weights |= {"b_h": layer.bias_ih_l0, "b_y": readout.bias} if bias else {}
    report = {"loss": loss, "h": h, "y": y, "dy": y.grad, "dx": x.grad, "dh_0": turned(hx.grad)}
    report |= {f"d{name}": turned(weight.grad) for name, weight in weights.items()}
    bounds = {name: bound for name, bound in global_bounds(case).items() if name in report}
    assert bounds.keys() == report.keys()
    ratios = check_global(case, {name: value.detach().numpy() for name, value in report.items()}, bounds=bounds)
    for name, ratio in ratios.items():
        assert ratio.max() <= 1, f"{name}: {ratio.max():.3g} times the bound"
