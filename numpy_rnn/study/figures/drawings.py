"""The figures of the study, each drawn of its findings onto an empty Matplotlib Figure."""

import textwrap

import numpy as np

from numpy_rnn.study import findings as names
from numpy_rnn.study.checks.equations import SOFTMAX
from numpy_rnn.study.components.matrix import added_up, mask
from numpy_rnn.study.figures.style import (
    AFTER,
    BEFORE,
    BLUE,
    CHUNKS,
    GREEN,
    GREY,
    HEAT,
    ORANGE,
    PURPLE,
    RED,
    SKY,
    SLIDING,
    Drawing,
    is_narrow,
    logarithmic,
    plot_band,
    positive,
    step_ticks,
    with_subscripts,
)
from numpy_rnn.study.findings import SAME, Findings, Mistake, band
from numpy_rnn.study.training.outcomes import OVERLAP

# -- checks -----------------------------------------------------------------------------------------------------------

MARKS = {
    "plain loops": (SKY, "<"),
    "ball arithmetic": (BLUE, "o"),
    "exact fractions": (BLUE, "s"),
    "50 decimal digits": (BLUE, "D"),
    "complex step": (GREEN, "^"),
    "RTRL": (ORANGE, "d"),
    "autograd": (PURPLE, "v"),
    "torch.optim": (PURPLE, "P"),
    "central difference": (RED, "X"),
    "exact comparison": (GREY, "o"),  # witnesses without a mark of their own
}
COUNTED = "exact comparison"
MIN_RATIO, MAX_RATIO = 1e-5, 1e12  # what is smaller or larger is drawn here
EQUAL = MIN_RATIO / 10  # place of the column of bitwise equality
SPREAD = 0.62  # of a row, over which its marks are set apart


def draw_differences(figure, findings: Findings) -> None:
    """|by hand − witness| / E by equation, the largest of every tensor; equal ones in a column at the left."""
    axes = figure.subplots()
    equations = findings.checks.equations
    axes.hlines(
        range(len(equations)),
        0,
        1,
        color="#e4e4e4",
        linewidth=0.6,
        transform=axes.get_yaxis_transform(),
    )
    points: dict[str, list[tuple[float, float]]] = {}
    for row, equation in enumerate(equations.values()):
        checks = [check for check in equation.differences if np.isfinite(check.bounds)]
        for shift, check in zip(
            SPREAD * np.linspace(-0.5, 0.5, len(checks)) if len(checks) > 1 else [0], checks
        ):
            ratio = min(max(check.bounds, MIN_RATIO), MAX_RATIO) if check.bounds else EQUAL
            points.setdefault(check.witness if check.witness in MARKS else COUNTED, []).append(
                (ratio, row + shift)
            )
    for witness, (color, mark) in MARKS.items():
        look = {"markersize": 6, "markeredgecolor": "white", "markeredgewidth": 0.6}
        if witness in points:
            axes.plot(*zip(*points[witness]), mark, color=color, label=witness, **look)
    axes.set_xscale("log")
    logarithmic(axes.xaxis)
    axes.set_xlim(EQUAL / 3)
    axes.set_ylim(len(equations) - 0.4, -1.4)
    axes.axvline(1, color="black", linewidth=1)
    axes.axvline(EQUAL * 3, color=GREY, linewidth=0.6)
    axes.text(1, -0.85, " E" if is_narrow(figure) else " the derived bound", va="center")
    axes.text(EQUAL, -0.85, "equal", ha="center", va="center")
    labels = {
        id: f"({id.split(',')[0]})  {with_subscripts(of.quantity)}" for id, of in equations.items()
    }
    labels[SOFTMAX] += "" if is_narrow(figure) else " = p − target"
    axes.set_yticks(range(len(equations)), list(labels.values()))
    axes.tick_params(axis="y", length=0)
    axes.set_xticks(
        [10.0**power for power in range(-5, 20, 2) if 10.0**power <= axes.get_xlim()[1]]
    )
    axes.minorticks_off()
    axes.set_xlabel("largest |by hand − witness|,\nin units of the derived bound E")
    ncols = 2 if is_narrow(figure) else 4
    figure.legend(loc="outside upper left", ncols=ncols, handletextpad=0.2, columnspacing=1.0)


