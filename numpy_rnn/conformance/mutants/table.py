"""The known mistakes: where the right lines stand, and the wrong ones in their place."""

from typing import NamedTuple


class Mutant(NamedTuple):
    """One mistake that people make."""

    name: str
    stage: str  # the tensor, or "window" or "entering", that the mistake makes wrong
    level: str  # "update": seen in one window update; "run": only in a run of several
    changes: tuple[tuple[str, str, str], ...]  # (module, right lines, wrong lines)


def update(name, stage, *changes):
    """A mistake inside one window update."""
    return Mutant(name, stage, "update", changes)


def run(name, stage, *changes):
    """A mistake of the training loop."""
    return Mutant(name, stage, "run", changes)


# Lines of numpy_rnn that several mutants change.
A_T = "a_t += dot(h_before, W_hh)"
DW_XH, DW_HH, DW_HY = "dot(x.mT, da)", "dot(memory.h_before_T, da)", "dot(memory.h_T, dy)"
DB_H, DB_Y = "da.sum(axis=-2)", "dy.sum(axis=-2)"
DIVIDED = "if divisor != 1:\n        dy /= divisor"
FLOW = "for dh_t, slope_t, da_t, da_next in memory.steps:"
FROM_OUTPUT = "dot(dy, params.W_hy.mT, dh)"
GRADIENTS = "gradients = weight_gradients(params, backward, x_window)"
SCHEDULE = "in enumerate(windows(T, k1, k2), start=1)"
STATES = "states, first = [h_0], 0"
BACKPROPAGATE = "backpropagate(params, backward, slope, terms)"
EARLIER = "np.subtract(memory.y_counted, rows(target), memory.dy_counted)  # (B1)"
STEP = "theta - learning_rate * dtheta"
UNROLL = "unroll(params, forward, x_window, phi)"
WINDOW = "start, counted_from, stop = window"

# What stands in their place.
AT_ZERO = "\n    h = h.copy()\n    h[1:][a == 0] += np.finfo(h.dtype).tiny"
BEFORE = "memory.rows_of_h[..., : -len(memory.states[0]), :]"
COUNT_ALL = "\n    memory.dy[: -len(memory.dy_counted)] = rows(y)[: -len(memory.dy_counted)]"
COUNT_TWICE = "\n            counted_from = start"
DROP_TAIL = "\n            if stop - counted_from < k1:\n                continue"
NOT_RESET = "\n        if epoch > 1:\n            states = [forward.states[-1].copy()]"
SINGLE = "return (lambda v, W, out=None: np.multiply(np.float32(v) @ np.float32(W), 1, out, dtype=v.dtype)) "
SINGLE_TANH = ("elman", "def relu(", "def single_tanh(a, out):\n    out[...] = np.tanh(np.float32(a))\n\n\ndef relu(")
SQUARE_W_HY = "params.W_hy if dy.shape[-1] == dh.shape[-1] else params.W_hy.mT"
TWICE = "(2 if theta is params.{} else 1) * learn"
UPDATED_W_HY = """step = learning_rate * backward.dot(backward.h_T, backward.dy) / terms
            changed = params._replace(W_hy=params.W_hy - step)
            """
# The rows of one step, of which the last are the last step's and every B-th belongs to the first sequence.
ROWS = "da.shape[-2] // (len(memory.steps) + 1)"
STALE = """new = ForwardMemory(params, stop - counted_from, B)
            new.states[0][...] = past[-1][1] if past else h_0
            unroll(params, new, x_window[(counted_from - start) * B :], phi)
            past = (past + [(a.copy(), h.copy()) for a, _, h in new.steps])[start - stop :]
            forward.a[...] = np.concatenate([a for a, _ in past])
            forward.h[...] = np.concatenate([h for _, h in past])
            forward.y[...] = forward.h @ params.W_hy + (0 if params.b_y is None else params.b_y)"""
NOT_DETACHED = """from numpy_rnn.bptt import bptt
            from numpy_rnn.elman import forward as run
            names = {"nonlinearity": "tanh" if phi is np.tanh else "relu"}
            names["reduction"] = "sum" if terms == 1 else "mean"
            whole = run(params, x[:stop], h_0, nonlinearity=names["nonlinearity"])
            gradients = bptt(params, whole, target[counted_from:stop], **names)"""

