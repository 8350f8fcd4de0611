"""Bugs that people make and no mutant is like: all are refused, most have their hint, and none a wrong one.

A bug is a few other lines of `plain_rnn`, or another forward pass whose gradient is exact, as that of autograd.
"""

from typing import Any

import numpy as np
import pytest
from windows import RIGHT, ModulePort, exchanged

from numpy_rnn.common.records import Objective, Parameters, Run, RunOptions, Schedule, Step
from numpy_rnn.conformance.mutants.catalogue import trace
from numpy_rnn.conformance.mutants.hints import hints_for_port
from numpy_rnn.conformance.mutants.run_hints import hints_for_run
from numpy_rnn.conformance.ports.port import abilities
from numpy_rnn.conformance.ports.protocol import PortFault
from numpy_rnn.conformance.properties import PortCheck, Violation, WorstRatios
from numpy_rnn.conformance.random_cases import RandomDraw, random_recipe
from numpy_rnn.conformance.traces.judge import judge

# -- lines of plain_rnn ----------------------------------------------------------------------------------------------

CASE, K = "case = with_rows(case)", "K = len(target)"
SLOPES = 'SLOPES = {"tanh": tanh_slope, "relu": relu_slope, "sigmoid": sigmoid_slope}'
TERMS, OUTPUTS = "N = K * B if weights is None else weights.sum() or 1", "N = N * O"
LOG_LOSS = "losses = -(target * log_p)"
STEPS, GRADIENTS = "T, d = range(len(x)), {}", "d = gradients(p, x, h, dy, da)"
DW_XH, DW_HH = 'd["W_xh"] = sum(x[t].mT @ da[t] for t in T)', 'd["W_hh"] = sum(h[t].mT @ da[t] for t in T)'
DB_H, DB_Y = "db_h = sum(da[t].sum(axis=-2) for t in T)", "db_y = sum(dy[t].sum(axis=-2) for t in T)"
CLIPPED = "clipped = {name: expand(factor, g) * g for name, g in d.items()}"
DECAY, STEPPED = "g = g + decay * theta if decay else g", "report[name] = theta - expand(rate, theta) * delta"
VELOCITY = "v = g if before is None else mu * before + (1 - tau) * g"
DIRECTION, ADAGRAD = "delta = g + mu * v if step.nesterov else v", "v = g * g if before is None else before + g * g"
RUN, STATE = "T, params = len(run.x), run.params", "h_0 = states[start - first]"
WINDOW = "case = WindowCase(params, run.x[start:stop], run.target[new:stop], h_0, weights, objective, step, velocity)"
UPDATES, START = "for number, new in enumerate(range(0, T, k1), start=1):", "start = max(0, stop - k2)"


def part(text):
    """The case with another part, as the code reads it."""
    return CASE, f"{CASE}\ncase = case._replace({text})"


def rolled(name, steps):
    """A run whose series is read as many steps late."""
    return RUN, f"run = run._replace({name}=np.roll(run.{name}, {steps}, 0))\n{RUN}"


