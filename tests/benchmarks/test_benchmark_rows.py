"""The rows of the benchmark: each computes the right numbers, and one that does not is refused."""

import sys
from importlib.util import find_spec

import numpy as np
import pytest
from inline_snapshot import snapshot

import numpy_rnn
from benchmarks.agreement import check, disagreement, reference_results
from benchmarks.prepared import Unsupported
from benchmarks.rows import ROWS, min_char_rnn, prepare
from benchmarks.tasks import (
    CHARACTERS,
    FLOORS,
    FORWARD,
    GRADIENT,
    JAX,
    OURS,
    REFERENCE,
    RUN,
    STEP,
    TASKS,
    Key,
    plan,
)
from benchmarks.workloads import (
    CASES,
    CHARACTER_MODELS,
    DEFAULT_EXPERIMENT,
    ENSEMBLES,
    point,
    sine,
    window,
)

SMALL = window("small", T=4, B=3, D=2, H=5, O=4)
RUNS = (
    sine("one step", 1, epochs=2),
    sine("sliding", 3, epochs=2, dtype="float64"),
    sine("networks", 1, networks=3, epochs=2),
    window("window", epochs=3, T=4, B=3, D=2, H=5, O=4),
)
JOBS = [
    (FORWARD, SMALL),
    (GRADIENT, SMALL._replace(dtype="float64")),
    (STEP, SMALL),
    *((RUN, case) for case in RUNS),
    (CHARACTERS, CHARACTER_MODELS[0].beginning()),
]
MARKS = {"torch": pytest.mark.needs_torch, "jax": pytest.mark.slow}
NAMES = [
    pytest.param(row, marks=MARKS.get(ROWS[row].package, ()))
    for row in ROWS
    if row not in FLOORS and (row != JAX or find_spec("jax"))
]
ids = "{0[0]}, {0[1].name}, {0[1].dtype}".format


@pytest.mark.parametrize("row", NAMES)
def test_row_agrees(row, monkeypatch):
    """On every task that it supports, after a call: the result of a step is that of the first.

    Compiling takes long: of JAX, each task is tested once or twice. A benchmark checks all.
    """
    monkeypatch.setenv("XLA_FLAGS", "--xla_backend_optimization_level=0")  # compiles faster
    agreeing = set()
    for task, case in [JOBS[n] for n in (0, 1, 2, 4, 5, -1)] if row == JAX else JOBS:
        try:
            prepared = prepare(row, task, case)
        except Unsupported:
            continue
        prepared.call()
        assert disagreement(task, case, prepared.result()) is None, (task, case.name)
        agreeing.add(task)
    planned = {key.task for key in plan(True) if key.row == row and key.task in TASKS}
    assert agreeing == planned


def test_every_planned_benchmark_has_a_row_and_a_case():
    keys = plan(True)
    assert len({*keys}) == len(keys) > 100
    assert {*plan(False)} <= {*keys}
    assert {key.row for key in keys} == {*ROWS, "numpy"}
    assert {key.case for key in keys} == {*CASES}
    assert {key.row for key in plan(True, threads=2)} == {OURS, "torch.nn.RNN", JAX, "bare GEMMs"}


