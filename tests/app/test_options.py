"""The options of the command line: defaults, refusals, and random command lines.

Half of the random ones are valid: a result, or one line and no changed file; never a traceback. HYPOTHESIS_PROFILE=long
tries thousands of them.
"""

import json
import os
import re
import shutil
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from comparing import fewer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from in_process import command, configured, contents, main, refusals

import numpy_rnn
from numpy_rnn import InputError
from numpy_rnn.app.configuration import TEXT, Configuration
from numpy_rnn.app.options import ABOUT, EPILOG, configuration_of, parse, parser

ALL = """--epochs 7 --hidden-size 3 --k1 2 --k2 4 --loss cross_entropy --nonlinearity relu --reduction mean --no-bias
--learn-initial-state --dtype float64 --seed 9 --seeds 5 --learning-rate 0.5 --momentum 0.9 --dampening 0.25
--nesterov --weight-decay 1e-4 --max-norm 2 --max-value 3 --adagrad --data=-1.csv --columns x,2 --standardize
--held-out 6 --weights w.npz"""


def test_every_option_is_an_attribute():
    """A run file has the values of all."""
    expected = Configuration(
        7, 3, 2, 4, "cross_entropy", "relu", "mean", False, True, "float64", 9, 5, 0.5, 0.9, 0.25,
        True, 0.0001, 2.0, 3.0, True, None, "-1.csv", ("x", "2"), True, 6, "w.npz",
    )  # fmt: skip
    assert configured(ALL) == expected
    assert Configuration.from_dict(json.loads(json.dumps(expected.to_dict()))) == expected
    assert configured("--k1 5") == Configuration(k1=5, k2=5)


@pytest.mark.parametrize("name", ABOUT)
def test_help_has_the_defaults_and_examples_that_work(name):
    """Without options the run is the default experiment."""
    words = [name, *(["other"] if name == "compare" else [])]
    assert configuration_of(parse("numpy_rnn", words)) == Configuration()
    checked = []
    for field in fields(Configuration):
        shown = re.search(
            r"\(([\w.]+)\)$", field.metadata["details"]["help"]
        )  # a value, and no more words
        if shown is not None and shown[1] not in ("k1", "all", "no"):
            assert field.metadata["details"].get("type", str)(shown[1]) == field.default, field.name
            checked.append(field.name)
        assert re.fullmatch(
            r"[A-Z]+(\[,\.\.\.\])?", field.metadata["details"].get("metavar") or "FLAG"
        )
    assert {"epochs", "learning_rate", "seed", "loss", "momentum"} <= set(checked)
    lines = re.findall(r"python -m {name} ?(.*?)(?: *#.*)?$", EPILOG[name], re.MULTILINE)
    assert len(lines) >= 2
    for line in lines:
        parsed = parse("numpy_rnn", line.format(other="torch_rnn").split())
        assert parsed.command == name
        configuration_of(parsed).check()
    assert max(map(len, parser("numpy_rnn", name).format_help().splitlines())) <= 120


def test_defaults_of_a_text():
    """Those of min-char-rnn; an option that replaces one of them leaves it out."""
    assert {
        name: value for name, value in vars(configured("--text a")).items() if name in TEXT
    } == TEXT
    assert configured("--text a --max-norm 1").max_value is None
    assert configured("--text a --momentum 0.5").adagrad is False
    assert (
        configured("--text a --weights w").hidden_size
        is configured("--text a --weights w").bias
        is None
    )


LEAST: dict[str, float] = dict.fromkeys(
    ("--epochs", "--seed", "--held-out", "--generate", "--sample"), 0
)
LEAST |= dict.fromkeys(("--hidden-size", "--k1", "--k2", "--seeds", "--log-every"), 1) | {
    "--temperature": 5e-324
}
LEAST |= {"study --seeds": 2, "study --steps": 3}


@pytest.mark.parametrize("option", LEAST)
def test_numbers_have_a_least_value(option):
    least, (*command, option) = LEAST[option], option.split()
    parse("numpy_rnn", [*command, option, str(least)])
    for wrong in (least - 1, float("nan"), "x") + (0, float("inf")) * (option == "--temperature"):
        with pytest.raises(
            InputError, match=rf"^argument {option}: '.*': expected a (whole|finite) number, "
        ):
            parse("numpy_rnn", [*command, f"{option}={wrong}"])


