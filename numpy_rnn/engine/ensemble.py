"""All networks of a run: their blocks, and the updates that are handed out.

Each block runs a whole segment by itself, so that its numbers stay in the cache, and several blocks run in threads.
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy import multiply, subtract

from numpy_rnn.common.records import Activations, Adjoints, Array, Parameters, SgdOptions, Update
from numpy_rnn.common.windows import Window
from numpy_rnn.engine.layout import Block, Vectors
from numpy_rnn.engine.objective import Objective
from numpy_rnn.engine.update import Networks
from numpy_rnn.engine.window import Views

Series = Callable[[int, int], Sequence[Array]]
as_update = partial(tuple.__new__, Update)  # Update(*values) in half the time


class Piece(NamedTuple):
    """The steps [base, stop) of a series that are on the tape together."""

    base: int
    stop: int


class Segment:
    """The windows up to the next update that is handed out, by the pieces that they are in."""

    def __init__(self, number: int, parts: list[tuple[Piece, list[Window]]], due: bool = True, kept: bool = False):
        self.number, self.parts, self.due = number, parts, due  # due: an update is handed out at its end
        self.kept: dict[tuple[int, int], list[Any]] | None = {} if kept else None
        self.ready: tuple[Any, ...] | None = None

    def views(self, block: int, part: int, tape: Any) -> list[Any]:
        """Of the windows of one part, on the tape of a block; made once if the segment is used in every epoch."""
        if self.kept is None:
            return [tape.window(window) for window in self.parts[part][1]]
        if (block, part) not in self.kept:
            self.kept[block, part] = [tape.window(window) for window in self.parts[part][1]]
        return self.kept[block, part]

    @property
    def window(self) -> Window:
        """The last one."""
        return self.parts[-1][1][-1]


class Settings(NamedTuple):
    """What stays the same throughout a run."""

    h_0: Array | None  # the given initial state; None where it is learned
    k1: int
    k2: int
    steps: int  # the most that a tape may be asked for
    rate: Array  # η, a number or one per network
    options: SgdOptions
    nonlinearity: str
    objective: Objective
    record: bool
    every: int | None  # how many updates a segment has; None: those of an epoch
    following: Callable[[Window], int]  # where the window after a window starts


class Trained:
    """One block of networks, with the part of the series and of the initial state that is its own."""

    def __init__(self, block: Block, networks: Networks, series: Series, h_0: Array | None):
        self.block, self.networks, self.tape = block, networks, networks.tape
        self.series, self.h_0 = series, h_0  # (begin, end) → x, target, weights of these steps; None if it is learned
        self.loaded: Piece | None = None

    def views(self, segment: Segment, part: int) -> list[Views]:
        """Of the windows of one part of a segment, once their piece is on the tape."""
        piece, _ = segment.parts[part]
        if piece != self.loaded:
            self.load(piece)
        return segment.views(self.block.first, part, self.tape)

    def run(self, segment: Segment, into: Array, record: dict[str, Array] | None) -> Array:
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

    def updates(self, epoch: int, of_epoch: Iterable[Segment]) -> Iterator[tuple[Update[Array], Array]]:
        """(Update, initial state of the next window) after every segment that is due, and after the last one."""
        return self._each_update(epoch, of_epoch) if self.in_fewest_calls else self._updates(epoch, of_epoch)

    def _updates(self, epoch: int, of_epoch: Iterable[Segment]) -> Iterator[tuple[Update[Array], Array]]:
        before: list[Array] = []  # the losses of the segments since the last update that was handed out
        for segment in of_epoch:
            dvector, gradients = next(self.gradients)
            recorded: list[dict[str, Array]] = [{} for _ in self.trained]
            before.append(self._run(segment, dvector, recorded))
            if segment.due:
                losses, before = before, []
                yield self._update(epoch, segment, losses, gradients, recorded)
        if before:
            yield self._update(epoch, segment, before, gradients, recorded)

    def _each_update(self, epoch: int, of_epoch: Iterable[Segment]) -> Iterator[tuple[Update[Array], Array]]:
        """As `_updates`, in the fewest calls: of one network, plain gradient descent, and segments of one window."""
        new_gradients, vectors, (one,) = self.gradients, self.vectors, self.trained
        tape, gradients_of = one.tape, one.networks.gradients
        theta, gradient, rate, half = one.networks.theta, one.networks.gradient, one.networks.rate, tape.half
        copy = np.copyto
        latest: list[Any] = [None]

        def windows_of_epoch() -> Iterator[Any]:
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

    def _update(
        self,
        epoch: int,
        segment: Segment,
        losses: list[Array],
        gradients: Parameters[Array],
        recorded: list[dict[str, Array]],
    ) -> tuple[Update[Array], Array]:
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

    def _run(self, segment: Segment, dvector: Array, recorded: list[dict[str, Array]]) -> Array:
        def run(index: int) -> Array:
            one = self.trained[index]
            into = dvector if self.one is not None else dvector[one.block.first : one.block.stop]
            if one.block.layout.networks is None and self.one is None:
                into = into[0]
            return one.run(segment, into, recorded[index] if self.record else None)

        if self.pool is not None:
            tasks = [self.pool.submit(contextvars.copy_context().run, run, n) for n in range(len(self.trained))]
            losses = [task.result() for task in tasks]
        else:
            losses = [run(n) for n in range(len(self.trained))]
        return self._joined(losses, 1)

    def _joined(self, parts: list[Array], axis: int) -> Array:
        """Arrays of every block, with the networks at this axis or without, as one with the axes of the ensemble."""
        if self.one is not None:
            return parts[0]
        grouped = self.trained[0].block.layout.networks is not None
        joined = np.concatenate(parts, axis) if grouped else np.stack(parts, axis)
        return joined.reshape(*joined.shape[:axis], *self.E, *joined.shape[axis + 1 :])

    def _gather(self, name: str, vector: Array) -> None:
        for part in self.trained:
            into = vector if self.one is not None else vector[part.block.first : part.block.stop]
            into[...] = getattr(part.networks, name)

    def _state(self, window: Window) -> Array:
        step = self.following(window)
        return self._joined([one.tape.state(step).copy() for one in self.trained], 0)

    def _activations(self, recorded: list[dict[str, Array]]) -> tuple[Any, ...]:
        joined = {name: self._joined([r[name] for r in recorded], 0 if name == "dh_0" else 1) for name in recorded[0]}
        return tuple(kind(*(joined[name] for name in kind._fields)) for kind in (Activations, Adjoints))


def pieces(windows: Iterable[Window], steps: int, most: int) -> Iterator[tuple[Piece, list[Window]]]:
    """Consecutive windows by the pieces, of at most `steps` steps and `most` windows, that they are in."""
    of_piece: list[Window] = []
    for window in windows:
        if of_piece and (len(of_piece) == most or window.stop - of_piece[0].start > steps):
            yield Piece(of_piece[0].start, of_piece[-1].stop), of_piece
            of_piece = []
        of_piece.append(window)
    if of_piece:
        yield Piece(of_piece[0].start, of_piece[-1].stop), of_piece


def segments(
    windows: Iterable[Window], done: int, every: int | None, steps: int, most: int, kept: bool = False
) -> Iterator[Segment]:
    """The segments of the rest of an epoch, after `done` updates; every: None for one segment."""
    number, parts = done, []
    for piece, of_piece in pieces(windows, steps, most):
        begin = 0
        while begin < len(of_piece):
            count = len(of_piece) - begin if every is None else min(every - number % every, len(of_piece) - begin)
            parts.append((piece, of_piece[begin : begin + count]))
            begin, number = begin + count, number + count
            if every is not None and number % every == 0:
                yield Segment(number, parts, kept=kept)
                parts = []
    if parts:
        yield Segment(number, parts, kept=kept)
