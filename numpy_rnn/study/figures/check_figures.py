"""The figure of the checks: all differences, a row per equation and a mark per witness."""

import numpy as np

from numpy_rnn.study.checks.equations import SOFTMAX
from numpy_rnn.study.figures.render import Drawing
from numpy_rnn.study.figures.style import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, SKY
from numpy_rnn.study.findings import Findings

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
}
OTHER = GREY, "o"
COUNTED = "exact comparison"  # witnesses without a mark of their own
MIN_RATIO, MAX_RATIO = 1e-5, 1e12  # what is smaller or larger is drawn here
EQUAL = MIN_RATIO / 10  # place of the column of bitwise equality
SPREAD = 0.62  # of a row, over which its marks are set apart


def draw_differences(figure, findings: Findings) -> None:
    """|by hand − witness| / E by equation, the largest of every tensor; equal ones in a column at the left."""
    axes = figure.subplots()
    equations = findings.checks.equations
    axes.hlines(range(len(equations)), 0, 1, color="#e4e4e4", linewidth=0.6, transform=axes.get_yaxis_transform())
    points = _points(equations)
    for witness, (color, mark) in {**MARKS, COUNTED: OTHER}.items():
        look = {"markersize": 6, "markeredgecolor": "white", "markeredgewidth": 0.6}
        if witness in points:
            axes.plot(*zip(*points[witness]), mark, color=color, label=witness, **look)
    axes.set_xscale("log")
    axes.set_xlim(EQUAL / 3)
    axes.set_ylim(len(equations) - 0.4, -1.4)
    axes.axvline(1, color="black", linewidth=1)
    axes.axvline(EQUAL * 3, color=GREY, linewidth=0.6)
    axes.text(1, -0.85, " the derived bound", va="center")
    axes.text(EQUAL, -0.85, "equal", ha="center", va="center")
    labels = [f"({id.split(',')[0]})  {_mathematical(of.quantity)}" for id, of in equations.items()]
    labels[list(equations).index(SOFTMAX)] += " = p − target"
    axes.set_yticks(range(len(equations)), labels)
    axes.tick_params(axis="y", length=0)
    axes.set_xticks([10.0**power for power in range(-5, 20, 2) if 10.0**power <= axes.get_xlim()[1]])
    axes.minorticks_off()
    axes.set_xlabel("largest |by hand − witness|, in units of the derived bound E of the element")
    figure.legend(loc="outside upper left", ncols=4, handletextpad=0.2, columnspacing=1.0)


def _points(equations):
    """Where the marks are, by witness."""
    result: dict[str, list[tuple[float, float]]] = {}
    for row, equation in enumerate(equations.values()):
        checks = [check for check in equation.differences if np.isfinite(check.bounds)]
        for number, check in enumerate(checks):
            ratio = min(max(check.bounds, MIN_RATIO), MAX_RATIO) if check.bounds else EQUAL
            shift = SPREAD * (number / (len(checks) - 1) - 0.5) if len(checks) > 1 else 0
            witness = check.witness if check.witness in MARKS else COUNTED
            result.setdefault(witness, []).append((ratio, row + shift))
    return result


def _mathematical(quantity):
    """dW_xh with its index below, in Matplotlib's notation."""
    head, _, index = quantity.partition("_")
    return f"{head}$_{{{index}}}$" if index else head


CHECK_DRAWINGS = (Drawing("differences", (7.4, 6.8), draw_differences),)
