"""The suite as a user runs it: pytest --pyargs numpy_rnn.conformance --elman-backend PORT.

Most runs are in this process, with few cases. What needs a process of its own is in one: xdist and signals.
"""

import contextlib
import json
import os
import re
import shlex
import signal
import sys
import time
import unittest.mock
from pathlib import Path

import children
import numpy as np
import program_port
import pytest
from inline_snapshot import snapshot

from numpy_rnn.conformance import properties
from numpy_rnn.conformance.case import SHAPES
from numpy_rnn.conformance.ports.protocol import FEW_SIZES

PORTS = """
import shutil, time
import numpy_rnn
from numpy_rnn.conformance.ports.package_port import PackagePort

calls = []


class BlackBox(PackagePort):
    dtypes, capabilities = ("float64",), ()

    def __init__(self, before=lambda: None):
        super().__init__(numpy_rnn)
        self.before = before

    def window_update(self, *arrays, **options):
        calls.append(options)
        self.before()
        return super().window_update(*arrays, **options)


right, slow = PackagePort(numpy_rnn), BlackBox(lambda: time.sleep(100))
vanishing = BlackBox(lambda: shutil.rmtree("reports", ignore_errors=True))
described = BlackBox()
formed = BlackBox()
formed.capabilities, formed.lacks = ("intermediates", "given_dy", "sigmoid"), ("step", "mean")
described.lacks, described.tanh_ulps, described.tanh_absolute_ulps = ("relu", "bias"), 9, 4
"""
PLUGIN = [
    "-p",
    "no:elman",
    "-p",
    "numpy_rnn.conformance.plugin",
]  # by its name: no entry points are read
QUICKLY = ["-p", "no:cacheprovider", "-p", "no:unraisableexception"]  # which collects all garbage
ALONE = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # without other plugins, which take time
OPTIONS = [*PLUGIN, "--pyargs", "numpy_rnn.conformance"]
PYTEST = [sys.executable, "-m", "pytest", *QUICKLY, *OPTIONS]


