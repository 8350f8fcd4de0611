"""The floors compute no results, but make the fewest calls, in the fastest layouts, with the flops of the equations."""

import functools
import itertools
from collections import Counter

import numpy as np
import pytest

from benchmarks.rows import floors, prepare
from benchmarks.tasks import CHARACTERS, FLOORS, FORWARD, GRADIENT, RUN, STEP
from benchmarks.workloads import DEFAULT_EXPERIMENT, ENSEMBLES, character_model, point, sine, window
from numpy_rnn.engine.memory import CACHE_LINE

SMALL = window("small", T=4, B=3, D=2, H=5, O=4)


TEXT = CHARACTERS, character_model("float32", updates=2, H=5, characters=4)
RUNS = SMALL, sine("k2=4", 4, epochs=2), sine("networks", 1, networks=3, epochs=2), sine("wide", 1, 515, epochs=2)


@pytest.mark.parametrize(("task", "case"), [*itertools.product([FORWARD, GRADIENT, STEP, RUN], RUNS), TEXT])
def test_floors_run(task, case, monkeypatch):
    monkeypatch.setattr(floors, "TRIALS", 1)
    monkeypatch.setattr(floors, "MIN_SECONDS", 0)
    for row in FLOORS:
        prepare(row, task, case).call()
    assert np.getbufsize() == 8192


@pytest.mark.parametrize("case", [DEFAULT_EXPERIMENT, ENSEMBLES[1], sine("k2=5", 5)], ids=lambda case: case.name)
def test_bare_calls_are_the_fewest_of_the_equations(case):
    """Twelve calls per update of one step, and two for the losses of an epoch; the first windows are shorter."""
    calls = Counter(call.equation for call in floors.task_calls(RUN, case, stacked=True))
    steps = sum(min(n, case.options.schedule.k2) for n in range(1, case.T + 1))
    assert calls == {
        **dict.fromkeys(("F1", "F2"), steps),
        **dict.fromkeys(("F3", "B1", "B4, B5", "B6"), 20),
        "B2": steps if case.options.schedule.k2 == 1 else calls["B2"],
        "B3": steps + 40,
        "U1": 40,
        "L1": 2,
    }


def test_bare_calls_of_a_character_model_train_it():
    """They compute the losses of two updates, and move the weights that their products read, by their gradient."""
    calls = floors.character_calls(TEXT[1], stacked=True)
    assert Counter(call.equation for call in calls)["L4"] == 2 * 3
    first, step = calls[0], calls[-1]
    gradient = next(call.arguments[0] for call in calls if call.equation == "U7")
    (dW,) = {id(call.arguments[2]): call.arguments[2] for call in calls if call.equation == "B4, B5"}.values()
    assert np.shares_memory(first.arguments[1], step.arguments[0])
    assert np.shares_memory(dW, gradient)


@pytest.mark.parametrize("case", [DEFAULT_EXPERIMENT, ENSEMBLES[1], point(64, 8), point(256, 1, 100)])
def test_units_are_not_saturated(case):
    """As those of a training: the time of tanh depends on its argument, and that of tiny numbers is long."""
    for stacked in (True, False):
        calls = floors.task_calls(RUN, case, stacked)
        floors.program(calls, times=2)()
        states = [np.tanh(call.arguments[0]).ravel() for call in calls if call.equation == "F2"]
        low, middle, high = np.quantile(np.abs(np.concatenate(states)), [0.1, 0.5, 0.9])
        assert low > 0.01
        assert 0.1 < middle < 0.8
        assert high < 0.98


@pytest.mark.parametrize(("H", "B"), [(32, 32), (64, 1), (64, 8)])
def test_arrays_start_at_cache_lines(H, B):
    """Otherwise their products would be slower than those of a program that does."""
    calls = floors.task_calls(STEP, point(H, B), stacked=False)
    arrays = [array for call in calls if call.is_product for array in call.arguments]
    starts = [array.__array_interface__["data"][0] % CACHE_LINE for array in arrays if array.nbytes >= 2**8]
    assert len(starts) > 100
    assert not any(starts)


def flops(calls):
    """Floating-point operations of the products: two per term."""
    return sum(2 * call.arguments[2].size * call.arguments[0].shape[-1] for call in calls if call.is_product)


@pytest.mark.parametrize("stacked", [True, False])
def test_products_have_the_flops_of_the_equations(stacked):
    T, B, D, H, O = 5, 3, 2, 7, 4
    products = T * B * (2 * D * H + 2 * H * H + 3 * H * O) + (T - 1) * B * H * H  # B2 without the last step
    calls = floors.task_calls(STEP, window("flops", T=T, B=B, D=D, H=H, O=O), stacked)
    zeros = B * H * H if stacked else 0  # after the last step
    assert flops(calls) == 2 * (products + zeros)


def test_all_layouts_of_a_product_compute_the_same():
    generator = np.random.default_rng(0)
    for call in (call for call in floors.task_calls(STEP, SMALL, stacked=False) if call.is_product):
        left, right, _ = call.arguments
        for array in (left, right):
            array[...] = generator.integers(-9, 10, array.shape)  # so that nothing is rounded
        for layout in itertools.product((False, True), repeat=3):
            (product,) = floors.in_layout([call], layout)
            out = product.function(*product.arguments)
            np.testing.assert_array_equal(out.T if layout[2] else out, left @ right)


def test_bare_gemms_are_all_products():
    calls = floors.task_calls(STEP, SMALL, stacked=True)
    chosen = floors.in_best_layouts(calls)
    assert len(chosen) == sum(call.is_product for call in calls)
    assert flops(chosen) == flops(calls)


def test_fastest_is_found(monkeypatch):
    clock = [0.0]

    def take(seconds):
        clock[0] += seconds

    monkeypatch.setattr(floors, "perf_counter", lambda: clock[0])
    assert floors.fastest([functools.partial(take, seconds) for seconds in (3e-4, 1e-4, 2e-4)]) == 1


def test_program_makes_every_call_in_order():
    made = []
    calls = [floors.Call("", made.append, (letter,)) for letter in "aba"]
    floors.program(calls, times=2)()
    assert "".join(made) == "abaaba"
