"""Code of a user: a port is found by its name, and asked. What goes wrong is told in
one line, with the line of the code.
"""

import importlib
import inspect
import os
import sys
import sysconfig
import traceback
from typing import Any

import numpy as np

import numpy_rnn
from numpy_rnn.common.commands import backend, is_package
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.texts import one_line
from numpy_rnn.conformance.case import NamedArrays, WindowCase
from numpy_rnn.conformance.ports.guard import guarded
from numpy_rnn.conformance.ports.port import PackagePort, StatedPort
from numpy_rnn.conformance.ports.program import ProgramPort
from numpy_rnn.conformance.ports.protocol import (
    PortFault,
    format_error,
    port_arguments,
)

OUR_FOLDERS = (
    os.path.dirname(numpy_rnn.__file__),
    sysconfig.get_path("stdlib"),
    "<frozen",
)


def find_port(name: str, **statements: Any) -> StatedPort:
    """Return the port of this name: a package, or module:object, a `Port` or a class of
    one. Statements are taken in place of its own.

    The working directory is searched for modules too. Raises InputError if there is no
    such object or it is no port.
    """
    if is_package(name):
        return StatedPort(PackagePort(backend(name)), **statements)
    module, _, path = name.partition(":")
    if module.endswith(".py") or not (module and path):
        stem = os.path.basename(module).removesuffix(".py").strip() or "my_module"
        example = one_line(f"{stem}:{path or 'port'}, in the folder of {stem}.py")
        expected = f"expected a package (torch_rnn), or module:object ({example})"
        raise InputError(f"{one_line(name)!r} is no port: {expected}")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        # An import changes neither how NumPy treats overflows nor the exit status.
        with np.errstate(), guarded():
            port = StatedPort(_loaded(module, path), **statements)
    except (InputError, PortFault) as error:
        raise InputError(f"port {name!r}: {error}") from None
    except (Exception, SystemExit) as error:
        raise InputError(
            f"port {name!r} cannot be loaded: {describe_error(error)}"
        ) from None
    port.label = module if path == "port" else name
    return port


def _loaded(module: str, path: str) -> Any:
    """Return the object at a path in a module, or one of a class. Raises InputError on
    a function.
    """
    port: Any = importlib.import_module(module)
    for name in path.split("."):
        port = getattr(port, name)
    if inspect.isfunction(port):
        raise InputError(
            f"it is a function: expected a port; function_port({path}) makes one of a "
            "function of the parameters, x, target and h_0: "
            "from numpy_rnn.conformance.adapters import function_port"
        )
    return port() if isinstance(port, type) else port


def call_port(port: StatedPort, case: WindowCase) -> NamedArrays:
    """Return the report of a port on a case. Raises PortFault, with the line of the
    port that raised.

    The port gets copies of the inputs, and may change the parameters and velocities in
    place, as a step does. A loss that is a Python float is rounded to the dtype.
    """
    if isinstance(port.port, ProgramPort):
        return port.port.report(case)
    arguments = port_arguments(case)
    copies = _copied(arguments)
    try:
        with np.errstate(), guarded(port.timeout):
            report = _copied(port.port.window_update(copies.pop("params"), **copies))
    except PortFault:
        raise
    except (Exception, SystemExit) as error:
        raise PortFault(f"raises {describe_error(error)}") from None
    for name in ("x", "target", "h_0"):
        if not np.array_equal(copies[name], arguments[name]):
            raise PortFault(
                f"changes {name} in place: expected it unchanged; copy it first"
            )
    if isinstance(report, dict) and type(report.get("loss")) is float:
        with np.errstate(over="ignore"):
            report["loss"] = case.dtype.type(report["loss"])
    return report  # type: ignore[no-any-return]


def _copied(value: Any) -> Any:
    """Return the value with copies of its arrays, also of those in dicts."""
    if isinstance(value, dict):
        return {name: _copied(entry) for name, entry in value.items()}
    return value.copy() if isinstance(value, np.ndarray) else value


def validated_report(port: StatedPort, case: WindowCase, where: str) -> NamedArrays:
    """Return a port's report on a case, in a valid format. Raises PortFault otherwise,
    with `where`.
    """
    try:
        report = call_port(port, case)
    except PortFault as fault:
        raise PortFault(f"{port.name} {fault}, in {where}", str(fault)) from None
    error = format_error(case, report, port.abilities.capabilities)
    if not error:
        return report
    advice = ""
    if error.endswith((": expected float32", ": expected float64")):
        advice = ', or state the dtypes that it has, as dtypes=("float64",)'
    raise PortFault(f"{port.name}: {error}{advice}, in {where}", error)


def describe_error(error: BaseException) -> str:
    """Return the type and the message of an error, and the last line of its traceback
    that is the user's, if there is one.
    """
    try:
        message = f"{type(error).__name__}: {one_line(str(error))}".removesuffix(": ")
    except Exception:  # a __str__ that raises
        message = f"{type(error).__name__}, whose message cannot be printed"
    frames = list[traceback.FrameSummary]()
    for frame in traceback.extract_tb(error.__traceback__):
        is_installed = "-packages" + os.sep in frame.filename
        if not (is_installed or frame.filename.startswith(OUR_FOLDERS)):
            frames.append(frame)
    if not frames:
        return message
    last = frames[-1]
    line = one_line(last.line or "", 80)
    return f"{message} ({os.path.basename(last.filename)} line {last.lineno}: {line})"
