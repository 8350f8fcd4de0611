"""`python -m benchmarks.long_run KIND STEPS FILE`: one long run, or an epoch of an ensemble of
STEPS networks; it prints how many MB the process held at its peak.

A process of its own, that imports no more than the run needs.
"""

import math
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

import numpy_rnn as rnn
from numpy_rnn.app.series import inputs_and_targets, load_series, sine

STREAM, ENSEMBLE = "stream", "ensemble"
OPTIONS: dict[str, Any] = {"k1": 5, "k2": 20, "learning_rate": 0.01}
STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def main(kind: str, steps: str, file: str) -> None:
    params, h_0 = rnn.initial_parameters(), np.zeros((1, 6), np.float32)
    if kind == ENSEMBLE:
        print(ensemble_peak(int(steps), h_0))
        return
    set_back()
    if kind == STREAM:
        updates = rnn.train_stream(params, sine_steps(int(steps)), h_0, **OPTIONS)
    else:
        x, target = inputs_and_targets(load_series(file), np.float32)
        updates = rnn.train(params, x, target, h_0, **OPTIONS, epochs=1)
    for update in updates:
        loss = update.loss
    if not np.isfinite(loss) or update.window.stop != int(steps):
        raise AssertionError("the run is not the one that was asked for: nothing to measure")
    print(peak())


def ensemble_peak(networks: int, h_0) -> float:
    """MB of an epoch of the main job, of this many networks at once."""
    generator = np.random.default_rng(0)
    weights = (generator.normal(0, 0.4, (networks, *shape)).astype(np.float32) for shape in ((1, 6), (6, 6), (6, 1)))
    params = rnn.Parameters(*weights)
    x, target = inputs_and_targets(sine(), np.float32)
    set_back()
    for update in rnn.train(params, x, target, h_0, k1=1, k2=1, learning_rate=0.1, epochs=1):
        loss = update.loss
    if loss.shape != (networks,) or not np.isfinite(loss).all():
        raise AssertionError("the run is not the one that was asked for: nothing to measure")
    return peak()


def sine_steps(steps: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """A sine wave a step at a time, each target the next input; nothing of it is kept here."""
    following = np.zeros((1, 1), np.float32)
    for t in range(1, steps + 1):
        x_t, following = following, np.full((1, 1), math.sin(t / 10), np.float32)
        yield x_t, following


def set_back() -> bool:
    """Begin to look for the peak now, so that imports cannot hide what training takes; whether the system allows it."""
    with suppress(OSError):
        CLEAR.write_text("5")  # proc(5)
        return True
    return False


def peak() -> float:
    """MB."""
    if STATUS.exists():
        line = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e6
    from resource import RUSAGE_SELF, getrusage

    return getrusage(RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6


if __name__ == "__main__":
    main(*sys.argv[1:])
