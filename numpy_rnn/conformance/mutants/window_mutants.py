"""Mutants of one window: its forward pass, its loss, its gradients and its SGD step."""

import math
from typing import NamedTuple


class Mutant(NamedTuple):
    """A fault that people make: correct lines of the reference or the engine, and the wrong ones instead."""

    name: str
    stage: str  # the tensor, or "window" or "initial", that is wrong
    level: str  # "update": visible in one window; "run": only in a run of several; "engine": in the engine
    changes: tuple[tuple[str, str, str], ...]  # (module, correct lines, wrong lines)


def update(name, stage, *changes):
    """A mutant of one window."""
    return Mutant(name, stage, "update", changes)


def run(name, stage, *changes):
    """A mutant of the training loop."""
    return Mutant(name, stage, "run", changes)


def engine(name, stage, *changes):
    """A mutant of the engine, whose modules are named without the package."""
    return Mutant(name, stage, "engine", tuple((f"engine.{module}", right, wrong) for module, right, wrong in changes))


# Lines of the reference that several mutants change.
A_T = "a_t = input_t + states[-1] @ W_hh"
B1 = "dy[-K:] = weights * error(y[-K:], target) / N"
B2 = "dh[t] += da[t + 1] @ W_hh.mT"
DW_XH, DW_HH, DW_HY = "sum_over_steps(x, da)", "sum_over_steps(h[:-1], da)", "sum_over_steps(h[1:], dy)"
DB_H, DB_Y = "da.sum(axis=(0, -2))", "dy.sum(axis=(0, -2))"
SLOPES = "slopes = slope(h[1:])"
B9 = "dh_0 = da[0] @ W_hh.mT"
OF_DH_0 = ("bptt", B9, B9.removesuffix(".mT"))
SQUARES = "(weights * error * error).sum(axis=(0, -2, -1))"
LOG = "target * log_softmax(y)"
ENTROPIES = f"-(weights * {LOG}).sum(axis=(0, -2, -1))"
SOFTMAX = "softmax(y) * target.sum(axis=-1, keepdims=True) - target"
TERMS = "K * B if weights is None else weights.sum()"

# The wrong lines.
BAND = """later = [own[t + 1], *ages][:2]
        ages = [(d * slopes[t + 1]) @ W_hh.mT for d in later]
        dh[t] += sum(ages)"""
DIVIDED = "Gradients(*(None if d is None else d / len(x) for d in (dW_xh, dW_hh, dW_hy, db_h, db_y)),"
SINGLE_DW_HH = 'sum_over_steps(h[:-1].astype("f"), da.astype("f")).astype(da.dtype)'
SINGLE_SQUARES = '(weights * error * error).sum(axis=(0, -2, -1), dtype="f").astype(error.dtype)'
LAST_OF_CLASS = "(np.flip(np.flip(fold_time(x), -2).cumsum(axis=-2), -2) == 1)"
OVERWRITTEN = (
    f"((fold_time(x) * {LAST_OF_CLASS}).mT @ fold_time(da) if ((x == 0) | (x == 1)).all() else sum_over_steps(x, da))"
)
SOFTMAX_TWICE = f"""p = softmax(y)
    error: Outputs = {SOFTMAX}
    error = p * (error - (p * error).sum(axis=-1, keepdims=True))"""
SQUARE_W_HY = "(W_hy if W_hy.shape[-1] == W_hy.shape[-2] else W_hy.mT)"
SQUARE_W_XH = "(W_xh if W_xh.shape[-1] == W_xh.shape[-2] else W_xh.mT)"

