"""Every mutant is killed at its stage; hints name mutants and other bugs of windows, forward passes, steps and loops.

A bug of a window is another function of the definition. One of a forward pass has the exact gradient of its loss, as by
autograd. No bug here is one of the catalogue, or of the mistakes as the hints make them.
"""

from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from ports_for_tests import RIGHT, Port, Way, WayPort, functions, window

from numpy_rnn.common.records import Objective, Parameters, Run, RunOptions, Schedule, Step, WindowCase
from numpy_rnn.conformance import definition as right
from numpy_rnn.conformance.case import INTERMEDIATES, present
from numpy_rnn.conformance.definition import DEFINITION, train, window_update
from numpy_rnn.conformance.mutants import hints, score
from numpy_rnn.conformance.mutants.catalogue import MUTANTS, Mutant, named, trace
from numpy_rnn.conformance.mutants.hints import Fit, explanations, hints_for_port
from numpy_rnn.conformance.mutants.run_hints import hints_for_run
from numpy_rnn.conformance.ports.port import abilities
from numpy_rnn.conformance.properties import Violation, check_port, profile
from numpy_rnn.conformance.random_cases import RandomDraw, random_recipe, random_run
from numpy_rnn.conformance.traces.divergence import EQUATIONS
from numpy_rnn.conformance.traces.judge import judge
from numpy_rnn.conformance.traces.recorder import record

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


def test_mutants_have_names():
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)
    with pytest.raises(LookupError, match="no mutant is called 'x'"):
        named("x")


# -- hints of windows -------------------------------------------------------------------------------------------------


def hints_of(port, count=1, seed=9):
    """The hints for the first case in which a port is wrong, from which a hint makes its other cases."""
    found = []
    for each in range(150):
        recipe = random_recipe(RandomDraw(seed, each), "float64", abilities(port))
        fit = hints.Fit(case := recipe.case(), hints.call_port(port, case)[0])
        if fit.wrong:
            found.append(hints_for_port(port, recipe))
        if len(found) == count:
            break
    assert found, "it was never wrong"
    return found


@pytest.mark.parametrize("number", [i for i, mutant in enumerate(MUTANTS) if not mutant.in_run])
def test_hint_names_the_mutant(number):
    """Every other one in a black box."""
    mutant, left_out = MUTANTS[number], ("intermediates",) * (number % 2)
    capabilities = tuple(name for name in RIGHT.capabilities if name not in left_out)
    assert hints_of(WayPort(Way(of=mutant.definition), capabilities)) == [[mutant.name]]


def other_step(change):
    def updated(n, name, theta, delta, step):
        return change(name, theta, step.learning_rate * delta)

    return {"updated": updated}


WINDOWS: dict[str, dict[str, Any]] = {  # the hint, and other functions of the definition
    "dW_hy with h_{t-1} for h_t": {
        "output_weights_gradient": lambda n, w: sum(w.h[t - 1].mT @ w.dy[t] for t in w.steps)},
    "dW_hh with the last step counted twice": {"recurrent_weights_gradient": lambda n, w: sum(
        w.h[t - 1].mT @ w.da[t] * (1 + (t == len(w.x))) for t in w.steps)},
    "dW_hy of the last sequence alone": {"output_weights_gradient": lambda n, w: sum(
        w.h[t][..., -1:, :].mT @ w.dy[t][..., -1:, :] for t in w.steps)},
    "dh_t with da_{t+1} W_hhᵀ within ±1": {"state_adjoint": lambda n, w, p, t: w.dy[t] @ p.W_hy.mT + np.clip(
        w.da[t + 1] @ p.W_hh.mT, -1, 1)},
    "loss × 2": {"loss_and_error": lambda n, *given: [
        k * v for k, v in zip((2, 1), right.loss_and_error(n, *given))]},
    "a norm without its root": {"clipped": lambda n, d, p, step: right.clipped(n, d, p, step)
        if step.max_norm is None else {
        name: g * min(1, step.max_norm / (sum((g * g).sum() for g in d.values()) + 1e-6)) for name, g in d.items()}},
    "the largest number for the norm": {"clipped": lambda n, d, p, step: right.clipped(n, d, p, step)
        if step.max_norm is None else {
        name: g * min(1, step.max_norm / (max(abs(g).max() for g in d.values()) + 1e-6)) for name, g in d.items()}},
    "g divided by the sum of squares, without the root": {"direction": lambda n, g, v, before, step: g / (v + 1e-8)
        if step.adagrad else right.direction(n, g, v, before, step)},
    "targets one step early": {"loss_and_error": lambda n, y, target, *rest: right.loss_and_error(
        n, y, target[[*range(1, len(target)), 0]], *rest)},
    "b_h × 0": other_step(lambda name, theta, moved: theta - moved * (name != "b_h")),
    "step × 1.37": other_step(lambda name, theta, moved: theta - 1.37 * moved),
    "": {"pre_activation_adjoint": lambda n, w, p, t, phi: np.cos(3 * w.dh[t])},  # nobody's mistake
}  # fmt: skip