# -- matrices ---------------------------------------------------------------------------------------------------------

DECADES = 8  # below the largest norm that have a colour of their own
CUT = "#D55E00"  # Okabe and Ito's vermilion, which viridis does not have
MAX_CROSSED_STEPS = 25  # steps
CROSS = 0.3  # of a step: half its width
PANELS = 5


def draw_matrix(axes, values, colors: str = HEAT, **options):
    """One matrix with steps from 1 on both axes; what is zero or NaN has no colour. Returns the image."""
    from matplotlib import colormaps

    T = len(values)
    shown = np.ma.masked_where(~(values > 0), values)
    limits = (0.5, T + 0.5, T + 0.5, 0.5)
    look = colormaps[colors].with_extremes(bad="none", under=colormaps[colors](0.0))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_ticks(step_ticks(T))
    return axes.imshow(shown, cmap=look, extent=limits, interpolation="nearest", **options)


def draw_masks(figure, findings: Findings) -> None:
    """Side by side the masks that are shown: kept components in their colours, cut ones pale and crossed out."""
    from matplotlib.colors import LogNorm

    result = findings.components
    norms = result.norms
    panels = figure.subplots(*((3, 2) if is_narrow(figure) else (1, PANELS)), sharey=True).ravel()
    there = norms[norms > 0] if np.any(norms > 0) else np.array([1.0])
    most = there.max()
    scale = LogNorm(min(max(there.min(), most * 10.0**-DECADES), most / 10), most)
    for axes in panels[len(result.masks) :]:
        axes.set_axis_off()
    for axes, shown in zip(panels, result.masks):
        cut = np.tril(mask(len(norms), shown.k1, shown.k2) == 0)
        draw_matrix(axes, norms, norm=scale, alpha=np.where(cut & (norms > 0), 0.25, 1.0))
        _cross(axes, cut)
        share = f",\n{shown.share:.0%} of the norms" if np.isfinite(shown.share) else ""
        axes.set_title(f"({shown.k1}, {shown.k2})\n{shown.name}", fontsize=10)
        axes.set_xlabel(f"step s\n{shown.kept} of {shown.of}{share}", fontsize=9)
    panels[0].set_ylabel("step t")


def _cross(axes, cut):
    """A small mark on every cut component, or where they are many on every other one."""
    t, s = np.nonzero(cut)
    marked = (s + t) % 2 == 0 if len(cut) > MAX_CROSSED_STEPS else slice(None)
    cross = CROSS * np.array(
        [[-1, -1], [1, 1], [np.nan, np.nan], [-1, 1], [1, -1], [np.nan, np.nan]]
    )
    centers = np.stack((s[marked] + 1, t[marked] + 1), axis=-1)
    axes.plot(
        *(centers[:, None] + cross).reshape(-1, 2).T, linewidth=0.6, color=CUT
    )  # as one line: a small file


def draw_disagreement_masks(figure, findings: Findings) -> None:
    """How often an epoch counts every component: the definition, and the ways that count otherwise."""
    T = findings.training.sizes["T"]
    k = min(OVERLAP, T)
    panels = {
        f"definition, (1, {k})": mask(T, 1, k),
        "bptt over k+1 steps": mask(T, 1, k + 1),
        "chunks instead of a sliding window": mask(T, k, k),
        "state gradients add up over overlapping windows": added_up(T, 1, k),
    }
    most = max(counts.max() for counts in panels.values())
    shape = (2, 2) if is_narrow(figure) else (1, len(panels))
    for axes, (title, counts) in zip(
        figure.subplots(*shape, sharex=True, sharey=True).ravel(), panels.items()
    ):
        image = draw_matrix(axes, counts, HEAT + "_r", vmin=1, vmax=most)
        axes.set_title(textwrap.fill(title, 17 if is_narrow(figure) else 20), fontsize=9)
        axes.set_xlabel("step s")
        axes.spines[["top", "right"]].set_visible(True)
    figure.axes[0].set_ylabel("step t")
    bar = figure.colorbar(image, ax=figure.axes, shrink=0.75, pad=0.015)
    bar.set_label("times counted per epoch")


# -- truncation -------------------------------------------------------------------------------------------------------

