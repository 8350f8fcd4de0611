"""The command `python -m torch_rnn audit`, as a user runs it."""

import os
import signal
import subprocess
import sys

import pytest

from tests.helpers.audited_loops import source
from torch_rnn.loop_audit import location

pytestmark = pytest.mark.needs_torch
FAILING = """
import os, signal, sys, time
from model import net
print(sys.argv[1:], __name__, os.path.basename(__file__), net)
try:
    raise KeyError("first")
except KeyError as error:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(10)
"""


@pytest.fixture
def audit(tmp_path, monkeypatch, capfd):
    """Return the command in this process: its exit status, output and messages."""
    from torch_rnn.loop_audit.audit_command import audit_script

    monkeypatch.setattr(sys, "argv", ["torch_rnn"])
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])

    def command(*words, script=""):
        (tmp_path / "train.py").write_text(script)
        try:
            status = audit_script(list(words))
        except SystemExit as error:
            status = error.code
        return status, *capfd.readouterr()

    return command


@pytest.mark.slow
@pytest.mark.parametrize("flags", [[], ["-P"]])
def test_script_ends_as_without_audit(tmp_path, flags):
    """Its output and exit status are the same, and there is a report. With -P, Python
    does not look for modules beside the script.
    """
    (tmp_path / "library").mkdir()
    (tmp_path / "library/model.py").write_text("net = 'of PYTHONPATH'")
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts/train.py").write_text(FAILING)
    (tmp_path / "scripts/model.py").write_text("net = 'of a neighbouring file'")
    words = ["scripts/train.py", "--option"]
    plain, audited = (
        subprocess.run(
            [sys.executable, *flags, *more, *words],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(tmp_path / "library")},
            capture_output=True,
            text=True,
        )
        for more in ([], ["-m", "torch_rnn", "audit"])
    )
    assert audited.stdout == plain.stdout != ""
    assert audited.returncode == plain.returncode == -signal.SIGINT
    assert "No update was seen" in audited.stderr
    assert "KeyError" in audited.stderr
    assert "KeyboardInterrupt" in audited.stderr


def test_threads_that_outlive_the_script(audit):
    """The report waits for them, as Python does."""
    body = source("right_cells").replace("\n", "\n    ")
    script = f"""
import threading, time
def work():
    time.sleep(0.1)
    {body}
threading.Thread(target=work).start()
"""
    _, _, err = audit("train.py", script=script)
    assert "TBPTT(5, 5)" in err


def test_exit_status_and_report(audit):
    script = source("right_chunks") + "exit(5)"
    status, out, err = audit("--updates", "7", "train.py", script=script)
    assert (status, out) == (5, "")
    assert "TBPTT(10, 10): nn.RNN(1, 5)" in err
    assert "updates after the first 7 of 12" in " ".join(err.split())


@pytest.mark.parametrize(
    ("words", "status"),
    [([], 0), (["--strict"], 1), (["--strict", "--ignore", "gradients-not-zeroed"], 0)],
)
def test_strict_exit_status(audit, words, status):
    script = source("gradients_not_zeroed")
    assert audit(*words, "train.py", script=script)[0] == status
    ended = audit(*words, "train.py", script=script + "exit()")[0]
    assert (ended or 0) == status


@pytest.mark.parametrize(("words", "status"), [([], None), (["--strict"], 1)])
def test_strict_fails_where_the_audit_ends_early(audit, words, status):
    """Complex gradients end it."""
    script = "import torch\nz = torch.nn.Parameter(torch.ones(1, dtype=torch.cfloat))\n"
    script += "z.abs().sum().backward()\n"
    code, _, err = audit(*words, "train.py", script=script)
    assert (code or None, "ended early" in err) == (status, True)


def test_installed_module_is_no_library(audit, tmp_path, monkeypatch):
    (tmp_path / "installed_loop").mkdir()
    (tmp_path / "installed_loop/loop.py").write_text(source("right_cells"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(location, "LIBRARIES", (*location.LIBRARIES, f"{tmp_path}/"))
    _, _, err = audit("-m", "installed_loop.loop")
    assert "(installed_loop/loop.py:" in " ".join(err.split())


@pytest.mark.slow
def test_report_of_a_module_that_is_terminated(tmp_path):
    """The script has closed standard error, before it gets a SIGTERM."""
    end = "import os, sys\nsys.stderr.close()\nos.kill(os.getpid(), 15)"
    (tmp_path / "package").mkdir()
    (tmp_path / "package/train.py").write_text(source("right_cells") + end)
    command = [sys.executable, "-m", "torch_rnn", "audit", "-m", "package.train"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == -signal.SIGTERM
    assert "TBPTT(5, 5)" in done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "no script: expected [OPTION ...]"),
        (["-m", "no_such.module"], "no module no_such.module: expected one here"),
        (["--output", "a"], "option --output not recognized: expected [OPTION ...]"),
        (["missing.py"], "the script missing.py cannot be read: No such file"),
        (
            ["--updates", "0", "train.py"],
            "updates is 0: expected a whole number, 1 or more",
        ),
    ],
)
def test_refuses_invalid_input(audit, words, message):
    status, out, err = audit(*words, script="print('hello')")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert message in err


@pytest.mark.parametrize("words", [["--help"], ["--strict", "-h"]])
def test_help_stands_anywhere_before_the_script(audit, words):
    status, output, _ = audit(*words)
    assert status == 0
    assert output.startswith("usage: torch-rnn audit")


@pytest.mark.slow
def test_help_without_a_reader():
    command = [sys.executable, "-m", "torch_rnn", "audit", "--help"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (1, b"")
