"""The command `compare` on unusual series and traces, and its table of losses."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from comparing import fewer
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from in_process import command, configured, refused, succeed
from inline_snapshot import snapshot

import numpy_rnn
from numpy_rnn.app import compare, compare_report
from numpy_rnn.app.compare_report import drift_text, losses_table
from numpy_rnn.app.experiment import prepare
from numpy_rnn.common.records import Step
from numpy_rnn.conformance.arithmetics.bounds import TAU, TanhError
from numpy_rnn.conformance.mutants.catalogue import named, trace
from numpy_rnn.conformance.ports.package_port import PackagePort
from numpy_rnn.conformance.traces import drive
from numpy_rnn.conformance.traces.divergence import Divergence
from numpy_rnn.conformance.traces.judge import Judgement
from numpy_rnn.conformance.traces.trace_file import trace_arrays

SIZES = [
    0.0,
    5e-324,
    1e-300,
    1e-45,
    1e-40,
    1e-30,
    1e-22,
    1e-19,
    1e-8,
    1.0,
]  # squares of most of them underflow


@pytest.mark.parametrize(
    "options",
    [
        "--dtype float64",
        "--k1 3 --k2 5 --bias --reduction mean --adagrad --max-value 1e300",
        "--max-norm 1e300",
    ],
)
@example(rows=[1.0, 0.3, -1.0, 0.3, 0.3], size=1.0)
@settings(fewer(12, 4), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.sampled_from([0.0, 1.0, -1.0, 0.3]), min_size=3, max_size=12),
    size=st.sampled_from(SIZES),
)
def test_right_implementation_agrees_on_series_of_any_size(capsys, rows, size, options):
    """Also where all losses are exactly 0, and where their last digits are those of subnormal numbers."""
    np.savetxt("s.csv", np.array(rows) * size)
    words = "compare numpy_rnn.reference --data s.csv --epochs 3 --no-plot"
    out = succeed(numpy_rnn, capsys, *words.split(), *options.split())
    assert "numpy_rnn and numpy_rnn.reference agree" in out


@pytest.mark.needs_torch
def test_rounding_explains_the_drift_on_a_text(capsys):
    """Small initial weights grow in the first updates, by Adagrad, and with them what rounding is."""
    Path("s.txt").write_text("ab\ncd\n" * 20)
    words = "compare torch_rnn --text s.txt --hidden-size 5 --epochs 2"
    out = succeed(numpy_rnn, capsys, *words.split())
    assert "rounding explains" in out
    assert (
        "numpy_rnn and torch_rnn agree: every update of both is within its rounding bounds" in out
    )
    assert out.splitlines()[-1].startswith("no plot: it shows outputs and inputs together, ")


def test_drift_is_shown_with_that_of_runs_an_ulp_apart():
    found = drift_text(drive.Drift(np.array([1e-8, 4e-7]), np.array([2e-7, 2e-6])))
    assert (
        "drift apart by at most 4.0e-07; 16 runs whose initial weights differ by an ulp spread by 2.0e-06;"
        in found
    )
    assert (
        f"the largest drift / spread is 0.2, the limit {drive.ALARM:g}: rounding explains the drift"
        in found
    )


def test_options_of_a_run_are_refused_with_a_trace(capsys):
    configuration = configured("--epochs 1 --k1 5")
    run = prepare(configuration).run(configuration.run_options())
    np.savez("t.npz", **trace_arrays(*PackagePort(numpy_rnn).trace(run)))
    for option in ("--k1 5", "--data none.csv", "--bias"):
        message = refused(numpy_rnn, capsys, "compare", "t.npz", *option.split(), "--no-plot")
        assert message.startswith(
            f"{option.split()[0]} is given with t.npz, a trace, which has the options of its run"
        )
    out = succeed(
        numpy_rnn,
        capsys,
        "compare",
        "t.npz",
        "--log-every",
        1,
        "--no-plot",
        "--output",
        "found.json",
    )
    assert out.endswith("\nresults saved to found.json\n")
    assert json.loads(Path("found.json").read_text())["passed"]


def test_wrong_implementation_is_named_with_its_mistake(capsys):
    configuration = configured("--k1 3 --k2 5 --epochs 2")
    run = prepare(configuration).run(configuration.run_options())
    np.savez("wrong.npz", **trace_arrays(*trace(named("dh_next dropped").definition, run)))
    ended = command(numpy_rnn, capsys, "compare", "wrong.npz", "--no-plot")
    assert (ended.status, ended.err) == (1, "")
    assert "wrong.npz diverges first in epoch 1, update " in ended.out
    assert "\n  looks like: dh_next dropped\n" in ended.out
    assert "numpy_rnn and wrong.npz agree" not in ended.out


@pytest.mark.needs_matplotlib
@pytest.mark.parametrize("updates", [50, 40, 9])
def test_trace_that_ends_early_is_compared_as_far_as_it_goes(capsys, monkeypatch, updates):
    """It is refused as incomplete, its losses are shown, and the plot has the sides that are complete."""
    configuration = configured("--epochs 3")
    run = prepare(configuration).run(configuration.run_options())
    np.savez("early.npz", **trace_arrays(*PackagePort(numpy_rnn).trace(run).first(updates)))
    plotted = []
    monkeypatch.setattr(
        compare, "draw_results", lambda plot, experiment, results, drift: plotted.append([*results])
    )
    ended = command(numpy_rnn, capsys, "compare", "early.npz", "--log-every", 1)
    assert (ended.status, ended.err) == (1, "")
    assert (
        f"\nearly.npz diverges first in epoch {updates // 20 + 1}, update {updates % 20 + 1}: "
        in ended.out
    )
    rows = [line.split() for line in ended.out.splitlines() if re.match(r" +\d+ ", line)]
    assert [row[2] == "-" for row in rows] == [epoch > updates // 20 for epoch in (1, 2, 3)]
    assert plotted == [["numpy_rnn"]]


@pytest.mark.parametrize("name", ["y", "dW_hh", "loss"])
def test_run_is_judged_until_its_numbers_are_not_finite(name):
    """Windows have several steps: a row of y is no update."""
    configuration = configured("--epochs 2 --k1 2 --k2 5")
    recorded = PackagePort(numpy_rnn).trace(prepare(configuration).run(configuration.run_options()))
    update = 13
    row = (
        int((recorded.updates["stop"] - recorded.updates["start"])[: update + 1].sum()) - 1
        if name == "y"
        else update
    )
    changed = recorded.updates[name].copy()
    changed[row:] = np.inf
    judged, judgement, cut = compare.judge_finite(recorded.replace({name: changed}), TAU)
    assert (len(judged.updates["epoch"]), judgement.updates, cut) == (
        update,
        update,
        compare.NUMBERS,
    )
    assert judgement.passed


def test_only_the_step_of_a_norm_that_overflows_is_excused():
    """Each tensor is the old one where the factor is 0; another mistake in addition is one."""
    configuration = configured("--max-norm 1 --nonlinearity relu --epochs 1 --k1 20 --k2 20")
    run = prepare(configuration).run(configuration.run_options())
    with np.errstate(all="ignore"):
        right = PackagePort(numpy_rnn).trace(
            run._replace(x=run.x * np.float32(1e6), target=run.target * np.float32(1e16))
        )
    stopped = {name: getattr(run.params, name)[None] for name in ("W_xh", "W_hh", "W_hy")}
    assert compare.judge_finite(right, TAU)[1:] == (compare.judge(right, TAU), None)
    assert compare.judge_finite(right.replace(stopped), TAU)[2] == compare.NORM
    for name, theta in stopped.items():
        wrong = right.replace(stopped | {name: theta * np.float32(1.5)})
        _, judgement, cut = compare.judge_finite(wrong, TAU)
        assert cut is None
        assert judgement.first is not None


def test_trace_of_huge_numbers_is_wrong_without_a_warning(capsys):
    """Warnings are errors here; hints compute with the numbers of the trace."""
    configuration = configured("--epochs 1")
    run = prepare(configuration).run(configuration.run_options())
    arrays = trace_arrays(*PackagePort(numpy_rnn).trace(run))
    np.savez("huge.npz", **arrays | {"initial_W_hy": np.full((6, 1), 3e38, np.float32)})
    ended = command(numpy_rnn, capsys, "compare", "huge.npz", "--no-plot")
    assert (ended.status, ended.err) == (1, "")
    assert "\nhuge.npz diverges first in epoch 1, update " in ended.out


# -- the report -----------------------------------------------------------------------------------------------------


def made_up():
    """A comparison whose numbers are exact."""
    worst = {"window": 0.0, "initial": np.inf, "a": 0.25, "W_xh": 2.5e8}
    first = Divergence(2, 3, "W_xh", None, (0, 1), 0.5, 0.25, 1e-9, 2.5e8, "U1")
    right, wrong = (
        Judgement(12, worst | {"initial": 0.0, "W_xh": 0.5}, None),
        Judgement(7, worst, first),
    )
    losses, configuration = np.array([4.0, 2.0]), configured("--k1 3 --k2 5 --epochs 3")
    run = prepare(configuration).run(configuration.run_options())
    sides = (
        compare.Side("one", TAU, losses, None, right, None, []),
        compare.Side(
            "other", TanhError(18, 4), losses + 1, None, wrong, compare.NUMBERS, ["2e for e"]
        ),
    )
    return compare.Comparison(run, sides, drive.Drift(np.array([0.5, 1.0]), np.array([0.25, 0.25])))


def several():
    """Three sides of three networks agree; one network overflows; tensors are estimated, lost or absent."""
    losses = np.array([[1.0, 2.0, 7.0], [4.0, 3.0, 8.0], [9.0, 5.0, np.nan]])
    worst = {"window": 0.0, "initial": 0.0, "a": 0.9996, "db_h": 0.0, "vW_hy": 1.0, "W_hy": 0.0004}
    counted = Judgement(9, worst, None, {"a": 3, "W_hy": 1}, {"db_h": 2, "a": 5})
    few = {name: ratio for name, ratio in worst.items() if name not in ("a", "vW_hy")}
    sides = (
        compare.Side("one", TAU, losses, None, Judgement(9, worst, None), None, []),
        compare.Side(
            "a port",
            TAU,
            losses[:2] + np.array([0.5, 0, 0]),
            None,
            counted._replace(worst=few),
            None,
            [],
            True,
        ),
        compare.Side(
            "a trace", TAU, losses + np.array([[0], [0.25], [0]]), None, counted, None, []
        ),
    )
    options = made_up().run.options
    options = options._replace(step=Step(0.1, 0.9, nesterov=True, max_norm=1.0))
    return compare.Comparison(made_up().run._replace(options=options), sides, None)


def test_report_of_two():
    assert compare_report.text(made_up(), 1) == snapshot("""\
