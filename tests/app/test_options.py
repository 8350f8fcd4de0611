"""The options of the command line: defaults, refusals, and run files that hold them."""

import json
import re
from dataclasses import fields, replace
from typing import Any

import pytest
from comparing import fewer
from hypothesis import given
from hypothesis import strategies as st
from in_process import configured, listed, refused
from inline_snapshot import snapshot

import numpy_rnn
from numpy_rnn import InputError
from numpy_rnn.app.configuration import TEXT, Configuration, option_name
from numpy_rnn.app.options import ABOUT, EPILOG, configuration_of, parse, parser

VALUES: dict[str, st.SearchStrategy] = {
    "epochs": st.integers(0, 10**9),
    "hidden_size": st.none() | st.integers(1, 10**9),
    "k1": st.integers(1, 10**9),
    "k2": st.integers(1, 10**9),
    "loss": st.sampled_from(["squared_error", "cross_entropy"]),
    "nonlinearity": st.sampled_from(["tanh", "relu", "sigmoid"]),
    "reduction": st.sampled_from(["sum", "mean"]),
    "bias": st.none() | st.booleans(),
    "learn_initial_state": st.none() | st.booleans(),
    "dtype": st.sampled_from([None, "float32", "float64"]),
    "seed": st.integers(0, 2**63 - 1),
    "networks": st.none() | st.integers(1, 10**9),
    "learning_rate": st.floats(0, 1e300) | st.lists(st.floats(0, 1e300), min_size=2, max_size=4).map(tuple),
    "columns": st.none() | st.lists(st.from_regex(r"[a-z0-9]+", fullmatch=True), min_size=1).map(tuple),
    "held_out": st.integers(0, 10**9),
    **{name: st.floats(0, 1e300) for name in ("momentum", "dampening", "weight_decay")},
    **{name: st.none() | st.floats(0, 1e300, exclude_min=True) for name in ("max_norm", "max_value")},
    **{name: st.booleans() for name in ("nesterov", "adagrad", "standardize")},
    **{name: st.none() | st.text("ab ./é\t", min_size=1) for name in ("text", "data", "weights")},
}


@fewer(4)
@given(values=st.fixed_dictionaries(VALUES))
def test_configuration_in_a_file_and_on_the_command_line(values):
    configuration = Configuration(**values)
    in_file = json.loads(json.dumps(configuration.to_dict()))
    assert Configuration.from_dict(in_file) == configuration
    words = []
    for name, value in values.items():
        if value is not None and value is not False and name != "text":
            text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
            words.append(option_name(name) if value is True else f"{option_name(name)}={text}")
        elif value is False and name in ("bias", "learn_initial_state"):
            words.append(f"--no-{option_name(name)[2:]}")
    given = configuration_of(parse("numpy_rnn", words))
    assert given == replace(configuration, text=None)


@given(values=st.fixed_dictionaries(VALUES), name=st.sampled_from(list(VALUES)), changed=st.data())
def test_spoiled_values_of_a_file_are_refused(values, name, changed):
    """A value of another type or range, a missing one and an unknown one."""
    wrong: list[Any] = [[], {}, -1, 1.5, "x\ny", True, float("nan"), 10**400, [1, None]]
    strings, flags = ("text", "data", "weights", "columns"), ("bias", "learn_initial_state", "nesterov", "adagrad")
    if name in strings:
        wrong = []
    elif name in (*flags, "standardize"):
        wrong.remove(True)
    elif name not in ("epochs", "hidden_size", "k1", "k2", "seed", "networks", "held_out", "loss", "nonlinearity"):
        wrong.remove(1.5)
    in_file = Configuration(**values).to_dict()
    spoiled = [in_file | {name: value} for value in wrong if not (name == "reduction" and value == "")]
    spoiled += [in_file | {"speed": 1}, {key: value for key, value in in_file.items() if key != name}]
    with pytest.raises(InputError, match=r"^its configuration [^\n]+$"):
        Configuration.from_dict(changed.draw(st.sampled_from(spoiled)))


@pytest.mark.parametrize("command", ABOUT)
def test_default_in_the_help_is_the_default(command):
    """And without options the run is the default experiment."""
    words = [command, *(["other"] if command == "compare" else [])]
    assert configuration_of(parse("numpy_rnn", words)) == Configuration()
    checked = []
    for field in fields(Configuration):
        shown = re.search(r"\(([\w.]+)\)$", field.metadata["help"])  # a value, and no more words
        if shown is not None and shown[1] not in ("k1", "all", "no"):
            assert field.metadata["parse"](shown[1]) == field.default, field.name
            checked.append(field.name)
    assert {"epochs", "learning_rate", "seed", "loss", "momentum"} <= set(checked)
    assert {name: value for name, value in vars(configured("--text a")).items() if name in TEXT} == TEXT


