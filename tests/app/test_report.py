"""Predictions, and the text that a run prints of made-up numbers; every snapshot was checked by eye."""

import numpy as np
import pytest
from comparing import bits
from in_process import configured
from inline_snapshot import snapshot
from made_up import made_up

import numpy_rnn
from numpy_rnn import Parameters
from numpy_rnn.app import report, results
from numpy_rnn.app.checkpoint import save_parameters
from numpy_rnn.app.experiment import Experiment, prepare
from numpy_rnn.app.results import predict
from numpy_rnn.common.format import format_number
from numpy_rnn.common.records import Objective

HEADINGS = """
--bias --nonlinearity relu --reduction mean | biases, reduction mean, k1=1 k2=1, learning rate 0.1, float32, seed 0
--momentum 0.9 --dampening 0.5 --weight-decay 1e-4 | momentum 0.9, dampening 0.5, weight decay 0.0001, float32, seed 0
--max-norm 2 --seed 7 --seeds 3 | learning rate 0.1, max norm 2, float32, seeds 7 to 9
--nesterov --learning-rate 1e-5 --weights w.npz | learning rate 1e-05, nesterov, float32, weights from w.npz
--learning-rate 0 | k1=1 k2=1, learning rate 0, float32, seed 0
--learn-initial-state --standardize --held-out 2 | initial state learned, standardized, 2 rows held out, float32, seed 0
"""


@pytest.mark.parametrize("case", HEADINGS.strip().splitlines())
def test_heading(case):
    options, ending = case.split(" | ")
    configuration = configured(options)
    save_parameters("w.npz", numpy_rnn.initial_parameters())
    experiment = prepare(configuration)._replace(columns=("tab\there\udcff", *"bcdefghij"))
    heading = report.heading("numpy_rnn", experiment, configuration)
    names = "tab\\there\\udcff, b, c, d, e, f, g, h, ..."
    assert heading.startswith(f"numpy_rnn: sine wave (columns {names}), T=20 B=1 D=1 H=6 O=1, ")
    assert heading.endswith(f", {ending}")


def test_loss_rows():
    rows = [
        report.loss_heading(()),
        report.loss_row(300, np.float64(0.1737856)),
        report.loss_heading((2, 3)),
        report.loss_row(20, np.arange(1.0, 12.0)),  # of 1 to 11, the 10th percentile is 2
        report.loss_row(20, np.array([np.nan, 6.0, np.inf])),
    ]
    assert "\n".join(rows) == snapshot("""\
epoch          loss
  300      0.173786
epoch   median loss           10 %           90 %   of 6 networks
   20      6.000000       2.000000      10.000000
   20      6.000000       6.000000       6.000000\
""")


def tables(**sizes):
    experiment, made = made_up(**sizes)
    result = made["numpy_rnn"]
    if sizes.get("E") == (4,):
        result.predictions[2, 1] = np.inf  # the second network diverged
    return f"{report.series_table(experiment, result)}\n{report.error_table(experiment, result)}"


def test_tables_of_an_ensemble_on_several_columns():
    """Medians of networks 1, 3 and 4 in units of the series: the errors are 30 for the median network."""
    assert tables(T=6, D=2, E=(4,), held_out=3, G=4, scaled=True) == snapshot("""\
  time  actual feature 1  median predicted feature 1  free-running feature 1  actual feature 2  median predicted feature 2  free-running feature 2
     2         60.000000                   90.000000                               1060.000000                 1090.000000
     3         90.000000                   60.000000                               1090.000000                 1060.000000
     4        140.000000                  170.000000                               1140.000000                 1170.000000
     5        210.000000                  180.000000            10070.000000       1210.000000                 1180.000000            10070.000000
     6        300.000000                  330.000000            10080.000000       1300.000000                 1330.000000            10080.000000
     7        410.000000                  380.000000            10090.000000       1410.000000                 1380.000000            10090.000000
     8                                                          10100.000000                                                          10100.000000
one step ahead, root mean square error      network   persistence baseline
trained on, 3 steps, feature 1            30.000000              34.156503
trained on, 3 steps, feature 2            30.000000              34.156503
held out, 3 steps, feature 1              30.000000              91.469485
held out, 3 steps, feature 2              30.000000              91.469485\
""")


