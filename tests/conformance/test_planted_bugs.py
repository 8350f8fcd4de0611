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

CASE = "case = with_rows(case)"
K = "K = len(target)"
SLOPES = 'SLOPES = {"tanh": tanh_slope, "relu": relu_slope, "sigmoid": sigmoid_slope}'
TERMS, OUTPUTS = "N = K * B if weights is None else weights.sum() or 1", "N = N * O"
LOG_LOSS, SQUARES = "losses = -(target * log_p)", "losses = 0.5 * (y - target) * (y - target)"
LOSS = 'report |= {"loss": loss} if case.objective.loss != GIVEN_DY else {}'
STEPS = "T, d = range(len(x)), {}"
GRADIENTS, DX = "d = gradients(p, x, h, dy, da)", 'dx = np.stack([da_t @ p["W_xh"].mT for da_t in da])'
DW_XH, DW_HH = 'd["W_xh"] = sum(x[t].mT @ da[t] for t in T)', 'd["W_hh"] = sum(h[t].mT @ da[t] for t in T)'
DB_H, DB_Y = "db_h = sum(da[t].sum(axis=-2) for t in T)", "db_y = sum(dy[t].sum(axis=-2) for t in T)"
CLIPPED = "clipped = {name: expand(factor, g) * g for name, g in d.items()}"
DECAY, STEPPED = "g = g + decay * theta if decay else g", "report[name] = theta - expand(rate, theta) * delta"
VELOCITY = "v = g if before is None else mu * before + (1 - tau) * g"
DIRECTION, ADAGRAD = "delta = g + mu * v if step.nesterov else v", "v = g * g if before is None else before + g * g"
RUN, STATE, SERIES = "T, params = len(run.x), run.params", "h_0 = states[start - first]", "states: list[Any] = []"
WINDOW = "case = WindowCase(params, run.x[start:stop], run.target[new:stop], h_0, weights, objective, step, velocity)"
UPDATES, START = "for number, new in enumerate(range(0, T, k1), start=1):", "start = max(0, stop - k2)"
YIELD = "yield Recorded(epoch, number, Window(start, new, stop), h_0, report)"


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
    "the last step twice": ("", ("for t in reversed(range(T)):", "for t in [T - 1, *reversed(range(T))]:")),
    "a mean not over outputs": ("loss × O", (OUTPUTS, "N = N")),
    "a mean over steps": ("loss × B", (TERMS, "N = K"), (OUTPUTS, "N = N")),
    "a mean not over the batch": ("loss × B", (TERMS, "N = K")),
    "a mean over the batch": ("loss × K", (TERMS, "N = B"), (OUTPUTS, "N = N")),
    "no half": ("loss × 2", (SQUARES, "losses = (y - target) * (y - target)")),
    "no clipping by the norm": ("max_norm left out", ("if step.max_norm is not None:", "if False:")),
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
    "another initial state": ("", part("h_0=initial_state(case)[::-1] + 0.5")),
    "smoothed labels": ("", (LOG_LOSS, f"target = 0.9 * target + 0.1 / O\n{LOG_LOSS}")),
    "bits": ("loss × 1/ln 2", (LOG_LOSS, f"{LOG_LOSS} / np.log(2)")),
    "decimal digits": ("loss × 1/ln 10", (LOG_LOSS, f"{LOG_LOSS} / np.log(10)")),
    "a loss that is not a number": ("", (LOSS, 'report["loss"] = np.float64(np.nan)')),
    "infinity": ("", (DW_XH, f"{DW_XH} / 0.0")),
    "a transposed shape": ("", (DX, f"{DX}.mT")),
    "a logistic function": ("sigmoid for tanh", ('"tanh": np.tanh,', '"tanh": lambda a: 1 / (1 + np.exp(-a)),'),
        ("return 1 - h * h", "return h * (1 - h)")),
    "a leaky relu": ("", ('"relu": lambda a: np.maximum(a, 0),', '"relu": lambda a: np.where(a > 0, a, 0.01 * a),'),
        ("return (h > 0).astype(h.dtype)", "return np.where(h > 0, 1, 0.01)")),
    "half the step": ("step × 1/2", (STEPPED, f"{STEPPED} / 2")),
    "a larger step": ("step × 1.1", (STEPPED, f"{STEPPED} * 1.1")),
    "an ascent": ("step × -1", (STEPPED, f"{STEPPED} * -1")),
    "the rate in float32": ("step × ", (STEPPED, f"rate = np.float64(np.float32(step.learning_rate))\n{STEPPED}")),
    "weights that stay": (" × 0", (STEPPED, f'{STEPPED} * (name != "W_hh")')),
    "a velocity of the other sign": ("velocities × -1", (DIRECTION, f"{DIRECTION}\nv = -v"),
        (VELOCITY, "v = g if before is None else -mu * before + (1 - tau) * g")),
    "no sum of squares": ("the velocity, or sum of squares, of before left out", (ADAGRAD, "v = g * g")),
    "RMSprop": ("", (ADAGRAD, "v = 0.1 * g * g + 0.9 * (0 if before is None else before)")),
    "Nesterov without the gradient": ("", (DIRECTION, "delta = (1 + mu) * v if step.nesterov else v")),
    "dx of dh": ("", (DX, DX.replace("for da_t in da", "for da_t in dh"))),
    "a bias of one step": ("db_h of the first step alone", (DB_H, "db_h = da[0].sum(axis=-2)")),
    "an output bias of one step": ("db_y of the last step alone", (DB_Y, "db_y = dy[-1].sum(axis=-2)")),
    "dW_hh transposed": ("dW_hh transposed", (DW_HH, f'{DW_HH}\nd["W_hh"] = d["W_hh"].mT')),
    "late inputs in the gradient": ("", (GRADIENTS, "d = gradients(p, np.concatenate((x[:1], x[:-1])), h, dy, da)")),
    "a state that is kept": ("another answer to the same case", (SLOPES, f"{SLOPES}\nCALLS: list[Any] = []"),
        (K, f"{K}\nCALLS.append(1)\nh_0 = h_0 + 0.1 * len(CALLS)")),
}  # fmt: skip
LOOPS = {  # bugs of the training loop, and options of the run
    "gradients are not zeroed": ("gradients add up from update to update", {},
        (SLOPES, f"{SLOPES}\nKEPT: Arrays = {{}}"),
        (GRADIENTS, f"{GRADIENTS}\nd = {{n: g + KEPT.get(n, 0) for n, g in d.items()}}\nKEPT.update(d)")),
    "the initial state in every window": ("state reset at every window", {}, (STATE, "h_0 = run.h_0")),
    "parameters before the step": (" × 0", {}, (STATE, f"{STATE}\nformer = present(params)"),
        (YIELD, YIELD.replace("report)", "report | former)"))),
    "a state one step early": ("the window starts from the state after step 2", {},
        (STATE, "h_0 = states[max(start - first - 1, 0)]")),
    "the state of the window before": ("the window starts from the state after step 0", {"k1": 2, "k2": 4},
        (STATE, f"{STATE} if first or start == 0 else states[0] * (1 - 1e-9)")),
    "sequences exchanged": ("", {}, (WINDOW, WINDOW.replace("[start:stop]", "[start:stop, ::-1]"))),
    "a velocity of one epoch": ("the velocity, or sum of squares, of before left out", {"momentum": 0.9},
        (SERIES, f"{SERIES}\nvelocity = None")),
    "losses counted twice": ("losses of older steps counted again", {"k1": 2, "k2": 4},
        (WINDOW, WINDOW.replace("[new:stop]", "[start:stop]"))),
    "no last window": ("the last, shorter window left out", {"k1": 5, "k2": 5},
        (UPDATES, UPDATES.replace("T, k1", "T - k1 + 1, k1"))),
    "no older steps": ("windows of the new steps alone", {"k1": 2, "k2": 4}, (START, "start = new")),
    "late targets": ("targets one step late", {}, rolled("target", 1)),
    "early targets": ("targets one step early", {}, rolled("target", -1)),
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
    "W_hh transposed throughout": {"cell": lambda W, x, h, h_0: np.tanh(x @ W["W_xh"] + h @ W["W_hh"].T)},
    "sigmoid for tanh": {"cell": lambda W, x, h, h_0: 1 / (1 + np.exp(-x @ W["W_xh"] - h @ W["W_hh"]))},
    "output read from h_{t-1}": {"out": lambda W, h, h_before: h_before @ W["W_hy"]},
    "tanh of the outputs": {"out": lambda W, h, h_before: np.tanh(h @ W["W_hy"])},
    "loss × 2, gradients × 2": {"loss": lambda y, target: ((y - target) ** 2).sum()},
    "the loss of the last step alone": {"total": lambda losses: losses[-1]},
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


def test_most_bugs_have_a_hint():
    hints = [hint for hint, *_ in (*WINDOWS.values(), *LOOPS.values())] + [*FORWARD]
    assert sum(map(bool, hints)) >= 0.8 * len(hints)
