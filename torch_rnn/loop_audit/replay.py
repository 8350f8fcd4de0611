"""Replay: the gradient and the step of an update, computed again in float64 from what the script computed them from.

That autograd differentiates nn.RNN is not in doubt; what a script does to weights, inputs and gradients in between is.
A pass is recorded with copies of its input, initial state and weights, and with the gradients of its outputs, as
autograd delivers them. The same kernels of torch in float64 then give the gradients of the weights. A difference is
explained by rounding if it is within 16 units of rounding of the tensor, or 16 times the spread of four copies in the
precision of the script, whose weights lie an ulp away at random.
"""

import inspect
import math
from typing import Any, NamedTuple

import torch
from torch import _VF, nn
from torch.nn.utils.rnn import PackedSequence

from torch_rnn.loop_audit.records import Check, Inputs, Network

ALLOWED, COPIES, VACUOUS = 16, 4, 0.1
OPTIMIZERS = (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW, torch.optim.RMSprop, torch.optim.Adagrad)
IMPLEMENTATION = {"foreach": None, "fused": None, "capturable": False, "differentiable": False}
KERNELS: Any = {
    nn.LSTM: lambda m: _VF.lstm, nn.GRU: lambda m: _VF.gru, nn.LSTMCell: lambda m: None,
    nn.RNN: lambda m: _VF.rnn_tanh if m.nonlinearity == "tanh" else _VF.rnn_relu,
    nn.GRUCell: lambda m: _VF.gru_cell,
    nn.RNNCell: lambda m: _VF.rnn_tanh_cell if m.nonlinearity == "tanh" else _VF.rnn_relu_cell,
}  # fmt: skip


def weights_of(module: Any) -> list[torch.Tensor]:
    """The weights of a module in the order of its kernel, or of their computed values."""
    if isinstance(module, nn.RNNBase):
        return [w for w in module._flat_weights if w is not None]
    return [module.weight_ih, module.weight_hh, *((module.bias_ih, module.bias_hh) if module.bias else ())]


def weight_names(module: Any) -> list[str]:
    """The names of `weights_of`."""
    if isinstance(module, nn.RNNBase):
        return list(module._flat_weights_names)
    return ["weight_ih", "weight_hh", *(("bias_ih", "bias_hh") if module.bias else ())]


def recorded(net: Network, module: Any, x: Any, states: list[torch.Tensor], random: torch.Tensor | None) -> Inputs:
    """Copies of what a pass is computed from, with an axis of the batch."""
    packed = x if isinstance(x, PackedSequence) else None
    live = (x.data if isinstance(x, PackedSequence) else x).detach()
    copy, moment = live.clone(), (len(net.updates), len(net.backwards))
    if net.weights is None or net.weights[0] != moment:
        net.weights = moment, [w.detach().clone() for w in weights_of(module)]
    h = [s.detach().clone() for s in states]
    if not net.is_cell:
        if packed is None and copy.dim() == 2:
            copy = copy.unsqueeze(0 if net.batch_first else 1)
        h = [s.unsqueeze(1) if s.dim() == 2 else s for s in h]
        if packed is not None and packed.sorted_indices is not None:
            h = [s.index_select(1, packed.sorted_indices) for s in h]
    if not h:
        rows = net.sizes(x)[1]
        sizes = [module.hidden_size] * (1 + net.is_lstm)
        if proj := getattr(module, "proj_size", 0):
            sizes[0] = proj
        layers = () if net.is_cell else (module.num_layers * (1 + module.bidirectional),)
        h = [copy.new_zeros(*layers, rows, size) for size in sizes]
    return Inputs(copy, live, packed, h, net.weights[1], random, module.training)


