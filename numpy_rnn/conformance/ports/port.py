"""Ports: the implementations that the suite tests. `Port` says what a port in Python
provides.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import DTYPES, NumpyArray, Objective, Parameters
from numpy_rnn.conformance.arithmetics.bounds import TAU
from numpy_rnn.conformance.case import (
    NamedArrays,
    loss_kind,
    parameters_from,
    present,
)
from numpy_rnn.conformance.ports.abilities import CAPABILITIES, Abilities
from numpy_rnn.conformance.ports.program import ProgramPort
from numpy_rnn.conformance.ports.protocol import (
    PortFault,
    identity_from,
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
