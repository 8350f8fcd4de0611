"""The matrix of temporal components (DERIVATION.md, section 5): the effect of the parameters at step s on the loss ℓ_t.

Step s has its own copy θ_s of the parameters. The temporal component (t, s) of the gradient is ∂ℓ_t/∂θ_s, not divided
by the N of (L2), and zero for s > t. A learned h_0 is used at step 1 only, so its components are in the column s = 1.

Source: the term "temporal component" is from Pascanu, Mikolov and Bengio 2013; Cashman et al. 2019 (RNNbow) plot the
same numbers as itemized gradients.
"""

from typing import NamedTuple

import numpy as np

import numpy_rnn
from numpy_rnn.common.records import Activations, Gradients, Nonlinearity, Parameters
from numpy_rnn.study.checks.complex_step import step_losses, unrolled
from numpy_rnn.study.findings import Cost
from numpy_rnn.study.subject import Subject


class Components(NamedTuple):
    """The components of one network on one series, and the tensors they are computed from; (t, s) is at [t-1, s-1]."""

    gradients: Gradients  # of ∂ℓ_t/∂θ_s, (T, T, *shape of θ); None for a parameter that is not there
    dh: np.ndarray  # (T, T, B, H)  ∂ℓ_t/∂h_s
    da: np.ndarray  # (T, T, B, H)  ∂ℓ_t/∂a_s
    dy: np.ndarray  # (T, B, O)  ∂ℓ_t/∂y_t = y_t − target_t; ℓ_t depends on no other output
    activations: Activations
    losses: np.ndarray  # (T,)  ℓ_t


def component_matrix(params: Parameters, x, target, h_0, nonlinearity: Nonlinearity = "tanh") -> Components:
    """All components of a series, from the adjoints of the windows (0, t] in which only step t has a loss.

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
    T, B, _ = activations.y.shape
    dh, da = np.zeros((2, T, T, B, params.W_hh.shape[-1]), params.W_hh.dtype)
    dy = np.empty_like(activations.y)
    for t in range(1, T + 1):
        x_1, a_1, h_1, y_1 = activations
        window = Activations(x_1[:t], a_1[:t], h_1[: t + 1], y_1[:t])
        flow = numpy_rnn.adjoints(params, window, target[t - 1 : t], nonlinearity=nonlinearity)
        dh[t - 1, :t], da[t - 1, :t], dy[t - 1] = flow.dh, flow.da, flow.dy[-1]
    gradients = _gradients(params, activations, dy, da)
    return Components(gradients, dh, da, dy, activations, 0.5 * np.square(dy).sum(axis=(-2, -1)))  # (L1)


def components_of(subject: Subject, params: Parameters) -> Components:
    """The components of the subject's series at these parameters."""
    h_0 = subject.initial_state(params)
    return component_matrix(params, subject.x, subject.target, h_0, subject.nonlinearity)


def flat(gradients: Gradients) -> np.ndarray:
    """(T, T, P): the parameters that are not None, flattened and concatenated in the order of their names."""
    parts = [theta.reshape(*theta.shape[:2], -1) for theta in gradients if theta is not None]
    return np.concatenate(parts, axis=-1)


def norms(gradients: Gradients) -> np.ndarray:
    """‖G[t, s]‖ over all parameters, (T, T)."""
    squares = [np.square(theta).sum(axis=tuple(range(2, theta.ndim))) for theta in gradients if theta is not None]
    return np.sqrt(sum(squares))


def _gradients(params, activations, dy, da):
    x, _, h, _ = activations
    T = len(x)
    diagonal = np.arange(T)

    def on_the_diagonal(terms):
        result = np.zeros((T, *terms.shape), terms.dtype)
        result[diagonal, diagonal] = terms
        return result

    dW_xh = x.mT @ da  # (B4)
    dW_hh = h[:-1].mT @ da  # (B5)
    dW_hy = on_the_diagonal(h[1:].mT @ dy)  # (B6)
    db_h = db_y = dh_0 = None
    if params.b_h is not None:
        db_h = da.sum(axis=-2)  # (B7)
        db_y = on_the_diagonal(dy.sum(axis=-2))  # (B8)
    if params.h_0 is not None:
        dh_0 = np.zeros_like(da)
        dh_0[:, 0] = da[:, 0] @ params.W_hh.mT  # (B9)
    return Gradients(dW_xh, dW_hh, dW_hy, db_h, db_y, dh_0)


def mask(T: int, k1: int, k2: int) -> np.ndarray:
    """(T, T): 1 at [t-1, s-1] where TBPTT(k1, k2) keeps the component (t, s), else 0.

    It is kept where e_{n-1} < t ≤ e_n and s_n < s ≤ t for an update n (T1, T2).

    Raises InputError unless 1 ≤ k1 ≤ k2.
    """
    return weights(T, k1, k2)


def weights(T: int, k1: int, k2: int, reduction: str = "sum", B: int = 1, O: int = 1) -> np.ndarray:
    """The mask; under "mean", every row is divided by the K·B·O of the update that its loss belongs to.

    Raises InputError unless 1 ≤ k1 ≤ k2.
    """
    result = np.zeros((T, T))
    for window in numpy_rnn.windows(T, k1, k2):
        for t in range(window.loss_start + 1, window.stop + 1):
            result[t - 1, window.start : t] = 1 / (window.loss_steps * B * O if reduction == "mean" else 1)  # (B1)
    return result


