"""Ports: the implementations that the suite tests. `Port` says what a port in Python provides.

A program in any other language speaks the protocol of protocol.txt; `program.ProgramPort` makes a port of it.
"""

import contextlib
import faulthandler
import functools
import importlib
import inspect
import os
import signal
import sys
import sysconfig
import threading
import traceback
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any, NoReturn, Protocol

import numpy as np

from numpy_rnn.common.errors import InputError, one_line
from numpy_rnn.common.records import WindowCase
from numpy_rnn.conformance.arithmetics.bounds import TAU, TanhError
from numpy_rnn.conformance.case import format_errors, given_dy
from numpy_rnn.conformance.ports import protocol
from numpy_rnn.conformance.ports.program import FIRST_TIMES, ProgramPort
from numpy_rnn.conformance.ports.protocol import Abilities, PortFault, port_arguments

VARIADIC = inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD
MAX_SECONDS = 1e6  # a timer of the system takes ten times that
LARGE = 1e3  # weights of outputs whose exponentials overflow
PATIENCE = 3  # time limits, after which a port that catches every exception ends the process
INSTALLED = *map(sysconfig.get_path, ("stdlib", "purelib", "platlib")), "<frozen"
OURS = __file__, os.path.join(os.path.dirname(os.path.dirname(__file__)), "adapters")


class Port(Protocol):
    """An implementation under test: one window of TBPTT and its SGD step, as a function of NumPy arrays.

    name is a printable text, and dtypes are "float32", "float64" or both. Optional attributes are capabilities, lacks,
    tanh_ulps, tanh_absolute_ulps and sizes; protocol.txt explains them.
    """

    name: str
    dtypes: Sequence[str]

    def window_update(
        self, params: dict[str, np.ndarray], x: np.ndarray, target: np.ndarray, h_0: np.ndarray, *,
        learning_rate: float, nonlinearity: str = "tanh", reduction: str = "sum", **options: Any,
    ) -> dict[str, np.ndarray]:  # fmt: skip
        """The loss of the window, its gradients and the updated parameters, under the names of `case.SHAPES`.

        params: W_xh (D, H), W_hh (H, H), W_hy (H, O), and b_h (H), b_y (O) or neither; h_0 if it is learned, which is
        then the argument h_0. x (T, B, D), h_0 (B, H), target (K, B, O) of the newest K ≤ T steps; x and target may
        hold classes, integers (T, B) and (K, B). "given_dy": dy (T, B, O) in place of target and reduction.

        options: loss="cross_entropy" and weights (K, B), if they are not the defaults. For other steps than plain
        gradient descent: momentum, dampening, nesterov, weight_decay, max_norm and velocity, a dict of arrays by the
        names of the parameters, or None before the first update; max_value and adagrad only where they are used.
        All gradients are those before clipping.
        """


