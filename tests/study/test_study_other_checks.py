"""(T1) to (T3) by brute force, and the equations that no run of the study uses."""

from types import SimpleNamespace

import pytest
from study_settings import SETTINGS, named_setting

import numpy_rnn
from numpy_rnn.common.windows import Window
from numpy_rnn.conformance.mutants.catalogue import load, named
from numpy_rnn.elman import one_hot
from numpy_rnn.loss import softmax
from numpy_rnn.study.checks import check_truncation, checks
from numpy_rnn.study.page.formulas import NOT_STUDIED

APART = 2  # E, of two values that are each within E of the true one


# -- truncation -------------------------------------------------------------------------------------------------------


def test_windows_are_counted_as_the_document_lists_them():
    """Its section 5, T = 6."""
    listed = {(1, 1): "01 12 23 34 45 56", (2, 2): "02 24 46", (1, 3): "01 02 03 14 25 36", (2, 4): "02 04 26"}
    for (k1, k2), expected in listed.items():
        result = [f"{window.start}{window.stop}" for window in check_truncation.windows_by_counting(6, k1, k2)]
        assert " ".join(result) == expected
    assert list(check_truncation.windows_by_counting(5, 2, 3)) == [Window(0, 0, 2), Window(1, 2, 4), Window(2, 4, 5)]
    assert list(check_truncation.pairs(3)) == [(1, 1), (1, 2), (1, 3), (2, 2), (2, 3), (3, 3)]


def test_a_wrong_schedule_is_seen(monkeypatch):
    right = check_truncation.windows
    for wrong, id in (
        (lambda T, k1, k2: right(T, k1, k2 + 1), "T2"),
        (lambda T, k1, k2: [*list(right(T, k1, k2))[:-1], Window(0, 0, T)], "T1"),
    ):
        monkeypatch.setattr(check_truncation, "windows", wrong)
        result = check_truncation.check_truncations(named_setting("three steps, untrained"))
        assert any(check["difference"] and check["bounds"] is None for check in result[id]["checks"])


@pytest.mark.parametrize(
    "name",
    ["state not reset between epochs", "state reset at every window", "sliding window starts from the newest state"],
)
def test_a_wrong_initial_state_is_seen(name):
    setting = named_setting("sine")

    def wrong(rnn):
        runs = (list(check_truncation.recorded(setting, k1, k2, rnn)) for k1, k2 in ((1, 5), (2, 2)))
        states = (one for run in runs for one in check_truncation.initial_states(setting, run))
        return [(one.state != one.expected).any() for one in states]

    assert any(wrong(load(named(name))))
    assert not any(wrong(numpy_rnn))


def test_a_state_that_is_not_constant_is_seen():
    setting = named_setting("everything")
    rnn = load(named("initial state of the window not a constant"))
    off = [
        difference.bounds
        for before, update in check_truncation.recorded(setting, 1, 2, rnn)
        for _, difference in check_truncation.constant(setting, before, update)
    ]
    assert max(off) > APART


# -- what a run of numbers does not use -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", SETTINGS)
def test_equations_of_no_run_are_checked_on_numbers_of_the_run(name):
    result = checks.check_others(named_setting(name))
    assert tuple(result) == NOT_STUDIED
    for id, one in result.items():
        for check in one["checks"]:
            assert check["bounds"] <= (0 if id in ("F4", "U7") else 1), id
            assert check["compared"] == check["of"] > 0


def test_a_wrong_equation_of_no_run_is_far_outside_its_bound(monkeypatch):
    wrong = {
        "one_hot": lambda classes, size, dtype: one_hot((classes + 1) % size, size, dtype),
        "softmax": lambda y: softmax(y) * (1 + 1e-9),
    }
    for function, changed in wrong.items():
        monkeypatch.setattr(checks, function, changed)

    def scaled(gradients):
        return numpy_rnn.Gradients(*(None if g is None else g * (1 + 1e-9) for g in gradients))

    rnn = SimpleNamespace(
        cross_entropy=lambda y, c: numpy_rnn.cross_entropy(y, c) * (1 + 1e-9),
        clip_by_value=lambda g, limit: numpy_rnn.clip_by_value(g, limit * (1 + 1e-9)),
        direction=lambda params, g, v, **options: numpy_rnn.direction(params, scaled(g), v, **options),
    )
    monkeypatch.setattr(checks, "numpy_rnn", rnn)
    monkeypatch.setattr(checks.others_by_hand, "__defaults__", (rnn,))
    for id, one in checks.check_others(named_setting("everything")).items():
        ratios = [check["bounds"] for check in one["checks"]]
        assert None in ratios or min(ratios) > 1000, id
