"""The gradient of a recurrent module by hand, and the step of torch.optim.SGD, within their rounding bounds.

The gradient of the weights is that of numpy_rnn's backward pass, (B2) to (B5) and (B7), in float64, from the inputs and
states of every pass that the gradient went through and from the gradients of its outputs, which autograd computed. A
layer below the last is computed from the inputs, since nn.RNN does not return its states.

Notation: v the exact value, ṽ what is computed, |ṽ − v| ≤ E; γ_n = n·u/(1 − n·u), to which the own rounding of the
check in float64 is added. Source: Higham, Accuracy and Stability of Numerical Algorithms, 2nd edition, 3.1 to 3.5.
"""

from typing import Any

import numpy as np
import torch
from torch import nn

from numpy_rnn.bptt import SLOPES, backward
from numpy_rnn.common.records import Activations, Gradients, NumpyArray, Objective, Parameters, Step, WindowCase
from numpy_rnn.conformance.bounds.local_bounds import TAU, Bound, ratios
from numpy_rnn.conformance.bounds.rounding import UPWARDS, Near
from numpy_rnn.conformance.bounds.step import StepBounds
from numpy_rnn.elman import NONLINEARITIES
from numpy_rnn.loss import Terms
from torch_rnn.loop_audit.loop_windows import by_time
from torch_rnn.loop_audit.records import Check, Clip, Network, Pass

BOUND: Any = Bound  # untyped
IDENTITY: Any = lambda y, given: given  # noqa: E731 - the gradient of the outputs is given


def obstacle(module: nn.Module) -> str:
    """Why the gradient of a module cannot be checked; empty if it can."""
    names = dict(module.named_parameters(recurse=False))
    dtype = next((p.dtype for p in names.values()), None)
    reasons = {
        "only those of nn.RNN and nn.RNNCell are": not isinstance(module, nn.RNN | nn.RNNCell),
        "it is bidirectional": getattr(module, "bidirectional", False),
        "dropout between its layers is random": getattr(module, "dropout", 0) and getattr(module, "num_layers", 1) > 1,
        "its weights are computed from other parameters": not {"weight_hh_l0", "weight_hh"} & set(names),
        f"it is computed in {dtype}".replace("torch.", ""): dtype not in (torch.float32, torch.float64),
    }
    return next((reason for reason, holds in reasons.items() if holds), "")


def check_gradient(net: Network, passes: list[Pass]) -> Check:
    """Compare the gradients after the latest backward pass with those by hand, summed over the passes."""
    names = [name for name, _ in net.module.named_parameters(recurse=False)]
    trained = [name for name, p in net.module.named_parameters(recurse=False) if p.requires_grad]
    has_hooks = any(p._backward_hooks or p._post_accumulate_grad_hooks for p in net.parameters)
    is_known = passes and all(each.arrays for each in passes) and len(net.gradients) == len(trained)
    reasons = {
        net.obstacle: net.obstacle,
        "it contains the gradients of earlier updates": net.is_stale,
        "its parameters have hooks, which may change it": has_hooks,
        "it goes through packed sequences, old passes or torch.autograd.grad": not is_known,
    }
    for reason, holds in reasons.items():
        if holds:
            return Check(None, reason)
    weights = {name: as_float64(weight) for name, weight in zip(names, net.weights)}
    bound: Any = BOUND(np.dtype(str(net.weights[0].dtype).removeprefix("torch.")))
    parts = [pass_gradient(net, weights, each, bound) for each in passes]
    found = []
    for name, reported in zip(trained, net.gradients):
        value, E = (sum(getattr(part[name], key) for part in parts) for key in ("value", "E"))
        if len(parts) > 1:
            E = E + bound.gamma(len(parts)) * sum(part[name].max_abs for part in parts)
        found.append(Check(float(np.max(ratios(as_float64(reported) - value, E))), "", name))
    return max(found)


def change(net: Network) -> Clip | None:
    """What the script itself did to the gradient since the backward pass; None if nothing, or if that is not known."""
    now = [p.grad.detach() for p in net.parameters if p.grad is not None]
    if len(net.gradients) != len(now) or all(torch.equal(a, b) for a, b in zip(net.gradients, now)):
        return None
    limit = max(float(g.abs().max()) for g in now)
    is_clamped = all(torch.equal(a.clamp(-limit, limit), b) for a, b in zip(net.gradients, now))
    return Clip("value" if is_clamped else "changed", limit, "")


