"""What the arguments of a loss function tell: its reduction, and signs of mistakes."""

import math
from itertools import zip_longest
from typing import Any

import torch

from torch_rnn.loop_audit.contents import LatestData, read_target

# The argument of the reduction by the function's name; its number is one of these.
PLACE_OF_REDUCTION = {
    "mse_loss": 2,
    "l1_loss": 2,
    "smooth_l1_loss": 2,
    "huber_loss": 2,
    "cross_entropy_loss": 3,
    "nll_loss_nd": 3,
    "binary_cross_entropy": 3,
    "binary_cross_entropy_with_logits": 4,
    "kl_div": 2,
    "ctc_loss": 5,
}
REDUCTIONS = ("none", "mean", "sum")
MOVES = ("View", "Reshape", "Transpose", "Permute", "Squeeze", "Unsqueeze", "TBack")
# What must not be the input of a loss that computes it itself.
ALREADY_DONE: dict[str, tuple[str, ...]] = {
    "cross_entropy_loss": ("SoftmaxBackward",),
    "binary_cross_entropy_with_logits": ("SoftmaxBackward", "SigmoidBackward"),
    "nll_loss_nd": ("SoftmaxBackward", "SigmoidBackward"),
}
Shapes = tuple[torch.Size, torch.Size]


def reduction_of(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    """Return the reduction of a call of a torch operator; empty if it is unknown."""
    value = kwargs.get("reduction")
    place = PLACE_OF_REDUCTION[name]
    if value is None and len(args) > place:
        value = args[place]
    if isinstance(value, str):
        return value
    return REDUCTIONS[value] if value in (0, 1, 2) else ""


def maker_of(tensor: torch.Tensor) -> str:
    """Return the name of the node that has computed the numbers of a tensor, behind
    those that only move them; empty without one.
    """
    node: Any = tensor.grad_fn
    while node is not None and type(node).__name__.startswith(MOVES):
        node = node.next_functions[0][0]
    return "" if node is None else type(node).__name__


def broadcast_sign(shapes: Shapes | None) -> set[str]:
    """Return the sign of a loss whose output or target is broadcast."""
    if shapes is None:
        return set()
    size = math.prod(
        max(sizes) for sizes in zip_longest(*map(reversed, shapes), fillvalue=1)
    )
    prediction, target = (shape.numel() for shape in shapes)
    if size > prediction and size > target:
        return {"loss-broadcasts"}
    return {"output-broadcast"} if size > prediction else set()


def signs_of(
    name: str,
    tensors: list[Any],
    latest: list[LatestData],
    shapes: Shapes | None,
    is_compared: bool,
) -> frozenset[str]:
    """Return the signs of mistakes in a call of a loss function with an output and a
    target, which follows the latest passes. Targets of single steps are compared with
    inputs or not.
    """
    output, target = tensors
    signs = broadcast_sign(shapes)
    done = ALREADY_DONE.get(name, ())
    if done and maker_of(output).startswith(done):
        signs.add("loss-of-probabilities")
    if name == "nll_loss_nd" and bool((output.detach() > 1e-3).any()):
        signs.add("loss-of-no-probabilities")
    if name != "ctc_loss" and isinstance(target, torch.Tensor):
        for data in latest:
            if is_compared or data.axis is not None:
                signs |= read_target(data, target)
            elif target.numel() == data.data.numel():
                data.forward.contents.next_step = target
    return frozenset(signs)
