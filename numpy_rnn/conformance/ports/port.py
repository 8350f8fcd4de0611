"""Ports: the implementations that the suite tests. `Port` says what a port in Python
provides.
"""

import importlib
import inspect
import os
import sys
import sysconfig
import traceback
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

import numpy_rnn
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.packages import backend, is_package
from numpy_rnn.common.records import DTYPES, NumpyArray, Objective, Parameters
from numpy_rnn.common.texts import one_line
from numpy_rnn.conformance.arithmetics.bounds import TAU
from numpy_rnn.conformance.case import (
    NamedArrays,
    WindowCase,
    loss_kind,
    parameters_from,
    present,
)
from numpy_rnn.conformance.ports.abilities import CAPABILITIES, Abilities
from numpy_rnn.conformance.ports.guard import guarded
from numpy_rnn.conformance.ports.program import ProgramPort
from numpy_rnn.conformance.ports.protocol import (
    PortFault,
    format_error,
    identity_from,
    port_arguments,
)

OUR_FOLDERS = (
    os.path.dirname(numpy_rnn.__file__),
    sysconfig.get_path("stdlib"),
    "<frozen",
)


class Port(Protocol):
    """An implementation under test: one window of TBPTT and its SGD step, of NumPy
    arrays.

    A port has the two attributes and the method below. It may have these attributes
    too, which protocol.txt explains:

    - capabilities, names of what it has beyond the usual: none by default
    - lacks, names of what it does not have: none by default
    - sizes, the only ones that it takes: a dict, a list of dicts, or "few"
    - tanh_ulps, the largest error of its tanh
    - mean_over, the axes over which its loss is a mean
    """

    # A printable text; and "float32", "float64" or both.
    name: str
    dtypes: Sequence[str]

    def window_update(
        self,
        params: NamedArrays,
        x: NumpyArray,
        target: NumpyArray,
        h_0: NumpyArray,
        *,
        learning_rate: float,
        **options: object,
    ) -> NamedArrays:
        """Return the loss of the window, its gradients and the updated parameters, by
        name.

        params: W_xh (D, H), W_hh (H, H), W_hy (H, O), and b_h (H), b_y (O) or neither.
        x (T, B, D), h_0 (B, H), target (K, B, O) of the newest K ≤ T steps; classes are
        integers, x (T, B) and target (K, B). options: nonlinearity, reduction, loss,
        and those of the step, with velocity, arrays by the names of the parameters. All
        gradients are those before clipping. x, target and h_0 are not changed in place.
        """


class PackagePort:
    """A package with the functions of numpy_rnn as a port."""

    capabilities = CAPABILITIES
    dtypes = DTYPES

    def __init__(self, rnn: Any):
        self.rnn = rnn
        self.name = rnn.__name__

    def window_update(
        self,
        params: NamedArrays,
        x: NumpyArray,
        target: NumpyArray,
        h_0: NumpyArray,
        *,
        learning_rate: float,
        **options: Any,
    ) -> NamedArrays:
        """Return one window and its SGD step. options: those of the objective and of
        the step.
        """
        rnn = self.rnn
        objective = Objective(
            **{name: options.pop(name) for name in Objective._fields if name in options}
        )
        velocity = options.pop("velocity", None)
        max_norm = options.pop("max_norm", None)
        max_value = options.pop("max_value", None)
        theta = rnn.from_numpy(Parameters(**params))
        x, target, h_0 = map(rnn.from_numpy, (x, target, h_0))
        activations = rnn.forward(theta, x, h_0, nonlinearity=objective.nonlinearity)
        loss_function = getattr(rnn, loss_kind(objective).function)
        y = activations.y[-len(target) :]
        L = loss_function(y, target, reduction=objective.reduction)
        window = theta, activations, target
        adjoints = rnn.adjoints(*window, **objective._asdict())
        gradients = clipped = rnn.bptt(*window, **objective._asdict())
        if max_norm is not None:
            clipped = rnn.clip_by_global_norm(clipped, max_norm)
        if max_value is not None:
            clipped = rnn.clip_by_value(clipped, max_value)
        if velocity is not None:
            velocity = rnn.from_numpy(parameters_from(velocity))
        delta, v = rnn.direction(theta, clipped, velocity, **options)
        updated = rnn.sgd(theta, delta, learning_rate)
        arrays = {"loss": L, "y": activations.y}
        arrays |= {"a": activations.a, "h": activations.h[1:]}
        arrays |= present(adjoints) | present(updated)
        arrays |= present(gradients, "d") | present(v, "v")
        return {name: np.asarray(rnn.to_numpy(array)) for name, array in arrays.items()}


class StatedPort:
    """A port as the suite uses it: what it states, and its answers. Raises InputError
    if an object is no port, or states what is invalid.

    Attributes
    ----------
    port : object
        The port itself.
    name, label, layout_text : str
        Its name; its name in a verdict; the layout of its arrays, if it tells one.
    abilities : Abilities
        What it has and lacks.
    tanh_ulps : float or None
        The error of its tanh that it declares.
    timeout : float or None
        Seconds for an answer, if it is in Python.
    """

    def __init__(self, port: object, **statements: Any):
        is_program = isinstance(port, ProgramPort)
        if not is_program and not callable(getattr(port, "window_update", None)):
            expected = "expected name, dtypes and window_update"
            raise InputError(f"it has no function window_update: {expected}")
        try:
            stated = identity_from(port, **statements)
        except PortFault as fault:
            raise InputError(str(fault)) from None
        self.port: Any = port
        self.name: str = stated["name"]
        self.label = str(getattr(port, "label", self.name))
        self.layout_text = str(getattr(port, "layout_text", ""))
        self.tanh_ulps: float | None = stated["tanh_ulps"]
        self.timeout: float | None = None
        self.abilities = Abilities(**{n: stated[n] for n in Abilities._fields})

    @property
    def tau(self) -> float:
        """Return the error of its tanh that the bounds allow, in units of roundoff of
        its value: twice the declared one in ulps, or the usual one.
        """
        return TAU if self.tanh_ulps is None else 2 * self.tanh_ulps


def stated_port(port: object) -> StatedPort:
    """Return a port with its statements, which it may have already. Raises InputError
    if an object is no port, or states what is invalid.
    """
    return port if isinstance(port, StatedPort) else StatedPort(port)


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
        raise PortFault(f"{port.name} {fault}, in {where}") from None
    error = format_error(case, report, port.abilities.capabilities)
    if not error:
        return report
    advice = ""
    if error.endswith(("expected float32", "expected float64")):
        advice = ', or state the dtypes that it has, as dtypes=("float64",)'
    raise PortFault(f"{port.name}: {error}{advice}, in {where}")


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
