"""The records, assertions and checks of an audit, in this process."""

import contextlib
import io
import itertools

import pytest
import torch
from sections import PRELUDE, audited, loops

import torch_rnn
from numpy_rnn.common.errors import InputError
from torch_rnn.loop_audit.records import Pass

pytestmark = pytest.mark.needs_torch
LOOPS = {loop.name: loop.source for loop in loops()}
LAYERS = [
    dict(zip(("nonlinearity", "num_layers", "bias", "batch_first", "dtype"), values))
    for values in itertools.product(("tanh", "relu"), (1, 3), (True, False), (True, False), ("float32", "float64"))
]


def one_update(module, x, state=None, spoil=lambda module: None, gradients=("out", "h")):
    """The Check of the gradient of one update with random gradients of the outputs."""
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    with torch_rnn.audit() as report:
        outputs = module(x, state)
        outputs = {"h": outputs} if isinstance(outputs, torch.Tensor) else dict(zip(("out", "h"), outputs))
        sum((torch.randn_like(outputs[name]) * outputs[name]).sum() for name in gradients if name in outputs).backward()
        spoil(module)
        optimizer.step()
    (update,) = report.updates
    assert update.step.ratio <= 1
    return update.gradient


@pytest.mark.parametrize("options", LAYERS, ids=lambda options: "-".join(map(str, options.values())))
def test_gradient_by_hand_is_within_bounds(options):
    torch.manual_seed(len(str(options)))
    dtype = getattr(torch, options["dtype"])
    module = torch.nn.RNN(3, 5, **{**options, "dtype": dtype})
    x = torch.randn(*((2, 7) if options["batch_first"] else (7, 2)), 3, dtype=dtype)
    state = torch.randn(options["num_layers"], 2, 5, dtype=dtype)
    for gradients in (("out",), ("h",), ("out", "h")):
        module.zero_grad()
        assert one_update(module, x, state, gradients=gradients).ratio <= 1
    module.zero_grad()
    assert one_update(module, x[0], state[:, 0]).ratio <= 1  # without an axis of the batch


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("name", ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"])
def test_small_error_of_a_gradient_is_seen(name, layers, monkeypatch):
    """A relative error of 2e-4 in one number of one gradient."""
    torch.manual_seed(1)
    module = torch.nn.RNN(3, 5, layers)
    plain = torch.autograd.backward

    def wrong(*args, **kwargs):
        plain(*args, **kwargs)
        gradient = module.get_parameter(name).grad.view(-1)
        gradient[gradient.abs().argmax()] *= 1.0002

    monkeypatch.setattr(torch.autograd, "backward", wrong)
    check = one_update(module, torch.randn(6, 2, 3), gradients=("out",))
    assert check.ratio > 1
    assert check.name == name


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
def test_gradient_of_a_cell_is_checked_over_all_steps(nonlinearity):
    torch.manual_seed(2)
    cell = torch.nn.RNNCell(3, 5, nonlinearity=nonlinearity)
    optimizer = torch.optim.SGD(cell.parameters(), lr=0.1)
    with torch_rnn.audit() as report:
        h = torch.randn(2, 5)
        for x in torch.randn(6, 2, 3):
            h = cell(x, h)
        h.square().sum().backward()
        optimizer.step()
    (update,) = report.updates
    assert update.gradient.ratio <= 1
    assert [(w.steps, w.reach, w.passes, w.initial) for w in update.windows] == [(6, 6, 6, "constant")]


@pytest.mark.parametrize("options", [{}, {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}])
def test_wrong_step_is_seen(options):
    """A step that is wrong by one part in 10⁵ in one weight."""

    def spoil(optimizer, args, kwargs):
        module.weight_hh_l0.data[0, 0] *= 1.00001

    torch.manual_seed(3)
    module = torch.nn.RNN(2, 3)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1, **options)
    with torch_rnn.audit() as report:
        for n in range(3):
            optimizer.zero_grad()
            module(torch.randn(4, 1, 2))[0].sum().backward()
            if n == 2:
                optimizer.register_step_post_hook(spoil)  # before that of the audit
            optimizer.step()
    assert [update.step.ratio <= 1 for update in report.updates] == [True, True, False]
    with pytest.raises(AssertionError, match="the step of update 3 is not the recomputed one"):
        report.assert_correct()


def test_assertions_on_the_truncation():
    report = audited(LOOPS["chunks"])[0]
    report.assert_tbptt(k1=10, k2=10)
    report.assert_correct()
    assert [update.number for update in report.updates] == list(range(1, 16))
    for k1, k2 in ((5, 10), (10, 20), (20, 20), (5, 5)):
        with pytest.raises(AssertionError, match=rf"expected (TBPTT)?\({k1}, {k2}\)"):
            report.assert_tbptt(k1, k2)
    audited(LOOPS["sliding"])[0].assert_tbptt(k1=1, k2=5)
    audited(LOOPS["chunks_of_shuffled_batches"])[0].assert_tbptt(k1=5, k2=5)  # from zeros for every batch
    with pytest.raises(AssertionError, match="expected the carried state"):
        audited(LOOPS["state_lost"])[0].assert_tbptt(8, 8)
    with pytest.raises(AssertionError, match="windows: expected 1"):
        audited(LOOPS["accumulated"])[0].assert_tbptt(6, 6)
    with pytest.raises(AssertionError, match=r"loop.py:18: the result of detach\(\) is dropped"):
        audited(LOOPS["dropped_detach"])[0].assert_correct()
    for text in ("pass", "nn.Linear(2, 2)(torch.ones(2))"):
        report = audited(PRELUDE + text)[0]
        with pytest.raises(AssertionError, match=r"no nn\.RNN"):
            report.assert_correct()
        with pytest.raises(AssertionError, match="no update is recorded"):
            report.assert_tbptt(1, 1)


