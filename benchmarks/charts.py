"""The figures of a report, as PNG: what each shows is computed by a function without matplotlib, then drawn.

A row has one colour in all figures, and its name at the end of its line.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks.claims import GEMMS_TARGET
from benchmarks.estimates import Times, ratio, seconds
from benchmarks.line_profile import Profile, by_equation
from benchmarks.plan import COLD, Key
from benchmarks.rows import CALLS, EVERY, GEMMS, MIN_CHAR_RNN, MODULES, OURS, REFERENCE, ROWS, STEP, C
from benchmarks.timing_tables import three_digits
from benchmarks.workloads import Case

if TYPE_CHECKING:
    from benchmarks.summary import Findings

STEP_ROWS = tuple(row for row in ROWS if row not in (EVERY, MIN_CHAR_RNN))
OTHER_ROWS = tuple(row for row in ROWS if row not in (OURS, EVERY, REFERENCE, C))  # of others; the C loop is a floor
PALETTE = ("#0072b2", "#a65628", "#56b4e9", "#d55e00", "#999999", "#cc79a7", "#009e73", "#e69f00", "#000000")
COLOURS = dict(zip(STEP_ROWS, PALETTE))
FLOOR_COLOUR = "#666666"
PEAK = "GEMM peak"  # the name of the line of the peak speed
STEPS = 50  # T of the cases that are shown
PRODUCTS = 3  # per step, of B·H² multiplications and additions each: forward, back through W_hh, and dW_hh
NAME_HEIGHT = 8  # typographic points
MIN_LABEL_SHARE = 0.012  # of the width of a bar, per letter

CAPTIONS = {
    "time.png": "Time of a gradient and update against H, T = 50, float32. Two floors: the bare NumPy calls of the"
    " equations (dashed), and the products alone at the highest speed of bare GEMMs in this run (dotted)",
    "ratios.png": "Time of other rows divided by that of numpy_rnn, T = 50, float32, gradient and update. Left"
    " torch.nn.RNN, right the fastest of the other rows, with its name. The thick line is where the faster one changes",
    "gemms.png": "Share of the speed of bare GEMMs of the same shapes that a gradient and update reaches, T = 50,"
    " float32",
    "start.png": "Time of a whole process that runs the default experiment: imports, compilation and training",
    "operations.png": 'Where the time of numpy_rnn goes, by equation of DERIVATION.md; "no equation" is the rest:'
    " views, loops, checks, records",
}


class Series(NamedTuple):
    """One line: (H, value) of a row, in the panel of a batch size."""

    B: int
    row: str
    points: list[tuple[int, float]]


def draw(findings: Findings, folder: Path) -> dict[str, str]:
    """Draws the figures for which there are data. Returns the captions by file."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.pyplot import close

    times, cases = findings.times, list(findings.requested.cases.values())
    figures = {
        "time.png": draw_lines(time_series(times, cases), "time of a step, seconds", yscale="log"),
        "ratios.png": draw_maps(times, cases),
        "gemms.png": draw_lines(share_series(times, cases), "share of the speed of bare GEMMs", ylim=(0, 1.1)),
        "start.png": draw_starts(start_bars(times)),
        "operations.png": draw_operations(findings.profiles),
    }
    for name, figure in figures.items():
        if figure is not None:
            figure.supxlabel(findings.machine.short(), fontsize=6, color=FLOOR_COLOUR)
            figure.savefig(folder / name, dpi=110)
            close(figure)
    return {name: CAPTIONS[name] for name, figure in figures.items() if figure is not None}


# -- what is shown ---------------------------------------------------------------------------------------------------


def time_series(times: Times, cases: Sequence[Case]) -> list[Series]:
    """Seconds of a step of every row and of the bare calls, and of the products at the peak speed."""
    peak = peak_speed(times, cases)
    series = []
    for B, group in batches_of(cases).items():
        lines = [(row, step_points(times, row, group)) for row in (*STEP_ROWS, CALLS)]
        series += [Series(B, row, points) for row, points in lines if len(points) > 1]  # a point alone is no line
        if peak:
            series.append(Series(B, PEAK, [(case.H, flops(case) / peak) for case in group]))
    return series


def share_series(times: Times, cases: Sequence[Case]) -> list[Series]:
    """The time of the bare GEMMs divided by that of numpy_rnn, and of torch.nn.RNN."""
    series = []
    for B, group in batches_of(cases).items():
        bare = dict(step_points(times, GEMMS, group))
        for row in (OURS, MODULES):
            if points := [(H, bare[H] / time) for H, time in step_points(times, row, group) if H in bare]:
                series.append(Series(B, row, points))
    return series


def ratio_map(times: Times, cases: Sequence[Case], rows: Sequence[str]) -> dict[tuple[int, int], tuple[str, float]]:
    """By (B, H): the fastest of these rows, and its time divided by that of numpy_rnn."""
    cells = {}
    for case in shown(cases):
        ours = Key(STEP, OURS, case.name)
        ratios = [(row, ratio(times, ours._replace(row=row), ours)) for row in rows]
        if known := [(value.median, row) for row, value in ratios if value is not None]:
            value, row = min(known)
            cells[case.B, case.H] = row, value
    return cells


