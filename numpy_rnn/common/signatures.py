"""Signatures of functions that pass their keyword arguments on as records."""

import inspect
from collections.abc import Callable
from typing import Any, TypeVar, get_type_hints

from numpy_rnn.common.records import KEYWORD_DEFAULTS

Function = TypeVar("Function", bound=Callable[..., Any])


def with_keywords(keywords: Any, array: type) -> Callable[[Function], Function]:
    """Decorate a function so that its signature has every keyword argument.

    Type checkers read them from `Unpack`; `help`, `inspect.signature` and notebooks,
    which complete names, would see `**options` alone.

    Parameters
    ----------
    keywords : TypedDict
        The keyword arguments and their types. Those that are not required have the
        defaults of the records.
    array : type
        What the package has for an array.

    Returns
    -------
    callable
        The decorator.
    """
    hints = get_type_hints(keywords)
    named = []
    for name, hint in hints.items():
        default = inspect.Parameter.empty
        if name not in keywords.__required_keys__:
            default = KEYWORD_DEFAULTS[name]
        if getattr(hint, "__parameters__", ()):  # the type of an array
            hint = hint[array]
        parameter = inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hint
        )
        named.append(parameter)
    # As in a call: those that must be given come first.
    named.sort(key=lambda parameter: parameter.default is not inspect.Parameter.empty)

    def decorated(function: Function) -> Function:
        signature = inspect.signature(function)
        first = []
        for parameter in signature.parameters.values():
            if parameter.kind is not inspect.Parameter.VAR_KEYWORD:
                first.append(parameter)
        signature = signature.replace(parameters=[*first, *named])
        function.__signature__ = signature  # type: ignore[attr-defined]
        return function

    return decorated
