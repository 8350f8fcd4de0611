"""The equations of DERIVATION.md: their ids in the code, and one number for each, which
a reader can check on paper.

The network has two hidden units and runs over two steps, with relu:

    x = 1, 2        W_xh = (1 2)      h_0 = (1 0)       target = 0, 3
    b_h = (0 -3)    W_hh = (1 0)      W_hy = (1)        b_y = -1
                           (1 1)             (2)

    a_1 = 1 (1 2) + (1 0) W_hh + (0 -3) = (1 2) + (1 0) + (0 -3) = (2 -1)
    h_1 = (2 0)     y_1 = 2·1 + 0·2 - 1 = 1
    a_2 = 2 (1 2) + (2 0) W_hh + (0 -3) = (2 4) + (2 0) + (0 -3) = (4 1)
    h_2 = (4 1)     y_2 = 4·1 + 1·2 - 1 = 5

    dy = 1 - 0, 5 - 3 = 1, 2      L = (1 + 4) / 2
    dh_2 = 2 (1 2) = (2 4)        da_2 = (2 4), both units are positive
    dh_1 = 1 (1 2) + (2 4) W_hhᵀ = (1 2) + (2 6) = (3 8)
    da_1 = (3 0), as the second unit is not positive
    dh_0 = (3 0) W_hhᵀ = (3 3)    dx = 3·1 + 0·2, 2·1 + 4·2 = 3, 10

    dW_xh = 1 (3 0) + 2 (2 4) = (7 8)         dW_hy = (2 0) 1 + (4 1) 2 = (10 2)
    dW_hh = (1 0)ᵀ (3 0) + (2 0)ᵀ (2 4)  has (3 0) + (4 8) = (7 8) in its first row
    db_h = (3 0) + (2 4) = (5 4)              db_y = 1 + 2 = 3

The steps below are those of W_hh[0, 0], which is 1 and has the gradient 7, at the rate
0.5. Every velocity is v = 4 before, or 15 where it is a sum of squares.
"""

import io
import math
import re
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pytest

import numpy_rnn
from numpy_rnn import Gradients, Parameters
from numpy_rnn.common.records import Objective, Step
from numpy_rnn.common.trees import tree_map
from numpy_rnn.conformance.case import equations

NUMPY_RNN = Path(numpy_rnn.__file__).parent
DOCUMENT = (NUMPY_RNN / "DERIVATION.md").read_text("utf-8")
ID = re.compile(r"\(([A-Z][1-9][0-9]?)\)")
DEFINED = re.findall(rf"\*\*{ID.pattern}\*\*", DOCUMENT)
# Equations that a folder leaves to another one.
ELSEWHERE = {
    "numpy_rnn": set(),
    "numpy_rnn/engine": {"T1", "T2"},  # the windows are shared
    "torch_rnn": {f"B{n}" for n in range(1, 11)},  # by autograd
}

WORKED_WEIGHTS = [[[1, 2]], [[1, 0], [1, 1]], [[1], [2]], [0, -3], [-1]]
PARAMS = Parameters(*(np.array(theta, float) for theta in WORKED_WEIGHTS))
X = np.array([1.0, 2.0]).reshape(2, 1, 1)
TARGET = np.array([0.0, 3.0]).reshape(2, 1, 1)
H_0 = np.array([[1.0, 0.0]])
WINDOW = {"k1": 2, "k2": 2, "epochs": 1, "learning_rate": 0.5, "nonlinearity": "relu"}

