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
from typing import Any

import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence

from torch_rnn.loop_audit.origins import named_outputs
from torch_rnn.loop_audit.records import Check, Inputs, Network, Pass, Tensors

ALLOWED, COPIES = 16, 4
OPTIMIZERS = (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW, torch.optim.RMSprop, torch.optim.Adagrad)
IMPLEMENTATION = {"foreach": None, "fused": None, "capturable": False, "differentiable": False}
CELL = ("input_size", "hidden_size", "bias")
LAYERS = (*CELL, "num_layers", "batch_first", "bidirectional")
KINDS = {  # the options of a copy of a module
    nn.RNN: (*LAYERS, "nonlinearity"), nn.LSTM: (*LAYERS, "proj_size"), nn.GRU: LAYERS,
    nn.RNNCell: (*CELL, "nonlinearity"), nn.LSTMCell: CELL, nn.GRUCell: CELL,
}  # fmt: skip
Generator = torch.Generator | None  # of the random changes of a copy by an ulp


def weights_of(module: Any) -> Tensors:
    """The weights of a module, or their computed values, by name."""
    names = (
        module._flat_weights_names
        if isinstance(module, nn.RNNBase)
        else ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    return {name: w for name in names if (w := getattr(module, name)) is not None}


def recorded(net: Network, x: Any, states: list[torch.Tensor], random: torch.Tensor | None) -> Inputs:
    """Copies of what a pass is computed from."""
    live, moment = (x.data if isinstance(x, PackedSequence) else x).detach(), (len(net.updates), len(net.backwards))
    if net.weights is None or net.weights[0] != moment:
        net.weights = moment, {name: w.detach().clone() for name, w in weights_of(net.module).items()}
    packed = x if isinstance(x, PackedSequence) else None
    states = [s.detach().clone() for s in states]
    return Inputs(live.clone(), live, packed, states, net.weights[1], random)


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
        "its weights are computed from other parameters": not {"weight_hh_l0", "weight_hh"} & set(named),
        "torch.autograd.grad computes it": net.by_grad,
        f"{', '.join(penalized)} also enters the loss by itself, as in a penalty": penalized,
        f"hooks of the script change that of {', '.join(hooked)}": hooked,
        "some of it goes through passes of earlier updates": any(
            i is None or (each.at.update < len(net.updates) and not net.is_cell) for i, each in zip(inputs, net.reached)
        ),
        f"it is computed in {' and '.join(sorted(dtypes))}": dtypes not in ({"float32"}, {"float64"}),
        "it is not finite": not all(bool(g.isfinite().all()) for g in gradients.values()),
        "a parameter has none": not gradients.keys() >= named.keys(),
    }
    return next((reason for reason, holds in reasons.items() if holds), "")


def check_gradient(net: Network) -> Check:
    """Compare the gradients after the latest backward pass with those of a replay of the passes that they reach."""
    if reason := obstacle(net):
        return Check(None, reason=reason)
    dtype, random = next(iter(net.gradients.values())).dtype, torch.get_rng_state()
    try:
        expected, sizes = total(net, torch.float64)
        limits = {n: ALLOWED * torch.finfo(dtype).eps * max(norm(expected[n]), sizes[n]) for n in net.parameters}
        if not compared(net.gradients, expected, limits).is_right:
            spread = spread_of(lambda generator: total(net, dtype, generator)[0], expected)
            limits = {n: max(limit, ALLOWED * spread[n]) for n, limit in limits.items()}
    finally:
        torch.set_rng_state(random)
    return compared(net.gradients, expected, limits)


def norm(value: torch.Tensor) -> float:
    """The 2-norm."""
    return float(value.norm())


def spread_of(make: Callable[[Generator], Tensors], expected: Tensors) -> dict[str, float]:
    """The root mean square of the differences of some copies, changed at random, from the expected values."""
    generator = torch.Generator().manual_seed(0)
    copies = [make(generator) for _ in range(COPIES)]
    return {n: math.sqrt(sum(norm(copy[n].double() - value) ** 2 for copy in copies) / COPIES)
            for n, value in expected.items()}  # fmt: skip


def changed(value: torch.Tensor, dtype: torch.dtype, generator: Generator = None) -> torch.Tensor:
    """A copy of a tensor, changed by an ulp at random if there is a generator."""
    copy = value.detach().to(dtype, copy=True)
    if generator is not None:
        copy *= 1 + torch.finfo(dtype).eps * (torch.randint(0, 2, copy.shape, generator=generator).to(dtype) * 2 - 1)
    return copy


def compared(values: dict[str, Any], expected: Tensors, limits: dict[str, float]) -> Check:
    """The comparison of values with the expected ones. The limits are of the 2-norms of the differences."""
    differences = {n: norm(values[n].detach().double() - expected[n]) for n in limits}
    errors = {n: d and (d / size if (size := norm(expected[n])) else math.inf) for n, d in differences.items()}
    wrong = [n for n, difference in differences.items() if not difference <= limits[n]]
    shown = max(wrong or errors, key=lambda n: errors[n])
    return Check(errors[shown], not wrong, "", shown)


