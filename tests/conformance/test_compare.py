"""The command `compare`: right implementations agree, and planted faults are named at the right equation."""

import importlib
import json
import os
import re
import shutil
import sys

import children
import numpy as np
import pytest
from in_process import are_printed, main
from in_process import losses as losses_of
from step_port import norm_of_norms, scaled_by_power_of_two
from window_port import port

import numpy_rnn
from numpy_rnn.app.configuration import Configuration
from numpy_rnn.app.experiment import prepare
from numpy_rnn.app.options import configuration_of, parser
from numpy_rnn.app.storage import save_json
from numpy_rnn.app.trace import Recorder
from numpy_rnn.common.records import Parameters, SgdOptions
from numpy_rnn.conformance import comparison, comparison_report
from numpy_rnn.conformance.__main__ import main as main_of_suite
from numpy_rnn.conformance.case import Case
from numpy_rnn.conformance.comparison import Source, compare, epoch_losses, finite_part, package_source
from numpy_rnn.conformance.mutants.catalogue import load, named
from numpy_rnn.conformance.ports.backends import PackagePort
from numpy_rnn.conformance.traces import drive
from numpy_rnn.conformance.traces.drive import trace_of, trace_of_port
from numpy_rnn.conformance.traces.judge import CAUSAL_ORDER, judge

SHORT = Configuration(epochs=3, k1=3, k2=5, hidden_size=5, dtype="float64", bias=True)
RIGHT = package_source(numpy_rnn)
MOMENTUM = {"momentum": 0.5, "dampening": 0.3, "weight_decay": 0.05, "max_norm": 0.05, "bias": True}
VARIANTS: tuple[dict, ...] = (
    {},
    {"reduction": "mean"},
    {"nonlinearity": "relu"},
    {"nonlinearity": "sigmoid"},
    {"momentum": 0.5, "max_value": 0.01},
    {"networks": 2},
    {"hidden_size": 1},
    MOMENTUM | {"learn_initial_state": True, "k2": 7},  # k2 > 2 k1: the learned state enters two windows of an epoch
    MOMENTUM | {"networks": 2},
    {"momentum": 0.9, "nesterov": True, "max_norm": 1e3},
    {"learning_rate": (0.1, 0.01), "networks": 2, "momentum": 0.9, "k1": 5},
    {"hidden_size": 1, "k1": 30, "k2": 40},
    {"adagrad": True, "max_value": 0.01},
)


def compared(other, configuration=SHORT):
    return compare([RIGHT, package_source(other)], prepare(configuration), configuration)


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)

    def command(*arguments):
        status = main(numpy_rnn, ["compare", *arguments, "--no-plot"])
        output = capsys.readouterr()
        return status, output.out, output.err

    return command


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
    """The engine, the reference and torch: a column and a verdict for each."""
    status, output, _ = run("numpy_rnn.reference", "torch_rnn", "--epochs", "5", "--json", "found.json")
    assert status == 0, output
    assert (
        "numpy_rnn, numpy_rnn.reference and torch_rnn agree: every update of all is within its rounding bounds"
        in output
    )
    names = ["numpy_rnn", "numpy_rnn.reference", "torch_rnn"]
    tables = [line.split() for line in output.splitlines() if line.startswith(("epoch ", "tensor "))]
    assert tables == [["epoch", *names, "difference"], ["tensor", "equation", *names]]
    with open("found.json", encoding="utf-8") as file:
        assert [side["name"] for side in json.load(file)["sides"]] == names


def test_the_wrong_one_of_several_is_named():
    wrong = load(named("h_t for h_{t-1} in dW_hh"))
    sources = [package_source(rnn) for rnn in (numpy_rnn, numpy_rnn.reference, wrong)]
    found = compare(sources, prepare(SHORT), SHORT)
    assert [side.judgement.passed for side in found.sides] == [True, True, False]
    assert found.drift.ratio > drive.ALARM
    assert comparison_report.text(found, 1).count("diverges first in") == 1


