"""The evidence page: a verdict on every equation, and what a truncation costs."""

import platform
from collections.abc import Mapping
from html import escape
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np

from numpy_rnn.app.output import progress
from numpy_rnn.conformance.complex_step import MAX_ELEMENTS
from numpy_rnn.study.document import fill, table, with_formulas
from numpy_rnn.study.evidence.components import (
    TRUNCATION_KINDS,
    Findings,
    mask,
    measure_truncations,
)
from numpy_rnn.study.evidence.equation_table import equation_tables, verdict_on
from numpy_rnn.study.evidence.evaluated_equations import CLASS_COUNT
from numpy_rnn.study.evidence.figures import DRAWINGS, band, mask_name, svg, svg_file
from numpy_rnn.study.evidence.witnesses import WRONG, check_equations, has_torch
from numpy_rnn.study.subject import Subject

PARTS = Path(__file__).parent  # with the HTML and the style of the page
LENGTHS = (1, 2, 3, 5, 10)  # k of the table, and all steps of the series


class Evidence(NamedTuple):
    """The files of the evidence, and what it found."""

    files: dict[str, bytes]  # by name: the page, its style and its figures
    verdict: str  # in one line
    is_right: bool  # whether no equation is wrong


def make_evidence(subject: Subject, choices: Mapping[str, str]) -> Evidence:
    """Judge every equation, measure the truncations, and write the page.

    Parameters
    ----------
    subject : Subject
        The run.
    choices : mapping of str to str
        The options other than the defaults, in words.
    """
    progress("judging every equation")
    checked = check_equations(subject)
    progress("measuring the truncations, and drawing the figures")
    findings = measure_truncations(subject)
    drawings = {drawing.name: svg(drawing, findings) for drawing in DRAWINGS}
    verdict = verdict_on(checked)
    is_right = all(equation.verdict != WRONG for equation in checked)
    masks = figure_block(drawings["masks"], *masks_caption(findings))
    curves = figure_block(drawings["cosine_bias"], *cosine_bias_caption(findings))
    values = words_about(subject, findings, choices) | {
        "verdict": verdict,
        "kind": "agrees" if is_right else "wrong",
        "equations": equation_tables(checked),
        "masks": masks,
        "cosine_bias": curves,
    }
    page = fill(with_formulas(read_part("evidence.html")), values)
    files = {
        "evidence.html": page.encode(),
        "evidence.css": read_part("evidence.css").encode(),
    }
    for name, drawing in drawings.items():
        files[f"figures/{name}.svg"] = svg_file(drawing)
    return Evidence(files, verdict, is_right)


def read_part(name: str) -> str:
    """Return a file of this folder."""
    return (PARTS / name).read_text(encoding="utf-8")


def figure_block(drawing: str, caption: str, alternative: str) -> str:
    """Return a figure with its caption, and a text for those who do not see it."""
    label = f'<svg role="img" aria-label="{escape(alternative)}"'
    drawing = drawing.replace("<svg", label, 1)
    words = escape(alternative.partition(".")[0])
    return (
        f'<figure><div class="wide" role="region" tabindex="0" aria-label="{words}">'
        f"{drawing}</div>\n<figcaption>{caption}</figcaption></figure>\n"
    )


def masks_caption(findings: Findings) -> tuple[str, str]:
    """Return the caption of the masks, and the text for those who do not see them."""
    norms = findings.norms
    T = len(norms)
    kept = []
    for k1, k2 in findings.masks:
        is_kept = mask(T, k1, k2)
        words = f"({k1}, {k2}), {mask_name(k1, k2, T)}: {is_kept.sum():.0f}"
        if norms.any():
            share = (norms * is_kept).sum() / norms.sum()
            words += f", {share:.0%} of the norms"
        kept.append(words)
    caption = (
        "The components that truncations (<i>k</i><sub>1</sub>, "
        "<i>k</i><sub>2</sub>) keep; the brighter, the larger their norm after "
        "training, on a logarithmic scale. Crosses mark those that are cut. Kept of "
        f"{T * (T + 1) // 2}: {'; '.join(kept)}."
    )
    return caption, f"Masks on the component matrix. {'; '.join(kept)}."


def cosine_bias_caption(findings: Findings) -> tuple[str, str]:
    """Return the caption of cosine and bias, and the text for those who do not see."""
    networks, _, T = findings.ensemble[1].cosine.shape
    medians = [float(np.nanmedian(end.cosine[:, 0, 0])) for end in findings.ensemble]
    caption = (
        "The distance of the truncated gradient of an epoch from the full one, with "
        f"fixed parameters: median of {networks} networks and band from the 10th to "
        "the 90th percentile; dotted, the network of this run. Cosine 1 and bias 0 "
        "mean the same direction and length."
    )
    alternative = (
        f"Cosine and relative bias against k from 1 to {T}. Median cosine at k = 1:"
        f" {medians[0]:.2f} before training, {medians[1]:.2f} after it."
    )
    return caption, alternative


def words_about(
    subject: Subject, findings: Findings, choices: Mapping[str, str]
) -> dict[str, object]:
    """Return the values of the places in the text, by name, as HTML."""
    T = len(subject.run.x)
    parameters = sum(theta.size for theta in subject.start if theta is not None)
    words: dict[str, object] = {
        "series": escape(subject.name),
        "steps": T,
        "hidden": subject.start.W_hh.shape[-1],
        "nonlinearity": subject.run.options.objective.nonlinearity,
        "cost_table": cost_table(findings),
        "classes": CLASS_COUNT,
        "elements": MAX_ELEMENTS,
        "no_torch": "",
        "parameters": parameters,
        "dtype": subject.dtype,
        "epochs": subject.run.options.schedule.epochs,
        "networks": len(subject.networks),
        "networks_diverged": "",
        "choices": "the default ones",
        "python": platform.python_version(),
        "numpy": version("numpy"),
        "matplotlib": version("matplotlib"),
    }
    if not has_torch():
        words["no_torch"] = "It is not included, as PyTorch is not installed."
    if subject.diverged:
        words["networks_diverged"] = f"; {subject.diverged} more diverged"
    if not subject.networks:
        words["networks_diverged"] = (
            f"; all {subject.diverged} diverged: the curves are of this run alone"
        )
    if choices:
        listed = [f"{name} {escape(value)}" for name, value in choices.items()]
        words["choices"] = f"the default ones but for {'; '.join(listed)}"
    return words


def cost_table(findings: Findings) -> str:
    """Return the costs after training as a table: bands, and those of the run."""
    ensemble = findings.ensemble[1]
    T = len(findings.norms)
    parts = {"cosine": ensemble.cosine, "bias": ensemble.bias}
    rows = [["k"]]
    for part in parts:
        rows[0] += [f"{kind}: {part}" for kind in TRUNCATION_KINDS]
    rows[0] += [f"{kind}, this run" for kind in TRUNCATION_KINDS]
    for k in sorted({k for k in LENGTHS if k < T} | {T}):
        row = [str(k)]
        for costs in parts.values():
            for low, median, high in zip(*band(costs[..., k - 1]), strict=True):
                row.append(f"{fixed(median)} ({fixed(low)}, {fixed(high)})")
        row += [fixed(value) for value in findings.single.cosine[1, :, k - 1]]
        rows.append(row)
    caption = (
        f"After training: median of {len(ensemble.bias)} networks (10th, 90th "
        "percentile), and the cosine of this run"
    )
    return table(caption, rows)


def fixed(value: float) -> str:
    """Return a number with two decimals; a dash where it is not defined."""
    if not np.isfinite(value):
        return "–"
    return f"{value:.2f}".replace("-", "−")
