"""The matrix of temporal components (DERIVATION.md, section "Temporal components and
masks"), and what a mask costs.

Step s has its own copy θ_s of the parameters. The temporal component (t, s) of the
gradient is ∂ℓ_t/∂θ_s, not divided by the C of (L2), and zero for s > t.

Source: the term "temporal component" is from Pascanu, Mikolov and Bengio 2013; Cashman
et al. 2019 (RNNbow) plot the same numbers as itemized gradients. Relative bias: Aicher,
Foti and Fox 2019.
"""

from typing import Any, NamedTuple

import numpy as np

import numpy_rnn
from numpy_rnn.common.records import Activations, Parameters, Run, Schedule, tree_map
from numpy_rnn.conformance.arithmetics.floats import Floats
from numpy_rnn.conformance.case import WindowCase, present
from numpy_rnn.conformance.definition import DEFINITION, Definition, window_update
from numpy_rnn.study.subject import Subject
from numpy_rnn.study.witnesses import (
    complex_step,
    no_gradients,
    passes,
    relative,
    some_elements,
)

MAX_PARAMETERS = (
    128  # elements of θ_s that the complex step perturbs; of more, that many
)
KINDS = ("chunks", "sliding")  # of truncations: (k, k) and (1, k)


def component_matrix(subject: Subject, params: Parameters) -> np.ndarray:
    """All components ∂ℓ_t/∂θ_s of a series, (T, T, P), that of (t, s) at [t-1, s-1].

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
    options: Any = {"nonlinearity": subject.options.objective.nonlinearity}
    x, a, h, y = numpy_rnn.forward(params, subject.x, subject.h_0, **options)
    T, B, _ = y.shape
    da, dy = np.zeros((T, T, B, params.W_hh.shape[-1])), np.zeros((T, *y.shape))
    for t in range(1, T + 1):
        window = Activations(x[:t], a[:t], h[: t + 1], y[:t])
        flow = numpy_rnn.adjoints(params, window, subject.target[t - 1 : t], **options)
        da[t - 1, :t], dy[t - 1, t - 1] = flow.da, flow.dy[-1]
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


def component_norms(components: np.ndarray) -> np.ndarray:
    """The norm of every component, (T, T)."""
    return np.linalg.norm(components, axis=-1)


# -- truncations as masks
# ------------------------------------------------------------


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


def truncations(T: int, kind: str) -> list[tuple[int, int]]:
    """(k1, k2) of chunks or of sliding windows of k = 1 to T steps."""
    return [(k, k) if kind == "chunks" else (1, k) for k in range(1, T + 1)]


def truncated_gradients(components: np.ndarray, kind: str) -> np.ndarray:
    """The gradients that windows of k = 1 to T steps keep, (T, P): the sums of the
    components under their masks.
    """
    T = len(components)
    return np.stack(
        [np.tensordot(mask(T, *k), components, 2) for k in truncations(T, kind)]
    )


class Costs(NamedTuple):
    """The cost of the masks of one kind, for windows of k = 1 to T steps; arrays (...,
    T).
    """

    cosine: np.ndarray  # g_k · g / (‖g_k‖ ‖g‖); NaN where one of the two is zero
    bias: np.ndarray  # ‖g_k − g‖ / ‖g‖; NaN where g is zero


def mask_costs(components: np.ndarray, kind: str) -> Costs:
    """The distance of the truncated gradients from the full one."""
    kept, full = truncated_gradients(components, kind), components.sum(axis=(0, 1))
    norm = np.linalg.norm(full)
    with np.errstate(divide="ignore", invalid="ignore"):
        # Rounding may carry the cosine of two equal vectors beyond 1.
        cosine = np.clip(kept @ full / (np.linalg.norm(kept, axis=-1) * norm), -1, 1)
        return Costs(cosine, np.linalg.norm(kept - full, axis=-1) / norm)


class Network(NamedTuple):
    """The numbers of a network; of many networks, with one more axis in front."""

    chunks: Costs
    sliding: Costs


def measure_network(subject: Subject, params: Parameters) -> Network:
    """The numbers of a network with these parameters, on the series of the study."""
    components = component_matrix(subject, params)
    return Network(*(mask_costs(components, kind) for kind in KINDS))


def stack_networks(networks: list[Network]) -> Network:
    """The numbers of many networks, along a first axis."""

    def stacked(values: Any) -> Any:
        first = values[0]
        if isinstance(first, tuple):
            return type(first)(*(stacked(parts) for parts in zip(*values)))
        return np.stack(values)

    return stacked(networks)


# -- checks
# ------------------------------------------------------------


class ComponentCheck(NamedTuple):
    """Largest relative differences of the components, and of sums under masks."""

    elements: int  # of the components, those that were compared
    total: int  # all elements
    by_complex_step: float
    masks: int
    by_bptt: float


def check_components(subject: Subject, params: Parameters) -> ComponentCheck:
    """Compare the components with their definition, by complex step, and the sums under
    masks with what `train` computes in the windows of an epoch with a learning rate of
    0.
    """
    components = component_matrix(subject, params)
    T, _, P = components.shape
    elements, worst = some_elements(P, MAX_PARAMETERS), 0.0
    for s in range(1, T + 1):
        columns = components_by_complex_step(subject, params, s, elements)
        for t in range(s, T + 1):
            worst = max(
                worst, relative(components[t - 1, s - 1], columns[t - 1], elements)
            )
    differences = [
        relative(kept, epoch_gradient(subject, params, *k))
        for kind in KINDS
        for kept, k in zip(truncated_gradients(components, kind), truncations(T, kind))
    ]
    count = T * (T + 1) // 2
    compared, total = len(elements) * count, P * count
    return ComponentCheck(compared, total, worst, len(differences), max(differences))


def components_by_complex_step(
    subject: Subject, params: Parameters, s: int, elements: np.ndarray
) -> np.ndarray:
    """∂ℓ_t/∂θ_s of the chosen elements of the flattened parameters, (T, n), where only
    step s has the moved copy.
    """
    names = present(params)
    flat = np.concatenate([theta.ravel() for theta in names.values()])
    ends = np.cumsum([theta.size for theta in names.values()])[:-1]
    series = subject.x, subject.target, subject.h_0
    case = WindowCase(params, *series, *subject.options[1:])

    def losses(values: np.ndarray) -> np.ndarray:
        parts = zip(names.items(), np.split(values, ends, axis=1))
        copy = {name: part.reshape(-1, *theta.shape) for (name, theta), part in parts}

        def weights_at(t: int, p: Any) -> Any:
            return p._replace(**copy) if t == s else p

        of = Definition(
            backward=no_gradients,
            pre_activation=lambda n, w, p, t: DEFINITION.pre_activation(
                n, w, weights_at(t, p), t
            ),
            output=lambda n, w, p, t: DEFINITION.output(n, w, weights_at(t, p), t),
        )
        y = window_update(passes(case), Floats(np.float64), of)["y"]
        return (0.5 * (y - subject.target[:, None]) ** 2).sum(axis=(-2, -1))  # (L1)

    return complex_step(losses, flat, elements)


def epoch_gradient(
    subject: Subject, params: Parameters, k1: int, k2: int
) -> np.ndarray:
    """The sum of the gradients of one epoch of TBPTT(k1, k2) with fixed parameters,
    (P,).
    """
    run = undivided(subject, params, k1, k2)
    updates = numpy_rnn.train(
        run.params, run.x, run.target, run.h_0, **run.options.keywords()
    )
    total: Parameters = tree_map(np.zeros_like, params)
    for update in updates:
        total = tree_map(np.add, total, update.gradients)
    return np.concatenate([gradient.ravel() for gradient in present(total).values()])


def undivided(subject: Subject, params: Parameters, k1: int, k2: int) -> Run:
    """A run of one epoch with a learning rate of 0 and the sum of the losses."""
    _, objective, step = subject.options
    still = step._replace(learning_rate=0.0)
    options = subject.options._replace(
        schedule=Schedule(k1, k2),
        objective=objective._replace(reduction="sum"),
        step=still,
    )
    return subject.run_of(params, options)
