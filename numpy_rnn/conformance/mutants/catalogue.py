"""The mutants: mistakes that people make, each as the definition with other
equations.
"""

from collections.abc import Iterator
from functools import partial
from itertools import starmap

import numpy as np

from numpy_rnn.common.records import Step, Window
from numpy_rnn.common.texts import pluralize
from numpy_rnn.conformance.arithmetics.numpy_arithmetic import (
    ADAGRAD_OFFSET,
    NORM_OFFSET,
)
from numpy_rnn.conformance.definition import DEFINITION as right
from numpy_rnn.conformance.definition import GRADIENTS
from numpy_rnn.conformance.mutants.equations import (
    FORWARD_EQUATIONS,
    STEP_FIELDS,
    UNDECAYED,
    Equations,
    Mutant,
    after,
    changed,
    changed_loss,
    clamped,
    each_loss_over,
    flow,
    flow_back,
    in_loop,
    loss_of_steps,
    operating,
    partial_sums,
    reading,
    reduced,
    slope,
    softmax_over_batch,
    twice_softmax,
    with_leak,
    with_one_state,
    with_step,
)
from numpy_rnn.conformance.ports.abilities import SGD_OPTIONS

MUTANT_ROWS: tuple[tuple[str, str, Equations], ...] = (  # name, stage and equations
    (
        "W_hh used without its transpose",
        "dh",
        flow_back(lambda n, w, p, t: n.affine([(w.da[t + 1], p.W_hh)])),
    ),
    (
        "dh_next dropped",
        "dh",
        {"state_adjoint": lambda n, w, p, t: n.affine([(w.dy[t], p.W_hy.mT)])},
    ),
    (
        "the flow back leaves out φ′",
        "dh",
        flow_back(lambda n, w, p, t: n.affine([(w.dh[t + 1], p.W_hh.mT)])),
    ),
    (
        "h_t for h_{t-1} in dW_hh",
        "dW_hh",
        reading(GRADIENTS["W_hh"], "h", lambda w, s: w.h[min(s + 1, len(w.x))]),
    ),
    ("the flow back leaks into the next sequence", "dh", {"backward": with_leak}),
    ("one state for all steps, in one list", "a", {"backward": with_one_state}),
    (
        "state reset at every window",
        "initial",
        {"carried_state": lambda states, window, epoch: 0 * states[window.start]},
    ),
    (
        "state not reset between epochs",
        "initial",
        {
            "carried_state": lambda states, window, epoch: states[
                max(states) if epoch > 1 and window.loss_start == 0 else window.start
            ]
        },
    ),
    ("mean for sum", "loss", reduced("mean")),
    ("sum for mean", "loss", reduced("sum")),
    (
        "mean of the losses, gradient of their sum",
        "loss",
        changed_loss(
            lambda L, dy, *given: (reduced("mean")["loss_and_error"](*given)[0], dy)
        ),
    ),
    ("2e for e", "dy", changed_loss(lambda L, dy, *_: (L, 2 * dy), "squared_error")),
    ("softmax applied twice", "loss", changed_loss(twice_softmax, "cross_entropy")),
    (
        "softmax over the batch",
        "loss",
        changed_loss(softmax_over_batch, "cross_entropy"),
    ),
    (
        "1 − h_{t-1}² for 1 − h_t²",
        "da",
        reading("pre_activation_adjoint", "h", lambda w, s: w.h[max(s - 1, 0)]),
    ),
    ("1 − a² for 1 − h²", "da", slope(lambda a: 1 - a * a, "tanh")),
    ("tanh′ missing", "da", slope(lambda a: 1.0, "tanh")),
    ("relu′ missing", "da", slope(lambda a: 1.0, "relu")),
    (
        "W_hh transposed throughout",
        "a",
        changed(
            "pre_activation",
            given=lambda n, w, p, t: (n, w, p._replace(W_hh=p.W_hh.mT), t),
        ),
    ),
    (
        "zeros for h_0",
        "a",
        reading("pre_activation", "h", lambda w, s: (s > 0) * w.h[s]),
    ),
    (
        "h_0 for h_{t-1} at every step",
        "a",
        reading("pre_activation", "h", lambda w, s: w.h[0]),
    ),
    (
        "output read from h_{t-1}",
        "y",
        reading("output", "h", lambda w, s: w.h[max(s - 1, 0)]),
    ),
    ("tanh of the outputs", "y", after(np.tanh, "output")),
    (
        "loss of older steps included",
        "dy",
        {"adjoint_without_loss": lambda n, w, t: w.y[t]},
    ),
    (
        "float32 accumulator inside float64",
        "dW_hh",
        {
            GRADIENTS["W_hh"]: lambda n, w: n.affine(
                [(np.float32(w.h[t - 1]).mT, np.float32(w.da[t])) for t in w.steps]
            ).astype(w.da[1].dtype)
        },
    ),
    (
        "clipping without 10⁻⁶",
        "vW_xh",
        operating("clipped", factor=lambda norm, c: np.minimum(1, c / norm)),
    ),
    (
        "clipping per tensor",
        "vW_xh",
        changed(
            "clipped",
            result=lambda value, n, d, p, step: {
                name: right.clipped(n, {name: g}, p, step)[name]
                for name, g in d.items()
            },
        ),
    ),
    (
        "clipping also scales up",
        "vW_xh",
        operating("clipped", factor=lambda norm, c: c / (norm + NORM_OFFSET)),
    ),
    (
        "weight decay before clipping",
        "vW_xh",
        UNDECAYED
        | changed(
            "clipped",
            given=lambda n, d, p, step: (
                n,
                {name: g + step.weight_decay * p[name] for name, g in d.items()},
                p,
                step,
            ),
        ),
    ),
    (
        "no weight decay of the biases",
        "vb_h",
        changed(
            "decayed",
            result=lambda value, n, name, g, *rest: (
                value if name.startswith("W") else g
            ),
        ),
    ),
    (
        "decoupled weight decay",
        "vW_xh",
        UNDECAYED
        | changed(
            "updated",
            given=lambda n, name, theta, delta, step: (
                n,
                name,
                theta,
                delta + step.weight_decay * theta,
                step,
            ),
        ),
    ),
    (
        "learning rate inside the velocity",
        "vW_xh",
        {
            **changed(
                "decayed",
                result=lambda g, n, name, _, theta, step: n.rate(step, theta) * g,
            ),
            "updated": lambda n, name, theta, delta, step: theta - delta,
        },
    ),
    (
        "nesterov forgotten, or from the velocity before the step",
        "W_xh",
        changed(
            "direction",
            result=lambda value, n, g, v, before, step: v if step.nesterov else value,
        ),
    ),
    (
        "dampening at the first step too",
        "vW_xh",
        changed(
            "velocity",
            given=lambda n, g, v, step: (n, g, 0 * g if v is None else v, step),
        ),
    ),
    (
        "10⁻⁸ outside the root",
        "W_xh",
        operating("direction", by_root=lambda g, v: g / (np.sqrt(v) + ADAGRAD_OFFSET)),
    ),
    (
        "a trained second hidden bias",
        "b_h",
        changed(
            "updated",
            given=lambda n, name, theta, delta, step: (
                n,
                name,
                theta,
                (1 + (name == "b_h")) * delta,
                step,
            ),
        ),
    ),
    (
        "bptt over k+1 steps",
        "window",
        {"window": lambda T, new, k1, k2: right.window(T, new, k1, k2 + 1)},
    ),
    (
        "chunks instead of a sliding window",
        "window",
        {"window": lambda T, new, k1, k2: right.window(T, new, k2, k2)},
    ),
    (
        "sliding window starts from the newest state",
        "initial",
        {
            "carried_state": lambda states, window, epoch: states[
                window.loss_start if window.start else 0
            ]
        },
    ),
    ("activations of stale weights kept", "a", in_loop("pre_activation")),
)
MUTANTS = tuple(
    Mutant(name, equations, stage) for name, stage, equations in MUTANT_ROWS
)  # to be killed

