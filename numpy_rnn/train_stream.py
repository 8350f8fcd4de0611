"""Training on a stream (DERIVATION.md, section 5)."""

import numpy as np

from numpy_rnn.common.scalars import check_flag
from numpy_rnn.common.sgd_options import SgdOptions
from numpy_rnn.common.shapes import check_stream, with_ensemble_axes
from numpy_rnn.common.stream import stream_windows
from numpy_rnn.common.training import Training, check_velocity, first_state
from numpy_rnn.elman import NONLINEARITIES
from numpy_rnn.loss import DIVISORS
from numpy_rnn.memory import rows
from numpy_rnn.parameters import ARRAYS, copy_of, own
from numpy_rnn.sgd import direction_for, rate_for
from numpy_rnn.updates import state_of, updates


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
    velocity=None,
) -> Training:
    """Train as `train` does, in one pass over a stream: any iterable of steps (x_t, target_t), finite or not.

    x_t: (B, D), target_t: (B, O), in the parameters' dtype, the same for all networks of an ensemble. They are copied,
    so a stream may fill the same arrays again; the k2 latest steps are held and no more. velocity: to begin with, for
    example that of an earlier stream. The other arguments and what is returned are those of `train`, with one epoch.

    After an exception inside an update, or in the stream, the run does not continue: the next update raises InputError,
    and `state` has what a new run can start from.

    Raises InputError as `train` does, and on a velocity that does not fit; on a step that does not fit or is not finite
    when it comes.
    """
    options = SgdOptions(momentum, dampening, nesterov, weight_decay, max_norm).check()
    check_flag("record", record)
    ARRAYS.run(params, h_0)
    B = check_stream(params, h_0, learning_rate).shape[-2]
    if velocity is not None:
        ARRAYS.like_parameters("velocity", velocity)
    check_velocity(params, velocity)
    steps = stream_windows(ARRAYS, params, B, steps, k1, k2, np.stack, copy_of)

    def epoch():
        axes = params.W_hh.ndim + 1
        for window, x, target in steps:
            inputs, targets = (rows(with_ensemble_axes(series, axes)) for series in (x, target))
            yield window, inputs, inputs.mT, targets

    rate, direct = rate_for(params, learning_rate), direction_for(options)
    names = NONLINEARITIES.known(nonlinearity), DIVISORS.known(reduction)
    start = first_state(own(params), copy_of(velocity))

    def begin(state):
        return updates(epoch, 1, h_0, state, B, rate, direct, *names, record)

    return Training(begin, state_of, start, repeatable=False)
