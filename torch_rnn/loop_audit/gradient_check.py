"""The gradient of a recurrent module by hand, and the step of torch.optim.SGD, within their rounding bounds.

The gradient is (B2) to (B5) and (B7), in float64, from the inputs and states of every pass that it went through and
from the gradients of its outputs, which autograd computed. The states of a layer below the last are computed from the
inputs, (F1) and (F2), since nn.RNN does not return them.

Notation: v the exact value, ṽ what is computed, |ṽ − v| ≤ E; γ_n = n·u/(1 − n·u), to which the own rounding of the
check in float64 is added. From step to step e = ‖ṽ − v‖, the 2-norm over the units, is carried: a product with W
multiplies it by the spectral norm of W at most, and φ by the largest slope, so that it does not grow as |W| does. A
Near of one step has v (B, n) and, for E, this e of each row, (B, 1).
Source: Higham, Accuracy and Stability of Numerical Algorithms, 2nd edition, 3.1 to 3.5.
"""

from typing import Any

import numpy as np
import torch
from torch import nn

from numpy_rnn.backward import SLOPES
from numpy_rnn.common.records import Gradients, NumpyArray, Objective, Parameters, Step, WindowCase
from numpy_rnn.conformance.bounds.local_bounds import TAU, Bound, ratios
from numpy_rnn.conformance.bounds.rounding import UPWARDS, Near
from numpy_rnn.conformance.bounds.step import StepBounds
from numpy_rnn.elman import NONLINEARITIES
from torch_rnn.loop_audit.records import Check, Clip, Copies, Network, Pass


def obstacle(net: Network, gradients: Copies) -> str:
    """Why the gradient of a network cannot be checked; empty if it can."""
    module, named = net.module, dict(net.module.named_parameters(recurse=False))
    arrays = [array for each in net.reached for array in each.arrays.values()]
    dtypes = {str(array.dtype).removeprefix("torch.") for array in (*named.values(), *arrays)}
    is_whole = all("x" in each.arrays for each in net.reached) and gradients.keys() >= set(net.parameters)
    reasons = {
        "only those of nn.RNN and nn.RNNCell are": not isinstance(module, nn.RNN | nn.RNNCell),
        "it is bidirectional": getattr(module, "bidirectional", False),
        "dropout between its layers is random": getattr(module, "dropout", 0) and module.num_layers > 1,
        "its weights are computed from other parameters": not {"weight_hh_l0", "weight_hh"} & set(named),
        f"it is computed in {' and '.join(sorted(dtypes))}": dtypes not in ({"float32"}, {"float64"}),
        "it contains the gradients of earlier updates": net.is_used,
        "its parameters have hooks": any(p._backward_hooks or p._post_accumulate_grad_hooks for p in named.values()),
        "it goes through packed sequences or torch.autograd.grad, or a parameter has none": not is_whole,
    }
    return next((reason for reason, holds in reasons.items() if holds), "")


def check_gradient(net: Network, weights: Copies, gradients: Copies) -> Check:
    """Compare the gradients after the latest backward pass with those by hand, summed over the reached passes."""
    if reason := obstacle(net, gradients):
        return Check(None, reason)
    named = dict(net.module.named_parameters(recurse=False))
    arrays = [np.atleast_2d(as_float64(weights[p])) for p in named.values()]
    bound: Any = Bound(gradients[net.parameters[0]].cpu().numpy().dtype)  # type: ignore[no-untyped-call]
    parts = [pass_gradients(net, each, dy, arrays, bound) for each, dy in net.reached.items()]
    found = []
    for (name, p), terms in zip(named.items(), zip(*parts)):
        if p.requires_grad:
            rounding = bound.gamma(len(terms) - 1) * sum(term.max_abs for term in terms)
            value, E = (sum(each) for each in zip(*terms))
            found.append(Check(worst(gradients[p], value, E + rounding), "", name))
    return max(found)


def clip_by_script(net: Network, gradients: Copies) -> Clip | None:
    """The change that the script itself made to the gradient since the backward pass; None if nothing."""
    now = [(gradients[p], p.grad) for p in net.parameters if p.grad is not None and p in gradients]
    if all(torch.equal(before, after) for before, after in now):
        return None
    return Clip("script", max(float(after.abs().max()) for _, after in now), "", len(now))


def as_float64(tensor: torch.Tensor) -> NumpyArray:
    """The numbers of a tensor as an array of float64."""
    return tensor.detach().cpu().double().numpy()


def worst(reported: torch.Tensor, value: NumpyArray, E: NumpyArray) -> float:
    """The largest difference, in units of what is allowed."""
    return float(np.max(ratios(as_float64(reported).reshape(value.shape) - value, E)))


Term = tuple[Near, NumpyArray, float]  # v, W and the spectral norm of W


def norm(E: NumpyArray) -> NumpyArray:
    """The 2-norms of rows."""
    return np.asarray(np.linalg.norm(E, axis=-1, keepdims=True) * UPWARDS)


def exact(tensor: torch.Tensor | None, *shape: int) -> list[Near]:
    """The numbers (T, B, n) of a tensor, zeros for None, of every step and without an error."""
    values = np.zeros(shape) if tensor is None else as_float64(tensor).reshape(*shape[:2], -1)
    return [Near(value, np.zeros((len(value), 1))) for value in values]


def sum_of_products(bound: Any, terms: list[Term]) -> Near:
    """Σ v W as one sum, in any order."""
    n = sum(len(W) for _, W, _ in terms)
    size: Any = sum(v.max_abs @ abs(W) for v, W, _ in terms)
    e = norm(bound.gamma(n) * size + bound.flushes(n)) + sum(sigma * v.E for v, _, sigma in terms)
    return Near(sum(v.value @ W for v, W, _ in terms), e)


