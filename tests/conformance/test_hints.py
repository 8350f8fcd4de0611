"""Every mutant of a window is killed at its stage; hints name mutants, factors and
truncations.

Seeds are drawn in every run and told by a failure. What is not always visible has a
rate. Bugs that are no mutants are written here as somebody writes them; none of them
has a wrong hint.
"""

import re
from importlib.resources import files

import numpy as np
import pytest

from numpy_rnn.common.records import Step
from numpy_rnn.conformance.arithmetics.arithmetic import loss_divisor
from numpy_rnn.conformance.case import INTERMEDIATES, TENSORS, UPDATED
from numpy_rnn.conformance.definition import DEFINITION as right
from numpy_rnn.conformance.definition import Definition, window_update
from numpy_rnn.conformance.mutants import hints
from numpy_rnn.conformance.mutants.catalogue import MUTANTS
from numpy_rnn.conformance.mutants.edits import FORWARD_EQUATIONS
from numpy_rnn.conformance.mutants.fits import Fit
from numpy_rnn.conformance.mutants.hints import explanation, hint_for_port
from numpy_rnn.conformance.ports.abilities import CAPABILITIES, stated_by
from numpy_rnn.conformance.ports.port import call_port
from numpy_rnn.conformance.ports.protocol import format_errors
from numpy_rnn.conformance.random_cases import CaseSpec, RandomDraw, random_spec
from tests.helpers.ports import RIGHT, DefinitionPort, Port
from tests.helpers.windows import SEED, check_global, check_local

IN_WINDOW = [mutant for mutant in MUTANTS if not mutant.in_run]
MOST = 400  # cases in which a mutant is looked for; the rarest shows in one of some 20
BLACK_BOX = tuple(name for name in CAPABILITIES if name != "intermediates")


def each_of(mutants):
    """Return the parametrization of a test by mutants."""
    return pytest.mark.parametrize("mutant", mutants, ids=lambda mutant: mutant.name)


# Mutants are killed.


def wrong_tensor(mutant, case, is_box):
    """Return the first tensor beyond its bound: of a black box at L2, or at L1."""
    with np.errstate(all="ignore"):  # a wrong gradient may well overflow
        report = window_update(case, definition=mutant.definition)
        if format_errors(case, report, True, True):  # a number that is not finite
            return None
        if is_box:
            seen = report.keys() - {*INTERMEDIATES}
            ratios = check_global(case, {name: report[name] for name in seen})
        else:
            ratios = check_local(case, report)
    for name in TENSORS:
        if name in ratios and not (ratios[name] <= 1).all():
            return name
    return None


def killed_by(mutant, is_box):
    """Return the tensor that is wrong in the first case in which one is."""
    for number in range(MOST):
        case = random_spec(RandomDraw(SEED, number)).case()
        if len(case.x) > 1:  # one step shows less
            tensor = wrong_tensor(mutant, case, is_box)
            if tensor is not None:
                return tensor
    return pytest.fail(f"{mutant.name} survives {MOST} cases")


def stage_of(tensor):
    """Return the tensor; of those that the step computes, the first of its kind."""
    if tensor in UPDATED:
        return "vW_xh" if tensor.startswith("v") else "W_xh"
    return tensor


@each_of(IN_WINDOW)
def test_mutant_is_killed_at_its_stage(mutant):
    """The first tensor that is wrong is that of the mutant's stage, or shows it alone.

    Without momentum there is no velocity, and a wrong direction shows in the
    parameters. An equation of the loss is one of dy too, and the loss may be right. A
    black box names a tensor that it reports.
    """
    stages = {stage_of(mutant.stage)}
    if mutant.stage.startswith("v"):
        stages.add("W_xh")
    elif mutant.stage == "loss":
        stages.add("dy")
    assert stage_of(killed_by(mutant, is_box=False)) in stages
    assert killed_by(mutant, is_box=True) not in INTERMEDIATES


def test_mutants_are_as_many_as_the_document_says():
    document = files("numpy_rnn.conformance").joinpath("README.md")
    text = document.read_text(encoding="utf-8")
    [count] = {int(number) for number in re.findall(r"(\d+) mutants", text)}
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) == count


