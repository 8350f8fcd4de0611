"""Every known mistake is made, and killed at its stage, also in the engine; and hints name it, also in other ports."""

import sys
from functools import cache

import numpy as np
import pytest
from comparing import fewer
from hypothesis import Phase, settings
from port_cases import report_of
from test_partial_ports import Partial

import numpy_rnn.engine
from numpy_rnn.app.configuration import Configuration
from numpy_rnn.app.experiment import prepare
from numpy_rnn.conformance.bounds.local_bounds import TAU, check_local
from numpy_rnn.conformance.case import INTERMEDIATES
from numpy_rnn.conformance.mutants import hints, score
from numpy_rnn.conformance.mutants.catalogue import ENGINE_MUTANTS, MUTANTS, Mutant, load, mutated_source, named
from numpy_rnn.conformance.mutants.engine_checks import LIMITS, engine_violation, random_limits, reduced_limits
from numpy_rnn.conformance.ports.backends import EnginePort, PackagePort, port_of
from numpy_rnn.conformance.ports.protocol import CAPABILITIES, PortFault
from numpy_rnn.conformance.properties import (
    BoundExceeded,
    check_port_global,
    check_port_local,
    check_port_lockstep,
    profile,
)
from numpy_rnn.conformance.recipes import Recipe, random_recipe, random_run
from numpy_rnn.conformance.traces.drive import trace_of
from numpy_rnn.conformance.traces.judge import EQUATIONS, judge
from numpy_rnn.conformance.truncations import gradients_of, truncation_of

# -- the catalogue ---------------------------------------------------------------------------------------------------

TRIALS = [(mutant, level) for mutant in MUTANTS for level in score.LEVELS[mutant.level]]
SEED = 3  # of cases of which the first that catches a mutant shows it clearly


@pytest.mark.parametrize(("mutant", "level"), TRIALS, ids=lambda v: v.name if isinstance(v, Mutant) else v)
def test_mutant_is_killed(mutant, level):
    found = score.score(mutant, level, seed=SEED)
    assert found.tensor is not None, f"{mutant.name} survived {found.cases} cases at level {level}"
    assert found.factor > 1000, f"{mutant.name} exceeds its bound by {found.factor} only"
    if level == "L2":  # a black box names what it shows, and not the stage
        assert found.tensor not in INTERMEDIATES
    else:
        assert score.names_the_stage(mutant, level, found.tensor), f"{found.tensor} for {mutant.stage}"


@pytest.mark.parametrize("violation", [score.local_violation, score.global_violation, score.run_violation])
def test_numpy_rnn_itself_survives(violation):
    """The score board tells right from wrong, and mutants leave the package that they are made of alone."""
    load(named("dh_next dropped"))
    assert [violation(numpy_rnn, (SEED, case)) for case in range(1, 21)] == [None] * 20


def test_every_stage_has_a_mutant_and_every_mutant_a_name_of_its_own():
    assert {EQUATIONS[mutant.stage] for mutant in MUTANTS} == set(EQUATIONS.values())
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)
    with pytest.raises(LookupError, match="no mutant is called 'x'"):
        named("x")


def test_a_line_that_has_gone_is_an_error():
    mutant = Mutant("m", "a", "update", (("elman", "right", "wrong"),))
    assert mutated_source(mutant, "elman", "a right line") == "a wrong line"
    assert mutated_source(mutant, "loss", "a right line") == "a right line"
    for source, times in (("right, right", 2), ("", 0)):
        with pytest.raises(LookupError, match=f"occurs {times} times in elman"):
            mutated_source(mutant, "elman", source)


def test_the_board_shows_survivors_and_stages():
    """Of a mistake in what makes the velocity, a parameter is the stage too: without momentum there is no velocity."""
    survived = score.Score(named("dh_next dropped"), "L1", None, 500, 0.0)
    assert "SURVIVED" in score.text([survived])
    assert "1 survived" in score.text([survived])
    assert "(expected dh)" in score.text([survived._replace(tensor="a", factor=2.0)])
    decay, forgotten = named("decoupled weight decay"), named("nesterov forgotten")
    found = [score.names_the_stage(decay, "L1", tensor) for tensor in ("vb_h", "W_hh", "dW_hh", None)]
    assert found == [True, True, False, False]
    assert [score.names_the_stage(forgotten, "L1", tensor) for tensor in ("h_0", "vW_xh")] == [True, False]


# -- the engine ------------------------------------------------------------------------------------------------------

ONLY_SEEN = settings(profile("ci"), phases=[Phase.generate], max_examples=100)


@pytest.mark.parametrize("threads", [1, 2])
def test_the_engine_survives_in_every_layout(threads):
    generator = np.random.default_rng(threads)
    assert [engine_violation(numpy_rnn.engine, generator, threads) for _ in range(30)] == [None] * 30


@pytest.mark.parametrize("mutant", ENGINE_MUTANTS, ids=lambda mutant: mutant.name)
def test_mutant_of_the_engine_is_killed(mutant):
    """At any tensor: where memory is shared or returned too early, the random run decides which one shows it first."""
    found = score.score(mutant, "engine", max_cases=50, seed=11)
    assert found.tensor is not None, f"{mutant.name} survived {found.cases} cases"


