"""Every mutant is killed at its stage; hints name mutants, factors, truncations and
loops.

Seeds are drawn in every run and told by a failure. What is not always visible has a
rate. Bugs that are no mutants are written here in their own words; none of them has a
wrong hint.
"""

import re
from importlib.resources import files

import numpy as np
import pytest

from numpy_rnn.common.records import (
    Objective,
    RunOptions,
    Schedule,
    Step,
    Window,
)
from numpy_rnn.conformance.arithmetics.numpy_arithmetic import NumpyArithmetic
from numpy_rnn.conformance.case import (
    INTERMEDIATES,
    TENSORS,
    UPDATED,
    format_errors,
    parameters_from,
    present,
)
from numpy_rnn.conformance.definition import DEFINITION as right
from numpy_rnn.conformance.definition import (
    Definition,
    apply_step,
    train,
    window_update,
)
from numpy_rnn.conformance.findings import Finding
from numpy_rnn.conformance.judge import judge
from numpy_rnn.conformance.mutants import hints
from numpy_rnn.conformance.mutants.catalogue import MUTANTS
from numpy_rnn.conformance.mutants.edits import FORWARD_EQUATIONS
from numpy_rnn.conformance.mutants.fits import Fit
from numpy_rnn.conformance.mutants.hints import explanation, hint_for_port
from numpy_rnn.conformance.mutants.loops import hint_for_run
from numpy_rnn.conformance.ports.abilities import CAPABILITIES, stated_by
from numpy_rnn.conformance.ports.port import call_port
from numpy_rnn.conformance.random_cases import (
    CaseSpec,
    RandomDraw,
    random_run,
    random_spec,
)
from numpy_rnn.conformance.runs import RecordedRun, is_bounded, record
from tests.helpers import random_runs
from tests.helpers.ports import RIGHT, DefinitionPort, Port
from tests.helpers.windows import SEED, check_global, check_local

IN_WINDOW = [mutant for mutant in MUTANTS if not mutant.in_run]
IN_RUN = [mutant for mutant in MUTANTS if mutant.in_run]
MOST = 400  # cases in which a mutant is looked for; the rarest shows in one of some 20
BLACK_BOX = tuple(name for name in CAPABILITIES if name != "intermediates")


def names_of(mutants):
    return pytest.mark.parametrize("mutant", mutants, ids=lambda mutant: mutant.name)


def trace(of, run):
    return record(run, train(run, of=of))


# -- mutants are killed
# ------------------------------------------------------------


def wrong_tensor(mutant, case, is_box):
    """Return the first tensor beyond its bound: of a black box at L2, or at L1."""
    with np.errstate(all="ignore"):  # a wrong gradient may well overflow
        report = window_update(case, of=mutant.definition)
        if format_errors(case, report, True, True):  # a number that is not finite
            return None
        if is_box:
            report = {
                name: v for name, v in report.items() if name not in INTERMEDIATES
            }
        ratios = (check_global if is_box else check_local)(case, report)
    return next(
        (n for n in TENSORS if n in ratios and not (ratios[n] <= 1).all()), None
    )


def is_at_stage(tensor, mutant):
    """Return whether a tensor is that of the mutant's stage, or shows it alone.

    Without momentum there is no velocity, and a wrong direction shows in the
    parameters. An equation of the loss is one of dy too, and the loss may be right.
    """
    shown = mutant.stage
    if shown.startswith("v"):
        shown = "W_xh"
    elif shown == "loss":
        shown = "dy"
    return stage_of(tensor) in {stage_of(mutant.stage), stage_of(shown)}


def stage_of(tensor):
    """Return the tensor; of those that the step computes, the first of its kind."""
    if tensor in UPDATED:
        return "vW_xh" if tensor.startswith("v") else "W_xh"
    return tensor