def test_cases_and_rows_are_those_of_the_published_times():
    """The times of a changed case would be those of another problem. The rows of a task: their places in ROWS."""
    lines, places = [], {row: str(place) for place, row in enumerate(ROWS)}
    for case in CASES.values():
        step, schedule = case.options.step, "/".join(map(str, case.options.schedule))
        numbers = f"{case[1:6]} x {case.networks} {case.dtype}, {schedule}, {step.learning_rate:.2g}, {case.updates}"
        rows: dict[str, str] = {}
        for name, full in (("quick ", False), ("", True)):
            for key in (key for key in plan(full) if key.case == case.name):
                rows[name + key.task] = rows.get(name + key.task, "") + places.get(key.row, key.row)
        numbers += f" {step.max_value} {step.adagrad}" if case.is_text else ""
        timed = "; ".join(f"{task} {of_task}" for task, of_task in rows.items())
        lines.append(f"{case.name}: {numbers}" + ("\n  " if len(timed) > 30 else "; ") + timed)
    assert "\n".join(lines) == snapshot("""\
default experiment: (20, 1, 1, 6, 1) x 1 float32, 1/1/300, 0.1, 6000
  quick run 01568; quick import numpy0; run 012689345; cold start 0456; import numpy0
sliding k2=5: (20, 1, 1, 6, 1) x 1 float32, 1/5/60, 0.1, 1200; quick run 0; run 012684
sliding k2=20: (20, 1, 1, 6, 1) x 1 float32, 1/20/15, 0.1, 300; run 012684
10 networks: (20, 1, 1, 6, 1) x 10 float32, 1/1/100, 0.1, 2000; run 01268
100 networks: (20, 1, 1, 6, 1) x 100 float32, 1/1/30, 0.1, 600; run 01268
1000 networks: (20, 1, 1, 6, 1) x 1000 float32, 1/1/30, 0.1, 600; quick run 08; run 01268
2000 networks: (20, 1, 1, 6, 1) x 2000 float32, 1/1/20, 0.1, 400; run 01268
10000 networks: (20, 1, 1, 6, 1) x 10000 float32, 1/1/10, 0.1, 200; run 01268
50000 networks: (20, 1, 1, 6, 1) x 50000 float32, 1/1/4, 0.1, 80; run 068
character model, float64: (2500, 1, 65, 100, 65) x 1 float64, 25/25/1, 0.1, 100 5.0 True
  quick characters 047; characters 02346789
character model, float32: (2500, 1, 65, 100, 65) x 1 float32, 25/25/1, 0.1, 100 5.0 True; characters 02346789
H=6 B=1 T=50 float32: (50, 1, 1, 6, 1) x 1 float32, 50/50/1, 0.00033, 1
  forward 0468; gradient 0468; step 024689
H=64 B=1 T=50 float32: (50, 1, 1, 64, 1) x 1 float32, 50/50/1, 3.1e-05, 1; step 024689
H=64 B=8 T=50 float32: (50, 8, 1, 64, 1) x 1 float32, 50/50/1, 3.9e-06, 1
  quick step 0469; forward 0468; gradient 0468; step 024689
H=256 B=1 T=50 float32: (50, 1, 1, 256, 1) x 1 float32, 50/50/1, 7.8e-06, 1; step 024689
H=256 B=32 T=50 float32: (50, 32, 1, 256, 1) x 1 float32, 50/50/1, 2.4e-07, 1
  quick step 0469; forward 04683; gradient 04683; step 0246893
H=1024 B=32 T=50 float32: (50, 32, 1, 1024, 1) x 1 float32, 50/50/1, 6.1e-08, 1; step 0469
H=256 B=32 T=100 float32: (100, 32, 1, 256, 1) x 1 float32, 100/100/1, 1.2e-07, 1; step 0469
H=256 B=32 T=50 float64: (50, 32, 1, 256, 1) x 1 float64, 50/50/1, 2.4e-07, 1; step 0469
DeepBench 256: (100, 32, 256, 256, 1) x 1 float32, 100/100/1, 1.2e-07, 1; step 0469
DeepBench 1760: (50, 16, 1760, 1760, 1) x 1 float32, 50/50/1, 7.1e-08, 1; step 0469\
""")


@pytest.mark.parametrize(("task", "case"), JOBS, ids=[ids(job) for job in JOBS])
def test_wrong_number_is_refused_and_named(task, case):
    right = reference_results(task, case)
    right = {
        name: value if name.startswith("loss") else value.astype(case.dtype)
        for name, value in right.items()
    }
    assert disagreement(task, case, right) is None
    for name, value in right.items():
        wrong = np.array(value, order="C")
        wrong.reshape(-1)[-1] += 2 * np.sqrt(np.finfo(case.dtype).eps) * np.abs(value).max()
        assert disagreement(task, case, right | {name: wrong}).startswith(f"{name} differs by ")


