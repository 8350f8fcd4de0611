"""The two pages, each one file that needs no network: the lesson and its evidence.

Sections of prose are templates (see templates.py), in which numbers, figures, tables and equations are put. A link to
an id that is not on its own page leads to the other page.
"""

import base64
import itertools
import json
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from html import escape
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import numpy as np

from numpy_rnn.study.components.matrix import added_up
from numpy_rnn.study.figures.style import Picture
from numpy_rnn.study.findings import (
    GOOD,
    NO_EFFECT,
    Caught,
    Findings,
    Mistake,
    Outcome,
    TrainingFindings,
)
from numpy_rnn.study.page.document import anchor, chapter, equation, formula, inline, law, reference
from numpy_rnn.study.page.proofs import checked_equation
from numpy_rnn.study.page.templates import fill, typeset
from numpy_rnn.study.training.outcomes import OVERLAP, lengths

HERE = Path(__file__).parent
LESSON = (
    "example", "unrolled", "nudge", "transpose", "adds", "one_update", "windows", "recall", "vanishing", "cliff",
    "pytorch", "own", "paste", "questions",
)  # fmt: skip
EVIDENCE = (
    "derivation",
    "truncation",
    "growth",
    "disagreements",
    "mistakes",
    "asked",
    "proof",
    "run",
)
SCRIPTS = (  # of the lesson, in the order in which they need each other
    "rnn", "figures", "example", "update", "unrolled", "network", "explorer", "windows", "recall", "growth",
    "complex_step", "language", "own", "paste",
)  # fmt: skip
FONTS = {  # file: family, weight and style
    "stix-two-text-400-normal": ("STIX Two Text", "400", "normal"),
    "stix-two-text-400-italic": ("STIX Two Text", "400", "italic"),
    "stix-two-text-600-normal": ("STIX Two Text", "600", "normal"),
    "stix-two-math": ("STIX Two Math", "400", "normal"),
}
HEADING = re.compile(r"<h2>(.*?)</h2>", re.DOTALL)
SUBHEADING = re.compile(r"<h3>(.*?)</h3>", re.DOTALL)
TAG = re.compile(r"<[^>]*>|&[^;]*;")
CODE = re.compile(r"`([^`]*)`")
MAX_NARROW = 3  # columns that fit side by side on a narrow screen
UNQUOTED = " !$'()*+,-./:;<=>?@[]^_`{|}~"  # what a data URL in double quotes may contain as it is
A_NUMBER = re.compile(r"[-+−<≤≥]?[\d.][\d.,]*%?(e[-+]\d+)?( ?[%×])?( \([\d.,%e−+ -]*\))?")


LOCAL = re.compile(r'href="#([^"]+)"')
IDENTIFIER = re.compile(r'\bid="([^"]+)"')


class Page(NamedTuple):
    """One page."""

    file: str
    title: str
    folder: str  # of its sections
    sections: tuple[str, ...]
    scripts: tuple[str, ...]


PAGES = (
    Page(
        "lesson.html", "Back-propagation through time, in thirty minutes", "lesson", LESSON, SCRIPTS
    ),
    Page("evidence.html", "The evidence", "evidence", EVIDENCE, ()),
)


def pages(findings: Findings, pictures: Mapping[str, Sequence[Picture]]) -> dict[str, str]:
    """Both pages as HTML, by their files. pictures: of every drawing, by its name, for wide and narrow screens.

    Raises ValueError or KeyError where a section asks for something that is not there (see templates.py).
    """
    texts_of_figures, training, T = captions(), findings.training, findings.training.sizes["T"]
    later = behind_the_forward_pass(training)
    values = {
        **vars(findings),
        "lengths": lengths,
        "exercises": [of for name, *of in exercises() if name in LESSON_EXERCISES],
        "more_exercises": [of for name, *of in exercises() if name not in LESSON_EXERCISES],
        "puzzles_of_page": PUZZLES,
        "kmax": min(OVERLAP, T),
        "most_counted": int(added_up(T, 1, min(OVERLAP, T)).max()),
        "effect": effect,
        "check": check,
        "verdict": verdict,
        "backward_mistakes": later,
        "backward_learn": sum(mistake.verdict in GOOD for mistake in later),
        "whose": "this run" if findings.about.is_full else "the default experiment",
    }

    def figure_of(name: str) -> str:
        caption, alternative = (
            " ".join(fill(text, values, {}).split()) for text in texts_of_figures[name]
        )
        return figure(name, pictures[name], caption, alternative)

    def equation_of(name: str) -> str:
        return checked_equation(name, findings.checks.equations)

    inserts = {
        "figure": figure_of,
        "table": table,
        "equation": equation,
        "law": law,
        "slider": slider,
        "checked": equation_of,
        "formula": formula,
        "inline": inline,
        "code": with_code,
        "reference": reference,
        "derivation": lambda number: chapter(number, equation_of, figure_of),
        "changes": changes,
    }
    made = {page.file: assembled(page, values, inserts) for page in PAGES}
    return linked(made)


