"""check_port: ports that have parts only, and its verdicts."""

import doctest

import numpy as np
import pytest

from numpy_rnn.common.records import Objective
from numpy_rnn.conformance import mutants, suite, trace, window_checks
from numpy_rnn.conformance.adapters import functions
from numpy_rnn.conformance.definition import DEFINITION, Definition
from numpy_rnn.conformance.gradients import check as check_gradients
from numpy_rnn.conformance.ports.port import stated_port
from numpy_rnn.conformance.ports.protocol import PortFault
from numpy_rnn.conformance.random_cases import MAX_LOGIT, MAX_SIZE
from numpy_rnn.conformance.suite import (
    WrongPort,
    check,
    check_port,
    large_output_specs,
    sampled_specs,
    smaller_specs,
)
from numpy_rnn.conformance.verdicts import extent_of
from tests.helpers.ports import (
    DefinitionPort,
    Layer,
    Port,
    Untransposed,
    check_levels,
)
from tests.helpers.windows import SEED

PARTS = [  # what a layer lacks, its capabilities and sizes
    (("step", "h_0", "bias"), (), ()),
    (("older steps",), ("intermediates",), ()),
    (("momentum",), ("sgd_options", "intermediates"), ()),
    (("many losses", "h_0"), (), ()),
    (("many losses",), (), {"T": 6}),
    (("batch",), ("intermediates",), "few"),
    ((), ("intermediates",), {"H": 4, "T": 9}),
]


@pytest.mark.parametrize(("lacks", "has", "sizes"), PARTS)
def test_partial_port_passes_unless_it_is_wrong(lacks, has, sizes):
    """A port may also have windows of T steps alone, of which only the last one has a
    loss.
    """
    right = Layer(*lacks, has=has)
    wrong = Untransposed(*lacks, has=has)
    right.sizes = wrong.sizes = sizes
    check_levels(right, "float32")
    with pytest.raises(WrongPort, match=r"^WRONG dW_xh|^WRONG dh"):
        check_port(wrong, "L1" if has else "L2", "float32", examples=30)


def test_error_of_tanh_can_be_declared():
    """A port declares a tanh that is off by up to 64 ulps; more is wrong."""

    def port(ulps):
        factor = np.float32(1 + ulps * np.finfo("float32").eps)
        port = Layer(state=lambda n, w, t, phi: factor * np.tanh(w.a[t]))
        port.tanh_ulps = 64.0
        return port

    check_port(port(60), "L1", "float32", examples=30)
    with pytest.raises(WrongPort, match=r"WRONG h \(F2\)"):
        check_port(port(200), "L1", "float32", examples=30)


def test_seeds_share_no_run(monkeypatch):
    draws = []

    def note_draw(draw, *_):
        draws.append(draw.generator.integers(2**62))
        return suite_run(draw, *_)

    suite_run = suite.random_run
    monkeypatch.setattr(suite, "random_run", note_draw)
    for seed in range(3):
        check_port(Port(), "L3", "float64", seed, examples=30)
    assert len(draws) == len({*draws}) == 9


def test_object_is_checked_as_a_port():
    verdict = check(Port(capabilities=()), seed=SEED, examples=20)
    start = "PASS a port agrees with the definition: its loss, 5 gradients and 5"
    assert verdict.startswith(start)


# Verdicts


def doubled(name):
    """Return an equation of the definition, times 2."""
    equation = getattr(DEFINITION, name)
    return {name: lambda n, w: 2.0 * equation(n, w)}


def test_wrong_gradient_of_a_port_of_means_is_told():
    """No smaller case has a reduction or a nonlinearity that the port lacks."""
    wrong = Definition(**doubled("recurrent_weights_gradient"))
    port = DefinitionPort(wrong, "sum", "tanh", has=())
    with pytest.raises(WrongPort, match=r"^WRONG dW_hh"):
        check_port(port, "L2", "float64", SEED)


def test_verdict_names_the_other_wrong_results():
    wrong = Definition(
        **doubled("output_weights_gradient"), **doubled("output_bias_gradient")
    )
    port = DefinitionPort(wrong, "no biases", has=())
    verdict = r"^WRONG dW_hy \(B6\)(.|\n)*\n  wrong as well: db_y\n  L2, "
    with pytest.raises(WrongPort, match=verdict):
        check_port(port, "L2", "float64", SEED)


