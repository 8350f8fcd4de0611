"""The command `compare`: right implementations agree, and planted faults are named at the right equation."""

import json
import os
import re
import shutil
import sys
from pathlib import Path

import children
import numpy as np
import pytest
from in_process import are_printed, command, main
from in_process import losses as losses_of
from step_port import norm_of_norms, scaled_by_power_of_two
from window_port import port

import numpy_rnn
from numpy_rnn.app.configuration import Configuration
from numpy_rnn.app.experiment import prepare
from numpy_rnn.app.options import configuration_of, parser
from numpy_rnn.app.storage import save_json
from numpy_rnn.common.records import Parameters, SgdOptions
from numpy_rnn.conformance import comparison, comparison_report
from numpy_rnn.conformance.bounds.local_bounds import TAU
from numpy_rnn.conformance.case import Case
from numpy_rnn.conformance.comparison import Source, compare, epoch_losses, finite_part, package_source
from numpy_rnn.conformance.mutants.catalogue import load, named
from numpy_rnn.conformance.ports.backends import PackagePort
from numpy_rnn.conformance.traces import drive
from numpy_rnn.conformance.traces.drive import trace_of, trace_of_port
from numpy_rnn.conformance.traces.judge import CAUSAL_ORDER, equations, judge

SHORT = Configuration(epochs=3, k1=3, k2=5, hidden_size=5, dtype="float64", bias=True)
RIGHT = package_source(numpy_rnn)
MOMENTUM = {"momentum": 0.5, "dampening": 0.3, "weight_decay": 0.05, "max_norm": 0.05, "bias": True}


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: command(numpy_rnn, capsys, "compare", *arguments, "--no-plot")


def test_what_is_printed_written_and_drawn_is_that_of_each_side(tmp_path, monkeypatch, capsys):
    """The losses, ratios and drift, worked out from the traces of both; every other epoch, and 7 steps generated."""
    monkeypatch.chdir(tmp_path)
    options = "--epochs 5 --k1 3 --k2 5 --momentum 0.5 --log-every 2 --generate 7 --json found.json"
    arguments = parser("numpy_rnn").parse_args(["compare", "numpy_rnn.reference", *options.split()])
    drawn = []
    assert comparison.run(numpy_rnn, arguments, lambda *values: drawn.append(values)) == 0
    printed = capsys.readouterr().out
    experiment, configuration = prepare(configuration_of(arguments)), configuration_of(arguments)
    traces = [trace_of(rnn, experiment, configuration) for rnn in (numpy_rnn, numpy_rnn.reference)]
    losses = [epoch_losses(trace, "sum") for trace in traces]
    worst = [judge(trace).worst for trace in traces]
    assert worst[0] != worst[1]

    rows = losses_of(printed)
    assert set(rows) >= {2, 4, 5}
    assert 3 not in rows
    for epoch, row in rows.items():
        assert are_printed(row[:2], [of[epoch - 1] for of in losses], 4)
    for tensor in CAUSAL_ORDER[2:]:
        if tensor in worst[0]:
            (row,) = re.findall(rf"^{tensor} .* ([\d.]+) +([\d.]+)$", printed, re.MULTILINE)
            assert are_printed([float(cell) for cell in row], [of[tensor] for of in worst], 3), tensor
    assert f"drift apart by at most {np.abs(losses[0] - losses[1]).max():.1e};" in printed
    assert "numpy_rnn and numpy_rnn.reference agree: every update of both is within its rounding bounds" in printed

    written = json.loads((tmp_path / "found.json").read_text())
    assert written["passed"]
    assert 0 <= written["drift_over_spread"] <= 8
    for side, name, of_losses, ratios in zip(written["sides"], ("numpy_rnn", "numpy_rnn.reference"), losses, worst):
        assert (side["name"], side["updates"], side["first_divergence"]) == (name, len(traces[0]["epoch"]), None)
        assert (side["losses"], side["worst_ratio"]) == (of_losses.tolist(), ratios)

    ((_, results, drift),) = drawn
    assert drift.ratio == written["drift_over_spread"]
    for result, trace in zip(results.values(), traces):
        params = Parameters(*(trace[name][-1] if name in trace else None for name in Parameters._fields))
        y = numpy_rnn.forward(params, experiment.x, experiment.h_0).y
        assert np.abs(result.predictions[: len(y)] - y).max() < 1e-5
        assert len(result.generated) == 7


