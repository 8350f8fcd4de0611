"""Check the gradients of any recurrent code against its own loss.

Both are computed in float64, for float32 code too: what float32 changes is the
difference of two runs of the same code, which is measured. The rounding error of the
gradients in float64 is estimated from eight runs of the user's own code. In each run
the parameters are changed by a random relative error of one unit of roundoff, which
shows how such errors grow; and in six of them every operation rounds downwards, upwards
or towards zero, so that a sum rounds to one side, and 1 - h is seen to be inexact where
h is near 1. Neither can be dropped by what people write: np.array, np.stack, buffers of
np.zeros, out=, lists of floats and compiled code are all right.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import NumpyArray as Array
from numpy_rnn.conformance.gradients.comparison import GradientCheck, compare
from numpy_rnn.conformance.gradients.derivatives import (
    ROUNDOFF,
    LossDerivative,
    norm,
    perturbed,
    scale_of,
)
from numpy_rnn.conformance.gradients.mistakes import describe
from numpy_rnn.conformance.gradients.roundings import rounding
from numpy_rnn.conformance.gradients.user_function import (
    Evaluation,
    Params,
    UserFunction,
    user_function,
)

SAMPLES = 8  # runs with other roundings
OTHER = 1.0  # a relative change of the parameters, which the loss must show
JUDGED = 1e-3  # of a tensor: where rounding may be more, it is not judged


class GradientReport(NamedTuple):
    """The checks of all gradients. Its string is the verdict."""

    checks: tuple[GradientCheck, ...]
    dtype: str

    @property
    def passed(self) -> bool:
        """Whether every gradient was judged, and is right."""
        return all(check.verdict == "right" for check in self.checks)

    def tensors(self, verdict: str, words: str = "") -> str:
        """Return the names with a verdict, and with these words if there are any."""
        names = []
        for check in self.checks:
            if check.verdict == verdict and check.words.startswith(words):
                names.append(check.tensor)
        return ", ".join(names)

    def __str__(self) -> str:
        lines: dict[str, None] = {}
        for verdict in ("wrong", "not judged"):
            for check in self.checks:
                if check.verdict == verdict:
                    names = self.tensors(verdict, check.words)
                    lines[f"{verdict.upper()} {names}: {check.words}"] = None
        methods = dict.fromkeys(check.derivatives.method for check in self.checks)
        how = f"({self.dtype}, {' and '.join(methods)})"
        right = self.tensors("right")
        if not lines:
            return f"PASS {right}: the derivatives of this loss {how}"
        return "\n".join([*lines, f"right: {right or 'none'} {how}"])


def check_gradients(f: Callable[..., Any], params: Any, *data: Any) -> GradientReport:
    """Check the gradients that a function returns against the derivatives of its loss.

    For code in NumPy whose gradients are derived by hand: an LSTM, a GRU, attention, in
    any layout. The names, shapes and the loss are its own. The tolerance is estimated
    from runs of the code itself. A tensor of more than eight elements is compared along
    eight random directions of ±1: one wrong element is always seen if its error is
    above the rounding error of the tensor, and several that cancel each other escape
    with a probability of at most 2⁻⁸.

    Mistakes of the forward pass and of the training loop are not seen: the loss is
    taken as it is.

    Parameters
    ----------
    f : callable
        ``f(params, *data)`` returns the loss, one number, and the gradients: a dict
        with the names of the parameters, with or without a "d" before them, or arrays
        in their order. It is called some hundred times, with copies. It works for
        float64 too, if the parameters are float32.
    params : dict, tuple or list of arrays
        The parameters, float32 or float64; also nested.
    *data
        What else the function takes. Arrays of floating-point numbers are converted to
        the precision of the run, everything else is passed on.

    Returns
    -------
    GradientReport
        Its string is the verdict; ``checks`` has the numbers. A gradient that rounding
        changes by more than a thousandth, or whose expected value is 0 with these data,
        is not judged, and the report is no PASS.

    Raises
    ------
    AssertionError
        If a gradient is wrong. Its only argument is the report.
    InputError
        If the function cannot be checked.

    Examples
    --------
    >>> import numpy as np
    >>> def f(params, x):
    ...     y = np.tanh(x @ params["W"])
    ...     return (y**2).sum(), {"dW": x.T @ (2 * y * (1 - y**2))}
    >>> x = np.linspace(-1, 1, 6).reshape(2, 3)
    >>> print(check_gradients(f, {"W": np.ones((3, 2))}, x))
    PASS dW: the derivatives of this loss (float64, complex step)
    """
    function = user_function(f, params, data)
    given = function.evaluate(function.params, None)
    if not np.isfinite(given.loss):
        raise InputError(f"the loss is {given.loss}: choose data with a finite loss")
    point = {name: array.astype(np.float64) for name, array in function.params.items()}
    double = evaluate_double(function, point)
    noise = rounding_errors(function, point, double)
    derivative = LossDerivative(function, point, float(double.loss))
    compared = []
    for name, gradient in double.gradients.items():
        compared.append(compare(derivative, name, gradient, noise[name]))
    checks = []
    for check, as_given in zip(compared, given.gradients.values()):
        checks.append(judge(check, as_given, compared))
    dtypes = dict.fromkeys(str(array.dtype) for array in function.params.values())
    report = GradientReport(tuple(checks), " and ".join(dtypes))
    if report.tensors("wrong"):
        raise AssertionError(report)
    return report


def evaluate_double(function: UserFunction, point: Params) -> Evaluation:
    """Evaluate the function in float64, twice. Raises InputError if that fails, or the
    results differ.
    """
    try:
        first, second = function.evaluate(point), function.evaluate(point)
    except Exception as error:
        raise InputError(f"the function fails in float64: {error}") from error
    # Half of the digits: two calls may round differently.
    if abs(first.loss - second.loss) > ROUNDOFF**0.5 * abs(first.loss):
        raise InputError(
            "not deterministic: two equal calls return the losses"
            f" {first.loss:.9g} and {second.loss:.9g}; fix the seed inside"
        )
    return first


def rounding_errors(
    function: UserFunction, point: Params, double: Evaluation
) -> dict[str, float]:
    """Estimate the rounding error of each gradient in float64, as a 2-norm. Raises
    InputError if the loss does not change with the parameters.
    """
    random = np.random.default_rng(0)
    squares = dict.fromkeys(point, 0.0)
    for run in range(SAMPLES):
        nearby = perturbed(point, 2 * ROUNDOFF, random)
        with rounding(run):
            sample = function.evaluate(nearby)
        for name, gradient in sample.gradients.items():
            squares[name] += norm(gradient - double.gradients[name]) ** 2 / SAMPLES
    has_gradient = any(map(np.any, double.gradients.values()))
    other_loss = function.evaluate(perturbed(point, OTHER, random)).loss
    if has_gradient and other_loss == double.loss:
        raise InputError(
            "the loss does not change with params: are others kept elsewhere?"
        )
    noise = {}
    for name, array in point.items():
        noise[name] = squares[name] ** 0.5
        if noise[name] == 0:
            # Saturated units, whose slope rounds to 0 in every run: what changes the
            # loss by less than its roundoff, over the parameter's own size, is lost.
            noise[name] = ROUNDOFF * abs(float(double.loss)) / scale_of(array)
    return noise


def judge(
    check: GradientCheck, as_given: Array, others: list[GradientCheck]
) -> GradientCheck:
    """Return the check with its verdict. as_given: in the user's own dtype."""
    double = check.gradient
    count = np.count_nonzero(~np.isfinite(as_given * double))
    verdict, words = "right", ""
    if count:
        verdict, words = "wrong", f"nan or inf in {count} of {double.size} elements"
    elif check.ratio > 1:
        verdict, words = "wrong", describe(check, others)
    elif check.size == 0:
        verdict, words = "not judged", "its derivative is 0 with these data"
    elif check.allowed > JUDGED * check.size:
        verdict, words = "not judged", f"rounding may change it by more than {JUDGED}"
    elif norm(as_given - double) > JUDGED * norm(double):
        verdict = "not judged"
        words = f"right in float64; float32 rounding changes it by more than {JUDGED}"
    return check._replace(verdict=verdict, words=words)
