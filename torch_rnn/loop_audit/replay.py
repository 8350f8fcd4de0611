"""Replay: the gradient and the step of an update, computed again in float64 from what the script computed them from.

That autograd differentiates nn.RNN is not in doubt; what a script does to weights, inputs and gradients in between is.
A pass is recorded with copies of its input, initial state and weights, and with the gradients of its outputs, as
autograd delivers them. A float64 copy of the module then gives the gradients of the weights. A difference is
explained by rounding if it is within 16 units of rounding of the tensor, or 16 times the spread of four copies in the
precision of the script, whose weights lie an ulp away at random.
"""

import inspect
import math
from collections.abc import Callable
from copy import deepcopy
from itertools import zip_longest
from typing import Any

import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence

from torch_rnn.loop_audit.origins import named_outputs
from torch_rnn.loop_audit.records import Check, Inputs, Network, Tensors

ALLOWED, COPIES = 16, 4
LOST = 0.01  # of the size of a tensor
OPTIMIZERS = (
    torch.optim.SGD,
    torch.optim.Adam,
    torch.optim.AdamW,
    torch.optim.RMSprop,
    torch.optim.Adagrad,
)
IMPLEMENTATION = {"foreach": None, "fused": None, "capturable": False, "differentiable": False}
CELL = ("input_size", "hidden_size", "bias")
LAYERS = (*CELL, "num_layers", "batch_first", "bidirectional")
KINDS = {  # the options of a copy of a module
    nn.RNN: (*LAYERS, "nonlinearity"), nn.LSTM: (*LAYERS, "proj_size"), nn.GRU: LAYERS,
    nn.RNNCell: (*CELL, "nonlinearity"), nn.LSTMCell: CELL, nn.GRUCell: CELL,
}  # fmt: skip
Generator = torch.Generator | None  # of the random changes of a copy by an ulp
Make = Callable[[torch.dtype, Generator], Tensors]


def weights_of(module: Any) -> Tensors:
    """The weights of a module, or their computed values, by name."""
    cell = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    names = module._flat_weights_names if isinstance(module, nn.RNNBase) else cell
    return {name: w for name in names if (w := getattr(module, name)) is not None}


def recorded(
    net: Network, x: Any, states: list[torch.Tensor], random: torch.Tensor | None
) -> Inputs:
    """Copies of what a pass is computed from."""
    live, moment = (
        (x.data if isinstance(x, PackedSequence) else x).detach(),
        (len(net.updates), len(net.backwards)),
    )
    if net.weights is None or net.weights[0] != moment:
        net.weights = (
            moment,
            {name: w.detach().clone() for name, w in weights_of(net.module_ref()).items()},
        )
    packed = x if isinstance(x, PackedSequence) else None
    return Inputs(
        live.clone(), live, packed, [s.detach().clone() for s in states], net.weights[1], random
    )


def obstacle(net: Network) -> str:
    """Why the gradient of a network cannot be checked; empty if it can."""
    named, gradients = net.parameters, net.gradients
    inputs = [each.inputs for each in net.reached]
    values = [v for i in inputs if i is not None for v in (i.x, *i.states, *i.weights.values())]
    values += [*gradients.values(), *(dy for dys in net.reached.values() for dy in dys.values())]
    dtypes = {str(v.dtype).removeprefix("torch.") for v in values}
    hooked = [n for n, p in named.items() if p._backward_hooks or p._post_accumulate_grad_hooks]
    penalized = [name for name, p in named.items() if p in net.in_loss]
    reasons = {
        "its weights are computed from other parameters": not {"weight_hh_l0", "weight_hh"}
        & set(named),
        "torch.autograd.grad computes it": net.by_grad,
        f"{', '.join(penalized)} also enters the loss by itself, as in a penalty": penalized,
        f"hooks of the script change that of {', '.join(hooked)}": hooked,
        "some of it goes through passes of earlier updates": any(
            i is None or (each.at.update < len(net.updates) and not net.is_cell)
            for i, each in zip(inputs, net.reached)
        ),
        f"it is computed in {' and '.join(sorted(dtypes))}": dtypes
        not in ({"float32"}, {"float64"}),
        "it is not finite": not all(bool(g.isfinite().all()) for g in gradients.values()),
        "a parameter has none": not gradients.keys() >= named.keys(),
    }
    return next((reason for reason, holds in reasons.items() if holds), "")


