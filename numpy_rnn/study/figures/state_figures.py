"""What a state does to later ones: the largest singular value of the jacobians, from three starting points."""

import numpy as np

from numpy_rnn.study.figures.style import (
    AFTER,
    BAND,
    BEFORE,
    CYCLE,
    GREY,
    RED,
    SKY,
    epoch_axis,
    label_ends,
    positive,
    step_ticks,
)
from numpy_rnn.study.setting import Drawing, Findings

START_COLORS = {"as drawn": BEFORE, "scaled to vanish": SKY, "scaled to explode": RED, "after training": AFTER}


def draw_jacobians(figure, findings: Findings) -> None:
    """By lag, on a logarithmic axis: median and band over the networks; thin, the run's network; dotted, ρ^lag."""
    result = findings["components"]
    axes = figure.subplots()
    ends, low_end, high_end = [], 1.0, 1.0
    own = {start["name"]: start for start in (*result["jacobians"], result["trained"])}
    for name, start in result["seeds"]["starts"].items():
        if name == "after training" and not result["epochs"]:
            continue
        color, radius = START_COLORS[name], start["spectral_radius"]["median"]
        low, median, high = (positive(start["growth"][part]) for part in ("low", "median", "high"))
        lags = np.arange(len(median))
        axes.plot(lags, median, color=color)
        axes.fill_between(lags, low, high, color=color, alpha=BAND, linewidth=0)
        axes.plot(lags, radius**lags, color=color, linewidth=1, linestyle=":")
        if own.get(name, {}).get("mean"):
            axes.plot(lags, positive(own[name]["mean"]), color=color, linewidth=0.7)
        there = np.flatnonzero(np.isfinite(median))
        ends.append((there[-1], median[there[-1]], f"{name}\nρ = {radius:.2g}", color))
        low_end = min(low_end, np.nanmin(median) / 30, np.nanmin(radius ** lags[-1:]))
        high_end = max(high_end, np.nanmax(high))
    axes.axhline(1, color="black", linewidth=0.8)
    axes.set_yscale("log")
    axes.set_ylim(low_end / 3, high_end * 10)
    axes.set_xlim(0, result["steps"])
    axes.set_xlabel("lag t − s, steps")
    axes.set_ylabel(r"largest singular value of $\partial h_t / \partial h_s$")
    axes.xaxis.get_major_locator().set_params(integer=True)
    label_ends(axes, ends, lines=2)


def caption_jacobians(findings: Findings) -> str:
    """The caption."""
    return (
        "Largest growth of a small change of the state, by the number of steps, as a mean over t: median and band of"
        f" {findings['components']['seeds']['networks']} networks; thin, the network of this run. Dotted: ρ^lag, with ρ"
        " the median spectral radius of W_hh, the long-run growth of a linear network. The product exceeds ρ^lag where"
        " successive steps amplify the same direction, and falls short of it where slopes are small, most of all where"
        " large weights saturate the units."
    )


def alternative_jacobians(findings: Findings) -> str:
    """The alternative text."""
    parts = [
        f"{name} (spectral radius {start['spectral_radius']['median']:.2g}): {start['at_longest']['median']:.2g}"
        for name, start in findings["components"]["seeds"]["starts"].items()
    ]
    return f"Median of the largest singular value at the longest lag, on a logarithmic axis: {'; '.join(parts)}."


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
        "The hidden states of this network over the series, one curve per unit. In the grey bands tanh is nearly flat:"
        f" its slope is below 1 − {findings['components']['threshold']:g}². With small recurrent weights the units"
        " follow the input. Where large weights drive them from one flat end to the other, a gradient passes only"
        " in between."
    )


def alternative_trajectories(findings: Findings) -> str:
    """The alternative text."""
    result = findings["components"]
    parts = [f"{of['name']}: mean slope {of['slope']:.2f}" for of in (*result["jacobians"], result["trained"])]
    return f"Hidden units over the steps. {'; '.join(parts)}."


def draw_recurrence(figure, findings: Findings) -> None:
    """Median and band by epoch: left, the spectral radius of W_hh; right, the slopes of the nonlinearity."""
    result = findings["components"]
    epochs = result["along"]["epochs"]
    left, right = figure.subplots(1, 2)
    curves = {name: _by_epoch(result["seeds"], name) for name in ("spectral_radius", "slope", "saturated")}
    for axes, name, color in ((left, "spectral_radius", BEFORE), (right, "slope", BEFORE), (right, "saturated", RED)):
        low, median, high = curves[name]
        axes.plot(epochs, median, color=color, marker="o", markersize=3.5)
        axes.fill_between(epochs, low, high, color=color, alpha=BAND, linewidth=0)
        axes.plot(epochs, np.array(result["along"][name], float), color=color, linewidth=0.9, linestyle=":")
    left.axhline(1, color="black", linewidth=0.8, linestyle="--")
    left.set_ylabel("spectral radius of $W_{hh}$")
    left.set_ylim(0, 1.15 * max(1.0, np.nanmax(curves["spectral_radius"][2])))
    left.text(0, 0.03, "dashed: above 1, a linear network\nexplodes", fontsize="small", transform=left.transAxes)
    right.set_ylim(-0.03, 1.05)
    right.set_ylabel("mean slope; share of units")
    for axes in (left, right):
        epoch_axis(axes, epochs)
    label_ends(
        right,
        [
            (epochs[-1], curves["slope"][1][-1], "mean slope\n$\\varphi'(a_t)$", BEFORE),
            (epochs[-1], curves["saturated"][1][-1], "saturated\nunits", RED),
        ],
        lines=2,
    )


def _by_epoch(seeds, name):
    """The band of a number by epoch: low, median, high."""
    return [np.array([of[name][part] for of in seeds["along"]], float) for part in ("low", "median", "high")]


def caption_recurrence(findings: Findings) -> str:
    """The caption."""
    threshold = findings["components"]["threshold"]
    return (
        "What the length of the memory depends on, along training: median and band of"
        f" {findings['components']['seeds']['networks']} networks; dotted, the network of this run. Each step back"
        " multiplies by W_hh and by the slope of the nonlinearity. A unit is called saturated"
        f" where its slope is below that of tanh at |h| = {threshold:g}; a relu unit, where it is off."
    )


def alternative_recurrence(findings: Findings) -> str:
    """The alternative text."""
    seeds = findings["components"]["seeds"]
    radius, slope, saturated = (_by_epoch(seeds, name)[1] for name in ("spectral_radius", "slope", "saturated"))
    return (
        f"Medians. Spectral radius of W_hh: {radius[0]:.2f} before training, {radius[-1]:.2f} after it. Mean slope:"
        f" {slope[0]:.2f} and {slope[-1]:.2f}. Saturated units: {saturated[0]:.0%} and {saturated[-1]:.0%}."
    )


STATE_DRAWINGS = (
    Drawing("jacobians", (7, 3.8), draw_jacobians, caption_jacobians, alternative_jacobians),
    Drawing("recurrence", (8.4, 3.4), draw_recurrence, caption_recurrence, alternative_recurrence),
    Drawing("trajectories", (10, 3.2), draw_trajectories, caption_trajectories, alternative_trajectories),
)