epoch             one           other   difference
    1        4.000000        5.000000      1.0e+00
    2        2.000000        3.000000      1.0e+00
largest difference 1.0e+00, in epoch 1, where the loss is 4

worst ratio of 12 and 7 updates, each from its own parameters and state: difference / rounding bound
tensor    equation           one         other
window    T1, T2           exact         exact
initial   T3               exact         WRONG
a         F1               0.250         0.250
W_xh      U1               0.500     2.5e+08 !

free-running, the losses drift apart by at most 1.0e+00; 16 runs whose initial weights differ by an ulp spread by 2.5e-01;
the largest drift / spread is 4.0, the limit 8: rounding explains the drift

other overflows after 7 updates: its numbers are not finite;
only those are checked

other diverges first in epoch 2, update 3: W_xh (U1)
  W_xh[0, 1] is 0.5; recomputed from the reported inputs of this stage it is 0.25.
  The difference is 2.5e+08 times the rounding bound of 1.0e-09
  every stage before it is within its bound, so the fault is in this stage
  looks like: 2e for e

other declares a tanh error of 9 ulps, above 8: not a strict pass

other declares an absolute tanh error of 2 ulps of 1: a small h may have a large relative error, not a strict pass\
""")
    values, judged = compare_report.values(made_up()), made_up().sides[1].judgement
    assert (values["passed"], values["drift_over_spread"]) == (False, 4.0)
    assert values["sides"][1] | {"losses": values["sides"][1]["losses"].tolist()} == {
        "name": "other", "tanh_ulps": 9, "updates": 7, "out_of_range": compare.NUMBERS, "losses": [5, 3],
        "worst_ratio": judged.worst, "estimated_updates": {}, "lost_updates": {},
        "first_divergence": judged.first._asdict(), "looks_like": ["2e for e"],
    }  # fmt: skip


def test_report_of_several_networks():
    assert compare_report.text(several(), 2) == snapshot("""\