def assembled(page: Page, values: Mapping[str, Any], inserts: Mapping[str, Any]) -> str:
    """A page of its sections; a link to another page is not made yet."""
    parts = []
    for name in page.sections:
        try:
            filled = fill(_read(f"{page.folder}/{name}.html"), values, inserts)
        except ValueError as error:
            raise ValueError(f"{page.folder}/{name}.html: {error}") from error
        heading = HEADING.search(filled)
        parts.append((name, heading[1] if heading else "", with_anchors(filled, name)))
    contents = "".join(f'<li><a href="#{name}">{heading}</a></li>\n' for name, heading, _ in parts)
    sections = (f'<section id="{name}">\n{typeset(text)}</section>\n' for name, _, text in parts)
    return fill(
        _read(f"{page.folder}.html"),
        values,
        {
            "title": page.title,
            "style": fonts() + _read("page.css") + _read(f"{page.folder}.css"),
            "contents": contents,
            "sections": "\n".join(sections),
            "data": embedded(values["explorer"]),
            "script": "".join(_read(f"scripts/{name}.js") for name in page.scripts),
        },
    )


def linked(made: Mapping[str, str]) -> dict[str, str]:
    """The pages with links between them: one to an id that its own page does not have leads to the page that has it."""
    ids = {file: set(IDENTIFIER.findall(text)) for file, text in made.items()}

    def link(file: str, name: str) -> str:
        other = next((other for other in (file, *made) if name in ids[other]), file)
        return f'href="{"" if other == file else other}#{name}"'

    return {file: LOCAL.sub(partial(_linked, link, file), text) for file, text in made.items()}


def _linked(link: Callable[[str, str], str], file: str, found: re.Match[str]) -> str:
    return link(file, found[1])


def fonts() -> str:
    """The embedded fonts, as rules of a style sheet. Their licence is fonts/OFL.txt."""
    return "".join(
        f"@font-face{{font-family:'{family}';font-weight:{weight};font-style:{style};src:url(data:font/woff2;base64,"
        f"{base64.b64encode((HERE / f'fonts/{file}.woff2').read_bytes()).decode()})}}\n"
        for file, (family, weight, style) in FONTS.items()
    )


def slider(name: str, label: str, low: float, high: float, step: float = 1, kind: str = "") -> str:
    """A slider with its label and its value in words."""
    words = f' class="{kind}"' if kind else ""
    return (
        f'<div{words}><label for="{name}">{label}</label> <output id="{name}-output" for="{name}"></output>\n'
        f'<input type="range" id="{name}" min="{low}" max="{high}" step="{step}"></div>'
    )


def captions() -> dict[str, list[str]]:
    """The caption and the alternative text of every figure, as templates."""
    _, *parts = re.split(r"^## (\w+)\n\n", _read("captions.txt"), flags=re.MULTILINE)
    return {name: text.strip().split("\n\n") for name, text in zip(parts[::2], parts[1::2])}


def with_anchors(section: str, identifier: str) -> str:
    """The section with a link to itself in every heading; an <h3> gets an id that is made of its words."""

    def heading(tag, text, target, attribute=""):
        link = f'<a class="anchor" href="#{target}" aria-label="Link to “{TAG.sub("", text).strip()}”">#</a>'
        return f"<{tag}{attribute}>{text} {link}</{tag}>"

    def subheading(match):
        target = anchor(match[1])
        return heading("h3", match[1], target, f' id="{target}"')

    section = HEADING.sub(lambda match: heading("h2", match[1], identifier), section)
    return SUBHEADING.sub(subheading, section)


