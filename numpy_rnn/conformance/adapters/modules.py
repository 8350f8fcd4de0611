"""Ports of PyTorch modules with one recurrent and one linear layer."""

import inspect
from collections.abc import Mapping
from typing import Any

from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import NumpyArray
from numpy_rnn.conformance.adapters.functions import (
    NAMED_LOSSES,
    TRIAL,
    FunctionPort,
    count_arguments,
)
from numpy_rnn.conformance.adapters.layouts import Answer, layouts_of
from numpy_rnn.conformance.case import SGD_OPTIONS, STEP_OPTIONS, NamedArrays
from numpy_rnn.conformance.ports.abilities import CAPABILITIES, LACKS, shapes_of

MODULE_PARAMETERS = {"W_xh": "weight_ih", "W_hh": "weight_hh", "b_h": "bias_ih"}
TORCH_LOSSES = dict.fromkeys(
    name for row in NAMED_LOSSES.values() for name in row.torch_classes
)
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


class TorchModule:
    """A module and the loss of its outputs, as a function that returns gradients.

    Attributes
    ----------
    make : callable of D, H and O
        Makes the module, or returns a finished one.
    takes_state : bool
        Whether the module gets the initial state.
    """

    def __init__(self, make: Any, loss: Any):
        """Keep the module and the loss."""
        import torch

        self.torch = torch
        self.make = make
        self.loss = loss
        self.takes_state = True

    def parts(self, D: int, H: int, O: int) -> tuple[Any, Any, Any]:
        """Return the module of these sizes, its RNN and its nn.Linear."""
        nn = self.torch.nn
        module = self.make(D, H, O)
        parts = list(module.modules())
        recurrent = [part for part in parts if isinstance(part, nn.RNN | nn.RNNCell)]
        linear = [part for part in parts if isinstance(part, nn.Linear)]
        foreign = foreign_layers(module)
        count = len(list(module.parameters()))
        if not (recurrent and linear and count in (3, 6)):
            foreign.append(f"{count} parameters")
        if foreign:
            raise InputError(
                f"{type(module).__name__} has {', '.join(foreign)}: "
                f"expected {EXPECTED_MODULE}"
            )
        return module, recurrent[0], linear[0]

    def __call__(
        self, params: NamedArrays, x: NumpyArray, target: NumpyArray, h_0: NumpyArray
    ) -> tuple[NumpyArray, NamedArrays]:
        """Return the loss of the module with these parameters, and autograd's
        gradients.
        """
        torch = self.torch
        H, D = params["W_xh"].shape
        module, rnn, out = self.parts(D, H, len(params["W_hy"]))
        module.to(getattr(torch, str(params["W_hh"].dtype))).train()
        suffix = "_l0" if isinstance(rnn, torch.nn.RNN) else ""
        weights = {"W_hy": out.weight, "b_y": out.bias}
        for name, part in MODULE_PARAMETERS.items():
            weights[name] = getattr(rnn, part + suffix, None)
        for name, theta in params.items():
            weights[name].data = torch.tensor(theta)
            weights[name].grad = None
        if rnn.bias:
            getattr(rnn, "bias_hh" + suffix).data.zero_()
        states = [torch.tensor(h_0)] if self.takes_state else []
        y = module(torch.tensor(x), *states)
        if isinstance(y, tuple):
            y = y[0]
        targets = torch.tensor(target)
        for axis, (size, K) in enumerate(zip(y.shape, targets.shape)):
            if size > K:  # the axis of steps, of which the last K have a loss
                y = y.narrow(axis, size - K, K)
        if not targets.is_floating_point():  # y has classes on the second axis
            y = y.flatten(0, -2)
            targets = targets.flatten()
        loss = self.loss(y, targets)
        loss.backward()
        gradients = {name: weights[name].grad.numpy().copy() for name in params}
        return loss.detach().numpy(), gradients


