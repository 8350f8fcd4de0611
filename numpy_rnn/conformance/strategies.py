"""The cases of `cases`, drawn by Hypothesis, and the profiles of how many.

default  for every test run
ci       derandomised: the same cases every time, no database
long     many more, at random; `python -m numpy_rnn.conformance long` goes on to a million updates
"""

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from numpy_rnn.conformance.cases import LARGEST, NONLINEARITIES, REDUCTIONS, Recipe, left

PROFILES = {"default": 100, "ci": 300, "long": 5000}


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
def recipes(draw, dtype: str, lacks: tuple[str, ...] = ()) -> Recipe:
    """One case in a few words, in this dtype, without the options that a port lacks."""
    sizes = st.lists(st.integers(1, LARGEST), min_size=5, max_size=5, unique=draw(st.booleans()))
    T, B, D, H, O = draw(sizes)
    return Recipe(
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