# Hints of windows.


def hint_of(port, seed=SEED):
    """Return the hint for the first case in which a port is wrong."""
    for number in range(MOST):
        spec = random_spec(RandomDraw(seed, number), "float64", stated_by(port))
        case = spec.case()
        if Fit(case, call_port(port, case)).wrong:
            return hint_for_port(port, spec, case)
    raise AssertionError("the port is never wrong")


@each_of(IN_WINDOW)
@pytest.mark.parametrize("has", [CAPABILITIES, BLACK_BOX], ids=["seen", "black box"])
def test_hint_names_the_mutant(mutant, has):
    assert hint_of(DefinitionPort(mutant.definition, has=has)) == mutant.name


class RightGradients(DefinitionPort):
    """A port whose loss alone is that of the mutant, as its gradients are by hand."""

    def window_update(self, *arrays, **options):
        loss = super().window_update(*arrays, **options)["loss"]
        report = DefinitionPort(has=()).window_update(*arrays, **options)
        return report | {"loss": loss}


@each_of([mutant for mutant in IN_WINDOW if mutant.fields <= FORWARD_EQUATIONS])
def test_hint_of_a_forward_pass(mutant):
    assert hint_of(RightGradients(mutant.definition, has=())) == mutant.name


# Bugs: one equation of the definition each.


def twice_the_loss(n, y, target, objective):
    loss, error = right.loss_and_error(n, y, target, objective)
    return 2 * loss, error


def logarithm_of_shifted_p(n, y, target, objective):
    loss, error = right.loss_and_error(n, y, target, objective)
    if objective.loss == "cross_entropy":
        _, p = n.softmax(y)
        terms = -target * np.log(p + 1e-8)
        loss = terms.sum(axis=(0, -2, -1)) / loss_divisor(y.shape, objective)
    return loss, error


def output_without_bias(n, w, p, t):
    return w.h[t] @ p.W_hy


def tanh_of_state(n, w, t, nonlinearity):
    return w.dh[t] * (1 - np.tanh(w.h[t]) ** 2)


def cut_flow(n, w, p, t):
    flow = np.clip(w.da[t + 1] @ p.W_hh.mT, -1, 1)
    return w.dy[t] @ p.W_hy.mT + flow


def weak_flow(n, w, p, t):
    flow = 0.99 * (w.da[t + 1] @ p.W_hh.mT)
    return w.dy[t] @ p.W_hy.mT + flow


def flow_of_one_step(n, w, p, t):
    dh = w.dy[t] @ p.W_hy.mT
    if t < len(w.x):
        da = w.dy[t + 1] @ p.W_hy.mT * (1 - w.h[t + 1] ** 2)
        dh = dh + da @ p.W_hh.mT
    return dh


def newest_adjoints(n, w, p, t):
    return right.state_adjoint(n, w, p, t) * (t > len(w.x) - 3)


def last_error_alone(n, w, p, t):
    if t == len(w.x):
        return w.dy[t] @ p.W_hy.mT
    return w.da[t + 1] @ p.W_hh.mT


def cosine(n, w, t, nonlinearity):
    return np.cos(3 * w.dh[t])


def states_before(n, w):
    return sum(w.h[t - 1].mT @ w.dy[t] for t in w.steps)


def without_first_step(n, w):
    terms = [w.h[t - 1].mT @ w.da[t] for t in w.steps]
    return sum(terms[1:], 0 * terms[0])


def transposed(n, w):
    return sum(w.da[t].mT @ w.h[t - 1] for t in w.steps)


def half_the_mean(n, w):
    batch = w.x[1].shape[-2]
    return right.recurrent_weights_gradient(n, w) / (2 * batch)


def overwritten(n, w):
    return w.da[1].sum(axis=-2)


def before_slope(n, w):
    return sum(w.dh[t].sum(axis=-2) for t in w.steps)


def first_sequence(n, w):
    return sum(w.da[t][:1].sum(axis=-2) for t in w.steps)


def growth(n, name, g, theta, step):
    return g - step.weight_decay * theta


def frozen_bias(n, name, theta, delta, step):
    return theta if name == "b_h" else right.updated(n, name, theta, delta, step)


