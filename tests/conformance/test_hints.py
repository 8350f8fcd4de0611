"""Every mutant is killed at its stage; hints name mutants and other bugs of windows, loops and forward passes.

A bug is a few other lines of `plain_rnn`, or another forward pass whose gradient is exact, as that of autograd.
"""

from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from numpy_rnn.conformance.bounds.local_bounds import check_local
from ports_for_tests import RIGHT, ModulePort, Port, exchanged, window

from numpy_rnn.common.records import Objective, Parameters, Run, RunOptions, Schedule, Step
from numpy_rnn.conformance import plain_rnn
from numpy_rnn.conformance.case import INTERMEDIATES
from numpy_rnn.conformance.mutants import hints, score
from numpy_rnn.conformance.mutants.catalogue import MUTANTS, Mutant, load, named, trace
from numpy_rnn.conformance.mutants.hints import hints_for_port
from numpy_rnn.conformance.mutants.run_hints import hints_for_run
from numpy_rnn.conformance.ports.port import abilities
from numpy_rnn.conformance.ports.protocol import PortFault
from numpy_rnn.conformance.properties import PortCheck, Violation, WorstRatios, check_port, profile
from numpy_rnn.conformance.random_cases import RandomDraw, Recipe, random_recipe, random_run
from numpy_rnn.conformance.traces.divergence import EQUATIONS
from numpy_rnn.conformance.traces.judge import judge

TRIALS = [(mutant, level) for mutant in MUTANTS for level in score.levels(mutant)]
SEED = 1  # of cases of which the first that catches a mutant shows it clearly


@pytest.mark.parametrize(("mutant", "level"), TRIALS, ids=lambda v: v.name if isinstance(v, Mutant) else v)
def test_mutant_is_killed(mutant, level):
    found = score.score(mutant, level, seed=SEED)
    assert found.tensor is not None, f"{mutant.name} survived {found.cases} cases at level {level}"
    assert found.factor > 1000, f"{mutant.name} exceeds its bound by {found.factor} only"
    if level == "L2":  # a black box names what it shows, and not the stage
        assert found.tensor not in INTERMEDIATES
    else:
        # Without momentum there is no velocity, and a mistake in the direction is visible in the parameters.
        stages = {EQUATIONS[mutant.stage], EQUATIONS["W_xh"] if mutant.stage.startswith("v") else ""}
        assert EQUATIONS.get(found.tensor) in stages, f"{found.tensor} for {mutant.stage}"


def test_mutants_are_few_and_every_line_is_in_the_source():
    assert len(MUTANTS) <= 40
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)
    assert {EQUATIONS[mutant.stage] for mutant in MUTANTS} >= {"T1, T2", "T3", "F1", "F3", "L1, L2", "B1", "B2", "B3"}
    with pytest.raises(LookupError, match="no mutant is called 'x'"):
        named("x")
    with pytest.raises(LookupError, match="occurs 0 times, expected once"):
        Mutant("m", "a", False, (("no line", "wrong"),)).source()


# -- hints -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mutant", [m for m in MUTANTS if not m.in_run], ids=lambda mutant: mutant.name)
def test_hint_names_the_mutant(mutant):
    """In most of the cases in which it is wrong, and hardly another one."""
    found, wrong = [], 0
    for seed in range(150):
        recipe = random_recipe(RandomDraw(9, seed), "float64")
        case = recipe.case()
        with np.errstate(all="ignore"):
            report = load(mutant).window_update(case)
        if score.first_violation(check_local(case, report)) is not None:
            wrong += 1
            found.append(hints.hints_for_port(ModulePort(load(mutant)), recipe))
        if wrong == 3:
            break
    assert wrong
    named_it = [mutant.name in names for names in found]
    assert sum(named_it) >= wrong / 2, found
    assert sum(len(names) for names in found) <= sum(named_it) + wrong / 2, found


@pytest.mark.parametrize("mutant", [m for m in MUTANTS if m.in_run], ids=lambda mutant: mutant.name)
def test_hint_names_the_mutant_of_a_run(mutant):
    """In the first run in which it is wrong."""
    for seed in range(40):
        run = random_run(RandomDraw(seed))
        wrong = trace(load(mutant), run)
        if first := judge(wrong).first:
            assert hints_for_run(wrong, first) == [mutant.name]
            return
    pytest.fail(f"{mutant.name} was never caught")


def test_hint_explains_nearly_all_of_the_deviation():
    case = window(3, T=8, K=8, H=4, B=3, D=2, O=5, class_inputs=False, saturated=False)
    right, wrong = plain_rnn.window_update(case), load(named("dh_next dropped")).window_update(case)
    for part, expected in ((0.99, ["dh_next dropped"]), (0.7, [])):
        report = {name: right[name] + part * (wrong[name] - right[name]) for name in right}
        assert hints.hints_for_case(case, report, "dh") == expected


def test_factor_of_few_numbers_may_be_chance():
    """One number is any other times a factor; eight are not."""
    for recipe, expected in (
        (Recipe(3, 1, 1, 1, 1, 3, "float64"), []),
        (Recipe(3, 1, 2, 4, 1, 3, "float64"), ["dW_xh × 1.37"]),
    ):
        fit = hints.Fit(recipe.case(), plain_rnn.window_update(recipe.case()), "dW_xh")
        report = fit.with_step(fit.gradients(fit.right) | {"dW_xh": 1.37 * fit.right["dW_xh"]})
        assert hints.hints_for_case(fit.case, report, "dW_xh") == expected


def test_earliest_wrong_stage_of_all_cases_is_named():
    """A gradient is wrong in every case, and the loss in windows of three steps, of which the smallest case is none."""

    class Late(Port):
        def window_update(self, params, x, **given):
            report = RIGHT.window_update(params, x, **given)
            return report | {"dW_xh": report["dW_xh"] + 1, "loss": report["loss"] + (len(x) > 2)}

    few = settings(profile("default"), max_examples=20, derandomize=True)
    with pytest.raises(Violation) as error:
        check_port("L1", Late(), "float64", few)
    assert "Recipe(T=1, B=1, D=1, H=1, O=1, K=1, dtype='float64'): dW_xh (B4) at [0, 0] is " in str(error.value)
    assert "; the earliest wrong stage is loss (L1, L2), in Recipe(T=11, B=3, " in str(error.value)


# -- planted bugs: lines of plain_rnn ---------------------------------------------------------------------------------

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