def apply_slope(bound: Any, dh: Near, h: Near, nonlinearity: str) -> Near:
    """(B3): tanh' is off by E = e (2|h| + e) + γ_2 max(|h|, h²), and relu' is open where |h| ≤ e."""
    slope, size = SLOPES[nonlinearity](h.value), abs(h.value)
    E = h.E * (2 * size + h.E) + bound.gamma(2) * np.maximum(h.max_abs, h.max_abs**2)
    if nonlinearity == "relu":
        E = ((size <= h.E) & (h.E > 0)).astype(float)
    own = dh.max_abs * (E + bound.gamma(3) * (slope + E)) + bound.flushes(1)
    return Near(dh.value * slope, slope.max(-1, keepdims=True) * dh.E + norm(own))


def weight_gradient(bound: Any, das: list[Near], left: list[Near]) -> Near:
    """(B4), (B5), (B7): the sum of daᵀ v over steps and batch, in the shape of torch, and E of each number.

    E = γ_n (|da| + e_da)ᵀ(|v| + e_v) + e_daᵀ(|v| + e_v) + |da|ᵀ e_v, with n terms.
    """
    v, da = (Near(*map(np.concatenate, zip(*each))) for each in (left, das))
    n = len(v.value)
    E = (bound.gamma(n) * da.max_abs + da.E).T @ v.max_abs + abs(da.value).T @ (v.E + 0 * v.value) + bound.flushes(n)
    return Near(da.value.T @ v.value, E * UPWARDS)


def pass_gradients(
    net: Network, each: Pass, dy: dict[str, torch.Tensor], weights: list[NumpyArray], bound: Any
) -> list[Near]:
    """The gradients that one pass adds to those of the parameters, in their order."""
    T, B, H, phi, arrays = each.steps, each.batch, net.module.hidden_size, net.module.nonlinearity, each.arrays
    count, sigmas = 2 + 2 * net.module.bias, [float(np.linalg.norm(W, 2)) for W in weights]
    layers = [(weights[i : i + count], sigmas[i : i + 2]) for i in range(0, len(weights), count)]
    initial, one = exact(arrays.get("h_0"), len(layers), B, H), exact(torch.ones(1, B, 1), 1, B)[0]
    inputs, states = [exact(arrays["x"], T, B)], list[list[Near]]()
    for h_0, ((W_ih, W_hh, *biases), (sigma_x, sigma_h)) in zip(initial, layers[:-1]):
        h = [h_0]
        for x_t in inputs[-1]:
            terms = [(x_t, W_ih.T, sigma_x), (h[-1], W_hh.T, sigma_h), *((one, b, 0.0) for b in biases)]
            a = sum_of_products(bound, terms)  # (F1)
            h_t = NONLINEARITIES[phi](a.value)  # (F2), off by τu|h|
            rounding = TAU.relative * bound.gamma(1) * (abs(h_t) + a.E) + bound.flushes(1)
            h.append(Near(h_t, a.E + norm(rounding)))
        inputs.append(h[1:])
        states.append(h)
    states.append([initial[-1], *exact(arrays["h" if net.is_cell else "out"], T, B)])
    found, above = list[Near](), [[(dy_t, np.eye(H), 1.0)] for dy_t in exact(dy.get("out"), T, B, H)]
    last = zip(layers, inputs, states, exact(dy.get("h"), len(layers), B, H))
    for ((W_ih, W_hh, *biases), (sigma_x, sigma_h)), x, h, dh in reversed([*last]):
        above[-1].append((dh, np.eye(H), 1.0))
        das = list[Near]()
        for terms, h_t in zip(reversed(above), reversed(h)):
            later = [(das[0], W_hh, sigma_h)] if das else []
            das.insert(0, apply_slope(bound, sum_of_products(bound, terms + later), h_t, phi))  # (B2), (B3)
        above = [[(da, W_ih, sigma_x)] for da in das]
        found[:0] = [weight_gradient(bound, das, left) for left in (x, h[:-1], *([one] * T for _ in biases))]
    return found


ExpectedStep = list[tuple[torch.nn.Parameter, NumpyArray, NumpyArray]]  # a parameter, its value after a step, and E


def expected_step(optimizer: torch.optim.Optimizer, parameters: list[torch.nn.Parameter]) -> ExpectedStep:
    """The parameters after the SGD step by hand, (U1) and (U4) to (U6); empty if that is not known."""
    found, own = ExpectedStep(), set(parameters)
    names = ("momentum", "dampening", "nesterov", "weight_decay")
    for group in optimizer.param_groups if type(optimizer) is torch.optim.SGD else ():
        step = Step(float(group["lr"]), **{name: group[name] for name in names})
        for p in (p for p in group["params"] if p in own and p.grad is not None):
            if group["maximize"] or p.dtype not in (torch.float32, torch.float64):
                return ExpectedStep()
            values = p, p.grad, optimizer.state.get(p, {}).get("momentum_buffer")
            theta, gradient, v = (None if v is None else v.detach().cpu().numpy().reshape(1, -1) for v in values)
            velocity = None if v is None else Gradients(None, v, None)
            case = WindowCase(Parameters(None, theta, None), None, None, None, None, Objective(), step, velocity)
            bounds = StepBounds(case, Bound(theta.dtype))  # type: ignore[no-untyped-call, union-attr]
            given = bounds.given(gradient)
            found.append((p, *bounds.updated(given, bounds.velocity(bounds.decayed(given)))["W_hh"]))
    return found