def figure(name: str, pictures: Sequence[Picture], caption: str, alternative: str) -> str:
    """A figure with its caption, the images embedded: the first is for wide screens, the second for narrow ones."""
    images = "".join(
        f'<img class="{kind}" src="data:image/svg+xml,{_url(picture.svg)}" width="{96 * picture.size[0]:.0f}"'
        f' height="{96 * picture.size[1]:.0f}" alt="{alternative}">'
        for kind, picture in zip(("for-wide", "for-narrow"), pictures, strict=True)
    )
    return f'<figure id="figure-{name}">{images}\n<figcaption>{caption}</figcaption></figure>\n'


def _url(svg: bytes) -> str:
    source = " ".join(svg.decode("utf-8").split())
    if "'" not in source:
        source = source.replace('"', "'")  # which a data URL need not escape
    return quote(source, safe=UNQUOTED)


def table(name: str, *, caller: Callable[[], str]) -> str:
    """A table of the text in a `call` block: its caption, and then a line for its head and for every row, whose cells
    are separated by `|`. Numbers are right-aligned.
    """
    caption, _, body = str(caller()).partition("\n| ")
    head, *rows = (
        [" ".join(cell.split()) for cell in line.split(" |")] for line in body.split("\n| ")
    )
    is_wide = (
        len(head) > MAX_NARROW
    )  # as cards on a narrow screen, on which every number has its label
    labels = [TAG.sub("", cell) if is_wide else "" for cell in head]
    heads = "".join(f'<th scope="col">{cell}</th>' if cell else "<td></td>" for cell in head)
    cells = ((_cell(*of) for of in zip(labels, row, strict=True)) for row in rows)
    lines = "\n".join(f"<tr>{''.join(row)}</tr>" for row in cells)
    kind = ' class="cards"' if is_wide else ""
    return (
        f'<div class="wide" role="region" tabindex="0" aria-labelledby="table-{name}"><table{kind}>\n'
        f'<caption id="table-{name}">{" ".join(caption.split())}</caption>\n'
        f"<thead><tr>{heads}</tr></thead>\n<tbody>{lines}</tbody></table></div>\n"
    )


def with_code(text: str) -> str:
    """Plain text as HTML, with `backticks` for code."""
    return CODE.sub(r"<code>\1</code>", escape(text, quote=False))


def embedded(value) -> str:
    """JSON without `<`, so that it may be put into a <script> element."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False, ensure_ascii=False).replace(
        "<", "\\u003c"
    )


def _cell(label: str, html: str) -> str:
    number = " class=number" if A_NUMBER.fullmatch(html) else ""
    named = f' data-label="{label}"' if label and html else ""
    return f"<td{number}{named}>{html}</td>"


def _read(name):
    return (HERE / name).read_text(encoding="utf-8")


# -- what readers try -------------------------------------------------------------------------------------------------

EXERCISE = re.compile(
    r"^## (\w+)\n\n(.*?)\n\n\*\*Solution\.\*\* (.*?)$(?=\n\n##|\n*\Z)", re.DOTALL | re.MULTILINE
)


LESSON_EXERCISES = (
    "two_steps",
    "kept_components",
    "fading",
    "clipped",
)  # the others are in the evidence


def exercises() -> list[tuple[str, str, str]]:
    """Name, question and solution of every exercise, in Markdown."""
    return EXERCISE.findall(_read("exercises.txt"))


PUZZLES = {  # mistakes to find, with what one sees of them
    "dh_next dropped": "The first update of a sliding window is right, the others are not.",
    "W_hh used without its transpose": "It is right for a symmetric matrix, and for one hidden unit.",
    "h_t for h_{t-1} in dW_hh": "Only one gradient is wrong.",
    "1 − h_{t-1}² for 1 − h_t²": "All shapes are right, and with windows of one step the loss falls nearly as far.",
    "sliding window starts from the newest state": "It is right as long as no window has moved.",
    "mean of the losses, gradient of their sum": "The printed loss is right, and longer windows need a smaller rate.",
}


FORWARD = ("F", "T3")  # ids of equations of the forward pass, and of the state that it begins with


def behind_the_forward_pass(training: TrainingFindings) -> list[Mistake]:
    """The mistakes that move a parameter and leave the forward pass right. The final loss is that of the right forward
    pass, which says nothing about a program that has another one.
    """
    return [
        mistake
        for mistake in training.mistakes
        if mistake.verdict not in ("not in a run", NO_EFFECT)
        and not mistake.caught.equation.startswith(FORWARD)
    ]


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
    return (
        "no check finds it" if caught.tensor is None else f"({caught.equation}), in {caught.tensor}"
    )
