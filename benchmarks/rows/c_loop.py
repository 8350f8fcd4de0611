"""The network in plain C loops, compiled for the sizes of the case: a floor for small sizes."""

import ctypes
import shutil
import subprocess
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks.tasks import (
    FORWARD,
    GRADIENT,
    MAX_C_SIZE,
    RUN,
    STEP,
    Prepared,
    Tasks,
    Unsupported,
    one_network,
    results,
    run_results,
)
from benchmarks.workloads import Case

SOURCE = Path(__file__).with_name("elman_floor.c")
COMMAND = ("cc", "-O3", "-march=native", "-shared", "-fPIC", "-fno-semantic-interposition")
REALS = {"float32": ("float", ctypes.c_float), "float64": ("double", ctypes.c_double)}


def compiled(*options: str) -> tuple[ctypes.CDLL, float]:
    """The library, and the seconds that compiling it took."""
    if shutil.which(COMMAND[0]) is None:
        raise Unsupported(f"{COMMAND[0]} is not installed")
    with TemporaryDirectory() as folder:
        library, start = Path(folder) / "floor.so", perf_counter()
        subprocess.run([*COMMAND, *options, "-o", library, SOURCE, "-lm"], check=True)
        seconds = perf_counter() - start
        return ctypes.CDLL(str(library)), seconds


class Program:
    """The compiled program, and a case's arrays where it requested them."""

    def __init__(self, case: Case):
        if case.B * case.H**2 > MAX_C_SIZE:
            raise Unsupported("not blocked for caches: small sizes only")
        real, c_real = REALS[case.dtype]
        self.rate = c_real(case.learning_rate)
        sizes = [f"-D{letter}={getattr(case, letter)}" for letter in "TBDHO"]
        self.library, self.compile_seconds = compiled(f"-DREAL={real}", *sizes)
        self.library.elman_step.restype = self.library.elman_gradient.restype = ctypes.c_double

        params, self.x, self.target, h_0 = case.arrays()
        self.shapes = [W.shape[-2:] for W in params[:3]]
        self.given = np.concatenate([W.reshape(case.networks, -1) for W in params[:3]], axis=1)
        self.weights = self.given.copy()  # (networks, all weights)
        self.gradients = np.empty_like(self.weights[0])
        self.h = np.empty((case.T + 1, case.B, case.H), case.dtype)
        self.y = np.empty((case.T, case.B, case.O), case.dtype)
        self.h[0] = h_0
        self.losses = np.empty((case.options.schedule.epochs, case.networks))

    def function(self, name: str, *arguments: Any) -> partial:
        """The call of a function with these arguments, converted once. `self` keeps the arrays alive."""
        converted = [ctypes.c_void_p(a.ctypes.data) if isinstance(a, np.ndarray) else a for a in arguments]
        return partial(getattr(self.library, "elman_" + name), *converted)

    def parts(self, flat: np.ndarray) -> list[np.ndarray]:
        """W_xh, W_hh and W_hy of one or several networks."""
        ends = np.cumsum([rows * columns for rows, columns in self.shapes])[:-1]
        parts = zip(np.split(flat, ends, axis=-1), self.shapes)
        return [part.reshape(*flat.shape[:-1], *shape) for part, shape in parts]


def forward(case: Case) -> Prepared:
    program = Program(one_network(case))
    call = program.function("forward", program.weights, case.T, program.x, program.h, program.y)

    def result():
        call()
        return {"y": program.y.copy()}

    return Prepared(call, result, program.compile_seconds)


def gradient(case: Case) -> Prepared:
    program, T = Program(one_network(case)), case.T
    series = program.x, program.target, program.h
    call = program.function("gradient", program.weights, T, T, *series, program.gradients)
    return Prepared(call, lambda: results(call(), program.parts(program.gradients)), program.compile_seconds)


def step(case: Case) -> Prepared:
    program, T = Program(one_network(case)), case.T
    series = program.x, program.target, program.h
    call = program.function("step", program.weights, T, T, *series, program.rate, program.gradients)

    def result():
        program.weights[...] = program.given
        loss = call()
        return results(loss, program.parts(program.gradients), program.parts(program.weights[0]))

    return Prepared(call, result, program.compile_seconds)


def run(case: Case) -> Prepared:
    program = Program(case)
    series = program.x, program.target, program.h[0]
    options = program.rate, *case.options.schedule
    train = program.function("run", program.weights, case.networks, *series, *options, program.losses)

    def call():
        program.weights[...] = program.given
        train()

    def result():
        call()
        single = case.networks == 1
        losses, weights = (program.losses[:, 0], program.weights[0]) if single else (program.losses, program.weights)
        return run_results(losses, program.parts(weights))

    return Prepared(call, result, program.compile_seconds)


def tasks(row: str) -> Tasks:
    return {FORWARD: forward, GRADIENT: gradient, STEP: step, RUN: run}
