"""The findings of a run of the benchmarks with made-up times, from which tables and figures are computed by hand.

The time of `numpy_rnn` in rounds 1 to 6 is 1, 2, 3, 4, 5 and 6 units: median 3.5, and with six rounds the interval is
from the smallest to the largest value. Other rows take that time multiplied by the RATIOS of their rounds, chosen so
that the median of the paired ratios differs from the ratio of the medians.
"""

import numpy as np

from benchmarks.claims import Claim
from benchmarks.estimates import Requested
from benchmarks.line_profile import Line, Profile
from benchmarks.load import Load
from benchmarks.machine import Kernel, Machine
from benchmarks.plan import COLD, IMPORT, Key
from benchmarks.rows import AGAIN, CALLS, CHARACTERS, GEMMS, JAX, MODULES, OTHER, OURS, RUN, STEP
from benchmarks.summary import Findings
from benchmarks.worker import Verdict
from benchmarks.workloads import DEFAULT_EXPERIMENT, character_model, point, sliding

ROUNDING = 4 * np.finfo(float).eps  # a few products and quotients of numbers that are exact on paper

DEFAULT = DEFAULT_EXPERIMENT._replace(epochs=5)  # 100 points
SLIDING, NETWORKS = sliding("sliding k2=5", 5, epochs=2), sliding("10 networks", 1, 10, epochs=1)  # 40 and 20 points
SMALL, LARGE = point(8, 2), point(16, 2)
MODEL = character_model("character model, float64", updates=2)
CASES = (DEFAULT, SLIDING, NETWORKS, MODEL, SMALL, LARGE)
RATIOS = {
    OURS: (1,) * 6,
    AGAIN: (1, 1.1, 0.9, 1, 1.2, 1),  # median 1
    OTHER: (0.9, 1.3, 1.1, 1.2, 1.3, 1.2),  # median 1.2; a tie, as the interval contains 1
    MODULES: (3, 4, 2, 3, 5, 3),  # median 3; the ratio of the medians is 10/3.5
    JAX: (0.5, 0.5, 0.25, 0.5, 0.75, 0.5),  # median 0.5; the ratio of the medians is 1.5/3.5
    CALLS: (0.8,) * 6,
    GEMMS: (0.4,) * 6,
}
BLAS = Kernel("OpenBLAS of NumPy", "1.2", "Haswell kernels", "AVX2", 1, [])
MACHINE = Machine(
    *("a processor", 2, "AVX-512", ["avx"], {"L2": "1024K"}, "performance", "a system", "3", {"numpy": "2"}, "abc"),
    kernels=[BLAS],
    forcing={"OPENBLAS_CORETYPE": "Haswell"},
)
UNITS = {  # seconds per call that make a unit of the tables
    DEFAULT.name: 100 * 1e-6,
    SLIDING.name: 40 * 100e-9,
    NETWORKS.name: 20 * 10 * 1e-9,
    MODEL.name: 2 * 100e-6,
    SMALL.name: 1e-3,
    LARGE.name: 2e-3,
}


def timed(unit, row):
    return {n: unit * n * value for n, value in enumerate(RATIOS[row], start=1)}


def made_up():
    """The findings of a run with one and two threads."""
    times = {}
    for case in CASES:
        task = STEP if case in (SMALL, LARGE) else CHARACTERS if case == MODEL else RUN
        for row in (OURS, AGAIN, MODULES, JAX) if case == MODEL else RATIOS:
            times[Key(task, row, case.name)] = timed(UNITS[case.name], row)
    del times[Key(RUN, MODULES, NETWORKS.name)]
    for row in (OURS, AGAIN, MODULES):
        times[Key(STEP, row, SMALL.name, 2)] = timed(1e-3 / 2, row)
    times[Key(RUN, OURS, NETWORKS.name, 2)] = timed(UNITS[NETWORKS.name] / 2, OURS)
    for row in (OURS, JAX, MODULES):
        times[Key(COLD, row, DEFAULT.name)] = timed(0.1, row)
    times |= {
        Key(IMPORT, module, "fresh process"): timed(0.01, row) for module, row in ((OURS, OTHER), ("numpy", OURS))
    }
    times[Key(STEP, OTHER, LARGE.name)] = dict.fromkeys(range(1, 6), 1.0)  # a round short: not shown
    verdicts = [
        Verdict(Key(STEP, OURS, SMALL.name).to_text(), "agrees", share=0.25),
        Verdict(Key(STEP, OURS, LARGE.name).to_text(), "agrees", share=0.5),
        Verdict(Key(RUN, OURS, DEFAULT.name).to_text(), "disagrees", "the reason", share=7.0),
        Verdict(Key(RUN, JAX, DEFAULT.name).to_text(), "crashes", "an error"),
        Verdict(Key(RUN, MODULES, NETWORKS.name).to_text(), "skipped", "one network only"),
    ]
    lines = [Line("a.py", 3, "dot()  # (F1)", "F1", 3e-6), Line("b.py", 4, "f()", "", 1e-6)]
    return Findings(
        machine=MACHINE,
        start=Load(2.0, 0.5, 0.1),
        pools=["openblas 1.2 Haswell kernels: 1"],
        command="the command",
        rounds=6,
        times=times,
        compiling={
            Key(RUN, JAX, DEFAULT.name): 0.31,
            Key(CHARACTERS, JAX, MODEL.name): 1.26,
            Key(STEP, JAX, SMALL.name): 12.34,
        },
        requested=Requested(frozenset(times), {case.name: case for case in CASES}),
        verdicts=verdicts,
        crashes=["a piece crashed"],
        claims=[Claim("a claim", True), Claim("another", None), Claim("a third", False)],
        memory=["| memory |", "|---|", "| 1 |"],
        profiles=[Profile(DEFAULT.name, 2e-6, lines)],
        descriptions={OURS: "as it is written"},
        figures={"time.png": "a caption"},
    )
