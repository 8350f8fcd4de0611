"""The numbers about the states: what one does to a later one, how far tanh saturates, and where they go."""

from typing import Any

import numpy as np

from numpy_rnn.common.records import Parameters
from numpy_rnn.study.items.jacobians import (
    LARGEST,
    SATURATED,
    jacobians,
    singular_values_by_lag,
    slopes,
    spectral_radius,
    states,
    three_starts,
)
from numpy_rnn.study.items.plain import plain
from numpy_rnn.study.items.witness import check_jacobians
from numpy_rnn.study.setting import Setting


def measure_states(setting: Setting) -> dict[str, Any]:
    """Of the three starting points and of the end of training: singular values by lag, saturation and states."""
    nonlinearity = setting.configuration.nonlinearity
    h_0 = setting.h_0 if setting.start.h_0 is None else setting.start.h_0
    starts = three_starts(setting.start, setting.x, h_0, nonlinearity)
    found = [
        _from(setting, start.params, h_0) | {"name": start.name, "factor": plain(start.factor)} for start in starts
    ]
    learned = setting.h_0 if setting.end.h_0 is None else setting.end.h_0
    trained = _from(setting, setting.end, learned) | {"name": "after training", "factor": 1.0}
    return {
        "jacobians": found,
        "trained": trained,
        "tried": LARGEST,
        "threshold": plain(np.sqrt(1 - SATURATED)),
    }


def saturation(h, nonlinearity: str) -> dict[str, Any]:
    """slope: the mean φ' over all steps and units; saturated: the share of them whose slope is below that of tanh where
    |h| = 0.9, for relu the share that is switched off. h: (T+1, H).
    """
    slope = slopes(h[1:], nonlinearity)
    return {"slope": plain(slope.mean()), "saturated": plain((slope < SATURATED).mean())}


def _from(setting: Setting, params: Parameters, h_0) -> dict[str, Any]:
    nonlinearity = setting.configuration.nonlinearity
    h = states(params, setting.x, h_0, nonlinearity)
    with np.errstate(over="ignore", invalid="ignore"):
        J = jacobians(params.W_hh, h, nonlinearity)
        lags = singular_values_by_lag(J) if np.isfinite(J).all() else []
        difference = check_jacobians(J, params, setting.x, h_0, nonlinearity) if lags else np.nan
    largest = [values[:, 0] for values in lags]
    return {
        "spectral_radius": plain(spectral_radius(params.W_hh)),
        "mean": plain([values.mean() for values in largest]),
        "max": plain([values.max() for values in largest]),
        "min": plain([values.min() for values in largest]),
        "at_longest": plain(largest[-1].max() if lags else None),
        "a_step": plain(largest[-1].max() ** (1 / len(setting.x)) if lags else None),
        "least": plain([values[:, -1].mean() for values in lags]),
        "difference": plain(difference),
        "h": plain(h),
        **saturation(h, nonlinearity),
    }
