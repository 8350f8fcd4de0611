"""Mistakes inside a window: its forward pass, its loss and its gradients."""

from numpy_rnn.conformance.mutants.mistake import update

# Lines of the reference that several mistakes change.
A_T = "a_t = input_t + states[-1] @ W_hh"
B1 = "dy[-K:] = (y[-K:] - target) / divisor"
B2 = "dh[t] += da[t + 1] @ W_hh.mT"
DW_XH, DW_HH, DW_HY = "sum_over_steps(x, da)", "sum_over_steps(h[:-1], da)", "sum_over_steps(h[1:], dy)"
DB_H, DB_Y = "da.sum(axis=(0, -2))", "dy.sum(axis=(0, -2))"
SLOPES = "slopes = slope(h[1:])"
SQUARES = "(error * error).sum(axis=(0, -2, -1))"

# What is written instead.
SINGLE_DW_HH = 'sum_over_steps(h[:-1].astype("f"), da.astype("f")).astype(da.dtype)'
SINGLE_SQUARES = '(error * error).sum(axis=(0, -2, -1), dtype="f").astype(error.dtype)'
SQUARE_W_HY = "(W_hy if W_hy.shape[-1] == W_hy.shape[-2] else W_hy.mT)"
SQUARE_W_XH = "(W_xh if W_xh.shape[-1] == W_xh.shape[-2] else W_xh.mT)"

MISTAKES = (
    # Precision: float64 that is float32 in one place.
    update(
        "float32 products inside float64",
        "a",
        ("elman", A_T, "a_t = input_t + np.float32(states[-1]) @ np.float32(W_hh)"),
    ),
    update(
        "float32 tanh inside float64",
        "h",
        ("elman", "tanh=np.tanh,", "tanh=lambda a: np.tanh(np.float32(a)).astype(a.dtype),"),
    ),
    update("float32 loss sum inside float64", "loss", ("loss", SQUARES, SINGLE_SQUARES)),
    update("float32 accumulator inside float64", "dW_hh", ("bptt", DW_HH, SINGLE_DW_HH)),
    # The forward pass and the loss.
    update("W_hh transposed in the forward pass", "a", ("elman", A_T, A_T + ".mT")),
    update("hidden bias left out", "a", ("elman", "inputs = inputs + b_h[..., None, :]", "pass")),
    update("output bias left out", "y", ("elman", "y = y + b_y[..., None, :]", "pass")),
    update("output read from h_{t-1}", "y", ("elman", "y = h[1:] @ W_hy", "y = h[:-1] @ W_hy")),
    update("e² for ½e²", "loss", ("loss", f"0.5 * {SQUARES}", SQUARES)),
    update("mean for sum", "loss", ("loss", "sum=one", "sum=number_of_terms")),
    update("sum for mean", "loss", ("loss", "mean=number_of_terms", "mean=one")),
    update("mean over the steps alone", "loss", ("loss", "return K * B * O", "return K")),
    # Back through the output, the recurrence and the nonlinearity.
    update("2e for e", "dy", ("bptt", B1, B1.replace("= (", "= 2 * ("))),
    update("loss of older steps counted", "dy", ("bptt", "dy, da = np.zeros_like(y)", "dy, da = y / divisor")),
    update("W_hy untransposed where it is square", "dh", ("bptt", "dy @ W_hy.mT", f"dy @ {SQUARE_W_HY}")),
    update("W_hh used without its transpose", "dh", ("bptt", B2, "dh[t] += da[t + 1] @ W_hh")),
    update("dh_next dropped", "dh", ("bptt", B2, "pass")),
    update("only one step back", "dh", ("bptt", B2, f"{B2} if t == len(a) - 2 else 0")),
    update("da of the same step flows back", "dh", ("bptt", B2, "dh[t] += (dh[t] * slopes[t]) @ W_hh.mT")),
    update("1 − h_{t-1}² for 1 − h_t²", "da", ("bptt", SLOPES, "slopes = slope(h[:-1])")),
    update("1 − h for 1 − h²", "da", ("bptt", "return 1 - h * h", "return 1 - h")),
    update("tanh′ missing", "da", ("bptt", "return 1 - h * h", "return np.ones_like(h)")),
    update("relu′ missing", "da", ("bptt", "return (h > 0).astype(h.dtype)", "return np.ones_like(h)")),
    update("relu′(0) = 1", "da", ("bptt", SLOPES, "slopes = np.maximum(slope(h[1:]), a == 0)")),
    # Gradients of the weights and biases.
    update("dW_xh from the last step only", "dW_xh", ("bptt", DW_XH, "sum_over_steps(x[-1:], da[-1:])")),
    update("h_t for h_{t-1} in dW_hh", "dW_hh", ("bptt", DW_HH, "sum_over_steps(h[1:], da)")),
    update("dW_hh from the last step only", "dW_hh", ("bptt", DW_HH, "sum_over_steps(h[-2:-1], da[-1:])")),
    update("entering state left out of dW_hh", "dW_hh", ("bptt", DW_HH, "sum_over_steps(h[1:-1], da[1:])")),
    update("dW_hh transposed", "dW_hh", ("bptt", DW_HH, "sum_over_steps(da, h[:-1])")),
    update("h_{t-1} for h_t in dW_hy", "dW_hy", ("bptt", DW_HY, "sum_over_steps(h[:-1], dy)")),
    update("db_h not summed over the batch", "db_h", ("bptt", DB_H, "da[..., 0, :].sum(axis=0)")),
    update("db_h not summed over time", "db_h", ("bptt", DB_H, "da[-1].sum(axis=-2)")),
    update("db_y not summed over time", "db_y", ("bptt", DB_Y, "dy[-1].sum(axis=-2)")),
    # Gradients of the inputs.
    update("W_hh untransposed in dh_0", "dh_0", ("bptt", "dh_0 = da[0] @ W_hh.mT", "dh_0 = da[0] @ W_hh")),
    update("dh_0 not through W_hh", "dh_0", ("bptt", "dh_0 = da[0] @ W_hh.mT", "dh_0 = da[0]")),
    update("W_xh untransposed where it is square", "dx", ("bptt", "da @ W_xh.mT", f"da @ {SQUARE_W_XH}")),
)