@names_of(IN_WINDOW)
def test_mutant_is_killed_at_its_stage(mutant):
    """By a local check; a black box names a tensor that it reports. One step shows
    less.
    """
    for is_box in (False, True):
        cases = (random_spec(RandomDraw(SEED, number)).case() for number in range(MOST))
        cases = (case for case in cases if len(case.x) > 1)
        found = next(
            filter(None, (wrong_tensor(mutant, case, is_box) for case in cases)), None
        )
        assert found is not None, f"{mutant.name} survives {MOST} cases"
        if is_box:
            assert found not in INTERMEDIATES
        else:
            assert is_at_stage(found, mutant), (found, mutant.stage)


def wrong_runs(mutant, count):
    """Yield runs of a mutant that are judged wrong, and their first divergences."""
    for number in range(MOST):
        run = random_run(RandomDraw(SEED, number))
        wrong = trace(mutant.definition, run) if is_bounded(run) else None
        if wrong and (first := judge(wrong).first):
            yield wrong, first
            count -= 1
        if not count:
            return


@pytest.mark.slow
@names_of(IN_RUN)
def test_mutant_of_a_run_is_killed_and_named(mutant):
    """A hint may be missing where all windows are alike, but none is another one. In
    which windows may be said otherwise: two states may be equal in some.
    """
    found = list(wrong_runs(mutant, 8))
    assert len(found) == 8, mutant.name
    texts = [hint_for_run(wrong, first) for wrong, first in found]
    assert all(is_at_stage(first.tensor, mutant) for _, first in found)
    stem = mutant.name.removesuffix(" at every window")
    assert all(not text or text.startswith(stem) for text in texts), texts
    assert texts.count(mutant.name) >= 3, texts


def test_mutants_are_as_many_as_the_document_says():
    text = (
        files("numpy_rnn.conformance").joinpath("README.md").read_text(encoding="utf-8")
    )
    [count] = {int(number) for number in re.findall(r"(\d+) mutants", text)}
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) == count


# -- hints of windows
# ------------------------------------------------------------


def hint_of(port, seed=SEED):
    """Return the hint for the first case in which a port is wrong."""
    for number in range(MOST):
        spec = random_spec(RandomDraw(seed, number), "float64", stated_by(port))
        case = spec.case()
        if Fit(case, call_port(port, case)).wrong:
            return hint_for_port(port, spec, case)
    raise AssertionError("it is never wrong")


@names_of(IN_WINDOW)
@pytest.mark.parametrize("is_box", [False, True], ids=["seen", "black box"])
def test_hint_names_the_mutant(mutant, is_box):
    port = DefinitionPort(mutant.definition, has=BLACK_BOX if is_box else CAPABILITIES)
    assert hint_of(port) == mutant.name