def check_gradient(net: Network, module: Any) -> Check:
    """Compare the gradients after the latest backward pass with those of a replay of the passes that they reach."""
    if reason := obstacle(net):
        return Check(None, reason=reason)
    random = torch.get_rng_state()
    try:
        found = {name: net.gradients[name] for name in net.parameters}
        return compared(found, lambda dtype, generator: gradients_of(net, module, dtype, generator))
    finally:
        torch.set_rng_state(random)


def compared(values: Tensors, make: Make, units: int = ALLOWED) -> Check:
    """The comparison of values with a replay in float64; its copies an ulp away are made only if they decide."""
    dtype, expected = next(iter(values.values())).dtype, make(torch.float64, None)
    sizes = {n: float(expected[n].norm()) for n in values}
    differences = {
        n: float((value.detach().double() - expected[n]).norm()) for n, value in values.items()
    }
    wrong = [n for n in values if not differences[n] <= units * torch.finfo(dtype).eps * sizes[n]]
    if wrong:
        generator = torch.Generator().manual_seed(0)
        copies = [make(dtype, generator) for _ in range(COPIES)]
        squares = {
            n: sum(float((copy[n].double() - expected[n]).norm()) ** 2 for copy in copies)
            for n in wrong
        }
        wrong = [n for n in wrong if not differences[n] <= ALLOWED * math.sqrt(squares[n] / COPIES)]
    errors = {n: d and (d / sizes[n] if sizes[n] else math.inf) for n, d in differences.items()}
    shown = max(wrong or errors, key=lambda n: errors[n])
    if not wrong and errors[shown] > LOST:
        return Check(None, reason=f"rounding alone changes {shown} by more than a hundredth")
    return Check(errors[shown], not wrong, "", shown)


def changed(value: torch.Tensor, dtype: torch.dtype, generator: Generator = None) -> torch.Tensor:
    """A copy of a tensor, changed by an ulp at random if there is a generator."""
    copy = value.detach().to(dtype, copy=True)
    if generator is not None:
        copy *= 1 + torch.finfo(dtype).eps * (
            torch.randint(0, 2, copy.shape, generator=generator).to(dtype) * 2 - 1
        )
    return copy


@torch.enable_grad()
def gradients_of(net: Network, module: Any, dtype: torch.dtype, generator: Generator) -> Tensors:
    """The gradients of the weights by copies of the module: one for all passes with the same weights."""
    kind, options = next(
        (kind, options) for kind, options in KINDS.items() if isinstance(module, kind)
    )
    copies = dict[
        int, tuple[Any, list[torch.Tensor], list[torch.Tensor]]
    ]()  # and their outputs, and gradients of them
    for each, dys in net.reached.items():
        if (inputs := each.inputs) is None:
            continue
        if id(inputs.weights) not in copies:
            copy = kind(
                **{n: getattr(module, n) for n in options}, dtype=dtype, device=inputs.x.device
            )
            for name, w in weights_of(copy).items():
                w.data = changed(inputs.weights[name], dtype, generator)
            copies[id(inputs.weights)] = copy, [], []
        copy, outputs, gradients = copies[id(inputs.weights)]
        copy.train(each.at.is_training).dropout = getattr(module, "dropout", 0.0)
        x, states = inputs.x.to(dtype), [s.to(dtype) for s in inputs.states]
        if inputs.random is not None:
            torch.set_rng_state(inputs.random)
        if kind is nn.LSTMCell:
            found = lstm_cell(
                x, states or [x.new_zeros(copy.hidden_size)] * 2, list(weights_of(copy).values())
            )
        else:
            given = x if inputs.packed is None else inputs.packed._replace(data=x)
            state = (tuple(states) if net.is_lstm else states[0]) if states else None
            found = named_outputs(copy(given, state), net.is_cell)
        outputs += [found[name] for name in dys]
        gradients += [dy.to(dtype) for dy in dys.values()]
    total = {name: g.to(dtype) for name, g in net.earlier.items()}
    for copy, outputs, gradients in copies.values():
        weights = weights_of(copy)
        parts = (
            torch.autograd.grad(outputs, list(weights.values()), gradients, allow_unused=True)
            if outputs
            else ()
        )
        for name, w, part in zip_longest(weights, weights.values(), parts):
            total[name] = total.get(name, torch.zeros_like(w)) + (0 if part is None else part)
    return total