@pytest.mark.needs_torch
def test_several_are_compared_at_once(run):
    """The engine, the reference and torch, in an ensemble: a column and a verdict for each, and no drift."""
    options = "--epochs 2 --k1 3 --k2 7 --seeds 2 --momentum 0.5 --max-norm 0.05 --learn-initial-state"
    status, output, _ = run("numpy_rnn.reference", "torch_rnn", *options.split(), "--json", "found\x1b.json")
    assert status == 0, output
    assert "results saved to found\\x1b.json" in output
    assert "numpy_rnn, numpy_rnn.reference and torch_rnn agree: every update of all is within its" in output
    assert "drift" not in output
    names = ["numpy_rnn", "numpy_rnn.reference", "torch_rnn"]
    assert ["tensor", "equation", *names] in [line.split() for line in output.splitlines()]
    sides = json.loads(Path("found\x1b.json").read_text())["sides"]
    assert [side["name"] for side in sides] == names
    assert all({"dx", "vh_0", "h_0"} <= set(side["worst_ratio"]) for side in sides)


def test_the_wrong_one_of_several_is_named_and_the_one_with_a_wide_tanh():
    wrong = load(named("h_t for h_{t-1} in dW_hh"))
    right, wide, wrong = (package_source(rnn) for rnn in (numpy_rnn, numpy_rnn.reference, wrong))
    sources = [right._replace(tanh_ulps=8), wide._replace(tanh_ulps=9, tanh_absolute_ulps=2), wrong]
    found = compare(sources, prepare(SHORT), SHORT)
    assert [side.judgement.passed for side in found.sides] == [True, True, False]
    assert found.drift.ratio > drive.ALARM
    said = comparison_report.text(found, 1)
    assert said.count("diverges first in") == 1
    assert "reference declares a tanh error of 9 ulps, above 8: not a strict pass" in said
    assert "reference declares an absolute tanh error of 2 ulps of 1" in said
    assert said.count("not a strict pass") == 2


BLAMED = {
    "state reset at every window": ({}, "T3"),
    "bptt over k−1 steps": ({}, "T1, T2"),
    "1 − h for 1 − h²": ({"networks": 2}, "B3"),
    "clipping per tensor": ({"max_norm": 0.05}, "U2, U3, U1"),
    "decoupled weight decay": (MOMENTUM, "U2, U3, U4, U5"),
    "nesterov forgotten": ({"momentum": 0.5, "nesterov": True, "max_norm": 0.05}, "U6, U1"),
}


@pytest.mark.parametrize("name", BLAMED)
def test_a_mutant_is_named_at_its_equations(name):
    """And among those that it looks like. Without momentum no velocity tells a wrong gradient from a wrong step."""
    changes, equation = BLAMED[name]
    configuration = SHORT.changed(**changes)
    found = compare([RIGHT, package_source(load(named(name)))], prepare(configuration), configuration)
    assert not found.passed
    assert found.sides[1].judgement.first.equation == equation
    assert name in found.sides[1].looks_like


def test_the_equations_of_a_step_are_those_of_its_options():
    decay, momentum = SgdOptions(weight_decay=0.1), SgdOptions(momentum=0.5, weight_decay=0.1)
    assert [equations(name, decay) for name in ("dW_hh", "W_hh")] == ["B5", "U4, U1"]
    assert [equations(name, momentum) for name in ("vW_hh", "W_hh")] == ["U4, U5", "U1"]
    adagrad = decay._replace(max_norm=1.0, adagrad=True)
    assert [equations(name, adagrad) for name in ("vW_hh", "W_hh")] == ["U2, U3, U4, U8", "U2, U3, U4, U9, U1"]


