"""The records of an audited loop: passes, updates, and the graph that joins them."""

import os
import re
import sys
import sysconfig
from collections import Counter, defaultdict, namedtuple
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any
from weakref import ref

import torch
from torch import nn
from torch.nn.modules.rnn import RNNCellBase

RECURRENT = nn.RNNBase | RNNCellBase
LOOKED_AT = {
    0,
    1,
    2,
    *(2**n for n in range(2, 16)),
}  # updates before copies of the inputs
NUMBERS, MAX_KNOWN, MAX_NODES = (
    8,
    40_000,
    200,
)  # of a state, of states, of a part of a graph
FOLDERS = (
    Path(__file__).parent,
    *torch.__path__,
    *map(sysconfig.get_path, ("stdlib", "purelib")),
)
LIBRARIES = tuple(f"{folder}{os.sep}" for folder in FOLDERS)
HIDDEN = (
    "<importlib._bootstrap>"  # file of frames that the warnings of torch do not count
)
Evidence = defaultdict[
    str, list[tuple[Any, ...]]
]  # by kind of warning: place, values of its text
CARRIED = "a carried state"  # and some of its origins:
BEFORE, OLDER, ELSEWHERE = (
    "the window before",
    "an older window",
    "elsewhere in the data",
)
NO_GRADIENT = "a pass without gradient"

# key of the metadata of a node that ends a pass: {output number: Mark}
MARK = "torch_rnn.pass"
LOSS = "torch_rnn.loss"  # key of the LossCall whose result a node is
# The end of a pass in the graph: its output "out", "h" or "c", and the nodes before the
# pass
Mark = namedtuple("Mark", "owner output before")
RESHAPING = {
    "View",
    "UnsafeView",
    "ReshapeAlias",
    "Transpose",
    "Permute",
    "T",
    "Squeeze",
    "Clone",
}
RESHAPING |= {
    "Unsqueeze",
    "Select",
    "Slice",
    "Index",
    "Stack",
    "Unbind",
    "Cat",
    "Expand",
    "Alias",
}
WRONG_INPUTS = {  # by the operation of a loss and the one before it
    (
        "LogSoftmax",
        "Softmax",
    ): "cross_entropy applies softmax itself: leave the other out",
    (
        "BinaryCrossEntropyWithLogits",
        "Sigmoid",
    ): "the loss applies sigmoid itself: leave it out",
    (
        "NllLoss",
        "Softmax",
    ): "nll_loss gets probabilities: use log_softmax instead of softmax",
    (
        "NllLoss",
        "Addmm",
    ): "nll_loss gets scores and expects log-probabilities: use log_softmax",
}


@cache
def script_name(file: str) -> str:
    """The name of a file of the script, relative to the working folder; empty for a
    library.
    """
    if file.startswith(LIBRARIES) or re.match("<(?!ipython|stdin|string)", file):
        return ""
    relative = os.path.relpath(file) if os.path.isabs(file) else file
    return file if relative.startswith("..") else relative


def place() -> str:
    """FILE:LINE of the innermost call in the script."""
    frame: Any = sys._getframe(1)
    while frame is not None and not script_name(frame.f_code.co_filename):
        frame = frame.f_back
    return (
        "?"
        if frame is None
        else f"{script_name(frame.f_code.co_filename)}:{frame.f_lineno}"
    )


def keys_of(states: torch.Tensor, most: int = 4) -> list[bytes]:
    """The first numbers of the first rows of states (B, H), or of the last layer of (L,
    B, H).
    """
    array = states.detach().float().cpu().numpy()
    array = array[-1] if array.ndim == 3 else array
    return [
        row.tobytes() for row in array.reshape(-1, array.shape[-1])[:most, :NUMBERS]
    ]


@dataclass(eq=False, slots=True)
class Pass:
    """One forward pass of a recurrent module."""

    module: "RecurrentModule"
    place: str
    number: int  # in the order of its passes
    update: int  # updates of the module before it
    steps: int
    has_gradient: bool
    initial: str = "zeros"  # or a learned, carried, computed, given state
    origin: str = ""  # of a carried state
    # passes of the same module, joined to it by the graph of the state
    parents: Any = ()
    follows_training: bool = (
        False  # its state comes, by passes without gradient, from training
    )
    cuts: int = (
        0  # calls before it, in the same update, from which its state is detached
    )
    data: Any = (
        None  # position of the input in a tensor: the tensor, offset, stride of a step
    )
    tokens: torch.Tensor | None = None  # indices of the embedding that made the input
    copies: Any = ()  # names, tensors, and their copies: input, states, weights
    rows: Any = ()  # steps whose output got a gradient