class TorchPort(FunctionPort):
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
    loss : loss of torch.nn or callable, optional
        One of the `torch_classes` in `NAMED_LOSSES`; nn.NLLLoss for a module that ends
        with log_softmax. A callable of outputs and target needs a `loss_name`. By
        default the mean squared error.
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

    layouts = layouts_of(("columns",), ("TBN", "BTN"), ("1BH", "BH"))
    has_older_steps = True

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
        if optimizer == "SGD":
            optimizer = torch.optim.SGD
        if loss is None:
            loss = torch.nn.MSELoss
        if isinstance(loss, type):
            loss = loss()
        is_finished = isinstance(module, torch.nn.Module)
        maker = type(module) if is_finished else module
        label = statements.setdefault("name", getattr(maker, "__name__", "module"))
        make = (lambda D, H, O: module) if is_finished else module
        function = TorchModule(make, loss)
        made, rnn, out = function.parts(*(TRIAL[letter] for letter in "DHO"))
        if is_finished:
            sizes = {"D": rnn.input_size, "H": rnn.hidden_size, "O": out.out_features}
            shapes = shapes_of(statements.get("sizes") or {})
            statements["sizes"] = [dict(shape) | sizes for shape in shapes]
        if loss_name is None or type(loss).__name__ in TORCH_LOSSES:
            loss_name = name_of_loss(label, loss)
        lacks = [*statements.get("lacks", ()), "no biases" if rnn.bias else "bias"]
        parameters = inspect.signature(made.forward).parameters.values()
        flags = [p for p in parameters if isinstance(p.default, bool)]
        if count_arguments(made.forward) - len(flags) == 1:
            lacks.append("h_0")
        function.takes_state = "h_0" not in lacks
        statements["lacks"] = tuple(lacks)
        super().__init__(
            function, loss_name, rnn.nonlinearity, step=optimizer, **statements
        )
        if optimizer is not None:
            kind = type(optimizer(rnn.parameters(), lr=0.5))
            if kind is not torch.optim.SGD and kind.__module__.startswith("torch."):
                raise InputError(
                    f"{label} has optim.{kind.__name__}: expected torch.optim.SGD"
                )
            self.option_names = {*inspect.signature(kind).parameters} & {*STEP_OPTIONS}
            own = {"sgd_options", "clip_by_value", *self.option_names}
            self.capabilities += tuple(name for name in CAPABILITIES if name in own)
            absent = {*SGD_OPTIONS} - {"max_norm", *self.option_names, *self.lacks}
            self.lacks += tuple(name for name in LACKS if name in absent)

    def after_step(
        self, params: NamedArrays, answer: Answer, options: Mapping[str, Any]
    ) -> NamedArrays:
        """Return the parameters after the optimizer's step, and the velocities if there
        are any.
        """
        torch = self.torch
        leaves = {}
        for name, theta in answer.own_params.items():
            leaves[name] = torch.nn.Parameter(torch.tensor(theta))
            gradient = self.code.factor * answer.own_gradients[name]
            leaves[name].grad = torch.tensor(gradient)
        if options.get("max_norm") is not None:
            torch.nn.utils.clip_grad_norm_(leaves.values(), options["max_norm"])
        elif options.get("max_value") is not None:
            torch.nn.utils.clip_grad_value_(leaves.values(), options["max_value"])
        used = {n: options[n] for n in self.option_names if options.get(n)}
        optimizer = self.step(leaves.values(), lr=options["learning_rate"], **used)
        for name, v in (options.get("velocity") or {}).items():
            buffer = torch.tensor(v.T).contiguous()
            optimizer.state[leaves[name]]["momentum_buffer"] = buffer
        optimizer.step()
        after = dict(leaves)
        if options.get("momentum"):
            for name, leaf in leaves.items():
                after["v" + name] = optimizer.state[leaf]["momentum_buffer"]
        return {name: v.detach().numpy().T.copy() for name, v in after.items()}


def foreign_layers(module: Any) -> list[str]:
    """Return the layers of torch.nn, but containers, losses and dropout of 0, that are
    none of ours.
    """
    foreign = []
    for part in module.modules():
        kind = type(part).__name__
        is_layer = type(part).__module__.startswith("torch.nn")
        is_known = kind in HARMLESS or hasattr(part, "reduction")
        has_effect = getattr(part, "p", None) != 0 and not any(part.children())
        if is_layer and has_effect and not is_known:
            foreign.append(f"nn.{kind}")
    return foreign


def name_of_loss(label: str, loss: Any) -> str:
    """Return the name of a loss of torch.nn. Raises InputError if it is another one, or
    has options.
    """
    kind = type(loss).__name__
    names = {}
    for name, row in NAMED_LOSSES.items():
        if kind in row.torch_classes:
            names[row.reduction] = name
    if not names:
        expected = f"expected nn.{', nn.'.join(TORCH_LOSSES)}"
        raise InputError(
            f"{label}: the loss {kind} is not known: {expected}, or a function with "
            "its loss_name"
        )
    usual = type(loss)()
    for name in {*loss.__constants__, *loss._buffers} - {"reduction"}:  # its options
        value = getattr(loss, name)
        ignores_none = name == "ignore_index" and value < 0
        if not ignores_none and value != getattr(usual, name):
            raise InputError(
                f"{label}: the loss {kind} has the option {name}: expected none"
            )
    return names.get(loss.reduction, names["mean"])
