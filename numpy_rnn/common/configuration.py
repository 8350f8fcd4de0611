"""What a run is: every choice that `train` takes, checked once."""

from dataclasses import asdict, dataclass, replace
from math import isfinite

from numpy_rnn.common.errors import InputError
from numpy_rnn.common.windows import windows

DTYPES = ("float32", "float64")


@dataclass(frozen=True)
class Configuration:
    """The main job is the default: one point at a time, 300 epochs over a sine wave."""

    epochs: int = 300
    learning_rate: float = 0.1
    k1: int = 1
    k2: int = 1
    hidden_size: int | None = None  # None: 6, or what the weights file holds
    nonlinearity: str = "tanh"
    reduction: str = "sum"
    bias: bool | None = None  # None: no biases, or what the weights file holds
    dtype: str | None = None  # None: float32, or what the weights file holds
    seed: int = 0
    networks: int | None = None  # an ensemble of this many initial weights; None is a single network
    data: str | None = None  # a series file; None is the sine wave
    weights: str | None = None  # a file with the initial weights; None draws them

    def check(self) -> None:
        """Raise InputError on a value that no run can have."""
        windows(1, self.k1, self.k2)
        for name in ("epochs", "seed"):
            if getattr(self, name) < 0:
                raise InputError(f"{name} is {getattr(self, name)}: expected 0 or more")
        for name in ("hidden_size", "networks"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise InputError(f"{name.replace('_', ' ')} is {getattr(self, name)}: expected 1 or more")
        if not (isfinite(self.learning_rate) and self.learning_rate >= 0):
            raise InputError(f"the learning rate is {self.learning_rate}: expected a finite number, 0 or more")
        if self.dtype not in (None, *DTYPES):
            raise InputError(f"dtype is {self.dtype!r}: expected {' or '.join(DTYPES)}")
        if self.weights is not None and self.networks is not None:
            raise InputError("both initial weights from a file and a number of seeds are given: choose one of the two")

    def train_options(self) -> dict:
        """The keyword arguments of `train`."""
        names = ("k1", "k2", "learning_rate", "epochs", "nonlinearity", "reduction")
        return {name: getattr(self, name) for name in names}

    def to_dict(self) -> dict:
        """As plain values, for JSON."""
        return asdict(self)

    def changed(self, **values) -> "Configuration":
        """A copy with other values."""
        return replace(self, **values)
