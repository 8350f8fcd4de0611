"""A port in Python that ends or stalls the process is no pass, in the suite and in
`compare`.
"""

import os
import signal
import subprocess
import sys
import time

import pytest

from numpy_rnn.conformance.ports.guard import guarded

EXITING = """
import os, sys, threading, time
import numpy as np
import numpy_rnn
from numpy_rnn.conformance.ports.port import PackagePort

class Port(PackagePort):
    def __init__(self):
        super().__init__(numpy_rnn)
        self.name, self.calls = "leaver", 0

    def window_update(self, *arrays, **options):
        self.calls += 1
        if self.calls == 3:
            {statement}
        return super().window_update(*arrays, **options)

port = Port()
"""
COMMANDS = {
    "suite": "pytest --pyargs numpy_rnn.conformance --elman-backend",
    "compare": "numpy_rnn compare --epochs 2",
}


FAILURES = [
    ("suite", "os._exit(0)", "SystemExit: os._exit(0)"),
    ("compare", "os._exit(0)", "SystemExit: os._exit(0)"),
    ("compare", "os.execlp('true', 'true')", "SystemExit: os.execv("),
    ("suite", "time.sleep(100)", "TimeoutError: there is no answer within 6 s"),
    ("compare", "time.sleep(100)", "TimeoutError: there is no answer within 6 s"),
]


def judged(folder, statement, command):
    """Return the finished command, whose port does this in its third call."""
    (folder / "leaver.py").write_text(EXITING.format(statement=statement))
    words = [sys.executable, "-m", *COMMANDS[command].split(), "leaver:port"]
    words.append("--timeout=1" if command == "compare" else "--elman-timeout=1")
    return subprocess.run(words, cwd=folder, capture_output=True, text=True)


@pytest.mark.slow
@pytest.mark.parametrize(("command", "statement", "expected"), FAILURES)
def test_exit_and_hang_of_a_port_are_failures(tmp_path, command, statement, expected):
    done = judged(tmp_path, statement, command)
    assert done.returncode == 1, done
    said = [line for line in done.stdout.splitlines() if "leaver raises" in line]
    assert said, done
    assert expected in said[0]


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_verdict_is_printed_whatever_a_port_does_to_the_interpreter(tmp_path, command):
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --elman-examples 3\n")
    statement = "sys.setrecursionlimit(60); sys.stdout.close(); sys.stdout = None"
    done = judged(tmp_path, statement, command)
    assert (done.returncode, done.stderr) == (0, "")
    assert "PASS leaver" in done.stdout or "leaver agrees" in done.stdout


def test_interpreter_is_restored():
    limit, stream = sys.getrecursionlimit(), sys.stdout
    with guarded(), guarded():
        sys.setrecursionlimit(limit + 1)
        sys.stdout.close()
        sys.stdout = None
    assert sys.getrecursionlimit() == limit
    assert sys.stdout is stream
    assert not stream.closed
    assert "close" not in vars(stream)


@pytest.mark.parametrize("nearer", [False, True])
def test_time_limit_leaves_another_alarm(nearer):
    """Such as that of pytest-timeout."""
    heard = []
    handler = signal.signal(signal.SIGALRM, lambda *_: heard.append(time.monotonic()))
    rest = signal.setitimer(signal.ITIMER_REAL, 0.1 if nearer else 100)
    began = time.monotonic()
    if nearer:
        with guarded(100):
            time.sleep(0.2)
    else:
        with pytest.raises(TimeoutError, match=r"within 0\.1 s"), guarded(0.1):
            time.sleep(10)
    left = signal.setitimer(signal.ITIMER_REAL, *rest)[0]
    passed = time.monotonic() - began
    signal.signal(signal.SIGALRM, handler)
    if nearer:
        assert len(heard) == 1
    else:
        assert heard == []
        assert 99.9 - passed < left < 100


@pytest.mark.slow
@pytest.mark.parametrize("place", ["thread", "import"])
def test_exit_elsewhere_is_no_success(tmp_path, place):
    """Of another thread, or at import."""
    statement = "threading.Thread(target=os._exit, args=(0,)).start(); "
    text = EXITING.format(statement=statement + "time.sleep(100)")
    if place == "import":
        text = "import os\nos._exit(0)\n"
    (tmp_path / "leaver.py").write_text(text)
    words = [sys.executable, "-m", *COMMANDS["compare"].split(), "leaver:port"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode != 0
    assert len(done.stderr.splitlines()) == 1
    assert "os._exit(0)" in done.stderr


@pytest.mark.slow
def test_exit_of_a_package_is_a_failure(tmp_path):
    text = "import os\nfrom numpy_rnn import *\ndef train(*_, **__):\n    os._exit(0)\n"
    (tmp_path / "leaver").mkdir()
    (tmp_path / "leaver" / "__init__.py").write_text(text)
    words = [sys.executable, "-m", *COMMANDS["compare"].split(), "leaver"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1, done
    assert "FAILED an implementation ends the process: os._exit(0)" in done.stdout


@pytest.mark.slow
def test_port_that_changes_the_folder_moves_no_plot(tmp_path):
    pytest.importorskip("matplotlib")
    (tmp_path / "mover.py").write_text(
        EXITING.format(statement="pass") + "os.chdir('/')\n"
    )
    words = [sys.executable, "-m", *COMMANDS["compare"].split(), "mover:port"]
    done = subprocess.run([*words, "--plot", "p.png"], cwd=tmp_path, text=True)
    assert done.returncode == 0
    assert (tmp_path / "p.png").is_file()


def test_forked_child_ends():
    with guarded():
        child = os.fork()
        if child == 0:
            os._exit(3)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
        with pytest.raises(SystemExit, match=r"os._exit\(0\)"):
            os._exit(0)
    assert os._exit.__module__ == "posix"
