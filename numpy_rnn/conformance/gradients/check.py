"""Check the gradients of any recurrent code against its own loss."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.linalg import norm

from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import NumpyArray
from numpy_rnn.conformance.gradients.derivatives import LossDerivative
from numpy_rnn.conformance.rounding_runs import ROUNDOFF, with_other_roundings
from numpy_rnn.conformance.user_function import UserFunction, as_float64
from numpy_rnn.conformance.window_checks import ROUNDOFFS, SPREADS

ROUNDING_RUNS = 8  # runs with other roundings
JUDGED = 1e-3  # of a tensor: where rounding may be more, it is not judged
MAX_PARTS = 64  # of an axis that are looked at one by one
# Relative: a factor so close to a whole number is said to be it.
FACTOR_TOLERANCE = 1e-6


class GradientCheck(NamedTuple):
    """The check of one gradient, along directions v of its parameter."""

    tensor: str
    gradient: NumpyArray  # as the function returns it in float64
    derivative: LossDerivative
    noise: float  # the rounding error of the gradient
    verdict: str = ""  # "right", "wrong" or "not judged"
    words: str = ""  # what is wrong, or why it is not judged

    @property
    def expected(self) -> NumpyArray:
        """The derivatives of the loss along v."""
        return self.derivative.values

    @property
    def reported(self) -> NumpyArray:
        """The products of v and the gradient."""
        return self.derivative.products(self.gradient)

    @property
    def size(self) -> float:
        """The 2-norm of the expected gradient, estimated from the directions."""
        size: float = norm(self.expected) / len(self.expected) ** 0.5
        return size

    @property
    def allowed(self) -> float:
        """What rounding explains along one direction."""
        error: float = self.noise + self.derivative.error
        return SPREADS * error + ROUNDOFFS * ROUNDOFF * self.size

    def error_of(self, gradient: NumpyArray, factor: float = 1.0) -> float:
        """Return the largest difference of a gradient and a multiple of the expected
        one, along a direction.
        """
        errors = self.derivative.products(gradient) - factor * self.expected
        return float(np.abs(errors).max())

    def along_elements(self, indices: NumpyArray) -> tuple[float, float]:
        """Return the expected and the reported derivative along random signs of some
        elements, by flat indices. The sign of the first one is +.
        """
        direction = np.zeros(self.gradient.shape)
        signs = self.derivative.directions[0].flat[indices]
        direction.flat[indices] = signs * signs[0]
        reported: float = np.sum(direction * self.gradient)
        return self.derivative.along(direction), reported

    def error_in(self, indices: NumpyArray) -> float:
        """Return the error along random signs of some elements."""
        expected, reported = self.along_elements(indices)
        return abs(reported - expected)


class GradientReport(NamedTuple):
    """The checks of all gradients. Its string is the verdict."""

    checks: tuple[GradientCheck, ...]
    dtype: np.dtype

    @property
    def passed(self) -> bool:
        """Whether every gradient was judged, and is right."""
        return all(check.verdict == "right" for check in self.checks)

    def tensors(self, verdict: str) -> str:
        """Return the names of the gradients with a verdict."""
        return ", ".join(c.tensor for c in self.checks if c.verdict == verdict)

    def __str__(self) -> str:
        methods = dict.fromkeys(check.derivative.method for check in self.checks)
        details = f"({self.dtype}, {' and '.join(methods)})"
        right = self.tensors("right")
        if self.passed:
            return f"PASS {right}: the derivatives of this loss {details}"
        lines = []
        for check in self.checks:
            if check.verdict != "right":
                lines.append(f"{check.verdict.upper()} {check.tensor}: {check.words}")
        return "\n".join([*lines, f"right: {right or 'none'} {details}"])


def check_gradients(f: Callable[..., Any], params: Any, *data: Any) -> GradientReport:
    """Check the gradients that a function returns against the derivatives of its loss.

    For code in NumPy whose gradients are derived by hand: an LSTM, a GRU, attention, in
    any layout. The names, shapes and the loss are its own. A tensor of more than eight
    elements is compared along eight random directions of ±1: one wrong element is
    always seen if its error is above the rounding error of the tensor, and several that
    cancel each other escape with a probability of at most 2⁻⁸.

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
        or a kink (relu at 0) changes by more than a thousandth, or whose expected value
        is 0 with these data, is not judged, and the report is no PASS.

    Raises
    ------
    AssertionError
        If a gradient is wrong. Its only argument is the report.
    InputError
        If the function cannot be checked.

    Notes
    -----
    Gradients and derivatives are compared in float64, for float32 code too: what
    float32 changes is the difference of two runs of the same code, which is measured.
    The tolerance is estimated from eight runs of the code itself in float64, at
    parameters with a random relative error of one unit of roundoff. In six of them the
    processor rounds downwards, upwards or towards zero (fesetround). Neither is lost in
    what an array passes through: np.array, np.stack, buffers, lists of floats and
    compiled code.

    These runs are made in a thread of their own, which ends with them. The rounding
    mode belongs to the thread, so that of the caller never changes, whatever the
    function raises and wherever it is interrupted. Threads that exist already, as those
    of BLAS, round to nearest: what they compute shows the errors of the parameters
    only. The function has run before in the thread of the caller, which has started
    those that it keeps. Without fesetround (Windows, processors other than x86-64 and
    ARM64) all runs round to nearest; a right gradient through saturated units, whose
    slope 1 - h² has lost its digits, can then be refused.

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
    function = UserFunction(f, params, data)
    arrays = function.arrays()
    original = function.evaluate(arrays)
    if not np.isfinite(original.loss):
        raise InputError(
            f"the loss is {original.loss}: choose data with a finite loss, or subtract"
            " the largest output first where it is the logarithm of a softmax"
        )
    function = function._replace(data=tuple(map(as_float64, data)))
    point = {name: array.astype(float) for name, array in arrays.items()}
    double = function.evaluate(point)
    again = function.evaluate(point).loss
    # Half of the digits: two calls may round differently.
    if abs(again - double.loss) > ROUNDOFF**0.5 * abs(double.loss):
        raise InputError(
            "not deterministic: two equal calls return other losses; fix the seed"
        )
    samples = with_other_roundings(function.evaluate, point, ROUNDING_RUNS)
    checks = []
    for name, gradient in double.gradients.items():
        derivative = LossDerivative(function, point, name, double.loss)
        errors = [sample.gradients[name] - gradient for sample in samples]
        noise = float(norm(errors)) / ROUNDING_RUNS**0.5
        if noise == 0:
            # Saturated units, whose slope rounds to 0 in every run: what changes the
            # loss by less than its roundoff, over the parameter's own size, is lost.
            noise = ROUNDOFF * abs(double.loss) / derivative.scale
        check = GradientCheck("d" + name, gradient, derivative, noise)
        verdict, words = judge_gradient(check, original.gradients[name])
        checks.append(check._replace(verdict=verdict, words=words))
    report = GradientReport(tuple(checks), np.result_type(*arrays.values()))
    if report.tensors("wrong"):
        raise AssertionError(report)
    return report