class TimeLimitExceeded(BaseException):
    """The time limit is exceeded. Not an Exception, so that `except Exception` in the port does not catch it."""


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise TimeLimitExceeded inside the block when it runs longer. An alarm that was set before is restored.

    Only the main thread, on a system with the alarm signal, has a limit. What catches every exception, and a call into
    compiled code, are not interrupted: after PATIENCE limits the process ends, with exit status 1.
    """
    if (
        not hasattr(signal, "setitimer")
        or threading.current_thread() is not threading.main_thread()
    ):
        yield
        return
    seconds = min(seconds, MAX_SECONDS)

    def ring(number, frame):
        raise TimeLimitExceeded

    handler = signal.signal(signal.SIGALRM, ring)
    before = signal.setitimer(
        signal.ITIMER_REAL, seconds, seconds
    )  # again, where `except:` swallows the first
    try:
        try:
            faulthandler.dump_traceback_later(PATIENCE * seconds, exit=True, file=2)
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()
            signal.setitimer(signal.ITIMER_REAL, 0)
    finally:  # also when the alarm rings in the line before
        signal.signal(signal.SIGALRM, handler or signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, *before)


@contextlib.contextmanager
def exit_raises() -> Iterator[None]:
    """Inside the block, os._exit of this thread raises SystemExit: status 0 would look as if all tests had passed."""
    end, own = os._exit, (os.getpid(), threading.get_ident())

    def leave(status: int) -> NoReturn:
        if (os.getpid(), threading.get_ident()) == own:
            raise SystemExit(f"os._exit({status})")
        end(status)

    os._exit = leave
    try:
        yield
    finally:
        os._exit = end


def abilities(port: Any) -> Abilities:
    """The capabilities of a port, what it lacks, and its sizes."""
    sizes, lacks = (
        tuple(protocol.shapes_of(getattr(port, "sizes", ()))),
        tuple(getattr(port, "lacks", ())),
    )
    if "batch" in lacks:
        sizes = tuple({**shape, "B": 1} for shape in sizes)
    return Abilities(tuple(getattr(port, "capabilities", ())), lacks, sizes)


def tanh_error(port: Any) -> TanhError:
    """The error of its tanh that the bounds allow: twice the declared one, or the usual allowance."""
    declared, absolute = (getattr(port, name, None) for name in ("tanh_ulps", "tanh_absolute_ulps"))
    return TanhError(TAU.relative if declared is None else 2 * declared, 2 * (absolute or 0))


def load_python_port(where: str) -> Any:
    """The port that `module:object` names: a `Port`, or a class or function that returns one without arguments.

    The working directory is searched for modules too. Raises InputError if there is no such object or it is no port.
    """
    module, _, path = where.partition(":")
    if not (module and path):
        raise InputError(f"port {where!r}: expected module:object, as my_module:port")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        with (
            np.errstate(),
            exit_raises(),
        ):  # an import changes neither how NumPy treats overflows nor the exit status
            port: Any = functools.reduce(getattr, path.split("."), importlib.import_module(module))
            parameters = (
                inspect.signature(port).parameters.values() if inspect.isfunction(port) else ()
            )
            needs_arguments = any(
                each.default is each.empty and each.kind not in VARIADIC for each in parameters
            )
            if isinstance(port, type) or (inspect.isfunction(port) and not needs_arguments):
                port = port()
            is_port = callable(getattr(port, "window_update", None))
            stated = {
                name: getattr(port, name)
                for name in protocol.Identity._fields
                if hasattr(port, name)
            }
    except KeyboardInterrupt:
        raise
    except InputError as error:  # of an adapter
        raise InputError(f"port {where!r}: {error}") from None
    except BaseException as error:
        raise InputError(f"port {where!r} cannot be loaded: {described(error)}") from None
    if needs_arguments:
        raise InputError(
            f"port {where!r} is a function: expected a port; function_port({path}) makes one of a function of the"
            " parameters, x, target and h_0: from numpy_rnn.conformance.adapters import function_port"
        )
    if not is_port:
        raise InputError(
            f"port {where!r} has no function window_update: expected name, dtypes and window_update"
        )
    try:
        identity = protocol.identity_from(stated)
    except PortFault as fault:
        raise InputError(f"port {where!r}: {fault}") from None
    return SimpleNamespace(**identity._asdict(), window_update=port.window_update)


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _copied(each) for name, each in value.items()}
    return value.copy() if isinstance(value, np.ndarray) else value


def call_port(port: Any, case: WindowCase, timeout: float = 10.0) -> tuple[Any, str | None]:
    """Call a port on a case: (its report, None), or (None, what went wrong in one line).

    The port gets copies of the inputs, which it may change in place. A port in this process has `timeout` seconds, and
    FIRST_TIMES that in its first call, which may import or compile. Only KeyboardInterrupt is raised.
    """
    timeout *= 1 if hasattr(port, "was_called") else FIRST_TIMES
    port.was_called = True
    try:
        if isinstance(port, ProgramPort):
            return port.report(case), None
        arguments = _copied(port_arguments(case))
        params = arguments.pop("params")
        with time_limit(timeout), np.errstate(), exit_raises():
            report = _copied(
                port.window_update(params, **arguments)
            )  # it may reuse the arrays in its next call
    except KeyboardInterrupt:
        raise
    except TimeLimitExceeded:
        return None, f"does not answer within {timeout:g} s"
    except PortFault as fault:
        return None, str(fault)
    except BaseException as error:  # also what foreign languages throw, as PyO3's PanicException
        return None, f"raises {described(error, port.window_update)}"
    loss, dtype = report.get("loss") if isinstance(report, dict) else None, case.params.W_hh.dtype
    if type(loss) is float and np.array_equal(dtype.type(loss), loss, equal_nan=True):
        report["loss"] = dtype.type(loss)
    return report, None


def validated_report(
    port: Any, case: WindowCase, timeout: float, where: str
) -> dict[str, np.ndarray]:
    """A port's report on a case, in a valid format. Raises PortFault otherwise; `where` is part of its message."""
    report, verdict = call_port(port, case, timeout)
    has = abilities(port).capabilities
    faults = (
        [verdict]
        if verdict
        else format_errors(case, report, "intermediates" in has, "input_gradients" in has)
    )
    if faults:
        overflows = "finite" in faults[0] and np.abs(case.params.W_hy).max() > LARGE
        advice = (
            '; if its exponentials overflow, declare lacks = ("large outputs",)'
            if overflows
            else ""
        )
        fault = PortFault(f"{port.name}, {where}: {faults[0]}{advice}")
        fault.case = case
        raise fault
    return {"dy": given_dy(case)} | report if {"given_dy", "intermediates"} <= set(has) else report


def described(error: BaseException, function: object = None) -> str:
    """Type and message, and the line of the traceback that is the user's, if there is one."""
    try:
        message = f"{type(error).__name__}: {one_line(str(error))}".removesuffix(": ")
    except Exception:  # a __str__ that raises
        message = f"{type(error).__name__}, whose message cannot be printed"
    if (frame := user_frame(error, function)) is None:
        return message
    return f"{message} ({os.path.basename(frame.filename)} line {frame.lineno}: {one_line(frame.line or '', 80)})"


def user_frame(error: BaseException, function: object = None) -> traceback.FrameSummary | None:
    """The last line in the file of a function, or else the last one that is neither installed nor of the suite."""
    code = getattr(getattr(function, "__func__", function), "__code__", None)
    stack = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith(OURS)
    ]
    frames = [frame for frame in stack if code is not None and frame.filename == code.co_filename]
    frames = frames or [frame for frame in stack if not frame.filename.startswith(INSTALLED)]
    return frames[-1] if frames else None
