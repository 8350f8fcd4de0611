"""Where initial states come from.

A state that is detached keeps its numbers. So rows of the states that a pass
returns are remembered, and a state without a graph is looked up by its rows that are
not zero. A state that is found neither in the graph nor by its rows is unknown.

Whether the data of a window follow those of the pass that its state comes from is
known where both are views of one tensor, or embeddings of views of one.
"""

from collections import deque
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn.modules.rnn import RNNCellBase
from torch.nn.utils.rnn import PackedSequence
from torch.utils.weak import WeakIdRef

from torch_rnn.loop_audit.contents import LatestData, note_following, read_contents
from torch_rnn.loop_audit.events import (
    DataContents,
    ForwardPass,
    InputData,
    LoopRecord,
    Origin,
    StatePart,
    as_list,
)
from torch_rnn.loop_audit.graph import (
    GraphSources,
    PassResult,
    mark_result,
    sources_of,
)
from torch_rnn.loop_audit.samples import SampleWatch
from torch_rnn.loop_audit.torch_internals import (
    base_of,
    embedded_indices,
    version_of,
)

MAX_STATE_ROWS = 8  # a state is known by its first rows
MAX_BYTES = 2**27  # of states, of which the oldest are forgotten
MIN_REMEMBERED = 100
MAX_MEASURED = 5  # windows whose roughness is measured
MAX_REMEMBERED = 2_000  # results of passes, of which the oldest are forgotten


# Calls


class ModuleCall(NamedTuple):
    """What a recurrent module or cell gets and returns."""

    x: torch.Tensor
    state: list[torch.Tensor]  # h, or h and c; none if it is not given
    outputs: dict[str, torch.Tensor]  # "out" but for cells, "h", "c"
    steps: int = 1
    axis: int | None = None  # of the steps in x and out; none for a cell
    sequences: int = 1
    batch_sizes: list[int] | None = None  # of a packed sequence

    @property
    def has_gradient(self) -> bool:
        """Whether a result is part of a graph."""
        return any(tensor.requires_grad for tensor in self.outputs.values())


def read_call(module: Any, arguments: Mapping[str, Any], result: Any) -> ModuleCall:
    """Return the tensors of a call from its arguments by name, and its result."""
    x = arguments["input"]
    state = as_list(arguments.get("hx"))
    if isinstance(module, RNNCellBase):
        sequences = x.shape[0] if x.dim() > 1 else 1
        states = dict(zip("hc", as_list(result)))
        return ModuleCall(x, state, states, sequences=sequences)
    out, last = result
    states = dict(zip("hc", as_list(last)))
    if isinstance(x, PackedSequence):
        sizes = x.batch_sizes.tolist()
        outputs = {"out": out.data, **states}
        return ModuleCall(x.data, state, outputs, len(sizes), 0, sizes[0], sizes)
    axis = min(int(module.batch_first), x.dim() - 2)
    sequences = x.shape[1 - axis] if x.dim() == 3 else 1
    outputs = {"out": out, **states}
    return ModuleCall(x, state, outputs, x.shape[axis], axis, sequences)


# Data


def _sizes_by_stride(tensor: torch.Tensor) -> dict[int, int]:
    """Return the sizes of the dimensions of a tensor, by their strides."""
    sizes = zip(tensor.stride(), tensor.shape)
    return {stride: size for stride, size in sizes if size > 1}


def _data_of(x: torch.Tensor, sources: GraphSources) -> torch.Tensor | None:
    """Return an input that is data, or the data of which it is an embedding."""
    if not x.requires_grad:
        return x
    if sources.embedding is None:
        return None
    return embedded_indices(sources.embedding)


def _input_data(data: torch.Tensor | None, axis: int | None) -> InputData:
    """Return what is known of data whose steps are on an axis; None for one step."""
    if data is None or data.is_inference():  # which has no version
        return InputData()
    base = base_of(data)
    sizes = _sizes_by_stride(base)
    if axis is None:  # the input has all dimensions but that of time
        strides = sizes.keys() - _sizes_by_stride(data).keys()
    else:
        strides = sizes.keys() & {data.stride(axis)}
    if len(strides) != 1:
        return InputData()
    (stride,) = strides
    start = int(data.storage_offset())
    step = start // stride % sizes[stride]
    return InputData((WeakIdRef(base), version_of(base), start - step * stride), step)


# States


