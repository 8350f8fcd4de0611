"""Ports of PyTorch modules with an nn.RNN or nn.RNNCell and an nn.Linear, whose gradients are autograd's."""

import itertools
from typing import Any

from numpy_rnn.common.errors import InputError
from numpy_rnn.conformance.adapters.adapter import Adapter

NAMES = {"W_xh": "weight_ih", "W_hh": "weight_hh", "b_h": "bias_ih", "b_hh": "bias_hh"}
OPTIONS = ("momentum", "dampening", "nesterov", "weight_decay")
MEANS = {"MSELoss": ("mse", "sum_of_squares"), "CrossEntropyLoss": ("mean_cross_entropy", "cross_entropy")}


class TorchPort(Adapter):
    """A port of a module with one nn.RNN or nn.RNNCell, of one layer, and one nn.Linear.

    The module is called with x and the initial state, or with x alone, and returns the outputs, of all steps or of the
    last one, or a tuple that begins with them. Whether x is (T, B, D) or (B, T, D), the state (B, H) or (1, B, H), is
    tried on one case. In place of a module, a class or function that makes it from D, H and O lets the sizes vary.

    loss: an nn.MSELoss or nn.CrossEntropyLoss, or any function of outputs and target that is named in `loss_name`.
    optimizer: called as torch.optim.SGD; None: no step is checked. Raises InputError on a module with other parts.
    """

    def __init__(self, module: Any, loss: Any = None, loss_name: str | None = None, optimizer: Any = "SGD"):
        import torch

        self.torch, self.modules, is_module = torch, dict[Any, Any](), isinstance(module, torch.nn.Module)
        self.optimizer = torch.optim.SGD if optimizer == "SGD" else optimizer
        self.loss_function = loss or torch.nn.MSELoss()
        known = MEANS.get(type(self.loss_function).__name__)
        loss_name = known[self.loss_function.reduction == "sum"] if known else loss_name
        self.make = (lambda D, H, O: module) if is_module else module
        _, rnn, out = self._parts((3, 4, 6))
        name = type(module).__name__ if is_module else module.__name__
        fixed = {"D": rnn.input_size, "H": rnn.hidden_size, "O": out.out_features}
        super().__init__(name, loss_name, rnn.nonlinearity, ("float32", "float64"), [fixed] if is_module else [])
        self.capabilities += ("two_biases",) * rnn.bias + ("sgd_options", "clip_by_value") * bool(self.optimizer)
        fields = {"bias": rnn.bias, "two_biases": rnn.bias, "K": 1, **fixed}
        ways = itertools.product(("TBD", "BTD"), ("BH", "1BH", "none"))
        self.find_way((way, fields | {"no_h_0": way[1] == "none"}) for way in ways)
        self.state(bias=not rnn.bias, no_biases=rnn.bias, step=not self.optimizer, h_0=self.way[1] == "none")
        self.state(many_losses=self.last_alone)
        self.name += f" (x {self.way[0]}, state {self.way[1]})"

    def _parts(self, sizes: tuple[int, ...]) -> tuple[Any, Any, Any]:
        """The module of these sizes, its RNN and its nn.Linear."""
        nn = self.torch.nn
        module = self.modules[sizes] = self.modules.get(sizes) or self.make(*sizes)
        parts = [part for part in module.modules() if type(part) in (nn.RNN, nn.RNNCell, nn.Linear)]
        parts.sort(key=lambda part: type(part) is nn.Linear)
        if [type(part) is nn.Linear for part in parts] != [False, True] or parts[0].bias != (parts[1].bias is not None):
            expected = "expected one nn.RNN or nn.RNNCell and one nn.Linear, both with biases or none"
            raise InputError(f"{type(module).__name__}: {expected}")
        return module, *parts

    def window_update(
        self, params: Any, x: Any, target: Any, h_0: Any, *, learning_rate: Any = None, velocity: Any = None,
        max_norm: float | None = None, max_value: float | None = None, **options: Any,
    ) -> Any:  # fmt: skip
        """The loss, autograd's gradients, and the parameters after the optimizer's step."""
        torch = self.torch
        module, rnn, out = self._parts((*params["W_xh"].shape, params["W_hy"].shape[1]))
        module.to(getattr(torch, str(params["W_hh"].dtype)))
        own = {name: getattr(rnn, part + "_l0" * (type(rnn) is torch.nn.RNN)) for name, part in NAMES.items()}
        own = {name: (own | {"W_hy": out.weight, "b_y": out.bias})[name] for name in params}
        for name, theta in own.items():
            theta.data, theta.grad = torch.tensor(params[name].T).contiguous(), None
        (axes, state), x, h_0 = self.way, torch.tensor(x), torch.tensor(h_0)
        states = {"BH": (h_0,), "1BH": (h_0[None],), "none": ()}[state]
        y = module(x if axes == "TBD" else x.transpose(0, 1), *states)
        y = y[0] if isinstance(y, tuple) else y
        self.last_alone = y.ndim == 2
        y = y[None] if self.last_alone else y if axes == "TBD" else y.transpose(0, 1)
        y, target = y[-len(target) :], torch.tensor(target)
        if self.objective.loss == "cross_entropy":  # whose classes are the second axis
            y, target = y.flatten(0, 1), target.flatten(0, 1)
        loss = self.factor * self.loss_function(y, target)
        loss.backward()
        report = {"loss": loss} | {"d" + name: theta.grad.clone() for name, theta in own.items()}
        if learning_rate is not None:
            if max_norm is not None:
                torch.nn.utils.clip_grad_norm_(own.values(), max_norm)
            elif max_value is not None:
                torch.nn.utils.clip_grad_value_(own.values(), max_value)
            used = {name: options[name] for name in OPTIONS if options.get(name)}
            optimizer = self.optimizer(own.values(), lr=learning_rate, **used)
            for name, v in (velocity or {}).items():
                optimizer.state[own[name]]["momentum_buffer"] = torch.tensor(v.T).contiguous()
            optimizer.step()
            report |= own
            if options.get("momentum"):
                report |= {"v" + name: optimizer.state[theta]["momentum_buffer"] for name, theta in own.items()}
        return {name: array.detach().numpy().T.copy() for name, array in report.items()}
