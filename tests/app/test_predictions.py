"""Predictions, and the tables and plots of made-up numbers, which can be checked by eye."""

import os
from pathlib import Path

import numpy as np
import pytest
from comparing import bits
from in_process import command, refused, succeed
from inline_snapshot import snapshot

import numpy_rnn
from numpy_rnn import Parameters
from numpy_rnn.app import plots, run
from numpy_rnn.app.experiment import Experiment
from numpy_rnn.app.run import Result, predict
from numpy_rnn.common.conversion import tree_map
from numpy_rnn.common.records import Objective


def made_up(T=5, D=1, E=(), G=2, held_out=0, scale=1.0):
    """An experiment and a result.

    Row t of column d is t² + 100 d, times the scale. Predictions of network n are wrong by n + 1,
    up and down by turns. Free-running values are 1000 + n and so on. The loss of network n in
    epoch e is (n + 1) / 2^e.
    """
    rows = (np.arange(T + 1.0)[:, None] ** 2 + 100 * np.arange(D)) * scale
    one = numpy_rnn.initial_parameters(D, 6, D)
    params = tree_map(lambda theta: np.broadcast_to(theta, (*E, *theta.shape)), one)
    x, target = rows[:-1, None], rows[1:, None]
    rest = {"series": rows, "held_out": held_out, "deviation": np.full(D, scale)}
    rest["columns"] = tuple(f"feature {n + 1}" for n in range(D))
    experiment = Experiment("made up", x, target, np.zeros((1, 6)), params, **rest)
    networks = np.arange(np.prod(E, dtype=int)).reshape(E)[..., None]
    signs = (-1.0) ** np.arange(T).reshape(T, *(1 for _ in E), 1)
    losses = (networks[..., 0] + 1) / 2.0 ** np.arange(1, 4).reshape(3, *(1 for _ in E))
    predictions = rows[1:].reshape(T, *(1 for _ in E), D) + (networks + 1) * signs * scale
    after = np.arange(float(G)).reshape(G, *(1 for _ in E), 1) + 1000 + networks + np.zeros(D)
    return experiment, Result(losses, predictions, after)


def test_tables_of_an_ensemble_on_two_columns():
    """Medians of networks 1, 3 and 4: the second diverged. Its errors are 1, 3 and 4."""
    experiment, result = made_up(T=4, D=2, E=(4,), G=3, held_out=2)
    result.predictions[2, 1] = np.inf
    tables = [run.series_table(experiment, result), run.error_table(experiment, result)]
    assert "\n".join(line for table in tables for line in table) == snapshot("""\
time  actual feature 1  predicted feature 1  free-running feature 1  actual feature 2  predicted feature 2  free-running feature 2
   2          1.000000             4.000000                                101.000000           104.000000
   3          4.000000             1.000000                                104.000000           101.000000
   4          9.000000            12.000000             1002.000000        109.000000           112.000000             1002.000000
   5         16.000000            13.000000             1003.000000        116.000000           113.000000             1003.000000
   6                                                    1004.000000                                                    1004.000000
one step ahead, root mean square error   network  persistence baseline
trained on, 2 steps, feature 1          3.000000              2.236068
trained on, 2 steps, feature 2          3.000000              2.236068
held out, 2 steps, feature 1            3.000000              6.082763
held out, 2 steps, feature 2            3.000000              6.082763\
""")


# The network computes without rounding: relu, whole numbers, and a W_hh that hands on what the
# state has from unit to unit, so that the state remembers the last inputs.
DELAYS = (1, 2, 0, 3)  # the output is 1 × the input + 2 × the one before, and so on


@pytest.mark.parametrize("E", [(), (3,)])
@pytest.mark.parametrize(("T", "held_out", "steps"), [(3, 0, 7), (101, 90, 2), (250, 111, 0)])
def test_predictions_in_parts_are_those_of_one_pass(rnn, monkeypatch, T, E, held_out, steps):
    monkeypatch.setattr(run, "STEPS_PER_PASS", 100)
    factors = np.arange(1.0, 1 + np.prod(E, dtype=int)).reshape(E)
    weights = np.eye(1, 4), np.eye(4, k=1), np.array(DELAYS, float)[:, None]
    params = Parameters(*(np.broadcast_to(W, (*E, *W.shape)) for W in weights))
    params = params._replace(W_hy=params.W_hy * factors[..., None, None])
    x = np.random.default_rng(T).integers(0, 9, T).astype(float)
    state = np.array([[1.0, 2.0, 3.0, 4.0]])
    series = x[:, None, None]
    experiment = Experiment("", series, series, state, params, held_out=held_out)

    def expected(inputs):
        before = np.concatenate([state[0, ::-1], inputs])
        return sum(w * before[4 - j : 4 - j + len(inputs)] for j, w in enumerate(DELAYS))

    one, free = predict(rnn, params, experiment, Objective("relu"), steps)
    shape = (-1, *(1 for _ in E), 1)
    assert bits(one) == bits(expected(x).reshape(shape) * factors[..., None])
    if E:  # what is fed back differs by network
        return
    fed = x[: T - held_out]
    for _ in range(steps + 1):
        fed = np.append(fed, expected(fed)[-1])
    assert bits(free) == bits(fed[T - held_out + 1 :].reshape(steps, 1))


