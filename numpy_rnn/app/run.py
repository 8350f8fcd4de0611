"""Runs by any package: their beginning, their losses, and how they are described."""

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from numpy_rnn.common.records import NumpyArray, Run, Step, Update
from numpy_rnn.common.texts import join_names, one_line


def updates_per_epoch(run: Run) -> int:
    """Return the number of updates of an epoch of a run, (T1)."""
    return len(range(0, len(run.x), run.options.schedule.k1))


def epoch_losses(losses: NumpyArray, run: Run) -> NumpyArray:
    """Compute the loss of every whole epoch.

    Parameters
    ----------
    losses : ndarray, (n,) or (n, N)
        Of the updates, in order.
    run : Run
        The run that made them.

    Returns
    -------
    ndarray, (epochs,) or (epochs, N)
        The sum of the losses of the updates of an epoch; for the reduction "mean", the
        mean over its points.
    """
    T, count = len(run.x), updates_per_epoch(run)
    shares = np.ones(count)
    if run.options.objective.reduction == "mean":
        shares = np.diff([*range(0, T, run.options.schedule.k1), T]) / T
    whole = losses[: len(losses) // count * count]
    epochs = whole.reshape(-1, count, *losses.shape[1:])
    return np.asarray(np.einsum("en...,n->e...", epochs, shares))


def begin(rnn: Any, run: Run) -> Iterator[Update[Any]]:
    """Begin a run by a package.

    Parameters
    ----------
    rnn : module
        The package.
    run : Run
        Its data and parameters, as NumPy arrays, and its options.

    Returns
    -------
    iterator of Update
        None is made yet.

    Raises
    ------
    InputError
        If the package refuses the run.
    """
    arrays = map(rnn.from_numpy, (run.params, run.x, run.target, run.h_0))
    velocity, keywords = rnn.from_numpy(run.velocity), run.options.keywords()
    updates: Iterator[Update[Any]] = rnn.train(*arrays, velocity=velocity, **keywords)
    return updates


def describe_runs(names: list[str], series: str, runs: list[Run]) -> str:
    """Describe runs that differ in their schedules only, in one line.

    Parameters
    ----------
    names : list of str
        Of the packages that make them.
    series : str
        The name of the data.
    runs : list of Run
        The runs.

    Returns
    -------
    str
        The sizes, and the options that are not off.
    """
    run = runs[0]
    params, options = run.params, run.options
    biases = "no biases" if params.b_h is None else "biases"
    return (
        f"{join_names(names)}: {series}, T={len(run.x)} B={run.x.shape[1]}"
        f" D={params.W_xh.shape[-2]} H={params.W_hy.shape[-2]}"
        f" O={params.W_hy.shape[-1]}, {biases}, {params.W_hh.dtype},"
        f" {join_names(list(map(schedule_name, runs)))},"
        f" {', '.join(options.objective)}, {step_words(options.step)}"
    )


def schedule_name(run: Run) -> str:
    """Return the name of the schedule of a run, such as TBPTT(1, 5)."""
    return f"TBPTT({run.options.schedule.k1}, {run.options.schedule.k2})"


def step_words(step: Step) -> str:
    """Describe a step by its learning rate and its options that are not off."""
    words = list[str]()
    for name, value in step._asdict().items():
        if value is True:
            words.append(name)
        elif np.any(value):
            words.append(f"{name} {one_line(str(value))}")
    return ", ".join(words).replace("_", " ")


def progress(text: str) -> None:
    """Print what takes a while on standard error, if that is a terminal."""
    if sys.stderr is not None and sys.stderr.isatty():
        print(f"{text} ...", file=sys.stderr, flush=True)