BUGS = [  # an equation, as it is written, and the hint
    ("loss_and_error", twice_the_loss, "loss × 2"),
    ("loss_and_error", logarithm_of_shifted_p, "1e-08 inside of the logarithm"),
    ("output", output_without_bias, "b_y left out"),
    ("pre_activation_adjoint", tanh_of_state, "1 − tanh(h)² for φ′"),
    ("state_adjoint", cut_flow, "the flow back within ±1"),
    ("state_adjoint", weak_flow, "the flow back × 0.99"),
    (
        "state_adjoint",
        flow_of_one_step,
        "each loss goes back over 2 steps (bptt_truncate = 1)",
    ),
    ("state_adjoint", newest_adjoints, "dh of the last 3 steps alone"),
    ("state_adjoint", last_error_alone, "dy in dh of the last step alone"),
    ("pre_activation_adjoint", cosine, ""),
    ("output_weights_gradient", states_before, "h of the step before in dW_hy"),
    ("recurrent_weights_gradient", without_first_step, "dW_hh without the first step"),
    ("recurrent_weights_gradient", transposed, "dW_hh transposed"),
    ("recurrent_weights_gradient", half_the_mean, "dW_hh × 1/(2·B)"),
    ("hidden_bias_gradient", overwritten, "db_h of the first step alone"),
    ("hidden_bias_gradient", before_slope, "dh for da in db_h"),
    ("hidden_bias_gradient", first_sequence, "db_h of the first sequence alone"),
    ("decayed", growth, "weight_decay × -1"),
    ("updated", frozen_bias, "step of b_h × 0"),
]


@pytest.mark.parametrize(("name", "equation", "hint"), BUGS)
def test_hint_of_a_bug(name, equation, hint):
    wrong = Definition(**{name: equation})
    port = DefinitionPort(wrong, "relu", has=("sgd_options", "cross_entropy"))
    hints_given = [hint_of(port, SEED + number) for number in range(3)]
    assert hints_given.count(hint) >= 2, hints_given
    assert {*hints_given} <= {hint, ""}, hints_given


def test_right_port_has_no_hint():
    for number in range(5):
        spec = random_spec(RandomDraw(SEED, number), "float32", stated_by(RIGHT))
        assert hint_for_port(RIGHT, spec, spec.case()) == ""


def test_hint_explains_all_of_the_deviation_and_all_tensors():
    spec = CaseSpec(T=8, B=3, D=2, H=4, O=5, K=8, dtype="float64", seed=SEED)
    case = spec._replace(step=Step(0.1)).case()
    mutant = MUTANTS[1]
    expected = window_update(case)
    wrong = window_update(case, definition=mutant.definition)
    assert explanation([Fit(case, wrong)]) == mutant.name
    assert not Fit(case, wrong).explains({"dW_hh": np.full((4, 4), np.inf)}, ["dW_hh"])
    near = {n: v + 0.99 * (wrong[n] - v) for n, v in expected.items()}
    assert explanation([Fit(case, near)]) == ""
    assert explanation([Fit(case, wrong | {"dW_xh": expected["dW_xh"]})]) == ""


def test_factors_are_equal_within_their_accuracy():
    """A change of the parameters that is a 10⁻¹⁰ of them has few digits; one factor is
    one hint.
    """
    spec = CaseSpec(T=3, B=2, D=2, H=4, O=3, K=3, dtype="float64", bias=True, seed=SEED)
    fits = []
    for rate in (1e-10, 1e-2):
        case = spec._replace(step=Step(rate)).case()
        report = window_update(case)
        for name, theta in case.params._asdict().items():
            report[name] = theta - 0.999 * (theta - report[name])
        fits.append(Fit(case, report))
    assert explanation(fits) == "step × 0.999"


def test_second_answer_that_differs_is_a_kept_state():
    class Keeping(Port):
        calls = 0

        def window_update(self, params, x, **options):
            self.calls += 1
            return RIGHT.window_update(params, x + self.calls, **options)

    spec = random_spec(RandomDraw(SEED), "float64")._replace(class_inputs=False)
    assert hint_for_port(Keeping(), spec, spec.case()) == hints.STATEFUL