MUTANTS = (
    # Precision: float64 that is float32 in one place.
    update("float32 products inside float64", "a", ("memory", "return np.ndarray.dot if", SINGLE + "if")),
    update("float32 tanh inside float64", "h", ("elman", "tanh=np.tanh,", "tanh=single_tanh,"), SINGLE_TANH),
    update(
        "float32 loss sum inside float64",
        "loss",
        ("loss", "error.dot(error)", "error.astype(np.float32).dot(error.astype(np.float32)).astype(error.dtype)"),
    ),
    update(
        "float32 accumulator inside float64",
        "dW_hh",
        ("bptt", DW_HH, "dot(np.float32(memory.h_before_T), np.float32(da)).astype(da.dtype)"),
    ),
    # The forward pass and the loss.
    update("W_hh transposed in the forward pass", "a", ("elman", A_T, "a_t += dot(h_before, W_hh.mT)")),
    update("hidden bias left out", "a", ("elman", "a += b_h[..., None, :]", "a += 0")),
    update("output bias left out", "y", ("elman", "y += b_y[..., None, :]", "y += 0")),
    update("output read from h_{t-1}", "y", ("elman", "dot(memory.h, W_hy, y)", f"dot({BEFORE}, W_hy, y)")),
    update("e² for ½e²", "loss", ("loss", "0.5 * error.dot(error)", "error.dot(error)")),
    update("mean for sum", "loss", ("loss", "sum=one", "sum=number_of_terms")),
    update("sum for mean", "loss", ("loss", "mean=number_of_terms", "mean=one")),
    update("mean over the steps alone", "loss", ("loss", "return target.shape[0] * ", "return target.shape[0] or ")),
    # Back through the output, the recurrence and the nonlinearity.
    update("2e for e", "dy", ("bptt", DIVIDED, "dy *= 2 / divisor")),
    update("loss of older steps counted", "dy", ("bptt", EARLIER, EARLIER + COUNT_ALL)),
    update("W_hy untransposed where it is square", "dh", ("bptt", FROM_OUTPUT, f"dot(dy, {SQUARE_W_HY}, dh)")),
    update("W_hh used without its transpose", "dh", ("bptt", "W_hh_T = params.W_hh.mT", "W_hh_T = params.W_hh")),
    update("dh_next dropped", "dh", ("bptt", FLOW, FLOW.replace("steps", "steps[:0]"))),
    update("only one step back", "dh", ("bptt", FLOW, FLOW.replace("steps", "steps[:1]"))),
    update("da of the same step flows back", "dh", ("bptt", "dot(da_next, W_hh_T)", "dot(da_t, W_hh_T)")),
    update("1 − h_{t-1}² for 1 − h_t²", "da", ("bptt", "slope(memory.h,", "slope(memory.h_before_T.mT,")),
    update("1 − h for 1 − h²", "da", ("bptt", "np.multiply(h, h, out)", "np.copyto(out, h)")),
    update(
        "tanh′ missing",
        "da",
        ("bptt", "np.multiply(dh, memory.slope, da)", "np.copyto(da, dh)"),
        ("bptt", "np.multiply(dh_t, slope_t, da_t)", "np.copyto(da_t, dh_t)"),
    ),
    update("relu′ missing", "da", ("bptt", "np.greater(h, 0, out=out)", "np.copyto(out, 1)")),
    update("relu′(0) = 1", "da", ("bptt", "x, _, h, y = activations", "x, a, h, y = activations" + AT_ZERO)),
    # Gradients of the weights and biases.
    update(
        "dW_xh from the last step only", "dW_xh", ("bptt", DW_XH, f"dot(x.mT[..., -{ROWS} :], da[..., -{ROWS} :, :])")
    ),
    update("h_t for h_{t-1} in dW_hh", "dW_hh", ("bptt", DW_HH, "dot(memory.h_T, da)")),
    update(
        "dW_hh from the last step only",
        "dW_hh",
        ("bptt", DW_HH, f"dot(memory.h_before_T[..., -{ROWS} :], da[..., -{ROWS} :, :])"),
    ),
    update(
        "entering state left out of dW_hh",
        "dW_hh",
        ("bptt", DW_HH, f"dot(memory.h_before_T[..., {ROWS} :], da[..., {ROWS} :, :])"),
    ),
    update("dW_hh transposed", "dW_hh", ("bptt", DW_HH, "dot(da.mT, memory.h_before_T.mT)")),
    update("h_{t-1} for h_t in dW_hy", "dW_hy", ("bptt", DW_HY, "dot(memory.h_before_T, dy)")),
    update("db_h not summed over the batch", "db_h", ("bptt", DB_H, f"da[..., :: {ROWS}, :].sum(axis=-2)")),
    update("db_h not summed over time", "db_h", ("bptt", DB_H, f"da[..., -{ROWS} :, :].sum(axis=-2)")),
    update("db_y not summed over time", "db_y", ("bptt", DB_Y, f"dy[..., -{ROWS} :, :].sum(axis=-2)")),
    # The update.
    update("learning rate applied twice to W_hh", "W_hh", ("sgd", STEP, STEP.replace("learn", TWICE.format("W_hh")))),
    update("a trained second hidden bias", "b_h", ("sgd", STEP, STEP.replace("learn", TWICE.format("b_h")))),
    update("the gradient is climbed", "W_xh", ("sgd", STEP, "theta + learning_rate * dtheta")),
    # The training loop.
    run("bptt over k+1 steps", "window", ("train", SCHEDULE, SCHEDULE.replace("k2", "k2 + 1"))),
    run("bptt over k−1 steps", "window", ("train", SCHEDULE, SCHEDULE.replace("k2", "max(k1, k2 - 1)"))),
    run("chunks where a sliding window was asked for", "window", ("train", SCHEDULE, SCHEDULE.replace("k1", "k2"))),
    run("windows of the new steps only", "window", ("train", SCHEDULE, SCHEDULE.replace("k2", "k1"))),
    run("the tail of the series dropped", "window", ("train", WINDOW, WINDOW + DROP_TAIL)),
    run("a loss counted twice", "loss", ("train", WINDOW, WINDOW + COUNT_TWICE)),
    run("state not reset between epochs", "entering", ("train", STATES, STATES + NOT_RESET)),
    run("state reset at every window", "entering", ("train", "= states[start - first]", "= h_0")),
    run("newest state enters a sliding window", "entering", ("train", "= states[start - first]", "= states[-1]")),
    run("activations of stale weights kept", "a", ("train", STATES, STATES + "; past = []"), ("train", UNROLL, STALE)),
    run(
        "W_hy updated before the gradient flows back through it",
        "dh",
        ("train", BACKPROPAGATE, UPDATED_W_HY + BACKPROPAGATE.replace("params", "changed")),
    ),
    run(
        "state gradients add up over overlapping windows",
        "dh",
        ("bptt", FROM_OUTPUT, "dh += " + FROM_OUTPUT.replace(", dh", "")),
        ("memory", "self.slope = (np.empty(", "self.slope = (np.zeros("),
    ),
    run("entering state not a constant", "dW_xh", ("train", GRADIENTS, NOT_DETACHED)),
)
