"""The rows of the benchmark and their cases: each row computes the right numbers, and one that does not is refused."""

import functools
import shutil
import sys
import warnings

import numpy as np
import pytest

from benchmarks import rounding_drift, rows, system, workloads
from benchmarks.agreement import GRADIENTS, REQUIRED_OUTPUTS, WEIGHTS, judge, oracle_bounds
from benchmarks.rounding_drift import run_bounds, window_bounds
from benchmarks.rows import Unsupported, c_loop
from benchmarks.workloads import (
    CHARACTER_MODELS,
    DEFAULT_EXPERIMENT,
    ENSEMBLES,
    GRID,
    NAMED,
    SLIDING,
    Case,
    point,
    sliding,
)
from numpy_rnn.conformance.bounds.local_bounds import TAU

ALL = (*GRID, *NAMED, *SLIDING, *ENSEMBLES, *CHARACTER_MODELS)
SLOW = ("torch.compile",)  # compiles for a minute: has a test of its own
OTHERS = tuple(name for name in rows.ROWS if name not in ("numpy_rnn", rows.MIN_CHAR_RNN, *SLOW))
EVERY = pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow if name == "C loop" else ()) for name in ("numpy_rnn", *OTHERS)],
)
SMALL = Case("small", H=5, B=3, T=4, D=2, O=4, dtype="float32")
COMPILED = c_loop.compiled
RUNS = (
    sliding("one step", 1, epochs=5),
    sliding("sliding", 4, epochs=5, dtype="float64"),
    sliding("networks", 1, networks=3, epochs=2),
    SMALL._replace(name="window", epochs=3),
)


@pytest.fixture(scope="module", autouse=True)
def _the_c_loop_is_compiled_once_for_each_size():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(c_loop, "compiled", functools.cache(COMPILED))
        yield


def row(name):
    """The row; without its package or compiler, the test is skipped with the reason."""
    loaded = rows.load(name)
    if (reason := loaded.absent()) is not None:
        pytest.skip(reason)
    return loaded


def result(name, task, case):
    if task not in row(name).tasks:
        return None
    try:
        return row(name).tasks[task](case).result()
    except Unsupported:
        return None


# -- cases ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", [SMALL, DEFAULT_EXPERIMENT, ENSEMBLES[1], point(16, 8, dtype="float64")], ids=str)
def test_arrays_have_the_shapes_of_the_case_and_are_always_the_same(case):
    params, *series = case.arrays()
    E = (case.networks,) if case.networks > 1 else ()
    shapes = [(*E, case.D, case.H), (*E, case.H, case.H), (*E, case.H, case.O)]
    assert [W.shape for W in params[:3]] == shapes
    assert [v.shape for v in series] == [(case.T, case.B, case.D), (case.T, case.B, case.O), (case.B, case.H)]
    assert {v.dtype for v in (*params[:3], *series)} == {np.dtype(case.dtype)}
    for first, again in zip((*params[:3], *series), (*case.arrays()[0][:3], *case.arrays()[1:])):
        np.testing.assert_array_equal(first, again)
        assert not np.shares_memory(first, again)


def test_the_cases_have_these_sizes_and_unique_names():
    assert len({case.name for case in ALL}) == len(ALL)
    assert {case.H for case in GRID} == {6, 16, 32, 64, 128, 256, 512, 1024}
    assert {case.B for case in GRID} == {1, 8, 32, 128}
    assert {case.T for case in GRID} == {20, 50, 100}
    assert {case.dtype for case in GRID} == {"float32", "float64"}
    assert {case[1:4] for case in NAMED[1:]} == {(1760, 16, 50), (256, 32, 100)}
    assert [case.k2 for case in SLIDING] == [1, 5, 20]
    assert [case.networks for case in ENSEMBLES] == [1, 10, 100, 1000, 2000, 10_000]
    assert DEFAULT_EXPERIMENT[1:6] == workloads.DEFAULT_SIZES


# -- rounding drift --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_step_of_the_drift_program_is_within_the_bounds_around_the_oracle(dtype):
    """Of level L2: so its drift is not the effect of a mistake."""
    case = SMALL._replace(dtype=dtype)
    params, x, target, h_0 = case.arrays()
    found = rounding_drift.window(params[:3], x, target, h_0)
    found |= dict(zip(WEIGHTS, rounding_drift.sgd_step(params[:3], found, case.learning_rate)))
    for name in (*GRADIENTS, *WEIGHTS):
        value, E = oracle_bounds(case)[name]
        assert (np.abs(value.difference(found[name]).reshape(E.shape)) <= E).all()


# -- rows ------------------------------------------------------------------------------------------------------------


@EVERY
@pytest.mark.parametrize("task", ["forward", "gradient", "step"])
@pytest.mark.parametrize("case", [SMALL, SMALL._replace(dtype="float64"), point(16, 8, 20)], ids=str, scope="module")
def test_a_row_agrees_on_a_window(name, task, case):
    if (found := result(name, task, case)) is not None:
        agreement = judge(task, case, found)
        assert agreement.holds, agreement


@EVERY
@pytest.mark.parametrize("case", RUNS, ids=lambda case: case.name, scope="module")
def test_a_row_agrees_on_a_run(name, case):
    """Every row supports the first run at least."""
    found = result(name, "run", case)
    assert found is not None or case is not RUNS[0]
    if found is not None:
        agreement = judge("run", case, found)
        assert agreement.holds, agreement


