"""The options of `python -m benchmarks`: their defaults, and what is refused."""

import re
import sys
from pathlib import Path

import pytest
from children import run

from benchmarks.__main__ import main, parse_options
from benchmarks.plan import ALL_TASKS, IMPORT
from benchmarks.rows import OURS

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--rounds", "5"], "--rounds: '5' given: expected a whole number, 6 or more"),
        (["--steps", "9999"], "--steps: '9999' given: expected a whole number, 10000 or more"),
        (["--threads", "-1"], "--threads: '-1' given: expected a whole number, 1 or more"),
        (["--rows", "fast"], "--rows.*fast"),
        (["--tasks", "sing"], "--tasks.*sing"),
        (["--output", "no/such/directory"], "--output: cannot write to 'no/such/directory': expected a"),
        (["--output", "README.md"], "--output: cannot write to 'README.md': expected a folder"),
        (["--quick"], "--quick"),
        (["--cases", "no such case"], "these options select nothing: expected rows, tasks and cases that --list"),
        (["--rows", "torch.compile"], "these options select nothing"),
    ],
    ids=str,
)
def test_an_invalid_option_is_one_line_and_status_2(options, message, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    try:
        status = main(options)
    except SystemExit as exit_:
        status = exit_.code
    out, err = capsys.readouterr()
    assert status == 2
    assert out == ""
    assert re.match(f"python -m benchmarks: .*{message}", err), err
    assert err.count("\n") == 1


@pytest.mark.parametrize("options", [["--output", "."], ["--output=."], []], ids=str)
def test_the_report_has_the_command_without_the_folder(options):
    assert parse_options(["--full", *options, "--rounds", "7"]).command == "python -m benchmarks --full --rounds 7"
    assert parse_options(options).command == "python -m benchmarks"


def test_the_modes():
    quick, full = parse_options([]), parse_options(["--full"])
    assert (quick.rounds, quick.steps, quick.threads, quick.output, quick.repeats) == (6, 100_000, [1], None, 1)
    assert (full.rounds, full.steps, full.output, full.repeats) == (6, 1_000_000, Path("benchmark-results"), 3)
    assert parse_options(["--repeats", "0"]).repeats == 0
    assert quick.choice.tasks == full.choice.tasks == ALL_TASKS
    assert {*ALL_TASKS} - {*parse_options(["--rows", OURS]).choice.tasks} == {IMPORT, "memory", "suite", "profile"}


@pytest.mark.slow
def test_numpy_is_not_imported_before_the_threads_are_set():
    program = "import benchmarks.__main__, sys; sys.exit('numpy' in sys.modules or 'torch' in sys.modules)"
    run([sys.executable, "-c", program], check=True)
