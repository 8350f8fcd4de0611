"""Random cases have what a port has and nothing else, and numbers that make faults visible."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from windows_for_tests import Way, check_global, operations, window

from numpy_rnn.common.records import Objective, Step
from numpy_rnn.conformance.arithmetics.floats import Floats
from numpy_rnn.conformance.case import initial_state, is_classes, present
from numpy_rnn.conformance.definition import Definition
from numpy_rnn.conformance.ports.protocol import CAPABILITIES, LACKS, SGD_LACKS, Abilities
from numpy_rnn.conformance.random_cases import (
    RandomDraw,
    Recipe,
    large_recipe,
    random_recipe,
    random_run,
)
from numpy_rnn.conformance.runs import PortSource

USES: dict[str, Any] = {  # whether a case has what is called by the names of LACKS and CAPABILITIES
    **{n: lambda c, n=n: n in c.objective for n in (*CAPABILITIES, *LACKS)},
    **{n: lambda c, n=n: c.step and getattr(c.step, n) for n in (*SGD_LACKS, "adagrad")},
    "bias": lambda c: c.params.b_h is not None,
    "no biases": lambda c: c.params.b_h is None,
    "h_0": lambda c: initial_state(c).any(),
    "older steps": lambda c: len(c.x) > len(c.target),
    "many losses": lambda c: len(c.target) > 1,
    "step": lambda c: c.step,
    "plain SGD": lambda c: c.step and not c.step.adagrad,
    "sgd_options": lambda c: c.step and any(getattr(c.step, name) for name in SGD_LACKS),
    "clip_by_value": lambda c: c.step and c.step.max_value,
    "batch": lambda c: c.x.shape[1] > 1,
    "vector_inputs": lambda c: not is_classes(c.x),
    "class_inputs": lambda c: is_classes(c.x),
    "large outputs": lambda c: "cross_entropy" in c.objective and np.abs(c.params.W_hy).max() > 500,
}  # fmt: skip
NAMES = {*LACKS, *CAPABILITIES} - {"intermediates", "input_gradients"}
ALSO = {  # what a case then lacks as well
    "step": {*SGD_LACKS, "plain SGD", "clip_by_value", "sgd_options", "adagrad"},
    "sgd_options": {*SGD_LACKS},
    **{name: {"momentum", "dampening", "nesterov"} for name in ("momentum", "plain SGD")},
    "cross_entropy": {"large outputs"},
}


@pytest.mark.parametrize("name", sorted(NAMES))
def test_cases_have_what_a_port_has(name):
    """All of that, and nothing else; its runs are supported."""
    excluded = {"sgd_options", "adagrad"} if name == "step" else set()
    capabilities = tuple(n for n in CAPABILITIES if n not in {name, *excluded})
    own = Abilities(capabilities, (name,) if name in LACKS else ())
    cases = [random_recipe(RandomDraw(1, seed), "float64", own).case() for seed in range(120)]
    used = {n for case in cases for n in NAMES if USES[n](case)}
    assert used == NAMES - {name} - ALSO.get(name, set())
    port = {"name": "it", "dtypes": ("float64",), "capabilities": capabilities, "lacks": own.lacks}
    for seed in range(20):
        PortSource(SimpleNamespace(**port)).check(random_run(RandomDraw(seed), "float64", own))


def test_recipes_are_of_every_kind():
    made = [random_recipe(RandomDraw(5, seed)) for seed in range(400)]
    assert {recipe.scale for recipe in made} == {1.0, 10.0, 100.0, 1000.0}
    assert {recipe.step.learning_rate for recipe in made} == {0.1, 0.01, 0.5, 0.0}
    assert [{recipe[i] for recipe in made} for i in range(6)] == [set(range(1, 9))] * 6
    large = [large_recipe(RandomDraw(seed), "float64") for seed in range(100)]
    assert all(8 < max(recipe[:5]) <= 40 for recipe in large)
    tiny = next(recipe for recipe in made if recipe.subnormal and not recipe.class_inputs).case()
    assert 0 < np.abs(tiny.x[..., 0]).max() < 4 * np.finfo(tiny.x.dtype).smallest_normal


def test_steps_with_a_loss_run_up_to_all_of_a_fixed_window():
    own = Abilities(sizes=({"T": 40, "H": 4},))
    Ks = [random_recipe(RandomDraw(seed), "float32", own).K for seed in range(60)]
    assert 20 <= Ks.count(40) <= 45
    assert len({*Ks}) > 10
    assert max(K for K in Ks if K < 40) > 30


def test_recipe_makes_the_same_case_again():
    for seed in range(20):
        recipe = random_recipe(RandomDraw(seed))
        again = eval(repr(recipe), {"Recipe": Recipe, "Objective": Objective, "Step": Step})
        assert again == recipe
        for name, theta in present(recipe.case().params).items():
            assert np.array_equal(theta, getattr(again.case().params, name))
    assert repr(Recipe(1, 1, 1, 2, 1, 1, "float32")).endswith("dtype='float32')")  # no defaults


def clipped_outputs(limit):
    def output(n, w, p, t):
        return np.clip(n.affine([(w.h[t], p.W_hy)], p.b_y), -limit, limit)

    return Way(of=Definition(output=output))


def clipped_targets(limit):
    def loss_and_error(self, y, target, objective):
        return Floats.loss_and_error(self, y, np.clip(target, -limit, limit), objective)

    return operations(loss_and_error=loss_and_error)


WRONG = {f"outputs clipped at {limit}": clipped_outputs(limit) for limit in (5, 20, 100)}
WRONG["targets clipped at 10"] = clipped_targets(10)


@pytest.mark.parametrize("name", WRONG)
def test_clipped_data_is_seen(name):
    """In one of the 100 cases of the suite, and mostly in several."""
    refused = 0
    for seed in range(100):
        case = window(seed, "float32")
        wrong = {n: v for n, v in WRONG[name].report(case).items() if n[0] == "d" or n == "loss"}
        checked = check_global(case, wrong)
        refused += any((checked[n] > 1).any() for n in wrong)
    assert refused >= 3