IN_WINDOW = (
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
    update(
        "h_0 for h_{t-1} at every step",
        "a",
        ("elman", A_T, A_T.replace("[-1]", "[0]")),
        ("bptt", DW_HH, "sum_over_steps(np.broadcast_to(h[:1], h[1:].shape), da)"),
    ),
    update("zeros for h_0", "a", ("elman", "states = [], [h_0]", "states = [], [np.zeros_like(h_0)]")),
    update("output bias left out", "y", ("elman", "y = y + b_y[..., None, :]", "pass")),
    update("output read from h_{t-1}", "y", ("elman", "y = h[1:] @ W_hy", "y = h[:-1] @ W_hy")),
    update(
        "output read from h_{t-1}, and its gradient",
        "y",
        ("elman", "y = h[1:] @ W_hy", "y = h[:-1] @ W_hy"),
        ("bptt", "dh = dy @ W_hy.mT", "dh = np.concatenate((dy[1:], 0 * dy[:1])) @ W_hy.mT"),
        ("bptt", B9, f"{B9} + dy[0] @ W_hy.mT"),
        ("bptt", DW_HY, "sum_over_steps(h[:-1], dy)"),
    ),
    update("e² for ½e²", "loss", ("loss", f"0.5 * {SQUARES}", SQUARES)),
    update("mean for sum", "loss", ("loss", "sum=one", "sum=number_of_terms")),
    update("sum for mean", "loss", ("loss", "mean=number_of_terms", "mean=one")),
    update(
        "mean of the losses, gradient of their sum",
        "loss",
        ("loss", f"{SQUARES} / N", f"{SQUARES} / (N if N != 1 else y.size)"),
        ("loss", f"{ENTROPIES} / N", f"{ENTROPIES} / (N if N != 1 else y[..., 0].size)"),
    ),
    update("mean over the steps alone", "loss", ("loss", TERMS, TERMS.replace("K * B", "K"))),
    # Back through the output, the recurrence and the nonlinearity.
    update("2e for e", "dy", ("bptt", B1, B1.replace("= ", "= 2 * "))),
    update("loss of older steps included", "dy", ("bptt", "dy, da = np.zeros_like(y)", "dy, da = y / N")),
    update("W_hy not transposed where it is square", "dh", ("bptt", "dy @ W_hy.mT", f"dy @ {SQUARE_W_HY}")),
    update("W_hh used without its transpose", "dh", ("bptt", B2, "dh[t] += da[t + 1] @ W_hh")),
    update("W_hh and W_hh in dh_0 used without transposes", "dh", ("bptt", B2, B2.replace(".mT", "")), OF_DH_0),
    update("no flow from step to step", "dh", ("bptt", B2, "pass"), ("bptt", B9, "dh_0 = np.zeros_like(h[0])")),
    update(
        "truncation band:3",
        "dh",
        ("bptt", SLOPES, f"{SLOPES}\n    own, ages = dh.copy(), []"),
        ("bptt", B2, BAND),
    ),
    update("dh_next dropped", "dh", ("bptt", B2, "pass")),
    update("only one step back", "dh", ("bptt", B2, f"{B2} if t == len(a) - 2 else 0")),
    update("da_t for da_{t+1} in dh_t", "dh", ("bptt", B2, "dh[t] += (dh[t] * slopes[t]) @ W_hh.mT")),
    update("1 − h_{t-1}² for 1 − h_t²", "da", ("bptt", SLOPES, "slopes = slope(h[:-1])")),
    update("1 − h for 1 − h²", "da", ("bptt", "return 1 - h * h", "return 1 - h")),
    update("tanh′ missing", "da", ("bptt", "return 1 - h * h", "return np.ones_like(h)")),
    update("relu′ missing", "da", ("bptt", "return (h > 0).astype(h.dtype)", "return np.ones_like(h)")),
    update("h (1 + h) for h (1 − h)", "da", ("bptt", "h * (1 - h)", "h * (1 + h)")),
    update("the slope of tanh for that of the logistic function", "da", ("bptt", "h * (1 - h)", "1 - h * h")),
    update("relu′(0) = 1", "da", ("bptt", SLOPES, "slopes = np.maximum(slope(h[1:]), a == 0)")),
    # Gradients of the weights and biases.
    update("dW_xh from the last step only", "dW_xh", ("bptt", DW_XH, "sum_over_steps(x[-1:], da[-1:])")),
    update("h_t for h_{t-1} in dW_hh", "dW_hh", ("bptt", DW_HH, "sum_over_steps(h[1:], da)")),
    update("dW_hh from the last step only", "dW_hh", ("bptt", DW_HH, "sum_over_steps(h[-2:-1], da[-1:])")),
    update("initial state left out of dW_hh", "dW_hh", ("bptt", DW_HH, "sum_over_steps(h[1:-1], da[1:])")),
    update("dW_hh transposed", "dW_hh", ("bptt", DW_HH, "sum_over_steps(da, h[:-1])")),
    update("h_{t-1} for h_t in dW_hy", "dW_hy", ("bptt", DW_HY, "sum_over_steps(h[:-1], dy)")),
    update("db_h not summed over the batch", "db_h", ("bptt", DB_H, "da[..., 0, :].sum(axis=0)")),
    update("db_h not summed over time", "db_h", ("bptt", DB_H, "da[-1].sum(axis=-2)")),
    update("db_y not summed over time", "db_y", ("bptt", DB_Y, "dy[-1].sum(axis=-2)")),
    # Cross-entropy, classes and weights.
    update("softmax without the shift", "loss", ("loss", "y - y.max(axis=-1, keepdims=True)", "y")),
    update(
        "float32 exponentials inside float64",
        "loss",
        ("loss", "np.exp(shifted).sum", "np.exp(np.float32(shifted)).sum"),
    ),
    update(
        "an epsilon inside the logarithm",
        "loss",
        ("loss", "target * log_softmax(y)", "target * np.log(softmax(y) + 1e-8)"),
    ),
    update("logarithm to base 2, but its gradient not", "loss", ("loss", LOG, f"{LOG} / {math.log(2)}")),
    update(
        "target in the next class",
        "loss",
        (
            "loss",
            "one_hot(target, O",
            "one_hot((target + 1) % O, O",
        ),
    ),
    update("mean over the classes too", "loss", ("loss", 'if loss == "squared_error":', "if O:")),
    update("p for p − target", "dy", ("bptt", SOFTMAX, SOFTMAX.removesuffix(" - target"))),
    update("derivative of the softmax applied twice", "dy", ("bptt", f"error: Outputs = {SOFTMAX}", SOFTMAX_TWICE)),
    update("weights applied twice to dy", "dy", ("bptt", B1, B1.replace("weights", "weights * weights"))),
    update("weights left out of dy", "dy", ("bptt", B1, B1.replace("weights * ", ""))),
    update("weights left out of the loss", "loss", ("loss", SQUARES, SQUARES.replace("weights * ", ""))),
    update("weighted mean over all losses", "loss", ("loss", TERMS, "K * B")),
    update("classes counted from 1", "a", ("elman", "one_hot(x, ", "one_hot(x - 1, ")),
    update("dW_xh overwritten where a class repeats", "dW_xh", ("bptt", DW_XH, OVERWRITTEN)),
    update("gradients divided by T", "dW_xh", ("bptt", "Gradients(dW_xh, dW_hh, dW_hy, db_h, db_y,", DIVIDED)),
    # Gradients of the inputs.
    update("dx from its own step only", "dx", ("bptt", "dx = da @", "dx = (dy @ W_hy.mT * slopes) @")),
    update("W_hh not transposed in dh_0", "dh_0", OF_DH_0),
    update("dh_0 not through W_hh", "dh_0", ("bptt", B9, "dh_0 = da[0]")),
    update("W_xh not transposed where it is square", "dx", ("bptt", "da @ W_xh.mT", f"da @ {SQUARE_W_XH}")),
)


