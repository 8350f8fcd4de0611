"""The settings of a run, as its trace says them."""

import json
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.app.configuration import Configuration
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import SgdOptions
from numpy_rnn.conformance.ports.faults import one_line

NEEDED = ("k1", "k2", "learning_rate", "epochs", "nonlinearity", "reduction")
OPTIONAL = (*SgdOptions._fields, "learn_initial_state")
LARGEST = 10**9  # of k1, k2 and epochs


class Settings(NamedTuple):
    """What the judge has to know of a run."""

    k1: int
    k2: int
    learning_rate: Any  # a number, or (*E) of the ensemble, 1 for an axis along which it is shared
    epochs: int
    nonlinearity: str
    reduction: str
    sgd: SgdOptions
    learn_initial_state: bool | None  # None: the trace's keys tell

    def learns(self, trace) -> bool:
        """Whether the initial state of this trace is learned."""
        return "h_0" in trace if self.learn_initial_state is None else self.learn_initial_state

    def check(self) -> None:
        """Raise InputError on a value that no run can have, TypeError where it is of another kind."""
        alone = self._replace(learning_rate=0.0) if np.ndim(self.learning_rate) else self
        alone.configuration(()).check()
        for name, known in (("nonlinearity", ("tanh", "relu")), ("reduction", ("sum", "mean"))):
            if getattr(self, name) not in known:
                raise InputError(f"{name} is {getattr(self, name)!r}: expected {' or '.join(known)}")

    def configuration(self, E: tuple[int, ...]) -> Configuration:
        """As the configuration of a run with networks of shape E. Raises InputError where there is none."""
        rates, networks = self.learning_rate, E[-1] if E else None
        if np.ndim(rates):
            if rates.size != len(rates) or len(E) > 2:
                raise InputError(f"learning rates of shape {rates.shape} cannot be run again: expected (R,) or (R, 1)")
            rates = tuple(np.broadcast_to(rates.ravel(), E[:1]).tolist())
            networks = E[1] if len(E) == 2 else None
        values = {name: getattr(self, name) for name in ("k1", "k2", "epochs", "nonlinearity", "reduction")}
        values |= self.sgd._asdict() | {"learn_initial_state": self.learn_initial_state}
        return Configuration(**values, learning_rate=rates, networks=networks)


def settings_of(trace: dict) -> Settings:
    """The settings of a trace that has its initial parameters.

    Raises InputError where its configuration is no JSON object, where something is missing, and on values of no run.
    """
    try:
        known = json.loads(trace["configuration"].tobytes().rstrip(b"\0"))
    except (ValueError, TypeError, RecursionError):
        raise InputError("configuration is not JSON text") from None
    if not isinstance(known, dict):
        raise InputError("configuration is not a JSON object: expected one with k1, k2, learning_rate and so on")
    missing = [name for name in NEEDED if name not in known]
    if missing:
        raise InputError(f"configuration has no {missing[0]}")
    values = {name: known.get(name, getattr(Configuration, name)) for name in (*NEEDED, *OPTIONAL)}
    for name, value in values.items():
        _check_kind(name, value)
    sgd = SgdOptions(*(values.pop(name) for name in SgdOptions._fields))
    try:
        values["learning_rate"] = _rates(values["learning_rate"], trace["initial_W_hh"].shape[:-2])
        settings = Settings(sgd=sgd, **values)
        settings.check()
    except (TypeError, ValueError) as error:
        raise InputError(f"the configuration is not one of a run: {error}") from None
    return settings


def _check_kind(name, value):
    """Raise InputError unless the value is of the kind that this setting has."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if name in ("k1", "k2", "epochs"):
        fits, expected = is_number and isinstance(value, int) and value <= LARGEST, f"a whole number, {LARGEST} at most"
    elif name in ("nonlinearity", "reduction"):
        fits, expected = isinstance(value, str), "a text"
    elif name in ("nesterov", "learn_initial_state"):
        fits, expected = isinstance(value, bool) or (value is None and name != "nesterov"), "true or false"
    elif name == "learning_rate":
        fits, expected = is_number or isinstance(value, list), "a number, or a list of them"
    else:
        fits, expected = is_number or (value is None and name == "max_norm"), "a number"
    if not fits:
        raise InputError(
            f"the configuration is not one of a run: {name} is {one_line(repr(value), 40)}: expected {expected}"
        )


def _rates(learning_rate, E):
    """A list goes along the first axis of the ensemble, a nested one along the first axes."""
    if not isinstance(learning_rate, list):
        return learning_rate
    try:
        rates = np.array(learning_rate, np.float64)
    except (TypeError, ValueError, OverflowError):
        raise InputError("the learning rates are not numbers in lists of one length") from None
    rates = rates.reshape(*rates.shape, *(1,) * (len(E) - rates.ndim))
    if rates.ndim != len(E) or any(axis not in (1, size) for axis, size in zip(rates.shape, E)):
        raise InputError(f"learning rates of shape {np.shape(learning_rate)} do not fit networks of shape {E}")
    if not (np.isfinite(rates) & (rates >= 0)).all():
        raise InputError("a learning rate is not a finite number, 0 or more")
    return rates
