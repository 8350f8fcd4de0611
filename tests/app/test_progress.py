"""The progress bar, by tqdm: on a terminal only, with epoch and loss; rows of output stay whole."""

import io
import re
from contextlib import redirect_stderr

import pytest
from in_process import main, succeed

import numpy_rnn
from numpy_rnn.app import terminal

RUN = ["--epochs", "12", "--log-every", "2", "--no-plot"]


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("options", [[], ["--quiet"], ["--no-progress"]], ids=str)
def test_bar_on_a_terminal(capsys, monkeypatch, options):
    monkeypatch.setattr(terminal, "DELAY", 0)
    expected = succeed(numpy_rnn, capsys, *RUN, *options)
    with redirect_stderr(Terminal()) as stream:
        assert main(numpy_rnn, [*RUN, *options]) == 0
    assert capsys.readouterr().out == expected
    bars = re.findall(r"numpy_rnn: +\d+%\|[^|]*\| \d+/240 \[[^\]]*, epoch=\d+, loss=[^\]]+\]", stream.getvalue())
    assert bool(bars) == (options == [])
    assert not bars or re.search(r"\r +\r$", stream.getvalue())  # it is removed at the end


def test_bar_counts_from_where_a_run_is_resumed(capsys, monkeypatch):
    monkeypatch.setattr(terminal, "DELAY", 0)
    succeed(numpy_rnn, capsys, "--epochs", 5, "--save", "r.npz", "--no-plot")
    with redirect_stderr(Terminal()) as stream:
        assert main(numpy_rnn, ["--resume", "r.npz", "--epochs", "12", "--no-plot"]) == 0
    assert {int(done) for done in re.findall(r" (\d+)/240 ", stream.getvalue())} >= {100}
