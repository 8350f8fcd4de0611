"""The floors compute no results, but make the fewest calls, in the fastest layouts, with the flops of the equations."""

import functools
import itertools
from collections import Counter

import numpy as np
import pytest

import numpy_rnn
from benchmarks.rows import floors, prepare
from benchmarks.tasks import CHARACTERS, FLOORS, FORWARD, GRADIENT, RUN, STEP
from benchmarks.workloads import DEFAULT_EXPERIMENT, ENSEMBLES, character_model, point, sine, window
from numpy_rnn.engine.memory import CACHE_LINE, Layout

SMALL = window("small", T=4, B=3, D=2, H=5, O=4)


TEXT = CHARACTERS, character_model("float32", updates=2, H=5, characters=4)
RUNS = (
    SMALL,
    sine("k2=4", 4, epochs=2),
    sine("networks", 1, networks=3, epochs=2),
    sine("wide", 1, 515, epochs=2),
)


@pytest.mark.parametrize(
    ("task", "case"), [*itertools.product([FORWARD, GRADIENT, STEP, RUN], RUNS), TEXT]
)
def test_floors_run(task, case, monkeypatch):
    monkeypatch.setattr(floors, "TRIALS", 1)
    monkeypatch.setattr(floors, "MIN_SECONDS", 0)
    for row in FLOORS:
        prepare(row, task, case).call()
    assert np.getbufsize() == 8192


@pytest.mark.parametrize(
    "case", [DEFAULT_EXPERIMENT, ENSEMBLES[1], sine("k2=5", 5)], ids=lambda case: case.name
)
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
    (dW,) = {
        id(call.arguments[2]): call.arguments[2] for call in calls if call.equation == "B4, B5"
    }.values()
    assert np.shares_memory(first.arguments[1], step.arguments[0])
    assert np.shares_memory(dW, gradient)


class Recorded(floors.Memory):
    """Memory that keeps its arrays in the order in which they were made."""

    def __init__(self, layout):
        self.made = []
        super().__init__(layout)

    def __call__(self, *shape, **options):
        self.made.append(super().__call__(*shape, **options))
        return self.made[-1]


def make(calls):
    for call in calls:
        call.function(*call.arguments)


@pytest.mark.parametrize("networks", [None, 3])
@pytest.mark.parametrize("stacked", [True, False])
@pytest.mark.parametrize(("T", "K"), [(1, 1), (4, 4), (4, 2)])
def test_bare_calls_compute_the_step(T, K, stacked, networks):
    """With the numbers of a window in their memory, the calls are forward, gradient and update of numpy_rnn."""
    D, H, O, B = 2, 5, 3, 2
    layout = Layout(D, H, O, B, False, False, np.dtype("float64"), networks)
    memory = Recorded(layout)
    calls = floors.window_calls(memory, T, K, STEP, stacked)
    written = {
        "F1",
        "F2",
        "F3",
        "B1",
        "B2",
        "B3",
        "B6",
        "U1",
        *(["B4, B5"] if stacked else ["B4", "B5"]),
    }
    assert {call.equation for call in calls} == written
    (params, x, target, h_0), arrays = (
        window("", "float64", T=T, B=B, D=D, H=H, O=O).arrays(),
        iter(memory.made[2:]),
    )
    if stacked:
        z = next(arrays)
        z_x, z_h = z[..., :D], z[..., D:]
    else:
        z_x, z_h = next(arrays), next(arrays)
    _, _, y, given, *_, last, transposed = arrays
    z_x[..., : T * B, :], z_h[..., :B, :], given[...] = (
        x.reshape(-1, D),
        h_0,
        target[-K:].reshape(-1, O),
    )
    for value, part in zip((np.concatenate(params[:2]), params.W_hy), layout.stacked(memory.theta)):
        part[...] = value
    if stacked and K == T > 1:
        transposed[...] = np.concatenate((params.W_hy.T, params.W_hh.T))
        last[..., T * B :, O:] = 0  # no gradient comes from later steps
    else:
        transposed[...] = params.W_hh.T
    calls[-2].arguments[1][...] = 0.25
    theta = memory.theta.copy()
    make(calls)
    activations = numpy_rnn.forward(params, x, h_0)
    wanted = np.concatenate((activations.y[: T - K], target[T - K :]))  # earlier steps have no loss
    expected = numpy_rnn.bptt(params, activations, wanted)
    for value, part in zip(
        (np.concatenate(expected[:2]), expected.W_hy), layout.stacked(memory.gradient)
    ):
        np.testing.assert_allclose(
            part, np.broadcast_to(0.25 * value, part.shape), rtol=1e-12, atol=1e-14
        )
    np.testing.assert_array_equal(memory.theta, theta - memory.gradient)
    np.testing.assert_allclose(
        y, np.broadcast_to(activations.y[T - K :].reshape(-1, O), y.shape), rtol=1e-12
    )


