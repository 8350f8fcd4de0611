"""Random inputs of the command line: a result, or one line that says what is wrong.

No input may leave a half-written file, or a file that was not asked for. Each is a valid input with a random change
(fuzz_inputs.py); fuzz_trials.py has what else is checked. HYPOTHESIS_PROFILE=long tries 25 times as many.
"""

import contextlib
import csv
import io
import json
import shutil
import sys
from pathlib import Path
from unittest.mock import Mock

import fuzz_inputs as inputs
import numpy as np
import pytest
from fuzz_trials import is_a_message, try_all
from hypothesis import settings
from in_process import contents, main

import numpy_rnn
from numpy_rnn.app.options import parser
from numpy_rnn.app.results import HEAD
from numpy_rnn.app.storage import load_arrays
from numpy_rnn.conformance import __main__ as conformance

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder with one valid file of every kind, as the program itself writes them."""
    folder = tmp_path_factory.mktemp("valid")
    with contextlib.chdir(folder):
        (folder / "folder").mkdir()
        Path("a.csv").write_text("x,y\n" + "".join(f"0.{n},0.{n * n % 7}\n" for n in range(1, 7)))
        Path("a.txt").write_text(Path("a.csv").read_text().replace(",", " "))
        np.save("a.npy", np.loadtxt("a.csv", delimiter=",", skiprows=1))
        small = "--hidden-size 2 --epochs 2 --no-plot --log-every 9 --held-out 3 --momentum 0.5"
        for options in ("--save run.npz --seeds 2", "--save w.npz --bias --k1 3", "--trace trace.npz --bias --k1 3"):
            with contextlib.redirect_stdout(io.StringIO()):
                assert main(numpy_rnn, f"{small} {options}".split()) == 0
    return folder


def options(rng, command):
    """Every option of a command is tried, but for those that end it or open a window."""
    known = set(parser("numpy_rnn").options_of(command)) - {"--help", "-h", "--show"}
    return inputs.options(rng, sorted(known))


def train(rng):
    """Options of the command `train`."""
    return ["train", "--epochs", "1", *options(rng, "train")]


def compare(rng):
    """Options of the command `compare`, and what to compare with."""
    others = inputs.words("trace.npz numpy_rnn json json:loads json:x : none:x numpy_rnn: ./none w.npz:x folder/")
    other, given = inputs.pick(rng, (*others, "none 'x", *inputs.FILES, *inputs.WORDS)), options(rng, "compare")
    words = inputs.pick(rng, ([other, *given], [*given, other], [*given, "trace.npz"]))
    return ["compare", "--epochs", "1", *words]


def study(rng):
    """Options of the command `study`, which ends at a missing file in any case."""
    return ["study", *options(rng, "study"), "--data", "none.csv"]


def data(rng):
    """A damaged series, or what no series is, with columns or without."""
    name = inputs.pick(rng, ("d.csv", "d.csv", "d.txt", "d.npy", "d.npy", "d.NPY"))
    Path(name).write_bytes(inputs.changed_npy(rng) if name.lower().endswith("npy") else inputs.text_table(rng))
    of_series = ("--columns", "--standardize", "--dtype", "--learning-rate")
    more = inputs.options(rng, of_series, most=2) if rng.random() < 0.5 else []
    return ["train", "--data", name, "--epochs", "1", "--hidden-size", "2", "--save", "out.npz", *more]


def changed(rng, *names):
    """The name of one of these files, which is damaged then."""
    name = inputs.pick(rng, names)
    Path(name).write_bytes(inputs.changed_npz(rng, load_arrays(name, "file")))
    return name


def weights(rng):
    """A damaged file of weights, or a run as one."""
    name = changed(rng, "w.npz", "w.npz", "run.npz")
    return ["train", "--weights", name, "--epochs", "1", "--save", "out.npz", "--generate", "2"]


def resume(rng):
    """A damaged run."""
    name = changed(rng, "w.npz", "run.npz")
    more = ["--epochs", inputs.pick(rng, inputs.FEW)] if rng.random() < 0.3 else []
    return ["train", "--resume", name, "--save", inputs.pick(rng, (name, "out.npz")), "--generate", "2", *more]


def trace(rng):
    """A damaged trace."""
    return ["compare", changed(rng, "trace.npz"), "--generate", "2", "--json", "out.json"]


def suite(rng):
    """Options of numpy_rnn.conformance: at most two updates, of this package or of none."""
    backend = inputs.pick(rng, ("numpy_rnn", "none", "json:x", "none 'x", *inputs.WORDS))
    if rng.random() < 0.1:
        return [inputs.pick(rng, ("score", "", "x")), f"--seed={inputs.pick(rng, ('-1', 'x', '', '--', '1.5'))}"]
    given = inputs.options(rng, ("--updates", "--dtype", "--seed", "--json", "--port-timeout"))
    return ["long", f"--backend={backend}", "--updates", "1", *given]


COUNTS = {train: 80, compare: 30, data: 60, weights: 30, resume: 50, trace: 25, study: 15, suite: 20}  # in CI


@pytest.mark.parametrize("entry", COUNTS)
def test_the_command_line(files, monkeypatch, entry):
    """Of numpy_rnn alone, as the packages share the application."""
    monkeypatch.setenv("PATH", "")  # none of the words is a program
    monkeypatch.setattr(sys, "stdin", None)  # every trial has an input of its own
    program = conformance.main if entry is suite else lambda arguments: main(numpy_rnn, arguments)
    count = COUNTS[entry] * settings().max_examples // 200
    try_all(max(count, 1), lambda rng: _command(rng, files, entry, program))


def _command(rng, files, entry, program):
    """Run a program on random arguments; say what they were, and what is wrong with what came of them."""
    for path in Path().iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    shutil.copytree(files, ".", dirs_exist_ok=True)
    arguments = entry(rng)
    if entry not in (study, suite) and "--plot" not in " ".join(arguments):
        arguments.append("--no-plot")
    if rng.random() < 0.5:
        Path("out.npz").write_bytes(b"kept")
    before = contents()
    yield arguments
    sys.stdin = io.TextIOWrapper(io.BytesIO(inputs.text_table(rng)), "utf-8")
    streams = [io.TextIOWrapper(io.BytesIO(), "utf-8", errors) for errors in ("strict", "backslashreplace")]
    with contextlib.redirect_stdout(streams[0]), contextlib.redirect_stderr(streams[1]):
        try:
            status = program(arguments)
        except SystemExit as leaving:  # --help
            status = leaving.code
    for stream in streams:
        stream.flush()
    out, err = (stream.buffer.getvalue().decode("utf-8") for stream in streams)
    assert status in (0, 1, 2, 3), f"status {status}"
    assert all(line.isprintable() for line in out.split("\n")), f"control characters in {out!r}"
    if status in (2, 3):
        assert is_a_message(err), f"no line that can be read, but {err!r}"
    else:
        assert err == "" or "diverged" in err, f"standard error: {err!r}"
    after, given = contents(), " ".join(arguments)
    changed = {str(path): content for path, content in after.items() if before.get(path) != content}
    if status == 2:
        assert out == "", f"status 2 after {out!r}"
        assert not changed, f"status 2, and changed {list(changed)}"
    assert all(name in given for name in changed), f"{list(changed)} changed, which no option names"
    for name, content in changed.items():
        if content.startswith(b"PK"):
            load_arrays(name, "output")
        elif "--output" in given and name.endswith(".csv"):
            assert {len(row) for row in csv.reader(content.decode().splitlines())} == {len(HEAD)}
        else:
            json.loads(content, parse_constant=Mock(side_effect=AssertionError("no JSON")))  # NaN, Infinity
    assert before.keys() <= after.keys(), "a file was removed"
