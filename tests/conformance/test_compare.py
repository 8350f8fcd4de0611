"""The commands `compare`, `long` and `score`: right implementations agree, wrong ones are named."""

import io
import itertools
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from in_process import command
from inline_snapshot import snapshot
from ports_for_tests import Layer, Untransposed, Way
from test_judge import PACKAGE, sine_run

import numpy_rnn
from numpy_rnn.app.compare import compare
from numpy_rnn.common.records import Objective, Step
from numpy_rnn.conformance import __main__
from numpy_rnn.conformance.__main__ import LongResult, check_updates, main, markdown
from numpy_rnn.conformance.arithmetics.bounds import TAU
from numpy_rnn.conformance.definition import train
from numpy_rnn.conformance.mutants import score
from numpy_rnn.conformance.mutants.catalogue import named
from numpy_rnn.conformance.ports.package_port import PackagePort
from numpy_rnn.conformance.ports.protocol import EVERYTHING
from numpy_rnn.conformance.traces.divergence import CAUSAL_ORDER
from numpy_rnn.conformance.traces.recorder import record
from numpy_rnn.conformance.traces.sources import PortSource
from numpy_rnn.conformance.traces.trace_file import trace_arrays

SHORT = sine_run(Step(0.1), k1=3, k2=5, epochs=3, learned=False)


class WaySource:
    """A way to compute windows as an implementation."""

    tau, abilities = TAU, EVERYTHING

    def __init__(self, way, name="changed"):
        self.way, self.name = way, name

    def check(self, run):
        pass

    def trace(self, run):
        def compute(case):
            report = self.way.window_update(case)
            return report, report["h"]

        with np.errstate(all="ignore"):
            return record(run, train(run, compute, self.way.of))


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    """Runs `compare` in a folder with ports and traces."""
    monkeypatch.chdir(tmp_path)
    arrays = trace_arrays(*PACKAGE.trace(SHORT))
    np.savez("t.npz", **arrays)
    np.savez("wrong.npz", **arrays | {"db_h": arrays["db_h"] + 1e-6})
    ensemble = sine_run(Step(0.1), networks=(2,), learned=False)
    ensemble = ensemble._replace(x=np.stack([ensemble.x, -ensemble.x], axis=1))
    np.savez("e.npz", **trace_arrays(*PACKAGE.trace(ensemble)))
    np.savez("early.npz", **trace_arrays(*PACKAGE.trace(SHORT).first(9)))
    return lambda *arguments: command(numpy_rnn, capsys, "compare", *arguments, "--no-plot")


@pytest.mark.needs_torch
def test_packages_agree(run):
    """The engine, the reference and torch, in an ensemble: a column and a verdict for each, and no drift."""
    options = (
        "--epochs 2 --k1 3 --k2 7 --seeds 2 --momentum 0.5 --max-norm 0.05 --learn-initial-state"
    )
    status, output, _ = run(
        "numpy_rnn.reference", "torch_rnn", *options.split(), "--output", "found.json"
    )
    assert status == 0, output
    assert (
        "numpy_rnn, numpy_rnn.reference and torch_rnn agree: every update of all is within its"
        in output
    )
    assert "drift" not in output
    names = ["numpy_rnn", "numpy_rnn.reference", "torch_rnn"]
    assert ["tensor", "equation", *names] in [line.split() for line in output.splitlines()]
    written = json.loads(Path("found.json").read_text())
    assert written["passed"]
    assert (written["options"]["k2"], written["options"]["momentum"]) == (7, 0.5)
    assert [side["name"] for side in written["sides"]] == names
    assert all({"dx", "vh_0", "h_0"} <= set(side["worst_ratio"]) for side in written["sides"])