@pytest.mark.slow
def test_an_installed_package_with_mistakes_has_a_verdict(tmp_path):
    """In its engine and in its reference. The lines are such that mutants change, which then cannot be made."""
    copy = tmp_path / "numpy_rnn"
    shutil.copytree(os.path.dirname(numpy_rnn.__file__), copy, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("last block of networks skipped", "h_t for h_{t-1} in dW_hh"):
        for module, right, wrong in named(name).changes:
            path = copy.joinpath(*module.split(".")).with_suffix(".py")
            path.write_text(path.read_text(encoding="utf-8").replace(right, wrong), encoding="utf-8")
    options = ["--epochs", "1", "--seeds", "2", "--no-plot"]
    command = [sys.executable, "-m", "numpy_rnn", "compare", "numpy_rnn.reference", *options]
    made = children.run(command, cwd=tmp_path)
    assert made.returncode == 1, made.stderr
    assert "numpy_rnn diverges first in epoch 1, update 1: W_xh (U1)" in made.stdout
    assert "reference diverges first in epoch 1, update 1: dW_hh (B5)" in made.stdout


def test_traces_are_judged_where_they_started(run, tmp_path):
    right = trace_of(numpy_rnn, prepare(SHORT), SHORT)
    wrong = right | {"db_h": right["db_h"] + 1e-6}
    np.savez(tmp_path / "right.npz", **right)
    np.savez(tmp_path / "wrong.npz", **wrong)
    status, output, _ = run("right.npz")
    assert status == 0, output
    assert "configuration, series and initial weights are read from right.npz" in output
    status, output, _ = run("wrong.npz", "--json", "found.json")
    assert status == 1
    first = json.loads(Path("found.json").read_text())["sides"][1]["first_divergence"]
    assert (first["tensor"], first["equation"], first["ratio"] > 1) == ("db_h", "B7", True)
    assert "wrong.npz diverges first in epoch 1, update 1: db_h (B7)" in output
    place = r"db_h\[0\] is (\S+); recomputed from .* it is (\S+)\.\n.* is (\S+) times the rounding bound of (\S+)"
    reported, expected, ratio, bound = map(float, re.search(place, output).groups())
    assert abs(reported - wrong["db_h"][0, 0]) < 1e-8
    assert 0 < reported - expected < 2e-6
    assert ratio > 1 > bound
    assert 0.5e-6 < ratio * bound < 2e-6


def test_inputs_and_outputs_of_other_sizes_are_compared_without_a_picture(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    configuration = SHORT.changed(k1=30, k2=40)  # one window, of the whole series
    experiment = prepare(configuration)
    params = experiment.params._replace(W_xh=np.repeat(experiment.params.W_xh, 2, axis=0))
    experiment = experiment._replace(x=np.repeat(experiment.x, 2, axis=-1), params=params)
    np.savez("t.npz", **trace_of(numpy_rnn, experiment, configuration))
    assert main(numpy_rnn, ["compare", "t.npz"]) == 0
    assert "no plot: it shows outputs and inputs together, and this run has 1 outputs and 2" in capsys.readouterr().out


def test_json_holds_no_number_that_is_none(tmp_path):
    """Infinite losses, and the ratios of what is infinitely wrong, are null."""
    arrays = trace_of(numpy_rnn, prepare(SHORT), SHORT)
    arrays["loss"][-1] = np.inf
    arrays["initial"][3] += 1
    found = compare([RIGHT, Source("inf", lambda *run: arrays)], prepare(SHORT), SHORT)
    assert found.drift is None
    save_json(tmp_path / "j.json", comparison_report.values(found))
    side = json.loads((tmp_path / "j.json").read_text(), parse_constant=pytest.fail)["sides"][1]
    assert (side["name"], side["losses"][-1], side["worst_ratio"]["initial"]) == ("inf", None, None)


@pytest.mark.parametrize("changes", [{}, MOMENTUM | {"learn_initial_state": True}])
def test_a_run_that_overflows_is_judged_until_there(changes):
    configuration = SHORT.changed(**changes)
    arrays = trace_of(numpy_rnn, prepare(configuration), configuration)
    assert finite_part(arrays) == (arrays, False)
    broken = arrays | {"y": arrays["y"].copy()}
    broken["y"][20] = np.inf
    part, cut = finite_part(broken)
    assert cut
    steps = arrays["stop"] - arrays["start"]
    update = int(np.searchsorted(np.cumsum(steps), 20, side="right"))
    of_updates = {"epoch", "W_hh", "dh_0", "vW_xh", "vh_0", "h_0"} & set(part)
    assert {len(part[name]) for name in of_updates} == {update}
    assert np.isfinite(part["y"]).all()
    assert len(part["y"]) == len(part["dx"]) == steps[:update].sum()
    assert comparison.judge_in_range(broken, TAU)[2] == comparison.NUMBERS
    assert comparison.judge_in_range(arrays, TAU)[2] is None
    assert judge(part, whole=False).passed


def by_pieces(name, **pieces):
    """A source whose windows are those of `window_port.port` with these pieces."""

    def window_update(params, x, target, h_0, learning_rate, nonlinearity, reduction, velocity, **sgd):
        of_case = Parameters(**params), x, target, h_0, learning_rate, nonlinearity, reduction, SgdOptions(**sgd)
        with np.errstate(over="ignore"):
            return port(Case(*of_case), **pieces)

    given = PackagePort(numpy_rnn)
    vars(given).update(name=name, window_update=window_update)
    return Source(name, lambda *run: trace_of_port(given, *run))


def test_a_norm_that_overflows_is_no_wrong_update():
    """A norm of numbers that are scaled is right; one that overflows is out of range, and the rest is judged no more.

    Then no update has an effect, and it is said. Another mistake in the same update is not taken for that.
    """
    configuration = Configuration(epochs=2, k1=5, k2=8, nonlinearity="relu", max_norm=1.0)
    experiment = prepare(configuration)
    x, target = experiment.x * np.float32(1e6), experiment.target * np.float32(1e16)
    experiment = experiment._replace(x=x, target=target)
    scaled = by_pieces("scaled", norm=scaled_by_power_of_two)
    plain = by_pieces("plain", norm=norm_of_norms)
    wrong = by_pieces("wrong", norm=norm_of_norms, step=lambda theta, rate, s: theta - rate)
    found = compare([scaled, plain], experiment, configuration)
    assert [side.cut is None for side in found.sides] == [True, False]
    assert [side.judgement.updates for side in found.sides] == [8, 0]
    assert found.passed
    said = comparison_report.text(found, 1)
    assert "plain overflows after 0 updates: the norm of its gradient overflows (U2)" in said
    assert "scaled and plain agree: every update of both before the overflow is within its rounding bounds" in said
    found = compare([scaled, wrong], experiment, configuration)
    assert not found.passed
    assert (found.sides[1].cut, found.sides[1].judgement.first.equation) == (None, "U2, U3, U1")


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_epoch_losses_add_up(reduction):
    """Under "mean" each window counts as many times as it has new steps: 3, or 2 at the end."""
    configuration = SHORT.changed(reduction=reduction, networks=2)
    arrays = trace_of(numpy_rnn, prepare(configuration), configuration)
    new_steps = arrays["stop"] - arrays["loss_start"]
    share = new_steps / 20 if reduction == "mean" else np.ones(len(new_steps))
    for epoch, loss in enumerate(epoch_losses(arrays, reduction), 1):
        chosen = arrays["epoch"] == epoch
        np.testing.assert_allclose(loss, share[chosen] @ arrays["loss"][chosen], rtol=20 * np.finfo(float).eps)
