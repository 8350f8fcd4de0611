"""All networks of a run: their blocks, and the updates that are handed out.

Each block runs a whole segment by itself, so that its numbers stay in the cache, and several blocks run in threads.
"""

import contextvars
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy import multiply, subtract

from numpy_rnn.common.records import Activations, Adjoints, Array, Parameters, SgdOptions, State, Update
from numpy_rnn.common.windows import Window
from numpy_rnn.engine.columns import ColumnTape
from numpy_rnn.engine.layout import Block, Layout, available_threads, blocks
from numpy_rnn.engine.schedule import Piece, Segment
from numpy_rnn.engine.update import Networks
from numpy_rnn.engine.vectors import Vectors
from numpy_rnn.engine.window import MAX_VIEWED, Tape, Views

TAPE_BYTES = 2**19  # of the rows of a tape, unless one window needs more
MAX_TAPES = 64  # as large as that, or with as many views as `MAX_VIEWED` allows, in one run
Series = Callable[[int, int], Sequence[Array]]
as_update = partial(tuple.__new__, Update)  # Update(*values) in half the time


class Settings(NamedTuple):
    """What stays the same throughout a run."""

    h_0: Array | None  # the given initial state; None where it is learned
    k1: int
    k2: int
    steps: int  # the most that a tape may be asked for
    rate: Array  # η, a number or one per network
    options: SgdOptions
    nonlinearity: str
    reduction: str
    record: bool
    every: int | None  # how many updates a segment has; None: those of an epoch
    following: Callable[[Window], int]  # where the window after a window starts


class Trained:
    """One block of networks, with the part of the series and of the initial state that is its own."""

    def __init__(self, block: Block, networks: Networks, series: Series, h_0: Array | None):
        self.block, self.networks, self.tape = block, networks, networks.tape
        self.series, self.h_0 = series, h_0  # (begin, end) → x, target of these steps; None if it is learned
        self.loaded: Piece | None = None

    def views(self, segment: Segment, part: int) -> list[Views]:
        """Of the windows of one part of a segment, once their piece is on the tape."""
        piece, _ = segment.parts[part]
        if piece != self.loaded:
            self.load(piece)
        return segment.views(self.block.first, part, self.tape)

    def run(self, segment: Segment, into: Array, record: dict | None) -> Array:
        """Make the updates of a segment. Returns their losses, (n,) or (n, N).

        into: gets the gradient of the last one; record: what that computed, under the names of its arrays.
        """
        networks, losses, final = self.networks, [], len(segment.parts) - 1
        for part, (_, windows) in enumerate(segment.parts):
            views = self.views(segment, part)
            if part == final:
                networks.run(views, into, record)
            else:
                networks.run(views)
            losses.append(self.tape.losses(windows, views))
        return losses[0] if len(losses) == 1 else np.concatenate(losses)

    def load(self, piece: Piece) -> None:
        """Move the tape to a piece of the series."""
        self.tape.load(piece.base, *self.series(piece.base, piece.stop))
        if piece.base == 0 and self.h_0 is not None:
            self.tape.state(0)[...] = self.h_0  # (T3)
        self.loaded = piece


