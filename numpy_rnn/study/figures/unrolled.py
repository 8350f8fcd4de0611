"""Draw the network unrolled over three steps: python -m numpy_rnn.study.figures.unrolled FILE"""

import sys
from pathlib import Path

from numpy_rnn.app.storage import written_whole

STEPS = 3
ORANGE, GREEN, BLUE = "#C77700", "#007A57", "#0072B2"  # told apart by the colour-blind too
WIDTH, HEIGHT, BETWEEN = 1.25, 0.62, 4.3
ROWS = {"output": 4.0, "hidden": 2.0, "input": 0.0, "context": 0.0}
COLORS = {"output": "#F4F4F4", "hidden": "#FBEBD0", "input": "#F4F4F4", "context": "#DCE9F3"}


def draw(path) -> None:
    """Write the drawing: inputs, context, hidden units and outputs of each step, and which weight is on which arrow."""
    import matplotlib

    matplotlib.rcParams.update({"svg.hashsalt": "unrolled", "mathtext.fontset": "cm"})
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.6), layout="constrained")
    axes = figure.add_subplot()
    axes.set_axis_off()
    axes.set_aspect("equal")
    for step in range(1, STEPS + 1):
        left = (step - 1) * BETWEEN
        places = {"output": left, "hidden": left, "input": left + 0.95, "context": left - 0.95}
        symbols = {"output": f"y_{step}", "hidden": f"h_{step}", "input": f"x_{step}", "context": f"h_{step - 1}"}
        at = {kind: (places[kind], ROWS[kind]) for kind in places}
        for kind, (x, y) in at.items():
            _box(axes, x, y, f"{kind}\n${symbols[kind]}$", COLORS[kind])
        _arrow(axes, at["input"], at["hidden"], "W_{xh}", GREEN, side=1)
        _arrow(axes, at["context"], at["hidden"], "W_{hh}", BLUE, side=-1)
        _arrow(axes, at["hidden"], at["output"], "W_{hy}", ORANGE, side=1)
        axes.text(left, 4.75, f"step {step}", ha="center", fontsize=12, fontweight="bold")
        if step < STEPS:
            _copy(axes, at["hidden"], (left + BETWEEN - 0.95, ROWS["context"]))
    axes.text(-0.95, -0.62, "initial state", ha="center", va="top", fontsize=10)
    axes.set_xlim(-1.9, (STEPS - 1) * BETWEEN + 1.9)
    axes.set_ylim(-1.1, 5.1)
    kind = Path(path).suffix.lstrip(".")
    with written_whole(path) as temporary, open(temporary, "wb") as file:
        figure.savefig(file, format=kind, dpi=110, metadata={"Date": None} if kind == "svg" else None)


def _box(axes, x, y, text, color):
    from matplotlib.patches import FancyBboxPatch

    corner = (x - WIDTH / 2, y - HEIGHT / 2)
    axes.add_patch(FancyBboxPatch(corner, WIDTH, HEIGHT, boxstyle="round,pad=0.06", facecolor=color, edgecolor="black"))
    axes.text(x, y, text, ha="center", va="center", fontsize=11)


def _arrow(axes, start, end, weight, color, side):
    gap = HEIGHT / 2 + 0.08
    (x0, y0), (x1, y1) = start, end
    share = gap / (y1 - y0)
    tail, head = (x0 + share * (x1 - x0), y0 + gap), (x1 - share * (x1 - x0), y1 - gap)
    axes.annotate("", head, tail, arrowprops={"arrowstyle": "-|>", "color": color, "linewidth": 2})
    middle = ((tail[0] + head[0]) / 2 + side * 0.14, (tail[1] + head[1]) / 2)
    axes.text(*middle, f"${weight}$", color=color, fontsize=14, ha="left" if side > 0 else "right", va="center")


def _copy(axes, hidden, context):
    (x0, y0), (x1, y1) = hidden, context
    start, end = (x0 + WIDTH / 2 + 0.08, y0), (x1 - WIDTH / 2 - 0.08, y1)
    curve = {"arrowstyle": "-|>", "linestyle": "--", "color": "#555555", "connectionstyle": "arc3,rad=-0.2"}
    axes.annotate("", end, start, arrowprops=curve)
    axes.text(start[0] + 1.15, y0 + 0.1, "kept as the\nnext context", fontsize=9, color="#555555", ha="center")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("expected one argument: the file to draw to, .svg or .png")
    draw(sys.argv[1])
