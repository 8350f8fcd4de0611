"""Ports of PyTorch modules with an nn.RNN or nn.RNNCell and an nn.Linear, whose gradients are autograd's."""

import itertools
from collections.abc import Iterator
from typing import Any, TypeAlias

from numpy_rnn.common.errors import InputError
from numpy_rnn.conformance.adapters.adapter import Adapter, Report, refuse

Module: TypeAlias = Any  # of torch, which is imported where a port is made
NAMES = {"W_xh": "weight_ih", "W_hh": "weight_hh", "b_h": "bias_ih", "b_hh": "bias_hh"}
OPTIONS = ("momentum", "dampening", "nesterov", "weight_decay")
LOSSES = {"MSELoss": ("mse", "sum_of_squares"), **dict.fromkeys(
    ("CrossEntropyLoss", "NLLLoss"), ("mean_cross_entropy", "cross_entropy"))}  # fmt: skip
HARMLESS = ("RNN", "RNNCell", "Linear", "Identity", "Flatten", "LogSoftmax")
EXPECTED = "one nn.RNN or nn.RNNCell, of one layer, and one nn.Linear, both with biases or none"


class TorchPort(Adapter):
    """A port of a module with one nn.RNN or nn.RNNCell, of one layer, and one nn.Linear.

    The module is called with x and the initial state, or with x alone, and returns the outputs, of all steps or of the
    last one, or a tuple that begins with them. Whether x is (T, B, D) or (B, T, D), the state (B, H) or (1, B, H), is
    tried on one case. In place of a module, a class or function that makes it from D, H and O lets the sizes vary.

    loss: an nn.MSELoss, an nn.CrossEntropyLoss, an nn.NLLLoss of a module that ends with log_softmax, or any function
    of outputs and target that is named in `loss_name`. optimizer: called as torch.optim.SGD; None: no step is checked.
    Raises InputError, by name, on anything else that the module, the loss or the optimizer has.
    """

    def __init__(
        self, module: Any, loss: Any = None, loss_name: str | None = None, optimizer: Any = "SGD"
    ):
        import torch

        self.torch, is_module = torch, isinstance(module, torch.nn.Module)
        self.modules = dict[tuple[int, ...], Module]()
        self.optimizer = torch.optim.SGD if optimizer == "SGD" else optimizer
        loss = torch.nn.MSELoss if loss is None else loss
        self.loss_function = loss() if isinstance(loss, type) else loss
        self.make = (lambda D, H, O: module) if is_module else module
        self.label = type(module).__name__ if is_module else module.__name__
        module, rnn, out = self._parts((3, 4, 6))
        fixed = {"D": rnn.input_size, "H": rnn.hidden_size, "O": out.out_features}
        if not is_module and fixed != {"D": 3, "H": 4, "O": 6}:
            raise InputError(
                f"{self.label}(3, 4, 6) has the sizes {fixed}: expected D=3, H=4, O=6; or give a module"
            )
        kinds, sizes = ("float32", "float64"), [fixed] if is_module else []
        super().__init__(self.label, self._loss_name(loss_name), rnn.nonlinearity, kinds, sizes)
        if self.optimizer is not None:
            refuse(
                self.label,
                self._foreign_options(rnn),
                "torch.optim.SGD without options, which the suite chooses",
            )
        self.capabilities += ("two_biases",) * rnn.bias + ("sgd_options", "clip_by_value") * bool(
            self.optimizer
        )
        takes_classes = type(self.loss_function).__name__ == "NLLLoss"
        fields = {
            "bias": rnn.bias,
            "two_biases": rnn.bias,
            "K": 1,
            "classes": takes_classes,
            **fixed,
        }
        ways = itertools.product(("TBD", "BTD"), ("BH", "1BH", "none"))
        self.find_way((way, fields | {"no_h_0": way[1] == "none"}) for way in ways)
        if self.objective.loss == "cross_entropy" and fixed["O"] > 1:
            self._check_outputs(takes_classes)
        self.state(
            bias=not rnn.bias,
            no_biases=rnn.bias,
            step=not self.optimizer,
            h_0=self.way[1] == "none",
        )
        self.state(many_losses=self.last_alone, distributions=takes_classes)
        self.name += f" (x {self.way[0]}, state {self.way[1]})"

    def _loss_name(self, loss_name: str | None) -> str | None:
        """The name of the loss; refuses options that change it."""
        loss, kind = self.loss_function, type(self.loss_function).__name__
        if kind not in LOSSES:
            if loss_name is None:
                expected = (
                    f"expected an nn.{', nn.'.join(LOSSES)}, or a function with its loss_name"
                )
                raise InputError(f"{self.label}: the loss {kind} is not known: {expected}")
            return loss_name
        usual = {"weight": None, "ignore_index": -100, "label_smoothing": 0.0}
        changed = [name for name, value in usual.items() if getattr(loss, name, value) != value]
        changed += ["reduction='none'"] * (loss.reduction == "none")
        refuse(f"{self.label}: {kind}", changed, "a mean or a sum, without options")
        return LOSSES[kind][loss.reduction == "sum"]

    def _foreign_options(self, rnn: Module) -> list[str]:
        """Names of what the optimizer has and plain SGD does not; one of the user's own may have any name."""
        optim = self.torch.optim
        if not callable(self.optimizer):
            return [f"an optimizer that is made already, {type(self.optimizer).__name__}"]
        made = self.optimizer(rnn.parameters(), lr=0.5)
        if type(made).__module__.startswith("torch.") and type(made) is not optim.SGD:
            return [f"optim.{type(made).__name__}"]
        return [
            f"{name}={value}"
            for name, value in made.defaults.items()
            if name in (*OPTIONS, "maximize") and value
        ]

    def _check_outputs(self, takes_logarithms: bool) -> None:
        """Raise InputError unless the outputs of the trial are what the loss takes."""
        y = self.outputs
        if takes_logarithms and ((y.exp().sum(-1) - 1).abs() > 1e-3).any():
            raise InputError(
                f"{self.label} does not return log_softmax of its outputs, which nn.NLLLoss takes"
            )
        if (y >= 0).all() and ((y.sum(-1) - 1).abs() < 1e-3).all():
            refuse(self.label, ["a Softmax before the loss"], "the outputs of nn.Linear")

    def _parts(self, sizes: tuple[int, ...]) -> tuple[Module, Module, Module]:
        """The module of these sizes, its RNN and its nn.Linear."""
        nn = self.torch.nn
        if sizes not in self.modules:
            self.modules[sizes] = self.make(*sizes)
            refuse(self.label, self._foreign_parts(self.modules[sizes]), EXPECTED)
        module = self.modules[sizes]
        rnn = next(part for part in module.modules() if isinstance(part, nn.RNN | nn.RNNCell))
        return module, rnn, next(part for part in module.modules() if isinstance(part, nn.Linear))

    def _foreign_parts(self, module: Module) -> Iterator[str]:
        """Names of the parts of a module that the definition does not have."""
        nn, parts = self.torch.nn, list(module.modules())
        cells = [part for part in parts if isinstance(part, nn.RNN | nn.RNNCell)]
        outputs = [part for part in parts if isinstance(part, nn.Linear)]
        foreign = [part for part in parts if self._is_foreign(part)]
        yield from (f"nn.{type(part).__name__}" for part in foreign)
        for kind, found in (("nn.RNN or nn.RNNCell", cells), ("nn.Linear", outputs)):
            if len(found) > 1 or not (found or foreign):
                yield f"{len(found) or 'no'} {kind}"
        for rnn in cells:
            options = {"num_layers": 1, "bidirectional": False}
            yield from (
                f"{name}={getattr(rnn, name)}"
                for name, v in options.items()
                if getattr(rnn, name, v) != v
            )
        if cells and outputs and cells[0].bias != (outputs[0].bias is not None):
            yield f"bias={cells[0].bias} in its RNN alone"
        for part in parts:
            for name, parameter in part.named_parameters(recurse=False):
                if part not in (*cells, *outputs, *foreign):
                    yield f"the parameter {name}"
                elif not parameter.requires_grad:
                    yield f"{name} without a gradient"

    def _is_foreign(self, part: Module) -> bool:
        """Whether the definition has no such module. What its user wrote is tried."""
        kind, nn = type(part).__name__, self.torch.nn
        if (
            kind in HARMLESS
            or getattr(part, "p", None) == 0
            or isinstance(part, nn.modules.loss._Loss)
        ):
            return False
        is_container = any(part.children()) or isinstance(
            part, nn.Sequential | nn.ModuleList | nn.ModuleDict
        )
        return type(part).__module__.startswith("torch.") and not is_container

    def window_update(
        self, params: Report, x: Any, target: Any, h_0: Any, *, learning_rate: float | None = None,
        velocity: Report | None = None,
        max_norm: float | None = None, max_value: float | None = None, **options: Any,
    ) -> Report:  # fmt: skip
        """The loss, autograd's gradients, and the parameters after the optimizer's step."""
        torch = self.torch
        module, rnn, out = self._parts((*params["W_xh"].shape, params["W_hy"].shape[1]))
        module.to(getattr(torch, str(params["W_hh"].dtype))).train()
        own = {
            name: getattr(rnn, part + "_l0" * isinstance(rnn, torch.nn.RNN))
            for name, part in NAMES.items()
        }
        own = {name: (own | {"W_hy": out.weight, "b_y": out.bias})[name] for name in params}
        for name, theta in own.items():
            theta.data, theta.grad = torch.tensor(params[name].T).contiguous(), None
        (axes, state), x, h_0 = self.way, torch.tensor(x), torch.tensor(h_0)
        states = {"BH": (h_0,), "1BH": (h_0[None],), "none": ()}[state]
        y = module(x if axes == "TBD" else x.transpose(0, 1), *states)
        y = y[0] if isinstance(y, tuple) else y
        self.last_alone, self.outputs = y.ndim == 2, y.detach()
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
                report |= {
                    "v" + name: optimizer.state[theta]["momentum_buffer"]
                    for name, theta in own.items()
                }
        return {name: array.detach().numpy().T.copy() for name, array in report.items()}
