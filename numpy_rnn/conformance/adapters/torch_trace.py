"""Traces of training loops in PyTorch, whose weights and gradients are read from the
layers.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from numpy_rnn.common.errors import InputError
from numpy_rnn.common.numbers import check_choice
from numpy_rnn.common.records import NumpyArray
from numpy_rnn.conformance.adapters.functions import NAMED_LOSSES
from numpy_rnn.conformance.adapters.modules import MODULE_PARAMETERS
from numpy_rnn.conformance.trace import Trace

# Options of a step in which the loss of torch.nn.MSELoss, twice ours, is a factor.
HALVED = ("weight_decay", "max_value")
EXPECTED = "expected one nn.RNN or nn.RNNCell, of one layer, and one nn.Linear"


class TorchTrace(Trace):
    """Record the updates of a training loop in PyTorch, for `numpy-rnn compare`.

    Call `update` after `optimizer.step()` and before `zero_grad()`.

    Parameters
    ----------
    layers : torch.nn.Module, or sequence of them
        A module with one nn.RNN or nn.RNNCell and one nn.Linear, or both layers. There
        is one hidden bias: create the layer with bias=False, or do not train bias_hh
        and keep it at zero.
    x, target : torch.Tensor or array_like
        The whole series, (T, B, D) and (T, B, O); with batch_first (B, T, D) and
        (B, T, O). Classes are integers, (T, B) or (B, T).
    h_0 : torch.Tensor or array_like, shape (B, H) or (1, B, H)
        The state at the start of every epoch.
    loss : str, optional
        The loss of an update, one of those of `function_port`: "mse" is
        torch.nn.MSELoss.
    batch_first : bool, optional
        Whether the axis of sequences comes first.
    **options
        Those of `train`, with torch's learning rate: k1, k2, learning_rate and epochs,
        which are needed, and momentum and so on. A clipping by norm needs a loss that
        is not halved, as "half_mse".

    Raises
    ------
    InputError
        On other layers, on a second hidden bias that is trained, and as `Trace` does.

    Examples
    --------
    >>> import torch
    >>> from numpy_rnn.conformance.adapters import torch_trace
    >>> rnn, out = torch.nn.RNN(1, 4, bias=False), torch.nn.Linear(4, 1, bias=False)
    >>> optimizer = torch.optim.SGD([*rnn.parameters(), *out.parameters()], lr=0.1)
    >>> x, h = torch.linspace(0, 1, 4).reshape(4, 1, 1), torch.zeros(1, 1, 4)
    >>> options = {"k1": 4, "k2": 4, "learning_rate": 0.1, "epochs": 1}
    >>> trace = torch_trace((rnn, out), x, x, h, **options)
    >>> loss = torch.nn.functional.mse_loss(out(rnn(x, h)[0]), x)
    >>> loss.backward()
    >>> optimizer.step()
    >>> trace.update(1, (0, 0, 4), h, loss=loss)
    >>> trace.recorded().length
    1
    """

    def __init__(
        self,
        layers: Any,
        x: Any,
        target: Any,
        h_0: Any,
        *,
        loss: str = "mse",
        batch_first: bool = False,
        **options: Any,
    ):
        check_choice("loss", loss, tuple(NAMED_LOSSES))
        self.weights, nonlinearity = weights_of(layers)
        kind, reduction, self.factor, _ = NAMED_LOSSES[loss]
        options = {"nonlinearity": nonlinearity, **options}
        options |= {"loss": kind, "reduction": reduction}
        if self.factor != 1:
            if options.get("max_norm") is not None:
                raise InputError(
                    f"max_norm and the loss {loss} are given: its norm is twice that of"
                    " half the loss; train on half of it, and name half_mse"
                )
            options["learning_rate"] = options["learning_rate"] / self.factor
            for name in HALVED:
                if options.get(name):
                    options[name] = self.factor * options[name]
        self.kept: dict[str, NumpyArray] = {}
        params = {name: as_numpy(W).T for name, W in self.weights.items()}
        inputs, targets = as_numpy(x), as_numpy(target)
        if batch_first:
            inputs, targets = np.swapaxes(inputs, 0, 1), np.swapaxes(targets, 0, 1)
        super().__init__(params, inputs, targets, state_of(h_0), **options)

    def keep_gradients(self) -> None:
        """Keep the gradients as they are now: before they are clipped."""
        self.kept = self._gradients()

    def update(
        self, epoch: int, window: Sequence[int], state: Any, **values: Any
    ) -> None:
        """Record one update, after the step of the optimizer.

        Parameters
        ----------
        epoch : int
            The epoch, from 1.
        window : tuple of int
            start, loss_start and stop: the window has the steps start to stop − 1, from
            0, of which those from loss_start have a loss.
        state : torch.Tensor, shape (B, H) or (1, B, H)
            The initial state of the window.
        **values
            `loss`, that of the update. The gradients are those of the layers, or those
            that `keep_gradients` kept.

        Raises
        ------
        InputError
            On another value, and without a gradient.
        """
        if values.keys() != {"loss"}:
            raise InputError(f"update gets {', '.join(values)}: expected loss=...")
        gradients = self.kept or self._gradients()
        self.kept = {}
        report = {"d" + name: self.factor * g for name, g in gradients.items()}
        report |= {name: as_numpy(W).T for name, W in self.weights.items()}
        report["loss"] = self.factor * as_numpy(values["loss"])
        super().update(epoch, window, state_of(state), **report)

    def _gradients(self) -> dict[str, NumpyArray]:
        """Return copies of the gradients in the shapes of the parameters."""
        gradients = {}
        for name, W in self.weights.items():
            if W.grad is None:
                raise InputError(
                    f"{name} has no gradient: call update after backward() and before"
                    " zero_grad()"
                )
            gradients[name] = as_numpy(W.grad).T.copy()
        return gradients


def weights_of(layers: Any) -> tuple[dict[str, Any], str]:
    """Return the parameters of the layers by our names, and the nonlinearity. Raises
    InputError on other layers.
    """
    from torch import nn

    if isinstance(layers, nn.Module):
        layers = [layers]
    parts = [part for layer in layers for part in layer.modules()]
    recurrent = [
        part for part in parts if isinstance(part, nn.RNNBase | nn.RNNCellBase)
    ]
    linear = [part for part in parts if isinstance(part, nn.Linear)]
    is_known = len(recurrent) == len(linear) == 1
    if not (is_known and isinstance(recurrent[0], nn.RNN | nn.RNNCell)):
        kinds = ", ".join(type(part).__name__ for part in (*recurrent, *linear))
        raise InputError(f"the layers are {kinds or 'none'}: {EXPECTED}")
    (rnn,), (out,) = recurrent, linear
    if getattr(rnn, "num_layers", 1) > 1 or getattr(rnn, "bidirectional", False):
        raise InputError(f"nn.RNN has several layers or directions: {EXPECTED}")
    suffix = "_l0" if isinstance(rnn, nn.RNN) else ""
    weights: dict[str, Any] = {"W_hy": out.weight}
    for name, attribute in MODULE_PARAMETERS.items():
        if name != "b_h" or rnn.bias:
            weights[name] = getattr(rnn, attribute + suffix)
    if rnn.bias != (out.bias is not None):
        raise InputError("one layer has a bias: expected both or none")
    if rnn.bias:
        weights["b_y"] = out.bias
        second = getattr(rnn, "bias_hh" + suffix)
        if second.requires_grad or second.detach().any():
            raise InputError(
                "bias_hh is a second hidden bias, and their sum moves twice as far:"
                " expected bias=False, or bias_hh.requires_grad_(False) and zeros"
            )
    return weights, str(rnn.nonlinearity)


def as_numpy(value: Any) -> NumpyArray:
    """Return a tensor as an array of NumPy."""
    return np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)


def state_of(state: Any) -> NumpyArray:
    """Return a state (B, H) of one (B, H) or (1, B, H)."""
    array = as_numpy(state)
    return array[0] if array.ndim == 3 and len(array) == 1 else array
