"""Traces of loops in PyTorch: right ones agree with the definition, with every option
that torch has; a mistake of the loop is named.
"""

import importlib

import numpy as np
import pytest

from numpy_rnn.common.errors import InputError
from numpy_rnn.conformance.adapters import torch_trace
from numpy_rnn.conformance.mutants.loops import hint_for_run
from numpy_rnn.conformance.runs.judge import judge
from numpy_rnn.conformance.trace import load_trace
from tests.helpers.windows import SEED

pytestmark = pytest.mark.needs_torch
T, B, D, H, O, K = 12, 2, 3, 5, 2, 4
LOSSES = {"mse": "mean", "sum_of_squares": "sum"}


class Loop:
    """A training loop in PyTorch, with a mistake or none.

    options: those of torch.optim.SGD; clip: of a clipping by norm or by value.
    """

    def __init__(self, *, bias=False, cell=False, batch_first=False, loss="mse"):
        torch = importlib.import_module("torch")
        torch.manual_seed(SEED)
        kind = torch.nn.RNNCell if cell else torch.nn.RNN
        layout = {} if cell else {"batch_first": batch_first}
        self.rnn = kind(D, H, bias=bias, **layout)
        out = torch.nn.Linear(H, O, bias=bias)
        if bias:
            second = self.rnn.bias_hh if cell else self.rnn.bias_hh_l0
            second.requires_grad_(False).zero_()
        self.torch, self.out, self.cell = torch, out, cell
        self.model = torch.nn.ModuleList([self.rnn, out]).double()
        self.loss, self.axis = loss, int(batch_first)
        self.x = torch.randn(T, B, D).double().transpose(0, self.axis)
        self.target = torch.randn(T, B, O).double().transpose(0, self.axis)

    def states(self, x, state):
        """Return the states of all steps, and the last one as (1, B, H)."""
        if not self.cell:
            return self.rnn(x, state)
        h, states = state[0], []
        for x_t in x:
            h = self.rnn(x_t, h)
            states.append(h)
        return self.torch.stack(states), h[None]

    def error(self, y, target):
        """Return the loss."""
        reduction = LOSSES.get(self.loss, "sum")
        error = self.torch.nn.functional.mse_loss(y, target, reduction=reduction)
        return error / 2 if self.loss.startswith("half") else error

    def train(self, *, mistake="", clip=None, rate=0.1, **options):
        """Train for two epochs, and return the trace."""
        clip = clip or {}
        trainable = [p for p in self.model.parameters() if p.requires_grad]
        optimizer = self.torch.optim.SGD(trainable, lr=rate, **options)
        options |= {"k1": K, "k2": K, "learning_rate": rate, "epochs": 2, **clip}
        options |= {"loss": self.loss, "batch_first": bool(self.axis)}
        h_0 = self.torch.zeros(1, B, H).double()
        trace = torch_trace(self.model, self.x, self.target, h_0, **options)
        state = h_0
        for number in range(2 * T // K):
            epoch, start = 1 + number // (T // K), number * K % T
            if start == 0 and mistake != "kept state":
                state = h_0
            initial = state
            states, state = self.states(self.x.narrow(self.axis, start, K), state)
            loss = self.error(self.out(states), self.target.narrow(self.axis, start, K))
            if mistake != "zero_grad":
                optimizer.zero_grad()
            loss.backward()
            if clip:
                trace.keep_gradients()
                self.clipped(trainable, **clip)
            optimizer.step()
            trace.update(epoch, (start, start, start + K), initial, loss=loss)
            state = state.detach() * (mistake != "state of zeros")
        return trace

    def clipped(self, trainable, max_norm=None, max_value=None):
        """Clip the gradients."""
        utils = self.torch.nn.utils
        if max_norm is not None:
            utils.clip_grad_norm_(trainable, max_norm)
        else:
            utils.clip_grad_value_(trainable, max_value)


RIGHT = [  # the layers and the loss, and the update
    ({}, {}),
    ({"loss": "sum_of_squares"}, {"rate": 0.01}),
    ({"loss": "half_sum_of_squares"}, {"rate": 0.01}),
    ({"bias": True}, {}),
    ({"cell": True, "bias": True}, {}),
    ({"batch_first": True}, {}),
    ({}, {"momentum": 0.9}),
    ({}, {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    ({}, {"clip": {"max_value": 0.01}}),
    ({"loss": "half_sum_of_squares"}, {"clip": {"max_norm": 0.1}}),
]


@pytest.mark.parametrize(("network", "update"), RIGHT)
def test_right_loop_agrees(network, update):
    Loop(**network).train(**update).save("loop.npz")
    judgement = judge(load_trace("loop.npz"))
    assert judgement.passed, judgement.first
    assert judgement.counts.carried == 4


MISTAKES = {
    "kept state": ("initial", "state not reset between epochs"),
    "state of zeros": ("initial", "state reset to zero"),
    "zero_grad": ("dW_xh", "gradients add up from update to update"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake_of_a_loop_is_named(mistake):
    recorded = Loop().train(mistake=mistake).recorded()
    first = judge(recorded).first
    assert (first.tensor, hint_for_run(recorded, first)) == MISTAKES[mistake]


def refused(layers, **options):
    """Return the message that refuses these layers or options."""
    series, h_0 = np.zeros((4, 1, 2)), np.zeros((1, 3))
    options = {"k1": 4, "k2": 4, "learning_rate": 0.1, "epochs": 1} | options
    with pytest.raises(InputError) as error:
        torch_trace(layers, series, series, h_0, **options)
    return str(error.value)


def test_layers_that_are_no_such_network_are_refused():
    nn = importlib.import_module("torch.nn")
    out = nn.Linear(3, 2, bias=False)
    rnn = nn.RNN(2, 3, bias=False)
    expected = "expected one nn.RNN or nn.RNNCell, of one layer, and one nn.Linear"
    assert refused(out) == f"the layers are Linear: {expected}"
    assert refused((nn.LSTM(2, 3), out)) == f"the layers are LSTM, Linear: {expected}"
    two = refused((nn.RNN(2, 3, 2, bias=False), out))
    assert two == f"nn.RNN has several layers or directions: {expected}"
    assert "a second hidden bias" in refused((nn.RNN(2, 3), nn.Linear(3, 2)))
    assert "expected both or none" in refused((rnn, nn.Linear(3, 2)))
    assert "name half_mse" in refused((rnn, out), max_norm=1.0)


def test_update_without_gradients_is_refused():
    torch = importlib.import_module("torch")
    rnn, out = torch.nn.RNN(2, 3, bias=False), torch.nn.Linear(3, 2, bias=False)
    x, h_0 = torch.zeros(4, 1, 2), torch.zeros(1, 1, 3)
    options = {"k1": 4, "k2": 4, "learning_rate": 0.1, "epochs": 1}
    trace = torch_trace((rnn, out), x, x, h_0, **options)
    with pytest.raises(InputError, match="call update after backward"):
        trace.update(1, (0, 0, 4), h_0, loss=0.0)
    with pytest.raises(InputError, match="expected loss="):
        trace.update(1, (0, 0, 4), h_0)
