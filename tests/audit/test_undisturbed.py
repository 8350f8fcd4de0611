"""An audit changes nothing in the program that it watches, also where it ends early."""

import threading

import pytest
import torch
from torch import nn
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

import torch_rnn
from numpy_rnn.common.errors import InputError
from tests.audit import loops
from tests.helpers.audited_loops import source
from torch_rnn.loop_audit.graph import UseWatch
from torch_rnn.loop_audit.recorder import LoopRecorder

pytestmark = [
    pytest.mark.needs_torch,
    pytest.mark.filterwarnings("ignore:.torch.jit.script. is"),
]
REGISTER = [register_optimizer_step_pre_hook, register_optimizer_step_post_hook]


@pytest.fixture
def hook_calls():
    """Return a function that registers hooks of the script, and their calls."""
    calls = {"before": 0, "after": 0}
    handles = []

    def register(name):
        """Register a hook before and one after each step, which count their calls."""

        def count(*_):
            calls[name] += 1

        handles.extend(register(count) for register in REGISTER)

    register.calls = calls
    yield register
    for handle in handles:
        handle.remove()


def train_with_hooks(hook_calls):
    """Make 12 updates in an audit, with hooks from before it and from within it.

    Return the report.
    """
    hook_calls("before")
    with torch_rnn.audit(updates=4) as report:
        hook_calls("after")
        exec(source("right_cells"), {})
    assert hook_calls.calls == {"before": 24, "after": 24}
    return report


def test_hooks_of_the_script_at_the_limit(hook_calls):
    """torch iterates over all hooks while that of the audit ends the record."""
    report = train_with_hooks(hook_calls)
    assert (len(report.updates), report.loop.record.steps) == (4, 12)
    assert len(report.loop.forwards) == 20
    assert report.loop.record.error == ""


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (LoopRecorder, "_forward"),
        (LoopRecorder, "_begin_step"),
        (LoopRecorder, "_end_step"),
        (LoopRecorder, "_find_by_hand"),
        (UseWatch, "_add"),
    ],
)
def test_hooks_of_the_script_after_an_error(hook_calls, monkeypatch, owner, name):
    """The error is in the call of a hook, as of arguments that it has not, in a hook
    of steps, in a watched call, or within backward().
    """
    monkeypatch.setattr(owner, name, lambda *_: 1 / 0)
    report = train_with_hooks(hook_calls)
    assert "The audit ended early: ZeroDivisionError" in str(report)


def test_an_audit_within_another_is_refused():
    """The first one goes on."""
    with torch_rnn.audit() as report:
        with (
            pytest.raises(InputError, match="another audit is running") as caught,
            torch_rnn.audit(),
        ):
            pass
        assert "\n" not in str(caught.value)
        exec(source("right_cells"), {})
    report.assert_tbptt(5, 5)


def test_an_operator_that_the_script_has_kept():
    """It computes as before, and is an operator of torch.jit."""
    with torch_rnn.audit():
        kept = torch.binary_cross_entropy_with_logits

    def loss(x: torch.Tensor) -> torch.Tensor:
        return kept(x, x)

    half = torch.full((1,), 0.5, requires_grad=True)
    expected = nn.functional.binary_cross_entropy_with_logits(half, half)
    assert torch.jit.script(loss)(half) == expected == loss(half)


class Repeated(torch.optim.SGD):
    """An optimizer that makes two steps of another one."""

    def step(self, closure=None):
        """Make the steps."""
        for _ in range(2):
            self.inner.step()


def test_call_of_another_thread_may_end_after_the_audit():
    entered, leave = threading.Event(), threading.Event()
    other, _ = loops.modules()

    def wait(*_):
        entered.set()
        leave.wait()

    other.register_forward_pre_hook(wait)
    thread = threading.Thread(target=other, args=[loops.batch()])
    with torch_rnn.audit() as report:
        loops.right_cells()
        thread.start()
        entered.wait()
    leave.set()
    thread.join()
    assert report.error == ""
    assert "other threads" in " ".join(str(report).split())


def test_steps_within_a_step_are_counted_alone():
    """Also after the limit of the audit."""
    weight = nn.Parameter(torch.ones(2))
    outer = Repeated([weight])
    outer.inner = torch.optim.SGD([weight])
    with torch_rnn.audit(updates=2) as report:
        for _ in range(3):
            weight.sum().backward()
            outer.step()
    assert report.loop.record.steps == 6


def test_one_warning_is_switched_off_by_its_name():
    with torch_rnn.audit(ignore="gradients-not-zeroed") as report:
        exec(source("gradients_not_zeroed"), {})
    assert report.warnings == []
    with pytest.raises(InputError), torch_rnn.audit(ignore="gradients"):
        pass