# Lines of the reference that several mutants change.
CLIPPED_AT_ONCE = "shortened = apply_clipping(gradients, options)"
CLIPPED = "expand_to(factor, dtheta) * dtheta"
DECAYED = "g = dtheta + decay * theta if decay else dtheta"
DIRECTED = "directed(params, shortened, velocity, options)"
FACTOR = "np.minimum(1, float(max_norm) / (norm(gradients) + SMALL))"
LOOK_AHEAD = "(g + mu * v if nesterov else v)"
OF_NETWORK = ".sum(axis=tuple(range(E, dtheta.ndim)))"
STEP = "theta - expand_to(rate, theta) * delta_theta"
STEPPED = "sgd_step(params, delta, rate)"
SQUARED = "v = g * g if v is None else v + g * g"
VELOCITY = 'v = g.copy("K") if v is None else mu * v + (1 - tau) * g'

# The wrong lines.
BY_TENSOR = FACTOR.replace("norm(gradients)", "root_of_squares([dtheta], gradients.W_hh.ndim - 2)")
CLIPPED_BY_STEP = f"""{CLIPPED_AT_ONCE}
            if options.max_value is not None:
                parts = []
                for t in range(len(x)):
                    step = type(activations)(*(v[t : t + 1] for v in activations))._replace(h=activations.h[t : t + 2])
                    of_step = type(flow)(*(v[t : t + 1] for v in flow))._replace(dh_0=flow.dh_0)
                    parts.append(clamp(weight_gradients(learned, step, of_step), options.max_value))
                summed = (None if d[0] is None else sum(d) for d in zip(*parts))
                shortened = type(gradients)(*summed)._replace(h_0=shortened.h_0)"""
DECAYED_APART = (
    "sgd_step(type(params)(*(t if t is None else (1 - options.weight_decay) * t for t in params)), delta, rate)"
)
UNCLIPPED_SQUARES = """directed(params, gradients if options.adagrad else shortened, velocity, options)
            if options.adagrad and (options.max_norm or options.max_value):
                d, _ = directed(params, shortened, None, options._replace(adagrad=False))
                delta = type(delta)(*(v if v is None else v / np.sqrt(w + 1e-8) for v, w in zip(d, velocity)))"""
SCALED = "type(gradients)(*(d if d is None else expand_to(rate, d) * d for d in shortened))"


def twice(name):
    """η twice for one parameter."""
    return "sgd", STEP, STEP.replace("expand_to", f"(2 if theta is params.{name} else 1) * expand_to")