def total(net: Network, dtype: torch.dtype, generator: Generator = None) -> tuple[Tensors, dict[str, float]]:
    """The gradients of all weights, and the sum of the sizes of their terms."""
    terms = {name: [g.to(dtype)] for name, g in net.earlier.items()}
    for each, dys in net.reached.items():
        if each.inputs is not None:
            for name, g in pass_gradients(each, each.inputs, dys, dtype, generator).items():
                terms.setdefault(name, []).append(g)
    return {n: sum(g[1:], g[0]) for n, g in terms.items()}, {n: sum(map(norm, g)) for n, g in terms.items()}


@torch.enable_grad()
def pass_gradients(each: Pass, inputs: Inputs, dys: Tensors, dtype: torch.dtype, generator: Generator) -> Tensors:
    """The gradients that one pass adds to those of its weights, by a copy of the module."""
    net = each.net
    kind, options = next((kind, options) for kind, options in KINDS.items() if isinstance(net.module, kind))
    copy = kind(**{name: getattr(net.module, name) for name in options}, dtype=dtype, device=inputs.x.device)
    copy.train(each.at.is_training)
    if not net.is_cell:
        copy.dropout = net.module.dropout
    weights = weights_of(copy)
    for name, w in weights.items():
        w.data = changed(inputs.weights[name], dtype, generator)
    x, states = inputs.x.to(dtype), [s.to(dtype) for s in inputs.states]
    if inputs.random is not None:
        torch.set_rng_state(inputs.random)
    if kind is nn.LSTMCell:
        outputs = lstm_cell(x, states or [x.new_zeros(copy.hidden_size)] * 2, list(weights.values()))
    else:
        given = x if inputs.packed is None else inputs.packed._replace(data=x)
        state = (tuple(states) if net.is_lstm else states[0]) if states else None
        outputs = named_outputs(copy(given, state), net.is_cell)
    pairs = [(outputs[name], dy.to(dtype)) for name, dy in dys.items()]
    if not pairs:
        return {name: torch.zeros_like(w) for name, w in weights.items()}
    results, gradients = zip(*pairs)
    found = torch.autograd.grad(results, list(weights.values()), gradients, allow_unused=True)
    return {name: torch.zeros_like(w) if g is None else g for (name, w), g in zip(weights.items(), found)}


def lstm_cell(x: torch.Tensor, states: list[torch.Tensor], weights: list[torch.Tensor]) -> Tensors:
    """nn.LSTMCell, but for the path from c to h: the gradient of c that autograd delivers has gone through it."""
    W, U, *biases = weights
    i, f, g, o = (x @ W.T + states[0] @ U.T + sum(biases)).chunk(4, -1)
    c = f.sigmoid() * states[1] + i.sigmoid() * g.tanh()
    return {"h": o.sigmoid() * c.detach().tanh(), "c": c}


def step_check(optimizer: torch.optim.Optimizer, parameters: dict[str, nn.Parameter]) -> Callable[[], Check]:
    """A function that compares the parameters after the next step with that of a float64 copy of the optimizer."""
    trained = {name: p for name, p in parameters.items() if p.grad is not None}
    dtypes, numbers = {p.dtype for p in trained.values()}, [v for p in trained.values() for v in (p, p.grad)]
    reasons = {
        f"{type(optimizer).__name__} is not one of those that are replayed": type(optimizer) not in OPTIMIZERS,
        "no gradient in float32 or float64": not trained or dtypes - {torch.float32, torch.float64},
        "weights or gradients are not finite": not all(bool(v.isfinite().all()) for v in numbers if v is not None),
    }
    if reason := next((reason for reason, holds in reasons.items() if holds), ""):
        return lambda: Check(None, reason=reason)
    values, dtype = stepped(optimizer, trained, torch.float64), next(iter(trained.values())).dtype
    spread = spread_of(lambda generator: stepped(optimizer, trained, dtype, generator), values)
    limits = {n: ALLOWED * spread[n] + 2 * torch.finfo(dtype).eps * norm(value) for n, value in values.items()}
    return lambda: compared(trained, values, limits)


def stepped(
    optimizer: Any, trained: dict[str, nn.Parameter], dtype: torch.dtype, generator: Generator = None
) -> Tensors:
    """The parameters after a step of a copy of an optimizer."""
    copies, groups = {p: nn.Parameter(p.detach().to(dtype, copy=True)) for p in trained.values()}, []
    for p, copy in copies.items():
        copy.grad = changed(p.grad, dtype, generator)  # type: ignore[arg-type]
    for group in optimizer.param_groups:
        options = {n: float(v) if isinstance(v, torch.Tensor) else v for n, v in group.items()}
        options |= {n: v for n, v in IMPLEMENTATION.items() if n in options}
        if chosen := [copies[p] for p in group["params"] if p in copies]:
            groups.append(options | {"params": chosen})
    copy = type(optimizer)(groups, lr=groups[0]["lr"])
    for p in copies.keys() & optimizer.state.keys():
        copy.state[copies[p]] = {n: deepcopy(v) if n == "step" or not isinstance(v, torch.Tensor) else changed(v, dtype)
                                 for n, v in optimizer.state[p].items()}  # fmt: skip
    with torch.no_grad():
        inspect.unwrap(type(copy).step)(copy)  # without the hooks of all optimizers
    return {name: copies[p].detach() for name, p in trained.items()}