@pytest.mark.needs_torch
@pytest.mark.parametrize("changes", VARIANTS)
def test_the_two_packages_agree_on_every_option(changes):
    found = compared(importlib.import_module("torch_rnn"), SHORT.changed(**changes))
    assert found.passed, [side.judgement.first for side in found.sides]
    worst = found.sides[1].judgement.worst
    assert {"dx", "dh_0"} <= set(worst)
    assert ("vW_xh" in worst) == SHORT.changed(**changes).sgd_options().has_velocity
    assert ("h_0" in worst) == ("learn_initial_state" in changes)
    assert (found.drift is None) == ("networks" in changes)


BLAMED = {
    "h_t for h_{t-1} in dW_hh": ({}, "B5"),
    "state reset at every window": ({}, "T3"),
    "bptt over k−1 steps": ({}, "T1, T2"),
    "1 − h for 1 − h²": ({"networks": 2}, "B3"),
    "output bias left out": ({"reduction": "mean"}, "F3"),
    "clipping per tensor": ({"max_norm": 0.05}, "U2, U3, U1"),
    "decoupled weight decay": (MOMENTUM, "U2, U3, U4, U5"),
    "weight decay not scaled by the learning rate": ({"weight_decay": 0.05}, "U4, U1"),
    "dampening left out": ({"momentum": 0.5, "dampening": 0.3}, "U5"),
    "nesterov forgotten": ({"momentum": 0.5, "nesterov": True, "max_norm": 0.05}, "U6, U1"),
    "gradient ascent": ({}, "U1"),
}


@pytest.mark.parametrize("name", BLAMED)
def test_a_mutant_is_named_at_its_equations(name):
    """And among those that it looks like. Without momentum no velocity tells a wrong gradient from a wrong step."""
    changes, equation = BLAMED[name]
    found = compared(load(named(name)), SHORT.changed(**changes))
    assert not found.passed
    assert found.sides[1].judgement.first.equation == equation
    assert name in found.sides[1].looks_like


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "side", "tensor"),
    [
        ("h_t for h_{t-1} in dW_hh", "numpy_rnn.reference", "dW_hh (B5)"),
        ("last block of networks skipped", "numpy_rnn", "W_xh (U1)"),
    ],
)
def test_an_installed_package_with_a_mistake_has_a_verdict(name, side, tensor, tmp_path):
    """Its line is one that a mutant changes, and which that mutant is made from no more."""
    mutant = named(name)
    copy = tmp_path / "numpy_rnn"
    shutil.copytree(os.path.dirname(numpy_rnn.__file__), copy, ignore=shutil.ignore_patterns("__pycache__"))
    for module, right, wrong in mutant.changes:
        path = copy.joinpath(*module.split(".")).with_suffix(".py")
        path.write_text(path.read_text(encoding="utf-8").replace(right, wrong), encoding="utf-8")
    options = ["--epochs", "1", "--seeds", "2", "--no-plot"]
    command = [sys.executable, "-m", "numpy_rnn", "compare", "numpy_rnn.reference", *options]
    made = children.run(command, cwd=tmp_path)
    assert made.returncode == 1, made.stderr
    assert f"{side} diverges first in epoch 1, update 1: {tensor}" in made.stdout


def test_a_wrong_port_fails_with_its_fault(run, tmp_path):
    (tmp_path / "wrong.py").write_text(
        "from numpy_rnn.conformance.ports.backends import PackagePort\n"
        "from numpy_rnn.conformance.mutants.catalogue import load, named\n"
        "port = PackagePort(load(named('h_t for h_{t-1} in dW_hh')))\n",
        encoding="utf-8",
    )
    status, output, _ = run("wrong:port", "--epochs", "2", "--json", "found.json")
    assert status == 1
    assert "diverges first in epoch 1, update 1: dW_hh (B5)" in output
    assert "every stage before it is within its bound, so the fault is in this stage" in output
    assert "looks like: h_t for h_{t-1} in dW_hh" in output
    first = json.loads((tmp_path / "found.json").read_text())["sides"][1]["first_divergence"]
    assert (first["tensor"], first["equation"]) == ("dW_hh", "B5")
    assert first["ratio"] > 1


