"""The numbers of the component matrix in another way, and the rounding bounds of its components."""

import math

import numpy as np

from numpy_rnn import Gradients
from numpy_rnn.conformance.bounds.global_bounds import global_bounds
from numpy_rnn.conformance.bounds.rounding import Rounded, Rounding
from numpy_rnn.conformance.case import Case
from numpy_rnn.study.checks.complex_step import unrolled
from numpy_rnn.study.components.matrix import components_by_complex_step

ROUNDING = Rounding(np.float64)


def initial_state(setting, params):
    """The state that enters the series, learned or not."""
    return setting.h_0 if params.h_0 is None else params.h_0


def bounds_of_components(setting, params):
    """E of every component, (T, T, *shape of θ), and of every t the `global_bounds` of its case; their E is carried
    through the one product that makes a component, (B4) to (B9).
    """
    h_0, T, phi = initial_state(setting, params), len(setting.x), setting.configuration.nonlinearity
    E = Gradients(*(None if theta is None else np.zeros((T, T, *theta.shape)) for theta in params))
    cases = []
    for t in range(1, T + 1):
        result = global_bounds(Case(params, setting.x[:t], setting.target[t - 1 : t], h_0, 0.0, phi, "sum"))
        cases.append(result)
        h, da, dy = (Rounded(np.abs(result[name][0].high), result[name][1]) for name in ("h", "da", "dy"))
        for s in range(1, t + 1):
            before = h[s - 2] if s > 1 else ROUNDING.given(h_0)
            at = t - 1, s - 1
            E.W_xh[at] = ROUNDING.product(ROUNDING.given(setting.x[s - 1]).mT, da[s - 1])
            E.W_hh[at] = ROUNDING.product(before.mT, da[s - 1])
            if params.b_h is not None:
                E.b_h[at] = ROUNDING.sum(da[s - 1])
        E.W_hy[t - 1, t - 1] = ROUNDING.product(h[t - 1].mT, dy[t - 1])
        if params.b_y is not None:
            E.b_y[t - 1, t - 1] = ROUNDING.sum(dy[t - 1])
        if params.h_0 is not None:
            E.h_0[t - 1, 0] = result["dh_0"][1]
    return E, cases


def kept_components(T, k1, k2):
    """DERIVATION.md, section 5, transcribed: (t, s) of the components that are kept, and K of the update of each t."""
    e, n, kept, counted = {0: 0}, 0, set(), {}
    while e[n] < T:
        n += 1
        e[n] = min(n * k1, T)
        s_n = max(0, e[n] - k2)
        for t in range(e[n - 1] + 1, e[n] + 1):
            counted[t] = e[n] - e[n - 1]
            kept |= {(t, s) for s in range(s_n + 1, t + 1)}
    return kept, counted


def components_in_another_way(setting, params):
    """All numbers of the component matrix of one network, from its components by complex step and by plain loops."""
    h_0, T, phi = initial_state(setting, params), len(setting.x), setting.configuration.nonlinearity
    present = {name: theta.size for name, theta in params._asdict().items() if theta is not None}
    every, steps = np.arange(sum(present.values())), range(1, T + 1)
    of_steps = [components_by_complex_step(params, setting.x, setting.target, h_0, phi, s, every) for s in steps]
    G = np.stack(of_steps, axis=1)
    recurrent = G[..., np.repeat(list(present), list(present.values())) == "W_hh"]
    sizes = np.sqrt(np.sum(G**2, axis=-1))
    lags = [[sizes[t, t - lag] for t in range(lag, T)] for lag in range(T)]

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

    activations = unrolled([params] * T, setting.x, h_0, phi)
    h = activations.h[1:, 0]
    slope = 1 - h**2 if phi == "tanh" else 1.0 * (h > 0)
    truncations = {"chunks": lambda k: (k, k), "sliding": lambda k: (1, k)}
    return {
        "heat": sizes,
        "lag": {name: [of(v) for v in lags] for name, of in (("mean", np.mean), ("largest", max), ("smallest", min))},
        "reach": {"50": reach(0.5), "90": reach(0.9), "99": reach(0.99)},
        "cost": {
            name: {
                kind: {part: [cost(components, *of(k))[part] for k in range(1, T + 1)] for part in ("cosine", "bias")}
                for kind, of in truncations.items()
            }
            for name, components in (("all", G), ("W_hh", recurrent))
        },
        "of_mask": lambda k1, k2: cost(G, k1, k2) | {"share": summed(sizes, k1, k2) / sizes.sum()},
        "spectral_radius": max(abs(np.linalg.eigvals(params.W_hh))),
        "slope": slope.mean(),
        "saturated": np.mean(slope < 0.19),
        "losses": [np.sum((activations.y[t] - setting.target[t]) ** 2) / 2 for t in range(T)],
        "gradient_norm": math.sqrt(np.sum(summed(G, T, T) ** 2)),
    }
