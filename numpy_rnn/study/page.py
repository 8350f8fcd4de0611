"""The evidence page: the derivation with its numbers, and what a truncation costs on
the run of the study.
"""

import ast
import platform
import re
import textwrap
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from html import escape
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.common.errors import join_names
from numpy_rnn.study.components import (
    KINDS,
    ComponentCheck,
    Network,
    check_components,
    component_matrix,
    component_norms,
    mask,
    measure_network,
    stack_networks,
)
from numpy_rnn.study.document import as_html, derivation
from numpy_rnn.study.equations import CLASS_COUNT
from numpy_rnn.study.figures import DRAWINGS, Findings, band, mask_name, svg, svg_file
from numpy_rnn.study.subject import Subject
from numpy_rnn.study.witnesses import (
    MAX_ELEMENTS,
    Checked,
    check_equations,
    has_torch,
    without_transpose,
)

HERE = Path(__file__).parent / "evidence"
WITNESSES = [
    "the definition of the conformance suite",
    "the complex step",
    "<code>torch_rnn</code>, whose gradients are autograd's",
]
PLACE = re.compile(r"\{\{ (\w+) \}\}")
HEADING = re.compile(r'<h2 id="([^"]+)">(.*?) <a class="header-anchor"', re.DOTALL)
LENGTHS = (1, 2, 3, 5, 10)  # k of the table, and all steps of the series


def evidence_files(subject: Subject, choices: Mapping[str, str]) -> dict[str, bytes]:
    """The files of the evidence by their names: the page, its style and its figures as
    files of their own.

    choices: the options other than the defaults, in words.
    """
    findings = measure(subject)
    checked = check_equations(subject)
    drawings = {name: svg(draw, findings) for name, draw in DRAWINGS.items()}
    values = words_about(subject, findings, choices)
    main = as_html(
        derivation() + fill("evidence.md", values),
        lambda id: equation_block(id, checked[id]),
        lambda name: figure_block(name, drawings[name], findings),
    )
    contents = "\n".join(
        f'<li><a href="#{id}">{text}</a></li>' for id, text in HEADING.findall(main)
    )
    page = fill("evidence.html", values | {"main": main, "contents": contents})
    files = {
        f"figures/{name}.svg": svg_file(drawing) for name, drawing in drawings.items()
    }
    return files | {
        "evidence.html": page.encode(),
        "evidence.css": read("evidence.css").encode(),
    }


