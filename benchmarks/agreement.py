"""Does a row compute the right numbers on the case that is to be timed? This is checked before it is timed.

`python -m benchmarks.agreement ROW BENCHMARK...` checks these benchmarks of a row and prints, as JSON, for each the
reason why it is not timed, or how many calls make a value.
"""

import json
import sys
from collections.abc import Mapping
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks import tasks
from benchmarks.prepared import Unsupported, results, run_results
from benchmarks.rows import prepare
from benchmarks.tasks import FLOORS, Key
from benchmarks.workloads import CASES, Case
from numpy_rnn import reference

VALUE_SECONDS = 0.03  # at least, of the calls that make a value


def reference_results(task: str, case: Case) -> dict[str, np.ndarray]:
    """The results of a task by the reference, in float64."""
    params, *series = case.arrays()
    params = type(params)(*(p if p is None else p.astype(np.float64) for p in params))
    x, target, h_0 = (
        array if array.dtype.kind == "i" else array.astype(np.float64) for array in series
    )
    if task in (tasks.FORWARD, tasks.GRADIENT):
        activations = reference.forward(params, x, h_0)
        if task == tasks.FORWARD:
            return {"y": activations.y}
        loss = reference.half_squared_error(activations.y, target)
        return results(loss, reference.bptt(params, activations, target))
    losses = []
    for update in reference.train(
        params, x, target, h_0, **case.options.keywords(), yield_every="epoch"
    ):
        assert update.losses is not None
        losses.append(update.losses)
    if task == tasks.STEP:
        return results(losses[0][0], update.gradients, update.parameters[:3])
    if task == tasks.CHARACTERS:
        return {"losses": losses[0]}
    return run_results([of_epoch.sum(axis=0) for of_epoch in losses], update.parameters[:3])


def disagreement(task: str, case: Case, result: Mapping[str, np.ndarray]) -> str | None:
    """How the results of a row differ from those of the reference; None if they agree.

    Half of the digits must be right: the largest error of a tensor is at most √ε times its largest number. Rounding
    stays below that in all cases. Mistakes do not, as they are of the size of the numbers or of the learning rate.
    """
    expected = reference_results(task, case)
    if result.keys() != expected.keys():
        return f"returns {', '.join(sorted(result))}: expected {', '.join(sorted(expected))}"
    for name, value in expected.items():
        array = np.asarray(result[name])
        if array.shape != value.shape:
            return f"{name} has shape {array.shape}: expected {value.shape}"
        if not name.startswith("loss") and array.dtype != case.dtype:
            return f"{name} is {array.dtype}: expected {case.dtype}"
        error = np.max(np.abs(array - value)) / np.max(np.abs(value))
        if not error <= np.sqrt(np.finfo(case.dtype).eps):  # NaN is no agreement either
            return f"{name} differs by {error:.1g} of its largest number"
    return None


def check(key: Key) -> dict[str, Any]:
    """{"reason": why a benchmark is not timed}, or {"loops": how many calls make a value}."""
    if key.task == tasks.IMPORT:
        return {"loops": 1}
    task, case = tasks.RUN if key.task == tasks.COLD else key.task, CASES[key.case]
    try:
        if key.row not in FLOORS:  # these compute no results
            beginning = case.beginning()
            reason = disagreement(task, beginning, prepare(key.row, task, beginning).result())
            if reason:
                return {"reason": f"disagrees: {reason}"}
        prepared = prepare(key.row, task, case)
        prepared.call()
    except Unsupported as reason:
        return {"reason": str(reason)}
    except (
        Exception
    ) as error:  # whatever a row raises, from any package, fails this benchmark and no other
        return {"reason": f"crashes: {type(error).__name__}: {error}"}
    if key.task == tasks.COLD:
        return {"loops": 1}
    start = perf_counter()
    prepared.call()
    return {"loops": max(1, round(VALUE_SECONDS / (perf_counter() - start)))}


if __name__ == "__main__":
    print(json.dumps({name: check(Key.from_text(name)) for name in sys.argv[1:]}))