def _row_hashes(tensor: torch.Tensor) -> list[int]:
    """Return a hash of each row, 0 for one of zeros."""
    rows = tensor.float().cpu().numpy() + 0.0  # without -0.0
    contents = [row.tobytes() for row in rows]
    return [hash(content) if any(content) else 0 for content in contents]


def _first_rows(state: torch.Tensor) -> torch.Tensor:
    """Return the first rows of the last layer."""
    last = state.detach()
    if last.dim() == 3:
        last = last[-1]
    return last.reshape(-1, last.shape[-1])[:MAX_STATE_ROWS]


class KnownStates:
    """States that a pass has returned, by their rows, which are hashed when the first
    of them is looked up.
    """

    def __init__(
        self, forward: ForwardPass, output: str, rows: torch.Tensor, steps: int | None
    ) -> None:
        """Remember rows: states after `steps` of the pass, or one after each step."""
        self._forward = forward
        self._output = output
        self._rows: torch.Tensor | None = rows
        self.size = rows.numel() * rows.element_size()
        self._steps = steps
        self._step_of: dict[int, int] = {}  # by the hash of a row

    def part_of(self, hashes: list[int]) -> StatePart | None:
        """Return what is known of a state, by the hashes of its rows."""
        if self._rows is not None:
            if self._steps is not None:
                self._rows = _first_rows(self._rows)
            for place, value in enumerate(_row_hashes(self._rows), 1):
                self._step_of[value] = self._steps or place
            self._step_of.pop(0, None)  # zeros
            self._rows = None
        for value in hashes:
            if value in self._step_of:
                steps = self._step_of[value]
                return StatePart(Origin.OLDER, self._forward, self._output, steps)
        return None


