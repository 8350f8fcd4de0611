"""The matrix of temporal components, and what a mask costs (DERIVATION.md, 5.3).

Step s has its own copy θ_s of the parameters. The temporal component (t, s) of the
gradient is ∂ℓ_t/∂θ_s, not divided by the C of (L2), and zero for s > t.

Source: the term "temporal component" is from Pascanu, Mikolov and Bengio 2013; Cashman
et al. 2019 (RNNbow) plot the same numbers as itemized gradients. Relative bias: Aicher,
Foti and Fox 2019.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

import numpy_rnn
from numpy_rnn.common.records import Activations
from numpy_rnn.conformance.case import present
from numpy_rnn.study.subject import NumpyParameters, Subject, Trained

TRUNCATION_KINDS = ("chunks", "sliding")  # of truncations: (k, k) and (1, k)


def component_matrix(subject: Subject, params: NumpyParameters) -> np.ndarray:
    """Compute all components ∂ℓ_t/∂θ_s of a series, (T, T, P).

    The component (t, s) is at [t-1, s-1].

    P: the parameters that are not None, flattened and concatenated in the order of
    their names. The components are computed from the adjoints of the windows (0, t] in
    which only step t has a loss:

        ∂ℓ_t/∂W_xh,s = x_sᵀ da_s       (B4)
        ∂ℓ_t/∂W_hh,s = h_{s-1}ᵀ da_s   (B5)
        ∂ℓ_t/∂W_hy,t = h_tᵀ dy_t       (B6)
        ∂ℓ_t/∂b_h,s  = Σ_b da_s        (B7)
        ∂ℓ_t/∂b_y,t  = Σ_b dy_t        (B8)

    each a single term of the sum over steps, with the da and dy of ℓ_t.
    """
    run = subject.run
    phi = run.options.objective.nonlinearity
    x, a, h, y = numpy_rnn.forward(params, run.x, run.h_0, nonlinearity=phi)
    T, B, _ = y.shape
    da = np.zeros((T, T, B, params.W_hh.shape[-1]))
    dy = np.zeros((T, *y.shape))
    for t in range(1, T + 1):
        window = Activations(x[:t], a[:t], h[: t + 1], y[:t])
        target = run.target[t - 1 : t]
        adjoints = numpy_rnn.adjoints(params, window, target, nonlinearity=phi)
        da[t - 1, :t] = adjoints.da
        dy[t - 1, t - 1] = adjoints.dy[-1]
    terms = {
        "W_xh": x.mT @ da,  # (B4)
        "W_hh": h[:-1].mT @ da,  # (B5)
        "W_hy": h[1:].mT @ dy,  # (B6)
        "b_h": da.sum(axis=-2),  # (B7)
        "b_y": dy.sum(axis=-2),  # (B8)
    }
    return np.concatenate(
        [terms[name].reshape(T, T, -1) for name in present(params)], axis=-1
    )


def mask(T: int, k1: int, k2: int) -> np.ndarray:
    """Return the mask (T, T) of the components that TBPTT(k1, k2) keeps.

    It is 1 at [t-1, s-1] where the component (t, s) is kept, and 0 elsewhere. A
    component is kept where e_{n-1} < t ≤ e_n and s_n < s ≤ t for an update n (T1, T2).
    Raises InputError unless 1 ≤ k1 ≤ k2.
    """
    result = np.zeros((T, T))
    for start, loss_start, stop in numpy_rnn.windows(T, k1, k2):
        for t in range(loss_start + 1, stop + 1):
            result[t - 1, start:t] = 1
    return result


class Costs(NamedTuple):
    """What windows of k = 1 to T steps cost, (..., kinds, T)."""

    cosine: np.ndarray  # g_k · g / (‖g_k‖ ‖g‖); NaN where one of the two is zero
    bias: np.ndarray  # ‖g_k − g‖ / ‖g‖; NaN where g is zero


def mask_costs(components: np.ndarray) -> Costs:
    """Return the distances of the truncated gradients from the full one."""
    T, _, P = components.shape
    kept = np.zeros((len(TRUNCATION_KINDS), T, P))
    for k in range(1, T + 1):
        for kind, k1 in enumerate((k, 1)):
            kept[kind, k - 1] = np.tensordot(mask(T, k1, k), components, 2)
    full = components.sum(axis=(0, 1))
    norm = np.linalg.norm(full)
    with np.errstate(divide="ignore", invalid="ignore"):
        # Rounding may carry the cosine of two equal vectors beyond 1.
        cosine = np.clip(kept @ full / (np.linalg.norm(kept, axis=-1) * norm), -1, 1)
        return Costs(cosine, np.linalg.norm(kept - full, axis=-1) / norm)


def costs_of(subject: Subject, networks: Iterable[NumpyParameters]) -> Costs:
    """Return the costs of some networks, along a first axis."""
    costs = [mask_costs(component_matrix(subject, params)) for params in networks]
    return Costs(*(np.stack(parts) for parts in zip(*costs, strict=True)))


class Findings(NamedTuple):
    """The numbers that the page shows."""

    norms: np.ndarray  # (T, T) of the components, after training
    masks: list[tuple[int, int]]  # (k1, k2) of the masks that are drawn
    single: Costs  # of the network of the run before and after training, (2, kinds, T)
    ensemble: list[Costs]  # before and after training: (networks, kinds, T)


def measure_truncations(subject: Subject) -> Findings:
    """Compute the numbers that the page shows."""
    T = len(subject.run.x)
    k = max(2, T // 4)
    truncations = [(1, 1), (k, k), (1, k), (k, 2 * k), (T, T)]
    of_run = Trained(subject.start, subject.end)
    networks = subject.networks or [of_run]
    before = [network.start for network in networks]
    after = [network.end for network in networks]
    return Findings(
        norms=np.linalg.norm(component_matrix(subject, subject.end), axis=-1),
        masks=[(k1, k2) for k1, k2 in dict.fromkeys(truncations) if k2 <= T],
        single=costs_of(subject, of_run),
        ensemble=[costs_of(subject, before), costs_of(subject, after)],
    )
