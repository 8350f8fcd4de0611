"""Mistakes inside a window: its forward pass, its loss and its gradients."""

from numpy_rnn.conformance.mutants.mistake import update

# Lines of numpy_rnn that several mistakes change.
ADD_LATER = "dh_t += dot(da_next, W_hh_T, product)"
A_T = "a_t += dot(h_before, W_hh, product)"
DW_XH, DW_HH = "dot(x_T, da, dW_xh)", "dot(memory.h_before_T, da, dW_hh)"
DW_HY = "dot(memory.h_T, dy, dW_hy)"
DB_H, DB_Y = "da.sum(axis=-2, out=db_h)", "dy.sum(axis=-2, out=db_y)"
DIVIDED = "if divisor != 1:\n        dy /= divisor"
EARLIER = "subtract(memory.y_counted, rows(target), memory.dy_counted)  # (B1)"
FROM_OUTPUT = "dot(dy, params.W_hy.mT, dh)"
SQUARES = "sum_of_products(error, error)"
W_HH_T = "W_hh_T = memory.transposed(params.W_hh)"

# What stands in their place.
AT_ZERO = "\n    h = h.copy()\n    h[1:][a == 0] += 2.0**-126 if h.itemsize == 4 else 2.0**-1022"
BEFORE = "memory.rows_of_h[..., : memory.h.shape[-2], :]"
COUNT_ALL = "\n    memory.dy[: -len(memory.dy_counted)] = rows(y)[: -len(memory.dy_counted)]"
SINGLE = "return lambda v, W, out=None: np.multiply(np.float32(v) @ np.float32(W), 1, out, dtype=v.dtype)"
SINGLE_TANH = ("elman", "def relu(", "def single_tanh(a, out):\n    out[...] = np.tanh(np.float32(a))\n\n\ndef relu(")
SQUARE_W_HY = "params.W_hy if dy.shape[-1] == dh.shape[-1] else params.W_hy.mT"
SQUARE_W_XH = "params.W_xh if params.W_xh.shape[-1] == params.W_xh.shape[-2] else params.W_xh.mT"
# The rows of one step, of which the last are the last step's and every B-th belongs to the first sequence.
ROWS = "da.shape[-2] // (len(memory.steps) + 1)"