class StateMemory:
    """Records the passes of a module, and remembers the states that they return."""

    def __init__(
        self, module: nn.Module, record: LoopRecord, samples: SampleWatch
    ) -> None:
        """Make an empty memory."""
        self._module = module
        self._record = record
        self._samples = samples
        self.latest_data: LatestData | None = None  # of the latest pass, if known
        self._measured = 0  # windows
        self._size = 0  # bytes of states that are remembered, at most
        self._epoch = set[InputData]()  # the first data of its windows
        # of passes in training, and of others
        self._trained = deque[KnownStates]()
        self._others = deque[KnownStates]()
        self._window: ForwardPass | None = None  # the first pass of the latest one
        self._latest: ForwardPass | None = None  # the latest pass

    def add_pass(self, call: ModuleCall) -> ForwardPass:
        """Record a pass, and where its inputs come from. Mark its results."""
        behind = [sources_of([tensor]) for tensor in (*call.state, call.x)]
        parents = []
        for sources in behind:
            parents += [result.forward for result in self._own_results(sources)]
        values = _data_of(call.x, behind[-1])
        data = _input_data(values, call.axis)
        contents = DataContents()
        latest = self.latest_data
        # The data within a window follow one another. Steps of packed sequences of
        # different lengths are no axis.
        if not parents and values is not None and not call.batch_sizes:
            is_measured = self._measured < MAX_MEASURED
            self._measured += 1
            contents = read_contents(values, call.axis, is_measured)
            self._samples.describe(contents, values, call.axis)
            if latest is not None:
                note_following(latest.forward.contents)
        elif latest is not None:
            latest.forward.contents.next_step = None
        parts = [] if call.state else [StatePart(Origin.ZEROS)]
        for tensor, sources in zip(call.state, behind):
            parts.append(self._origin_in_graph(sources) or self._origin_by_rows(tensor))
        forward = self._record.add(
            ForwardPass,
            module=self._module,
            steps=call.steps,
            has_gradient=call.has_gradient,
            data=data,
            contents=contents,
            sequences=call.sequences,
            across=self._data_across(values, call),
            is_training=self._module.training,
            is_state_given=bool(call.state),
            state=tuple(self._located(part, data) for part in parts),
            parents=tuple(parents),
        )
        for name, tensor in call.outputs.items():
            axis = call.axis or 0
            result = PassResult(forward, name, behind, axis, call.batch_sizes)
            mark_result(tensor, result)
        self._remember(forward, call)
        is_read = values is not None and call.has_gradient and not call.batch_sizes
        if values is not None and is_read:
            self.latest_data = LatestData(forward, values, call.axis)
        return forward

    def _data_across(self, values: torch.Tensor | None, call: ModuleCall) -> InputData:
        """Return what is known of the data along the axis of the batch."""
        if values is None or call.axis is None or call.batch_sizes or values.dim() < 2:
            return InputData()
        return _input_data(values, 1 - call.axis)

    def _own_results(self, sources: GraphSources) -> list[PassResult]:
        """Return the results of this module that a tensor comes from."""
        results = [result for result, _ in sources.uses]
        return [r for r in results if r.forward.module is self._module]

    def _origin_in_graph(self, sources: GraphSources) -> StatePart | None:
        """Return where a state comes from by its graph, None if that does not say."""
        if not sources.is_complete:
            return StatePart(Origin.UNKNOWN)
        results = self._own_results(sources)
        if results:
            outputs = {result.output for result in results}
            output = outputs.pop() if len(outputs) == 1 else ""
            source = results[0].forward
            return StatePart(Origin.ATTACHED, source, output, source.steps)
        if sources.uses or sources.parameters:
            return StatePart(Origin.COMPUTED)
        return None

    def _origin_by_rows(self, state: torch.Tensor) -> StatePart:
        """Return where a state without a graph comes from, by its rows."""
        rows = _row_hashes(_first_rows(state))
        is_zero = not any(rows) and not state.any()
        if any(rows):
            for known in (*reversed(self._trained), *reversed(self._others)):
                part = known.part_of(rows)
                if part is not None:
                    return part
        return StatePart(Origin.ZEROS if is_zero else Origin.UNKNOWN)

    def _located(self, part: StatePart, data: InputData) -> StatePart:
        """Return a state with its origin among the windows and their data, by the
        first of these rules that fits.

        1. A state that is not carried has its origin already.
        2. WITHOUT_GRADIENT: it is of a pass without gradient, as of a validation.
        3. OLDER: it is from before the latest window.
        4. The data begin before those that they should follow. EPOCH: these data have
           begun a window of this epoch before. ELSEWHERE: they have not.
        5. PREVIOUS: it is the end of the latest pass.
        6. INSIDE: it is a step of the latest window.

        Where the position of the data is not known, rule 4 is left out, and the order
        is not known. tests/audit has a loop for each origin.
        """
        source = part.source
        if source is None or not part.is_carried:
            return part
        if not source.has_gradient:
            return part._replace(origin=Origin.WITHOUT_GRADIENT)
        if self._window is None or source.number < self._window.number:
            return part
        # steps between these data and those before: negative if they overlap or go back
        gap = data.step - source.data.step - part.steps
        is_known = data.series is not None and data.series == source.data.series
        if is_known and gap < 0:
            origin = Origin.EPOCH if data in self._epoch else Origin.ELSEWHERE
        elif source is self._latest and part.steps == source.steps:
            origin = Origin.PREVIOUS
        else:
            origin = Origin.INSIDE
        return part._replace(origin=origin, is_order_known=is_known and gap <= 0)

    def _remember(self, forward: ForwardPass, call: ModuleCall) -> None:
        """Remember the last states of a pass, and of its first sequence all. Those of
        training take precedence.
        """
        memory = self._trained if forward.has_gradient else self._others
        for name, tensor in call.outputs.items():
            if name != "out":
                self._keep(
                    memory, KnownStates(forward, name, tensor.detach(), call.steps)
                )
            elif tensor.dim() == 3 and call.steps > 1 and not forward.is_bidirectional:
                first = tensor.detach().select(1 - (call.axis or 0), 0)[:-1]
                # the others of the batch are not kept
                self._keep(memory, KnownStates(forward, "h", first.clone(), None))
        if forward.has_gradient:
            self._latest = forward
            if not forward.parents:
                self._begin_window(forward)

    def _keep(self, memory: deque[KnownStates], known: KnownStates) -> None:
        """Remember states, and forget the oldest where they are too many."""
        memory.append(known)
        self._size += known.size
        while len(memory) > MAX_REMEMBERED or (
            self._size > MAX_BYTES and len(memory) > MIN_REMEMBERED
        ):
            self._size -= memory.popleft().size

    def _begin_window(self, forward: ForwardPass) -> None:
        """Begin a window, and an epoch if this one has its data."""
        self._window = forward
        if forward.data in self._epoch:
            self._epoch.clear()
        if forward.data.series is not None:
            self._epoch.add(forward.data)
