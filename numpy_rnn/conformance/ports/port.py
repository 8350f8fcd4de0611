"""Ports: implementations of the network from anywhere, called on one case at a time.

In Python a port is an object with

    name, dtypes                  a text; a tuple of "float32" and "float64", one or both
    capabilities                  optional: a tuple of
                                  "intermediates": every report holds a, h, y, dy, dh and da
                                  "input_gradients": every report holds dx and dh_0
                                  "sgd_options": it has momentum and what else torch.optim.SGD has, and clipping
                                  "learned_h_0": params may hold a learned initial state
    tanh_ulps                     optional: the largest error of its tanh in ulps
    lacks                         optional: what it cannot do, of "tanh", "relu", "sum", "mean" and "bias"
    window_update(params, x, target, h_0, *, learning_rate, nonlinearity, reduction) -> dict

NumPy arrays go in, params a dict by name; NumPy arrays come out under the names of `case.SHAPES`. A port with
"sgd_options" is also given momentum, dampening, nesterov, weight_decay, max_norm and velocity where the step is not
plain gradient descent; the velocity is a dict of what the update before left, by the names of the parameters, or None
at first; with momentum the report holds the new one, vW_xh and so on. A port with "learned_h_0" reports dh_0 and the
new h_0, with momentum also vh_0, when params holds h_0: the state that enters this window, which the argument h_0 is
too. In any other language it is a program that speaks the protocol of `protocol.py`.
"""

import contextlib
import functools
import importlib
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.common.errors import InputError
from numpy_rnn.conformance.case import Case
from numpy_rnn.conformance.ports.program import ProgramPort
from numpy_rnn.conformance.ports.protocol import PortFault, identity_fault, one_line

LONGEST = 1e7  # seconds, about what a timer of the system can take


class TimeLimitExceeded(BaseException):
    """The time is up. Not an Exception, so that the code under the limit does not take it for one of its own."""


@contextlib.contextmanager
def time_limit(seconds: float | None):
    """Raise TimeLimitExceeded inside the block when it runs longer; None: no limit.

    Done by the alarm signal. So there is no limit outside the main thread and on systems without that signal, and a
    single call into compiled code that does not come back is not ended: only a program (`ProgramPort`) can be held to
    a limit whatever it does. An alarm that was set before, as by pytest-timeout, is set again afterwards.
    """
    seconds = None if seconds is None else min(seconds, LONGEST)
    possible = hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread()
    if seconds is None or not possible:
        yield
        return

    def ring(number, frame):
        raise TimeLimitExceeded

    began = time.monotonic()
    handler = signal.signal(signal.SIGALRM, ring)
    left, interval = signal.setitimer(signal.ITIMER_REAL, seconds, seconds)  # again, where `except:` swallows the first
    try:
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    finally:  # also when the alarm rings in the line before
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler or signal.SIG_DFL)
        if left:
            signal.setitimer(signal.ITIMER_REAL, max(left - (time.monotonic() - began), 1e-6), interval)


__all__ = ["PortFault", "ProgramPort", "PythonPort", "call_port", "load_python_port"]


class PythonPort(NamedTuple):
    """A port in this process, with everything that it left out set to its default."""

    name: str
    dtypes: tuple[str, ...]
    capabilities: tuple[str, ...]
    tanh_ulps: float | None
    lacks: tuple[str, ...]
    window_update: Callable[..., Any]


