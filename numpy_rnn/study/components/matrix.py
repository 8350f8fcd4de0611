"""The matrix of temporal components (DERIVATION.md, section 5): the effect of the parameters at step s on the loss ℓ_t.

Step s has its own copy θ_s of the parameters. The temporal component (t, s) of the gradient is ∂ℓ_t/∂θ_s, not divided
by the N of (L2), and zero for s > t. A learned h_0 is used at step 1 only, so its components are in the column s = 1.

Source: the term "temporal component" is from Pascanu, Mikolov and Bengio 2013; Cashman et al. 2019 (RNNbow) plot the
same numbers as itemized gradients.
"""

import numpy as np

import numpy_rnn
from numpy_rnn.common.records import Activations, Gradients, Nonlinearity, Parameters
from numpy_rnn.study.checks.complex_step import (
    IMAGINARY,
    forward,
    passes,
    perturb_each,
    sample,
    step_losses,
)
from numpy_rnn.study.checks.equations import case_of, row
from numpy_rnn.study.findings import Cost
from numpy_rnn.study.subject import Subject
from numpy_rnn.study.suite_parts import FORWARD, present


def component_matrix(
    params: Parameters, x, target, h_0, nonlinearity: Nonlinearity = "tanh"
) -> Gradients:
    """All components ∂ℓ_t/∂θ_s of a series, (T, T, *shape of θ), that of (t, s) at [t-1, s-1]; None where θ is None.

    They are computed from the adjoints of the windows (0, t] in which only step t has a loss:

        ∂ℓ_t/∂W_xh,s = x_sᵀ da_s       (B4)
        ∂ℓ_t/∂W_hh,s = h_{s-1}ᵀ da_s   (B5)
        ∂ℓ_t/∂W_hy,t = h_tᵀ dy_t       (B6)
        ∂ℓ_t/∂b_h,s  = Σ_b da_s        (B7)
        ∂ℓ_t/∂b_y,t  = Σ_b dy_t        (B8)
        ∂ℓ_t/∂h_0    = da_1 W_hhᵀ      (B9)

    each a single term of the sum over steps, with the da and dy of ℓ_t. x: (T, B, D), target: (T, B, O), h_0: (B, H),
    the initial state, learned or not; no ensemble axes. Raises InputError where `forward` and `adjoints` do.
    """
    activations = numpy_rnn.forward(params, x, h_0, nonlinearity=nonlinearity)
    x, a, h, y = activations
    T, B, _ = y.shape
    da, dy = np.zeros((T, T, B, params.W_hh.shape[-1])), np.empty_like(y)
    for t in range(1, T + 1):
        window = Activations(x[:t], a[:t], h[: t + 1], y[:t])
        flow = numpy_rnn.adjoints(params, window, target[t - 1 : t], nonlinearity=nonlinearity)
        da[t - 1, :t], dy[t - 1] = flow.da, flow.dy[-1]
    diagonal = np.arange(T)
    dW_xh = x.mT @ da  # (B4)
    dW_hh = h[:-1].mT @ da  # (B5)
    dW_hy = np.zeros((T, T, *params.W_hy.shape))
    dW_hy[diagonal, diagonal] = h[1:].mT @ dy  # (B6)
    db_h = db_y = dh_0 = None
    if params.b_y is not None:
        db_h = da.sum(axis=-2)  # (B7)
        db_y = np.zeros((T, T, len(params.b_y)))
        db_y[diagonal, diagonal] = dy.sum(axis=-2)  # (B8)
    if params.h_0 is not None:
        dh_0 = np.zeros_like(da)
        dh_0[:, 0] = da[:, 0] @ params.W_hh.mT  # (B9)
    return Gradients(dW_xh, dW_hh, dW_hy, db_h, db_y, dh_0)


def components_of(subject: Subject, params: Parameters) -> Gradients:
    """The components of the subject's series at these parameters."""
    h_0 = subject.initial_state(params)
    return component_matrix(params, subject.x, subject.target, h_0, subject.nonlinearity)


def flat(components: Gradients) -> np.ndarray:
    """(T, T, P): the parameters that are not None, flattened and concatenated in the order of their names."""
    parts = [theta.reshape(*theta.shape[:2], -1) for theta in components if theta is not None]
    return np.concatenate(parts, axis=-1)


# -- truncations as masks ---------------------------------------------------------------------------------------------


def mask(T: int, k1: int, k2: int) -> np.ndarray:
    """(T, T): 1 at [t-1, s-1] where TBPTT(k1, k2) keeps the component (t, s), else 0.

    It is kept where e_{n-1} < t ≤ e_n and s_n < s ≤ t for an update n (T1, T2).

    Raises InputError unless 1 ≤ k1 ≤ k2.
    """
    result = np.zeros((T, T))
    for start, loss_start, stop in numpy_rnn.windows(T, k1, k2):
        for t in range(loss_start + 1, stop + 1):
            result[t - 1, start:t] = 1
    return result


def added_up(steps: int, k1: int, k2: int) -> np.ndarray:
    """How often a component is counted where the gradient that reached a state through its next step is kept, and
    added to at every later update.

    later[s-1, t-1]: how often the effect of h_s on ℓ_t through a_{s+1} has been added up so far. Only the losses of the
    new steps are added. For k1 = 1 the numbers of one update are those of Pascal's triangle.
    """
    counts = np.zeros((steps, steps), int)
    later = np.zeros((steps, steps), int)
    for start, loss_start, stop in numpy_rnn.windows(steps, k1, k2):
        flowing = np.zeros(steps, int)  # how often ℓ_t is in da_{s+1}
        for s in range(stop, start, -1):
            if s < stop:
                later[s - 1] += flowing
                flowing = later[s - 1].copy()
            if s > loss_start:
                flowing[s - 1] += 1
            counts[:, s - 1] += flowing
    return counts


