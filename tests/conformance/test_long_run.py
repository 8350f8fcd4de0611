"""The long profile and the command line of the suite."""

import io
import json
import os
import subprocess
import sys

import children
import numpy as np
import pytest

import numpy_rnn
from numpy_rnn.conformance import __main__
from numpy_rnn.conformance.__main__ import ORACLE_EVERY, Progress, check_updates, main, markdown
from numpy_rnn.conformance.comparison import package_source
from numpy_rnn.conformance.mutants import score
from numpy_rnn.conformance.mutants.catalogue import load, named
from numpy_rnn.conformance.ports.protocol import CAPABILITIES
from numpy_rnn.conformance.recipes import random_run
from numpy_rnn.conformance.traces.judge import CAUSAL_ORDER


def test_right_backends_are_held_to_the_end(rnn, monkeypatch):
    monkeypatch.setattr(__main__, "ORACLE_EVERY", 2)  # so that every option comes up in 600 updates
    for dtype in ("float32", "float64"):
        result = check_updates(package_source(rnn), dtype, 600, seed=4)
        assert result.first is None
        assert result.updates >= 600
        assert result.oracle_updates > 0
        for worst in (result.local, result.oracle):
            assert all(0 <= ratio <= 1 for ratio in worst.values())
        assert set(CAUSAL_ORDER) == set(result.local)
        assert set(result.local) == set(result.oracle)


def test_a_wrong_backend_is_stopped_at_its_first_fault():
    result = check_updates(package_source(load(named("dh_next dropped"))), "float64", 5000, seed=4)
    assert result.first.tensor == "dh"
    assert result.updates < 5000
    experiment, configuration = random_run(np.random.default_rng(result.seed), "float64", 100, has=CAPABILITIES)
    assert experiment.params.W_hh.dtype == np.float64
    assert configuration.epochs >= result.first.epoch


def test_a_fault_that_only_the_oracle_sees_is_seen():
    """numpy_rnn's float64 is checked at L1 by NumPy itself; the oracle of L2 is not."""
    source = package_source(numpy_rnn)

    def shifted(experiment, configuration):
        trace = source.trace(experiment, configuration)
        return trace | {"h": trace["h"] * (1 + 7 * np.finfo(float).eps)}

    assert check_updates(source._replace(trace=shifted), "float64", 200, seed=1).first is not None


def test_runs_that_diverge_in_every_port_are_left_out(monkeypatch):
    """Of the runs made wild here, every other one, none is judged; a fault in the others is still found."""
    calls = iter(range(100_000))

    def sometimes_diverging(*arguments):
        experiment, configuration = random_run(*arguments)
        return experiment, configuration.changed(learning_rate=50.0, nonlinearity="relu") if next(
            calls
        ) % 2 else configuration

    monkeypatch.setattr(__main__, "random_run", sometimes_diverging)
    result = check_updates(package_source(numpy_rnn), "float32", 300, seed=1)
    assert result.diverging > 0
    assert result.first is None
    assert check_updates(package_source(load(named("dh_next dropped"))), "float32", 3000, seed=1).first.tensor == "dh"


def test_the_table_holds_every_tensor():
    result = check_updates(package_source(numpy_rnn), "float32", 50, seed=1)
    table = markdown({"numpy_rnn": [result]}).splitlines()
    assert table[0] == "| tensor | equation | numpy_rnn float32, L1 | L2 |"
    assert [line.split("|")[1].strip() for line in table[2:-1]] == list(CAUSAL_ORDER[2:])
    assert table[-1] == f"| updates | | {result.updates:,} | {result.oracle_updates:,} |"
    assert ORACLE_EVERY > 1


def test_progress_is_shown_on_a_terminal_only(capsys, monkeypatch):
    progress = Progress("numpy_rnn float32", 100)
    progress(50)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    Progress("numpy_rnn float32", 100)(50)
    assert "numpy_rnn float32: 50 of 100 updates" in capsys.readouterr().err


def test_command_long(capsys, tmp_path):
    path = tmp_path / "long.json"
    options = ["--backend", "numpy_rnn", "--updates", "40", "--dtype", "float64", "--seed", "3", "--json", str(path)]
    assert main(["long", *options]) == 0
    output = capsys.readouterr().out
    assert "seed 3" in output
    assert "no bound exceeded" in output
    assert json.loads(path.read_text())["backends"]["numpy_rnn"][0]["updates"] >= 40


def test_a_command_ends_with_one_line_and_its_status(capsys, monkeypatch):
    """Ctrl-C, an output that is full, and a reader that has gone; text that the output's encoding does not have."""

    def failing(error):
        def score_board(seed):
            raise error

        return score_board

    for error, status, said in (
        (KeyboardInterrupt(), 130, "numpy_rnn.conformance: interrupted\n"),
        (MemoryError("all"), 2, "numpy_rnn.conformance: not enough memory (all): choose fewer"),
    ):
        monkeypatch.setattr(score, "score_board", failing(error))
        assert main(["score"]) == status
        assert capsys.readouterr().err.startswith(said)
    found = score.Score(named("e² for ½e²"), "L1", "loss", 1, 2.0)
    monkeypatch.setattr(score, "score_board", lambda seed: [found])
    monkeypatch.setattr(score, "engine_board", lambda seed: [])
    for encoding, written in (("ascii", rb"e\xb2 for \xbde\xb2"), ("utf-8", "e² for ½e²".encode())):
        memory = io.BytesIO()
        monkeypatch.setattr("sys.stdout", io.TextIOWrapper(memory, encoding))
        assert main(["score"]) == 0
        assert written in memory.getvalue()


LONG = [sys.executable, "-m", "numpy_rnn.conformance", "long", "--backend", "numpy_rnn", "--updates", "1"]


@pytest.mark.slow
def test_a_reader_that_has_gone_is_no_traceback():
    with children.start(LONG, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        running.stdout.close()
        assert running.stderr.read() == b""
        assert running.wait(children.LIMIT) == 1


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_an_output_that_is_full_is_one_line():
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = children.run(LONG, capture_output=False, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 2
    assert done.stderr == "numpy_rnn.conformance: the output cannot be written: No space left on device\n"


def test_command_score_and_its_errors(capsys):
    assert main(["score", "--seed", "2"]) == 0
    assert ", 0 survived" in capsys.readouterr().out
    for arguments, message in (
        (["long"], "--backend; see python -m numpy_rnn.conformance long --help"),
        (["long", "--backend", "numpy_rnn", "--json", "no/r.json"], "--json no/r.json: the folder"),
        (["long", "--backend", "absent"], "unknown implementation 'absent': expected"),
        (["sing"], "unknown command 'sing': expected score or long"),
        (["long", "--backend", "numpy_rnn", "--updates", "0"], "'0': expected a whole number, 1 or more"),
    ):
        assert main(arguments) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