epoch             one          a port         a trace   difference   medians of 3 networks, and the largest difference
    1        2.000000        2.000000        2.000000      5.0e-01
    2        4.000000        4.500000        4.250000      5.0e-01
    3        7.000000               -        7.000000      0.0e+00
largest difference 5.0e-01, in epoch 1, where the loss of network 1 is 1

worst ratio of 9 updates, each from its own parameters and state: difference / rounding bound
tensor    equation             one        a port       a trace
window    T1, T2             exact   not checked         exact
initial   T3                 exact   not checked         exact
a         F1                 1.000   not checked       1.000 ~
db_h      B7                 0.000         0.000         0.000
vW_hy     U2, U3, U5         1.000   not checked         1.000
W_hy      U6, U1             0.000       0.000 ~       0.000 ~
~ estimated: the proven bound of so large a window is too wide

one, a port and a trace agree: every update of all is within its rounding bounds, which are estimated where ~ marks them
the run diverges: the loss of one grows from 7 to nan; choose a lower --learning-rate
not checked of a port: window, initial (the loop is that of compare), a, vW_hy (not reported)
not checked of a port: db_h, a, in up to 5 updates: rounding alone changes them by a hundredth or more, so they are no numbers in this dtype
not checked of a trace: db_h, a, in up to 5 updates: rounding alone changes them by a hundredth or more, so they are no numbers in this dtype\
""")
    side = compare_report.values(several())["sides"][2]
    assert (side["estimated_updates"], side["lost_updates"]) == (
        {"a": 3, "W_hy": 1},
        {"db_h": 2, "a": 5},
    )


def test_verdicts():
    """Of one that agrees, one that drifts, one that ends before an overflow, and one whose loss grows."""
    agreed = made_up()._replace(sides=made_up().sides[:1], drift=None)
    side = agreed.sides[0]
    cases = {
        "agreed": agreed,
        "drifting": agreed._replace(drift=drive.Drift(np.array([8.1]), np.array([1.0]))),
        "at the limits": agreed._replace(drift=drive.Drift(np.array([8.0]), np.array([1.0])), sides=(
            side._replace(losses=np.array([1.0, 10.0]), tau=TanhError(16, 0)),) * 2),
        "cut": agreed._replace(sides=(side, side._replace(name="two", cut="why", losses=np.array([1.0, 10.5])))),
    }  # fmt: skip
    texts = {
        name: compare_report.text(case, 1).split("difference / rounding bound")[1]
        for name, case in cases.items()
    }
    assert {name: case.passed for name, case in cases.items()} == {
        name: name != "drifting" for name in cases
    }
    assert "\n".join(
        text.partition("0.500")[2].partition("\n")[2] for text in texts.values()
    ) == snapshot("""\

