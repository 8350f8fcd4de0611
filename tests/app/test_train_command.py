"""The command `train` as a user runs it: the default experiment, its files, and what is printed about the program."""

import csv
import importlib
import io
import os
import platform
import re
import sys
import tomllib
from contextlib import redirect_stderr
from itertools import pairwise
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from children import ROOT, environment, run
from in_process import command, configured, main, refused, succeed, trained

import numpy_rnn
from numpy_rnn.app import command_line, report
from numpy_rnn.app.experiment import prepare
from numpy_rnn.common import exit_status

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
            W_xh, W_hh, W_hy = (
                W_xh - 0.1 * x * da,
                W_hh - 0.1 * np.outer(before, da),
                W_hy - 0.1 * error * h,
            )
        losses.append(loss)
    y: list[float] = []
    h = np.zeros(6)
    for step in range(40):
        h = np.tanh((series[step] if step < 20 else y[-1]) * W_xh + h @ W_hh)
        y.append(float(h @ W_hy))
    return {"loss": losses, "actual": series[1:], "predicted": y[:20], "free-running": y[20:]}


def values_in(path):
    """The values of a file by kind: {kind: numbers, in the order of its rows}."""
    with open(path, encoding="utf-8", newline="") as file:
        head, *rows = csv.reader(file)
    assert head == ["kind", "epoch", "time", "column", "network", "value"]
    kinds = dict.fromkeys(row[0] for row in rows)
    return {kind: [float(row[-1]) for row in rows if row[0] == kind] for kind in kinds}


def test_default_experiment(rnn, capsys):
    """All of its 300 epochs in float32 with numpy_rnn; the first 10 in float64 with torch_rnn, which is slow."""
    last, dtype = (300, "float32") if rnn is numpy_rnn else (10, "float64")
    changed = ["--dtype", dtype] * (dtype != "float32") + ["--epochs", last] * (last != 300)
    out = succeed(rnn, capsys, "--no-plot", "--output", "r.csv", *changed)
    assert out.splitlines()[0] == (
        f"{rnn.__name__}: sine wave, T=20 B=1 D=1 H=6 O=1, tanh, no biases, reduction sum, k1=1 k2=1, learning rate"
        f" 0.1, {dtype}, seed 0"
    )
    found = values_in("r.csv")
    for name, values in default_experiment_in_plain_numpy(last).items():
        # a prediction is fed back 20 times, and at every return its error adds to the next
        allowed = {"actual": 0, "free-running": 20 * ROUNDING[dtype]}.get(name, ROUNDING[dtype])
        assert np.abs(np.subtract(found[name], values)).max() <= allowed, name
    printed = dict(re.findall(r"^ *(\d+) +(\S+)$", out.split("  time")[0], re.MULTILINE))
    assert [*map(int, printed)] == [1, *range(10, last + 1, 10)]
    assert all(
        abs(float(loss) - found["loss"][int(epoch) - 1]) <= 5.01e-7
        for epoch, loss in printed.items()
    )


def test_every_step_has_the_same_share_of_a_mean():
    """Also in a last window of fewer steps."""
    configuration = configured(
        "--epochs 2 --k1 3 --k2 5 --seeds 2 --dtype float64 --reduction mean"
    )
    run = prepare(configuration).run(configuration.run_options())
    totals = np.zeros((2, 2))
    for update in numpy_rnn.train(run.params, run.x, run.target, run.h_0, **run.options.keywords()):
        totals[update.epoch - 1] += update.window.loss_steps / 20 * update.loss
    np.testing.assert_allclose(
        trained(numpy_rnn, configuration).losses, totals, rtol=7 * np.finfo(np.float64).eps
    )


# -- files ----------------------------------------------------------------------------------------------------------

RUNS = {
    "one network": "--epochs 0",
    "seeds": "--epochs 2 --seeds 3 --data s.csv --standardize --held-out 3",
}


