"""The trace of an audited loop, which `python -m numpy_rnn compare` judges update by update.

A trace is a run of this project: one nn.RNN of one layer, one nn.Linear, squared error or cross-entropy over all steps
of a window, torch.optim.SGD, chunks of k steps with a carried state, from zeros in every epoch.
"""

from typing import Any

import numpy as np
import torch
from torch import nn

from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import NumpyArray
from numpy_rnn.conformance.traces.recorder import Trace
from torch_rnn.loop_audit.records import Clip

NAMES = {"weight_ih_l0": "W_xh", "weight_hh_l0": "W_hh", "bias_ih_l0": "b_h", "bias_hh_l0": "b_hh"}
SGD = ("momentum", "dampening", "nesterov", "weight_decay")


Row = dict[str, Any]


class LoopTrace:
    """Copies of what a trace needs of every update. `problem` says why there is none."""

    def __init__(self) -> None:
        self.problem = ""
        self.rnn: Any = None
        self.linear: Any = None
        self.rows, self.passes, self.losses = list[Row](), list[Row](), list[tuple[str, torch.Tensor, float]]()
        self.initial, self.options, self.gradients = dict[str, Any](), dict[str, Any](), dict[str, Any]()

    def require(self, holds: bool, problem: str) -> None:
        """Keep the first problem."""
        self.problem = self.problem or ("" if holds else f"a trace {problem}")

    def parameters(self) -> dict[str, Any]:
        """The parameters by their names in a trace; none before both modules are known."""
        if self.rnn is None or self.linear is None:
            return {}
        found = {NAMES[name]: p for name, p in self.rnn.named_parameters(recurse=False)}
        found |= {"W_hy": self.linear.weight, "b_y": self.linear.bias}
        return {name: p for name, p in found.items() if p is not None}

    def forward(self, module: nn.Module, x: Any, state: Any) -> None:
        """Keep the inputs of a window."""
        if isinstance(module, nn.Linear):
            self.linear = self.linear or module
            return
        is_one = isinstance(module, nn.RNN) and module.num_layers == 1 and self.rnn in (None, module)
        self.require(is_one, "has one nn.RNN of one layer")
        if is_one and torch.is_grad_enabled() and isinstance(x, torch.Tensor):
            self.rnn = module
            x = self.by_time(x if x.dim() == 3 else x.unsqueeze(0 if module.batch_first else 1))
            h = x.new_zeros(x.shape[1], module.hidden_size) if state is None else state.reshape(x.shape[1], -1)
            self.passes.append({"x": array(x), "h": array(h)})

    def by_time(self, values: torch.Tensor) -> torch.Tensor:
        """Values in the layout of the inputs as (T, B, ...)."""
        return values.transpose(0, 1) if self.rnn.batch_first else values

    def loss(self, name: str, target: torch.Tensor, result: torch.Tensor | None) -> None:
        """Keep the target of a window, and its loss."""
        if result is not None and result.dim() == 0 and result.requires_grad:
            self.losses.append((name, target.detach().clone(), float(result.detach())))
            self.initial = self.initial or copies(self.parameters())

    def backward(self) -> None:
        """Keep the gradients before clipping."""
        self.gradients = copies({"d" + name: p.grad for name, p in self.parameters().items()})

    def step(self, optimizer: torch.optim.Optimizer, clip: Clip | None) -> None:
        """Keep an update."""
        (passes, self.passes), (losses, self.losses) = (self.passes, []), (self.losses, [])
        group, parameters = optimizer.param_groups[0], self.parameters()
        is_sgd = type(optimizer) is torch.optim.SGD and len(optimizer.param_groups) == 1 and self.linear is not None
        self.require(is_sgd, "has an nn.Linear and torch.optim.SGD with one group of parameters")
        is_one = len(passes) == len(losses) == 1 and losses[0][0] in ("mse_loss", "cross_entropy")
        self.require(is_one, "has one forward pass and one mse_loss or cross_entropy per update")
        if self.problem:
            return
        (row,), ((name, target, loss),) = passes, losses
        is_whole = clip is None or clip.parameters == {id(p) for p in parameters.values()}
        self.require(is_whole, "clips the gradients of all parameters together")
        options = {"learning_rate": group["lr"], **{n: group[n] for n in SGD}} | (
            {} if clip is None else {"max_" + clip.kind: clip.limit}
        )
        options["loss"] = name.replace("mse_loss", "squared_error")
        self.require(self.options in ({}, options), "has one learning rate and the same options throughout")
        T, B, _ = row["x"].shape
        O = 1 if name == "cross_entropy" else self.linear.out_features
        self.require(target.numel() == T * B * O, "has a loss at every step of a window")
        if self.problem:
            return
        self.options = options
        y = array(self.by_time(target.reshape(*((B, T) if self.rnn.batch_first else (T, B)), -1)))
        state = {"v" + n: optimizer.state[p].get("momentum_buffer") for n, p in parameters.items()}
        report = copies({**parameters, **(state if group["momentum"] else {})})
        report |= {"loss": np.array(loss, row["x"].dtype), **self.gradients}
        self.rows.append({**row, "y": y[..., 0] if name == "cross_entropy" else y, "report": report})

    def save(self, path: str) -> int:
        """Write the trace. Returns its number of updates. Raises InputError if the loop is no such run."""
        if self.problem or not self.rows:
            raise InputError(f"no trace is written: {self.problem or 'no update was seen'}")
        starts = [n for n, row in enumerate(self.rows) if not row["h"].any() or n == 0]
        length = [*starts, len(self.rows)][1]
        epochs = [self.rows[n : n + length] for n in starts]
        if len(epochs) > 1 and len(epochs[-1]) < length:
            epochs.pop()  # the audit ended within it
        for epoch in epochs:
            if len(epoch) != length or any(not np.array_equal(a["x"], b["x"]) for a, b in zip(epoch, epochs[0])):
                raise InputError("no trace is written: a trace repeats the same windows in every epoch")
        x, y = (np.concatenate([row[name] for row in epochs[0]]) for name in ("x", "y"))
        k = len(epochs[0][0]["x"])
        mean = self.options["loss"] == "cross_entropy"
        trace = Trace(
            self.initial, x, y, epochs[0][0]["h"], k1=k, k2=k, epochs=len(epochs),
            reduction="mean" if mean else "sum", **self.options, nonlinearity=self.rnn.nonlinearity,
        )  # fmt: skip
        if not mean:  # the mean of e², by torch, is the sum of ½ w e² with w = 2/N
            w = [np.full(row["y"].shape[:2], 2 / row["y"].size, x.dtype) for row in epochs[0]]
            trace.run = trace.run._replace(weights=np.concatenate(w))
        for number, epoch in enumerate(epochs, start=1):
            start = 0
            for row in epoch:
                stop = start + len(row["x"])
                trace.update(number, (start, start, stop), row["h"], **row["report"])
                start = stop
        trace.save(path)
        return trace.updates


def copies(values: dict[str, torch.Tensor | None]) -> dict[str, Any]:
    """Copies as arrays, in the shapes of a trace."""
    return {n: array(v.mT if v.dim() == 2 else v) for n, v in values.items() if v is not None}


def array(tensor: torch.Tensor) -> NumpyArray:
    """A copy of a tensor."""
    return tensor.detach().cpu().numpy().copy()