def obstacle(net: Network, in_loss: set[torch.Tensor]) -> str:
    """Why the gradient of a network cannot be checked; empty if it can."""
    named, gradients = net.parameters, net.gradients
    inputs = [each.inputs for each in net.reached]
    values = [v for i in inputs if i is not None for v in (i.x, *i.states, *i.weights)]
    dtypes = {str(v.dtype).removeprefix("torch.") for v in (*values, *gradients.values())}
    dtypes |= {str(dy.dtype).removeprefix("torch.") for dys in net.reached.values() for dy in dys.values()}
    hooked = [n for n, p in named.items() if p._backward_hooks or p._post_accumulate_grad_hooks]
    penalized = [name for name, p in named.items() if p in in_loss]
    reasons = {
        "its weights are computed from other parameters": not {"weight_hh_l0", "weight_hh"} & set(named),
        "torch.autograd.grad computes it": net.by_grad,
        f"{', '.join(penalized)} also enters the loss by itself, as in a penalty": penalized,
        f"hooks of the script change that of {', '.join(hooked)}": hooked,
        "some of it goes through passes of earlier updates": any(
            i is None or (each.update < len(net.updates) and not net.is_cell) for i, each in zip(inputs, net.reached)
        ),
        f"it is computed in {' and '.join(sorted(dtypes))}": dtypes not in ({"float32"}, {"float64"}),
        "it is not finite": not all(bool(g.isfinite().all()) for g in gradients.values()),
        "a parameter has none": not gradients.keys() >= named.keys(),
    }
    return next((reason for reason, holds in reasons.items() if holds), "")


def check_gradient(net: Network, in_loss: set[torch.Tensor]) -> Check:
    """Compare the gradients after the latest backward pass with those of a replay of the passes that they reach."""
    if reason := obstacle(net, in_loss):
        return Check(None, reason=reason)
    names, eps = weight_names(net.module), torch.finfo(next(iter(net.gradients.values())).dtype).eps
    parts = joined(net)
    random, one = torch.get_rng_state(), torch.Generator().manual_seed(0)
    try:
        expected, scale = total(net, parts, torch.float64, None)
        errors = {n: relative(net.gradients[n], expected[n]) for n in net.parameters}
        limits = {n: ALLOWED * eps * max(1.0, scale[n]) for n in names}
        if any(errors[n] > limits[n] for n in errors):
            dtype = net.gradients[next(iter(errors))].dtype
            copies = [total(net, parts, dtype, one)[0] for _ in range(COPIES)]
            for n in errors:
                spread = math.sqrt(sum(relative(copy[n], expected[n]) ** 2 for copy in copies) / COPIES)
                limits[n] = max(limits[n], ALLOWED * spread)
    finally:
        torch.set_rng_state(random)
    worst = max(errors, key=lambda n: (errors[n] / limits[n], n))
    if limits[worst] > VACUOUS:
        return Check(None, reason=f"rounding alone changes {worst} by {limits[worst] / ALLOWED:.0%}")
    wrong = [n for n in errors if not errors[n] <= limits[n]]
    shown = max(wrong or errors, key=lambda n: errors[n])
    return Check(errors[shown], not wrong, "", shown)


def relative(value: torch.Tensor, expected: torch.Tensor) -> float:
    """The 2-norm of a difference, relative to that of the expected value."""
    difference, size = float((value.double() - expected).norm()), float(expected.norm())
    return 0.0 if difference == 0 else difference / size if size else math.inf


Part = tuple[Inputs, dict[str, torch.Tensor]]


def joined(net: Network) -> list[Part]:
    """The passes with the gradients of their outputs; calls of a cell with the same weights as one batch."""
    parts = [(each.inputs, dys) for each, dys in net.reached.items() if each.inputs is not None]
    if not net.is_cell:
        return parts
    groups = dict[int, list[Part]]()
    for inputs, dys in parts:
        groups.setdefault(id(inputs.weights), []).append((inputs, dys))
    return [joined_part(group) for group in groups.values()]


