"""The training loop: the carried state, one record per update (DERIVATION.md, section 5)."""

from itertools import cycle, islice

from numpy import subtract

from numpy_rnn.bptt import SLOPES, backpropagate, entering_gradient, inputs_gradient, weight_gradients
from numpy_rnn.common.shapes import beside
from numpy_rnn.elman import NONLINEARITIES, of_every_network, unroll
from numpy_rnn.loss import DIVISORS, half_sum_of_squares, sum_of_products_for
from numpy_rnn.memory import time_first, window_memories
from numpy_rnn.parameters import Activations, Deltas, State, Update, copy_of, read_only
from numpy_rnn.sgd import step_parts, stepped
from numpy_rnn.vectors import in_one_vector, new_vectors

SMALL_WINDOW = 512  # numbers of its hidden states, of all networks, up to which a window's memory is kept
make_tuple = tuple.__new__  # make_tuple(Update, values) is Update(*values) in half the time


def updates(epoch_windows, epochs, h_0, state, B, rate, direct, nonlinearity, reduction, record):
    """The updates of a run after `state`: what every one starts from is what the one before left. Yields (update,
    forward), where forward is the memory that holds the states of its window until the update after the next one.

    epoch_windows(): the (window, rows of x, the same transposed, rows of the counted targets) of one pass over the
    series. h_0: the given initial state; None where params have a learned one. rate: of `rate_for`; direct: of
    `direction_for`.
    """
    phi, slope, divisor = NONLINEARITIES[nonlinearity], SLOPES[nonlinearity], DIVISORS[reduction]
    first_epoch, done, (first, *_), states, params, velocity = state
    vector, params = in_one_vector(params, B)
    velocity = read_only(copy_of(velocity)) if direct else None
    rate_of_vector = beside(rate, vector)
    gradient_memory, parameter_memory = new_vectors(params), new_vectors(params, with_read_only=True)
    memories: dict = {}  # by (steps, counted steps) of the windows that they are made for
    size = None  # of the latest window
    for epoch in range(first_epoch, epochs + 1):
        for number, (window, x, x_T, target) in enumerate(islice(epoch_windows(), done, None), start=done + 1):
            start, counted_from, stop = window
            if size != (stop - start, stop - counted_from):
                size = steps, counted = stop - start, stop - counted_from
                if size not in memories:
                    if steps * B * params.W_hh[..., 0].size > SMALL_WINDOW:
                        memories.clear()  # beside that of a large window none is kept
                    pairs = window_memories(params, steps, B, counted)
                    _, backward = pairs[0]
                    terms = divisor(counted, B, target.shape[-1])
                    twice = params.W_hh.dtype.type(2 * terms)  # a plain number would be converted at every use
                    memories[size] = cycle(pairs), sum_of_products_for(backward.error), terms, twice
                pairs, sum_of_products, terms, twice = memories[size]
            forward, backward = next(pairs)
            learned = params if h_0 is not None or start == 0 else params._replace(h_0=None)
            if start == 0:
                states, first = [params.h_0 if h_0 is None else h_0], 0
            forward.states[0][...] = states[start - first]  # (T3)
            states, first = forward.states, start

            unroll(params, forward, x, phi)
            subtract(backward.y_counted, target, backward.dy_counted)  # (B1)
            loss = half_sum_of_squares(backward.error, sum_of_products, twice)
            backpropagate(params, backward, slope, terms)
            dvector, into = next(gradient_memory)
            gradients = weight_gradients(learned, backward, x_T, into)
            if learned is not params and into.h_0 is not None:
                into.h_0[...] = 0  # a learned state that does not enter stays where all are stepped as one vector
            kept = _kept(params, x, forward, backward, B) if record else None
            after, updated, protected = next(parameter_memory)
            if direct:
                s, velocity = direct(params, gradients, velocity)
                read_only(velocity)
                step_parts(params, s, rate, updated)
            else:
                stepped(vector, dvector, rate_of_vector, after)
            vector, params = after, updated
            update = make_tuple(Update, (epoch, number, window, loss, gradients, protected, velocity, None, None))
            yield update if kept is None else Update(*update[:-2], *kept), forward
        done = 0


def state_of(update, forward):
    """The State after an update; forward: as `updates` yields it."""
    h = time_first(forward.rows_of_h, forward.B).copy()
    return State(update.epoch, update.number, update.window, h, update.parameters, update.velocity)


def _kept(params, x, forward, backward, B):
    flow = backward.dy, backward.dh, backward.da, inputs_gradient(params, backward)
    a, h, y, dy, dh, da, dx = (time_first(v, B).copy() for v in (forward.a, forward.rows_of_h, forward.y, *flow))
    return Activations(of_every_network(time_first(x, B), params).copy(), a, h, y), Deltas(
        dy, dh, da, dx, entering_gradient(params, backward)
    )
