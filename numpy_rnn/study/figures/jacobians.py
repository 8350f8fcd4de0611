"""What a state does to later ones: the largest singular value of the jacobians, from three starting points."""

import numpy as np

from numpy_rnn.study.figures.labels import label_ends
from numpy_rnn.study.figures.norm_by_lag import positive
from numpy_rnn.study.figures.style import BAND, BLUE, GREEN, ORANGE
from numpy_rnn.study.records import Findings

COLORS = {"as drawn": BLUE, "scaled to vanish": GREEN, "scaled to explode": ORANGE}


def draw(figure, findings: Findings) -> None:
    """By lag, on a logarithmic axis: mean and range over t; dotted, the spectral radius to the power of the lag."""
    axes = figure.subplots()
    shown = [start for start in findings["items"]["jacobians"] if start["mean"]]
    ends, low, high = [], 1.0, 1.0
    for start in shown:
        color = COLORS[start["name"]]
        mean, least, most = (positive(start[part]) for part in ("mean", "min", "max"))
        lags = np.arange(len(mean))
        axes.plot(lags, mean, color=color)
        axes.fill_between(lags, least, most, color=color, alpha=BAND, linewidth=0)
        axes.plot(lags, start["spectral_radius"] ** lags, color=color, linewidth=1, linestyle=":")
        there = np.flatnonzero(np.isfinite(mean))
        ends.append((there[-1], mean[there[-1]], f"{start['name']}\nρ = {start['spectral_radius']:.2g}", color))
        low, high = min(low, np.nanmin(least)), max(high, np.nanmax(most))
    axes.axhline(1, color="black", linewidth=0.8)
    axes.set_yscale("log")
    axes.set_ylim(low / 3, high * 10)
    axes.set_xlim(0, findings["items"]["steps"])
    axes.set_xlabel("lag t − s, steps")
    axes.set_ylabel(r"largest singular value of $\partial h_t / \partial h_s$")
    axes.xaxis.get_major_locator().set_params(integer=True)
    label_ends(axes, ends, lines=2)


def caption(findings: Findings) -> str:
    """What there is to see."""
    return (
        "By how much a small change of the state may have grown after so many steps: the mean over t, and the range"
        " over t. Dotted: the spectral radius ρ of W_hh to the power of the lag, the law of a linear network in the"
        " long run. A product may be larger than that, as directions that grow at one step can be met again at the"
        " next; what it lacks is taken by the slopes of the nonlinearity, most of all where large weights saturate"
        " the units."
    )


def alternative(findings: Findings) -> str:
    """For those who do not see it."""
    parts = [
        f"{start['name']} (spectral radius {start['spectral_radius']:.2g}): {start['at_longest']:.2g}"
        for start in findings["items"]["jacobians"]
        if start["mean"]
    ]
    return f"Largest singular value at the longest lag, on a logarithmic axis: {'; '.join(parts)}."
