"""The records of an audited loop: passes of recurrent modules, and the updates they lead to."""

import functools
import os
import re
import sys
import sysconfig
from collections import Counter, defaultdict, namedtuple
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from weakref import ref

import torch
from torch import nn
from torch.nn.modules.rnn import RNNCellBase

RECURRENT = nn.RNNBase | RNNCellBase
OWN = str(Path(__file__).parent) + os.sep
FOLDERS = (*torch.__path__, *map(sysconfig.get_path, ("stdlib", "purelib", "platlib")))
LIBRARIES = (OWN, *(folder + os.sep for folder in FOLDERS))
HIDDEN = "<importlib._bootstrap>"  # file of frames that the warnings of torch do not count
Evidence = defaultdict[str, list[tuple[Any, ...]]]  # by kind of warning: place, values of its text
# Origins of a carried state
BEFORE, INSIDE, OTHER = "the window before", "a step within an earlier window", "an earlier pass"
OLDER, ELSEWHERE = "an older window", "elsewhere in the data"
NO_GRADIENT = "a pass without gradient"


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
        self.is_lstm = isinstance(module, nn.LSTM | nn.LSTMCell)
        self.batch_first = bool(getattr(module, "batch_first", False))
        self.is_bidirectional = bool(getattr(module, "bidirectional", False))
        nonlinearity = f", {module.nonlinearity}" if hasattr(module, "nonlinearity") else ""
        self.kind = f"nn.{type(module).__name__}({module.extra_repr()}){nonlinearity}"
        self.passes = Counter[tuple[int, int, bool]]()  # by steps, batch, and whether with gradient
        self.ids = frozenset(map(id, module.parameters()))
        self.updates = 0
        self.weights: tuple[Any, dict[str, torch.Tensor]] = None, {}  # when copied, and the copies
        self.states: dict[str, dict[Any, tuple[Pass, int]]] = {"h": {}, "c": {}}  # pass and step
        self.users = dict[tuple[Pass, int], Pass]()  # the first pass from a state
        self.latest: Pass | None = None  # pass with a gradient
        self.evidence: Evidence = defaultdict(list)

    @property
    def parameters(self) -> dict[str, nn.Parameter]:
        """The parameters that are trained; none after the end of the module."""
        own = getattr(self.module(), "_parameters", {})
        return {name: p for name, p in own.items() if p is not None and p.requires_grad}


@dataclass(eq=False)
class Pass:
    """One forward pass of a recurrent module."""

    module: RecurrentModule
    place: str
    number: int  # in the order of all passes
    update: int  # updates of the module before it
    backward: int  # backward passes before it
    draw: int  # batches that a shuffling DataLoader had drawn
    steps: int
    batch: int
    has_gradient: bool
    batch_sizes: torch.Tensor | None  # of a packed input
    initial: str = "zeros"  # or learned, carried, computed, given
    origin: str = ""  # of a carried state
    parents: tuple["Pass", ...] = ()  # of the same module, joined to it by the graph of the state
    follows_training: bool = False  # its state comes, by passes without gradient, from training
    cuts: int = 0  # calls before it, in the same update, from which its state is detached
    was_reached: bool = False  # by a backward pass
    data: Any = None  # position of the input in a tensor: the tensor, offset, stride of a step
    tokens: torch.Tensor | None = None  # indices of the embedding that made the input
    copies: list[tuple[str, torch.Tensor, torch.Tensor]] = field(default_factory=list)
    rows: set[int] = field(default_factory=set)  # steps whose output got a gradient

    @property
    def age(self) -> int:
        """Updates before it; without an optimizer every backward pass is taken as an update."""
        return self.update if self.module.updates else self.backward


# A call of a loss function, with the shape of its input
LossCall = namedtuple("LossCall", "number place name reduction shape")
# A call of clip_grad_norm_ or clip_grad_value_: whether it acts, and the ids of its parameters
Clip = namedtuple("Clip", "kind limit place acts parameters")
# A backward pass: updates before it, losses, ids of the parameters that it reaches, and by pass
# the steps that it reaches and those with a loss
Backward = namedtuple("Backward", "number place steps_before losses leaves reached")
# Passes that are joined by their states: steps, those that the gradient goes through (k2), and
# those whose output enters the loss (k1)
Window = namedtuple("Window", "passes initial steps reach with_loss")


@dataclass(eq=False)
class Update:
    """One step of an optimizer."""

    number: int
    place: str
    optimizer: int  # its number; 0 without one
    rates: tuple[float, ...]  # learning rates of its groups of parameters
    backwards: list[Any]  # whose gradients it uses
    modules: list[RecurrentModule]  # whose weights it changes
    clips: list[Any]
    epoch: int  # number of the iterator of a DataLoader; 0 without one
    in_eval: bool  # modules are in eval mode, and that changes them

    def windows(self, module: RecurrentModule) -> list[Any]:
        """The windows of a module."""
        parts = [item for b in self.backwards for item in b.reached.items()]
        reached = dict(sorted(parts, key=lambda item: (item[0].number, item[1])))
        depth, groups = dict[Pass, int](), dict[Pass, list[Pass]]()
        for each in (p for p in reached if p.module is module):
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
