"""torch.nn.RNN, torch.nn.Linear and torch.optim, with autograd, as their users write
it.
"""

from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss, one_hot

from benchmarks.cases import MAX_GRADIENT, Case
from benchmarks.implementations import Call, Results, one_network


class Network(nn.Module):
    """nn.RNN and nn.Linear, with the weights of a case (rows are outputs) and its
    series.
    """

    def __init__(self, case: Case):
        super().__init__()
        (W_xh, W_hh, W_hy, b_h, b_y), x, target, h_0 = case.arrays()
        dtype = getattr(torch, case.dtype)
        self.is_text = case.is_text
        self.rnn = nn.RNN(case.D, case.H, bias=case.is_text, dtype=dtype)
        self.linear = nn.Linear(case.H, case.O, bias=case.is_text, dtype=dtype)
        weight_ih, weight_hh, *biases = self.rnn.parameters()
        self.trained = [weight_ih, weight_hh, *self.linear.parameters(), *biases[:1]]
        values = [W_xh.T, W_hh.T, W_hy.T]
        self.x = torch.tensor(x)
        self.target = torch.tensor(target)
        self.h_0 = torch.tensor(h_0)[None]
        if case.is_text:  # one sequence, no batch axis
            assert b_h is not None
            assert b_y is not None
            values += [b_y, b_h]
            # Under SGD the sum of two biases moves twice as far as one: the second is
            # constant.
            biases[1].requires_grad_(False).zero_()
            self.x = one_hot(self.x[:, 0], case.D).to(dtype)
            self.target = self.target[:, 0]
            self.h_0 = self.h_0[0]
        for parameter, value in zip(self.trained, values):
            parameter.data = torch.tensor(value.copy())
        self.cell = nn.RNNCell(case.D, case.H, bias=False)
        self.cell.weight_ih = weight_ih
        self.cell.weight_hh = weight_hh
        self.optimizer = self.make_optimizer(case.options.step.learning_rate)

    def make_optimizer(self, rate: float) -> torch.optim.Optimizer:
        """Return SGD, or Adagrad for a text."""
        if not self.is_text:
            return torch.optim.SGD(self.trained, lr=rate, foreach=False)
        return torch.optim.Adagrad(
            self.trained,
            lr=rate,
            # For √(Σd² + 1e-8) in place of √Σd² + eps, the sum starts at 1e-8.
            initial_accumulator_value=1e-8,
            eps=0,
            foreach=False,
        )

    def update(self, y: Tensor, target: Tensor) -> float:
        """Return the loss of a window before its update."""
        if self.is_text:
            loss = cross_entropy(y, target, reduction="sum")
        else:
            loss = 0.5 * mse_loss(y, target, reduction="sum")
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if self.is_text:
            nn.utils.clip_grad_value_(self.trained, MAX_GRADIENT, foreach=False)
        self.optimizer.step()
        return loss.item()

    def train_points(self) -> list[float]:
        """One epoch of windows of one step: nn.RNNCell takes a third less time than
        nn.RNN.
        """
        losses = []
        h = self.h_0[0]
        for x_t, target_t in zip(self.x, self.target):
            h = self.cell(x_t, h.detach())
            losses.append(self.update(self.linear(h), target_t))
        return losses

    def train_sliding(self, k2: int) -> list[float]:
        """One epoch of sliding windows of at most k2 steps."""
        losses = []
        states = self.h_0
        for stop in range(1, len(self.x) + 1):
            start = max(0, stop - k2)
            h_0 = self.h_0 if start == 0 else states[:1].detach()
            states, _ = self.rnn(self.x[start:stop], h_0)
            losses.append(
                self.update(self.linear(states[-1:]), self.target[stop - 1 : stop])
            )
        return losses

    def train_chunks(self, k1: int) -> list[float]:
        """One epoch of chunks of k1 steps, whose state is carried."""
        losses = []
        h = self.h_0
        for x, target in zip(self.x.split(k1), self.target.split(k1)):
            states, h = self.rnn(x, h.detach())
            losses.append(self.update(self.linear(states), target))
        return losses


def prepare(case: Case) -> Call:
    """Return a call that trains a copy of the network."""
    initial = Network(one_network(case))
    k1, k2, epochs = case.options.schedule

    def call() -> Results:
        network = deepcopy(initial)
        losses = []
        for _ in range(epochs):
            if k1 < k2:
                losses += network.train_sliding(k2)
            elif k1 == 1:
                losses += network.train_points()
            else:
                losses += network.train_chunks(k1)
        return losses, [weight.detach().numpy().T for weight in network.trained[:3]]

    return call
