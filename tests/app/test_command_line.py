"""The command line in process: default experiment, comparison, help, what is missing (as a process: test_process)."""

import errno
import importlib
import json
import os
import re
import sys
import tomllib
from argparse import Namespace
from itertools import pairwise
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from children import ROOT, environment, run
from in_process import command, losses, main, refused, succeed

import numpy_rnn
from numpy_rnn.app.commands import EXAMPLES, OPTIONS
from numpy_rnn.app.configuration import Configuration
from numpy_rnn.app.options import configuration_of, parser
from numpy_rnn.common.errors import Diverged

# 6000 updates in float32 round every weight, of order one, 6000 times by at most 2^-24; such errors have all signs, so
# they walk about √6000·2^-24 = 4.6e-6 away. In float64 the same is 9e-15.
ROUNDING = {"float32": 5e-6, "float64": 1e-12}


def default_experiment_in_plain_numpy(last):
    """Losses of so many epochs, the series, its predictions and 20 free-running values, in float64."""
    generator = np.random.default_rng(0)
    W_xh, W_hh = generator.normal(0, 0.4, 6), generator.normal(0, 0.4, (6, 6))
    W_hy = generator.normal(0, 0.3, 6)
    series = np.sin(np.linspace(2, 10, 21))
    losses = []
    for _ in range(last):
        h, loss = np.zeros(6), 0.0
        for x, target in pairwise(series):
            before, h = h, np.tanh(x * W_xh + h @ W_hh)
            error = h @ W_hy - target
            loss += error**2 / 2
            da = error * W_hy * (1 - h**2)
            W_xh, W_hh, W_hy = W_xh - 0.1 * x * da, W_hh - 0.1 * np.outer(before, da), W_hy - 0.1 * error * h
        losses.append(loss)
    y: list[float] = []
    h = np.zeros(6)
    for step in range(40):
        h = np.tanh((series[step] if step < 20 else y[-1]) * W_xh + h @ W_hh)
        y.append(float(h @ W_hy))
    return {"losses": losses, "actual": series[1:], "predicted": y[:20], "free_running": y[20:]}


@pytest.mark.parametrize("dtype", ROUNDING)
def test_the_default_experiment(rnn, capsys, dtype):
    """All of its 300 epochs with numpy_rnn; the first 30 with torch_rnn, which is slow."""
    last = 300 if rnn is numpy_rnn else 30
    changed = ["--dtype", dtype] * (dtype != "float32") + ["--epochs", last] * (last != 300)
    out = succeed(rnn, capsys, "--no-plot", "--output", "r.json", *changed)
    assert out.splitlines()[0] == (
        f"{rnn.__name__}: sine wave, T=20 B=1 D=1 H=6 O=1, tanh, no biases, reduction sum, k1=1 k2=1, learning rate"
        f" 0.1, {dtype}, seed 0"
    )
    found = json.loads(Path("r.json").read_text())
    for name, values in default_experiment_in_plain_numpy(last).items():
        # a prediction is fed back 20 times, and at every return its error adds to the next
        allowed = {"actual": 0, "free_running": 20 * ROUNDING[dtype]}.get(name, ROUNDING[dtype])
        assert np.abs(np.subtract(np.squeeze(found[name]), values, dtype=float)).max() <= allowed, name
    printed = losses(out)
    assert list(printed) == [1, *range(10, last + 1, 10)]
    assert printed[last][0] < printed[10][0] < printed[1][0] / 5