def test_a_port_is_compared_on_what_it_has(run, tmp_path):
    """A port without the options is refused them in one line; with them, it is given them and judged."""
    (tmp_path / "some.py").write_text(
        "import numpy_rnn\n"
        "from numpy_rnn.conformance.ports.backends import PackagePort\n"
        "class Plain(PackagePort):\n"
        "    capabilities = ('intermediates',)\n"
        "plain, full = Plain(numpy_rnn), PackagePort(numpy_rnn)\n"
        "plain.name, full.name = 'a plain port', 'a full port'\n",
        encoding="utf-8",
    )
    options = ["--epochs", "1", "--momentum", "0.9"]
    status, output, error = run("some:plain", *options)
    assert (status, error.count("\n")) == (2, 1)
    assert "a plain port does not declare 'sgd_options': choose a run without momentum" in error
    status, output, error = run("some:plain", "--epochs", "1", "--learn-initial-state")
    assert status == 2
    assert "a plain port does not declare 'learned_h_0': choose a run without a learned initial state" in error
    status, output, error = run("some:plain", "--epochs", "1")
    assert status == 0, output + error
    status, output, error = run("some:full", *options, "--learn-initial-state")
    assert status == 0, output + error
    assert "vh_0      U5" in output


def test_a_port_that_fails_hangs_or_exceeds_its_own_bound_has_a_verdict(run, tmp_path):
    (tmp_path / "failing.py").write_text(
        "import time\n"
        "import numpy_rnn\n"
        "from numpy_rnn.conformance.ports.backends import PackagePort\n"
        "class port:\n"
        "    name, dtypes = 'failing', ('float32',)\n"
        "    def window_update(self, *arrays, **options):\n"
        "        raise ValueError('no window today')\n"
        "class hanging(port):\n"
        "    def window_update(self, *arrays, **options):\n"
        "        time.sleep(5)\n"
        "class inexact(PackagePort):\n"
        "    tanh_ulps = 1\n"
        "    def __init__(self):\n"
        "        super().__init__(numpy_rnn)\n"
        "        self.name = 'inexact'\n"
        "    def window_update(self, *arrays, **options):\n"
        "        report = super().window_update(*arrays, **options)\n"
        "        return report | {'h': report['h'] * report['h'].dtype.type(1 + 5e-7)}\n",
        encoding="utf-8",
    )
    status, output, _ = run("failing:port", "--epochs", "1")
    assert status == 1
    assert "failing, epoch 1, update 1: raises ValueError: no window today" in output
    status, output, _ = run("failing:hanging", "--port-timeout", "0.1", "--epochs", "1")
    assert status == 1
    assert "failing, epoch 1, update 1: does not answer within 0.1 s" in output
    status, output, _ = run("failing:inexact", "--epochs", "1")
    assert status == 1
    assert "inexact diverges first in epoch 1, update 1, step 1: h (F2)" in output
    status, _, error = run("failing:port", "--dtype", "float64")
    assert status == 2
    assert "failing does not support float64: choose --dtype float32" in error


def test_traces_are_judged_where_they_started(run, tmp_path):
    experiment = prepare(SHORT)
    recorder = Recorder(experiment, SHORT)
    recorder.head |= trace_of(numpy_rnn, experiment, SHORT)
    recorder.columns = {}
    np.savez(tmp_path / "right.npz", **recorder.head)
    wrong = recorder.head | {"db_h": recorder.head["db_h"] + 1e-6}
    np.savez(tmp_path / "wrong.npz", **wrong)
    status, output, _ = run("right.npz")
    assert status == 0, output
    assert "configuration, series and initial weights are read from right.npz" in output
    status, output, _ = run("wrong.npz")
    assert status == 1
    assert "wrong.npz diverges first in epoch 1, update 1: db_h (B7)" in output
    place = r"db_h\[0\] is (\S+); recomputed from .* it is (\S+)\.\n.* is (\S+) times the rounding bound of (\S+)"
    reported, expected, ratio, bound = map(float, re.search(place, output).groups())
    assert abs(reported - wrong["db_h"][0, 0]) < 1e-8
    assert 0 < reported - expected < 2e-6
    assert ratio > 1 > bound
    assert 0.5e-6 < ratio * bound < 2e-6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dW_hh": None}, "dW_hh is missing"),
        ({"y": np.nan}, "is nan: expected a finite number"),
        ({"format": np.bytes_(b"other")}, "has no format 'elman-trace 3'"),
    ],
)
def test_what_is_no_trace_is_refused(run, tmp_path, change, message):
    arrays = trace_of(numpy_rnn, prepare(SHORT), SHORT)
    for name, value in change.items():
        if value is None:
            del arrays[name]
        else:
            arrays[name] = arrays[name] * value if isinstance(value, float) else value
    np.savez(tmp_path / "bad.npz", **arrays)
    status, _, error = run("bad.npz")
    assert status == 2
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ("absent", "unknown implementation 'absent': expected a package"),
        ("absent.npz", "trace file absent.npz does not exist"),
        ("os", "'os' has no from_numpy"),
        ("numpy_rnn", "is this package itself"),
        ("absent:port", "there is no module absent"),
        ("numpy_rnn.reference numpy_rnn.reference", "numpy_rnn.reference is given twice"),
        ("t.npz u.npz", "t.npz and u.npz are both traces: expected at most one"),
    ],
)
def test_what_is_nothing_is_refused(run, other, message):
    for name in ("t.npz", "u.npz") if "u.npz" in other else ():
        np.savez(name, **trace_of(numpy_rnn, prepare(SHORT), SHORT))
    status, output, error = run(*other.split())
    assert (status, output) == (2, "")
    assert message in error
    assert error.count("\n") == 1


