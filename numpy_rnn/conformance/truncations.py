"""Truncations of public code that are not TBPTT(k1, k2): names, equations, a window and a plain loop of each.

The windows are still those of TBPTT(k1, k2), (T1) to (T3). One stage of each window differs:

    band:k    the gradient of each loss is propagated back over k steps: its own and k − 1 earlier ones

        dh_t = Σ_{j=0}^{k−1} g_{t,j}, where g_{t,0} = dy_t W_hyᵀ and g_{t,j} = (g_{t+1,j−1} ∘ φ'(a_{t+1})) W_hhᵀ    (R1)

    back:k    the backward pass ends after the newest k steps of the window

        dh_t is that of (B2) for t > T − k, and 0 for the steps before                                              (R2)

    stale     older steps are not recomputed

        a_t and h_t of the steps without a loss are those of the update that had step t as a new one                (R3)

All other equations are unchanged. k counts steps, so band:5 is "bptt_truncate = 4" of programs that count the earlier
steps only. With k of at least T, (R1) and (R2) are (B2).

Source: (R1) rnnlm of Britz 2015, also in ML-From-Scratch; (R2) Deeplearning4j, tBPTTBackwardLength below the forward
one; (R3) Sutskever 2013, section 2.8.6 (from t down to t − k2: k2 + 1 steps), and Mikolov's rnnlm (bptt − 1 steps).
"""

import json
from typing import Any

import numpy as np

import numpy_rnn
from numpy_rnn.app.trace import Recorder
from numpy_rnn.bptt import SLOPES, weight_gradients
from numpy_rnn.clipping import apply_clipping
from numpy_rnn.common.errors import InputError, one_line
from numpy_rnn.common.records import Activations, Adjoints, SgdOptions
from numpy_rnn.common.windows import windows
from numpy_rnn.conformance.case import Case, Truncation, one_bias
from numpy_rnn.elman import NONLINEARITIES, unroll
from numpy_rnn.momentum import directed
from numpy_rnn.sgd import as_learning_rate, sgd_step

KINDS = ("band", "back", "stale")
MAX_CANDIDATES = 30  # steps of a truncation that a hint names
FORMS = "band:k, back:k or stale, with k a number of steps from 1"


def truncation_of(name: str) -> Truncation | None:
    """The truncation of this name; None for "", which is TBPTT(k1, k2). Raises InputError on another name."""
    kind, colon, steps = name.partition(":")
    if name == "":
        return None
    if name == "stale":
        return Truncation("stale")
    if kind not in KINDS[:2] or not (colon and steps.isdecimal() and steps.isascii() and 0 < int(steps) < 10**9):
        raise InputError(f"unknown truncation {one_line(repr(name), 40)}: expected {FORMS}")
    return Truncation(kind, int(steps))


def truncation_fault(name: Any) -> str | None:
    """Why a port cannot have this truncation; None if it can."""
    try:
        truncation = truncation_of(name if isinstance(name, str) else "?")
    except InputError as error:
        return str(error)
    seen = truncation is None or truncation.steps > 0
    return None if seen else "truncation is 'stale', which no single window shows: expected a trace"


def candidates(T: int) -> list[Truncation | None]:
    """TBPTT(k1, k2) itself, and the truncations that differ from it in windows of T steps."""
    of_steps = [Truncation(kind, steps) for steps in range(1, min(T, MAX_CANDIDATES)) for kind in KINDS[:2]]
    return [None, *of_steps, Truncation("stale")]


def truncated_adjoints(outputs: Any, W_hh: Any, slopes: Any, truncation: Truncation | None) -> tuple[Any, Any]:
    """dh and da, (T, B, H), under (R1), (R2) or (B2); outputs: dy_t W_hyᵀ of all steps; slopes: φ'(a_t)."""
    T, dh, da = len(slopes), outputs.copy(), np.zeros_like(slopes)
    if truncation is not None and truncation.kind == "band":
        g = outputs  # g_{t,j} of the steps 1 to T − j
        for _ in range(1, min(truncation.steps, T)):
            g = (g[1:] * slopes[1 : len(g)]) @ W_hh.mT  # (R1)
            dh[: len(g)] += g
        return dh, dh * slopes
    first = 0 if truncation is None else truncation.first_step(T)
    dh[:first] = 0  # (R2)
    for t in reversed(range(first, T)):
        if t + 1 < T:
            dh[t] += da[t + 1] @ W_hh.mT
        da[t] = dh[t] * slopes[t]
    return dh, da


def with_truncation(trace: dict[str, Any], truncation: Truncation | None) -> dict[str, Any]:
    """The trace with this truncation in its configuration."""
    known = json.loads(trace["configuration"].tobytes().rstrip(b"\0"))
    return trace | {"configuration": np.bytes_(json.dumps(known | {"truncation": str(truncation or "")}))}


def kept_rows(trace: dict[str, Any]) -> np.ndarray:
    """For every row of a trace, the row of the same step and epoch in the update that has it as a new step."""
    steps = trace["stop"] - trace["start"]
    of_update = np.repeat(np.arange(len(steps)), steps)
    first_row = np.concatenate(([0], np.cumsum(steps)[:-1]))
    step = np.arange(len(of_update)) - first_row[of_update] + trace["start"][of_update]
    is_new = step >= trace["loss_start"][of_update]
    place = list(zip(trace["epoch"][of_update].tolist(), step.tolist()))
    row_of = {place[row]: int(row) for row in np.flatnonzero(is_new)}
    return np.array([row_of.get(at, row) for row, at in enumerate(place)])


# -- a window and a run ----------------------------------------------------------------------------------------------


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
    named = {"d" + name: gradient for name, gradient in gradients._asdict().items() if gradient is not None}
    return {"dx": flow.dx, "dh_0": flow.dh_0} | named | ({} if second is None else {"db_hh": gradients.b_h})


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
