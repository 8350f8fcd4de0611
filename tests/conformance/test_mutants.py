"""Every mutant is killed at its stage, and hints name it; also in ports that share no code with the mutants."""

import numpy as np
import pytest
from hypothesis import settings
from ports_for_tests import Port
from windows import RIGHT, ModulePort, window

from numpy_rnn.conformance import plain_rnn
from numpy_rnn.conformance.bounds.local_bounds import check_local
from numpy_rnn.conformance.case import INTERMEDIATES
from numpy_rnn.conformance.mutants import hints, score
from numpy_rnn.conformance.mutants.catalogue import MUTANTS, Mutant, load, named, trace
from numpy_rnn.conformance.mutants.run_hints import hints_for_run
from numpy_rnn.conformance.properties import Violation, check_port, profile
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


def test_plain_rnn_itself_survives():
    """The score board tells right from wrong."""
    load(named("dh_next dropped"))
    for level in ("L1", "L2", "L3"):
        assert [score.violation(level, plain_rnn, (SEED, case)) for case in range(1, 11)] == [None] * 10


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
        if wrong == 4:
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
