"""What a state does to later ones: the largest singular value of the jacobians, from three starting points."""

import numpy as np

from numpy_rnn.study.figures.style import BAND, BLUE, CYCLE, GREEN, GREY, ORANGE, label_ends, step_ticks
from numpy_rnn.study.figures.truncation_figures import _epochs, positive
from numpy_rnn.study.findings import Drawing, Findings

START_COLORS = {"as drawn": BLUE, "scaled to vanish": GREEN, "scaled to explode": ORANGE}


def draw_jacobians(figure, findings: Findings) -> None:
    """By lag, on a logarithmic axis: mean and range over t; dotted, the spectral radius to the power of the lag."""
    axes = figure.subplots()
    shown = [start for start in findings["components"]["jacobians"] if start["mean"]]
    ends, low, high = [], 1.0, 1.0
    for start in shown:
        color = START_COLORS[start["name"]]
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
    axes.set_xlim(0, findings["components"]["steps"])
    axes.set_xlabel("lag t − s, steps")
    axes.set_ylabel(r"largest singular value of $\partial h_t / \partial h_s$")
    axes.xaxis.get_major_locator().set_params(integer=True)
    label_ends(axes, ends, lines=2)


def caption_jacobians(findings: Findings) -> str:
    """The caption."""
    return (
        "Largest growth of a small change of the state, by the number of steps: mean and range over t. Dotted: ρ^lag,"
        " with ρ the spectral radius of W_hh, the long-run growth of a linear network. The product exceeds ρ^lag where"
        " successive steps amplify the same direction, and falls short of it where slopes are small, most of all where"
        " large weights saturate the units."
    )


def alternative_jacobians(findings: Findings) -> str:
    """The alternative text."""
    parts = [
        f"{start['name']} (spectral radius {start['spectral_radius']:.2g}): {start['at_longest']:.2g}"
        for start in findings["components"]["jacobians"]
        if start["mean"]
    ]
    return f"Largest singular value at the longest lag, on a logarithmic axis: {'; '.join(parts)}."


def draw_trajectories(figure, findings: Findings) -> None:
    """One panel per network, one curve per hidden unit; tanh is saturated in the grey bands."""
    result = findings["components"]
    drawn, *scaled = result["jacobians"]
    shown = [drawn, *([result["trained"]] if result["epochs"] else []), *scaled]
    bounded = all(abs(value) <= 1 for of in shown for row in of["h"] for value in row)
    every = figure.subplots(1, len(shown), sharey=bounded, squeeze=False)[0]
    for axes, of in zip(every, shown):
        h = np.array(of["h"], float)
        for unit in range(h.shape[1]):
            width = 1.6 if h.shape[1] <= len(CYCLE) else 0.7
            axes.plot(h[:, unit], color=CYCLE[unit % len(CYCLE)], linewidth=width)
        if bounded:
            for side in (-1, 1):
                axes.axhspan(side * result["threshold"], side, color=GREY, alpha=0.2, linewidth=0)
            axes.set_ylim(-1.03, 1.03)
        axes.set_title(f"{of['name']}\nρ = {of['spectral_radius']:.2g}, mean slope {of['slope']:.2f}")
        axes.set_xticks([0, *step_ticks(len(h) - 1)[1:]])
        axes.set_xlabel("step t")
    every[0].set_ylabel("units of $h_t$")


def caption_trajectories(findings: Findings) -> str:
    """The caption."""
    return (
        "The hidden states over the series, one curve per unit. In the grey bands tanh is nearly flat: its slope is"
        f" below 1 − {findings['components']['threshold']:g}². With small recurrent weights the units follow the input."
        " Where large weights drive them from one flat end to the other, a gradient passes only in between."
    )


def alternative_trajectories(findings: Findings) -> str:
    """The alternative text."""
    result = findings["components"]
    parts = [f"{of['name']}: mean slope {of['slope']:.2f}" for of in (*result["jacobians"], result["trained"])]
    return f"Hidden units over the steps. {'; '.join(parts)}."


def draw_recurrence(figure, findings: Findings) -> None:
    """On the left the spectral radius of W_hh by epoch, on the right the slopes of the nonlinearity."""
    along = findings["components"]["along"]
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


def caption_recurrence(findings: Findings) -> str:
    """The caption."""
    threshold = findings["components"]["threshold"]
    return (
        "What the length of the memory depends on, along training. Each step back multiplies by W_hh and by the slope"
        " of the nonlinearity. A unit is called saturated where its slope is below that of tanh at |h| ="
        f" {threshold:g}; a relu unit, where it is off."
    )


def alternative_recurrence(findings: Findings) -> str:
    """The alternative text."""
    along = findings["components"]["along"]
    radius, slope, saturated = (along[name] for name in ("spectral_radius", "slope", "saturated"))
    return (
        f"Spectral radius of W_hh: {radius[0]:.2f} before training, {radius[-1]:.2f} after it. Mean slope:"
        f" {slope[0]:.2f} and {slope[-1]:.2f}. Saturated units: {saturated[0]:.0%} and {saturated[-1]:.0%}."
    )


STATE_DRAWINGS = (
    Drawing("jacobians", (7, 3.8), draw_jacobians, caption_jacobians, alternative_jacobians),
    Drawing("recurrence", (8.4, 3.4), draw_recurrence, caption_recurrence, alternative_recurrence),
    Drawing("trajectories", (10, 3.2), draw_trajectories, caption_trajectories, alternative_trajectories),
)