@pytest.mark.parametrize("hint", WINDOWS)
def test_hint_of_a_window(hint):
    port = WayPort(functions(**WINDOWS[hint]), tuple(name for name in RIGHT.capabilities if name != "intermediates"))
    assert hints_of(port) == [[hint] if hint else []]


def test_every_tensor_is_clipped_in_one_of_the_cases():
    """Otherwise clipping per tensor is the same as none."""
    for seed in range(20):
        recipe = random_recipe(RandomDraw(seed), "float64")._replace(step=Step(0.1, max_norm=5.0), learned=False)
        _, second, _ = hints.hint_recipes(RIGHT, recipe)
        report = window_update(second.case())
        assert all(np.linalg.norm(report["d" + name]) > second.step.max_norm for name in ("W_xh", "W_hh", "W_hy"))


def test_port_without_a_bug_has_no_hint():
    for seed in range(5):
        assert hints_for_port(RIGHT, random_recipe(RandomDraw(5, seed), "float32", abilities(RIGHT))) == []


def test_hint_explains_all_of_the_deviation_and_all_tensors():
    case = window(3, T=8, K=8, H=4, B=3, D=2, O=5, class_inputs=False, saturated=False, step=Step(0.1))
    good, wrong = window_update(case), window_update(case, of=named("dh_next dropped").definition)
    assert explanations([Fit(case, wrong)]) == ["dh_next dropped"]
    assert explanations([Fit(case, {name: good[name] + 0.99 * (wrong[name] - good[name]) for name in good})]) == []
    assert explanations([Fit(case, wrong | {"dW_xh": good["dW_xh"]})]) == []


def test_second_answer_that_differs_is_a_kept_state():
    class Keeping(Port):
        calls = 0

        def window_update(self, params, x, **given):
            self.calls += 1
            return RIGHT.window_update(params, x + self.calls, **given)

    [hint] = hints_for_port(Keeping(), random_recipe(RandomDraw(1))._replace(class_inputs=False))
    assert hint.startswith("it gives another answer")


# -- where a mistake makes no difference ------------------------------------------------------------------------------


def limited(port, *lacks, **sizes):
    port.lacks, port.sizes = lacks, sizes
    return port


def test_no_hint_tells_apart_what_is_the_same_in_one_step():
    """In a window of one step, W_hh untransposed is a wrong dh_0 only, as many mistakes are."""
    port = limited(WayPort(Way(of=named("W_hh used without its transpose").definition)), T=1, K=1)
    assert hints_of(port) == [[]]


def test_no_factor_of_a_size_that_is_always_one():
    """Nesterov's sign is no factor of 1/B."""
    functions_ = {"direction": lambda n, g, v, before, step: g - step.momentum * v if step.nesterov else
                  right.direction(n, g, v, before, step)}  # fmt: skip
    found = hints_of(limited(WayPort(functions(**functions_)), "batch"))
    assert found == [["the direction with v of the other sign"]]
    halved = limited(WayPort(functions(**other_step(lambda name, theta, moved: theta - moved / 2))), "batch")
    assert hints_of(halved) == [["step × 1/2"]]


# -- forward passes whose gradient is exact ---------------------------------------------------------------------------


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
        report = {"loss": np.float64(self.losses(p, x, target, h_0))}
        for name, W in p.items():
            moved = (p | {name: W + 1e-50j * step.reshape(W.shape)} for step in np.eye(W.size))
            gradient = np.array([self.losses(each, x, target, h_0).imag / 1e-50 for each in moved]).reshape(W.shape)
            report |= {"d" + name: gradient, name: W - learning_rate * gradient}
        return report