def lstm_cell(x: torch.Tensor, states: list[torch.Tensor], weights: list[torch.Tensor]) -> Tensors:
    """nn.LSTMCell, but for the path from c to h: the gradient of c that autograd delivers has gone through it.

    Without an axis of the batch, nn.LSTMCell adds one and removes it from h and c, so it has not.
    """
    W, U, *biases = weights
    i, f, g, o = (x @ W.T + states[0] @ U.T + sum(biases)).chunk(4, -1)
    c = f.sigmoid() * states[1] + i.sigmoid() * g.tanh()
    return {"h": o.sigmoid() * (c if x.dim() == 1 else c.detach()).tanh(), "c": c}


def step_check(
    optimizer: torch.optim.Optimizer, parameters: dict[str, nn.Parameter]
) -> Callable[[], Check]:
    """A function that compares the parameters after the next step with that of a float64 copy of the optimizer."""
    trained = {name: p for name, p in parameters.items() if p.grad is not None}
    dtypes, numbers = (
        {p.dtype for p in trained.values()},
        [v for p in trained.values() for v in (p, p.grad)],
    )
    reasons = {
        f"{type(optimizer).__name__} is not one of those that are replayed": type(optimizer)
        not in OPTIMIZERS,
        "no gradient in float32 or float64": not trained or dtypes - {torch.float32, torch.float64},
        "weights or gradients are not finite": not all(
            bool(v.isfinite().all()) for v in numbers if v is not None
        ),
    }
    if reason := next((reason for reason, holds in reasons.items() if holds), ""):
        return lambda: Check(None, reason=reason)
    before, own = copied(optimizer, trained, next(iter(dtypes)), None)

    def make(dtype: torch.dtype, generator: Generator) -> Tensors:
        copy, values = copied(before, own, dtype, generator)
        with torch.no_grad():
            inspect.unwrap(type(copy).step)(copy)  # without the hooks of all optimizers
        return {name: p.detach() for name, p in values.items()}

    return lambda: compared(dict(trained), make, units=2)


def copied(
    optimizer: Any, trained: dict[str, nn.Parameter], dtype: torch.dtype, generator: Generator
) -> tuple[Any, dict[str, nn.Parameter]]:
    """A copy of an optimizer and of some of its parameters."""
    copies, groups = {p: nn.Parameter(changed(p, dtype)) for p in trained.values()}, []
    for p, copy in copies.items():
        copy.grad = changed(p.grad, dtype, generator)  # type: ignore[arg-type]
    for group in optimizer.param_groups:
        options = {n: float(v) if isinstance(v, torch.Tensor) else v for n, v in group.items()}
        options |= {n: v for n, v in IMPLEMENTATION.items() if n in options}
        if chosen := [copies[p] for p in group["params"] if p in copies]:
            groups.append(options | {"params": chosen})
    result = type(optimizer)(groups)
    for p in copies.keys() & optimizer.state.keys():
        result.state[copies[p]] = {
            n: changed(v, dtype) if isinstance(v, torch.Tensor) and n != "step" else deepcopy(v)
            for n, v in optimizer.state[p].items()
        }
    return result, {name: copies[p] for name, p in trained.items()}
