"""A port of a PyTorch module with one nn.RNN or nn.RNNCell and one nn.Linear."""

import itertools
from collections import Counter
from typing import Any

from numpy_rnn.common.errors import InputError
from numpy_rnn.conformance.case import NamedArrays, loss_kind
from numpy_rnn.conformance.ports.abilities import shapes_of
from numpy_rnn.conformance.ports.adapter import ASSUMED, TRIAL, Adapter

MODULE_PARAMETERS = {"W_xh": "weight_ih", "W_hh": "weight_hh", "b_h": "bias_ih"}
CLASS_LOSSES = ("mean_cross_entropy", "cross_entropy")
# The names of the losses of PyTorch: of the mean, and of the sum.
TORCH_LOSSES = {
    "MSELoss": ("mse", "sum_of_squares"),
    "CrossEntropyLoss": CLASS_LOSSES,
    "NLLLoss": CLASS_LOSSES,
}
HARMLESS = (
    "RNN",
    "RNNCell",
    "Linear",
    "Identity",
    "Flatten",
    "LogSoftmax",
    "Sequential",
)
EXPECTED_MODULE = (
    "one nn.RNN or nn.RNNCell, of one layer, and one nn.Linear, both with "
    "biases or none"
)


class TorchPort(Adapter):
    """A port of a module with one nn.RNN or nn.RNNCell, of one layer, and one
    nn.Linear.

    The module gets x and the initial state, or x alone, and returns the outputs, of all
    steps or of the last one, or a tuple that begins with them. Whether x is (T, B, D)
    or (B, T, D), and the state (B, H) or (1, B, H), is tried on one case. A class or
    function that makes the module from D, H and O lets the sizes vary. The second
    hidden bias, bias_hh, is zero and not trained.

    Parameters
    ----------
    module : torch.nn.Module, or a callable of D, H and O that makes one
        A finished module is tested with its own sizes.
    loss : nn.MSELoss, nn.CrossEntropyLoss, nn.NLLLoss or callable, optional
        nn.NLLLoss for a module that ends with log_softmax; a callable of outputs and
        target needs a `loss_name`. By default the mean squared error.
    loss_name : str, optional
        One of the names of `function_port`.
    optimizer : callable, optional
        Called as torch.optim.SGD, which is the default. None: no step is checked.
    **stated
        As for `function_port`.

    Raises
    ------
    InputError
        By name, on anything else that the module, the loss or the optimizer has.

    Examples
    --------
    A module is wrapped in one line::

        port = torch_port(Model, torch.nn.MSELoss(), optimizer=torch.optim.SGD)
    """

    def __init__(
        self,
        module: Any,
        loss: Any = None,
        loss_name: str | None = None,
        optimizer: Any = "SGD",
        **stated: Any,
    ):
        import torch

        self.torch, is_module = torch, isinstance(module, torch.nn.Module)
        self.optimizer = torch.optim.SGD if optimizer == "SGD" else optimizer
        loss = (loss or torch.nn.MSELoss)() if isinstance(loss, type | None) else loss
        self.modules, self.loss_function = dict[tuple[int, ...], Any](), loss
        self.make = (lambda D, H, O: module) if is_module else module
        named = type(module) if is_module else module
        label = stated.pop("name", getattr(named, "__name__", "module"))
        _, rnn, out = self._parts(tuple(TRIAL[letter] for letter in "DHO"))
        fixed = {"D": rnn.input_size, "H": rnn.hidden_size, "O": out.out_features}
        if is_module:
            shapes = shapes_of(stated.get("sizes") or {})
            stated = stated | {"sizes": [dict(shape) | fixed for shape in shapes]}
        if loss_name is None or type(loss).__name__ in TORCH_LOSSES:
            loss_name = name_of_loss(label, loss)
        super().__init__(label, loss_name, rnn.nonlinearity, stated)
        if self.optimizer is not None:
            made = type(self.optimizer(rnn.parameters(), lr=0.5))
            if made is not torch.optim.SGD and made.__module__.startswith("torch."):
                raise InputError(
                    f"{label} has optim.{made.__name__}: expected torch.optim.SGD"
                )
            self.capabilities += ("sgd_options", "clip_by_value")
        trials = []
        for way in itertools.product(("TBD", "BTD"), ("BH", "1BH", "none")):
            fields = {"bias": rnn.bias, "K": 1, "no_h_0": way[1] == "none", **fixed}
            trials.append((" ".join(way), fields))
        is_right = self.find_way(trials)
        axes, state = self.way.split()
        if state == "none":  # a module that takes a state is tested with it
            for trial in reversed(self.possible):
                if trial.way.startswith(axes):
                    self.way = trial.way
        self.state(
            {"bias": not rnn.bias, "no biases": rnn.bias, "step": not self.optimizer}
        )
        self.state({"h_0": self.way.endswith("none"), "many losses": self.last_alone})
        axes, state = self.way.split()
        self.layout = f"({', '.join(axes)}) batches"
        assumed = "" if is_right else ASSUMED
        self.name += f" (x {axes}, state {state}{assumed})"

    def _parts(self, sizes: tuple[int, ...]) -> tuple[Any, Any, Any]:
        """Return the module of these sizes, its RNN and its nn.Linear."""
        nn = self.torch.nn
        if sizes not in self.modules:
            self.modules[sizes] = self.make(*sizes)
            if foreign := self._foreign_parts(self.modules[sizes]):
                name = type(self.modules[sizes]).__name__
                raise InputError(
                    f"{name} has {', '.join(foreign)}: expected {EXPECTED_MODULE}"
                )
        rnn, out = None, None
        for part in self.modules[sizes].modules():
            if rnn is None and isinstance(part, nn.RNN | nn.RNNCell):
                rnn = part
            if out is None and isinstance(part, nn.Linear):
                out = part
        return self.modules[sizes], rnn, out

    def _foreign_parts(self, module: Any) -> list[str]:
        """Return the names of the parts, but containers, losses and dropout of 0, that
        are none of ours.
        """
        layers = []
        for part in module.modules():
            is_known = type(part).__module__.startswith("torch.nn")
            if is_known and not (hasattr(part, "reduction") or any(part.children())):
                layers.append(part)
        kinds = Counter(type(p).__name__ for p in layers if getattr(p, "p", None) != 0)
        found = [f"nn.{kind}" for kind in kinds if kind not in HARMLESS]
        counts = {"nn.RNN or nn.RNNCell": kinds["RNN"] + kinds["RNNCell"]}
        counts["nn.Linear"] = kinds["Linear"]
        for words, count in counts.items():
            if count > 1:
                found.append(f"{count} {words}")
        for words, count in counts.items():
            if not (count or found):
                found.append(f"no {words}")
        biases = set()
        for part in layers:
            for name, usual in (("num_layers", 1), ("bidirectional", False)):
                value = getattr(part, name, usual)
                if value != usual:
                    found.append(f"{name}={value}")
            if hasattr(part, "bias"):
                biases.add(part.bias is None or part.bias is False)
        if len(biases) > 1:
            found.append("biases in one of the layers")
        return found

    def window_update(
        self,
        params: NamedArrays,
        x: Any,
        target: Any,
        h_0: Any,
        **options: Any,
    ) -> NamedArrays:
        """Return the loss, autograd's gradients, and the parameters after the
        optimizer's step.
        """
        torch = self.torch
        module, rnn, out = self._parts((*params["W_xh"].shape, params["W_hy"].shape[1]))
        module.to(getattr(torch, str(params["W_hh"].dtype))).train()
        suffix = "_l0" if isinstance(rnn, torch.nn.RNN) else ""
        every = {"W_hy": out.weight, "b_y": out.bias}
        for name, part in MODULE_PARAMETERS.items():
            every[name] = getattr(rnn, part + suffix, None)
        own = {name: every[name] for name in params}
        for name, theta in own.items():
            theta.data, theta.grad = torch.tensor(params[name].T).contiguous(), None
        if rnn.bias:
            getattr(rnn, "bias_hh" + suffix).data.zero_()
        axes, state = self.way.split()
        x, h_0 = torch.tensor(x), torch.tensor(h_0)
        states = {"BH": (h_0,), "1BH": (h_0[None],), "none": ()}[state]
        y = module(x if axes == "TBD" else x.transpose(0, 1), *states)
        y = y[0] if isinstance(y, tuple) else y
        self.last_alone = y.ndim == 2
        if self.last_alone:
            y = y[None]
        elif axes == "BTD":
            y = y.transpose(0, 1)
        y, target = y[-len(target) :], torch.tensor(target)
        if loss_kind(self.objective).has_classes:  # whose classes are the second axis
            y, target = y.flatten(0, 1), target.flatten(0, 1)
        loss = self.factor * self.loss_function(y, target)
        loss.backward()
        report = {"loss": loss}
        for name, theta in own.items():
            report["d" + name] = theta.grad.clone()
        if "learning_rate" in options:
            report.update(self._step(own, options))
        return {name: array.detach().numpy().T.copy() for name, array in report.items()}

    def _step(self, own: dict[str, Any], options: dict[str, Any]) -> Any:
        """Return the parameters after the optimizer's step, and the velocities if there
        are any.
        """
        torch = self.torch
        if options.get("max_norm") is not None:
            torch.nn.utils.clip_grad_norm_(own.values(), options["max_norm"])
        elif options.get("max_value") is not None:
            torch.nn.utils.clip_grad_value_(own.values(), options["max_value"])
        names = ("momentum", "dampening", "nesterov", "weight_decay")
        used = {name: options[name] for name in names if options.get(name)}
        optimizer = self.optimizer(own.values(), lr=options["learning_rate"], **used)
        for name, v in (options.get("velocity") or {}).items():
            buffer = torch.tensor(v.T).contiguous()
            optimizer.state[own[name]]["momentum_buffer"] = buffer
        optimizer.step()
        after = dict(own)
        if options.get("momentum"):
            for name, theta in own.items():
                after["v" + name] = optimizer.state[theta]["momentum_buffer"]
        return after


def name_of_loss(label: str, loss: Any) -> str:
    """Return the name of a loss of torch.nn. Raises InputError if it is another one, or
    has options.
    """
    kind = type(loss).__name__
    if kind not in TORCH_LOSSES:
        expected = f"expected nn.{', nn.'.join(TORCH_LOSSES)}"
        raise InputError(
            f"{label}: the loss {kind} is not known: {expected}, or a function with "
            "its loss_name"
        )
    no_class = min(-1, getattr(loss, "ignore_index", -1))
    usual = {"weight": None, "label_smoothing": 0.0, "ignore_index": no_class}
    for name, value in usual.items():
        if getattr(loss, name, value) != value:
            raise InputError(
                f"{label}: the loss {kind} has the option {name}: expected none"
            )
    mean, total = TORCH_LOSSES[kind]
    return total if loss.reduction == "sum" else mean
