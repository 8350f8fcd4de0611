"""torch.nn.RNN, torch.nn.Linear and torch.optim, with autograd."""

from copy import deepcopy
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, mse_loss, one_hot

from benchmarks.prepared import Prepared, Tasks, one_network, results, run_results
from benchmarks.tasks import CHARACTERS, FORWARD, GRADIENT, RUN, STEP
from benchmarks.workloads import MAX_GRADIENT, Case
from numpy_rnn import windows


class Network(torch.nn.Module):
    """The network as a user of torch writes it, with the weights (rows are outputs) and series of the case."""

    def __init__(self, case: Case):
        super().__init__()
        params, *series = one_network(case).arrays()
        self.rnn = torch.nn.RNN(case.D, case.H, bias=False)
        self.linear = torch.nn.Linear(case.H, case.O, bias=False)
        self.weights = [*self.rnn.parameters(), self.linear.weight]
        for weight, W in zip(self.weights, params):
            weight.data = torch.tensor(W.T.copy())
        self.cell = torch.nn.RNNCell(case.D, case.H, bias=False)
        self.cell.weight_ih, self.cell.weight_hh = self.weights[:2]
        self.x, self.target, h_0 = map(torch.tensor, series)
        self.h_0 = h_0[None]
        self.optimizer = torch.optim.SGD(self.parameters(), lr=case.learning_rate, foreach=False)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """y and the states h_1 to h_T of a window, in one call of the layer."""
        h, _ = self.rnn(x, h)
        return self.linear(h), h

    def backward(self) -> Tensor:
        """The loss of the whole series as one window; its gradients are in the weights afterwards."""
        self.optimizer.zero_grad(set_to_none=True)
        y, _ = self(self.x, self.h_0)
        loss = 0.5 * mse_loss(y, self.target, reduction="sum")
        loss.backward()
        return loss

    def step(self) -> Tensor:
        loss = self.backward()
        self.optimizer.step()
        return loss

    def pass_through(self, k2: int) -> list[float]:
        """One epoch of sliding windows: the losses of its updates. The initial state of a window is a constant."""
        if k2 == 1:
            return self.pass_by_steps()
        losses, states = [], self.h_0
        for start, loss_start, stop in windows(len(self.x), 1, k2):
            initial = (
                self.h_0 if start == 0 else states[:1].detach()
            )  # a window begins one step after the one before
            y, states = self(self.x[start:stop], initial)
            losses.append(self.update(y[loss_start - stop :], self.target[loss_start:stop]))
        return losses

    def pass_by_steps(self) -> list[float]:
        """`pass_through` for windows of one step: nn.RNNCell takes a third less time for them than nn.RNN."""
        losses, h = [], self.h_0[0]
        for x_t, target_t in zip(self.x, self.target):
            h = self.cell(x_t, h.detach())
            losses.append(self.update(self.linear(h), target_t))
        return losses

    def update(self, y: Tensor, target: Tensor) -> float:
        loss = 0.5 * mse_loss(y, target, reduction="sum")
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        return loss.item()

    def numpy(self) -> list[Any]:
        return [weight.detach().numpy().T for weight in self.weights]

    def gradients(self) -> list[Any]:
        return [weight.grad.numpy().T for weight in self.weights if weight.grad is not None]


def forward(case: Case) -> Prepared:
    network = Network(case)

    @torch.inference_mode()
    def call():
        return network(network.x, network.h_0)[0]

    return Prepared(call, lambda: {"y": call().numpy()})


def gradient(case: Case) -> Prepared:
    network = Network(case)
    return Prepared(
        network.backward, lambda: results(network.backward().item(), network.gradients())
    )


def step(case: Case) -> Prepared:
    def result():
        network = Network(case)
        loss = network.step().item()
        return results(loss, network.gradients(), network.numpy())

    return Prepared(Network(case).step, result)


def run(case: Case) -> Prepared:
    def call():
        network = Network(case)
        k1, k2, epochs = case.options.schedule
        if k1 == case.T:
            return [network.step().item() for _ in range(epochs)], network
        return [sum(network.pass_through(k2)) for _ in range(epochs)], network

    def result():
        losses, network = call()
        return run_results(losses, network.numpy())

    one_network(case)
    return Prepared(call, result)


class CharacterModel(torch.nn.Module):
    """min-char-rnn as a user of torch writes it: one-hot inputs, and the optimizer's Adagrad.

    Of the two hidden biases of nn.RNN, one is zero and constant: their sum would move twice as far as one bias does.
    torch's Adagrad divides by √Σd² + eps, and min-char-rnn by √(Σd² + 1e-8): the sum starts at 1e-8 instead.
    """

    def __init__(self, case: Case):
        super().__init__()
        (W_xh, W_hh, W_hy, b_h, b_y, _), *_ = case.arrays()
        dtype = getattr(torch, case.dtype)
        self.rnn = torch.nn.RNN(case.D, case.H, dtype=dtype)
        self.linear = torch.nn.Linear(case.H, case.O, dtype=dtype)
        weight_ih, weight_hh, bias_ih, bias_hh = self.rnn.parameters()
        self.trained = [weight_ih, weight_hh, self.linear.weight, bias_ih, self.linear.bias]
        for parameter, value in zip(self.trained, (W_xh.T, W_hh.T, W_hy.T, b_h, b_y)):
            parameter.data = torch.tensor(value.copy())
        bias_hh.requires_grad_(False).zero_()
        self.optimizer = torch.optim.Adagrad(
            self.trained,
            lr=case.learning_rate,
            initial_accumulator_value=1e-8,
            eps=0,
            foreach=False,
        )

    def update(self, x: Tensor, target: Tensor, h: Tensor) -> tuple[float, Tensor]:
        """The loss of a chunk before its update, and the state after it."""
        states, h = self.rnn(x, h)
        loss = cross_entropy(self.linear(states), target, reduction="sum")
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_value_(self.trained, MAX_GRADIENT, foreach=False)
        self.optimizer.step()
        return loss.item(), h.detach()


def characters(case: Case) -> Prepared:
    initial, steps = CharacterModel(case), case.options.schedule.k1
    _, x, target, h_0 = case.arrays()
    inputs = one_hot(torch.tensor(x[:, 0]), case.D).to(
        getattr(torch, case.dtype)
    )  # one sequence, no batch axis
    chunks = list(zip(inputs.split(steps), torch.tensor(target[:, 0]).split(steps)))

    def call():
        model, h = deepcopy(initial), torch.tensor(h_0)
        losses = []
        for x, target in chunks:
            loss, h = model.update(x, target, h)
            losses.append(loss)
        return losses

    return Prepared(call, lambda: {"losses": np.array(call())})


def tasks(row: str) -> Tasks:
    return {FORWARD: forward, GRADIENT: gradient, STEP: step, RUN: run, CHARACTERS: characters}
