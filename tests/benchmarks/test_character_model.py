"""The character model of the benchmark: its text, its rows, the bounds of its check, and wrong programs are refused."""

import numpy as np
import pytest

import numpy_rnn
from benchmarks import rows
from benchmarks.agreement import REQUIRED_OUTPUTS, judge
from benchmarks.character_drift import character_bounds, updates, window_of
from benchmarks.rows import CHARACTER_ROWS, CHARACTERS, PARAMETERS
from benchmarks.workloads import CHARACTER_MODELS, CHECKED_UPDATES, SUCCESSORS, character_model, first_updates
from numpy_rnn.conformance.bounds.local_bounds import TAU, ratios, stages

FLOAT64, FLOAT32 = CHARACTER_MODELS
# The scope makes all tests of one model follow one another: its bounds are computed once.
EVERY_DTYPE = pytest.mark.parametrize("case", CHARACTER_MODELS, ids=lambda case: case.dtype, scope="module")
CLIP = numpy_rnn.clip_by_value


def test_the_model_is_that_of_min_char_rnn():
    assert [case.dtype for case in CHARACTER_MODELS] == ["float64", "float32"]
    for case in CHARACTER_MODELS:
        assert (case.H, case.D, case.O, case.B, case.k2, case.learning_rate) == (100, 65, 65, 1, 25, 0.1)
        assert (case.T, case.points) == (2500, 100)
        params, x, target, h_0 = case.arrays()
        assert {array.dtype for array in (*params[:5], h_0)} == {np.dtype(case.dtype)}
        for W in params[:3]:
            assert W.std() == pytest.approx(0.01, rel=0.05)  # five standard errors, 1/√(2·6500), of the smallest W
        assert not any(array.any() for array in (params.b_h, params.b_y, h_0))
        np.testing.assert_array_equal(x[1:], target[:-1])


def test_each_character_of_the_text_is_followed_by_one_of_four():
    _, x, target, _ = FLOAT64.arrays()
    followers = {c: set(target[x == c].tolist()) for c in range(65)}
    assert max(map(len, followers.values())) == SUCCESSORS
    assert len({*x[:, 0].tolist()}) > 60
    _, beginning, *_ = first_updates(FLOAT64).arrays()
    np.testing.assert_array_equal(beginning, x[:250])


# -- rows -----------------------------------------------------------------------------------------------------------


def result(name, case):
    row = rows.load(name)
    if (reason := row.absent()) is not None:
        pytest.skip(reason)
    return row.tasks[CHARACTERS](case).result()


@EVERY_DTYPE
@pytest.mark.parametrize("name", CHARACTER_ROWS)
def test_a_row_agrees(name, case):
    agreement = judge(CHARACTERS, case, result(name, case))
    assert agreement.holds, agreement


