"""Every mutant is killed at its stage; hints name mutants, factors, truncations and loops.

Seeds are drawn in every run and told by a failure. What is not always visible has a rate. Bugs that
are no mutants are written here in their own words; none of them has a wrong hint.
"""

import secrets

import numpy as np
import pytest
from ports_for_tests import RIGHT, DefinitionPort, Port
from windows_for_tests import check_global, check_local

from numpy_rnn.common.records import (
    Objective,
    Parameters,
    Run,
    RunOptions,
    Schedule,
    Step,
    Window,
)
from numpy_rnn.conformance.case import (
    EQUATIONS,
    INTERMEDIATES,
    TENSORS,
    format_errors,
)
from numpy_rnn.conformance.definition import DEFINITION as right
from numpy_rnn.conformance.definition import Definition, train, update, window_update
from numpy_rnn.conformance.judge import Divergence, judge
from numpy_rnn.conformance.mutants import hints
from numpy_rnn.conformance.mutants.catalogue import LOOPS as RUN_MISTAKES
from numpy_rnn.conformance.mutants.catalogue import MUTANTS, STEPS, of_windows
from numpy_rnn.conformance.mutants.hints import Fit, explanation, hint_for_port, hint_for_run
from numpy_rnn.conformance.ports.port import abilities, call_port
from numpy_rnn.conformance.ports.protocol import CAPABILITIES
from numpy_rnn.conformance.random_cases import RandomDraw, random_recipe, random_run
from numpy_rnn.conformance.runs import RecordedRun, is_bounded, record

IN_WINDOW = [mutant for mutant in MUTANTS if not mutant.in_run]
IN_RUN = [mutant for mutant in MUTANTS if mutant.in_run]
MOST = 400  # cases in which a mutant is looked for; the rarest shows in one of some 20
BLACK_BOX = tuple(name for name in CAPABILITIES if name != "intermediates")


@pytest.fixture
def seed():
    """Another one in every run, told by the assertions."""
    return secrets.randbelow(2**32)


def names_of(mutants):
    return pytest.mark.parametrize("mutant", mutants, ids=lambda mutant: mutant.name)


def trace(of, run):
    return record(run, train(run, of=of))


# -- mutants are killed -------------------------------------------------------------------------


def wrong_tensor(mutant, case, is_box):
    """The first tensor of a case that exceeds its bound, at L2 of a black box, or at L1."""
    with np.errstate(all="ignore"):  # a wrong gradient may well overflow
        report = window_update(case, of=mutant.definition)
        if format_errors(case, report, True, True):  # a number that is not finite
            return None
        if is_box:
            report = {name: v for name, v in report.items() if name not in INTERMEDIATES}
        ratios = (check_global if is_box else check_local)(case, report)
    return next((n for n in TENSORS if n in ratios and not (ratios[n] <= 1).all()), None)


def is_at_stage(tensor, mutant):
    """Without momentum there is no velocity, and a wrong direction shows in the parameters."""
    stages = {EQUATIONS[mutant.stage], EQUATIONS["W_xh"] if mutant.stage.startswith("v") else ""}
    return EQUATIONS.get(tensor) in stages


@names_of(IN_WINDOW)
def test_mutant_is_killed_at_its_stage(mutant, seed):
    """By a local check; a black box names a tensor that it reports. One step shows less."""
    for is_box in (False, True):
        cases = (random_recipe(RandomDraw(seed, number)).case() for number in range(MOST))
        cases = (case for case in cases if len(case.x) > 1)
        found = next(filter(None, (wrong_tensor(mutant, case, is_box) for case in cases)), None)
        assert found is not None, f"{mutant.name} survives {MOST} cases of seed {seed}"
        if is_box:
            assert found not in INTERMEDIATES
        else:
            assert is_at_stage(found, mutant), f"{found} for {mutant.stage}, seed {seed}"


def wrong_runs(mutant, seed, count):
    """Runs of a mutant that are judged wrong, and their first divergences."""
    for number in range(MOST):
        run = random_run(RandomDraw(seed, number))
        wrong = trace(mutant.definition, run) if is_bounded(run) else None
        if wrong and (first := judge(wrong).first):
            yield wrong, first
            count -= 1
        if not count:
            return


