"""Why gradients vanish or explode: the derivatives of a state by an earlier one, and starting points that show both."""

from typing import Any, NamedTuple

import numpy as np

import numpy_rnn
from numpy_rnn.bptt import SLOPES
from numpy_rnn.common.records import Parameters
from numpy_rnn.study.components.matrix import check_jacobians
from numpy_rnn.study.setting import Setting, rounded

VANISHING = 0.3  # spectral radius of W_hh
MAX_RADIUS = 3.0  # spectral radius that is tried, to make gradients explode, or that of the drawn one if that is larger
RADII_TRIED = 60  # spectral radii up to there
SATURATED = 1 - 0.9**2  # a slope below that of tanh where |h| = 0.9


class Start(NamedTuple):
    """A network to begin with: the drawn one with W_hh times `factor`."""

    name: str
    factor: float
    params: Parameters


def slopes(h, nonlinearity: str = "tanh") -> np.ndarray:
    """φ'(a_t) of all steps, from the states h_1 to h_T (B3)."""
    return SLOPES[nonlinearity](h)


def jacobians(W_hh, h, nonlinearity: str = "tanh") -> np.ndarray:
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


def singular_values_by_lag(J: np.ndarray) -> list[np.ndarray]:
    """Of the jacobians (T+1, T+1, H, H): at each lag t − s = 0 to T, (pairs of that lag, H), the largest first."""
    return [np.linalg.svd(J[range(lag, len(J)), range(len(J) - lag)], compute_uv=False) for lag in range(len(J))]


def growth_by_lag(W_hh, h, nonlinearity: str = "tanh") -> list[np.ndarray]:
    """The largest singular value of ∂h_t/∂h_s for every t, by lag t − s = 0 to T; NaN where they overflow."""
    with np.errstate(over="ignore", invalid="ignore"):
        J = jacobians(W_hh, h, nonlinearity)
    if not np.isfinite(J).all():
        return [np.full(len(J) - lag, np.nan) for lag in range(len(J))]
    return [values[:, 0] for values in singular_values_by_lag(J)]


def spectral_radius(W) -> float:
    """The largest modulus of an eigenvalue of a square matrix."""
    return float(np.abs(np.linalg.eigvals(W)).max())


def states(params: Parameters, x, h_0, nonlinearity: Any = "tanh") -> np.ndarray:
    """h_0 to h_T of the first sequence, (T+1, H)."""
    with np.errstate(over="ignore", invalid="ignore"):
        return numpy_rnn.forward(params, x, h_0, nonlinearity=nonlinearity).h[:, 0]


def three_starts(params: Parameters, x, h_0, nonlinearity: str = "tanh") -> tuple[Start, ...]:
    """As drawn; with W_hh scaled to the spectral radius VANISHING, if that is smaller; and scaled to explode.

    The last factor is the one, among spectral radii up to MAX_RADIUS, with the largest singular value of ∂h_T/∂h_0. It
    need not be the largest factor: the larger W_hh, the more tanh saturates, and the smaller are its slopes. A relu
    unit that is off passes nothing back, so for relu the elements of W_hh are made positive first, which keeps units
    on. W_hh whose eigenvalues are all 0 stays as it is.
    """
    drawn = Start("as drawn", 1.0, params)
    W_hh = np.abs(params.W_hh) if nonlinearity == "relu" else params.W_hh
    radius, of_positive = spectral_radius(params.W_hh), spectral_radius(W_hh)
    if not radius:
        return (drawn,)

    def growth(factor):
        h = states(params._replace(W_hh=factor * W_hh), x, h_0, nonlinearity)
        return np.linalg.norm(_longest(factor * W_hh, h, nonlinearity), 2) if np.isfinite(h).all() else 0.0

    factors = np.arange(1, RADII_TRIED + 1) / RADII_TRIED * max(MAX_RADIUS / of_positive, 1.0)
    exploding = float(max(factors, key=growth))
    vanishing = min(1.0, VANISHING / radius)
    return (
        drawn,
        Start("scaled to vanish", vanishing, params._replace(W_hh=vanishing * params.W_hh)),
        Start("scaled to explode", exploding, params._replace(W_hh=exploding * W_hh)),
    )


def _longest(W_hh, h, nonlinearity):
    """∂h_T/∂h_0 alone."""
    J = np.eye(len(W_hh))
    for slope in slopes(h[1:], nonlinearity):
        J = J @ (W_hh * slope)
    return J


def measure_states(setting: Setting) -> dict[str, Any]:
    """Of the three starting points and of the end of training: singular values by lag, saturation and states."""
    nonlinearity = setting.configuration.nonlinearity
    h_0 = setting.h_0 if setting.start.h_0 is None else setting.start.h_0
    starts = three_starts(setting.start, setting.x, h_0, nonlinearity)
    result = [
        _from(setting, start.params, h_0) | {"name": start.name, "factor": rounded(start.factor)} for start in starts
    ]
    learned = setting.h_0 if setting.end.h_0 is None else setting.end.h_0
    trained = _from(setting, setting.end, learned) | {"name": "after training", "factor": 1.0}
    return {
        "jacobians": result,
        "trained": trained,
        "tried": MAX_RADIUS,
        "threshold": rounded(np.sqrt(1 - SATURATED)),
    }


def saturation(h, nonlinearity: str) -> dict[str, Any]:
    """slope: the mean φ' over all steps and units; saturated: the share of them whose slope is below that of tanh where
    |h| = 0.9, for relu the share that is switched off. h: (T+1, H).
    """
    slope = slopes(h[1:], nonlinearity)
    return {"slope": rounded(slope.mean()), "saturated": rounded((slope < SATURATED).mean())}


def _from(setting: Setting, params: Parameters, h_0) -> dict[str, Any]:
    nonlinearity = setting.configuration.nonlinearity
    h = states(params, setting.x, h_0, nonlinearity)
    with np.errstate(over="ignore", invalid="ignore"):
        J = jacobians(params.W_hh, h, nonlinearity)
        lags = singular_values_by_lag(J) if np.isfinite(J).all() else []
        difference = check_jacobians(J, params, setting.x, h_0, nonlinearity) if lags else np.nan
    largest = [values[:, 0] for values in lags]
    return {
        "spectral_radius": rounded(spectral_radius(params.W_hh)),
        "mean": rounded([values.mean() for values in largest]),
        "max": rounded([values.max() for values in largest]),
        "min": rounded([values.min() for values in largest]),
        "at_longest": rounded(largest[-1].max() if lags else None),
        "a_step": rounded(largest[-1].max() ** (1 / len(setting.x)) if lags else None),
        "least": rounded([values[:, -1].mean() for values in lags]),
        "difference": rounded(difference),
        "h": rounded(h),
        **saturation(h, nonlinearity),
    }
