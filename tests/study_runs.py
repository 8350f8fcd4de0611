"""Small subjects of the study, and networks whose numbers never round."""

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
from cases import Kind, Sizes, random_run, window_case

from numpy_rnn import Parameters, Window
from numpy_rnn.app.experiment import prepare
from numpy_rnn.app.options import Configuration
from numpy_rnn.common.records import Objective, RunOptions, Schedule, Step, WindowCase
from numpy_rnn.study.subject import Subject, changed, subject_of

EVERYTHING: dict[str, Any] = {"bias": True, "learn_initial_state": True, "hidden_size": 3}
SUBJECTS: dict[str, dict[str, Any]] = {  # the default network, and small ones with what else a run may have
    "sine": {"steps": 10, "epochs": 5},
    "everything": {
        "steps": 5, "epochs": 2, "k1": 2, "k2": 3, "reduction": "mean", "momentum": 0.5, "max_norm": 1.0, **EVERYTHING
    },
    "relu": {"steps": 6, "epochs": 2, "nonlinearity": "relu", "learning_rate": 0.01, **EVERYTHING},
    "three steps, untrained": {"steps": 3, "epochs": 0, "hidden_size": 2},
}  # fmt: skip


def small(steps: int | None = 5, networks: int = 2, **options: Any) -> Subject:
    """A run of a few steps on the sine wave."""
    configuration = Configuration(**options)
    experiment = prepare(configuration)
    return subject_of(
        experiment.name,
        experiment.run(configuration.run_options()),
        configuration.seed,
        networks,
        steps,
    )


def with_options(of: Subject, **changes: Any) -> Subject:
    """The same weights, as those of a run with other options."""
    return replace(of, run=of.run._replace(options=changed(of.options, **changes)))


@cache
def subject(name: str) -> Subject:
    """One of SUBJECTS, trained once."""
    return small(**SUBJECTS[name])


def window(seed, nonlinearity="tanh", reduction="sum", bias=True) -> WindowCase:
    """A window of random numbers whose sizes are all different."""
    options = RunOptions(Schedule(5, 5), Objective(nonlinearity, reduction=reduction), Step(0.25))
    run = random_run(seed, Sizes(5, 3, 2, 4, 6), Kind(bias=bias), options)
    return window_case(run, Window(0, 2, 5), run.params, run.h_0, None)


def whole_window(seed, nonlinearity="relu") -> WindowCase:
    """A window of small whole numbers, K·B·O a power of two: with relu, no operation on it rounds."""
    T, B, D, H, O, K = 6, 2, 3, 5, 4, 4
    draw = np.random.default_rng(seed).integers

    def some(*shape, low=-1):
        return draw(low, 2, size=shape).astype(float)

    params = Parameters(some(D, H), some(H, H), some(H, O), some(H), some(O))
    h_0, objective = some(B, H, low=0), Objective(nonlinearity, reduction="mean")
    return WindowCase(params, some(T, B, D), some(K, B, O), h_0, None, objective, Step(0.25))


def whole_series(seed, steps=6):
    """Parameters, inputs, targets and a state of small whole numbers, none of which is lost behind relu's zero."""
    integers = np.random.default_rng(seed).integers
    params = Parameters(*(integers(1, 3, size).astype(float) for size in ((1, 2), (2, 2), (2, 1))))
    x, target = (integers(1, 4, (steps, 1, 1)).astype(float) for _ in range(2))
    return params, x, target, integers(0, 2, (1, 2)).astype(float)


def near(found, expected, where="", rtol=1e-11):
    """Two ways of computing the same sums, of at most some thousand terms."""
    np.testing.assert_allclose(
        np.asarray(found, float), np.asarray(expected, float), rtol, 1e-12, err_msg=str(where)
    )