PROGRAMS_THAT_FAIL = {
    "exit 3": "./port, at its start: ends with exit status 3 and without an answer",
    "kill -9 $$": "./port, at its start: ends by SIGKILL and without an answer",
    "sleep 100": "./port, at its start: does not answer within 0.5 s (does it flush its output?)",
    "read q; echo; sleep 100": "./port, at its start: answers what is not JSON: ",
    """read q; echo '{"protocol": 7}'""": "./port, at its start: speaks protocol version 7: known: 1",
    """read q; echo '{"type": "hello", "protocol": 1, "name": "it", "dtypes": ["float32"], "capabilities": []}'""": (
        "it, epoch 1, update 1: ends with exit status 0 and without an answer"
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("script", PROGRAMS_THAT_FAIL)
def test_a_program_that_fails_at_any_time_has_a_verdict(run, capsys, tmp_path, script):
    program = tmp_path / "port"
    program.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    program.chmod(0o755)
    timeout = ["--port-timeout", "0.5" if "sleep 100" in script else "60"]
    status, output, error = run("./port", *timeout, "--epochs", "1")
    *_, verdict = output.splitlines()
    assert (status, verdict, error) == (1, PROGRAMS_THAT_FAIL[script], "")
    assert main_of_suite(["long", "--backend", "./port", "--dtype", "float32", *timeout]) == 1
    *_, verdict = capsys.readouterr().out.splitlines()
    assert verdict == PROGRAMS_THAT_FAIL[script]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["./port 'x"], "is not a command: No closing quotation; expected one as in a shell"),
        (["./port", "--port-timeout", "nan"], "'nan': expected a finite number, above 0"),
        (["./port", "--port-timeout", "0"], "'0': expected a finite number, above 0"),
    ],
)
def test_a_command_that_cannot_be_read_is_refused(run, capsys, options, message):
    for status, error in (
        run(*options)[::2],
        (main_of_suite(["long", "--backend", *options]), capsys.readouterr().err),
    ):
        assert status == 2
        assert message in error
        assert error.count("\n") == 1


