"""The verdicts on the equations: right code agrees, and planted faults are named."""

import importlib
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

import numpy_rnn
from numpy_rnn import InputError, reference
from numpy_rnn.conformance.runs.recorded_run import single_update
from numpy_rnn.study.evidence.equation_table import formulas, verdict_on
from numpy_rnn.study.evidence.evaluated_equations import OVERLAPPING, runs_of
from numpy_rnn.study.evidence.witnesses import (
    AGREES,
    BY_AUTOGRAD,
    BY_COMPLEX_STEP,
    check_equations,
    judged_run,
    recorded_run,
)

pytestmark = pytest.mark.needs_torch

SUBJECTS: dict[str, dict[str, Any]] = {
    "mean": {"reduction": "mean", "bias": True, "k1": 2, "k2": 3},
    "three steps, untrained": {"steps": 3, "epochs": 0},
}
ROUNDING = 1e-11  # of sums of some dozens of terms, relative to the largest


@pytest.mark.parametrize("name", SUBJECTS)
def test_right_code_agrees_with_all_witnesses(name, small):
    checked = check_equations(small(**SUBJECTS[name]))
    differing = {equation.id for equation in checked} ^ {*formulas()}
    assert not differing, f"{differing}: in verdicts of the suite, or in DERIVATION.md"
    for equation in checked:
        complex_steps = {BY_COMPLEX_STEP} if equation.id.startswith("B") else set()
        assert (equation.id, equation.verdict) == (equation.id, AGREES)
        assert equation.differences.keys() == {BY_AUTOGRAD} | complex_steps, equation.id
        assert max(equation.differences.values()) < ROUNDING, equation.id
    count = len(checked)
    assert verdict_on(checked) == f"{count} of {count} equations agree within rounding"


def test_numbers_shown_are_those_of_the_reference(small):
    subject = small(bias=True)
    runs = runs_of(subject)
    for equation in check_equations(subject):
        name, _, index = equation.element.rstrip("]").partition("[")
        recorded = recorded_run(reference, runs[equation.run_name])
        _, report = single_update(recorded, len(recorded.updates["epoch"]) - 1)
        tensor = report[name] if name in report else recorded.updates[name][-1]
        assert tensor[*(int(i) - 1 for i in index.split(", ") if i)] == equation.value


def test_run_without_a_finite_update_is_refused(small):
    run = runs_of(small())[OVERLAPPING]
    with pytest.raises(InputError, match="first update overflows: there is nothing"):
        judged_run(run._replace(target=run.target + 1e200))


# Lines of the reference and what they become, by the equations that are wrong then. The
# first fault is of some hundred roundings; each of the last row is in a run of its own.
FAULTS = {
    "F1": [("elman.py", "a[t] += h[t] @ W_hh", "a[t] += h[t] @ W_hh * (1 + 1e-13)")],
    "B2": [("backward.py", "da[t + 1] @ W_hh.mT  #", "da[t + 1] @ W_hh  #")],
    "T2": [("tbptt.py", "loss_start - older)", "stop - schedule.k2)")],
    "F4 U2 U7 U5": [
        ("arrays.py", "np.arange(size)).astype", "np.arange(size)[::-1]).astype"),
        ("step.py", "np.sqrt(total)", "np.sqrt(2 * total)"),
        ("step.py", "g, -max_value, max_value)", "g, -max_value, 2 * max_value)"),
        ("step.py", "(1 - step.dampening) * g", "(1 + step.dampening) * g"),
    ],
}


def package_modules():
    """Return the names of the imported modules of both packages."""
    return [name for name in sys.modules if name.startswith(("numpy_rnn", "torch_rnn"))]


@pytest.fixture
def copied_package(tmp_path, monkeypatch):
    """Copy numpy_rnn into the working folder, where it is imported until the end."""
    shutil.copytree(Path(numpy_rnn.__file__).parent, tmp_path / "numpy_rnn")
    monkeypatch.syspath_prepend(tmp_path)
    installed = {name: sys.modules.pop(name) for name in package_modules()}
    yield tmp_path / "numpy_rnn"
    for name in package_modules():
        del sys.modules[name]
    sys.modules.update(installed)


@pytest.mark.needs_matplotlib
@pytest.mark.parametrize("ids", FAULTS)
def test_planted_faults_are_named_in_the_order_of_computation(
    ids, copied_package, capsys, monkeypatch
):
    """The status is 1, and the verdict names the equations."""
    for file, right, wrong in FAULTS[ids]:
        path = copied_package / file
        text = path.read_text()
        assert text.count(right) == 1
        path.write_text(text.replace(right, wrong))
    command_line = importlib.import_module("numpy_rnn.__main__")
    assert command_line.__file__ == str(copied_package / "__main__.py")
    monkeypatch.setattr("numpy_rnn.study.evidence.page.svg", lambda *_: "<svg>")
    options = ["--steps=7", "--hidden-size=3", "--epochs=2", "--seeds=2"]
    assert command_line.main(["study", *options]) == 1
    first, *others = ids.split()
    verdict = re.search(
        r"^WRONG: \((\w+)\), .*$", capsys.readouterr().out, re.MULTILINE
    )
    assert verdict[1] == first
    assert {*others} <= set(re.findall(r"\((\w+)\)", verdict[0]))
    page = Path("study/evidence.html").read_text()
    assert f'<p class="verdict wrong">{verdict[0]}</p>' in page
    assert '<span class="wrong">WRONG</span>' in page
