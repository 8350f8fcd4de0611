"""How the cost of truncation, and what is behind it, move along training."""

import numpy as np

from numpy_rnn.study.figures.labels import label_ends
from numpy_rnn.study.figures.style import BLUE, GREEN, HEAT, ORANGE
from numpy_rnn.study.records import Findings

KINDS = {"chunks": "chunks (k, k)", "sliding": "sliding window (1, k)"}


def draw(figure, findings: Findings) -> None:
    """The cosine with the full gradient by epoch, a curve for a few k: chunks on the left, sliding on the right."""
    from matplotlib import colormaps

    along = findings["items"]["along"]
    shown = along["k"][:-1]  # at the last, k = T, it is 1
    colors = [colormaps[HEAT](place) for place in np.linspace(0, 0.75, max(1, len(shown)))]
    every = figure.subplots(1, 2, sharey=True)
    for axes, (kind, title) in zip(every, KINDS.items()):
        curves = [np.array(curve, float) for curve in along[kind]["cosine"][: len(shown)]]
        for curve, color in zip(curves, colors):
            axes.plot(along["epochs"], curve, color=color, marker="o", markersize=3.5)
        axes.axhline(1, color="black", linewidth=0.6)
        axes.set_title(title)
        _epochs(axes, along["epochs"])
    every[0].set_ylabel("cosine with the full gradient")
    for axes, kind in zip(every, KINDS):
        ends = [(along["epochs"][-1], along[kind]["cosine"][place][-1], k) for place, k in enumerate(shown)]
        known = [(x, y, f"k = {k}", color) for (x, y, k), color in zip(ends, colors) if y is not None]
        label_ends(axes, known)


def draw_recurrence(figure, findings: Findings) -> None:
    """On the left the spectral radius of W_hh by epoch, on the right the slopes of the nonlinearity."""
    along = findings["items"]["along"]
    left, right = figure.subplots(1, 2)
    left.plot(along["epochs"], along["spectral_radius"], color=BLUE, marker="o", markersize=3.5)
    left.axhline(1, color="black", linewidth=0.8, linestyle="--")
    left.set_ylabel("spectral radius of $W_{hh}$")
    left.set_ylim(0, 1.15 * max(1.0, *along["spectral_radius"]))
    left.text(0, 1.02, "above 1, a linear network would explode", fontsize="small", va="bottom")
    last = along["epochs"][-1]
    for name, color in (("slope", GREEN), ("saturated", ORANGE)):
        right.plot(along["epochs"], along[name], color=color, marker="o", markersize=3.5)
    right.set_ylim(-0.03, 1.05)
    right.set_ylabel("mean slope; share of units")
    for axes in (left, right):
        _epochs(axes, along["epochs"])
    label_ends(
        right,
        [
            (last, along["slope"][-1], "mean slope\n$\\varphi'(a_t)$", GREEN),
            (last, along["saturated"][-1], "saturated\nunits", ORANGE),
        ],
        lines=2,
    )


def _epochs(axes, epochs):
    """Epochs on a logarithmic axis that has room for 0."""
    last = epochs[-1]
    axes.set_xscale("symlog", linthresh=1, linscale=0.4)
    powers = [10**power for power in range(len(str(last))) if 10**power <= last]
    axes.set_xticks([0, *powers, *([last] if powers and last >= 2 * powers[-1] else [])])
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_locator(_none())
    axes.set_xlim(-0.1, max(1, last) * 1.05)
    axes.set_xlabel("epochs of training")


def _none():
    from matplotlib.ticker import NullLocator

    return NullLocator()


def caption(findings: Findings) -> str:
    """What there is to see."""
    return (
        "The same cosine along training, at the weights that the run had after so many epochs. A truncation that is"
        " harmless at the start need not stay so: what the network has learned decides how far back its losses reach,"
        " and where the full gradient has become small, the items that remain cancel, and leaving some out matters"
        " most."
    )


def alternative(findings: Findings) -> str:
    """For those who do not see it."""
    along = findings["items"]["along"]
    parts = []
    for kind, name in KINDS.items():
        curve = [value for value in along[kind]["cosine"][0] if value is not None]
        if curve:
            parts.append(f"{name} with k = {along['k'][0]}: from {min(curve):.2f} to {max(curve):.2f}")
    return "Cosine with the full gradient by epoch, for a few k. " + "; ".join(parts) + "."


def caption_recurrence(findings: Findings) -> str:
    """What there is to see."""
    threshold = findings["items"]["threshold"]
    return (
        "What the length of the memory hangs on, along training. Each step back multiplies by W_hh and by the slope"
        " of the nonlinearity. A unit counts as saturated where its slope is below that of tanh at |h| ="
        f" {threshold:g}; for relu, where it is switched off."
    )


def alternative_recurrence(findings: Findings) -> str:
    """For those who do not see it."""
    along = findings["items"]["along"]
    radius, slope, saturated = (along[name] for name in ("spectral_radius", "slope", "saturated"))
    return (
        f"Spectral radius of W_hh: {radius[0]:.2f} before training, {radius[-1]:.2f} after it. Mean slope:"
        f" {slope[0]:.2f} and {slope[-1]:.2f}. Saturated units: {saturated[0]:.0%} and {saturated[-1]:.0%}."
    )
