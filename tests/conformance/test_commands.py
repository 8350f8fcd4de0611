"""The commands `long` and `score`, and what fails in `compare`: wrong ports, programs that hang or die, bad traces."""

import io
import itertools
import json
import sys
from unittest.mock import MagicMock, Mock

import numpy as np
import pytest
from in_process import command
from port_cases import TENSORS

import numpy_rnn
from numpy_rnn.app.configuration import Configuration
from numpy_rnn.app.experiment import prepare
from numpy_rnn.conformance import __main__
from numpy_rnn.conformance.__main__ import LongResult, check_updates, main
from numpy_rnn.conformance.comparison import package_source
from numpy_rnn.conformance.mutants import score
from numpy_rnn.conformance.mutants.catalogue import load, named
from numpy_rnn.conformance.ports.protocol import CAPABILITIES
from numpy_rnn.conformance.recipes import random_run
from numpy_rnn.conformance.traces.drive import trace_of
from numpy_rnn.conformance.traces.judge import CAUSAL_ORDER, EQUATIONS, Divergence, judge

SHORT = Configuration(epochs=1, k1=3, k2=5, hidden_size=5, dtype="float64", bias=True)
PORTS = """
import time
import numpy_rnn
from numpy_rnn.conformance.mutants.catalogue import load, named
from numpy_rnn.conformance.ports.backends import PackagePort


class Inexact(PackagePort):
    tanh_ulps = 1

    def window_update(self, *arrays, **options):
        report = super().window_update(*arrays, **options)
        return report | {"h": report["h"] * report["h"].dtype.type(1 + 5e-7)}


class Failing:
    name, dtypes = "failing", ("float32",)

    def window_update(self, *arrays, **options):
        raise ValueError("no window today")


class Hanging(Failing):
    def window_update(self, *arrays, **options):
        time.sleep(5)


wrong = PackagePort(load(named("h_t for h_{t-1} in dW_hh")))
plain, full, inexact = PackagePort(numpy_rnn), PackagePort(numpy_rnn), Inexact(numpy_rnn)
plain.name, full.name, inexact.name = "a plain port", "a full port", "inexact"
plain.capabilities = ("intermediates",)
"""


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    """Runs `compare` in a folder with the ports above, and with a trace twice and two bad ones."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "some", raising=False)
    (tmp_path / "some.py").write_text(PORTS, encoding="utf-8")
    trace = trace_of(numpy_rnn, prepare(SHORT), SHORT)
    for name in ("t.npz", "u.npz"):
        np.savez(name, **trace)
    np.savez("short.npz", **{name: array for name, array in trace.items() if name != "dW_hh"})
    np.savez("nan.npz", **trace | {"y": trace["y"] * np.nan})
    return lambda *arguments: command(numpy_rnn, capsys, "compare", *arguments, "--no-plot")


VERDICTS = {  # of a port: the exit status, and what is said
    "some:plain": (0, "numpy_rnn and a plain port agree"),  # on what the port has
    "some:full --momentum 0.9 --learn-initial-state": (0, "vh_0      U5"),
    "some:Failing": (1, "failing, epoch 1, update 1: raises ValueError: no window today"),
    "some:Hanging --port-timeout 0.1": (1, "failing, epoch 1, update 1: does not answer within 0.1 s"),
    "some:inexact": (1, "inexact diverges first in epoch 1, update 1, step 1: h (F2)"),
    "some:wrong": (1, "before it is within its bound, so the fault is in this stage\n  looks like: h_t for h_{t-1}"),
}


@pytest.mark.parametrize("arguments", VERDICTS)
def test_a_port_has_its_verdict(run, arguments):
    """One that fails, hangs or exceeds its own bound too."""
    status, output, error = run(*arguments.split(), "--epochs", "1")
    assert (status, error) == (VERDICTS[arguments][0], "")
    assert VERDICTS[arguments][1] in output


REFUSED = {
    "some:plain --epochs 1 --momentum 0.9": "does not declare 'sgd_options': choose a run without momentum",
    "some:plain --epochs 1 --learn-initial-state": "choose a run without a learned initial state",
    "some:Failing --epochs 1 --dtype float64": "failing does not support float64: choose --dtype float32",
    "absent": "unknown implementation 'absent': expected a package",
    "absent.npz": "trace file absent.npz does not exist",
    "os": "'os' has no from_numpy",
    "numpy_rnn": "is this package itself",
    "absent:port": "there is no module absent",
    "numpy_rnn.reference numpy_rnn.reference": "numpy_rnn.reference is given twice",
    "t.npz --port-timeout nan": "'nan': expected a finite number, above 0",
    "'./port": "is not a command: No closing quotation; expected one as in a shell",
    "short.npz": "dW_hh is missing",
    "nan.npz": "is nan: expected a finite number",
    "t.npz u.npz": "t.npz and u.npz are both traces: expected at most one",
}


@pytest.mark.parametrize("arguments", REFUSED)
def test_what_cannot_be_compared_is_refused(run, arguments):
    """Before anything is trained, and its heading printed."""
    status, output, error = run(*arguments.split())
    assert (status, output) == (2, "")
    assert REFUSED[arguments] in error
    assert error.count("\n") == 1


PROGRAMS_THAT_FAIL = {
    "sleep 100": "./port, at its start: does not answer within 0.3 s (does it flush its output?)",
    """read q; echo '{"type": "hello", "protocol": 1, "name": "it", "dtypes": ["float32"], "capabilities": []}'""": (
        "it, epoch 1, update 1: ends with exit status 0 and without an answer"
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("script", PROGRAMS_THAT_FAIL)
def test_a_program_that_fails_at_any_time_has_a_verdict(run, capsys, tmp_path, script):
    program = tmp_path / "port"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    timeout = ["--port-timeout", "0.3" if "sleep 100" in script else "60"]
    status, output, error = run("./port", *timeout, "--epochs", "1")
    assert (status, output.splitlines()[-1], error) == (1, PROGRAMS_THAT_FAIL[script], "")
    assert main(["long", "--backend", "./port", "--dtype", "float32", *timeout]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == PROGRAMS_THAT_FAIL[script]


# -- long and score --------------------------------------------------------------------------------------------------


def test_a_right_backend_is_checked_to_the_end(rnn, monkeypatch):
    """Every tensor at both levels, of which the worst ratio is kept."""
    judgements: dict[bool, list] = {False: [], True: []}

    def recorded(trace, tau, by_oracle=False):
        judgements[by_oracle].append(judge(trace, tau, by_oracle=by_oracle))
        return judgements[by_oracle][-1]

    monkeypatch.setattr(__main__, "judge", recorded)
    monkeypatch.setattr(__main__, "ORACLE_EVERY", 2)  # so that every option comes up in 150 updates
    result = check_updates(package_source(rnn), "float64", 150, seed=9)
    assert (result.first, result.diverging) == (None, 0)
    assert result.updates >= 150
    for by_oracle, worst in ((False, result.local), (True, result.oracle)):
        assert {"window", "initial", *TENSORS} == set(worst)
        ratios = [judgement.worst for judgement in judgements[by_oracle]]
        assert worst == {name: max(of.get(name, 0.0) for of in ratios) for name in worst}
    assert sum(judgement.updates for judgement in judgements[True]) == result.oracle_updates > 0


def test_a_wrong_backend_is_stopped_at_its_first_fault():
    """Of which the run can be repeated from its seed."""
    result = check_updates(package_source(load(named("dh_next dropped"))), "float64", 5000, seed=4)
    assert (result.first.tensor, result.updates < 5000) == ("dh", True)
    experiment, configuration = random_run(np.random.default_rng(result.seed), "float64", 100, has=CAPABILITIES)
    assert experiment.params.W_hh.dtype == np.float64
    assert configuration.epochs >= result.first.epoch


def test_a_fault_that_only_the_oracle_sees_is_found():
    """numpy_rnn's float64 is checked at L1 by NumPy itself; the oracle of L2 is not."""
    source = package_source(numpy_rnn)

    def shifted(experiment, configuration):
        trace = source.trace(experiment, configuration)
        return trace | {"h": trace["h"] * (1 + 7 * np.finfo(float).eps)}

    assert check_updates(source._replace(trace=shifted), "float64", 200, seed=1).first is not None


