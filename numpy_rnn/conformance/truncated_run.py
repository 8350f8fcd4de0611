"""A window and a plain training loop under each of the truncations of `truncations.py`, for one network."""

from typing import Any

import numpy as np

import numpy_rnn
from numpy_rnn.app.trace import Recorder
from numpy_rnn.bptt import SLOPES, weight_gradients
from numpy_rnn.clipping import apply_clipping
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import Activations, Adjoints, SgdOptions
from numpy_rnn.common.windows import windows
from numpy_rnn.conformance.case import Case, one_bias
from numpy_rnn.conformance.truncations import Truncation, truncated_adjoints, with_truncation
from numpy_rnn.elman import NONLINEARITIES, unroll
from numpy_rnn.momentum import directed
from numpy_rnn.sgd import as_learning_rate, sgd_step


def truncated_window(case: Case, activations: Activations) -> tuple[Any, Adjoints]:
    """The loss of a window and its Adjoints under the truncation of the case; activations: of its forward pass.

    With given dy the loss is 0.
    """
    y, loss = activations.y[-len(case.target) :], np.zeros((), case.dtype)
    if case.given_dy:
        dy = case.dy
    else:
        options: Any = {"reduction": case.reduction, "weights": case.weights}
        loss_of = numpy_rnn.cross_entropy if case.loss == "cross_entropy" else numpy_rnn.half_squared_error
        loss = loss_of(y, case.target, **options)
        options |= {"nonlinearity": case.nonlinearity, "loss": case.loss}
        dy = numpy_rnn.adjoints(case.params, activations, case.target, **options).dy
    W_xh, W_hh, W_hy, *_ = case.params
    dh, da = truncated_adjoints(dy @ W_hy.mT, W_hh, SLOPES[case.nonlinearity](activations.h[1:]), case.truncation)
    return loss, Adjoints(dy, dh, da, da @ W_xh.mT, da[0] @ W_hh.mT)


def gradients_of(case: Case) -> dict[str, np.ndarray]:
    """The gradients of a case under its truncation, and dx, dh_0, by name; without kept states."""
    second = getattr(case.params, "b_hh", None)
    case = case._replace(params=one_bias(case.params))
    activations = unroll(case.params, case.x, case.h_0, NONLINEARITIES[case.nonlinearity])
    _, flow = truncated_window(case, activations)
    gradients = weight_gradients(case.params, activations, flow)
    if second is not None:
        return {"dx": flow.dx, "dh_0": flow.dh_0, "db_hh": gradients.b_h} | _named(gradients)
    return {"dx": flow.dx, "dh_0": flow.dh_0} | _named(gradients)


def _named(gradients):
    return {"d" + name: gradient for name, gradient in gradients._asdict().items() if gradient is not None}


def trace_with_truncation(experiment: Any, configuration: Any, truncation: Truncation) -> dict[str, Any]:
    """The trace of a run of one network by the plain loop. Raises InputError on a learned initial state."""
    experiment = experiment.trained()
    params, sgd, velocity = experiment.params, configuration.sgd_options(), None
    if params.h_0 is not None or params.W_hh.ndim > 2:
        raise InputError(f"truncation {truncation} is for one network with a given initial state: expected no others")
    recorder = Recorder(experiment, configuration)
    rate = as_learning_rate(params, configuration.learning_rate)
    for epoch in range(1, configuration.epochs + 1):
        kept: dict[int, tuple[Any, Any]] = {}  # a and h of every step
        schedule = windows(len(experiment.x), configuration.k1, configuration.k2)
        for number, window in enumerate(schedule, start=1):
            start, loss_start, stop = window
            h_0 = kept[start - 1][1] if start else experiment.h_0
            case = case_of_window(experiment, configuration, window, params, h_0, truncation)
            activations = run_forward(case, kept, start, loss_start)
            kept |= {start + t: (activations.a[t], activations.h[t + 1]) for t in range(stop - start)}
            loss, flow = truncated_window(case, activations)
            gradients = weight_gradients(params, activations, flow)
            s, velocity = directed(params, apply_clipping(gradients, sgd), velocity, sgd)
            params = sgd_step(params, s, rate)
            report = {"a": activations.a, "h": activations.h[1:], "y": activations.y, "loss": loss, **flow._asdict()}
            for prefix, arrays in (("d", gradients), ("", params), ("v", velocity or ())):
                values = zip(params._fields, arrays)
                report |= {prefix + name: array for name, array in values if array is not None}
            recorder.append_report(epoch, number, window, h_0, report)
    return with_truncation(recorder.arrays(), truncation)


def case_of_window(experiment, configuration, window, params, h_0, truncation) -> Case:
    """The case of one window of a run, without its SGD options."""
    start, loss_start, stop = window
    weights = None if experiment.weights is None else experiment.weights[loss_start:stop]
    arrays = experiment.x[start:stop], experiment.target[loss_start:stop], h_0
    options = configuration.learning_rate, configuration.nonlinearity, configuration.reduction
    case = Case(params, *arrays, *options, SgdOptions(), None, configuration.loss, weights)
    return case._replace(truncation=truncation)


def run_forward(case: Case, kept: dict[int, tuple[Any, Any]], start: int, loss_start: int) -> Activations:
    """The forward pass of a window; of a stale one, the new steps only, after the kept a and h of the others."""
    older = loss_start - start if case.truncation == Truncation("stale") else 0
    if not older:
        return unroll(case.params, case.x, case.h_0, NONLINEARITIES[case.nonlinearity])
    a, h = (np.stack([kept[start + t][i] for t in range(older)]) for i in (0, 1))
    new = unroll(case.params, case.x[older:], h[-1], NONLINEARITIES[case.nonlinearity])
    x = case.in_rows().x
    states = np.concatenate((case.h_0[None], h, new.h[1:]))
    y = np.concatenate((np.zeros((older, *new.y.shape[1:]), new.y.dtype), new.y))  # no loss takes the older ones
    return Activations(x, np.concatenate((a, new.a)), states, y)
