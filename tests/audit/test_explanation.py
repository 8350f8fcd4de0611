"""Exceptions of autograd have a note, which Python prints below the traceback."""

import subprocess
import sys

import pytest
import torch

import torch_rnn
from tests.audit import loops
from tests.helpers.audited_loops import source

pytestmark = pytest.mark.needs_torch
TWICE = "loss.backward()\n            loss.backward()\n"
CHUNK = "out, h = rnn(series[i : i + 10], h.detach())"
IN_STEPS = f"{CHUNK}; out = out.tanh(); out[0] = 0"
SERIES = "series = torch.sin(torch.linspace(0, 20, 41)).reshape(-1, 1, 1)"
SHARED = f"{SERIES} * nn.Parameter(torch.ones(1))"


@pytest.mark.parametrize(
    ("old", "new", "parts"),
    [
        (
            "h.detach()",
            "h",
            ["into the graph that <string>:", "before update 1: a back"],
        ),
        ("h.detach()", "h", ["Cut the state that is passed on, as by"]),
        ("loss.backward()", TWICE, ["is in it again", "Begin each sum of losses at 0"]),
        (SERIES, SHARED, ["Compute what is shared again for each update"]),
        (CHUNK, IN_STEPS, ["changed in place, as by x[i] = ... or"]),
    ],
)
def test_exception_has_a_note(old, new, parts):
    with pytest.raises(RuntimeError) as caught, torch_rnn.audit():
        exec(source("right_chunks", old, new), {})
    (note,) = caught.value.__notes__
    assert note.startswith("audit: in backward() of <string>:")
    assert [part for part in parts if part not in note] == []


def train_attached():
    """Pass a state on with its graph, over steps of an optimizer."""
    rnn, optimizer = loops.modules()
    h = torch.zeros(1, 3, 5)
    for _ in range(3):
        optimizer.zero_grad()
        out, h = rnn(loops.batch(), h)
        out.square().mean().backward(retain_graph=True)
        optimizer.step()


def test_step_changes_what_an_attached_state_needs():
    with pytest.raises(RuntimeError) as caught, torch_rnn.audit():
        train_attached()
    (note,) = caught.value.__notes__
    assert "its values have changed since, as by the step of an optimizer" in note


def test_other_exceptions_have_none():
    with pytest.raises(RuntimeError) as caught, torch_rnn.audit():
        raise RuntimeError("another one")
    assert not hasattr(caught.value, "__notes__")


@pytest.mark.slow
def test_explanation_is_the_last_thing_that_is_printed(tmp_path):
    (tmp_path / "train.py").write_text(source("right_chunks", "h.detach()", "h"))
    command = [sys.executable, "-m", "torch_rnn", "audit", "train.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    last = done.stderr.strip().split("\n")[-1]
    assert done.returncode == 1
    assert last.startswith("audit: in backward() of train.py:")
    assert "-- audit" in done.stderr.split("Traceback")[0]
