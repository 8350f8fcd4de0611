"""Random cases and runs are such that faults show, and the packages pass all levels on them."""

import re
from functools import cache, partial
from itertools import product
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from comparing import bits
from hypothesis import Phase, settings
from inline_snapshot import snapshot
from ports_for_tests import RIGHT, Port

import numpy_rnn
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import DTYPES, Objective, Step, WindowCase
from numpy_rnn.conformance.case import SHAPES, RateInVelocity, initial_state, is_classes
from numpy_rnn.conformance.ports.package_port import PackagePort
from numpy_rnn.conformance.ports.port import tanh_error
from numpy_rnn.conformance.ports.protocol import (
    CAPABILITIES,
    CONTRADICTIONS,
    LACKS,
    OTHER_FORMS,
    SGD_LACKS,
    Abilities,
    PortFault,
)
from numpy_rnn.conformance.properties import Violation, WorstRatios, check_port, profile
from numpy_rnn.conformance.random_cases import (
    LARGE_SIZES,
    Draw,
    RandomDraw,
    Recipe,
    exact_recipe,
    has_exact_cases,
    large_recipe,
    random_recipe,
    random_run,
)
from numpy_rnn.conformance.traces.divergence import expected_windows
from numpy_rnn.conformance.traces.drive import check_port_run

# Enough for every tensor to be checked: it takes a learned initial state and a velocity at the same time.
PROFILE = settings(profile("default"), derandomize=settings().derandomize, max_examples=30)
MANY_RUNS = settings(PROFILE, max_examples=200)  # the runs are a tenth of the windows
ONLY_SEEN = settings(MANY_RUNS, phases=[Phase.generate])
LEVELS = ("L1", "L2", "L3")
TENSORS = {
    name for name in SHAPES if not name.endswith("b_hh")
}  # of a network with one hidden bias


@pytest.mark.parametrize("number", range(3))
def test_package_is_within_its_bounds(rnn, number):
    """And every tensor is checked. Each package has each level in one dtype, the other package in the other one."""
    worst, level, dtype = WorstRatios(), LEVELS[number], DTYPES[(number + (rnn is numpy_rnn)) % 2]
    chosen, patient = (
        MANY_RUNS if level == "L3" else PROFILE,
        100.0,
    )  # the first step of torch.optim imports much
    check_port(level, PackagePort(rnn), dtype, chosen, patient, worst)
    assert set(worst.worst[level][dtype]) >= TENSORS


def drawn(make, choose):
    """What is made by these choices, and among how many options each is made."""
    asked: list[int] = []
    result = make(Draw(lambda low, high: asked.append(high - low + 1) or choose(low, high)))  # type: ignore[func-returns-value]
    return f"{' '.join(map(str, asked))}\n{result!r}"


