"""The training loop: the carried state, one record per update (DERIVATION.md, section 5)."""

from itertools import islice

import torch

from torch_rnn.bptt import loss_deltas, loss_gradients, newest
from torch_rnn.elman import NONLINEARITIES, unroll
from torch_rnn.loss import DIVISORS, half_sum_of_squares
from torch_rnn.parameters import Activations, State, Update, copy_of, own
from torch_rnn.sgd import stepped


def updates(epoch_windows, epochs, h_0, state, rate, direct, nonlinearity, reduction, record):
    """The updates of a run after `state`: what every one starts from is what the one before left. Yields (update,
    carried), where carried is what the next one starts from: the states of the window, parameters and velocity.

    epoch_windows(): the (window, x, counted targets) of one pass over the series. h_0: the given initial state; None
    where params have a learned one. rate: of `rate_for`; direct: of `direction_for`.
    """
    phi, divisor = NONLINEARITIES[nonlinearity], DIVISORS[reduction]
    first_epoch, done, (first, *_), states, params, velocity = state
    params, velocity = own(params), velocity if direct else None
    for epoch in range(first_epoch, epochs + 1):
        for number, (window, x, target) in enumerate(islice(epoch_windows(), done, None), start=done + 1):
            start, counted_from, stop = window
            learned = params if h_0 is not None or start == 0 else params._replace(h_0=None)
            if start == 0:
                states, first = [params.h_0 if h_0 is None else h_0], 0
            entering = states[start - first]  # (T3)
            with torch.enable_grad():
                activations = unroll(params, x, entering, phi)
                y = newest(activations.y, stop - counted_from)
                loss = half_sum_of_squares(y, target, divisor(len(target), target.shape[-2], target.shape[-1]))
            gradients = loss_gradients(loss, activations, learned)
            kept = (copied(activations), loss_deltas(loss, activations)) if record else ()
            states = activations.h.detach()
            first = start
            s = gradients
            if direct:
                s, velocity = direct(params, gradients, velocity)
            params = stepped(params, s, rate)
            handed_out = own(params), copy_of(velocity)
            update = Update(epoch, number, window, loss.detach(), gradients, *handed_out, *kept)
            yield update, (states, params, velocity)
        done = 0


def state_of(update, carried):
    """The State after an update; carried: as `updates` yields it."""
    h, params, velocity = carried
    return State(update.epoch, update.number, update.window, h.clone(), own(params), copy_of(velocity))


def copied(activations) -> Activations:
    """Without their graph, and in memory of their own: the run goes on from these states."""
    return Activations(*(v.detach().clone() for v in activations))
