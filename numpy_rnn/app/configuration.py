"""What a run is: every choice that `train` takes, checked once."""

from dataclasses import asdict, dataclass, replace
from math import isfinite
from types import UnionType
from typing import get_args, get_origin, get_type_hints

import numpy as np

from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import DTYPES, SgdOptions
from numpy_rnn.common.windows import windows

NONLINEARITIES, REDUCTIONS = ("tanh", "relu"), ("sum", "mean")
HIDDEN_SIZE = 6  # where none is given, and no weights


@dataclass(frozen=True)
class Configuration:
    """The main job is the default: one point at a time, 300 epochs over a sine wave."""

    epochs: int = 300
    learning_rate: float | tuple[float, ...] = 0.1  # several: a network for each of them, otherwise alike
    k1: int = 1
    k2: int = 1
    hidden_size: int | None = None  # None: 6, or what the weights file holds
    nonlinearity: str = "tanh"
    reduction: str = "sum"
    momentum: float = 0.0
    dampening: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0
    max_norm: float | None = None  # clip the gradient of each network to this norm; None: as it is
    learn_initial_state: bool | None = None  # None: no, or what the weights file holds
    bias: bool | None = None  # None: no biases, or what the weights file holds
    dtype: str | None = None  # None: float32, or what the weights file holds
    seed: int = 0
    networks: int | None = None  # an ensemble of this many initial weights; None is a single network
    data: str | None = None  # a series file; None is the sine wave
    columns: tuple[str, ...] | None = None  # of the series file, names or numbers from 1; None: all
    standardize: bool = False  # train on (value − mean) / standard deviation
    held_out: int = 0  # so many rows at the end are predicted and not trained on
    weights: str | None = None  # a file with the initial weights; None draws them

    def check(self) -> None:
        """Raise InputError on a value that no run can have."""
        windows(1, self.k1, self.k2)
        self.sgd_options().check()
        for name in ("epochs", "seed", "held_out"):
            if getattr(self, name) < 0:
                raise InputError(f"{name.replace('_', ' ')} is {getattr(self, name)}: expected 0 or more")
        for name in ("hidden_size", "networks"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise InputError(f"{name.replace('_', ' ')} is {getattr(self, name)}: expected 1 or more")
        if self.learning_rate == ():
            raise InputError("there is no learning rate: expected one or more")
        for name, known in (("nonlinearity", NONLINEARITIES), ("reduction", REDUCTIONS)):
            if getattr(self, name) not in known:
                raise InputError(f"{name} is {getattr(self, name)!r}: expected {' or '.join(known)}")
        for rate in self.learning_rate if isinstance(self.learning_rate, tuple) else (self.learning_rate,):
            if not (isfinite(rate) and rate >= 0):
                raise InputError(f"the learning rate is {rate}: expected a finite number, 0 or more")
        if self.dtype not in (None, *DTYPES):
            raise InputError(f"dtype is {self.dtype!r}: expected {' or '.join(DTYPES)}")
        if self.columns is not None and self.data is None:
            raise InputError("columns are chosen and no data file is given: expected --data FILE beside --columns")
        if self.weights is not None and self.networks is not None:
            raise InputError("both initial weights from a file and a number of seeds are given: choose one of the two")

    def rates(self) -> tuple[float, ...]:
        """The learning rates of a sweep; none for a run with one."""
        return self.learning_rate if isinstance(self.learning_rate, tuple) else ()

    def sgd_options(self) -> SgdOptions:
        """Momentum, weight decay and clipping."""
        return SgdOptions(*(getattr(self, name) for name in SgdOptions._fields))

    def train_options(self) -> dict:
        """The keyword arguments of `train`. Of a sweep over R rates, the rates have shape (R,), with seeds (R, 1)."""
        names = ("k1", "k2", "learning_rate", "epochs", "nonlinearity", "reduction")
        options = {name: getattr(self, name) for name in names} | self.sgd_options()._asdict()
        if self.rates():
            rates = np.array(self.rates())
            options["learning_rate"] = rates if self.networks is None else rates[:, None]
        return options

    def to_dict(self) -> dict:
        """As plain values, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict) -> "Configuration":
        """The way back of `to_dict`, by JSON or not. Raises TypeError on names and kinds of values that no
        configuration has.
        """
        values = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
        check_kinds(cls, values)
        return cls(**values)

    def changed(self, **values) -> "Configuration":
        """A copy with other values."""
        return replace(self, **values)


def check_kinds(cls, values: dict) -> None:
    """Raise TypeError on a value that is not of the kind that the class declares for its name."""
    kinds = get_type_hints(cls)
    for name, value in values.items():
        if name in kinds and not _is_a(value, kinds[name]):
            raise TypeError(f"{name} is {value!r}")


def _is_a(value, kind) -> bool:
    """isinstance, for the kinds that a configuration has; True and False are no numbers."""
    if isinstance(kind, UnionType):
        return any(_is_a(value, one) for one in get_args(kind))
    if get_origin(kind) is tuple:
        return isinstance(value, tuple) and all(_is_a(part, get_args(kind)[0]) for part in value)
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, int | float if kind is float else kind)
