"""Every known mistake is made, and killed; and the stage that is named is the one that is wrong."""

import pytest

import numpy_rnn
from numpy_rnn.conformance.case import INTERMEDIATES
from numpy_rnn.conformance.mutants.catalogue import MUTANTS, Mutant, load, mutated_source, named
from numpy_rnn.conformance.mutants.score import (
    LEVELS,
    Score,
    global_violation,
    local_violation,
    names_the_stage,
    run_violation,
    score,
    text,
)
from numpy_rnn.conformance.traces.judge import EQUATIONS

TRIALS = [(mutant, level) for mutant in MUTANTS for level in LEVELS[mutant.level]]
SEED = 3  # of cases of which the first that catches a mutant shows it clearly


@pytest.mark.parametrize(("mutant", "level"), TRIALS, ids=lambda v: v.name if isinstance(v, Mutant) else v)
def test_mutant_is_killed(mutant, level):
    found = score(mutant, level, seed=SEED)
    assert found.tensor is not None, f"{mutant.name} survived {found.cases} cases at level {level}"
    assert found.factor > 1000, f"{mutant.name} exceeds its bound by {found.factor} only"
    if level == "L2":  # a black box names what it shows, and not the stage
        assert found.tensor not in INTERMEDIATES
    else:
        assert names_the_stage(mutant, level, found.tensor), f"{found.tensor} for {mutant.stage}"


@pytest.mark.parametrize("violation", [local_violation, global_violation, run_violation])
def test_numpy_rnn_itself_survives(violation):
    """The score board tells right from wrong, and mutants leave the package that they are made of alone."""
    load(named("dh_next dropped"))
    assert [violation(numpy_rnn, (SEED, case)) for case in range(1, 21)] == [None] * 20


def test_every_stage_has_a_mutant_and_every_mutant_a_name_of_its_own():
    assert {EQUATIONS[mutant.stage] for mutant in MUTANTS} == set(EQUATIONS.values())
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)
    with pytest.raises(LookupError, match="no mutant is called 'x'"):
        named("x")


def test_the_stage_that_is_named_is_the_mutated_one():
    """Of a mistake in what makes the velocity, a parameter too, as without momentum no velocity is reported."""
    decay, forgotten = named("decoupled weight decay"), named("nesterov forgotten")
    found = [names_the_stage(decay, "L1", tensor) for tensor in ("vb_h", "W_hh", "dW_hh", None)]
    assert found == [True, True, False, False]
    assert [names_the_stage(forgotten, "L1", tensor) for tensor in ("h_0", "vW_xh")] == [True, False]


def test_a_line_that_has_gone_is_an_error():
    mutant = Mutant("m", "a", "update", (("elman", "right", "wrong"),))
    assert mutated_source(mutant, "elman", "a right line") == "a wrong line"
    assert mutated_source(mutant, "loss", "a right line") == "a right line"
    for source, times in (("right, right", 2), ("", 0)):
        with pytest.raises(LookupError, match=f"occurs {times} times in elman"):
            mutated_source(mutant, "elman", source)


def test_a_survivor_is_shown():
    survived = Score(named("dh_next dropped"), "L1", None, 500, 0.0)
    assert "SURVIVED" in text([survived])
    assert "1 survived" in text([survived])
    assert "(expected dh)" in text([survived._replace(tensor="a", factor=2.0)])
