"""The text that a run prints, from made-up numbers."""

import re

import numpy as np
import pytest
from comparing import assert_within
from in_process import configured, losses
from made_up import made_up as of_many

import numpy_rnn
from numpy_rnn import Parameters
from numpy_rnn.app import report
from numpy_rnn.app.configuration import Configuration
from numpy_rnn.app.experiment import Scaling, scaling_of
from numpy_rnn.app.format import error_line, format_number
from numpy_rnn.app.results import Result
from numpy_rnn.app.series import inputs_and_targets


def made_up(scale=1.0, scaling=None, **sizes):
    experiment, results = of_many(**{"T": 4, "G": 2, "epochs": 3} | sizes)
    result = results["numpy_rnn"]
    x, target, y, following = (scale * v for v in (*experiment[1:3], result.predictions, result.generated))
    experiment = experiment._replace(x=x, target=target, scaling=scaling)
    return experiment, result._replace(predictions=y, generated=following)


HEADINGS = """
--reduction mean | tanh, no biases, reduction mean, k1=1 k2=1, learning rate 0.1, float32, seed 0
--bias --nonlinearity relu | relu, biases, reduction sum, k1=1 k2=1, learning rate 0.1, float32, seed 0
--k1 2 --k2 3 --learning-rate 1e-3 --seed 7 --dtype float64 | k1=2 k2=3, learning rate 0.001, float64, seed 7
--momentum 0.9 --dampening 0.5 --weight-decay 1e-4 | momentum 0.9, dampening 0.5, weight decay 0.0001, float32, seed 0
--max-norm 2 --seed 7 --seeds 3 | learning rate 0.1, max norm 2, float32, seeds 7 to 9
--nesterov --learning-rate 0.1,1e-5 --weights w.npz | learning rates 0.1 1e-05, nesterov, float32, weights from w.npz
--learn-initial-state --standardize --held-out 2 | initial state learned, standardized, 2 rows held out, float32, seed 0
"""


@pytest.mark.parametrize("case", HEADINGS.strip().splitlines())
def test_the_heading_describes_the_run(case):
    options, ending = case.split(" | ")
    c = configured(options)
    params = numpy_rnn.initial_parameters(1, 5, 1, bias=bool(c.bias), dtype=c.dtype or "float32", networks=c.networks)
    heading = report.heading(["numpy_rnn", "torch_rnn"], made_up()[0]._replace(params=params), c)
    assert heading.startswith("numpy_rnn and torch_rnn: made up, T=4 B=1 D=1 H=5 O=1, ")
    assert heading.endswith(f", {ending}")


def test_loss_rows():
    assert report.loss_heading(()) == "epoch          loss"
    assert report.loss_row(300, np.array(0.1737856)) == "  300      0.173786"
    assert report.loss_heading((2, 3)) == "epoch   median loss           10 %           90 %   of 6 networks"
    row = report.loss_row(20, np.arange(1.0, 12.0))  # of 1 to 11, the 10th percentile is 2
    assert row == "   20      6.000000       2.000000      10.000000"
    assert report.loss_row(20, np.array([np.nan, 6.0, np.inf])) == "   20      6.000000       6.000000       6.000000"
    # a sweep
    assert report.loss_heading((2,), (0.1, 1e-5)) == "epoch      rate 0.1    rate 1e-05"
    assert report.loss_heading((2, 3), (0.1, 1e-5)).endswith("    rate 1e-05   medians of 3 networks each")
    assert report.loss_row(20, np.array([0.5, 2e-7]), (0.1, 1e-5)) == "   20      0.500000   2.00000e-07"
    losses = np.array([[1, 2, 9], [np.nan, 4, np.inf]])
    assert report.loss_row(20, losses, (0.1, 1e-5)) == "   20      2.000000      4.000000"
    assert report.loss_row(20, np.array([0.5, np.nan]), (0.1, 1e-5)) == "   20      0.500000           nan"


def test_numbers_have_six_decimals_unless_their_scale_needs_an_exponent():
    for value, scale, text in (
        (0.0, None, "0.000000"),
        (0.001, None, "0.001000"),
        (9e-4, None, "9.00000e-04"),
        (999999.4, None, "999999.400000"),
        (1e6, None, "1.00000e+06"),
        (5.0, 1e-5, "5.00000e+00"),
    ):
        assert format_number(value, scale=scale) == text
        assert format_number(value, 20, scale) == text.rjust(20)


def test_a_long_message_is_one_line_that_keeps_its_beginning_and_its_end():
    assert error_line("a\tb\n c\x1b") == "a b c\\x1b"
    message = error_line("begin " + "x" * 5000 + ": expected the end")
    assert message.startswith("begin xxx")
    assert message.endswith("xxx: expected the end")
    assert 900 < len(message) <= 1000