KINDS = {"chunks": ("chunks (k, k)", CHUNKS, "s"), "sliding": ("sliding (1, k)", SLIDING, "o")}
ROWS = {"cosine": "cosine with the\nfull gradient", "bias": "relative bias\n‖gₖ − g‖ / ‖g‖"}
ENDS = {names.BEFORE: (BEFORE, 0), names.AFTER: (AFTER, -1)}  # color, and index into the epochs


def draw_truncation_cost(figure, findings: Findings) -> None:
    """Cosine above, bias below, a column for each end of training: median and band; dotted, the run's network."""
    result = findings.components
    columns = {names.BEFORE: 0} | (
        {f"after {result.epochs[-1]} epochs": -1} if result.is_trained else {}
    )
    k = range(1, result.steps + 1)
    if is_narrow(figure):
        grid = figure.subplots(2 * len(columns), 1, sharex=True).reshape(2, len(columns))
    else:
        grid = figure.subplots(2, len(columns), sharex=True, sharey="row", squeeze=False)
    for row, (part, label) in zip(grid, ROWS.items()):
        for axes, at in zip(row, columns.values()):
            for kind, (name, color, marker) in KINDS.items():
                over_networks, own = (
                    getattr(of[at].cost[kind], part) for of in (result.bands, result.own)
                )
                plot_band(
                    axes,
                    k,
                    over_networks,
                    color,
                    is_log=False,
                    marker=marker,
                    markersize=3.5,
                    label=name,
                )
                axes.plot(
                    k, own, color=color, linewidth=0.9, linestyle=":", label=f"{name}, this network"
                )
            axes.axhline(1 if part == "cosine" else 0, color="black", linewidth=0.6)
            axes.set_xticks(step_ticks(len(k)))
        row[0].set_ylabel(label)
    for axes, title in zip(grid[0], columns):
        axes.set_title(title)
        if axes.get_ylim()[0] < 0:
            axes.axhline(0, color="black", linewidth=0.6, linestyle=":")
            axes.text(
                len(k),
                0,
                "below: the opposite direction",
                ha="right",
                va="top",
                fontsize=9,
                color=GREY,
            )
    for axes in grid[-1]:
        axes.set_xlabel("k, steps per window")
    grid[-1, 0].legend(loc="upper right", fontsize=9)


def draw_norm_by_lag(figure, findings: Findings) -> None:
    """The mean norm at each lag on a logarithmic axis: median and band; dotted, the run's network."""
    result = findings.components
    axes, lags = figure.subplots(), np.arange(result.steps)
    axes.set_yscale("log")
    logarithmic(axes.yaxis)
    axes.xaxis.get_major_locator().set_params(integer=True)
    for name, (color, at) in ENDS.items():
        if at and not result.is_trained:
            continue
        over_networks = result.bands[at]
        label = f"{name}: 90 % in {over_networks.reach.median:.1f}"
        plot_band(axes, lags, over_networks.lag, color, marker="o", markersize=3.5, label=label)
        axes.plot(lags, positive(result.own[at].lag), color=color, linewidth=0.9, linestyle=":")
    axes.set_xlabel("lag t − s, steps back from the loss")
    axes.set_ylabel("‖G[t, s]‖, mean over t")
    axes.set_xlim(-0.3, result.steps - 0.5)
    axes.legend(loc="lower left")


def draw_final_by_k(figure, findings: Findings) -> None:
    """The final loss of every seed against k, sliding windows and chunks, with a line through the medians."""
    by_k = findings.training.by_k
    axes = figure.subplots()
    axes.set_yscale("log")
    logarithmic(axes.yaxis)
    kinds = (("sliding (1, k)", by_k.sliding, -0.16), ("chunks (k, k)", by_k.chunks, 0.16))
    for (title, runs, shift), (_, color, marker) in zip(kinds, (KINDS["sliding"], KINDS["chunks"])):
        places = np.arange(len(runs)) + shift
        for place, losses in zip(places, runs.values()):
            final = losses[np.isfinite(losses)]
            across = place + 0.1 * np.linspace(-1, 1, len(final))
            look = {"markersize": 3.2, "alpha": 0.45, "markeredgewidth": 0, "linestyle": "none"}
            axes.plot(across, final, marker, color=color, **look)
            if diverged := len(losses) - len(final):
                at = {
                    "xy": (place, 1),
                    "xycoords": ("data", "axes fraction"),
                    "ha": "center",
                    "va": "top",
                }
                axes.annotate(f"{diverged} ↑\ndiverged", **at, fontsize=9)
        medians = np.array([band(losses).median for losses in runs.values()])
        look = {"marker": marker, "markersize": 7, "markeredgecolor": "white"}
        axes.plot(
            places,
            np.where(np.isfinite(medians), medians, np.nan),
            color=color,
            label=title,
            **look,
        )
    axes.legend(loc="lower left")
    axes.margins(y=0.12)  # room for how many diverged
    axes.set_xticks(range(len(by_k.chunks)), [str(k) for k in by_k.chunks])
    axes.set_xlabel("k, steps per window")
    axes.set_ylabel("loss of a pass after training, Σ ℓₜ")


