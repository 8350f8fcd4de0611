"""The cost of truncation for many networks: cosine and bias by k, norms by lag, and the loss by k."""

import numpy as np

from numpy_rnn.study import findings as names
from numpy_rnn.study.figures.render import Drawing
from numpy_rnn.study.figures.style import (
    AFTER,
    BEFORE,
    CHUNKS,
    GREY,
    SLIDING,
    plot_band,
    positive,
    step_ticks,
)
from numpy_rnn.study.findings import Findings, band

KINDS = {"chunks": ("chunks (k, k)", CHUNKS, "s"), "sliding": ("sliding (1, k)", SLIDING, "o")}
ROWS = {"cosine": "cosine with the\nfull gradient", "bias": r"relative bias" "\n" r"$\|g_k - g\|\ /\ \|g\|$"}
ENDS = {names.BEFORE: (BEFORE, 0), names.AFTER: (AFTER, -1)}  # color, and index into the epochs


def draw_truncation_cost(figure, findings: Findings) -> None:
    """Cosine above, bias below, a column for each end of training: median and band; dotted, the run's network."""
    result = findings.components
    columns = {names.BEFORE: 0} | ({f"after {result.epochs[-1]} epochs": -1} if result.is_trained else {})
    k = range(1, result.steps + 1)
    grid = figure.subplots(2, len(columns), sharex=True, sharey="row", squeeze=False)
    for row, (part, label) in zip(grid, ROWS.items()):
        for axes, at in zip(row, columns.values()):
            for kind, (name, color, marker) in KINDS.items():
                over_networks, own = (getattr(of[at].cost[kind], part) for of in (result.bands, result.own))
                plot_band(axes, k, over_networks, color, is_log=False, marker=marker, markersize=3.5, label=name)
                axes.plot(k, own, color=color, linewidth=0.9, linestyle=":", label=f"{name}, this network")
            axes.axhline(1 if part == "cosine" else 0, color="black", linewidth=0.6)
            axes.set_xticks(step_ticks(len(k)))
        row[0].set_ylabel(label)
    for axes, title in zip(grid[0], columns):
        axes.set_title(title)
        if axes.get_ylim()[0] < 0:
            axes.axhline(0, color="black", linewidth=0.6, linestyle=":")
            axes.text(len(k), 0, "below: the opposite direction", ha="right", va="top", fontsize="small", color=GREY)
    for axes in grid[-1]:
        axes.set_xlabel("k, steps per window")
    grid[-1, 0].legend(loc="upper right", fontsize=8.5)


def few(T: int) -> list[int]:
    """The k of the tables and of the curves along training."""
    return sorted({k for k in (1, 2, 3, 5, 10, 20) if k < T} | {T})


def draw_norm_by_lag(figure, findings: Findings) -> None:
    """The mean norm at each lag on a logarithmic axis: median and band; dotted, the run's network."""
    result = findings.components
    axes = figure.subplots()
    for name, (color, at) in ENDS.items():
        if at and not result.is_trained:
            continue
        over_networks, lags = result.bands[at], np.arange(result.steps)
        label = f"{name}: 90 % within {over_networks.reach.median:.1f} steps"
        plot_band(axes, lags, over_networks.lag, color, marker="o", markersize=3.5, label=label)
        axes.plot(lags, positive(result.own[at].lag), color=color, linewidth=0.9, linestyle=":")
    axes.set_yscale("log")
    axes.set_xlabel("lag t − s, steps back from the loss")
    axes.set_ylabel("‖G[t, s]‖, mean over t")
    axes.set_xlim(-0.3, result.steps - 0.5)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend(loc="lower left")


LOSS_KINDS = (("sliding", "sliding window (1, k)"), ("chunks", "chunks (k, k)"))


def draw_final_by_k(figure, findings: Findings) -> None:
    """The final loss of every seed against k, sliding windows and chunks, with a line through the medians."""
    by_k = findings.training.by_k
    axes = figure.subplots()
    axes.set_yscale("log")
    for (kind, title), color, shift, marker in zip(LOSS_KINDS, (SLIDING, CHUNKS), (-0.16, 0.16), "os"):
        runs = list(getattr(by_k, kind).values())
        for place, losses in enumerate(runs):
            final = losses[np.isfinite(losses)]
            across = place + shift + 0.1 * np.linspace(-1, 1, len(final))
            axes.plot(
                across, final, marker, color=color, markersize=3.2, alpha=0.45, markeredgewidth=0, linestyle="none"
            )
            if len(final) < len(losses):
                at = {"xy": (place + shift, 1), "xycoords": ("data", "axes fraction")}
                text = f"{len(losses) - len(final)} ↑\ndiverged"
                axes.annotate(text, **at, ha="center", va="top", fontsize=9)
        medians = [finite(float(band(losses).median)) for losses in runs]
        axes.plot(np.arange(len(runs)) + shift, medians, color=color, marker=marker, markersize=7,
                  markeredgecolor="white", label=title)  # fmt: skip
    axes.legend(loc="lower left")
    axes.margins(y=0.12)  # room for how many diverged
    axes.set_xticks(range(len(by_k.chunks)), [str(k) for k in by_k.chunks])
    axes.set_xlabel("k, steps per window")
    axes.set_ylabel("loss of a pass after training, Σ ℓₜ")


def finite(values):
    """The values, NaN where they are infinite."""
    return np.where(np.isfinite(values), values, np.nan)


TRUNCATION_DRAWINGS = (
    Drawing("cosine_bias", (7.4, 4.2), draw_truncation_cost),
    Drawing("norm_by_lag", (7.4, 2.9), draw_norm_by_lag),
    Drawing("final_by_k", (7.4, 3.3), draw_final_by_k),
)