NUMBERS = {  # the field of a recorded Update, and its elements in order
    "F1": ("activations.a", [2, -1, 4, 1]),
    "F2": ("activations.h", [1, 0, 2, 0, 4, 1]),
    "F3": ("activations.y", [1, 5]),
    "L1": ("loss", [2.5]),
    "B1": ("adjoints.dy", [1, 2]),
    "B2": ("adjoints.dh", [3, 8, 2, 4]),
    "B3": ("adjoints.da", [3, 0, 2, 4]),
    "B4": ("gradients.W_xh", [7, 8]),
    "B5": ("gradients.W_hh", [7, 8, 0, 0]),
    "B6": ("gradients.W_hy", [10, 2]),
    "B7": ("gradients.b_h", [5, 4]),
    "B8": ("gradients.b_y", [3]),
    "B9": ("adjoints.dh_0", [3, 3]),
    "B10": ("adjoints.dx", [3, 10]),
}
# The squares of all gradients add up to 49 + 64 + 49 + 64 + 100 + 4 + 25 + 16 + 9.
NORM = math.sqrt(380)
SQUARE_ROOT = math.sqrt(64 + 1e-8)
WORKED_STEPS = {  # options, v before, W_hh[0, 0] after, v after
    "U1": ({}, None, 1 - 0.5 * 7, None),
    "U2": ({"max_norm": 2 * NORM}, None, 1 - 0.5 * 7, None),
    "U3": ({"max_norm": 1.0}, None, 1 - 0.5 * 7 / (NORM + 1e-6), None),
    "U4": ({"weight_decay": 0.5}, None, 1 - 0.5 * (7 + 0.5 * 1), None),
    # v = 0.5·4 + 0.75·7 = 7.25
    "U5": ({"momentum": 0.5, "dampening": 0.25}, 4, 1 - 0.5 * 7.25, 7.25),
    # v = 0.5·4 + 7 = 9, and the direction is 7 + 0.5·9 = 11.5
    "U6": ({"momentum": 0.5, "nesterov": True}, 4, 1 - 0.5 * 11.5, 9),
    "U7": ({"max_value": 2.0}, None, 1 - 0.5 * 2, None),
    # v = 15 + 49 = 64, and the direction is 7/8, but for 10⁻⁸ in the root
    "U8": ({"adagrad": True}, 15, 1 - 0.5 * 7 / SQUARE_ROOT, 64),
    "U9": ({"adagrad": True}, 15, 1 - 0.5 * 7 / SQUARE_ROOT, 64),
}
OTHERS = {"F4", "L2", "L3", "L4", "T1", "T2", "T3"}  # with a test of their own


def test_every_id_is_defined_once():
    assert sorted(DEFINED) == sorted(set(ID.findall(DOCUMENT)))


@pytest.mark.parametrize("folder", ELSEWHERE)
def test_every_equation_is_computed_by_a_line_with_its_id(folder):
    """The test reads the sources as text, so it imports no torch."""
    in_comments = set()
    for path in (NUMPY_RNN.parent / folder).glob("*.py"):
        code = path.read_text(encoding="utf-8")
        for comment in re.findall(r"^ *[^# ].*  # (.*)$", code, re.MULTILINE):
            in_comments |= {*ID.findall(comment)}
    assert in_comments == {*DEFINED} - ELSEWHERE[folder]


def test_program_of_the_document_finds_rounding_alone():
    """It prints the largest error of a gradient: 45 eps are allowed."""
    [code] = re.findall(r"^```python\n(.*?)^```$", DOCUMENT, re.DOTALL | re.MULTILINE)
    with redirect_stdout(io.StringIO()) as output:
        exec(compile(code, "DERIVATION.md", "exec"), {})
    assert float(output.getvalue()) < 1e-14


def test_every_equation_has_its_numbers():
    differing = {*NUMBERS, *WORKED_STEPS, *OTHERS} ^ {*DEFINED}
    assert not differing, f"{differing}: expected in NUMBERS, WORKED_STEPS or OTHERS"


def trained(rnn, params=PARAMS, x=X, target=TARGET, **options):
    """Train on the window above, or one that differs in these arguments."""
    arrays = (rnn.from_numpy(array) for array in (params, x, target, H_0))
    if "velocity" in options:
        options["velocity"] = rnn.from_numpy(options["velocity"])
    return rnn.train(*arrays, **WINDOW | {"record": True} | options)


def numbers(rnn, update, name):
    """Return the numbers of a field of an update, or of a record in it."""
    value = update
    for part in name.split("."):
        value = getattr(value, part)
    return np.ravel(rnn.to_numpy(value))


