"""The windows of TBPTT, against loops that everybody writes.

A loop over `x.split(k)` that detaches the state is TBPTT(k, k), also where k does not
divide the length of the series. Neither loop here uses code of this project.
"""

from itertools import chain, product

import numpy as np
import pytest
from in_process import command

import numpy_rnn
from numpy_rnn.common.records import (
    Objective,
    Parameters,
    Run,
    RunOptions,
    Schedule,
    Step,
)
from numpy_rnn.conformance.definition import Definition
from numpy_rnn.conformance.trace import Trace

T, K, RATE, EPOCHS = 23, 5, 0.02, 3  # 5 does not divide 23: the last chunk has 3 steps
SIZES = {"W_xh": (3, 4), "W_hh": (4, 4), "W_hy": (4, 2)}
OPTIONS = {"k1": K, "k2": K, "learning_rate": RATE, "epochs": EPOCHS}

PORT = """
import numpy as np

class port:
    name, dtypes, lacks = "chunks", ("float64",), ("older steps",)

    def window_update(self, p, x, target, h_0, *, learning_rate, **options):
        W_xh, W_hh, W_hy = p["W_xh"], p["W_hh"], p["W_hy"]
        h = [h_0]
        for x_t in x:
            h.append(np.tanh(x_t @ W_xh + h[-1] @ W_hh))
        dy = np.stack(h[1:]) @ W_hy - target
        d, da = {name: np.zeros_like(W) for name, W in p.items()}, np.zeros_like(h_0)
        for t in reversed(range(len(x))):
            da = (dy[t] @ W_hy.T + da @ W_hh.T) * (1 - h[t + 1] ** 2)
            d["W_xh"] += x[t].T @ da
            d["W_hh"] += h[t].T @ da
            d["W_hy"] += h[t + 1].T @ dy[t]
        report = {"d" + name: g for name, g in d.items()}
        report |= {name: W - learning_rate * d[name] for name, W in p.items()}
        return report | {"loss": (dy * dy).sum() / 2}
"""


@pytest.fixture
def problem():
    """The weights by name, and a series of 23 steps of two sequences."""
    draw = np.random.default_rng(7).normal
    weights = {name: draw(0, 0.5, size) for name, size in SIZES.items()}
    return weights, draw(size=(T, 2, 3)), draw(size=(T, 2, 2))


def torch_loop(weights, x, target):
    """Train torch.nn.RNN over chunks of 5 steps, and yield (loss, weights)."""
    torch = pytest.importorskip("torch")
    x, target = torch.tensor(x), torch.tensor(target)
    rnn = torch.nn.RNN(3, 4, bias=False, dtype=torch.float64)
    linear = torch.nn.Linear(4, 2, bias=False, dtype=torch.float64)
    layers = [rnn.weight_ih_l0, rnn.weight_hh_l0, linear.weight]
    with torch.no_grad():
        for layer, W in zip(layers, weights.values()):
            layer.copy_(torch.tensor(W.T))
    optimizer = torch.optim.SGD(layers, lr=RATE)
    for _ in range(EPOCHS):
        state = torch.zeros(1, 2, 4, dtype=torch.float64)
        for x_n, target_n in zip(x.split(K), target.split(K)):
            out, state = rnn(x_n, state.detach())
            loss = 0.5 * ((linear(out) - target_n) ** 2).sum()
            optimizer.zero_grad()
            loss.backward()
            gradients = [layer.grad.T.numpy().copy() for layer in layers]
            optimizer.step()
            updated = [layer.detach().numpy().T.copy() for layer in layers]
            yield loss.item(), gradients, updated, state.detach().numpy()[0]


def trained(rnn, weights, x, target, **options):
    arrays = (Parameters(**weights), x, target, np.zeros((2, 4)))
    return rnn.train(*map(rnn.from_numpy, arrays), **OPTIONS | options)


