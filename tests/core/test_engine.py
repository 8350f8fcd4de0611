"""The engine: every update, on both sides of every size at which the engine takes another path.

Squared errors are judged at level L1; with the other losses, classes and weights a run is compared with that of the
plain loop.
"""

import tracemalloc
from importlib import import_module
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from cases import (
    bits,
    each,
    fewer,
    kinds,
    network,
    of_network,
    random_case,
    reported,
    steps_of_sgd,
)
from hypothesis import assume, given
from hypothesis import strategies as st

from numpy_rnn import Gradients, Parameters, engine, reference
from numpy_rnn.app.configuration import Configuration
from numpy_rnn.app.experiment import Experiment
from numpy_rnn.app.trace import Recorder
from numpy_rnn.clipping import clip
from numpy_rnn.conformance.traces.judge import judge
from numpy_rnn.engine import layout, loop
from numpy_rnn.engine.layout import CACHE_LINE, Layout, Vectors, blocks, empty
from numpy_rnn.engine.update import clipping_factor
from numpy_rnn.engine.window import Tape

FILES = sorted(path.stem for path in Path(engine.__file__).parent.glob("[!_]*.py"))
MODULES = [import_module(f"numpy_rnn.engine.{name}") for name in FILES]

# Every size at which the engine takes another path, and values that small cases lie on both sides of.
SIZES = {
    "MAX_GROUPED": (0, 6, 64),
    "MIN_GROUP": (1, 3, 100),
    "GROUP_BYTES": (1, 2000, 2**20),
    "MIN_COLUMNS": (1, 4, 256),
    "MIN_COLUMN_STEPS": (1, 3),
    "MIN_COLUMN_BATCH": (1, 2),
    "TRANSPOSED_AT_ONCE": (1, 3, 64),
    "MAX_STACKED": (0, 3, 128),
    "MIN_TRANSPOSED": (2, 5, 16),
    "MAX_VIEWED": (0, 12, 4096),
    "MAX_WINDOWS": (1, 2, 256),
    "MAX_KEPT": (0, 5, 2048),
    "TAPE_BYTES": (1, 500, 2**19),
    "MAX_TAPES": (1, 64),
    "REMEMBERED": (1, 3),
    "MIN_OF_THREAD": (1, 3, 256),
}


def test_every_size_of_the_engine_is_crossed():
    found = {
        name for module in MODULES for name, value in vars(module).items() if name.isupper() and type(value) is int
    }
    assert found - {"CACHE_LINE"} == set(SIZES)


def with_sizes(patch, sizes):
    for name, value in sizes.items():
        for module in MODULES:
            if hasattr(module, name):
                patch.setattr(module, name, value)


# -- every update is right --------------------------------------------------------------------------------------------