one agree: every update of all is within its rounding bounds

free-running, the losses drift apart by at most 8.1e+00; 16 runs whose initial weights differ by an ulp spread by 1.0e+00;
the largest drift / spread is 8.1, the limit 8: rounding does not explain the drift

one do not agree: every update of all is within its rounding bounds, but rounding does not explain the drift of the losses

free-running, the losses drift apart by at most 8.0e+00; 16 runs whose initial weights differ by an ulp spread by 1.0e+00;
the largest drift / spread is 8.0, the limit 8: rounding explains the drift

one and one agree: every update of both is within its rounding bounds

two overflows after 12 updates: why;
only those are checked

one and two agree: every update of both before the overflow is within its rounding bounds
the run diverges: the loss of two grows from 1 to 10.5; choose a lower --learning-rate\
""")


# -- the table of losses --------------------------------------------------------------------------------------------


def test_largest_difference_of_a_comparison():
    """Networks that diverged in both are equal."""
    one, other = [[3, 1], [4, 1], [np.nan, 1]], [[3, 1.5], [4, 1], [np.inf, 1]]
    end = "\nlargest difference 5.0e-01, in epoch 1, where the loss of network 2 is 1"
    assert losses_table({"one": np.array(one), "other": np.array(other)}, 1).endswith(end)
    other[1][0] = np.inf
    end = "\nlargest difference inf, in epoch 2, where the loss of network 1 is 4"
    assert losses_table({"one": np.array(one), "other": np.array(other)}, 1).endswith(end)


@pytest.mark.needs_matplotlib
def test_defaults_of_compare(monkeypatch, capsys):
    """One epoch of a text, and 20 free-running steps in the plot."""
    plotted = []
    monkeypatch.setattr(
        compare, "_plot", lambda comparison, experiment, generate, path: plotted.append(generate)
    )
    Path("s.txt").write_text("ab\ncd\n" * 20)
    words = "compare numpy_rnn.reference --hidden-size 3"
    out = succeed(numpy_rnn, capsys, *f"{words} --text s.txt --no-plot".split())
    assert [line.split()[0] for line in out.splitlines()[2:4]] == ["1", "largest"]
    for options in ("", " --generate 3"):
        succeed(numpy_rnn, capsys, *f"{words} --epochs 1{options}".split())
    assert plotted == [20, 3]