def start_bars(times: Times) -> list[tuple[str, float]]:
    """(row, seconds) of cold starts, the fastest first."""
    values = [(key.row, seconds(times, key)) for key in times if key.task == COLD]
    return sorted(((row, value.median) for row, value in values if value is not None), key=lambda bar: bar[1])


def shown(cases: Sequence[Case]) -> list[Case]:
    """The grid in float32 at T = 50."""
    return [case for case in cases if case.k2 is None and (case.dtype, case.D, case.T) == ("float32", 1, STEPS)]


def batches_of(cases: Sequence[Case]) -> dict[int, list[Case]]:
    """The shown cases by batch size, in the order of H; without batch sizes that have only one H."""
    batches: dict[int, list[Case]] = {}
    for case in sorted(shown(cases), key=lambda case: (case.B, case.H)):
        batches.setdefault(case.B, []).append(case)
    return {B: group for B, group in batches.items() if len(group) > 1}


def step_points(times: Times, row: str, cases: Sequence[Case]) -> list[tuple[int, float]]:
    """(H, median seconds of a step) of the cases that were timed."""
    values = [(case.H, seconds(times, Key(STEP, row, case.name))) for case in cases]
    return [(H, value.median) for H, value in values if value is not None]


def flops(case: Case) -> int:
    """Floating-point operations in the products with W_hh of a step."""
    return 2 * PRODUCTS * case.T * case.B * case.H**2


def peak_speed(times: Times, cases: Sequence[Case]) -> float:
    """The highest flops per second of the bare GEMMs; 0 if they were not timed."""
    speeds = [flops(case) / time for case in shown(cases) for _, time in step_points(times, GEMMS, [case])]
    return max(speeds, default=0.0)


def borders(grid: Any) -> list[tuple[tuple[float, float], tuple[int, int]]]:
    """The sides between two cells of different sign: a corner, and the vector to the next."""
    sides: list[tuple[tuple[float, float], tuple[int, int]]] = []
    rows, columns = grid.shape
    for row in range(rows):
        for column in range(columns):
            if column + 1 < columns and grid[row, column] * grid[row, column + 1] < 0:
                sides.append(((column + 0.5, row - 0.5), (0, 1)))
            if row + 1 < rows and grid[row, column] * grid[row + 1, column] < 0:
                sides.append(((column - 0.5, row + 0.5), (1, 0)))
    return sides


# -- drawing ---------------------------------------------------------------------------------------------------------


def draw_lines(series: Sequence[Series], label: str, **axes_options: Any) -> Any:
    """One panel per batch size, with a common vertical axis; None without series."""
    import matplotlib.pyplot as plt

    batches = sorted({line.B for line in series})
    if not batches:
        return None
    size = (3.8 * len(batches) + 0.8, 4.4)
    figure, grid = plt.subplots(1, len(batches), figsize=size, sharey=True, squeeze=False, layout="constrained")
    grid[0, 0].set_ylabel(label)
    ends = []
    for axes, B in zip(grid[0], batches):
        of_batch = [line for line in series if line.B == B]
        sizes = {H for line in of_batch for H, _ in line.points}
        for _, row, points in of_batch:
            colour = COLOURS.get(row, FLOOR_COLOUR)
            style = {CALLS: "--", PEAK: ":"}.get(row, "-")
            axes.plot(*zip(*points), marker="." if style == "-" else "", linestyle=style, color=colour)
            ends.append((axes, (max(sizes), points[-1][1]), row, colour))
        if axes_options.get("yscale") != "log":
            axes.axhline(GEMMS_TARGET, color=FLOOR_COLOUR, linestyle=":", linewidth=1)
        axes.set(xscale="log", title=f"B = {B}", xlabel="hidden units H", **axes_options)
        axes.set_xticks(sorted(sizes), map(str, sorted(sizes)), fontsize=7)
        axes.minorticks_off()
    _name_lines(figure, ends)
    return figure


def _name_lines(figure, ends):
    """Writes the name of each line at the height of its end, moved so that names do not overlap."""
    panels = list(dict.fromkeys(axes for axes, *_ in ends))
    for axes in panels:
        low, high = axes.get_xlim()
        axes.set_xlim(low, high * (high / low) ** 0.5)  # room for the names
    axes = figure.axes[0]  # the vertical axis is shared
    low, high = axes.get_ylim()
    axes.set_ylim(low, high * (high / low) ** 0.07 if axes.get_yscale() == "log" else high + 0.07 * (high - low))
    figure.canvas.draw()  # positions are known only now
    for axes in panels:
        lines = [(axes.transData.transform(end)[1], end, name, colour) for of, end, name, colour in ends if of is axes]
        lines.sort(key=lambda line: (line[0], line[2]))
        heights = spread([height for height, *_ in lines], NAME_HEIGHT * figure.dpi / 72)
        for (height, end, name, colour), moved in zip(lines, heights):
            offset = {"xytext": (6, (moved - height) * 72 / figure.dpi), "textcoords": "offset points", "va": "center"}
            axes.annotate(name, end, **offset, color=colour, fontsize=NAME_HEIGHT - 1)