def as_float64(tensor: torch.Tensor) -> NumpyArray:
    """The numbers of a tensor as an array of float64."""
    return tensor.detach().cpu().double().numpy()


def pass_gradient(net: Network, weights: dict[str, NumpyArray], each: Pass, bound: Any) -> dict[str, Near]:
    """The gradients that one pass adds to those of the weights, by their names in the module."""
    arrays, L, zeros = each.arrays or {}, getattr(net.module, "num_layers", 1), torch.zeros(())
    x, out = (as_float64(by_time(net, arrays[name], each)) for name in ("x", "h" if net.is_cell else "out"))
    shape = (L, each.batch, net.module.hidden_size)
    h_0, dh_last = (
        np.broadcast_to(as_float64(given).reshape(shape if given.dim() else ()), shape)
        for given in (arrays.get("h_0", zeros), each.dy.get("h", zeros))
    )
    suffixes = [""] if net.is_cell else [f"_l{l}" for l in range(L)]
    layers, inputs, states = [layer_weights(weights, suffix) for suffix in suffixes], [exact(x)], []
    for l, layer in enumerate(layers[:-1]):
        states.append(forward_layer(layer, inputs[-1], h_0[l], net, bound))
        inputs.append(Near(states[-1].value[1:], states[-1].E[1:]))
    states.append(exact(np.concatenate((h_0[-1:], out))))
    flow = exact(as_float64(by_time(net, each.dy["out"], each)) if "out" in each.dy else np.zeros_like(out))
    found: dict[str, Near] = {}
    for l in reversed(range(L)):
        size = np.abs(flow.value[-1]) + np.abs(dh_last[l])
        flow.value[-1] += dh_last[l]
        flow.E[-1] += bound.gamma(2) * size * bool(dh_last[l].any())
        gradients, flow = backward_layer(layers[l], inputs[l], states[l], flow, net, bound)
        found |= {name + suffixes[l]: gradient for name, gradient in gradients.items()}
    return found


def exact(value: NumpyArray) -> Near:
    """Numbers without an error; a copy."""
    return Near(value.copy(), np.zeros_like(value))


def layer_weights(weights: dict[str, NumpyArray], suffix: str) -> tuple[NumpyArray, NumpyArray, list[NumpyArray]]:
    """W_xh (D, H), W_hh (H, H) and the biases of one layer."""
    biases = [weights[name + suffix] for name in ("bias_ih", "bias_hh") if name + suffix in weights]
    return weights["weight_ih" + suffix].T, weights["weight_hh" + suffix].T, biases


Weights = tuple[NumpyArray, NumpyArray, list[NumpyArray]]


def forward_layer(weights: Weights, x: Near, h_0: NumpyArray, net: Network, bound: Any) -> Near:
    """The states h_0 to h_T of a layer, (F1) and (F2), with their errors."""
    (W_xh, W_hh, biases), name = weights, net.module.nonlinearity
    rows, states = np.concatenate((W_xh, W_hh, *(b[None] for b in biases))), [exact(h_0)]
    ones, norm, sigma = np.ones((len(h_0), len(biases))), np.zeros((len(h_0), 1)), np.linalg.norm(W_hh, 2)
    for t in range(len(x.value)):
        inputs = Near(*(np.concatenate((x[k][t], states[-1][k], (1 - k) * ones), axis=-1) for k in (0, 1)))
        a, E = bound.product(inputs, bound.given(rows))
        h = NONLINEARITIES[name](a)
        E_own = 0 * h if name == "relu" else TAU.relative * bound.gamma(1) * np.abs(h) + bound.flushes(1)
        norm = norms(E - states[-1].E @ np.abs(W_hh) + E_own) + sigma * norm
        states.append(Near(h, np.minimum(E + E_own, norm)))
    return Near(np.stack([h.value for h in states]), np.stack([h.E for h in states]))


def norms(E: NumpyArray) -> NumpyArray:
    """The 2-norms of rows."""
    return np.asarray(np.linalg.norm(E, axis=-1, keepdims=True) * UPWARDS)


