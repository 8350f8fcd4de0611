"""The assertions of a report, what it counts, and what an audit leaves as it is."""

import contextlib
import os
import site
import warnings
from pathlib import Path

import pytest
import torch
from torch import nn

import torch_rnn
from numpy_rnn.common.errors import InputError
from tests.audit import loops
from tests.helpers.audited_loops import audited, source
from torch_rnn.loop_audit.torch_internals import LOSSES_OF_OPERATORS, LOSSES_OF_TORCH
from torch_rnn.loop_audit.updates import UpdateRecorder

pytestmark = [
    pytest.mark.needs_torch,
    pytest.mark.filterwarnings("ignore:reduction. .mean"),
    pytest.mark.filterwarnings("ignore:`parameters` is an empty generator"),
]


def test_assertions_on_the_truncation():
    report = audited("right_chunks")
    report.assert_tbptt(k1=10, k2=10)
    for k1, k2 in ((5, 10), (10, 20), (20, 20)):
        with pytest.raises(AssertionError, match=rf"expected TBPTT\({k1}, {k2}\)"):
            report.assert_tbptt(k1, k2)
    with pytest.raises(AssertionError, match="each window from zeros"):
        audited("time_and_batch_exchanged").assert_tbptt(6, 6)
    with torch_rnn.audit() as report:
        pass
    with pytest.raises(AssertionError, match="no update was seen"):
        report.assert_tbptt(1, 1)
    with pytest.raises(InputError, match="updates is 0"), torch_rnn.audit(updates=0):
        pass
    with (
        pytest.raises(InputError, match="unknown warning 'x'"),
        torch_rnn.audit(ignore=["x"]),
    ):
        pass


@pytest.mark.parametrize("chunk", [1, 4, 10])
def test_k1_and_k2_are_counted(chunk):
    end = f"t % {chunk} == {chunk - 1}"
    program = source("right_cells", "t % 5 == 4", end)
    with torch_rnn.audit() as report:
        exec(program, {})
    report.assert_tbptt(chunk, chunk)


def test_place_of_a_loss_in_a_library_is_its_call_in_the_script():
    """What `pip install --user` has installed is no part of the script."""
    library = os.path.join(site.getusersitepackages(), "library", "losses.py")
    program = "def mean(x):\n    return x.mean().backward()"
    exec(compile(program, library, "exec"), namespace := {})
    with torch_rnn.audit() as report:
        namespace["mean"](torch.ones(1, requires_grad=True))
    (loss,) = report.loop.losses
    assert Path(__file__).name in loss.location


def contents_of_torch():
    """Return what an audit may replace in torch."""
    owners = [nn.Module, nn.RNNBase, nn.RNN, nn.RNNCellBase, torch.amp.GradScaler]
    owners += [torch.optim.Optimizer, torch.optim.SGD, torch.Tensor]
    owners += [torch, torch._C._nn, torch.autograd, nn.functional, nn.utils]
    clip = nn.utils.clip_grad_value_.__closure__[0].cell_contents
    return [*(dict(vars(owner)) for owner in owners), clip]


def test_hooks_are_removed_at_the_end():
    """They are removed within the block if the last update is recorded there."""
    before = contents_of_torch()
    with torch_rnn.audit(updates=4) as report:
        assert contents_of_torch() != before
        exec(source("right_cells"), {})
        assert contents_of_torch() == before
    assert "updates after the first 4 of 12" in " ".join(str(report).split())
    with torch_rnn.audit():
        pass
    assert contents_of_torch() == before


def test_numbers_and_warnings_of_torch_are_the_same():
    ends = []
    for watch in (contextlib.nullcontext, torch_rnn.audit):
        with warnings.catch_warnings(record=True) as caught, watch():
            warnings.simplefilter("always")
            out = loops.right_chunks()
            nn.functional.mse_loss(torch.ones(2, 1), torch.ones(2))
            nn.utils.clip_grad_norm_((p for p in []), 1.0)
        told = [(str(w.message), w.filename, w.lineno) for w in caught]
        ends.append((out.tolist(), torch.rand(2).tolist(), told))
    assert ends[0] == ends[1]
    assert len(told) == 2


@pytest.mark.parametrize("name", [*LOSSES_OF_OPERATORS, *LOSSES_OF_TORCH[:-1]])
def test_functions_that_were_imported_before_are_seen(name):
    arguments = {
        "cross_entropy": [torch.tensor([0])],
        "nll_loss": [torch.tensor([0])],
    }
    name = name.removesuffix("_nd").replace("cross_entropy_loss", "cross_entropy")
    shown = name.removesuffix("_loss")
    loss = getattr(nn.functional, name)
    clip = nn.utils.clip_grad_norm_
    clip_value = nn.utils.clip_grad_value_
    zeros = torch.zeros(1, 2, requires_grad=True)
    with torch_rnn.audit() as report:
        loss(zeros.sigmoid(), *arguments.get(name, [torch.ones(1, 2)])).backward()
        clip([zeros], 1.0)
        clip_value((p for p in [zeros]), 1.0)
    assert [call.name for call in report.loop.losses] == [shown]
    assert [len(clip.parameters) for clip in report.loop.clips] == [1, 1]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute")
def test_compiled_modules_run_as_without_audit():
    """torch gives no warning, which pytest would make an error."""
    cell = "cell, optimizer = cells()\n"
    compiled = f"{cell}    cell = torch.compile(cell, backend='eager')\n"
    with torch_rnn.audit() as report:
        exec(source("right_cells", cell, compiled), {})
    assert report.warnings == []
    assert "torch.compile" in str(report)


def test_error_of_the_audit_does_not_end_the_script(monkeypatch):
    monkeypatch.setattr(UpdateRecorder, "find_by_hand", lambda *_: 1 / 0)
    with torch_rnn.audit() as report:
        exec(source("right_cells") + "done = True", values := {})
    assert values["done"]
    assert "the audit ended early: ZeroDivisionError" in str(report)
