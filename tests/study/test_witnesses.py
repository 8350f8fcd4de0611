"""The witnesses: what they compare, that they agree, and that they see a
wrong number.
"""

from typing import Any

import numpy as np
import pytest

from numpy_rnn import Parameters
from numpy_rnn.common.records import NONLINEARITY_NAMES
from numpy_rnn.study import witnesses
from numpy_rnn.study.document import defined_equations
from numpy_rnn.study.equations import (
    BLOCKS,
    CLASSES,
    EQUATIONS,
    SLIDING,
    WINDOW,
    runs_of,
)
from numpy_rnn.study.page import code_lines
from numpy_rnn.study.witnesses import (
    check_equations,
    definition_reports,
    derivatives,
    package_reports,
    without_transpose,
)

pytestmark = pytest.mark.needs_torch

SUBJECTS: dict[str, dict[str, Any]] = {
    **{
        name: {"nonlinearity": name, "learning_rate": 0.01}
        for name in NONLINEARITY_NAMES
    },
    "mean": {
        "reduction": "mean",
        "bias": True,
        "k1": 2,
        "k2": 3,
        "momentum": 0.5,
        "max_norm": 1.0,
    },
    "three steps, untrained": {"steps": 3, "epochs": 0},
}
ROUNDING = 1e-11  # of sums of some dozens of terms, relative to the largest
BY_COMPLEX_STEP = {f"B{n}" for n in range(1, 11)} | {"L3"}


def test_every_equation_is_checked_and_has_its_lines():
    assert sorted(EQUATIONS) == sorted(defined_equations())
    assert EQUATIONS.keys() <= code_lines().keys()
    lines = [of.code for of in code_lines()["B2"]]
    assert any("W_hh" in code and "W_hy" in code for code in lines)
    assert not any("(B2)" in code for code in lines)


@pytest.mark.parametrize("name", SUBJECTS)
def test_all_witnesses_agree(name, small):
    checked = check_equations(small(**SUBJECTS[name]))
    assert list(checked) == list(EQUATIONS)
    for id, one in checked.items():
        complex_steps = {"complex step"} if id in BY_COMPLEX_STEP else set()
        assert one.differences.keys() == {"definition", "autograd"} | complex_steps
        assert max(one.differences.values()) < ROUNDING, id


def test_numbers_shown_are_those_of_the_reference(small):
    subject = small(bias=True)
    runs = runs_of(subject)
    for id, (_, where, element, value, _) in check_equations(subject).items():
        name, _, index = element.rstrip("]").partition("[")
        *_, report = package_reports(witnesses.reference, runs[where])
        assert report[name][*(int(i) - 1 for i in index.split(", ") if i)] == value, id


@pytest.mark.parametrize("id", EQUATIONS)
def test_every_witness_sees_a_wrong_number(id, small, monkeypatch):
    """One element of the last update is off by a millionth of the largest."""
    name, runs = EQUATIONS[id].tensors[0], EQUATIONS[id].runs

    def wrong_reports(rnn, run):
        reports = list(package_reports(rnn, run))
        if rnn is witnesses.reference:
            value = reports[-1][name] = np.array(reports[-1][name], float)
            value.flat[0] += 1e-6 * max(np.abs(value).max(), 1e-3)
        return reports

    subject = small()
    wanted = runs_of(subject)
    monkeypatch.setattr(
        witnesses, "runs_of", lambda of: {name: wanted[name] for name in runs}
    )
    monkeypatch.setattr(witnesses, "EQUATIONS", {id: EQUATIONS[id]})
    monkeypatch.setattr(witnesses, "package_reports", wrong_reports)
    (checked,) = check_equations(subject).values()
    assert min(checked.differences.values()) > 1e-7


def test_complex_step_of_two_steps_by_hand(small):
    """The numbers of DERIVATION.md, "Two steps, by hand"."""
    run = runs_of(small(steps=3))[WINDOW]
    one, options = np.ones((1, 1)), run.options
    options = options._replace(
        objective=options.objective._replace(nonlinearity="relu"),
        schedule=options.schedule._replace(k1=2, k2=2),
    )
    run = run._replace(
        params=Parameters(one, 2 * one, one),
        x=np.ones((2, 1, 1)),
        h_0=one,
        target=np.array([2.0, 6.0]).reshape(2, 1, 1),
        options=options,
    )
    report, case = next(definition_reports(run))
    found = {
        name: values.tolist() for name, (_, values) in derivatives(case, report).items()
    }
    assert found == {
        "dy": [1, 1],
        "dh": [3, 1],
        "da": [3, 1],
        "dx": [3, 1],
        "dh_0": [6],
        "dW_hh": [6],
        "dW_xh": [4],
        "dW_hy": [10],
    }


def test_runs_use_what_their_equations_compute(small):
    """Clipping clips, weights decay, velocities differ from gradients, and windows are
    cut.
    """
    runs = runs_of(small())
    for name in (SLIDING, CLASSES):
        step = runs[name].options.step
        for report in package_reports(witnesses.reference, runs[name]):
            gradients = [
                g for key, g in report.items() if key in ("dW_xh", "dW_hh", "dW_hy")
            ]
            if name == SLIDING:
                assert np.sqrt(sum((g**2).sum() for g in gradients)) > step.max_norm
            else:
                assert max(np.abs(g).max() for g in gradients) > step.max_value
    blocks = list(package_reports(witnesses.reference, runs[BLOCKS]))
    assert [int(report["start"]) for report in blocks] == [0, 0, 1] * 2
    assert {int(c) for c in runs[CLASSES].x.ravel()} == {0, 1, 2, 3}


def test_transpose_matters_unless_there_is_one_unit(small):
    assert without_transpose(small()) > 1e-2
    assert without_transpose(small(hidden_size=1)) == 0