BUGS = {  # equations that are no mutants, as somebody writes them, and the hint
    "dW_hy with h_{t-1}": (
        {
            "output_weights_gradient": lambda n, w: sum(
                w.h[t - 1].mT @ w.dy[t] for t in w.steps
            )
        },
        "h of the step before in dW_hy",
    ),
    "from step 2": (
        {
            "recurrent_weights_gradient": lambda n, w: (
                sum(w.h[t - 1].mT @ w.da[t] for t in w.steps[1:])
                if len(w.x) > 1
                else 0 * w.h[0].mT @ w.da[1]
            )
        },
        "dW_hh without the first step",
    ),
    "transposed": (
        {
            "recurrent_weights_gradient": lambda n, w: sum(
                w.da[t].mT @ w.h[t - 1] for t in w.steps
            )
        },
        "dW_hh transposed",
    ),
    "clipped flow": (
        {
            "state_adjoint": lambda n, w, p, t: (
                w.dy[t] @ p.W_hy.mT + np.clip(w.da[t + 1] @ p.W_hh.mT, -1, 1)
            ),
            "initial_state_adjoint": lambda n, w, p: np.clip(
                w.da[1] @ p.W_hh.mT, -1, 1
            ),
        },
        "the flow back within ±1",
    ),
    "twice the loss": (
        {
            "loss_and_error": lambda n, *given: [
                k * v for k, v in zip((2, 1), right.loss_and_error(n, *given))
            ]
        },
        "loss × 2",
    ),
    "½/B": (
        {
            "recurrent_weights_gradient": lambda n, w: (
                sum(w.h[t - 1].mT @ w.da[t] for t in w.steps) / (2 * w.x[1].shape[-2])
            )
        },
        "dW_hh × 1/(2·B)",
    ),
    "newest": (
        {
            "state_adjoint": lambda n, w, p, t: (
                right.state_adjoint(n, w, p, t) * (t > len(w.x) - 3)
            )
        },
        "dh of the last 3 steps alone",
    ),
    "bptt_truncate": (
        {
            "state_adjoint": lambda n, w, p, t: (
                w.dy[t] @ p.W_hy.mT
                + (
                    w.dy[t + 1] @ p.W_hy.mT * (1 - w.h[t + 1] ** 2) @ p.W_hh.mT
                    if t < len(w.x)
                    else 0
                )
            )
        },
        "each loss goes back over 2 steps (bptt_truncate = 1)",
    ),
    "frozen bias": (
        {
            "updated": lambda n, name, theta, delta, step: (
                theta if name == "b_h" else right.updated(n, name, theta, delta, step)
            )
        },
        "step of b_h × 0",
    ),
    "overwritten": (
        {"hidden_bias_gradient": lambda n, w: w.da[1].sum(axis=-2)},
        "db_h of the first step alone",
    ),
    "before φ′": (
        {
            "hidden_bias_gradient": lambda n, w: sum(
                w.dh[t].sum(axis=-2) for t in w.steps
            )
        },
        "dh for da in db_h",
    ),
    "last error": (
        {
            "state_adjoint": lambda n, w, p, t: (
                w.da[t + 1] @ p.W_hh.T if t < len(w.x) else w.dy[t] @ p.W_hy.T
            )
        },
        "dy in dh of the last step alone",
    ),
    "growth": (
        {"decayed": lambda n, name, g, theta, step: g - step.weight_decay * theta},
        "weight_decay × -1",
    ),
    "slope + 0.001": (
        {
            "pre_activation_adjoint": lambda n, w, t, phi: (
                right.pre_activation_adjoint(n, w, t, phi) + 0.001 * w.dh[t]
            )
        },
        "0.001 added to φ′",
    ),
    "dh_next": (
        {"state_adjoint": lambda n, w, p, t: w.dy[t] @ p.W_hy.mT},
        "the flow back left out",
    ),
    "99 %": (
        {
            "state_adjoint": lambda n, w, p, t: (
                w.dy[t] @ p.W_hy.mT + 0.99 * (w.da[t + 1] @ p.W_hh.mT)
            )
        },
        "the flow back × 0.99",
    ),
    "one sequence": (
        {
            "hidden_bias_gradient": lambda n, w: sum(
                w.da[t][:1].sum(axis=-2) for t in w.steps
            )
        },
        "db_h of the first sequence alone",
    ),
    "nobody's": (
        {"pre_activation_adjoint": lambda n, w, t, phi: np.cos(3 * w.dh[t])},
        "",
    ),
}


@pytest.mark.parametrize("bug", BUGS)
def test_hint_of_a_bug(bug):
    equations, hint = BUGS[bug]
    port = DefinitionPort(Definition(**equations), "relu", has=("sgd_options",))
    found = [hint_of(port, SEED + each) for each in range(4)]
    assert found.count(hint) >= 3, found
    assert {*found} <= {hint, ""}, found


class RightGradients(DefinitionPort):
    """Only the loss is that of the mutant: gradients need not be those of its
    equations.
    """

    def window_update(self, *given, **options):
        loss = super().window_update(*given, **options)["loss"]
        return DefinitionPort(has=()).window_update(*given, **options) | {"loss": loss}


@names_of(
    [each for each in IN_WINDOW if each.with_number(1.0).keys() <= FORWARD_EQUATIONS]
)
def test_hint_of_a_forward_pass(mutant):
    port = RightGradients(mutant.definition, has=())
    assert hint_of(port) == mutant.name


def test_right_port_has_no_hint():
    for number in range(5):
        spec = random_spec(RandomDraw(SEED, number), "float32", stated_by(RIGHT))
        assert hint_for_port(RIGHT, spec, spec.case()) == ""


