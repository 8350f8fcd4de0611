"""Every mutant of a window is killed in its equations and named by its hint, and bugs
that are no mutants by theirs.

Seeds are drawn in every run and told by a failure. Bugs are written here as somebody
writes them; none of them has a wrong hint.
"""

import numpy as np
import pytest

from numpy_rnn.common.records import Step
from numpy_rnn.conformance.case import UPDATED
from numpy_rnn.conformance.definition import DEFINITION as right
from numpy_rnn.conformance.definition import Definition, window_update
from numpy_rnn.conformance.mutants import hints
from numpy_rnn.conformance.mutants.catalogue import MUTANTS
from numpy_rnn.conformance.mutants.fits import Fit
from numpy_rnn.conformance.mutants.hints import explanation, hint_for_port
from numpy_rnn.conformance.ports.abilities import CAPABILITIES
from numpy_rnn.conformance.ports.port import stated_port
from numpy_rnn.conformance.random_cases import CaseSpec, RandomDraw, random_spec
from numpy_rnn.conformance.suite import WrongPort, check_port
from tests.helpers.ports import MUTANTS_BY_NAME, RIGHT, DefinitionPort, Port
from tests.helpers.windows import SEED

BLACK_BOX = tuple(name for name in CAPABILITIES if name != "intermediates")


def each_of(mutants):
    """Return the parametrization of a test by mutants."""
    return pytest.mark.parametrize("mutant", mutants, ids=lambda mutant: mutant.name)


def finding_in(port, level="L2", seed=SEED):
    """Return what the suite finds in a wrong port."""
    with pytest.raises(WrongPort) as error:
        check_port(port, level, "float64", seed, examples=400)
    return error.value.finding


def hint_in(port):
    """Return the hint of the first of five seeds that has one: where many mistakes are
    alike there is none.
    """
    for seed in range(SEED, SEED + 5):
        if hint := finding_in(port, seed=seed).hint:
            return hint
    return ""


STAGES = {  # the tensors of equations; of others, what the step computes
    "pre_activation": {"a"},
    "state": {"h"},
    "backward": {"dh", "da"},
    "output": {"y"},
    "loss_and_error": {"loss", "dy"},  # whose loss may be right
    "adjoint_without_loss": {"dy"},
    "state_adjoint": {"dh"},
    "initial_state_adjoint": {"dh_0"},
    "pre_activation_adjoint": {"da"},
    "input_weights_gradient": {"dW_xh"},
    "recurrent_weights_gradient": {"dW_hh"},
    "output_weights_gradient": {"dW_hy"},
    "hidden_bias_gradient": {"db_h"},
    "output_bias_gradient": {"db_y"},
}


@each_of(MUTANTS)
def test_mutant_is_killed_in_its_equations_and_named(mutant):
    """The first tensor that is wrong is one of the equations, all before it being
    right.
    """
    finding = finding_in(DefinitionPort(mutant.definition), "L1")
    stages = (STAGES.get(equation, UPDATED) for equation in mutant.with_number(1.0))
    assert finding.tensor in set().union(*stages)
    assert finding.hint in (mutant.name, "")
    assert hint_in(DefinitionPort(mutant.definition, has=BLACK_BOX)) == mutant.name


class RightGradients(DefinitionPort):
    """A port whose loss alone is that of the mutant, as its gradients are by hand."""

    def window_update(self, *arrays, **options):
        loss = super().window_update(*arrays, **options)["loss"]
        report = DefinitionPort(has=()).window_update(*arrays, **options)
        return report | {"loss": loss}


@each_of([mutant for mutant in MUTANTS if mutant.is_forward])
def test_hint_of_a_forward_pass(mutant):
    assert finding_in(RightGradients(mutant.definition, has=())).hint == mutant.name


# Bugs: one equation of the definition each.


def twice_the_loss(n, y, target, objective):
    loss, error = right.loss_and_error(n, y, target, objective)
    return 2 * loss, error


def loss_of_first_sequence(n, y, target, objective):
    loss, _ = right.loss_and_error(n, y[:, :1], target[:, :1], objective)
    _, error = right.loss_and_error(n, y, target, objective)
    error[:, 1:] = 0
    if objective.reduction == "mean":  # over the whole batch
        loss = loss / y.shape[1]
    return loss, error


def cut_flow(n, w, p, t):
    flow = np.clip(w.da[t + 1] @ p.W_hh.mT, -1, 1)
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


def half_the_mean(n, w):
    batch = w.x[1].shape[-2]
    return right.recurrent_weights_gradient(n, w) / (2 * batch)


def before_slope(n, w):
    return sum(w.dh[t].sum(axis=-2) for t in w.steps)


