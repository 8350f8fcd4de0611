"""The figure of the V: errors of two derivatives over their step."""

import numpy as np

from numpy_rnn.study.checks.words import scientific
from numpy_rnn.study.figures.style import BLUE, GREY, RED

LEAST = 1e-17  # where an error of 0 is drawn


def draw(figure, findings) -> None:
    """Relative errors over the step, both axes logarithmic; far smaller steps, of the complex step alone, at the left.

    Straight lines: what Taylor's formula leaves out, h²/6 |L'''|, and a rounding of L divided by h, both beside |L'|.
    """
    curve = findings["checks"]["v_curve"]
    if curve is None:
        figure.subplots().set_title("every derivative by W$_{hh}$ is zero: there is no relative error to draw")
        return
    far, near = figure.subplots(1, 2, sharey=True, width_ratios=(1, 4))
    steps, central = np.array(curve["steps"]), _drawn(curve["central"])
    highest = 10 * max(central.max(), 1)
    near.loglog(steps, central, color=RED, linewidth=3)
    near.loglog(steps, _drawn(curve["complex"]), color=BLUE)
    for line, style in ((curve["truncation"] * steps**2, "--"), (curve["rounding"] / steps, ":")):
        near.loglog(steps, line, style, color=GREY, linewidth=1.2, zorder=3)
    far.loglog(curve["smaller_steps"], _drawn(curve["complex_smaller"]), color=BLUE)

    best = curve["best_step"], curve["best_error"]
    near.plot(*best, "o", color=RED, markersize=6)
    _beside(near, best, f"best: {scientific(best[1])} at h = {scientific(best[0])}", (-16, -3), RED, ha="right")
    # The labels stand where the curves are by their formulas, so that they stay with them whatever the numbers.
    _beside(near, (1e-13, curve["rounding"] / 1e-13), "u |L / L′| / h", (8, 10), GREY, highest)
    _beside(near, (1e-13, curve["rounding"] / 1e-13), "central difference", (0, -44), RED, highest, ha="center")
    _beside(near, (1e-2, curve["truncation"] * 1e-4), "h²/6 |L‴ / L′|", (-10, 8), GREY, highest, ha="right")
    _beside(near, (1e-11, curve["complex_error"]), "complex step", (0, 6), BLUE, ha="center")
    near.set_ylim(LEAST / 2, highest)
    near.set_xlim(steps.min(), steps.max())
    far.set_xlim(min(curve["smaller_steps"]), steps.min())
    far.set_xticks([1e-250, 1e-100])
    far.set_ylabel(f"relative error of ∂L/∂{curve['element'].replace('_hh', '$_{hh}$')}")
    far.set_xlabel("far smaller steps")
    near.set_xlabel("step h, of the real or the imaginary part")
    for axes in (far, near):
        axes.minorticks_off()


def _drawn(errors):
    return np.maximum(errors, LEAST)


def _beside(axes, point, text, offset, color, highest=np.inf, **options):
    if LEAST < point[1] < highest:
        axes.annotate(text, point, offset, textcoords="offset points", color=color, **options)
