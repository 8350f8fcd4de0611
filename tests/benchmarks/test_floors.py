"""The floors of the benchmark: the fewest calls, in the fastest forms and layouts, with the flops of the equations."""

import functools
import itertools
from collections import Counter

import numpy as np
import pytest

from benchmarks import bare_calls, floors, rows
from benchmarks.workloads import DEFAULT_EXPERIMENT, ENSEMBLES, Case, point, sliding
from numpy_rnn.engine.layout import CACHE_LINE

SMALL = Case("small", H=5, B=3, T=4, D=2, O=4, dtype="float32")
RUNS = sliding("sliding", 4, epochs=5, dtype="float64"), sliding("networks", 1, networks=3, epochs=2)
REPEATED = floors.repeated


@pytest.mark.parametrize("task", rows.TASKS)
@pytest.mark.parametrize("case", [SMALL, *RUNS], ids=lambda case: case.name)
def test_the_floors_run(task, case, monkeypatch):
    monkeypatch.setattr(floors, "TRIALS", 1)
    monkeypatch.setattr(floors, "MIN_SECONDS", 0)
    made, calls = [], []
    monkeypatch.setattr(floors, "repeated", lambda call, times: made.append(times) or call)
    for name in rows.FLOORS:
        rows.load(name).tasks[task](case).call()
    assert made == [case.epochs if task == "run" else 1] * 2
    REPEATED(lambda: calls.append(1), 3)()
    assert len(calls) == 3


@pytest.mark.parametrize("case", [DEFAULT_EXPERIMENT, ENSEMBLES[2], sliding("k2=5", 5)], ids=lambda case: case.name)
def test_the_bare_calls_are_the_fewest_of_the_equations(case):
    """With one step per window and no biases: twelve calls per update, and two for the losses of an epoch. The first
    sliding windows are shorter.
    """
    (calls,) = bare_calls.task_calls("run", case, "stacked")
    steps = [sum(call.equation == "F2" for call in window) for window in calls.windows]
    assert steps == [min(n, case.k2) for n in range(1, case.T + 1)]
    once = dict.fromkeys(("F1", "F2", "F3", "B1", "B2", "B4, B5", "B6"), 1)
    assert Counter(call.equation for call in calls.windows[0]) == once | {"B3": 3, "U1": 2}
    assert [call.equation for call in calls.losses] == ["L1", "L1"]


@pytest.mark.parametrize(("H", "B"), [(32, 32), (64, 1), (64, 8)])
def test_the_arrays_of_the_floors_start_at_cache_lines(H, B):
    """Otherwise their products would be slower than those of a program that does."""
    (calls,) = bare_calls.task_calls("step", point(H, B), "apart")
    arrays = [array for call in calls.windows[0] if call.is_product for array in call.arguments]
    starts = [array.__array_interface__["data"][0] % CACHE_LINE for array in arrays if array.nbytes >= 2**8]
    assert len(starts) > 100
    assert not any(starts)


@pytest.mark.parametrize("form", bare_calls.FORMS)
def test_the_products_of_a_step_have_the_flops_of_the_equations(form):
    H, B, T, D, O = 7, 3, 5, 2, 4
    products = T * B * (2 * D * H + 2 * H * H + 3 * H * O) + (T - 1) * B * H * H  # B2 without the last step
    (calls,) = bare_calls.task_calls("step", Case("flops", H, B, T, D, O, "float32"), form)
    more = 0 if form == "apart" else B * H * H  # the zeros after the last step
    assert bare_calls.flops(calls.windows[0]) == 2 * (products + more)


def test_all_layouts_of_a_product_compute_the_same():
    (calls,) = bare_calls.task_calls("step", SMALL, "apart")
    generator = np.random.default_rng(0)
    for call in (call for call in calls.windows[0] if call.is_product):
        left, right, _ = call.arguments
        for array in (left, right):
            array[...] = generator.integers(-9, 10, array.shape)  # so that nothing is rounded
        for *columns, transposed in itertools.product((False, True), repeat=3):
            (product,) = floors.in_layout([call], *columns, transposed)
            out = product()
            np.testing.assert_array_equal(out.T if transposed else out, left @ right)


def test_the_fastest_is_found(monkeypatch):
    clock = [0.0]

    def take(seconds):
        clock[0] += seconds

    monkeypatch.setattr(floors, "perf_counter", lambda: clock[0])
    calls = [functools.partial(take, seconds) for seconds in (3e-4, 1e-4, 2e-4)]
    assert floors.fastest(calls) is calls[1]


def test_straight_line_code_makes_every_call_in_order():
    made, first = [], [1]
    calls = [functools.partial(made.append, first), functools.partial(sorted, [2], key=made.append)]
    floors.straight_line([*calls, calls[0]])()
    assert made == [[1], 2, [1]]
    assert made[0] is first
