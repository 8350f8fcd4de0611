"""The options of SGD, beside its learning rate; named and meant as in torch.optim.SGD and clip_grad_norm_."""

from math import inf, isfinite
from typing import NamedTuple

from numpy_rnn.common.errors import InputError


class SgdOptions(NamedTuple):
    """Plain gradient descent is the default."""

    momentum: float = 0.0  # μ
    dampening: float = 0.0  # τ
    nesterov: bool = False
    weight_decay: float = 0.0  # λ
    max_norm: float | None = None  # of the gradient of each network; None: no clipping

    def check(self) -> "SgdOptions":
        """Itself. Raises InputError on values that no step can have."""
        for name, value in (("momentum", self.momentum), ("weight decay", self.weight_decay)):
            if not 0 <= value < inf:
                raise InputError(f"{name} is {value}: expected a finite number, 0 or more")
        if not isfinite(self.dampening):
            raise InputError(f"dampening is {self.dampening}: expected a finite number, usually from 0 to 1")
        if self.max_norm is not None and not 0 < self.max_norm < inf:
            raise InputError(f"max norm is {self.max_norm}: expected a finite number above 0, or None for no clipping")
        if self.nesterov and (self.momentum == 0 or self.dampening != 0):
            raise InputError(
                f"nesterov with momentum {self.momentum} and dampening {self.dampening}: expected a momentum above 0"
                " and no dampening"
            )
        return self