def masked_sum(gradients: Gradients, weights: np.ndarray) -> Gradients:
    """Σ_{t,s} weights[t, s] · G[t, s] for every parameter: one epoch of TBPTT, with fixed parameters."""
    return Gradients(*(None if theta is None else np.tensordot(weights, theta, 2) for theta in gradients))


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
    T, _, P = G.shape
    kept = np.stack([mask(T, k1, k2) for k1, k2 in truncations]).reshape(len(truncations), -1) @ G.reshape(-1, P)
    full = np.tensordot(mask(T, T, T), G, 2)
    norm = np.linalg.norm(full)
    with np.errstate(divide="ignore", invalid="ignore"):
        # Rounding may carry the cosine of two equal vectors beyond 1.
        cosine = np.clip(kept @ full / (np.linalg.norm(kept, axis=-1) * norm), -1, 1)
        bias = np.linalg.norm(kept - full, axis=-1) / norm if norm else np.full(len(kept), np.nan)
    return Cost(cosine, bias)


def by_lag(norms: np.ndarray) -> list[np.ndarray]:
    """The norms ‖G[t, s]‖ at each lag t − s = 0 to T − 1, over t. norms: (T, T)."""
    return [np.diagonal(norms, -lag) for lag in range(len(norms))]


def reach(norms: np.ndarray, share: float) -> list[int]:
    """The smallest number of steps for every t, counted back from t and including it, with this share of
    Σ_s ‖G[t, s]‖; 0 where all are zero.

    norms: (T, T); 0 < share ≤ 1.
    """
    result = []
    for t in range(1, len(norms) + 1):
        held = np.cumsum(norms[t - 1, :t][::-1])
        result.append(int(np.searchsorted(held, share * held[-1])) + 1 if held[-1] > 0 else 0)
    return result


IMAGINARY = 1e-100  # its square underflows, and its product with small numbers does not
MAX_PARAMETERS = 512  # with more parameters, a sample of them is perturbed


def components_by_complex_step(params: Parameters, x, target, h_0, nonlinearity: str, s: int, elements) -> np.ndarray:
    """∂ℓ_t/∂θ_s of the chosen elements, (T, n), where θ_s is step s's copy of the parameters.

    elements: (n,) indices into the parameters that are not None, flattened and concatenated. h_0: (B, H), the initial
    state; a learned one belongs to the copy of step 1 only.
    """
    theta = np.concatenate([p.ravel() for p in params if p is not None])
    nudged = np.broadcast_to(theta, (len(elements), theta.size)).astype(complex)
    nudged[np.arange(len(elements)), elements] += 1j * IMAGINARY
    copy, start = {}, 0
    for name, p in params._asdict().items():
        size = 0 if p is None else p.size
        copy[name] = None if p is None else nudged[:, start : start + size].reshape(-1, *p.shape)
        start += size
    copies = [params] * len(x)
    copies[s - 1] = Parameters(**copy)
    initial_state = copy["h_0"] if s == 1 and params.h_0 is not None else h_0
    y = unrolled(copies, x, initial_state, nonlinearity).y
    return np.broadcast_to(step_losses(y, target).imag / IMAGINARY, (len(x), len(elements)))


class Compared(NamedTuple):
    """A comparison of all components with their complex steps."""

    elements: int
    difference: float  # the largest, relative to the component's largest element
    at: tuple[int, int]  # (t, s) of the largest


def check_components(components: Components, subject: Subject, params: Parameters, seed: int = 0) -> Compared:
    """Compare every component with its complex step.

    With more than MAX_PARAMETERS parameters, that many (element, step) pairs are drawn by the seed and
    checked for all t.
    """
    G, h_0 = flat(components.gradients), subject.initial_state(params)
    T, _, P = G.shape
    if P <= MAX_PARAMETERS:
        chosen = [np.arange(P)] * T
    else:
        drawn = np.random.default_rng(seed).choice(T * P, MAX_PARAMETERS, replace=False)
        chosen = [drawn[drawn // P == s] % P for s in range(T)]
    worst, at, compared = 0.0, (1, 1), 0
    for s, elements in enumerate(chosen, start=1):
        arguments = subject.x, subject.target, h_0, subject.nonlinearity
        result = components_by_complex_step(params, *arguments, s, elements)
        difference = np.abs(result - G[:, s - 1, elements])[s - 1 :].max(axis=-1, initial=0.0)
        ratio = relative(difference, np.abs(G[s - 1 :, s - 1]).max(axis=-1))
        compared += len(elements) * (T - s + 1)
        if ratio.max() > worst:
            worst, at = float(ratio.max()), (s + int(ratio.argmax()), s)
    return Compared(compared, worst, at)


def relative(difference: np.ndarray, largest: np.ndarray) -> np.ndarray:
    """difference / largest; where that is zero, 0 for no difference and infinity for any."""
    return np.divide(difference, largest, out=np.where(difference > 0, np.inf, 0.0), where=largest > 0)
