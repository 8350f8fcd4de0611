"""Check the gradients of any recurrent code against its own loss.

Both are computed in float64, for float32 code too: what float32 changes is the
difference of two runs of the same code, which is measured. The rounding error of the
gradients in float64 is estimated from runs of the user's own code, in two ways:

- Eight runs with parameters that are changed by a random relative error of one unit of
  roundoff. They show how the errors of the inputs grow, and each run has other
  roundings.
- Four pairs of runs in float32 and in float64, with the same numbers: their difference
  is the rounding error in float32 itself, one-sided errors and equal terms included,
  and 2⁻²⁹ of it the size of that in float64.

No operand carries anything that an operation could drop: np.array, np.stack, buffers of
np.zeros, out= and lists of floats are all right, and so is compiled code.

Source: Parker 1997, Monte Carlo arithmetic, UCLA CSD-970002, on random changes of the
inputs as an estimate of rounding errors.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import NumpyArray as Array
from numpy_rnn.conformance.gradients.derivatives import (
    ROUNDOFF,
    LossDerivative,
    norm,
    perturbed,
)
from numpy_rnn.conformance.gradients.mistakes import Suspect, describe
from numpy_rnn.conformance.gradients.user_function import (
    Evaluation,
    Params,
    UserFunction,
    user_function,
)
from numpy_rnn.conformance.window_checks import ROUNDOFFS, SPREADS

SAMPLES = 8  # runs with other roundings
PAIRS = 4  # of runs in float32 and float64
FLOAT64_OF_FLOAT32 = 2.0**-29  # the ratio of their units of roundoff
NEARBY = 2.0**-12  # the relative change of the parameters between pairs
DIRECTIONS = 8  # of a tensor with more elements
JUDGED = 1e-3  # of a tensor: where rounding may be more, it is not judged


class GradientCheck(NamedTuple):
    """The check of one gradient, along directions v of its parameter."""

    tensor: str
    verdict: str  # "right", "wrong" or "not judged"
    ratio: float  # largest_error / allowed
    largest_error: float  # |reported − expected|
    allowed: float  # what rounding explains
    expected: Array  # the derivatives of the loss along v
    reported: Array  # the products of v and the gradient
    method: str  # "complex step" or "differences"
    words: str  # what is wrong, or why it is not judged


class GradientReport(NamedTuple):
    """The checks of all gradients. Its string is the verdict."""

    checks: tuple[GradientCheck, ...]
    dtype: str

    @property
    def passed(self) -> bool:
        """Whether every gradient was judged, and is right."""
        return all(check.verdict == "right" for check in self.checks)

    def tensors(self, verdict: str, words: str | None = None) -> str:
        """Return the names with a verdict, and with these words."""
        names = []
        for check in self.checks:
            if check.verdict == verdict and words in (None, check.words):
                names.append(check.tensor)
        return ", ".join(names)

    def __str__(self) -> str:
        lines = []
        for verdict in ("wrong", "not judged"):
            found = [each.words for each in self.checks if each.verdict == verdict]
            for words in dict.fromkeys(found):
                names = self.tensors(verdict, words)
                lines.append(f"{verdict.upper()} {names}: {words}")
        methods = dict.fromkeys(check.method for check in self.checks)
        how = f"{self.dtype}, {' and '.join(methods)}"
        right = self.tensors("right")
        if not lines:
            lines.append(f"PASS {right}: the derivatives of this loss ({how})")
        elif right:
            lines.append(f"right: {right} ({how})")
        else:
            lines.append(f"right: none ({how})")
        return "\n".join(lines)


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
        The parameters, float32 or float64.
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
    given = function.evaluate_as_given()
    if not np.isfinite(given.loss):
        raise InputError(f"the loss is {given.loss}: choose data with a finite loss")
    point = {name: array.astype(np.float64) for name, array in function.params.items()}
    double = evaluate_double(function, point)
    noise, losses = rounding_errors(function, point, double)
    has_gradient = any(np.any(each) for each in double.gradients.values())
    if has_gradient and np.all(losses == double.loss):
        raise InputError(
            "the loss does not change with params: does the function keep its own"
            " parameters elsewhere?"
        )
    derivative = LossDerivative(function, point)
    suspects = []
    for name in point:
        suspect = compare(derivative, name, double.gradients[name], noise[name])
        suspects.append(suspect)
    checks = []
    for suspect in suspects:
        as_given = given.gradients[suspect.name]
        checks.append(verdict_of(suspect, as_given, suspects, function))
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
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"the function fails with parameters of float64, in which it is checked:"
            f" {error!r}"
        ) from error
    # Half of the digits: two calls may round differently.
    if abs(first.loss - second.loss) > ROUNDOFF**0.5 * abs(first.loss):
        raise InputError(
            "not deterministic: two calls with the same arguments return the losses"
            f" {first.loss:.9g} and {second.loss:.9g}; fix the seed inside the"
            " function, and keep no state from call to call"
        )
    return first


def rounding_errors(
    function: UserFunction, point: Params, double: Evaluation
) -> tuple[dict[str, float], Array]:
    """Estimate the rounding error of each gradient, as a 2-norm. Returns also the
    losses of changed parameters.
    """
    random = np.random.default_rng(0)
    inputs = dict.fromkeys(point, 0.0)  # sums of squares of both estimates
    roundings = dict.fromkeys(point, 0.0)
    losses = []
    for _ in range(SAMPLES):
        sample = function.evaluate(perturbed(point, 2 * ROUNDOFF, random))
        for name, gradient in sample.gradients.items():
            difference = norm(gradient - double.gradients[name])
            inputs[name] += difference**2 / SAMPLES
    for _ in range(PAIRS):
        nearby = cast_to_single(perturbed(point, NEARBY, random))
        exact = function.evaluate(nearby)
        losses.append(exact.loss)
        try:
            single = function.evaluate(nearby, np.float32)
        except Exception:  # code that takes float64 only
            continue
        for name, gradient in single.gradients.items():
            difference = norm(gradient - exact.gradients[name])
            if np.isfinite(difference):
                scaled = difference * FLOAT64_OF_FLOAT32
                roundings[name] += scaled**2 / PAIRS
    noise = {}
    for name in point:
        noise[name] = max(inputs[name], roundings[name]) ** 0.5
    return noise, np.array(losses)


def cast_to_single(params: Params) -> Params:
    """Return the parameters in float64, with the values of float32."""
    found = {}
    for name, array in params.items():
        found[name] = array.astype(np.float32).astype(np.float64)
    return found


def directions_of(gradient: Array) -> Array:
    """Return directions v, along the first axis: those of the elements if there are
    few, otherwise random ones of ±1.
    """
    if gradient.size <= DIRECTIONS:
        return np.eye(gradient.size).reshape(gradient.size, *gradient.shape)
    signs = np.random.default_rng(gradient.size).choice(
        [-1.0, 1.0], (DIRECTIONS, *gradient.shape)
    )
    return np.asarray(signs)


def compare(
    derivative: LossDerivative, name: str, gradient: Array, noise: float
) -> Suspect:
    """Compare a gradient with the derivatives along its directions."""
    directions = directions_of(gradient)
    found = derivative.along(name, directions)
    if gradient.size <= DIRECTIONS:
        size = norm(found.values)
    else:
        size = norm(found.values) / DIRECTIONS**0.5
    allowed = SPREADS * (noise + found.error) + ROUNDOFFS * ROUNDOFF * size
    if np.isnan(allowed):
        allowed = np.inf
    return Suspect(name, gradient, directions, found, size, allowed, derivative)


def verdict_of(
    suspect: Suspect, as_given: Array, others: list[Suspect], function: UserFunction
) -> GradientCheck:
    """Judge one gradient, as_given in the user's own dtype."""
    double = suspect.gradient
    with np.errstate(all="ignore"):
        float32_error = norm(as_given - double)
    words = ""
    verdict = "right"
    if not np.isfinite(as_given).all() or not np.isfinite(double).all():
        verdict = "wrong"
        count = np.count_nonzero(~np.isfinite(as_given))
        words = f"nan or inf in {count} of {as_given.size} elements"
    elif suspect.ratio > 1:
        verdict = "wrong"
        words = describe(suspect, others, function)
    elif suspect.size == 0:
        verdict = "not judged"
        words = "its derivative is 0 with these data"
    elif suspect.allowed > JUDGED * suspect.size:
        verdict = "not judged"
        words = f"rounding alone may change it by {suspect.allowed / suspect.size:.2%}"
    elif float32_error > JUDGED * norm(double):
        verdict = "not judged"
        words = "right in float64, but float32 rounding changes it by "
        words += f"{float32_error / norm(double):.2%}"
    return GradientCheck(
        "d" + suspect.name,
        verdict,
        suspect.ratio,
        suspect.largest_error,
        suspect.allowed,
        suspect.found.values,
        suspect.reported,
        suspect.found.method,
        words,
    )