def test_penalty_on_the_weights_is_reported_as_a_difference():
    source = LOOPS["learned_state"].replace(".mean()", ".mean().add(net.rnn.weight_hh_l0.square().sum())")
    report = audited(source)[0]
    assert "weight_hh_l0 differs: something else changes it too, such as a penalty on the weights" in str(report)
    with pytest.raises(AssertionError, match="the gradient of update 1 is not the recomputed one"):
        report.assert_correct()


FUNCTIONS = """
from torch.optim.optimizer import _global_optimizer_post_hooks, _global_optimizer_pre_hooks
FUNCTIONS = [torch.autograd.backward, torch.autograd.grad, torch.Tensor.detach, nn.utils.clip_grad_norm_,
             nn.utils.clip_grad_value_, nn.utils.clip_grad.clip_grad_norm_, F.mse_loss, F.cross_entropy, F.embedding,
             torch.optim.Optimizer.zero_grad, nn.Module.zero_grad, torch.optim.Optimizer.add_param_group,
             torch.utils.data.dataloader._BaseDataLoaderIter.__next__]
HOOKS = [len(nn.modules.module._global_forward_pre_hooks), len(nn.modules.module._global_forward_hooks),
         len(_global_optimizer_pre_hooks), len(_global_optimizer_post_hooks)]
"""


def functions():
    found = {}
    exec(PRELUDE + FUNCTIONS, found)
    return [*map(id, found["FUNCTIONS"]), *found["HOOKS"]]


def test_hooks_and_patches_are_removed_at_the_end_and_after_the_last_update():
    before = functions()
    report, error, printed = audited(LOOPS["chunks"] + FUNCTIONS + "print([*map(id, FUNCTIONS), *HOOKS])", updates=4)
    assert error is None
    assert len(report.updates) == 4
    assert "audited: the first 4 updates" in str(report)
    assert eval(printed) == functions() == before
    audited(LOOPS["chunks"] + "raise ValueError")
    assert functions() == before


@pytest.mark.parametrize("name", ["chunks", "class_with_loader", "word_language_model", "lbfgs", "dropped_detach"])
def test_weights_and_random_numbers_are_those_of_the_plain_script(name):
    finish = """
modules = [value for value in list(globals().values()) if isinstance(value, nn.Module)]
print([p.double().sum().item().hex() for module in modules for p in module.parameters()], torch.rand(2).tolist())
"""
    plain = io.StringIO()
    with contextlib.redirect_stdout(plain):
        exec(compile(LOOPS[name] + finish, "loop.py", "exec"), {"__name__": "__main__"})
    _, error, printed = audited(LOOPS[name] + finish)
    assert error is None
    assert printed == plain.getvalue()
    assert "0x" in printed


def test_error_of_the_audit_does_not_end_the_script(monkeypatch):
    monkeypatch.setattr("torch_rnn.loop_audit.watch.sizes", lambda *_: 1 / 0)
    report, error, printed = audited(LOOPS["chunks"] + "print('done')")
    assert (error, printed) == (None, "done\n")
    assert "the audit ended early: ZeroDivisionError: division by zero" in str(report)


def test_refuses_number_of_updates():
    with pytest.raises(InputError, match="updates is 0: expected a whole number, 1 or more"), torch_rnn.audit(0):
        pass


def test_memory_is_bounded(monkeypatch):
    """Of many passes, copies of the latest are kept only, and no pass refers to a long chain of others."""
    passes = []

    def create(**values):
        passes.append(Pass(**values))
        return passes[-1]

    monkeypatch.setattr("torch_rnn.loop_audit.watch.Pass", create)
    source = LOOPS["chunks"].replace("range(3)", "range(40)")
    report, error, _ = audited(source)
    assert error is None
    assert len(report.updates) == len(passes) == 200
    assert sum(each.states != () for each in passes) <= 64
    assert sum(each.source is not None for each in passes) <= 64
    assert sum(each.arrays is not None for each in passes) <= 8
    assert sum(each.outputs is not None or each.codes is not None for each in passes) <= 2


def test_loop_without_updates_is_not_followed_for_ever(monkeypatch):
    monkeypatch.setattr("torch_rnn.loop_audit.watch.MAX_PASSES", 10)
    source = PRELUDE + "rnn = nn.RNN(1, 2)\nfor _ in range(30):\n    rnn(torch.ones(1, 1, 1))"
    report, _, _ = audited(source)
    assert "the audit ended early: 10 forward passes without an update" in str(report)
    assert "11 with a gradient" in str(report)
