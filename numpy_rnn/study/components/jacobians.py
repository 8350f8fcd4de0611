"""Why gradients vanish or explode: the derivatives of a state by an earlier one, and their growth with the lag."""

import numpy as np

import numpy_rnn
from numpy_rnn.backward import SLOPES
from numpy_rnn.common.records import Parameters
from numpy_rnn.study.components.matrix import mean_by_lag
from numpy_rnn.study.findings import Growth
from numpy_rnn.study.subject import Subject

SATURATED = 1 - 0.9**2  # a slope below that of tanh where |h| = 0.9


def jacobians(W_hh: np.ndarray, slope: np.ndarray) -> np.ndarray:
    """∂h_t/∂h_s of one sequence, (T+1, T+1, H, H): element (i, j) at [t, s] is ∂h_{t,j}/∂h_{s,i}; zero for s > t.

        ∂h_t/∂h_s = ∂h_{t-1}/∂h_s · W_hh diag(φ'(a_t)), and the identity for t = s

    by the arrows of (F1) and (F2) whose way back is (B3) and then the second term of (B2). W_hh: (H, H); slope: (T, H),
    φ'(a_t). Source: Pascanu, Mikolov and Bengio 2013, equation 5.
    """
    T, H = slope.shape
    result = np.zeros((T + 1, T + 1, H, H))
    result[0, 0] = np.eye(H)
    for t in range(1, T + 1):
        result[t, :t] = result[t - 1, :t] @ (W_hh * slope[t - 1])
        result[t, t] = np.eye(H)
    return result


def measure_growth(subject: Subject, params: Parameters) -> Growth[np.ndarray]:
    """The growth of small changes of the state of one network, and its slopes; NaN where it overflows."""
    with np.errstate(over="ignore", invalid="ignore"):
        h_0 = subject.initial_state(params)
        h = numpy_rnn.forward(params, subject.x, h_0, nonlinearity=subject.nonlinearity).h[:, 0]
        slope = SLOPES[subject.nonlinearity](h[1:])
        J = jacobians(params.W_hh, slope)
    sizes, lower = np.full(J.shape[:2], np.nan), np.tril_indices(len(J))
    if np.isfinite(J).all():
        sizes[lower] = np.linalg.norm(J[lower], 2, axis=(-2, -1))
    return Growth(
        by_lag=mean_by_lag(sizes),
        at_longest=sizes[-1, 0],
        per_step=sizes[-1, 0] ** (1 / len(subject.x)),
        spectral_radius=np.abs(np.linalg.eigvals(params.W_hh)).max(),
        slope=slope.mean(),
        saturated=(slope < SATURATED).mean(),
    )
