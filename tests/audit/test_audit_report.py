"""The assertions of a report, and what an audit leaves as it is."""

import contextlib
import runpy
import warnings

import pytest
import torch
from sections import PRELUDE, SOURCES, audited, audited_anew, run
from torch.nn.modules import module as module_hooks
from torch.optim import optimizer as optimizer_hooks

import torch_rnn
from numpy_rnn.common.errors import InputError

pytestmark = pytest.mark.needs_torch
FINISH = """
modules = [value for value in list(globals().values()) if isinstance(value, nn.Module)]
weights = [weight for module in modules for weight in module.parameters()]
numbers = [weight.double().sum().item().hex() for weight in weights]
print(numbers, torch.rand(2).tolist())
"""


def test_assertions_on_the_truncation():
    report = audited(SOURCES["chunks"])[0]
    report.assert_tbptt(k1=10, k2=10)
    assert report.warnings == []
    assert [update.number for update in report.updates] == list(range(1, 16))
    for k1, k2 in ((5, 10), (10, 20), (20, 20), (5, 5)):
        expected = rf"TBPTT\(10, 10\): .*; expected TBPTT\({k1}, {k2}\)"
        with pytest.raises(AssertionError, match=expected):
            report.assert_tbptt(k1, k2)
    with pytest.raises(AssertionError, match=r"each from zeros.*; expected TBPTT"):
        audited(SOURCES["classifier"])[0].assert_tbptt(12, 12)
    with pytest.raises(AssertionError, match="windows per update: 4"):
        audited(SOURCES["accumulated"])[0].assert_tbptt(6, 6)
    with pytest.raises(AssertionError, match=r"the state is attached; expected TBPTT"):
        audited(SOURCES["attached_and_retained"])[0].assert_tbptt(10, 10)
    with pytest.raises(AssertionError, match="no update was seen"):
        audited(PRELUDE + "nn.Linear(2, 2)(torch.ones(2))")[0].assert_tbptt(1, 1)
    with pytest.raises(InputError, match="updates is 0"), torch_rnn.audit(updates=0):
        pass


@pytest.mark.parametrize(("chunk", "k1"), [(1, 1), (4, 4), (10, 10)])
def test_k1_and_k2_are_counted(chunk, k1):
    """Of chunks of another length."""
    source = SOURCES["chunks"].replace("50, 10)", f"50, {chunk})")
    source = source.replace("i + 10]", f"min(i + {chunk}, 50)]").replace(
        "i + 11]", f"min(i + {chunk} + 1, 51)]"
    )
    audited(source)[0].assert_tbptt(k1, chunk)


def test_reach_is_that_of_the_gradient():
    """k2 is the number of inputs whose gradient is not zero, in a loop of cells and of
    a module.
    """
    for name in ("tbptt_5_15", "sliding", "chunks", "random_lengths"):
        source = (
            SOURCES[name]
            .replace("rnn(series[", "rnn(watched(series)[")
            .replace("rnn(x", "rnn(watched(x)")
        )
        seen, namespace = [], {"__name__": "__main__"}

        def watched(data, seen=seen):
            seen.append(data.clone().requires_grad_(True))
            return seen[-1]

        namespace["watched"] = watched
        with torch_rnn.audit() as report:
            assert run(source, namespace)[0] is None
        (net,) = report.modules
        reaches = [u.windows(net)[0].reach for u in report.updates]
        steps = [int(x.grad.flatten(1).any(1).sum()) for x in seen]
        assert reaches == steps


def installed():
    """What an audit installs in torch."""
    owners = [
        torch.autograd,
        torch.nn.functional,
        torch.nn.utils,
        torch.nn.utils.clip_grad,
    ]
    hooks = [
        optimizer_hooks._global_optimizer_pre_hooks,
        optimizer_hooks._global_optimizer_post_hooks,
        module_hooks._global_forward_pre_hooks,
        module_hooks._global_forward_hooks,
    ]
    return [*map(len, hooks), *(dict(vars(owner)) for owner in owners)]


