"""The figures of the checks: all differences, a row per equation and a mark per witness, and the V-curve."""

import numpy as np

from numpy_rnn.study.figures.render import Drawing
from numpy_rnn.study.figures.style import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, SKY, is_narrow, scientific
from numpy_rnn.study.findings import Findings

MARKS = {
    "plain loops": (SKY, "<"),
    "ball arithmetic": (BLUE, "o"),
    "exact fractions": (BLUE, "s"),
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
    labels = [f"({id})  {_mathematical(result.quantity)}" for id, result in equations.items()]
    axes.set_yticks(range(len(equations)), labels)
    axes.tick_params(axis="y", length=0)
    axes.set_xticks([10.0**power for power in range(-5, 20, 2) if 10.0**power <= axes.get_xlim()[1]])
    axes.minorticks_off()
    axes.set_xlabel("largest |by hand − witness|, in units of the derived bound E of the element")
    figure.legend(loc="outside upper left", ncols=2 if is_narrow(figure) else 4, handletextpad=0.2, columnspacing=1.0)


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


MIN_ERROR = 1e-17  # where an error of 0 is drawn


def draw_v_curve(figure, findings: Findings) -> None:
    """Relative errors over the step, both axes logarithmic; far smaller steps, of the complex step alone, at the left.

    Straight lines: what Taylor's formula leaves out, h²/6 |L'''|, and a rounding of L over h, relative to |L'|.
    """
    curve = findings.checks.v_curve
    if curve is None:
        figure.subplots().set_title("every derivative by W$_{hh}$ is zero: no relative error can be drawn")
        return
    far, near = figure.subplots(1, 2, sharey=True, width_ratios=(1, 4))
    steps, central = curve.steps, _drawn(curve.central)
    highest = 10 * max(central.max(), 1)
    near.loglog(steps, central, color=RED, linewidth=3)
    near.loglog(steps, _drawn(curve.complex), color=BLUE)
    for line, style in ((curve.truncation * steps**2, "--"), (curve.rounding / steps, ":")):
        near.loglog(steps, line, style, color=GREY, linewidth=1.2, zorder=3)
    far.loglog(curve.smaller_steps, _drawn(curve.complex_smaller), color=BLUE)

    best = curve.best_step, curve.best_error
    near.plot(*best, "o", color=RED, markersize=6)
    _annotate(
        near,
        best,
        f"best: {scientific(best[1])} at h = {scientific(best[0])}",
        (-16, -3),
        RED,
        ha="right",
    )
    # Labels are placed by the formulas of the curves, so that they follow them.
    _annotate(near, (1e-13, curve.rounding / 1e-13), "u |L / L′| / h", (8, 10), GREY, highest)
    _annotate(near, (1e-13, curve.rounding / 1e-13), "central difference", (0, -44), RED, highest, ha="center")
    _annotate(near, (1e-2, curve.truncation * 1e-4), "h²/6 |L‴ / L′|", (-10, 8), GREY, highest, ha="right")
    _annotate(near, (1e-11, curve.complex_smaller.max()), "complex step", (0, 6), BLUE, ha="center")
    near.set_ylim(MIN_ERROR / 2, highest)
    near.set_xlim(steps.min(), steps.max())
    far.set_xlim(min(curve.smaller_steps), steps.min())
    far.set_xticks([1e-250, 1e-100])
    far.set_ylabel(f"relative error of ∂L/∂{curve.element.replace('_hh', '$_{hh}$')}")
    far.set_xlabel("far smaller steps")
    near.set_xlabel("step h, of the real or the imaginary part")
    for axes in (far, near):
        axes.minorticks_off()


def _drawn(errors):
    return np.maximum(errors, MIN_ERROR)


def _annotate(axes, point, text, offset, color, highest=np.inf, **options):
    if MIN_ERROR < point[1] < highest:
        axes.annotate(text, point, offset, textcoords="offset points", color=color, **options)


CHECK_DRAWINGS = (
    Drawing("differences", (7.4, 7.6), draw_differences),
    Drawing("v_curve", (7.4, 3.9), draw_v_curve),
)
