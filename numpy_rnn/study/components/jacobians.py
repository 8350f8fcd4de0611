"""Why gradients vanish or explode: the derivatives of a state by an earlier one, and their growth with the lag."""

import numpy as np

import numpy_rnn
from numpy_rnn.bptt import SLOPES
from numpy_rnn.common.records import Nonlinearity, Parameters
from numpy_rnn.study.findings import Growth
from numpy_rnn.study.subject import Subject

SATURATED = 1 - 0.9**2  # a slope below that of tanh where |h| = 0.9


def slopes(h, nonlinearity: Nonlinearity = "tanh") -> np.ndarray:
    """φ'(a_t) of all steps, from the states h_1 to h_T (B3)."""
    return SLOPES[nonlinearity](h)


def jacobians(W_hh, h, nonlinearity: Nonlinearity = "tanh") -> np.ndarray:
    """∂h_t/∂h_s of one sequence, (T+1, T+1, H, H): element (i, j) at [t, s] is ∂h_{t,j}/∂h_{s,i}; zero for s > t.

        ∂h_t/∂h_s = ∂h_{t-1}/∂h_s · W_hh diag(φ'(a_t)), and the identity for t = s

    by the arrows of (F1) and (F2) whose way back is (B3) and then the second term of (B2). W_hh: (H, H), h: (T+1, H).
    Source: Pascanu, Mikolov and Bengio 2013, equation 5.
    """
    slope = slopes(h[1:], nonlinearity)
    T, H = slope.shape
    result = np.zeros((T + 1, T + 1, H, H))
    result[0, 0] = np.eye(H)
    for t in range(1, T + 1):
        result[t, :t] = result[t - 1, :t] @ (W_hh * slope[t - 1])
        result[t, t] = np.eye(H)
    return result


def growth_by_lag(W_hh, h, nonlinearity: Nonlinearity = "tanh") -> list[np.ndarray]:
    """The largest singular value of ∂h_t/∂h_s for every t, by lag t − s = 0 to T; NaN where they overflow."""
    with np.errstate(over="ignore", invalid="ignore"):
        J = jacobians(W_hh, h, nonlinearity)
    if not np.isfinite(J).all():
        return [np.full(len(J) - lag, np.nan) for lag in range(len(J))]
    return [np.linalg.norm(J[range(lag, len(J)), range(len(J) - lag)], 2, axis=(-2, -1)) for lag in range(len(J))]


def spectral_radius(W) -> float:
    """The largest modulus of an eigenvalue of a square matrix."""
    return float(np.abs(np.linalg.eigvals(W)).max())


def states(subject: Subject, params: Parameters) -> np.ndarray:
    """h_0 to h_T of the first sequence, (T+1, H)."""
    with np.errstate(over="ignore", invalid="ignore"):
        h_0 = subject.initial_state(params)
        return numpy_rnn.forward(params, subject.x, h_0, nonlinearity=subject.nonlinearity).h[:, 0]


def growth_of(subject: Subject, params: Parameters) -> Growth[np.ndarray]:
    """The growth of small changes of the state of one network, and its slopes."""
    h = states(subject, params)
    growth, slope = growth_by_lag(params.W_hh, h, subject.nonlinearity), slopes(h[1:], subject.nonlinearity)
    at_longest = growth[-1][0]
    return Growth(
        by_lag=np.array([at_lag.mean() for at_lag in growth]),
        at_longest=at_longest,
        per_step=at_longest ** (1 / len(subject.x)),
        spectral_radius=np.asarray(spectral_radius(params.W_hh)),
        slope=slope.mean(),
        saturated=(slope < SATURATED).mean(),
    )
