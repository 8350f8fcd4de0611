"""A port of a PyTorch module with one nn.RNN or nn.RNNCell and one nn.Linear."""

import itertools
from typing import Any

from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import NumpyArray
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
    "one nn.RNN or nn.RNNCell, of one layer, and one nn.Linear, with 6 parameters, "
    "or 3 without biases"
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
    **statements
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
        **statements: Any,
    ):
        import torch

        self.torch = torch
        self.optimizer = torch.optim.SGD if optimizer == "SGD" else optimizer
        if loss is None:
            loss = torch.nn.MSELoss
        self.loss_function = loss() if isinstance(loss, type) else loss
        self.modules = dict[tuple[int, ...], Any]()  # by D, H and O
        is_module = isinstance(module, torch.nn.Module)
        self.make = (lambda D, H, O: module) if is_module else module
        maker = type(module) if is_module else module
        label = statements.pop("name", getattr(maker, "__name__", "module"))
        _, rnn, out = self._parts(tuple(TRIAL[letter] for letter in "DHO"))
        sizes = {"D": rnn.input_size, "H": rnn.hidden_size, "O": out.out_features}
        if is_module:
            shapes = shapes_of(statements.get("sizes") or {})
            statements["sizes"] = [dict(shape) | sizes for shape in shapes]
        if loss_name is None or type(self.loss_function).__name__ in TORCH_LOSSES:
            loss_name = name_of_loss(label, self.loss_function)
        super().__init__(label, loss_name, rnn.nonlinearity, statements)
        if self.optimizer is not None:
            kind = type(self.optimizer(rnn.parameters(), lr=0.5))
            if kind is not torch.optim.SGD and kind.__module__.startswith("torch."):
                raise InputError(
                    f"{label} has optim.{kind.__name__}: expected torch.optim.SGD"
                )
            self.capabilities += ("sgd_options", "clip_by_value")
        trials = []
        for axes, state in itertools.product(("TBD", "BTD"), ("BH", "1BH", "none")):
            fields = {"bias": rnn.bias, "K": 1, "no_h_0": state == "none", **sizes}
            trials.append((f"{axes} {state}", fields))
        is_right = self.find_layout(trials)
        axes, state = self.layout_name.split()
        if state == "none":  # a module that takes a state is tested with it
            for trial in reversed(self.possible):
                if trial.layout_name.startswith(axes):
                    self.layout_name = trial.layout_name
        axes, state = self.layout_name.split()
        self.state({"bias": not rnn.bias, "no biases": rnn.bias})
        self.state({"step": not self.optimizer, "h_0": state == "none"})
        self.state({"many losses": self.last_alone})
        self.layout_text = f"({', '.join(axes)}) batches"
        assumed = "" if is_right else ASSUMED
        self.name += f" (x {axes}, state {state}{assumed})"

    def _parts(self, sizes: tuple[int, ...]) -> tuple[Any, Any, Any]:
        """Return the module of these sizes, its RNN and its nn.Linear."""
        nn = self.torch.nn
        if sizes not in self.modules:
            module = self.make(*sizes)
            self.modules[sizes] = module
        module = self.modules[sizes]
        rnn = None
        out = None
        for part in module.modules():
            if rnn is None and isinstance(part, nn.RNN | nn.RNNCell):
                rnn = part
            if out is None and isinstance(part, nn.Linear):
                out = part
        foreign = foreign_layers(module)
        count = len(list(module.parameters()))
        if rnn is None or out is None or count not in (3, 6):
            foreign.append(f"{count} parameters")
        if foreign:
            raise InputError(
                f"{type(module).__name__} has {', '.join(foreign)}: "
                f"expected {EXPECTED_MODULE}"
            )
        return module, rnn, out

    def window_update(
        self,
        params: NamedArrays,
        x: NumpyArray,
        target: NumpyArray,
        h_0: NumpyArray,
        **options: Any,
    ) -> NamedArrays:
        """Return the loss, autograd's gradients, and the parameters after the
        optimizer's step.
        """
        torch = self.torch
        module, rnn, out = self._parts((*params["W_xh"].shape, params["W_hy"].shape[1]))
        module.to(getattr(torch, str(params["W_hh"].dtype))).train()
        suffix = "_l0" if isinstance(rnn, torch.nn.RNN) else ""
        leaves = {"W_hy": out.weight, "b_y": out.bias}
        for name, part in MODULE_PARAMETERS.items():
            leaves[name] = getattr(rnn, part + suffix, None)
        leaves = {name: leaves[name] for name in params}
        for name, theta in leaves.items():
            theta.data = torch.tensor(params[name].T).contiguous()
            theta.grad = None
        if rnn.bias:
            getattr(rnn, "bias_hh" + suffix).data.zero_()
        axes, state = self.layout_name.split()
        inputs = torch.tensor(x)
        if axes == "BTD":
            inputs = inputs.transpose(0, 1)
        states = list[Any]()
        if state != "none":
            states.append(torch.tensor(h_0 if state == "BH" else h_0[None]))
        y = module(inputs, *states)
        if isinstance(y, tuple):
            y = y[0]
        self.last_alone = y.ndim == 2
        if self.last_alone:
            y = y[None]
        elif axes == "BTD":
            y = y.transpose(0, 1)
        y = y[-len(target) :]
        targets = torch.tensor(target)
        if loss_kind(self.objective).has_classes:  # whose classes are the second axis
            y = y.flatten(0, 1)
            targets = targets.flatten(0, 1)
        loss = self.factor * self.loss_function(y, targets)
        loss.backward()
        report = {"loss": loss}
        for name, theta in leaves.items():
            report["d" + name] = theta.grad.clone()
        if "learning_rate" in options:
            report.update(self._step(leaves, options))
        return {name: array.detach().numpy().T.copy() for name, array in report.items()}

    def _step(self, leaves: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
        """Return the parameters after the optimizer's step, and the velocities if there
        are any.
        """
        torch = self.torch
        if options.get("max_norm") is not None:
            torch.nn.utils.clip_grad_norm_(leaves.values(), options["max_norm"])
        elif options.get("max_value") is not None:
            torch.nn.utils.clip_grad_value_(leaves.values(), options["max_value"])
        names = ("momentum", "dampening", "nesterov", "weight_decay")
        used = {name: options[name] for name in names if options.get(name)}
        optimizer = self.optimizer(leaves.values(), lr=options["learning_rate"], **used)
        for name, v in (options.get("velocity") or {}).items():
            buffer = torch.tensor(v.T).contiguous()
            optimizer.state[leaves[name]]["momentum_buffer"] = buffer
        optimizer.step()
        after = dict(leaves)
        if options.get("momentum"):
            for name, theta in leaves.items():
                after["v" + name] = optimizer.state[theta]["momentum_buffer"]
        return after


def foreign_layers(module: Any) -> list[str]:
    """Return the layers of torch.nn, but containers, losses and dropout of 0, that are
    none of ours.
    """
    foreign = []
    for part in module.modules():
        kind = type(part).__name__
        is_layer = type(part).__module__.startswith("torch.nn")
        is_harmless = kind in HARMLESS or hasattr(part, "reduction")
        is_harmless = is_harmless or getattr(part, "p", None) == 0
        if is_layer and not is_harmless and not any(part.children()):
            foreign.append(f"nn.{kind}")
    return foreign


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
