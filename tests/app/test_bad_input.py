"""Invalid input: one line on standard error, status 2, and no file is touched. First a table, then at random.

No input may leave a half-written file, or a file that was not asked for. Each random input is a valid one with a change
(fuzz_inputs.py); fuzz_trials.py has what else is checked. HYPOTHESIS_PROFILE=long tries 25 times as many. Invalid
files: test_data.py, test_storage.py and test_checkpoint.py.
"""

import contextlib
import csv
import io
import json
import os
import shutil
import sys
from pathlib import Path
from unittest.mock import Mock

import fuzz_inputs as inputs
import numpy as np
import pytest
from fuzz_trials import is_a_message, try_all
from hypothesis import settings
from in_process import contents, main, refused

import numpy_rnn
from numpy_rnn.app.options import parser
from numpy_rnn.app.results import HEAD
from numpy_rnn.app.storage import load_arrays, save_parameters
from numpy_rnn.conformance import __main__ as conformance


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder with a valid file of every kind, as the program itself writes them, and files that are not valid or do
    not fit the options of the table. No test changes them.
    """
    folder = tmp_path_factory.mktemp("valid")
    with contextlib.chdir(folder):
        os.mkdir("folder")
        one, large = numpy_rnn.initial_parameters(), numpy_rnn.initial_parameters(dtype="float64")
        save_parameters("one.npz", one)
        save_parameters("biases.npz", numpy_rnn.initial_parameters(bias=True))
        save_parameters("many.npz", numpy_rnn.initial_parameters(networks=3))
        save_parameters("large.npz", large._replace(W_hy=large.W_hy * 1e39))
        save_parameters("learned.npz", one._replace(h_0=np.ones((1, 6), "f4")))
        save_parameters("sequences.npz", one._replace(h_0=np.ones((2, 6), "f4")))
        series = "x,y\n" + "".join(f"0.{n},0.{n * n % 7}\n" for n in range(1, 7))
        texts = {"a.csv": series, "a.txt": series.replace(",", " "), "two.csv": "time,spots\n1,2\n3,4\n5,6\n"}
        texts |= {"constant.csv": "7\n7\n7\n7\n8\n", "large.csv": "1e39\n1\n2\n"}  # constant in the rows trained on
        texts |= {"abc.txt": "abc" * 9, "empty.txt": "", "one.txt": "aaaa", "short.txt": "ab", "binary.txt": "ab\0c"}
        for name, text in texts.items():
            Path(name).write_text(text)
        Path("latin.txt").write_bytes(b"ab\xff")
        np.save("a.npy", np.loadtxt("a.csv", delimiter=",", skiprows=1))
        for options in (
            "--save run.npz --seeds 2",
            "--save w.npz --bias --k1 3",
            "--save sweep.npz --learning-rate 0.1,0.2,0.3",
            "--trace trace.npz --bias --k1 3",
        ):
            small = "--hidden-size 2 --epochs 2 --no-plot --quiet --held-out 3 --momentum 0.5"
            assert main(numpy_rnn, f"{small} {options}".split()) == 0
    return folder


# Arguments | part of the message | another part of it ...
OPTIONS = """
--momentun 0.9 | unknown option --momentun (did you mean --momentum?); see python -m
--epoch=3 | unknown option --epoch (did you mean --epochs?); see python -m
tarin | unknown command 'tarin': expected train or compare | (did you mean train?); see
--output a.txt | --output a.txt: unknown ending '.txt'; expected .csv or .json
--data= | data file '': expected the name of a file
--weights none.npz | weights file none.npz does not exist: check the path
--resume none.npz | run file none.npz does not exist: check the path
--generate 1000001 | --generate: '1000001': expected a whole number, 0 to 1000000; see
--hidden-size 40000 | GiB: expected 8 at most; choose fewer
compare PACKAGE | PACKAGE is this package itself: expected another
--epochs | argument --epochs: expected one argument; see
--epochs ten | --epochs: 'ten': expected a whole number, 0 or more
--columns=-- | argument --columns: '--' is not a value: expected a value; for a file of
compare json --json=-- | argument --json: '--' is not a value: expected a value; for a file of
--k1 1.5 | --k1: '1.5': expected a whole number, 1 or more
--seed -1 | --seed: '-1': expected a whole number, 0 or more
--hidden-size 0 | --hidden-size: '0': expected a whole number, 1 or more
--learning-rate nan | --learning-rate: 'nan': expected a finite number
--learning-rate -0.1 | --learning-rate: '-0.1': expected a finite number, 0 or more
--learning-rate 0.1, | --learning-rate: '': expected a finite number, 0 or more
--learning-rate 0.1 0.2 | unexpected argument '0.2'
--momentum -1 | --momentum: '-1': expected a finite number, 0 or more
--dampening -1 | --dampening: '-1': expected a finite number, 0 or more
--weight-decay -1 | --weight-decay: '-1': expected a finite number, 0 or more
--max-norm 0 | --max-norm: '0': expected a finite number, above 0
--nesterov | nesterov needs momentum above 0 and dampening 0: they are 0.0 and 0.0
--nesterov --momentum 0.9 --dampening 0.1 | nesterov needs momentum above 0 and dampening 0: they are 0.9 and 0.1
--columns 1 | --columns is given without --data | expected --data FILE too
--held-out -1 | --held-out: '-1': expected a whole number, 0 or more
--held-out 19 | --held-out is 19, but the series has 21 rows and 3 are needed for training; expected at most 18
compare json --held-out 3 | --held-out is an option of the command train and not of compare; see
--save-every 3 | --save-every is given without --save: expected --save FILE
--save a.npz --save-every -1 | --save-every: '-1': expected a finite number, 0 or more
--save | argument --save: expected one argument; see
--seeds 99999999 --learning-rate 1,2,3 | 299999997 networks | GiB: expected 8 at most
--dtype float46 | --dtype: 'float46': expected float32 or float64 (did you mean float64?); see
--nonlinearity elu | 'elu': expected tanh or relu or sigmoid (did you mean relu?); see
--reduction max | 'max': expected sum or mean; see
--k1 3 --k2 2 | k2 is 2 and k1 is 3: expected k2 ≥ k1 | must contain the k1 new steps of its update | choose k2 ≥ 3
--seeds 2 --weights one.npz | --weights and --seeds are both given: expected one | leave one
--no-plot --plot a.png | --no-plot is given with --plot or --show: expected one | leave one
compare | OTHER | see python -m | compare --help
compare no_such_package | unknown implementation 'no_such_package': expected a package
compare json | json | expected | package
--epochs 99999999 --trace t.npz | GiB: expected | at most | choose fewer --epochs
--epochs 0 --trace t.npz | 0 epochs | expected --epochs 1 or more
--data two.csv --columns=3 | data file two.csv: there is no column '3'; expected 'time', 'spots', or a number, 1 to 2
--data two.csv --columns=sunspots | there is no column 'sunspots' (did you mean 'spots'?); expected 'time', 'spots', or
--data two.csv --columns=2, | there is no column ''; expected 'time', 'spots', or a number, 1 to 2
--data constant.csv --standardize --held-out 1 | column 1 of the series is 7 in all 4 rows and cannot be standardized
--data large.csv | data file large.csv has values too large for float32: use --dtype float64
--weights . | weights file . cannot be read: Is a directory; check the path
--weights one.npz --hidden-size 5 | hidden size 5 does not match weights file one.npz, which has 6 | leave --hidden-size
--weights one.npz --bias | weights file one.npz has no biases: leave --bias out
--weights biases.npz --no-bias | weights file biases.npz has biases: leave --no-bias out
--weights one.npz --data two.csv | is for 1 input and 1 output: expected 2 of each | use weights that were trained
--weights large.npz --dtype float32 | weights file large.npz has values too large for float32: use --dtype float64
--weights learned.npz --no-learn-initial-state | has a learned initial state: leave --no-learn-initial-state out
--weights sequences.npz | weights file sequences.npz has an initial state for 2 sequences: expected 1
--weights many.npz --learning-rate 0.1,0.2 | has an ensemble of shape (3,), but 2 learning rates are given: expected
--save a.npz --trace ./a.npz | --save and --trace both name ./a.npz: expected different files
--data two.csv --save two.csv | --data and --save both name two.csv: expected different files
--save none/a.npz | --save none/a.npz: the folder | none does not exist; create it first
--trace none/a.npz | --trace none/a.npz: the folder | none does not exist; create it first
--output none/a.csv | --output none/a.csv: the folder | none does not exist; create it first
--resume one.npz | run file one.npz has no format 'elman-run 2': expected a run that --save wrote; it has only weights
--resume run.npz --data two.csv | --data is given with --resume, but the run is on the sine wave: leave --data out
--resume run.npz --trace t.npz | --trace and --resume are both given: a trace records a whole run; leave one of
--resume run.npz --epochs 1 | the run in run.npz has reached epoch 2: expected --epochs 2 or more
--resume run.npz --learning-rate 0.1,0.2 | --learning-rate has 2 values: expected 1, as in the run that --resume
--resume sweep.npz --learning-rate 0.1 | --learning-rate has 1 value: expected 3, as in the run that --resume continues
--resume run.npz --momentum 0 --nesterov | nesterov needs momentum above 0 and dampening 0: they are 0.0 and 0.0
--text none.txt | text none.txt does not exist: expected a text file; check the path
--text empty.txt | text empty.txt is empty: expected a text with 2 or more different characters
--text one.txt | text one.txt has no character but 'a' (U+0061, LATIN SMALL LETTER A): expected 2 or more different
--text short.txt | text short.txt has 2 characters: expected 26 or more, a chunk of 25 and the character after it;
--text binary.txt | text binary.txt has a zero byte at character 3: expected a text file, and not a binary one
--text latin.txt | text latin.txt is not UTF-8: byte 0xff at position 2; expected a text file; convert it
--text abc.txt --temperature 0 | argument --temperature: '0': expected a finite number, above 0
--text abc.txt --sample -1 | argument --sample: '-1': expected a whole number, 0 to 1000000
--text abc.txt --generate 5 | --generate is given with --text: use --sample N for a text of the network, or leave it out
--text abc.txt --data two.csv | --text is given with --data: expected one network on one text; leave --data out
--text abc.txt --seeds 3 | --text is given with --seeds: expected one network on one text; leave --seeds out
--text abc.txt --learning-rate 1,2 | --text is given with several learning rates: expected one network on one text
--text abc.txt --standardize | --text is given with --standardize
--text abc.txt --held-out 3 | --text is given with --held-out
--text abc.txt --loss squared_error | --text is given with --loss squared_error: expected cross_entropy
--text abc.txt --adagrad --momentum 0.5 | adagrad is given with momentum 0.5
--sample 3 | --sample is given without --text: it is for a text
--temperature 3 | --temperature is given without --text
--loss cross_entropy | sine wave holds -0.99 | --loss cross_entropy needs them, and for the characters of a text there
--loss cross_entropy --standardize | --loss cross_entropy: expected rows that are distributions; leave one out
""".strip().splitlines()


PLOTS = [
    "--plot a | --plot a: unknown ending ''; expected .png or .pdf or .svg or .jpg",
    "--plot a.png.npz | --plot a.png.npz: unknown ending '.npz'; expected .png",
    "--plot none/a.png | --plot none/a.png: the folder | none does not exist; create it first",
]


@pytest.mark.parametrize("case", OPTIONS + [pytest.param(case, marks=pytest.mark.needs_matplotlib) for case in PLOTS])
def test_options_that_cannot_be_used_are_refused(rnn, capsys, monkeypatch, files, case):
    monkeypatch.chdir(files)
    arguments, *pieces = case.replace("PACKAGE", rnn.__name__).split(" | ")
    options = arguments.split() + ([] if "--plot" in arguments else ["--no-plot"])
    message = refused(rnn, capsys, *options)
    assert all(piece in message for piece in pieces), message
    if message.startswith(("argument", "unknown option", "unknown command", "unexpected")):  # by the parser
        assert message.endswith(" --help")


def test_no_memory(capsys, monkeypatch):
    full = Mock(side_effect=MemoryError("Unable to allocate 7 GiB"))
    monkeypatch.setattr("numpy_rnn.app.experiment.draw_parameters", full)
    message = refused(numpy_rnn, capsys, "--no-plot")
    assert message == "not enough memory (Unable to allocate 7 GiB): choose fewer hidden units, networks or rows"


# -- at random ------------------------------------------------------------------------------------------------------


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


@pytest.mark.slow
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