@pytest.mark.parametrize(
    ("updates", "terms", "networks"), [(1, 4, None), (3, 1, None), (3, 4, 2), (1, 4, 2)]
)
def test_bare_calls_sum_the_losses(updates, terms, networks):
    memory = Recorded(Layout(1, 2, 1, 1, False, False, np.dtype("float64"), networks))
    calls, error = floors.loss_calls(memory, updates, terms), memory.made[2].copy()
    results = [call.function(*call.arguments) for call in calls if call.equation == "L1"]
    expected = (error**2).sum(axis=-1)
    if networks or updates > 1:
        np.testing.assert_allclose(results[-1], expected / 2)
    else:
        np.testing.assert_allclose((results[0], *calls[1].arguments), (expected[0], 0.5, 0.5))


def test_bare_calls_of_a_character_model_are_cross_entropy_and_adagrad(monkeypatch):
    made = []
    monkeypatch.setattr(floors, "Memory", lambda layout: made.append(Recorded(layout)) or made[-1])
    calls = floors.character_calls(TEXT[1]._replace(dtype="float64", T=25), stacked=True)
    (memory,) = made
    y, target, _, losses, v, _ = memory.made[-6:]
    target[...] = np.eye(4)[np.arange(25) % 4]
    scores, theta, gradient = y.copy(), memory.theta.copy(), memory.gradient.copy() * 9
    memory.gradient *= 9
    make(call for call in calls if call.equation in ("L3", "L4") or call.equation > "U")
    probabilities = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(y, probabilities)
    np.testing.assert_allclose(losses, -np.log(probabilities[target == 1]))
    clipped = np.clip(gradient, -5, 5)
    assert (clipped != gradient).any()
    np.testing.assert_allclose(v, 1 + clipped**2)
    rounding = 2 * np.finfo(float).eps * np.abs(theta).max()  # of the new θ, and of the difference
    np.testing.assert_allclose(
        theta - memory.theta, 1e-8 * clipped / np.sqrt(v + 1e-8), 1e-12, rounding
    )


@pytest.mark.parametrize(
    "case", [DEFAULT_EXPERIMENT, ENSEMBLES[1], point(64, 8), point(256, 1, 100)]
)
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
    starts = [
        array.__array_interface__["data"][0] % CACHE_LINE
        for array in arrays
        if array.nbytes >= 2**8
    ]
    assert len(starts) > 100
    assert not any(starts)


def flops(calls):
    """Floating-point operations of the products: two per term."""
    return sum(
        2 * call.arguments[2].size * call.arguments[0].shape[-1]
        for call in calls
        if call.is_product
    )


@pytest.mark.parametrize("stacked", [True, False])
def test_products_have_the_flops_of_the_equations(stacked):
    T, B, D, H, O = 5, 3, 2, 7, 4
    products = (
        T * B * (2 * D * H + 2 * H * H + 3 * H * O) + (T - 1) * B * H * H
    )  # B2 without the last step
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
