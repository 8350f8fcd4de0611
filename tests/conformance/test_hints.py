"""Hints name the mistake: of every mutant, and of wrong ports that share no code with the mutants."""

from functools import cache

import numpy as np
import pytest
from hypothesis import Phase, settings
from test_partial_ports import Partial, Untransposed

import numpy_rnn
from numpy_rnn.app.configuration import Configuration
from numpy_rnn.app.experiment import prepare
from numpy_rnn.conformance.bounds.local_bounds import TAU, check_local
from numpy_rnn.conformance.mutants import hints as hints_module
from numpy_rnn.conformance.mutants.catalogue import MUTANTS, load, named
from numpy_rnn.conformance.mutants.hints import hints, hints_for_case, hints_for_port, with_several_steps
from numpy_rnn.conformance.mutants.score import ensemble_of_two, first_violation, report_on
from numpy_rnn.conformance.ports.backends import PackagePort
from numpy_rnn.conformance.ports.protocol import CAPABILITIES
from numpy_rnn.conformance.properties import (
    BoundExceeded,
    check_port_global,
    check_port_local,
    check_port_lockstep,
    profile,
)
from numpy_rnn.conformance.recipes import Recipe, random_recipe, random_run
from numpy_rnn.conformance.traces.drive import trace_of
from numpy_rnn.conformance.traces.judge import judge
from numpy_rnn.conformance.truncated_run import gradients_of
from numpy_rnn.conformance.truncations import truncation_of

# -- mutants ---------------------------------------------------------------------------------------------------------


@cache
def case_of(seed):
    """A window of several steps."""
    return with_several_steps(random_recipe(np.random.default_rng((9, seed)), "float64", CAPABILITIES)).case()


@cache
def run_of(seed):
    """A run, every other time of an ensemble."""
    generator = np.random.default_rng(seed)
    experiment, configuration = random_run(generator, has=CAPABILITIES)
    return (ensemble_of_two(experiment, generator) if seed % 2 else experiment), configuration


REPORTS: dict = {}  # of mutants on the cases of `case_of`
TRACES: dict = {}  # of mutants on the runs of `run_of`


@pytest.fixture
def computed_once(monkeypatch):
    """Every mutant computes a case, and a run, once for all tests: a hint compares it with many others."""

    class Remembering(PackagePort):
        def window_update(self, params, x, *arrays, **options):
            key = self.rnn, id(x)
            if key not in REPORTS:
                REPORTS[key] = super().window_update(params, x, *arrays, **options)
            return REPORTS[key]

    def remembered(rnn, experiment, configuration):
        key = rnn, id(experiment), configuration
        if key not in TRACES:
            TRACES[key] = trace_of(rnn, experiment, configuration)
        return TRACES[key]

    monkeypatch.setattr(hints_module, "PackagePort", Remembering)
    monkeypatch.setattr(hints_module, "trace_of", remembered)


@pytest.mark.usefixtures("computed_once")
@pytest.mark.parametrize("mutant", [m for m in MUTANTS if m.level == "update"], ids=lambda mutant: mutant.name)
def test_hint_names_the_mistake_of_an_update(mutant):
    """In the first case in which the report is wrong."""
    for case in map(case_of, range(300)):
        with np.errstate(all="ignore"):
            report = report_on(case, load(mutant))
            if first_violation(check_local(case, report)) is None:
                continue
        assert mutant.name in hints_for_case(case, report, TAU)
        return
    pytest.fail(f"{mutant.name} was never caught")


@pytest.mark.usefixtures("computed_once")
@pytest.mark.parametrize("mutant", [m for m in MUTANTS if m.level == "run"], ids=lambda mutant: mutant.name)
def test_hint_names_the_mistake_of_a_run(mutant):
    for run in map(run_of, range(40)):
        trace = trace_of(load(mutant), *run)
        judgement = judge(trace)
        if not judgement.passed:
            assert mutant.name in hints(trace, judgement.first, *run, numpy_rnn)
            return
    pytest.fail(f"{mutant.name} was never caught")


