"""The rows of the benchmark: each computes the right numbers, and one that does not is refused. Floors compute no
results, but make the fewest calls, in the fastest forms and layouts, with the flops of the equations.
"""

import functools
import itertools
import shutil
import sys
import warnings
from collections import Counter

import numpy as np
import pytest

import numpy_rnn
from benchmarks import agreement, bare_calls, floors, rounding_drift, rows, system, workloads
from benchmarks.agreement import REQUIRED_OUTPUTS, judge
from benchmarks.character_drift import character_bounds
from benchmarks.rounding_drift import GRADIENTS, WEIGHTS, run_bounds, window_bounds
from benchmarks.rows import Unsupported, c_loop
from benchmarks.workloads import CHARACTER_MODELS, DEFAULT_EXPERIMENT, ENSEMBLES, Case, first_updates, point, sliding
from numpy_rnn.conformance.bounds.local_bounds import TAU
from numpy_rnn.engine.layout import CACHE_LINE

SLOW = ("torch.compile",)  # compiles for a minute: has a test of its own
NAMES = [
    pytest.param(name, marks=pytest.mark.slow if name == "C loop" else ())
    for name in (*rows.ROWS, rows.AGAIN)
    if name not in SLOW
]
SMALL = Case("small", H=5, B=3, T=4, D=2, O=4, dtype="float32")
RUNS = (
    sliding("one step", 1, epochs=5),
    sliding("sliding", 4, epochs=5, dtype="float64"),
    sliding("networks", 1, networks=3, epochs=2),
    SMALL._replace(name="window", epochs=3),
)
LONG_JOBS = [*(("run", case) for case in RUNS), *(("characters", case) for case in CHARACTER_MODELS)]
COMPILED, REPEATED = c_loop.compiled, floors.repeated


@pytest.fixture(scope="module", autouse=True)
def _the_c_loop_is_compiled_once_for_each_size():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(c_loop, "compiled", functools.cache(COMPILED))
        yield


def every(jobs):
    """The scope makes all tests of a case follow one another: its bounds are computed once."""
    return pytest.mark.parametrize(
        ("task", "case"), jobs, ids=[f"{task}, {case.name}, {case.dtype}" for task, case in jobs], scope="module"
    )


def tasks_of(name):
    """The tasks of a row; without its package or compiler, the test is skipped with the reason."""
    loaded = rows.load(name)
    if (reason := loaded.absent()) is not None:
        pytest.skip(reason)
    return loaded.tasks


# -- rows ------------------------------------------------------------------------------------------------------------

WINDOWS = (SMALL, SMALL._replace(dtype="float64"), point(16, 8, 20))


@pytest.mark.parametrize("name", NAMES)
@every([*((task, case) for case in WINDOWS for task in ("forward", "gradient", "step")), *LONG_JOBS])
def test_a_row_agrees(name, task, case):
    """Also after a call: the result of a step is that of the first. Every row but min-char-rnn has the first run."""
    tasks = tasks_of(name)
    try:
        prepared = tasks[task](case) if task in tasks else None
    except Unsupported:
        prepared = None
    if prepared is None:
        assert case is not RUNS[0] or name == rows.MIN_CHAR_RNN
        return
    verdicts = [judge(task, case, prepared.result())]
    if task != "characters":  # these calls are long, and have a test of their own
        prepared.call()
        verdicts.append(judge(task, case, prepared.result()))
    assert all(verdict.holds for verdict in verdicts), verdicts


@pytest.mark.needs_torch
@pytest.mark.slow
def test_the_compiled_step_agrees(monkeypatch):
    """Without the last part of compiling, which is torch's own and takes seconds. Only the step is compiled; the other
    tasks are made of the same functions, which run here as they are written.
    """
    import torch

    tasks, case = tasks_of("torch.compile"), SMALL._replace(name="compiled", T=2, epochs=2)
    traced, as_written = functools.partial(torch.compile, backend="aot_eager"), lambda function, **options: function
    with warnings.catch_warnings(action="ignore"):  # torch's compiler warns
        for task, compile_, of_task in (
            ("gradient", as_written, case),
            ("run", as_written, case),
            ("run", as_written, case._replace(B=1, k2=1)),
            ("step", traced, case),
        ):
            monkeypatch.setattr(torch, "compile", compile_)
            verdict = judge(task, of_task, tasks[task](of_task).result())
            assert verdict.holds, (task, verdict)


