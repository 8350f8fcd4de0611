"""How the figures of the study look: one style, colours that the colour-blind can tell apart, labels on the curves."""

from contextlib import contextmanager
from typing import Any

# Okabe and Ito's colours, in an order in which neighbours differ in lightness too.
BLUE, ORANGE, GREEN, RED, SKY, PURPLE, GREY = (
    "#0072B2",
    "#C77700",
    "#007A57",
    "#B3400E",
    "#56B4E9",
    "#AA4499",
    "#666666",
)
CYCLE = (BLUE, ORANGE, GREEN, PURPLE, RED, SKY)
HEAT = "viridis"  # of sizes: perceptually even, and readable in grey
BAND = 0.2  # opacity of a band from the 10th to the 90th percentile

STYLE: dict[Any, Any] = {
    "font.size": 10,
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "lines.linewidth": 1.8,
    "legend.frameon": False,
    "svg.fonttype": "path",
    "svg.hashsalt": "study",  # the same numbers make the same file
    "figure.constrained_layout.use": True,
}


@contextmanager
def style():
    """The context in which a figure is made and written."""
    import matplotlib

    with matplotlib.rc_context(STYLE):
        yield


def label_end(axes, x, y, text, color, **options):
    """Write a curve's name beside its end, in its colour."""
    axes.annotate(
        text,
        (x, y),
        xytext=(5, 0),
        textcoords="offset points",
        color=color,
        va="center",
        annotation_clip=False,
        **options,
    )
