"""Mistakes in the step: clipping, weight decay, momentum, SGD."""

from numpy_rnn.conformance.mutants.mistake import run, update

# Lines of the reference that several mistakes change.
CLIPPED = "expand_to(factor, dtheta) * dtheta"
DECAYED = "d = dtheta + decay * theta if decay else dtheta"
DIRECTED = "directed(params, shortened, velocity, options)"
FACTOR = "np.minimum(1, float(max_norm) / (norm(gradients) + SMALL))"
LOOK_AHEAD = "(d + mu * v if nesterov else v)"
OF_NETWORK = ".sum(axis=tuple(range(E, dtheta.ndim)))"
STEP = "theta - expand_to(rate, theta) * s_theta"
STEPPED = "sgd_step(params, s, rate)"
VELOCITY = 'v = d.copy("K") if v is None else mu * v + (1 - tau) * d'

# What is written instead.
BY_TENSOR = FACTOR.replace("norm(gradients)", "root_of_squares([dtheta], gradients.W_hh.ndim - 2)")
DECAYED_APART = "sgd_step(type(params)(*(t if t is None else (1 - options.weight_decay) * t for t in params)), s, rate)"
SCALED = "type(gradients)(*(d if d is None else expand_to(rate, d) * d for d in shortened))"


def twice(name):
    """η twice for one parameter."""
    return "sgd", STEP, STEP.replace("expand_to", f"(2 if theta is params.{name} else 1) * expand_to")


MISTAKES = (
    # Clipping, weight decay, momentum.
    update("float32 norm inside float64", "vW_xh", ("clipping", "np.square(dtheta)", "np.square(np.float32(dtheta))")),
    update("clipping by tensor", "vW_xh", ("clipping", CLIPPED, CLIPPED.replace("factor", BY_TENSOR))),
    update("short gradients lengthened", "vW_xh", ("clipping", FACTOR, "float(max_norm) / (norm(gradients) + SMALL)")),
    update(
        "clipping by the norm squared",
        "vW_xh",
        ("clipping", "np.sqrt(reduce(np.add, squares))", "reduce(np.add, squares)"),
    ),
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
    ),
    update("learning rate applied twice to W_hh", "W_hh", twice("W_hh")),
    update("a trained second hidden bias", "b_h", twice("b_h")),
    update("the gradient is climbed", "W_xh", ("sgd", STEP, STEP.replace("-", "+"))),
    # Where only a run, or an ensemble, shows it.
    run(
        "learning rate inside the velocity",
        "vW_xh",
        ("tbptt", "shapes import with", "shapes import expand_to, with"),
        ("tbptt", DIRECTED, DIRECTED.replace("shortened", SCALED)),
        ("tbptt", STEPPED, "sgd_step(params, s, np.ones_like(rate))"),
    ),
    run(
        "weight decay not times the learning rate",
        "vW_xh",
        ("tbptt", DIRECTED, DIRECTED.replace("options", "options._replace(weight_decay=0.0)")),
        ("tbptt", STEPPED, DECAYED_APART),
    ),
    run("clipping over all networks together", "vW_xh", ("clipping", OF_NETWORK, ".sum()")),
)