WINDOWS = {  # the bug: (a part of its hint, or "" if none is known; the changed lines)
    "the first step is left out": ("without the first step", (STEPS, "T, d = range(1, len(x)), {}")),
    "the last step is left out": ("without the last step", (STEPS, "T, d = range(len(x) - 1), {}")),
    "one sequence of the batch": ("of the first sequence alone",
        (GRADIENTS, "d = gradients(p, x[:, :1], h[:, :1], dy[:, :1], da[:, :1])")),
    "a mean not over outputs": ("loss × O", (OUTPUTS, "N = N")),
    "a mean over the batch": ("loss × K", (TERMS, "N = B"), (OUTPUTS, "N = N")),
    "no clipping by value": ("max_value left out", ("if step.max_value is not None:", "if False:")),
    "no weight decay": ("weight_decay left out", (DECAY, "g = g")),
    "no dampening": ("dampening left out", (VELOCITY, "v = g if before is None else mu * before + g")),
    "no loss weights": ("loss weights left out", part("weights=None")),
    "gradients are reported late": ("gradients after clipping", (CLIPPED, f"{CLIPPED}\nd.update(clipped)")),
    "only the last loss": ("the loss of the last step alone", (K, "target, K = target[-1:], 1")),
    "reversed inputs": ("inputs in reversed order", part("x=case.x[::-1]")),
    "late inputs": ("inputs one step late", part("x=np.roll(case.x, 1, 0)")),
    "late targets": ("targets one step late", part("target=np.roll(case.target, 1, 0)")),
    "early targets": ("targets one step early", part("target=np.roll(case.target, -1, 0)")),
    "smoothed labels": ("", (LOG_LOSS, f"target = 0.9 * target + 0.1 / O\n{LOG_LOSS}")),
    "bits": ("loss × 1/ln 2", (LOG_LOSS, f"{LOG_LOSS} / np.log(2)")),
    "infinity": ("", (DW_XH, f"{DW_XH} / 0.0")),
    "a logistic function": ("sigmoid for tanh", ('"tanh": np.tanh,', '"tanh": lambda a: 1 / (1 + np.exp(-a)),'),
        ("return 1 - h * h", "return h * (1 - h)")),
    "a larger step": ("step × 1.1", (STEPPED, f"{STEPPED} * 1.1")),
    "the rate in float32": ("step × ", (STEPPED, f"rate = np.float64(np.float32(step.learning_rate))\n{STEPPED}")),
    "weights that stay": (" × 0", (STEPPED, f'{STEPPED} * (name != "W_hh")')),
    "a velocity of the other sign": ("velocities × -1", (DIRECTION, f"{DIRECTION}\nv = -v"),
        (VELOCITY, "v = g if before is None else -mu * before + (1 - tau) * g")),
    "no sum of squares": ("the velocity, or sum of squares, of before left out", (ADAGRAD, "v = g * g")),
    "RMSprop": ("", (ADAGRAD, "v = 0.1 * g * g + 0.9 * (0 if before is None else before)")),
    "a bias of one step": ("db_h of the first step alone", (DB_H, "db_h = da[0].sum(axis=-2)")),
    "an output bias of one step": ("db_y of the last step alone", (DB_Y, "db_y = dy[-1].sum(axis=-2)")),
    "dW_hh transposed": ("dW_hh transposed", (DW_HH, f'{DW_HH}\nd["W_hh"] = d["W_hh"].mT')),
    "a state that is kept": ("another answer to the same case", (SLOPES, f"{SLOPES}\nCALLS: list[Any] = []"),
        (K, f"{K}\nCALLS.append(1)\nh_0 = h_0 + 0.1 * len(CALLS)")),
}  # fmt: skip
LOOPS = {  # bugs of the training loop, and options of the run
    "gradients are not zeroed": ("gradients add up from update to update", {},
        (SLOPES, f"{SLOPES}\nKEPT: Arrays = {{}}"),
        (GRADIENTS, f"{GRADIENTS}\nd = {{n: g + KEPT.get(n, 0) for n, g in d.items()}}\nKEPT.update(d)")),
    "the initial state in every window": ("state reset at every window", {}, (STATE, "h_0 = run.h_0")),
    "a state one step early": ("the window starts from the state after step 2", {},
        (STATE, "h_0 = states[max(start - first - 1, 0)]")),
    "losses counted twice": ("losses of older steps counted again", {"k1": 2, "k2": 4},
        (WINDOW, WINDOW.replace("[new:stop]", "[start:stop]"))),
    "no last window": ("the last, shorter window left out", {"k1": 5, "k2": 5},
        (UPDATES, UPDATES.replace("T, k1", "T - k1 + 1, k1"))),
    "no older steps": ("windows of the new steps alone", {"k1": 2, "k2": 4}, (START, "start = new")),
    "late targets": ("targets one step late", {}, rolled("target", 1)),
    "late inputs": ("inputs one step late", {}, rolled("x", 1)),
}  # fmt: skip


# -- other forward passes --------------------------------------------------------------------------------------------


class Autograd:
    """A black box with the exact gradient of its loss, by complex steps. A bug replaces a part of the forward pass."""

    name, dtypes, capabilities = "autograd", ("float64",), ()
    lacks: tuple[str, ...] = ("relu", "mean", "bias")

    def __init__(self, **bug):
        for name, value in bug.items():
            setattr(self, name, value)

    cell = staticmethod(lambda W, x, h, h_0: np.tanh(x @ W["W_xh"] + h @ W["W_hh"]))
    out = staticmethod(lambda W, h, h_before: h @ W["W_hy"])
    loss = staticmethod(lambda y, target: ((y - target) ** 2).sum() / 2)
    total = staticmethod(sum)

    def losses(self, W, x, target, h_0):
        h, losses = h_0, []
        for t, x_t in enumerate(x, len(target) - len(x)):
            h_before, h = h, self.cell(W, x_t, h, h_0)
            losses += [self.loss(self.out(W, h, h_before), target[t])] if t >= 0 else []
        return self.total(losses)

    def window_update(self, p, x, target, h_0, *, learning_rate, **options):
        target = np.eye(p["W_hy"].shape[1])[target] if target.dtype.kind == "i" else target
        report = {"loss": np.float64(self.losses(p, x, target, h_0))}
        for name, W in p.items():
            moved = (p | {name: W + 1e-50j * step.reshape(W.shape)} for step in np.eye(W.size))
            gradient = np.array([self.losses(each, x, target, h_0).imag / 1e-50 for each in moved]).reshape(W.shape)
            report |= {"d" + name: gradient, name: W - learning_rate * gradient}
        return report


