"""The trace of an audited loop, which `python -m numpy_rnn compare` judges update by update."""

from typing import Any

import numpy as np
import torch

from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import NumpyArray
from numpy_rnn.conformance.traces.recorder import Trace
from torch_rnn.loop_audit.optimizers import Clipping
from torch_rnn.loop_audit.records import Network

NAMES = {"weight_ih_l0": "W_xh", "weight_hh_l0": "W_hh", "bias_ih_l0": "b_h", "bias_hh_l0": "b_hh"}
SGD = ("momentum", "dampening", "nesterov", "weight_decay")
Copies = dict[torch.Tensor, torch.Tensor]  # by parameter
LOSSES = {"mse_loss": "squared_error", "cross_entropy": "cross_entropy"}
NEEDED = (
    "no trace is written: a trace needs updates by torch.optim.SGD with one group of parameters and the same options "
    "throughout, all gradients clipped together or none; one nn.RNN of one layer and one nn.Linear; in every update "
    "one forward pass and one mse_loss or cross_entropy over all of its steps; and the same windows in every epoch"
)


class LoopTrace:
    """Copies of what a trace needs of every update, as long as the loop is a run of this project."""

    def __init__(self) -> None:
        self.losses: list[tuple[str, torch.Tensor, NumpyArray]] = []  # since the latest update: name, target and loss
        self.nodes: list[Any] = []  # of them, and of what backward was called on
        self.is_run, self.rows = True, list[dict[str, Any]]()  # one per update
        self.initial = dict[str, NumpyArray]()  # parameters
        self.weights, self.gradients = Copies(), Copies()  # after the latest backward pass

    def loss(self, name: str, target: torch.Tensor, result: torch.Tensor | None) -> None:
        """Keep the target of a window, and its loss."""
        if result is not None and result.dim() == 0 and result.requires_grad:
            self.losses.append((name, target.detach().clone(), array(result)))
            self.nodes.append(result.grad_fn)

    def backward(self, roots: list[torch.Tensor], parameters: set[torch.Tensor]) -> None:
        """Keep weights and gradients."""
        self.nodes += [root.grad_fn for root in roots]
        self.weights = {p: p.detach().clone() for p in parameters}
        self.gradients = {p: p.grad.detach().clone() for p in parameters if p.grad is not None}

    def step(self, optimizer: Any, net: Network, clippings: list[Clipping]) -> None:
        """Keep an update, before its windows are forgotten."""
        try:
            self.rows.append(self.row(optimizer, net, clippings))
        except (AttributeError, KeyError, RuntimeError, ValueError):  # what such a run has is missing, or there is more
            self.is_run = False
        self.losses, self.nodes = [], []

    def row(self, optimizer: Any, net: Network, clippings: list[Clipping]) -> dict[str, Any]:
        """What a trace needs of an update."""
        (each,), ((loss_name, target, loss),), (group,) = net.reached, self.losses, optimizer.param_groups
        node, root = self.nodes
        if node is not root or each.inputs is None:
            raise ValueError
        parameters = {NAMES[name]: p for name, p in net.parameters.items()}
        readout = [p for p in group["params"] if p not in {*parameters.values()}]
        parameters |= dict(zip(("W_hy", "b_y"), readout))
        T, B, is_class, clip = each.steps, each.batch, loss_name == "cross_entropy", None
        if clippings:
            ((clip, _),) = clippings
        x, y, h = net.by_time(each.inputs.x, T, B), net.by_time(target, T, B), each.inputs.states[0].reshape(B, -1)
        is_fit = [p.dim() for p in readout] in ([2], [2, 1]) and y.shape[2] == (1 if is_class else len(readout[0]))
        is_clipped_whole = clip is None or clip.parameters == len(parameters)
        if (
            type(optimizer) is not torch.optim.SGD
            or group["maximize"]
            or net.number > 1
            or not (is_fit and is_clipped_whole)
        ):
            raise ValueError
        options = {"learning_rate": group["lr"], "nonlinearity": net.module.nonlinearity}
        options |= {"loss": LOSSES[loss_name], "reduction": "mean" if is_class else "sum"}
        options |= {name: group[name] for name in SGD} | ({} if clip is None else {"max_" + clip.kind: clip.limit})
        report = {name: array(p) for name, p in parameters.items()} | {"loss": loss}
        report |= {"d" + name: array(self.gradients[p]) for name, p in parameters.items()}
        if group["momentum"]:
            report |= {"v" + name: array(optimizer.state[p]["momentum_buffer"]) for name, p in parameters.items()}
        self.initial = self.initial or {name: array(self.weights[p]) for name, p in parameters.items()}
        row = {"x": x.numpy(), "h": h.numpy(), "y": (y[..., 0] if is_class else y).numpy()}
        return row | {"report": report, "options": options}

    def save(self, path: str) -> int:
        """Write the trace. Returns its number of updates. Raises InputError if the loop is no such run."""
        starts = [n for n, row in enumerate(self.rows) if n == 0 or not row["h"].any()]
        length = [*starts, len(self.rows)][1] if self.is_run and self.rows else 0
        rows = self.rows[: len(self.rows) // length * length] if length else []  # the last epoch may be unfinished
        pairs = [(row, rows[n % length]) for n, row in enumerate(rows)]
        is_repeated = all(np.array_equal(row[name], first[name]) for row, first in pairs for name in ("x", "y"))
        if not rows or not is_repeated or any(row["options"] != rows[0]["options"] for row in rows):
            raise InputError(NEEDED)
        x, y = (np.concatenate([row[name] for row in rows[:length]]) for name in ("x", "y"))
        k, options = len(rows[0]["x"]), rows[0]["options"]
        sizes: dict[str, Any] = {"k1": k, "k2": k, "epochs": len(rows) // length}
        trace = Trace(self.initial, x, y, rows[0]["h"], **sizes, **options)
        if options["reduction"] == "sum":  # the mean of e², by torch, is the sum of ½ w e² with w = 2/N
            w = [np.full(row["y"].shape[:2], 2 / row["y"].size, x.dtype) for row in rows[:length]]
            trace.run = trace.run._replace(weights=np.concatenate(w))
        for n, row in enumerate(rows):
            start = n % length * k
            trace.update(1 + n // length, (start, start, start + len(row["x"])), row["h"], **row["report"])
        trace.save(path)
        return trace.updates


def array(tensor: torch.Tensor) -> NumpyArray:
    """A copy as an array; a matrix of weights in the shape of a trace."""
    return (tensor.mT if tensor.dim() == 2 else tensor).detach().cpu().numpy().copy()