# -- plots ----------------------------------------------------------------------------------------


def lines(axes):
    return {line.get_label(): [*map(list, line.get_data())] for line in axes.lines}


def figure_of(experiment, results):
    from matplotlib.figure import Figure

    figure = Figure(layout="constrained")
    plots.draw_results(figure, experiment, results)
    figure.draw_without_rendering()
    return figure


KINDS: list[dict] = [{"T": 20, "G": 0}, {"D": 6, "E": (4,)}, {"T": 140, "held_out": 12, "D": 2}]


@pytest.mark.needs_matplotlib
@pytest.mark.parametrize("packages", [("numpy_rnn",), ("numpy_rnn", "my_rnn")])
@pytest.mark.parametrize("kind", KINDS)
def test_plot_has_the_values_at_their_times(kind, packages):
    """Medians over the networks that converged; nothing covers anything."""
    experiment, result = made_up(**kind)
    if "E" in kind:
        result.losses[-1, 1] = np.nan
    T, fine = len(experiment.x), result.converged()
    figure = figure_of(experiment, dict.fromkeys(packages, result))
    *series, losses = figure.axes
    assert len(series) == min(len(experiment.columns), 4)
    for feature, axes in enumerate(series):
        shown = lines(axes)
        assert shown["actual"] == [[*range(1, T + 2)], experiment.series[:, feature].tolist()]
        for name in packages:
            by = f", {name}" * (len(packages) > 1)
            for label, (begin, values) in [*result.curves(experiment).items()][1:]:
                times, found = shown[label + by]
                assert times == [*range(begin, begin + len(values))]
                medians = np.median(values[:, fine][..., feature], axis=1)
                np.testing.assert_allclose(found, medians, rtol=1e-12)
        assert ("held out from here on" in shown) == bool(experiment.held_out)
        assert axes.get_ylabel() == experiment.columns[feature]
    low, medians, high = np.percentile(result.losses[:, fine], (10, 50, 90), axis=1)
    assert [lines(losses)[name] for name in packages] == [[[1, 2, 3], medians.tolist()]] * len(
        packages
    )
    if "E" in kind:
        corners = losses.collections[0].get_paths()[0].vertices[:, 1]
        assert all(np.abs(corners - value).min() <= 1e-12 for value in (*low, *high))
    assert losses.get_yscale() == "log"
    boxes = [axes.get_window_extent() for axes in [*figure.axes, series[0].get_legend()]]
    assert not any(one.overlaps(other) for i, one in enumerate(boxes) for other in boxes[:i])


@pytest.mark.needs_matplotlib
def test_plot_files(capsys, monkeypatch):
    """In the format of the ending; LaTeX in the settings of the user, and names of any characters."""
    import matplotlib

    formats = {"png": b"\x89PNG", "pdf": b"%PDF", "SVG": b"<?xml", "jpg": b"\xff\xd8\xff"}
    Path("a $x_ 漢.csv").write_text('"$\\foo 漢","b"\n1,2\n2,1\n3,5\n4,3\n', encoding="utf-8")
    with matplotlib.rc_context({"text.usetex": True}):
        for ending, start in formats.items():
            words = ["--data", "a $x_ 漢.csv", "--plot", f"a.{ending}"]
            out = succeed(numpy_rnn, capsys, "--epochs", 1, *words)
            assert out.endswith(f"plot saved to a.{ending}\n")
            assert Path(f"a.{ending}").read_bytes().startswith(start)
    assert succeed(numpy_rnn, capsys, "--epochs", 1).endswith("plot saved to numpy_rnn.png\n")
    before = sorted(os.listdir())
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    ended = command(numpy_rnn, capsys, "--epochs", 1)
    assert (ended.status, ended.err) == (0, "numpy_rnn: no plot: matplotlib is not installed\n")
    assert "install it, or use --no-plot" in refused(numpy_rnn, capsys, "--plot", "b.png")
    assert sorted(os.listdir()) == before
