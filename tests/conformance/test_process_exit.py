"""A port in Python that ends the process is no pass, in the suite and in `compare`."""

import os
import subprocess
import sys

import pytest

from numpy_rnn.conformance.ports.process_exit import exit_raises

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
IN_THREAD = "threading.Thread(target=os._exit, args=(0,)).start(); time.sleep(100)"
COMPARE = "numpy_rnn compare --epochs 2"
# Without other plugins, which take time.
SUITE = "pytest -p numpy_rnn.conformance.plugin --pyargs numpy_rnn.conformance"


def port_text(at_call_3="pass", at_end=""):
    """Return the text of a module with a port."""
    return PORT.format(at_call_3=at_call_3, at_end=at_end)


def run_module(folder, text, command):
    """Run `python -m` where the package `leaver` has this text."""
    (folder / "leaver").mkdir()
    (folder / "leaver" / "__init__.py").write_text(text)
    return subprocess.run(
        [sys.executable, "-m", *command.split()],
        cwd=folder,
        env=os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "command", "said"),
    [
        (port_text("os._exit(0)"), f"{SUITE} --elman-backend leaver:port", "leaver ra"),
        (port_text("os._exit(0)"), f"{COMPARE} leaver:port", "leaver raises"),
        (PACKAGE, f"{COMPARE} leaver", "FAILED an implementation ends the process"),
    ],
    ids=["suite", "compare", "package"],
)
def test_exit_is_a_failure(tmp_path, text, command, said):
    done = run_module(tmp_path, text, command)
    assert done.returncode == 1, done
    lines = [line for line in done.stdout.splitlines() if said in line]
    assert "os._exit(0)" in lines[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    "text", [port_text(IN_THREAD), port_text(at_end="os._exit(0)")]
)
def test_exit_of_a_thread_or_at_import_is_no_success(tmp_path, text):
    done = run_module(tmp_path, text, f"{COMPARE} leaver:port")
    assert done.returncode != 0
    assert len(done.stderr.splitlines()) == 1
    assert "os._exit(0)" in done.stderr


@pytest.mark.slow
@pytest.mark.needs_matplotlib
def test_port_that_changes_the_folder_moves_no_plot(tmp_path):
    text = port_text(at_end="os.chdir('/')")
    done = run_module(tmp_path, text, f"{COMPARE} leaver:port --plot p.png")
    assert done.returncode == 0, done
    assert (tmp_path / "p.png").is_file()


CHILD = """
import os
from numpy_rnn.conformance.ports.process_exit import exit_raises

with exit_raises():
    child = os.fork()
    if child == 0:
        os._exit(3)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.slow
def test_forked_child_ends():
    """In a process of its own: this one may have threads of JAX, which warns."""
    command = [sys.executable, "-c", CHILD]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("3\n", "")


def test_exit_is_as_before_afterwards():
    with exit_raises(), pytest.raises(SystemExit, match=r"os._exit\(0\)"):
        os._exit(0)
    assert os._exit.__module__ == "posix"