@pytest.mark.needs_torch
@pytest.mark.with_reference
def test_chunks_are_those_of_split(rnn, problem):
    """The losses and the weights of every update.

    They may differ by rounding, here by 1e-10. One older step in each window, which
    is another run, changes the weights by more than 1e-4.
    """
    updates = list(trained(rnn, *problem))
    assert [u.window.loss_steps for u in updates] == [5, 5, 5, 5, 3] * EPOCHS
    found = zip(updates, torch_loop(*problem), strict=True)
    for update, (loss, _, weights, _) in found:
        np.testing.assert_allclose(rnn.to_numpy(update.loss), loss, rtol=1e-10)
        for theta, W in zip(rnn.to_numpy(update.parameters), weights):
            np.testing.assert_allclose(theta, W, rtol=0, atol=1e-10)
    *_, other = trained(rnn, *problem, k2=K + 1)
    changes = np.abs(rnn.to_numpy(other.parameters).W_hh - weights[1])
    assert changes.max() > 1e-4


@pytest.mark.needs_torch
def test_traces_of_such_loops_agree(problem, capsys, tmp_path):
    """`compare` judges a trace of torch's loop and one of `train`."""
    start = (*problem, np.zeros((2, 4)))
    theirs, ours = Trace(*start, **OPTIONS), Trace(*start, **OPTIONS)
    updates = zip(trained(numpy_rnn, *problem), torch_loop(*problem), strict=True)
    state = np.zeros((2, 4))
    for n, (update, (loss, gradients, weights, after)) in enumerate(updates):
        epoch, chunk = divmod(n, 5)
        window = (5 * chunk, 5 * chunk, min(5 * chunk + 5, T))
        initial = state if chunk else np.zeros((2, 4))
        report = dict(zip(SIZES, weights)) | {"loss": loss}
        report |= {"d" + name: g for name, g in zip(SIZES, gradients)}
        theirs.update(epoch + 1, window, initial, **report)
        state = after
        report = update.parameters._asdict() | {"loss": update.loss}
        report |= {f"d{name}": g for name, g in update.gradients._asdict().items()}
        report = {name: v for name, v in report.items() if v is not None}
        ours.update(epoch + 1, update.window, initial, **report)
    for trace, name in ((theirs, "theirs"), (ours, "ours")):
        trace.save(f"{tmp_path}/{name}.npz")
        ended = command(
            numpy_rnn, capsys, "compare", f"{tmp_path}/{name}.npz", "--no-plot"
        )
        assert (ended.status, ended.err) == (0, ""), ended


@pytest.mark.parametrize("k", [1, 7, 20])
def test_port_without_older_steps_is_compared(k, capsys, tmp_path, monkeypatch):
    """The series of 20 steps is no multiple of 7, and chunks need no older steps."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / f"port_of_{k}.py").write_text(PORT)
    options = f"port_of_{k}:port --dtype float64 --k1 {k} --k2 {k} --epochs 2 --no-plot"
    ended = command(numpy_rnn, capsys, "compare", *options.split())
    assert (ended.status, ended.err) == (0, ""), ended


def test_windows_of_every_schedule(rnn):
    """Each new step is in one update, with k2 − k1 steps before its window's new ones.

    Counted step by step, in the reference, torch_rnn and the suite's definition.
    """
    for steps, k1, older in product(range(1, 12), range(1, 6), range(4)):
        windows = list(rnn.windows(steps, k1, k1 + older))
        options = RunOptions(Schedule(k1, k1 + older), Objective(), Step(0.1))
        run = Run(None, range(steps), None, None, options)
        assert Definition().windows(run) == windows
        new = [list(range(w.loss_start, w.stop)) for w in windows]
        assert [*chain(*new)] == list(range(steps))
        assert all(len(each) == k1 for each in new[:-1])
        for window, (first, *_) in zip(windows, new):
            before = [step for step in range(first) if first - step <= older]
            assert list(range(window.start, window.loss_start)) == before
    assert list(rnn.windows(0, 3, 5)) == []
