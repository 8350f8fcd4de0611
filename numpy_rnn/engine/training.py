"""Training on a series and on a stream, by the engine.

`train` and `train_stream` have the signatures and the results of those of `tbptt.py`. An epoch is divided into segments,
at whose ends an update is handed out, and a segment into pieces, as many windows as a tape holds. Each block of networks
runs a whole segment by itself, so that its numbers stay in the cache, and several blocks run at once in threads.
"""

import contextvars
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import chain, islice, repeat
from math import prod
from typing import NamedTuple

import numpy as np
from numpy import multiply, subtract

from numpy_rnn.common.arrays import NUMPY_ARRAYS
from numpy_rnn.common.records import Activations, Deltas, Parameters, State, Update
from numpy_rnn.common.run_arguments import EPOCH, check_train, check_train_stream
from numpy_rnn.common.sgd_options import SgdOptions
from numpy_rnn.common.shapes import with_ensemble_axes
from numpy_rnn.common.stream import stream_windows
from numpy_rnn.common.training import Training, first_state
from numpy_rnn.common.windows import Window, windows
from numpy_rnn.elman import NONLINEARITIES
from numpy_rnn.engine.layout import Block, Layout, available_threads, blocks
from numpy_rnn.engine.update import Networks
from numpy_rnn.engine.window import Tape, Views
from numpy_rnn.loss import DIVISORS
from numpy_rnn.parameters import copy_of, own
from numpy_rnn.sgd import rate_for

MAX_WINDOWS = 256  # of a piece
MAX_KEPT = 4096  # windows of an epoch, whose segments are made once and not in every epoch
TAPE_BYTES = 2**19  # of the rows of a tape, unless one window needs more
BATCH_BYTES = 2**12  # of the vectors that are made together to be handed out
as_parameters = partial(tuple.__new__, Parameters)  # Parameters(*arrays) in half the time
as_update = partial(tuple.__new__, Update)


class Piece(NamedTuple):
    """The steps [base, stop) of a series that are on the tape together."""

    base: int
    stop: int


class Segment:
    """The windows up to the next update that is handed out, by the pieces that they are in."""

    def __init__(self, number: int, parts: list[tuple[Piece, list[Window]]], due=True, kept=False):
        self.number, self.parts, self.due = number, parts, due  # due: an update is handed out at its end
        self.kept: dict[tuple[int, int], list[Views]] | None = {} if kept else None
        self.ready: tuple | None = None

    def views(self, block: int, part: int, tape: Tape) -> list[Views]:
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


def pieces(windows: Iterable[Window], most: tuple[int, int]) -> Iterator[tuple[Piece, list[Window]]]:
    """Consecutive windows by the pieces that they are in; most: windows and steps of a piece."""
    count, steps = most
    held: list[Window] = []
    for window in windows:
        if held and (len(held) == count or window.stop - held[0].start > steps):
            yield Piece(held[0].start, held[-1].stop), held
            held = []
        held.append(window)
    if held:
        yield Piece(held[0].start, held[-1].stop), held


def segments(
    windows: Iterable[Window], done: int, every: int | None, most: tuple[int, int], kept: bool = False
) -> Iterator[Segment]:
    """The segments of the rest of an epoch, after `done` updates; every: None for one segment."""
    number, parts = done, []
    for piece, of_piece in pieces(windows, most):
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


class Trained:
    """One block of networks, with the part of the series and of the initial state that is its own."""

    def __init__(self, block: Block, networks: Networks, series, h_0):
        self.block, self.networks, self.tape = block, networks, networks.tape
        self.series, self.h_0 = series, h_0  # (begin, end) → x, target of these steps; None if it is learned
        self.loaded: Piece | None = None

    def views(self, segment: Segment, part: int) -> list[Views]:
        """Of the windows of one part of a segment, once their piece is on the tape."""
        piece, windows = segment.parts[part]
        if piece != self.loaded:
            self.load(piece)
        return segment.views(self.block.first, part, self.tape)

    def run(self, segment: Segment, into: np.ndarray, record: dict | None) -> np.ndarray:
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


