"""Maps over (B, H): how long other rows take beside numpy_rnn, and where the winner changes."""

from benchmarks.cases import Case
from benchmarks.pieces import EVERY, MODULES, OURS, REFERENCE, ROWS, STEP, C, Key
from benchmarks.results import Times, ratio

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