def test_hooks_are_removed_at_the_end():
    """After the end of the block, and after an exception; one stays after the last
    update.
    """
    before = installed()
    with torch_rnn.audit(updates=4) as report:
        assert all(a != b for a, b in zip(installed(), before))
        exec(SOURCES["chunks"], {})
        after = installed()
        assert [a == b for a, b in zip(after, before)].count(False) == 1
    assert installed() == before
    assert len(report.updates) == 4
    assert "recorded: the first 4 of 15 updates" in str(report)
    with contextlib.suppress(ValueError), torch_rnn.audit():
        raise ValueError
    assert installed() == before


def test_eval_mode_is_seen_after_the_limit():
    """As in an epoch that is longer than the record."""
    report = audited_anew(SOURCES["left_in_eval_mode"], updates=3)[0]
    assert [warning.kind for warning in report.warnings] == ["eval mode"]
    assert "eval mode in update 5" in str(report)


@pytest.mark.parametrize(
    "name",
    ["classifier", "cells", "ppo", "wgan_gp", "sam", "amp", "closure", "exhausted"],
)
@pytest.mark.filterwarnings("ignore:`parameters` is an empty generator")
def test_weights_and_random_numbers_are_the_same(name):
    source = SOURCES[name] + FINISH
    error, printed = run(source)
    assert audited(source)[1:] == (error, printed) == (None, printed)
    assert "0x" in printed


@pytest.mark.parametrize("name", ["exhausted", "huber_of_all_pairs"])
def test_warnings_of_torch_are_the_same(name):
    """Their text, and the line that they are about; torch 2.6 has none for the
    generator.
    """
    found = []
    for watch in (contextlib.nullcontext, torch_rnn.audit):
        with warnings.catch_warnings(record=True) as caught, watch():
            warnings.simplefilter("always")
            run(SOURCES[name])
        found.append([(str(w.message), w.filename, w.lineno) for w in caught])
    assert found[0] == found[1]
    assert found[0] or name == "exhausted"
    assert {file for _, file, _ in found[0]} <= {"loop.py"}


COMPILED = """
class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 2)

    def forward(self, x, y):
        return F.mse_loss(self.fc(x), y)

model = Model()
made = MAKE
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for _ in range(3):
    update(optimizer, made(torch.ones(4, 3), torch.ones(4, 2)))
result = made(torch.ones(4, 3), torch.ones(4, 2)).item()
"""


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "make",
    [
        "torch.compile(model, backend='eager', fullgraph=True)",
        "torch.jit.script(model)",
    ],
)
def test_compiled_modules_run_as_without_audit(tmp_path, make):
    script = tmp_path / "train.py"
    script.write_text(PRELUDE + COMPILED.replace("MAKE", make))
    result = runpy.run_path(str(script))["result"]
    with torch_rnn.audit() as report:
        assert runpy.run_path(str(script))["result"] == result
    assert report.warnings == []
    assert "SGD: 3 updates" in str(report)


def test_error_of_the_audit_does_not_end_the_script(monkeypatch):
    name = "torch_rnn.loop_audit.records.RecurrentModule.remember"
    monkeypatch.setattr(name, lambda *_: 1 / 0)
    report, error, printed = audited_anew(SOURCES["chunks"] + "print('done')")
    assert (error, printed) == (None, "done\n")
    assert "the audit ended early: ZeroDivisionError: division by zero" in str(report)


def test_modules_and_batches_are_released():
    """Modules live as long as the script has them, and graphs as long as a loss."""
    count = (
        "import gc\ngc.collect()\nprint(sum(type(o) is nn.GRU for o in "
        "gc.get_objects()))\n"
    )
    modules = (
        "for _ in range(30):\n"
        "    out = nn.GRU(1, 4)(torch.randn(3, 1, 1))[0]\n"
        "    out.sum().backward()\n"
        "del out, _\n"
    )
    before, after = audited_anew(PRELUDE + count + modules + count)[2].split()
    assert before == after


def test_loop_of_calls_of_functions_imported_before():
    """A script that imported clip_grad_norm_ before the audit: nothing is said about
    its clips.
    """
    clip, loss = torch.nn.utils.clip_grad_norm_, torch.nn.functional.mse_loss
    source = SOURCES["chunks"].replace("nn.utils.clip_grad_norm_", "clip")
    with torch_rnn.audit() as report:
        error, _ = run(
            source.replace("F.mse_loss", "loss_of"), {"clip": clip, "loss_of": loss}
        )
    assert (error, report.warnings) == (None, [])
    report.assert_tbptt(10, 10)
    assert "clipping" not in str(report)
