"""Mutants of the training loop: its windows, and what it carries from one update to the next."""

from numpy_rnn.conformance.mutants.window_mutants import run

# Lines of the reference that several mutants change.
ARGUMENTS = "params, learned, x, initial, target, weights, names, record"
B2 = "dh[t] += da[t + 1] @ W_hh.mT"
BACKWARD = "slope: Elementwise, error: Error"
FLOW = "flow = backward(params, activations, terms, SLOPES[nonlinearity], ERRORS[loss]"
H_0 = "params.h_0 if h_0 is None else h_0"
LEARNED = "learned = params if window.start == 0 or h_0 is not None else params._replace(h_0=None)"
SCHEDULE = "for window in windows(T, k1, k2):"
STATES = f"states, first = [{H_0}], 0"
T3 = "initial = states[0 if first is None else window.start - first]"
TAKEN = "states, first = activations.h, window.start"
UNROLLED = "activations = unroll(params, x, h_0, NONLINEARITIES[nonlinearity])"
WINDOW = "start, loss_start, stop = window"
WINDOW_GRADIENTS = "names: tuple[str, str, str],\n    record: bool"

# The wrong lines.
DROP_TAIL = "\n            if stop - loss_start < k1:\n                continue"
EARLY_STEP = f"""early = sgd_step(params, type(gradients)(None, None, gradients.W_hy), rate)
            terms = loss_terms(activations.y[-len(target) :], target, weights, names[2], names[1])
            flow = backward(early, activations, terms, SLOPES[names[0]], ERRORS[names[2]])
            gradients = weight_gradients(learned, activations, flow)
            {TAKEN}"""
KEPT = """before = h_0 if past is None else past.h[-1]
    activations = unroll(params, x[-len(target) :], before, NONLINEARITIES[nonlinearity])
    if past is not None:
        T, newest = len(x), activations._replace(h=activations.h[1:])
        past = past._replace(h=past.h[1:])
        xs, a, h, y = (np.concatenate(both)[-T:] for both in zip(past, newest))
        activations = type(past)(xs, a, np.stack([np.broadcast_to(h_0, h[0].shape), *h]), y)"""
NOT_RESET = STATES.replace("[params", "[states[-1] if epoch > 1 and number == 1 else params")
PAST = "None if number == 1 else past"
SERIES = "series = x if number == 1 else np.concatenate([series, x[window.loss_start - window.start :]])"
REPLAYED = f"""{SERIES}
            initial = {H_0}
            if window.start > 0:
                initial = unroll(params, series[: window.start], initial, NONLINEARITIES[names[0]]).h[-1]"""
WHOLE = f"""{SERIES}
            start = {H_0}
            *_, gradients, _ = window_gradients(params, learned, series, start, target, weights, names, False)
            {TAKEN}"""

# The activations of an earlier update are kept for the steps that are not new.
OF_STALE_WEIGHTS = (
    ("tbptt", ARGUMENTS, f"{ARGUMENTS}, {PAST}"),
    ("tbptt", TAKEN, f"{TAKEN}\n            past = activations"),
    ("bptt", UNROLLED, KEPT),
)

IN_TRAINING = (
    run("bptt over k+1 steps", "window", ("tbptt", SCHEDULE, SCHEDULE.replace("k2", "k2 + 1"))),
    run("bptt over k−1 steps", "window", ("tbptt", SCHEDULE, SCHEDULE.replace("k2", "max(k1, k2 - 1)"))),
    run("chunks instead of a sliding window", "window", ("tbptt", SCHEDULE, SCHEDULE.replace("k1", "k2"))),
    run("windows of the new steps only", "window", ("tbptt", SCHEDULE, SCHEDULE.replace("k2", "k1"))),
    run("the tail of the series dropped", "window", ("tbptt", WINDOW, WINDOW + DROP_TAIL)),
    run(
        "a loss counted twice",
        "loss",
        ("tbptt", "target[loss_start:stop]", "target[start:stop]"),
        ("tbptt", "weights[loss_start:stop]", "weights[start:stop]"),
    ),
    run("state not reset between epochs", "initial", ("tbptt", STATES, NOT_RESET)),
    run("state reset at every window", "initial", ("tbptt", T3, f"initial = {H_0}")),
    run("sliding window starts from the newest state", "initial", ("tbptt", T3, "initial = states[-1]")),
    run(
        "activations of stale weights kept",
        "a",
        ("bptt", WINDOW_GRADIENTS, f"{WINDOW_GRADIENTS}, past"),
        *OF_STALE_WEIGHTS,
    ),
    run(
        "stale activations and stale W_hh kept",
        "a",
        *OF_STALE_WEIGHTS[1:],
        ("tbptt", ARGUMENTS, f"{ARGUMENTS}, {PAST}, then"),
        ("tbptt", T3, f"{T3}\n            then = [] if number == 1 else then"),
        ("bptt", WINDOW_GRADIENTS, f"{WINDOW_GRADIENTS}, past, then"),
        ("bptt", FLOW, f"then[:] = (then + [params.W_hh] * len(target))[-len(x) :]\n    {FLOW}, then"),
        ("bptt", BACKWARD, f"{BACKWARD}, then=None"),
        ("bptt", B2, "dh[t] += da[t + 1] @ (W_hh if then is None else then[t + 1]).mT"),
        ("bptt", "dh_0 = da[0] @ W_hh.mT", "dh_0 = da[0] @ (W_hh if then is None else then[0]).mT"),
    ),
    run(
        "states replayed from the start with the current weights",
        "initial",
        ("tbptt", "elman import NONLINEARITIES", "elman import NONLINEARITIES, unroll"),
        ("tbptt", T3, REPLAYED),
    ),
    run(
        "W_hy updated before the gradient flows back through it",
        "dh",
        ("tbptt", "import window_gradients", "import ERRORS, SLOPES, backward, weight_gradients, window_gradients"),
        ("tbptt", "import DIVISORS, LOSSES", "import DIVISORS, LOSSES, loss_terms"),
        ("tbptt", TAKEN, EARLY_STEP),
    ),
    run(
        "state gradients add up over overlapping windows",
        "dh",
        ("tbptt", ARGUMENTS, f"{ARGUMENTS}, sums, window.start"),
        ("tbptt", T3, f"{T3}\n            sums = {{}} if number == 1 else sums"),
        ("bptt", WINDOW_GRADIENTS, f"{WINDOW_GRADIENTS}, sums, start"),
        ("bptt", FLOW, f"{FLOW}, sums, start"),
        ("bptt", BACKWARD, f"{BACKWARD}, sums=None, start=0"),
        (
            "bptt",
            B2,
            "later = da[t + 1] @ W_hh.mT + (0 if sums is None else sums.get(start + t, 0))\n"
            "        dh[t] += later\n"
            "        if sums is not None:\n"
            "            sums[start + t] = later",
        ),
    ),
    run("initial state of the window not a constant", "dW_xh", ("tbptt", TAKEN, WHOLE)),
    run(
        "stale learned initial state used",
        "initial",
        ("tbptt", "if window.start == 0:", "if window.start == 0 and number == 1:"),
    ),
    run("learned initial state updated by later windows", "vh_0", ("tbptt", LEARNED, "learned = params")),
    run(
        "velocity not carried",
        "vW_xh",
        ("tbptt", "directed(params, shortened, velocity", "directed(params, shortened, None"),
    ),
)
