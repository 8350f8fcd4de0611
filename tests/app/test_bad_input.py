"""Invalid options and combinations: one line on standard error, status 2, and no file is touched.

Invalid files: test_data.py, test_storage.py and test_checkpoint.py.
"""

import contextlib
import os
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from in_process import main, refused

import numpy_rnn
from numpy_rnn import InputError
from numpy_rnn.app.storage import check_can_write, save_parameters


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder with valid files, which do not fit the options of the table. No test changes them."""
    folder = tmp_path_factory.mktemp("valid")
    with contextlib.chdir(folder):
        one, large = numpy_rnn.initial_parameters(), numpy_rnn.initial_parameters(dtype="float64")
        save_parameters("w.npz", one)
        save_parameters("biases.npz", numpy_rnn.initial_parameters(bias=True))
        save_parameters("many.npz", numpy_rnn.initial_parameters(networks=3))
        save_parameters("large.npz", large._replace(W_hy=large.W_hy * 1e39))
        save_parameters("learned.npz", one._replace(h_0=np.ones((1, 6), "f4")))
        save_parameters("sequences.npz", one._replace(h_0=np.ones((2, 6), "f4")))
        Path("two.csv").write_text("time,spots\n1,2\n3,4\n5,6\n")
        Path("constant.csv").write_text("7\n7\n7\n7\n8\n")  # in the rows that are trained on
        Path("large.csv").write_text("1e39\n1\n2\n")
        texts = {"abc": b"abc" * 9, "empty": b"", "one": b"aaaa", "short": b"ab", "binary": b"ab\0c"}
        for name, content in (texts | {"latin": b"ab\xff"}).items():
            Path(f"{name}.txt").write_bytes(content)
        for options in (
            "--seeds 2 --epochs 2 --save run.npz",
            "--learning-rate 0.1,0.2,0.3 --save sweep.npz --epochs 1",
        ):
            assert main(numpy_rnn, [*options.split(), "--no-plot", "--quiet"]) == 0
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
--seeds 2 --weights w.npz | --weights and --seeds are both given: expected one | leave one
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
--weights w.npz --hidden-size 5 | hidden size 5 does not match weights file w.npz, which has 6 | leave --hidden-size out
--weights w.npz --bias | weights file w.npz has no biases: leave --bias out
--weights biases.npz --no-bias | weights file biases.npz has biases: leave --no-bias out
--weights w.npz --data two.csv | is for 1 input and 1 output: expected 2 of each | use weights that were trained
--weights large.npz --dtype float32 | weights file large.npz has values too large for float32: use --dtype float64
--weights learned.npz --no-learn-initial-state | has a learned initial state: leave --no-learn-initial-state out
--weights sequences.npz | weights file sequences.npz has an initial state for 2 sequences: expected 1
--weights many.npz --learning-rate 0.1,0.2 | has an ensemble of shape (3,), but 2 learning rates are given: expected
--save a.npz --trace ./a.npz | --save and --trace both name ./a.npz: expected different files
--data two.csv --save two.csv | --data and --save both name two.csv: expected different files
--save none/a.npz | --save none/a.npz: the folder | none does not exist; create it first
--trace none/a.npz | --trace none/a.npz: the folder | none does not exist; create it first
--output none/a.csv | --output none/a.csv: the folder | none does not exist; create it first
--resume w.npz | run file w.npz has no format 'elman-run 2': expected a run that --save wrote; it has only weights
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


PLACES = {
    "none/a": "the folder .*none does not exist; create it first",
    "folder": "is a folder: expected the name of a file",
    "pipe": "is a device or a pipe: expected the name of a file",
    "file/a": "cannot be written: Not a directory; choose another name",
    300 * "x": "cannot be written: File name too long; choose another name",
    "protected": "cannot be written: no permission; choose another place",
    "locked/a": "cannot be written: no permission; choose another place",
}


def test_an_output_that_cannot_be_written_is_refused(monkeypatch):
    os.mkdir("folder")
    os.mkdir("locked")
    os.mkfifo("pipe")
    for name in ("file", "protected"):
        Path(name).write_text("kept")
    allowed = os.access  # root may write anywhere, so the permissions are simulated
    closed = "locked", "protected"
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name not in closed and allowed(path, mode))
    for path, message in PLACES.items():
        with pytest.raises(InputError, match=f"^--save {path}:? {message}$"):
            check_can_write(path, "--save")


def test_no_memory(capsys, monkeypatch):
    full = Mock(side_effect=MemoryError("Unable to allocate 7 GiB"))
    monkeypatch.setattr("numpy_rnn.app.experiment.draw_parameters", full)
    message = refused(numpy_rnn, capsys, "--no-plot")
    assert message == "not enough memory (Unable to allocate 7 GiB): choose fewer hidden units, networks or rows"