@pytest.mark.parametrize("command", EPILOG)
def test_examples_of_the_help_are_accepted(command):
    lines = re.findall(r"python -m {name} ?(.*?)(?: *#.*)?$", EPILOG[command], re.MULTILINE)
    assert len(lines) >= 2
    for line in lines:
        parsed = parse("numpy_rnn", line.format(other="torch_rnn").split())
        assert parsed.command == command
        configuration_of(parsed).check()
    help = parser("numpy_rnn", command).format_help()
    assert max(map(len, help.splitlines())) <= 120


REFUSED = """
tarin
--momentun 0.9
--epochs
--epochs ten
--learning-rate nan
--learning-rate 0.1 0.2
--max-norm 0
--nesterov
--dtype float46
--held-out 19
--columns 1
--seeds 2 --weights w.npz
--data= --epochs 1
--loss cross_entropy --standardize
--data constant.csv --standardize
--data large.csv
--text binary.txt
--text short.txt
--text abc.txt --data constant.csv
--text abc.txt --learning-rate 0.1,0.2
--text abc.txt --generate 3
--sample 3
--resume w.npz --trace t.npz
--epochs 0 --trace t.npz
--no-plot --plot a.png
compare
compare none --held-out 3
"""


def test_refused_command_lines(capsys):
    numpy_rnn_files = {
        "constant.csv": "7\n7\n7\n7\n",
        "large.csv": "1e39\n1\n2\n",
        "abc.txt": "abc" * 20,
        "short.txt": "ab",
        "binary.txt": "ab\0c",
    }
    for name, content in numpy_rnn_files.items():
        with open(name, "w") as file:
            file.write(content)
    messages = {}
    for line in REFUSED.strip().splitlines():
        no_plot = [] if "--no-plot" in line else ["--no-plot"]
        messages[line] = refused(numpy_rnn, capsys, *line.split(), *no_plot)
    assert listed(messages) == snapshot("""\
tarin:
    unknown command 'tarin': expected train or compare or study
--momentun 0.9:
    unknown argument '--momentun' (did you mean --momentum?); see python -m numpy_rnn train --help
--epochs:
    argument --epochs: expected one argument; see python -m numpy_rnn train --help
--epochs ten:
    argument --epochs: 'ten': expected a whole number, 0 to 1000000000; see python -m numpy_rnn train --help
--learning-rate nan:
    argument --learning-rate: 'nan': expected a finite number, 0 or more; see python -m numpy_rnn train --help
--learning-rate 0.1 0.2:
    unknown argument '0.2'; see python -m numpy_rnn train --help
--max-norm 0:
    argument --max-norm: '0': expected a finite number, above 0; see python -m numpy_rnn train --help
--nesterov:
    nesterov needs momentum above 0 and dampening 0: they are 0.0, 0.0 and True
--dtype float46:
    argument --dtype: 'float46': expected float32 or float64; see python -m numpy_rnn train --help
--held-out 19:
    --held-out is 19: expected 18 at most, so that 3 rows are trained on
--columns 1:
    --columns is given without --data: expected --data FILE too
--seeds 2 --weights w.npz:
    --weights and --seeds are both given: expected one of the two; leave one out
--data= --epochs 1:
    data file : unknown ending ''; expected .csv, .tsv, .txt, .npy
--loss cross_entropy --standardize:
    --loss and --standardize are both given: expected one of the two; leave one out
--data constant.csv --standardize:
    column 1 of the series, 7 to 7, has no standard deviation: leave out the column or --standardize
--data large.csv:
    data file large.csv has values too large for float32: use --dtype float64
--text binary.txt:
    text binary.txt is binary, or has fewer than 2 different characters: expected a text file
--text short.txt:
    text short.txt has 2 characters: expected more than --k1, 25; choose a smaller one
--text abc.txt --data constant.csv:
    --text and --data are both given: expected one of the two; leave one out
--text abc.txt --learning-rate 0.1,0.2:
    --text is given: expected one learning rate, and --loss cross_entropy or no --loss
--text abc.txt --generate 3:
    --generate is given with --text: use --sample N for a text of the network
--sample 3:
    --sample is given without --text: it is for a text; leave it out
--resume w.npz --trace t.npz:
    --trace and --resume are both given: a trace records a whole run; leave one of them out
--epochs 0 --trace t.npz:
    --trace and --epochs 0 are both given: expected 1 or more epochs, or no trace
--no-plot --plot a.png:
    --no-plot is given with --plot or --show: expected one or the other; leave one out
compare:
    the following arguments are required: OTHER; see python -m numpy_rnn compare --help
compare none --held-out 3:
    unknown argument '--held-out' (did you mean --plot?); see python -m numpy_rnn compare --help\
""")
