"""What a way to train in NumPy cannot go below, as rows: they compute nothing that could be judged.

Bare calls: the fewest calls of NumPy's functions that the equations allow, one after the other. Of their forms, see
`bare_calls.py`, each is timed first, and the fastest is the row.

Bare GEMMs: the matrix products of these calls alone. NumPy multiplies arrays in either order of memory, and a product
or its transpose: of these eight layouts each product has the one that is fastest here, which is measured first. So
this is the machine's own speed at these shapes, and not that of a layout.
"""

from collections.abc import Callable, Iterable
from functools import partial
from itertools import groupby, product
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks.bare_calls import Call, forms, task_calls
from benchmarks.rows import CALLS, GEMMS, RUN, TASKS, Prepared, Row, present
from benchmarks.workloads import Case
from numpy_rnn.engine.layout import empty

TRIALS = 5  # of which the fastest counts, when layouts are compared
LEAST_SECONDS = 2e-4  # of a trial
MOST_OPERANDS = 4  # of the products of a loop over the steps that are compared

Layouts = dict[tuple, tuple[bool, ...]]  # by the shapes of a product: see `in_layout`


def fastest(candidates: list[Callable[[], object]]) -> Callable[[], object]:
    """The one of these that takes the least time when it is called."""
    counts = []
    for call in candidates:
        call()
        counts.append(max(1, int(LEAST_SECONDS / max(_seconds(call, 1), 1e-9))))
    trials = [[_seconds(call, count) for call, count in zip(candidates, counts)] for _ in range(TRIALS)]
    least = [min(of_one) for of_one in zip(*trials)]
    return candidates[least.index(min(least))]


def _seconds(call, count):
    """Of one of so many calls."""
    began = perf_counter()
    for _ in range(count):
        call()
    return (perf_counter() - began) / count


def straight(calls: list[partial]) -> Callable[[], object]:
    """A function that makes these calls one after the other, as a program that is written for them: a loop over them
    would take a tenth longer where arrays are small.
    """
    names: dict[int, str] = {}
    values: list[Any] = []

    def name(value):
        if id(value) not in names:
            names[id(value)] = f"v{len(values)}"
            values.append(value)
        return names[id(value)]

    lines = [
        f"    {name(call)}()" if call.keywords else f"    {name(call.func)}({', '.join(map(name, call.args))})"
        for call in calls
    ]
    written: dict[str, Any] = {}
    exec("\n".join([f"def run({', '.join(names.values())}):", *lines, "    return None"]), written)
    return partial(written["run"], *values)


def repeated(call: Callable[[], object], times: int) -> Callable[[], None]:
    def loop():
        for _ in range(times):
            call()

    return loop


def made(calls: Iterable[Call], found: Layouts | None = None) -> list[partial]:
    """The calls as they are."""
    return [partial(call.function, *call.arguments) for call in calls]


def in_best_layouts(calls: Iterable[Call], found: Layouts) -> list[partial]:
    """The products of these calls, every one in the fastest layout of its shapes: as `found` before, or measured."""
    chosen: list[partial] = []
    for shapes, group in groupby((call for call in calls if call.is_product), key=_shapes):
        products = list(group)
        if products[0].function is not np.ndarray.dot:
            chosen += made(products)
            continue
        if shapes not in found:
            layouts = list(product((False, True), repeat=3))
            tried = [straight(in_layout(products[:MOST_OPERANDS], *layout)) for layout in layouts]
            found[shapes] = layouts[tried.index(fastest(tried))]
        chosen += in_layout(products, *found[shapes])
    return chosen


def _shapes(call):
    return call.function, *(array.shape for array in call.arguments)


def in_layout(products: list[Call], left_turned: bool, right_turned: bool, turned: bool) -> list[partial]:
    """Calls of `dot` on new arrays. *_turned: whether a factor is laid out in columns; turned: whether the transposed
    product is computed. Operands that these products share are shared here too.
    """
    arrays: dict[tuple, np.ndarray] = {}

    def placed(array, columns):
        key = array.__array_interface__["data"][0], array.shape, array.strides, columns
        if key not in arrays:
            shape = array.shape[::-1] if columns else array.shape
            new = empty(shape, array.dtype)
            arrays[key] = new.T if columns else new
            arrays[key][...] = array
        return arrays[key]

    found: list[partial] = []
    for call in products:
        left, right, out = call.arguments
        left, right, out = placed(left, left_turned), placed(right, right_turned), placed(out, turned)
        found.append(partial(np.ndarray.dot, *((right.T, left.T, out.T) if turned else (left, right, out))))
    return found


def prepared(task: str, case: Case, choose: Callable[[Iterable[Call], Layouts], list[partial]] = made) -> Prepared:
    """All the calls, in the fastest of the forms, once an epoch."""
    epochs: list[Callable[[], object]] = []
    found: Layouts = {}
    for form in forms(case):
        calls: list[partial] = []
        for block in task_calls(task, case, form):
            chosen = {id(window): choose(window, found) for window in block.windows}
            calls += [call for window in block.windows for call in chosen[id(window)]]
            calls += choose(block.losses, found)
        epochs.append(straight(calls))
    return Prepared(repeated(fastest(epochs), case.epochs if task == RUN else 1), dict)


ROWS = {
    CALLS: Row(
        CALLS,
        "the fewest NumPy calls that the equations allow, alone",
        present,
        {task: partial(prepared, task) for task in TASKS},
    ),
    GEMMS: Row(
        GEMMS,
        "the matrix products of these calls alone, each in the layout that is fastest here",
        present,
        {task: partial(prepared, task, choose=in_best_layouts) for task in TASKS},
    ),
}