def test_port_and_traces_have_their_verdicts(run):
    status, output, error = run("ports_for_tests:BlackBox", "--epochs", "2", "--k2", "3")
    assert (status, error) == (0, "")
    assert "numpy_rnn and a black box agree: every update of both is within" in output
    assert ["initial", "T3", "exact", "not", "checked"] in [
        line.split() for line in output.splitlines()
    ]
    assert output.splitlines()[-1] == snapshot(
        "not checked of a black box: window, initial (the loop is that of compare), a, h, y, dy, dh, da, dh_0, dx (not"
        " reported)"
    )
    assert "rounding explains the drift" in output
    status, output, _ = run("t.npz")
    assert status == 0, output
    assert "options, series and initial weights are read from t.npz" in output
    status, output, _ = run("wrong.npz")
    assert status == 1
    assert "wrong.npz diverges first in epoch 1, update 1: db_h (B7)\n  db_h[0] is " in output
    assert "every stage before it is within its bound, so the fault is in this stage" in output
    status, output, error = run("early.npz", "--log-every", "1")
    assert (status, error) == (1, "")
    assert (
        "in epoch 2, update 3: window (T1, T2)\n  the run has 9 updates where TBPTT(k1, k2) has 21"
        in output
    )
    assert [line.split()[2] for line in output.splitlines() if line.strip()[:1] in ("2", "3")] == [
        "-",
        "-",
    ]
    status, output, _ = run("ports_for_tests:TwiceTheGradient", "--epochs", "2")
    assert status == 1
    assert "twice diverges first in epoch 1, update 1: dW_xh (B4)" in output
    assert (
        "no intermediate values are reported, so the fault is in this stage or an earlier one"
        in output
    )
    assert "rounding does not explain the drift" in output
    status, output, error = run("ports_for_tests:Failing", "--epochs", "1")
    assert (status, error) == (1, "")
    assert (
        "failing, epoch 1, update 1: raises ValueError: no window today" in output.splitlines()[-1]
    )


REFUSED = (
    "ports_for_tests:BlackBox --seeds 2",
    "os",
    "numpy_rnn",
    "e.npz",
    "t.npz wrong.npz",
    "torch_rnn --epochs 0",
)


@pytest.mark.needs_torch
def test_unusable_input_is_refused(run):
    """Before anything is trained, and its heading printed."""
    messages = []
    for arguments in REFUSED:
        status, output, error = run(*arguments.split())
        assert (status, output) == (2, ""), arguments
        assert error.count("\n") == 1
        messages.append(error.removeprefix("numpy_rnn: ").rstrip()[:100])
    assert messages == snapshot(
        [
            "a port takes one network at a time: expected a run without --seeds",
            "'os' has no from_numpy, to_numpy, forward, train: expected a package such as numpy_rnn or torch_rnn",
            "numpy_rnn is given twice, or is this package itself: expected different implementations",
            "x has shape (20, 2, 1, 1): a run with a series per network cannot be repeated",
            "t.npz and wrong.npz are both traces: expected at most one, which is repeated",
            "the windows of this run have 0 steps: expected 1 to 10000000; change --epochs or --k2",
        ]
    )


@pytest.mark.parametrize("port", [Layer, Untransposed])
def test_two_biases_are_compared_like_one(port):
    """Their sum moves twice as far as one bias: numpy_rnn trains both too. A wrong port has its hint."""
    right = port is Layer
    for has in (("intermediates", "two_biases"), ("two_biases",), ()):
        found = compare([PackagePort(numpy_rnn), PortSource(port(has=has), 10)], SHORT)
        assert found.sides[0].judgement.passed
        assert ("b_hh" in found.sides[0].judgement.worst) == ("two_biases" in has)
        assert (found.drift.ratio < 8) == found.passed == right
        assert found.sides[1].looks_like == ([] if right else ["W_hh used without its transpose"])


# -- long and score --------------------------------------------------------------------------------------------------


@pytest.mark.needs_torch
def test_long_checks_right_packages_to_the_end(capsys, monkeypatch, tmp_path):
    """Every tensor at both levels."""
    monkeypatch.setattr(__main__, "ORACLE_EVERY", 2)  # so that every option comes up in 80 updates
    path = tmp_path / "long.json"
    backends = "--backend numpy_rnn --backend torch_rnn"
    assert (
        main(f"long {backends} --updates 80 --dtype float64 --seed 9 --output {path}".split()) == 0
    )
    output = capsys.readouterr().out.splitlines()
    assert output[0] == "seed 9"
    assert all(
        line.endswith(" updates, 0 diverging runs left out, no bound exceeded")
        for line in output[1:3]
    )
    assert (
        output[3]
        == "| tensor | equation | numpy_rnn float64, L1 | L2 | torch_rnn float64, L1 | L2 |"
    )
    for result in json.loads(path.read_text())["results"]:
        assert result["updates"] >= max(80, result["oracle_updates"] + 1)
        assert result["oracle_updates"] > 0
        for worst in (result["local"], result["oracle"]):
            assert set(worst) >= {"window", "initial", "loss", "dW_hh", "W_hh", "vW_hh", "dx"}
            assert max(worst.values()) <= 1


class Shifted(PackagePort):
    """Only the oracle sees it: at L1 numpy_rnn's float64 is checked by NumPy itself."""

    def trace(self, run):
        recorded = super().trace(run)
        return recorded.replace({"h": recorded.updates["h"] * (1 + 7 * np.finfo(float).eps)})