@pytest.mark.parametrize("name", CHARACTER_ROWS)
def test_a_call_is_a_training_from_the_initial_weights(name):
    """As long as the case, and the same again: nothing is left over from the call before."""
    case = character_model("short", updates=12, H=10, characters=7)
    checked = result(name, case)["losses"]
    prepared = rows.load(name).tasks[CHARACTERS](case)
    first, again = (np.array([float(loss) for loss in prepared.call()[0]]) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert first.shape == (12,)
    np.testing.assert_array_equal(checked, first[:10])


# -- the check ------------------------------------------------------------------------------------------------------


@EVERY_DTYPE
def test_the_program_of_the_check_is_within_the_bounds_of_the_definition(case):
    """Level L1, in every update and in float64: so the drift is not the effect of a mistake."""
    count = 0
    for count, report in enumerate(updates(first_updates(case)), start=1):
        for name, (expected, allowed) in stages(window_of(case, report, "float64"), report, TAU).items():
            assert (ratios(np.abs(report[name] - expected), allowed) <= 1).all(), (count, name)
    assert count == CHECKED_UPDATES[case.dtype]


@EVERY_DTYPE
def test_a_wrong_number_is_refused_and_named(case):
    right = result("numpy_rnn", case)
    for name in REQUIRED_OUTPUTS[CHARACTERS]:
        _, allowed = character_bounds(first_updates(case))[name]
        wrong = np.array(right[name], order="C")
        wrong.reshape(-1)[-1] += np.asarray(3 * allowed.reshape(-1)[-1], wrong.dtype)
        agreement = judge(CHARACTERS, case, right | {name: wrong})
        assert not agreement.holds
        assert agreement.text.startswith(f"the largest difference is in {name}, ")


@EVERY_DTYPE
def test_the_bound_of_the_first_losses_is_of_the_size_of_rounding(case):
    """Of 25 terms, each with some tens of roundings: before training amplifies them."""
    value, allowed = character_bounds(first_updates(case))["losses"]
    assert allowed[1] < 25 * 50 * np.finfo(case.dtype).eps * value[1]
    assert (np.diff(allowed) >= 0).all()


# -- wrong programs are refused -------------------------------------------------------------------------------------


def train(case, *, clip=lambda d: CLIP(d, 5.0), squares_of=None, scale=lambda m: np.sqrt(m + m.dtype.type(1e-8)),
          reduction="sum", carried=True, steps=(1, 1, 1, 1, 1), rate=0.1):  # fmt: skip
    """The model by the functions of the reference, and what a wrong program may do otherwise."""
    params, x, target, h = case.arrays()
    squares = [np.zeros_like(p) for p in params[:5]]
    losses = []
    for first in range(0, case.T, case.k2):
        chunk = slice(first, first + case.k2)
        activations = numpy_rnn.forward(params, x[chunk], h)
        options = {"loss": "cross_entropy", "reduction": reduction}
        gradients = numpy_rnn.bptt(params, activations, target[chunk], **options)
        losses.append(numpy_rnn.cross_entropy(activations.y, target[chunk], reduction=reduction))
        h = activations.h[-1] if carried else h
        clipped = clip(gradients)[:5]
        squares = [m + d * d for m, d in zip(squares, (gradients if squares_of == "unclipped" else clipped)[:5])]
        moved = [p - p.dtype.type(rate * n) * d / scale(m) for p, d, m, n in zip(params[:5], clipped, squares, steps)]
        params = params._replace(**dict(zip(PARAMETERS, moved)))
    return {"losses": np.array(losses), **dict(zip(PARAMETERS, params[:5]))}


WRONG = {
    "the root without 1e-8": {"scale": lambda m: np.sqrt(m) + m.dtype.type(1e-8)},
    "torch's 1e-10 after the root": {"scale": lambda m: np.sqrt(m) + m.dtype.type(1e-10)},
    "Adagrad without a root": {"scale": lambda m: m + m.dtype.type(1e-8)},
    "clipping by norm": {"clip": lambda d: numpy_rnn.clip_by_global_norm(d, 5.0)},
    "no clipping": {"clip": lambda d: d},
    "clipping at 4": {"clip": lambda d: CLIP(d, 4.0)},
    "squares of gradients before clipping": {"squares_of": "unclipped"},
    "the mean of the losses": {"reduction": "mean"},
    "a zero state for each chunk": {"carried": False},
    "no hidden bias": {"steps": (1, 1, 1, 0, 1)},
    "two hidden biases": {"steps": (1, 1, 1, 2, 1)},
    "no output bias": {"steps": (1, 1, 1, 1, 0)},
    "another rate": {"rate": 0.1001},
}
FROM_UPDATE_4 = (
    "no clipping",
    "clipping at 4",
    "squares of gradients before clipping",
)  # no gradient is as large before


@EVERY_DTYPE
def test_the_model_by_the_functions_of_the_reference_agrees(case):
    assert judge(CHARACTERS, case, train(first_updates(case))).holds


@EVERY_DTYPE
@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_program_is_refused(name, case):
    """In float32 training is chaotic before the first gradient is clipped; float64 refuses these rows."""
    agreement = judge(CHARACTERS, case, train(first_updates(case), **WRONG[name]))
    assert agreement.holds == (case is FLOAT32 and name in FROM_UPDATE_4), agreement