def judge_gradient(check: GradientCheck, original: NumpyArray) -> tuple[str, str]:
    """Return the verdict, and what is wrong or why it is not judged. original: the
    gradient in the user's own dtype.
    """
    gradient = check.gradient
    if gradient.size == 0:
        return "not judged", "it has no elements"
    count = np.count_nonzero(~np.isfinite(original + gradient))
    if count:
        return "wrong", f"nan or inf in {count} of {gradient.size} elements"
    is_ill_conditioned = 0 < check.size < check.allowed
    if check.error_of(gradient) > check.allowed and not is_ill_conditioned:
        return "wrong", describe(check)
    if check.size == 0:
        return "not judged", "its derivative is 0 with these data"
    if not check.allowed <= JUDGED * check.size:
        return "not judged", f"rounding or a kink may change it by more than {JUDGED}"
    if norm(original - gradient) > JUDGED * norm(gradient):
        return "not judged", f"float32 rounding changes it by more than {JUDGED}"
    return "right", ""


def describe(check: GradientCheck) -> str:
    """Return what is wrong with a gradient, in words."""
    gradient = check.gradient
    expected = check.expected
    if not np.any(gradient):
        return "is 0 everywhere"
    if check.size == 0:
        return "expected 0: the loss does not change with it, is another one used?"
    if gradient.size > 1:  # any number is a multiple of another one
        factor = float(check.reported @ expected / (expected @ expected))
        allowed = check.allowed * (1 + abs(factor))
        if factor and check.error_of(gradient, factor) <= allowed:
            return factor_words(factor, check.derivative.function.data)
    is_square = gradient.shape == gradient.T.shape
    if is_square and check.error_of(gradient.T) <= check.allowed:
        return "is the transposed one"
    return where_words(check)


def factor_words(factor: float, data: tuple[Any, ...]) -> str:
    """Return the factor, with the size of the data that it is."""
    for number, start in ((factor, ""), (1 / factor, "1/")):
        whole = round(number)
        if whole not in (0, 1) and abs(number / whole - 1) < FACTOR_TOLERANCE:
            return f"× {start}{whole}{size_words(abs(whole), data)}"
    return f"× {factor:.9g}"


def size_words(number: int, data: tuple[Any, ...]) -> str:
    """Return which size of the data a number is, or no words."""
    for position, value in enumerate(data):
        for axis, size in enumerate(getattr(value, "shape", ())):
            if size == number > 2:  # a factor of 2 comes from a square
                return f" ({number} is data[{position}].shape[{axis}])"
    return ""


def where_words(check: GradientCheck) -> str:
    """Return how far a gradient is off, where, and one wrong element."""
    share = norm(check.reported - check.expected) / norm(check.expected)
    words = f"off by {share:.2%}"
    flat = np.arange(check.gradient.size)
    indices = flat.reshape(check.gradient.shape)
    for axis in range(indices.ndim):
        numbers = np.arange(indices.shape[axis])
        parts = np.array_split(numbers, min(len(numbers), MAX_PARTS))
        wrong: list[int] = []
        for part in parts:
            if check.error_in(indices.take(part, axis).ravel()) > check.allowed:
                wrong.extend(part)
        if 0 < len(wrong) < len(numbers):
            words += f", in {len(wrong)} of {len(numbers)} indices of axis {axis}"
            ends = dict.fromkeys((wrong[0], wrong[-1]))
            words += f" ({' to '.join(map(str, ends))})"
    while len(flat) > 1:
        flat = max(np.array_split(flat, 2), key=check.error_in)
    element = np.unravel_index(flat[0], indices.shape)
    shown = f"{[*map(int, element)]} " if element else ""
    expected, reported = check.along_elements(flat)
    return f"{words}; expected {shown}{expected:.6g}, is {reported:.6g}"
