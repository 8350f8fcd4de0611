"""The command `python -m torch_rnn audit`, as a user runs it."""

import io
import json
import os
import re
import signal
import sys
from pathlib import Path

import pytest
from children import run
from sections import SOURCES

pytestmark = pytest.mark.needs_torch
FAILING = """
import os, signal, sys, time
from model import net
print(sys.argv, __name__, os.path.basename(__file__), net)
try:
    raise KeyError("first")
except KeyError as error:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(10)
"""
CLOSING = "sys.stdout.close()\nsys.exit(3)"


@pytest.fixture
def audit(tmp_path, monkeypatch, capsys):
    """A function that runs the command in this process and returns its exit status, output and messages."""
    from torch_rnn.__main__ import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["torch_rnn"])
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])

    def command(*words, script=""):
        (tmp_path / "train.py").write_text(script)
        try:
            status = main(["audit", *words])
        except SystemExit as error:
            status = error.code
        return status, *capsys.readouterr()

    return command


@pytest.mark.slow
def test_script_ends_as_without_audit(tmp_path):
    """Output, exit status and the traceback of chained exceptions; the report follows it."""
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts/train.py").write_text(FAILING)
    (tmp_path / "scripts/model.py").write_text("net = 'of a neighbouring file'")
    words = ["scripts/train.py", "--option"]
    plain = run([sys.executable, *words], cwd=tmp_path)
    audited = run([sys.executable, "-m", "torch_rnn", "audit", *words], cwd=tmp_path)
    assert audited.stdout == plain.stdout != ""
    assert audited.returncode == plain.returncode == -signal.SIGINT
    assert audited.stderr.startswith(plain.stderr + "-- audit ---")
    assert "KeyError" in plain.stderr
    assert "KeyboardInterrupt" in plain.stderr


def test_exit_status_and_files(audit):
    words = ["--output", "a.json", "--updates", "7", "train.py", "--output", "b"]
    status, out, err = audit(*words, script=SOURCES["chunks"] + "exit(5)")
    assert (status, out, os.path.exists("b")) == (5, "", False)
    said = [line for line in err.splitlines() if "the script" in line]
    assert said == ["--output went to the script: options of audit come before the script"]
    found = json.loads(Path("a.json").read_text(encoding="utf-8"))
    (network,), updates = found.pop("networks"), found.pop("updates")
    assert found == {"warnings": [], "message": "", "error": ""}
    truncation = "TBPTT(10, 10): chunks of 10 steps, state carried and detached"
    passes = [{"steps": 10, "batch": 1, "gradient": True, "count": 7}]
    assert [fact for fact in network.pop("facts") if fact not in err] == []
    assert network == {
        "name": "rnn", "module": "nn.RNN(1, 5), tanh", "place": "train.py:19", "truncation": truncation,
        "tbptt": [10, 10], "origins": {"before": 5}, "passes": passes,
    }  # fmt: skip
    for number, update in enumerate(updates, start=1):
        initial, origin = ("zeros", "") if number in (1, 6) else ("carried", "before")
        window = {
            "initial": initial, "origin": origin, "batch": 1, "steps": 10, "reach": 10, "lengths": [10, 10], "back": 0,
            "passes": 1, "attached": False, "place": "train.py:19",
        }  # fmt: skip
        for check in (update.pop(name) for name in ("gradient", "step") if number <= 3):
            assert 0 < check.pop("error") < 1e-5
            assert check.pop("name") in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
            assert check == {"is_right": True, "reason": ""}
        (clip,) = update.pop("clips")
        assert isinstance(clip.pop("acts"), bool)
        assert clip == {
            "kind": "norm",
            "limit": 1.0,
            "place": "train.py:22",
            "parameters": 4,
            "own": 4,
        }
        assert {name: value for name, value in update.items() if value is not None} == {
            "network": "rnn", "number": number, "place": "train.py:23", "optimizer": "SGD", "learning_rates": [0.1],
            "windows": [window], "new_steps": 10, "loss_steps": 10, "backward": 1, "is_training": True,
        }  # fmt: skip
    assert number == 7


def test_warnings_have_kind_place_and_message(audit):
    status, _, err = audit("--output", "a.json", "train.py", script=SOURCES["outside"])
    (warning,) = json.loads(Path("a.json").read_text(encoding="utf-8"))["warnings"]
    assert (status, warning["kind"]) == (0, "parameters outside the optimizer")
    assert f"warning: train.py:17: {warning['message']}" in " ".join(err.split())
    assert max(len(line) for line in err[err.index("warning") :].splitlines()) <= 100


@pytest.mark.parametrize(
    ("script", "errors"), [("1 / 0", 1), ("try:\n    1 / 0\nfinally:\n    [][1]", 2)]
)
def test_traceback_is_that_of_the_script(audit, capsys, script, errors):
    with pytest.raises((ZeroDivisionError, IndexError)):
        audit("train.py", script=script)
    traceback, _, report = capsys.readouterr().err.partition("-- audit ---")
    assert traceback.count("Traceback") == errors
    assert {*re.findall(r'File ".*/(.*)", line', traceback)} == {"train.py"}
    assert "no call of nn.RNN" in report


def test_script_that_closes_its_output(audit, monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO()))
    status, _, err = audit(
        "train.py", "--", "-h", script="import sys\nassert sys.argv[1:] == ['--', '-h']\n" + CLOSING
    )
    assert (status, "-- audit ---" in err) == (3, True)


def test_module_and_its_arguments(audit, tmp_path):
    """A module of a package is run as by `python -m`; arguments are passed on as they are, `--` too."""
    (tmp_path / "package").mkdir()
    (tmp_path / "package/__init__.py").write_text("")
    (tmp_path / "package/train.py").write_text(
        "from . import __name__ as name\nimport sys\nprint(sys.argv[1:], name)"
    )
    status, out, _ = audit("-m", "package.train", "--", "--x")
    assert (status, out) == (0, "['--', '--x'] package\n")
    status, _, err = audit("-m", "package.missing")
    assert (status, "Traceback" in err) == (
        f"{sys.executable}: No module named package.missing",
        False,
    )


SCRIPTED = """import warnings
import torch
warnings.simplefilter("ignore")
class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = torch.nn.GRU(2, 4)
    def forward(self, x):
        return self.rnn(x)[0]
model = torch.jit.script(Model())
model(torch.randn(3, 2, 2)).sum().backward()
"""


def test_scripted_modules_are_said_to_be_invisible(audit):
    status, _, err = audit("train.py", script=SCRIPTED)
    assert (
        status,
        "the modules of Model are compiled by torch.jit.script (train.py:10)" in err,
    ) == (0, True), err


def test_help_names_the_options(audit):
    status, out, _ = audit("--help")
    words, usage = " ".join(out.split()), "[options] (SCRIPT | -m MODULE) [arguments of the script]"
    assert (status, words.startswith(f"usage: python -m torch_rnn audit {usage}")) == (0, True)
    for option in (
        "SCRIPT a Python file",
        "-m MODULE a module",
        "--updates N audit the first N",
        "--output FILE write",
    ):
        assert option in words


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "the following arguments are required: SCRIPT, or -m MODULE"),
        (["missing.py"], "the script missing.py cannot be read: No such file"),
        (["--updates=0", "train.py"], "--updates is 0: expected a whole number, 1 or more"),
        (["--output", "a.txt", "train.py"], "unknown ending '.txt'; expected .json"),
    ],
)
def test_refuses_invalid_input(audit, words, message):
    status, out, err = audit(*words, script="print('hello')")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert message in err