@pytest.mark.needs_torch
@pytest.mark.slow
def test_the_compiled_step_agrees(monkeypatch):
    """Without the last part of compiling, which is torch's own and takes seconds. Only the step is compiled; the other
    tasks are made of the same functions, which run here as they are written.
    """
    import torch

    tasks, case = row("torch.compile").tasks, SMALL._replace(name="compiled", T=2, epochs=2)
    traced, as_written = functools.partial(torch.compile, backend="aot_eager"), lambda function, **options: function
    with warnings.catch_warnings(action="ignore"):  # torch's compiler warns
        for task, compile_, of_task in (
            ("gradient", as_written, case),
            ("run", as_written, case),
            ("run", as_written, case._replace(B=1, k2=1)),
            ("step", traced, case),
        ):
            monkeypatch.setattr(torch, "compile", compile_)
            agreement = judge(task, of_task, tasks[task](of_task).result())
            assert agreement.holds, (task, agreement)


@EVERY
def test_the_result_of_a_step_is_that_of_the_first_call(name):
    if result(name, "step", SMALL) is None:
        return
    prepared = row(name).tasks["step"](SMALL)
    before = prepared.result()
    for _ in range(3):
        prepared.call()
    after = prepared.result()
    for key in before:
        np.testing.assert_array_equal(before[key], after[key])


def test_a_missing_package_or_compiler_is_the_reason(monkeypatch):
    monkeypatch.setitem(sys.modules, "jax", None)
    assert rows.load("JAX").absent() == "jax is not installed"
    monkeypatch.setattr(shutil, "which", lambda program: None)
    assert rows.load("C loop").absent() == "cc is not installed"


# -- disagreement is refused -----------------------------------------------------------------------------------------


WINDOWS = (SMALL, point(64, 8), point(16, 8, dtype="float64"))


@pytest.mark.parametrize(
    ("task", "case"), [*(("step", case) for case in WINDOWS), *(("run", case) for case in RUNS)], ids=str
)
def test_a_wrong_number_is_refused_and_named(task, case):
    """Wrong by three times the bound, which is of the size of rounding: some tens of it per step and program, and of a
    run less than ten times the error of tanh.
    """
    right, eps = result("numpy_rnn", task, case), np.finfo(case.dtype).eps
    largest = 40 * case.T * (2 if case.dtype == "float64" else 1) if task == "step" else 10 * TAU
    for name in REQUIRED_OUTPUTS[task]:
        value, allowed = (window_bounds if task == "step" else run_bounds)(case)[name]
        assert np.min(allowed) > 0
        assert np.max(allowed) < largest * eps * np.max(np.abs(value))
        wrong = np.array(right[name], order="C")
        wrong.reshape(-1)[-1] += np.asarray(3 * np.max(allowed), wrong.dtype)
        agreement = judge(task, case, right | {name: wrong})
        assert not agreement.holds
        assert agreement.text.startswith(f"the largest difference is in {name}, ")


def test_a_window_one_step_short_is_refused():
    case = point(16, 8)
    assert not judge("gradient", case, result("numpy_rnn", "gradient", case._replace(T=49))).holds


@pytest.mark.parametrize("factor", [1.0001, 0.99, 2])
def test_a_run_with_another_rate_is_refused(factor):
    case = RUNS[0]
    params, x, target, h_0 = case.arrays()
    losses, weights = np.zeros(case.epochs), params[:3]
    for epoch in range(case.epochs):
        h = h_0
        for x_t, target_t in zip(x[:, None], target[:, None]):
            found = rounding_drift.window(weights, x_t, target_t, h)
            weights, h = rounding_drift.sgd_step(weights, found, factor * case.learning_rate), found["h"][1]
            losses[epoch] += found["loss"]
    wrong = {"losses": losses, **dict(zip(WEIGHTS, weights))}
    assert not judge("run", case, wrong).holds


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"loss": None}, "returns"),
        ({"dW_hh": np.zeros((5, 4), np.float32)}, "dW_hh has shape (5, 4): expected (5, 5)"),
        ({"dW_hh": np.zeros((5, 5))}, "dW_hh is float64: expected float32"),
        ({"dW_hh": np.full((5, 5), np.nan, np.float32)}, "dW_hh is not finite"),
    ],
)
def test_a_result_of_wrong_format_is_refused(change, text):
    found = result("numpy_rnn", "gradient", SMALL) | change
    found = {name: value for name, value in found.items() if value is not None}
    agreement = judge("gradient", SMALL, found)
    assert not agreement.holds
    assert agreement.text.startswith(text)


@pytest.mark.parametrize(("bounds", "case"), [(window_bounds, SMALL), (run_bounds, RUNS[2])], ids=["window", "run"])
def test_all_rows_of_a_run_of_the_benchmarks_use_the_same_bounds(bounds, case, monkeypatch, tmp_path):
    """The second process reads what the first computed: equal bits."""
    computed = bounds(case)
    monkeypatch.setenv(system.CACHE, str(tmp_path))
    for _ in range(2):
        bounds.cache_clear()
        for name, pair in bounds(case).items():
            for array, expected in zip(pair, computed[name], strict=True):
                np.testing.assert_array_equal(array, expected, strict=True)
        monkeypatch.setattr(rounding_drift, "window", None)  # from now on, nothing can be computed
    assert len([*tmp_path.iterdir()]) == 1
    bounds.cache_clear()


@pytest.mark.slow
def test_the_c_loop_is_compiled_once_per_run_of_the_benchmarks_and_every_time_elsewhere(monkeypatch, tmp_path):
    monkeypatch.setattr(c_loop, "compiled", COMPILED)
    loop = row("C loop").tasks["step"]
    assert [loop(SMALL).compile_seconds is None for _ in range(2)] == [False, False]
    monkeypatch.setenv(system.CACHE, str(tmp_path))
    assert [loop(SMALL).compile_seconds is None for _ in range(2)] == [False, True]
    assert loop(SMALL._replace(B=2)).compile_seconds is not None
