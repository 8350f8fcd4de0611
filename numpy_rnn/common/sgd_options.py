"""The options of SGD, beside its learning rate; named and meant as in torch.optim.SGD and clip_grad_norm_."""

from math import inf
from typing import NamedTuple

from numpy_rnn.common.errors import InputError
from numpy_rnn.common.scalars import check_flag, check_number


class SgdOptions(NamedTuple):
    """Plain gradient descent is the default."""

    momentum: float = 0.0  # μ
    dampening: float = 0.0  # τ
    nesterov: bool = False
    weight_decay: float = 0.0  # λ
    max_norm: float | None = None  # of the gradient of each network; None: no clipping

    def check(self) -> "SgdOptions":
        """The same as plain numbers. Raises InputError on values that no step can have."""
        for name, value in (("momentum", self.momentum), ("weight decay", self.weight_decay)):
            check_number(name, value, 0, "a finite number, 0 or more")
        check_number("dampening", self.dampening, -inf, "a finite number, usually from 0 to 1")
        if self.max_norm is not None:
            expected = "a finite number above 0, or None for no clipping"
            check_number("max norm", self.max_norm, 0, expected)
            if self.max_norm == 0:
                raise InputError(f"max norm is {self.max_norm}: expected {expected}")
        check_flag("nesterov", self.nesterov)
        if self.nesterov and (self.momentum == 0 or self.dampening != 0):
            raise InputError(
                f"nesterov with momentum {self.momentum} and dampening {self.dampening}: expected a momentum above 0"
                " and no dampening"
            )
        max_norm = None if self.max_norm is None else float(self.max_norm)
        return SgdOptions(
            float(self.momentum), float(self.dampening), self.nesterov, float(self.weight_decay), max_norm
        )
