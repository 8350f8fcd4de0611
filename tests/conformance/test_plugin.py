"""The plugin of pytest by itself: what it says of a port, and what it makes of the results of workers."""

import json
from types import SimpleNamespace

import pytest

from numpy_rnn.conformance.plugin import SuiteState, pytest_report_header, pytest_testnodedown
from numpy_rnn.conformance.ports.protocol import CAPABILITIES
from numpy_rnn.conformance.properties import WorstRatios

OTHERS = ", ".join(CAPABILITIES[1:])
HEADERS = {  # what a port has, and a line that is said of it
    "everything": ({}, f"tested too, because the port declares it: {OTHERS}"),
    "intermediates": (
        {"capabilities": CAPABILITIES[:1]},
        f"not tested, because the port does not declare it: {OTHERS}",
    ),
    "a black box": ({"capabilities": ()}, "level L1 is not checked: the port reports no intermediate values"),
    "no loss": (
        {"capabilities": ("given_dy",)},
        "the port is given dy in place of a target, and its loss is not tested",
    ),
    "a lack": ({"lacks": ("relu", "bias")}, "not tested, because the port lacks it: relu, bias"),
    "a wide tanh": (
        {"tanh_ulps": 9},
        "port: a port, float32 and float64, tanh within 9 ulps, above 8: not a strict pass",
    ),
    "an absolute error of tanh": (
        {"tanh_absolute_ulps": 4},
        "tanh may be off by 4 ulps of 1 besides: a small h may have a large relative error, and all bounds after it are"
        " wider: not a strict pass",
    ),
}


@pytest.mark.parametrize(("has", "line"), HEADERS.values(), ids=HEADERS)
def test_the_suite_says_what_a_port_is_held_to(has, line):
    port = {"name": "a port", "dtypes": ("float32", "float64"), "tanh_ulps": None, "capabilities": CAPABILITIES}
    state = SuiteState(SimpleNamespace(**port | {"lacks": ()} | has), WorstRatios())
    options = {"elman_profile": "ci", "elman_timeout": 2.5}
    lines = pytest_report_header(SimpleNamespace(elman_suite=state, getoption=options.get))
    assert line in lines
    strict = "port: a port, float32 and float64, tanh within 8 ulps"
    assert (lines[0] == strict) == ("tanh_ulps" not in has)
    assert lines[-1] == "each test: 300 windows, or for L3 30 runs of up to 24 windows; 2.5 s at most per answer"
    assert sum("not a strict pass" in said for said in lines) == ("tanh" in str(has))


def test_results_of_workers_are_merged():
    """The worst ratio of each tensor, and the smallest and the largest size."""
    state = SuiteState(None, WorstRatios())
    config = SimpleNamespace(elman_suite=state)
    for case, ratios, T in (("x", {"a": 0.5}, 3), ("y", {"a": 0.25, "h": float("inf")}, 1), ("z", {"h": 0.5}, 2)):
        worst = WorstRatios()
        worst.note_sizes({"T": T})
        for tensor, ratio in ratios.items():
            worst.note("L1", "float32", tensor, ratio, case)
        results = json.dumps([worst.worst, worst.sizes])
        pytest_testnodedown(SimpleNamespace(workeroutput={"elman_results": results}, config=config), None)
    expected = {"a": {"ratio": 0.5, "case": "x"}, "h": {"ratio": float("inf"), "case": "y"}}
    assert state.worst.worst == {"L1": {"float32": expected}}
    assert state.worst.sizes == {"T": (1, 3)}
