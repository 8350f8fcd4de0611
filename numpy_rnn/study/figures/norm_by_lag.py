"""How the size of the items falls, or grows, with the lag."""

import numpy as np

from numpy_rnn.study.figures.labels import label_ends
from numpy_rnn.study.figures.style import BAND, BLUE, ORANGE
from numpy_rnn.study.records import Findings

ENDS = {"start": ("before training", BLUE), "end": ("after training", ORANGE)}


def draw(figure, findings: Findings) -> None:
    """The mean norm at each lag on a logarithmic axis, with a band from the smallest to the largest over t."""
    found = findings["items"]
    axes = figure.subplots()
    ends = []
    for end, (name, color) in ENDS.items():
        if end == "end" and not found["epochs"]:
            continue
        mean, largest, smallest = (positive(found["lag"][end][part]) for part in ("mean", "largest", "smallest"))
        lags = np.arange(len(mean))
        axes.plot(lags, mean, color=color, marker="o", markersize=3.5)
        axes.fill_between(lags, smallest, largest, color=color, alpha=BAND, linewidth=0)
        there = np.flatnonzero(np.isfinite(mean))
        if there.size:
            reach = found["reach"][end]["90"]
            ends.append((there[-1], mean[there[-1]], f"{name}:\n90 % within {reach:.1f} steps", color))
    axes.set_yscale("log")
    axes.set_xlabel("lag t − s, steps back from the loss")
    axes.set_ylabel("‖G[t, s]‖, mean and range over t")
    axes.set_xlim(-0.3, found["steps"] - 0.5)
    axes.xaxis.get_major_locator().set_params(integer=True)
    label_ends(axes, ends, lines=2)


def positive(values) -> np.ndarray:
    """The values as an array, NaN where they are not above 0 and so have no place on a logarithmic axis."""
    found = np.array(values, float)
    return np.where(found > 0, found, np.nan)


def caption(findings: Findings) -> str:
    """What there is to see."""
    return (
        "The norms of the items by lag: the line is the mean over t, the band goes from the smallest to the largest."
        " On a logarithmic axis a straight fall is a constant factor a step. The text says how many steps, counted"
        " back from the loss with its own step as the first, hold 90 % of the norms of a row, as a mean over the"
        " rows."
    )


def alternative(findings: Findings) -> str:
    """For those who do not see it."""
    lag = findings["items"]["lag"]
    parts = [
        f"{name} from {lag[end]['mean'][0]:.2g} at lag 0 to {lag[end]['mean'][-1]:.2g} at lag"
        f" {len(lag[end]['mean']) - 1}"
        for end, (name, _) in ENDS.items()
    ]
    return f"Mean norm of the items by lag on a logarithmic axis: {'; '.join(parts)}."
