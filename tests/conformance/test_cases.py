"""Random cases have what a port has and nothing else, and numbers that make faults
visible.
"""

from itertools import product

import numpy as np
import pytest
from hypothesis import given

from numpy_rnn.common.records import DTYPES, Objective, Run, RunOptions, Schedule, Step
from numpy_rnn.conformance.arithmetics.arithmetic import NumpyArithmetic
from numpy_rnn.conformance.case import (
    SGD_OPTIONS,
    STEP_OPTIONS,
    equations,
    present,
)
from numpy_rnn.conformance.definition import DEFINITION, Definition, window_update
from numpy_rnn.conformance.ports.abilities import (
    ABILITIES,
    CAPABILITIES,
    FEW_SIZES,
    LACKS,
    Abilities,
)
from numpy_rnn.conformance.random_cases import (
    SPECIAL,
    CaseSpec,
    RandomDraw,
    facts_of_spec,
    large_spec,
    random_run,
    random_spec,
    unbounded_run,
)
from numpy_rnn.conformance.runs.requirements import unsupported
from tests.helpers.ways import Way, operations
from tests.helpers.windows import SEED, SEEDS, check_global

# What no case uses: what is reported beside results, several networks, and the dtype.
UNUSED = {"intermediates", "input_gradients", "sgd_options", "networks", *DTYPES}
ABILITY_NAMES = {ability.name for ability in ABILITIES} - UNUSED
NOT_WITH_ADAGRAD = {"momentum", "dampening", "nesterov"}
ALSO = {  # what a case then does without as well
    "step": {"plain SGD"} | {row.capability or n for n, row in STEP_OPTIONS.items()},
    "momentum": NOT_WITH_ADAGRAD,
    "plain SGD": NOT_WITH_ADAGRAD,
    "cross_entropy": {"large outputs"},
}


@pytest.mark.parametrize("name", sorted(ABILITY_NAMES | {"sgd_options"}))
def test_cases_use_what_a_port_has(name):
    """Cases use all of that, and nothing else; its runs are supported."""
    capabilities = tuple(n for n in CAPABILITIES if n != name)
    abilities = Abilities(capabilities, (name,) if name in LACKS else ())
    used = set[str]()
    for i in range(150):
        facts = facts_of_spec(random_spec(RandomDraw(SEED, i), "float64", abilities))
        used |= {ability.name for ability in ABILITIES if ability.is_used(facts)}
    absent = {name, *ALSO.get(name, ())}
    if name == "sgd_options":
        absent |= {*SGD_OPTIONS}
    differing = (used - UNUSED) ^ (ABILITY_NAMES - absent)
    assert not differing, f"{differing}: not drawn by random_cases.py, or not in ALSO"
    for i in range(5):
        run = random_run(RandomDraw(SEED, i), "float64", abilities)
        assert unsupported(abilities, run) == []


def test_every_option_of_the_step_has_its_row():
    assert {*STEP_OPTIONS} == {*Step._field_defaults}, "a row of case.STEP_OPTIONS"
    of_sgd = {"max_norm", "weight_decay", "momentum", "dampening", "nesterov"}
    new = {*SGD_OPTIONS} - of_sgd
    assert not new, f"{new}: no port has it yet: a capability in case.STEP_OPTIONS"


def test_unsupported_names_all_and_their_remedies():
    abilities = Abilities((), ("sum", "older steps"), dtypes=("float32",))
    step = Step(0.1, momentum=0.9, max_norm=1.0)
    case = CaseSpec(6, 1, 2, 3, 2, 6, "float64", step=step).case()
    options = RunOptions(Schedule(1, 3), case.objective, step)
    run = Run(case.params, case.x, case.target, 0 * case.h_0, options)
    absent = unsupported(abilities, run)
    assert {ability.words: dict(ability.remedy) for ability in absent} == {
        "reduction 'sum'": {"reduction": "mean"},
        "window with older steps, which have no loss": {"k1": "k2", "K": "T"},
        "momentum": {"momentum": 0.0, "dampening": 0.0, "nesterov": False},
        "clipping by norm": {"max_norm": None},
        "float64": {"dtype": "float32"},
    }