REFUSED = """\
tarin:
    unknown command 'tarin': expected train or compare or study
--momentun 0.9:
    unknown argument '--momentun' (did you mean --momentum?); see python -m numpy_rnn train --help
--save=--:
    argument --save: -- is no value; see python -m numpy_rnn train --help
--learning-rate nan:
    the learning rate is nan: expected a finite number, 0 or more
--max-norm 0:
    max norm is 0.0: expected a finite number above 0
--held-out 19:
    --held-out is 19: expected 18 at most, so that 3 rows are trained on
--columns 1:
    --columns is given without --data: expected --data FILE too
--data constant.csv --standardize:
    column 1 of the series, 7 to 7, has no standard deviation: leave out the column or --standardize
--data large.csv:
    data file large.csv: it has values too large for float32: use --dtype float64
--text binary.txt:
    text binary.txt: it is binary, or has fewer than 2 different characters; expected a text file
--text short.txt:
    text short.txt: it has 2 characters; expected more than --k1, 25: choose less
--text abc.txt --data constant.csv:
    --text and --data are both given: expected one of the two; leave one out
--text abc.txt --generate 3:
    --generate is given with --text: use --sample N for a text of the network
--sample 3:
    --sample is given without --text: it is for a text; leave it out
--no-plot --plot a.png:
    --no-plot and --plot are both given: expected one of the two; leave one out
compare none --held-out 3:
    unknown argument '--held-out' (did you mean --plot?); see python -m numpy_rnn compare --help
compare numpy_rnn.reference --nesterov:
    nesterov needs momentum above 0 and dampening 0: they are 0.0, 0.0 and True
compare numpy_rnn.reference --k1 5 --k2 2:
    k2 is 2 and k1 is 5: expected k2 ≥ k1, because the window must contain the k1 new steps of its update;
    choose k2 ≥ 5
--weights none.npz:
    weights file none.npz cannot be read: No such file or directory; check the path
--save folder:
    --save folder is not a file, or standard input or output: choose another name
--save folder/pipe:
    --save folder/pipe is not a file, or standard input or output: choose another name
--save none/a.npz:
    --save none/a.npz cannot be written: No such file or directory; choose another place
--save a.json:
    --save a.json: unknown ending '.json'; expected .npz
--output a.txt:
    --output a.txt: unknown ending '.txt'; expected .csv
--plot a.gif:
    --plot a.gif: unknown ending '.gif'; expected .png or .pdf or .svg or .jpg
--save a.npz --weights a.npz:
    --weights and --save both name a.npz: expected different files
--data a.csv --output ./a.csv:
    --data and --output both name ./a.csv: expected different files\
"""


@pytest.mark.needs_matplotlib
def test_refused_command_lines(capsys):
    os.mkdir("folder")
    os.mkfifo("folder/pipe")
    texts = {
        "constant.csv": "7\n7\n7\n7\n",
        "large.csv": "1e39\n1\n2\n",
        "abc.txt": "abc" * 20,
        "a.csv": "1\n2\n3\n4\n",
    }
    for name, content in (texts | {"short.txt": "ab", "binary.txt": "ab\0c"}).items():
        Path(name).write_text(content)
    assert refusals(numpy_rnn, capsys, REFUSED) == REFUSED


# -- random command lines -------------------------------------------------------------------------------------------

FILES = "a.csv two.csv abc.txt w.npz run.npz text.npz broken.npz none.csv . é"
HUGE = "9" * 30
WHOLE = "--epochs --hidden-size --k1 --k2 --seed --seeds --held-out --generate --log-every --sample"
REAL = "--learning-rate --momentum --dampening --weight-decay --max-norm --max-value --temperature"
VALUES = {
    **dict.fromkeys(WHOLE.split(), f"0 1 1 2 3 3 -1 {HUGE}"),
    **dict.fromkeys(REAL.split(), "0 0.1 0.5 1 1e-320 1e300 nan x"),
    **dict.fromkeys(("--data", "--text", "--weights", "--resume"), FILES),
    **dict.fromkeys(("--save", "--output"), "run.npz out.npz out.csv a.csv none/x . é.csv"),
    "--loss": "squared_error cross_entropy x",
    "--nonlinearity": "tanh relu sigmoid x",
    "--dtype": "float32 float64 int",
    "--learning-rate": "0 0.1 0.1,0.2 5 1e30 1e300 nan ,",
    "--columns": "1 x y 2,1 3 0 é",
}
FLAGS = (
    "--bias --no-bias --learn-initial-state --nesterov --adagrad --standardize --quiet --unknown x"
)
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
        Path("abc.txt").write_text("abcb" * 30)
        small = "--no-plot --quiet --epochs 1"
        for options in (
            "--save run.npz --momentum 0.5",
            "--save w.npz --seeds 2",
            "--text abc.txt --save text.npz",
        ):
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
        ended = command(
            numpy_rnn,
            capsys,
            "--epochs",
            1,
            *(word for pair in words for word in pair),
            "--no-plot",
        )
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


def test_help_of_an_option_has_its_default_and_its_words():
    for each in fields(Configuration):
        help, words = (
            each.metadata["details"]["help"],
            each.metadata["details"].get("choices") or (),
        )
        assert each.name == "loss" or all(re.search(rf"\b{word}\b", help) for word in words), (
            each.name
        )
        default = {"k2": "k1", "networks": None, "bias": "no", "learn_initial_state": "no"}.get(
            each.name, each.default
        )
        if default is not None and default is not False:
            assert f"({default})".replace(".0)", ")") in help or f"({default}, or as in" in help, (
                help
            )
