"""Check whether two implementations of a function are equal within rounding."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.common.errors import InputError
from numpy_rnn.common.texts import pluralize
from numpy_rnn.conformance.equivalence.compare import (
    TensorCheck,
    compared,
    may_be_single,
    single_tensors,
)
from numpy_rnn.conformance.equivalence.diagnosis import Subject, diagnose
from numpy_rnn.conformance.equivalence.runs import (
    Arguments,
    ArraysByPath,
    ComparedFunction,
    Compute,
    Runs,
    check_finite,
    check_repeats,
    contracted,
    lowest_dtype,
    with_spreads,
)
from numpy_rnn.conformance.equivalence.steps import TimeAxis, time_axis_of
from numpy_rnn.conformance.equivalence.trees import (
    Pair,
    arrays_of_pairs,
    leaves,
    paired,
    returned_arrays,
    with_numpy_arrays,
)
from numpy_rnn.conformance.tested import wrapped

Functions = tuple[ComparedFunction, ComparedFunction]


class EquivalenceReport(NamedTuple):
    """The checks of all tensors. Its string is the verdict, and it is true if every
    tensor was judged and is equal.
    """

    checks: tuple[TensorCheck, ...]
    dtypes: tuple[str, ...]
    time_axis: TimeAxis | None
    arguments: Arguments
    absent: tuple[str, ...] = ()  # what only one function returns, with its name
    diagnosis: str = ""

    @property
    def passed(self) -> bool:
        """Whether every tensor was judged, and is equal."""
        return all(check.verdict == "equal" for check in self.checks)

    def __bool__(self) -> bool:
        return self.passed

    def tensors(self, verdict: str) -> list[str]:
        """Return the names of the tensors with a verdict. A tensor that is compared in
        two dtypes has the worse one.
        """
        order = ("equal", "not judged", "different")
        worst: dict[str, str] = {}
        for check in self.checks:
            known = worst.get(check.tensor, "equal")
            worst[check.tensor] = max(known, check.verdict, key=order.index)
        return [name for name, found in worst.items() if found == verdict]

    def __str__(self) -> str:
        return "\n".join([*self._verdict_lines(), *self._tested_lines()])

    def __repr__(self) -> str:
        return str(self)  # what pytest shows of `assert check_equivalent(...)`

    def _verdict_lines(self) -> list[str]:
        """Return the lines on what agrees and what does not."""
        equal = ", ".join(self.tensors("equal"))
        if self.passed:
            return [f"PASS {equal}: equal within rounding"]
        lines = []
        different = [c for c in self.checks if c.verdict == "different"]
        if different:
            first = different[0]
            lines.append(f"DIFFERENT {first.tensor}: {difference_words(first)}")
            lines += [f"  {place}" for place in places(first, self.time_axis)]
            if names := [n for n in self.tensors("different") if n != first.tensor]:
                lines.append(f"  different as well: {', '.join(names)}")
            if self.diagnosis:
                lines.append(f"  all agree {self.diagnosis}")
        for check in self.checks:
            if check.verdict == "not judged":
                lines.append(f"NOT JUDGED {check.tensor}: {unjudged_words(check)}")
        return [*lines, f"equal: {equal or 'none'}"]

    def _tested_lines(self) -> list[str]:
        """Return the lines on what was tested and what was not."""
        steps = [] if self.time_axis is None else [self.time_axis.words]
        parts = [", ".join([*self.dtypes, *steps])]
        returned = {check.tensor: check.f.shape for check in self.checks}
        given = {path: np.shape(leaf) for path, leaf in leaves(self.arguments)}
        for shapes in (given, returned):
            parts.append(", ".join(f"{name} {s}" for name, s in shapes.items()))
        lines = wrapped("tested", "; ".join(parts))
        rest = ["other values and sizes"]
        if "float32" not in " ".join(self.dtypes):
            rest.append("float32")
        elif "float64" not in " ".join(self.dtypes):
            rest.append("float64")
        if zeros := [c.tensor for c in self.checks if c.f.size and not np.any(c.f)]:
            names = ", ".join(dict.fromkeys(zeros))
            rest.insert(0, f"{names}: 0 with these data")
        rest = [*self.absent, *rest]
        lines += wrapped("not tested", "; ".join(rest))
        if unjudged := self.tensors("not judged"):
            lines += wrapped("not judged", ", ".join(unjudged))
        return lines


def check_equivalent(
    f: Callable[..., Any],
    g: Callable[..., Any],
    params: Any,
    *data: Any,
    adapt: Callable[[Any], Any] | None = None,
) -> EquivalenceReport:
    """Check whether two implementations of a function are equal within rounding.

    For ports of a recurrent cell from one framework to another, faster kernels, a scan
    in the place of a loop: anything callable, in NumPy, PyTorch, JAX, or any package
    whose arrays NumPy can read. What is allowed is estimated from runs of both
    functions; no tolerance is chosen.

    Two implementations that share a mistake agree. `check_gradients` compares
    gradients with the derivatives of their own loss.

    Parameters
    ----------
    f, g : callable
        ``f(params, *data)`` and ``g(params, *data)`` return an array, or a dict, a list
        or a tuple of arrays, which may be nested: outputs, the loss, gradients. They
        are matched by key, or else by position. Both are called some twenty times, and
        more often if they differ, with arrays of NumPy's, which are copies.
    params : dict, list or tuple of arrays
        The parameters, in float64 or float32; may be nested.
    *data
        What else the functions take: inputs, targets, initial states. Arrays may be
        nested too, what is no array is passed on.
    adapt : callable, optional
        ``adapt(params)`` returns the parameters as g takes them: transposed, with gates
        in another order, as tensors.

    Returns
    -------
    EquivalenceReport
        Its string is the verdict, and ``checks`` has the numbers. It is false if a
        tensor was not judged, since rounding alone may change it by more than a
        thousandth.

    Raises
    ------
    AssertionError
        If a tensor differs. Its only argument is the report.
    InputError
        If the functions cannot be compared: not deterministic, not finite, nothing in
        common, arguments that are changed.

    Notes
    -----
    Each function is run eight times with parameters and data that have a random
    relative error of up to two units of roundoff, in six of them with a processor that
    rounds downwards, upwards or towards zero (fesetround), in a thread of their own.
    The spread of these results is what rounding may change. Threads that exist already
    and other devices round to nearest: what they compute shows the errors of the
    arguments only.

    Parameters in float32 are compared in float64 first, where both functions take it.
    Then each one in float32 is compared with itself in float64.

    Examples
    --------
    >>> import numpy as np
    >>> def loop(params, x):
    ...     h, states = np.zeros(3), []
    ...     for x_t in x:
    ...         h = np.tanh(params["W"] @ x_t + params["U"] @ h)
    ...         states.append(h)
    ...     return states
    >>> def other(params, x):
    ...     h, states = np.zeros(3), []
    ...     for x_t in x:
    ...         z = np.exp(2 * (params["W"] @ x_t + params["U"] @ h))
    ...         h = (z - 1) / (z + 1)
    ...         states.append(h)
    ...     return np.array(states)
    >>> params = {"W": np.eye(3, 2), "U": np.eye(3) / 2}
    >>> x = np.linspace(-1, 1, 10).reshape(5, 2)
    >>> print(check_equivalent(loop, other, params, x))
    PASS result: equal within rounding
    tested      float64, 5 steps (axis 0 of data[0]); params.W (3, 2), params.U (3, 3),
                data[0] (5, 2); result (5, 3)
    not tested  other values and sizes; float32
    """
    __tracebackhide__ = True  # pytest shows the test and the report
    arguments = Arguments(*with_numpy_arrays((params, tuple(data))))
    if not arguments._replace(data=()).arrays():
        raise InputError("params: expected at least one array of float64 or float32")
    functions = ComparedFunction("f", f), ComparedFunction("g", g, adapt)
    results = [function.call(arguments) for function in functions]
    for function, result in zip(functions, results):
        check_finite(function.label, returned_arrays(function.label, result))
    pairs = paired(*results)
    computes = [
        partial(compute_pairs, function, pairs, side)
        for side, function in enumerate(functions)
    ]
    runs = []
    for function, compute in zip(functions, computes):
        values = function.compute(arguments)
        check_repeats(function, arguments, values)
        runs.append(runs_in_dtypes(compute, arguments))
    single = single_tensors_of(computes, runs, arguments)
    checks, dtypes = checks_in_dtypes(runs[0], runs[1], single)
    point = arguments.astype(runs[0][0].dtype)
    axis = time_axis_of(computes[0], point, runs[0][0].values)
    absent = absent_words(results, pairs)
    report = EquivalenceReport(tuple(checks), dtypes, axis, arguments, absent)
    if not report.tensors("different"):
        return report
    if any(c.verdict == "different" and c.labels == ("f", "g") for c in checks):
        f_compute, g_compute = computes
        f_runs, g_runs = runs[0][0], runs[1][0]
        subject = Subject(f_compute, g_compute, point, f_runs, g_runs, single, axis)
        report = report._replace(diagnosis=diagnose(subject))
    raise AssertionError(report)


def compute_pairs(
    function: ComparedFunction, pairs: dict[str, Pair], side: int, arguments: Arguments
) -> ArraysByPath:
    """Return what one function computes, by the names of the pairs."""
    return arrays_of_pairs(pairs, side, function.compute(arguments))


def runs_in_dtypes(compute: Compute, arguments: Arguments) -> list[Runs]:
    """Return the runs in float64, if the function takes it, and in float32, if the
    arguments have it.
    """
    single = with_spreads(compute, arguments, compute(arguments))
    if lowest_dtype(arguments.arrays()) == np.float64:
        return [single]
    double = arguments.astype(np.float64)
    try:
        values = compute(double)
    except Exception:  # of the user's code, which is made for float32 alone
        return [single]
    if lowest_dtype(values) == np.float32:
        return [single]
    return [with_spreads(compute, double, values), single]


def single_tensors_of(
    computes: Sequence[Compute], runs: Sequence[Sequence[Runs]], arguments: Arguments
) -> set[str]:
    """Return the tensors that only one function computes in float64."""
    if not may_be_single(runs[0][0], runs[1][0]):
        return set()
    point = contracted(arguments.astype(np.float64))
    try:
        f, g = (with_spreads(c, point, c(point)) for c in computes)
    except Exception:  # the user's code may raise anything there
        return set()
    return single_tensors(f, g)


def checks_in_dtypes(
    f: Sequence[Runs], g: Sequence[Runs], single: set[str]
) -> tuple[list[TensorCheck], tuple[str, ...]]:
    """Return the checks of f and g, and those of each one in float32 with itself in
    float64, with what was compared.
    """
    checks = compared(f[0], g[0], single=single)
    names = {runs.dtype.name for runs in (f[0], g[0])}
    dtypes = (
        [names.pop()] if len(names) == 1 else [f"f {f[0].dtype}", f"g {g[0].dtype}"]
    )
    for label, runs, others in (("f", f, g), ("g", g, f)):
        if len(runs) == 2:
            labels = f"{label} in float64", f"{label} in float32"
            # Both compute the same in float32, and one may show what the other hides.
            checks += compared(runs[0], runs[1], labels, others[-1])
            dtypes.append(f"{label} in float32 with itself in float64")
    return checks, tuple(dtypes)


def absent_words(results: Sequence[Any], pairs: dict[str, Pair]) -> tuple[str, ...]:
    """Return what only one of the functions returns."""
    words = list[str]()
    for side, label in enumerate("fg"):
        used = {path for pair in pairs.values() for path in pair[side]}
        names = [p for p, leaf in leaves(results[side]) if p not in used]
        if names:
            words.append(f"{', '.join(names)}, which {label} alone returns")
    return tuple(words)


# What a check says


def difference_words(check: TensorCheck) -> str:
    """Return the first element that differs, its two values and the limit."""
    f, g = check.labels
    if not check.has_same_shape:
        return f"its shape is {check.f.shape} in {f}, {check.g.shape} in {g}"
    index = np.unravel_index(int(np.argmax(check.differs)), check.f.shape)
    shown = f"[{', '.join(map(str, map(int, index)))}]" if index else ""
    error, limit = abs(check.f[index] - check.g[index]), check.allowed[index]
    return (
        f"{shown} is ".lstrip()
        + f"{check.f[index]:.9g} in {f}, {check.g[index]:.9g} in "
        f"{g}; they differ by {error:.2g}, rounding explains {limit:.2g}"
    )


def places(check: TensorCheck, time_axis: TimeAxis | None) -> list[str]:
    """Return where a tensor differs, axis by axis, steps first."""
    if not check.has_same_shape:
        return []
    words = list[str]()
    time = None if time_axis is None else time_axis.axis_in(check.f.shape)
    for axis, size in enumerate(check.f.shape):
        others = tuple(a for a in range(check.f.ndim) if a != axis)
        wrong = np.flatnonzero(check.differs.any(axis=others))
        if axis == time:
            first, last = int(wrong[0]), int(wrong[-1])
            text = f"first wrong step: {first} (axis {axis}), last: {last}, of {size}"
            words.insert(0, text)
        elif len(wrong) < size:
            ends = dict.fromkeys((int(wrong[0]), int(wrong[-1])))
            indices = " to ".join(map(str, ends))
            words.append(
                f"in {len(wrong)} of {size} indices of axis {axis} ({indices})"
            )
    if check.f.ndim:
        count = np.count_nonzero(check.differs)
        words.append(f"in {count} of {pluralize(check.f.size, 'element')}")
    return words


def unjudged_words(check: TensorCheck) -> str:
    """Return why a tensor is not judged."""
    if check.f.size == 0:
        return "it has no elements"
    count = check.f.size - np.count_nonzero(check.judged)
    share = check.allowed.max() / check.size if check.size else np.inf
    where = "" if check.labels == ("f", "g") else f" of {check.labels[1]}"
    elements = f"{count} of {pluralize(check.f.size, 'element')}"
    return f"rounding may change it{where} by {share:.2g} of its size, in {elements}"