SUMS = {"the gradients": tuple(GRADIENTS.values())}
for name, field in GRADIENTS.items():
    SUMS[f"d{name}"] = (field,)
LIMITS = (1, 5, 10, 20)  # of numbers that are clamped
PART_MUTANTS: Equations = {
    "without the first step": lambda t, T: t > 1,
    "without the last step": lambda t, T: t < T,
    "of the first step alone": lambda t, T: t == 1,
    "of the last step alone": lambda t, T: t == T,
}
OTHERS: dict[str, Equations] = {
    "dh_t for da_t in db_h": reading(GRADIENTS["b_h"], "da", lambda w, s: w.dh[s]),
    "the error of the last step alone flows back": reading(
        "state_adjoint", "dy", lambda w, s: (s == len(w.x)) * w.dy[s]
    ),
    "dW_hh transposed": after(lambda g: g.mT, GRADIENTS["W_hh"]),
    "h_{t-1} for h_t in dW_hy": reading(
        GRADIENTS["W_hy"], "h", lambda w, s: w.h[max(s - 1, 0)]
    ),
    "the loss of the last step alone": changed_loss(
        partial(loss_of_steps, slice(-1, None))
    ),
    "the loss without the last step": changed_loss(partial(loss_of_steps, slice(-1))),
    "1 − tanh(h)² for 1 − h²": slope(lambda a: 1 - np.tanh(np.tanh(a)) ** 2, "tanh"),
}
for c in LIMITS:
    for words, fields in SUMS.items():
        OTHERS[f"{words} within ±{c}"] = after(partial(clamped, c), *fields)
    OTHERS[f"the flow back within ±{c}"] = flow_back(
        lambda *given, c=c: clamped(c, flow(*given))
    )