def divisors(T: int, k1: int, terms: int) -> np.ndarray:
    """(T, 1): for each loss the N of (L2) under "mean", K·B·O of the update that it belongs to; terms: B·O."""
    result = np.zeros((T, 1))
    for _, loss_start, stop in numpy_rnn.windows(T, k1, k1):
        result[loss_start:stop] = (stop - loss_start) * terms
    return result


def pairs(T: int) -> list[tuple[int, int]]:
    """All 1 ≤ k1 ≤ k2 ≤ T, by k1 and then by k2. Larger ones truncate as T does."""
    return [(k1, k2) for k1 in range(1, T + 1) for k2 in range(k1, T + 1)]


KINDS = {  # the truncations of windows of k = 1 to T steps, by kind
    "chunks": lambda T: [(k, k) for k in range(1, T + 1)],
    "sliding": lambda T: [(1, k) for k in range(1, T + 1)],
}


def cost(G: np.ndarray, truncations: list[tuple[int, int]]) -> Cost[np.ndarray]:
    """Cosine and relative bias, g_k · g / (‖g_k‖ ‖g‖) and ‖g_k − g‖ / ‖g‖, of each TBPTT(k1, k2).

    The cosine is NaN where one of the two gradients is zero, the bias where the full one is. G: (T, T, P), the flat
    components.
    """
    kept, full = (
        np.stack([np.tensordot(mask(len(G), k1, k2), G, 2) for k1, k2 in truncations]),
        G.sum(axis=(0, 1)),
    )
    norm = np.linalg.norm(full)
    with np.errstate(divide="ignore", invalid="ignore"):
        # Rounding may carry the cosine of two equal vectors beyond 1.
        cosine = np.clip(kept @ full / (np.linalg.norm(kept, axis=-1) * norm), -1, 1)
        bias = np.linalg.norm(kept - full, axis=-1) / norm if norm else np.full(len(kept), np.nan)
    return Cost(cosine, bias)


def mean_by_lag(sizes: np.ndarray) -> np.ndarray:
    """The mean over t of sizes[t, s] at each lag t − s = 0 to T − 1; sizes: (T, T)."""
    return np.array([np.diagonal(sizes, -lag).mean() for lag in range(len(sizes))])


def reach(sizes: np.ndarray, share: float) -> list[int]:
    """The smallest number of steps for every t, counted back from t and including it, with this share of
    Σ_s sizes[t, s]; 0 where all are zero.

    sizes: (T, T), such as the norms of the components; 0 < share ≤ 1.
    """
    result = []
    for t in range(1, len(sizes) + 1):
        held = np.cumsum(sizes[t - 1, :t][::-1])
        result.append(int(np.searchsorted(held, share * held[-1])) + 1 if held[-1] > 0 else 0)
    return result


# -- checked by complex step ------------------------------------------------------------------------------------------

MAX_PARAMETERS = (
    128  # elements of θ_s that are perturbed at each step; of more, that many are drawn
)


def components_by_complex_step(
    subject: Subject, params: Parameters, s: int, elements: np.ndarray
) -> np.ndarray:
    """∂ℓ_t/∂θ_s of the chosen elements, (T, n), where θ_s is step s's copy of the parameters.

    elements: (n,) indices into the parameters that are not None, flattened and concatenated. A learned initial state
    belongs to the copy of step 1 only.
    """
    theta = row(params)
    nudged = theta + perturb_each(np.zeros_like(theta), elements, 1j * IMAGINARY)
    ends = np.cumsum([p.size for p in present(params).values()])
    parts = zip(present(params).items(), np.split(nudged, ends[:-1], axis=1))
    copy = {name: part.reshape(-1, *p.shape) for (name, p), part in parts}
    case = passes(case_of(subject, params, subject.x, subject.target))
    if s == 1 and "h_0" in copy:
        case = case._replace(params=case.params._replace(h_0=copy["h_0"]))

    def of_step(t, p):
        return p._replace(**copy) if t == s else p

    of = FORWARD._replace(
        pre_activation=lambda n, w, p, t: FORWARD.pre_activation(n, w, of_step(t, p), t),
        output=lambda n, w, p, t: FORWARD.output(n, w, of_step(t, p), t),
    )
    return step_losses(forward(case, {}, of)["y"], subject.target).imag / IMAGINARY


def check_components(
    components: Gradients, subject: Subject, params: Parameters
) -> tuple[int, float]:
    """Compare every component with its complex step; with many parameters, a sample of its elements.

    Returns the number of elements that are compared, and their largest difference, relative to the component's largest
    element.
    """
    G = flat(components)
    T, _, P = G.shape
    elements, worst = sample(P, MAX_PARAMETERS), 0.0
    for s in range(1, T + 1):
        column = G[s - 1 :, s - 1]
        result = components_by_complex_step(subject, params, s, elements)[s - 1 :]
        difference = np.abs(result - column[:, elements]).max(axis=-1)
        largest = np.abs(column).max(axis=-1)
        ratios = np.divide(
            difference, largest, out=np.where(difference > 0, np.inf, 0.0), where=largest > 0
        )
        worst = max(worst, float(ratios.max()))
    return len(elements) * T * (T + 1) // 2, worst
