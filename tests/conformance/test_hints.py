"""Every mutant is killed at its stage; hints name mutants, factors, truncations and loops.

Seeds are drawn in every run and told by a failure. What is not always visible has a rate. Bugs that
are no mutants are written here in their own words; none of them has a wrong hint.
"""

import itertools
import secrets

import numpy as np
import pytest
from ports_for_tests import DefinitionPort, Port

from numpy_rnn.common.records import Objective, Parameters, Run, RunOptions, Schedule, Step, Window
from numpy_rnn.conformance.case import EQUATIONS, INTERMEDIATES, TENSORS, format_errors
from numpy_rnn.conformance.definition import DEFINITION as right
from numpy_rnn.conformance.definition import Definition, train, window_update
from numpy_rnn.conformance.judge import Divergence, judge
from numpy_rnn.conformance.mutants import hints
from numpy_rnn.conformance.mutants.catalogue import MUTANTS, named, trace
from numpy_rnn.conformance.mutants.hints import STATES, Fit, hint_for_port, hint_for_run
from numpy_rnn.conformance.ports.port import abilities, call_port
from numpy_rnn.conformance.ports.protocol import CAPABILITIES
from numpy_rnn.conformance.random_cases import RandomDraw, random_recipe, random_run
from numpy_rnn.conformance.runs import RecordedRun, is_bounded, record
from numpy_rnn.conformance.window_checks import check_global, check_local

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
    """A black box of a forward mutant may be autograd's, or not."""
    port = DefinitionPort(mutant.definition, has=BLACK_BOX if is_box else CAPABILITIES)
    text = hint_of(port, seed).removesuffix(", in the forward pass alone")
    assert text == mutant.name, f"seed {seed}"


BUGS = {  # equations that are no mutants, as somebody writes them, and the hint
    "dW_hy with h_{t-1}": ({"output_weights_gradient": lambda n, w: sum(
        w.h[t - 1].mT @ w.dy[t] for t in w.steps)}, "h_{t-1} for h_t in dW_hy"),
    "transposed": ({"recurrent_weights_gradient": lambda n, w: sum(
        w.da[t].mT @ w.h[t - 1] for t in w.steps)}, "dW_hh transposed"),
    "newest": ({"state_adjoint": lambda n, w, p, t: right.state_adjoint(n, w, p, t) * (
        t > len(w.x) - 3)}, "the backward pass ends after the newest 3 steps"),
    "bptt_truncate": ({"state_adjoint": lambda n, w, p, t: w.dy[t] @ p.W_hy.mT + (
        w.dy[t + 1] @ p.W_hy.mT * (1 - w.h[t + 1] ** 2) @ p.W_hh.mT if t < len(w.x) else 0)},
        "each loss goes back over 2 steps (bptt_truncate = 1)"),
    "frozen bias": ({"updated": lambda n, name, theta, delta, step: theta if name == "b_h" else
        right.updated(n, name, theta, delta, step)}, "step of b_h × 0"),
    "nobody's": ({"pre_activation_adjoint": lambda n, w, t, phi: np.cos(3 * w.dh[t])}, ""),
}  # fmt: skip


@pytest.mark.parametrize("bug", BUGS)
def test_hint_of_a_bug(bug, seed):
    equations, hint = BUGS[bug]
    port = DefinitionPort(Definition(**equations), "relu", has=("sgd_options",))
    found = [hint_of(port, seed + each) for each in range(4)]
    assert found.count(hint) >= 3, f"{found}: seed {seed}"
    assert {*found} <= {hint, ""}, f"{found}: seed {seed}"


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
    "": Autograd(total=lambda losses: sum(losses) * 1.01 + 0.1),
}


@pytest.mark.parametrize("hint", AUTOGRAD)
def test_hint_of_a_forward_pass(hint, seed):
    assert hint_of(AUTOGRAD[hint], seed) == hint, f"seed {seed}"


def test_large_networks_take_little_memory():
    """No copy of the network is made for every number of it."""
    port = DefinitionPort(named("tanh of the outputs").definition, "relu", has=(), sizes={"H": 128})
    recipe = next(
        hints.hint_recipes(port, random_recipe(RandomDraw(1), "float64", abilities(port)))
    )
    fit = Fit(case := recipe.case(), call_port(port, case))
    copies = []
    of = Definition(backward=lambda n, w, p, phi: copies.append(p.W_hh.nbytes) or {})
    fit.has_slopes(of)
    assert copies[0] < 2**23


