"""Small settings of the study, and the rounding bounds of its items."""

from functools import cache
from typing import Any

import numpy as np

from numpy_rnn import Gradients, adjoints, forward, half_squared_error, windows
from numpy_rnn.app.configuration import Configuration
from numpy_rnn.app.experiment import prepare
from numpy_rnn.conformance.bounds.global_bounds import TAU, global_bounds, propagate
from numpy_rnn.conformance.bounds.oracle import Enclosure
from numpy_rnn.conformance.bounds.rounding import Rounded, Rounding
from numpy_rnn.conformance.case import Case
from numpy_rnn.study.setting import Setting, setting_of

ROUNDING = Rounding(np.float64)


def small(steps=5, seeds=2, **options) -> Setting:
    """A setting of few steps, on the sine wave."""
    configuration = Configuration(**options)
    return setting_of(prepare(configuration), configuration, seeds, steps)


EVERYTHING: dict[str, Any] = {"bias": True, "learn_initial_state": True, "hidden_size": 3}
OF_RELU = {"nonlinearity": "relu", "learning_rate": 0.01}
OF_STEP = {"reduction": "mean", "momentum": 0.5, "max_norm": 1.0}
SETTINGS: dict[str, dict[str, Any]] = {  # the sine job in full length, and small ones with what else a run may have
    "sine": {"steps": 20, "epochs": 20},
    "everything": {"steps": 5, "epochs": 2, "k1": 2, "k2": 3, **EVERYTHING, **OF_STEP},
    "relu": {"steps": 6, "epochs": 2, **EVERYTHING, **OF_RELU},
    "three steps, untrained": {"steps": 3, "epochs": 0, "hidden_size": 2},
}


@cache
def named_setting(name) -> Setting:
    """One of them, made once."""
    return small(**SETTINGS[name])


def initial_state(setting, params):
    """The state that enters the series, learned or not."""
    return setting.h_0 if params.h_0 is None else params.h_0


def case_of(setting, params, start, loss_start, stop, h_0, reduction="sum") -> Case:
    """One window of the series, under these parameters."""
    if start > 0:
        params = params._replace(h_0=None)
    x, target = setting.x[start:stop], setting.target[loss_start:stop]
    return Case(params, x, target, h_0, 0.0, setting.configuration.nonlinearity, reduction)


def balls(case) -> dict[str, tuple[Enclosure, np.ndarray]]:
    """The true values of a case, by ball arithmetic, and of every tensor E: how far off correct computations may be."""
    return global_bounds(case)


def bounds_of_gradients(case) -> Gradients:
    """E of a window's gradients, around what numpy_rnn computes. That these numbers are off by E themselves changes E
    by its own relative size, which is what UPWARDS of `rounding.py` is for.
    """
    options = {"nonlinearity": case.nonlinearity}
    activations = forward(case.params, case.x, case.h_0, **options)
    flow = adjoints(case.params, activations, case.target, reduction=case.reduction, **options)
    rows = {name: v.reshape(-1, v.shape[-1]) for name, v in (("dy", flow.dy), ("da", flow.da))}
    h = activations.h
    values = {
        "loss": half_squared_error(activations.y[-len(case.target) :], case.target, reduction=case.reduction),
        "a": activations.a,
        "h": h[1:],
        "y": activations.y,
        **{name: getattr(flow, name) for name in ("dy", "dh", "da", "dh_0", "dx")},
        "dW_xh": case.x.reshape(-1, case.x.shape[-1]).T @ rows["da"],
        "dW_hh": h[:-1].reshape(-1, h.shape[-1]).T @ rows["da"],
        "dW_hy": h[1:].reshape(-1, h.shape[-1]).T @ rows["dy"],
        "db_h": rows["da"].sum(0),
        "db_y": rows["dy"].sum(0),
        **{name: theta for name, theta in case.params._asdict().items() if theta is not None},
    }
    enclosed = {name: Enclosure(np.asarray(v), np.zeros_like(v), np.zeros_like(v)) for name, v in values.items()}
    E = propagate(case, enclosed, TAU)
    present = [theta is not None for theta in case.params]
    names = ("dW_xh", "dW_hh", "dW_hy", "db_h", "db_y", "dh_0")
    return Gradients(*(E[name] if there else None for name, there in zip(names, present)))


def bounds_of_items(setting, params):
    """E of every item, (T, T, *shape of θ), and of every t the `balls` of its case; their E is carried through the one
    product that makes an item, (B4) to (B9).
    """
    h_0, T = initial_state(setting, params), len(setting.x)
    E = Gradients(*(None if theta is None else np.zeros((T, T, *theta.shape)) for theta in params))
    cases = []
    for t in range(1, T + 1):
        found = balls(case_of(setting, params, 0, t - 1, t, h_0))
        cases.append(found)
        h, da, dy = (Rounded(np.abs(value.high), bound) for value, bound in (found[name] for name in ("h", "da", "dy")))
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
            E.h_0[t - 1, 0] = found["dh_0"][1]
    return E, cases


def bounds_of_sums(setting, params, reduction):
    """A function of (k1, k2): E of the gradients of all windows of an epoch, added up; the parameters stay."""
    h_0 = initial_state(setting, params)
    h = forward(params, setting.x, h_0, nonlinearity=setting.configuration.nonlinearity).h

    @cache
    def of_window(window):
        case = case_of(setting, params, *window, h[window.start], reduction)
        return bounds_of_gradients(case)

    def of_epoch(k1, k2):
        every = [of_window(window) for window in windows(len(setting.x), k1, k2)]
        return [sum(E for E in parts if E is not None) for parts in zip(*every)]

    return of_epoch
