"""The trace of an audited loop, which `python -m numpy_rnn compare` judges update by update."""

from typing import Any

import numpy as np
import torch

from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import NumpyArray
from numpy_rnn.conformance.traces.recorder import Trace
from torch_rnn.loop_audit.records import Clip, Copies, Network, Pass

NAMES = {"weight_ih_l0": "W_xh", "weight_hh_l0": "W_hh", "bias_ih_l0": "b_h", "bias_hh_l0": "b_hh"}
SGD = ("momentum", "dampening", "nesterov", "weight_decay")
LOSSES = {"mse_loss": "squared_error", "cross_entropy": "cross_entropy"}
NEEDED = (
    "no trace is written: a trace needs updates by torch.optim.SGD with one group of parameters and the same options "
    "throughout, all gradients clipped together or none; one nn.RNN of one layer and one nn.Linear; in every update "
    "one forward pass and one mse_loss or cross_entropy over all of its steps; and the same windows in every epoch"
)


class LoopTrace:
    """Copies of what a trace needs of every update, as long as the loop is a run of this project."""

    def __init__(self) -> None:
        self.passes: list[tuple[Network, Pass]] = []  # since the latest update
        self.losses: list[tuple[str, torch.Tensor, NumpyArray]] = []  # name, target and loss
        self.is_run, self.rows = True, list[dict[str, Any]]()  # one per update
        self.options, self.initial = dict[str, Any](), dict[str, NumpyArray]()

    def loss(self, name: str, target: torch.Tensor, result: torch.Tensor | None) -> None:
        """Keep the target of a window, and its loss."""
        if result is not None and result.dim() == 0 and result.requires_grad:
            self.losses.append((name, target.detach().clone(), array(result)))

    def step(self, optimizer: Any, linear: Any, clip: Clip | None, weights: Copies, gradients: Copies) -> None:
        """Keep an update. linear: the first nn.Linear; weights, gradients: as of the latest backward pass."""
        passes, losses, (group, *more) = self.passes, self.losses, optimizer.param_groups
        self.passes, self.losses = [], []
        is_sgd = type(optimizer) is torch.optim.SGD and not more and linear is not None
        is_one = len(passes) == len(losses) == 1 and losses[0][0] in LOSSES and "out" in passes[0][1].arrays
        self.is_run = self.is_run and is_sgd and is_one and passes[0][0].module.num_layers == 1
        self.is_run = self.is_run and not passes[0][0].module.bidirectional
        if not self.is_run:
            return
        ((net, each),), ((loss_name, target, loss),) = passes, losses
        parameters = {NAMES[name]: p for name, p in net.module.named_parameters(recurse=False)}
        parameters |= {"W_hy": linear.weight} | ({} if linear.bias is None else {"b_y": linear.bias})
        options = {"learning_rate": group["lr"], "loss": LOSSES[loss_name], "nonlinearity": net.module.nonlinearity}
        options |= {name: group[name] for name in SGD} | ({} if clip is None else {"max_" + clip.kind: clip.limit})
        is_class, T, B = loss_name == "cross_entropy", each.steps, each.batch
        has_all_steps = target.numel() == T * B * (1 if is_class else linear.out_features)
        is_clipped_whole = clip is None or clip.parameters == len(parameters)
        is_trained_whole = gradients.keys() >= {*parameters.values()}
        self.is_run = has_all_steps and is_clipped_whole and is_trained_whole and self.options in ({}, options)
        if self.is_run:
            self.options = options
            self.initial = self.initial or {name: array(weights[p]) for name, p in parameters.items()}
            x, y = array(each.arrays["x"]), array(net.by_time(target, T, B))
            h = each.arrays.get("h_0", torch.zeros(B, net.module.hidden_size, dtype=each.arrays["x"].dtype))
            report = {name: array(p) for name, p in parameters.items()} | {"loss": loss}
            report |= {"d" + name: array(gradients[p]) for name, p in parameters.items()}
            if group["momentum"]:
                report |= {"v" + name: array(optimizer.state[p]["momentum_buffer"]) for name, p in parameters.items()}
            row = {"x": x, "h": array(h).reshape(B, -1), "y": y[..., 0] if is_class else y, "report": report}
            self.rows.append(row)

    def save(self, path: str) -> int:
        """Write the trace. Returns its number of updates. Raises InputError if the loop is no such run."""
        starts = [n for n, row in enumerate(self.rows) if not row["h"].any() or n == 0]
        length = [*starts, len(self.rows)][1] if starts else 0
        epochs = [self.rows[n : n + length] for n in starts]
        if len(epochs) > 1 and len(epochs[-1]) < length:
            epochs.pop()  # the audit ended within it
        windows = [[row["x"] for row in epoch] for epoch in epochs]
        if not self.is_run or not epochs or not all(same(each, windows[0]) for each in windows):
            raise InputError(NEEDED)
        x, y = (np.concatenate([row[name] for row in epochs[0]]) for name in ("x", "y"))
        k, reduction = len(windows[0][0]), "mean" if self.options["loss"] == "cross_entropy" else "sum"
        sizes: dict[str, Any] = {"k1": k, "k2": k, "epochs": len(epochs), "reduction": reduction}
        trace = Trace(self.initial, x, y, epochs[0][0]["h"], **sizes, **self.options)
        if reduction == "sum":  # the mean of e², by torch, is the sum of ½ w e² with w = 2/N
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


def same(windows: list[NumpyArray], others: list[NumpyArray]) -> bool:
    """Whether windows are the same."""
    return len(windows) == len(others) and all(map(np.array_equal, windows, others))


def array(tensor: torch.Tensor) -> NumpyArray:
    """A copy as an array; a matrix of weights in the shape of a trace."""
    return (tensor.mT if tensor.dim() == 2 else tensor).detach().cpu().numpy().copy()
