"""Random windows, and the ratios of a report's errors to their bounds."""

import os
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st

from numpy_rnn.common.records import (
    DTYPES,
    LOSS_NAMES,
    NONLINEARITY_NAMES,
    REDUCTION_NAMES,
    Objective,
    Step,
)
from numpy_rnn.common.trees import tree_map
from numpy_rnn.conformance.case import STEP_OPTIONS, WindowCase, used_options
from numpy_rnn.conformance.definition import window_update
from numpy_rnn.conformance.random_cases import RandomDraw, random_spec, scaled_outputs
from numpy_rnn.conformance.window_checks import checks_at

each_dtype = pytest.mark.parametrize("dtype", DTYPES)
SEEDS = st.integers(0, 2**32 - 1)
VARIANTS: dict[str, dict[str, Any]] = {  # fields of a spec
    **{name: {"objective": Objective(name)} for name in NONLINEARITY_NAMES},
    **{
        name: {"objective": Objective("tanh", name, "mean"), "class_inputs": True}
        for name in LOSS_NAMES[1:]
    },
    "momentum": {"step": Step(0.3, 0.9, 0.3, weight_decay=0.1), "velocity": True},
    "Nesterov": {
        "objective": Objective(reduction="mean"),
        "step": Step(0.3, 0.9, nesterov=True),
        "velocity": True,
    },
    "clipped": {"step": Step(0.3, max_norm=0.3)},
    "clipped-by-value": {"step": Step(0.3, max_value=1e3), "scale": 100.0},
    "Adagrad": {"step": Step(0.3, adagrad=True, weight_decay=0.1), "velocity": True},
}
VARIANT_STEPS = [fields["step"] for fields in VARIANTS.values() if "step" in fields]
for _name, _option in STEP_OPTIONS.items():
    if not any(_name in used_options(step) for step in VARIANT_STEPS):  # a new one
        _step = Step(0.3, **{_name: _option.choices[-1]})
        VARIANTS[_name] = {"step": _step, "velocity": True}
SEED = int(os.environ.get("TEST_SEED", 0))  # tests/conftest.py draws it, once a run


def window(seed, dtype="float64", **changes) -> WindowCase:
    """Return a random case; changes: fields of its spec."""
    return random_spec(RandomDraw(seed), dtype)._replace(**changes).case()


def tiny_window(seed, dtype, **changes):
    """Return a random window with each tensor scaled: tiny, or weights of up to 1e4."""
    random = np.random.default_rng(seed)
    case = window(seed, dtype, **changes)
    smallest = float(np.finfo(dtype).smallest_normal)
    tiny = (1e-3 * smallest, smallest, 1e3 * smallest, smallest**0.5)

    def scaled(array, *scales):
        is_float = array.dtype.kind == "f"
        return (array * random.choice(scales)).astype(dtype) if is_float else array

    return case._replace(
        params=tree_map(lambda v: scaled(v, 1e-2, 1.0, 1e4, *tiny[:2]), case.params),
        x=scaled(case.x, 1.0, *tiny),
        target=scaled(case.target, 1.0, *tiny),
        velocity=tree_map(lambda v: scaled(v, 1.0, *tiny), case.velocity),
    )


def learnt_classifier(seed, dtype):
    """Return a random window of a classifier that has learnt it.

    The targets are the network's likeliest classes, and the outputs are so large that
    the largest loss of a step is between 1e-13 and 1e-1, for two classes.
    """
    draw = RandomDraw(seed)
    T = draw.integer(1, 40)
    adagrad = draw.one_in(2)
    case = window(
        seed,
        dtype,
        T=T,
        H=draw.integer(4, 64),
        O=draw.integer(2, 40),
        K=draw.integer(1, T),
        objective=Objective("tanh", "cross_entropy", draw.choice(REDUCTION_NAMES)),
        step=Step(0.1, adagrad=adagrad),
        velocity=adagrad,
        learnt=True,
        logits=1.0,
        bias=True,
    )
    y = np.sort(window_update(case)["y"][-len(case.target) :].astype(float))
    lead = y[..., -1] - y[..., -2]  # of the likeliest class over the next
    factor = draw.generator.uniform(2, 30) / lead.min(where=lead > 0, initial=np.inf)
    return case._replace(params=scaled_outputs(case.params, factor))


def check_local(case, report) -> dict[str, Any]:
    """Return the ratios at L1 by tensor."""
    return {check.tensor: check.ratio for check in checks_at("L1", case, report)}


def check_global(case, report) -> dict[str, Any]:
    """Return the ratios at L2 by tensor."""
    return {check.tensor: check.ratio for check in checks_at("L2", case, report)}


def assert_right(case, report, *levels):
    """Fail unless every tensor is right up to rounding, at these levels or at both."""
    for level in levels or ("L1", "L2"):
        for check in checks_at(level, case, report):
            assert (check.ratio <= 1).all(), (level, check.tensor)
