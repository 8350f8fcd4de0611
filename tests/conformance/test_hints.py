"""Every mutant is killed at its stage; hints name mutants and other bugs of windows, forward passes, steps and loops.

A bug of a window is another function of the definition. One of a forward pass has the exact gradient of its loss, as by
autograd. No bug here is one of the catalogue, or of the mistakes as the hints make them.
"""

from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from ports_for_tests import RIGHT, Port, Way, WayPort, functions, window

from numpy_rnn.common.records import (
    Objective,
    Parameters,
    Run,
    RunOptions,
    Schedule,
    Step,
    Window,
    WindowCase,
)
from numpy_rnn.conformance import definition as right
from numpy_rnn.conformance.case import INTERMEDIATES, present
from numpy_rnn.conformance.definition import DEFINITION, Arrays, train, window_update
from numpy_rnn.conformance.mutants import hints, score
from numpy_rnn.conformance.mutants.catalogue import MUTANTS, Mutant, named, trace
from numpy_rnn.conformance.mutants.hints import Fit, explanations, hints_for_port
from numpy_rnn.conformance.mutants.run_hints import Updates, _loops, hints_for_run
from numpy_rnn.conformance.ports.port import abilities
from numpy_rnn.conformance.properties import Violation, check_port, profile
from numpy_rnn.conformance.random_cases import RandomDraw, random_recipe, random_run
from numpy_rnn.conformance.traces.divergence import EQUATIONS, Divergence
from numpy_rnn.conformance.traces.judge import judge
from numpy_rnn.conformance.traces.recorder import RecordedRun, record

TRIALS = [(mutant, level) for mutant in MUTANTS for level in score.levels(mutant)]
SEED = 1  # of cases of which the first that catches a mutant shows it clearly


@pytest.mark.parametrize(
    ("mutant", "level"), TRIALS, ids=lambda v: v.name if isinstance(v, Mutant) else v
)
def test_mutant_is_killed(mutant, level):
    found = score.score(mutant, level, seed=SEED)
    assert found.tensor is not None, f"{mutant.name} survived {found.cases} cases at level {level}"
    assert found.factor > 1000, f"{mutant.name} exceeds its bound by {found.factor} only"
    if level == "L2":  # a black box names what it shows, and not the stage
        assert found.tensor not in INTERMEDIATES
    else:
        # Without momentum there is no velocity, and a mistake in the direction is visible in the parameters.
        stages = {
            EQUATIONS[mutant.stage],
            EQUATIONS["W_xh"] if mutant.stage.startswith("v") else "",
        }
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
    port = WayPort(
        functions(**WINDOWS[hint]),
        tuple(name for name in RIGHT.capabilities if name != "intermediates"),
    )
    assert hints_of(port) == [[hint] if hint else []]


def test_every_tensor_is_clipped_in_one_of_the_cases():
    """Otherwise clipping per tensor is the same as none."""
    for seed in range(20):
        recipe = random_recipe(RandomDraw(seed), "float64")._replace(
            step=Step(0.1, max_norm=5.0), learned=False
        )
        _, second, _ = hints.hint_recipes(RIGHT, recipe)
        report = window_update(second.case())
        assert all(
            np.linalg.norm(report["d" + name]) > second.step.max_norm
            for name in ("W_xh", "W_hh", "W_hy")
        )


def test_port_without_a_bug_has_no_hint():
    for seed in range(5):
        assert (
            hints_for_port(RIGHT, random_recipe(RandomDraw(5, seed), "float32", abilities(RIGHT)))
            == []
        )


def test_hint_explains_all_of_the_deviation_and_all_tensors():
    case = window(
        3, T=8, K=8, H=4, B=3, D=2, O=5, class_inputs=False, saturated=False, step=Step(0.1)
    )
    good, wrong = window_update(case), window_update(case, of=named("dh_next dropped").definition)
    assert explanations([Fit(case, wrong)]) == ["dh_next dropped"]
    assert (
        explanations(
            [Fit(case, {name: good[name] + 0.99 * (wrong[name] - good[name]) for name in good})]
        )
        == []
    )
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
    halved = limited(
        WayPort(functions(**other_step(lambda name, theta, moved: theta - moved / 2))), "batch"
    )
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
            gradient = np.array(
                [self.losses(each, x, target, h_0).imag / 1e-50 for each in moved]
            ).reshape(W.shape)
            report |= {"d" + name: gradient, name: W - learning_rate * gradient}
        return report