@names_of(IN_RUN)
def test_mutant_of_a_run_is_killed_and_named(mutant, seed):
    """A hint may be missing where all windows are alike, but none is another one."""
    found = list(wrong_runs(mutant, seed, 8))
    assert len(found) == 8, f"{mutant.name}: seed {seed}"
    texts = [hint_for_run(wrong, first) for wrong, first in found]
    assert all(is_at_stage(first.tensor, mutant) for _, first in found), f"seed {seed}"
    assert sum(text == mutant.name for text in texts) >= 3, f"{texts}: seed {seed}"


def test_mutants_have_names():
    known = [mutant.name for mutant in (*MUTANTS, *of_windows(9), *STEPS, *RUN_MISTAKES)]
    assert len(MUTANTS) == 40
    assert all(name and name.isprintable() for name in known)


# -- hints of windows ---------------------------------------------------------------------------


def hint_of(port, seed, dtype="float64"):
    """The hint for the first case in which a port is wrong."""
    for number in range(MOST):
        recipe = random_recipe(RandomDraw(seed, number), dtype, abilities(port))
        case = recipe.case()
        if Fit(case, call_port(port, case)).wrong:
            return hint_for_port(port, recipe, case)
    raise AssertionError(f"it is never wrong: seed {seed}")


@names_of(IN_WINDOW)
@pytest.mark.parametrize("is_box", [False, True], ids=["seen", "black box"])
def test_hint_names_the_mutant(mutant, is_box, seed):
    port = DefinitionPort(mutant.definition, has=BLACK_BOX if is_box else CAPABILITIES)
    assert hint_of(port, seed) == mutant.name, f"seed {seed}"


BUGS = {  # equations that are no mutants, as somebody writes them, and the hint
    "dW_hy with h_{t-1}": ({"output_weights_gradient": lambda n, w: sum(
        w.h[t - 1].mT @ w.dy[t] for t in w.steps)}, "h_{t-1} for h_t in dW_hy"),
    "from step 2": ({"recurrent_weights_gradient": lambda n, w: sum(
        w.h[t - 1].mT @ w.da[t] for t in w.steps[1:]) if len(w.x) > 1 else 0 * w.h[0].mT @ w.da[1]},
        "dW_hh without the first step"),
    "transposed": ({"recurrent_weights_gradient": lambda n, w: sum(
        w.da[t].mT @ w.h[t - 1] for t in w.steps)}, "dW_hh transposed"),
    "clipped flow": ({"state_adjoint": lambda n, w, p, t: w.dy[t] @ p.W_hy.mT + np.clip(
        w.da[t + 1] @ p.W_hh.mT, -1, 1), "initial_state_adjoint": lambda n, w, p: np.clip(
        w.da[1] @ p.W_hh.mT, -1, 1)}, "the flow back within ±1"),
    "clipped da": ({"pre_activation_adjoint": lambda n, w, t, phi: np.clip(
        right.pre_activation_adjoint(n, w, t, phi), -1, 1)}, "da_t within ±1"),
    "twice the loss": ({"loss_and_error": lambda n, *given: [
        k * v for k, v in zip((2, 1), right.loss_and_error(n, *given))]}, "loss × 2"),
    "1/B": ({"recurrent_weights_gradient": lambda n, w: sum(
        w.h[t - 1].mT @ w.da[t] for t in w.steps) / w.x[1].shape[-2]}, "dW_hh × 1/B"),
    "newest": ({"state_adjoint": lambda n, w, p, t: right.state_adjoint(n, w, p, t) * (
        t > len(w.x) - 3)}, "the backward pass ends after the newest 3 steps"),
    "bptt_truncate": ({"state_adjoint": lambda n, w, p, t: w.dy[t] @ p.W_hy.mT + (
        w.dy[t + 1] @ p.W_hy.mT * (1 - w.h[t + 1] ** 2) @ p.W_hh.mT if t < len(w.x) else 0)},
        "each loss goes back over 2 steps (bptt_truncate = 1)"),
    "frozen bias": ({"updated": lambda n, name, theta, delta, step: theta if name == "b_h" else
        right.updated(n, name, theta, delta, step)}, "step of b_h × 0"),
    "rate × 0.999": ({"updated": lambda n, name, theta, delta, step: theta - 0.999 * (
        n.rate(step, theta) * delta)}, "step × 0.999"),
    "nobody's": ({"pre_activation_adjoint": lambda n, w, t, phi: np.cos(3 * w.dh[t])}, ""),
}  # fmt: skip


