"""`python -m benchmarks` as it is used: on a terminal, interrupted, resumed."""

import json
import os
import re
import signal
import subprocess
import sys
from contextlib import suppress

import pyperf
import pytest
from children import run
from pseudo_terminal import run_on_a_terminal, screen, text_of

from benchmarks.summary import from_json, report

pytestmark = pytest.mark.slow

OPTIONS = ("--rows", "numpy_rnn", "--tasks", "run", "--cases", "default experiment", "--repeats", "0")
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


@pytest.fixture(autouse=True)
def _in_a_new_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def benchmarks(*arguments, wait_after=None):
    return [sys.executable, "-c", COMMAND.format(pieces=wait_after), *OPTIONS, *map(str, arguments)]


def kept(folder):
    """The pieces that are measured, and when each was written; those that vanish meanwhile are left out."""
    found = {}
    for file in (folder / "unfinished").glob("[0-9]*.json"):
        with suppress(FileNotFoundError):  # all are removed at the end
            found[file.name] = file.stat().st_mtime_ns
    return found


def times(files):
    """The times in these files of pyperf's format: no two measurements are equal to the nanosecond."""
    suites = [json.loads(file.read_text()) for file in files]
    runs = [run for suite in suites for benchmark in suite.get("benchmarks", []) for run in benchmark["runs"]]
    return [value for run in runs for value in run["values"]]


def test_interrupted_it_keeps_what_it_has_refuses_another_plan_resumes_and_reports(tmp_path):
    """One run: Ctrl-C after some pieces, then other options, then the same command again, to its end."""
    folder, at_break = tmp_path / "out", {}

    def press_ctrl_c(process, text):
        if not at_break and any(int(done) >= 3 for _, done, *_ in BAR.findall(text)):
            at_break.update(kept(folder))
            os.killpg(process.pid, signal.SIGINT)  # the terminal sends it to all of the group

    program = benchmarks("--output", "out", wait_after=5)
    pieces, status, _ = run_on_a_terminal(program, watch=press_ctrl_c)
    last = [line for line in screen(text_of(pieces).replace("\x1b[A", "")) if line][-1]
    assert status == 130
    assert last == "python -m benchmarks: interrupted; what is measured is kept in out: the same command resumes"
    assert not (folder / "README.md").exists()
    before = kept(folder)
    assert before.items() >= at_break.items()
    assert 3 <= len(before) < PIECES
    times_before = times(folder / "unfinished" / name for name in before)
    assert len(times_before) == len(before) - 1  # round 0 has none

    ended = run(benchmarks("--output", "out", "--threads", 2))
    assert ended.returncode == 2
    assert re.fullmatch(
        r"python -m benchmarks: cannot resume from out/unfinished: it contains a run with threads = \[1\], not \[2\];"
        r" delete it, or give another --output\n",
        ended.stderr,
    )
    assert kept(folder) == before

    pieces, status, out = run_on_a_terminal(benchmarks("--output", "out"), stdout=subprocess.PIPE)
    text = text_of(pieces)
    assert status == 0, text
    states = [match.groups() for match in BAR.finditer(text)]
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
    assert {len(benchmark["runs"]) for benchmark in suite["benchmarks"]} == {6}
    assert len(pyperf.BenchmarkSuite.load(str(folder / "results.json"))) == 1
