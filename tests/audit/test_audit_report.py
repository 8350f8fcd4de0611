"""The assertions of a report, what it counts, and what an audit leaves as it is."""

import contextlib
import inspect
import os
import re
import site
import warnings
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.modules import module as module_hooks
from torch.optim import optimizer as optimizer_hooks

import torch_rnn
from tests.audit import loops
from tests.helpers.audited_loops import audited, source
from torch_rnn.loop_audit.events import Origin
from torch_rnn.loop_audit.findings import FINDINGS
from torch_rnn.loop_audit.sentences import counted
from torch_rnn.loop_audit.torch_internals import LOSSES_OF_OPERATORS, LOSSES_OF_TORCH

pytestmark = [
    pytest.mark.needs_torch,
    pytest.mark.filterwarnings("ignore:reduction. .mean"),
    pytest.mark.filterwarnings("ignore:`parameters` is an empty generator"),
]
HOOKS = [
    optimizer_hooks._global_optimizer_pre_hooks,
    optimizer_hooks._global_optimizer_post_hooks,
    module_hooks._global_parameter_registration_hooks,
]


def test_assertions_on_the_truncation():
    report = audited("right_chunks")
    report.assert_tbptt(k1=10, k2=10)
    for k1, k2 in ((5, 10), (10, 20), (20, 20)):
        with pytest.raises(AssertionError, match=rf"TBPTT\({k1}, {k2}\) is expected"):
            report.assert_tbptt(k1, k2)
    with pytest.raises(AssertionError, match="a state from zeros"):
        audited("time_and_batch_exchanged").assert_tbptt(6, 6)
    with torch_rnn.audit() as report:
        pass
    with pytest.raises(AssertionError, match="an update is expected, found none"):
        report.assert_tbptt(1, 1)


def test_a_warning_names_the_line_of_the_call():
    lines, first = inspect.getsourcelines(loops.state_exchanged)
    (place,) = (i for i, line in enumerate(lines) if "(c, h) = lstm" in line)
    (warning,) = audited("state_exchanged").warnings
    assert warning.location.endswith(f"loops.py:{first + place}")


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
    return [*(dict(table) for table in (*map(vars, owners), *HOOKS)), clip]


def test_gradient_edge_does_not_end_the_audit():
    """Its graph is not walked."""
    rnn = nn.RNN(2, 5)
    with torch_rnn.audit() as report:
        loss = rnn(torch.ones(4, 3, 2))[0].square().mean()
        torch.autograd.backward(torch.autograd.graph.get_gradient_edge(loss))
        loops.right_chunks()
    assert report.error == ""
    assert "backward() of a GradientEdge" in " ".join(str(report).split())


def test_hooks_are_removed_at_the_end():
    before = contents_of_torch()
    with torch_rnn.audit():
        assert all(HOOKS)
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


def test_clips_that_act_are_counted():
    def clip_by_keywords(parameters, limit):
        norm = torch.tensor(3.0)
        nn.utils.clip_grads_with_norm_(parameters, max_norm=limit, total_norm=norm)

    weight = nn.Parameter(torch.zeros(1))
    clips = [nn.utils.clip_grad_norm_, nn.utils.clip_grad_value_, clip_by_keywords]
    with torch_rnn.audit() as report:
        for clip in clips:
            for limit in (4.0, 2.0):
                weight.grad = torch.full((1,), 3.0)
                clip([weight], limit)
    assert [clip.acts for clip in report.loop.clips] == [False, True] * 3


def test_parameters_that_no_loss_reaches_are_told():
    """They are no mistake, as in a phase that trains others. Those that are older than
    the audit have no name.
    """
    weight, other = nn.Parameter(torch.ones(1)), nn.Parameter(torch.zeros(2, 3))
    optimizer = torch.optim.SGD([weight, other])
    with torch_rnn.audit() as report:
        for _ in range(3):
            loops.update(optimizer, weight.square().sum())
    assert report.warnings == []
    assert "1 parameter with no gradient or no step: Parameter (2, 3)" in str(report)


def test_a_state_of_zeros_is_carried_from_nowhere():
    """Also where an earlier pass has returned zeros, as one of relu may."""
    rnn = nn.RNN(2, 5, nonlinearity="relu")
    for p in rnn.parameters():
        nn.init.constant_(p, -1.0)
    with torch_rnn.audit() as report:
        for _ in range(2):
            _, h = rnn(torch.ones(3, 1, 2), torch.zeros(1, 1, 5))
    assert not h.any()
    origins = [forward.state[0].origin for forward in report.loop.forwards]
    assert origins == [Origin.ZEROS] * 2


def test_gradients_that_are_given_to_backward_are_told():
    """As those of a state, which joins windows: their truncation is not counted."""
    rnn, optimizer = loops.modules()
    with torch_rnn.audit() as report:
        for _ in range(3):
            optimizer.zero_grad()
            _, h = rnn(loops.batch())
            cut = h.detach().requires_grad_()
            rnn(loops.batch(), cut)[0].square().mean().backward()
            h.backward(cut.grad)
            optimizer.step()
    assert "TBPTT" not in str(report)
    assert "backward() with a gradient of a state joins" in " ".join(
        str(report).split()
    )


def test_readme_names_each_warning_and_question():
    text = (Path(torch_rnn.__file__).parent / "README.md").read_text(encoding="utf-8")
    for title, is_question in (("| warning |", False), ("| question |", True)):
        table = text[text.index(title) :].partition("\n\n")[0]
        rows = [row.split(" | ")[0] for row in table.split("\n")[2:]]
        names = {name for row in rows for name in re.findall("`([a-z-]+)`", row)}
        known = {n for n, f in FINDINGS.items() if f.is_question is is_question}
        assert names == known


def test_gradient_begins_at_the_last_output_with_a_loss():
    rnn, optimizer = loops.modules()
    with torch_rnn.audit() as report:
        for _ in range(3):
            loops.update(optimizer, rnn(loops.batch())[0][:4].square().mean())
    assert "loss at 4 steps" in report.description


def test_list_that_is_cut_says_how_many_more_follow():
    assert counted("aa") == "a"
    assert counted("aabcd") == "a in 2, b in 1, c in 1 and d in 1"
    assert counted("aabcdef").endswith("d in 1 and 2 others")