def test_runs_that_diverge_in_every_port_are_left_out(monkeypatch):
    """Of the runs made wild here, every other one, none is judged."""
    calls = itertools.count()

    def sometimes_diverging(*arguments):
        experiment, configuration = random_run(*arguments)
        wild = {"learning_rate": 50.0, "nonlinearity": "relu"} if next(calls) % 2 else {}
        return experiment, configuration.changed(**wild)

    monkeypatch.setattr(__main__, "random_run", sometimes_diverging)
    result = check_updates(package_source(numpy_rnn), "float32", 300, seed=1)
    assert result.diverging > 0
    assert result.first is None


def test_the_progress_bar_counts_the_updates_of_every_run(monkeypatch, capsys):
    bar = MagicMock()
    monkeypatch.setattr(__main__, "progress", bar)
    assert main(["long", "--backend", "numpy_rnn", "--updates", "40", "--dtype", "float32", "--seed", "3"]) == 0
    bar.assert_called_once_with("numpy_rnn float32", 40, "updates")
    made = [call.args[0] for call in bar.return_value.__enter__.return_value.advance.call_args_list]
    assert len(made) > 1
    assert f"numpy_rnn float32: {sum(made)} updates, " in capsys.readouterr().out


DIVERGENCE = Divergence(2, 3, "dh", 1, (0, 1), 0.5, 0.25, 1e-9, 2.5e8, "B2")


