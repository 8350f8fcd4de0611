"""Every known mistake is made, and killed; and the stage that is named is the one that is wrong."""

import numpy as np
import pytest

import numpy_rnn
from numpy_rnn.app.configuration import Configuration
from numpy_rnn.app.experiment import prepare
from numpy_rnn.conformance.bounds.local_bounds import TAU, check_local
from numpy_rnn.conformance.mutants import hints as hints_module
from numpy_rnn.conformance.mutants.catalogue import MUTANTS, Mutant, load, mutated_source, named
from numpy_rnn.conformance.mutants.hints import hints, hints_for_case, hints_for_port, with_several_steps
from numpy_rnn.conformance.mutants.score import (
    LEVELS,
    Score,
    ensemble_of_two,
    first_violation,
    local_violation,
    names_the_stage,
    run_violation,
    score,
    text,
)
from numpy_rnn.conformance.ports.backends import PackagePort
from numpy_rnn.conformance.ports.protocol import CAPABILITIES
from numpy_rnn.conformance.recipes import Recipe, random_recipe, random_run
from numpy_rnn.conformance.traces.drive import trace_of
from numpy_rnn.conformance.traces.judge import EQUATIONS, judge
from numpy_rnn.conformance.truncated_run import gradients_of
from numpy_rnn.conformance.truncations import truncation_of

TRIALS = [(mutant, level) for mutant in MUTANTS for level in LEVELS[mutant.level]]


@pytest.mark.parametrize(("mutant", "level"), TRIALS, ids=lambda v: v.name if isinstance(v, Mutant) else v)
def test_mutant_is_killed(mutant, level):
    found = score(mutant, level)
    assert found.tensor is not None, f"{mutant.name} survived {found.cases} cases at level {level}"
    assert found.factor > 1000, f"{mutant.name} exceeds its bound by {found.factor} only"
    if level != "L2":  # a black box names what it shows, and not the stage
        assert names_the_stage(mutant, level, found.tensor), f"{found.tensor} for {mutant.stage}"


def test_numpy_rnn_itself_survives():
    """The score board tells right from wrong: nothing is found in the package that the mutants are made of."""
    for excess in (local_violation, run_violation):
        generator = np.random.default_rng(1)
        assert [excess(numpy_rnn, generator) for _ in range(100)] == [None] * 100


def test_every_stage_has_a_mutant():
    stages = {EQUATIONS[mutant.stage] for mutant in MUTANTS}
    assert stages == set(EQUATIONS.values())


def test_every_change_of_a_mutant_changes_something():
    for mutant in MUTANTS:
        assert mutant.changes
        assert all(right != wrong for _, right, wrong in mutant.changes)


def test_the_stage_that_is_named_is_the_mutated_one():
    """Of a mistake in what makes the velocity, a parameter too, as without momentum no velocity is reported."""
    decay = named("decoupled weight decay")
    found = [names_the_stage(decay, "L1", tensor) for tensor in ("vb_h", "W_hh", "dW_hh", None)]
    assert found == [True, True, False, False]
    forgotten = named("nesterov forgotten")
    assert [names_the_stage(forgotten, "L1", tensor) for tensor in ("h_0", "vW_xh")] == [True, False]


def test_an_ensemble_of_two_is_judged_as_two_runs():
    generator = np.random.default_rng(3)
    experiment, configuration = random_run(generator, "float64", has=CAPABILITIES)
    both = trace_of(numpy_rnn, ensemble_of_two(experiment, generator), configuration)
    assert judge(both).passed
    alone = trace_of(numpy_rnn, experiment, configuration)
    assert np.abs(both["W_hh"][:, 0] - alone["W_hh"]).max() < 1e-12
    assert np.abs(both["W_hh"][:, 1] - alone["W_hh"]).max() > 1e-3


def test_mutants_have_names_of_their_own():
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)
    assert named("dh_next dropped") in MUTANTS
    with pytest.raises(LookupError, match="no mutant is called 'x'"):
        named("x")


def test_a_line_that_has_gone_is_an_error():
    mutant = Mutant("m", "a", "update", (("elman", "right", "wrong"),))
    assert mutated_source(mutant, "elman", "a right line") == "a wrong line"
    assert mutated_source(mutant, "loss", "a right line") == "a right line"
    with pytest.raises(LookupError, match="occurs 2 times in elman"):
        mutated_source(mutant, "elman", "right, right")
    with pytest.raises(LookupError, match="occurs 0 times in elman"):
        mutated_source(mutant, "elman", "")


