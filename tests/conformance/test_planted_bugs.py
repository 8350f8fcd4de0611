"""Bugs that people make, in networks of their own: all are refused, most have their hint, and none a wrong one."""

import numpy as np
import pytest
from planted_bugs import (
    AUTO,
    BOX,
    CHARACTERS,
    CLASSES,
    INNER,
    LOOPS,
    OF_CLASSES,
    OVERLAPPING,
    SEEN,
    TANH,
    TWO_BIASES,
    WINDOWS,
    Loop,
    Network,
    scaled,
)

from numpy_rnn.common.records import Step
from numpy_rnn.conformance.mutants.hints import hints_for_port
from numpy_rnn.conformance.mutants.run_hints import hints_for_run
from numpy_rnn.conformance.ports.port import abilities
from numpy_rnn.conformance.ports.protocol import PortFault
from numpy_rnn.conformance.properties import Violation, WindowCheck, WorstRatios
from numpy_rnn.conformance.random_cases import RandomDraw, random_recipe
from numpy_rnn.conformance.traces.judge import judge

INPUT_GRADIENTS = {"capabilities": ("sgd_options", "input_gradients")}


def check_of(network):
    return WindowCheck("L1" if network.has_intermediates else "L2", network, "float64", 10.0, WorstRatios())


def recipes(network, count):
    return (random_recipe(RandomDraw(4, seed), "float64", abilities(network)) for seed in range(count))


@pytest.mark.parametrize("changes", [{}, AUTO, INNER, CLASSES, CLASSES | AUTO, CHARACTERS, TANH, INPUT_GRADIENTS])
def test_network_without_a_bug_passes(changes):
    network = Network(**changes)
    for recipe in recipes(network, 5):
        check_of(network).check(recipe)
        assert hints_for_port(network, recipe) == []


@pytest.mark.parametrize("changes", [SEEN | OVERLAPPING, BOX | TWO_BIASES, BOX | OF_CLASSES,
    SEEN | {"options": {"momentum": 0.9}}, SEEN | {"k1": 5, "k2": 5}])  # fmt: skip
def test_loop_without_a_bug_passes(changes):
    assert judge(Loop(**changes).record()).passed


@pytest.mark.parametrize("bug", WINDOWS, ids=lambda bug: bug.id)
def test_bug_of_a_window_is_refused(bug):
    """Up to two cases that show it: in one of them it has its hint, and in none a wrong one."""
    network, shown = Network(**bug.changes), []
    for recipe in recipes(network, 60):
        with np.errstate(all="ignore"):
            try:
                check_of(network).check(recipe)
            except PortFault:  # one line, on its format
                shown.append([])
            except Violation:
                shown.append(hints_for_port(network, recipe))
        if len(shown) == 2 or any(shown):
            break
    assert shown
    assert [[bug.hint in each for each in found] for found in shown if found] == [[True]] * bool(bug.hint), shown


def test_other_factor_of_clipping_is_no_learning_rate():
    """Without a velocity, the step is multiplied by it."""
    network = Network(**scaled(lambda max_norm, norm: min(1, max_norm / norm**2)), lacks=("momentum", "weight_decay"))
    for recipe in recipes(network, 3):
        assert hints_for_port(network, recipe._replace(step=Step(0.1, max_norm=0.1))) == []


@pytest.mark.parametrize("bug", LOOPS, ids=lambda bug: bug.id)
def test_bug_of_a_loop_is_refused(bug):
    recorded = Loop(**bug.changes).record()
    first = judge(recorded).first
    assert first is not None
    assert [bug.hint in each for each in hints_for_run(recorded, first)] == [True] * bool(bug.hint)


def test_most_bugs_have_a_hint():
    assert len(WINDOWS) + len(LOOPS) == 102
    assert sum(bool(bug.hint) for bug in WINDOWS + LOOPS) >= 60
