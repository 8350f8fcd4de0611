"""The component matrix along training, the masks on it, and what a state does to later ones: its jacobians."""

import numpy as np

from numpy_rnn.study.components.matrix import mask
from numpy_rnn.study.figures.style import (
    AFTER,
    BAND,
    BEFORE,
    CYCLE,
    GREY,
    HEAT,
    RED,
    SKY,
    ZERO,
    epoch_axis,
    label_ends,
    positive,
    step_ticks,
)
from numpy_rnn.study.setting import Drawing, Findings

DECADES = 8  # below the largest that have a colour of their own


def draw_heat_map(figure, findings: Findings) -> None:
    """‖G[t, s]‖ by colour, t down and s to the right, at both ends of training on one scale."""
    result = findings["components"]
    panels = {"before training": result["heat"]["start"]}
    if result["epochs"]:
        panels[f"after {result['epochs']} epochs"] = result["heat"]["end"]
    scale = scale_of(*panels.values())
    every = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, (title, norms) in zip(every, panels.items()):
        image = draw_matrix(axes, norms, scale)
        axes.set_title(title)
        axes.text(0.97, 0.95, "s > t: always zero", transform=axes.transAxes, ha="right", va="top", color=GREY)
        axes.set_xlabel("step s of the parameters")
    every[0].set_ylabel("step t of the loss")
    figure.colorbar(image, ax=list(every), label="‖G[t, s]‖", extend="min", shrink=0.85)


def draw_matrix(axes, norms, scale, **options):
    """One matrix with steps from 1 on both axes; what is zero or NaN has no colour. Returns the image."""
    from matplotlib import colormaps

    values = np.array(norms, float)
    T = len(values)
    image = axes.imshow(
        np.ma.masked_where(~(values > 0), values),
        norm=scale,
        cmap=colormaps[HEAT].with_extremes(bad=ZERO, under=colormaps[HEAT](0.0)),
        extent=(0.5, T + 0.5, T + 0.5, 0.5),
        interpolation="nearest",
        **options,
    )
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_ticks(step_ticks(T))
    return image


def scale_of(*matrices):
    """A logarithmic scale for all of them, over DECADES at most."""
    from matplotlib.colors import LogNorm

    values = np.concatenate([np.ravel(np.array(matrix, float)) for matrix in matrices])
    values = values[values > 0]
    if not values.size:
        return LogNorm(1e-1, 1)
    most = values.max()
    return LogNorm(min(max(values.min(), most * 10.0**-DECADES), most / 10), most)


def caption_heat_map(findings: Findings) -> str:
    """The caption."""
    result = findings["components"]
    return (
        f"The component matrix of {result['steps']} steps: the size of ∂ℓ_t/∂θ_s, where step s has a copy of all"
        f" {result['parameters']} parameters. Above the diagonal all are zero: a step cannot affect an earlier"
        " loss. Along a row the colour shows how fast the effect of earlier steps fades; a bright row is a loss with"
        " a large error."
    )


def alternative_heat_map(findings: Findings) -> str:
    """The alternative text."""
    reach = findings["components"]["reach"]
    return (
        "Lower triangular heat maps of the norms of the components on a logarithmic scale. On average"
        f" {reach['start']['90']:.1f} steps, counted back from the loss, have 90 % of a row's norms before training,"
        f" and {reach['end']['90']:.1f} after it."
    )


CUT = "#D55E00"  # Okabe and Ito's vermilion, which viridis does not have
MAX_CROSSED_STEPS = 25  # steps
CROSS = 0.3  # of a step: half its width
PANELS = 5


def draw_masks(figure, findings: Findings) -> None:
    """Side by side the masks that are shown: kept components in their colours, cut ones pale and crossed out."""
    result = findings["components"]
    norms = np.array(result["heat"]["end"], float)
    scale = scale_of(norms)
    every = figure.subplots(1, PANELS, sharey=True)
    for axes in every[len(result["masks"]) :]:
        axes.set_axis_off()
    for axes, shown in zip(every, result["masks"]):
        kept = mask(len(norms), shown["k1"], shown["k2"]) > 0
        cut = np.tril(~kept)
        draw_matrix(axes, norms, scale, alpha=np.where(cut & (norms > 0), 0.25, 1.0))
        _cross(axes, cut)
        share = shown["end"]["share"]
        of_norms = "" if share is None else f"\n{share:.0%} of the norms"
        numbers = "(k1, k2) = " if axes is every[0] else ""
        axes.set_title(f"{numbers}({shown['k1']}, {shown['k2']})\n{shown['name']}")
        axes.set_xlabel(f"step s\n{shown['kept']} of {shown['of']} components{of_norms}")
    every[0].set_ylabel("step t")


def _cross(axes, cut):
    """A small mark on every cut component, or where they are many on every other one."""
    t, s = np.nonzero(cut)
    marked = (s + t) % 2 == 0 if len(cut) > MAX_CROSSED_STEPS else slice(None)
    lines = [
        [((column - CROSS, row - CROSS * way), (column + CROSS, row + CROSS * way)) for way in (1, -1)]
        for row, column in zip(t[marked] + 1, s[marked] + 1)
    ]
    ends = np.array([[start, end, (np.nan, np.nan)] for pair in lines for start, end in pair]).reshape(-1, 2)
    axes.plot(*ends.T, linewidth=0.6, color=CUT)  # as one line, which makes a small file


def caption_masks(findings: Findings) -> str:
    """The caption."""
    return (
        f"The components that {len(findings['components']['masks'])} truncations keep, over their norms after training;"
        " crosses mark the ones that are cut. One step keeps the diagonal, chunks keep blocks, a sliding window keeps a"
        " band, and full back-propagation keeps the triangle. An update sums the kept components of its rows."
    )


def alternative_masks(findings: Findings) -> str:
    """The alternative text."""
    parts = (
        f"({shown['k1']}, {shown['k2']}), {shown['name']}, keeps {shown['kept']} of {shown['of']} components"
        for shown in findings["components"]["masks"]
    )
    return f"Masks on the component matrix: {'; '.join(parts)}."


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


COMPONENT_DRAWINGS = (
    Drawing("heat_map", (8.4, 4.2), draw_heat_map, caption_heat_map, alternative_heat_map),
    Drawing("masks", (10, 3.2), draw_masks, caption_masks, alternative_masks),
    Drawing("jacobians", (7, 3.8), draw_jacobians, caption_jacobians, alternative_jacobians),
    Drawing("recurrence", (8.4, 3.4), draw_recurrence, caption_recurrence, alternative_recurrence),
    Drawing("trajectories", (10, 3.2), draw_trajectories, caption_trajectories, alternative_trajectories),
)
