"""What is timed: problems of fixed sizes and numbers. This file imports no NumPy before numbers are asked for."""

import json
from typing import Any, NamedTuple

MAIN_SIZES = (6, 1, 20, 1, 1)  # H, B, T, D, O of the main job; cases of these sizes have its numbers, too
MAIN_RATE = 0.1


class Case(NamedTuple):
    """One problem, of fixed sizes and numbers."""

    name: str
    H: int
    B: int
    T: int
    D: int
    O: int
    dtype: str
    networks: int = 1  # >1: an ensemble (parameters with one leading axis; x, target and h_0 are shared)
    k2: int | None = None  # of the sliding window (k1 = 1) of a run; None: one window of T steps
    epochs: int = 1  # of a run

    @property
    def points(self) -> int:
        """Updates of a run: one a window, in every epoch."""
        return self.epochs * (1 if self.k2 is None else self.T)

    @property
    def learning_rate(self) -> float:
        """Of the sum of all losses. Of one window over all steps it is small enough for any number of updates.

        As |h| < 1, the curvature of the loss along W_hy is below T·B·H, so a rate of 0.1/(T·B·H) cannot diverge there.
        """
        return MAIN_RATE if self.k2 is not None else MAIN_RATE / (self.T * self.B * self.H)

    def arrays(self) -> tuple[Any, Any, Any, Any]:
        """Parameters, x (T, B, D), target (T, B, O) and h_0 (B, H): new NumPy arrays, always the same ones.

        The main job's sizes have the sine wave, a zero state and the weights of `initial_parameters`. All others are
        drawn, seeded by the sizes: weights N(0, 1/√fan-in) (standard deviation), so that states neither die out nor
        saturate, whatever H; inputs and targets N(0, 1).
        """
        return _main_job(self) if self[1:6] == MAIN_SIZES else _drawn(self)

    def to_text(self) -> str:
        """As JSON on one line."""
        return json.dumps(self._asdict())

    @classmethod
    def from_text(cls, text: str) -> "Case":
        """The way back of `to_text`."""
        return cls(**json.loads(text))


def _main_job(case):
    import numpy as np

    import numpy_rnn
    from numpy_rnn.app.series import inputs_and_targets, sine

    networks = case.networks if case.networks > 1 else None
    params = numpy_rnn.initial_parameters(dtype=case.dtype, networks=networks)
    x, target = (np.array(part) for part in inputs_and_targets(sine(), case.dtype))
    return params, x, target, np.zeros((1, case.H), case.dtype)


def _drawn(case):
    import numpy as np

    from numpy_rnn import Parameters

    _, H, B, T, D, O, dtype, networks, *_ = case
    generator = np.random.default_rng((H, B, T, D, O, networks))
    E = (networks,) if networks > 1 else ()

    def normal(*shape, scale=1.0):
        return (scale * generator.normal(size=shape)).astype(dtype)

    params = Parameters(*(normal(*E, n, m, scale=n**-0.5) for n, m in ((D, H), (H, H), (H, O))))
    return params, normal(T, B, D), normal(T, B, O), np.tanh(normal(B, H))


def point(H: int, B: int, T: int = 50, dtype: str = "float32") -> Case:
    """A point of the grid: like the main job, one number in and one number out."""
    return Case(f"H={H} B={B} T={T} {dtype}", H, B, T, 1, 1, dtype)


def deep_bench(H: int, B: int, T: int) -> Case:
    """A vanilla RNN of DeepBench: as many inputs as hidden units."""
    return Case(f"DeepBench {H}", H, B, T, H, 1, "float32")


def sliding(name: str, k2: int, networks: int = 1, epochs: int = 300, dtype: str = "float32") -> Case:
    """A run over the main job's series."""
    return Case(name, *MAIN_SIZES, dtype, networks, k2, epochs)


MANY_NETWORKS = 1000  # of the ensembles for which several threads pay
SIZES_H = (6, 16, 32, 64, 128, 256, 512, 1024)
SIZES_B = (1, 8, 32, 128)

MAIN_JOB = sliding("main job", 1)
GRID = (
    *(point(H, B) for H in SIZES_H for B in SIZES_B),  # the ratio map is drawn from these
    *(point(H, B, T) for H, B in ((6, 1), (64, 8), (256, 32), (512, 32)) for T in (20, 100)),
    *(point(H, B, dtype="float64") for H, B in ((6, 1), (16, 8), (64, 8), (256, 32), (512, 32))),
)
NAMED = (MAIN_JOB, deep_bench(1760, 16, 50), deep_bench(256, 32, 100))
SLIDING = tuple(sliding(f"sliding k2={k2}", k2) for k2 in (1, 5, 20))
ENSEMBLES = tuple(
    sliding(f"{networks} networks", 1, networks, epochs)
    for networks, epochs in ((1, 300), (10, 300), (100, 30), (1000, 30), (2000, 20), (10_000, 10))
)
