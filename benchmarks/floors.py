"""Lower bounds for any training in NumPy, as rows. They compute no results that could be checked.

Bare calls: the fewest calls of NumPy's functions that the equations need, in sequence. Each of their forms (see
`bare_calls.py`) is timed first, and the fastest is the row.

Bare GEMMs: the matrix products of these calls alone. NumPy multiplies arrays in either memory order, and a product or
its transpose. Each product has the fastest of these eight layouts, which is measured first. So this is the speed of the
machine at these shapes, and not that of a layout.
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

TRIALS = 5  # per layout, the fastest of which counts
MIN_SECONDS = 2e-4  # per trial
LONG_SECONDS = 5e-3  # one trial is enough of calls that take this long, whose times vary less
MAX_OPERANDS = 4  # products of a loop over the steps that are timed for a comparison

Layouts = dict[tuple, tuple[bool, ...]]  # by the shapes of a product: see `in_layout`


def fastest(candidates: list[Callable[[], object]]) -> Callable[[], object]:
    """The candidate whose calls take the least time."""
    first = []
    for call in candidates:
        call()
        first.append(_seconds(call, 1))
    counts = [max(1, int(MIN_SECONDS / max(seconds, 1e-9))) for seconds in first]
    trials = [first]
    if min(first) < LONG_SECONDS:
        trials = [[_seconds(call, count) for call, count in zip(candidates, counts)] for _ in range(TRIALS)]
    least = [min(of_one) for of_one in zip(*trials)]
    return candidates[least.index(min(least))]


def _seconds(call, count):
    """Per call, of `count` calls."""
    start = perf_counter()
    for _ in range(count):
        call()
    return (perf_counter() - start) / count


def straight_line(calls: list[partial]) -> Callable[[], object]:
    """A function that makes these calls in sequence, as a program without a loop: a loop over the calls would take a
    tenth longer for small arrays.
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


def as_given(calls: Iterable[Call], layouts: Layouts | None = None) -> list[partial]:
    """The calls in the layouts of their arrays."""
    return [partial(call.function, *call.arguments) for call in calls]


def in_best_layouts(calls: Iterable[Call], layouts: Layouts) -> list[partial]:
    """The products of these calls, each in the fastest layout of its shapes; `layouts` collects what is measured."""
    chosen: list[partial] = []
    for shapes, group in groupby((call for call in calls if call.is_product), key=_shapes):
        products = list(group)
        if products[0].function is not np.ndarray.dot:
            chosen += as_given(products)
            continue
        if shapes not in layouts:
            all_layouts = list(product((False, True), repeat=3))
            tried = [straight_line(in_layout(products[:MAX_OPERANDS], *layout)) for layout in all_layouts]
            layouts[shapes] = all_layouts[tried.index(fastest(tried))]
        chosen += in_layout(products, *layouts[shapes])
    return chosen


def _shapes(call):
    return call.function, *(array.shape for array in call.arguments)


def in_layout(products: list[Call], left_columns: bool, right_columns: bool, transposed: bool) -> list[partial]:
    """Calls of `dot` on new arrays; operands that the products share are shared here too.

    *_columns: whether a factor is in column-major order; transposed: whether the transposed product is computed.
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

    dots: list[partial] = []
    for call in products:
        left, right, out = call.arguments
        left, right, out = placed(left, left_columns), placed(right, right_columns), placed(out, transposed)
        dots.append(partial(np.ndarray.dot, *((right.T, left.T, out.T) if transposed else (left, right, out))))
    return dots


def prepared(task: str, case: Case, choose: Callable[[Iterable[Call], Layouts], list[partial]] = as_given) -> Prepared:
    """All calls, in the fastest of the forms, once per epoch."""
    epochs: list[Callable[[], object]] = []
    layouts: Layouts = {}
    for form in forms(case):
        calls: list[partial] = []
        for block in task_calls(task, case, form):
            chosen = {id(window): choose(window, layouts) for window in block.windows}
            calls += [call for window in block.windows for call in chosen[id(window)]]
            calls += choose(block.losses, layouts)
        epochs.append(straight_line(calls))
    return Prepared(repeated(fastest(epochs), case.epochs if task == RUN else 1), dict)


ROWS = {
    CALLS: Row(
        CALLS,
        "the fewest NumPy calls that the equations need, and nothing else",
        present,
        {task: partial(prepared, task) for task in TASKS},
    ),
    GEMMS: Row(
        GEMMS,
        "the matrix products of these calls, each in the layout that is fastest here, and nothing else",
        present,
        {task: partial(prepared, task, choose=in_best_layouts) for task in TASKS},
    ),
}
