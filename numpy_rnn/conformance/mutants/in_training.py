"""Mistakes of the training loop: its windows, and what is carried from one update to the next."""

from numpy_rnn.conformance.mutants.mistake import run

# Lines of numpy_rnn that several mistakes change.
BACKPROPAGATE = "backpropagate(params, backward, slope, terms)"
FROM_OUTPUT = "dot(dy, params.W_hy.mT, dh)"
GRADIENTS = "gradients = weight_gradients(learned, backward, x)"
INITIAL = "params.h_0 if h_0 is None else h_0"
LEARNED = "learned = params if h_0 is not None or start == 0 else params._replace(h_0=None)"
SCHEDULE = "for window in windows(len(x), k1, k2):"
STATES = f"states, first = [{INITIAL}], 0"
TAKE_STEP = "params, velocity = step(params, gradients, velocity)"
TARGET_ROWS = "target_rows[..., counted_from * B : stop * B, :]"
UNROLL = "unroll(params, forward, x, phi)"
WINDOW = "start, counted_from, stop = window"

# What stands in their place.
COUNT_TWICE = "\n            counted_from = start"
DROP_TAIL = "\n            if stop - counted_from < k1:\n                continue"
NOT_DETACHED = """from numpy_rnn.bptt import bptt
            from numpy_rnn.elman import forward as run
            names = {"nonlinearity": "tanh" if phi is np.tanh else "relu"}
            names["reduction"] = "sum" if terms == 1 else "mean"
            series, targets = updates.series
            whole = run(params, series[:stop], params.h_0 if h_0 is None else h_0, nonlinearity=names["nonlinearity"])
            gradients = bptt(learned, whole, targets[counted_from:stop], **names)"""
NOT_RESET = STATES.replace("[", "[states[-1].copy() if states and number == 1 else ")
STALE = """new = ForwardMemory(params, stop - counted_from, B)
            new.states[0][...] = past[-1][1] if past else states[0]
            unroll(params, new, x[..., (counted_from - start) * B :, :], phi)
            past = (past + [(a.copy(), h.copy()) for a, _, h in new.steps])[start - stop :]
            forward.a[...], backward.h[...] = (np.concatenate(parts, axis=-2) for parts in zip(*past))
            forward.y[...] = forward.h @ params.W_hy + (0 if params.b_y is None else params.b_y[..., None, :])"""
UPDATED_W_HY = """none = type(params)(*(theta if theta is None else 0 * theta for theta in params))
            early = none._replace(W_hy=backward.dot(backward.h_T, backward.dy) / terms)
            changed = params._replace(W_hy=step(params, early, velocity)[0].W_hy)
            """

MISTAKES = (
    run("bptt over k+1 steps", "window", ("train", SCHEDULE, SCHEDULE.replace("k2", "k2 + 1"))),
    run("bptt over k−1 steps", "window", ("train", SCHEDULE, SCHEDULE.replace("k2", "max(k1, k2 - 1)"))),
    run("chunks where a sliding window was asked for", "window", ("train", SCHEDULE, SCHEDULE.replace("k1", "k2"))),
    run("windows of the new steps only", "window", ("train", SCHEDULE, SCHEDULE.replace("k2", "k1"))),
    run("the tail of the series dropped", "window", ("train", WINDOW, WINDOW + DROP_TAIL)),
    run(
        "a loss counted twice",
        "loss",
        ("updates", WINDOW, WINDOW + COUNT_TWICE),
        ("train", TARGET_ROWS, TARGET_ROWS.replace("counted_from", "start")),
    ),
    run("state not reset between epochs", "entering", ("updates", STATES, NOT_RESET)),
    run("state reset at every window", "entering", ("updates", "= states[start - first]", f"= {INITIAL}")),
    run("newest state enters a sliding window", "entering", ("updates", "= states[start - first]", "= states[-1]")),
    run(
        "activations of stale weights kept",
        "a",
        ("updates", STATES, STATES + "; past = [] if number == 1 else past"),
        ("updates", UNROLL, STALE),
    ),
    run(
        "W_hy updated before the gradient flows back through it",
        "dh",
        ("updates", BACKPROPAGATE, UPDATED_W_HY + BACKPROPAGATE.replace("params", "changed")),
    ),
    run(
        "state gradients add up over overlapping windows",
        "dh",
        ("bptt", FROM_OUTPUT, "dh += " + FROM_OUTPUT.replace(", dh", "")),
        ("memory", "self.slope = (np.empty(", "self.slope = (np.zeros("),
    ),
    run(
        "entering state not a constant",
        "dW_xh",
        ("train", SCHEDULE, "updates.series = x, target\n        " + SCHEDULE),
        ("updates", GRADIENTS, NOT_DETACHED),
    ),
    run("stale learned state enters", "entering", ("updates", "if start == 0:", "if start == 0 and number == 1:")),
    run("learned state moved by windows it does not enter", "vh_0", ("updates", LEARNED, "learned = params")),
    run("velocity not carried", "vW_xh", ("updates", TAKE_STEP, TAKE_STEP.replace(", velocity)", ", None)"))),
)
