"""The start of a run: its data and its initial weights."""

from typing import NamedTuple

import numpy as np

from numpy_rnn.app.data import Series, make_data
from numpy_rnn.app.options import CommandOptions
from numpy_rnn.app.weights_file import load_run
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.initial import Deviations, draw_parameters
from numpy_rnn.common.records import Run

TEXT_WEIGHTS = Deviations(0.01, 0.01, 0.01)  # as in min-char-rnn


class Experiment(NamedTuple):
    """The data of a command, and the run on the steps that are not held out."""

    data: Series
    run: Run


def prepare_experiment(options: CommandOptions) -> Experiment:
    """Read or create the series or the text of a run, and its initial weights.

    Parameters
    ----------
    options : CommandOptions
        `data`, `text` and `weights` name files; without them the series is the sine
        wave, and the weights are drawn.

    Returns
    -------
    Experiment
        The data and the run. It starts from the state zero, and from the saved
        velocity if its step has one of the same kind.

    Raises
    ------
    InputError
        If a file cannot be used, or if the weights do not fit the data.
    """
    run_options = options.run_options()
    velocity = None
    if options.weights is None:
        data = make_data(options, options.dtype)
        is_ensemble = options.seeds > 1 and options.command != "study"
        params = draw_parameters(
            (data.size, options.hidden_size, data.size),
            Deviations() if options.text is None else TEXT_WEIGHTS,
            options.dtype,
            options.seed,
            networks=options.seeds if is_ensemble else None,
            bias=options.bias,
        )
    else:
        saved = load_run(options.weights)
        params = saved.params
        data = make_data(options, params.W_hh.dtype, saved.alphabet)
        sizes = params.W_xh.shape[-2], params.W_hy.shape[-1]
        expected = data.size, data.size
        if sizes != expected:
            raise InputError(
                f"{options.weights} has {sizes} inputs and outputs: expected {expected}"
            )
        step = run_options.step
        if step.has_velocity and saved.adagrad == step.adagrad:
            velocity = saved.velocity
    steps = len(data.x) - data.held_out
    W_hh = params.W_hh
    h_0 = np.zeros((1, W_hh.shape[-1]), W_hh.dtype)
    x = data.x[:steps]
    target = data.target[:steps]
    return Experiment(data, Run(params, x, target, h_0, run_options, velocity))
