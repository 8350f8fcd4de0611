"""The engine's memory: what it returns, what it reuses, its layout, and uninitialized values."""

import re
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from cases import random_case
from comparing import arrays_in, bits, each, fewer
from engine_sizes import with_sizes
from hypothesis import given
from hypothesis import strategies as st

from numpy_rnn import Gradients, engine, reference
from numpy_rnn.clipping import clip
from numpy_rnn.conformance.mutants.catalogue import ENGINE_MUTANTS, MUTANTS, load
from numpy_rnn.conformance.mutants.engine_checks import random_engine_run, random_limits, reduced_limits
from numpy_rnn.conformance.traces.drive import trace_of
from numpy_rnn.engine import layout, loop
from numpy_rnn.engine.layout import CACHE_LINE, Layout, Vectors, blocks, empty
from numpy_rnn.engine.update import clipping_factor
from numpy_rnn.engine.window import Tape

# -- what is handed out -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("E", [(), (30,)], ids=str)
def test_kept_updates_take_little_memory_besides_their_own(E):
    """Of 800 updates every 20th is kept; 10 KB each leave room for Python objects, and for what is made together."""
    case = random_case(3, 20, 1, 1, 6, 1, bias=False, dtype="float32", E=E)
    run = engine.train(*case.for_train(engine), k1=1, k2=1, learning_rate=0.01, epochs=40, **case.options)
    own = sum(array.nbytes for array in arrays_in(next(run)))
    tracemalloc.start()
    kept = [update for update in run if update.number == 20]
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(kept) == 40
    assert held < 40 * (own + 10_000)


HOLDS = {
    "itself": lambda array: array,
    "a part": lambda array: array[1:],
    "a part of a part": lambda array: array[1:][:, 2:],
    "its transpose": lambda array: array.T,
    "other numbers": lambda array: array.view("int32"),
    "a buffer, as a tensor of torch has": lambda array: np.asarray(memoryview(array)),
    "nothing": lambda array: array.copy(),
}


@pytest.mark.parametrize("of", [Layout(3, 4, 2, 5, True, True, np.dtype("float32"), N) for N in (None, 7)], ids=str)
@fewer(2)
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


# -- where the numbers are --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("learned", [False, True])
@pytest.mark.parametrize(("networks", "columns"), [(None, False), (None, True), (1, False), (7, False)])
def test_the_vector_is_the_parameters(bias, learned, networks, columns):
    """Every number once, in one memory, also of its parts W, U and h_0; what is None becomes zero."""
    of = Layout(3, 4, 2, 5, bias, learned, np.dtype("float32"), networks, columns)
    vector = of.empty(of.size)
    vector[...] = np.arange(vector.size).reshape(vector.shape)
    named = of.named(vector)
    for parts in (named, of.stacked(vector)):
        assert sorted(np.concatenate([part.ravel() for part in arrays_in(parts)])) == list(range(vector.size))
        assert all(np.shares_memory(part, vector) for part in arrays_in(parts))
    other = of.empty(of.size)
    other[...] = np.nan
    of.fill(other, each(np.array, named))
    assert np.array_equal(other, vector)
    of.fill(other, Gradients(*named[:5], None))
    assert bits(each(np.array, of.named(other))[:5]) == bits(each(np.array, named)[:5])
    assert other.sum() == sum(theta.sum() for theta in arrays_in(named[:5]))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int8])
def test_new_memory_begins_at_a_cache_line(dtype):
    for shape in ((), (0,), (1,), (7,), (2, 0, 3), (3, 5), (40, 3, 11)):
        arrays = [empty(shape, dtype) for _ in range(9)]
        for array in arrays:
            assert (array.shape, array.dtype) == (shape, dtype)
            assert array.flags.c_contiguous
            assert array.size == 0 or array.ctypes.data % CACHE_LINE == 0


@fewer(4)
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
        for one, other in zip(arrays_in(of.named(found)), arrays_in(clip(of.named(scaled), 1e-3)), strict=True):
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


@pytest.mark.parametrize("E", [(), (3,)], ids=str)
def test_large_logits_do_not_overflow(E):
    """The losses are those of the reference, whose softmax subtracts the largest logit, with logits of some 10⁴."""
    case = random_case(0, 6, 2, 2, 3, 4, E=E, loss="cross_entropy", classes=True)
    case = case._replace(params=case.params._replace(W_hy=1e4 * case.params.W_hy))
    options = {"k1": 2, "k2": 3, "learning_rate": 1e-3, "epochs": 1, **case.options}
    runs = (module.train(*case.for_train(module), **options) for module in (engine, reference))
    losses = [np.array([update.loss for update in run]) for run in runs]
    assert np.max(losses) > 1e3
    np.testing.assert_allclose(*losses, rtol=1e-9)


# -- memory that nobody wrote ------------------------------------------------------------------------------------------


def filled(make, fill):
    """The function `make`, with floats all of this value in what it returns."""

    def made(*arguments, **options):
        array = make(*arguments, **options)
        if array.dtype.kind == "f":
            array[...] = fill
        return array

    return made


def reports(package, fill):
    """The bytes of runs in several layouts, by name, where all unwritten numbers, which may be anything, are `fill`."""
    generator = np.random.default_rng(6)
    with pytest.MonkeyPatch.context() as patch, np.errstate(all="ignore"):
        for name in ("empty", "empty_like"):
            patch.setattr(np, name, filled(getattr(np, name), fill))
        for _ in range(3):
            run = random_engine_run(generator)
            with reduced_limits(package, random_limits(generator)):
                trace = trace_of(package, *run)
            yield {name: np.asarray(array).tobytes() for name, array in trace.items()}


def test_the_engine_reads_what_it_wrote_alone():
    assert list(reports(engine, np.nan)) == list(reports(engine, 1.0))


@pytest.mark.parametrize("mutant", ENGINE_MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_of_the_engine_reads_what_it_wrote_alone(mutant):
    """Otherwise it is another mistake in every run, and no hint recognises it."""
    assert list(reports(load(mutant), np.nan)) == list(reports(load(mutant), 1.0))


def test_the_reference_its_mutants_and_torch_rnn_take_no_unwritten_memory():
    top = Path(engine.__file__).parents[2]
    files = [file for folder in ("numpy_rnn", "torch_rnn") for file in (top / folder).glob("*.py")]
    sources = {str(file): file.read_text(encoding="utf-8") for file in files}
    sources |= {mutant.name: "".join(wrong for _, _, wrong in mutant.changes) for mutant in MUTANTS}
    assert [name for name, source in sources.items() if re.search(r"\.(new_)?empty", source)] == []