@pytest.fixture
def suite(tmp_path, monkeypatch, capsys):
    """Runs the suite with few cases, in a folder with ports.py: its status and its output."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "ports", raising=False)
    monkeypatch.setattr(properties, "PROFILES", {"default": 5, "repeatable": 16})
    monkeypatch.setattr(properties, "run_count", lambda windows: 4)
    (tmp_path / "reports").mkdir()
    (tmp_path / "ports.py").write_text(PORTS)
    (tmp_path / "wrong.py").write_text(
        "from ports_for_tests import Untransposed\nport, box = Untransposed(), Untransposed(has=())\n"
    )
    (tmp_path / "known.txt").write_text("test_local[float64]")

    def run(*options):
        with unittest.mock.patch.dict(os.environ, ALONE):
            status = pytest.main([*QUICKLY, "--capture=no", *OPTIONS, *options])
        printed = "".join(capsys.readouterr())
        assert "Traceback" not in printed
        assert "INTERNALERROR" not in printed
        return int(status), printed

    return run


def test_right_port_passes_and_its_report_is_written(suite):
    status, output = suite("--elman-backend", "ports:right", "--elman-output", "report.json")
    assert status == 0, output
    assert "8 passed" in output
    assert "sizes of the checked windows: B 1 to " in output
    report = json.loads(Path("report.json").read_text())
    assert report["port"] == "numpy_rnn"
    for level, case in {"L1": {"T", "seed"}, "L2": {"T", "seed"}, "L3": {"run"}}.items():
        for dtype in ("float32", "float64"):
            worst = report["levels"][level][dtype]
            names = {"loss", "dW_xh", "dW_hh", "dW_hy", "dx", "dh_0", "W_hh"}
            assert names <= set(worst) <= {*SHAPES, "window", "initial"}
            assert all(
                0 <= entry["ratio"] <= 1 and case <= set(entry["case"]) for entry in worst.values()
            )


@pytest.mark.parametrize(("level", "test"), [("L1", "local"), ("L2", "global"), ("L3", "lockstep")])
def test_level_chooses_its_test(suite, level, test):
    _, output = suite("--elman-backend", "ports:right", "--elman-level", level, "--collect-only")
    assert set(re.findall(r"test_(\w+)\[", output)) == {test}


REFUSED = (
    "",
    "--elman-backend ports:nothing",
    "--elman-command ./absent",
    "--elman-backend ports:vanishing --elman-level L2 --elman-output reports/r.json",  # the folder goes in the run
    "--elman-backend ports:right --elman-timeout nan",
    "--elman-backend ports:right --elman-examples 0",
    "--elman-backend ports:right --elman-sizes H",
    "--elman-backend ports:right --elman-dump case.csv",
    "--elman-backend ports:right --elman-replay known.txt",
)


def test_unusable_options_are_refused(suite, tmp_path):
    messages = []
    for options in REFUSED:
        status, output = suite(*options.split())
        assert status == 4, output
        message = re.findall(r"(?:ERROR|error): (.*)", output)[-1]
        messages.append(message.replace(str(tmp_path), "FOLDER"))
    assert messages == snapshot(
        [
            "no implementation to test: expected --elman-backend module:object or --elman-command 'program'",
            "port 'ports:nothing' cannot be loaded: AttributeError: module 'ports' has no attribute 'nothing'",
            "--elman-command ./absent: cannot be started: ./absent: No such file or directory; check the command",
            "--elman-output reports/r.json cannot be written: No such file or directory; choose another place",
            "argument --elman-timeout: 'nan': expected a finite number, above 0",
            "argument --elman-examples: '0': expected a whole number, 1 or more",
            "argument --elman-sizes: 'H': expected few, or sizes as H=6,D=3",
            "--elman-dump case.csv: unknown ending '.csv'; expected .json",
            "--elman-replay known.txt is no case: expected a file that --elman-dump wrote",
        ]
    )


def test_number_of_examples_and_sizes_are_given(suite):
    """Code that is compiled has few shapes, and code with fixed sizes has one."""
    shapes = {}
    for sizes in ("few", "H=6,D=2"):
        options = f"--elman-backend ports:BlackBox --elman-level L2 --elman-examples 9 --elman-sizes {sizes}"
        status, output = suite(*options.split())
        assert status == 0, output
        assert "each test: 9 windows" in output
        assert len(sys.modules["ports"].calls) >= 9
        shapes[sizes] = re.search(r"sizes of the checked windows: (.*)", output)[1]
    for letter, *ends in re.findall(r"(\w) (\d+) to (\d+)", shapes["few"]):
        assert set(map(int, ends)) <= {shape[letter] for shape in FEW_SIZES}
    assert "D 2 to 2, H 6 to 6" in shapes["H=6,D=2"]


@pytest.mark.parametrize(("port", "chosen", "level", "failed", "test"), [
    ("wrong:port", "float64 and not global", "L1", "2 failed, 6 deselected", "test_local[float64]"),
    ("wrong:box", "lockstep and float64", "L3", "1 failed, 7 deselected", "test_lockstep[float64]"),
])  # fmt: skip
def test_failure_is_told_at_a_small_case_which_is_run_again(
    suite, port, chosen, level, failed, test
):
    """The first one is written with what is right; and it passes when the code is right."""
    options = "--elman-profile repeatable --elman-dump case.json --elman-backend"
    status, output = suite("-k", chosen, *options.split(), port)
    assert status == 1, output
    assert failed in output
    pattern = rf"^{level}, (.*?): (\w+) \((.*)"
    where, tensor, message = re.search(pattern, output, re.MULTILINE).groups()
    assert level == "L3" or (
        where.startswith("Recipe(T=2, B=1, ") and tensor == "dh" and "seed" not in where
    )
    assert "looks like: W_hh used without its transpose" in message
    saved = json.loads(Path("case.json").read_text())
    assert saved["test"] == test
    reported, expected, allowed = (
        np.array(saved[f"{part}.{tensor}"]) for part in ("reported", "expected", "allowed")
    )
    assert (np.abs(reported - expected) > allowed).any()
    assert np.shape(saved["params.W_hh"]) == np.shape(saved["h_0"])[-1:] * 2
    hello, request = Path("case.jsonl").read_text().splitlines()
    assert (json.loads(hello)["type"], json.loads(request)["type"]) == ("hello", "window_update")
    replay = ("--elman-replay", "case.json")
    _, again = suite("--elman-backend", port, *replay)
    assert re.search(pattern, again, re.MULTILINE)[1] == where
    assert "looks like: W_hh used without its transpose" in again
    assert "only one case, of --elman-replay" in again
    assert "1 passed, 7 deselected" in suite("--elman-backend", "ports:right", *replay)[1]


def test_a_port_that_hangs_is_asked_once(suite):
    """Each smaller case would take as long again; the first case of all has a longer time."""
    status, output = suite(
        "--elman-backend", "ports:slow", "--elman-level", "L2", "--elman-timeout", "0.02"
    )
    assert (status, len(sys.modules["ports"].calls)) == (1, 1), output
    assert all(
        piece in output for piece in ("0.02 s at most per answer", "does not answer within 0.12 s")
    ), output


def test_missing_package_is_one_line(suite, monkeypatch):
    monkeypatch.delitem(sys.modules, "numpy_rnn.conformance.suite", raising=False)
    monkeypatch.setitem(
        sys.modules, "numpy_rnn.conformance.properties", None
    )  # which imports hypothesis
    status, output = suite("--elman-backend", "numpy_rnn")
    assert status == 4
    assert "properties is not installed: the equivalence suite needs it; run pip install" in output
    assert output.count("\n") < 5


def test_plugin_imports_nothing_until_it_is_asked(tmp_path):
    """Every pytest run of the environment loads the plugin, and with it the packages that it is in."""
    (tmp_path / "test_own.py").write_text(
        "import sys\ndef test_own(pytestconfig):\n    assert pytestconfig.getoption('elman_level') == 'all'\n"
        "    assert not [name for name in ('numpy', 'torch', 'hypothesis') if name in sys.modules]\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", *PLUGIN, "test_own.py"]
    done = children.run(command, cwd=tmp_path, env=children.environment(**ALONE))
    assert done.returncode == 0, done.stdout


def test_header_says_what_is_tested(suite):
    """Of a port that lacks much, of one with a form of its own, and of a whole package."""
    texts = []
    for options in (
        "ports:described --elman-sizes H=6",
        "ports:formed --elman-examples 40",
        "ports:right",
    ):
        _, output = suite(
            "--elman-backend", *options.split(), "--collect-only", "--elman-timeout", "2.5"
        )
        texts.append(output.partition("\nport: ")[2].partition("\nrootdir: ")[0])
    assert "\n\n".join(texts) == snapshot("""\
