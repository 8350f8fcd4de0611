"""A port in Python that ends or stalls the process passes neither the suite nor
`compare`.
"""

import os
import signal
import subprocess
import sys
import time

import pytest

from numpy_rnn.conformance.ports.guard import guarded

PORT = """
import os, sys, threading, time
import numpy_rnn
from numpy_rnn.conformance.ports.port import PackagePort

class Port(PackagePort):
    def __init__(self):
        super().__init__(numpy_rnn)
        self.name, self.calls = "leaver", 0

    def window_update(self, *arrays, **options):
        self.calls += 1
        if self.calls == 3:
            {at_call_3}
        return super().window_update(*arrays, **options)

port = Port()
{at_end}
"""
PACKAGE = """
import os
from numpy_rnn import *

def train(*_, **__):
    os._exit(0)
"""
COMMANDS = {
    # Without other plugins, which take time.
    "suite": "pytest -p numpy_rnn.conformance.plugin --pyargs numpy_rnn.conformance "
    "--elman-examples 20 --elman-seed 1 --elman-backend leaver:port",
    "compare": "numpy_rnn compare --epochs 1 leaver:port",
    "package": "numpy_rnn compare --epochs 1 leaver",
}


def port_text(at_call_3="pass", at_end=""):
    """Return the text of a module with a port."""
    return PORT.format(at_call_3=at_call_3, at_end=at_end)


def run(folder, text, command, *options):
    """Run a command where the package `leaver` has this text."""
    (folder / "leaver").mkdir()
    (folder / "leaver" / "__init__.py").write_text(text)
    return subprocess.run(
        [sys.executable, "-m", *COMMANDS[command].split(), *options],
        cwd=folder,
        env=os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
    )


EXITS = [
    ("suite", port_text("os._exit(0)"), "leaver raises SystemExit: os._exit(0)"),
    ("package", PACKAGE, "FAILED an implementation ends the process: os._exit(0)"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("command", "text", "expected"), EXITS)
def test_exit_of_a_port_is_a_failure(tmp_path, command, text, expected):
    done = run(tmp_path, text, command)
    assert done.returncode == 1, done
    assert expected in done.stdout


@pytest.mark.slow
def test_hang_of_a_port_is_a_failure(tmp_path):
    """The time limit of the first answers is six times that of the option."""
    text = port_text("time.sleep(100)")
    done = run(tmp_path, text, "compare", "--timeout", "0.2")
    assert done.returncode == 1, done
    expected = "leaver raises TimeoutError: there is no answer within 1.2 s"
    assert expected in done.stdout


@pytest.mark.slow
def test_verdict_is_printed_whatever_a_port_does_to_the_interpreter(tmp_path):
    at_call_3 = "sys.setrecursionlimit(60); sys.stdout.close(); sys.stdout = None"
    done = run(tmp_path, port_text(at_call_3), "suite")
    assert (done.returncode, done.stderr) == (0, "")
    assert "PASS leaver" in done.stdout


def test_time_limit_leaves_another_alarm():
    """Such as that of pytest-timeout, which rings when it would have rung."""
    timer = signal.setitimer(signal.ITIMER_REAL, 100)
    began = time.monotonic()
    with pytest.raises(TimeoutError, match=r"within 0\.1 s"), guarded(0.1):
        time.sleep(10)
    left = signal.setitimer(signal.ITIMER_REAL, *timer)[0]
    passed = time.monotonic() - began
    assert 99.9 - passed < left < 100


IN_THREAD = "threading.Thread(target=os._exit, args=(0,)).start(); time.sleep(100)"


@pytest.mark.slow
@pytest.mark.parametrize(
    "text",
    [port_text(IN_THREAD), port_text(at_end="os._exit(0)")],
    ids=["thread", "import"],
)
def test_exit_of_a_thread_or_at_import_is_no_success(tmp_path, text):
    done = run(tmp_path, text, "compare")
    assert done.returncode != 0
    assert len(done.stderr.splitlines()) == 1
    assert "os._exit(0)" in done.stderr


@pytest.mark.slow
@pytest.mark.needs_matplotlib
def test_port_that_changes_the_folder_moves_no_plot(tmp_path):
    text = port_text(at_end="os.chdir('/')")
    done = run(tmp_path, text, "compare", "--plot", "p.png")
    assert done.returncode == 0, done
    assert (tmp_path / "p.png").is_file()


FORK = """
import os
from numpy_rnn.conformance.ports.guard import guarded

with guarded():
    child = os.fork()
    if child == 0:
        os._exit(3)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.slow
def test_forked_child_ends():
    """The fork is in a process of its own, as JAX warns of one where it has threads."""
    done = subprocess.run([sys.executable, "-c", FORK], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("3\n", "")


def test_process_is_not_replaced_by_another_program():
    with guarded(), pytest.raises(SystemExit, match=r"os.execv\("):
        os.execlp("false", "false")  # without a guard, pytest ends with status 1
