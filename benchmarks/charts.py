"""The figures of a report, as PNG. One idea a figure; a row has one colour in all of them, and its name beside it."""

from collections.abc import Sequence
from pathlib import Path

from benchmarks.claims import GEMMS_ASKED
from benchmarks.estimates import Times, ratio, seconds
from benchmarks.line_profile import Profile, by_equation
from benchmarks.plan import Key
from benchmarks.rows import CALLS, EVERY, GEMMS, MODULES, OURS, REFERENCE, ROWS, STEP, C
from benchmarks.workloads import Case

TIMED_IN_STEPS = [row for row in ROWS if row != EVERY]
COLOURS = dict(
    zip(
        TIMED_IN_STEPS,
        ("#0072b2", "#a65628", "#56b4e9", "#d55e00", "#999999", "#cc79a7", "#009e73", "#e69f00", "#000000"),
    )
)
FLOOR_COLOUR = "#666666"
STEPS = 50  # T of the cases that are drawn
PRODUCTS = 3  # of a step, of B·H² multiplications and additions each: forward, back through W_hh, and dW_hh


def draw(found, folder: Path) -> dict[str, str]:
    """Draws what there are times for. Returns the captions, by file."""
    import matplotlib

    matplotlib.use("Agg")
    cases = [case for case in found.wants.cases.values() if case.k2 is None and case.dtype == "float32" and case.D == 1]
    captions = {}
    for name, caption, figure in (
        ("time.png", _TIME, draw_time(found.times, cases)),
        ("ratios.png", _RATIOS, draw_maps(found.times, cases)),
        ("gemms.png", _SHARE, draw_shares(found.times, cases)),
        ("operations.png", _OPERATIONS, draw_operations(found.profiles)),
    ):
        if figure is not None:
            figure.savefig(folder / name, dpi=110)
            captions[name] = caption
    return captions


_TIME = """Time of a gradient and update against H, T = 50, float32. Two floors: what the bare NumPy calls of the \
equations cost, and what the products alone would take at the best speed of bare GEMMs in this run"""
_RATIOS = """How long other rows take beside numpy_rnn, T = 50, float32, gradient and update. Left torch.nn.RNN, right \
the fastest of the other ways, with its name. Across the thick line the winner changes"""
_SHARE = """Share of the speed of bare GEMMs of the same shapes that a gradient and update reaches, T = 50, float32"""
_OPERATIONS = """Where the time of numpy_rnn goes, by equation of DERIVATION.md; "no equation" is the rest: views, \
loops, checks, records"""


def draw_time(times: Times, cases: list[Case]):
    """Log-log, a panel a batch size."""
    batches, peak = batches_of(cases), best_speed(times, cases)
    if not batches:
        return None
    figure, panels = panels_of(len(batches), "time of a step, seconds")
    ends = []
    for axes, (B, group) in zip(panels, batches.items()):
        sizes = [case.H for case in group]
        for row in (*TIMED_IN_STEPS, CALLS):
            found = points(times, row, group)
            if found:
                style = {"color": COLOURS[row]} if row in COLOURS else {"color": FLOOR_COLOUR, "linestyle": "--"}
                axes.plot(*zip(*found), marker="." if row in COLOURS else "", **style)
                ends.append((axes, found[-1], row, style["color"]))
        if peak:
            flops = [(H, 2 * PRODUCTS * B * H * H * STEPS / peak) for H in sizes]
            axes.plot(*zip(*flops), color=FLOOR_COLOUR, linestyle=":")
            ends.append((axes, flops[-1], "flops", FLOOR_COLOUR))
        axes.set(xscale="log", yscale="log", title=f"B = {B}", xlabel="hidden units H")
        mark_sizes(axes, sizes)
    name_ends(figure, ends)
    return figure


