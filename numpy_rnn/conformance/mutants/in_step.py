"""Mistakes in the step: clipping, weight decay, momentum, SGD."""

from numpy_rnn.conformance.mutants.mistake import run, update

# Lines of numpy_rnn that several mistakes change.
DECAYED = "d = dtheta + decay * theta if decay else dtheta"
DIRECT = "s, velocity = direct(params, gradients, velocity)"
FACTOR = "np.minimum(1, float(max_norm) / (norm(gradients) + SMALL))"
LOOK_AHEAD = "(d + mu * v if nesterov else v)"
OF_NETWORK = ".sum(axis=tuple(range(E, dtheta.ndim)))"
RATE = "beside(rate, theta))"
STEP = "subtract(theta, multiply(rate, s, into), into)"
UPDATED = "vector, params = after, updated"
VELOCITY = 'v = d.copy("K") if v is None else mu * v + (1 - tau) * d'

# What stands in their place.
HALTED = f"""if params.h_0 is not None:
                updated.h_0[...] = params.h_0
            {UPDATED}"""
LATE_DECAY = f"""{DIRECT}
                decayed = (theta if theta is None else (1 - direct.decay) * theta for theta in params)
                params = type(params)(*decayed)"""
ONE_TENSOR = "norm(type(gradients)(dtheta, gradients.W_hh[..., :0], None))"
PER_TENSOR = FACTOR.replace("norm(gradients)", ONE_TENSOR)
RATE_INSIDE = """scaled = (dtheta if dtheta is None else beside(rate, dtheta) * dtheta for dtheta in gradients)
                s, velocity = direct(params, type(gradients)(*scaled), velocity)"""
RUN_TWICE = f"""if params.{{0}} is not None:
                updated.{{0}}[...] += updated.{{0}} - params.{{0}}
            {UPDATED}"""


def twice(name):
    """η twice for one parameter."""
    return (
        ("sgd", RATE, f"(2 if theta is params.{name} else 1) * {RATE}"),
        ("updates", UPDATED, RUN_TWICE.format(name)),
    )


MISTAKES = (
    # Clipping, weight decay, momentum.
    update("float32 norm inside float64", "vW_xh", ("clipping", "np.square(dtheta)", "np.square(np.float32(dtheta))")),
    update("clipping by tensor", "vW_xh", ("clipping", "beside(factor, dtheta)", f"beside({PER_TENSOR}, dtheta)")),
    update(
        "short gradients lengthened", "vW_xh", ("clipping", FACTOR, FACTOR.replace("np.minimum(1, ", "np.asarray("))
    ),
    update("clipping by the norm squared", "vW_xh", ("clipping", "np.sqrt(sum(", "np.asarray(sum(")),
    update("norm of the weights alone", "vW_xh", ("clipping", "in gradients if dtheta", "in gradients[:3] if dtheta")),
    update(
        "decoupled weight decay, beside the velocity",
        "vW_xh",
        ("momentum", DECAYED, "d = dtheta"),
        ("momentum", "return d, None", "return d + decay * theta, None"),
        ("momentum", LOOK_AHEAD, LOOK_AHEAD + " + decay * theta"),
    ),
    update("dampening left out", "vW_xh", ("momentum", VELOCITY, VELOCITY.replace("(1 - tau) * ", ""))),
    update(
        "dampening at the first step too",
        "vW_xh",
        ("momentum", VELOCITY, VELOCITY.replace('d.copy("K")', "(1 - tau) * d")),
    ),
    update("velocity not damped by μ", "vW_xh", ("momentum", VELOCITY, VELOCITY.replace("mu * v", "v"))),
    update("nesterov forgotten", "W_xh", ("momentum", LOOK_AHEAD, "v")),
    update(
        "nesterov beside the velocity, not the gradient",
        "W_xh",
        ("momentum", LOOK_AHEAD, LOOK_AHEAD.replace("d +", "v +")),
    ),
    # The update.
    update(
        "learned state never moves",
        "h_0",
        ("sgd", "theta if s_theta is None else", "theta if s_theta is None or theta is params.h_0 else"),
        ("updates", UPDATED, HALTED),
    ),
    update("learning rate applied twice to W_hh", "W_hh", *twice("W_hh")),
    update("a trained second hidden bias", "b_h", *twice("b_h")),
    update("the gradient is climbed", "W_xh", ("sgd", STEP, STEP.replace("subtract", "np.add"))),
    # Where only a run, or an ensemble, shows it.
    run("learning rate inside the velocity", "vW_xh", ("updates", DIRECT, RATE_INSIDE)),
    run(
        "weight decay not times the learning rate",
        "vW_xh",
        ("sgd", "\n    return direct\n", "\n    direct.decay = of_direction.pop('weight_decay')\n    return direct\n"),
        ("updates", DIRECT, LATE_DECAY),
    ),
    run("clipping over all networks together", "vW_xh", ("clipping", OF_NETWORK, ".sum()")),
)