def test_a_window_of_several_steps_tells_mutants_apart():
    """In the smallest case, of two steps, another mutant gives the same; in one of one step it shows nothing."""
    mutant = named("dW_hh from the last step only")
    smallest = Recipe(2, 1, 1, 1, 1, 1, "float64")
    assert len(hints_for_case(smallest.case(), report_on(smallest.case(), load(mutant)), TAU)) == 2
    for recipe in (smallest, smallest._replace(T=1)):
        assert hints_for_port(PackagePort(load(mutant)), recipe, TAU) == [mutant.name]


def test_hints_are_of_the_mutants_that_can_be_made_and_few(monkeypatch):
    """The line of a mutant may have been changed; if more than three fit, the numbers do not tell them apart."""
    mutant, other = named("h_t for h_{t-1} in dW_hh"), named("dh_next dropped")
    case = Recipe(4, 3, 2, 6, 5, 4, "float64").case()
    short = Configuration(epochs=1, k1=3, k2=5, hidden_size=5, dtype="float64")
    report, run = report_on(case, load(mutant)), (prepare(short), short)
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


def test_right_values_give_no_hint():
    """Nor where another truncation gives the same, as with a single loss."""
    case = Recipe(6, 3, 2, 6, 5, 1, "float64").case()
    truncated = case._replace(truncation=truncation_of("band:3"), has_step=False)
    report = report_on(case, numpy_rnn)
    assert hints_for_case(case, report, TAU) == []
    assert hints_for_case(truncated, gradients_of(truncated) | {"loss": report["loss"]}, TAU) == []


# -- wrong ports -----------------------------------------------------------------------------------------------------

FEW = settings(profile("default"), max_examples=60, derandomize=True, phases=[Phase.generate])


def changed(change):
    """A port whose call is changed: change(window_update, p, x, h_0, options) → report."""

    class Changed(Partial):
        def window_update(self, p, x, h_0, **options):
            return change(super().window_update, p, x, h_0, options)

    return Changed


def gradients_over_steps(update, p, x, h_0, options):
    report = update(p, x, h_0, **options)
    for name, theta in p.items():
        gradient = report["d" + name] / len(x)
        report |= {"d" + name: gradient, name: theta - theta.dtype.type(options["learning_rate"]) * gradient}
    return report


def zero_state(update, p, x, h_0, options):
    return update(p, x, 0 * h_0, **options)


def one_element(update, p, x, h_0, options):
    report = update(p, x, h_0, **options)
    report["dW_xh"][0, 0] *= 1.5
    return report


def only_step(factor):
    def change(update, p, x, h_0, options):
        return update(p, x, h_0, **options | {"learning_rate": factor * options["learning_rate"]})

    return change


def message_of(port, check):
    """The message for a wrong port, with intermediates at level L1 and as a black box at the others."""
    with pytest.raises(BoundExceeded) as error:
        check(port(has=("intermediates",) if check is check_port_local else ()), "float64", FEW)
    return str(error.value).partition("; the largest error")[0]


WRONG = {
    "untransposed-L1": (
        Untransposed,
        check_port_local,
        "W_hh used without its transpose, or W_hh and W_hh in dh_0 used without transposes",
    ),
    "zeros-L2": (changed(zero_state), check_port_global, "zeros for h_0"),
    "over-T-L2": (changed(gradients_over_steps), check_port_global, "gradients divided by T"),
    "ascent-L3": (changed(only_step(-1)), check_port_lockstep, "gradient ascent"),
}


@pytest.mark.parametrize(("port", "check", "hint"), WRONG.values(), ids=WRONG)
def test_hint_names_the_mistake(port, check, hint):
    assert message_of(port, check).endswith(f"; looks like: {hint}")


def test_no_hint_for_an_unknown_mistake():
    """Three times the learning rate, an error in one element only, and one that gradient ascent explains to 87 %."""
    for change in (only_step(3), one_element, only_step(-1.3)):
        assert "looks like" not in message_of(changed(change), check_port_global)
    assert "looks like" not in message_of(changed(only_step(-1.3)), check_port_lockstep)
