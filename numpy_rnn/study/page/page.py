"""The page: sections of prose with numbers, figures, tables and equations put in, in one file that needs no network."""

import json
import re
from collections.abc import Callable, Mapping
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from numpy_rnn.study.components.matrix import added_up
from numpy_rnn.study.figures.style import Picture
from numpy_rnn.study.findings import Findings
from numpy_rnn.study.page.document import anchor, chapter, equation, inline, reference
from numpy_rnn.study.page.exercises import PUZZLES, changes, check, effect, exercises, verdict
from numpy_rnn.study.page.formulas import formula
from numpy_rnn.study.page.proofs import checked_equation
from numpy_rnn.study.page.templates import fill, typeset
from numpy_rnn.study.training.outcomes import OVERLAP, lengths

HERE = Path(__file__).parent
STYLES = ("study", "explorer", "live", "text")
SCRIPTS = (  # in the order in which they need each other
    "rnn", "complex_step", "language", "drawing", "address", "example", "moments", "unrolled", "mask", "explorer",
    "recall", "radius", "cliff", "mistaken_lines", "backward", "start",
)  # fmt: skip
SECTIONS = (
    "worked_example", "explore", "derivation", "delayed_recall", "truncation", "vanishing", "spectral_radius", "live",
    "own_backward", "disagreements", "mistakes", "questions", "exercises", "proof", "run",
)  # fmt: skip
HEADING = re.compile(r"<h2>(.*?)</h2>", re.DOTALL)
SUBHEADING = re.compile(r"<h3>(.*?)</h3>", re.DOTALL)
TAG = re.compile(r"<[^>]*>|&[^;]*;")
CODE = re.compile(r"`([^`]*)`")
MAX_NARROW = 3  # columns that fit side by side on a narrow screen
UNQUOTED = " !$'()*+,-./:;<=>?@[]^_`{|}~"  # what a data URL in double quotes may contain as it is
A_NUMBER = re.compile(r"[-+−<≤≥]?[\d.][\d.,]*%?(e[-+]\d+)?( ?[%×])?( \([\d.,%e−+ -]*\))?")


def page(findings: Findings, pictures: Mapping[str, Picture]) -> str:
    """The whole page as HTML. pictures: of every drawing, by its name.

    Raises ValueError or KeyError where a section asks for something that is not there (see templates.py).
    """
    texts_of_figures, T = captions(), findings.training.sizes["T"]
    values = {
        **vars(findings),
        "lengths": lengths,
        "exercises": exercises(),
        "puzzles_of_page": PUZZLES,
        "kmax": min(OVERLAP, T),
        "most_counted": int(added_up(T, 1, min(OVERLAP, T)).max()),
        "effect": effect,
        "check": check,
        "verdict": verdict,
    }

    def figure_of(name: str) -> str:
        caption, alternative = (" ".join(fill(text, values, {}).split()) for text in texts_of_figures[name])
        return figure(name, pictures[name], caption, alternative)

    def equation_of(name: str) -> str:
        return checked_equation(name, findings.checks.equations)

    inserts = {
        "figure": figure_of,
        "table": table,
        "equation": equation,
        "checked": equation_of,
        "formula": formula,
        "inline": inline,
        "code": with_code,
        "reference": reference,
        "derivation": lambda number, *without: chapter(number, equation_of, figure_of, without),
        "changes": changes,
    }
    return assembled({name: _read(f"sections/{name}.html") for name in SECTIONS}, values, inserts)


def assembled(texts: Mapping[str, str], findings: Mapping[str, Any], inserts: Mapping[str, Any]) -> str:
    """The page of these sections, by name; one without an <h2> continues the previous one."""
    sections, headings = [], []
    questions = [(anchor(title), title) for title in SUBHEADING.findall(texts.get("questions", ""))]
    findings = {**findings, "questions": questions}
    for name, text in texts.items():
        try:
            filled = fill(text, findings, inserts)
        except ValueError as error:
            raise ValueError(f"sections/{name}.html: {error}") from error
        headings += [(name, heading) for heading in HEADING.findall(filled)[:1]]
        sections.append(f'<section id="{name}">\n{typeset(with_anchors(filled, name))}</section>\n')
    contents = "".join(f'<li><a href="#{identifier}">{heading}</a></li>\n' for identifier, heading in headings)
    parts = {
        "style": "".join(_read(f"{name}.css") for name in STYLES),
        "contents": contents,
        "sections": "\n".join(sections),
        "data": embedded(findings["explorer"]),
        "script": "".join(_read(f"scripts/{name}.js") for name in SCRIPTS),
    }
    return fill(_read("page.html"), findings, parts)


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


def figure(name: str, picture: Picture, caption: str, alternative: str) -> str:
    """A figure with its caption, the image embedded. A narrow screen scrolls over it."""
    source = " ".join(picture.svg.decode("utf-8").split())
    if "'" not in source:
        source = source.replace('"', "'")  # which a data URL need not escape
    width, height = (96 * inches for inches in picture.size)
    return (
        f'<figure id="figure-{name}"><div class="wide" role="region" tabindex="0" aria-label="Figure: {name}">'
        f'<img src="data:image/svg+xml,{quote(source, safe=UNQUOTED)}" width="{width:.0f}" height="{height:.0f}"'
        f' alt="{alternative}"></div>\n<figcaption>{caption}</figcaption></figure>\n'
    )


def table(name: str, *, caller: Callable[[], str]) -> str:
    """A table of the text in a `call` block: its caption, and then a line for its head and for every row, whose cells
    are separated by `|`. Numbers are right-aligned.
    """
    caption, _, body = str(caller()).partition("\n| ")
    head, *rows = ([" ".join(cell.split()) for cell in line.split(" |")] for line in body.split("\n| "))
    is_wide = len(head) > MAX_NARROW  # as cards on a narrow screen, on which every number has its label
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
    return json.dumps(value, separators=(",", ":"), allow_nan=False, ensure_ascii=False).replace("<", "\\u003c")


def _cell(label: str, html: str) -> str:
    number = " class=number" if A_NUMBER.fullmatch(html) else ""
    named = f' data-label="{label}"' if label and html else ""
    return f"<td{number}{named}>{html}</td>"


def _read(name):
    return (HERE / name).read_text(encoding="utf-8")