@pytest.mark.parametrize("name", rows.CHARACTER_ROWS)
def test_a_call_is_a_training_on_characters_from_the_initial_weights(name):
    """As long as the case, and the same again: nothing is left over from the call before."""
    prepared = tasks_of(name)["characters"](workloads.character_model("short", updates=12, H=10, characters=7))
    checked = prepared.result()["losses"]
    first, again = (np.array([float(loss) for loss in prepared.call()[0]]) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert first.shape == (12,)
    np.testing.assert_array_equal(checked, first[:10])


def test_a_missing_package_or_compiler_is_the_reason(monkeypatch):
    monkeypatch.setitem(sys.modules, "jax", None)
    monkeypatch.setattr(shutil, "which", lambda program: None)
    assert [rows.load(name).absent() for name in ("JAX", "C loop")] == ["jax is not installed", "cc is not installed"]


@pytest.mark.slow
def test_the_c_loop_is_compiled_once_per_run_of_the_benchmarks_and_every_time_elsewhere(monkeypatch, tmp_path):
    monkeypatch.setattr(c_loop, "compiled", COMPILED)
    loop = tasks_of("C loop")["step"]
    assert [loop(SMALL).compile_seconds is None for _ in range(2)] == [False, False]
    monkeypatch.setenv(system.CACHE, str(tmp_path))
    assert [loop(case).compile_seconds is None for case in (SMALL, SMALL, SMALL._replace(B=2))] == [False, True, False]


# -- the check -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_step_of_the_drift_program_is_within_the_bounds_around_the_oracle(dtype, monkeypatch):
    """Of level L2: so its drift is not the effect of a mistake. A row is checked against these bounds too."""
    case = SMALL._replace(dtype=dtype)
    params, *series = case.arrays()
    found = rounding_drift.window(params[:3], *series)
    found |= dict(zip(WEIGHTS, rounding_drift.sgd_step(params[:3], found, case.learning_rate)))
    found = {name: found[name] for name in (*GRADIENTS, *WEIGHTS)}
    monkeypatch.setattr(agreement, "window_bounds", lambda case: {})
    assert judge("step", case, found).holds
    for name, number in found.items():
        value, E = agreement.oracle_bounds(case)[name]
        assert (np.abs(value.difference(number).reshape(E.shape)) <= E).all()
        assert not judge("step", case, found | {name: number + number.dtype.type(3 * E.max())}).holds


@every([*(("step", case) for case in (SMALL, point(64, 8), point(16, 8, dtype="float64"))), *LONG_JOBS])
def test_a_wrong_number_is_refused_and_named(task, case):
    """Wrong by three times the bound, which is of the size of rounding: some tens of it per step and program, and of a
    run less than ten times the error of tanh. Training on characters amplifies it: only the losses of the first two
    updates have such bounds, of 25 terms with some tens of roundings each. The others are known to three digits, and
    the parameters to less than their size.
    """
    right, eps = tasks_of("numpy_rnn")[task](case).result(), np.finfo(case.dtype).eps
    of_task = {
        "step": window_bounds,
        "run": run_bounds,
        "characters": lambda case: character_bounds(first_updates(case)),
    }
    bounds = of_task[task](case)
    of_step = 40 * case.T * (2 if case.dtype == "float64" else 1)
    largest = eps * {"step": of_step, "run": 10 * TAU, "characters": 1 / eps}[task]
    if task == "characters":
        value, allowed = bounds["losses"]
        assert allowed[1] < 25 * 50 * eps * value[1]
        assert (np.diff(allowed) >= 0).all()
        assert allowed[-1] < 1e-3 * value[-1]
    for name in REQUIRED_OUTPUTS[task]:
        value, allowed = bounds[name]
        assert 0 < np.min(allowed) <= np.max(allowed) < largest * np.max(np.abs(value))
        wrong = np.array(right[name], order="C")
        wrong.reshape(-1)[-1] += np.asarray(3 * np.reshape(allowed, -1)[-1], wrong.dtype)
        verdict = judge(task, case, right | {name: wrong})
        assert not verdict.holds
        assert verdict.text.startswith(f"the largest difference is in {name}, ")


@pytest.mark.parametrize("case", CHARACTER_MODELS, ids=lambda case: case.dtype)
def test_wrong_training_on_characters_is_refused(case):
    """In float32 it is chaotic before the first gradient is clipped; float64 refuses rows that do not clip at 5."""
    params, *series = first_updates(case).arrays()
    right = {"learning_rate": 0.1, "k2": 25, "loss": "cross_entropy", "max_value": 5.0, "adagrad": True}
    for change in (
        *({}, {"max_value": None}, {"max_value": 4.0}, {"max_value": None, "max_norm": 5.0}),
        *({"adagrad": False}, {"reduction": "mean"}, {"k2": 50}, {"learning_rate": 0.1001}),
    ):
        (update,) = numpy_rnn.train(params, *series, k1=25, epochs=1, yield_every="epoch", **right | change)
        weights = {name: getattr(update.parameters, name) for name in rows.PARAMETERS}
        verdict = judge("characters", case, {"losses": update.losses, **weights})
        holds = not change or (case.dtype == "float32" and change in ({"max_value": None}, {"max_value": 4.0}))
        assert verdict.holds == holds, (change, verdict)


def test_a_result_of_wrong_format_is_refused():
    right = tasks_of("numpy_rnn")["gradient"](SMALL).result()
    for wrong, text in (
        (np.zeros((5, 4), np.float32), "dW_hh has shape (5, 4): expected (5, 5)"),
        (np.zeros((5, 5)), "dW_hh is float64: expected float32"),
        (np.full((5, 5), np.nan, np.float32), "dW_hh is not finite"),
    ):
        assert judge("gradient", SMALL, right | {"dW_hh": wrong})[:2] == (False, text)


@pytest.mark.parametrize(("bounds", "case"), [(window_bounds, SMALL), (run_bounds, RUNS[2])], ids=["window", "run"])
def test_all_rows_of_a_run_of_the_benchmarks_use_the_same_bounds(bounds, case, monkeypatch, tmp_path):
    """The second process reads what the first computed: equal bits."""
    computed = bounds(case)
    monkeypatch.setenv(system.CACHE, str(tmp_path))
    for _ in range(2):
        bounds.cache_clear()
        np.testing.assert_equal(bounds(case), computed)
        monkeypatch.setattr(rounding_drift, "window", None)  # from now on, nothing can be computed
    assert len([*tmp_path.iterdir()]) == 1
    bounds.cache_clear()


# -- floors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", rows.TASKS)
@pytest.mark.parametrize("case", [SMALL, *RUNS[1:3]], ids=lambda case: case.name)
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
