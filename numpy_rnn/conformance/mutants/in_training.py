"""Mistakes of the training loop: its windows, and what is carried from one update to the next."""

from numpy_rnn.conformance.mutants.mistake import run

# Lines of numpy_rnn that several mistakes change.
ADD_LATER = "dh_t += dot(da_next, W_hh_T, product)"
BACKPROPAGATE = "backpropagate(params, backward, slope, terms)"
DA_1 = "self.da_1 = da[0]"
DIRECT = "direct(params, gradients, velocity)"
ENTERS = "forward.states[0][...] = states[start - first]"
FLOW = "for dh_t, slope_t, da_t, da_next in memory.steps:"
GRADIENTS = "gradients = weight_gradients(learned, backward, x_T, into)"
INITIAL = "params.h_0 if h_0 is None else h_0"
LEARNED = "learned = params if h_0 is not None or start == 0 else params._replace(h_0=None)"
SCHEDULE = "for window in windows(len(x), k1, k2):"
STATES = f"states, first = [{INITIAL}], 0"
TARGET_ROWS = "target_rows[..., counted_from * B : stop * B, :]"
UNROLL = "unroll(params, forward, x, phi)"
WINDOW = "start, counted_from, stop = window"

# What stands in their place.
ADDED_UP = """later = dot(da_next, W_hh_T, product) + sums.get(t, 0)
        sums[t] = later
        dh_t += later"""
BY_STEP = """stop, sums = memory.stop, memory.sums
    for t, (dh_t, slope_t, da_t, da_next) in zip(range(stop - 1, 0, -1), memory.steps):"""
COUNT_TWICE = "\n            counted_from = start"
DROP_TAIL = "\n            if stop - counted_from < k1:\n                continue"
KEEP_SUMS = """sums = {} if number == 1 else sums
            backward.stop, backward.sums = stop, sums
            """
NOT_DETACHED = """from numpy_rnn.bptt import bptt
            from numpy_rnn.elman import forward as run
            names = {"nonlinearity": "tanh" if phi.__name__ == "tanh" else "relu"}
            names["reduction"] = "sum" if terms == 1 else "mean"
            series, targets = updates.series
            whole = run(params, series[:stop], params.h_0 if h_0 is None else h_0, nonlinearity=names["nonlinearity"])
            gradients = bptt(learned, whole, targets[counted_from:stop], **names)
            for part, dtheta in zip(into, gradients):
                if dtheta is not None:
                    part[...] = dtheta"""
NOT_RESET = STATES.replace("[", "[states[-1].copy() if states and number == 1 else ")
OF_THEN = """then = memory.W_hh_T or [W_hh_T] * len(memory.steps)
    for (dh_t, slope_t, da_t, da_next), W_hh_T in zip(memory.steps, then):"""
REPLAYED = """from numpy_rnn.elman import forward as run
            name = "tanh" if phi.__name__ == "tanh" else "relu"
            again = run(params, updates.series[: start + 1], params.h_0 if h_0 is None else h_0, nonlinearity=name)
            forward.states[0][...] = again.h[start]"""
STALE = """from numpy import concatenate
            from numpy_rnn.memory import ForwardMemory
            newest = ForwardMemory(params, stop - counted_from, B)
            newest.states[0][...] = past[-1][1] if past else states[0]
            unroll(params, newest, x[..., (counted_from - start) * B :, :], phi)
            past = (past + [(a.copy(), h.copy()) for a, _, h in newest.steps])[start - stop :]
            forward.a[...], backward.h[...] = (concatenate(parts, axis=-2) for parts in zip(*past))
            forward.y[...] = forward.h @ params.W_hy + (0 if params.b_y is None else params.b_y[..., None, :])"""
STALE_GRAPH = STALE.replace("(a.copy(), h.copy())", "(a.copy(), h.copy(), params.W_hh.mT)").replace(
    "zip(*past))", "zip(*(kept[:2] for kept in past)))"
)
THEN = """
            backward.W_hh_T = [W_hh_T for *_, W_hh_T in past[::-1]]"""
THEN_TOO = GRADIENTS.replace("learned", "learned._replace(W_hh=past[0][2].mT)")
UPDATED_W_HY = """none = type(params)(*(theta if theta is None else 0 * theta for theta in params))
            early = none._replace(W_hy=backward.dot(backward.h_T, backward.dy) / terms)
            _, changed = in_one_vector(params, B)
            step_parts(params, direct(params, early, velocity)[0] if direct else early, rate, changed)
            changed = params._replace(W_hy=changed.W_hy)
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
        "activations and weights of then kept",
        "a",
        ("updates", STATES, STATES + "; past = [] if number == 1 else past"),
        ("updates", UNROLL, STALE_GRAPH + THEN),
        ("updates", GRADIENTS, THEN_TOO),
        ("memory", DA_1, DA_1 + "\n        self.W_hh_T = None"),
        ("bptt", FLOW, OF_THEN),
    ),
    run(
        "window replayed from the start with the weights of now",
        "entering",
        ("train", SCHEDULE, "updates.series = x\n        " + SCHEDULE),
        ("updates", ENTERS, REPLAYED),
    ),
    run(
        "W_hy updated before the gradient flows back through it",
        "dh",
        ("updates", BACKPROPAGATE, UPDATED_W_HY + BACKPROPAGATE.replace("params", "changed")),
    ),
    run(
        "state gradients add up over overlapping windows",
        "dh",
        ("bptt", FLOW, BY_STEP),
        ("bptt", ADD_LATER, ADDED_UP),
        ("memory", DA_1, DA_1 + "\n        self.stop, self.sums = T, {}"),
        ("updates", BACKPROPAGATE, KEEP_SUMS + BACKPROPAGATE),
    ),
    run(
        "entering state not a constant",
        "dW_xh",
        ("train", SCHEDULE, "updates.series = x, target\n        " + SCHEDULE),
        ("updates", GRADIENTS, NOT_DETACHED),
    ),
    run("stale learned state enters", "entering", ("updates", "if start == 0:", "if start == 0 and number == 1:")),
    run("learned state moved by windows it does not enter", "vh_0", ("updates", LEARNED, "learned = params")),
    run("velocity not carried", "vW_xh", ("updates", DIRECT, DIRECT.replace("velocity)", "None)"))),
)
