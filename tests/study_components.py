"""The numbers of the component matrix in another way, and the rounding bounds of its components."""

import math

import numpy as np

from numpy_rnn import Gradients, Parameters
from numpy_rnn.common.records import Objective, Step, WindowCase
from numpy_rnn.conformance.bounds.global_bounds import global_bounds
from numpy_rnn.conformance.bounds.rounding import Near, Rounding
from numpy_rnn.study.checks.complex_step import step_losses, unrolled
from numpy_rnn.study.components.matrix import IMAGINARY, components_by_complex_step

ROUNDING = Rounding(np.float64)


def bounds_of_components(subject, params):
    """E of every component, (T, T, *shape of θ), and for every t the `global_bounds` of its case; their E is carried
    through the one product that makes a component, (B4) to (B9).
    """
    h_0, T, phi = subject.initial_state(params), len(subject.x), subject.nonlinearity
    E = Gradients(*(None if theta is None else np.zeros((T, T, *theta.shape)) for theta in params))
    cases = []
    for t in range(1, T + 1):
        case = WindowCase(params, subject.x[:t], subject.target[t - 1 : t], h_0, None, Objective(phi), None)
        result = global_bounds(case)
        cases.append(result)
        h, da, dy = (Near(result[name][0].high, result[name][1]) for name in ("h", "da", "dy"))
        for s in range(1, t + 1):
            before = h.at(s - 2) if s > 1 else ROUNDING.given(h_0)
            at = t - 1, s - 1
            E.W_xh[at] = ROUNDING.product(ROUNDING.given(subject.x[s - 1]).mT, da.at(s - 1)).E
            E.W_hh[at] = ROUNDING.product(before.mT, da.at(s - 1)).E
            if params.b_h is not None:
                E.b_h[at] = ROUNDING.sum(da.at(s - 1)).E
        E.W_hy[t - 1, t - 1] = ROUNDING.product(h.at(t - 1).mT, dy.at(t - 1)).E
        if params.b_y is not None:
            E.b_y[t - 1, t - 1] = ROUNDING.sum(dy.at(t - 1)).E
        if params.h_0 is not None:
            E.h_0[t - 1, 0] = result["dh_0"][1]
    return E, cases


def bounds_of_jacobian(subject, params: Parameters, t: int, j: int, h_tj: float):
    """Column j of ∂h_t/∂h_s for s = 1 to t, (t, H): its balls, and the rounding error of a correct computation.

    It is the dh_s of a window whose loss is ½ of the error squared of y_t = h_{t,j} against a target 1 below it, so
    that dy_t is 1, but for the rounding of that target.
    """
    one = params._replace(
        W_hy=np.eye(len(params.W_hh))[:, [j]], b_y=None if params.b_y is None else np.zeros(1), h_0=None
    )
    target, h_0 = np.full((1, 1, 1), h_tj - 1), subject.initial_state(params)
    values = global_bounds(
        WindowCase(one, subject.x[:t], target, h_0, None, Objective(subject.nonlinearity), Step(0.0))
    )
    dh, E = values["dh"]
    off_one = np.abs(values["dy"][0].difference(1.0))[-1, 0, 0]
    return dh.high[:, 0] + dh.low[:, 0], E[:, 0] + dh.radius[:, 0] + 2 * off_one * np.abs(dh.high[:, 0])


def kept_components(T, k1, k2):
    """DERIVATION.md, section 5, transcribed: (t, s) of the components that are kept, and K of the update of each t."""
    e, n, kept, steps_with_loss = {0: 0}, 0, set(), {}
    while e[n] < T:
        n += 1
        e[n] = min(n * k1, T)
        s_n = max(0, e[n] - k2)
        for t in range(e[n - 1] + 1, e[n] + 1):
            steps_with_loss[t] = e[n] - e[n - 1]
            kept |= {(t, s) for s in range(s_n + 1, t + 1)}
    return kept, steps_with_loss


