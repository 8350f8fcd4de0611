"""The engine: every update, on both sides of every size at which the engine takes another path.

Squared errors are judged at level L1; with the other losses, classes and weights a run is compared with that of the
plain loop.
"""

import numpy as np
import pytest
from cases import kinds, network, of_network, random_case, steps_of_sgd
from comparing import bits, each, fewer
from engine_sizes import MODULES, SIZES, assert_the_same_run, with_sizes
from hypothesis import assume, given
from hypothesis import strategies as st
from witness_runs import assert_fewer, is_due, reported

from numpy_rnn import engine, reference
from numpy_rnn.app.configuration import Configuration
from numpy_rnn.app.experiment import Experiment
from numpy_rnn.app.trace import Recorder
from numpy_rnn.conformance.traces.judge import judge
from numpy_rnn.engine import layout


def test_every_size_of_the_engine_is_crossed():
    found = {
        name for module in MODULES for name, value in vars(module).items() if name.isupper() and type(value) is int
    }
    assert found - {"CACHE_LINE"} == set(SIZES)


# -- every update is right --------------------------------------------------------------------------------------------


@st.composite
def engine_runs(draw):
    """(case, options of train, sizes of the engine)"""
    T, K = draw(st.integers(1, 24)), draw(st.integers(1, 4))
    B, D, H, O = (draw(st.integers(1, 4)) for _ in range(4))
    for_columns = draw(st.sampled_from([False, False, True]))
    E = () if for_columns else draw(st.sampled_from([(), (), (), (1,), (2,), (7,), (2, 4)]))
    kind = draw(kinds())
    if for_columns or draw(st.booleans()):
        kind |= {"loss": "squared_error", "weights": False, "classes": False}
    case = random_case(
        draw(st.integers(0, 2**32 - 1)),
        *(T, B, D, H, O),
        **kind,
        bias=draw(st.booleans()),
        dtype="float32" if for_columns else draw(st.sampled_from(["float64", "float32"])),
        E=E,
        own=draw(st.sampled_from([(), ("x",), ("target",), ("h_0",), ("x", "target", "h_0")])),
    )
    k1 = min(draw(st.sampled_from([K, K, T])), T)
    of_step = draw(steps_of_sgd())
    if not judged(case, of_step) and (kind["nonlinearity"] == "relu" or "adagrad" in of_step):
        case = in_float64(case)  # where no two runs differ in the sign of a pre-activation, or of a small gradient
    terms = k1 * B * O if case.options["reduction"] == "sum" else 1
    rate = draw(st.floats(0.005, 0.05)) / terms * (1 - of_step.get("momentum", 0))
    if E and draw(st.booleans()):
        rate = rate * np.linspace(0.1, 1, np.prod(E)).reshape(E)
    options = {
        "k1": k1,
        "k2": k1 + draw(st.sampled_from([0, 0, 1, 2, 5, 13, 20])),
        "learning_rate": rate,
        "epochs": draw(st.integers(1, 2)),
    }
    sizes = {name: draw(st.sampled_from(of_size)) for name, of_size in SIZES.items()}
    if for_columns:
        sizes |= {"MIN_COLUMNS": 1, "MIN_COLUMN_STEPS": 1, "MIN_COLUMN_BATCH": 1}
    options = options | of_step | case.form(engine)
    assume(stays_finite(case, options))
    return case, options, sizes


def judged(case, options):
    """Whether level L1 judges runs with its loss and nonlinearity, and these steps."""
    plain = case.options["loss"] == "squared_error" and case.weights is None and case.x.dtype.kind == "f"
    of_step = "max_value" in options or "adagrad" in options
    return plain and case.options["nonlinearity"] != "sigmoid" and not of_step


def in_float64(case):
    def widened(v):
        return v if v.dtype.kind == "i" else v.astype("float64")

    params, x, target, h_0 = each(widened, case.arrays)
    return case._replace(params=params, x=x, target=target, h_0=h_0, weights=each(widened, case.weights))


def stays_finite(case, options):
    """Whether the plain training loop does not diverge, as it may with relu."""
    with np.errstate(all="ignore"):
        *_, last = reference.train(*case.for_train(reference), **options)
    return all(np.abs(theta).max() < 1e6 for theta in last.parameters if theta is not None)


def part_of(update, n):
    """Network n of an update with records."""
    of_n = of_network(reported(engine, update), n)
    return update._replace(**of_n._asdict())


