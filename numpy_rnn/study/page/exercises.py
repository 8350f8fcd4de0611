"""Parts of the page that readers try: exercises with solutions, wrong lines to find, and the effect of a mistake."""

import itertools
import re
from html import escape
from pathlib import Path

import numpy as np

from numpy_rnn.study.figures.style import scientific
from numpy_rnn.study.findings import Caught, Curve, Mistake

TEXT = Path(__file__).with_name("exercises.txt")
EXERCISE = re.compile(r"^## (\w+)\n\n(.*?)\n\n\*\*Solution\.\*\* (.*?)$(?=\n\n##|\n*\Z)", re.DOTALL | re.MULTILINE)


def exercises() -> list[tuple[str, str]]:
    """Question and solution of every exercise, in Markdown."""
    return [(question, solution) for _, question, solution in EXERCISE.findall(TEXT.read_text(encoding="utf-8"))]


CURVE = (132, 40)  # pixels
MAX_POINTS = 20
WORDS = {"the same": "the same loss", "lower loss": "a lower loss", "diverged": "diverges"}  # of verdicts


def changes(mistake: Mistake) -> str:
    """The right lines and the wrong ones as HTML, as a difference of files shows them."""
    return "\n".join(itertools.starmap(_change, mistake.changes))


def _change(right: str, wrong: str) -> str:
    sides = [
        f'<{tag}><span class="mark">{mark}</span> {escape(line, quote=False)}</{tag}>'
        for tag, mark, side in (("del", "−", right), ("ins", "+", wrong))
        for line in side.split("\n")
    ]
    return f'<div class="change"><code>{"<br>".join(sides)}</code></div>'


def effect(mistake: Mistake) -> str:
    """The verdict and the ratio of the final losses, in words."""
    words = WORDS.get(mistake.verdict, mistake.verdict)
    ratio = np.inf if mistake.outcome is None else mistake.outcome.ratio.median
    return f"{words}, final loss × {ratio:.2g}" if np.isfinite(ratio) else words


def check(caught: Caught) -> str:
    """The check that finds a mistake, in words."""
    if caught.tensor is None:
        return "no check finds it"
    where = "in a random case" if caught.update is None else f"in update {caught.update} of epoch {caught.epoch}"
    size = f"{scientific(caught.ratio)} times its bound off" if np.isfinite(caught.ratio) else "not the expected value"
    return f"({caught.equation}) finds it in {caught.tensor}, {where}: {size}"


def curves(mistake: Mistake) -> str:
    """The loss of the correct run and of the mistaken one over the epochs, on one logarithmic scale, as an SVG."""
    if mistake.outcome is None or len(mistake.outcome.right.epochs) < 2:
        return ""
    sides = {"right": mistake.outcome.right, "wrong": mistake.outcome.wrong}
    logs = {kind: _log(curve) for kind, curve in sides.items()}
    values = np.concatenate([*logs.values()])
    if not np.isfinite(values).any():
        return ""
    low, high = np.nanmin(values), np.nanmax(values)
    paths = []
    for kind, curve in sides.items():
        across = np.array(curve.epochs) / curve.epochs[-1] * CURVE[0]
        down = 2 + (high - logs[kind]) / max(high - low, 1e-9) * (CURVE[1] - 4)
        chosen = np.unique(np.linspace(0, len(down) - 1, MAX_POINTS).astype(int))
        points = [f"{across[i]:.0f} {down[i]:.0f}" for i in chosen if np.isfinite(down[i])]
        paths.append(f'<path class="{kind}" d="M{"L".join(points)}"/>')
    return (
        f'<svg class="loss" viewBox="0 0 {CURVE[0]} {CURVE[1]}" width="{CURVE[0]}" height="{CURVE[1]}" role="img"'
        f' aria-label="loss over the epochs, correct and with the mistake: {escape(effect(mistake))}">'
        f"{''.join(paths)}</svg>"
    )


def _log(curve: Curve) -> np.ndarray:
    """The logarithm of the median, NaN where it is zero or infinite."""
    median = curve.band.median
    is_drawn = np.isfinite(median) & (median > 0)
    return np.log(median, out=np.full(median.shape, np.nan), where=is_drawn)
