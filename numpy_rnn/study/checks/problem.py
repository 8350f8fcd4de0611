"""What is checked: one window over the whole series, in float64, and what the hand-derived formulas make of it."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

import numpy_rnn
from numpy_rnn.common.records import Parameters
from numpy_rnn.conformance.case import Case
from numpy_rnn.conformance.ports.backends import PackagePort
from numpy_rnn.study.setting import Setting

Values = dict[str, np.ndarray]


class Problem(NamedTuple):
    """A window at one moment of training, its state learned or not in `case.h_0`."""

    where: str
    case: Case


def problems(setting: Setting) -> Iterator[Problem]:
    """Three windows over all T steps: before and after training, and after it with the newer half of the steps counted.

    Where the run has no biases, they have zeros: no value of the forward pass changes, and (B7) and (B8) have something
    to be checked on.
    """
    T = len(setting.x)
    for where, params, counted in (
        ("at the start", setting.start, T),
        ("at the end", setting.end, T),
        ("at the end, the newer half of the steps counted", setting.end, (T + 1) // 2),
    ):
        yield Problem(where, case_of(setting, with_biases(params), setting.x, setting.target[-counted:], setting.h_0))


def case_of(setting: Setting, params: Parameters, x, target, h_0) -> Case:
    """A window of the run with plain gradient descent; a learned initial state enters if the parameters have one."""
    configuration = setting.configuration
    initial = h_0 if params.h_0 is None else params.h_0
    options = (configuration.nonlinearity, configuration.reduction)
    rate = float(np.asarray(configuration.learning_rate))
    return Case(params, x, target, initial, rate, *options)


def with_biases(params: Parameters) -> Parameters:
    """The parameters with biases of zero where they have none."""
    if params.b_h is not None:
        return params
    H, O = params.W_hy.shape
    return params._replace(b_h=np.zeros(H), b_y=np.zeros(O))


def by_hand(case: Case, rnn: Any = numpy_rnn) -> Values:
    """Every tensor of the window by (F1) to (B10), and one step of plain gradient descent: what `rnn` computes.

    Names and shapes are those of `conformance.case`; `losses` (K,) beside them holds ℓ_t of the counted steps,
    undivided.
    """
    window = {"x": case.x, "target": case.target, "h_0": case.h_0}
    values = PackagePort(rnn).window_update(
        present(case.params), **window, learning_rate=case.learning_rate, **case.options
    )
    steps = zip(values["y"][-len(case.target) :, None], case.target[:, None])
    losses = [rnn.to_numpy(rnn.half_squared_error(*map(rnn.from_numpy, step))) for step in steps]
    return values | {"losses": np.array(losses)}


def present(params: Parameters) -> Values:
    """The parameters that are there, by name."""
    return {name: theta for name, theta in params._asdict().items() if theta is not None}
