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
from torch_rnn.loop_audit.records import Clip, Network

NAMES = {"weight_ih_l0": "W_xh", "weight_hh_l0": "W_hh", "bias_ih_l0": "b_h", "bias_hh_l0": "b_hh"}
SGD = ("momentum", "dampening", "nesterov", "weight_decay")


class LoopTrace:
    """Copies of what a trace needs of every update. `problem` says why there is none."""

    def __init__(self) -> None:
        self.problem, self.rows = "", list[dict[str, Any]]()
        self.rnn: Any = None
        self.linear: Any = None
        self.initial: dict[str, Any] = {}
        self.options: dict[str, Any] = {}
        self.passes = list[tuple[Any, Any]]()
        self.losses = list[tuple[str, Any, float]]()
        self.gradients: dict[str, Any] = {}

    def parameters(self) -> dict[str, Any]:
        """The parameters by their names in a trace."""
        found = {NAMES[name]: p for name, p in self.rnn.named_parameters(recurse=False)}
        found |= {"W_hy": self.linear.weight, "b_y": self.linear.bias}
        return {name: p for name, p in found.items() if p is not None}

    def forward(self, module: nn.Module, x: Any, state: Any) -> None:
        """Keep the inputs of a window."""
        if isinstance(module, nn.Linear):
            self.linear = self.linear or module
        elif not isinstance(module, nn.RNN) or module.num_layers > 1 or self.rnn not in (None, module):
            self.problem = self.problem or "a trace has one nn.RNN of one layer"
        elif torch.is_grad_enabled() and isinstance(x, torch.Tensor):
            self.rnn = module
            x = x.unsqueeze(1) if x.dim() == 2 else x.transpose(0, 1) if module.batch_first else x
            h = x.new_zeros(x.shape[1], module.hidden_size) if state is None else state.reshape(x.shape[1], -1)
            self.passes.append((array(x), array(h)))

    def loss(self, name: str, target: torch.Tensor, result: torch.Tensor | None) -> None:
        """Keep the target of a window, and its loss."""
        if result is not None and result.dim() == 0 and result.requires_grad:
            self.losses.append((name, target.detach().clone(), float(result.detach())))
            if self.rnn is not None and self.linear is not None and not self.initial:
                self.initial = copies(self.parameters())

    def backward(self) -> None:
        """Keep the gradients before clipping."""
        if self.rnn is not None and self.linear is not None:
            self.gradients = copies({"d" + name: p.grad for name, p in self.parameters().items()})

    def step(self, optimizer: torch.optim.Optimizer, net: Network, clip: Clip | None) -> None:
        """Keep an update."""
        group, passes, losses = optimizer.param_groups[0], self.passes, self.losses
        self.passes, self.losses = [], []
        if type(optimizer) is not torch.optim.SGD or len(optimizer.param_groups) > 1 or self.linear is None:
            self.problem = self.problem or "a trace has an nn.Linear and torch.optim.SGD with one group of parameters"
        if len(passes) != 1 or len(losses) != 1 or losses[0][0] not in ("mse_loss", "cross_entropy"):
            self.problem = self.problem or "a trace has one forward pass and one mse_loss or cross_entropy per update"
        if self.problem:
            return
        (x, h), (name, target, loss), parameters = passes[0], losses[0], self.parameters()
        limits = {} if clip is None else {"max_" + clip.kind: clip.limit}
        if clip is not None and clip.parameters != {id(p) for p in parameters.values()}:
            self.problem = self.problem or "a trace clips the gradients of all parameters together"
        options = {"learning_rate": group["lr"], **{n: group[n] for n in SGD}, **limits}
        options |= {"loss": name.replace("mse_loss", "squared_error")}
        if self.options not in ({}, options):
            self.problem = self.problem or "a trace has one learning rate and the same options throughout"
        if target.numel() != x.shape[0] * x.shape[1] * (1 if name == "cross_entropy" else self.linear.out_features):
            self.problem = self.problem or "a trace has a loss at every step of a window"
            return
        self.options = options
        shape = (x.shape[1], x.shape[0], -1) if self.rnn.batch_first else (x.shape[0], x.shape[1], -1)
        y = target.reshape(shape).transpose(0, 1) if self.rnn.batch_first else target.reshape(shape)
        state = {"v" + n: optimizer.state[p].get("momentum_buffer") for n, p in parameters.items()}
        report = copies({**parameters, **(state if group["momentum"] else {})})
        report |= {"loss": np.array(loss, x.dtype), **self.gradients}
        self.rows.append(
            {"x": x, "h": h, "y": y.numpy()[..., 0] if name == "cross_entropy" else y.numpy(), "report": report}
        )

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