def test_the_tapes_of_unequal_blocks_hold_the_same_steps():
    """Two and three of five networks: the tape of the three, which is the shorter one, limits the pieces of both."""
    configuration = Configuration(epochs=2, k1=1, k2=2, networks=5)
    limits = {"layout": {"MIN_GROUP": 1, "MIN_OF_THREAD": 1}, "loop": {"TAPE_BYTES": 600}}
    with reduced_limits(numpy_rnn.engine, limits, threads=2):
        assert judge(trace_of(numpy_rnn.engine, prepare(configuration), configuration)).passed


def test_limits_are_lowered_and_put_back():
    def values():
        modules = {module: getattr(numpy_rnn.engine, module) for module in LIMITS}
        return {module: {name: getattr(modules[module], name) for name in of} for module, of in LIMITS.items()}

    before, limits = values(), random_limits(np.random.default_rng(0))
    with reduced_limits(numpy_rnn.engine, limits):
        assert values() == limits
    assert values() == before


WAYS = {  # of small windows: their own, and those of large ones
    "small": {},
    "large": {"window": {"MAX_STACKED": 3, "MIN_TRANSPOSED": 3}},
    "columns": {"layout": {"MIN_COLUMNS": 3, "MIN_COLUMN_STEPS": 2, "MIN_COLUMN_BATCH": 1}},  # in float32
}


@pytest.mark.parametrize(
    ("check", "dtype", "way"),
    [
        (check_port_local, "float32", "columns"),
        (check_port_local, "float64", "large"),
        (check_port_local, "float64", "small"),
        (check_port_global, "float32", "large"),
        (check_port_lockstep, "float32", "small"),
    ],
)
def test_the_engine_is_a_port_of_its_own(check, dtype, way):
    port = port_of(numpy_rnn.engine)
    assert type(port) is EnginePort
    some = settings(profile("default"), derandomize=settings().derandomize, max_examples=fewer(8).max_examples)
    with reduced_limits(numpy_rnn.engine, WAYS[way]):
        check(port, dtype, some)


@pytest.mark.parametrize("name", ["slopes overwritten before they are used", "first step of momentum dampened"])
def test_the_port_of_the_engine_runs_the_code_of_the_engine(name):
    """A mistake of the engine is seen in its windows, where that of a package of functions does not see it."""
    mutant, seen = load(named(name)), []
    for case in (score.random_case((2, seed)) for seed in range(20)):
        with np.errstate(all="ignore"):
            seen.append(score.first_violation(check_local(case, report_of(EnginePort(mutant), case))))
            assert score.first_violation(check_local(case, score.report_on(case, mutant))) is None
    assert any(seen)


def test_a_run_of_the_port_is_that_of_train():
    mutant = load(named("h_0 not reset at a new epoch"))
    with (
        reduced_limits(mutant, {"loop": {"MAX_WINDOWS": 1}}),
        pytest.raises(BoundExceeded, match=r"L3, run \d+, epoch 2, update 1: initial \(T3\)"),
    ):
        check_port_lockstep(EnginePort(mutant), "float64", ONLY_SEEN)


def test_a_train_that_raises_is_a_fault_of_the_port(monkeypatch):
    mutant = load(named("velocity not resumed"))
    monkeypatch.setattr(sys.modules[mutant.train.__module__.replace("loop", "window")].Tape, "load", lambda *_: 1 / 0)
    with pytest.raises(PortFault, match="train raises ZeroDivisionError: division by zero"):
        check_port_lockstep(EnginePort(mutant), "float64", ONLY_SEEN)


# -- hints for mutants -----------------------------------------------------------------------------------------------


@cache
def case_of(seed):
    """A window of several steps."""
    return hints.with_several_steps(random_recipe(np.random.default_rng((9, seed)), "float64", CAPABILITIES)).case()


@cache
def run_of(seed):
    """A run, every other time of an ensemble."""
    generator = np.random.default_rng(seed)
    experiment, configuration = random_run(generator, has=CAPABILITIES)
    return (score.ensemble_of_two(experiment, generator) if seed % 2 else experiment), configuration


COMPUTED: dict = {}  # by mutant and by the case of `case_of`, or the run of `run_of`


def once(f, key):
    """f, but nothing is computed a second time."""

    def remembered(*arguments, **options):
        which = key(*arguments)
        if which not in COMPUTED:
            COMPUTED[which] = f(*arguments, **options)
        return COMPUTED[which]

    return remembered


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_hint_names_the_mutant(mutant, monkeypatch):
    """In the first case, or run, in which it is wrong. A hint compares it with many others, which are made once."""
    by_case = once(PackagePort.window_update, lambda port, params, x, *arrays: (port.rnn, id(x)))
    by_run = once(trace_of, lambda package, experiment, configuration: (package, id(experiment), configuration))
    monkeypatch.setattr(PackagePort, "window_update", by_case)
    monkeypatch.setattr(hints, "trace_of", by_run)
    with np.errstate(all="ignore"):
        for case in map(case_of, range(300)) if mutant.level == "update" else ():
            report = score.report_on(case, load(mutant))
            if score.first_violation(check_local(case, report)) is not None:
                assert mutant.name in hints.hints_for_case(case, report, TAU)
                return
        for run in map(run_of, range(40)) if mutant.level == "run" else ():
            trace = trace_of(load(mutant), *run)
            if first := judge(trace).first:
                assert mutant.name in hints.hints(trace, first, *run, numpy_rnn)
                return
    pytest.fail(f"{mutant.name} was never caught")


