"""The records, assertions and checks of an audit, in this process."""

import contextlib
import sysconfig

import pytest
import torch
from sections import PRELUDE, SOURCES, audited, run
from torch.optim.optimizer import (
    Optimizer,
    _global_optimizer_post_hooks,
    _global_optimizer_pre_hooks,
)

import torch_rnn

pytestmark = pytest.mark.needs_torch
LIBRARY = sysconfig.get_path("purelib") + "/logger.py"
F32, F64 = torch.float32, torch.float64


def one_update(module, x, state=None, gradients=("out", "h")):
    """The update with random gradients of the outputs."""
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    optimizer.zero_grad()
    with torch_rnn.audit() as report:
        outputs = dict(zip(("out", "h"), module(x, state)))
        sum(
            (torch.randn_like(outputs[name]) * outputs[name]).sum() for name in gradients
        ).backward()
        optimizer.step()
    (update,) = report.updates
    assert update.step.is_right
    return update


MODULES = {
    "relu": lambda dtype: torch.nn.RNN(3, 5, nonlinearity="relu", dtype=dtype),
    "tanh": lambda dtype: torch.nn.RNN(3, 5, 3, bias=False, batch_first=True, dtype=dtype),
    "gru": lambda dtype: torch.nn.GRU(3, 5, 2, bidirectional=True, dtype=dtype),
    "lstm": lambda dtype: torch.nn.LSTM(3, 5, 2, dropout=0.5, batch_first=True, dtype=dtype),
    "wide": lambda dtype: torch.nn.RNN(3, 128, dtype=dtype),
}


@pytest.mark.parametrize("dtype", [F32, F64], ids=str)
@pytest.mark.parametrize("name", MODULES)
def test_gradient_agrees_with_replay(name, dtype):
    torch.manual_seed(len(name))
    module = MODULES[name](dtype)
    x = torch.randn(*((2, 37) if module.batch_first else (37, 2)), 3, dtype=dtype)
    for gradients in (("out",), ("h",)) if name != "lstm" else (("out",),):
        update = one_update(module, x, gradients=gradients)
        assert update.gradient.is_right
        assert 0 <= update.gradient.error < 100 * torch.finfo(dtype).eps
        assert [(w.steps, w.reach, w.passes, w.initial) for w in update.windows] == [
            (37, 37, 1, "zeros")
        ]
    assert one_update(
        module, x[0], gradients=("out",)
    ).gradient.is_right  # without an axis of the batch


@pytest.mark.parametrize("shape", [(9, 2, 3), (9, 3)])  # without an axis of the batch
@pytest.mark.parametrize("kind", [torch.nn.RNNCell, torch.nn.LSTMCell, torch.nn.GRUCell])
def test_gradient_of_cells_agrees_with_replay(kind, shape):
    """Both tensors of a state get gradients, in a chain and at the end."""
    torch.manual_seed(4)
    cell, state, states = kind(3, 5), None, []
    optimizer = torch.optim.RMSprop(cell.parameters(), momentum=0.5, centered=True)
    with torch_rnn.audit() as report:
        for x in torch.randn(shape):
            state = cell(x, state)
            states += [state] if kind is not torch.nn.LSTMCell else list(state)
        sum((torch.randn_like(s) * s).sum() for s in states[-5:]).backward()
        optimizer.step()
    (update,) = report.updates
    assert update.gradient.is_right
    assert update.gradient.error < 2e-6
    assert update.step.is_right


@pytest.mark.parametrize("name", ["relu", "gru", "wide"])
def test_small_error_of_a_gradient_is_seen(name, monkeypatch):
    """A relative error of 10⁻⁴ of one gradient, as torch itself would make it."""
    torch.manual_seed(1)
    module, plain = MODULES[name](F32), torch.autograd.backward

    def wrong(*args, **kwargs):
        plain(*args, **kwargs)
        module.weight_hh_l0.grad.mul_(1.0001)

    monkeypatch.setattr(torch.autograd, "backward", wrong)
    check = one_update(module, torch.randn(60, 2, 3), gradients=("out",)).gradient
    assert (check.is_right, check.name) == (False, "weight_hh_l0")
    assert check.error == pytest.approx(1e-4, rel=0.05)


OPTIMIZERS = [
    lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, nesterov=True, weight_decay=0.1),
    lambda p: torch.optim.Adam(p, 0.1, amsgrad=True, weight_decay=0.1),
    lambda p: torch.optim.AdamW(p, 0.1, maximize=True),
    lambda p: torch.optim.RMSprop(p, 0.1, momentum=0.5, centered=True),
    lambda p: torch.optim.Adagrad(p, 0.1, lr_decay=0.1),
]


@pytest.mark.parametrize("make", OPTIMIZERS)
def test_wrong_step_is_seen(make):
    """A third step that is wrong by one part in 10⁴ in one weight."""

    def spoil(optimizer, args, kwargs):
        module.weight_hh_l0.data[0, 0] *= 1.0001

    torch.manual_seed(3)
    module = torch.nn.RNN(2, 3)
    optimizer = make(module.parameters())
    with torch_rnn.audit() as report:
        for n in range(3):
            optimizer.zero_grad()
            module(torch.randn(4, 1, 2))[0].sum().backward()
            if n == 2:
                optimizer.register_step_post_hook(spoil)  # before that of the audit
            optimizer.step()
    assert [update.step.is_right for update in report.updates] == [True, True, False]
    with pytest.raises(AssertionError, match="update 3 differs from a float64 replay"):
        report.assert_correct()