@pytest.mark.parametrize("first", [None, DIVERGENCE])
def test_command_long(first, capsys, monkeypatch, tmp_path):
    """It asks for what the options say, prints a table of both levels, and its exit status is the verdict."""
    asked = []

    def check_updates(source, dtype, updates, seed, progress):
        asked.append((source.name, dtype, updates, seed))
        local, oracle = (dict.fromkeys(CAUSAL_ORDER, part) for part in (0.25, 0.75))
        return LongResult(dtype, 1234, 56, local, oracle, 7, first, first and (seed, 9))

    monkeypatch.setattr(__main__, "check_updates", check_updates)
    path = tmp_path / "long.json"
    backends = ["--backend", "numpy_rnn", "--backend", "numpy_rnn.reference"]
    status = main(["long", *backends, "--updates", "40", "--dtype", "float64", "--seed", "3", "--json", str(path)])
    assert status == (0 if first is None else 1)
    assert asked == [("numpy_rnn", "float64", 40, 3), ("numpy_rnn.reference", "float64", 40, 3)]
    output = capsys.readouterr().out
    verdict = "no bound exceeded" if first is None else "BOUND EXCEEDED"
    assert f"seed 3\nnumpy_rnn float64: 1,234 updates, 7 diverging runs left out, {verdict}\n" in output
    if first is not None:
        assert "run (3, 9): numpy_rnn diverges first in epoch 2, update 3, step 1: dh (B2)" in output
    head, _, *rows, counts = output.splitlines()[-len(CAUSAL_ORDER[2:]) - 3 :]
    assert head == "| tensor | equation | numpy_rnn float64, L1 | L2 | numpy_rnn.reference float64, L1 | L2 |"
    assert rows == [f"| {name} | {EQUATIONS[name]} |{' 0.250 | 0.750 |' * 2}" for name in CAUSAL_ORDER[2:]]
    assert counts == f"| updates | |{' 1,234 | 56 |' * 2}"
    written = json.loads(path.read_text())
    assert (written["seed"], written["backends"]["numpy_rnn"][0]["updates"]) == (3, 1234)


@pytest.mark.parametrize("survivors", [(), (0,), (1,)])
def test_command_score(survivors, capsys, monkeypatch):
    """With the seed of the command line; the exit status tells that a mutant of either board survives."""
    boards = []
    for number, board in enumerate(("score_board", "engine_board")):
        tensor = None if number in survivors else "loss"
        boards.append(Mock(return_value=[score.Score(named("e² for ½e²"), "L1", tensor, 2, 3.0)]))
        monkeypatch.setattr(score, board, boards[-1])
    assert main(["score", "--seed", "7"]) == (1 if survivors else 0)
    assert [board.call_args.args for board in boards] == [(7,), (7,)]
    output = capsys.readouterr().out
    assert output.count("1 mutants, 1 trials, 0 survived") == 2 - len(survivors)
    assert output.count("1 mutants, 1 trials, 1 survived") == len(survivors)


def test_a_command_ends_with_one_line_and_its_status(capsys, monkeypatch):
    """Ctrl-C, and too little memory; text that the output's encoding does not have."""
    for error, status, said in (
        (KeyboardInterrupt(), 130, "numpy_rnn.conformance: interrupted\n"),
        (MemoryError("all"), 2, "numpy_rnn.conformance: not enough memory (all): choose fewer"),
    ):
        monkeypatch.setattr(score, "score_board", Mock(side_effect=error))
        assert main(["score"]) == status
        assert capsys.readouterr().err.startswith(said)
    found = score.Score(named("e² for ½e²"), "L1", "loss", 1, 2.0)
    monkeypatch.setattr(score, "score_board", Mock(return_value=[found]))
    monkeypatch.setattr(score, "engine_board", Mock(return_value=[]))
    for encoding, written in (("ascii", rb"e\xb2 for \xbde\xb2"), ("utf-8", "e² for ½e²".encode())):
        memory = io.BytesIO()
        monkeypatch.setattr("sys.stdout", io.TextIOWrapper(memory, encoding))
        assert main(["score"]) == 0
        assert written in memory.getvalue()


def test_what_cannot_be_run_is_one_line(run, capsys):
    for arguments, message in (
        (["long"], "--backend; see python -m numpy_rnn.conformance long --help"),
        (["long", "--backend", "numpy_rnn", "--json", "no/r.json"], "--json no/r.json: the folder"),
        (["long", "--backend", "absent"], "unknown implementation 'absent': expected"),
        (["long", "--backend", "t.npz", "--updates", "9"], "t.npz is a trace file: expected a package, a Python port"),
        (["long", "--backend", "./port 'x"], "is not a command: No closing quotation; expected one as in a shell"),
        (["long", "--backend", "numpy_rnn", "--port-timeout", "nan"], "'nan': expected a finite number, above 0"),
        (["sing"], "unknown command 'sing': expected score or long"),
        (["long", "--backend", "numpy_rnn", "--updates", "0"], "'0': expected a whole number, 1 or more"),
    ):
        assert main(arguments) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
