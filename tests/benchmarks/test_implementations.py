"""The timed implementations compute the right numbers, and one that does not is
refused.
"""

import re
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest

from benchmarks import implementations
from benchmarks.__main__ import QUICK_CASES, chosen_cases, metadata, time_cases
from benchmarks.agreement import disagreement, first_difference
from benchmarks.cases import CASES, sine_run, window_run
from benchmarks.implementations import IMPLEMENTATIONS, Unsupported
from numpy_rnn.common.records import Schedule

MARKS = {"torch": pytest.mark.needs_torch, "jax": pytest.mark.slow}
SMALL_CASE = sine_run("small", k2=2, epochs=2, dtype="float64")
# What each implementation can run, by the parts of the names of cases.
SUPPORTED = {
    "numpy_rnn": ("",),
    "NumPy floor": ("default", "networks"),
    "torch.nn.RNN": ("default", "sliding", "character", "H ="),
    "JAX": ("",),
    "min-char-rnn": ("character",),
}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=MARKS.get(IMPLEMENTATIONS[name][1], ()))
        for name in SUPPORTED
    ],
)
def test_implementation_agrees(name, monkeypatch):
    """It agrees with the reference on the cases of SUPPORTED, and refuses others."""
    if find_spec(IMPLEMENTATIONS[name][1]) is None:
        pytest.skip("not installed")
    monkeypatch.setenv(
        "XLA_FLAGS", "--xla_backend_optimization_level=0"
    )  # compiles faster
    for case in CASES.values():
        if case.networks == 10_000 or case.H == 256:
            continue  # as 1,000 and 64
        if case.every_update and name != "numpy_rnn":
            continue  # which alone reads the loss otherwise
        if any(part in case.name for part in SUPPORTED[name]):
            assert disagreement(name, case) is None, case.name
        else:
            with pytest.raises(Unsupported):
                disagreement(name, case)


@pytest.mark.needs_torch
def test_chunks_are_those_of_split():
    """TBPTT(5, 5) is the loop that everybody writes, over `x.split(5)` with a detached
    state, also where 5 does not divide the steps: the last chunk has 3.
    """
    case = window_run(4, 2, T=23)._replace(dtype="float64")
    options = case.options._replace(schedule=Schedule(5, 5, 3))
    assert disagreement("torch.nn.RNN", case._replace(options=options)) is None


def test_text_has_few_successors():
    """A character has at most four, of which each is the next input."""
    case = CASES["character model, float32"]
    _, x, target, _ = case.arrays()
    assert (x[1:] == target[:-1]).all()
    pairs = {*zip(x.ravel().tolist(), target.ravel().tolist())}
    successors = Counter(character for character, _ in pairs)
    assert max(successors.values()) == 4
    assert len(pairs) > case.D


def test_cases_are_chosen_by_name_or_part_of_a_name():
    quick = [case.name for case in chosen_cases(None, full=False)]
    assert quick == list(QUICK_CASES)
    assert len(chosen_cases(None, full=True)) == len(CASES)
    for parts, count in ((["default experiment"], 1), (["default"], 2), (["H ="], 2)):
        assert len(chosen_cases(parts, full=False)) == count


def test_another_training_is_refused():
    """Another loss, weight, shape or dtype, and NaN, are each seen alone."""
    losses, weights = implementations.prepare("numpy_rnn", SMALL_CASE)()
    losses = np.array(losses)
    first_is_nan = np.where(losses == losses.flat[0], np.nan, losses)
    assert first_difference(SMALL_CASE, losses, weights) is None
    for message, *wrong in (
        ("losses: an error", losses * (1 + 1e-7), weights),
        ("losses: an error of nan", first_is_nan, weights),
        ("W_hy: an error", losses, [*weights[:2], weights[2] + 1e-7]),
        ("W_xh: float32", losses, [W.astype(np.float32) for W in weights]),
        ("W_xh: float64 (1, 1)", losses, [W[..., :1] for W in weights]),
    ):
        assert first_difference(SMALL_CASE, *wrong).startswith(message)


GUIDE = Path(__file__).parents[2] / "benchmarks" / "README.md"


@pytest.fixture
def own_file(tmp_path):
    """Write the example of the page as a file that imports another of its folder."""
    code = re.search(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.S)
    file = tmp_path / "my_rnn.py"
    file.write_text(f"import beside_my_rnn\n{code[1]}")
    file.with_name("beside_my_rnn.py").touch()
    return file


def test_own_code_is_timed_if_it_is_right(own_file):
    case = CASES["H = 64, B = 8, T = 50"]
    assert disagreement(str(own_file), case) is None
    call = implementations.prepare(str(own_file), case)
    first, second = call()[0], call()[0]
    assert first == second  # the parameters are new in every call
    assert len(first) == case.updates
    with pytest.raises(Unsupported, match="full back-propagation of squared errors"):
        disagreement(str(own_file), CASES["default experiment"])


def test_metadata_without_git(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert metadata()["commit"] == "unknown"


@pytest.mark.parametrize(
    ("right", "wrong", "reason"),
    [
        ("da @ W_hh.T", "da @ W_hh", "losses: an error of"),
        ("return losses", "return losses[1:]", r"losses: float32 \(4,\), expected"),
        ("return losses", "return losses, () #", "ValueError: zip"),
        ("return losses", "return [losses, 0], () #", "ValueError: setting"),
        ("import numpy as np", "import nothing_of_this_name", "ModuleNotFoundError"),
        ("def train", "def learn", "ValueError: it has no function train"),
    ],
)
def test_own_code_that_is_wrong_is_not_timed(own_file, right, wrong, reason):
    code = own_file.read_text()
    assert right in code
    own_file.write_text(code.replace(right, wrong))
    assert re.match(reason, disagreement(str(own_file), CASES["H = 64, B = 8, T = 50"]))


def test_reason_is_told_where_nothing_is_right(own_file, capsys):
    own_file.write_text("")
    runner = Mock()
    runner.args.full = False
    assert time_cases(runner, [SMALL_CASE], [str(own_file)], None) == 1
    assert "not timed, wrong: ValueError: it has no function" in capsys.readouterr().out
