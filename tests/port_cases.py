"""For the tests of ports: a case, what is wrong with an answer, a correct port, and the checks of the suite."""

import numpy as np
from hypothesis import Phase, settings

import numpy_rnn
from numpy_rnn.common.records import Parameters, SgdOptions
from numpy_rnn.conformance.case import SHAPES, Case, format_errors
from numpy_rnn.conformance.ports.backends import PackagePort
from numpy_rnn.conformance.ports.port import call_port
from numpy_rnn.conformance.properties import check_port_global, check_port_local, check_port_lockstep, profile

LEVELS = (check_port_local, check_port_global, check_port_lockstep)  # L1, L2 and L3
FEW = settings(profile("ci"), max_examples=10, phases=[Phase.generate])
RIGHT = PackagePort(numpy_rnn)
TENSORS = tuple(name for name in SHAPES if not name.endswith("b_hh"))  # of a network with one hidden bias
HELLO = {"type": "hello", "protocol": 1, "name": "a fake", "dtypes": ["float32"], "capabilities": ["intermediates"]}


def a_case(dtype="float32", H=3) -> Case:
    generator = np.random.default_rng(5)
    shapes = (2, H), (H, H), (H, 1), (H,), (1,), (4, 2, 2), (3, 2, 1), (2, H)
    *theta, x, target, h_0 = (generator.normal(size=shape).astype(dtype) for shape in shapes)
    return Case(Parameters(*theta), x, target, h_0, 0.1)


def with_options(case, **options) -> Case:
    """The case with other options of SGD, a velocity that entered, and a learned initial state."""
    params = case.params._replace(h_0=case.h_0)
    velocity = Parameters(*(theta if theta is None else theta[::-1] / 2 for theta in params))
    return case._replace(params=params, sgd=SgdOptions(**options), velocity=velocity)


CASE = a_case()
EVERYTHING = with_options(CASE, momentum=0.9, dampening=0.3, weight_decay=0.01, max_norm=0.5)


def verdict_on(port, case=CASE, timeout=10.0):
    """What is wrong with the port's answer, in one line; None when nothing is but perhaps its numbers."""
    report, verdict = call_port(port, case, timeout)
    assert (report is None) != (verdict is None)
    assert verdict is None or ("\n" not in verdict and len(verdict) < 400)
    return verdict if report is None else next(iter(format_errors(case, report, True, True)), None)


def report_of(port, case=CASE) -> dict:
    """What the port reports; nothing may have gone wrong."""
    report, verdict = call_port(port, case)
    assert verdict is None
    assert report is not None
    return report


def inputs(case):
    params = {name: theta for name, theta in case.params._asdict().items() if theta is not None}
    series = {name: getattr(case, name) for name in ("x", "target", "h_0", "learning_rate")}
    return {"params": params, **series, **case.options}


def as_text(report):
    """The arrays as flat lists of hexadecimal strings, and the loss as one such string."""
    texts = {name: [float(value).hex() for value in np.ravel(array)] for name, array in report.items()}
    return {name: text if np.ndim(report[name]) else text[0] for name, text in texts.items()}
