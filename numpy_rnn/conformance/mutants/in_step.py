"""Mistakes in the step: clipping, weight decay, momentum, SGD."""

from numpy_rnn.conformance.mutants.mistake import run, update

# Lines of numpy_rnn that several mistakes change.
DECAYED = "d = dtheta + decay * theta if decay else dtheta"
DIRECTION = "s, velocity = direction(params, gradients, velocity, **of_direction)"
FACTOR = "np.minimum(1, float(max_norm) / (global_norm(gradients) + SMALL))"
LOOK_AHEAD = "(d + mu * v if nesterov else v)"
OF_NETWORK = ".sum(axis=tuple(range(E, dtheta.ndim)))"
PLAIN = "if options == SgdOptions() and params.h_0 is None:"
RATE, RATES = "stepped(theta, s_theta, beside(rate, theta))", "None if theta is None else beside(rate, theta)"
STEP = "subtract(theta, multiply(rate, s, into), into)"
VELOCITY = 'v = d.copy("K") if v is None else mu * v + (1 - tau) * d'

# What stands in their place.
LATE_DECAY = """decay = of_direction["weight_decay"]
        s, velocity = direction(params, gradients, velocity, **of_direction | {"weight_decay": 0})
        params = Parameters(*(theta if theta is None else (1 - decay) * theta for theta in params))"""
ONE_TENSOR = "global_norm(type(gradients)(dtheta, gradients.W_hh[..., :0], None))"
PER_TENSOR = FACTOR.replace("global_norm(gradients)", ONE_TENSOR)
RATE_INSIDE = """gradients = type(gradients)(*(d if d is None else learning_rate * d for d in gradients))
        s, velocity = direction(params, gradients, velocity, **of_direction)"""
TWICE = "(2 if theta is params.{} else 1) * beside("


def twice(name):
    """η twice for one parameter, which then is not stepped together with the others."""
    changed = TWICE.format(name)
    return (
        ("sgd", RATE, RATE.replace("beside(", changed)),
        ("sgd", RATES, RATES.replace("beside(", changed)),
        ("sgd", PLAIN, "if False:"),
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
        ("sgd", "if s_theta is not None:", "if s_theta is not None and theta is not params.h_0:"),
    ),
    update("learning rate applied twice to W_hh", "W_hh", *twice("W_hh")),
    update("a trained second hidden bias", "b_h", *twice("b_h")),
    update("the gradient is climbed", "W_xh", ("sgd", STEP, STEP.replace("subtract", "np.add"))),
    # Where only a run, or an ensemble, shows it.
    run("learning rate inside the velocity", "vW_xh", ("sgd", DIRECTION, RATE_INSIDE)),
    run("weight decay not times the learning rate", "vW_xh", ("sgd", DIRECTION, LATE_DECAY)),
    run("clipping over all networks together", "vW_xh", ("clipping", OF_NETWORK, ".sum()")),
)