def test_a_window_of_several_steps_tells_mutants_apart():
    """In the smallest case, of two steps, another mutant gives the same; in one of one step it shows nothing."""
    mutant = named("dW_hh from the last step only")
    smallest = Recipe(2, 1, 1, 1, 1, 1, "float64")
    assert len(hints.hints_for_case(smallest.case(), score.report_on(smallest.case(), load(mutant)), TAU)) == 2
    for recipe in (smallest, smallest._replace(T=1)):
        assert hints.hints_for_port(PackagePort(load(mutant)), recipe, TAU) == [mutant.name]


def test_hints_are_of_the_mutants_that_can_be_made_and_few(monkeypatch):
    """The line of a mutant may have been changed; if more than three fit, the numbers do not tell them apart."""
    mutant, other = named("h_t for h_{t-1} in dW_hh"), named("dh_next dropped")
    case = Recipe(4, 3, 2, 6, 5, 4, "float64").case()
    short = Configuration(epochs=1, k1=3, k2=5, hidden_size=5, dtype="float64")
    report, run = score.report_on(case, load(mutant)), (prepare(short), short)
    trace = trace_of(load(mutant), *run)

    def load_one(which):
        if which is other:
            raise LookupError("its line has been changed")
        return load(which)

    monkeypatch.setattr(hints, "load", load_one)
    for mutants, expected in (((other, mutant), 1), ((mutant,) * 3, 3), ((mutant,) * 4, 0)):
        monkeypatch.setattr(hints, "MUTANTS", mutants)
        names = [mutant.name] * expected
        assert hints.hints_for_case(case, report, TAU) == names
        assert hints.hints(trace, judge(trace).first, *run, numpy_rnn) == names


def test_right_values_give_no_hint():
    """Nor where another truncation gives the same, as with a single loss."""
    case = Recipe(6, 3, 2, 6, 5, 1, "float64").case()
    truncated = case._replace(truncation=truncation_of("band:3"), has_step=False)
    report = score.report_on(case, numpy_rnn)
    assert hints.hints_for_case(case, report, TAU) == []
    assert hints.hints_for_case(truncated, gradients_of(truncated) | {"loss": report["loss"]}, TAU) == []


# -- hints for wrong ports, which share no code with the mutants -----------------------------------------------------


class Wrong(Partial):
    """A port that makes one mistake; a number is a factor of the learning rate."""

    def __init__(self, mistake, check):
        """With intermediates at level L1, and a black box at the others."""
        super().__init__(has=("intermediates",) if check is check_port_local else ())
        self.mistake, self.back = mistake, "" if mistake == "untransposed" else "T"

    def window_update(self, p, x, h_0, *, learning_rate, **options):
        rate = learning_rate * (self.mistake if isinstance(self.mistake, float) else 1)
        h_0 = 0 * h_0 if self.mistake == "zeros" else h_0
        report = super().window_update(p, x, h_0, learning_rate=rate, **options)
        if self.mistake == "one element":
            report["dW_xh"][0, 0] *= 1.5
        for name, theta in p.items() if self.mistake == "over T" else ():
            gradient = report["d" + name] / len(x)
            report |= {"d" + name: gradient, name: theta - theta.dtype.type(rate) * gradient}
        return report


UNTRANSPOSED = "W_hh used without its transpose, or W_hh and W_hh in dh_0 used without transposes"


@pytest.mark.parametrize(
    ("mistake", "check", "hint"),
    [
        ("untransposed", check_port_local, UNTRANSPOSED),
        ("zeros", check_port_global, "zeros for h_0"),
        ("over T", check_port_global, "gradients divided by T"),
        (-1.0, check_port_lockstep, "gradient ascent"),
        ("one element", check_port_global, ""),
        (3.0, check_port_global, ""),
        (-1.3, check_port_global, ""),  # gradient ascent explains 87 % of it
        (-1.3, check_port_lockstep, ""),
    ],
    ids=["untransposed", "zeros", "over T", "ascent", "one element", "triple step", "L2 of -1.3", "L3 of -1.3"],
)
def test_hint_names_the_mistake_if_it_is_known(mistake, check, hint):
    few = settings(profile("default"), max_examples=60, derandomize=True, phases=[Phase.generate])
    with pytest.raises(BoundExceeded) as error:
        check(Wrong(mistake, check), "float64", few)
    message, *_ = str(error.value).split("; the largest error")
    assert message.partition("; looks like: ")[2] == hint