def test_mutants_leave_the_package_alone():
    load(named("dh_next dropped"))
    assert score(named("dh_next dropped"), "L1").tensor == "dh"
    assert local_violation(numpy_rnn, np.random.default_rng(0)) is None


def test_a_survivor_is_shown():
    survived = Score(named("dh_next dropped"), "L1", None, 500, 0.0)
    assert "SURVIVED" in text([survived])
    assert "1 survived" in text([survived])
    misnamed = survived._replace(tensor="a", factor=2.0)
    assert "(expected dh)" in text([misnamed])


def report_on(package, case):
    arrays = case.params._asdict(), case.x, case.target, case.h_0
    return PackagePort(package).window_update(*arrays, learning_rate=case.learning_rate, **case.options)


SHORT = Configuration(epochs=1, k1=3, k2=5, hidden_size=5, dtype="float64")
UPDATES = [mutant for mutant in MUTANTS if mutant.level == "update"]


@pytest.mark.parametrize("mutant", UPDATES, ids=lambda mutant: mutant.name)
def test_hint_names_the_mistake_of_an_update(mutant):
    """In the first case of several steps in which the report is wrong."""
    generator = np.random.default_rng(8)
    for _ in range(300):
        case = with_several_steps(random_recipe(generator, "float64", CAPABILITIES)).case()
        with np.errstate(all="ignore"):
            report = report_on(load(mutant), case)
            if first_violation(check_local(case, report)) is None:
                continue
        assert mutant.name in hints_for_case(case, report, TAU)
        return
    pytest.fail(f"{mutant.name} was never caught")


def test_a_window_of_several_steps_tells_mutants_apart():
    """In the smallest case, of two steps, another mutant gives the same; in one of one step it shows nothing."""
    mutant = named("dW_hh from the last step only")
    smallest = Recipe(2, 1, 1, 1, 1, 1, "float64")
    assert len(hints_for_case(smallest.case(), report_on(load(mutant), smallest.case()), TAU)) == 2
    for recipe in (smallest, smallest._replace(T=1)):
        assert hints_for_port(PackagePort(load(mutant)), recipe, TAU) == [mutant.name]


def test_hints_are_of_the_mutants_that_can_be_made_and_few(monkeypatch):
    """The line of a mutant may have been changed; if more than three fit, the numbers do not tell them apart."""
    mutant, other = named("h_t for h_{t-1} in dW_hh"), named("dh_next dropped")
    case = Recipe(4, 3, 2, 6, 5, 4, "float64").case()
    report, run = report_on(load(mutant), case), (prepare(SHORT), SHORT)
    trace = trace_of(load(mutant), *run)

    def load_one(which):
        if which is other:
            raise LookupError("its line has been changed")
        return load(which)

    monkeypatch.setattr(hints_module, "load", load_one)
    for mutants, expected in (((other, mutant), 1), ((mutant,) * 3, 3), ((mutant,) * 4, 0)):
        monkeypatch.setattr(hints_module, "MUTANTS", mutants)
        names = [mutant.name] * expected
        assert hints_for_case(case, report, TAU) == names
        assert hints(trace, judge(trace).first, *run, numpy_rnn) == names


RUNS = [mutant for mutant in MUTANTS if mutant.level == "run"]


@pytest.mark.parametrize("mutant", RUNS, ids=lambda mutant: mutant.name)
def test_hint_names_the_mistake_of_a_run(mutant):
    for seed in range(20):
        generator = np.random.default_rng(seed)
        run = random_run(generator, has=CAPABILITIES)
        if seed % 2:
            run = ensemble_of_two(run[0], generator), run[1]
        trace = trace_of(load(mutant), *run)
        judgement = judge(trace)
        if not judgement.passed:
            assert mutant.name in hints(trace, judgement.first, *run, numpy_rnn)
            return
    pytest.fail(f"{mutant.name} was never caught")


def test_right_values_give_no_hint():
    """Nor where another truncation gives the same, as with a single loss."""
    case = Recipe(6, 3, 2, 6, 5, 1, "float64").case()
    truncated = case._replace(truncation=truncation_of("band:3"), has_step=False)
    report = report_on(numpy_rnn, case)
    assert hints_for_case(case, report, TAU) == []
    assert hints_for_case(truncated, gradients_of(truncated) | {"loss": report["loss"]}, TAU) == []
