"""The step from the gradient to the parameters by PyTorch itself: torch.optim.SGD and clip_grad_norm_."""

import numpy as np

from numpy_rnn.study.checks.autograd import check_torch
from numpy_rnn.study.checks.comparing import Witnessed, whole
from numpy_rnn.study.checks.descent import Descent
from numpy_rnn.study.checks.problem import present


def optimizer(descent: Descent) -> dict[str, Witnessed]:
    """The stages that PyTorch shows: the norm, clipped gradients, the velocity, and the new parameters.

    d shows in the velocity of the first update, which is d; s only in what the parameters become. Raises InputError
    where PyTorch is not installed.
    """
    check_torch()
    import torch

    options = descent.case.sgd._asdict()
    max_norm, _ = options.pop("max_norm"), options.pop("max_value")
    params = {name: torch.tensor(v).requires_grad_() for name, v in present(descent.case.params).items()}
    for name, gradient in present(descent.gradients).items():
        params[name].grad = torch.tensor(gradient)
    limit = np.inf if max_norm is None else max_norm  # no gradient is longer than infinity
    found = {"n": torch.nn.utils.clip_grad_norm_(params.values(), limit)}
    if max_norm is not None:
        found["clipped"] = _row(theta.grad for theta in params.values())
    sgd = torch.optim.SGD(params.values(), lr=float(descent.case.learning_rate), **options)
    if descent.case.velocity is not None:
        for name, v in present(descent.case.velocity).items():
            sgd.state[params[name]]["momentum_buffer"] = torch.tensor(v)
    sgd.step()
    if options["momentum"]:
        found["v"] = _row(sgd.state[theta]["momentum_buffer"] for theta in params.values())
        if descent.case.velocity is None:
            found["d"] = found["v"]
    found["theta"] = _row(theta.detach() for theta in params.values())
    return {name: whole(v.numpy()) for name, v in found.items()}


def _row(tensors):
    import torch

    return torch.cat([v.ravel() for v in tensors])
