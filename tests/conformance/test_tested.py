"""What a verdict says of each kind of source: no bug in a part that is called tested
passes, and no part that the source does not compute is called tested.

A bug is planted in every part of a training program, which is then given to `compare`
as a function, as a port of a window's update, as a trace of its loop, and as a package.
"""

import re
from dataclasses import replace

import numpy as np
import pytest

import numpy_rnn
from numpy_rnn import reference
from numpy_rnn.common.records import Step
from numpy_rnn.conformance.coverage import FUNCTION, WHOLE_RUN, WINDOW_UPDATE, Coverage
from numpy_rnn.conformance.ports.abilities import EVERYTHING, Abilities
from numpy_rnn.conformance.tested import (
    SHOW_TRACE,
    Subject,
    agreement,
    coverage_lines,
    tensors_of,
)
from numpy_rnn.conformance.trace import Trace
from tests.helpers.command_line import command

OF_THE_FUNCTION = ("loss", "dW_xh", "dW_hh", "dW_hy", "db_h", "db_y", "flow", "slope")
OF_THE_UPDATE = ("sign of the update", "rate")
OF_THE_LOOP = ("carried state", "state between epochs", "detach", "zeroed gradients")
BUGS = (*OF_THE_FUNCTION, *OF_THE_UPDATE, *OF_THE_LOOP)
K, RATE = 4, 0.1


class Program:
    """A training program with one bug, or none."""

    def __init__(self, bug=""):
        self.bug = bug

    def loss_and_gradients(self, p, x, target, h_0):
        """Compute half the squared error of a window, and its gradients."""
        h = [h_0]
        for x_t in x:
            h.append(np.tanh(x_t @ p["W_xh"] + h[-1] @ p["W_hh"] + p["b_h"]))
        error = np.stack(h[1:]) @ p["W_hy"] + p["b_y"] - target
        d = {name: 0 * theta for name, theta in p.items()}
        da = 0 * h_0
        for t in reversed(range(len(x))):
            flow = da @ (p["W_hh"] if self.bug == "flow" else p["W_hh"].T)
            slope = 1 - h[t + 1] ** 2 * (0.9 if self.bug == "slope" else 1)
            da = (error[t] @ p["W_hy"].T + flow) * slope
            d["W_xh"] += x[t].T @ da
            d["W_hh"] += h[t].T @ da
            d["W_hy"] += h[t + 1].T @ error[t]
            d["b_h"] += da.sum(axis=0)
            d["b_y"] += error[t].sum(axis=0)
        if self.bug[1:] in d:
            d[self.bug[1:]] *= p["W_hh"].dtype.type(1.01)
        loss = (error**2).sum() / 2
        return loss * loss.dtype.type(1.01 if self.bug == "loss" else 1), d

    def update(self, p, d, rate):
        """Make a step of gradient descent."""
        if self.bug == "rate":
            rate = rate / 2
        if self.bug == "sign of the update":
            rate = -rate
        return {name: W - W.dtype.type(rate) * d[name] for name, W in p.items()}

    def train(self, p, x, target, h_0, trace):
        """Train on chunks of K steps, and record them in a trace."""
        d_before = {name: 0 * W for name, W in p.items()}
        state = before = h_0
        for epoch in (1, 2):
            if self.bug != "state between epochs":
                state = h_0
            for start in range(0, len(x), K):
                if self.bug == "carried state":
                    state = h_0
                first, initial = start, state
                if self.bug == "detach" and start:
                    first, initial = start - K, before
                x_n = x[first : start + K]
                target_n = target[first : start + K].copy()
                loss, d = self.loss_and_gradients(p, x_n, target_n, initial)
                if first < start:  # the gradient of the new losses goes back further
                    y = self.outputs(p, x_n, initial)
                    target_n[: start - first] = y[: start - first]
                    loss, d = self.loss_and_gradients(p, x_n, target_n, initial)
                before, state = state, self.states(p, x[start : start + K], state)[-1]
                if self.bug == "zeroed gradients":
                    d = {name: d[name] + d_before[name] for name in d}
                d_before, p = d, self.update(p, d, RATE)
                report = {"loss": loss, **{"d" + name: g for name, g in d.items()}, **p}
                trace.update(epoch, (start, start, start + K), before, **report)

    def states(self, p, x, h):
        """Return the states after each step."""
        states = []
        for x_t in x:
            h = np.tanh(x_t @ p["W_xh"] + h @ p["W_hh"] + p["b_h"])
            states.append(h)
        return np.stack(states)

    def outputs(self, p, x, h):
        """Return the outputs of each step."""
        return self.states(p, x, h) @ p["W_hy"] + p["b_y"]


