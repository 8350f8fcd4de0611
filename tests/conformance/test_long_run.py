"""The long profile and the command line of the suite."""

import io
import itertools
import json
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest
from port_cases import TENSORS

import numpy_rnn
from numpy_rnn.conformance import __main__
from numpy_rnn.conformance.__main__ import LongResult, check_updates, main
from numpy_rnn.conformance.comparison import package_source
from numpy_rnn.conformance.mutants import score
from numpy_rnn.conformance.mutants.catalogue import load, named
from numpy_rnn.conformance.ports.protocol import CAPABILITIES
from numpy_rnn.conformance.recipes import random_run
from numpy_rnn.conformance.traces.judge import CAUSAL_ORDER, EQUATIONS, Divergence, judge


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
    result = check_updates(package_source(load(named("dh_next dropped"))), "float64", 5000, seed=4)
    assert result.first.tensor == "dh"
    assert result.updates < 5000
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
    begun, made = [], []

    @contextmanager
    def progress(*arguments):
        begun.append(arguments)
        yield SimpleNamespace(advance=made.append)

    monkeypatch.setattr(__main__, "progress", progress)
    assert main(["long", "--backend", "numpy_rnn", "--updates", "40", "--dtype", "float32", "--seed", "3"]) == 0
    assert begun == [("numpy_rnn float32", 40, "updates")]
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
    seeds = []

    def board_of(number):
        def board(seed):
            seeds.append(seed)
            tensor = None if number in survivors else "loss"
            return [score.Score(named("e² for ½e²"), "L1", tensor, 2, 3.0)]

        return board

    monkeypatch.setattr(score, "score_board", board_of(0))
    monkeypatch.setattr(score, "engine_board", board_of(1))
    assert main(["score", "--seed", "7"]) == (1 if survivors else 0)
    assert seeds == [7, 7]
    output = capsys.readouterr().out
    assert output.count("1 mutants, 1 trials, 0 survived") == 2 - len(survivors)
    assert output.count("1 mutants, 1 trials, 1 survived") == len(survivors)


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


def test_what_cannot_be_run_is_one_line(capsys):
    for arguments, message in (
        (["long"], "--backend; see python -m numpy_rnn.conformance long --help"),
        (["long", "--backend", "numpy_rnn", "--json", "no/r.json"], "--json no/r.json: the folder"),
        (["long", "--backend", "absent"], "unknown implementation 'absent': expected"),
        (["long", "--backend", "./port 'x"], "is not a command: No closing quotation; expected one as in a shell"),
        (["long", "--backend", "numpy_rnn", "--port-timeout", "nan"], "'nan': expected a finite number, above 0"),
        (["sing"], "unknown command 'sing': expected score or long"),
        (["long", "--backend", "numpy_rnn", "--updates", "0"], "'0': expected a whole number, 1 or more"),
    ):
        assert main(arguments) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
