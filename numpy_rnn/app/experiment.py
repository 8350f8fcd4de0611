"""Experiments: the data of a command, their scaling, and the run on them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.app.model_file import SavedModel, load_model
from numpy_rnn.app.options import CommandOptions
from numpy_rnn.app.series import (
    Scaling,
    Series,
    check_range,
    make_scaling,
    make_series,
    without_constants,
)
from numpy_rnn.app.text_data import Text, make_text
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.initial import Deviations, draw_parameters
from numpy_rnn.common.records import Gradients, Parameters, Run, RunOptions

TEXT_WEIGHTS = Deviations(0.01, 0.01, 0.01)  # as in min-char-rnn


class Experiment(NamedTuple):
    """The data of a command, and the run on the steps that are not held out."""

    data: Series | Text
    run: Run
    scaling: Scaling | None = None  # of a series
    seeds: Sequence[int] = ()  # of the networks; none of a file that has none


class Start(NamedTuple):
    """What a run starts from."""

    params: Parameters[Any]
    velocity: Gradients[Any] | None
    options: RunOptions
    seeds: Sequence[int]


def prepare_experiment(options: CommandOptions) -> Experiment:
    """Read or create the series or the text of a run, and its initial weights.

    The run starts from the state zero, and from the saved velocity if its step has one
    of the same kind. Raises InputError if a file cannot be used, or if the weights do
    not fit the data.
    """
    model = None if options.weights is None else load_model(options.weights)
    if options.text is not None:
        return text_experiment(options, options.text, model)
    return series_experiment(options, model)


def text_experiment(
    options: CommandOptions, paths: Sequence[str], model: SavedModel | None
) -> Experiment:
    """Return the experiment on a text."""
    alphabet = "" if model is None else model.alphabet
    text = make_text(paths, options.k1, options.held_out, alphabet)
    size = len(text.alphabet)
    if model is not None and model.params.networks:
        raise InputError(
            f"{options.weights} has {model.params.networks} networks: expected one for"
            " a text"
        )
    start = make_start(options, model, (size, size), TEXT_WEIGHTS)
    x = text.sequence
    return Experiment(text, make_run(start, x[:-1], x[1:]), seeds=start.seeds)


def series_experiment(options: CommandOptions, model: SavedModel | None) -> Experiment:
    """Return the experiment on a series. A model that has a scaling keeps it."""
    if model is not None and model.alphabet:
        raise InputError(
            f"{options.weights} is a model of a text: give --text, not --data"
        )
    if model is not None and model.scaling is not None:
        series = make_series(options, model.series_columns())
        scaling = model.scaling
    else:
        series = make_series(options)
        if options.data is not None:
            series = without_constants(series, options.standardize)
        scaling = make_scaling(series, options.standardize)
    sizes = len(series.columns), len(series.target_columns)
    start = make_start(options, model, sizes, Deviations())
    dtype = start.params.W_hh.dtype
    check_range(series, scaling, dtype)
    x = scaling.scaled_inputs(series, dtype)[: series.border]
    target = scaling.scaled_targets(series, dtype)[1 : series.border + 1]
    return Experiment(series, make_run(start, x, target), scaling, start.seeds)


def make_start(
    options: CommandOptions,
    model: SavedModel | None,
    sizes: tuple[int, int],
    deviations: Deviations,
) -> Start:
    """Return the parameters of a model, or draw those of the options.

    sizes: the numbers of inputs and outputs of the data.
    """
    run_options = options.run_options()
    if model is None:
        is_ensemble = options.seeds > 1 and options.command != "study"
        count = options.seeds if is_ensemble else None
        params = draw_parameters(
            (sizes[0], options.hidden_size, sizes[1]),
            deviations,
            options.dtype,
            options.seed,
            networks=count,
            bias=options.bias,
        )
        seeds = range(options.seed, options.seed + (count or 1))
        return Start(params, None, run_options, seeds)
    found = model.params.W_xh.shape[-2], model.params.W_hy.shape[-1]
    if found != sizes:
        expected = f"{sizes[0]} of both" if sizes[0] == sizes[1] else str(sizes)
        raise InputError(
            f"{options.weights} has {found} inputs and outputs: expected {expected}"
        )
    velocity = None
    step = run_options.step
    if step.has_velocity and model.adagrad == step.adagrad:
        velocity = model.velocity
    if model.options is not None and "nonlinearity" not in options.given:
        nonlinearity = model.options.objective.nonlinearity
        objective = run_options.objective._replace(nonlinearity=nonlinearity)
        run_options = run_options._replace(objective=objective)
    return Start(model.params, velocity, run_options, model.seeds)


def make_run(start: Start, x: Any, target: Any) -> Run:
    """Return the run from the state zero."""
    W_hh = start.params.W_hh
    h_0 = np.zeros((1, W_hh.shape[-1]), W_hh.dtype)
    return Run(start.params, x, target, h_0, start.options, start.velocity)
