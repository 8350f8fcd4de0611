"""Training on a series, by the engine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Unpack

import numpy as np

from numpy_rnn.arrays import ARRAY_KIND, Array
from numpy_rnn.common.checks import checked_training
from numpy_rnn.common.records import Parameters, TrainKeywords, Update
from numpy_rnn.common.signatures import with_keywords
from numpy_rnn.engine.training_run import TrainingRun


@with_keywords(TrainKeywords, np.ndarray)
def train(
    params: Parameters[Array],
    x: Array,
    target: Array,
    h_0: Array,
    **options: Unpack[TrainKeywords[Array]],
) -> Iterator[Update[Array]]:
    """Train by TBPTT(k1, k2), one update at a time.

    Every epoch starts from h_0 and passes through the series once. Update n runs the
    forward pass over its window, the steps (s_n, e_n], with the current parameters,
    takes the gradient of the loss of its new steps (e_{n-1}, e_n], and makes one step:
    `clip_by_global_norm` or `clip_by_value`, if one has a limit, `direction` and `sgd`.

        e_n = min(n·k1, T)                 (T1)
        s_n = max(0, e_{n-1} − (k2 − k1))  (T2)
        initial state of the window: h at s_n as update n−1 computed it, a constant;
        h_0 if s_n = 0  (T3)

    Parameters
    ----------
    params : Parameters
        The initial parameters, of one network or of an ensemble of N.
    x : ndarray
        Inputs, of shape (T, B, D), or (T, N, B, D) with a series per network. Integers
        are classes from 0 to D − 1, of shape (T, B) or (T, N, B). A series that is
        mapped from a file is checked, and then read part by part.
    target : ndarray
        Targets, of shape (T, B, O) or (T, N, B, O); classes from 0 to O − 1, of shape
        (T, B) or (T, N, B), for the cross-entropy.
    h_0 : ndarray
        The state at the start of every epoch, of shape (B, H) or (N, B, H).
    k1, k2 : int
        Steps from one update to the next, and steps of its window, 1 ≤ k1 ≤ k2.
    learning_rate : float or ndarray
        η, a number, or one per network, of shape (N,).
    epochs : int
        Passes through the series, 0 or more.
    nonlinearity : str
        φ, one of those of `forward`; "tanh" by default.
    loss : str
        One of those of `adjoints`; "squared_error" by default.
    reduction : {"sum", "mean"}
        Whether L is the sum, by default, or the mean of the terms of a window.
    max_norm : float, optional
        Limit of the gradient's norm, as in torch.nn.utils.clip_grad_norm_.
    max_value : float, optional
        Limit of each element of the gradient, as in torch.nn.utils.clip_grad_value_.
    momentum, dampening, weight_decay : float
        0 by default; as in torch.optim.SGD.
    nesterov : bool
        False by default; as in torch.optim.SGD.
    adagrad : bool
        False by default; True divides each element of the gradient as in `direction`.
    velocity : Gradients, optional
        That of an Update of an earlier run, to continue it; from rest by default.
    record : bool
        Whether each Update has its activations and adjoints; False by default.
    yield_every : {1, "epoch"}
        1, by default, yields every update; "epoch" the last one of each epoch, with the
        losses of all.

    Returns
    -------
    iterator of Update
        The arrays of an Update do not change after it is yielded, and its parameters,
        gradients and velocity are read-only. The run of

            train(update.parameters, x, target, h_0, velocity=update.velocity, ...)

        continues after the last update of an epoch, bit for bit.

    Raises
    ------
    InputError
        When `train` is called: if an array is no NumPy array, or a mask or a matrix,
        if a shape or dtype does not fit the parameters, a number is not finite,
        k2 < k1, torch.optim.SGD would refuse the options, adagrad comes with momentum,
        or both limits are given.
    TypeError
        If a keyword argument is missing or unknown.

    Notes
    -----
    Arguments are validated when `train` is called. All except x and target are copied;
    none is modified.

    References
    ----------
    Williams and Peng 1990. Sutskever 2013, section 2.8.6.

    Examples
    --------
    >>> import numpy as np
    >>> import numpy_rnn as rnn
    >>> series = np.sin(np.linspace(2, 10, 21), dtype="float32").reshape(-1, 1, 1)
    >>> x, target, h_0 = series[:-1], series[1:], np.zeros((1, 6), "float32")
    >>> options = {"k1": 5, "k2": 10, "learning_rate": 0.05, "epochs": 100}
    >>> updates = list(rnn.train(rnn.initial_parameters(), x, target, h_0, **options))
    >>> len(updates), updates[2].window
    (400, Window(start=5, loss_start=10, stop=15))
    >>> bool(updates[-1].loss < updates[3].loss)
    True
    """
    training = checked_training(ARRAY_KIND, params, x, target, h_0, options)
    return TrainingRun(training).updates()