UNITS = Scaling(np.array([100.0, -5.0]), np.array([20.0, 0.5]))
TABLES: dict[str, dict] = {  # T steps, D columns, G free-running steps, P predictions that are kept
    "one column": {},
    "small numbers": {"scale": 1e-6},
    "large numbers": {"scale": 1e9},
    "of five columns, the first three": {"D": 5},
    "in the units of the series": {"T": 6, "D": 2, "scaling": UNITS},
    "an ensemble, of which a network diverged": {"E": (4,)},
    "rows held out": {"T": 6, "G": 5, "held_out": 3},
    "rows held out, in units": {"T": 6, "D": 2, "held_out": 3, "scaling": UNITS},
    "no free-running step": {"G": 0},
    "a long continuation": {"G": 100},
    "a longer one, cut in the middle": {"G": 1234},
    "the end of a long series": {"T": 100, "G": 0},
    "its last predictions": {"T": 100, "G": 0, "P": 50},
    "of rows held out, all have predictions": {"T": 8, "D": 2, "held_out": 3, "P": 5},
    "no others have": {"T": 8, "D": 2, "held_out": 3, "P": 3, "scaling": UNITS},
    "not even all of these": {"T": 8, "D": 2, "held_out": 5, "P": 3},
}


def numbers_in(table):
    """The numbers of the table of a series, by time."""
    lines = [line.replace("free-running", "").split() for line in table.splitlines()[1:]]
    return {int(time): [float(cell) for cell in cells] for time, *cells in lines if time != "..."}


@pytest.mark.parametrize("case", TABLES)
def test_the_tables_have_the_numbers_of_the_run(case):
    """Of every time and for every column: the value, its prediction, and the free-running value, if there are any.

    And the errors of the predictions and of the persistence baseline, of each column by itself, as they may have
    different units; of an ensemble the error of the median network, and not that of the median prediction.
    """
    sizes = TABLES[case]
    experiment, result = made_up(**sizes)
    (T, _, D), P, rows_held_out = experiment.x.shape, len(result.predictions), experiment.held_out
    mean, unit = experiment.scaling or (np.zeros(D), np.ones(D))
    left = [0, 2, 3] if sizes.get("E") else [0]
    if sizes.get("E"):
        result.predictions[2, 1] = np.inf

    def in_units(values, networks):
        return values.reshape(-1, networks, D) * unit + mean

    before, target = (in_units(values, 1)[:, 0] for values in (experiment.x, experiment.target))
    y, following = (in_units(values, left[-1] + 1)[:, left] for values in (result.predictions, result.generated))
    columns = (0, target), (T - P, np.median(y, axis=1)), (T - rows_held_out, np.median(following, axis=1))
    expected = {}
    end = max(T, T - rows_held_out + len(following))
    for t in (t for t in range(max(0, T - 40), end) if end - T <= 100 or not T + 50 <= t < end - 50):
        cells = [(d, begin, values) for d in range(min(D, 3)) for begin, values in columns]
        expected[t + 2] = [values[t - begin, d] for d, begin, values in cells if begin <= t < begin + len(values)]
    table = report.series_table(experiment, result)
    found = numbers_in(table)
    assert list(found) == list(expected)
    has_exponents = "scale" in sizes
    for time, numbers in found.items():
        allowed = 5e-6 * np.abs(expected[time]) if has_exponents else 0.5e-6
        assert_within(np.array(numbers), np.array(expected[time]), allowed)
    heads = table.splitlines()[0]
    assert ("median predicted" in heads) == ("E" in sizes)
    assert ("free-running" in heads) == (rows_held_out > 0)
    assert (table.splitlines()[1] == "   ...  (60 earlier times)") == (T == 100)
    assert re.findall(r"\n   \.\.\.  \((\d+) later times?\)\n", table) == ["1134"] * (end - T > 100)
    assert len({len(line) for line in table.splitlines() if "..." not in line}) == 1

    wanted, border = {}, max(T - rows_held_out, T - P)
    for what, steps in (("trained on", range(T - P, border)), ("held out", range(border, T))):
        for d in range(D if steps else 0):
            of_networks = [rms(y[t - T + P, n, d] - target[t, d] for t in steps) for n in range(len(left))]
            naive = rms(before[t, d] - target[t, d] for t in steps)
            wanted[what, len(steps), f"feature {d + 1}" if D > 1 else None] = np.median(of_networks), naive
    of_table = errors(experiment, result)
    assert list(of_table) == list(wanted)
    for row, numbers in of_table.items():
        allowed = 5e-6 * np.abs(wanted[row]) if has_exponents else 0.5e-6
        assert_within(np.array(numbers), np.array(wanted[row]), allowed)