@pytest.mark.parametrize(
    "wrong", [WaySource(Way(of=named("dh_next dropped").definition)), Shifted(numpy_rnn)]
)
def test_long_stops_at_the_first_fault(wrong, capsys, monkeypatch):
    monkeypatch.setattr(__main__, "source", lambda name, timeout: wrong)
    assert (
        main(
            ["long", "--backend", "wrong", "--updates", "5000", "--dtype", "float64", "--seed", "4"]
        )
        == 1
    )
    output = capsys.readouterr().out
    assert "BOUND EXCEEDED" in output
    assert f"): {wrong.name} diverges first in epoch " in output


def test_diverging_runs_are_left_out(monkeypatch):
    """Every other run is made wild here, and none of these is judged."""
    made, numbers = __main__.random_run, itertools.count()

    def sometimes_diverging(*arguments):
        run = made(*arguments)
        wild = run.options._replace(step=Step(50.0), objective=Objective("relu"))
        is_right = next(numbers) % 2 or run.options.objective.loss != "squared_error"
        return run if is_right else run._replace(options=wild)

    monkeypatch.setattr(__main__, "random_run", sometimes_diverging)
    result = check_updates(PackagePort(numpy_rnn), "float32", 40, 1)
    assert result.diverging > 0
    assert result.first is None


def test_score_tells_survivors(capsys, monkeypatch):
    monkeypatch.setattr(__main__, "MUTANTS", (named("relu′ missing"),))
    assert main(["score", "--seed", "7"]) == 0
    assert "1 mutants, 2 trials, 0 survived" in capsys.readouterr().out
    monkeypatch.setattr(score, "violation", lambda level, module, seed: None)
    memory = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(memory, "ascii"))
    assert main(["score"]) == 1
    sys.stdout.flush()
    assert b"relu\\u2032 missing" in memory.getvalue()
    assert b"2 survived" in memory.getvalue()


def test_tables_of_long_and_score():
    """The first and last rows; L2 is empty where the oracle was not asked, and a survivor is named."""
    left = LongResult(
        "one", "float32", 1234, 50, {"a": 0.25, "loss": 0.12345}, {"loss": 0.5}, 3, None, None
    )
    rows = markdown(
        [left, left._replace(name="two", updates=7, oracle_updates=0, oracle={})]
    ).splitlines()
    assert len(rows) == 2 + len(CAUSAL_ORDER) - 2 + 1
    assert "\n".join(rows[:3] + rows[5:7] + rows[-1:]) == snapshot("""\
| tensor | equation | one float32, L1 | L2 | two float32, L1 | L2 |
|---|---|---:|---:|---:|---:|
| a | F1 | 0.250 |  | 0.250 |  |
| loss | L1, L2 | 0.123 | 0.500 | 0.123 |  |
| dy | B1 | 0.000 |  | 0.000 |  |
| updates | | 1,234 | 50 | 7 | 0 |\
""")
    first, second = named("dh_next dropped"), named("bptt over k+1 steps")
    made = [score.Score(first, "L1", "dh", 3, 12345.6), score.Score(first, "L2", "dW_xh", 12, 2.5),
            score.Score(first, "L2", "x", 1, np.inf), score.Score(second, "L3", None, 500, 0.0)]  # fmt: skip
    assert score.text(made) == snapshot("""\
mutant                                         level  caught at       cases  error / bound
dh_next dropped                                L1     dh (B2)              3    1.2e+04
dh_next dropped                                L2     dW_xh (B4)          12    2.5e+00  (the mistake is in dh)
dh_next dropped                                L2     x (form)             1        inf  (the mistake is in dh)
bptt over k+1 steps                            L3     SURVIVED           500    0.0e+00
2 mutants, 4 trials, 1 survived\
""")


def test_unusable_commands_are_one_line(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez("t.npz", **trace_arrays(*PACKAGE.trace(SHORT)))
    messages = []
    for arguments in ("numpy_rnn --output no/r.json", "absent", "t.npz --updates 9"):
        assert main(["long", "--backend", *arguments.split()]) == 2
        messages.append(capsys.readouterr().err.rstrip()[:100])
    with pytest.raises(SystemExit):
        main(["long", "--backend", "numpy_rnn", "--updates", "0"])
    messages.append(capsys.readouterr().err.splitlines()[-1])
    assert messages == snapshot(
        [
            "numpy_rnn.conformance: --output no/r.json cannot be written: No such file or directory; choose anoth",
            "numpy_rnn.conformance: unknown implementation 'absent': expected a package (torch_rnn), a Python por",
            "numpy_rnn.conformance: --backend t.npz is a trace file: expected a package, a Python port or a progr",
            "python -m numpy_rnn.conformance long: error: argument --updates: '0': expected a whole number, 1 or more",
        ]
    )