def test_hint_explains_all_of_the_deviation_and_all_tensors():
    spec = CaseSpec(T=8, B=3, D=2, H=4, O=5, K=8, dtype="float64", seed=SEED)
    case = spec._replace(step=Step(0.1)).case()
    good, wrong = window_update(case), window_update(case, of=MUTANTS[1].definition)
    assert explanation([Fit(case, wrong)]) == MUTANTS[1].name
    assert not Fit(case, wrong).explains({"dW_hh": np.full((4, 4), np.inf)}, ["dW_hh"])
    near = {name: good[name] + 0.99 * (wrong[name] - good[name]) for name in good}
    assert explanation([Fit(case, near)]) == ""
    assert explanation([Fit(case, wrong | {"dW_xh": good["dW_xh"]})]) == ""


def test_factors_are_equal_within_their_accuracy():
    """A change of the parameters that is a 10⁻¹⁰ of them has few digits; one factor is
    one hint.
    """
    spec = CaseSpec(T=3, B=2, D=2, H=4, O=3, K=3, dtype="float64", bias=True, seed=SEED)
    fits = []
    for rate in (1e-10, 1e-2):
        case = spec._replace(step=Step(rate)).case()
        report = window_update(case)
        moved = {
            n: p - 0.999 * (p - report[n]) for n, p in case.params._asdict().items()
        }
        fits.append(Fit(case, report | moved))
    assert explanation(fits) == "step × 0.999"


def test_second_answer_that_differs_is_a_kept_state():
    class Keeping(Port):
        calls = 0

        def window_update(self, params, x, **given):
            self.calls += 1
            return RIGHT.window_update(params, x + self.calls, **given)

    spec = random_spec(RandomDraw(SEED), "float64")._replace(class_inputs=False)
    assert hint_for_port(Keeping(), spec, spec.case()) == hints.STATEFUL


# -- hints of runs
# ------------------------------------------------------------


def series(epochs, k1=3, k2=3, **step):
    """Return a run of 13 steps of three sequences, without biases."""
    options = RunOptions(Schedule(k1, k2, epochs), Objective(), Step(0.05, **step))
    sizes = random_runs.Sizes(13, 3, 3, 4, 5)
    return random_runs.random_run(sizes, random_runs.Kind(bias=False), options, 3)


def loop_of(change):
    """Return a function for the updates of a loop.

    change(case, before, i): the case, and added gradients. before: the report of the
    update before, or nothing; i, from 0: the number of the update.
    """
    reports = [{}]

    def compute(case):
        case, added = change(case, reports[-1], len(reports) - 1)
        report, n = window_update(case), NumpyArithmetic(np.float64)
        p = present(case.params)
        d = {name: report["d" + name] + added.get("d" + name, 0) for name in p}
        apply_step(n, p, d, present(case.velocity), case.step)
        reports.append(report | {"d" + name: g for name, g in d.items()} | n.report())
        return reports[-1], report["h"]

    return compute


def at_rate(case, rate):
    return case._replace(step=case.step._replace(learning_rate=rate))


def of_last_sequence(case):
    """Return what the last sequence of the batch adds to the gradients."""
    fewer = case._replace(
        x=case.x[:, :-1], target=case.target[:, :-1], h_0=case.h_0[:-1]
    )
    every, others = window_update(case), window_update(fewer)
    return {n: others[n] - every[n] for n in every if n[:2] == "dW"}


PER_EPOCH = 5  # updates of `series`
LOOPS = {
    "gradients add up from update to update": lambda case, before, i: (case, before),
    "gradients add up within an epoch": lambda case, before, i: (
        case,
        before if i % PER_EPOCH else {},
    ),
    "the velocity, or sum of squares, reset at every epoch": lambda case, before, i: (
        case if i % PER_EPOCH else case._replace(velocity=None),
        {},
    ),
    "step × 0.37": lambda case, before, i: (
        at_rate(case, 0.37 * 0.05),
        {},
    ),
    "gradients without the last sequence": lambda case, before, i: (
        case,
        of_last_sequence(case),
    ),
    "": lambda case, before, i: (case._replace(x=case.x + 0.1 * i), {}),
}