class RecurrentModule:
    """A recurrent module of torch.nn, and what was seen of it."""

    def __init__(self, module: Any, name: str, call: Callable[..., None]):
        self.name, self.place, self.module, self.call = name, place(), ref(module), call
        self.is_cell = isinstance(module, RNNCellBase)
        self.axis = int(
            getattr(module, "batch_first", False)
        )  # of time, in a batch of sequences
        self.is_bidirectional = bool(getattr(module, "bidirectional", False))
        nonlinearity = (
            f", {module.nonlinearity}" if hasattr(module, "nonlinearity") else ""
        )
        self.kind = f"nn.{type(module).__name__}({module.extra_repr()}){nonlinearity}"
        self.passes = Counter[
            tuple[int, int, bool]
        ]()  # by steps, batch, and whether with gradient
        self.ids = frozenset(map(id, module.parameters()))
        self.updates, self.copied = (
            0,
            -1,
        )  # updates; those before the weights were copied
        self.states = dict[
            Any, tuple[str, Pass, int]
        ]()  # by its numbers: "h" or "c", pass, step
        self.latest: Pass | None = None  # pass with a gradient
        self.evidence: Evidence = defaultdict(list)

    @property
    def parameters(self) -> dict[str, nn.Parameter]:
        """The parameters that are trained; none after the end of the module."""
        own = getattr(self.module(), "_parameters", {})
        return {name: p for name, p in own.items() if p is not None and p.requires_grad}

    def enter(self, args: Any, kwargs: Any, output: Any) -> None:
        """Record a forward pass, by the arguments and the result of its call."""
        given = kwargs | dict(zip(("input", "hx"), args))
        x, states = given["input"], listed(given.get("hx"))
        out, output = (None, output) if self.is_cell else output
        outputs = dict(zip("hc", listed(output))) | (
            {} if out is None else {"out": out}
        )
        sizes = (
            None if torch.is_tensor(x) else x.batch_sizes.tolist()
        )  # of a packed sequence
        if sizes:
            x, outputs["out"] = x.data, outputs["out"].data
        shape = (len(sizes), sizes[0], 0) if sizes else x.shape
        steps, batch = ((1, *shape[:-1], 1) if self.is_cell else (*shape[:-1], 1))[:2]
        is_sequence = len(shape) == 3 and not sizes
        steps, batch = (batch, steps) if is_sequence and self.axis else (steps, batch)
        is_trained = any(t.requires_grad for t in outputs.values())
        self.passes[steps, batch, is_trained] += 1
        each = Pass(self, place(), self.passes.total(), self.updates, steps, is_trained)
        if is_sequence:
            self.look_at_input(each, x)
        if states:
            self.look_at_state(each, states)
        if is_trained:
            self.follow(each, x, states, outputs, sizes)
        self.remember(each, outputs)

    def follow(
        self, each: Pass, x: torch.Tensor, states: Any, outputs: Any, sizes: Any
    ) -> None:
        """Mark a pass in the graph, and copy what backward() must find unchanged."""
        before = nodes_of([x, *states])
        for name, t in outputs.items():
            if (node := t.grad_fn) is not None:
                mark = Mark(each, name, before)
                node.metadata.setdefault(MARK, {})[t.output_nr] = mark
                if name == "out":
                    hook = partial(
                        self.call, self.gradient_of_output, each, t.output_nr, sizes
                    )
                    node.register_prehook(hook)
        self.latest = each
        if self.updates in LOOKED_AT:
            named = [("the input", x), *(("the initial state", h) for h in states)]
            if self.copied != self.updates:
                self.copied = self.updates
                named += self.parameters.items()
            each.copies = [(name, t.detach(), t.detach().clone()) for name, t in named]

    def remember(self, each: Pass, outputs: dict[str, torch.Tensor]) -> None:
        """Enter the states of a pass, by the numbers of their first rows."""
        known, out = self.states, outputs.pop("out", None)
        found = [(key, n, each.steps) for n, h in outputs.items() for key in keys_of(h)]
        if out is not None and out.dim() == 3 and not self.is_bidirectional:
            inner = keys_of(out.transpose(0, self.axis)[:-1, 0], MAX_KNOWN)
            found = [(key, "h", n) for n, key in enumerate(inner, start=1)] + found
        for key, name, step in found:
            old = known.get(key)  # the same numbers without a gradient say nothing new
            if each.has_gradient or old is None or old[1].update != each.update:
                known[key] = name, each, step
        while len(known) > MAX_KNOWN:
            del known[next(iter(known))]

    def look_at_input(self, each: Pass, x: torch.Tensor) -> None:
        node, source = x.grad_fn, x
        for _ in range(4):  # as in dropout(embedding(tokens))
            if node is not None and type(node).__name__ != "EmbeddingBackward0":
                node = node_before(node)
        if type(node).__name__ == "EmbeddingBackward0":
            each.tokens = source = node._saved_indices  # type: ignore[union-attr]
        elif x.grad_fn is not None:
            return
        if source._base is not None:
            each.data = (
                ref(source._base),
                source.storage_offset(),
                source.stride(self.axis),
            )
        if x._base is not None and x.is_contiguous() and x._base.is_contiguous():
            given, now = (*x._base.shape, 1)[:3], tuple(x.shape)
            if (
                given == (now[1], now[0], now[2])
                and given[0] != given[1]
                and 1 not in given[:2]
            ):
                self.evidence["view"].append((each.place, given, now))

    def look_at_state(self, each: Pass, states: list[torch.Tensor]) -> None:
        graph = Graph(states, MAX_NODES, into_passes=False)
        each.parents = [p for p in graph.passes if p.module is self]
        if each.parents:
            each.initial, each.origin, each.follows_training = CARRIED, BEFORE, True
            return
        keys = [key for key in keys_of(states[0]) if any(key)]
        found: Any = next(
            (self.states[key] for key in keys if key in self.states), ("",)
        )
        if found[0] == "h":
            each.initial, each.origin = CARRIED, self.origin(each, *found[1:])
        elif graph.passes or graph.leaves:
            is_learned = any(isinstance(p, nn.Parameter) for p in graph.leaves.values())
            each.initial = (
                f"a {'computed' if graph.passes or not is_learned else 'learned'} state"
            )
        elif any(bool(state.any()) for state in states):
            each.initial = "a given state"
            self.evidence["state exchanged"] += [(each.place,)] if found[0] else []

    def origin(self, each: Pass, source: Pass, step: int) -> str:
        """Where a carried state comes from."""
        is_latest = source is self.latest
        each.follows_training = source.has_gradient or source.follows_training
        if (
            is_latest
            and source.update == each.update
            and each.steps == source.steps == 1
        ):
            each.cuts = source.cuts + 1
        if not source.has_gradient:
            if each.has_gradient:
                self.evidence[NO_GRADIENT].append((each.place, source.follows_training))
            return NO_GRADIENT
        x, before = each.data, source.data
        is_known = x and before and x[0]() is before[0]() is not None
        if is_known and (gap := x[1] - before[1] - before[2] * step):
            self.evidence[ELSEWHERE].append((each.place, gap))
            return ELSEWHERE
        if is_latest and step == source.steps:
            return BEFORE
        # the last window may have had several passes, but one update
        is_older = is_known and not is_latest and source.update < each.update - 1
        return OLDER if is_older else "an earlier pass"

    def gradient_of_output(
        self, each: Pass, index: int, sizes: Any, gradients: Any
    ) -> None:
        if (gradient := gradients[index]) is None:
            return
        used, axis = gradient.any(-1), 1 - self.axis
        by_time = used.any(axis) if used.dim() == 2 else used
        if sizes is not None:
            by_time = torch.stack([part.any() for part in torch.split(used, sizes)])
        elif (
            used.numel() > each.steps
            and by_time.sum() > 1
            and used.any(1 - axis).sum() == 1
        ):
            self.evidence["time and batch"].append((each.place, *used.shape))
        each.rows = frozenset(by_time.nonzero().flatten().tolist())
        if each.rows == {each.steps - 1} and each.steps > 1 and self.is_bidirectional:
            self.evidence["reverse output"].append((each.place,))

    def end_of(
        self, each: Pass, outputs: dict[str, bool], where: str
    ) -> tuple[int, int]:
        """The steps of a pass that a backward pass has reached, and those
        with a loss.
        """
        rows, copies = set(each.rows), each.copies
        each.rows, each.tokens, each.copies = (), None, ()
        is_whole = "h" in outputs or "c" in outputs or (rows and self.is_bidirectional)
        last = {each.steps - 1} if outputs.get("h") or outputs.get("c") else set()
        with_loss = last | rows if outputs.get("out") else last
        for name, tensor, copy in copies if each.update == self.updates else ():
            if not torch.equal(tensor, copy) and bool(copy.isfinite().all()):
                self.evidence["changed"].append((where, name, each.place))
        self.copied = -1 if copies else self.copied
        return each.steps if is_whole else max(rows, default=-1) + 1, len(with_loss)


