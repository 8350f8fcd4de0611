"""The README is true: its commands, its programs and their output come from runs like these."""

import ast
import inspect
import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
from children import run as run_program
from in_process import main
from numpy.lib.stride_tricks import sliding_window_view

import numpy_rnn
from numpy_rnn.app.configuration import Configuration
from numpy_rnn.app.experiment import prepare
from numpy_rnn.app.options import configuration_of, parser
from numpy_rnn.app.run import run
from numpy_rnn.conformance.mutants.score import score_board
from numpy_rnn.conformance.ports.python_port import load_python_port
from numpy_rnn.conformance.properties import check_port_global, check_port_lockstep
from numpy_rnn.conformance.strategies import profile
from numpy_rnn.conformance.traces import drift
from numpy_rnn.figures import cosine_bias

bptt = sys.modules["numpy_rnn.bptt"]  # the module, as numpy_rnn.bptt is the function
TOP = Path(__file__).parent.parent
README = (TOP / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)\n```", README, re.DOTALL)
PYTHON = [text for language, text in BLOCKS if language == "python"]
PROGRAMS = [text for text in PYTHON if text.startswith("import ")]


def output_after(start):
    """The block of text that follows the first occurrence of `start`."""
    return re.search(r"```text\n(.*?)\n```", README[README.index(start) :], re.DOTALL).group(1)


def assert_same_output(printed, expected):
    """The same words, and numbers that differ by one unit of the last printed digit at most."""
    number = re.compile(r"-?\d+\.\d+(?:e[+-]\d+)?")
    assert number.sub("#", printed) == number.sub("#", expected)
    for one, other in zip(number.findall(printed), number.findall(expected), strict=True):
        digits = len(other.split("e")[0].split(".")[1])
        exponent = int(other.split("e")[1]) if "e" in other else 0
        assert abs(float(one) - float(other)) <= 1.01 * 10 ** (exponent - digits), f"{one} for {other}"


def test_the_two_programs_are_one():
    by_numpy, by_torch_too = PROGRAMS[:2]
    assert by_numpy.replace("import numpy_rnn as rnn", "import torch_rnn as rnn") == by_torch_too


def test_the_step_by_hand_and_that_of_torch_print_the_same():
    assert len(PROGRAMS) == 6
    assert output_after(PROGRAMS[3]) == output_after(PROGRAMS[4])


def by_torch(number):
    return pytest.param(number, marks=pytest.mark.needs_torch)


@pytest.mark.slow
@pytest.mark.parametrize("number", [0, by_torch(1), 3, by_torch(4), 5])  # 2 is the port to paste
def test_programs_print_what_the_readme_says(number, tmp_path):
    (tmp_path / "program.py").write_text(PROGRAMS[number], encoding="utf-8")
    done = run_program([sys.executable, "-W", "error", tmp_path / "program.py"], cwd=tmp_path, check=True)
    assert_same_output(done.stdout.strip(), output_after(PROGRAMS[number]))


def without_docstring(function):
    """The source of a function, without its docstring."""
    lines = inspect.getsource(function).rstrip().splitlines()
    [definition] = ast.parse("\n".join(lines)).body
    docstring = definition.body[0]
    return "\n".join(lines[: docstring.lineno - 1] + lines[docstring.end_lineno :])


def test_the_gradient_is_the_code_and_the_equations_those_of_the_derivation():
    [shown] = [text for text in PYTHON if text not in PROGRAMS]
    functions = bptt.backward, bptt.weight_gradients, bptt.sum_over_steps, bptt.fold_time
    assert shown == "\n\n\n".join(map(without_docstring, functions))
    derivation = (TOP / "numpy_rnn" / "DERIVATION.md").read_text(encoding="utf-8")
    equations = [re.findall(r"^\| (\(B\d+\)) \| (.*?) \|", text, re.M) for text in (README, derivation)]
    assert equations[0] == equations[1]
    assert [name for name, _ in equations[0]] == re.findall(r"\*\*(\(B\d+\))\*\*", derivation)


def test_loss_columns_are_those_of_a_run():
    """Every printed loss, of both packages, is what numpy_rnn gives here, within the spread of runs an ulp apart."""
    configuration = Configuration()
    experiment = prepare(configuration)
    losses = run(numpy_rnn, experiment, configuration).losses
    spread = drift.measure(losses, [losses], experiment, configuration).spread
    rows = re.findall(r"^ +(\d+) +(\d\.\d{6}) +(\d\.\d{6}) +\S+$", output_after("What the first command prints"), re.M)
    assert [int(row[0]) for row in rows] == [1, *range(10, 301, 10)]
    for epoch, *columns in rows:
        at = int(epoch) - 1
        for printed in columns:
            assert abs(float(printed) - losses[at]) <= drift.ALARM * spread[at] + 0.5e-6


def test_every_bound_in_the_readme_holds():
    output = output_after("What the first command prints")
    ratios = [
        float(number)
        for row in re.findall(r"^\w+ +[A-Z]\d.* (\d\.\d{3}) +(\d\.\d{3})$", output, re.M)
        for number in row
    ]
    assert len(ratios) == 30
    assert all(ratio <= 1 for ratio in ratios)
    table = [line for line in README.splitlines() if re.match(r"\| \w+ \| [A-Z]\d", line)]
    assert len(table) == 26
    for line in table:
        cells = [float(cell) for cell in line.split("|")[3:-1]]
        assert len(cells) == 8
        assert all(cell <= 1 for cell in cells)


def test_the_port_to_paste_passes(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "my_rnn_of_the_readme.py").write_text(PROGRAMS[2], encoding="utf-8")
    port = load_python_port("my_rnn_of_the_readme:port")
    for dtype in port.dtypes:
        check_port_global(port, dtype, profile("default"))
        check_port_lockstep(port, dtype, profile("default"))


def test_score_board_is_that_of_a_run():
    shown = output_after("A survivor fails the tests").splitlines()
    scores = score_board()
    count = len({score.mutant for score in scores})
    assert shown[-1] == f"{count} known mistakes, {len(scores)} trials, 0 survived"
    assert f"makes {count} known mistakes" in README
    names = {score.mutant.name for score in scores}
    for line in shown[1:-1]:
        assert line[:58].strip() in names


def test_commands_of_the_readme_can_be_parsed(capsys):
    commands = [
        line.split("#")[0].strip() for language, text in BLOCKS if language == "sh" for line in text.splitlines()
    ]
    ours = [shlex.split(command) for command in commands if command.startswith("python -m numpy_rnn ")]
    ours += [shlex.split(command) for command in commands if command.startswith("python -m torch_rnn ")]
    assert len(ours) >= 6
    for _, _, name, *arguments in ours:
        arguments = arguments if arguments[0] in ("compare", "study") else ["train", *arguments]
        parser(name).parse_args(arguments)
    for command in ("train", "compare", "study"):
        with pytest.raises(SystemExit):
            main(numpy_rnn, [command, "--help"])
    help_text = capsys.readouterr().out
    for option in re.findall(
        r"(?<![\w-])--(?!elman|pyargs|backend|packages|perturb|quiet|updates|full)[a-z][a-z0-9-]+", README
    ):
        assert option in help_text, option


# -- the sunspots ---------------------------------------------------------------------------------------------------


def command_of_the_sunspots():
    [command] = [line for line in README.splitlines() if "--data tests/sunspots.csv" in line]
    return shlex.split(command)[3:]


def number_in_the_table(row):
    return [float(number) for number in re.findall(r"\d+\.\d+", re.search(rf"^\| {row}.*\| (.+) \|$", README, re.M)[1])]


def error_of_autoregression(series, years, held_out):
    """The held-out root mean square error of a linear model of the last years, fitted to all others."""
    before = sliding_window_view(series, years)[:-1]
    inputs, targets = np.column_stack([before, np.ones(len(before))]), series[years:]
    weights = np.linalg.lstsq(inputs[:-held_out], targets[:-held_out], rcond=None)[0]
    return np.sqrt(np.square(inputs @ weights - targets)[-held_out:].mean())


@pytest.mark.slow
def test_the_networks_predict_the_sunspots_as_well_as_the_readme_says(monkeypatch):
    """All numbers of the table, to one unit of their last digit; and what is said of them."""
    monkeypatch.chdir(TOP)
    configuration = configuration_of(parser("numpy_rnn").parse_args(["train", *command_of_the_sunspots()]))
    experiment = prepare(configuration)
    result = run(numpy_rnn, experiment, configuration)
    spots = experiment.scaling.original(result.predictions)[-50:, :, 0, 0]
    series = np.loadtxt("tests/sunspots.csv", delimiter=",", skiprows=1)[:, 1]
    errors = np.sqrt(np.square(spots - series[-50:, None]).mean(axis=0))
    low, median, high = np.quantile(errors, (0.1, 0.5, 0.9))
    persistence = np.sqrt(np.square(np.diff(series)[-50:]).mean())
    of_2, of_9 = (error_of_autoregression(series, years, 50) for years in (2, 9))
    for row, found, unit in (
        ("the last year again", [persistence], 0.01),
        ("linear autoregression on 2 years", [of_2], 0.01),
        ("linear autoregression on 9 years", [of_9], 0.01),
        ("the network, median", [median], 0.1),
        ("the network, 10th to 90th", [low, high], 0.1),
    ):
        np.testing.assert_allclose(number_in_the_table(row), found, rtol=0, atol=unit)
    assert median < of_9 < errors.max() < of_2 < persistence


@pytest.mark.slow
def test_the_command_for_the_sunspots_prints_what_the_readme_shows(monkeypatch, capsys):
    """In words, times and counts. The last digits of the other numbers depend on the processor."""

    def shape(line):
        return " ".join(re.sub(r"-?\d+\.\d{6}", "#", line).split())

    monkeypatch.chdir(TOP)
    assert main(numpy_rnn, [*command_of_the_sunspots(), "--no-plot"]) == 0
    printed = [shape(line) for line in capsys.readouterr().out.splitlines()]
    *shown, picture = output_after("from 32 initial weights at once").splitlines()
    assert [line for line in shown if shape(line) not in printed] == ["   ..."]
    assert picture == "picture written to numpy_rnn.png"


# -- the options ----------------------------------------------------------------------------------------------------


def rows_of_options():
    """(options, cells) of the table of what they change."""
    table = README[README.index("| options | median |") :].split("\n\n")[0].splitlines()[2:]
    rows = [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in table]
    return [(options.replace("none", "").split(), cells) for options, *cells in rows]


@pytest.mark.parametrize(("options", "cells"), rows_of_options())
def test_options_change_the_loss_as_the_readme_says(options, cells):
    """To one unit of the one digit that is given; and where networks diverge without clipping, none does with it."""
    configuration = configuration_of(parser("numpy_rnn").parse_args(["train", *options, "--seeds", "32"]))
    result = run(numpy_rnn, prepare(configuration), configuration)
    diverged = 32 - result.converged().sum()
    if "diverge" in cells[1]:
        assert 32 / 4 < diverged < 32 / 2
        return
    assert diverged == 0
    given = [float(number) for number in re.findall(r"[\d.]+", " ".join(cells))]
    assert len(given) == 3
    for number, found in zip(given, np.quantile(result.losses[-1], (0.5, 0.1, 0.9)), strict=True):
        assert abs(number - found) <= 10 ** np.floor(np.log10(number)), (number, found)


# -- the other figures ----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_cosines_in_the_readme_are_those_of_32_seeds():
    text = README[README.index("A figure of this kind") :]
    cosines = {kind: of["cosine"][:, 4] for kind, of in cosine_bias.measure()["end"].items()}  # k = 5
    for kind, start in (("sliding", "a sliding window of 5 steps has"), ("chunks", "chunks of 5 steps have")):
        median, low, high = re.search(start + r".*?(\d\.\d\d).*?(\d\.\d\d) to\s(\d\.\d\d)", text, re.S).groups()
        found = np.percentile(cosines[kind], (10, 50, 90))
        np.testing.assert_allclose([float(low), float(median), float(high)], found, rtol=0, atol=0.01)
    of_seed_0, others = re.search(
        r"of 5\s+is −(\d\.\d\d), and with the other (\d+) seeds it is positive", text
    ).groups()
    np.testing.assert_allclose(-float(of_seed_0), cosines["chunks"][0], rtol=0, atol=0.01)
    assert (cosines["chunks"][1:] > 0).sum() == int(others) == len(cosines["chunks"]) - 1


@pytest.mark.needs_matplotlib
def test_the_same_numbers_make_the_same_drawing(tmp_path):
    for name in ("one.svg", "other.svg"):
        cosine_bias.draw(tmp_path / name, seeds=2)
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "other.svg").read_bytes()


def test_links_lead_somewhere():
    links = re.findall(r"\]\((?!https:)([^)#]+)\)", README)
    assert len(links) > 12
    for link in links:
        assert (TOP / link).exists(), link


def test_ci_runs_the_test_command_as_written():
    """`.ci/run` takes the command from the README: exactly one line is it."""
    lines = [line for line in README.splitlines() if re.match(r"python3 -m venv .* pytest", line)]
    assert len(lines) == 1
    assert "grep -E '^python3 -m venv .* pytest' README.md" in (TOP / ".ci" / "run").read_text(encoding="utf-8")