def load_python_port(where: str) -> PythonPort:
    """The port that `module:object` names: an object as above, or a class or function that makes one from nothing.

    Modules are looked for in the working directory too. Raises InputError when there is no such thing, or no port.
    """
    module_name, colon, path = where.partition(":")
    if not (module_name and colon and path):
        raise InputError(f"port {where!r}: expected module:object, as my_module:port")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise InputError(f"port {where!r}: {module_name} needs {error.name}, which is not installed") from None
        raise InputError(f"port {where!r}: there is no module {error.name}, installed or in this directory") from None
    except (Exception, SystemExit) as error:
        raise InputError(f"port {where!r}: importing {module_name} raises {_described(error)}") from None
    try:
        port = functools.reduce(getattr, path.split("."), module)
    except AttributeError:
        raise InputError(f"port {where!r}: {module_name} has no {path}") from None
    if isinstance(port, type) or (callable(port) and not hasattr(port, "window_update")):
        try:
            port = port()
        except Exception as error:
            raise InputError(f"port {where!r}: calling {path}() raises {_described(error)}") from None
    missing = [name for name in ("name", "dtypes", "window_update") if not hasattr(port, name)]
    if missing:
        raise InputError(f"port {where!r} has no {', '.join(missing)}: expected name, dtypes and window_update")
    if not callable(port.window_update):
        raise InputError(f"port {where!r}: window_update is a {type(port.window_update).__name__}: expected a function")
    capabilities, lacks = getattr(port, "capabilities", ()), getattr(port, "lacks", ())
    tanh_ulps = getattr(port, "tanh_ulps", None)
    fault = identity_fault(port.name, port.dtypes, capabilities, tanh_ulps, lacks)
    if fault:
        raise InputError(f"port {where!r}: {fault}")
    return PythonPort(port.name, tuple(port.dtypes), tuple(capabilities), tanh_ulps, tuple(lacks), port.window_update)


def call_port(port, case: Case, timeout: float = 10.0) -> tuple[dict | None, str | None]:
    """Call a port on a case, whatever it does: (its report, None), or (None, what went wrong in one line).

    The port is handed copies of the inputs, and must leave them as they are. A program has its own time limit; a port
    in this process has `timeout` seconds, as far as `time_limit` can see to it. Only KeyboardInterrupt passes through.
    The report's form is not looked at: see `case.format_errors`.
    """
    params = {name: theta.copy() for name, theta in case.params._asdict().items() if theta is not None}
    series = {name: getattr(case, name).copy() for name in ("x", "target", "h_0")}
    options = case.options
    velocity = {name: array.copy() for name, array in (options.get("velocity") or {}).items()}
    if velocity:
        options["velocity"] = velocity
    given = [*params.items(), *series.items(), *(("v" + name, array) for name, array in velocity.items())]
    identities = [(name, id(array)) for held in (params, velocity) for name, array in held.items()]
    before = [_fingerprint(array) for _, array in given]
    limit = None if isinstance(port, ProgramPort) else timeout
    try:
        with time_limit(limit):
            report = port.window_update(params, **series, learning_rate=case.learning_rate, **options)
    except KeyboardInterrupt:
        raise
    except TimeLimitExceeded:
        return None, f"does not answer within {timeout:g} s"
    except PortFault as fault:
        return None, str(fault)
    except BaseException as error:  # also what foreign languages throw, as PyO3's PanicException
        return None, f"raises {_described(error, _file_of(port))}"
    changed = [name for (name, array), was in zip(given, before) if _fingerprint(array) != was]
    if [(name, id(array)) for held in (params, velocity) for name, array in held.items()] != identities:
        changed.append("params" if not velocity else "params or velocity")
    if changed:
        return None, f"changed its inputs: {', '.join(changed)}"
    if isinstance(report, dict):  # a port may fill the same arrays again at its next call
        report = {name: v.copy() if isinstance(v, np.ndarray) else v for name, v in report.items()}
    return report, None


def _fingerprint(array):
    return array.shape, array.dtype, array.tobytes()


def _file_of(port) -> str | None:
    function = getattr(port.window_update, "__func__", port.window_update)
    return getattr(getattr(function, "__code__", None), "co_filename", None)


def _described(error: BaseException, file: str | None = None) -> str:
    """Type and message, and the last line of the traceback in this file; without one, the last line of all."""
    stack = traceback.extract_tb(error.__traceback__)
    frames = [frame for frame in stack if frame.filename == file] or stack
    message = f"{type(error).__name__}: {one_line(str(error))}".removesuffix(": ")
    if not frames:
        return message
    last = frames[-1]
    return f"{message} ({os.path.basename(last.filename)} line {last.lineno}: {one_line(last.line or '', 80)})"
