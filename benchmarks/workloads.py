"""The cases that are timed: problems of fixed sizes and numbers. NumPy is imported only inside functions."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np

    from numpy_rnn import Parameters

DEFAULT_SIZES = (6, 1, 20, 1, 1)  # H, B, T, D, O of the default experiment; cases of these sizes use its data
DEFAULT_RATE = 0.1
MAX_GRADIENT = 5.0  # of a character model, whose gradients are clipped by value
WEIGHT_SCALE = 0.01  # standard deviation of the initial weights of a character model
SUCCESSORS = 4  # characters that may follow a character of its text
CHECKED_UPDATES = {"float64": 10, "float32": 3}  # of a character model: later ones are chaotic


class Case(NamedTuple):
    """One problem of fixed sizes and numbers."""

    name: str
    H: int
    B: int
    T: int
    D: int
    O: int
    dtype: str
    networks: int = 1  # > 1: an ensemble (parameters with one leading axis; x, target and h_0 are shared)
    k2: int | None = None  # steps per sliding window (k1 = 1) of a run; None: one window of T steps
    epochs: int = 1  # of a run
    characters: bool = False  # a character model: D = O classes, two biases, cross-entropy, chunks (k1 = k2)

    @property
    def points(self) -> int:
        """The number of updates in a run: one per window and epoch."""
        if self.k2 is None:
            return self.epochs
        return self.epochs * (self.T // self.k2 if self.characters else self.T)

    @property
    def learning_rate(self) -> float:
        """The learning rate for the sum of all losses, small enough for any number of updates on one window.

        As |h| < 1, the curvature of the loss along W_hy is below T·B·H, so a rate of 0.1/(T·B·H) cannot diverge there.
        """
        return DEFAULT_RATE if self.k2 is not None else DEFAULT_RATE / (self.T * self.B * self.H)

    def arrays(self) -> tuple[Parameters, np.ndarray, np.ndarray, np.ndarray]:
        """Parameters, x (T, B, D), target (T, B, O) and h_0 (B, H): new arrays with the same numbers in every call.

        The sizes of the default experiment have its sine wave, a zero state and the weights of `initial_parameters`.
        All other cases have random numbers, seeded by the sizes: weights N(0, 1/√fan-in) (standard deviation), so that
        states neither vanish nor saturate for any H; inputs and targets N(0, 1). A character model has the initial
        weights of min-char-rnn, N(0, 0.01), zero biases and a zero state; x and target are classes, (T, B), of a random
        text in which each character is followed by one of four.
        """
        if self.characters:
            return _character_arrays(self)
        return _default_arrays(self) if self[1:6] == DEFAULT_SIZES else _random_arrays(self)

    def to_text(self) -> str:
        """The case as one line of JSON."""
        return json.dumps(self._asdict())

    @classmethod
    def from_text(cls, text: str) -> Case:
        """The inverse of `to_text`."""
        return cls(**json.loads(text))


def _default_arrays(case):
    import numpy as np

    import numpy_rnn
    from numpy_rnn.app.series import inputs_and_targets, sine

    networks = case.networks if case.networks > 1 else None
    params = numpy_rnn.initial_parameters(dtype=case.dtype, networks=networks)
    x, target = (np.array(part) for part in inputs_and_targets(sine(), case.dtype))
    return params, x, target, np.zeros((1, case.H), case.dtype)


def _random_arrays(case):
    import numpy as np

    from numpy_rnn import Parameters

    _, H, B, T, D, O, dtype, networks, *_ = case
    generator = np.random.default_rng((H, B, T, D, O, networks))
    E = (networks,) if networks > 1 else ()

    def normal(*shape: int, scale: float = 1.0) -> Any:
        return (scale * generator.normal(size=shape)).astype(dtype)

    params = Parameters(*(normal(*E, n, m, scale=n**-0.5) for n, m in ((D, H), (H, H), (H, O))))
    return params, normal(T, B, D), normal(T, B, O), np.tanh(normal(B, H))


def _character_arrays(case):
    """The text of a shorter case is the beginning of that of a longer one."""
    import numpy as np

    from numpy_rnn import Parameters

    sizes = case.H, case.D, case.O
    generator = np.random.default_rng(sizes)
    shapes = (case.D, case.H), (case.H, case.H), (case.H, case.O)
    weights = [(WEIGHT_SCALE * generator.normal(size=shape)).astype(case.dtype) for shape in shapes]
    biases = [np.zeros(size, case.dtype) for size in (case.H, case.O)]
    followers = generator.integers(case.D, size=(case.D, SUCCESSORS))
    text = [0]
    for choice in generator.integers(SUCCESSORS, size=case.T):
        text.append(followers[text[-1], choice])
    x, target = (np.array(part)[:, None] for part in (text[:-1], text[1:]))
    return Parameters(*weights, *biases), x, target, np.zeros((case.B, case.H), case.dtype)


def first_updates(case: Case, updates: int | None = None) -> Case:
    """The beginning of the training of a character model; by default, the part whose results are checked."""
    return case._replace(T=min(case.T, (updates or CHECKED_UPDATES[case.dtype]) * (case.k2 or case.T)))


def point(H: int, B: int, T: int = 50, dtype: str = "float32") -> Case:
    """A point of the grid: one number in and one number out, as in the default experiment."""
    return Case(f"H={H} B={B} T={T} {dtype}", H, B, T, 1, 1, dtype)


def deep_bench(H: int, B: int, T: int) -> Case:
    """A vanilla RNN of DeepBench: as many inputs as hidden units."""
    return Case(f"DeepBench {H}", H, B, T, H, 1, "float32")


def sliding(name: str, k2: int, networks: int = 1, epochs: int = 300, dtype: str = "float32") -> Case:
    """A run over the series of the default experiment."""
    return Case(name, *DEFAULT_SIZES, dtype, networks, k2, epochs)


def character_model(name: str, updates: int, dtype: str = "float64", H: int = 100, characters: int = 65) -> Case:
    """The character model of min-char-rnn: chunks of 25 characters, the state carried from one to the next."""
    return Case(name, H, 1, 25 * updates, characters, characters, dtype, k2=25, characters=True)


MIN_THREADED_NETWORKS = 1000  # of the ensembles that several threads speed up
SIZES_H = (6, 16, 32, 64, 128, 256, 512, 1024)
SIZES_B = (1, 8, 32, 128)

DEFAULT_EXPERIMENT = sliding("default experiment", 1)
GRID = (
    *(point(H, B) for H in SIZES_H for B in SIZES_B),  # the ratio maps show these
    *(point(H, B, T) for H, B in ((6, 1), (64, 8), (256, 32), (512, 32)) for T in (20, 100)),
    *(point(H, B, dtype="float64") for H, B in ((6, 1), (16, 8), (64, 8), (256, 32), (512, 32))),
)
NAMED = (DEFAULT_EXPERIMENT, deep_bench(1760, 16, 50), deep_bench(256, 32, 100))
SLIDING = tuple(sliding(f"sliding k2={k2}", k2) for k2 in (1, 5, 20))
ENSEMBLES = tuple(
    sliding(f"{networks} network" + "s" * (networks > 1), 1, networks, epochs)
    for networks, epochs in ((1, 300), (10, 30), (100, 30), (1000, 30), (2000, 20), (10_000, 10))
)
CHARACTER_MODELS = tuple(
    character_model(f"character model, {dtype}", updates=100, dtype=dtype) for dtype in ("float64", "float32")
)
