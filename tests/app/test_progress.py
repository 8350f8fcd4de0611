"""The progress bar: after two seconds, on a terminal only, with the loss and the time left; rows of output stay whole.

The clock is simulated: every update takes `pause` seconds.
"""

import io
import os
import re
import sys
import time
from contextlib import redirect_stderr, redirect_stdout

import numpy as np
import pytest
from in_process import command, configured, main, succeed, trained
from pseudo_terminal import screen

import numpy_rnn
from numpy_rnn.app import terminal
from numpy_rnn.app.report import finite_median
from numpy_rnn.app.run import Hooks
from numpy_rnn.app.terminal import Progress, progress

SERIES = "--data s.csv --held-out 5 --k1 4 --no-plot"  # 5 updates per epoch, the last one of 2 steps
STATE = r"numpy_rnn: +\d+%[^\r\n]*"


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """A list with the time, which only the test changes."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr("tqdm.std.time", lambda: now[0])
    monkeypatch.setattr("tqdm.std.tqdm.monitor_interval", 0)  # no thread that redraws a bar
    np.savetxt("s.csv", np.sin(np.arange(24)))
    return now


@pytest.fixture
def on_a_terminal(monkeypatch, clock):
    """A function that runs a command, of which every update takes `pause` seconds: (status, what the terminal got)."""

    def run(*arguments, pause=0.0625):
        def slow_advance(self, updates, *rest):
            clock[0] += pause * updates
            advance(self, updates, *rest)

        advance, stream = Progress.advance, Terminal()
        with monkeypatch.context() as patch, redirect_stdout(stream), redirect_stderr(stream):
            patch.setattr(Progress, "advance", slow_advance)
            return main(numpy_rnn, arguments), stream.getvalue().replace("\n", "\r\n")  # as a terminal gets it

    return run


@pytest.mark.parametrize("options", ["", "--seeds 3", "--learning-rate 0.1,0.02 --seeds 3 --momentum 0.5"])
def test_the_bar_shows_updates_time_left_epoch_and_median_loss(on_a_terminal, clock, capsys, options):
    """From two seconds on, ten times per second at most; the rows are those of a pipe, and the bar is gone at the end.

    60 updates of 1/16 s. Saving every update makes every one a step of the bar. Then the run is resumed.
    """
    expected = []
    hooks = Hooks(on_progress=lambda epoch, loss, _: expected.append((epoch, loss)), yield_every=1)
    trained(numpy_rnn, configured(f"{SERIES} --epochs 12 {options}"), hooks=hooks)
    command = f"{SERIES} {options} --epochs 12 --log-every 2 --save r.npz --save-every 0".split()
    in_a_pipe = succeed(numpy_rnn, capsys, *command)
    status, text = on_a_terminal(*command)
    assert (status, screen(text)) == (0, [*(line.rstrip() for line in in_a_pipe.splitlines()), ""])
    shown = check_states(text, expected)
    assert shown == list(range(32, 61, 2))
    succeed(numpy_rnn, capsys, *command[:-1], "30", "--epochs", 7)
    status, text = on_a_terminal("--resume", "r.npz", "--epochs", 12, "--no-plot", pause=1)
    assert status == 0
    assert check_states(text, expected) == [40, 45, 50, 55, 60]  # an epoch takes 5 s


def check_states(text, expected):
    """Check every state of the bar against (epoch, loss) of its update. Returns the numbers of updates."""
    form = r"numpy_rnn: +(\d+%)\|[^|]*\| (\d+)/(\d+) \[\d\d:\d\d<(?:\d\d:\d\d|\?), [^,]+, epoch=(\d+), loss=([^]]+)\] *"
    shown, total = [], len(expected)
    for state in re.findall(STATE, text):
        found = re.fullmatch(form, state).groups()
        done = int(found[1])
        epoch, losses = expected[done - 1]
        wanted = f"{100 * done / total:.0f}%", str(done), str(total), str(epoch), f"{finite_median(losses):.3g}"
        assert found == wanted
        shown += [done] * (shown[-1:] != [done])
    return shown


@pytest.mark.parametrize(("pause", "options"), [(0.03, ""), (1, "--no-progress"), (1, "--quiet"), (1, "pipe")])
@pytest.mark.parametrize("has_tqdm", [True, False])
def test_there_is_no_bar_in_a_short_run_in_a_pipe_or_if_it_is_not_wanted(
    on_a_terminal, monkeypatch, capsys, pause, options, has_tqdm
):
    if not has_tqdm:
        monkeypatch.setitem(sys.modules, "tqdm", None)
    if options == "pipe":
        monkeypatch.setattr(Terminal, "isatty", lambda self: False)
    run = [*f"{SERIES} --epochs 12".split(), *options.replace("pipe", "").split()]
    status, text = on_a_terminal(*run, pause=pause)
    assert (status, text.replace("\r", "")) == (0, succeed(numpy_rnn, capsys, *run))


def test_without_tqdm_one_line_says_so(on_a_terminal, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    status, text = on_a_terminal(*f"{SERIES} --epochs 12".split())
    lines = text.splitlines()
    lines.remove("numpy_rnn: no progress bar: tqdm is not installed")
    assert (status, lines) == (0, succeed(numpy_rnn, capsys, *f"{SERIES} --epochs 12".split()).splitlines())


@pytest.mark.parametrize("rates", ["0.1,0.5", "0.5"])
def test_the_message_of_a_divergence_does_not_break_the_bar(on_a_terminal, capsys, rates):
    """One network diverges and the other continues; or the run ends, and the bar is removed."""
    run = f"--k1 4 --epochs 8 --log-every 1 --no-plot --nonlinearity relu --seed 2 --learning-rate {rates}".split()
    status, text = on_a_terminal(*run, pause=0.2)
    in_pipes = command(numpy_rnn, capsys, *run)
    assert status == in_pipes.status == (0 if "," in rates else 3)
    assert re.search(STATE, text)
    assert sorted(screen(text)) == sorted(["", *in_pipes.out.splitlines(), *in_pipes.err.splitlines()])


def test_a_bar_counts_from_where_a_run_is_resumed_and_may_change_its_total(monkeypatch, clock):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with progress("name", 200, "updates", done=150) as bar:
        bar.advance()
        clock[0] += 3
        bar.advance(2, total=300)
        assert "| 153/300 [" in str(bar.bar)
    with progress("name", 60, "updates", done=60) as bar:  # nothing is left to do
        clock[0] += 3
        bar.advance()
        assert bar.bar is None


@pytest.mark.parametrize(
    ("columns", "parts"), [(40, "{remaining}{postfix}"), (80, "{n_fmt}/{total_fmt} [{elapsed}<{remaining}"), (100, "")]
)
def test_a_narrow_terminal_has_fewer_details_and_an_unknown_width_is_100(monkeypatch, columns, parts):
    monkeypatch.setattr(os, "get_terminal_size", lambda *_: os.terminal_size((columns, 20)))
    monkeypatch.setattr(sys, "stderr", sys.__stderr__)
    options = terminal._width()
    assert options["dynamic_ncols"]
    assert parts in options.get("bar_format", "")
    assert ("{n_fmt}" in options.get("bar_format", "")) == (columns == 80)
    monkeypatch.setattr(os, "get_terminal_size", lambda *_: os.terminal_size((0, 0)))  # as under `script`
    assert terminal._width() == {"ncols": 100}
