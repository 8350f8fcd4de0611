"""What truncating after k steps costs: cosine and bias, chunked and sliding, before and after training."""

import numpy as np

from numpy_rnn.study.figures.labels import step_ticks
from numpy_rnn.study.figures.style import BLUE, GREY, ORANGE
from numpy_rnn.study.records import Findings

KINDS = {"chunks": ("chunks (k, k)", ORANGE, "s"), "sliding": ("sliding (1, k)", BLUE, "o")}
ROWS = {"cosine": "cosine with the\nfull gradient", "bias": r"relative bias" "\n" r"$\|g_k - g\|\ /\ \|g\|$"}


def draw(figure, findings: Findings) -> None:
    """Cosine above, bias below; a column for each end of training."""
    found = findings["items"]
    columns = {"before training": "start"} | ({f"after {found['epochs']} epochs": "end"} if found["epochs"] else {})
    k = found["truncation"]["k"]
    grid = figure.subplots(2, len(columns), sharex=True, sharey="row", squeeze=False)
    for row, (part, label) in zip(grid, ROWS.items()):
        for axes, end in zip(row, columns.values()):
            for kind, (name, color, marker) in KINDS.items():
                values = np.array(found["truncation"][end]["all"][kind][part], float)
                axes.plot(k, values, color=color, marker=marker, markersize=3.5, label=name)
            axes.axhline(1 if part == "cosine" else 0, color="black", linewidth=0.6)
            axes.set_xticks(step_ticks(len(k)))
        row[0].set_ylabel(label)
    for axes, title in zip(grid[0], columns):
        axes.set_title(title)
        if axes.get_ylim()[0] < 0:
            axes.axhline(0, color="black", linewidth=0.6, linestyle=":")
            axes.text(len(k), 0, "below: the wrong way", ha="right", va="top", fontsize="small", color=GREY)
    for axes in grid[-1]:
        axes.set_xlabel("k, the steps of a window")
    grid[-1, 0].legend(loc="upper right")


def caption(findings: Findings) -> str:
    """What there is to see."""
    return (
        "How far the gradient of an epoch, truncated to windows of k steps, is from the full one, while the"
        " parameters stay as they are. Cosine 1 and bias 0 are the same direction and length. The sliding window,"
        " which keeps the k newest steps for every loss, is mostly nearer than chunks of the same k, which cut some"
        " losses off from the step just before; and chunks are jagged, because it matters where their borders fall."
    )


def alternative(findings: Findings) -> str:
    """For those who do not see it."""
    found = findings["items"]["truncation"]

    def said(end):
        of = found[end]["all"]
        return ", ".join(f"{name} {_number(of[kind]['cosine'][0])}" for kind, (name, *_) in KINDS.items())

    return (
        f"Cosine and relative bias against k. Cosine at k = 1 before training: {said('start')}; after: {said('end')}."
    )


def _number(value):
    return "not defined" if value is None else f"{value:.2f}"