def some_networks(case, options):
    """(n, its case, its options), for the first network of an ensemble, the last and one in between."""
    E = case.params.W_hh.shape[:-2]
    every = list(np.ndindex(E))
    for n in sorted({every[0], every[len(every) // 2], every[-1]}):
        rate = float(np.broadcast_to(options["learning_rate"], E)[n])
        yield n, network(case, n) if E else case, options | {"learning_rate": rate}


def assert_right(case, options, updates):
    """Each network's updates at level L1, with its schedule and its initial states; or as the plain loop makes them."""
    if not judged(case, options):
        of_reference = reference.train(*case.for_train(reference), **options, record=True)
        assert_the_same_run(updates, list(of_reference), ROUNDING[str(case.dtype)])
        return
    for n, alone, of_one in some_networks(case, options):
        learned = alone.params.h_0 is not None
        configuration = Configuration(**of_one, learn_initial_state=learned)
        recorder = Recorder(Experiment("", alone.x, alone.target, alone.initial, alone.params), configuration)
        for update in updates:
            recorder.append(part_of(update, n))
        judgement = judge(recorder.arrays())
        assert judgement.passed, (n, judgement.first)


ROUNDING = {"float64": 1e-9, "float32": 1e-2}  # of a few dozen updates


@given(run=engine_runs(), every=st.sampled_from([2, 5, "epoch"]))
def test_every_update_is_right_on_each_side_of_every_size(run, every):
    """And without records, or seldom handed out, every update is the same to the bit; and on a stream, the same run."""
    case, options, sizes = run
    with pytest.MonkeyPatch.context() as patch:
        with_sizes(patch, sizes)
        arrays = case.for_train(engine)
        updates = list(engine.train(*arrays, **options, record=True))
        assert_right(case, options, updates)
        assert [bits(u[:7]) for u in engine.train(*arrays, **options)] == [bits(u[:7]) for u in updates]
        few = list(engine.train(*arrays, **options, yield_every=every, record=True))
        assert_fewer(case, few, updates, is_due(every, len(case.x)))
        of_steps = [v for v in (case.x, case.target, case.weights) if v is not None]
        if case.params.W_hh.ndim == 2:
            of_stream = {name: value for name, value in options.items() if name not in ("epochs", "weights")}
            stream = list(engine.train_stream(arrays[0], zip(*of_steps), arrays[3], **of_stream, record=True))
            assert_the_same_run(stream, updates[: len(stream)], ROUNDING[str(case.dtype)])
            assert stream[-1].window.stop == len(case.x)


# -- resumed ----------------------------------------------------------------------------------------------------------


def assert_resumed(case, options, chosen=slice(None)):
    """To the bit, after each of the chosen updates."""
    training, whole, states = engine.train(*case.for_train(engine), **options), [], []
    for update in training:
        whole.append(bits(update))
        states.append(training.state())
    for number, state in list(enumerate(states, start=1))[chosen]:
        assert [bits(u) for u in engine.train(*case.for_train(engine), **options, resume=state)] == whole[number:]


@fewer(4)
@given(run=engine_runs(), every=st.sampled_from([1, 2, 3, "epoch"]), number=st.integers(0, 48))
def test_a_run_is_resumed_to_the_bit(run, every, number):
    case, options, sizes = run
    with pytest.MonkeyPatch.context() as patch:
        with_sizes(patch, sizes)
        assert_resumed(case, options | {"yield_every": every}, slice(number % 7, None, 7))


def test_losses_are_the_same_to_the_bit_wherever_the_pieces_end(monkeypatch):
    """The pieces of a resumed run are others, and a piece may hold one window of several whose losses are summed."""
    with_sizes(monkeypatch, {"MAX_WINDOWS": 3})
    case = random_case(2, 24, 3, 1, 2, 5, dtype="float32")
    assert_resumed(case, {"k1": 1, "k2": 1, "learning_rate": 1e-3, "epochs": 1, "yield_every": 4})


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
    arrays = case.for_train(engine)
    updates = list(engine.train(*arrays, **options, record=True))
    assert_right(case, options, updates)
    few = list(engine.train(*arrays, **options, yield_every="epoch", record=True))
    assert_fewer(case, few, updates, is_due("epoch", T))


# -- threads -----------------------------------------------------------------------------------------------------------


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