def test_choices_of_a_recipe():
    """The first of all options, the last, and those between."""
    made = [
        drawn(random_recipe, choose) for choose in (min, max, lambda low, high: (low + high) // 2)
    ]
    made.append(drawn(partial(large_recipe, dtype="float64"), max))
    made += [drawn(partial(exact_recipe, dtype="float32"), choose) for choose in (min, max)]
    assert "\n".join(made) == snapshot("""\
2 8 8 8 8 8 2 4 2 2 4 3 3 7 4 5 7 2 2 2 7 3 4294967296 2 3 2 7 7 10
Recipe(T=1, B=1, D=1, H=1, O=1, K=1, dtype='float32')
2 8 7 6 5 4 2 4 2 2 4 3 3 3 7 4 3 5 7 2 8 2 2 7 3 4294967296 2 3 2 7 3 2 7 7 10
Recipe(T=8, B=7, D=6, H=5, O=5, K=8, dtype='float64', objective=Objective(nonlinearity='sigmoid', loss='cross_entropy', reduction='mean'), step=Step(learning_rate=0.0, weight_decay=0.1, adagrad=True, max_value=1.0), bias=True, zeros=True, gain=1.5, seed=4294967295, learned=True, classes=True, logits=10000.0, class_inputs=True, weights=True, saturated=True, silent=True, subnormal=True)
2 8 8 8 8 8 2 4 2 2 4 3 3 3 7 4 5 7 2 2 2 7 3 4294967296 2 3 3 2 7 7 10
Recipe(T=4, B=4, D=4, H=4, O=4, K=4, dtype='float32', step=Step(learning_rate=0.01, momentum=0.5, dampening=0.25, weight_decay=0.01, max_norm=0.5), gain=0.5, seed=2147483647, velocity=True)
2 8 7 6 5 4 2 4 2 2 4 3 3 3 7 4 3 5 7 2 8 2 7 3 4294967296 2 3 2 7 3 2 7 7 10 5 24 4
Recipe(T=8, B=7, D=6, H=5, O=40, K=8, dtype='float64', objective=Objective(nonlinearity='sigmoid', loss='cross_entropy', reduction='mean'), step=Step(learning_rate=0.0, weight_decay=0.1, adagrad=True, max_value=1.0), bias=True, zeros=True, gain=1.5, seed=4294967295, learned=True, classes=True, logits=10000.0, class_inputs=True, weights=True, saturated=True, silent=True, subnormal=True)
3 2 8 8 8 8 8 2 4 2 2 4 3 3 7 4 5 7 2 2 7 3 4294967296 2 3 2 7 7 10
Recipe(T=1, B=1, D=1, H=1, O=1, K=1, dtype='float32', objective=Objective(nonlinearity='relu'), step=Step(learning_rate=0.0625), exact=True)
3 2 8 7 6 5 4 2 4 2 2 4 3 3 3 7 4 3 5 7 2 8 2 7 3 4294967296 2 3 2 7 3 2 7 7 10 5 24 4 2 2
Recipe(T=8, B=4, D=6, H=5, O=32, K=8, dtype='float32', objective=Objective(nonlinearity='relu', reduction='mean'), step=Step(learning_rate=0.0625, weight_decay=0.25, max_value=4.0), bias=True, zeros=True, gain=1.5, seed=4294967295, learned=True, logits=10000.0, class_inputs=True, saturated=True, silent=True, exact=True)\
""")
    runs = [drawn(lambda draw: random_run(draw).options, choose) for choose in (min, max)]
    assert "\n".join(runs) == snapshot("""\
2 8 8 8 8 8 2 4 2 2 4 3 3 7 4 5 7 2 2 2 7 3 4294967296 2 3 2 7 7 10 9 4 4 10 3
RunOptions(schedule=Schedule(k1=1, k2=1, epochs=2), objective=Objective(nonlinearity='tanh', loss='squared_error', reduction='sum'), step=Step(learning_rate=0.1, momentum=0.0, dampening=0.0, nesterov=False, weight_decay=0.0, adagrad=False, max_norm=None, max_value=None))
2 8 7 6 5 4 2 4 2 2 4 3 3 3 7 4 3 5 7 2 8 2 2 7 3 4294967296 2 3 2 7 3 2 7 7 10 9 4 4 10 24 3
RunOptions(schedule=Schedule(k1=4, k2=7, epochs=2), objective=Objective(nonlinearity='sigmoid', loss='cross_entropy', reduction='mean'), step=Step(learning_rate=8.333333333333334e-05, momentum=0.0, dampening=0.0, nesterov=False, weight_decay=0.1, adagrad=True, max_norm=None, max_value=1.0))\
""")


def test_recipes_are_of_every_kind():
    made = [random_recipe(RandomDraw(5, seed)) for seed in range(400)]
    values = {name: {getattr(recipe.step, name) for recipe in made} for name in Step._fields}
    assert values == {
        "learning_rate": {0.1, 0.01, 0.5, 0.0}, "momentum": {0.0, 0.5, 0.9}, "dampening": {0.0, 0.25, 0.7},
        "nesterov": {False, True}, "weight_decay": {0.0, 0.01, 0.1}, "adagrad": {False, True},
        "max_norm": {None, 0.1, 0.5, 1.0, 5.0, 30.0}, "max_value": {None, 0.03, 0.2, 1.0},
    }  # fmt: skip
    assert {(recipe.gain, recipe.logits) for recipe in made} == set(
        product((0.5, 1.0, 1.5), (1.0, 1e4))
    )
    assert [{recipe[i] for recipe in made} for i in range(6)] == [set(range(1, 9))] * 6


def test_cases_are_of_every_kind():
    made = [random_recipe(RandomDraw(2, seed)) for seed in range(400)]
    subnormal = next(
        recipe for recipe in made if recipe.subnormal and not recipe.class_inputs
    ).case()
    assert (np.abs(subnormal.x[..., 0]) < np.finfo(subnormal.x.dtype).smallest_normal).any()
    assert (
        next(recipe for recipe in made if recipe.velocity and recipe.step.momentum)
        .case()
        .velocity.W_hh.all()
    )
    assert (
        np.abs(next(recipe for recipe in made if recipe.logits > 1).case().params.W_hy).max() > 1e3
    )
    weights = np.concatenate([recipe.case().weights.ravel() for recipe in made if recipe.weights])
    assert (
        (np.mean(weights == 0) > 0.2)
        & (np.mean(weights == 0) < 0.5)
        & (np.mean(weights == 1) > 0.2)
    )
    plain = [random_recipe(RandomDraw(seed), None, Abilities(())) for seed in range(50)]
    assert all(
        recipe.step == Step(recipe.step.learning_rate) and not recipe.learned for recipe in plain
    )
    large = [large_recipe(RandomDraw(seed), "float64") for seed in range(200)]
    for name, (low, high) in LARGE_SIZES.items():
        sizes = {getattr(recipe, name) for recipe in large} - set(range(1, 9))
        assert low <= min(sizes) < (low + high) / 2 < max(sizes) <= high
    assert all(max(recipe[:5]) > 8 for recipe in large)
    schedules = [random_run(RandomDraw(seed)).options.schedule for seed in range(100)]
    assert {(s.k1 == 1, s.k1 == s.k2) for s in schedules} == {
        (a, b) for a in (True, False) for b in (True, False)
    }


def test_recipe_makes_the_same_case_again():
    for seed in range(20):
        recipe = random_recipe(RandomDraw(seed))
        again = eval(repr(recipe), {"Recipe": Recipe, "Objective": Objective, "Step": Step})
        assert again == recipe
        assert bits(recipe.case()) == bits(again.case())
    small = "Recipe(T=1, B=1, D=1, H=2, O=1, K=1, dtype='float32', seed=3)"  # without its defaults
    assert repr(Recipe(1, 1, 1, 2, 1, 1, "float32", seed=3)) == small


def test_declared_errors_of_tanh_count_twice():
    assert tanh_error(RIGHT) == (16, 0)
    assert tanh_error(SimpleNamespace(tanh_ulps=3, tanh_absolute_ulps=4)) == (6, 8)


# -- what a port lacks ------------------------------------------------------------------------------------------------

USES: dict[str, Any] = {  # what a case has, by the names of LACKS and CAPABILITIES
    **{name: lambda c, name=name: c.objective.nonlinearity == name for name in ("tanh", "relu", "sigmoid")},
    **{name: lambda c, name=name: c.objective.loss == name for name in ("squared_error", "cross_entropy", "given_dy")},
    **{name: lambda c, name=name: c.objective.reduction == name for name in ("sum", "mean")},
    **{name: lambda c, name=name: c.step and getattr(c.step, name) for name in (*SGD_LACKS, "adagrad")},
    "bias": lambda c: c.params.b_h is not None, "no biases": lambda c: c.params.b_h is None,
    "h_0": lambda c: initial_state(c).any(), "learned_h_0": lambda c: c.params.h_0 is not None,
    "older steps": lambda c: len(c.x) > len(c.target), "many losses": lambda c: len(c.target) > 1,
    "step": lambda c: c.step, "plain SGD": lambda c: c.step and not c.step.adagrad,
    "sgd_options": lambda c: c.step and any(getattr(c.step, name) for name in SGD_LACKS),
    "clip_by_value": lambda c: c.step and c.step.max_value, "loss_weights": lambda c: c.weights is not None,
    "rate_in_velocity": lambda c: isinstance(c.step, RateInVelocity), "batch": lambda c: c.x.shape[1] > 1,
    "two_biases": lambda c: getattr(c.params, "b_hh", None) is not None,
    "distributions": lambda c: c.objective.loss == "cross_entropy" and not is_classes(c.target),
    "vector_inputs": lambda c: not is_classes(c.x), "class_inputs": lambda c: is_classes(c.x),
    "large outputs": lambda c: np.abs(c.params.W_hy).max() > 500,
}  # fmt: skip
NAMES = {*LACKS, *CAPABILITIES, *OTHER_FORMS} & {*USES}
ALSO: dict[str, set[str]] = {  # what then is not there either
    "step": {*SGD_LACKS, "plain SGD", "clip_by_value"}, "sgd_options": {*SGD_LACKS},
    **{key: {"momentum", "dampening", "nesterov"} for key in ("momentum", "plain SGD")},
    "cross_entropy": {"distributions", "large outputs"},
    "given_dy": {"mean", "squared_error", "cross_entropy", "distributions", "large outputs", "loss_weights"},
}  # fmt: skip
IN_RUNS = {  # where the suite computes the step and the loss, and all windows start at the first step
    "step": {"step", "plain SGD", "clip_by_value"}, "given_dy": {"given_dy", "squared_error"}, "h_0": {"older steps"},
}  # fmt: skip


def used_by(case):
    return {name for name in NAMES if USES[name](case)}


@cache
def some_runs():
    return [
        (run, used_by_run(run))
        for run in (random_run(RandomDraw(6, seed), "float64") for seed in range(30))
    ]


def used_by_run(run):
    """In the windows of its first epoch; the states of later ones are ones."""
    found, (_, objective, step) = set(), run.options
    for start, loss_start, stop in expected_windows(len(run.x), run.options.schedule):
        params, h_0 = run.params, run.h_0
        if start:
            params, h_0 = params._replace(h_0=None), np.ones((run.x.shape[1], len(params.W_hh)))
        weights = None if run.weights is None else run.weights[loss_start:stop]
        x, target = run.x[start:stop], run.target[loss_start:stop]
        found |= used_by(WindowCase(params, x, target, h_0, weights, objective, step))
    return found


@pytest.mark.parametrize("name", sorted(NAMES))
def test_cases_have_what_a_port_has(name):
    """All of that, and nothing else, in windows and in runs; other runs are refused, with the name."""
    undeclared = {
        name,
        *(n for names, _ in CONTRADICTIONS if name in names and len(names) > 1 for n in names),
    }
    if name in OTHER_FORMS:
        own, absent = Abilities((*CAPABILITIES, name)), {*OTHER_FORMS, *ALSO.get(name, ())} - {name}
    else:
        capabilities = tuple(each for each in CAPABILITIES if each not in undeclared)
        own = Abilities(capabilities, (name,) if name in LACKS else ())
        absent = {name, *OTHER_FORMS, *(undeclared & {*CAPABILITIES}), *ALSO.get(name, ())}
    recipes = [random_recipe(RandomDraw(1, seed), "float64", own) for seed in range(80)]
    special = [large_recipe(RandomDraw(2, seed), "float64", own) for seed in range(4)]
    special += [
        exact_recipe(RandomDraw(3, seed), "float64", own)
        for seed in range(1)
        if has_exact_cases(own)
    ]
    assert set().union(*(used_by(recipe.case()) for recipe in recipes)) == NAMES - absent
    assert not [
        names for recipe in special if recipe and (names := used_by(recipe.case()) & absent)
    ]
    runs = [random_run(RandomDraw(4, seed), "float64", own) for seed in range(50)]
    assert set().union(*map(used_by_run, runs)) == (NAMES - absent ^ IN_RUNS.get(name, set())) - {
        "large outputs"
    }
    port = SimpleNamespace(
        name="it", dtypes=("float64",), capabilities=own.capabilities, lacks=own.lacks
    )
    for run in runs:
        check_port_run(port, run)
    for run in runs[:1] if "batch" not in own.lacks else ():
        sizes = {
            "B": run.x.shape[1],
            **dict(zip("DHO", (*run.params.W_xh.shape, run.params.W_hy.shape[-1]))),
        }
        for letter, size in sizes.items():
            check_port_run(
                SimpleNamespace(**vars(port), sizes=({letter: size + 1}, {letter: size})), run
            )
            with pytest.raises(InputError, match=f"expected them in the run, not {sizes}"):
                check_port_run(SimpleNamespace(**vars(port), sizes=({letter: size + 1},)), run)
    for run, used in some_runs():
        if needed := used & ({*port.lacks, *CAPABILITIES} - {*own.capabilities, "step"}):
            says = {
                f"it {'lacks' if each in LACKS else 'does not declare'} {each!r}: choose"
                for each in needed
            }
            with pytest.raises(InputError, match=f"^({'|'.join(says)})"):
                check_port_run(port, run)
        elif name != "given_dy":
            check_port_run(port, run)


def test_port_of_the_logistic_function_alone_has_its_cases():
    own = Abilities(("sigmoid",), ("tanh", "relu"))
    assert {
        random_recipe(RandomDraw(1, seed), None, own).objective.nonlinearity for seed in range(20)
    } == {"sigmoid"}


# -- wrong ports -----------------------------------------------------------------------------------------------------


def one_percent_off(name):
    def change(report):
        return report | (
            {name: report[name] * report[name].dtype.type(1.01)} if name in report else {}
        )

    return change


@pytest.mark.usefixtures("no_hints")
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(("change", "error", "message"), [
    (lambda report: report.pop("dW_hy") is None or report, PortFault, "dW_hy is missing"),
    (one_percent_off("vh_0"), Violation, "vh_0"),
])  # fmt: skip
def test_wrong_report_is_seen_at_every_level(level, change, error, message):
    with pytest.raises(error, match=message):
        check_port(level, Port(after=change), "float32", ONLY_SEEN)


def test_largest_error_is_reported_with_the_smallest_case():
    """Shrinking keeps any case that fails, and finds one whose error is as small as an error can be there."""

    def grow(
        report,
    ):  # with the numbers of inputs and units; it takes more than Hypothesis begins with
        D, H = report["dW_xh"].shape
        return report | {
            "dW_xh": report["dW_xh"] * (1 + np.float64(1e-12) * (D * H) ** 4 * (H > 4))
        }

    with pytest.raises(Violation) as error:
        check_port(
            "L1", Port(after=grow), "float64", settings(PROFILE, max_examples=30, derandomize=True)
        )
    pattern = (
        r"this is (\S+) times as large.*the largest error, in Recipe.* is (\S+) times its bound"
    )
    smallest, largest = map(float, re.search(pattern, str(error.value)).groups())
    assert largest > 2 * smallest


# -- windows in which hand-written code goes wrong: large ones, saturation, and relu's kink ---------------------------

DEFAULT = settings(profile("default"), derandomize=True, phases=[Phase.generate])


def test_default_profile_reaches_every_kind_of_window():
    windows, worst = [], WorstRatios()

    class Watching(Port):
        def window_update(self, params, x, *, nonlinearity, **given):
            report = super().window_update(params, x=x, nonlinearity=nonlinearity, **given)
            largest, at_kink = np.abs(report["a"]).max(), report["dh"] * (report["a"] == 0)
            windows.append({
                "an exponential that overflows beyond |a| = 12": nonlinearity == "tanh" and largest > 12,
                "one beyond |a| = 40, for saturated units only": nonlinearity == "tanh" and largest > 40,
                "relu'(0) = 1": nonlinearity == "relu" and np.einsum("tbi,tbj->ij", x, at_kink).any(),
            })  # fmt: skip
            return report

    check_port("L1", Watching(capabilities=("intermediates",)), "float64", DEFAULT, worst=worst)
    assert all(any(window[where] for window in windows) for where in windows[0])
    for letter, least in {
        "T": 17,
        "H": 17,
        "B": 9,
    }.items():  # a ring of states, vector loops, a buffer of sequences
        assert worst.sizes[letter][0] <= 2
        assert worst.sizes[letter][1] >= least
