"""Exceptions of autograd have a note, which Python prints below the traceback."""

import subprocess
import sys

import pytest

import torch_rnn
from tests.helpers.audited_loops import source

pytestmark = pytest.mark.needs_torch
RETAINED = "h)\n            loss = 0", "h)\n"
TWICE = "loss.backward()\n            loss.backward()\n"
SHARED = "out, h = rnn(shared[i : i + 10], h.detach())"
IN_STEPS = "out, h = rnn(series[i : i + 10], h.detach()); out = out.tanh(); out[0] = 0"


@pytest.mark.parametrize(
    ("loop", "old", "new", "parts"),
    [
        (
            "right_chunks",
            "h.detach()",
            "h",
            ["goes on into the graph that <string>:", "before update 1", "h.detach()"],
        ),
        (
            "state_attached",
            "backward(retain_graph=True)\n",
            "backward(retain_graph=True)\n        nn.utils.vector_to_parameters("
            "torch.zeros(0), [])\n",
            [],
        ),
        (
            "right_chunks",
            "loss.backward()",
            TWICE,
            ["is in it again", "Begin each sum"],
        ),
        ("right_chunks", "out, h = rnn(series[i : i + 10], h.detach())", SHARED, [""]),
        (
            "right_chunks",
            "out, h = rnn(series[i : i + 10], h.detach())",
            IN_STEPS,
            ["changed in place"],
        ),
    ],
)
def test_exception_has_a_note(loop, old, new, parts):
    program = source(loop, old, new)
    if "shared" in new:
        program = program.replace(
            "    for _ in range(3):\n        h = torch.zeros(1, 1, 5)",
            "    shared = series * nn.Parameter(torch.ones(1))\n"
            "    for _ in range(3):\n        h = torch.zeros(1, 1, 5)",
        )
    if not parts:
        with torch_rnn.audit():
            exec(program, {})
        return
    with pytest.raises(RuntimeError) as caught, torch_rnn.audit():
        exec(program, {})
    (note,) = caught.value.__notes__
    assert note.startswith("audit: in backward() of <string>:")
    assert [part for part in parts if part not in note] == []


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