numpy_rnn, float64, tanh within 9 ulps, above 8: not a strict pass
tanh may be off by 4 more ulps of 1: a small h may have a large relative error, and all bounds after it are wider: not a strict pass
level L0 is not checked: its exact cases need relu, the squared error and plain SGD
level L1 is not checked: the port reports no intermediate values
not tested, because the port lacks it: relu, bias
tested with the sizes H=6 alone
not tested, because the port does not declare it: input_gradients, sgd_options, learned_h_0, sigmoid, clip_by_value, cross_entropy, class_inputs, loss_weights, adagrad
each test: 5 windows, or for L3 4 runs of up to 24 windows; 2.5 s at most per answer

numpy_rnn, float64, tanh within 8 ulps
not tested, because the port lacks it: step, mean
the port is given dy in place of a target, and its loss is not tested
tested too, because the port declares it: sigmoid
not tested, because the port does not declare it: input_gradients, sgd_options, learned_h_0, clip_by_value, cross_entropy, class_inputs, loss_weights, adagrad
each test: 40 windows, or for L3 4 runs of up to 24 windows; 2.5 s at most per answer

numpy_rnn, float32 and float64, tanh within 8 ulps
tested too, because the port declares it: input_gradients, sgd_options, learned_h_0, sigmoid, clip_by_value, cross_entropy, class_inputs, loss_weights, adagrad
each test: 5 windows, or for L3 4 runs of up to 24 windows; 2.5 s at most per answer\
""")


# -- in a process of its own -----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_results_survive_xdist(suite):
    options = (
        "--elman-backend ports:right --elman-examples 5 --elman-level L1 --elman-output report.json"
    )
    status, output = suite(*options.split(), "-p", "xdist.plugin", "-n", "2")
    assert status == 0, output
    assert "sizes of the checked windows: B 1 to " in output
    report = json.loads(Path("report.json").read_text())
    assert set(report["levels"]["L1"]) == {"float32", "float64"}  # each from its worker


def program(at, mistake):
    """The command of a right port that is a program, but for this line at this case."""
    return [
        "--elman-command",
        shlex.join([sys.executable, program_port.__file__, str(at), mistake]),
    ]


@pytest.mark.slow
def test_a_program_is_a_port(suite):
    """One that dies is started again, and then answers the same case rightly; the other dtype passes."""
    status, output = suite(*program(4, "sys.exit(7)"), "--elman-level", "L1")
    assert status == 1
    assert "port: a program, float32 and float64" in output
    assert "1 failed, 1 passed" in output
    assert "ends with exit status 7 and without an answer" in output
    assert "gives different answers to the same case: " in output
    assert not any(word in output for word in ("FlakyFailure", "ExceptionGroup"))


ENDINGS = {  # what a port does, the status and the output of the suite
    "os._exit(0)": (1, r"raises SystemExit: os._exit\(0\) \(ports.py line 18: self.before\(\)\)"),
    "os.kill(os.getpid(), 9)": (
        -9,
        r"ERROR: the port ends the process of the suite, .*, in Recipe\(T=1, B=1",
    ),
    "catch_everything()": (
        1,
        r"ERROR: the port ends .*, or does not end by its time limit, in Recipe\(T=1, B=1",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("at_call", ENDINGS)
def test_port_that_ends_the_process_or_does_not_end_is_named(suite, tmp_path, at_call):
    """The words are written by another process, after the end of this one."""
    (tmp_path / "ending.py").write_text(
        "import os, time, ports\ndef catch_everything():\n    while True:\n        try: time.sleep(1)\n"
        f"        except BaseException: pass\n\n\ndef before():\n    {at_call}\nport = ports.BlackBox(before)\n"
    )
    options = ["--elman-backend", "ending:port", "--elman-level", "L2", "--elman-timeout", "0.1"]
    done = children.run([*PYTEST, *options], cwd=tmp_path, env=children.environment(**ALONE))
    status, said = ENDINGS[at_call]
    assert done.returncode == status
    assert re.search(said, done.stdout + done.stderr), done.stdout + done.stderr


@pytest.mark.slow
def test_import_that_ends_the_process_is_named(suite, tmp_path):
    (tmp_path / "ending.py").write_text("import os\nos.kill(os.getpid(), 9)\n")
    done = children.run(
        [*PYTEST, "--elman-backend", "ending:port"], cwd=tmp_path, env=children.environment(**ALONE)
    )
    assert (
        "ERROR: the port ends the process of the suite, or does not end by its time limit, in its import"
        in done.stderr
    )


@pytest.mark.slow
def test_no_port_outlives_a_suite_that_is_ended(suite, tmp_path):
    """The program hangs at its first case, and does not look at its input."""
    command = [*PYTEST, *program(1, "open('pid', 'w').write(f'{os.getpid()} '); time.sleep(1000)")]
    with children.start(command, cwd=tmp_path, env=children.environment(**ALONE)) as running:
        pid, until = tmp_path / "pid", time.monotonic() + children.LIMIT
        while not (pid.exists() and pid.read_text().endswith(" ")):
            assert time.monotonic() < until
            time.sleep(0.02)
        running.send_signal(signal.SIGTERM)
        assert running.wait(children.LIMIT) == -signal.SIGTERM
    until = time.monotonic() + 10
    with contextlib.suppress(ProcessLookupError):
        while time.monotonic() < until:  # until it is reaped
            os.kill(int(pid.read_text()), 0)
            time.sleep(0.02)
        pytest.fail("the port outlives the suite")
