"""A port in Python that ends the process is no pass, in the suite and in `compare`."""

import os
import subprocess
import sys

import pytest

from numpy_rnn.conformance.ports.process_exit import exit_raises

EXITING = """
import os, sys, threading
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


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_exit_of_a_port_is_a_failure(tmp_path, command):
    (tmp_path / "leaver.py").write_text(EXITING.format(statement="os._exit(0)"))
    words = [sys.executable, "-m", *COMMANDS[command].split(), "leaver:port"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1, done
    said = [line for line in done.stdout.splitlines() if "leaver raises" in line]
    assert said, done
    assert "os._exit(0)" in said[0]


@pytest.mark.slow
@pytest.mark.parametrize("place", ["thread", "import"])
def test_exit_elsewhere_is_no_success(tmp_path, place):
    """Of another thread, or at import."""
    statement = "threading.Thread(target=os._exit, args=(0,)).start(); import time; "
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
    with exit_raises():
        child = os.fork()
        if child == 0:
            os._exit(3)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
        with pytest.raises(SystemExit, match=r"os._exit\(0\)"):
            os._exit(0)
    assert os._exit.__module__ == "posix"