def test_assertions_on_the_truncation():
    report = audited(SOURCES["chunks"])[0]
    report.assert_tbptt(k1=10, k2=10)
    report.assert_correct()
    assert [update.number for update in report.updates] == list(range(1, 16))
    for k1, k2 in ((5, 10), (10, 20), (20, 20), (5, 5)):
        with pytest.raises(
            AssertionError, match=rf"TBPTT\(10, 10\): .*; expected TBPTT\({k1}, {k2}\)"
        ):
            report.assert_tbptt(k1, k2)
    with pytest.raises(
        AssertionError, match=r"zeros: no state is carried.*; expected TBPTT\(8, 8\)"
    ):
        audited(SOURCES["state_lost"])[0].assert_tbptt(8, 8)
    with pytest.raises(AssertionError, match="gradients of 4 windows are added"):
        audited(SOURCES["accumulated"])[0].assert_tbptt(6, 6)
    with pytest.raises(AssertionError, match=r"loop.py:18: the result of detach\(\) is dropped"):
        audited(SOURCES["dropped_detach"])[0].assert_correct()
    report = audited(PRELUDE + "nn.Linear(2, 2)(torch.ones(2))")[0]
    with pytest.raises(AssertionError, match=r"no call of nn\.RNN"):
        report.assert_correct()
    with pytest.raises(AssertionError, match="no update is recorded"):
        report.assert_tbptt(1, 1)


def test_detach_by_a_library_is_not_a_dropped_one():
    """A statement that calls a function of a library, such as a logger, which detaches a state."""
    library = f"exec(compile('def log(state): state.detach(); print(state.detach().sum())', {LIBRARY!r}, 'exec'))\n"
    source = (
        SOURCES["cell_sequences"]
        .replace("        h =", "        log(h)\n        h =")
        .replace("41", "3")
    )
    report, error, _ = audited(source.replace("\ncell,", f"\n{library}cell,"))
    assert (error, report.warnings) == (None, [])


def test_hooks_and_patches_are_removed_at_the_end():
    """After the last update, and after an exception."""
    hooks = _global_optimizer_pre_hooks, _global_optimizer_post_hooks
    owners = [torch.autograd, torch.Tensor, torch.nn.RNN, torch.nn.LSTMCell, torch.jit, Optimizer]
    owners += [torch.utils.data.dataloader._BaseDataLoaderIter]
    owners += [torch.nn.utils, torch.nn.utils.clip_grad, torch.nn.functional]

    def installed():
        return [*map(len, hooks), *(dict(vars(owner)) for owner in owners)]

    before = installed()
    with torch_rnn.audit(updates=4) as report:
        assert all(a != b for a, b in zip(installed(), before))
        exec(SOURCES["chunks"], {})
        assert installed() == before
    assert len(report.updates) == 4
    assert "audited: the first 4 updates" in str(report)
    with contextlib.suppress(ValueError), torch_rnn.audit():
        raise ValueError
    assert installed() == before


@pytest.mark.parametrize("name", ["class_with_loader", "word_language_model"])
def test_weights_and_random_numbers_are_the_same(name):
    finish = """
modules = [value for value in list(globals().values()) if isinstance(value, nn.Module)]
print([p.double().sum().item().hex() for module in modules for p in module.parameters()], torch.rand(2).tolist())
"""
    source = (SOURCES[name] + finish).replace(
        "(model.parameters(), 0.25", "(max_norm=0.25, parameters=model.parameters()"
    )
    error, printed = run(source)
    assert audited(source)[1:] == (error, printed) == (None, printed)
    assert "0x" in printed


def test_error_of_the_audit_does_not_end_the_script(monkeypatch):
    monkeypatch.setattr("torch_rnn.loop_audit.records.Network.sizes", lambda *_: 1 / 0)
    report, error, printed = audited(SOURCES["chunks"] + "print('done')")
    assert (error, printed) == (None, "done\n")
    assert "the audit ended early: ZeroDivisionError: division by zero" in str(report)


def test_memory_is_bounded():
    """Passes live as long as a graph needs them, and modules as long as the script does."""
    count = "import gc\ngc.collect()\nprint(sum(type(each).__name__ == 'Pass' for each in gc.get_objects()))"
    audited.cache_clear()
    report, _, printed = audited(
        SOURCES["truncated_by_hand"].replace("range(20)]", "range(100)]") + count
    )
    assert len(report.updates) >= 49
    assert int(printed) <= 8
    modules = "with torch.no_grad():\n    for _ in range(30):\n        nn.GRU(1, 4)(torch.randn(3, 1, 1))\n"
    count = count.replace("type(each).__name__ == 'Pass'", "type(each) is nn.GRU")
    before, after = audited(PRELUDE + count + "\n" + modules + count)[
        2
    ].split()  # other tests may have left some
    assert before == after