def test_specs_are_of_every_kind():
    specs = [random_spec(RandomDraw(SEED, i)) for i in range(400)]
    batches = {spec.B for spec in specs}
    assert {*range(1, 9)} < batches
    assert 15 < max(batches) <= 17
    large = [
        large_spec(RandomDraw(SEED, i), "THBDO"[i % 5], "float64") for i in range(100)
    ]
    assert all(8 < max(spec[:5]) <= 40 for spec in large)
    assert {spec.special for spec in specs} == {*SPECIAL, ""}
    saturated = [spec for spec in specs if spec.special == SPECIAL[0]]
    of_tanh = [spec for spec in saturated if spec.objective.nonlinearity == "tanh"]
    a = [np.abs(window_update(spec.case())["a"][..., -1]).ravel() for spec in of_tanh]
    assert np.median(np.concatenate(a)) > 20


def test_softmax_has_two_outputs_or_more():
    """Also where the port has no other loss, and sizes of its own. One output has no
    gradient.
    """
    for lacks, sizes in product(((), ("squared_error",)), ((), FEW_SIZES)):
        abilities = Abilities(CAPABILITIES, lacks, sizes=sizes)
        for i in range(200):
            spec = random_spec(RandomDraw(SEED, i), None, abilities)
            assert spec.O > 1 or not spec.objective.has_classes
            run = unbounded_run(RandomDraw(SEED, i), None, abilities)
            outputs = run.params.W_hy.shape[-1]
            assert outputs > 1 or not run.options.objective.has_classes


def test_half_of_the_cases_of_one_length_have_a_loss_at_every_step():
    """In the other half the number of losses is drawn, and may be the length."""
    abilities = Abilities(CAPABILITIES, sizes=({"T": 6},))
    specs = [random_spec(RandomDraw(SEED, i), None, abilities) for i in range(400)]
    whole = [spec.K for spec in specs].count(6)
    expected = 400 * (1 / 2 + 1 / 12)
    assert abs(whole - expected) < 60, "it is 6 standard deviations"


@given(SEEDS)
def test_spec_makes_the_same_case_again(seed):
    spec = random_spec(RandomDraw(seed))
    names = {"CaseSpec": CaseSpec, "Objective": Objective, "Step": Step}
    again = eval(repr(spec), names)
    assert again == spec
    for name, theta in present(spec.case().params).items():
        assert np.array_equal(theta, getattr(again.case().params, name))
    shown = repr(CaseSpec(1, 1, 1, 2, 1, 1, "float32"))
    assert shown.endswith("dtype='float32')"), "defaults are shown"


def clipped_output(n, w, p, t):
    """Return y_t within ±100; a smaller limit shows more."""
    return np.clip(DEFINITION.output(n, w, p, t), -100, 100)


def with_clipped_targets(n, y, target, objective):
    return NumpyArithmetic.loss_and_error(n, y, np.clip(target, -10, 10), objective)


def with_other_probabilities(change):
    """Return the way with other probabilities in the logarithm of the loss."""

    def softmax(self, y):
        p = NumpyArithmetic.softmax(self, y)[1]
        return np.log(change(p)), p

    return operations(softmax=softmax)


WRONG_WAYS = {
    "outputs clipped at 100": Way(definition=Definition(output=clipped_output)),
    "targets clipped at 10": operations(loss_and_error=with_clipped_targets),
    "1e-7 added to p": with_other_probabilities(lambda p: p + 1e-7),
    "p clipped at 1e-7": with_other_probabilities(lambda p: np.clip(p, 1e-7, 1)),
}


@pytest.mark.parametrize("name", WRONG_WAYS)
def test_changed_numbers_are_seen(name):
    """They are seen in three of the 100 cases of the suite."""
    refused = 0
    for i in range(100):
        case = random_spec(RandomDraw(SEED, i), "float64").case()
        report = WRONG_WAYS[name].report(case)
        results = {n: v for n, v in report.items() if n[0] == "d" or n == "loss"}
        checked = check_global(case, results)
        refused += any((checked[n] > 1).any() for n in results)
        if refused == 3:
            return
    pytest.fail(f"{name}: refused in {refused} of 100 cases")


@pytest.mark.parametrize(
    ("tensor", "options", "expected"),
    [
        ("W_hh", {"max_norm": 1.0, "weight_decay": 0.1}, "U2, U3, U4, U1"),
        ("vW_hh", {"max_value": 1.0, "momentum": 0.9}, "U7, U5"),
        ("W_hh", {"momentum": 0.9, "nesterov": True}, "U6, U1"),
        ("vW_hh", {"adagrad": True, "weight_decay": 0.1}, "U4, U8"),
        ("W_hh", {"adagrad": True}, "U9, U1"),
    ],
)
def test_verdict_names_the_equations_of_the_options(tensor, options, expected):
    """The equations are those from the reported tensors before it."""
    step = Step(0.1, **options)
    assert equations(tensor, Objective(), step) == expected
