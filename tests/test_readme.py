"""The README is true: its commands, its programs and their output come from runs like these."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import numpy_rnn
from numpy_rnn.common.arguments import parser
from numpy_rnn.common.command_line import main
from numpy_rnn.common.runs.configuration import Configuration
from numpy_rnn.common.runs.experiment import prepare
from numpy_rnn.common.runs.run import run
from numpy_rnn.conformance.mutants.score import score_board
from numpy_rnn.conformance.ports.python_port import load_python_port
from numpy_rnn.conformance.properties import hold_global, hold_lockstep
from numpy_rnn.conformance.strategies import profile
from numpy_rnn.conformance.traces import drift

TOP = Path(__file__).parent.parent
README = (TOP / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)\n```", README, re.DOTALL)
PROGRAMS = [text for language, text in BLOCKS if language == "python"]


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


@pytest.mark.parametrize("number", [0, by_torch(1), 3, by_torch(4), 5])  # 2 is the port to paste
def test_programs_print_what_the_readme_says(number, tmp_path):
    (tmp_path / "program.py").write_text(PROGRAMS[number], encoding="utf-8")
    command = [sys.executable, "-W", "error", tmp_path / "program.py"]
    done = subprocess.run(command, cwd=TOP, capture_output=True, text=True, check=True, env=None)
    assert_same_output(done.stdout.strip(), output_after(PROGRAMS[number]))


def test_loss_columns_are_those_of_a_run():
    """Every printed loss, of both packages, is what numpy_rnn gives here, within the spread of runs an ulp apart."""
    configuration = Configuration()
    experiment = prepare(configuration)
    losses = run(numpy_rnn, experiment, configuration).losses
    spread = drift.measure(losses, losses, experiment, configuration).spread
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
        hold_global(port, dtype, profile("default"))
        hold_lockstep(port, dtype, profile("default"))


def test_score_board_is_that_of_a_run():
    shown = output_after("A survivor fails\nthe tests").splitlines()
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
    with pytest.raises(SystemExit):
        main(numpy_rnn, ["--help"])
    help_text = capsys.readouterr().out
    for option in re.findall(
        r"(?<![\w-])--(?!elman|pyargs|backend|packages|quiet|json|help|updates|full|output)[a-z][a-z0-9-]+", README
    ):
        assert option in help_text, option


def test_the_command_for_the_sunspots_learns_a_series_of_that_kind(rnn, tmp_path, monkeypatch, capsys):
    """Made here: cycles of eleven years with noise. A month ahead the network is better than the last value again, and
    by itself it stays in their range.
    """
    monkeypatch.chdir(tmp_path)
    months = np.arange(1200)
    spots = 100 - 80 * np.cos(months * 2 * np.pi / 132) + np.random.default_rng(0).normal(0, 15, len(months))
    lines = [f"{1749 + month / 12:.3f},{spot:.1f}" for month, spot in zip(months, spots, strict=True)]
    Path("sunspots.csv").write_text("\n".join(["month,sunspots", *lines]), encoding="utf-8")
    [command] = [line for line in README.splitlines() if "--data sunspots.csv" in line]
    arguments = shlex.split(command.replace("--epochs 200", "--epochs 40"))[3:]
    assert main(rnn, [*arguments, "--no-plot"]) == 0
    out = capsys.readouterr().out
    for what in ("trained on, 959 steps", "held out, 240 steps"):
        network, last_value = map(float, re.search(rf"{what} +(\S+) +(\S+)", out).groups())
        assert network < last_value
    freely = [float(value) for value in re.findall(r"^ +\d+ +\S+ +\S+ +(\d+\.\d+)$", out, re.MULTILINE)]
    assert len(freely) == 40
    assert 0 < min(freely) <= max(freely) < 250


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