def made(folder, bug):
    """Write a module with the program as a function, as a port and as a package."""
    name = "made_" + re.sub(r"\W", "_", bug or "right")
    (folder / f"{name}.py").write_text(
        f"""
from numpy_rnn.conformance.adapters import function_port
from numpy_rnn.reference import *
from tests.conformance.test_tested import Program, wrong_updates

program = Program({bug!r})
f = function_port(program.loss_and_gradients)
update = function_port(program.loss_and_gradients, step=program.update)

def train(*arguments, **options):
    return wrong_updates({bug!r}, *arguments, **options)
"""
    )
    return name


def wrong_updates(bug, params, x, target, h_0, **options):
    """Yield the updates of the reference, with the bug in what they tell."""
    before, d_before = params, None
    for update in reference.train(params, x, target, h_0, **options):
        d, after = update.gradients, update.parameters
        rate = {"rate": 0.5, "sign of the update": -1.0}.get(bug, 1.0)
        if bug == "loss":
            update = replace(update, loss=update.loss * 2)
        if bug.startswith("d") and bug[1:] in d._fields:
            g = getattr(d, bug[1:])
            d = d._replace(**{bug[1:]: g * g.dtype.type(1.01)})
            update = replace(update, gradients=d)
        if bug in ("flow", "slope", "detach"):
            d = d._replace(W_hh=d.W_hh * d.W_hh.dtype.type(1.01))
            update = replace(update, gradients=d)
        if bug == "zeroed gradients" and d_before is not None:
            total = type(d)(*(a if a is None else a + b for a, b in zip(d, d_before)))
            update = replace(update, gradients=total)
        if bug in OF_THE_LOOP[:2]:
            is_first = update.number == 1
            if is_first == (bug == "state between epochs") and update.epoch > 1:
                h = update.activations.h.copy()
                h[0] = 0.25
                update = replace(update, activations=update.activations._replace(h=h))
        if rate != 1.0:
            moved = {}
            for field, W, V in zip(after._fields, before, after):
                moved[field] = W + W.dtype.type(rate) * (V - W)
            update = replace(update, parameters=after._replace(**moved))
        before, d_before = after, update.gradients
        yield update


def traced(bug):
    """Write the trace of the program."""
    generator = np.random.default_rng(5)
    sizes = {"W_xh": (3, 5), "W_hh": (5, 5), "W_hy": (5, 2), "b_h": (5,), "b_y": (2,)}
    p = {name: 0.5 * generator.normal(size=size) for name, size in sizes.items()}
    x = generator.normal(size=(12, 2, 3))
    target = generator.normal(size=(12, 2, 2))
    h_0 = 0.3 * generator.normal(size=(2, 5))
    options = {"k1": K, "k2": K, "learning_rate": RATE, "epochs": 2}
    trace = Trace(p, x, target, h_0, **options)
    Program(bug).train(p, x, target, h_0, trace)
    trace.save("loop.npz")


def verdict(capsys, *words):
    """Return the status of `compare`, its verdict, and the texts of what is tested and
    not tested.
    """
    ended = command(numpy_rnn, capsys, "compare", *words, "--no-plot")
    assert ended.err == ""
    text = ended.out
    told = re.search(r"^(WRONG .*|.* agrees? with the definition: .*)$", text, re.M)[1]
    tested = re.search(r"^tested((?:.|\n)*?)^not tested", text, re.M)[1]
    untested = re.search(r"^not tested((?:.|\n)*?)^\n", text, re.M)[1]
    return ended.status, told, " ".join(tested.split()), " ".join(untested.split())


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return a folder whose modules are found."""
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


NO_LOOP = "loop (state carried and detached, gradients zeroed), which this command made"


@pytest.mark.parametrize("bug", ["", *BUGS])
def test_verdict_on_a_function(bug, folder, capsys):
    """A function has no update and no loop: they are named as not tested."""
    status, told, tested, untested = verdict(
        capsys, f"{made(folder, bug)}:f", "--epochs", "3"
    )
    assert not re.search(r"\bW_|update|loop|carried|rate|TBPTT|\bU\d", tested)
    assert f"your update and your {NO_LOOP}" in untested
    assert SHOW_TRACE in untested
    assert (status, told.startswith("WRONG")) == ((bug in OF_THE_FUNCTION),) * 2
    if bug not in OF_THE_FUNCTION:
        assert "its loss and 5 gradients are within their rounding bounds in" in told


@pytest.mark.parametrize("bug", ["", *BUGS])
def test_verdict_on_a_window_update(bug, folder, capsys):
    """A port of a window's update has no loop."""
    status, told, tested, untested = verdict(
        capsys, f"{made(folder, bug)}:update", "--epochs", "3"
    )
    assert not re.search("loop|carried|TBPTT", tested)
    assert "the update with learning rate 0.1" in tested
    assert f"your {NO_LOOP}" in untested
    assert "your update" not in untested
    is_wrong = bug in OF_THE_FUNCTION + OF_THE_UPDATE
    assert (status, told.startswith("WRONG")) == (is_wrong,) * 2
    if not is_wrong:
        assert "its loss, 5 gradients and 5 updated parameters are within" in told