for words, fields in SUMS.items():
    for text, is_part in PART_MUTANTS.items():
        OTHERS[f"{words} {text}"] = partial_sums(is_part, *fields)


def window_mutants(steps: int, is_forward_right: bool = False) -> Iterator[Mutant]:
    """The mistakes that one window may have; steps: of the longest one."""
    known = FORWARD_EQUATIONS if is_forward_right else set[str]()
    every = (*MUTANTS, *starmap(Mutant, OTHERS.items()))
    yield from (m for m in every if not (m.in_run or m.equations.keys() <= known))
    for k in range(1, steps):
        words = pluralize(k, "step")
        found: dict[str, Equations] = {
            f"each loss goes back over {words} (bptt_truncate = {k - 1})": {
                "backward": partial(each_loss_over, k)
            },
            f"the backward pass ends after the newest {words}": changed(
                "state_adjoint",
                result=lambda dh, n, w, p, t, k=k: dh * (t > len(w.x) - k),
            ),
            f"the gradients of the newest {words} alone": partial_sums(
                lambda t, T, k=k: t > T - k, *GRADIENTS.values()
            ),
        }
        yield from starmap(Mutant, found.items())


OTHER_STEPS: dict[str, Equations] = {
    "the velocity, or sum of squares, of before left out": changed(
        "velocity", given=lambda n, g, v, step: (n, g, None, step)
    ),
    "weight decay of the wrong sign": with_step(
        lambda step: step._replace(weight_decay=-step.weight_decay), "decayed"
    ),
}
for name in (*SGD_OPTIONS, "max_value"):
    default = {name: Step._field_defaults[name]}
    OTHER_STEPS[f"{name} left out"] = with_step(
        lambda step, default=default: step._replace(**default), *STEP_FIELDS
    )
STEP_MUTANTS = (
    *(mutant for mutant in MUTANTS if mutant.equations.keys() & {*STEP_FIELDS}),
    *starmap(Mutant, OTHER_STEPS.items()),
)


def older_losses(T, new, k1, k2):
    """The losses of all steps of a window."""
    window = right.window(T, new, k1, k2)
    return Window(window.start, window.start, window.stop)


OTHER_LOOPS: dict[str, Equations] = {
    "state reset at every window, to h_0": {
        "carried_state": lambda states, window, epoch: states[0]
    },
    "losses of older steps counted again": {"window": older_losses},
    "windows start a step late": {
        "window": lambda T, new, k1, k2: right.window(T, new, k1, k2 - (new + k1 > k2))
    },
    "the last, shorter window reaches back over k2 steps": {
        "window": lambda T, new, k1, k2: right.window(
            T, new, k1, k2 + max(0, new + k1 - T)
        )
    },
    "gradients add up from update to update": in_loop("backward"),
    "gradients add up within an epoch": in_loop("backward", resets=True),
    "the velocity, or sum of squares, reset at every epoch": in_loop("velocity"),
    "the rate divided by the number of the epoch": in_loop("updated"),
}
LOOPS = (
    *(mutant for mutant in MUTANTS if mutant.in_run),
    *starmap(Mutant, OTHER_LOOPS.items()),
)
