"""Random right pairs of networks, by hand, with torch and with JAX, are not refused.

`python -m benchmarks.equivalence` checks 400, and code of others.
"""

import importlib.util

import numpy as np
import pytest

from benchmarks.equivalence.cases import (
    IMPLEMENTATIONS,
    STRUCTURES,
    implementations_of,
    random_case,
)
from benchmarks.equivalence.numpy_cells import GATES
from numpy_rnn.conformance import check_equivalent, check_gradients
from tests.helpers.windows import SEED


@pytest.mark.slow
@pytest.mark.needs_torch
@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("cell", GATES)
def test_right_pair_passes(cell, structure):
    random = np.random.default_rng([SEED, *map(ord, cell + structure)])
    T, H = (int(random.integers(1, 12)) for _ in range(2))
    fixed = {"cell": cell, "structure": structure, "T": T, "H": H, "B": 3}
    case = random_case(random, **fixed)
    names = implementations_of(case)
    if importlib.util.find_spec("jax") is None:
        names.remove("JAX scan")
    f, *others = (IMPLEMENTATIONS[name](case) for name in names)
    for g in others:
        check_equivalent(f, g, *case.arguments())  # raises an error if they differ


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("cell", GATES)
def test_gradients_by_hand_are_those_of_the_loss(cell, structure):
    """The pairs are right on both sides."""
    fixed = {
        "cell": cell,
        "structure": structure,
        "T": 4,
        "B": 2,
        "D": 3,
        "H": 4,
        "O": 2,
    }
    case = random_case(
        np.random.default_rng(0), dtype="float64", gain=1.0, scale=1.0, **fixed
    )
    network = IMPLEMENTATIONS["NumPy"](case)

    def loss_and_gradients(params, x, target):
        result = network(params, x, target)
        return result["loss"], result["d"]

    assert check_gradients(loss_and_gradients, *case.arguments()).passed
