"""The port in JavaScript, which answers with decimal numbers, and a copy of it with a fault."""

import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest

import numpy_rnn
from numpy_rnn.conformance.bounds.global_bounds import check_global
from numpy_rnn.conformance.bounds.local_bounds import check_local
from numpy_rnn.conformance.case import Case, format_errors
from numpy_rnn.conformance.ports.port import ProgramPort, call_port
from numpy_rnn.conformance.recipes import large_recipes, random_recipe

SOURCE = Path(numpy_rnn.__file__).parent / "conformance" / "ports" / "elman_port.js"
CASES = [random_recipe(np.random.default_rng(seed), "float64").case() for seed in range(20)]
CASES += [recipe.case() for recipe in large_recipes(5, 3, "float64")]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("node") is None, reason="there is no `node`: the JavaScript port is not run"),
]


def exceeded(source: Path, cases: list[Case], checks=(check_local,)) -> set[str]:
    """The tensors that exceed a bound in one of the cases."""
    found = set()
    with ProgramPort(f"node {shlex.quote(str(source))}") as port:
        for case in cases:
            report, verdict = call_port(port, case)
            assert verdict is None
            assert format_errors(case, report, intermediates=True, input_gradients=True) == []
            for check in checks:
                found |= {name for name, ratio in check(case, report).items() if not np.max(ratio) <= 1}
    return found


def test_every_stage_and_the_whole_window_are_within_their_bounds():
    assert exceeded(SOURCE, CASES, (check_local, check_global)) == set()


def test_fault_is_caught_at_its_stage(tmp_path):
    right, wrong = 'da[t + 1], p.W_hh, "B"', "da[t + 1], p.W_hh"
    text = SOURCE.read_text(encoding="utf-8")
    assert text.count(right) == 1
    copy = tmp_path / SOURCE.name
    copy.write_text(text.replace(right, wrong), encoding="utf-8")
    assert exceeded(copy, CASES[:10]) == {"dh"}
