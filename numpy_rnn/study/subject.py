"""The subject of a study: one training run, its weights before and after, and the same
run of many networks.
"""

from typing import NamedTuple, cast

import numpy as np

import numpy_rnn
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.initial import initial_parameters
from numpy_rnn.common.records import (
    Dtype,
    Gradients,
    Parameters,
    Run,
    RunOptions,
    Value,
)
from numpy_rnn.common.trees import tree_map

NumpyParameters = Parameters[np.ndarray]

MAX_STUDIED_STEPS = 40  # that are studied, unless --steps asks for more
MAX_MATRIX_SIZE = 2**27  # numbers of the component matrix: a gibibyte
REMEDY = "there is nothing to study; try a smaller --learning-rate"


class Trained(NamedTuple):
    """The parameters of a network, or of an ensemble, before and after training."""

    start: NumpyParameters
    end: NumpyParameters


class Subject(NamedTuple):
    """The run that is studied, on the steps that are studied, in float64. Its arrays
    have exactly the numbers with which it was trained.
    """

    name: str  # of the series
    run: Run  # without an initial velocity
    dtype: str  # in which it was trained
    seed: int
    end: NumpyParameters  # the parameters after training
    networks: list[Trained]
    diverged: int  # networks that are not among them

    @property
    def start(self) -> NumpyParameters:
        """Return the parameters before training."""
        return self.run.params

    def run_of(self, params: NumpyParameters, options: RunOptions) -> Run:
        """Return a run of these parameters on the series."""
        return self.run._replace(params=params, options=options)


def trained_subject(
    name: str, run: Run, seed: int, networks: int, steps: int | None = None
) -> Subject:
    """Train the run, and as many networks drawn with the seeds from `seed` on, on the
    first steps of the series.

    steps: the number of steps; None: all, but at most 40. Raises InputError on the
    weights of several networks, on a component matrix that is larger than a gibibyte,
    and where the run diverges.
    """
    if run.params.W_hh.ndim > 2:
        raise InputError(
            f"the weights are of {run.params.W_hh.shape[0]} networks: expected those of"
            " one; the study is about one run"
        )
    steps = min(len(run.x), MAX_STUDIED_STEPS if steps is None else steps)
    size = sum(theta.size for theta in run.params if theta is not None)
    if steps**2 * size > MAX_MATRIX_SIZE:
        raise InputError(
            f"{steps} steps and {size} parameters make a component matrix of"
            f" {steps**2 * size / MAX_MATRIX_SIZE:.3g} GiB: expected 1 at most; choose"
            " fewer --steps, or a smaller --hidden-size"
        )
    run = run._replace(x=run.x[:steps], target=run.target[:steps])
    start, end = train_parameters(run, run.params, run.velocity)
    if not is_finite(end):
        raise InputError(f"the run diverges: {REMEDY}, or clipping by --max-norm 1")
    trained = trained_networks(run, seed, networks)
    x, target, h_0 = in_float64((run.x, run.target, run.h_0))
    return Subject(
        name,
        run._replace(params=start, x=x, target=target, h_0=h_0, velocity=None),
        str(run.params.W_hh.dtype),
        seed,
        end,
        trained,
        diverged=networks - len(trained),
    )


def train_parameters(
    run: Run, params: NumpyParameters, velocity: Gradients[np.ndarray] | None = None
) -> Trained:
    """Train parameters, also of an ensemble, with the data and the options of a run."""
    latest = params
    options = run.options.keywords() | {"velocity": velocity}
    with np.errstate(over="ignore", invalid="ignore"):  # of networks that diverge
        epochs = numpy_rnn.train(
            params, run.x, run.target, run.h_0, **options, yield_every="epoch"
        )
        for update in epochs:
            latest = update.parameters
    return Trained(in_float64(params), in_float64(latest))


def trained_networks(run: Run, seed: int, networks: int) -> list[Trained]:
    """Train networks drawn with the seeds from `seed` on, and return those that do
    not diverge.
    """
    drawn = initial_parameters(
        input_size=run.params.W_xh.shape[0],
        hidden_size=run.params.W_hh.shape[0],
        output_size=run.params.W_hy.shape[1],
        bias=run.params.b_h is not None,
        dtype=cast(Dtype, str(run.params.W_hh.dtype)),
        seed=seed,
        networks=networks,
    )
    start, end = train_parameters(run, drawn)
    pairs = [
        Trained(nth_network(start, n), nth_network(end, n)) for n in range(networks)
    ]
    return [trained for trained in pairs if is_finite(trained.end)]


def nth_network(ensemble: NumpyParameters, n: int) -> NumpyParameters:
    """Return the parameters of the n-th network of an ensemble."""
    return tree_map(lambda theta: theta[n], ensemble)


def in_float64(arrays: Value) -> Value:
    """Return copies of arrays with the same numbers in float64."""
    return tree_map(lambda array: np.array(array, np.float64), arrays)


def is_finite(params: NumpyParameters) -> bool:
    """Return whether all numbers are finite."""
    return all(np.isfinite(theta).all() for theta in params if theta is not None)