def first_sequence(n, w):
    return sum(w.da[t][:1].sum(axis=-2) for t in w.steps)


def frozen_bias(n, name, theta, delta, step):
    return theta if name == "b_h" else right.updated(n, name, theta, delta, step)


BUGS = [  # an equation, as it is written, and the hint
    ("loss_and_error", twice_the_loss, "loss × 2"),
    ("state_adjoint", cut_flow, "the flow back within ±1"),
    (
        "state_adjoint",
        flow_of_one_step,
        "each loss goes back over 2 steps (bptt_truncate = 1)",
    ),
    ("state_adjoint", newest_adjoints, "dh of the last 3 steps alone"),
    ("state_adjoint", last_error_alone, "dy in dh of the last step alone"),
    ("pre_activation_adjoint", cosine, ""),
    ("recurrent_weights_gradient", half_the_mean, "dW_hh × 1/(2·B)"),
    ("hidden_bias_gradient", before_slope, "dh for da in db_h"),
    ("hidden_bias_gradient", first_sequence, "db_h of the first sequence alone"),
    ("updated", frozen_bias, "step of b_h × 0"),
]


@pytest.mark.parametrize(("name", "equation", "hint"), BUGS)
def test_hint_of_a_bug(name, equation, hint):
    wrong = Definition(**{name: equation})
    port = DefinitionPort(wrong, "relu", has=("sgd_options", "cross_entropy"))
    hints_given = [finding_in(port, seed=SEED + number).hint for number in range(3)]
    assert hints_given.count(hint) >= 2, hints_given
    assert {*hints_given} <= {hint, ""}, hints_given


def test_hint_of_a_part_of_the_loss():
    wrong = Definition(loss_and_error=loss_of_first_sequence)
    port = DefinitionPort(wrong, has=("cross_entropy",))
    assert hint_in(port) == "the loss of the first sequence alone"


def test_right_port_has_no_hint():
    for number in range(5):
        spec = random_spec(RandomDraw(SEED, number), "float32")
        assert hint_for_port(stated_port(RIGHT), spec, spec.case()) == ""


HINTED_SPEC = CaseSpec(T=8, B=3, D=2, H=4, O=5, K=8, dtype="float64", seed=SEED)


def test_hint_explains_all_of_the_deviation_and_all_tensors():
    case = HINTED_SPEC.case()
    mutant = MUTANTS_BY_NAME["the flow back leaves out φ′"]
    wrong = window_update(case, definition=mutant.definition)
    fit = Fit(case, wrong)
    assert explanation([fit]) == mutant.name
    assert not fit.explains({"dW_hh": np.full((4, 4), np.inf)}, ["dW_hh"])
    near = {n: v + 0.99 * (wrong[n] - v) for n, v in fit.right.items()}
    assert explanation([Fit(case, near)]) == ""
    assert explanation([Fit(case, wrong | {"dW_xh": fit.right["dW_xh"]})]) == ""


@pytest.mark.parametrize(("factor", "hint"), [(1 + 1e-8, ""), (1.125, "dW_hh × 1.125")])
def test_factor_of_1_is_no_hint(factor, hint):
    report = window_update(HINTED_SPEC.case())
    report["dW_hh"] *= factor
    assert explanation([Fit(HINTED_SPEC.case(), report)]) == hint


def test_second_answer_that_differs_is_a_kept_state():
    class Keeping(Port):
        calls = 0

        def window_update(self, params, x, **options):
            self.calls += 1
            return RIGHT.window_update(params, x + self.calls, **options)

    spec = random_spec(RandomDraw(SEED), "float64")._replace(class_inputs=False)
    assert hint_for_port(stated_port(Keeping()), spec, spec.case()) == hints.STATEFUL


@pytest.mark.parametrize(("K", "older"), [(8, [0, 0, 0]), (3, [4, 3, 4])])
def test_cases_of_a_hint_have_older_steps_where_the_wrong_one_has(K, older):
    specs = hints.hint_specs(stated_port(RIGHT), HINTED_SPEC._replace(K=K))
    assert [spec.T - spec.K for spec in specs] == older


@pytest.mark.parametrize("limit", ["max_norm", "max_value"])
def test_second_case_of_a_hint_clips_every_tensor_and_the_third_none(limit):
    weights = "W_xh", "W_hh", "W_hy"
    spec = HINTED_SPEC._replace(step=Step(0.1, **{limit: 1.0}))
    _, *specs = hints.hint_specs(stated_port(RIGHT), spec)
    clipped = []
    for case in (other.case() for other in specs):
        free = window_update(case._replace(step=Step(0.1)))
        report = window_update(case)
        clipped.append({n for n in weights if (report[n] != free[n]).any()})
    assert clipped == [{*weights}, set()]