class Ensemble:
    """All networks of a run: their blocks, and the updates that are handed out."""

    def __init__(self, trained: list[Trained], E: tuple[int, ...], settings: Settings, threads: int):
        self.trained, self.E, self.record, self.following = trained, E, settings.record, settings.following
        self.every_update = settings.every == 1
        first = trained[0].block.layout
        N = None if first.networks is None else prod(E)
        layout = first._replace(networks=N)
        self.gradients, self.vectors = Vectors(layout, E), Vectors(layout, E, read_only=True)
        self.learned = first.learned
        self.momentum = trained[0].networks.velocity is not None
        self.pool = ThreadPoolExecutor(min(threads, len(trained))) if min(threads, len(trained)) > 1 else None
        self.one = trained[0] if not E else None
        one_window = self.every_update or settings.k1 >= settings.steps  # in every segment
        self.in_fewest_calls = one_window and self.one is not None and self.one.networks.plain and not self.record

    def updates(self, epoch: int, of_epoch: Iterable[Segment]) -> Iterator[tuple[Update, Array]]:
        """(Update, initial state of the next window) after every segment that is due, and after the last one."""
        return self._each_update(epoch, of_epoch) if self.in_fewest_calls else self._updates(epoch, of_epoch)

    def _updates(self, epoch, of_epoch):
        before: list = []  # the losses of the segments since the last update that was handed out
        for segment in of_epoch:
            dvector, gradients = next(self.gradients)
            recorded: list[dict] = [{} for _ in self.trained]
            before.append(self._run(segment, dvector, recorded))
            if segment.due:
                losses, before = before, []
                yield self._update(epoch, segment, losses, gradients, recorded)
        if before:
            yield self._update(epoch, segment, before, gradients, recorded)

    def _each_update(self, epoch, of_epoch):
        """As `_updates`, in the fewest calls: of one network, plain gradient descent, and segments of one window."""
        new_gradients, vectors, (one,) = self.gradients, self.vectors, self.trained
        tape, gradients_of = one.tape, one.networks.gradients
        theta, gradient, rate, half = one.networks.theta, one.networks.gradient, one.networks.rate, tape.half
        copy = np.copyto
        latest: list = [None]

        def windows_of_epoch():
            for segment in of_epoch:
                (piece, (window,)), *_ = segment.parts
                if piece != one.loaded:
                    one.load(piece)
                if segment.ready is None:
                    views = tape.window(window)
                    h = tape.state(self.following(window))
                    segment.ready = views, segment.number, window, views.errors, views.divisor, h
                latest[0] = segment.ready
                yield segment.ready[0]

        for views in gradients_of(windows_of_epoch()):
            _, number, window, errors, divisor, h = latest[0]
            dvector, gradients = next(new_gradients)
            copy(dvector, gradient)
            if errors is None:
                loss = tape.loss(views)
            else:
                loss = half * errors.dot(errors)  # (L1)
                if divisor is not None:
                    loss /= divisor  # (L2)
            subtract(theta, multiply(gradient, rate, gradient), theta)  # (U1)
            vector, parameters = next(vectors)
            copy(vector, theta)
            if self.learned and window.start:
                gradients = gradients._replace(h_0=None)
            losses = None if self.every_update else np.array([loss])
            update = as_update((epoch, number, window, loss, gradients, parameters, None, None, None, losses))
            yield update, h.copy()

    def _update(self, epoch, segment, losses, gradients, recorded):
        window, velocity = segment.window, None
        vector, parameters = next(self.vectors)
        self._gather("theta", vector)
        if self.momentum:
            v, velocity = next(self.vectors)
            self._gather("velocity", v)
        if self.learned:
            if window.start:
                gradients = gradients._replace(h_0=None)
            if velocity is not None and not self.trained[0].networks.moving[1]:
                velocity = velocity._replace(h_0=None)
        activations, adjoints = self._activations(recorded) if self.record else (None, None)
        latest, all_losses = losses[-1][-1], None
        if not self.every_update:
            all_losses = np.concatenate(losses)
        values = (
            epoch,
            segment.number,
            window,
            latest,
            gradients,
            parameters,
            velocity,
            activations,
            adjoints,
            all_losses,
        )
        return as_update(values), self._state(window)

    def _run(self, segment, dvector, recorded):
        def run(index):
            one = self.trained[index]
            into = dvector if self.one else dvector[one.block.first : one.block.stop]
            if one.block.layout.networks is None and not self.one:
                into = into[0]
            return one.run(segment, into, recorded[index] if self.record else None)

        if self.pool is not None:
            tasks = [self.pool.submit(contextvars.copy_context().run, run, n) for n in range(len(self.trained))]
            losses = [task.result() for task in tasks]
        else:
            losses = [run(n) for n in range(len(self.trained))]
        return self._joined(losses, 1)

    def _joined(self, parts, axis):
        """Arrays of every block, with the networks at this axis or without, as one with the axes of the ensemble."""
        if self.one is not None:
            return parts[0]
        grouped = self.trained[0].block.layout.networks is not None
        joined = np.concatenate(parts, axis) if grouped else np.stack(parts, axis)
        return joined.reshape(*joined.shape[:axis], *self.E, *joined.shape[axis + 1 :])

    def _gather(self, name, vector):
        for part in self.trained:
            into = vector if self.one else vector[part.block.first : part.block.stop]
            into[...] = getattr(part.networks, name)

    def _state(self, window):
        step = self.following(window)
        return self._joined([one.tape.state(step).copy() for one in self.trained], 0)

    def _activations(self, recorded):
        joined = {name: self._joined([r[name] for r in recorded], 0 if name == "dh_0" else 1) for name in recorded[0]}
        return tuple(kind(*(joined[name] for name in kind._fields)) for kind in (Activations, Adjoints))


