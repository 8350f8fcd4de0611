"""`python -m benchmarks` as it is used: on a terminal, broken off, gone on with."""

import json
import os
import re
import signal
import subprocess
import sys
from contextlib import suppress

import pytest
from pseudo_terminal import ENVIRONMENT, run_on_a_terminal, screen, text_of

FEW = ("--rows", "numpy_rnn", "numpy_rnn again", "--tasks", "run", "--cases", "main job")
PIECES = 1 + 6 * 2  # round 0 of one row, six rounds of two
BAR = re.compile(r"(\d+)%\|[^|]*\| (\d+)/(\d+) \[(\d\d:\d\d)<(\d\d:\d\d|\?), [^\]]*\]")


@pytest.fixture(autouse=True)
def _in_a_new_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def benchmarks(*arguments):
    return [sys.executable, "-m", "benchmarks", *FEW, *map(str, arguments)]


def kept(folder):
    """The pieces that are measured, and when each was written; a part of them, if they go while it looks."""
    found = {}
    for file in (folder / "unfinished").glob("[0-9]*.json"):
        with suppress(FileNotFoundError):  # at the end all go
            found[file.name] = file.stat().st_mtime_ns
    return found


def times(files):
    """The times in these files of pyperf's format: to the nanosecond, no two measurements have the same."""
    suites = [json.loads(file.read_text()) for file in files]
    runs = [run for suite in suites for benchmark in suite.get("benchmarks", []) for run in benchmark["runs"]]
    return [value for run in runs for value in run["values"]]


def test_a_bar_tells_how_far_it_is_and_how_much_is_left_and_is_gone_in_the_end(tmp_path):
    pieces, status, out = run_on_a_terminal(benchmarks("--output", "out"), stdout=subprocess.PIPE)
    text = text_of(pieces)
    states = [match.groups() for match in BAR.finditer(text)]
    assert status == 0, text
    assert {int(total) for _, _, total, *_ in states} == {PIECES, 7}  # until it is known what agrees
    done = [int(done) for _, done, *_ in states]
    assert done == sorted(done)
    assert done[-1] == PIECES
    assert any(left not in ("?", "00:00") for *_, left in states)
    assert "pieces" not in "".join(screen(text.replace("\x1b[A", "")))
    assert "numpy_rnn again" in text
    assert out == (tmp_path / "out/README.md").read_text()


def test_broken_off_by_the_keyboard_it_keeps_what_it_has_and_goes_on_from_there(tmp_path):
    folder, at_break = tmp_path / "out", {}

    def press_ctrl_c(process, text):
        if not at_break and any(int(done) >= 4 for _, done, *_ in BAR.findall(text)):
            at_break.update(kept(folder))
            os.killpg(process.pid, signal.SIGINT)  # the terminal sends it to all of the group

    pieces, status, _ = run_on_a_terminal(benchmarks("--output", "out"), watch=press_ctrl_c)
    last = [line for line in screen(text_of(pieces).replace("\x1b[A", "")) if line][-1]
    assert status == 130
    assert (
        last
        == "python -m benchmarks: interrupted; what is measured is kept in out: the same command goes on from there"
    )
    assert not (folder / "README.md").exists()
    before = kept(folder)
    assert before.items() >= at_break.items()
    assert 4 <= len(before) < PIECES
    times_before = times(folder / "unfinished" / name for name in before)
    assert len(times_before) == len(before) - 1  # round 0 has none

    log = []

    def look(process, text):
        log.append(kept(folder))

    _, status, _ = run_on_a_terminal(benchmarks("--output", "out"), watch=look)
    assert status == 0
    assert any(before.items() < during.items() for during in log), "nothing was gone on with"
    again = [name for during in log for name, moment in during.items() if moment != before.get(name, moment)]
    assert not again, "something was measured again"
    assert {*times_before} < {*times([folder / "results.json"])}
    assert {path.name for path in folder.iterdir()} >= {"README.md", "results.json"}
    assert not (folder / "unfinished").exists()
    suite = json.loads((folder / "results.json").read_text())
    assert {len(benchmark["runs"]) for benchmark in suite["benchmarks"]} == {6}


def test_another_plan_in_the_folder_is_refused_and_nothing_is_lost(tmp_path):
    folder = tmp_path / "out"

    stopped = []

    def stop(process, text):
        if not stopped and any(int(done) >= 1 for _, done, *_ in BAR.findall(text)):
            stopped.append(os.killpg(process.pid, signal.SIGINT))

    _, status, _ = run_on_a_terminal(benchmarks("--output", "out"), watch=stop)
    assert status == 130
    before = kept(folder)
    assert before
    ended = subprocess.run(
        benchmarks("--output", "out", "--threads", 2), capture_output=True, text=True, env=ENVIRONMENT
    )
    assert ended.returncode == 2
    assert re.fullmatch(
        r"python -m benchmarks: cannot go on from out/unfinished: it holds a run that was begun with threads = \[1\],"
        r" and now it is \[2\]; delete it, or give another --output\n",
        ended.stderr,
    )
    assert kept(folder) == before
