"""How long the equivalence suite takes: its checks of single windows, and its judgement of whole traces."""

import time
import tracemalloc
from typing import NamedTuple

import numpy as np

from benchmarks.figures import Claim, three_digits

CHECKS = 1000
CHECKS_ASKED = 3  # seconds
TRACES_ASKED = 5  # seconds
MEMORY_ASKED = 500  # MB


class Cost(NamedTuple):
    checks: float  # seconds for CHECKS checks at level L1, without the port's own time
    traces: float  # seconds to read and judge two traces of the main job, and to compare their losses
    memory: float  # MB at the peak of that
    updates: int  # of each trace


def suite_cost(epochs: int, folder) -> Cost:
    """Measured once: windows of T ≤ 6 steps and up to 8 hidden units; two traces in files, as `compare` reads them."""
    seconds, memory, updates = trace_cost(epochs, folder)
    return Cost(check_seconds(), seconds, memory, updates)


def check_seconds() -> float:
    """Only the checks are timed: the form of the report, and all its stages."""
    from numpy_rnn.conformance.bounds.local_bounds import check_local
    from numpy_rnn.conformance.case import format_errors

    spent = 0.0
    for case, report in _windows(CHECKS):
        began = time.perf_counter()
        faults, ratios = format_errors(case, report, intermediates=True), check_local(case, report)
        spent += time.perf_counter() - began
        if faults or not all((ratio <= 1).all() for ratio in ratios.values()):
            raise AssertionError("numpy_rnn exceeds a bound: nothing to time")
    return spent


def trace_cost(epochs: int, folder) -> tuple[float, float, int]:
    """Seconds, peak of allocated MB, and updates a trace."""
    from numpy_rnn.conformance.comparison import epoch_losses
    from numpy_rnn.conformance.traces.judge import judge
    from numpy_rnn.conformance.traces.trace_format import read_trace

    files = [_write_trace(folder / f"{number}.npz", epochs) for number in (1, 2)]

    def compare():
        traces = [read_trace(file) for file in files]
        judgements = [judge(trace) for trace in traces]
        losses = [epoch_losses(trace, "sum") for trace in traces]
        np.abs(losses[0] - losses[1]).max()
        return judgements

    began = time.perf_counter()
    judgements = compare()
    seconds = time.perf_counter() - began
    tracemalloc.start()
    compare()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    if not all(judgement.passed for judgement in judgements):
        raise AssertionError("numpy_rnn exceeds a bound: nothing to time")
    return seconds, peak / 1e6, judgements[0].updates


def claims(cost: Cost) -> list[Claim]:
    checks, traces, memory, updates = cost
    return [
        Claim(
            f"{CHECKS} checks of level L1 take {three_digits(checks)} s (asked: {CHECKS_ASKED})", checks <= CHECKS_ASKED
        ),
        Claim(
            f"judging two traces of {updates} updates takes {three_digits(traces)} s (asked: {TRACES_ASKED})",
            traces <= TRACES_ASKED,
        ),
        Claim(f"and {three_digits(memory)} MB at its peak (asked: {MEMORY_ASKED})", memory <= MEMORY_ASKED),
    ]


def _windows(count):
    import numpy_rnn
    from numpy_rnn.conformance.ports.backends import PackagePort
    from numpy_rnn.conformance.recipes import random_recipe

    port, generator = PackagePort(numpy_rnn), np.random.default_rng(0)
    while count:
        recipe = random_recipe(generator)
        if recipe.T > 6:
            continue
        case = recipe.case()
        arrays = case.params._asdict(), case.x, case.target, case.h_0
        yield case, port.window_update(*arrays, learning_rate=case.learning_rate, **case.options)
        count -= 1


def _write_trace(path, epochs):
    import numpy_rnn
    from numpy_rnn.app.configuration import Configuration
    from numpy_rnn.app.experiment import prepare
    from numpy_rnn.conformance.traces.drive import trace_of

    configuration = Configuration(epochs=epochs)
    np.savez(path, **trace_of(numpy_rnn, prepare(configuration), configuration))
    return path