FORWARD: dict[str, Any] = {
    "output read from h_{t-1}, and its gradient": {
        "out": lambda W, h, h_before: h_before @ W["W_hy"]
    },
    "φ applied twice": {
        "cell": lambda W, x, h, h_0: np.tanh(np.tanh(x @ W["W_xh"] + h @ W["W_hh"]))
    },
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
    params = Parameters(
        *(generator.normal(size=(n, m)) / n**0.5 for n, m in ((3, 4), (4, 4), (4, 5)))
    )
    x, target, h_0 = (generator.normal(size=size) for size in ((13, 3, 3), (13, 3, 5), (3, 4)))
    options = RunOptions(Schedule(k1, k2, epochs), Objective(), Step(0.05, **step))
    return Run(params, x, target, h_0, None, options)


class Loop:
    """A loop that does something else. change(loop, case): the case, and gradients that are added or None."""

    def __init__(self, run, change):
        self.run, self.change, self.cases, self.reports = (
            run,
            change,
            list[WindowCase](),
            list[Arrays](),
        )

    def compute(self, case: WindowCase):
        self.cases.append(case)
        changed, added = self.change(self, case)
        report = window_update(changed)
        if added is not None:
            d = {
                name[1:]: report[name] + added.get(name, 0) for name in ("dW_xh", "dW_hh", "dW_hy")
            }
            n = right.Floats(np.float64)
            right.update(n, present(case.params), d, {}, case.step)
            report |= {"d" + name: g for name, g in d.items()} | n.report()
        self.reports.append(report)
        return report, report["h"]

    def recorded(self):
        return record(self.run, train(self.run, self.compute))

    @property
    def before(self):
        """The report of the update before, or nothing."""
        return self.reports[-1] if self.reports else {}

    def at_rate(self, factor):
        """The case at the rate times a factor."""
        case = self.cases[-1]
        return case._replace(step=case.step._replace(learning_rate=0.05 * factor)), None


PER_EPOCH = 5  # updates of `series`
LOOPS: dict[str, Any] = {  # the hint, and a change of an update; i, from 0, is that of the run
    "gradients add up from update to update": lambda loop, case, i: (case, loop.before),
    "gradients add up within an epoch": lambda loop, case, i: (case, loop.before if i % PER_EPOCH else {}),
    "gradients set to zero at every second update alone": lambda loop, case, i: (case, loop.before if i % 2 else {}),
    "gradients set to zero at every third update alone": lambda loop, case, i: (
        case, loop.before if i % 3 != 1 else {}),
    "gradients set to zero at every fourth update alone": lambda loop, case, i: (
        case, loop.before if i % 4 != 2 else {}),
    "the weights of the update before": lambda loop, case, i: (
        case._replace(params=loop.cases[max(0, i - 1)].params), {}),
    "the velocity of before left out": lambda loop, case, i: (case._replace(velocity=None), None),
    "the velocity, or sum of squares, reset at every epoch": lambda loop, case, i: (
        case if i % PER_EPOCH else case._replace(velocity=None), None),
    "the rate divided by the number of the epoch": lambda loop, case, i: loop.at_rate(1 / (1 + i // PER_EPOCH)),
    "no step at the first update": lambda loop, case, i: loop.at_rate(i > 0),
    "a step at every second update alone": lambda loop, case, i: loop.at_rate(i in range(1, 99, 2)),
    "a step at every second update alone, from the first on": lambda loop, case, i: loop.at_rate(i in range(0, 99, 2)),
    "a step at the last update of an epoch alone": lambda loop, case, i: loop.at_rate((i + 1) % PER_EPOCH == 0),
    **{f"the rate × {c} at every epoch": lambda loop, case, i, c=float(c): loop.at_rate(c ** (i // PER_EPOCH))
       for c in ("0.5", "0.1", "0.9", "0.95", "0.99", "0.999")},
    **{f"the rate × {c} at every update": lambda loop, case, i, c=float(c): loop.at_rate(c**i)
       for c in ("0.5", "0.1", "0.9", "0.95", "0.99", "0.999")},
    "": lambda loop, case, i: (case._replace(x=case.x + 0.1 * i), None),
}  # fmt: skip


@pytest.mark.parametrize("hint", LOOPS)
def test_hint_of_a_loop(hint):
    options = {"momentum": 0.9} if "velocity" in hint else {}
    run = series(3, **options)
    found = Loop(run, lambda loop, case: LOOPS[hint](loop, case, len(loop.reports))).recorded()
    updates = Updates(found, ())
    hints = [text for text, explains in _loops(updates) if all(map(explains, range(3 * PER_EPOCH)))]
    assert hints[:1] == ([hint] if hint else []) or hint == "the velocity of before left out"
    if hint in ("no step at the first update", "the velocity of before left out", ""):
        assert hints_for_run(found, judge(found).first) == ([hint] if hint else [])


@pytest.mark.parametrize(("name", "words"), [("target", "targets"), ("x", "inputs")])
def test_hint_of_series_that_are_shifted(name, words):
    run = series(2)
    for by, when in ((1, "late"), (-1, "early")):
        moved = run._replace(**{name: np.roll(getattr(run, name), by, 0)})
        wrong = trace(DEFINITION, moved)._replace(run=run)
        assert hints_for_run(wrong, judge(wrong).first) == [f"{words} one step {when}"]


WINDOWS_OF_RUNS = {  # of 13 steps under TBPTT(3, 5), the right ones without a hint
    "": "0 0 3, 1 3 6, 4 6 9, 7 9 12, 8 12 13",
    "bptt over k+1 steps": "0 0 3, 0 3 6, 3 6 9, 6 9 12, 7 12 13",
    "chunks instead of a sliding window": "0 0 5, 5 5 10, 8 10 13",
    "the last, shorter window left out": "0 0 3, 1 3 6, 4 6 9, 7 9 12",
    "windows of all steps so far": "0 0 3, 0 3 6, 0 6 9, 0 9 12, 0 12 13",
    "losses of older steps counted again": "0 0 3, 1 1 6, 4 4 9, 7 7 12, 8 8 13",
    "windows overlap by one step": "0 0 3, 1 2 6, 4 5 9, 7 8 12, 8 11 13",
    "windows start a step late": "0 0 3, 2 3 6, 5 6 9, 8 9 12, 9 12 13",
    "windows in another order": "1 3 6, 0 0 3, 4 6 9, 7 9 12, 8 12 13",
}


@pytest.mark.parametrize("hint", WINDOWS_OF_RUNS)
def test_hint_of_windows(hint):
    rows = [[*map(int, window.split())] for window in WINDOWS_OF_RUNS[hint].split(", ")] * 2
    wrong = RecordedRun(series(2, 3, 5), dict(zip(Window._fields, np.transpose(rows))))
    first = Divergence(1, 1, "window", None, (0,), 0.0, 0.0, 0.0, np.inf)
    assert hints_for_run(wrong, first) == ([hint] if hint else [])
    whole = wrong._replace(
        run=wrong.run._replace(x=wrong.run.x[:12], options=series(2, 3, 3).options)
    )
    rows = [[0, 0, 3], [3, 3, 6], [6, 6, 9]] * 2
    assert hints_for_run(whole._replace(updates=dict(zip(Window._fields, np.transpose(rows)))), first) == [
        "the last window left out"]  # fmt: skip


STATES: dict[str, Any] = {  # of the latest states by their steps, the window and the epoch
    "zeros for h_0": lambda h, w, epoch: h[w.start] * (w.start > 0),
    "state reset at every window, to h_0": lambda h, w, epoch: h[0],
    "state set to zero after the first epoch": lambda h, w, epoch: h[w.start] * (w.start > 0 or epoch == 1),
    "state not reset between epochs": lambda h, w, epoch: h[13 if w.stop == 3 and epoch > 1 else w.start],
    "sliding window starts from the newest state": lambda h, w, epoch: h[w.loss_start],
    "sliding window starts from the newest state, but not at step 0": lambda h, w, epoch: h[
        w.loss_start if w.start else 0],
    "the sequences of the state in reversed order": lambda h, w, epoch: h[w.start][::-1] if w.start else h[0],
    "the state of the sequence before": lambda h, w, epoch: h[w.start][[2, 0, 1]] if w.start else h[0],
    "the state after step 2 of the window before": lambda h, w, epoch: h[
        max(0, w.loss_start - 7) + 2 if w.loss_start else 0],
    "": lambda h, w, epoch: 0.5 * h[w.start],
}  # fmt: skip


@pytest.mark.parametrize("hint", STATES)
def test_hint_of_initial_states(hint):
    wrong = trace(DEFINITION._replace(carried_state=STATES[hint]), series(2, 3, 7))
    assert hints_for_run(wrong, judge(wrong).first) == ([hint] if hint else [])


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
    assert "Recipe(T=1, B=1, D=1, H=1, O=1, K=1, dtype='float64'): dW_xh (B4) at [0, 0] is " in str(
        error.value
    )
    assert "; the earliest wrong stage is loss (L1, L2), in Recipe(T=11, B=3, " in str(error.value)