def backward_layer(
    weights: Weights, x: Near, h: Near, dy: Near, net: Network, bound: Any
) -> tuple[dict[str, Near], Near]:
    """The gradients of the weights of a layer and of its inputs, from those of its states h_1 to h_T.

    The error of (B2) at every step is E_dy + γ_n (|dy| + |da'||W|) + E_da'|W|, with n = H + 2 and da' that of the next
    step; (B3) is a product with the slope, which is off by 2|h|E_h + E_h² + γ_2 max(|h|, h²). An error e' of da' adds
    e'Wᵀ to dh, whose elements are at most ‖e'‖ σ(W): the smaller of the two bounds counts.
    """
    (W_xh, W_hh, biases), name = weights, net.module.nonlinearity
    slope, H = SLOPES[name], len(W_hh)
    states = h.value[1:]
    params = Parameters(W_xh, W_hh, np.eye(H), biases[0] if biases else None)
    activations, ones = Activations(x.value, states, h.value, states), np.ones(())
    flow: Any = backward(params, activations, Terms(dy.value, ones, ones), slope, IDENTITY)
    S, size, E_h = slope(states), np.abs(states), h.E[1:]
    if name == "relu":
        E_S = ((size <= E_h) & (E_h > 0)).astype(np.float64)
    else:
        most = size + E_h
        E_S = E_h * (2 * size + E_h) + bound.gamma(2) * np.maximum(most, most**2)
    gamma, W, sigma, E = bound.gamma(H + 2), np.abs(W_hh.T), np.linalg.norm(W_hh, 2), np.zeros_like(flow.da)
    E_next, size, norm = np.zeros_like(flow.da[0]), np.zeros_like(flow.da[0]), np.zeros((len(flow.da[0]), 1))
    for t in reversed(range(len(E))):
        own = dy.E[t] + gamma * (np.abs(dy.value[t]) * bool(size.any()) + size @ W)
        norm = norms(own) + sigma * norm
        E_dh = np.minimum(own + E_next @ W, norm)
        largest = np.abs(flow.dh[t]) + E_dh
        own = largest * E_S[t] + bound.gamma(3) * largest * (S[t] + E_S[t]) + bound.flushes(1)
        norm = S[t].max(-1, keepdims=True) * norm + norms(own)
        E_next = np.minimum(E_dh * S[t] + own, norm)
        E[t], size = E_next, np.abs(flow.da[t]) + E_next
    da = Near(flow.da, E)
    before = Near(h.value[:-1], h.E[:-1])
    found = {}
    for weight, left in (("weight_ih", x), ("weight_hh", before)):
        found[weight] = bound.product(left.rows.mT, da.rows).mT  # (B4), (B5), in the shape of torch
    for bias in ("bias_ih", "bias_hh")[: len(biases)]:
        found[bias] = bound.sum(da.rows)  # (B7)
    return found, bound.product(da, exact(W_xh.T))


Before = list[tuple[torch.nn.Parameter, list[Any], dict[str, Any]]]  # an array is None where there is none


def before_sgd(optimizer: torch.optim.Optimizer, parameters: list[torch.nn.Parameter]) -> Before:
    """Copies of each parameter, its gradient and its velocity before the step, with its options."""
    found, own = Before(), {id(p) for p in parameters}
    for group in optimizer.param_groups:
        for p in (p for p in group["params"] if id(p) in own and p.grad is not None):
            values = p, p.grad, optimizer.state.get(p, {}).get("momentum_buffer")
            rows = [None if v is None else v.detach().clone().cpu().numpy().reshape(1, -1) for v in values]
            found.append((p, rows, dict(group)))
    return found


def check_step(optimizer: torch.optim.Optimizer, before: Before) -> Check:
    """Compare the parameters with those of the SGD step by hand, (U1) and (U4) to (U6)."""
    if type(optimizer) is not torch.optim.SGD:
        return Check(None, "only that of torch.optim.SGD is")
    worst = 0.0
    for p, (theta, gradient, velocity), options in before:
        if options["maximize"] or p.dtype not in (torch.float32, torch.float64):
            return Check(None, "only descent in float32 or float64 is")
        names = ("momentum", "dampening", "nesterov", "weight_decay")
        step = Step(float(options["lr"]), **{name: options[name] for name in names})
        v = None if velocity is None else Gradients(None, velocity, None)
        case = WindowCase(Parameters(None, theta, None), None, None, None, None, Objective(), step, v)
        bounds = StepBounds(case, BOUND(theta.dtype))
        given = bounds.given(gradient)
        value, E = bounds.updated(given, bounds.velocity(bounds.decayed(given)))["W_hh"]
        worst = max(worst, float(np.max(ratios(as_float64(p).reshape(1, -1) - value, E))))
    return Check(worst)