def new_vectors(
    layout: Layout, E: tuple[int, ...], read_only: bool = False
) -> Iterator[tuple[np.ndarray, Parameters]]:
    """Vectors to be handed out, one after the other: (memory to be filled, the same by names)."""
    N = prod(E)
    count = max(1, BATCH_BYTES // (layout.size * N * layout.dtype.itemsize))
    places = layout.places()
    shapes = [None if place is None else (count, *E, *place[1]) for place in places]

    def batch():
        if layout.networks is not None:
            memory = np.moveaxis(np.empty((count, layout.size, N), layout.dtype), -1, 1)
        else:
            memory = np.empty((count, N, layout.size) if E else (count, layout.size), layout.dtype)
        view = memory[...]
        view.flags.writeable = not read_only
        parts = [
            repeat(None) if place is None else view[..., place[0]].reshape(shape)
            for place, shape in zip(places, shapes)
        ]
        return zip(memory, map(as_parameters, zip(*parts)))

    return chain.from_iterable(iter(batch, None))


class Ensemble:
    """All networks of a run: their blocks, and the updates that are handed out."""

    def __init__(self, trained: list[Trained], E: tuple[int, ...], record: bool, threads: int):
        self.trained, self.E, self.record = trained, E, record
        first = trained[0].block.layout
        N = None if first.networks is None else prod(E)
        layout = first._replace(networks=N)
        self.gradients, self.vectors = new_vectors(layout, E), new_vectors(layout, E, read_only=True)
        self.learned = first.learned
        self.momentum = trained[0].networks.velocity is not None
        self.threads = min(threads, len(trained))
        self.one = trained[0] if not E else None

    def updates(self, epoch: int, of_epoch: Iterable[Segment], every_update: bool):
        """(Update, states of its window) after every segment that is due, and after the last one."""
        if every_update and self.one is not None and self.one.networks.plain and not self.record:
            return self._each_update(epoch, of_epoch)
        return self._updates(epoch, of_epoch, every_update)

    def _updates(self, epoch, of_epoch, every_update):
        before: list = []  # the losses of the segments since the last update that was handed out
        for segment in of_epoch:
            dvector, gradients = next(self.gradients)
            recorded: list[dict] = [{} for _ in self.trained]
            before.append(self._run(segment, dvector, recorded))
            if segment.due:
                losses, before = before, []
                yield self._update(epoch, segment, losses, gradients, recorded, every_update)
        if before:
            yield self._update(epoch, segment, before, gradients, recorded, every_update)

    def _each_update(self, epoch, of_epoch):
        """As `_updates`, of a single network in plain gradient descent: in the fewest calls."""
        new_gradients, vectors, (one,) = self.gradients, self.vectors, self.trained
        tape, gradients_of = one.tape, one.networks.gradients
        theta, gradient, rate, half = one.networks.theta, one.networks.gradient, one.networks.rate, tape.half
        copy = np.copyto
        latest = [None]

        def windows_of_epoch():
            for segment in of_epoch:
                (piece, (window,)), *_ = segment.parts
                if piece != one.loaded:
                    one.load(piece)
                if segment.ready is None:
                    views = tape.window(window)
                    segment.ready = views, segment.number, window, views.errors, views.loop.divisor, views.states
                latest[0] = segment.ready
                yield segment.ready[0]

        for _ in gradients_of(windows_of_epoch()):
            _, number, window, errors, divisor, states = latest[0]
            dvector, gradients = next(new_gradients)
            copy(dvector, gradient)
            loss = half * errors.dot(errors)  # (L1)
            if divisor is not None:
                loss /= divisor  # (L2)
            subtract(theta, multiply(gradient, rate, gradient), theta)  # (U1)
            vector, parameters = next(vectors)
            copy(vector, theta)
            if self.learned and window.start:
                gradients = gradients._replace(h_0=None)
            update = as_update((epoch, number, window, loss, gradients, parameters, None, None, None, None))
            yield update, states.copy()

    def _update(self, epoch, segment, losses, gradients, recorded, every_update):
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
        activations, deltas = self._activations(recorded) if self.record else (None, None)
        latest, all_losses = losses[-1][-1], None
        if not every_update:
            all_losses = np.concatenate(losses)
        values = epoch, segment.number, window, latest, gradients, parameters, velocity, activations, deltas, all_losses
        return as_update(values), self._states(segment)

    def _run(self, segment, dvector, recorded):
        def run(index):
            one = self.trained[index]
            into = dvector if self.one else dvector[one.block.first : one.block.stop]
            if one.block.layout.networks is None and not self.one:
                into = into[0]
            return one.run(segment, into, recorded[index] if self.record else None)

        if self.threads > 1:
            with ThreadPoolExecutor(self.threads) as pool:
                tasks = [pool.submit(contextvars.copy_context().run, run, n) for n in range(len(self.trained))]
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

    def _states(self, segment):
        return self._joined([one.views(segment, -1)[-1].states.copy() for one in self.trained], 1)

    def _activations(self, recorded):
        joined = {name: self._joined([r[name] for r in recorded], 0 if name == "dh_0" else 1) for name in recorded[0]}
        return tuple(kind(*(joined[name] for name in kind._fields)) for kind in (Activations, Deltas))


def ensemble(state, x_and_target, h_0, begin, k1, k2, steps, rate, options, names, record) -> Ensemble:
    """The networks of a run, in the state that it starts from.

    x_and_target: (begin, end) → both series at these steps, with the axes of the ensemble, of its sizes or 1, or
    without; begin: where the next window starts; steps: how many a tape should hold at most, if its window allows.
    """
    params = state.parameters
    nonlinearity, reduction = names
    E, B = params.W_hh.shape[:-2], (params.h_0 if h_0 is None else h_0).shape[-2]
    threads = available_threads() if E else 1
    flat = _flat(params, E)
    velocity = None if state.velocity is None else _flat(state.velocity, E)
    carried = state.h[begin - state.window.start] if begin else (params.h_0 if h_0 is None else h_0)
    trained = []
    for block in (parts := blocks(params, B, threads)):
        layout = block.layout
        index = np.s_[block.first : block.stop] if layout.networks else block.first
        part = (lambda theta, i=index: theta[i]) if E else (lambda theta: theta)
        held = tape_steps(layout, k1, k2, steps, len(parts))
        tape = Tape(layout, held, k1, min(k2, steps), reduction == "mean")
        tape.most_viewed //= len(parts)
        networks = Networks(layout, tape, _rate_of(rate, E, block), options, nonlinearity)
        layout.fill(networks.theta, Parameters(*(None if theta is None else part(theta) for theta in flat)))
        if velocity is not None and options.momentum:
            layout.fill(networks.velocity, Parameters(*(None if v is None else part(v) for v in velocity)))
            networks.moving = [True, velocity.h_0 is not None]
        given = None if h_0 is None else _of_block(h_0[None], E, block)[0]
        one = Trained(block, networks, partial(_series_of, x_and_target, E, block), given)
        tape.base = begin
        tape.state(begin)[...] = _of_block(carried[None], E, block)[0]
        trained.append(one)
    return Ensemble(trained, E, record, threads)


def _flat(params, E):
    """Parameters with one axis of networks for all axes of the ensemble."""
    return params if not E else Parameters(*(t if t is None else t.reshape(-1, *t.shape[len(E) :]) for t in params))


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


def _series_of(x_and_target, E, block, begin, end):
    return tuple(_of_block(series, E, block) for series in x_and_target(begin, end))


def tape_steps(layout: Layout, k1: int, k2: int, steps: int, tapes: int) -> int:
    """How many steps each of the tapes holds: those of one window at least, and of more while they are few bytes."""
    bytes_of_step = layout.B * (layout.D + layout.H + 2 * layout.O) * layout.dtype.itemsize * (layout.networks or 1)
    return min(steps, max(k2, TAPE_BYTES // (tapes * bytes_of_step)))


def train(
    params,
    x,
    target,
    h_0,
    *,
    k1,
    k2,
    learning_rate,
    epochs,
    momentum=0.0,
    dampening=0.0,
    nesterov=False,
    weight_decay=0.0,
    max_norm=None,
    nonlinearity="tanh",
    reduction="sum",
    record=False,
    yield_every=1,
    resume=None,
) -> Training:
    """As `numpy_rnn.tbptt.train`, with the same arguments, results and errors."""
    options = SgdOptions(momentum, dampening, nesterov, weight_decay, max_norm).check()
    params = check_train(
        NUMPY_ARRAYS, params, x, target, h_0, learning_rate, (k1, k2, epochs), record, yield_every, resume
    )
    x, target = (np.asarray(with_ensemble_axes(series, params.W_hh.ndim + 1)) for series in (x, target))
    T, every = len(x), None if yield_every == EPOCH else yield_every
    names = NONLINEARITIES.known(nonlinearity), DIVISORS.known(reduction)
    rate, h_0 = rate_for(params, learning_rate), copy_of(h_0)

    def series(begin, end):
        return x[begin:end], target[begin:end]

    def updates(state):
        first_epoch, done = state.epoch, state.number
        if done * k1 >= T:
            first_epoch, done = first_epoch + 1, 0
        begin = max(0, min((done + 1) * k1, T) - k2)  # (T2)
        trained = ensemble(state, series, h_0, begin, k1, k2, T, rate, options, names, record)
        tape, count, length = trained.trained[0].tape, -(-T // k1), min(k2, T)
        steps = min(one.tape.steps for one in trained.trained)
        most = max(1, min(MAX_WINDOWS, tape.most_viewed // length)), steps
        viewed = min(count, most[0] + length // k1 + 2) * length  # in the middle, those of every piece are the same
        are_kept = count <= MAX_KEPT and viewed <= tape.most_viewed
        whole = list(segments(windows(T, k1, k2), 0, every, most, kept=True)) if are_kept else None
        for epoch in range(first_epoch, epochs + 1):
            if done or whole is None:
                of_epoch = segments(islice(windows(T, k1, k2), done, None), done, every, most)
            else:
                of_epoch = whole
            yield from trained.updates(epoch, of_epoch, every == 1)
            done = 0

    return Training(updates, state_of, first_state(own(params)) if resume is None else copy_of(resume))


def train_stream(
    params,
    steps,
    h_0,
    *,
    k1,
    k2,
    learning_rate,
    momentum=0.0,
    dampening=0.0,
    nesterov=False,
    weight_decay=0.0,
    max_norm=None,
    nonlinearity="tanh",
    reduction="sum",
    record=False,
    yield_every=1,
    velocity=None,
) -> Training:
    """As `numpy_rnn.tbptt.train_stream`, with the same arguments, results and errors."""
    options = SgdOptions(momentum, dampening, nesterov, weight_decay, max_norm).check()
    B = check_train_stream(NUMPY_ARRAYS, params, h_0, learning_rate, record, yield_every, velocity)
    of_stream = stream_windows(NUMPY_ARRAYS, params, B, steps, k1, k2, np.stack, copy_of)
    names = NONLINEARITIES.known(nonlinearity), DIVISORS.known(reduction)
    rate, h_0 = rate_for(params, learning_rate), copy_of(h_0)
    latest: list = []  # x and the target of the window that is computed

    def segments_of_stream():
        for number, (window, *latest[:]) in enumerate(of_stream, start=1):
            yield Segment(number, [(Piece(window.start, window.stop), [window])], due=number % yield_every == 0)

    def updates(state):
        trained = ensemble(state, lambda begin, end: latest, h_0, 0, k1, k2, k2, rate, options, names, record)
        yield from trained.updates(1, segments_of_stream(), yield_every == 1)

    return Training(updates, state_of, first_state(own(params), copy_of(velocity)), repeatable=False)


def state_of(update, h):
    """The State after an update; h: the states of its window."""
    states = copy_of(h)  # also from those that the run itself begins again from
    return State(
        update.epoch, update.number, update.window, states, copy_of(update.parameters), copy_of(update.velocity)
    )
