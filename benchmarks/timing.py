"""Rounds of measurements, each in a new random order."""

import gc
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from time import perf_counter

ROOT = Path(__file__).parents[1]
IMPORT = "from time import perf_counter; start = perf_counter(); import {}; print(perf_counter() - start)"
LEAST_SECONDS = 0.5  # or a short disturbance would hit a fast row harder than a slow one

Measurement = Callable[[], float]  # does something, and returns how many seconds it took


def interleaved(measurements: Mapping[str, Measurement], rounds: int, generator: Random) -> dict[str, list[float]]:
    """The seconds of every measurement, round by round; within a round the order is random."""
    seconds: dict[str, list[float]] = {name: [] for name in measurements}
    for number in range(1, rounds + 1):
        _show(f"round {number} of {rounds}")
        for name in generator.sample(list(measurements), len(measurements)):
            seconds[name].append(measurements[name]())
    _show("")
    return seconds


def stopwatch(function, *arguments) -> Measurement:
    """How long the call takes: the mean of as many calls as fill LEAST_SECONDS, without the rubbish of others."""

    def measure() -> float:
        gc.collect()
        calls, seconds, start = 0, 0.0, perf_counter()
        while seconds < LEAST_SECONDS:
            function(*arguments)
            calls, seconds = calls + 1, perf_counter() - start
        return seconds / calls

    return measure


def import_measurement(module: str) -> Measurement:
    """How long `import module` takes in a fresh process, the start of Python itself not counted."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONDONTWRITEBYTECODE": ""}
    command = [sys.executable, "-c", IMPORT.format(module)]

    def measure() -> float:
        return float(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)

    return measure


def import_seconds(modules, rounds: int, generator: Random) -> dict[str, list[float]]:
    """The import times of the modules; first once unmeasured, so that byte code is compiled and files are cached."""
    measurements = {module: import_measurement(module) for module in modules}
    for measure in measurements.values():
        measure()
    return interleaved(measurements, rounds, generator)


def _show(progress):
    if sys.stderr.isatty():
        print(f"\r{progress:<30}\r", end="", file=sys.stderr, flush=True)
