"""Random cases have what a port has and nothing else, and numbers that make faults
visible.
"""

from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from windows_for_tests import SEED, SEEDS, Way, check_global, operations, told_seed  # noqa: F401

from numpy_rnn.common.records import Objective, Run, RunOptions, Schedule, Step, Window
from numpy_rnn.conformance.arithmetics.floats import Floats
from numpy_rnn.conformance.case import initial_state, present
from numpy_rnn.conformance.definition import DEFINITION, Definition
from numpy_rnn.conformance.ports.protocol import (
    CAPABILITIES,
    LACKS,
    SGD_LACKS,
    Abilities,
)
from numpy_rnn.conformance.random_cases import (
    RandomDraw,
    Recipe,
    large_recipe,
    random_recipe,
    random_run,
)
from numpy_rnn.conformance.runs import PortSource, needs

UNNAMED = {"intermediates", "input_gradients", "max_value"}
NAMES = {*LACKS, *CAPABILITIES, *Step._field_defaults} - UNNAMED
ALSO = {  # what a case then lacks as well
    "step": {*Step._field_defaults, "plain SGD", "clip_by_value", "sgd_options"},
    "sgd_options": {*SGD_LACKS},
    **{
        name: {"momentum", "dampening", "nesterov"}
        for name in ("momentum", "plain SGD")
    },
    "cross_entropy": {"large outputs"},
}


def used_by(case):
    """The names of what a case has."""
    T, K, step = len(case.x), len(case.target), case.step or Step(0.1)
    options = RunOptions(Schedule(T, T), case.objective, step)
    run = Run(case.params, case.x, case.target, initial_state(case), options)
    found = {*needs(run, [Window(0, T - K, T)])}
    is_large = (
        "cross_entropy" in case.objective and np.abs(case.params.W_hy).max() > 500
    )
    found |= {"large outputs"} if is_large else set()
    return found | {"step"} if case.step else found - {"plain SGD"}


@pytest.mark.parametrize("name", sorted(NAMES))
def test_cases_have_what_a_port_has(name):
    """All of that, and nothing else; its runs are supported."""
    excluded = {"sgd_options", "adagrad"} if name == "step" else set()
    capabilities = tuple(n for n in CAPABILITIES if n not in {name, *excluded})
    own = Abilities(capabilities, (name,) if name in LACKS else ())
    cases = [
        random_recipe(RandomDraw(SEED, i), "float64", own).case() for i in range(250)
    ]
    used = set[str]().union(*map(used_by, cases))
    assert used == NAMES - {name} - ALSO.get(name, set())
    port = {
        "name": "it",
        "dtypes": ("float64",),
        "capabilities": capabilities,
        "lacks": own.lacks,
    }
    for i in range(20):
        PortSource(SimpleNamespace(**port)).check(
            random_run(RandomDraw(SEED, i), "float64", own)
        )


def test_recipes_are_of_every_kind():
    made = [random_recipe(RandomDraw(SEED, i)) for i in range(400)]
    assert {recipe.scale for recipe in made} == {1.0, 10.0, 100.0, 1000.0}
    assert {recipe.step.learning_rate for recipe in made} == {0.1, 0.01, 0.5, 0.0}
    assert [{recipe[i] for recipe in made} for i in range(6)] == [set(range(1, 9))] * 6
    large = [large_recipe(RandomDraw(SEED, i), "float64") for i in range(100)]
    assert all(8 < max(recipe[:5]) <= 40 for recipe in large)
    special = ("saturated", "silent", "subnormal", "zeros")
    assert all(any(getattr(recipe, name) for name in special) for recipe in large)
    plain = (recipe for recipe in made if not (recipe.class_inputs or recipe.zeros))
    tiny = next(recipe for recipe in plain if recipe.subnormal).case()
    assert 0 < np.abs(tiny.x[..., 0]).max() < 4 * np.finfo(tiny.x.dtype).smallest_normal


def test_steps_with_a_loss_run_up_to_all_of_a_fixed_window():
    own = Abilities(sizes=({"T": 40, "H": 4},))
    Ks = [random_recipe(RandomDraw(SEED, i), "float32", own).K for i in range(200)]
    assert 70 <= Ks.count(40) <= 135
    assert len({*Ks}) > 10
    assert max(K for K in Ks if K < 40) > 30


@given(SEEDS)
def test_recipe_makes_the_same_case_again(seed):
    recipe = random_recipe(RandomDraw(seed))
    again = eval(repr(recipe), {"Recipe": Recipe, "Objective": Objective, "Step": Step})
    assert again == recipe
    for name, theta in present(recipe.case().params).items():
        assert np.array_equal(theta, getattr(again.case().params, name))
    assert repr(Recipe(1, 1, 1, 2, 1, 1, "float32")).endswith(
        "dtype='float32')"
    )  # no defaults


def clipped(f, limit, *given):
    return np.clip(f(*given), -limit, limit)


def with_clipped_targets(n, y, target, objective):
    return Floats.loss_and_error(n, y, np.clip(target, -10, 10), objective)


OUTPUT = {c: partial(clipped, DEFINITION.output, c) for c in (5, 20, 100)}
WRONG = {
    f"outputs clipped at {c}": Way(of=Definition(output=OUTPUT[c])) for c in OUTPUT
}
WRONG["targets clipped at 10"] = operations(loss_and_error=with_clipped_targets)


@pytest.mark.parametrize("name", WRONG)
def test_clipped_data_is_seen(name):
    """In one of the 100 cases of the suite, and mostly in several."""
    refused = 0
    for i in range(100):
        case = random_recipe(RandomDraw(SEED, i), "float32").case()
        wrong = {
            n: v
            for n, v in WRONG[name].report(case).items()
            if n[0] == "d" or n == "loss"
        }
        checked = check_global(case, wrong)
        refused += any((checked[n] > 1).any() for n in wrong)
    assert refused >= 3
