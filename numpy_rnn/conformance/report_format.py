"""The format of a report on a case: names, shapes and dtypes, and finite numbers."""

from typing import Any

import numpy as np
import numpy.typing as npt

from numpy_rnn.common.texts import short_repr
from numpy_rnn.conformance.case import WindowCase, required_outputs


def format_errors(
    case: WindowCase, report: Any, intermediates: bool, input_gradients: bool = False
) -> list[str]:
    """Return the errors in the format of a report, one line each: names, shape, dtype,
    NaN or infinity.

    Only a report without such errors has numbers that can be compared, since `NaN >
    bound` is false. Intermediates and input gradients that are not required are
    optional.
    """
    if not isinstance(report, dict):
        kind = type(report).__name__
        return [f"the report is a {kind}: expected a dict of arrays by name"]
    optional = {"dh_0"} if case.h_0 is None else set()
    expected = required_outputs(case, intermediates, input_gradients).keys() - optional
    known = required_outputs(case, True, True)
    errors = [f"{n} is missing" for n in known if n in expected - report.keys()]
    for name in report:
        if name not in known:
            errors.append(f"{short_repr(name)} is not an expected name")
    for name, shape in known.items():
        array = report.get(name)
        if name not in report:
            continue
        if type(array) is np.ndarray or isinstance(array, np.generic):  # not masked
            if error := array_error(name, array, shape, case.dtype):
                errors.append(error)
        else:
            errors.append(f"{name} is a {type(array).__name__}: expected a NumPy array")
    return errors


def array_error(
    name: str, array: Any, shape: tuple[int, ...], dtype: npt.DTypeLike
) -> str:
    """Return the error in an array that should have this shape and dtype and be finite,
    or "".
    """
    if array.dtype != dtype:
        return f"{name} is {array.dtype}: expected {dtype}"
    if array.shape != shape:
        return f"{name} has shape {array.shape}: expected {shape}"
    if np.isfinite(array).all():
        return ""
    index = tuple(map(int, np.argwhere(~np.isfinite(array))[0]))
    return f"{name}{list(index) or ''} is {array[index]}: expected a finite number"