@pytest.mark.parametrize("level", ["L2", "L3"])
def test_results_that_nothing_judges_do_not_pass(monkeypatch, level):
    """The suite is told that rounding may change all of every window."""
    monkeypatch.setattr(window_checks, "ILL_CONDITIONED", 0.0)
    port = Port(capabilities=("sgd_options",))
    with pytest.raises(PortFault, match=r"NOT JUDGED .*loss.*: ill-conditioned"):
        check_port(port, level, "float32", SEED, examples=10)


# What a finding says of where a tensor is wrong


def check_of(reported, expected):
    """Return the check of a dW_xh whose elements may be off by 1e-9."""
    allowed = np.full(reported.shape, 1e-9)
    ratio = np.abs(reported - expected) / allowed
    no = np.zeros((), bool)
    return window_checks.Check("dW_xh", reported, ratio, expected, allowed, no, no)


def test_zeros_do_not_hide_that_all_of_a_tensor_is_wrong():
    """A factor leaves them as they are."""
    expected = np.array([[1.0, 0.0], [2.0, -3.0]])
    assert extent_of(check_of(2 * expected, expected)) == "in all of it, × 2"


def test_rows_of_a_matrix_that_are_wrong_are_counted():
    expected = np.ones((4, 3))
    reported = expected.copy()
    reported[:2] += 1
    assert extent_of(check_of(reported, expected)) == "in the first 2 of 4 rows"


# Which windows


@pytest.mark.parametrize(("examples", "count"), [(1, 1), (None, 20)])
def test_outputs_that_overflow_exponentials_are_tried(examples, count):
    """However few windows are asked for, at least one has them."""
    port = stated_port(DefinitionPort())
    specs = list(large_output_specs(port, "float32", SEED, examples))
    assert [spec.logits for spec in specs] == [MAX_LOGIT] * count
    assert all(spec.objective.has_classes and not spec.learnt for spec in specs)


@pytest.mark.parametrize(("loss", "O"), [("squared_error", 1), ("cross_entropy", 2)])
def test_smaller_cases_have_the_smallest_sizes(loss, O):
    port = stated_port(DefinitionPort())
    objective = Objective(loss=loss)
    spec = next(sampled_specs(port, "float32", SEED, None))
    smaller = smaller_specs(spec._replace(objective=objective), port)
    sizes = [spec[:6] for spec in smaller]
    assert sizes[:2] == [(1, 1, 1, 2, O, 1), (2, 1, 1, 2, O, 2)]


def test_one_window_of_six_is_large():
    """A window is large with more than eight units, steps, inputs or outputs."""
    specs = sampled_specs(stated_port(DefinitionPort()), "float32", 0, 60)
    larger = [max(spec.T, spec.D, spec.H, spec.O) > MAX_SIZE for spec in specs]
    assert 0 < sum(larger) <= 10


def test_every_size_is_large_in_turn():
    """A port that is wrong in long windows alone, as one that cuts the state every 20
    steps, does not pass by luck.
    """
    # Without a cross-entropy, whose windows may be left out, as outputs overflow.
    port = stated_port(DefinitionPort(has=()))
    specs = list(sampled_specs(port, "float32", SEED, None))
    for letter in "THDO":
        sizes = [getattr(spec, letter) for spec in specs]
        assert sum(size > 16 for size in sizes) >= 3, letter


def test_error_for_large_outputs_alone_is_told_whole():
    class Refusing(DefinitionPort):
        def window_update(self, params, x, **options):
            raise ValueError("too much, in any case, for exp")

    with pytest.raises(PortFault, match=r"^OVERFLOW .*, in any case, for exp .*10000:"):
        check_port(Refusing(), "large outputs", "float64")


@pytest.mark.parametrize("module", [check_gradients, functions, mutants, suite, trace])
def test_examples_of_the_docstrings_run(module):
    results = doctest.testmod(module)
    assert results.attempted
    assert not results.failed