# A call of a loss function, with the shape of its input
LossCall = namedtuple("LossCall", "number place name reduction shape")
# A call of clip_grad_norm_ or clip_grad_value_: whether it acts, and the ids of its
# parameters
Clip = namedtuple("Clip", "kind limit place acts parameters")
# A backward pass: updates before it; losses; ids of the parameters that it reaches, and
# of those that had no gradient before it; by pass the steps that it reaches and those
# with a loss; whether its gradient is not zero
Backward = namedtuple(
    "Backward", "number place steps_before losses leaves anew reached is_nonzero"
)
# Passes that are joined by their states: steps, those that the gradient goes through
# (k2), and those whose output enters the loss (k1)
Window = namedtuple("Window", "passes initial steps reach with_loss")


class Update(namedtuple("Update", "number place rates backwards modules clips")):
    """One step of an optimizer: the backward passes that it uses, the modules that it
    changes.
    """

    def windows(self, module: Any) -> list[Any]:
        """The windows of a module, if the update changes it."""
        if module not in self.modules:
            return []
        parts = [
            p
            for b in self.backwards
            for p in b.reached.items()
            if p[0].module is module
        ]
        reached = dict(sorted(parts, key=lambda item: (item[0].number, item[1])))
        depth, groups = dict[Any, int](), dict[Any, list[Any]]()
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
        held, first = held_by(optimizer), optimizer.param_groups[0]
        self.held = frozenset(map(id, held))
        self.scheduled = [
            bool(group.get("initial_lr")) for group in optimizer.param_groups
        ]
        self.options = {
            k: first[k] for k in ("momentum", "weight_decay") if first.get(k)
        }
        self.updates, self.trainable = list[Update](), 0
        self.begun, self.used = (
            -1,
            0,
        )  # updates, and backward passes used, before its latest step
        self.is_new = (
            any(first.get(k) for k in ("momentum", "betas", "rho"))
            or "centered" in first
        )
        # of the weights at its first step: they tell if these are set between two
        # optimizers
        self.before = self.after = tuple(
            (p._version, float(p.detach().sum())) for p in held
        )