def spread(heights: Sequence[float], distance: float) -> list[float]:
    """Rising heights, moved apart to this distance: heights that are too close are centred where they were."""
    clusters: list[list[float]] = []

    def centre(cluster):
        return sum(cluster) / len(cluster)

    def half(cluster):
        return (len(cluster) - 1) / 2 * distance

    for height in heights:
        clusters.append([height])
        while len(clusters) > 1:
            below, above = clusters[-2:]
            if centre(above) - half(above) - centre(below) - half(below) >= distance:
                break
            clusters[-2:] = [below + above]
    return [centre(cluster) - half(cluster) + n * distance for cluster in clusters for n in range(len(cluster))]


def draw_maps(times: Times, cases: Sequence[Case]) -> Any:
    """Left torch.nn.RNN / numpy_rnn, right the fastest other row / numpy_rnn; None without a map."""
    import matplotlib.pyplot as plt
    import numpy as np

    maps = [ratio_map(times, cases, (MODULES,)), ratio_map(times, cases, OTHER_ROWS)]
    B, H = sorted({case.B for case in shown(cases)}), sorted({case.H for case in shown(cases)})
    if not maps[0] or len(B) < 2 or len(H) < 2:
        return None
    figure, panels = plt.subplots(1, 2, figsize=(10, 0.5 * len(H) + 1.6), sharey=True, layout="constrained")
    for axes, cells, title in zip(panels, maps, (f"{MODULES} / {OURS}", f"fastest other / {OURS}")):
        grid = np.full((len(H), len(B)), np.nan)
        for (b, h), (row, value) in cells.items():
            logarithm = np.log2(value)
            grid[H.index(h), B.index(b)] = logarithm
            text = f"{value:.2f}" if title.startswith(MODULES) else f"{value:.2f}\n{row}"
            colour = "white" if abs(logarithm) > 2 else "black"
            axes.text(B.index(b), H.index(h), text, ha="center", va="center", fontsize=8, color=colour)
        image = axes.imshow(grid, cmap="PuOr", vmin=-3, vmax=3, origin="lower", aspect="auto")
        for (x, y), (dx, dy) in borders(grid):
            axes.plot((x, x + dx), (y, y + dy), color="black", linewidth=3)
        axes.set(title=title, xlabel="batch size B")
        axes.set_xticks(range(len(B)), map(str, B))
        axes.set_yticks(range(len(H)), map(str, H))
    panels[0].set_ylabel("hidden units H")
    bar = figure.colorbar(image, ax=panels, extend="both", ticks=range(-3, 4))
    bar.set_ticklabels([f"{2.0**power:g}" for power in range(-3, 4)])
    bar.set_label(f"time / time of {OURS}")
    return figure


def draw_starts(bars: Sequence[tuple[str, float]]) -> Any:
    """A bar per row; None for a single row."""
    import matplotlib.pyplot as plt

    if len(bars) < 2:
        return None
    figure, axes = plt.subplots(figsize=(8, 0.8 + 0.35 * len(bars)), layout="constrained")
    names, values = zip(*reversed(bars))
    drawn = axes.barh(names, values, color=[COLOURS.get(name, FLOOR_COLOUR) for name in names])
    axes.bar_label(drawn, [f"{value:.3g} s" for value in values], padding=3, fontsize=8)
    axes.set(xscale="log", xlabel="seconds", xlim=(min(values) / 2, max(values) * 3))
    return figure


def draw_operations(profiles: Sequence[Profile]) -> Any:
    """A bar per case, divided by equation; None without profiles."""
    import matplotlib.pyplot as plt

    if not profiles:
        return None
    figure, axes = plt.subplots(figsize=(9, 0.9 + 0.9 * len(profiles)), layout="constrained")
    palette = plt.get_cmap("tab20")(range(20))
    names = list(dict.fromkeys(name for profile in profiles for name in by_equation(profile)))
    for row, profile in enumerate(reversed(profiles)):
        whole, left = sum(line.seconds for line in profile.lines), 0.0
        for name, spent in by_equation(profile).items():
            share = spent / whole
            axes.barh(row, share, left=left, color=palette[names.index(name) % len(palette)], edgecolor="white")
            if share > MIN_LABEL_SHARE * len(name):
                axes.text(left + share / 2, row, name, ha="center", va="center", fontsize=7)
            left += share
    labels = [f"{profile.case}\n{three_digits(profile.seconds * 1e6)} µs per point" for profile in reversed(profiles)]
    axes.set_yticks(range(len(profiles)), labels)
    axes.set(xlim=(0, 1), xlabel="share of the time")
    return figure