def test_inputs_and_outputs_of_other_sizes_are_compared_without_a_picture(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(1)
    experiment = prepare(SHORT)
    theta = experiment.params
    params = theta._replace(W_xh=np.repeat(theta.W_xh, 2, axis=0))
    experiment = experiment._replace(x=random.normal(size=(20, 1, 2)), params=params)
    np.savez("t.npz", **trace_of(numpy_rnn, experiment, SHORT))
    assert main(numpy_rnn, ["compare", "t.npz"]) == 0
    assert (
        "no plot: it shows outputs and inputs together, and this run has 1 outputs and 2 inputs"
        in capsys.readouterr().out
    )


def test_json_holds_no_number_that_is_none(run, tmp_path):
    """Infinite losses, and the ratios of what is infinitely wrong, are null."""
    arrays = trace_of(numpy_rnn, prepare(SHORT), SHORT)
    arrays["loss"][-1] = np.inf
    arrays["initial"][3] += 1
    found = compare([RIGHT, Source("inf", lambda *run: arrays)], prepare(SHORT), SHORT)
    save_json(tmp_path / "j.json", comparison_report.values(found))

    def refuse(text):
        pytest.fail(f"{text} is not JSON")

    values = json.loads((tmp_path / "j.json").read_text(), parse_constant=refuse)
    assert values["sides"][1]["losses"][-1] is None
    assert values["sides"][1]["worst_ratio"]["initial"] is None
    assert values["sides"][1]["name"] == "inf"


@pytest.mark.parametrize("changes", [{}, MOMENTUM | {"learn_initial_state": True}])
def test_a_run_that_overflows_is_judged_until_there(changes):
    configuration = SHORT.changed(**changes)
    arrays = trace_of(numpy_rnn, prepare(configuration), configuration)
    assert finite_part(arrays) == (arrays, False)
    broken = arrays | {"y": arrays["y"].copy()}
    broken["y"][20] = np.inf
    part, cut = finite_part(broken)
    assert cut
    update = int(np.searchsorted(np.cumsum(arrays["stop"] - arrays["start"]), 20, side="right"))
    assert len(part["epoch"]) == len(part["W_hh"]) == update
    assert np.isfinite(part["y"]).all()
    assert len(part["y"]) == len(part["dx"]) == (arrays["stop"] - arrays["start"])[:update].sum()
    assert all(len(part[name]) == update for name in ("dh_0", "vW_xh", "vh_0", "h_0") if name in part)
    assert judge(part, whole=False).passed


@pytest.mark.needs_torch
def test_a_run_that_diverges_can_be_compared(run):
    """Too large a rate: both packages leave float32 at the same update, and are judged until there."""
    status, output, error = run(
        "torch_rnn", "--learning-rate", "9", "--nonlinearity", "relu", "--hidden-size", "40", "--epochs", "3"
    )
    assert status == 0, output + error
    assert "numpy_rnn overflows after" in output
    assert "torch_rnn overflows after" in output


class WithNorm(PackagePort):
    """numpy_rnn, but for its step, which takes this norm, and these other pieces."""

    def __init__(self, name, **pieces):
        super().__init__(numpy_rnn)
        self.name, self.pieces = name, pieces

    def window_update(self, params, x, target, h_0, **options):
        fields = ("learning_rate", "nonlinearity", "reduction")
        sgd = {name: options[name] for name in SgdOptions._fields if name in options}
        with np.errstate(over="ignore"):
            return port(
                Case(Parameters(**params), x, target, h_0, *(options[name] for name in fields), SgdOptions(**sgd)),
                **self.pieces,
            )


def test_a_norm_that_overflows_is_no_wrong_update():
    """A norm of numbers that are scaled is right; one that overflows is out of range, and the rest is judged no more.

    Then no update has an effect, and it is said. Another mistake in the same update is not taken for that.
    """
    configuration = Configuration(epochs=2, k1=5, k2=8, nonlinearity="relu", max_norm=1.0)
    experiment = prepare(configuration)
    huge = np.float32(1e16)
    experiment = experiment._replace(x=experiment.x * np.float32(1e6), target=experiment.target * huge)

    def source(name, **pieces):
        given = WithNorm(name, **pieces)
        return Source(name, lambda *run: trace_of_port(given, *run))

    scaled = source("scaled", norm=scaled_by_power_of_two)
    plain = source("plain", norm=norm_of_norms)
    wrong = source("wrong", norm=norm_of_norms, step=lambda theta, rate, s: theta - rate)
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


def test_epoch_losses_add_up():
    for reduction in ("sum", "mean"):
        configuration = SHORT.changed(reduction=reduction, k1=3, networks=2)
        arrays = trace_of(numpy_rnn, prepare(configuration), configuration)
        losses = epoch_losses(arrays, reduction)
        for epoch in range(configuration.epochs):
            chosen = arrays["epoch"] == epoch + 1
            counted = (arrays["stop"] - arrays["loss_start"])[chosen]
            each = arrays["loss"][chosen]
            whole = each.sum(0) if reduction == "sum" else (each * counted[:, None]).sum(0) / counted.sum()
            assert np.abs(losses[epoch] - whole).max() <= 20 * np.spacing(np.abs(whole).max())