@pytest.mark.parametrize("hint", LOOPS)
def test_hint_of_a_loop(hint):
    run = series(3, momentum=0.9 if "velocity" in hint else 0.0)
    found = record(run, train(run, loop_of(LOOPS[hint])))
    assert hint_for_run(found, judge(found).first) == hint
    assert hint_for_run(trace(right, run), judge(found).first) == ""


def hint_of_run(run, updates):
    found = record(run, updates)
    return hint_for_run(found, judge(found).first)


@pytest.mark.parametrize(("words", "shift"), [("ahead", -1), ("behind", 1)])
def test_hint_of_targets_one_step_off(words, shift):
    run = series(2)
    moved = run._replace(target=np.roll(run.target, shift, axis=0))
    assert hint_of_run(run, train(moved)) == f"targets one step {words}"


def test_hint_of_stale_weights():
    def change(case, before, i):
        if i == 0:
            return case, {}
        older = case._replace(params=parameters_from(weights[-1]))
        stale, right_ = window_update(older), window_update(case)
        weights.append(present(case.params))
        return case, {n: stale[n] - right_[n] for n in stale if n[:2] == "dW"}

    run = series(2)
    weights = [present(run.params)]
    found = hint_of_run(run, train(run, loop_of(change)))
    assert found == "gradients of the weights before the last update"


SCHEDULES = {  # of 13 steps under TBPTT(3, 5), the right ones without a hint
    "": "0 0 3, 1 3 6, 4 6 9, 7 9 12, 10 12 13",
    "bptt over k+1 steps": "0 0 3, 0 3 6, 3 6 9, 6 9 12, 9 12 13",
    "chunks instead of a sliding window": "0 0 5, 5 5 10, 10 10 13",
    "the last, shorter window left out": "0 0 3, 1 3 6, 4 6 9, 7 9 12",
    "losses of older steps counted again": "0 0 3, 1 1 6, 4 4 9, 7 7 12, 10 10 13",
    "1 step skipped between windows": "0 0 3, 2 4 7, 6 8 11, 10 12 13",
}


@pytest.mark.parametrize("hint", SCHEDULES)
def test_hint_of_windows(hint):
    rows = [[*map(int, window.split())] for window in SCHEDULES[hint].split(", ")] * 2
    wrong = RecordedRun(series(2, 3, 5), dict(zip(Window._fields, np.transpose(rows))))
    first = Finding(1, 1, "window", None, (0,), 0.0, 0.0, 0.0, np.inf)
    assert hint_for_run(wrong, first) == hint


def test_window_that_is_missing_is_said():
    """Not the next one, of another epoch, is wrong."""
    run = series(2)
    some = [update for update in train(run) if update.number < PER_EPOCH]
    first = judge(record(run, some)).first
    said = "epoch 1, update 5: this window is missing: the number of updates"
    assert first.message().startswith(said)


STATES = {
    "state reset to zero at every window": lambda h, w, epoch: 0 * h[w.start],
    "state reset to h_0 at every window": lambda h, w, epoch: h[0],
    "state not reset between epochs": lambda h, w, epoch: h[
        max(h) if epoch > 1 and w.loss_start == 0 else w.start
    ],
    "state of the newest step at every window": lambda h, w, epoch: h[
        w.loss_start if w.start else 0
    ],
    "state 1 step early at every window": lambda h, w, epoch: h[max(w.start - 1, 0)],
    "state reset to zero in some windows": lambda h, w, epoch: (
        h[w.start] * (w.loss_start % 6 > 0 or w.start == 0)
    ),
    "": lambda h, w, epoch: 0.5 * h[w.start],
}


@pytest.mark.parametrize("hint", STATES)
def test_hint_of_initial_states(hint):
    """The initial states that people take, and one that is none of them."""
    wrong = trace(Definition(carried_state=STATES[hint]), series(2, 3, 3))
    if hint.startswith("state of the newest"):
        wrong = trace(Definition(carried_state=STATES[hint]), series(2, 3, 7))
    assert hint_for_run(wrong, judge(wrong).first) == hint
    assert hint_for_run(trace(right, wrong.run), judge(wrong).first) == ""