def measure(subject: Subject) -> Findings:
    """The numbers that the figures show."""
    T = len(subject.x)
    k = max(2, T // 4)
    shown = [(1, 1), (k, k), (1, k), (k, 2 * k), (T, T)]
    ends = list(zip(*subject.networks)) or [(subject.start,), (subject.end,)]
    return Findings(
        norms=component_norms(component_matrix(subject, subject.end)),
        masks=[pair for pair in dict.fromkeys(shown) if pair[1] <= T],
        own=[
            measure_network(subject, params) for params in (subject.start, subject.end)
        ],
        many=[
            stack_networks([measure_network(subject, of) for of in end]) for end in ends
        ],
    )


def read(name: str) -> str:
    """A file of the folder `evidence`."""
    return (HERE / name).read_text(encoding="utf-8")


def fill(name: str, values: Mapping[str, str]) -> str:
    """A file of the folder with values in its places, {{ name }}. Raises KeyError on an
    unknown name.
    """
    return PLACE.sub(lambda match: values[match[1]], read(name))


# -- equations
# ------------------------------------------------------------


def equation_block(id: str, checked: Checked) -> str:
    """The lines of code that compute an equation, one number, and its differences from
    the witnesses.
    """
    code = "".join(
        (
            f"<code><span>{of.file}, "
            f"{of.function}</span>\n{escape(of.code, quote=False)}</code>"
        )
        for of in code_lines()[id]
    )
    differences = ", ".join(
        f"{name} {scale(d)}" for name, d in checked.differences.items()
    )
    return (
        f"<pre>{code}</pre>\n"
        f'<p class="numbers">{checked.what + ". " if checked.what else ""}In '
        f"{checked.where}:"
        f" <b>{checked.element} = {f'{checked.value:.6g}'.replace('-', '−')}</b>."
        f" Differences: {differences}.</p>\n"
    )


def scale(value: float) -> str:
    """A difference as HTML, such as 3·10⁻¹⁵, with one digit."""
    if value == 0 or not np.isfinite(value):
        return "0" if value == 0 else "not finite"
    mantissa, exponent = f"{value:.0e}".split("e")
    return f"{mantissa}·10<sup>{int(exponent)}</sup>".replace("-", "−")


class Lines(NamedTuple):
    """Some code of one function of the reference."""

    file: str
    function: str
    code: str  # without its comments


ID = re.compile(r"\(([A-Z]\d+)\)")
COMMENT = re.compile(r"  # \([A-Z]\d+\).*$", re.MULTILINE)


@cache
def code_lines() -> dict[str, list[Lines]]:
    """By id, the statements of the reference that carry it in a comment; one entry per
    function.
    """
    result: dict[str, list[Lines]] = {}
    for path in sorted(HERE.parents[1].glob("*.py")):
        source = path.read_text(encoding="utf-8")
        for function in ast.walk(ast.parse(source)):
            if not isinstance(function, ast.FunctionDef):
                continue
            found: dict[str, list[str]] = {}
            for text in _statements(function, source.splitlines()):
                for name in ID.findall(" ".join(COMMENT.findall(text))):
                    found.setdefault(name, []).append(COMMENT.sub("", text))
            for name, texts in found.items():
                code = "\n".join(dict.fromkeys(texts))
                result.setdefault(name, []).append(
                    Lines(path.name, function.name, code)
                )
    return result


def _statements(function: ast.FunctionDef, lines: list[str]) -> Iterator[str]:
    """The statements in a function, in order; of one that contains others, its head."""
    statements = (node for node in ast.walk(function) if isinstance(node, ast.stmt))
    for node in sorted(statements, key=lambda node: node.lineno):
        if node is not function:
            body = getattr(node, "body", None)
            stop = body[0].lineno - 1 if body else node.end_lineno
            yield textwrap.dedent("\n".join(lines[node.lineno - 1 : stop]))


# -- figures
# ------------------------------------------------------------


def figure_block(name: str, drawing: str, findings: Findings) -> str:
    """A figure with its caption. The drawing is an image with a text of its own."""
    caption, alternative = CAPTIONS[name](findings)
    label = f'<svg role="img" aria-label="{escape(alternative)}"'
    drawing = drawing.replace("<svg", label, 1)
    return (
        f'<figure id="figure-{name}"><div class="wide" role="region" tabindex="0"'
        f' aria-label="{name.replace("_", " ")}">{drawing}</div>\n'
        f"<figcaption>{caption}</figcaption></figure>\n"
    )


def masks_caption(findings: Findings) -> tuple[str, str]:
    """The caption of the masks, and the text for those who do not see them."""
    T, norms = len(findings.norms), findings.norms
    kept = []
    for k1, k2 in findings.masks:
        of = mask(T, k1, k2)
        share = (
            f", {(norms * of).sum() / norms.sum():.0%} of the norms"
            if norms.any()
            else ""
        )
        kept.append(f"({k1}, {k2}), {mask_name(k1, k2, T)}: {of.sum():.0f}{share}")
    caption = (
        "The components that truncations (<i>k</i><sub>1</sub>, "
        "<i>k</i><sub>2</sub>) keep; the"
        " brighter, the larger their norm after training, on a logarithmic "
        "scale. Crosses mark"
        f" those that are cut. Kept of {T * (T + 1) // 2}: {'; '.join(kept)}."
    )
    return caption, f"Masks on the component matrix. {'; '.join(kept)}."


def cosine_bias_caption(findings: Findings) -> tuple[str, str]:
    """The caption of cosine and bias, and the text for those who do not see them."""
    networks, T = findings.many[-1].lag.shape
    medians = [float(np.nanmedian(end.chunks.cosine[:, 0])) for end in findings.many]
    caption = (
        "The distance of the truncated gradient of an epoch from the full one, "
        "with fixed"
        f" parameters: median of {networks} networks and band from the 10th to "
        "the 90th percentile;"
        " dotted, the network of this run. Cosine 1 and bias 0 mean the same "
        "direction and length."
    )
    alternative = (
        f"Cosine and relative bias against k from 1 to {T}. Median cosine at k = 1:"
        f" {medians[0]:.2f} before training, {medians[1]:.2f} after it."
    )
    return caption, alternative


def norm_by_lag_caption(findings: Findings) -> tuple[str, str]:
    """The caption of the norms by lag, and the text for those who do not see them."""
    networks, T = findings.many[-1].lag.shape
    ends = [np.median(end.lag, axis=0) for end in findings.many]
    caption = (
        "The norms of the components by lag, as a mean over <i>t</i>: median of"
        f" {networks} networks and band from the 10th to the 90th percentile; "
        "dotted, the network"
        " of this run. On a logarithmic axis, a straight line is a constant "
        "factor per step."
    )
    words = (
        f"{name} training from {lag[0]:.2g} at lag 0 to {lag[-1]:.2g} at lag {T - 1}"
        for name, lag in zip(("before", "after"), ends)
    )
    return caption, f"Median norm of the components by lag: {'; '.join(words)}."


CAPTIONS: dict[str, Callable[[Findings], tuple[str, str]]] = {
    "masks": masks_caption,
    "cosine_bias": cosine_bias_caption,
    "norm_by_lag": norm_by_lag_caption,
}


# -- words
# ------------------------------------------------------------


def words_about(
    subject: Subject, findings: Findings, choices: Mapping[str, str]
) -> dict[str, str]:
    """The values of the places in the text, by name, as HTML or Markdown."""
    checks = [
        check_components(subject, params) for params in (subject.start, subject.end)
    ]
    check: ComponentCheck = checks[0]
    absent = "" if has_torch() else "It is not included, as PyTorch is not installed."
    is_complete = check.elements == check.total
    given = "; ".join(f"{name} {escape(value)}" for name, value in choices.items())
    no_biases = (
        "The run has no biases: zeros are added, on which (B7) and (B8) are evaluated. "
    )
    return {
        "series": escape(subject.name),
        "steps": str(len(subject.x)),
        "hidden": str(subject.start.W_hh.shape[-1]),
        "nonlinearity": subject.options.objective.nonlinearity,
        "witnesses": join_names(WITNESSES if has_torch() else WITNESSES[:-1]),
        "compared": (
            f"{'All' if is_complete else f'{check.elements:,} of'} {check.total:,}"
        ),
        "component_difference": scale(max(each.by_complex_step for each in checks)),
        "masks": str(check.masks),
        "sum_difference": scale(max(each.by_bptt for each in checks)),
        "own_cost": own_cost(subject, findings.own[-1]),
        "cost_table": cost_table(findings),
        "opposite": opposite(findings),
        "classes": str(CLASS_COUNT),
        "biases": no_biases if subject.start.b_h is None else "",
        "elements": str(MAX_ELEMENTS),
        "absent": absent,
        "wrong": f"{without_transpose(subject):.2g}",
        "parameters": str(
            sum(theta.size for theta in subject.start if theta is not None)
        ),
        "dtype": str(subject.run.params.W_hh.dtype),
        "epochs": str(subject.options.schedule.epochs),
        "networks": str(len(subject.networks)),
        "diverged": f"; {subject.diverged} more diverged" if subject.diverged else "",
        "choices": f"the default ones but for {given}"
        if choices
        else "the default ones",
        "versions": f"Python {platform.python_version()}, NumPy "
        f"{version('numpy')} and Matplotlib"
        f" {version('matplotlib')}",
    }


def own_cost(subject: Subject, own: Network) -> str:
    """A sentence on the truncation that the run trained with, if it is of the two
    kinds.
    """
    k1, k2, _ = subject.options.schedule
    if k2 > len(subject.x) or k1 not in (1, k2):
        return ""
    kind = "sliding" if k1 == 1 else "chunks"
    costs = getattr(own, kind)
    words = "one step" if k2 == 1 else "a sliding window" if k1 == 1 else "chunks"
    words += "" if k2 == 1 else f" of $k = {k2}$"
    cosine, bias = fixed(costs.cosine[k2 - 1]), fixed(costs.bias[k2 - 1])
    return (
        f"The truncation that this run trained with, {words}, has a cosine of {cosine}"
        f" and a relative bias of {bias} after training."
    )


def cost_table(findings: Findings) -> str:
    """Cosine and bias after training as a table in Markdown: bands over the networks,
    and the run's own.
    """
    own, many, T = findings.own[-1], findings.many[-1], len(findings.norms)
    columns = [(kind, part) for part in ("cosine", "bias") for kind in KINDS]
    head = [
        "*k*",
        *(f"{kind}: {part}" for kind, part in columns),
        *(f"{kind}, this run" for kind in KINDS),
    ]
    rows = [head, ["--:"] * len(head)]
    for k in sorted({k for k in LENGTHS if k < T} | {T}):
        bands = (
            band(getattr(getattr(many, kind), part)[:, k - 1]) for kind, part in columns
        )
        cells = [
            f"{fixed(of.median)} ({fixed(of.low)}, {fixed(of.high)})" for of in bands
        ]
        alone = [fixed(getattr(own, kind).cosine[k - 1]) for kind in KINDS]
        rows.append([str(k), *cells, *alone])
    note = (
        f"After training: median of {len(many.lag)} networks (10th, 90th "
        "percentile), and the"
        " cosine of this run."
    )
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return f'{table}\n\n<p class="note">{note}</p>'


def opposite(findings: Findings) -> str:
    """A paragraph on truncated gradients that point away from the full one after
    training.
    """
    many = findings.many[-1]
    negative = [
        (
            f"{count} with {'chunks' if kind == 'chunks' else 'a sliding window'} of "
            f"$k = {k}$"
        )
        for kind in KINDS
        for k, count in enumerate((getattr(many, kind).cosine < 0).sum(axis=0), start=1)
        if count and (k > 1 or kind == "chunks")
    ]
    networks = len(many.lag)
    if not negative:
        return (
            f"For none of the {networks} networks is a cosine negative after training."
        )
    before, after = (float(np.nanmedian(end.cancellation)) for end in findings.many)
    own = float(findings.own[-1].cancellation)
    return (
        f"After training, the truncated gradient of some of the {networks} "
        "networks points away"
        f" from the full one; its cosine is negative for {', '.join(negative)}. "
        "The components"
        f" nearly cancel: their lengths add up to {before:.1f} times the length "
        "of their sum before"
        f" training, and to {after:.1f} times after it (median; {own:.1f} times "
        "in this run). Take"
        " away some of them, and what is left may point elsewhere. A small "
        "enough step against a"
        " gradient with a negative cosine increases the full loss."
    )


def fixed(value: Any) -> str:
    """A number with two decimals; a dash where it is not defined."""
    return f"{float(value):.2f}".replace("-", "−") if np.isfinite(value) else "–"
