"""Every mutant of a window is killed at its stage; hints name mutants, factors and
truncations.

Seeds are drawn in every run and told by a failure. What is not always visible has a
rate. Bugs that are no mutants are written here in their own words; none of them has a
wrong hint.
"""

import re
from importlib.resources import files

import numpy as np
import pytest

from numpy_rnn.common.records import (
    Step,
)
from numpy_rnn.conformance.case import (
    INTERMEDIATES,
    TENSORS,
    UPDATED,
)
from numpy_rnn.conformance.definition import DEFINITION as right
from numpy_rnn.conformance.definition import (
    Definition,
    window_update,
)
from numpy_rnn.conformance.mutants import hints
from numpy_rnn.conformance.mutants.catalogue import MUTANTS
from numpy_rnn.conformance.mutants.edits import FORWARD_EQUATIONS
from numpy_rnn.conformance.mutants.fits import Fit
from numpy_rnn.conformance.mutants.hints import explanation, hint_for_port
from numpy_rnn.conformance.ports.abilities import CAPABILITIES, stated_by
from numpy_rnn.conformance.ports.port import call_port
from numpy_rnn.conformance.ports.protocol import format_errors
from numpy_rnn.conformance.random_cases import (
    CaseSpec,
    RandomDraw,
    random_spec,
)
from tests.helpers.ports import RIGHT, DefinitionPort, Port
from tests.helpers.windows import SEED, check_global, check_local

IN_WINDOW = [mutant for mutant in MUTANTS if not mutant.in_run]
MOST = 400  # cases in which a mutant is looked for; the rarest shows in one of some 20
BLACK_BOX = tuple(name for name in CAPABILITIES if name != "intermediates")


def names_of(mutants):
    return pytest.mark.parametrize("mutant", mutants, ids=lambda mutant: mutant.name)


# -- mutants are killed


def wrong_tensor(mutant, case, is_box):
    """Return the first tensor beyond its bound: of a black box at L2, or at L1."""
    with np.errstate(all="ignore"):  # a wrong gradient may well overflow
        report = window_update(case, definition=mutant.definition)
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


def test_mutants_are_as_many_as_the_document_says():
    text = (
        files("numpy_rnn.conformance").joinpath("README.md").read_text(encoding="utf-8")
    )
    [count] = {int(number) for number in re.findall(r"(\d+) mutants", text)}
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) == count


# -- hints of windows


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


@names_of([each for each in IN_WINDOW if each.fields <= FORWARD_EQUATIONS])
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
    good, wrong = (
        window_update(case),
        window_update(case, definition=MUTANTS[1].definition),
    )
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