def draw_shares(times: Times, cases: list[Case]):
    """The roofline: a line a batch size, for numpy_rnn and torch.nn.RNN."""
    batches = {B: group for B, group in batches_of(cases).items() if points(times, GEMMS, group)}
    if not batches:
        return None
    figure, panels = panels_of(len(batches), "share of the speed of bare GEMMs")
    ends = []
    for axes, (B, group) in zip(panels, batches.items()):
        bare = dict(points(times, GEMMS, group))
        for row in (OURS, MODULES):
            found = [(H, bare[H] / time) for H, time in points(times, row, group) if H in bare]
            if found:
                axes.plot(*zip(*found), marker=".", color=COLOURS[row])
                ends.append((axes, found[-1], row, COLOURS[row]))
        axes.axhline(GEMMS_ASKED, color=FLOOR_COLOUR, linestyle=":", linewidth=1)
        axes.set(xscale="log", ylim=(0, 1.1), title=f"B = {B}", xlabel="hidden units H")
        mark_sizes(axes, sorted(bare))
    name_ends(figure, ends)
    return figure


def batches_of(cases: list[Case]) -> dict[int, list[Case]]:
    """The cases of STEPS steps by batch size, in the order of H; batch sizes with one H only show nothing."""
    found: dict[int, list[Case]] = {}
    for case in sorted((case for case in cases if case.T == STEPS), key=lambda case: (case.B, case.H)):
        found.setdefault(case.B, []).append(case)
    return {B: group for B, group in found.items() if len(group) > 1}


def points(times: Times, row: str, cases: list[Case]) -> list[tuple[int, float]]:
    """(H, median seconds of a step) of the cases that were timed."""
    found = [(case.H, seconds(times, Key(STEP, row, case.name))) for case in cases]
    return [(H, value.median) for H, value in found if value is not None]


def best_speed(times: Times, cases: list[Case]) -> float:
    """Flops a second of the bare GEMMs where they were fastest; 0 where they were not timed."""
    speeds = [
        2 * PRODUCTS * case.T * case.B * case.H**2 / time for case in cases for _, time in points(times, GEMMS, [case])
    ]
    return max(speeds, default=0.0)


NAME_HEIGHT = 8  # points


def panels_of(count, label):
    """A figure and its panels, which share the vertical axis of this label."""
    import matplotlib.pyplot as plt

    size = (3.8 * count + 0.8, 4.4)
    figure, grid = plt.subplots(1, count, figsize=size, sharey=True, squeeze=False, layout="constrained")
    grid[0, 0].set_ylabel(label)
    return figure, grid[0]


def mark_sizes(axes, sizes):
    """A tick at every size."""
    axes.set_xticks(sizes, map(str, sizes), fontsize=7)
    axes.minorticks_off()


def name_ends(figure, ends):
    """Each line's name beside its end, as far from the others as they need to be read."""
    for axes in dict.fromkeys(axes for axes, *_ in ends):
        low, high = axes.get_xlim()
        axes.set_xlim(low, high * (high / low) ** 0.4)  # room for the names, beside the ends
    axes = figure.axes[0]  # whose vertical axis is that of all
    low, high = axes.get_ylim()
    more = high * (high / low) ** 0.07 if axes.get_yscale() == "log" else high + 0.07 * (high - low)
    axes.set_ylim(low, more)  # and above
    figure.canvas.draw()  # only now it is known where the ends are
    for axes in dict.fromkeys(axes for axes, *_ in ends):
        mine = [(axes.transData.transform(end)[1], end, name, colour) for a, end, name, colour in ends if a is axes]
        mine.sort(key=lambda item: (item[0], item[2]))
        heights = spread([height for height, *_ in mine], NAME_HEIGHT * figure.dpi / 72)
        for (height, end, name, colour), at in zip(mine, heights):
            shift = (at - height) * 72 / figure.dpi
            offset = {"xytext": (6, shift), "textcoords": "offset points", "va": "center"}
            axes.annotate(name, end, **offset, color=colour, fontsize=NAME_HEIGHT - 1)


def spread(heights: list[float], least: float) -> list[float]:
    """Heights in rising order, moved apart to `least`: clusters that would overlap are centred where they were."""
    clusters: list[list[float]] = []
    for height in heights:
        clusters.append([height])
        while len(clusters) > 1 and _bottom(clusters[-1], least) - _top(clusters[-2], least) < least:
            clusters[-2:] = [clusters[-2] + clusters[-1]]
    return [_bottom(cluster, least) + n * least for cluster in clusters for n in range(len(cluster))]


def _bottom(cluster, least):
    return sum(cluster) / len(cluster) - (len(cluster) - 1) / 2 * least


