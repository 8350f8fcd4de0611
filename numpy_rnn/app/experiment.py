"""The start of a run: its data and its initial weights."""

from typing import NamedTuple

import numpy as np

from numpy_rnn.app.data import Series, Text, make_data
from numpy_rnn.app.options import CommandOptions
from numpy_rnn.app.weights_file import SavedRun, load_run
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.initial import Distribution, draw_parameters
from numpy_rnn.common.records import Gradients, NumpyArray, Parameters, Run, RunOptions

TEXT_WEIGHTS = Distribution(0.01, 0.01, 0.01)  # as in min-char-rnn


class Experiment(NamedTuple):
    """The data, the initial weights and the options of a run."""

    data: Series | Text
    params: Parameters[NumpyArray]
    options: RunOptions
    velocity: Gradients[NumpyArray] | None = None

    @property
    def h_0(self) -> NumpyArray:
        """The initial state, (1, H): zero."""
        W_hh = self.params.W_hh
        return np.zeros((1, W_hh.shape[-1]), W_hh.dtype)

    def run(self) -> Run:
        """Return the run, on the steps that are not held out."""
        steps = len(self.data.x) - self.data.held_out
        x = self.data.x[:steps]
        target = self.data.target[:steps]
        return Run(self.params, x, target, self.h_0, self.options, self.velocity)


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
        The data and the weights.

    Raises
    ------
    InputError
        If a file cannot be used, or if the weights do not fit the data.
    """
    if options.weights is not None:
        return continued_experiment(options, load_run(options.weights))
    data = make_data(options, options.dtype)
    params = draw_parameters(
        (data.size, options.hidden_size, data.size),
        Distribution() if options.text is None else TEXT_WEIGHTS,
        options.dtype,
        options.seed,
        networks=None if options.command == "study" else options.seeds,
        bias=options.bias,
    )
    return Experiment(data, params, options.run_options())


def continued_experiment(options: CommandOptions, saved: SavedRun) -> Experiment:
    """Return the experiment that starts from saved weights.

    The saved velocity is used if the step has one of the same kind.
    """
    params = saved.params
    data = make_data(options, params.W_hh.dtype, saved.alphabet)
    sizes = params.W_xh.shape[-2], params.W_hy.shape[-1]
    expected = data.size, data.size
    if sizes != expected:
        raise InputError(
            f"{options.weights} has {sizes} inputs and outputs: expected {expected}"
        )
    run_options = options.run_options()
    step = run_options.step
    velocity = None  # sums of squares are none
    if step.has_velocity and saved.adagrad == step.adagrad:
        velocity = saved.velocity
    return Experiment(data, params, run_options, velocity)
