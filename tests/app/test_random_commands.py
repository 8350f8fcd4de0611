"""Random command lines, half of them valid: a result, or one line and no changed file; never a traceback.

HYPOTHESIS_PROFILE=long tries thousands of them.
"""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from comparing import fewer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from in_process import command, contents, main

import numpy_rnn

FILES = "a.csv two.csv m.npy abc.txt w.npz run.npz text.npz broken.npz none.csv . é"
HUGE = "9" * 30
VALUES = {
    "--epochs": f"0 1 2 -1 {HUGE} x",
    "--hidden-size": "1 2 5 0 1.5",
    "--k1": f"1 2 5 40 0 {HUGE}",
    "--k2": f"1 2 5 40 0 {HUGE}",
    "--loss": "squared_error cross_entropy x",
    "--nonlinearity": "tanh relu sigmoid x",
    "--reduction": "sum mean",
    "--dtype": "float32 float64 int",
    "--seed": "0 7 -1 9223372036854775807",
    "--seeds": "1 3 0",
    "--learning-rate": "0 0.1 0.1,0.2 5 1e30 1e300 nan ,",
    "--momentum": "0 0.9 -1 inf",
    "--dampening": "0 0.5 1e300",
    "--weight-decay": "0 0.1 1e300",
    "--max-norm": "1 1e-320 1e300 0",
    "--max-value": "1 1e-320 1e300 0",
    "--columns": "1 x y 2,1 3 0 é",
    "--held-out": "0 1 3 40 -1",
    "--generate": "0 3 x",
    "--log-every": "1 7 0",
    "--sample": "0 3",
    "--temperature": "1 1e-300 1e300 0",
    **dict.fromkeys(("--data", "--text", "--weights", "--resume"), FILES),
    **dict.fromkeys(("--save", "--output"), "run.npz out.npz out.csv out.json a.csv none/x . é.json"),
    "--trace": "out.npz t.npz",
}
FLAGS = "--bias --no-bias --learn-initial-state --nesterov --adagrad --standardize --quiet --unknown x"
PAIRS = [(option, value) for option, values in VALUES.items() for value in values.split()]
OPTION = st.sampled_from(PAIRS) | st.sampled_from([(flag,) for flag in FLAGS.split()])


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder with a file of every kind."""
    folder = tmp_path_factory.mktemp("files")
    before = os.getcwd()
    os.chdir(folder)
    try:
        series = np.abs(np.sin(np.arange(20.0))).reshape(10, 2)
        np.savetxt("a.csv", series[:, :1])
        np.savetxt("two.csv", series, delimiter=",", header="x,y", comments="")
        np.save("m.npy", series.astype("f4"))
        Path("abc.txt").write_text("abcb" * 30)
        small = "--no-plot --quiet --epochs 1"
        for options in ("--save run.npz --momentum 0.5", "--save w.npz --seeds 2", "--text abc.txt --save text.npz"):
            assert main(numpy_rnn, f"{small} {options}".split()) == 0
        Path("broken.npz").write_bytes(Path("run.npz").read_bytes()[:-100])
    finally:
        os.chdir(before)
    return folder


@pytest.mark.slow
def test_random_command_lines(capsys, files):
    @settings(fewer(2), suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(words=st.lists(OPTION, max_size=5))
    def run(words):
        for path in Path().iterdir():
            path.unlink()
        shutil.copytree(files, ".", dirs_exist_ok=True)
        before = contents()
        ended = command(numpy_rnn, capsys, "--epochs", 1, *(word for pair in words for word in pair), "--no-plot")
        assert ended.status in (0, 2, 3), ended
        if ended.status == 0:
            assert ended.err == "" or "diverged" in ended.err
        else:
            lines = ended.err.splitlines()
            assert lines[-1].startswith("numpy_rnn: ")
            assert all("the other networks continue" in line for line in lines[:-1])
            assert ended.err.replace("\n", "").isprintable()
        after = contents()
        changed = {str(path) for path, content in after.items() if before.get(path) != content}
        assert before.keys() <= after.keys()
        assert changed <= {word for pair in words for word in pair}
        assert ended.status != 2 or not changed

    run()
