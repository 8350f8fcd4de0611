"""The engine on every path: schedules, steps, losses, shapes and sizes in combination, against the plain loop.

The property of `test_engine.py` draws from all that the engine can do; here a fault that needs a certain schedule with
a certain step cannot be missed by chance.
"""

from itertools import product
from typing import Any

import numpy as np
import pytest
from cases import random_case
from engine_sizes import assert_the_same_run, with_sizes

from numpy_rnn import engine, reference

T = 7  # no multiple of k1 = 2 and 3: the last window has fewer new steps
SCHEDULES = ((1, 1), (1, 3), (2, 5), (3, 3), (9, 9))
STEPS: tuple[dict[str, Any], ...] = (
    {},
    {"momentum": 0.9, "dampening": 0.5},
    {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
    {"max_norm": 0.5},
    {"max_value": 0.1, "weight_decay": 0.01},
    {"adagrad": True},
)
KINDS: tuple[dict[str, Any], ...] = (
    {},
    {"reduction": "mean"},
    {"learned": True},
    {"learned": True, "bias": False, "reduction": "mean"},
    {"loss": "cross_entropy", "classes": True, "reduction": "mean"},
    {"weights": True, "loss": "cross_entropy"},
    {"weights": True, "reduction": "mean"},
)
SHAPES = (((), 1), ((), 3), ((3,), 1), ((3,), 2))  # (E, B)
SIZES = {
    "as they are": {},
    "networks one by one": {"MAX_GROUPED": 0},
    "a transpose laid out anew": {"MIN_TRANSPOSED": 2, "MAX_STACKED": 0},
    "short pieces": {"MAX_WINDOWS": 2, "MAX_KEPT": 0, "TAPE_BYTES": 500},
    "columns": {"MIN_COLUMNS": 1, "MIN_COLUMN_STEPS": 1, "MIN_COLUMN_BATCH": 1, "TRANSPOSED_AT_ONCE": 3},
}
ROUNDING = {"float64": 1e-10, "float32": 1e-3}  # of two dozen updates, which amplify it; the rates are small


@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
def test_combinations_are_the_plain_loop(sizes, monkeypatch):
    """Of a schedule, a step and a kind: every pair with these sizes, and every three with some sizes. Every update, and
    the last one of each epoch with all losses.
    """
    with_sizes(monkeypatch, sizes)
    dtype = "float32" if "MIN_COLUMNS" in sizes else "float64"  # columns have no other
    every_place = product(range(len(SCHEDULES)), range(len(STEPS)), range(len(KINDS)))
    part = list(SIZES.values()).index(sizes)
    for places in every_place:
        number = sum(places) + part
        # One sequence without options of the step, or in windows of one step, has paths of its own: it is always there.
        own_path = part == 0 and (places[1] == 0 or places[0] == places[2] == 0)
        if number % 3 and not own_path:
            continue
        if dtype == "float32" and "adagrad" in STEPS[places[1]]:  # the sign of a small gradient decides
            continue
        schedule, of_step, kind = SCHEDULES[places[0]], STEPS[places[1]], KINDS[places[2]]
        E, B = SHAPES[0 if own_path else number % len(SHAPES)]
        case = random_case(places, T, B, 2, 5, 3, E=E, dtype=dtype, **kind)
        options = {"k1": schedule[0], "k2": schedule[1], "learning_rate": 0.02, "epochs": 2, **of_step}
        options |= case.form(reference) | {"nonlinearity": ("tanh", "sigmoid")[number // 3 % 2]}
        expected = list(reference.train(*case.for_train(reference), **options))
        found = list(engine.train(*case.for_train(engine), **options))
        assert_the_same_run(found, expected, ROUNDING[dtype], of=options)
        few = list(engine.train(*case.for_train(engine), **options, yield_every="epoch"))
        assert_the_same_run(few, [u for u in expected if u.window.stop == T], ROUNDING[dtype], of=options)
        losses, wanted = np.concatenate([u.losses for u in few]), np.array([u.loss for u in expected])
        assert (np.abs(losses - wanted) <= ROUNDING[dtype] * (1 + np.abs(wanted))).all(), options
