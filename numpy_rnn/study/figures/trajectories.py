"""The hidden states over the series: before and after training, and with W_hh scaled."""

import numpy as np

from numpy_rnn.study.figures.labels import step_ticks
from numpy_rnn.study.figures.style import CYCLE, GREY
from numpy_rnn.study.records import Findings


def draw(figure, findings: Findings) -> None:
    """A panel a network, a curve a hidden unit; the grey bands are where tanh is saturated."""
    found = findings["items"]
    drawn, *scaled = found["jacobians"]
    shown = [drawn, *([found["trained"]] if found["epochs"] else []), *scaled]
    bounded = all(abs(value) <= 1 for of in shown for row in of["h"] for value in row)
    every = figure.subplots(1, len(shown), sharey=bounded, squeeze=False)[0]
    for axes, of in zip(every, shown):
        h = np.array(of["h"], float)
        for unit in range(h.shape[1]):
            width = 1.6 if h.shape[1] <= len(CYCLE) else 0.7
            axes.plot(h[:, unit], color=CYCLE[unit % len(CYCLE)], linewidth=width)
        if bounded:
            for side in (-1, 1):
                axes.axhspan(side * found["threshold"], side, color=GREY, alpha=0.2, linewidth=0)
            axes.set_ylim(-1.03, 1.03)
        axes.set_title(f"{of['name']}\nρ = {of['spectral_radius']:.2g}, mean slope {of['slope']:.2f}")
        axes.set_xticks([0, *step_ticks(len(h) - 1)[1:]])
        axes.set_xlabel("step t")
    every[0].set_ylabel("the units of $h_t$")


def caption(findings: Findings) -> str:
    """What there is to see."""
    return (
        "The hidden states over the series, a curve a unit. In the grey bands tanh is nearly flat, its slope below"
        f" 1 − {findings['items']['threshold']:g}². With small recurrent weights the units follow the input. Where"
        " large ones drive them from one flat end to the other, a gradient passes only while they are in between."
    )


def alternative(findings: Findings) -> str:
    """For those who do not see it."""
    found = findings["items"]
    parts = [f"{of['name']}: mean slope {of['slope']:.2f}" for of in (*found["jacobians"], found["trained"])]
    return f"Hidden units over the steps. {'; '.join(parts)}."