def test_second_answer_that_differs_is_a_kept_state(seed):
    calls = itertools.count()
    port = Port(before=lambda given: given["x"].__iadd__(next(calls)))
    recipe = random_recipe(RandomDraw(seed), "float64")._replace(class_inputs=False)
    assert hint_for_port(port, recipe, recipe.case()) == hints.KEPT


# -- hints of runs ------------------------------------------------------------------------------


def series(epochs, k1=3, k2=3, **step):
    generator = np.random.default_rng(3)
    shapes = ((3, 4), (4, 4), (4, 5))
    params = Parameters(*(generator.normal(size=shape) / shape[0] ** 0.5 for shape in shapes))
    x, target, h_0 = (generator.normal(size=size) for size in ((13, 3, 3), (13, 3, 5), (3, 4)))
    options = RunOptions(Schedule(k1, k2, epochs), Objective(), Step(0.05, **step))
    return Run(params=params, x=x, target=target, h_0=h_0, options=options)


PER_EPOCH = 5  # updates of `series`


def at_rate(case, factor):
    return case._replace(step=case.step._replace(learning_rate=0.05 * factor))


LOOPS = {  # the hint, and a change of update i of the run, from 0
    "the velocity, or sum of squares, reset at every epoch": lambda case, i: (
        case if i % PER_EPOCH else case._replace(velocity=None)),
    "a step at the last update of an epoch alone": lambda case, i: (
        at_rate(case, (i + 1) % PER_EPOCH == 0)),
    "the rate × 0.9 at every epoch": lambda case, i: at_rate(case, 0.9 ** (i // PER_EPOCH)),
    "": lambda case, i: case._replace(x=case.x + 0.1 * i),
}  # fmt: skip


@pytest.mark.parametrize("hint", LOOPS)
def test_hint_of_a_loop(hint):
    run, numbers = series(3, **({"momentum": 0.9} if "velocity" in hint else {})), itertools.count()

    def compute(case):
        report = window_update(LOOPS[hint](case, next(numbers)))
        return report, report["h"]

    found = record(run, train(run, compute))
    assert hint_for_run(found, judge(found).first) == hint


SCHEDULES = {  # of 13 steps under TBPTT(3, 5), the right ones without a hint
    "": "0 0 3, 1 3 6, 4 6 9, 7 9 12, 8 12 13",
    "bptt over k+1 steps": "0 0 3, 0 3 6, 3 6 9, 6 9 12, 7 12 13",
    "chunks instead of a sliding window": "0 0 5, 5 5 10, 8 10 13",
    "the last, shorter window left out": "0 0 3, 1 3 6, 4 6 9, 7 9 12",
    "windows of all steps so far": "0 0 3, 0 3 6, 0 6 9, 0 9 12, 0 12 13",
    "losses of older steps counted again": "0 0 3, 1 1 6, 4 4 9, 7 7 12, 8 8 13",
    "windows start a step late": "0 0 3, 2 3 6, 5 6 9, 8 9 12, 9 12 13",
    "windows in another order": "1 3 6, 0 0 3, 4 6 9, 7 9 12, 8 12 13",
}


@pytest.mark.parametrize("hint", SCHEDULES)
def test_hint_of_windows(hint):
    rows = [[*map(int, window.split())] for window in SCHEDULES[hint].split(", ")] * 2
    wrong = RecordedRun(series(2, 3, 5), dict(zip(Window._fields, np.transpose(rows))))
    first = Divergence(1, 1, "window", None, (0,), 0.0, 0.0, 0.0, np.inf)
    assert hint_for_run(wrong, first) == hint


@pytest.mark.parametrize("hint", [*STATES, ""])
def test_hint_of_initial_states(hint):
    """Each state of the table in a run; and one that is in none."""
    state = STATES.get(hint, lambda h, w, epoch: 0.5 * h[w.start])
    wrong = trace(Definition(carried_state=state), series(2, 3, 7))
    assert hint_for_run(wrong, judge(wrong).first) == hint
