"""Parts of the page that readers try: exercises with solutions, wrong lines to find, and the effect of a mistake."""

import itertools
import re
from html import escape
from pathlib import Path

import numpy as np

from numpy_rnn.study.findings import NO_EFFECT, Caught, Mistake, Outcome

TEXT = Path(__file__).with_name("exercises.txt")
EXERCISE = re.compile(r"^## (\w+)\n\n(.*?)\n\n\*\*Solution\.\*\* (.*?)$(?=\n\n##|\n*\Z)", re.DOTALL | re.MULTILINE)


def exercises() -> list[tuple[str, str]]:
    """Question and solution of every exercise, in Markdown."""
    return [(question, solution) for _, question, solution in EXERCISE.findall(TEXT.read_text(encoding="utf-8"))]


PUZZLES = {  # mistakes to find, with what one sees of them
    "dh_next dropped": "The first update of a sliding window is right, the others are not.",
    "W_hh used without its transpose": "It is right for a symmetric matrix, and for one hidden unit.",
    "h_t for h_{t-1} in dW_hh": "Only one gradient is wrong.",
    "1 − h_{t-1}² for 1 − h_t²": "All shapes are right, and with windows of one step the loss falls nearly as far.",
    "sliding window starts from the newest state": "It is right as long as no window has moved.",
    "mean of the losses, gradient of their sum": "The printed loss is right, and longer windows need a smaller rate.",
}


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
    """The verdict and the ratio of the final losses, at every learning rate that was tried."""
    return "; ".join(itertools.starmap(_outcome, enumerate(mistake.outcomes))) or mistake.verdict


def verdict(of: Outcome) -> str:
    """The verdict, and the number of the networks that diverged."""
    words = [] if of.verdict == "diverged" and of.diverged else [of.verdict]
    words += [f"{of.diverged} diverge{'s' if of.diverged == 1 else ''}"] if of.diverged else []
    return ", ".join(words)


def _outcome(number: int, of: Outcome) -> str:
    ratio, words = float(of.ratio.median), [verdict(of)]
    words += [f"final loss × {ratio:.2g}"] if np.isfinite(ratio) and of.verdict != NO_EFFECT else []
    return (f"at η = {of.learning_rate:.2g}: " if number else "") + ", ".join(words)


def check(caught: Caught) -> str:
    """The equation and the tensor in which a check finds a mistake, in words."""
    return "no check finds it" if caught.tensor is None else f"({caught.equation}), in {caught.tensor}"