def test_long_tables_are_cut():
    """Forty rows of the series, and the first hundred free-running values."""
    table = tables(T=100, G=1234, P=50, D=25).splitlines()
    short = [line for line in table if "..." in line]
    assert short == [
        f"   ...  ({what})" for what in ("60 earlier times", "1134 later times", "5 more columns")
    ]
    assert len(table) == 1 + 1 + 40 + 100 + 1 + 1 + 20 + 1
    assert [table[place].split()[0] for place in (2, 41, 141)] == ["62", "101", "201"]
    assert table[42].split()[1] == "1000.000000"


# -- predictions ----------------------------------------------------------------------------------------------------

# The networks here compute without rounding, so that "the same" is the same to the bit: relu, whole numbers, and a W_hh
# that hands on what it holds from unit to unit, so that the state remembers the last inputs.

MAX_PREDICTED, STEPS_PER_PASS = (
    1000,
    100,
)  # a tenth of what they are, so that a short series is a long one
DELAYS = (1, 2, 0, 3)  # what the output is: 1 × the input, 2 × the one before, and so on
H = len(DELAYS)


def network(E, learned):
    """Networks whose outputs are multiples: 1, 2, and so on."""
    weights = np.eye(1, H), np.eye(H, k=1), np.array(DELAYS, float)[:, None], None, None, learned
    params = Parameters(
        *(
            None if theta is None else np.broadcast_to(theta, (*E, *theta.shape))
            for theta in weights
        )
    )
    return params._replace(W_hy=params.W_hy * factors(E)[..., None])


def factors(E):
    return np.arange(1.0, 1 + np.prod(E, dtype=int)).reshape(E)[..., None]


def expected(x, h_0):
    """y_t = Σ_j w_j x_{t-j}, where the inputs before the first are those that the state holds, the newest first."""
    held = np.concatenate([h_0.ravel()[::-1], x])
    return sum(w * held[H - j : H - j + len(x)] for j, w in enumerate(DELAYS))


@pytest.mark.parametrize("learned", [False, True])
@pytest.mark.parametrize(
    ("T", "E", "held_out", "steps"),
    [
        (1, (), 0, 7),
        (4, (2, 2), 0, 0),
        (101, (1,), 90, 2),
        (2500, (), 90, 1),
        (2500, (3,), 1111, 0),
        (2480, (), 150, 3),
    ],
)
def test_predictions_in_parts_are_those_of_one_pass(
    rnn, monkeypatch, T, E, held_out, steps, learned
):
    """The last ones of a long series are kept, and its activations are never all in memory."""
    passes, forward = [], results._forward
    monkeypatch.setattr(results, "MAX_PREDICTED", MAX_PREDICTED)
    monkeypatch.setattr(results, "STEPS_PER_PASS", STEPS_PER_PASS)
    monkeypatch.setattr(
        results, "_forward", lambda *args: passes.append(len(args[2])) or forward(*args)
    )
    x, state = (
        np.random.default_rng(T).integers(0, 9, T).astype(float),
        np.array([[1.0, 2.0, 3.0, 4.0]]),
    )
    series = x[:, None, None]
    experiment = Experiment(
        "", series, series, state, network(E, state if learned else None), held_out=held_out
    )
    one, free = predict(rnn, experiment.params, experiment, Objective("relu"), steps)
    wanted = expected(x, state)[-MAX_PREDICTED:]
    assert bits(one) == bits(wanted.reshape(-1, *(1 for _ in E), 1) * factors(E))
    fed = x[: T - held_out]
    for _ in range(
        steps + 1
    ):  # every value is the prediction after the series and all values before it
        fed = np.append(fed, expected(fed, state)[-1])
    assert bits(free) == bits(fed[T - held_out + 1 :].reshape(steps, *E, 1))
    assert max(passes) <= STEPS_PER_PASS


def test_numbers_are_small_or_large_at_the_same_places():
    texts = {
        0.0: "0.000000",
        9.99e-4: "9.99000e-04",
        1e-3: "0.001000",
        999999.0: "999999.000000",
        -1e6: "-1.00000e+06",
    }
    assert {value: format_number(value) for value in texts} == texts
    assert format_number(1e-9, 0, scale=1.0) == "0.000000"  # of a column
    assert format_number(1.0, 12, scale=1e6) == " 1.00000e+00"
