"""The records of an audited loop: passes, updates, and the graph that joins them."""

import functools
import os
import re
import sys
import sysconfig
from collections import Counter, defaultdict, namedtuple
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import ref

import torch
from torch import nn
from torch.nn.modules.rnn import RNNCellBase

RECURRENT = nn.RNNBase | RNNCellBase
FOLDERS = Path(__file__).parent, *torch.__path__, *map(sysconfig.get_path, ("stdlib", "purelib"))
LIBRARIES = tuple(f"{folder}{os.sep}" for folder in FOLDERS)
HIDDEN = "<importlib._bootstrap>"  # file of frames that the warnings of torch do not count
Evidence = defaultdict[str, list[tuple[Any, ...]]]  # by kind of warning: place, values of its text
CARRIED = "a carried state"  # and some of its origins:
BEFORE, ELSEWHERE = "the window before", "elsewhere in the data"
NO_GRADIENT = "a pass without gradient"

MARK = "torch_rnn.pass"  # key of the metadata of a node that ends a pass: {output number: Mark}
LOSS = "torch_rnn.loss"  # key of the LossCall whose result a node is
# The end of a pass in the graph: its output "out", "h" or "c", and the nodes before the pass
Mark = namedtuple("Mark", "owner output before")
RESHAPING = {"View", "UnsafeView", "ReshapeAlias", "Transpose", "Permute", "T", "Squeeze", "Clone"}
RESHAPING |= {"Unsqueeze", "Select", "Slice", "Index", "Stack", "Unbind", "Cat", "Expand", "Alias"}
WRONG_INPUTS = {  # by the operation of a loss and the one before it
    ("LogSoftmax", "Softmax"): "cross_entropy applies softmax itself: leave the other out",
    ("BinaryCrossEntropyWithLogits", "Sigmoid"): "the loss applies sigmoid itself: leave it out",
    ("NllLoss", "Softmax"): "nll_loss gets probabilities: use log_softmax instead of softmax",
    ("NllLoss", "Addmm"): "nll_loss gets scores and expects log-probabilities: use log_softmax",
}


@functools.cache
def script_name(file: str) -> str:
    """The name of a file of the script, relative to the working folder; empty for a library."""
    if file.startswith(LIBRARIES) or re.match("<(?!ipython|stdin|string)", file):
        return ""
    relative = os.path.relpath(file) if os.path.isabs(file) else file
    return file if relative.startswith("..") else relative


def place() -> str:
    """FILE:LINE of the innermost call in the script."""
    frame: Any = sys._getframe(1)
    while frame is not None and not script_name(frame.f_code.co_filename):
        frame = frame.f_back
    return "?" if frame is None else f"{script_name(frame.f_code.co_filename)}:{frame.f_lineno}"


class RecurrentModule:
    """A recurrent module of torch.nn, and what was seen of it."""

    def __init__(self, module: Any, name: str):
        self.name, self.place, self.module = name, place(), ref(module)
        self.is_cell = isinstance(module, RNNCellBase)
        self.axis = int(getattr(module, "batch_first", False))  # of time, in a batch of sequences
        self.is_bidirectional = bool(getattr(module, "bidirectional", False))
        nonlinearity = f", {module.nonlinearity}" if hasattr(module, "nonlinearity") else ""
        self.kind = f"nn.{type(module).__name__}({module.extra_repr()}){nonlinearity}"
        self.passes = Counter[tuple[int, int, bool]]()  # by steps, batch, and whether with gradient
        self.ids = frozenset(map(id, module.parameters()))
        self.updates = 0
        self.copied = -1, -1  # updates and backward passes before the weights were copied
        self.states = dict[Any, tuple[str, Pass, int]]()  # by its numbers: "h" or "c", pass, step
        self.latest: Pass | None = None  # pass with a gradient
        self.evidence: Evidence = defaultdict(list)

    @property
    def parameters(self) -> dict[str, nn.Parameter]:
        """The parameters that are trained; none after the end of the module."""
        own = getattr(self.module(), "_parameters", {})
        return {name: p for name, p in own.items() if p is not None and p.requires_grad}


@dataclass(eq=False, slots=True)
class Pass:
    """One forward pass of a recurrent module."""

    module: RecurrentModule
    place: str
    number: int  # in the order of its passes
    update: int  # updates of the module before it
    steps: int
    has_gradient: bool
    initial: str = "zeros"  # or a learned, carried, computed, given state
    origin: str = ""  # of a carried state
    parents: Any = ()  # passes of the same module, joined to it by the graph of the state
    follows_training: bool = False  # its state comes, by passes without gradient, from training
    cuts: int = 0  # calls before it, in the same update, from which its state is detached
    data: Any = None  # position of the input in a tensor: the tensor, offset, stride of a step
    tokens: torch.Tensor | None = None  # indices of the embedding that made the input
    copies: Any = ()  # names, tensors, and their copies: input, states, weights
    rows: Any = ()  # steps whose output got a gradient


# A call of a loss function, with the shape of its input
LossCall = namedtuple("LossCall", "number place name reduction shape")
# A call of clip_grad_norm_ or clip_grad_value_: whether it acts, and the ids of its parameters
Clip = namedtuple("Clip", "kind limit place acts parameters")
# A backward pass: updates before it; losses; ids of the parameters that it reaches, and of those
# that had no gradient before it; by pass the steps that it reaches and those with a loss; whether
# its gradient is not zero
Backward = namedtuple("Backward", "number place steps_before losses leaves anew reached is_nonzero")
# Passes that are joined by their states: steps, those that the gradient goes through (k2), and
# those whose output enters the loss (k1)
Window = namedtuple("Window", "passes initial steps reach with_loss")


