"""The start of a run: its data and its initial weights."""

from typing import NamedTuple

import numpy as np

from numpy_rnn.app.data import Series, Text, make_series, make_text
from numpy_rnn.app.options import Options
from numpy_rnn.app.weights_file import load_run
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.initial import Distribution, draw_parameters
from numpy_rnn.common.records import Gradients, NumpyArray, Parameters, Run, RunOptions

OF_TEXT = Distribution(0.01, 0.01, 0.01)  # as in min-char-rnn


class Experiment(NamedTuple):
    """The data and the initial weights of a run, as NumPy arrays."""

    data: Series | Text
    params: Parameters[NumpyArray]
    h_0: NumpyArray
    """Zero, (1, H)."""
    velocity: Gradients[NumpyArray] | None = None

    def run(self, options: RunOptions) -> Run:
        """Return the run with these options, on the steps that are not held out."""
        data = self.data
        steps = len(data.x) - data.held_out
        x, target = data.x[:steps], data.target[:steps]
        return Run(self.params, x, target, self.h_0, options, self.velocity)


def prepare_experiment(options: Options) -> Experiment:
    """Read or create the series or the text of a run, and its initial weights.

    Parameters
    ----------
    options : Options
        `data`, `text` and `weights` name files; without them the series is the sine
        wave, and the weights are drawn.

    Returns
    -------
    Experiment
        The data and the weights.

    Raises
    ------
    InputError
        If a file cannot be used, or the weights do not fit the data.
    """
    saved = None
    dtype = options.dtype
    alphabet = ""
    if options.weights is not None:
        saved = load_run(options.weights)
        dtype = saved.params.W_hh.dtype
        alphabet = saved.alphabet
    data: Series | Text
    if options.text is not None:
        data = make_text(options.text, options, alphabet)
        distribution = OF_TEXT
    else:
        data = make_series(options, dtype)
        distribution = Distribution()
    D = data.size
    step = options.run_options().step
    velocity = None
    if saved is None:
        params = draw_parameters(
            (D, options.hidden_size, D),
            distribution,
            dtype,
            options.seed,
            networks=None if options.command == "study" else options.seeds,
            bias=options.bias,
        )
    else:
        params = saved.params
        if step.has_velocity and saved.adagrad == step.adagrad:
            velocity = saved.velocity  # sums of squares are no velocity
    sizes = params.W_xh.shape[-2], params.W_hy.shape[-1]
    if sizes != (D, D):
        raise InputError(
            f"{options.weights} has {sizes} inputs and outputs: expected {(D, D)}"
        )
    h_0: NumpyArray = np.zeros((1, params.W_hh.shape[-1]), dtype)
    return Experiment(data, params, h_0, velocity)