def ensemble(state: State, begin: int, settings: Settings, series: Series) -> Ensemble:
    """The networks of a run, in the state that it starts from.

    begin: where the next window starts; series: (begin, end) → x and target of these steps, with the axes of the
    ensemble, of its sizes or 1, or without.
    """
    h_0: Any = settings.h_0
    _, k1, k2, steps, rate, options, nonlinearity, reduction, *_ = settings
    params: Any = state.parameters
    E = params.W_hh.shape[:-2]
    initial: Any = params.h_0 if h_0 is None else h_0
    B = initial.shape[-2]
    threads = available_threads() if E else 1
    flat = _flat(params, E)
    velocity = None if state.velocity is None else _flat(state.velocity, E)
    carried = state.h if begin else initial
    trained = []
    parts = blocks(params, B, min(k2, steps), threads)
    for block in parts:
        layout = block.layout
        index = np.s_[block.first : block.stop] if layout.networks else block.first
        kind: Any = ColumnTape if layout.columns else Tape
        held = tape_steps(layout, k2, steps, len(parts))
        tape = kind(layout, held, min(k1, steps), min(k2, steps), reduction == "mean")
        tape.most_viewed = min(MAX_VIEWED, MAX_VIEWED * MAX_TAPES // len(parts))
        networks = Networks(layout, tape, _rate_of(rate, E, block), options, nonlinearity)
        layout.fill(networks.theta, _of_networks(flat, index, E))
        if velocity is not None and networks.velocity is not None:
            layout.fill(networks.velocity, _of_networks(velocity, index, E))
            networks.moving = [True, velocity.h_0 is not None]
        given = None if h_0 is None else _of_block(h_0[None], E, block)[0]
        one = Trained(block, networks, partial(_series_of, series, E, block), given)
        tape.base = begin
        tape.state(begin)[...] = _of_block(carried[None], E, block)[0]
        trained.append(one)
    return Ensemble(trained, E, settings, threads)


def _flat(params, E):
    """Parameters with one axis of networks for all axes of the ensemble."""
    return params if not E else Parameters(*(t if t is None else t.reshape(-1, *t.shape[len(E) :]) for t in params))


def _of_networks(params, index, E):
    """Of parameters with one axis of networks: those of some networks, or of one."""
    return params if not E else Parameters(*(theta if theta is None else theta[index] for theta in params))


def _rate_of(rate, E, block):
    """η of a block: a number, or (N, 1), one for every network."""
    if not rate.ndim:
        return rate
    of_all = np.broadcast_to(rate, E).reshape(-1)
    return of_all[block.first] if block.layout.networks is None else of_all[block.first : block.stop, None].copy()


def _of_block(series, E, block):
    """Of (n, B, ·) or (n, *E, B, ·), with axes of 1 that are shared: what a block needs, (n, B, ·) or (n, N, B, ·)."""
    if series.ndim == 3:
        return series
    if all(size == 1 for size in series.shape[1:-2]):
        return series.reshape(len(series), *series.shape[-2:])
    n, *_, B, size = series.shape
    of_all = np.broadcast_to(series, (n, *E, B, size)).reshape(n, -1, B, size)
    return of_all[:, block.first] if block.layout.networks is None else of_all[:, block.first : block.stop]


def _series_of(series, E, block, begin, end):
    return tuple(_of_block(part, E, block) for part in series(begin, end))


def tape_steps(layout: Layout, k2: int, steps: int, tapes: int) -> int:
    """How many steps each of these tapes holds: those of one window at least, and of more while they are few bytes."""
    bytes_of_step = layout.B * (layout.D + layout.H + 2 * layout.O) * layout.dtype.itemsize * (layout.networks or 1)
    return min(steps, max(k2, min(TAPE_BYTES, TAPE_BYTES * MAX_TAPES // tapes) // bytes_of_step))