def test_without_matplotlib_there_is_no_plot_and_a_note(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    ended = command(numpy_rnn, capsys, "--epochs", 1)
    assert (ended.status, ended.err) == (0, "numpy_rnn: no plot: matplotlib is not installed\n")
    assert list(losses(ended.out)) == [1]
    assert os.listdir() == []
    for options in (["--plot", "a.png"], ["--show"]):
        message = refused(numpy_rnn, capsys, *options)
        assert re.fullmatch(r"matplotlib cannot be imported .*: install it, or use --no-plot", message)


def printed_and_ended(rnn, capsys, *arguments):
    """What a command prints that ends by itself, such as --help."""
    with pytest.raises(SystemExit) as ended:
        main(rnn, arguments)
    out, err = capsys.readouterr()
    assert (ended.value.code, err) == (0, "")
    return out


@pytest.mark.parametrize("before", [[], ["train"], ["compare"]], ids=["alone", "train", "compare"])
def test_help_names_every_option_and_version_the_packages(rnn, capsys, before):
    out = printed_and_ended(rnn, capsys, *before, "--help")
    assert out == printed_and_ended(rnn, capsys, *before, "-h")
    known = parser(rnn.__name__).options_of("".join(before) or "train")
    words = {"--epochs", "--k2", *known, "OTHER" if before == ["compare"] else "compare", "{float32,float64}"}
    assert [word for word in words if not re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", out)] == []
    usage = {"compare": "compare OTHER ..."}.get("".join(before), "[train]")
    assert out.startswith(f"usage: python -m {rnn.__name__} {usage} [options]\n")
    assert ("study" in out) == (rnn is numpy_rnn and before != ["compare"])
    assert re.fullmatch(
        rf"{rnn.__name__} {rnn.__version__} \(Python .*NumPy {np.__version__}.*\n",
        printed_and_ended(rnn, capsys, *before, "--version"),
    )


@pytest.mark.parametrize("command", EXAMPLES)
def test_help_fits_the_terminal_and_has_the_same_words_on_any(capsys, monkeypatch, command):
    words = []
    for width in (60, 80, 150):
        monkeypatch.setenv("COLUMNS", str(width))
        out = printed_and_ended(numpy_rnn, capsys, command, "--help")
        assert max(map(len, out.splitlines())) <= width
        words.append(re.sub(r"[\s\\#]+", "", out))
    assert len(set(words)) == 1


OF_OUTPUT = {"compare": {"generate": 20, "port_timeout": 10.0}, "study": {"seeds": 32, "folder": "study"}}


@pytest.mark.parametrize("command", OPTIONS)
def test_the_default_in_the_help_is_the_default(command):
    """Given explicitly, it changes nothing; and without options the run is the default experiment."""
    words = [command, *(["other"] if command == "compare" else [])]
    commands = parser("numpy_rnn")
    plain, checked = vars(commands.parse_args(words)), []
    assert configuration_of(commands.parse_args(words)) == Configuration()
    assert plain | OF_OUTPUT.get(command, {}) == plain
    for action in commands.commands.choices[command]._actions:
        shown = re.search(r"\(([\w.]+)\)$", action.help or "")  # a value, and no more words
        if shown is None or shown[1] in ("k1", "all") or action.dest == "loss":
            continue
        given = vars(commands.parse_args([*words, action.option_strings[0], shown[1]]))
        assert configuration_of(Namespace(**given)) == Configuration(), action.dest
        assert plain[action.dest] in (None, given[action.dest]), action.dest
        checked.append(action.dest)
    assert {"epochs", "learning_rate", "seed"} <= set(checked)


@pytest.mark.parametrize(
    ("result", "status", "err"),
    [(None, 0, ""), (0, 0, ""), (1, 1, ""), (Diverged("both diverged", None), 3, "numpy_rnn: both diverged\n")],
)
@pytest.mark.parametrize("command", ["compare", "study"])
def test_the_exit_status_is_that_of_the_command(capsys, monkeypatch, command, result, status, err):
    implementation = Mock(side_effect=[result])
    monkeypatch.setattr("numpy_rnn.conformance.comparison.run", implementation)
    monkeypatch.setattr("numpy_rnn.study.study.run", implementation)
    ended = main(numpy_rnn, [command, *(["x", "--no-plot"] if command == "compare" else [])])
    assert (ended, capsys.readouterr().err) == (status, err)
    assert implementation.call_args.args[0] is numpy_rnn


def test_an_output_that_is_full_is_one_line(capsys, monkeypatch):
    write = Mock(side_effect=OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    with open("output", "w") as file, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", Mock(spec=["write", "flush", "fileno"], write=write, fileno=file.fileno))
        assert main(numpy_rnn, ["--epochs", "1", "--no-plot"]) == 2
    assert capsys.readouterr().err == "numpy_rnn: the output cannot be written: No space left on device\n"


@pytest.mark.slow
def test_without_torch_one_line_says_what_to_install(tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['torch'] = None")
    env = environment(PYTHONPATH=os.pathsep.join([str(tmp_path), str(ROOT)]))
    torch_main = "import sys; from numpy_rnn.__main__ import torch_main; sys.exit(torch_main())"
    for start, *arguments in (
        ("torch_rnn: ", "-m", "torch_rnn"),
        ("torch_rnn: ", "-c", torch_main),
        ("numpy_rnn: ", "-m", "numpy_rnn", "compare", "torch_rnn", "--no-plot"),
    ):
        ended = run([sys.executable, *arguments], env=env)
        assert (ended.returncode, ended.stdout) == (2, ""), arguments
        assert re.match(rf"{start}[^\n]*torch is not installed: run pip install torch[^\n]*\n$", ended.stderr)


def test_the_console_scripts_run_the_packages(rnn, capsys, monkeypatch):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    module, name = project["scripts"][rnn.__name__.replace("_", "-")].split(":")
    monkeypatch.setattr(sys, "argv", ["script", "--epochs", "1", "--no-plot"])
    assert getattr(importlib.import_module(module), name)() == 0
    assert capsys.readouterr().out.startswith(f"{rnn.__name__}: sine wave")
    assert (ROOT / rnn.__name__ / "py.typed").exists()