def components_in_another_way(subject, params):
    """All numbers of the component matrix of one network, from its components by complex step and by plain loops."""
    h_0, T, phi = subject.initial_state(params), len(subject.x), subject.nonlinearity
    present = {name: theta.size for name, theta in params._asdict().items() if theta is not None}
    every, steps = np.arange(sum(present.values())), range(1, T + 1)
    columns = [components_by_complex_step(params, subject.x, subject.target, h_0, phi, s, every) for s in steps]
    G = np.stack(columns, axis=1)
    sizes = np.sqrt(np.sum(G**2, axis=-1))

    def summed(components, k1, k2):
        return sum(components[t - 1, s - 1] for t, s in kept_components(T, k1, k2)[0])

    def cost(components, k1, k2):
        some, full = summed(components, k1, k2), summed(components, T, T)
        norms = [math.sqrt(v @ v) for v in (some, full, some - full)]
        return {"cosine": some @ full / (norms[0] * norms[1]), "bias": norms[2] / norms[1]}

    def reach(share):
        """For each t, how many norms, from s = t backwards, are needed for this share of them all."""
        needed = []
        for t in range(T):
            sums = [sum(sizes[t, t - n] for n in range(count)) for count in range(1, t + 2)]
            needed.append(1 + sum(total < share * sums[-1] for total in sums))
        return sum(needed) / T

    truncations = {"chunks": lambda k: (k, k), "sliding": lambda k: (1, k)}
    costs = {
        kind: {part: [cost(G, *of(k))[part] for k in steps] for part in ("cosine", "bias")}
        for kind, of in truncations.items()
    }
    y = unrolled([params] * T, subject.x, h_0, phi).y
    return {
        "cost": costs,
        "norms": sizes,
        "lag": [np.mean([sizes[t, t - lag] for t in range(lag, T)]) for lag in range(T)],
        "reach": reach(0.9),
        "cancellation": sizes.sum() / math.sqrt(np.sum(summed(G, T, T) ** 2)),
        "of_mask": lambda k1, k2: cost(G, k1, k2) | {"share": summed(sizes, k1, k2) / sizes.sum()},
        "spectral_radius": max(abs(np.linalg.eigvals(params.W_hh))),
        "loss": step_losses(y, subject.target).sum(),
        "gradient_norm": math.sqrt(np.sum(summed(G, T, T) ** 2)),
    }


def jacobians_by_complex_step(params, x, h_0, nonlinearity, s):
    """∂h_t/∂h_s of the first sequence for t = 0 to T, (T+1, H, H): each unit of h_s is perturbed in turn."""
    added = {("h", s): 1j * IMAGINARY * np.eye(len(params.W_hh))[:, None, :]}
    return unrolled([params] * len(x), x, h_0, nonlinearity, added).h[:, :, 0].imag / IMAGINARY


def growth_in_another_way(subject, params):
    """The largest singular values of ∂h_t/∂h_s by complex step: their means by lag, and the growth over all steps."""
    h_0, T, phi = subject.initial_state(params), len(subject.x), subject.nonlinearity
    J = np.stack([jacobians_by_complex_step(params, subject.x, h_0, phi, s) for s in range(T + 1)], axis=1)
    sizes, every = np.linalg.norm(J, 2, axis=(-2, -1)), range(T + 1)
    h = unrolled([params] * T, subject.x, h_0, phi).h[1:, 0]
    slope = 1 - h**2 if phi == "tanh" else 1.0 * (h > 0)
    return {
        "spectral_radius": max(abs(np.linalg.eigvals(params.W_hh))),
        "slope": slope.mean(),
        "saturated": np.mean(slope < 0.19),
        "by_lag": [np.mean([sizes[t, t - lag] for t in every[lag:]]) for lag in every],
        "at_longest": sizes[T, 0],
        "per_step": math.exp(math.log(sizes[T, 0]) / T),
    }