MISTAKES = (
    # Precision: float64 that is float32 in one place.
    update("float32 products inside float64", "a", ("vectors", "return np.ndarray.dot", SINGLE)),
    update("float32 tanh inside float64", "h", ("elman", "tanh=np.tanh,", "tanh=single_tanh,"), SINGLE_TANH),
    update(
        "float32 loss sum inside float64",
        "loss",
        ("loss", SQUARES, "sum_of_products(np.float32(error), np.float32(error)).astype(error.dtype)"),
    ),
    update(
        "float32 accumulator inside float64",
        "dW_hh",
        ("bptt", DW_HH, 'dW_hh[...] = dot(memory.h_before_T.astype("f"), da.astype("f"))'),
    ),
    # The forward pass and the loss.
    update("W_hh transposed in the forward pass", "a", ("elman", A_T, A_T.replace("W_hh", "W_hh.mT"))),
    update("hidden bias left out", "a", ("elman", "a += b_h[..., None, :]", "a += 0")),
    update("output bias left out", "y", ("elman", "y += b_y[..., None, :]", "y += 0")),
    update("output read from h_{t-1}", "y", ("elman", "dot(memory.h, W_hy, y)", f"dot({BEFORE}, W_hy, y)")),
    update("e² for ½e²", "loss", ("loss", SQUARES, f"2 * {SQUARES}")),
    update("mean for sum", "loss", ("loss", "sum=one", "sum=number_of_terms")),
    update("sum for mean", "loss", ("loss", "mean=number_of_terms", "mean=one")),
    update("mean over the steps alone", "loss", ("loss", "return K * B * O", "return K")),
    # Back through the output, the recurrence and the nonlinearity.
    update("2e for e", "dy", ("bptt", DIVIDED, "dy *= 2 / divisor")),
    update("loss of older steps counted", "dy", ("bptt", EARLIER, EARLIER + COUNT_ALL)),
    update("W_hy untransposed where it is square", "dh", ("bptt", FROM_OUTPUT, f"dot(dy, {SQUARE_W_HY}, dh)")),
    update("W_hh used without its transpose", "dh", ("bptt", W_HH_T, "W_hh_T = params.W_hh")),
    update("dh_next dropped", "dh", ("bptt", ADD_LATER, "pass")),
    update("only one step back", "dh", ("bptt", ADD_LATER, f"{ADD_LATER} if da_next is memory.last[2] else 0")),
    update("da of the same step flows back", "dh", ("bptt", "dot(da_next, W_hh_T,", "dot(dh_t * slope_t, W_hh_T,")),
    update("1 − h_{t-1}² for 1 − h_t²", "da", ("bptt", "slope(memory.h,", "slope(memory.h_before_T.mT,")),
    update("1 − h for 1 − h²", "da", ("bptt", "multiply(h, h, out)", "out[...] = h")),
    update(
        "tanh′ missing",
        "da",
        ("bptt", "multiply(dh_T, slope_T, da_T)", "da_T[...] = dh_T"),
        ("bptt", "multiply(dh_t, slope_t, da_t)", "da_t[...] = dh_t"),
    ),
    update("relu′ missing", "da", ("bptt", "greater(h, 0, out=out)", "out[...] = 1")),
    update("relu′(0) = 1", "da", ("bptt", "x, _, h, y = activations", "x, a, h, y = activations" + AT_ZERO)),
    # Gradients of the weights and biases.
    update(
        "dW_xh from the last step only",
        "dW_xh",
        ("bptt", DW_XH, f"dot(x_T[..., -{ROWS} :], da[..., -{ROWS} :, :], dW_xh)"),
    ),
    update("h_t for h_{t-1} in dW_hh", "dW_hh", ("bptt", DW_HH, "dot(memory.h_T, da, dW_hh)")),
    update(
        "dW_hh from the last step only",
        "dW_hh",
        ("bptt", DW_HH, f"dot(memory.h_before_T[..., -{ROWS} :], da[..., -{ROWS} :, :], dW_hh)"),
    ),
    update(
        "entering state left out of dW_hh",
        "dW_hh",
        ("bptt", DW_HH, f"dot(memory.h_before_T[..., {ROWS} :], da[..., {ROWS} :, :], dW_hh)"),
    ),
    update("dW_hh transposed", "dW_hh", ("bptt", DW_HH, "dot(da.mT, memory.h_before_T.mT, dW_hh)")),
    update("h_{t-1} for h_t in dW_hy", "dW_hy", ("bptt", DW_HY, "dot(memory.h_before_T, dy, dW_hy)")),
    update("db_h not summed over the batch", "db_h", ("bptt", DB_H, f"da[..., :: {ROWS}, :].sum(axis=-2, out=db_h)")),
    update("db_h not summed over time", "db_h", ("bptt", DB_H, f"da[..., -{ROWS} :, :].sum(axis=-2, out=db_h)")),
    update("db_y not summed over time", "db_y", ("bptt", DB_Y, f"dy[..., -{ROWS} :, :].sum(axis=-2, out=db_y)")),
    # Gradients of the inputs.
    update(
        "W_hh untransposed in dh_0",
        "dh_0",
        ("bptt", "dot(memory.da_1, params.W_hh.mT, into)", "dot(memory.da_1, params.W_hh, into)"),
    ),
    update(
        "dh_0 not through W_hh", "dh_0", ("bptt", "memory.dot(memory.da_1, params.W_hh.mT, into)", "memory.da_1.copy()")
    ),
    update("W_xh untransposed where it is square", "dx", ("bptt", "params.W_xh.mT)", f"{SQUARE_W_XH})")),
)