FORWARD: dict[str, Any] = {
    "output read from h_{t-1}, and its gradient": {"out": lambda W, h, h_before: h_before @ W["W_hy"]},
    "φ applied twice": {"cell": lambda W, x, h, h_0: np.tanh(np.tanh(x @ W["W_xh"] + h @ W["W_hh"]))},
    "": {"total": lambda losses: sum(losses) * 1.01 + 0.1},
}


@pytest.mark.parametrize("hint", FORWARD)
def test_hint_of_a_forward_pass(hint):
    assert hints_of(Autograd(**FORWARD[hint])) == [[hint] if hint else []]


# -- hints of runs ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mutant", [m for m in MUTANTS if m.in_run], ids=lambda mutant: mutant.name)
def test_hint_names_the_mutant_of_a_run(mutant):
    """In the first run of several windows in which it is wrong."""
    for seed in range(40):
        wrong = trace(mutant.definition, random_run(RandomDraw(seed)))
        first = judge(wrong).first
        if first and len(set(wrong.updates["start"])) > 1:
            [hint] = hints_for_run(wrong, first)
            assert hint.startswith(mutant.name)  # which may say where
            return
    pytest.fail(f"{mutant.name} was never caught")


def series(epochs, k1=3, k2=3, **step):
    generator = np.random.default_rng(3)
    params = Parameters(*(generator.normal(size=(n, m)) / n**0.5 for n, m in ((3, 4), (4, 4), (4, 5))))
    x, target, h_0 = (generator.normal(size=size) for size in ((13, 2, 3), (13, 2, 5), (2, 4)))
    options = RunOptions(Schedule(k1, k2, epochs), Objective(), Step(0.05, **step))
    return Run(params, x, target, h_0, None, options)


class Loop:
    """A loop that keeps something. change(case, report before, number): the case, and gradients that are added."""

    def __init__(self, change):
        self.change, self.number, self.before = change, 0, {}

    def compute(self, case: WindowCase):
        self.number += 1
        changed, added = self.change(case, self.before, self.number)
        report = window_update(changed)
        if added:
            d = {name[1:]: report[name] + added.get(name, 0) for name in report if name in ("dW_xh", "dW_hh", "dW_hy")}
            n = right.Floats(np.float64)
            right.update(n, present(case.params), d, {}, case.step)
            report |= {"d" + name: g for name, g in d.items()} | n.report()
        self.before = report
        return report, report["h"]


LOOPS: dict[str, tuple[dict[str, Any], Any]] = {  # the hint, options, and a change of an update
    "gradients set to zero at every second update alone": ({}, lambda case, before, number: (
        case, before if number % 2 == 0 else {})),
    "the velocity of before left out": ({"momentum": 0.9}, lambda case, before, number: (
        case._replace(velocity=None), {})),
    "": ({}, lambda case, before, number: (case._replace(x=case.x + 0.1 * number), {})),
}  # fmt: skip


@pytest.mark.parametrize("hint", LOOPS)
def test_hint_of_a_loop(hint):
    options, change = LOOPS[hint]
    run = series(2, **options)
    recorded = record(run, train(run, Loop(change).compute))
    assert hints_for_run(recorded, judge(recorded).first) == ([hint] if hint else [])


def test_hint_of_series_that_are_shifted_and_windows_that_are_others():
    run = series(2)
    late = trace(DEFINITION, run._replace(target=np.roll(run.target, 1, 0)))._replace(run=run)
    assert hints_for_run(late, judge(late).first) == ["targets one step late"]
    short = trace(DEFINITION, run._replace(x=run.x[:12], target=run.target[:12]))._replace(run=run)
    assert hints_for_run(short, judge(short).first) == ["the last, shorter window left out"]


# -- in the messages of the suite -------------------------------------------------------------------------------------


def test_no_hint_on_epochs_in_the_first():
    """A wrong initial state of the first window says nothing about what is kept between epochs."""
    wrong = trace(DEFINITION, series(1))
    initial = wrong.updates["initial"].copy()
    initial[0] += 0.5
    wrong = wrong.replace({"initial": initial})
    assert hints_for_run(wrong, judge(wrong).first) == []


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