def held_by(optimizer: Any) -> list[torch.Tensor]:
    every = [p for group in optimizer.param_groups for p in group["params"]]
    return [p for p in every if p.requires_grad and not nn.parameter.is_lazy(p)]


def has_gradient(p: torch.Tensor) -> bool:
    return p.grad is not None and bool(
        p.grad._nnz() if p.grad.is_sparse else p.grad.any()
    )


def listed(tensors: Any) -> list[Any]:
    return (
        []
        if tensors is None
        else [tensors]
        if torch.is_tensor(tensors)
        else list(tensors)
    )


def kind_of(node: Any) -> str:
    return (
        type(node)
        .__name__.rstrip("0123456789")
        .removesuffix("Backward")
        .removesuffix("2D")
    )


def nodes_of(tensors: list[torch.Tensor]) -> list[Any]:
    return [(t.grad_fn, t.output_nr) for t in tensors if t.grad_fn is not None]


def node_before(node: Any) -> Any:
    return next((each for each, _ in node.next_functions if each is not None), None)


class Graph:
    """What some tensors are computed from, through passes, or up to the
    first of them.
    """

    def __init__(
        self, roots: list[torch.Tensor], most: int = 200_000, into_passes: bool = True
    ):
        self.passes: dict[
            Any, dict[str, bool]
        ] = {}  # outputs, and whether none is in between
        self.leaves = {id(t): t for t in roots if t.is_leaf and t.requires_grad}
        self.nodes, self.losses = (
            list[Any](),
            list[Any](),
        )  # nodes before the first passes
        later, seen = list[Any](), set[Any]()
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
    """Evidence of a softmax before a loss that has one, and of a difference that
    broadcasts.
    """
    for node in graph.nodes:
        kind, source = kind_of(node), node_before(node)
        while kind_of(source) in RESHAPING:
            source = node_before(source)
        if text := WRONG_INPUTS.get((kind, kind_of(source))):
            yield "input of the loss", text
        power = node_before(node) if kind in ("Mean", "Sum") else None
        difference: Any = (
            node_before(power) if kind_of(power) in ("Pow", "Abs", "Mul") else None
        )
        before = difference.next_functions if kind_of(difference) == "Sub" else ()
        if before and before[0][0] and not before[-1][0]:
            column = tuple(before[0][0]._input_metadata[before[0][1]].shape)
            square = tuple(difference._input_metadata[0].shape)
            # a column (N, 1) minus a row (N), the target
            if column[1:] == (1,) and column[0] > 1 and square == 2 * column[:1]:
                yield "shapes of the loss", column, column[:1]
