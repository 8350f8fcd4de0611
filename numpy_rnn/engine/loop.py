"""Training on a series and on a stream, by the engine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from itertools import chain, islice, pairwise, tee
from math import prod
from sys import maxsize
from typing import Any, NamedTuple, Unpack

import numpy as np
from numpy import multiply, subtract

from numpy_rnn.common import records
from numpy_rnn.common.checks import EPOCH, check_run, check_stream, check_yield_every, is_integer
from numpy_rnn.common.conversion import tree_map
from numpy_rnn.common.errors import check_flag
from numpy_rnn.common.records import (
    Gradients,
    Objective,
    Parameters,
    Run,
    RunOptions,
    Schedule,
    State,
    Step,
)
from numpy_rnn.common.update_iterator import Training, Updates, first_state
from numpy_rnn.engine.descent import Descent
from numpy_rnn.engine.gradient import Placed, one_step_updates, recorded, window_updates
from numpy_rnn.engine.losses import IS_MEAN, IS_SOFTMAX, LossKind
from numpy_rnn.engine.memory import (
    WIDE,
    FlatUpdate,
    Layout,
    Memory,
    group,
    joined,
    new_update,
    set_parts,
)
from numpy_rnn.engine.tape import MAX_VIEWED, Tape
from numpy_rnn.parameters import (
    ARRAYS,
    Array,
    InitialState,
    Inputs,
    LearningRate,
    Targets,
    Weights,
    copy_of,
)
from numpy_rnn.truncation import SeriesWindows, StreamWindows, WindowData, Windows, windows
from numpy_rnn.update import as_learning_rate

TAPE_BYTES = 2**21  # of the rows of a tape, unless one window needs more
MAX_TAPES = 32  # as large as that, or with as many views as `MAX_VIEWED` allows, in one run
BUFFER = 16  # numbers, the least: with more, NumPy copies arrays that are broadcast over rows of a group to a buffer
PART_STEPS = (
    256  # of the windows of a part of the series, whose views are used again on the next part
)


def train(
    params: Parameters[Array],
    x: Inputs,
    target: Targets,
    h_0: InitialState | None,
    *,
    k1: int,
    k2: int,
    learning_rate: LearningRate,
    epochs: int,
    nonlinearity: records.Nonlinearity = "tanh",
    reduction: records.Reduction = "sum",
    loss: records.LossName = "squared_error",
    weights: Weights | None = None,
    record: bool = False,
    yield_every: records.YieldEvery = 1,
    resume: State[Array] | None = None,
    **sgd: Unpack[records.SgdKeywords],
) -> Training[Array]:
    """Train by TBPTT(k1, k2) and SGD, one update at a time.

    Every epoch starts from h_0 and passes through the series once. Update n runs the forward pass over its window,
    the steps (s_n, e_n], with the current parameters, takes the gradient of the loss of its new steps (e_{n-1}, e_n],
    and makes one SGD step, where

        e_n = min(n·k1, T)                                                                                (T1)
        s_n = max(0, e_n − k2)                                                                            (T2)
        initial state of the window: h at s_n as update n−1 computed it, a constant; h_0 if s_n = 0       (T3)

    x: (T, B, D) inputs, target: (T, B, O), h_0: (B, H), all in the parameters' dtype; with an ensemble, optionally one
    per network, (T, *E, B, D) and so on. x may hold classes as in `forward`, and with the loss "cross_entropy" so may
    the target. weights: (T, B), of the losses, as in `half_squared_error`; None for 1. Series that are mapped from a
    file are read window by window. With a learned initial state, params.h_0 of shape (*E, B, H), pass h_0=None; it has
    a gradient in the windows with s_n = 0.

    The step: `clip_by_global_norm` to max_norm or `clip_by_value` to max_value, if one of them is given, `direction`
    with momentum, dampening, nesterov, weight_decay and adagrad, and `sgd` with the learning rate, a number, or one per
    network, of shape E. These keywords, but for adagrad, are those of torch.optim.SGD, clip_grad_norm_ and
    clip_grad_value_; without them the step is plain gradient descent.

    Returns an iterator of Updates, with a method `state`. Pass such a state as `resume`, and all other arguments as
    before (params are not read then), and the run continues after it. With `record`, every Update has its activations
    and adjoints too. yield_every: 1 yields every update; n yields every n-th update of an epoch and its last one;
    "epoch" yields its last one. The `losses` of an Update are then those of all updates since the one yielded before.

    Arguments are never changed, nor are arrays after they have been yielded. A caller cannot change the run through
    these arrays: they are read-only in numpy_rnn and copies in torch_rnn; `to_numpy` and `from_numpy` make copies
    that can be written to.

    After an exception inside an update, such as KeyboardInterrupt, `state` returns the state after the latest
    yielded update, and the next update continues from there.

    Raises InputError, before the first update, on values that are not arrays of this package, on shapes or dtypes that
    do not fit, on masked arrays, on k2 < k1, on numbers that are not finite, on options that torch.optim.SGD would
    refuse, on adagrad with momentum, on both max_norm and max_value, on a state that does not fit, and on an unknown
    nonlinearity, reduction or loss.
    Source: Williams and Peng 1990; Sutskever 2013, section 2.8.6.
    """
    objective, step = Objective(nonlinearity, loss, reduction), Step(learning_rate, **sgd)
    options = RunOptions(Schedule(k1, k2, epochs), objective, step)
    run, resume = check_run(ARRAYS, Run(params, x, target, h_0, weights, options), resume)
    start = first_state(copy_of(run.params)) if resume is None else copy_of(resume)
    return _training(run, SeriesWindows(run), start, record, yield_every)


def train_stream(
    params: Parameters[Array],
    steps: Iterable[tuple[Array, ...]],
    h_0: InitialState | None,
    *,
    k1: int,
    k2: int,
    learning_rate: LearningRate,
    nonlinearity: records.Nonlinearity = "tanh",
    reduction: records.Reduction = "sum",
    loss: records.LossName = "squared_error",
    record: bool = False,
    yield_every: records.YieldEvery = 1,
    velocity: Gradients[Array] | None = None,
    **sgd: Unpack[records.SgdKeywords],
) -> Training[Array]:
    """Train as `train` does, in one pass over a stream: any iterable of steps (x_t, target_t), finite or not.

    x_t: (B, D), target_t: (B, O), in the parameters' dtype, the same for all networks of an ensemble; or classes, (B,).
    A step may also be (x_t, target_t, weights_t), with the weights (B,) of its losses; then all are. They are copied,
    so a stream may fill the same arrays again; only the k2 latest steps are kept in memory. velocity: the initial one,
    for example that of an earlier stream. The other arguments and the result are those of `train`, with one epoch;
    yield_every is a number.

    After an exception inside an update, or in the stream, the run does not continue: the next update raises InputError,
    and a new run can start from the result of `state`.

    Raises InputError as `train` does, on a velocity that does not fit, and, when it is read, on a step that does not
    fit or is not finite.
    """
    objective, step = Objective(nonlinearity, loss, reduction), Step(learning_rate, **sgd)
    run = Run(params, steps, None, h_0, None, RunOptions(Schedule(k1, k2), objective, step))
    run = check_stream(ARRAYS, run, velocity)
    start = first_state(copy_of(params), copy_of(velocity))
    return _training(run, StreamWindows(run), start, record, yield_every)


def _training(
    run: Run, source: Windows, start: State[Array], record: bool, yield_every: Any
) -> Training[Array]:
    every, run = (
        check_yield_every(yield_every, is_stream=run.target is None),
        run._replace(h_0=copy_of(run.h_0)),
    )
    begin = partial(
        updates, run, source, check_flag("record", record), maxsize if every == EPOCH else every
    )
    return Training(begin, start, copy_of, repeatable=run.target is not None)


def updates(
    run: Run, source: Windows, record: bool, every: Any, state: State[Array]
) -> Updates[Array]:
    """Generate the updates after `state` that are due, and with each the initial state of the next window.

    Every block makes the updates up to the next one that is due before the next block begins, so that its numbers stay
    in the cache; on a stream it makes one at a time. every: an update is due after so many of an epoch, and at its end.
    """
    networks = Networks(run, source, state, every, record)
    per_epoch, number = source.per_epoch, state.number
    for epoch in range(state.epoch, run.options.schedule.epochs + 1):
        is_due = True
        if networks.is_quick:
            yield from networks.every_update(
                epoch, None if per_epoch is None else per_epoch - number
            )
            number = 0
            continue
        while networks.blocks and (per_epoch is None or number < per_epoch):
            networks.advance(record)
            if networks.lead.placed is None:  # the stream has ended
                break
            number = networks.lead.placed.number
            is_due = per_epoch is not None or number % every == 0
            if is_due:
                yield networks.update(epoch)
        if not is_due:
            yield networks.update(epoch)
        number = 0


class Networks:
    """All networks of a run, in blocks that are computed one after the other, and the updates that are yielded."""

    def __init__(self, run: Run, source: Windows, state: State[Array], every: int, record: bool):
        params, self.is_quick = state.parameters, False
        self.E = params.W_hh.shape[:-2]
        B = (params.h_0 if run.h_0 is None else run.h_0).shape[-2]  # type: ignore[union-attr]
        parts = group(params, B)
        self.blocks: list[Block] = []
        if isinstance(source, SeriesWindows):
            sources: list[Any] = [source for _ in parts]
            target, weights = source.target, source.weights
        else:
            stream = source.epoch(0)
            first = next(stream, None)
            if first is None:
                return
            whole = chain([first], stream)
            sources = (
                [whole] if len(parts) == 1 else list(tee(whole, len(parts)))
            )  # which keeps 57 windows
            target, weights = first.target, first.weights
        _, loss, reduction = run.options.objective
        is_mean, is_softmax = IS_MEAN[reduction], IS_SOFTMAX[loss]  # KeyError on another name
        kind = LossKind(is_mean, is_softmax, is_integer(target), weights is not None)
        common = Common(run, kind, every, len(parts))
        for (index, layout), of_block in zip(parts, sources):
            self.blocks.append(Block(layout, Pick(index, self.E), common, of_block, state))
        self.is_grouped = parts[0][1].networks is not None
        self.all_losses = every > 1
        self.half = params.W_hh.dtype.type(0.5)
        self.lead = self.blocks[0]
        self.places = self.lead.memory.layout.places(self.E)
        yields_all = not self.all_losses or source.per_epoch == 1
        self.is_quick = (
            yields_all and not (self.E or record) and kind.plain and self.lead.descent.is_plain
        )
        self.lead.collects = not self.is_quick

    def advance(self, record: bool) -> None:
        """Make the updates of all networks up to the next one that is due."""
        size = np.setbufsize(BUFFER) if (self.lead.memory.layout.networks or 0) >= WIDE else None
        try:
            for block in self.blocks:
                block.advance(record)
        finally:
            if size is not None:
                np.setbufsize(size)

    def update(self, epoch: int) -> tuple[FlatUpdate, Array]:
        """The latest update of all networks, and the initial state of the next window."""
        lead = self.lead
        _, number, window, next_state, _ = lead.latest
        if self.E:
            every_loss = self.together([block.collect() for block in self.blocks], 1)
            next_state = self.together([block.latest.next_state for block in self.blocks], 0)
            vectors = joined([block.memory for block in self.blocks], self.E)
        else:
            every_loss, vectors = lead.collect(), lead.memory.vectors.copy()
        loss, losses = every_loss[-1], every_loss if self.all_losses else None
        kept = (None, None) if lead.recorded is None else self._recorded()
        update: FlatUpdate = new_update(FlatUpdate)
        set_parts(
            update,
            (
                epoch,
                number,
                window,
                loss,
                losses,
                *kept,
                vectors,
                self.places,
                lead.memory.is_moving[1],
            ),
        )
        return update, next_state.copy()

    def every_update(self, epoch: int, count: int | None) -> Updates[Array]:
        """Every update of one network by plain gradient descent, in the fewest calls."""
        memory, rate, half, places = (
            self.lead.memory,
            self.lead.descent.rate,
            self.half,
            self.places,
        )
        theta, gradient, spare, vectors = (
            memory.theta,
            memory.gradient,
            memory.spare,
            memory.vectors,
        )
        for views, number, window, next_state, _ in islice(self.lead.made, count):
            subtract(theta, multiply(gradient, rate, spare), theta)  # (U1)
            errors, divisor = views.errors, views.divisor
            loss = half * errors.dot(errors)  # (L1)
            if divisor is not None:
                loss = loss / divisor  # (L2)
            losses = np.array([loss]) if self.all_losses else None
            update: FlatUpdate = new_update(FlatUpdate)
            set_parts(
                update,
                (epoch, number, window, loss, losses, None, None, vectors.copy(), places, False),
            )
            yield update, next_state.copy()

    def together(self, arrays: list[Array], axis: int) -> Array:
        """Arrays of every block, with the networks at this axis or without, as one with the axes of the ensemble."""
        if not self.E:
            return arrays[0]
        whole = np.concatenate(arrays, axis) if self.is_grouped else np.stack(arrays, axis)
        N = prod(self.E)  # without the networks that fill a group
        whole = whole[:, :N] if axis else whole[:N]
        joint: Array = whole.reshape(*whole.shape[:axis], *self.E, *whole.shape[axis + 1 :])
        return joint

    def _recorded(self) -> tuple[Any, Any]:
        kept: list[Any] = []
        kinds: list[Any] = [records.Activations, records.Adjoints]
        for n, kind in enumerate(kinds):
            arrays = zip(kind._fields, *(block.recorded[n] for block in self.blocks))  # type: ignore[index]
            kept.append(kind(*(self.together(v, int(field != "dh_0")) for field, *v in arrays)))
        return kept[0], kept[1]


class Pick(NamedTuple):
    """The networks of a block: an index along the flattened axes E of the ensemble."""

    index: Any
    E: tuple[int, ...]

    def record(self, params: Any) -> Any:
        """Their parameters or velocity, with one leading axis or, for one network, none."""
        if not self.E:
            return params
        return tree_map(
            lambda theta: theta.reshape(-1, *theta.shape[len(self.E) :])[self.index], params
        )

    def rate(self, rate: Array) -> Array:
        """η: a number, or (N, 1), one for every network."""
        if not rate.ndim:
            return rate
        flat: Array = np.broadcast_to(rate, self.E).reshape(-1)[self.index]
        return flat[:, None].copy() if flat.ndim else flat

    def series(self, series: Array | None) -> Any:
        """(n, B, ·) or (n, *E, B, ·), with shared axes of 1 → what the block needs, (n, B, ·) or (n, N, B, ·)."""
        if series is None or series.ndim == 3:
            return series
        n, *axes, B, size = series.shape
        if all(axis == 1 for axis in axes):
            return series.reshape(n, B, size)
        return np.broadcast_to(series, (n, *self.E, B, size)).reshape(n, -1, B, size)[:, self.index]


class Common(NamedTuple):
    """What all blocks have in common."""

    run: Run
    kind: LossKind
    every: int  # an update is due after so many of an epoch, and at its end
    blocks: int


class Block:
    """A group of networks, or one: its memory, its tape, and its windows, whose updates are made one by one."""

    def __init__(
        self, layout: Layout, pick: Pick, common: Common, source: Any, state: State[Array]
    ):
        run, kind, self.every, blocks = common
        (schedule, objective, step), params = run.options, state.parameters
        is_series = isinstance(source, SeriesWindows)
        longest = source.T if is_series else maxsize
        self.schedule = _, k2, epochs = Schedule(
            min(schedule.k1, longest), min(schedule.k2, longest), schedule.epochs
        )
        velocity = (
            None if state.velocity is None or not step.has_velocity else pick.record(state.velocity)
        )
        self.memory = Memory(layout, pick.record(params), velocity, step.has_velocity)
        rate = pick.rate(as_learning_rate(params, step.learning_rate))
        self.pick, self.descent = (
            pick,
            Descent(self.memory, step, rate, step == Step(step.learning_rate)),
        )
        numbers_per_step = layout.B * (layout.D + layout.H + 2 * layout.O) * (layout.networks or 1)
        most_bytes = min(TAPE_BYTES, TAPE_BYTES * MAX_TAPES // blocks)
        most_steps = most_bytes // (numbers_per_step * layout.dtype.itemsize)
        most_viewed = min(MAX_VIEWED, MAX_VIEWED * MAX_TAPES // blocks)
        self.most = max(1, min(PART_STEPS, most_viewed // 3) // k2)
        steps = min(k2, most_steps + 1)
        if is_series:
            self.few = longest <= most_steps and source.per_epoch * k2 <= min(
                epochs * PART_STEPS, most_viewed
            )
            steps = longest if self.few else min(longest, max(k2, min(most_steps, k2 + PART_STEPS)))
        self.tape = Tape(layout, steps, self.schedule, kind)
        self.given = (
            None if run.h_0 is None else pick.series(run.h_0[None])[0]
        )  # None where h_0 is learned
        initial = params.h_0 if run.h_0 is None else run.h_0
        self.tape.base = source.next_start(state.window) if is_series else 0
        carried = state.h if self.tape.base else initial
        self.tape.state(self.tape.base)[...] = pick.series(carried[None])[0]  # type: ignore[index]
        windows = (
            self.series(source, state.epoch, state.number) if is_series else [self.stream(source)]
        )
        make = one_step_updates if self.tape.one_step else window_updates
        self.made = make(
            self.descent, self.tape, objective.nonlinearity, chain.from_iterable(windows)
        )
        self.collects, self.uncollected, self.losses = (
            True,
            0,
            list[Array](),
        )  # those of the steps before
        self.placed: Placed | None = None
        self.recorded: tuple[records.Activations[Array], records.Adjoints[Array]] | None = None

    def advance(self, record: bool) -> None:
        """Make the updates up to the next one that is due. It is `placed`, and `latest` unless the stream has ended."""
        self.placed = next(self.made, None)
        if self.placed is not None:
            self.latest = self.placed
            if record:
                self.recorded = recorded(self.memory, self.tape, self.latest.window)
            self.descent.take_step(self.latest.window)

    def series(
        self, source: SeriesWindows, first_epoch: int, done: int
    ) -> Iterator[Iterable[Placed]]:
        """The windows of each epoch of a series, on the tape; they are made once if they are few."""
        k1, _, epochs = self.schedule
        kept: list[Placed] | None = None
        for _ in range(first_epoch, epochs + 1):
            self.uncollected = done * k1
            if self.few and kept is None and not done:
                kept = list(self._epoch(source, 0))
            yield self._epoch(source, done) if kept is None else kept
            done = 0

    def _epoch(self, source: SeriesWindows, done: int) -> Iterator[Placed]:
        (k1, k2, _), tape = self.schedule, self.tape
        most = source.per_epoch if self.few else self.most
        all_windows = chain(
            windows(source.T, k1, k2), [records.Window(source.T, source.T, source.T)]
        )
        for number, (window, after) in enumerate(
            islice(pairwise(all_windows), done, None), start=done + 1
        ):
            start, loss_start, end = window
            if end > tape.stop or start < tape.base:
                self._flush(loss_start)
                stop = min(source.T, loss_start + most * k1)
                if stop - start > tape.steps:
                    stop = loss_start + max(1, (tape.steps - (loss_start - start)) // k1) * k1
                self._load(source.part(records.Window(start, start, stop)))
            is_due = number % self.every == 0 or number == source.per_epoch
            yield Placed(tape.window(window), number, window, tape.state(after.start), is_due)

    def stream(self, stream: Iterator[WindowData]) -> Iterator[Placed]:
        """The windows of a stream, on the tape."""
        for number, data in enumerate(stream, start=1):
            self._flush(data.window.loss_start)
            if len(data.x) > self.tape.steps:
                self._lengthen(min(self.schedule.k2, 2 * len(data.x)))
            self._load(data)
            yield Placed(
                self.tape.window(data.window),
                number,
                data.window,
                self.tape.state(data.window.stop),
                True,
            )

    def _lengthen(self, steps: int) -> None:
        """Move the states to a longer tape."""
        old, self.tape = self.tape, Tape(self.tape.layout, steps, self.schedule, self.tape.kind)
        self.tape.base = old.base
        self.tape.h[..., : old.h.shape[-2], :] = old.h

    def _load(self, data: WindowData) -> None:
        """Move the tape to a part of the series."""
        window, x, target, weights = data
        x, target = (self.pick.series(v[..., None] if is_integer(v) else v) for v in (x, target))
        self.tape.load(window.start, x, target, self.pick.series(weights))
        if window.start == 0 and self.given is not None:
            self.tape.state(0)[...] = self.given  # (T3)

    def _flush(self, stop: int) -> None:
        """Collect the losses of the updates up to step `stop`, before the tape moves on."""
        if self.collects and stop > self.uncollected:
            self.losses += self.tape.losses(self.uncollected, stop)
            self.uncollected = stop

    def collect(self) -> Array:
        """The losses of all updates since the last call, (n,) or (n, N)."""
        self._flush(self.latest.window.stop)
        losses, self.losses = self.losses, []
        return losses[0] if len(losses) == 1 else np.concatenate(losses)