@st.composite
def engine_runs(draw):
    """(case, options of train, sizes of the engine)"""
    T, K, E = draw(st.integers(1, 24)), draw(st.integers(1, 4)), draw(st.sampled_from([(), (1,), (2,), (7,), (2, 4)]))
    B, D, H, O = (draw(st.integers(1, 4)) for _ in range(4))
    kind = draw(kinds())
    if draw(st.booleans()):
        kind |= {"loss": "squared_error", "weights": False, "classes": False}
    case = random_case(
        draw(st.integers(0, 2**32 - 1)),
        *(T, B, D, H, O),
        **kind,
        bias=draw(st.booleans()),
        dtype=draw(st.sampled_from(["float64", "float32"])),
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

    weights = case.weights if case.weights is None else widened(case.weights)
    return case._replace(weights=weights, **{name: each(widened, getattr(case, name)) for name in (
        "params", "x", "target", "h_0")})  # fmt: skip


def stays_finite(case, options):
    """Whether the plain training loop does not diverge, as it may with relu."""
    with np.errstate(all="ignore"):
        *_, last = reference.train(*case.for_train(reference), **options)
    return all(np.abs(theta).max() < 1e6 for theta in last.parameters if theta is not None)


def some_networks(case):
    """The first, the last and one in between."""
    E = case.params.W_hh.shape[:-2]
    every = list(np.ndindex(E))
    return sorted({every[0], every[len(every) // 2], every[-1]})


def part_of(update, n):
    """Network n of an update with records."""
    parts = update.activations, update.loss, update.adjoints, update.gradients, update.parameters, update.velocity
    activations, loss, adjoints, gradients, parameters, velocity = of_network(type(reported(engine, update))(*parts), n)
    of_n = {"activations": activations, "adjoints": adjoints, "gradients": gradients, "parameters": parameters}
    return update._replace(loss=loss, velocity=velocity, **of_n)


def of_each(case, options):
    """(the case of a network alone, its options), for some networks of an ensemble."""
    E = case.params.W_hh.shape[:-2]
    for n in some_networks(case):
        rate = float(np.broadcast_to(options["learning_rate"], E)[n])
        yield n, network(case, n) if E else case, options | {"learning_rate": rate}


def assert_right(case, options, updates):
    """Each network's updates at level L1, with its schedule and its initial states; or as the plain loop makes them."""
    if not judged(case, options):
        of_reference = reference.train(*case.for_train(reference), **options, record=True)
        assert_the_same_run(updates, list(of_reference), case.dtype)
        return
    for n, alone, of_one in of_each(case, options):
        learned = alone.params.h_0 is not None
        configuration = Configuration(**of_one, learn_initial_state=learned)
        recorder = Recorder(Experiment("", alone.x, alone.target, alone.initial, alone.params), configuration)
        for update in updates:
            recorder.append(part_of(update, n))
        judgement = judge(recorder.arrays())
        assert judgement.passed, (n, judgement.first)


def assert_the_same_run(updates, expected, dtype):
    """Within the rounding of a few dozen updates."""
    most = {"float64": 1e-9, "float32": 1e-2}[str(dtype)]
    assert [u[:3] for u in updates] == [u[:3] for u in expected]
    for one, other in zip(updates, expected, strict=True):
        for name, found, right in zip(one._fields[3:9], one[3:9], other[3:9], strict=True):
            for array, wanted in zip(arrays_in((found,)), arrays_in((right,)), strict=True):
                assert (array.shape, array.dtype) == (wanted.shape, wanted.dtype), (one[:3], name)
                assert (np.abs(array - wanted) <= most * (1 + np.abs(wanted).max())).all(), (one[:3], name)


@given(run=engine_runs())
def test_every_update_is_right_on_each_side_of_every_size(run):
    """And without records, or seldom handed out, every update is the same to the bit; and on a stream, the same run."""
    case, options, sizes = run
    with pytest.MonkeyPatch.context() as patch:
        with_sizes(patch, sizes)
        arrays = case.for_train(engine)
        updates = list(engine.train(*arrays, **options, record=True))
        assert_right(case, options, updates)
        assert [bits(u[:7]) for u in engine.train(*arrays, **options)] == [bits(u[:7]) for u in updates]
        for every in (2, 5, "epoch"):
            few = list(engine.train(*arrays, **options, yield_every=every, record=True))
            by_place = {u[:2]: u for u in updates}
            assert_alike(case, few, [by_place[u[:2]] for u in few])
            assert_losses(case, few, updates)
        of_steps = [v for v in (case.x, case.target, case.weights) if v is not None]
        if case.params.W_hh.ndim == 2:
            of_stream = {name: value for name, value in options.items() if name not in ("epochs", "weights")}
            stream = list(engine.train_stream(arrays[0], zip(*of_steps), arrays[3], **of_stream, record=True))
            assert_the_same_run(stream, updates[: len(stream)], case.dtype)
            assert stream[-1].window.stop == len(case.x)


def assert_alike(case, few, same):
    """To the bit, but for the loss, whose terms may be added in another order."""
    assert [bits((u[:3], u[4:9])) for u in few] == [bits((u[:3], u[4:9])) for u in same]
    assert_near([u.loss for u in few], [u.loss for u in same], case)


def assert_losses(case, few, updates):
    assert all(type(u.losses) is np.ndarray for u in few)
    assert_near(np.concatenate([u.losses for u in few]), [u.loss for u in updates], case)


def assert_near(losses, expected, case):
    """Sums of as many terms as a window has, and none below zero; the terms of a cross-entropy may cancel."""
    losses, expected, terms = np.array(losses), np.array(expected), len(case.x) * case.x.shape[-2] * 9
    assert losses.dtype == expected.dtype == case.dtype
    assert losses.shape == expected.shape
    size = expected if case.options["loss"] == "squared_error" else 1e3 * (1 + np.abs(expected))
    assert (np.abs(losses - expected) <= terms * np.finfo(case.dtype).eps * size).all()


@fewer(3)
@given(run=engine_runs(), every=st.sampled_from([1, 2, 3, "epoch"]), seed=st.integers(0, 2**31))
def test_a_run_is_resumed_to_the_bit(run, every, seed):
    case, options, sizes = run
    with pytest.MonkeyPatch.context() as patch:
        with_sizes(patch, sizes)
        arrays, options = case.for_train(engine), options | {"yield_every": every}
        training, whole, states = engine.train(*arrays, **options), [], []
        for update in training:
            whole.append(bits(update))
            states.append(training.state())
        for number in {seed % len(whole), len(whole) - 1}:
            assert [bits(u) for u in engine.train(*arrays, **options, resume=states[number])] == whole[number + 1 :]


def test_losses_are_the_same_to_the_bit_wherever_the_pieces_end(monkeypatch):
    """The pieces of a resumed run are others, and a piece may hold one window of several whose losses are summed."""
    with_sizes(monkeypatch, {"MAX_WINDOWS": 3})
    case = random_case(2, 24, 3, 1, 2, 5, dtype="float32")
    options = {"k1": 1, "k2": 1, "learning_rate": 1e-3, "epochs": 1, "yield_every": 4}
    training, states = engine.train(*case.for_train(engine), **options), []
    whole = []
    for update in training:
        whole.append(bits(update))
        states.append(training.state())
    for number, state in enumerate(states, start=1):
        assert [bits(u) for u in engine.train(*case.for_train(engine), **options, resume=state)] == whole[number:]


# -- at the sizes as they are -----------------------------------------------------------------------------------------

REAL_SIZES = {
    "windows of a piece": ({"T": 700, "B": 1, "H": 3}, {"k1": 1, "k2": 1}),
    "overlapping windows of a piece": ({"T": 700, "B": 2, "H": 3}, {"k1": 1, "k2": 3}),
    "windows of a piece of a group": ({"T": 600, "B": 1, "H": 3, "E": (8,)}, {"k1": 1, "k2": 2}),
    "segments that are kept": ({"T": 2200, "B": 1, "H": 2}, {"k1": 1, "k2": 2}),
    "views that are kept": ({"T": 400, "B": 1, "H": 2}, {"k1": 1, "k2": 40}),
    "a transpose laid out anew": ({"T": 80, "B": 3, "H": 5}, {"k1": 20, "k2": 20}),
    "a transpose in windows that overlap": ({"T": 60, "B": 3, "H": 5}, {"k1": 5, "k2": 20}),
    "inputs and states apart": ({"T": 12, "B": 1, "H": 129}, {"k1": 2, "k2": 5}),
    "the largest tape": ({"T": 400, "B": 40, "H": 10}, {"k1": 20, "k2": 30}),
    "networks of a group": ({"T": 4, "B": 1, "H": 6, "E": (3001,)}, {"k1": 1, "k2": 1}),
    "the largest network of a group": ({"T": 6, "B": 2, "H": 32, "E": (7,)}, {"k1": 2, "k2": 3}),
    "the smallest that is none": ({"T": 6, "B": 5, "H": 13, "E": (7,)}, {"k1": 2, "k2": 3}),
    "columns": ({"T": 40, "B": 16, "H": 256}, {"k1": 8, "k2": 17}),
    "columns of all steps": ({"T": 33, "B": 16, "H": 257}, {"k1": 16, "k2": 16}),
}


KINDS = [
    {"bias": True, "dtype": "float32"},
    {"bias": False, "dtype": "float64", "reduction": "mean", "learned": True},
]


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
    assert_alike(case, few, [u for u in updates if u.window.stop == T])
    assert_losses(case, few, updates)


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


def test_threads_have_the_error_settings_of_the_caller(monkeypatch):
    with_sizes(monkeypatch, {"MIN_OF_THREAD": 4})
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    case = random_case(5, 9, 1, 2, 4, 2, E=(10,), nonlinearity="relu")
    run = engine.train(*case.for_train(engine), k1=2, k2=3, epochs=9, learning_rate=1e120, nonlinearity="relu")
    with np.errstate(all="raise"), pytest.raises(FloatingPointError):
        list(run)


# -- what is handed out -----------------------------------------------------------------------------------------------


def arrays_in(value):
    """All arrays of nested tuples."""
    if isinstance(value, tuple):
        return [array for one in value for array in arrays_in(one)]
    return [value] if isinstance(value, np.ndarray) else []


@pytest.mark.parametrize("E", [(), (2, 4)], ids=str)
@pytest.mark.parametrize("options", [{}, {"momentum": 0.9, "record": True}, {"yield_every": 2}], ids=str)
@pytest.mark.parametrize("remembered", [1, 3])
def test_updates_share_no_memory(E, options, remembered, monkeypatch):
    """Nor does a state share any with an update; what the run goes on from is read-only."""
    with_sizes(monkeypatch, {"REMEMBERED": remembered})
    case = random_case(1, 6, 2, 2, 3, 2, E=E, learned=True)
    training = engine.train(*case.for_train(engine), k1=1, k2=2, epochs=1, learning_rate=0.01, **options)
    handed_out = []
    for update in training:
        assert not any(array.flags.writeable for array in arrays_in((update.parameters, update.velocity)))
        free = update.gradients, update.activations, update.adjoints, update.losses, training.state()
        assert all(array.flags.writeable for array in arrays_in(free))
        handed_out += [arrays_in(update), arrays_in(training.state())]
    for one, other in combinations(handed_out, 2):
        assert not any(np.shares_memory(a, b) for a in one for b in other)


@pytest.mark.parametrize("E", [(), (30,)], ids=str)
def test_kept_updates_take_little_memory_besides_their_own(E):
    """Of 2,000 updates every 20th is kept; 10 KB each leave room for Python objects, and for what is made together."""
    case = random_case(3, 20, 1, 1, 6, 1, bias=False, dtype="float32", E=E)
    run = engine.train(*case.for_train(engine), k1=1, k2=1, learning_rate=0.01, epochs=100, **case.options)
    first = next(run)
    own = sum(array.nbytes for array in arrays_in(first))
    tracemalloc.start()
    try:
        kept = [update for update in run if update.number == 20]
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(kept) == 100
    assert held < 100 * (own + 10_000)


HOLDS = {
    "itself": lambda array: array,
    "a part": lambda array: array[1:],
    "a part of a part": lambda array: array[1:][:, 2:],
    "its transpose": lambda array: array.T,
    "other numbers": lambda array: array.view("int32"),
    "a buffer": lambda array: np.asarray(memoryview(array)),
    "nothing": lambda array: array.copy(),
}


@pytest.mark.parametrize("of", [Layout(3, 4, 2, 5, True, True, np.dtype("float32"), N) for N in (None, 7)], ids=str)
@given(taken=st.lists(st.tuples(st.sampled_from(sorted(HOLDS)), st.integers(0, 5), st.integers(0, 4)), max_size=30))
def test_memory_is_used_again_when_nobody_holds_any_part_of_it(of, taken):
    """Vectors are taken, a part of one parameter of each is kept, and the oldest are released so that few are left."""
    vectors, held = Vectors(of, () if of.networks is None else (7,)), []
    for number, (hold, which, few) in enumerate(taken):
        memory, named = next(vectors)
        memory[...] = number
        assert all((theta == number).all() for theta in named)
        part = HOLDS[hold](named[which]) if named[which].ndim > 1 else named[which]
        held.append((part, part.copy()))
        del memory, named, part, held[: max(len(held) - few, 0)]
        assert all(np.array_equal(part, as_it_was) for part, as_it_was in held)


@pytest.mark.needs_torch
def test_a_tensor_of_the_same_memory_holds_it():
    import torch

    vectors = Vectors(Layout(3, 4, 2, 5, False, False, np.dtype("float32")), ())
    memory, named = next(vectors)
    memory[...] = 0
    tensor = torch.from_numpy(named.W_hh)
    del memory, named
    for _ in range(9):
        next(vectors)[0][...] = 1
    assert not tensor.any()


# -- where the numbers are --------------------------------------------------------------------------------------------

LAYOUTS = [
    Layout(3, 4, 2, 5, bias, learned, np.dtype("float32"), networks)
    for bias in (False, True)
    for learned in (False, True)
    for networks in (None, 1, 7)
]
LAYOUTS += [of_one._replace(columns=True) for of_one in LAYOUTS if of_one.networks is None]


@pytest.mark.parametrize("of", LAYOUTS, ids=str)
def test_the_vector_is_the_parameters(of):
    """Every number once, in one memory; W and U are parts of it, and what is None becomes zero."""
    vector = of.empty(of.size)
    N = () if of.networks is None else (of.networks,)
    assert vector.shape == (*N, of.size)
    vector[...] = np.arange(vector.size).reshape(vector.shape)
    named = of.named(vector)
    assert [theta is None for theta in named] == [False] * 3 + [not of.bias] * 2 + [not of.learned]
    D, H, O, B = of[:4]
    shapes = (D, H), (H, H), (H, O), (H,), (O,), (B, H)
    assert all(theta is None or theta.shape == (*N, *shape) for theta, shape in zip(named, shapes))
    present = [theta for theta in named if theta is not None]
    assert sorted(np.concatenate([theta.ravel() for theta in present])) == list(range(vector.size))
    assert all(np.shares_memory(theta, vector) for theta in present)
    W, U, h_0 = of.stacked(vector)
    parts = [part for part in (W, U, h_0) if part is not None]
    assert sorted(np.concatenate([part.ravel() for part in parts])) == list(range(vector.size))
    W = W.mT if of.columns else W
    assert {H, D + H + of.bias} == set(W.shape[-2:])
    assert np.array_equal(U[..., :H, :], named.W_hy)
    other = of.empty(of.size)
    other[...] = np.nan
    of.fill(other, each(np.array, named))
    assert np.array_equal(other, vector)
    of.fill(other, Gradients(*named[:5], None))
    assert bits(each(np.array, of.named(other))[:5]) == bits(each(np.array, named)[:5])
    assert other.sum() == sum(theta.sum() for theta in named[:5] if theta is not None)


@given(
    shape=st.lists(st.integers(0, 40), max_size=3).map(tuple), dtype=st.sampled_from([np.float32, np.float64, np.int8])
)
def test_new_memory_begins_at_a_cache_line(shape, dtype):
    array = empty(shape, dtype)
    assert (array.shape, array.dtype) == (shape, dtype)
    assert array.flags.c_contiguous
    assert array.size == 0 or array.ctypes.data % CACHE_LINE == 0


@given(N=st.integers(1, 40), threads=st.integers(1, 5))
def test_blocks_are_all_networks_once(N, threads):
    """In their order, whatever the thresholds; no group has less than half of the networks that a group pays for."""
    params = random_case(0, 1, 2, 3, 4, 1, E=(N,)).params
    for names in ({}, {"GROUP_BYTES": 1}, {"MAX_GROUPED": 0}, {"MIN_GROUP": 1, "GROUP_BYTES": 1}, {"MIN_GROUP": 50}):
        with pytest.MonkeyPatch.context() as patch:
            with_sizes(patch, names)
            found = blocks(params, 2, 3, threads)
            least = layout.MIN_GROUP
        assert [n for block in found for n in range(block.first, block.stop)] == list(range(N))
        for block in found:
            size = block.layout.networks
            assert (block.stop - block.first) == (1 if size is None else size)
            assert size is None or 2 * size >= min(least, N)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("E", [(), (7,), (3,)], ids=str)
def test_clipping_is_that_of_the_reference_where_squares_overflow_or_underflow(E, dtype):
    """To 16 ulps of the largest: a sum of 28 squares, its root and a quotient, in two orders."""
    of = Layout(2, 3, 2, 2, True, False, np.dtype(dtype), E[0] if E == (7,) else None)
    gradient = np.random.default_rng(1).normal(size=(*E, of.size)).astype(dtype)
    limits = np.finfo(dtype)
    roots = limits.max**0.5, limits.tiny**0.5, 1e-3 * limits.tiny**0.5
    for scale in (1, limits.max / 4, limits.max / 1e3, limits.tiny * 1e3, *roots, np.inf, np.nan):
        scaled = gradient.copy()
        scaled[..., : None if np.isfinite(scale) else 1] *= np.dtype(dtype).type(scale)
        found = clipping_factor(scaled, 1e-3) * scaled
        for one, other in zip(of.named(found), clip(of.named(scaled), 1e-3)):
            if one is not None:
                np.testing.assert_allclose(one, other, rtol=16 * limits.eps, atol=16 * limits.smallest_subnormal)


@pytest.mark.parametrize(("E", "in_all"), [((), 100), ((5,), 200)])
def test_views_of_so_many_steps_are_kept(E, in_all, monkeypatch):
    """Of a tape at most MAX_VIEWED, of all tapes together MAX_TAPES times as many."""
    with_sizes(monkeypatch, {"MAX_VIEWED": 100, "MAX_TAPES": 2, "MAX_GROUPED": 0})
    viewed = {}

    class Watched(Tape):
        def window(self, window):
            views = super().window(window)
            viewed[self] = sum(end - begin for begin, _, end, _ in self.views)
            assert viewed[self] <= 100
            assert sum(viewed.values()) <= in_all
            return views

    monkeypatch.setattr(loop, "Tape", Watched)
    case = random_case(0, 50, 1, 2, 3, 1, E=E)
    for k2 in (1, 20):
        viewed.clear()
        list(engine.train(*case.for_train(engine), k1=1, k2=k2, learning_rate=0.01, epochs=2))
        assert len(viewed) == (E[0] if E else 1)


@pytest.mark.parametrize("networks", [(), (3,)])
def test_large_logits_do_not_overflow(networks):
    """The losses are those of the reference, whose softmax subtracts the largest logit, with logits of some 10⁴."""
    generator = np.random.default_rng(0)
    T, B, D, H, O = 6, 2, 2, 3, 4
    W_xh, W_hh, W_hy = (generator.standard_normal((*networks, *shape)) for shape in ((D, H), (H, H), (H, O)))
    params = Parameters(W_xh, W_hh, 1e4 * W_hy)
    x, classes = generator.standard_normal((T, B, D)), generator.integers(0, O, (T, B))
    options = {"k1": 2, "k2": 3, "learning_rate": 1e-3, "epochs": 1, "loss": "cross_entropy"}
    runs = [module.train(params, x, classes, np.zeros((B, H)), **options) for module in (engine, reference)]
    losses = [np.array([update.loss for update in run]) for run in runs]
    assert np.max(losses) > 1e3
    np.testing.assert_allclose(*losses, rtol=1e-9)
