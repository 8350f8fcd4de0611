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

import numpy_rnn
from numpy_rnn.app import compare
from numpy_rnn.app.compare_report import drift_text, losses_table
from numpy_rnn.app.experiment import prepare
from numpy_rnn.conformance.arithmetics.bounds import TAU
from numpy_rnn.conformance.mutants.catalogue import named, trace
from numpy_rnn.conformance.ports.package_port import PackagePort
from numpy_rnn.conformance.traces import drive
from numpy_rnn.conformance.traces.trace_file import trace_arrays

SIZES = [0.0, 5e-324, 1e-300, 1e-45, 1e-40, 1e-30, 1e-22, 1e-19, 1e-8, 1.0]  # squares of most of them underflow


@pytest.mark.parametrize(
    "options",
    ["--dtype float64", "--k1 3 --k2 5 --bias --reduction mean --adagrad --max-value 1e300", "--max-norm 1e300"],
)
@example(rows=[1.0, 0.3, -1.0, 0.3, 0.3], size=1.0)
@settings(fewer(12, 4), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.sampled_from([0.0, 1.0, -1.0, 0.3]), min_size=3, max_size=12), size=st.sampled_from(SIZES))
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
    assert "numpy_rnn and torch_rnn agree: every update of both is within its rounding bounds" in out
    assert out.splitlines()[-1].startswith("no plot: it shows outputs and inputs together, ")


def test_drift_is_shown_with_that_of_runs_an_ulp_apart():
    found = drift_text(drive.Drift(np.array([1e-8, 4e-7]), np.array([2e-7, 2e-6])))
    assert "drift apart by at most 4.0e-07; 16 runs whose initial weights differ by an ulp spread by 2.0e-06;" in found
    assert f"the largest drift / spread is 0.2, the limit {drive.ALARM:g}: rounding explains the drift" in found


def test_options_of_a_run_are_refused_with_a_trace(capsys):
    succeed(numpy_rnn, capsys, "--epochs", 1, "--k1", 5, "--trace", "t.npz", "--no-plot")
    for option in ("--k1 5", "--data none.csv", "--bias"):
        message = refused(numpy_rnn, capsys, "compare", "t.npz", *option.split(), "--no-plot")
        assert message.startswith(f"{option.split()[0]} is given with t.npz, a trace, which has the options of its run")
    out = succeed(numpy_rnn, capsys, "compare", "t.npz", "--log-every", 1, "--no-plot", "--output", "found.json")
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
    monkeypatch.setattr(compare, "draw_results", lambda plot, experiment, results, drift: plotted.append([*results]))
    ended = command(numpy_rnn, capsys, "compare", "early.npz", "--log-every", 1)
    assert (ended.status, ended.err) == (1, "")
    assert f"\nearly.npz diverges first in epoch {updates // 20 + 1}, update {updates % 20 + 1}: " in ended.out
    rows = [line.split() for line in ended.out.splitlines() if re.match(r" +\d+ ", line)]
    assert [row[2] == "-" for row in rows] == [epoch > updates // 20 for epoch in (1, 2, 3)]
    assert plotted == [["numpy_rnn"]]


@pytest.mark.parametrize("name", ["y", "dW_hh", "loss"])
def test_run_is_judged_until_its_numbers_are_not_finite(name):
    """Windows have several steps: a row of y is no update."""
    configuration = configured("--epochs 2 --k1 2 --k2 5")
    recorded = PackagePort(numpy_rnn).trace(prepare(configuration).run(configuration.run_options()))
    update = 13
    row = int((recorded.updates["stop"] - recorded.updates["start"])[: update + 1].sum()) - 1 if name == "y" else update
    changed = recorded.updates[name].copy()
    changed[row:] = np.inf
    judged, judgement, cut = compare.judge_finite(recorded.replace({name: changed}), TAU)
    assert (len(judged.updates["epoch"]), judgement.updates, cut) == (update, update, compare.NUMBERS)
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
    monkeypatch.setattr(compare, "_plot", lambda comparison, experiment, generate, path: plotted.append(generate))
    Path("s.txt").write_text("ab\ncd\n" * 20)
    words = "compare numpy_rnn.reference --hidden-size 3"
    out = succeed(numpy_rnn, capsys, *f"{words} --text s.txt --no-plot".split())
    assert [line.split()[0] for line in out.splitlines()[2:4]] == ["1", "largest"]
    for options in ("", " --generate 3"):
        succeed(numpy_rnn, capsys, *f"{words} --epochs 1{options}".split())
    assert plotted == [20, 3]
