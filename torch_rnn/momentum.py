"""Weight decay and momentum (DERIVATION.md, section 6)."""

import torch

from numpy_rnn.common.records import SgdOptions
from numpy_rnn.common.shapes import check_like
from torch_rnn.parameters import ARRAYS, Gradients

NONE = Gradients(None, None, None)


@torch.no_grad()
def direction(
    params, gradients, velocity=None, *, momentum=0.0, dampening=0.0, nesterov=False, weight_decay=0.0
) -> tuple[Gradients, Gradients | None]:
    """The direction s that `sgd` steps against, and the velocity v, to be passed in the next time.

        d = dθ + λ θ                                                     (U4)
        v ← μ v + (1 − τ) d, at a parameter's first time v ← d           (U5)
        s = d without momentum, with it v, or d + μ v under nesterov     (U6)

    momentum: μ, dampening: τ, weight_decay: λ, numbers that are rounded to the parameters' dtype. velocity: what the
    previous call returned, None in the first. A parameter without a gradient has no direction, and its velocity does
    not change. Returns new Gradients; the velocity is None without momentum.

    Raises InputError on options that torch.optim.SGD would refuse, and on gradients or a velocity of other shapes or
    dtypes than the parameters. NaN is not an error: it spreads, as in torch.optim.SGD.
    Source: torch.optim.SGD; Sutskever, Martens, Dahl and Hinton 2013.
    """
    options = SgdOptions(momentum, dampening, nesterov, weight_decay).check()
    ARRAYS.parameters(params, both_biases=False)
    ARRAYS.like_parameters("gradient", gradients)
    check_like(params, "gradient", gradients)
    if velocity is not None:
        ARRAYS.like_parameters("velocity", velocity)
        enters = velocity if params.h_0 is not None else velocity._replace(h_0=None)  # which stays as it is
        check_like(params, "velocity", enters)
    return directed(params, gradients, velocity, options)


@torch.no_grad()
def directed(params, gradients, velocity, options):
    """`direction` without its checks."""
    triples = zip(params, gradients, velocity or NONE)
    pairs = [_direction(theta, dtheta, v, options) for theta, dtheta, v in triples]
    s, v = (Gradients(*values) for values in zip(*pairs))
    return s, v if options.momentum else None


def _direction(theta, dtheta, v, options):
    """The direction and the velocity of one parameter."""
    if dtheta is None:
        return None, v
    mu, tau, nesterov, decay, _ = options
    d = dtheta + decay * theta if decay else dtheta  # (U4)
    if not mu:
        return d, None
    v = d.clone() if v is None else mu * v + (1 - tau) * d  # (U5)
    return (d + mu * v if nesterov else v), v  # (U6)