# -- mistakes ---------------------------------------------------------------------------------------------------------

VERDICTS = {
    SAME: (GREY, "o", "the same loss"),
    "lower loss": (SKY, "v", "a lower loss"),
    "learns": (GREEN, "s", "learns"),
    "learns less": (PURPLE, "D", "learns less"),
    "does not learn": (RED, "X", "does not learn"),
    "diverged": ("#222222", ">", "diverges"),
}


def draw_mistakes(figure, findings: Findings) -> None:
    """One row per mistake that shows in a run which can be compared, from the lowest final loss, relative to the
    correct run, to the highest; coloured by its verdict.
    """
    from matplotlib.ticker import NullLocator

    def ratio(mistake: Mistake) -> float:
        return float(mistake.outcomes[0].ratio.median)

    order = list(VERDICTS)
    mistakes = sorted(
        (mistake for mistake in findings.training.mistakes if mistake.verdict in VERDICTS),
        key=lambda one: (ratio(one), order.index(one.verdict)),
    )
    axes, ratios = figure.subplots(), np.array([ratio(one) for one in mistakes])
    places = np.minimum(
        ratios, 4 * max(ratios[np.isfinite(ratios)], default=1.0)
    )  # of what diverged, the edge
    for verdict, (color, marker, label) in VERDICTS.items():
        rows = np.flatnonzero([one.verdict == verdict for one in mistakes])
        if rows.size:
            look = {
                "color": color,
                "markersize": 6,
                "linestyle": "none",
                "label": f"{label} ({len(rows)})",
            }
            axes.plot(places[rows], rows, marker, **look)
    for row, one in enumerate(mistakes):
        axes.plot(
            [1, places[row]], [row, row], color=VERDICTS[one.verdict][0], linewidth=0.9, alpha=0.6
        )
    axes.axvline(1, color="black", linewidth=0.9)
    axes.set_xscale("log")
    logarithmic(axes.xaxis)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_ylim(-0.8, len(mistakes) - 0.2)
    names = [with_subscripts(one.name) for one in mistakes]
    axes.tick_params(axis="y", length=0)
    if is_narrow(figure):  # the names are above their rows
        axes.set_yticks([])
        axes.set_ylim(-0.8, len(mistakes) + 0.4)
        for row, name in enumerate(names):
            axes.text(0.01, row + 0.3, name, fontsize=9, transform=axes.get_yaxis_transform())
    else:
        axes.set_yticks(range(len(mistakes)), names, fontsize=9)
    axes.set_xlabel("final loss, divided by that of the correct run\n(median of the networks)")
    axes.spines["left"].set_visible(False)
    if mistakes:
        axes.legend(loc="lower right")


DRAWINGS = (
    Drawing("differences", draw_differences, (7.4, 6.8), (3.6, 7.2)),
    Drawing("masks", draw_masks, (7.4, 2.8), (3.6, 7.8)),
    Drawing("cosine_bias", draw_truncation_cost, (7.4, 4.4), (3.6, 9.6)),
    Drawing("norm_by_lag", draw_norm_by_lag, (7.4, 2.9), (3.6, 3.4)),
    Drawing("final_by_k", draw_final_by_k, (7.4, 3.3), (3.6, 3.6)),
    Drawing("disagreement_masks", draw_disagreement_masks, (7.4, 2.6), (3.6, 4.8)),
    Drawing("mistakes", draw_mistakes, (7.4, 6.8), (3.6, 11.5)),
)