@pytest.mark.parametrize("bug", BUGS)
def test_hint_of_a_bug(bug, seed):
    equations, hint = BUGS[bug]
    port = DefinitionPort(Definition(**equations), "relu", has=("sgd_options",))
    found = [hint_of(port, seed + each) for each in range(4)]
    alike = {hint, "dh_t within ±1"} if bug == "clipped da" else {hint}  # with a slope of 1
    assert sum(text in alike for text in found) >= 3, f"{found}: seed {seed}"
    assert {*found} <= alike | {""}, f"{found}: seed {seed}"


class Autograd:
    """A black box with the exact gradient of its loss, by complex steps."""

    name, dtypes, capabilities, lacks = "autograd", ("float64",), (), ("relu", "mean", "bias")

    def __init__(self, cell=None, out=None, total=sum):
        self.cell = cell or (lambda W, x, h: np.tanh(x @ W["W_xh"] + h @ W["W_hh"]))
        self.out, self.total = out or (lambda W, h, h_before: h @ W["W_hy"]), total

    def loss(self, W, x, target, h_0):
        h, losses = h_0, []
        for t, x_t in enumerate(x, len(target) - len(x)):
            h_before, h = h, self.cell(W, x_t, h)
            y = self.out(W, h, h_before)
            losses += [((y - target[t]) ** 2).sum() / 2] if t >= 0 else []
        return self.total(losses)

    def window_update(self, p, x, target, h_0, *, learning_rate, **options):
        report = {"loss": np.float64(self.loss(p, x, target, h_0))}
        for name, W in p.items():
            moved = (p | {name: W + 1e-50j * step.reshape(W.shape)} for step in np.eye(W.size))
            slopes = [self.loss(each, x, target, h_0).imag / 1e-50 for each in moved]
            gradient = np.reshape(slopes, W.shape)
            report |= {"d" + name: gradient, name: W - learning_rate * gradient}
        return report


AUTOGRAD = {
    "output read from h_{t-1}": Autograd(out=lambda W, h, h_before: h_before @ W["W_hy"]),
    "W_hh transposed throughout": Autograd(
        cell=lambda W, x, h: np.tanh(x @ W["W_xh"] + h @ W["W_hh"].T)
    ),
    "": Autograd(total=lambda losses: sum(losses) * 1.01 + 0.1),
}


@pytest.mark.parametrize("hint", AUTOGRAD)
def test_hint_of_a_forward_pass(hint, seed):
    assert hint_of(AUTOGRAD[hint], seed) == hint, f"seed {seed}"


def test_right_port_has_no_hint(seed):
    for number in range(5):
        recipe = random_recipe(RandomDraw(seed, number), "float32", abilities(RIGHT))
        assert hint_for_port(RIGHT, recipe, recipe.case()) == "", f"seed {seed}"


def test_hint_explains_all_of_the_deviation_and_all_tensors():
    sizes = {"T": 8, "K": 8, "H": 4, "B": 3, "D": 2, "O": 5, "step": Step(0.1), "scale": 1.0}
    case = random_recipe(RandomDraw(3), "float64")._replace(**sizes, class_inputs=False).case()
    good, wrong = window_update(case), window_update(case, of=MUTANTS[1].definition)
    assert explanation([Fit(case, wrong)]) == "dh_next dropped"
    assert not Fit(case, wrong).explains({"dW_hh": np.full((4, 4), np.inf)}, ["dW_hh"])
    near = {name: good[name] + 0.99 * (wrong[name] - good[name]) for name in good}
    assert explanation([Fit(case, near)]) == ""
    assert explanation([Fit(case, wrong | {"dW_xh": good["dW_xh"]})]) == ""


def test_second_answer_that_differs_is_a_kept_state(seed):
    class Keeping(Port):
        calls = 0

        def window_update(self, params, x, **given):
            self.calls += 1
            return RIGHT.window_update(params, x + self.calls, **given)

    recipe = random_recipe(RandomDraw(seed), "float64")._replace(class_inputs=False)
    assert hint_for_port(Keeping(), recipe, recipe.case()) == hints.KEPT


# -- hints of runs ------------------------------------------------------------------------------