def _top(cluster, least):
    return sum(cluster) / len(cluster) + (len(cluster) - 1) / 2 * least


STEPS = 50  # T of the cases that are drawn
OTHERS = tuple(row for row in ROWS if row not in (OURS, EVERY, REFERENCE, C))  # of others; the C loop is a floor


def draw_maps(times: Times, cases: list[Case]):
    """Left torch.nn.RNN / numpy_rnn, right the fastest other row / numpy_rnn; None where there is no map to draw."""
    import matplotlib.pyplot as plt
    import numpy as np

    cases = [case for case in cases if case.T == STEPS]
    maps = [ratio_map(times, cases, (MODULES,)), ratio_map(times, cases, OTHERS)]
    B, H = sorted({case.B for case in cases}), sorted({case.H for case in cases})
    if not maps[0] or len(B) < 2 or len(H) < 2:
        return None
    figure, panels = plt.subplots(1, 2, figsize=(10, 0.5 * len(H) + 1.6), sharey=True, layout="constrained")
    for axes, found, title in zip(panels, maps, (f"{MODULES} / {OURS}", f"fastest other / {OURS}")):
        grid = np.full((len(H), len(B)), np.nan)
        for (b, h), (_, value) in found.items():
            grid[H.index(h), B.index(b)] = np.log2(value)
        image = axes.imshow(grid, cmap="PuOr", vmin=-3, vmax=3, origin="lower", aspect="auto")
        for (b, h), (row, value) in found.items():
            text = f"{value:.2f}" if title.startswith(MODULES) else f"{value:.2f}\n{row}"
            colour = "white" if abs(np.log2(value)) > 2 else "black"
            axes.text(B.index(b), H.index(h), text, ha="center", va="center", fontsize=8, color=colour)
        for (x, y), (dx, dy) in borders(grid):
            axes.plot((x, x + dx), (y, y + dy), color="black", linewidth=3)
        axes.set(title=title, xlabel="batch size B")
        axes.set_xticks(range(len(B)), map(str, B))
        axes.set_yticks(range(len(H)), map(str, H))
    panels[0].set_ylabel("hidden units H")
    bar = figure.colorbar(image, ax=panels, extend="both", ticks=range(-3, 4))
    bar.set_ticklabels([f"{2.0**power:g}" for power in range(-3, 4)])
    bar.set_label(f"times as long as {OURS}")
    return figure


def ratio_map(times: Times, cases: list[Case], rows: tuple[str, ...]) -> dict[tuple[int, int], tuple[str, float]]:
    """By (B, H), the fastest of the rows and how many times as long as numpy_rnn it takes."""
    found = {}
    for case in cases:
        ours = Key(STEP, OURS, case.name)
        ratios = [(row, ratio(times, ours._replace(row=row), ours)) for row in rows]
        known = [(value.median, row) for row, value in ratios if value is not None]
        if known:
            value, row = min(known)
            found[case.B, case.H] = row, value
    return found


def borders(grid) -> list[tuple[tuple[float, float], tuple[int, int]]]:
    """The sides between two cells of which one is above 0 and the other below: a corner, and the way to the next."""
    sides = []
    for (row, column), value in _cells(grid):
        if column + 1 < grid.shape[1] and value * grid[row, column + 1] < 0:
            sides.append(((column + 0.5, row - 0.5), (0, 1)))
        if row + 1 < grid.shape[0] and value * grid[row + 1, column] < 0:
            sides.append(((column - 0.5, row + 0.5), (1, 0)))
    return sides


def _cells(grid):
    return [((row, column), grid[row, column]) for row in range(grid.shape[0]) for column in range(grid.shape[1])]


LEAST_SHARE = 0.012  # a letter, where a name has room


def draw_operations(profiles: Sequence[Profile]):
    """A bar a case, in shares."""
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
            if share > LEAST_SHARE * len(name):
                axes.text(left + share / 2, row, name, ha="center", va="center", fontsize=7)
            left += share
    axes.set_yticks(range(len(profiles)), [f"{p.case}\n{p.seconds * 1e6:.3g} µs a point" for p in reversed(profiles)])
    axes.set(xlim=(0, 1), xlabel="share of the time")
    return figure