MISTAKES: list[tuple] = [
    *(
        (CHARACTERS, change)
        for change in ({"max_value": None}, {"adagrad": False}, {"reduction": "mean"}, {"k2": 50})
    ),
    *((RUN, change) for change in ({"k2": 2}, {"momentum": 0.01})),
    *((task, {"learning_rate": 0.1001}) for task in (CHARACTERS, RUN)),
]


@pytest.mark.parametrize(("task", "change"), MISTAKES, ids=str)
def test_wrong_training_is_refused(task, change):
    case = CHARACTER_MODELS[0].beginning() if task == CHARACTERS else sine("run", 1, epochs=30)
    updates = [
        *numpy_rnn.train(*case.arrays(), **case.options.keywords() | change, yield_every="epoch")
    ]
    weights = dict(zip(("W_xh", "W_hh", "W_hy"), updates[-1].parameters))
    run = {"losses": np.array([update.losses.sum() for update in updates]), **weights}
    found = {"losses": updates[0].losses} if task == CHARACTERS else run
    assert disagreement(task, case, found).startswith(("losses differs by", "W_"))


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"dW_hh": np.zeros((5, 4), np.float32)}, "dW_hh has shape (5, 4): expected (5, 5)"),
        ({"dW_hh": np.zeros((5, 5))}, "dW_hh is float64: expected float32"),
        (
            {"dW_hh": np.full((5, 5), np.nan, np.float32)},
            "dW_hh differs by nan of its largest number",
        ),
        (
            {"y": np.zeros(3)},
            "returns dW_hh, dW_hy, dW_xh, loss, y: expected dW_hh, dW_hy, dW_xh, loss",
        ),
    ],
    ids=lambda value: "" if isinstance(value, dict) else value,
)
def test_wrong_format_is_refused(wrong, text):
    right = prepare(REFERENCE, STEP, SMALL).result()
    right = {name: right[name] for name in ("loss", "dW_xh", "dW_hh", "dW_hy")}
    assert disagreement(GRADIENT, SMALL, right | wrong) == text


def test_missing_package_or_task_is_the_reason(monkeypatch):
    monkeypatch.setitem(sys.modules, "jax", None)
    names = [Key(STEP, point(6, 1).name, row) for row in (JAX, "min-char-rnn")]
    assert [check(name) for name in names] == [
        {"reason": "jax is not installed"},
        {"reason": "has no step"},
    ]


def test_mistake_or_crash_of_a_row_is_its_reason(monkeypatch):
    key = Key(CHARACTERS, CHARACTER_MODELS[0].name, "min-char-rnn")
    monkeypatch.setattr(min_char_rnn, "RATE", 0.2)
    assert check(key)["reason"].startswith("disagrees: losses differs by 0.")
    monkeypatch.setattr(min_char_rnn, "train", lambda *options: 1 / 0)
    assert check(key) == {"reason": "crashes: ZeroDivisionError: division by zero"}


@pytest.mark.parametrize(("case", "dtype"), [*zip(CHARACTER_MODELS, ("float64", "float32"))])
def test_character_model_is_that_of_min_char_rnn(case, dtype):
    """In its random text, each character is followed by one of four."""
    params, x, target, h_0 = case.arrays()
    assert {array.dtype for array in (*params[:5], h_0)} == {np.dtype(dtype)}
    spreads = [W.std() for W in params[:3]]
    assert spreads == pytest.approx(
        [0.01] * 3, rel=0.05
    )  # five standard errors, 1/√(2·6500), of the smallest W
    assert not any(array.any() for array in (params.b_h, params.b_y, h_0))
    np.testing.assert_array_equal(x[1:], target[:-1])
    assert max(len({*target[x == c].tolist()}) for c in range(65)) == 4
    np.testing.assert_array_equal(case.beginning().arrays()[1], x[: case.beginning().T])


def test_beginning_of_a_chaotic_run_is_checked():
    assert [case.beginning().updates for case in CHARACTER_MODELS] == [8, 3]
    assert {case.beginning().updates for case in ENSEMBLES} == {5 * 20}
    assert DEFAULT_EXPERIMENT.beginning() == DEFAULT_EXPERIMENT
