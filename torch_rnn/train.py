"""Training on a series (DERIVATION.md, section 5)."""

from numpy_rnn.common.scalars import check_flag
from numpy_rnn.common.sgd_options import SgdOptions
from numpy_rnn.common.shapes import check_epochs, check_run, with_ensemble_axes
from numpy_rnn.common.training import Training, check_resume, first_state
from numpy_rnn.common.windows import windows
from torch_rnn.elman import NONLINEARITIES
from torch_rnn.loss import DIVISORS
from torch_rnn.parameters import ARRAYS, copy_of, own
from torch_rnn.sgd import direction_for, rate_for
from torch_rnn.updates import state_of, updates


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
    resume=None,
) -> Training:
    """Train by TBPTT(k1, k2) and SGD, one update at a time.

    Every epoch starts from h_0 and passes through the series once. Update n runs the forward over its window
    (s_n, e_n] with the parameters as they stand, takes the gradient of the loss of its new steps (e_{n-1}, e_n], and
    makes one SGD step, where

        e_n = min(n·k1, T)                                                                     (T1)
        s_n = max(0, e_n − k2)                                                                 (T2)
        the state that enters: h at s_n as update n−1 computed it, a constant; h_0 if s_n = 0  (T3)

    x: (T, B, D) inputs, target: (T, B, O), h_0: (B, H), all in the parameters' dtype; with an ensemble of networks also
    one each, (T, *E, B, D) and so on. Series that are mapped from a file are read window by window. With a learned
    initial state, params.h_0 (*E, B, H), h_0 is None; it has a gradient in the windows that it enters, s_n = 0.

    The step: `clipped` to max_norm if that is given, `direction` by momentum, dampening, nesterov and weight_decay,
    and `sgd` with the learning rate, a number or one a network, of shape E.

    Returns the updates and, between two of them, their state; with `resume`, such a state, the run goes on after it:
    params are not looked at then, and all other arguments must be as they were. With `record`, every Update holds the
    activations and the deltas too. Nothing that is passed in is changed, and nothing that is handed out is changed
    later. Arrays that are handed out cannot change the run: the parameters and the velocity are read-only in numpy_rnn
    and copies in torch_rnn; `to_numpy` and `from_numpy` make copies that can be written to.

    After an exception inside an update, KeyboardInterrupt for example, `state` returns the state after the latest
    completed update, and the next update continues from there.

    Raises InputError, before the first update, on what is no array of this package, on shapes or dtypes that do not
    fit, on masked arrays, on k2 < k1, on numbers that are not finite, on options that torch.optim.SGD would refuse, on
    a state that does not fit, and on an unknown nonlinearity or reduction.
    Source: Williams and Peng 1990; Sutskever 2013, section 2.8.6.
    """
    if resume is not None:
        ARRAYS.state(resume)
        params = resume.parameters
    check_flag("record", record)
    ARRAYS.run(params, h_0, x=x, target=target)
    options = SgdOptions(momentum, dampening, nesterov, weight_decay, max_norm).check()
    check_run(params, x, target, h_0, learning_rate)
    check_epochs(epochs)
    windows(len(x), k1, k2)
    if resume is not None:
        check_resume(resume, x, k1, k2)
    x, target = (with_ensemble_axes(series, params.W_hh.ndim + 1) for series in (x, target))

    def epoch():
        for window in windows(len(x), k1, k2):
            start, counted_from, stop = window
            yield window, x[start:stop], target[counted_from:stop]

    rate, direct = rate_for(params, learning_rate), direction_for(options)
    names = NONLINEARITIES.known(nonlinearity), DIVISORS.known(reduction)
    start = first_state(own(params)) if resume is None else copy_of(resume)

    def begin(state):
        return updates(epoch, epochs, h_0, state, rate, direct, *names, record)

    return Training(begin, state_of, start)