@pytest.mark.parametrize("bug", ["", *BUGS])
def test_verdict_on_a_trace(bug, capsys):
    """A trace has all parts; what it lacks is named."""
    traced(bug)
    status, told, tested, untested = verdict(capsys, "loop.npz")
    assert "the loop: 2 epochs, 4 of 6 windows start from a state that was" in tested
    assert "the trace does not have: a, h, y, dy, dh, da, dh_0, dx other" in untested
    assert (status, told.startswith("WRONG")) == (bool(bug),) * 2


@pytest.mark.parametrize("bug", ["", *BUGS])
def test_verdict_on_a_package(bug, folder, capsys):
    words = f"{made(folder, bug)} --epochs 2 --k1 3 --bias".split()
    status, told, tested, untested = verdict(capsys, *words)
    assert "the loop: 2 epochs, 12 of 14 windows start from a state that" in tested
    assert "your" not in untested
    assert (status, told.startswith("WRONG")) == (bool(bug),) * 2


# What was not shown


def test_short_trace_says_what_it_does_not_show(capsys):
    """One epoch of one window tests neither a carried state nor zeroed gradients."""
    p = {"W_xh": np.ones((1, 2)), "W_hh": np.eye(2), "W_hy": np.ones((2, 1))}
    x, h_0 = np.full((1, 1, 1), 0.5), np.zeros((1, 2))
    trace = Trace(p, x, x, h_0, k1=1, k2=1, learning_rate=0.1, epochs=1)
    h = np.tanh(x[0] @ p["W_xh"])
    error = h @ p["W_hy"] - x[0]
    da = error @ p["W_hy"].T * (1 - h**2)
    d = {"W_xh": x[0].T @ da, "W_hh": h_0.T @ da, "W_hy": h.T @ error}
    after = {name: W - 0.1 * d[name] for name, W in p.items()}
    gradients = {"d" + name: g for name, g in d.items()}
    trace.update(1, (0, 0, 1), h_0, loss=(error**2).sum() / 2, **gradients, **after)
    trace.save("loop.npz")
    status, told, _, untested = verdict(capsys, "loop.npz")
    assert status == 0, told
    for words in (
        "gradients that go back in time",
        "a state that is carried from window to window",
        "the state at the start of a second epoch",
        "gradients that are zeroed between updates",
        "epochs that start from another state than zeros",
    ):
        assert words in untested


def coverage_of(**uses):
    """Return the coverage of one window."""
    coverage = Coverage(windows=1, reach=3)
    coverage.judged.update(["loss", "dW_hh", "W_hh"])
    facts = {"nonlinearity": "tanh", "bias": False, "loss": "squared_error"}
    facts |= {"reduction": "sum", "dtype": "float32"}
    coverage.note_uses(facts | uses, Step(0.1))
    return coverage


@pytest.mark.parametrize("computed", [FUNCTION, WINDOW_UPDATE, WHOLE_RUN])
def test_tensors_are_those_that_the_source_computes(computed):
    subject = Subject(computed, EVERYTHING, "this command")
    assert ("W_hh" in tensors_of(subject, coverage_of())) == computed.step


def test_clipping_that_never_acts_is_not_tested(folder, capsys):
    """An option of a run is tested where it changes a gradient."""
    words = ["numpy_rnn.reference", "--epochs", "1", "--k1", "5", "--max-norm"]
    for norm, is_tested in (("1e6", False), ("1e-3", True)):
        _, _, tested, untested = verdict(capsys, *words, norm)
        assert ("clipping by norm" in tested, "clipping by norm" in untested) == (
            is_tested,
            not is_tested,
        )


def test_what_a_port_lacks_is_named_by_the_suite_alone():
    """`compare` tells what the suite would test; the suite, what the port has not."""
    abilities = Abilities(capabilities=(), lacks=("relu",))
    subject = Subject(FUNCTION, abilities, "the suite")
    lines = " ".join(" ".join(coverage_lines(subject, coverage_of())).split())
    assert "what it does not have: relu, sigmoid, cross entropy" in lines
    subject = subject._replace(suite="pytest", maker="this command")
    lines = " ".join(" ".join(coverage_lines(subject, coverage_of())).split())
    assert "mean, biases" in lines
    assert "relu" not in lines


def test_agreement_of_several_packages_is_one_sentence():
    subject = Subject(WHOLE_RUN, EVERYTHING, "this command")
    assert agreement(["one", "other"], subject, coverage_of()) == (
        "one and other agree with the definition: every update is within its rounding"
        " bounds in 1 window"
    )