class Update(namedtuple("Update", "number place rates backwards modules clips")):
    """One step of an optimizer: the backward passes that it uses, the modules that it changes."""

    def windows(self, module: RecurrentModule) -> list[Any]:
        """The windows of a module, if the update changes it."""
        if module not in self.modules:
            return []
        parts = [p for b in self.backwards for p in b.reached.items() if p[0].module is module]
        reached = dict(sorted(parts, key=lambda item: (item[0].number, item[1])))
        depth: dict[Pass, int] = {}
        groups: dict[Pass, list[Pass]] = {}
        for each in reached:
            parents = [p for p in each.parents if p in depth]
            groups[each] = groups[parents[0]] if parents else []
            groups[each].append(each)
            depth[each] = reached[each][0] + max((depth[p] for p in parents), default=0)
        found = list[Any]()
        for passes in (group for each, group in groups.items() if each is group[0]):
            steps, reach = sum(p.steps for p in passes), max(depth[p] for p in passes)
            with_loss = sum(reached[p][1] for p in passes)
            found.append(Window(passes, passes[0].initial, steps, reach, with_loss))
        return found


class OptimizerRecord:
    """An optimizer, and what its steps have used."""

    def __init__(self, optimizer: Any):
        self.kind, self.optimizer = type(optimizer).__name__, ref(optimizer)
        self.held = frozenset(map(id, held_by(optimizer)))
        self.scheduled = [bool(group.get("initial_lr")) for group in optimizer.param_groups]
        first = optimizer.param_groups[0]
        self.options = {k: first[k] for k in ("momentum", "weight_decay") if first.get(k)}
        self.updates = list[Update]()
        self.begun, self.used = -1, 0  # updates, and backward passes used, before its latest step
        self.trainable = 0


def held_by(optimizer: Any) -> list[torch.Tensor]:
    groups = getattr(optimizer, "param_groups", ())
    return [p for group in groups for p in group["params"] if p.requires_grad]


def has_gradient(p: torch.Tensor) -> bool:
    grad = p.grad
    return grad is not None and bool(grad._nnz() if grad.is_sparse else grad.any())


def kind_of(node: Any) -> str:
    return type(node).__name__.rstrip("0123456789").removesuffix("Backward").removesuffix("2D")


def nodes_of(tensors: list[torch.Tensor]) -> list[Any]:
    return [(t.grad_fn, t.output_nr) for t in tensors if t.grad_fn is not None]


def node_before(node: Any) -> Any:
    return next((each for each, _ in node.next_functions if each is not None), None)


class Graph:
    """What some tensors are computed from, through passes, or up to the first of them."""

    def __init__(self, roots: list[torch.Tensor], most: int = 200_000, into_passes: bool = True):
        self.passes: dict[Pass, dict[str, bool]] = {}  # outputs, and whether none is in between
        self.leaves = {id(t): t for t in roots if t.is_leaf and t.requires_grad}
        self.nodes: list[Any] = []  # before the first passes
        self.losses: list[Any] = []
        later: list[Any] = []
        seen: set[Any] = set()
        pending, is_direct = nodes_of(roots), True
        while pending or later:
            if not pending:
                pending, later, is_direct = later, [], False
            node, number = pending.pop()
            metadata = {} if node is None else node.metadata
            if metadata and (mark := metadata.get(MARK, {}).get(number)):
                outputs = self.passes.setdefault(mark.owner, {})
                if mark.output not in outputs:
                    outputs[mark.output] = is_direct
                    later += mark.before if into_passes else ()
            elif node is not None and node not in seen and len(seen) < most:
                seen.add(node)
                self.nodes += [node] if is_direct else ()
                self.losses += [metadata[LOSS]] if LOSS in metadata else ()
                pending += node.next_functions
                if not node.next_functions and hasattr(node, "variable"):
                    self.leaves[id(node.variable)] = node.variable
        for net in {each.module for each in self.passes} if into_passes else ():
            self.leaves.update((id(p), p) for p in net.parameters.values())


def wrong_losses(graph: Graph) -> Iterator[tuple[Any, ...]]:
    """Evidence of a softmax before a loss that has one, and of a difference that broadcasts."""
    for node in graph.nodes:
        kind, source = kind_of(node), node_before(node)
        while kind_of(source) in RESHAPING:
            source = node_before(source)
        if text := WRONG_INPUTS.get((kind, kind_of(source))):
            yield "input of the loss", text
        power = node_before(node) if kind in ("Mean", "Sum") else None
        difference: Any = node_before(power) if kind_of(power) in ("Pow", "Abs", "Mul") else None
        before = difference.next_functions if kind_of(difference) == "Sub" else ()
        if before and before[0][0] and not before[-1][0]:
            column = tuple(before[0][0]._input_metadata[before[0][1]].shape)
            square = tuple(difference._input_metadata[0].shape)
            # a column (N, 1) minus a row (N), the target
            if column[1:] == (1,) and column[0] > 1 and square == 2 * column[:1]:
                yield "shapes of the loss", column, column[:1]
