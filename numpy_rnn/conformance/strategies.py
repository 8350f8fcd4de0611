"""The cases of `cases`, drawn by Hypothesis, and the profiles of how many.

default  for every test run
ci       derandomised: the same cases every time, no database
long     many more, at random; `python -m numpy_rnn.conformance long` goes on to a million updates
"""

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from numpy_rnn.common.records import SgdOptions
from numpy_rnn.conformance.cases import (
    DAMPENINGS,
    DECAYS,
    LARGEST,
    LEARNED_H_0,
    MAX_NORMS,
    MOMENTA,
    NONLINEARITIES,
    REDUCTIONS,
    SGD_OPTIONS,
    Recipe,
    left,
)

PROFILES = {"default": 100, "ci": 300, "long": 5000}


def runs_of(windows: int) -> int:
    """How many runs of several updates are drawn where so many single windows are."""
    return max(10, windows // 10)


def profile(name: str) -> settings:
    """The settings of a profile. Raises KeyError on an unknown name."""
    return settings(
        max_examples=PROFILES[name],
        deadline=None,
        derandomize=name == "ci",
        database=None,
        print_blob=True,
        report_multiple_bugs=False,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


@st.composite
def recipes(draw, dtype: str, lacks: tuple[str, ...] = (), has: tuple[str, ...] = ()) -> Recipe:
    """One case in a few words, in this dtype, without the options that a port lacks, with those that it has."""
    sizes = st.lists(st.integers(1, LARGEST), min_size=5, max_size=5, unique=draw(st.booleans()))
    T, B, D, H, O = draw(sizes)
    plain = Recipe(
        T,
        B,
        D,
        H,
        O=H if draw(st.integers(0, 6)) == 6 else O,
        K=draw(st.integers(1, T)),
        dtype=dtype,
        nonlinearity=draw(st.sampled_from(left(NONLINEARITIES, lacks))),
        reduction=draw(st.sampled_from(left(REDUCTIONS, lacks))),
        bias=draw(st.booleans()) and "bias" not in lacks,
        zeros=draw(st.integers(0, 6)) == 6,
        gain=draw(st.sampled_from((0.5, 1.0, 1.5))),
        learning_rate=draw(st.sampled_from((0.1, 0.01, 0.5, 0.0))),
        seed=draw(st.integers(0, 2**32 - 1)),
    )
    if SGD_OPTIONS in has:
        plain = plain._replace(**draw(sgd_options())._asdict(), velocity=draw(st.booleans()))
    return plain._replace(learned=draw(st.booleans())) if LEARNED_H_0 in has else plain


@st.composite
def sgd_options(draw) -> SgdOptions:
    """Every combination of the options that there is."""
    momentum = draw(st.sampled_from((0.0, *MOMENTA)))
    dampening = draw(st.sampled_from(DAMPENINGS)) if momentum else 0.0
    nesterov = draw(st.booleans()) and momentum > 0 and dampening == 0
    low, high = MAX_NORMS
    return SgdOptions(
        momentum,
        dampening,
        nesterov,
        weight_decay=draw(st.sampled_from((0.0, *DECAYS))),
        max_norm=draw(st.sampled_from((None, low, 1.0, 5.0, high))),
    )