def series(epochs, k1=3, k2=3, **step):
    generator = np.random.default_rng(3)
    shapes = ((3, 4), (4, 4), (4, 5))
    params = Parameters(*(generator.normal(size=shape) / shape[0] ** 0.5 for shape in shapes))
    x, target, h_0 = (generator.normal(size=size) for size in ((13, 3, 3), (13, 3, 5), (3, 4)))
    options = RunOptions(Schedule(k1, k2, epochs), Objective(), Step(0.05, **step))
    return Run(params=params, x=x, target=target, h_0=h_0, options=options)


class Loop:
    """A loop that does something else. change(loop, case, i): the case, and added gradients."""

    def __init__(self, run, change):
        self.run, self.change, self.cases, self.reports = run, change, [], []

    def compute(self, case):
        self.cases.append(case)
        changed, added = self.change(self, case, len(self.reports))
        report = window_update(changed)
        if added is not None:
            names = ("W_xh", "W_hh", "W_hy")
            d = {name: report["d" + name] + added.get("d" + name, 0) for name in names}
            n = hints.Floats(np.float64)
            update(n, dict(zip(names, case.params)), d, {}, case.step)
            report |= {"d" + name: g for name, g in d.items()} | n.report()
        self.reports.append(report)
        return report, report["h"]

    @property
    def before(self):
        """The report of the update before, or nothing."""
        return self.reports[-1] if self.reports else {}

    def at_rate(self, factor):
        case = self.cases[-1]
        return case._replace(step=case.step._replace(learning_rate=0.05 * factor)), None


PER_EPOCH = 5  # updates of `series`
LOOPS = {  # the hint, and a change of an update; i, from 0, is that of the run
    "gradients add up from update to update": lambda loop, case, i: (case, loop.before),
    "gradients add up within an epoch": lambda loop, case, i: (
        case, loop.before if i % PER_EPOCH else {}),
    "the velocity, or sum of squares, reset at every epoch": lambda loop, case, i: (
        case if i % PER_EPOCH else case._replace(velocity=None), None),
    "the rate divided by the number of the epoch": lambda loop, case, i: (
        loop.at_rate(1 / (1 + i // PER_EPOCH))),
    "": lambda loop, case, i: (case._replace(x=case.x + 0.1 * i), None),
}  # fmt: skip


@pytest.mark.parametrize("hint", LOOPS)
def test_hint_of_a_loop(hint):
    options = {"momentum": 0.9} if "velocity" in hint else {}
    run = series(3, **options)
    found = record(run, train(run, Loop(run, LOOPS[hint]).compute))
    assert hint_for_run(found, judge(found).first) == hint


SCHEDULES = {  # of 13 steps under TBPTT(3, 5), the right ones without a hint
    "": "0 0 3, 1 3 6, 4 6 9, 7 9 12, 8 12 13",
    "bptt over k+1 steps": "0 0 3, 0 3 6, 3 6 9, 6 9 12, 7 12 13",
    "chunks instead of a sliding window": "0 0 5, 5 5 10, 8 10 13",
    "the last, shorter window left out": "0 0 3, 1 3 6, 4 6 9, 7 9 12",
    "losses of older steps counted again": "0 0 3, 1 1 6, 4 4 9, 7 7 12, 8 8 13",
    "windows start a step late": "0 0 3, 2 3 6, 5 6 9, 8 9 12, 9 12 13",
}


@pytest.mark.parametrize("hint", SCHEDULES)
def test_hint_of_windows(hint):
    rows = [[*map(int, window.split())] for window in SCHEDULES[hint].split(", ")] * 2
    wrong = RecordedRun(series(2, 3, 5), dict(zip(Window._fields, np.transpose(rows))))
    first = Divergence(1, 1, "window", None, (0,), 0.0, 0.0, 0.0, np.inf)
    assert hint_for_run(wrong, first) == hint


STATES = {each.name: each for each in RUN_MISTAKES if [*each.equations] == ["carried_state"]}


@pytest.mark.parametrize("hint", [*STATES, ""])
def test_hint_of_initial_states(hint):
    """Each state of the table in a run; and one that is in none."""
    wrong = Definition(carried_state=lambda h, w, epoch: 0.5 * h[w.start])
    wrong = trace(STATES[hint].definition if hint else wrong, series(2, 3, 7))
    assert hint_for_run(wrong, judge(wrong).first) == hint
