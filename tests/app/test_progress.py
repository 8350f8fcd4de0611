"""The progress bar: on a terminal, after two seconds, with loss and time left; nothing of it in a pipe."""

import io
import re
import subprocess
import sys

import numpy as np
import pytest
from in_process import command, succeed
from pseudo_terminal import COLUMNS, run_on_a_terminal, screen, text_of
from tqdm import tqdm

import numpy_rnn
from numpy_rnn.app import terminal
from numpy_rnn.app.report import finite_median
from numpy_rnn.app.terminal import Progress

# The command line, with updates that take longer than they need to; so that a run lasts without computing all the time.
pytestmark = pytest.mark.slow

SLOW = """
import sys, time
from numpy_rnn.__main__ import main
from numpy_rnn.app import terminal

advance = terminal.Progress.advance

def slow_advance(self, updates, details):
    time.sleep({pause} * updates)
    advance(self, updates, details)

terminal.Progress.advance = slow_advance
{more}
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(autouse=True)
def _in_a_new_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def on_a_terminal(*arguments, pause=0.0, more="", stdout=None, columns=COLUMNS):
    """(seconds since the first byte, bytes), as they come to a terminal of 240 columns; (status, what a pipe for stdout
    got), if there is one.
    """
    program = [sys.executable, "-c", SLOW.format(pause=pause, more=more), *map(str, arguments)]
    return run_on_a_terminal(program, stdout=stdout, columns=columns)


def bars(text):
    """Every state of the bar that was drawn."""
    return re.findall(r"numpy_rnn: +\d+%[^\r\n]*", text)


def test_a_terminal_that_does_not_know_its_width_has_a_bar_too():
    """As under `script`, or in a container."""
    pieces, status, _ = on_a_terminal("--k1", 4, "--epochs", 10, "--no-plot", pause=0.05, columns=0)
    assert status == 0
    states = bars(text_of(pieces))
    assert states
    assert all("epoch=" in state and len(state) <= terminal.WIDTH for state in states)


LONG_RUN = """
terminal.DELAY = 0.1
made, slow = [], terminal.Progress.advance

def until_interrupted(*arguments):
    made.append(1)
    if len(made) == 60:
        raise KeyboardInterrupt
    slow(*arguments)

