"""The engine: every update, on both sides of every size at which the engine takes another path.

Squared errors are judged at level L1; with the other losses, classes and weights a run is compared with that of the
plain loop. A table of combinations follows: there a fault that needs a certain schedule with a certain step cannot be
missed by chance.
"""

from itertools import product
from typing import Any

import numpy as np
import pytest
from cases import kinds, network, of_network, random_case, steps_of_sgd
from comparing import bits
from engine_sizes import MODULES, SIZES, assert_the_same_run, with_sizes
from hypothesis import assume, given
from hypothesis import strategies as st
from witness_runs import assert_fewer, reported

from numpy_rnn import engine, reference
from numpy_rnn.app.configuration import Configuration
from numpy_rnn.app.experiment import Experiment
from numpy_rnn.app.trace import Recorder
from numpy_rnn.conformance.traces.judge import judge
from numpy_rnn.engine import layout

ROUNDING = {"float64": 1e-9, "float32": 1e-2}  # of a few dozen updates, which amplify it


def test_every_size_of_the_engine_is_crossed():
    constants = {name: value for module in MODULES for name, value in vars(module).items() if name.isupper()}
    assert {name for name, value in constants.items() if type(value) is int} - {"CACHE_LINE"} == set(SIZES)


# -- at all sizes -----------------------------------------------------------------------------------------------------


@st.composite
def engine_runs(draw):
    """(case, options of train, sizes of the engine, whether level L1 judges such runs)"""
    T, K = draw(st.integers(1, 24)), draw(st.integers(1, 4))
    B, D, H, O = (draw(st.integers(1, 4)) for _ in range(4))
    for_columns = draw(st.sampled_from([False, False, True]))
    E = () if for_columns else draw(st.sampled_from([(), (), (), (1,), (2,), (7,), (2, 4)]))
    kind, of_step = draw(kinds()), draw(steps_of_sgd())
    if plain := for_columns or draw(st.booleans()):
        kind |= {"loss": "squared_error", "weights": False, "classes": False}
    judged = plain and kind["nonlinearity"] != "sigmoid" and not {"max_value", "adagrad"} & of_step.keys()
    dtype = "float32" if for_columns else draw(st.sampled_from(["float64", "float32"]))
    if not judged and (kind["nonlinearity"] == "relu" or "adagrad" in of_step):
        dtype = "float64"  # where no two runs differ in the sign of a pre-activation, or of a small gradient
    own = draw(st.sampled_from([(), ("x",), ("target",), ("h_0",), ("x", "target", "h_0")]))
    case = random_case(draw(st.integers(0, 2**32 - 1)), T, B, D, H, O, **kind, dtype=dtype, E=E, own=own)
    k1 = min(draw(st.sampled_from([K, K, T])), T)
    terms = k1 * B * O if kind["reduction"] == "sum" else 1
    rate = draw(st.floats(0.005, 0.05)) / terms * (1 - of_step.get("momentum", 0))
    if E and draw(st.booleans()):
        rate = rate * np.linspace(0.1, 1, np.prod(E)).reshape(E)
    k2 = k1 + draw(st.sampled_from([0, 0, 1, 2, 5, 13, 20]))
    options = {"k1": k1, "k2": k2, "learning_rate": rate, "epochs": draw(st.integers(1, 2))}
    options |= of_step | case.form(engine)
    sizes = {name: draw(st.sampled_from(of_size)) for name, of_size in SIZES.items()}
    if for_columns:
        sizes |= {"MIN_COLUMNS": 1, "MIN_COLUMN_STEPS": 1, "MIN_COLUMN_BATCH": 1}
    with np.errstate(all="ignore"):  # it may diverge with relu
        *_, last = reference.train(*case.for_train(reference), **options)
    assume(all(np.abs(theta).max() < 1e6 for theta in last.parameters if theta is not None))
    return case, options, sizes, judged


def run_of(case, options, number=0, **how):
    """All updates of a run, which are to the bit those of one that is resumed after one of them."""
    training, updates, states = engine.train(*case.for_train(engine), **options, **how), [], []
    for update in training:
        updates.append(update)
        states.append(training.state())
    number %= len(states)
    rest = engine.train(*case.for_train(engine), **options, **how, resume=states[number])
    assert [bits(update) for update in rest] == [bits(update) for update in updates[number + 1 :]]
    return updates