def softmax(y, axis=-1):
    e = np.exp(y - y.real.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


CLASSES: dict[str, Any] = {
    "capabilities": ("cross_entropy",),
    "lacks": (*Autograd.lacks, "squared_error", "distributions", "large outputs"),
    "loss": lambda y, target: -(target * np.log(softmax(y))).sum(),
}
FORWARD = {
    "zeros for h_0": {"cell": lambda W, x, h, h_0: Autograd.cell(W, x, h * (h is not h_0), h_0)},
    "output read from h_{t-1}": {"out": lambda W, h, h_before: h_before @ W["W_hy"]},
    "tanh of the outputs": {"out": lambda W, h, h_before: np.tanh(h @ W["W_hy"])},
    "softmax applied twice": CLASSES | {"loss": lambda y, target: CLASSES["loss"](softmax(y), target)},
    "softmax over the batch": CLASSES | {"loss": lambda y, target: -(target * np.log(softmax(y, -2))).sum()},
    "a penalty": {"total": lambda losses: sum(losses) * 1.01 + 0.1},
}


# -- tests -----------------------------------------------------------------------------------------------------------


def level(port):
    return "L1" if "intermediates" in port.capabilities else "L2"


def recipes(port, count):
    return (random_recipe(RandomDraw(5, seed), "float64", abilities(port)) for seed in range(count))


def assert_refused(port, hint):
    """Up to two cases show it: in one of them it has its hint, and in none a wrong one."""
    shown = []
    for recipe in recipes(port, 80):
        try:
            with np.errstate(all="ignore"):
                PortCheck(level(port), port, "float64", 10.0, WorstRatios())(recipe)
        except PortFault:  # one line, on its format
            shown.append([])
        except Violation:
            shown.append(hints_for_port(port, recipe))
        if len(shown) == 2 or any(shown):
            break
    assert shown
    assert [[hint in each for each in found] for found in shown if found] == [[True]] * bool(hint), shown


@pytest.mark.parametrize(
    "port", [ModulePort(exchanged()), ModulePort(exchanged(), ()), Autograd(), Autograd(**CLASSES)]
)
def test_port_without_a_bug_passes(port):
    for recipe in recipes(port, 5):
        PortCheck(level(port), port, "float64", 10.0, WorstRatios())(recipe)
        assert hints_for_port(port, recipe) == []


@pytest.mark.parametrize("name", WINDOWS)
def test_bug_of_a_window_is_refused(name):
    hint, *changes = WINDOWS[name]
    capabilities = tuple(name for name in RIGHT.capabilities if name != "loss_weights" or "weights" in hint)
    assert_refused(ModulePort(exchanged(*changes), capabilities), hint)


@pytest.mark.parametrize("hint", FORWARD)
def test_bug_of_a_forward_pass_is_refused(hint):
    assert_refused(Autograd(**FORWARD[hint]), "" if hint == "a penalty" else hint)


@pytest.mark.parametrize("name", LOOPS)
def test_bug_of_a_loop_is_refused(name):
    hint, options, *changes = LOOPS[name]
    generator = np.random.default_rng(3)
    schedule = Schedule(options.get("k1", 3), options.get("k2", 3), 2)
    params = Parameters(*(generator.normal(size=(n, m)) / n**0.5 for n, m in ((3, 4), (4, 4), (4, 5))))
    x, target, h_0 = (generator.normal(size=size) for size in ((12, 2, 3), (12, 2, 5), (2, 4)))
    step = Step(0.05, options.get("momentum", 0.0))
    recorded = trace(exchanged(*changes), Run(params, x, target, h_0, None, RunOptions(schedule, Objective(), step)))
    first = judge(recorded).first
    assert first is not None
    assert [hint in each for each in hints_for_run(recorded, first)] == [True] * bool(hint)


def test_other_factor_of_clipping_is_no_hint():
    """Without a velocity, the step is multiplied by it."""
    port = ModulePort(exchanged((CLIPPED, CLIPPED.replace("expand(factor, g) * g", "expand(factor * factor, g) * g"))))
    for recipe in recipes(port, 3):
        assert hints_for_port(port, recipe._replace(step=Step(0.1, max_norm=0.1))) == []