terminal.Progress.advance = until_interrupted
"""


@pytest.mark.parametrize("columns", [60, 80])
def test_on_a_narrow_terminal_the_loss_is_whole(columns):
    """And the bar is wider than one character, of a run of ten million updates too."""
    pieces, status, _ = on_a_terminal("--epochs", 500_000, "--no-plot", pause=0.01, more=LONG_RUN, columns=columns)
    assert status == 130
    states = bars(text_of(pieces))
    assert states
    for state in states:
        bar, loss = re.fullmatch(
            r"numpy_rnn: +\d+%\|([^|]*)\|.*, epoch=\d+, loss=([\d.e+-]+)\]", state.rstrip()
        ).groups()
        assert len(bar) >= 4
        assert float(loss) > 0
        assert len(state) <= columns


def test_on_a_terminal_a_bar_appears_after_two_seconds_and_is_gone_in_the_end(capsys):
    """A run of about three seconds: 60 updates of 0.05 s, with a row of the losses every half second."""
    options = ["--k1", 4, "--epochs", 12, "--log-every", 2, "--no-plot"]
    pieces, status, _ = on_a_terminal(*options, pause=0.05)
    assert status == 0
    text = text_of(pieces)
    shown = [moment for moment, piece in pieces if b"%|" in piece]
    assert shown[0] >= terminal.DELAY - 0.1  # the first line may reach the terminal a moment before the run begins
    states = bars(text)
    assert len(states) >= 3
    number = r"([\d.e+-]+)"
    form = rf"numpy_rnn: +(\d+)%\|[^|]*\| (\d+)/(\d+) \[\d\d:\d\d<(\d\d:\d\d), [^,]+, epoch=(\d+), loss={number}\]"
    lefts = []
    for state in states:
        percent, done, total, left, epoch, loss = re.fullmatch(form, state.rstrip()).groups()
        assert int(total) == 60
        assert int(percent) == int(done) * 100 // 60 or int(percent) == round(int(done) * 100 / 60)
        assert int(epoch) == -(-int(done) // 5)
        lefts.append(left)
        assert float(loss) > 0
    assert "00:00" <= lefts[-1] <= lefts[0]
    # What stays on the screen is what a pipe gets: no row is broken, and of the bar nothing is left.
    assert screen(text) == [*succeed(numpy_rnn, capsys, *options).splitlines(), ""]


def test_the_rows_go_to_a_pipe_and_the_bar_to_the_terminal(capsys):
    options = ["--k1", 4, "--epochs", 8, "--log-every", 1, "--no-plot"]
    early = "terminal.DELAY = 0.2"
    pieces, status, piped = on_a_terminal(*options, pause=0.02, more=early, stdout=subprocess.PIPE)
    assert status == 0
    assert bars(text_of(pieces))
    assert set(screen(text_of(pieces))) == {""}
    assert piped == succeed(numpy_rnn, capsys, *options)


def test_what_is_said_of_a_network_that_diverges_is_not_broken(capsys):
    """The second network diverges when the bar is already there; its line and the rows around it stay whole."""
    options = ["--k1", 4, "--epochs", 8, "--log-every", 1, "--no-plot", "--nonlinearity", "relu"]
    options += ["--learning-rate", "0.1,0.5", "--seed", 2]
    pieces, status, _ = on_a_terminal(*options, pause=0.02, more="terminal.DELAY = 0.1")
    in_pipes = command(numpy_rnn, capsys, *options)
    assert (status, in_pipes.status) == (0, 0)
    assert in_pipes.err.count("diverged") == 1
    assert bars(text_of(pieces))
    assert sorted(screen(text_of(pieces))) == sorted(["", *in_pipes.out.splitlines(), *in_pipes.err.splitlines()])


@pytest.mark.parametrize("options", [[], ["--no-progress"]], ids=["shorter than two seconds", "not wanted"])
def test_no_byte_of_a_bar(capsys, options):
    """For a short run, and for one that is longer than a delay which is made short."""
    run = ["--epochs", 4, "--k1", 1 if options else 20, "--no-plot", *options]
    more = "terminal.DELAY = 0.1" if options else ""
    pieces, status, _ = on_a_terminal(*run, pause=0.01, more=more)
    assert status == 0
    assert text_of(pieces).replace("\r\n", "\n") == succeed(numpy_rnn, capsys, *run)


def test_a_bar_is_taken_away_when_the_run_is_interrupted():
    """By a run that diverges: the line that says so stands alone."""
    options = ["--k1", 4, "--epochs", 8, "--no-plot", "--nonlinearity", "relu", "--learning-rate", 0.5, "--seed", 2]
    pieces, status, _ = on_a_terminal(*options, pause=0.02, more="terminal.DELAY = 0.1")
    assert status == 3
    assert bars(text_of(pieces))
    lines = [line for line in screen(text_of(pieces)) if line]
    assert lines[-1].startswith("numpy_rnn: the run diverged: epoch 4, update 3: loss is not finite; try ")
    assert not bars("\n".join(lines))


def test_in_a_pipe_there_is_nothing(rnn, capsys, monkeypatch):
    monkeypatch.setattr(terminal, "DELAY", 0.0)
    succeed(rnn, capsys, "--epochs", 3, "--no-plot")  # which checks that nothing is on standard error


# -- without tqdm ---------------------------------------------------------------------------------------------------

WITHOUT = "sys.modules['tqdm'] = None\n"


def test_without_tqdm_a_line_says_so_on_a_terminal(capsys):
    options = ["--k1", 4, "--epochs", 8, "--no-plot"]
    pieces, status, _ = on_a_terminal(*options, pause=0.02, more=WITHOUT + "terminal.DELAY = 0.1")
    assert status == 0
    lines = text_of(pieces).replace("\r\n", "\n").splitlines()
    assert lines.count("numpy_rnn: no progress bar: tqdm is not installed") == 1
    lines.remove("numpy_rnn: no progress bar: tqdm is not installed")
    assert lines == succeed(numpy_rnn, capsys, *options).splitlines()


@pytest.mark.parametrize(("delay", "options"), [(2.0, []), (0.1, ["--no-progress"])])
def test_without_tqdm_nothing_is_said_of_short_runs_or_where_none_is_wanted(capsys, delay, options):
    run = ["--k1", 4, "--epochs", 4, "--no-plot", *options]
    pieces, status, _ = on_a_terminal(*run, pause=0.01, more=WITHOUT + f"terminal.DELAY = {delay}")
    assert status == 0
    assert text_of(pieces).replace("\r\n", "\n") == succeed(numpy_rnn, capsys, *run)


# -- what it shows --------------------------------------------------------------------------------------------------


class Terminal(io.StringIO):
    def isatty(self):
        return True


def to_a_terminal(monkeypatch):
    """Standard error is a terminal, and nothing is waited for. In the test itself: a fixture's would be captured."""
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setattr(terminal, "DELAY", 0.0)
    monkeypatch.setattr(terminal, "REFRESH", 0.0)
    return sys.stderr


@pytest.mark.parametrize(
    ("loss", "shown"),
    [
        (np.array(0.123456), "loss=0.123"),
        (np.array([1.0, 3.0, 2.0]), "loss=2"),
        (np.array([[1.0, np.nan], [np.inf, 2.0]]), "loss=1.5"),
        (np.array([np.nan]), "loss=nan"),
    ],
)
def test_of_an_ensemble_the_median_loss_is_shown(monkeypatch, loss, shown):
    to_a_terminal(monkeypatch)
    bar = Progress("name", 10, "updates")
    bar.advance(1, lambda: {"epoch": 3, "loss": f"{finite_median(loss):.3g}"})
    assert isinstance(bar.bar, tqdm)
    assert f"epoch=3, {shown}]" in str(bar.bar)
    bar.close()


def test_a_run_that_is_resumed_begins_where_it_stood(monkeypatch):
    to_a_terminal(monkeypatch)
    bar = Progress("name", 200, "updates", done=150)
    bar.advance()
    assert "| 151/200 [" in str(bar.bar)
    bar.close()


def test_a_run_without_updates_has_no_bar(monkeypatch):
    terminal = to_a_terminal(monkeypatch)
    bar = Progress("name", 60, "updates", done=60)
    bar.advance()
    bar.close()
    assert bar.bar is None
    assert terminal.getvalue() == ""
