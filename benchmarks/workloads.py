"""The cases that are timed: problems of fixed sizes and numbers."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

import numpy_rnn
from numpy_rnn.common.records import Objective, RunOptions, Schedule, Step

RATE = 0.1
MAX_GRADIENT = 5.0  # of a character model, whose gradients are clipped by value
WEIGHT_SCALE = 0.01  # standard deviation of the initial weights of a character model
SUCCESSORS = 4  # characters that may follow a character of its text
CHECKED_UPDATES = {"float64": 8, "float32": 3}  # of a character model
CHECKED_EPOCHS = 5  # of an ensemble
SINE = {
    "T": 20,
    "B": 1,
    "D": 1,
    "H": 6,
    "O": 1,
}  # the sizes of the default experiment; these cases have its data

Arrays = tuple[numpy_rnn.Parameters, np.ndarray, np.ndarray, np.ndarray]


class Case(NamedTuple):
    """One problem of fixed sizes and numbers."""

    name: str
    T: int
    B: int
    D: int
    H: int
    O: int
    options: RunOptions
    dtype: str = "float32"
    networks: int = (
        1  # above 1: an ensemble (parameters with one leading axis; x, target and h_0 are shared)
    )

    @property
    def is_text(self) -> bool:
        """Whether this is a character model."""
        return self.options.objective.loss == "cross_entropy"

    @property
    def updates(self) -> int:
        """The number of updates in a run."""
        k1, _, epochs = self.options.schedule
        return epochs * -(-self.T // k1)

    @property
    def learning_rate(self) -> float:
        return self.options.step.learning_rate

    @property
    def about(self) -> str:
        """The description of a character model."""
        return (
            f"The model of min-char-rnn: H = {self.H}, {self.D} characters, chunks of {self.options.schedule.k1} steps"
            " with carried state, two biases, cross-entropy, gradients clipped by value at"
            f" {MAX_GRADIENT:g}, Adagrad with rate {self.learning_rate:g}. The text is random: each character is"
            f" followed by one of {SUCCESSORS}."
        )

    def arrays(self) -> Arrays:
        """Parameters, x (T, B, D), target (T, B, O) and h_0 (B, H): new arrays with the same numbers in every call.

        The sizes of the default experiment have its sine wave, a zero state and the weights of `initial_parameters`.
        A character model has the initial weights of min-char-rnn, N(0, 0.01), zero biases and a zero state; x and
        target are classes, (T, B), of a random text in which each character is followed by one of four. All other cases
        have random numbers: weights N(0, 1/√fan-in) (standard deviation), so that states neither vanish nor saturate
        for any H; inputs and targets N(0, 1).
        """
        if self.is_text:
            return _text_arrays(self)
        sizes = {name: getattr(self, name) for name in SINE}
        return _sine_arrays(self) if sizes == SINE else _random_arrays(self)

    def beginning(self) -> Case:
        """The part of a run whose results are checked: all of it, unless its rounding errors grow without bound.

        The training of a character model is chaotic, and so is that of a few networks of a large ensemble.
        """
        schedule = self.options.schedule
        if self.is_text:
            return self._replace(T=CHECKED_UPDATES[self.dtype] * schedule.k1)
        if self.networks > 1:
            epochs = min(schedule.epochs, CHECKED_EPOCHS)
            return self._replace(
                options=self.options._replace(schedule=schedule._replace(epochs=epochs))
            )
        return self


def _sine_arrays(case):
    params = numpy_rnn.initial_parameters(
        dtype=case.dtype, networks=case.networks if case.networks > 1 else None
    )
    series = np.sin(np.linspace(2, 10, case.T + 1)).astype(case.dtype).reshape(-1, 1, 1)
    return params, series[:-1].copy(), series[1:].copy(), np.zeros((1, case.H), case.dtype)


def _random_arrays(case):
    _, T, B, D, H, O, *_ = case
    generator = np.random.default_rng((H, B, T, D, O, case.networks))
    E = (case.networks,) if case.networks > 1 else ()

    def normal(*shape: int, scale: float = 1.0) -> Any:
        return (scale * generator.normal(size=shape)).astype(case.dtype)

    params = numpy_rnn.Parameters(
        *(normal(*E, n, m, scale=n**-0.5) for n, m in ((D, H), (H, H), (H, O)))
    )
    return params, normal(T, B, D), normal(T, B, O), np.tanh(normal(B, H))


def _text_arrays(case):
    """The text of a shorter case is the beginning of that of a longer one."""
    D, H, O = case.D, case.H, case.O
    generator = np.random.default_rng((H, D, O))
    weights = [
        (WEIGHT_SCALE * generator.normal(size=shape)).astype(case.dtype)
        for shape in ((D, H), (H, H), (H, O))
    ]
    biases = [np.zeros(size, case.dtype) for size in (H, O)]
    followers = generator.integers(D, size=(D, SUCCESSORS))
    text = [0]
    for choice in generator.integers(SUCCESSORS, size=case.T):
        text.append(followers[text[-1], choice])
    x, target = (np.array(part)[:, None] for part in (text[:-1], text[1:]))
    return numpy_rnn.Parameters(*weights, *biases), x, target, np.zeros((case.B, H), case.dtype)


def window(name: str, dtype: str = "float32", epochs: int = 1, **sizes: int) -> Case:
    """One window of T steps.

    As |h| < 1, the curvature of the loss along W_hy is below T·B·H. So a rate of 0.1/(T·B·H) cannot diverge there,
    however many updates are made on the window.
    """
    T, rate = sizes["T"], RATE / (sizes["T"] * sizes["B"] * sizes["H"])
    options = RunOptions(Schedule(T, T, epochs), Objective(), Step(rate))
    return Case(name, options=options, dtype=dtype, **sizes)


def point(H: int, B: int, T: int = 50, dtype: str = "float32") -> Case:
    """A point of the grid: one number in and one number out, as in the default experiment."""
    return window(f"H={H} B={B} T={T} {dtype}", dtype, T=T, B=B, D=1, H=H, O=1)


def sine(name: str, k2: int, networks: int = 1, epochs: int = 300, dtype: str = "float32") -> Case:
    """A run over the series of the default experiment."""
    options = RunOptions(Schedule(1, k2, epochs), Objective(), Step(RATE))
    return Case(name, **SINE, options=options, dtype=dtype, networks=networks)


def character_model(dtype: str, updates: int = 100, H: int = 100, characters: int = 65) -> Case:
    """The character model of min-char-rnn: chunks of 25 characters, the state carried from one to the next."""
    step = Step(RATE, adagrad=True, max_value=MAX_GRADIENT)
    options = RunOptions(Schedule(25, 25, 1), Objective(loss="cross_entropy"), step)
    name = f"character model, {dtype}"
    return Case(name, 25 * updates, 1, characters, H, characters, options=options, dtype=dtype)


GRID = tuple(point(H, B) for H, B in ((6, 1), (64, 1), (64, 8), (256, 1), (256, 32)))
LARGE = (
    point(1024, 32),
    point(256, 32, 100),
    point(256, 32, dtype="float64"),
    # two vanilla RNNs of DeepBench, with D = H
    *(
        window(f"DeepBench {H}", T=T, B=B, D=H, H=H, O=1)
        for H, B, T in ((256, 32, 100), (1760, 16, 50))
    ),
)
DEFAULT_EXPERIMENT = sine("default experiment", 1)
SLIDING = (sine("sliding k2=5", 5, epochs=60), sine("sliding k2=20", 20, epochs=15))
ENSEMBLES = tuple(
    sine(f"{networks} networks", 1, networks, epochs)
    for networks, epochs in ((10, 100), (100, 30), (1000, 30), (2000, 20), (10_000, 10))
)
HUGE = sine("50000 networks", 1, 50_000, epochs=4)
CHARACTER_MODELS = (character_model("float64"), character_model("float32"))
CASES = {
    case.name: case
    for case in (DEFAULT_EXPERIMENT, *SLIDING, *ENSEMBLES, HUGE, *CHARACTER_MODELS, *GRID, *LARGE)
}