def test_actual_values_are_those_of_the_data_and_not_of_the_dtype():
    """0.1 in float32, multiplied by a deviation and added to a mean, comes back as another number."""
    series = np.array([[34.3, 1.23e-5], [166.4, 0.0], [1 / 3, -7.12345e-5], [59.1, 1.234567e-4]])
    scaling = scaling_of(series)
    x, target = inputs_and_targets(scaling.standardized(series), "float32")
    experiment, result = made_up(T=3, D=2, G=0)
    experiment = experiment._replace(x=x, target=target, series=series, scaling=scaling)
    rows = numbers_in(report.series_table(experiment, result))
    assert [row[0] for row in rows.values()] == [float(f"{value:.6f}") for value in series[1:, 0]]
    assert [row[2] for row in rows.values()] == [float(f"{value:.5e}") for value in series[1:, 1]]  # by its own size
    assert experiment._replace(held_out=1).trained().rows(1).tolist() == series[1:3].tolist()
    naive = [value for _, value in errors(experiment, result).values()]
    assert_within(np.array(naive), np.sqrt((np.diff(series, axis=0) ** 2).mean(axis=0)), np.array([5e-7, 5e-10]))


def test_columns_have_their_names():
    long, odd = "a very long name of a column", "tab\there\udcff"
    experiment, result = made_up(D=4)
    experiment = experiment._replace(columns=("spots", long, odd, "four"))
    head = re.split("  +", report.series_table(experiment, result).splitlines()[0].strip())
    names = ["spots", "a very long name of a...", "tab\\there\\udcff"]
    assert head == ["time", *(f"{what} {name}" for name in names for what in ("actual", "predicted"))]
    assert [name for _, _, name in errors(experiment, result)] == [*names, "four"]
    heading = report.heading(["numpy_rnn"], experiment, Configuration())
    assert heading.startswith(f"numpy_rnn: made up (columns spots, {long}, tab\\there\\udcff, four), T=4 ")
    many = experiment._replace(columns=tuple("abcdefg"))
    assert "made up (columns a, b, c, d, e and 2 more), T" in report.heading(["a"], many, Configuration())
    _, *rows, last = report.error_table(*made_up(D=25)).splitlines()
    assert [row.split()[5] for row in rows] == [str(n) for n in range(1, 21)]
    assert last == "   ...  (5 more columns)"


def errors(experiment, result):
    """The rows of the error table: (what, steps, column) → network, last value."""
    head, *rows = report.error_table(experiment, result).splitlines()
    assert re.split("  +", head) == ["one step ahead, root mean square error", "network", "persistence baseline"]
    assert {len(row) for row in rows if not row.startswith("   ...")} == {len(head)}
    pattern = r"(trained on|held out), (\d+) steps?(?:, ((?: ?\S+)+))? +(\S+) +(\S+)"
    parts = (re.fullmatch(pattern, row).groups() for row in rows)
    return {(what, int(steps), name): (float(network), float(naive)) for what, steps, name, network, naive in parts}


def rms(differences):
    """Root mean square of numbers, one by one."""
    squares = [float(difference) ** 2 for difference in differences]
    return (sum(squares) / len(squares)) ** 0.5


def test_of_a_sweep_the_tables_are_those_of_the_best_rate():
    experiment, result = made_up(T=5, E=(3,))
    result = result._replace(losses=np.array([[3.0, 1.0, 2.0]]))
    rates = experiment._replace(rates=(0.1, 0.2, 0.3))
    one = Result(result.losses[:, 1], result.params, result.predictions[:, 1], result.generated[:, 1])
    table, alone = (report.series_table(e, r).splitlines() for e, r in ((rates, result), (experiment, one)))
    assert table == [alone[0] + "   of learning rate 0.2", *alone[1:]]
    assert report.error_table(rates, result) == report.error_table(experiment, one)


NAN, INF = np.nan, np.inf


@pytest.mark.parametrize(
    ("a", "b", "rows", "end"),
    [
        ([3, 2, 1], [3, 2.5, 1.25], {1: [3, 3, 0], 2: [2, 2.5, 0.5], 3: [1, 1.25, 0.25]}, "5.0e-01, in epoch 2, where"),
        (
            [[3, 1, 2], [6, 4, 5]],
            [[3, 1, 2.5], [6, 4.75, 5]],
            {1: [2, 2.5, 0.5], 2: [5, 5, 0.75]},
            "7.5e-01, in epoch 2, where the loss of network 2 is 4",
        ),
        ([[3, 1], [NAN, 1]], [[3, 1.5], [INF, 1]], None, "5.0e-01, in epoch 1, where the loss of network 2 is 1"),
        ([[3, 1], [4, 1]], [[3, 1.5], [INF, 1]], None, "inf, in epoch 2, where the loss of network 1 is 4"),
    ],
    ids=["one network", "an ensemble", "both diverged", "one diverged"],
)
def test_the_comparison(a, b, rows, end):
    params, none = Parameters(*numpy_rnn.initial_parameters()), np.zeros(0)
    results = {name: Result(np.array(v, float), params, none, none) for name, v in (("one", a), ("other", b))}
    table, largest = report.comparison_table(results, 1).split("\nlargest difference ")
    assert largest.startswith(end)
    assert rows in (None, losses(table))
    no_epochs = {name: result._replace(losses=result.losses[:0]) for name, result in results.items()}
    assert len(report.comparison_table(no_epochs, 1).splitlines()) == 1
