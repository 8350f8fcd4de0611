"""Whether an implementation computes the right numbers: those of the reference, in
float64. One that does not is not timed.
"""

from typing import Any

import numpy as np

from benchmarks import implementations
from benchmarks.cases import Case
from benchmarks.implementations import Unsupported
from numpy_rnn import reference
from numpy_rnn.common.texts import one_line
from numpy_rnn.common.trees import tree_map


def disagreement(name: str, case: Case) -> str | None:
    """Return how a short run of an implementation differs from the reference, or what
    it raises; None if it agrees.

    Raises Unsupported if the implementation cannot run this case.
    """
    beginning = case.beginning()
    try:
        losses, weights = implementations.prepare(name, beginning)()
        return first_difference(beginning, losses, weights)
    except Unsupported:
        raise
    except Exception as error:  # code of a user may raise anything
        return one_line(f"{type(error).__name__}: {error}")


def first_difference(case: Case, losses: Any, weights: Any) -> str | None:
    """Return the first difference of a run from the reference in float64.

    The largest error of a tensor must be at most √ε times its largest number. Rounding
    stays below that, and mistakes of the size of the numbers or of the learning rate do
    not.

    Parameters
    ----------
    case : Case
        The run.
    losses : array_like
        The losses of all updates, in any shape.
    weights : sequence of array_like
        W_xh, W_hh and W_hy after the last update.

    Returns
    -------
    str or None
        The difference; None if there is none.
    """
    updates = exact_updates(case)
    expected = np.array([update.loss for update in updates])
    # The dtype of losses is not compared: they may be Python's numbers.
    losses = np.asarray(losses, case.dtype)
    if losses.size == expected.size:
        losses = losses.reshape(expected.shape)
    tensors = [("losses", losses, expected)]
    if not case.is_text:  # Adagrad divides by |g|: small numbers have large errors
        last = updates[-1].parameters
        for name, W in zip(("W_xh", "W_hh", "W_hy"), weights, strict=True):
            tensors.append((name, np.asarray(W), getattr(last, name)))
    for name, array, exact in tensors:
        if array.shape != exact.shape or array.dtype != case.dtype:
            return (
                f"{name}: {array.dtype} {array.shape},"
                f" expected {case.dtype} {exact.shape}"
            )
        error = np.max(np.abs(array - exact)) / np.max(np.abs(exact))
        if not error <= np.sqrt(np.finfo(case.dtype).eps):  # nor is NaN
            return f"{name}: an error of {error:.1g} of the largest number"
    return None


def exact_updates(case: Case) -> list[Any]:
    """Return the updates of the reference, in float64."""
    params, *series = case.arrays()
    exact_params = tree_map(np.float64, params)
    exact_series = []
    for array in series:
        is_index = array.dtype.kind == "i"
        exact_series.append(array if is_index else array.astype(np.float64))
    keywords = case.options.keywords()
    return list(reference.train(exact_params, *exact_series, **keywords))