def assert_close(values, expected):
    """Fail unless the numbers agree to eight eps.

    Sums of integers, halves and quarters are exact. Roots, exponentials and logarithms
    are within one eps. The largest error is that of p − 1 = −1/4, (L3): p = 3/4 is
    within 2.3 eps, of which e^−ln 3 = 1/3 and the sum have 1, the logarithm of 4/3
    0.3 and the last exponential 1; and p − 1 has three times its relative error.
    """
    np.testing.assert_allclose(values, expected, rtol=8 * np.finfo(float).eps)


@pytest.mark.with_reference
@pytest.mark.parametrize("equation", NUMBERS)
def test_window(rnn, equation):
    name, expected = NUMBERS[equation]
    assert_close(numbers(rnn, next(trained(rnn)), name), expected)


@pytest.mark.with_reference
@pytest.mark.parametrize("equation", WORKED_STEPS)
def test_step(rnn, equation):
    options, before, after, velocity = WORKED_STEPS[equation]
    if before is not None:
        filled = tree_map(lambda theta: np.full_like(theta, before), PARAMS)
        options = options | {"velocity": Gradients(*filled)}
    update = next(trained(rnn, **options))
    assert_close(numbers(rnn, update, "parameters.W_hh")[0], after)
    if velocity is not None:
        assert_close(numbers(rnn, update, "velocity.W_hh")[0], velocity)


@pytest.mark.parametrize("equation", WORKED_STEPS)
def test_verdicts_name_the_equation(equation):
    """They name those of a step, or of its velocity, by its options."""
    step = Step(0.5, **WORKED_STEPS[equation][0])
    ids = equations("W_hh", Objective(), step)
    if step.has_velocity:
        ids += ", " + equations("vW_hh", Objective(), step)
    assert equation in ids.split(", "), "expected in `equations` of conformance/case.py"


@pytest.mark.with_reference
def test_F4_classes_are_one_hot_rows(rnn):
    """The classes 1, 0 of D = 2 are the rows (0 1), (1 0)."""
    params = PARAMS._replace(W_xh=np.ones((2, 2)))
    update = next(trained(rnn, params, x=np.array([[1], [0]])))
    assert_close(numbers(rnn, update, "activations.x"), [0, 1, 1, 0])


@pytest.mark.with_reference
def test_L2_mean_divides_by_the_number_of_terms(rnn):
    """There are two steps of one output: L = 2.5 / 2, and gradients are halved."""
    update = next(trained(rnn, reduction="mean"))
    assert_close(numbers(rnn, update, "loss"), 1.25)
    assert_close(numbers(rnn, update, "gradients.b_y"), 1.5)


@pytest.mark.with_reference
def test_L3_L4_cross_entropy(rnn):
    """The outputs are (0 ln 3) at both steps, so p = (1/4 3/4). The classes 1 and 0
    give ℓ = ln 4/3 + ln 4, and dy = (1/4 -1/4), (-3/4 3/4).
    """
    params = PARAMS._replace(W_hy=np.zeros((2, 2)), b_y=np.array([0, math.log(3)]))
    classes = np.array([[1], [0]])
    update = next(trained(rnn, params, target=classes, loss="cross_entropy"))
    assert_close(numbers(rnn, update, "loss"), math.log(4 / 3) + math.log(4))
    expected = [0.25, -0.25, -0.75, 0.75]
    assert_close(numbers(rnn, update, "adjoints.dy"), expected)


@pytest.mark.with_reference
def test_T1_T2_windows(rnn):
    """The updates of seven steps end at 3, 6 and 7, and have two older steps."""
    windows = [tuple(window) for window in rnn.windows(7, k1=3, k2=5)]
    assert windows == [(0, 0, 3), (1, 3, 6), (4, 6, 7)]
    assert not list(rnn.windows(0, k1=3, k2=5))


@pytest.mark.with_reference
def test_T3_state_is_carried(rnn):
    """The second chunk of one step starts from h_1 = (2 0), a constant, as the weights
    do not change: dW_xh = 2 (2 4), without a part of step 1.
    """
    _, second = trained(rnn, k1=1, k2=1, learning_rate=0.0)
    assert_close(numbers(rnn, second, "activations.h"), [2, 0, 4, 1])
    assert_close(numbers(rnn, second, "gradients.W_xh"), [4, 8])