def assert_judged_right(case, options, updates):
    """The first network, the last and one in between, at level L1, with their schedule and initial states."""
    E = case.params.W_hh.shape[:-2]
    every = list(np.ndindex(E))
    for n in sorted({every[0], every[len(every) // 2], every[-1]}):
        alone, rate = network(case, n), float(np.broadcast_to(options["learning_rate"], E)[n])
        configuration = Configuration(**options | {"learning_rate": rate}, learn_initial_state=alone.h_0 is None)
        recorder = Recorder(Experiment("", alone.x, alone.target, alone.initial, alone.params), configuration)
        for update in updates:
            recorder.append(update._replace(**of_network(reported(engine, update), n)._asdict()))
        judgement = judge(recorder.arrays())
        assert judgement.passed, (n, judgement.first)


@given(run=engine_runs(), every=st.sampled_from([2, 5, "epoch"]), number=st.integers(0, 48))
def test_every_update_is_right_on_each_side_of_every_size(run, every, number):
    """And without records, or seldom handed out, every update is the same to the bit; and on a stream, the same run."""
    case, options, sizes, judged = run
    with pytest.MonkeyPatch.context() as patch:
        with_sizes(patch, sizes)
        updates = list(engine.train(*case.for_train(engine), **options, record=True))
        if judged:
            assert_judged_right(case, options, updates)
        else:
            of_reference = reference.train(*case.for_train(reference), **options, record=True)
            assert_the_same_run(updates, list(of_reference), ROUNDING[str(case.dtype)])
        assert [bits(u[:7]) for u in run_of(case, options, number)] == [bits(u[:7]) for u in updates]
        few = run_of(case, options, number, yield_every=every, record=True)
        assert_fewer(case, few, updates, every)
        if case.params.W_hh.ndim == 2:
            of_steps = [v for v in (case.x, case.target, case.weights) if v is not None]
            of_stream = {name: value for name, value in options.items() if name not in ("epochs", "weights")}
            stream = list(engine.train_stream(case.params, zip(*of_steps), case.h_0, **of_stream, record=True))
            assert_the_same_run(stream, updates[: len(stream)], ROUNDING[str(case.dtype)])
            assert stream[-1].window.stop == len(case.x)


def test_losses_are_the_same_to_the_bit_wherever_the_pieces_end(monkeypatch):
    """The pieces of a resumed run are others, and a piece may hold one window of several whose losses are summed."""
    with_sizes(monkeypatch, {"MAX_WINDOWS": 3})
    case = random_case(2, 24, 3, 1, 2, 5, dtype="float32")
    for number in range(6):
        run_of(case, {"k1": 1, "k2": 1, "learning_rate": 1e-3, "epochs": 1}, number, yield_every=4)


# -- at the sizes as they are -----------------------------------------------------------------------------------------

REAL_SIZES = {
    "windows of a piece": ({"T": 300, "B": 1, "H": 3}, {"k1": 1, "k2": 1}),
    "overlapping windows of a piece": ({"T": 300, "B": 2, "H": 3}, {"k1": 1, "k2": 3}),
    "windows of a piece of a group": ({"T": 300, "B": 1, "H": 3, "E": (8,)}, {"k1": 1, "k2": 2}),
    "views that are kept": ({"T": 140, "B": 1, "H": 2}, {"k1": 1, "k2": 40}),
    "a transpose laid out anew": ({"T": 80, "B": 3, "H": 5}, {"k1": 20, "k2": 20}),
    "a transpose in windows that overlap": ({"T": 60, "B": 3, "H": 5}, {"k1": 5, "k2": 20}),
    "inputs and states apart": ({"T": 12, "B": 1, "H": 129}, {"k1": 2, "k2": 5}),
    "the largest tape": ({"T": 240, "B": 40, "H": 10}, {"k1": 20, "k2": 30}),
    "networks of a group": ({"T": 4, "B": 1, "H": 6, "E": (3001,)}, {"k1": 1, "k2": 1}),
    "the largest network of a group": ({"T": 6, "B": 2, "H": 32, "E": (7,)}, {"k1": 2, "k2": 3}),
    "the smallest that is none": ({"T": 6, "B": 5, "H": 13, "E": (7,)}, {"k1": 2, "k2": 3}),
    "columns": ({"T": 26, "B": 16, "H": 256}, {"k1": 8, "k2": 17}),
    "columns of all steps": ({"T": 33, "B": 16, "H": 257}, {"k1": 16, "k2": 16}),
}
KINDS = [{"bias": True, "dtype": "float32"}, {"bias": False, "dtype": "float64", "reduction": "mean", "learned": True}]


@pytest.mark.parametrize(
    ("name", "kind"),
    [(name, KINDS[0 if "columns" in name else n % 2]) for n, name in enumerate(REAL_SIZES)],
    ids=[name.replace(" ", "_") for name in REAL_SIZES],
)
def test_runs_beyond_the_sizes_as_they_are(name, kind):
    """Two epochs, every update; and the same updates once per epoch, when no view is of a single window."""
    sizes, schedule = REAL_SIZES[name]
    T, B, H = (sizes[letter] for letter in "TBH")
    case = random_case(3, T, B, 2, H, 2, E=sizes.get("E", ()), **kind)
    options = schedule | {"learning_rate": 0.01 / (1 if kind.get("reduction") else 2 * B * schedule["k1"]), "epochs": 2}
    options |= case.options
    updates, few = (
        list(engine.train(*case.for_train(engine), **options, record=True, yield_every=every)) for every in (1, "epoch")
    )
    assert_judged_right(case, options, updates)
    assert_fewer(case, few, updates, "epoch")


# -- on every path ----------------------------------------------------------------------------------------------------

STEPS = 7  # no multiple of k1 = 2 and 3: the last window has fewer new steps
SCHEDULES = ((1, 1), (1, 3), (2, 5), (3, 3), (9, 9))
OF_STEP: tuple[dict[str, Any], ...] = (
    {},
    {"momentum": 0.9, "dampening": 0.5},
    {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
    {"max_norm": 0.5},
    {"max_value": 0.1, "weight_decay": 0.01},
    {"adagrad": True},
)
OF_CASE: tuple[dict[str, Any], ...] = (
    {},
    {"reduction": "mean"},
    {"learned": True},
    {"learned": True, "bias": False, "reduction": "mean"},
    {"loss": "cross_entropy", "classes": True, "reduction": "mean"},
    {"weights": True, "loss": "cross_entropy"},
    {"weights": True, "reduction": "mean"},
)
SHAPES = (((), 1), ((), 3), ((3,), 1), ((3,), 2))  # (E, B)
PATHS = {
    "as they are": {},
    "networks one by one": {"MAX_GROUPED": 0},
    "a transpose laid out anew": {"MIN_TRANSPOSED": 2, "MAX_STACKED": 0},
    "short pieces": {"MAX_WINDOWS": 2, "MAX_KEPT": 0, "TAPE_BYTES": 500},
    "columns": {"MIN_COLUMNS": 1, "MIN_COLUMN_STEPS": 1, "MIN_COLUMN_BATCH": 1, "TRANSPOSED_AT_ONCE": 3},
}


@pytest.mark.parametrize("path", PATHS)
def test_combinations_are_the_plain_loop(path, monkeypatch):
    """Of a schedule, a step and a kind: every pair with these sizes, and every three with some sizes. Every update, and
    the last one of each epoch with all losses.
    """
    with_sizes(monkeypatch, PATHS[path])
    part, dtype = list(PATHS).index(path), "float32" if path == "columns" else "float64"  # columns have no other
    rounding = ROUNDING[dtype] / 10  # the rates are small
    for places in product(*map(range, map(len, (SCHEDULES, OF_STEP, OF_CASE)))):
        (k1, k2), of_step, kind = SCHEDULES[places[0]], OF_STEP[places[1]], OF_CASE[places[2]]
        number = sum(places) + part
        # One sequence without options of the step, or in windows of one step, has paths of its own: it is always there.
        own_path = part == 0 and (not of_step or (k2 == 1 and not kind))
        if number % 3 and not own_path:
            continue
        if dtype == "float32" and "adagrad" in of_step:  # the sign of a small gradient decides
            continue
        E, B = SHAPES[0 if own_path else number % len(SHAPES)]
        case = random_case(places, STEPS, B, 2, 5, 3, E=E, dtype=dtype, **kind)
        options = {"k1": k1, "k2": k2, "learning_rate": 0.02, "epochs": 2, **of_step}
        options |= case.form(reference) | {"nonlinearity": ("tanh", "sigmoid")[number // 3 % 2]}
        expected = list(reference.train(*case.for_train(reference), **options))
        found = list(engine.train(*case.for_train(engine), **options))
        assert_the_same_run(found, expected, rounding, of=options)
        few = list(engine.train(*case.for_train(engine), **options, yield_every="epoch"))
        assert_the_same_run(few, [u for u in expected if u.window.stop == STEPS], rounding, of=options)
        losses, wanted = np.concatenate([u.losses for u in few]), np.array([u.loss for u in expected])
        assert (np.abs(losses - wanted) <= rounding * (1 + np.abs(wanted))).all(), options


@pytest.mark.parametrize("H", [4, 70], ids=["groups", "one by one"])
@pytest.mark.parametrize("every", [1, 3, "epoch"])
def test_threads_change_no_bit(H, every, monkeypatch):
    with_sizes(monkeypatch, {"MIN_OF_THREAD": 4})
    case = random_case(5, 9, 1, 2, H, 2, E=(2, 10), own=("x",), learned=True)
    options = {"k1": 2, "k2": 3, "epochs": 2, "learning_rate": 0.01, "momentum": 0.9, "max_norm": 1.0}
    runs = []
    for threads in "1", "2", "3":
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        assert layout.available_threads() == int(threads)
        run = engine.train(*case.for_train(engine), **options, **case.options, yield_every=every, record=True)
        runs.append([bits(update) for update in run])
    assert runs[0] == runs[1] == runs[2] != []
