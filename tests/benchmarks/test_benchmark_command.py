"""`python -m benchmarks` as it is used: its options; and on a terminal, interrupted, resumed."""

import json
import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pyperf
import pytest
from children import ROOT, run
from pseudo_terminal import run_on_a_terminal, screen, text_of

from benchmarks.__main__ import main, parse_options
from benchmarks.plan import ALL_TASKS, IMPORT
from benchmarks.summary import from_json, report

# -- options ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--rounds 5", "--rounds: '5' given: expected a whole number, 6 or more"),
        ("--steps 9999", "--steps: '9999' given: expected a whole number, 10000 or more"),
        ("--threads -1", "--threads: '-1' given: expected a whole number, 1 or more"),
        ("--rows fast", "--rows.*fast"),
        ("--tasks sing", "--tasks.*sing"),
        ("--output no/such/directory", "--output: cannot write to 'no/such/directory': expected a"),
        ("--output README.md", "--output: cannot write to 'README.md': expected a folder"),
        ("--quick", "--quick"),
        ("--cases nothing", "these options select nothing: expected rows, tasks and cases that --list"),
        ("--rows torch.compile", "these options select nothing"),
    ],
)
def test_an_invalid_option_is_one_line_and_status_2(options, message, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    try:
        status = main(options.split())
    except SystemExit as exit_:
        status = exit_.code
    out, err = capsys.readouterr()
    assert (status, out) == (2, "")
    assert re.fullmatch(f"python -m benchmarks: .*{message}.*\n", err), err


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
    of_a_row = parse_options(["--rows", "numpy_rnn"]).choice.tasks
    assert {*ALL_TASKS} - {*of_a_row} == {IMPORT, "memory", "suite", "profile"}


@pytest.mark.slow
def test_numpy_is_not_imported_before_the_threads_are_set():
    program = "import benchmarks.__main__, sys; sys.exit('numpy' in sys.modules or 'torch' in sys.modules)"
    run([sys.executable, "-c", program], check=True)


# -- a run -----------------------------------------------------------------------------------------------------------

OPTIONS = (
    "--rows",
    "numpy_rnn",
    "--tasks",
    "run",
    "--cases",
    "default experiment",
    "--repeats",
    "0",
    "--output",
    "out",
)
PIECES = 1 + 6  # round 0 and six rounds of one row
BAR = re.compile(r"(\d+)%\|[^|]*\| (\d+)/(\d+) \[(\d\d:\d\d)<(\d\d:\d\d|\?), [^\]]*\]")

# The command with an early bar, which waits after some pieces, so that Ctrl-C is never too late.
COMMAND = """
import sys, time
from benchmarks import __main__ as command
from benchmarks import machine
from numpy_rnn.app import terminal
from numpy_rnn.app.terminal import Progress
terminal.DELAY = 0.1
machine.LIBRARIES = ("numpy",)  # the others take a second each to tell their kernels
made, advance = [], Progress.advance

def advance_or_wait(*arguments):
    advance(*arguments)
    made.append(1)
    if len(made) == {pieces}:
        time.sleep(1000)

Progress.advance = advance_or_wait
sys.exit(command.main(sys.argv[1:]))
"""


def benchmarks(*more, wait_after=None):
    return [sys.executable, "-c", COMMAND.format(pieces=wait_after), *OPTIONS, *more]


def kept(folder):
    """The pieces that are measured, and when each was written; those that vanish meanwhile are left out."""
    found = {}
    for file in folder.glob("unfinished/[0-9]*.json"):
        with suppress(FileNotFoundError):  # all are removed at the end
            found[file] = file.stat().st_mtime_ns
    return found


def times(files):
    """The times in these files of pyperf's format: no two measurements are equal to the nanosecond."""
    benchmarks = [benchmark for file in files for benchmark in json.loads(file.read_text()).get("benchmarks", [])]
    return [value for benchmark in benchmarks for run in benchmark["runs"] for value in run["values"]]


@pytest.mark.slow
def test_interrupted_it_keeps_what_it_has_refuses_another_plan_resumes_and_reports(tmp_path, monkeypatch):
    """One run: Ctrl-C after some pieces, then other options, then the same command again, to its end."""
    monkeypatch.chdir(tmp_path)
    folder, at_break = tmp_path / "out", {}

    def press_ctrl_c(process, text):
        if not at_break and any(int(done) >= 3 for _, done, *_ in BAR.findall(text)):
            at_break.update(kept(folder))
            os.killpg(process.pid, signal.SIGINT)  # the terminal sends it to all of the group

    pieces, status, _ = run_on_a_terminal(benchmarks(wait_after=5), watch=press_ctrl_c)
    last = [line for line in screen(text_of(pieces).replace("\x1b[A", "")) if line][-1]
    assert status == 130
    assert last == "python -m benchmarks: interrupted; what is measured is kept in out: the same command resumes"
    assert not (folder / "README.md").exists()
    before = kept(folder)
    assert before.items() >= at_break.items()
    assert 3 <= len(before) < PIECES
    times_before = times(before)
    assert len(times_before) == len(before) - 1  # round 0 has none

    ended = run(benchmarks("--threads", "2"))
    assert ended.returncode == 2
    assert ended.stderr == (
        "python -m benchmarks: cannot resume from out/unfinished: it contains a run with threads = [1], not [2]; delete"
        " it, or give another --output\n"
    )
    assert kept(folder) == before

    pieces, status, out = run_on_a_terminal(benchmarks(), stdout=subprocess.PIPE)
    text = text_of(pieces)
    assert status == 0, text
    states = BAR.findall(text)
    assert {int(total) for _, _, total, *_ in states} == {PIECES}
    done = [int(done) for _, done, *_ in states]
    assert done == sorted(done)
    assert done[-1] == PIECES
    assert states[-1][-1] == "00:00"  # left
    assert "pieces" not in "".join(screen(text.replace("\x1b[A", "")))
    assert {*re.findall(r"row=([^\]]*)\]", text)} == {"numpy_rnn"}
    # What was measured before is in the results: it was not measured again.
    assert {*times_before} < {*times([folder / "results.json"])}
    assert not (folder / "unfinished").exists()
    # The report is what is printed, and made again from the results, which pyperf reads.
    suite = json.loads((folder / "results.json").read_text())
    assert out == (folder / "README.md").read_text() == report(from_json(suite))
    assert [len(benchmark["runs"]) for benchmark in suite["benchmarks"]] == [6]
    assert len(pyperf.BenchmarkSuite.load(str(folder / "results.json"))) == 1