@pytest.mark.parametrize("kind", RUNS)
def test_output_file_has_the_results(capsys, kind):
    """Every number to the last bit, and where it belongs."""
    rows = np.random.default_rng(0).normal(0, 1, (12, 2))
    np.savetxt("s.csv", rows, delimiter=",", fmt="%.17g", header='spots,"per, cent"', comments="")
    out = succeed(numpy_rnn, capsys, *RUNS[kind].split(), "--output", "r.csv", "--no-plot")
    assert out.endswith("\nlosses and predictions saved to r.csv\n")
    configuration = configured(RUNS[kind])
    experiment = prepare(configuration)
    result = trained(numpy_rnn, configuration, configuration.held_out or 20)
    assert report.series_table(experiment, result) in out
    assert (report.error_table(experiment, result) in out) == ("--data" in RUNS[kind])
    series = rows if "--data" in RUNS[kind] else np.sin(np.linspace(2, 10, 21))[:, None]
    arrays = {"actual": series[1:], "predicted": result.predictions}
    arrays |= {"free-running": result.generated}
    arrays = {kind: np.moveaxis(array, -1, 1) for kind, array in arrays.items()}
    found = values_in("r.csv")
    for name, values in (arrays | ({"loss": result.losses} if len(result.losses) else {})).items():
        assert found[name] == values.ravel().tolist(), name
    if kind == "seeds":
        table = Path("r.csv").read_text().splitlines()
        assert [line.rpartition(",")[0] for line in table if line.startswith("loss,2")] == [
            f"loss,2,,,{network}" for network in (1, 2, 3)
        ]
        assert [line.rpartition(",")[0] for line in table[-3:]] == [
            f'free-running,,12,"per, cent",{network}' for network in (1, 2, 3)
        ]


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_bar_on_a_terminal(capsys, monkeypatch):
    """It counts all updates, also those before a run was resumed, and is removed at the end; --quiet has none."""
    monkeypatch.setattr(command_line, "DELAY", 0)
    succeed(numpy_rnn, capsys, "--epochs", 5, "--save", "r.npz", "--no-plot")
    words = ["--resume", "r.npz", "--epochs", "12", "--log-every", "2", "--no-plot"]
    expected = succeed(numpy_rnn, capsys, *words)
    for quiet in ([], ["--quiet"]):
        with redirect_stderr(Terminal()) as stream:
            assert main(numpy_rnn, [*words, *quiet]) == 0
        bars = re.findall(
            r"numpy_rnn: +\d+%\|[^|]*\| (\d+)/240 \[[^\]]*, epoch=\d+, loss=[^\]]+\]",
            stream.getvalue(),
        )
        assert bool(bars) == (quiet == [])
        assert not bars or (min(map(int, bars)) >= 100 and re.search(r"\r +\r$", stream.getvalue()))
    assert capsys.readouterr().out == expected


# -- the program ----------------------------------------------------------------------------------------------------


def test_no_matplotlib_is_a_note(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    ended = command(numpy_rnn, capsys, "--epochs", 1)
    assert (ended.status, ended.err) == (0, "numpy_rnn: no plot: matplotlib is not installed\n")
    assert os.listdir() == []
    message = refused(numpy_rnn, capsys, "--plot", "a.png")
    assert re.fullmatch(r"matplotlib cannot be imported .*: install it, or use --no-plot", message)


@pytest.mark.parametrize("words", [["--help"], ["compare", "-h"], ["--version"]])
def test_help_and_version(rnn, capsys, words):
    with pytest.raises(SystemExit) as ended:
        main(rnn, words)
    out, err = capsys.readouterr()
    assert (ended.value.code, err) == (0, "")
    if words == ["--version"]:
        versions = f"(Python {platform.python_version()}, NumPy {np.__version__}"
        assert out.startswith(f"{rnn.__name__} {numpy_rnn.__version__} {versions}")
    else:
        assert {"--epochs", "--k2", "--max-norm", "--quiet"} <= set(re.findall(r"--[\w-]+", out))
        other = "torch_rnn" if rnn is numpy_rnn else "numpy_rnn"
        assert (f"python -m {rnn.__name__} compare {other} --output" in out) == (
            words[0] == "compare"
        )


ERRORS: list[tuple] = [
    (
        MemoryError("7 GiB"),
        2,
        "not enough memory (7 GiB): choose fewer hidden units, networks, steps or rows",
    ),
    (
        KeyError("x\ny"),
        70,
        "unexpected KeyError: 'x\\ny'; run again with --traceback, and report it",
    ),
    (
        OSError(28, "No space left on device"),
        2,
        "the output cannot be written: No space left on device",
    ),
]


@pytest.mark.parametrize(("error", "status", "message"), ERRORS, ids=str)
def test_exit_status(capsys, monkeypatch, error, status, message):
    monkeypatch.setattr(exit_status, "_discard_output", lambda: None)
    monkeypatch.setattr(command_line, "prepare", Mock(side_effect=error))
    assert command(numpy_rnn, capsys, "--no-plot") == (status, "", f"numpy_rnn: {message}\n")
    if status == 70:
        with pytest.raises(KeyError):
            main(numpy_rnn, ["--no-plot", "--traceback"])


@pytest.mark.slow
def test_torch_is_missing(tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['torch'] = None")
    env = environment(tmp_path)
    torch_main = "import sys; from numpy_rnn.__main__ import torch_main; sys.exit(torch_main())"
    for start, *arguments in (
        ("torch_rnn: ", "-m", "torch_rnn"),
        ("torch_rnn: ", "-c", torch_main),
        ("numpy_rnn: ", "-m", "numpy_rnn", "compare", "torch_rnn", "--no-plot"),
    ):
        ended = run([sys.executable, *arguments], env=env)
        assert (ended.returncode, ended.stdout) == (2, ""), arguments
        assert re.match(
            rf"{start}[^\n]*torch is not installed: run pip install torch[^\n]*\n$", ended.stderr
        )


def test_console_scripts(rnn, capsys, monkeypatch):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    module, name = project["scripts"][rnn.__name__.replace("_", "-")].split(":")
    monkeypatch.setattr(sys, "argv", ["script", "--epochs", "1", "--no-plot"])
    assert getattr(importlib.import_module(module), name)() == 0
    assert capsys.readouterr().out.startswith(f"{rnn.__name__}: sine wave")