IN_STEP = (
    # Clipping, weight decay, momentum.
    update("float32 norm inside float64", "vW_xh", ("clipping", "np.square(dtheta)", "np.square(np.float32(dtheta))")),
    update("clipping per tensor", "vW_xh", ("clipping", CLIPPED, CLIPPED.replace("factor", BY_TENSOR))),
    update(
        "gradients below max_norm scaled up",
        "vW_xh",
        ("clipping", FACTOR, "float(max_norm) / (norm(gradients) + SMALL)"),
    ),
    update(
        "clipping by the norm squared",
        "vW_xh",
        ("clipping", "np.sqrt(reduce(np.add, squares))", "reduce(np.add, squares)"),
    ),
    update(
        "clipping by value on one side only",
        "vW_xh",
        ("clipping", "np.clip(dtheta, -max_value, max_value)", "np.minimum(dtheta, max_value)"),
    ),
    update("clipping by value", "vW_xh", ("clipping", CLIPPED, "np.clip(dtheta, -max_norm, max_norm)")),
    update("clipping without 10⁻⁶", "vW_xh", ("clipping", FACTOR, FACTOR.replace(" + SMALL", ""))),
    update("norm without the biases", "vW_xh", ("clipping", "in gradients if dtheta", "in gradients[:3] if dtheta")),
    update(
        "decoupled weight decay",
        "vW_xh",
        ("momentum", DECAYED, "g = dtheta"),
        ("momentum", "return g, None", "return g + decay * theta, None"),
        ("momentum", LOOK_AHEAD, LOOK_AHEAD + " + decay * theta"),
    ),
    update("dampening left out", "vW_xh", ("momentum", VELOCITY, VELOCITY.replace("(1 - tau) * ", ""))),
    update(
        "dampening at the first step too",
        "vW_xh",
        ("momentum", VELOCITY, VELOCITY.replace('g.copy("K")', "(1 - tau) * g")),
    ),
    update("velocity not damped by μ", "vW_xh", ("momentum", VELOCITY, VELOCITY.replace("mu * v", "v"))),
    update("nesterov forgotten", "W_xh", ("momentum", LOOK_AHEAD, "v")),
    update(
        "nesterov look-ahead added to the velocity",
        "W_xh",
        ("momentum", LOOK_AHEAD, LOOK_AHEAD.replace("g +", "v +")),
    ),
    # Adagrad.
    update("10⁻⁸ outside the root", "W_xh", ("momentum", "np.sqrt(v + TINY)", "(np.sqrt(v) + TINY)")),
    update("Adagrad without the root", "W_xh", ("momentum", "np.sqrt(v + TINY)", "(v + TINY)")),
    update(
        "step divided by the squares before it", "W_xh", ("momentum", "np.sqrt(v + TINY)", "np.sqrt(v - g * g + TINY)")
    ),
    update("sum of squares not kept", "vW_xh", ("momentum", SQUARED, "v = g * g")),
    update(
        "mean of the squares for their sum",
        "vW_xh",
        ("momentum", SQUARED, "v = g * g if v is None else (v + g * g) / 2"),
    ),
    update(
        "Adagrad in float32 inside float64",
        "vW_xh",
        ("momentum", SQUARED, f"{SQUARED.replace('g * g', 'np.float32(g) ** 2')}"),
    ),
    # The update.
    update(
        "learned initial state never updated",
        "h_0",
        ("sgd", "theta if delta_theta is None else", "theta if delta_theta is None or theta is params.h_0 else"),
    ),
    update("learning rate applied twice to W_hh", "W_hh", twice("W_hh")),
    update("a trained second hidden bias", "b_h", twice("b_h")),
    update("gradient ascent", "W_xh", ("sgd", STEP, STEP.replace("-", "+"))),
    # Visible in a run or an ensemble only.
    run(
        "learning rate inside the velocity",
        "vW_xh",
        ("tbptt", "shapes import series", "shapes import expand_to, series"),
        ("tbptt", DIRECTED, DIRECTED.replace("shortened", SCALED)),
        ("tbptt", STEPPED, "sgd_step(params, delta, np.ones_like(rate))"),
    ),
    run(
        "weight decay not scaled by the learning rate",
        "vW_xh",
        ("tbptt", DIRECTED, DIRECTED.replace("options", "options._replace(weight_decay=0.0)")),
        ("tbptt", STEPPED, DECAYED_APART),
    ),
    run(
        "clipping by value before the sum over time",
        "vW_xh",
        ("tbptt", "import window_gradients", "import weight_gradients, window_gradients"),
        ("tbptt", "import apply_clipping", "import apply_clipping, clamp"),
        ("tbptt", CLIPPED_AT_ONCE, CLIPPED_BY_STEP),
    ),
    run(
        "squares of the gradient before clipping",
        "vW_xh",
        ("tbptt", DIRECTED, UNCLIPPED_SQUARES),
    ),
    run("one norm for all networks of an ensemble", "vW_xh", ("clipping", OF_NETWORK, ".sum()")),
)