def joined_part(group: list[Part]) -> Part:
    """Calls of a cell as one call."""
    first, rows = group[0][0], [inputs.states[0].numel() // inputs.states[0].shape[-1] for inputs, _ in group]
    x = torch.cat([inputs.x.reshape(n, -1) for (inputs, _), n in zip(group, rows)])
    states = [torch.cat([inputs.states[i].reshape(n, -1) for (inputs, _), n in zip(group, rows)])
              for i in range(len(first.states))]  # fmt: skip
    zero = torch.zeros_like
    dys = {
        name: torch.cat([dy.get(name, zero(inputs.states[0])).reshape(n, -1) for (inputs, dy), n in zip(group, rows)])
        for name in "hc"[: len(states)]
    }
    return first._replace(x=x, states=states), dys


def total(
    net: Network, parts: list[Part], dtype: torch.dtype, generator: torch.Generator | None
) -> tuple[dict[str, torch.Tensor], dict[str, float]]:
    """The gradients of all weights, and the size of their terms relative to them.

    generator: of random signs, by which the weights are changed by an ulp.
    """
    names, sizes = weight_names(net.module), dict[str, float]()
    found = {n: g.to(dtype) for n, g in net.earlier.items()}
    for name, g in found.items():
        sizes[name] = float(g.norm())
    for inputs, dys in parts:
        weights = [w.to(dtype).clone() for w in inputs.weights]
        for w in weights if generator is not None else ():
            signs = torch.randint(0, 2, w.shape, generator=generator).to(dtype) * 2 - 1
            w.mul_(1 + torch.finfo(dtype).eps * signs)
        for name, g in zip(names, pass_gradients(net, inputs, dys, weights)):
            found[name] = g if name not in found else found[name] + g
            sizes[name] = sizes.get(name, 0.0) + float(g.norm())
    return found, {n: sizes[n] / (float(found[n].norm()) or math.inf) for n in found}


@torch.enable_grad()
def pass_gradients(
    net: Network, inputs: Inputs, dys: dict[str, torch.Tensor], weights: list[torch.Tensor]
) -> list[torch.Tensor]:
    """The gradients that one pass adds to those of its weights."""
    m, dtype, packed = net.module, weights[0].dtype, inputs.packed
    kernel = next(make(m) for kind, make in KERNELS.items() if isinstance(m, kind))
    x, states = inputs.x.to(dtype), [s.to(dtype) for s in inputs.states]
    weights = [w.requires_grad_() for w in weights]
    if inputs.random is not None:
        torch.set_rng_state(inputs.random)
    if net.is_cell and net.is_lstm:
        out, last = None, lstm_cell(x, *states, *weights)
    elif net.is_cell:
        out, last = None, kernel(x, states[0], *weights)
    else:
        options = (m.bias, m.num_layers, m.dropout, inputs.is_training, m.bidirectional)
        state = states if net.is_lstm else states[0]
        if packed is not None:
            out, *last = kernel(x, packed.batch_sizes, state, weights, *options)
        else:
            out, *last = kernel(x, state, weights, *options, m.batch_first)
    outputs = dict(zip("hc", [last] if isinstance(last, torch.Tensor) else last)) | (
        {} if out is None else {"out": out}
    )
    pairs = [(outputs[name], in_kernel_order(name, dy.to(dtype), packed).reshape(outputs[name].shape))
             for name, dy in dys.items()]  # fmt: skip
    if not pairs:
        return [torch.zeros_like(w) for w in weights]
    results, gradients = map(list, zip(*pairs))
    found = torch.autograd.grad(results, weights, gradients, allow_unused=True)
    return [torch.zeros_like(w) if g is None else g for w, g in zip(weights, found)]


def lstm_cell(x: torch.Tensor, h: torch.Tensor, c: torch.Tensor, W: torch.Tensor, U: torch.Tensor, *biases: Any) -> Any:
    """nn.LSTMCell, but for the path from c to h: the gradient of c that autograd delivers has gone through it."""
    i, f, g, o = (x @ W.T + h @ U.T + sum(biases)).chunk(4, -1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.detach().tanh(), c


def in_kernel_order(name: str, state: torch.Tensor, packed: PackedSequence | None) -> torch.Tensor:
    """A state of the sequences, or its gradient, in the order in which they are packed."""
    if packed is None or packed.sorted_indices is None or name == "out":
        return state
    return state.index_select(-2, packed.sorted_indices)


# -- the step ----------------------------------------------------------------------------------------------------------


class ExpectedStep(NamedTuple):
    """The parameters after a step by a float64 copy of the optimizer, or why that is not known."""

    values: dict[torch.Tensor, torch.Tensor]
    spread: dict[Any, float]
    reason: str = ""


def expected_step(optimizer: torch.optim.Optimizer, parameters: list[torch.nn.Parameter]) -> ExpectedStep:
    """The parameters after the next step."""
    trained = [p for p in parameters if p.grad is not None]
    if type(optimizer) not in OPTIMIZERS:
        return ExpectedStep({}, {}, f"{type(optimizer).__name__} is not one of those that are replayed")
    if not trained or {p.dtype for p in trained} - {torch.float32, torch.float64}:
        return ExpectedStep({}, {}, "no gradient in float32 or float64")
    if not all(bool(v.isfinite().all()) for p in trained for v in (p, p.grad) if v is not None):
        return ExpectedStep({}, {}, "weights or gradients are not finite")
    values, dtype = stepped(optimizer, trained, torch.float64, None), trained[0].dtype
    one = torch.Generator().manual_seed(0)
    copies = [stepped(optimizer, trained, dtype, one) for _ in range(COPIES)]
    spread = {
        p: math.sqrt(sum(float((copy[p].double() - values[p]).norm()) ** 2 for copy in copies) / COPIES)
        for p in trained
    }
    return ExpectedStep(values, spread)


def stepped(
    optimizer: Any, trained: list[torch.nn.Parameter], dtype: torch.dtype, generator: torch.Generator | None
) -> dict[torch.Tensor, torch.Tensor]:
    """The parameters after a step of a copy of an optimizer. generator: changes the gradients by an ulp at random."""
    copies, groups, own = dict[torch.Tensor, torch.nn.Parameter](), [], set(trained)
    for group in optimizer.param_groups:
        options = {n: float(v) if isinstance(v, torch.Tensor) else v for n, v in group.items() if n != "params"}
        chosen = [p for p in group["params"] if p in own]
        for p in chosen:
            copies[p] = torch.nn.Parameter(p.detach().to(dtype, copy=True))
            gradient = copies[p].grad = p.grad.detach().to(dtype, copy=True)
            if generator is not None:
                gradient *= 1 + torch.finfo(dtype).eps * (torch.randint(0, 2, p.shape, generator=generator) * 2.0 - 1)
        if chosen:
            groups.append(options | {n: v for n, v in IMPLEMENTATION.items() if n in options}
                          | {"params": [copies[p] for p in chosen]})  # fmt: skip
    copy = type(optimizer)(groups, lr=groups[0]["lr"])
    for p in trained:
        if p in optimizer.state:
            copy.state[copies[p]] = {n: as_dtype(n, v, dtype) for n, v in optimizer.state[p].items()}
    with torch.no_grad():
        inspect.unwrap(type(copy).step)(copy)  # without the hooks of all optimizers
    return {p: copies[p].detach() for p in trained}


def as_dtype(name: str, value: Any, dtype: torch.dtype) -> Any:
    """A copy of a part of the state of an optimizer."""
    if not isinstance(value, torch.Tensor):
        return value
    return value.clone() if name == "step" else value.detach().to(dtype, copy=True)


def check_step(expected: ExpectedStep, names: dict[str, torch.nn.Parameter]) -> Check:
    """Compare the parameters after a step with the expected ones."""
    if expected.reason:
        return Check(None, reason=expected.reason)
    named = {name: p for name, p in names.items() if p in expected.values}
    errors, wrong = dict[str, float](), list[str]()
    for name, p in named.items():
        limit = ALLOWED * expected.spread[p] + 2 * torch.finfo(p.dtype).eps * float(expected.values[p].norm())
        error = float((p.detach().double() - expected.values[p]).norm())
        errors[name] = relative(p.detach(), expected.values[p])
        if not error <= limit:
            wrong.append(name)
    worst = max(wrong or errors, key=lambda name: errors[name])
    return Check(errors[worst], not wrong, "", worst)
