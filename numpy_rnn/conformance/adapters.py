"""Ports of code in its own shape: a function with gradients, a loss in JAX, a PyTorch
module.
"""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import NumpyArray
from numpy_rnn.conformance.case import STEP_OPTIONS, NamedArrays
from numpy_rnn.conformance.ports.abilities import CAPABILITIES, shapes_of
from numpy_rnn.conformance.ports.function_port import (
    NAMED_LOSSES,
    TRIAL,
    FunctionPort,
    count_arguments,
)
from numpy_rnn.conformance.ports.layouts import layouts_of

__all__ = ["function_port", "jax_port", "torch_port"]


def jax_port(
    function: Callable[..., Any],
    loss: str = "half_sum_of_squares",
    nonlinearity: str = "tanh",
    **options: Any,
) -> FunctionPort:
    """Make a port of a loss in JAX, whose gradients are those of jax.value_and_grad.

    Parameters
    ----------
    function : callable
        function(params, x, target, h_0) returns the loss alone. Its arguments are
        those of `function_port`.
    loss : str, optional
        The name of the loss, one of those of `function_port`.
    nonlinearity : str, optional
        One of those of `numpy_rnn.forward`.
    **options
        Those of `function_port`. As JAX compiles for every shape, `sizes` is "few",
        four shapes, unless given.

    Returns
    -------
    FunctionPort
        The port.

    Examples
    --------
    A loss is wrapped in one line::

        port = jax_port(model, "mse")
    """
    import jax

    module = jax if hasattr(jax, "enable_x64") else jax.experimental
    compiled = jax.jit(jax.value_and_grad(function))

    @functools.wraps(function)
    def with_gradients(params: NamedArrays, *arrays: Any) -> Any:
        is_double = any(theta.dtype == np.float64 for theta in params.values())
        with module.enable_x64(is_double):
            results = compiled(params, *arrays)
        return jax.tree.map(np.asarray, results)  # float64 is refused outside

    options.setdefault("sizes", "few")
    return FunctionPort(with_gradients, loss, nonlinearity, **options)


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
        self.loss_function = loss() if isinstance(loss, type) else loss
        is_module = isinstance(module, torch.nn.Module)
        self.make = (lambda D, H, O: module) if is_module else module
        maker = type(module) if is_module else module
        label = statements.setdefault("name", getattr(maker, "__name__", "module"))
        made, rnn, out = self._parts(*(TRIAL[letter] for letter in "DHO"))
        if is_module:
            sizes = {"D": rnn.input_size, "H": rnn.hidden_size, "O": out.out_features}
            shapes = shapes_of(statements.get("sizes") or {})
            statements["sizes"] = [dict(shape) | sizes for shape in shapes]
        if loss_name is None or type(self.loss_function).__name__ in TORCH_LOSSES:
            loss_name = name_of_loss(label, self.loss_function)
        lacks = [*statements.get("lacks", ()), "no biases" if rnn.bias else "bias"]
        parameters = inspect.signature(made.forward).parameters.values()
        flags = [p for p in parameters if isinstance(p.default, bool)]
        if count_arguments(made.forward) - len(flags) == 1:
            lacks.append("h_0")
        statements["lacks"] = tuple(lacks)
        super().__init__(
            self._loss_and_gradients,
            loss_name,
            rnn.nonlinearity,
            step=optimizer,
            **statements,
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

    def _parts(self, D: int, H: int, O: int) -> tuple[Any, Any, Any]:
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

    def _loss_and_gradients(
        self, params: NamedArrays, x: NumpyArray, target: NumpyArray, h_0: NumpyArray
    ) -> tuple[NumpyArray, NamedArrays]:
        """Return the loss of the module with these parameters, and autograd's
        gradients. `leaves` are the parameters by name.
        """
        torch = self.torch
        H, D = params["W_xh"].shape
        module, rnn, out = self._parts(D, H, len(params["W_hy"]))
        module.to(getattr(torch, str(params["W_hh"].dtype))).train()
        suffix = "_l0" if isinstance(rnn, torch.nn.RNN) else ""
        self.leaves = {"W_hy": out.weight, "b_y": out.bias}
        for name, part in MODULE_PARAMETERS.items():
            self.leaves[name] = getattr(rnn, part + suffix, None)
        self.leaves = {name: self.leaves[name] for name in params}
        for name, theta in self.leaves.items():
            theta.data = torch.tensor(params[name])
            theta.grad = None
        if rnn.bias:
            getattr(rnn, "bias_hh" + suffix).data.zero_()
        states = [] if "h_0" in self.abilities.lacks else [torch.tensor(h_0)]
        y = module(torch.tensor(x), *states)
        if isinstance(y, tuple):
            y = y[0]
        targets = torch.tensor(target)
        for axis, (size, K) in enumerate(zip(y.shape, targets.shape)):
            if size > K:  # the axis of steps, of which the last K have a loss
                y = y.narrow(axis, size - K, K)
        if self.objective.has_classes:  # whose classes are the second axis
            y = y.flatten(0, -2)
            targets = targets.flatten()
        loss = self.loss_function(y, targets)
        loss.backward()
        gradients = {n: theta.grad.numpy().copy() for n, theta in self.leaves.items()}
        return loss.detach().numpy(), gradients

    def _after_step(
        self,
        params: NamedArrays,
        theta: Mapping[str, Any],
        gradients: Mapping[str, Any],
        options: Mapping[str, Any],
    ) -> NamedArrays:
        """Return the parameters after the optimizer's step, and the velocities if there
        are any.
        """
        torch = self.torch
        leaves = self.leaves
        for leaf in leaves.values():
            leaf.grad *= self.factor
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
    no_class = min(-1, getattr(loss, "ignore_index", -1))
    usual = {"weight": None, "label_smoothing": 0.0, "ignore_index": no_class}
    for name, value in usual.items():
        if getattr(loss, name, value) != value:
            raise InputError(
                f"{label}: the loss {kind} has the option {name}: expected none"
            )
    return names.get(loss.reduction, names["mean"])


function_port = FunctionPort
torch_port = TorchPort
