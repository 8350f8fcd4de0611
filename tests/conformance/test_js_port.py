"""The port in JavaScript, which answers with decimal numbers, stays within every bound."""

import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from port_cases import report_of

import numpy_rnn
from numpy_rnn.conformance.bounds.global_bounds import check_global
from numpy_rnn.conformance.bounds.local_bounds import check_local
from numpy_rnn.conformance.case import format_errors
from numpy_rnn.conformance.ports.port import ProgramPort
from numpy_rnn.conformance.recipes import large_recipes, random_recipe

SOURCE = Path(numpy_rnn.__file__).parent / "conformance" / "ports" / "elman_port.js"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("node") is None, reason="there is no `node`: the JavaScript port is not run"),
]


def test_it_stays_within_every_bound():
    recipes = [random_recipe(np.random.default_rng(seed), "float64") for seed in range(20)]
    with ProgramPort(f"node {shlex.quote(str(SOURCE))}") as port:
        for recipe in (*recipes, *large_recipes(5, 3, "float64")):
            case = recipe.case()
            report = report_of(port, case)
            assert format_errors(case, report, intermediates=True, input_gradients=True) == []
            for check in (check_local, check_global):
                exceeded = [name for name, ratio in check(case, report).items() if not (ratio <= 1).all()]
                assert not exceeded, recipe
