"""The page: sections of prose with numbers, figures, tables and equations put in, in one file that needs no network."""

import json
import re
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from urllib.parse import quote

from numpy_rnn.study.figures.svg import Picture
from numpy_rnn.study.page.derivation import anchor, chapter
from numpy_rnn.study.page.exercises import exercises, mistake_table, puzzles
from numpy_rnn.study.page.formulas import checked_equation, equation, formula, reference
from numpy_rnn.study.page.templates import fill, typeset
from numpy_rnn.study.setting import Drawing, Findings, Table

HERE = Path(__file__).parent
STYLES = ("study.css", "explorer.css", "text.css")
SCRIPTS = tuple(  # in the order in which they need each other
    f"scripts/{name}.js"
    for name in ("network", "drawing", "moments", "unrolled", "mask", "address", "explorer", "scale", "cliff", "start")
)
HEADING = re.compile(r"<h2>(.*?)</h2>", re.DOTALL)
SUBHEADING = re.compile(r"<h3>(.*?)</h3>", re.DOTALL)
TAG = re.compile(r"<[^>]*>|&[^;]*;")
CODE = re.compile(r"`([^`]*)`")
MAX_NARROW = 3  # columns that fit side by side on a narrow screen
UNQUOTED = " !$'()*+,-./:;<=>?@[]^_`{|}~"  # what a data URL in double quotes may contain as it is
A_NUMBER = re.compile(r"[-+−<≤≥]?[\d.][\d.,]*(e[-+]\d+)?( ?[%×])?")


def page(
    findings: Findings, pictures: Mapping[str, Picture], drawings: Sequence[Drawing], tables: Sequence[Table]
) -> str:
    """The whole page as HTML. pictures: of every drawing, by its name. Needs jinja2 and latex2mathml.

    Raises ValueError where a section asks for something that is not there (see templates.py).
    """
    texts = {path.stem: path.read_text(encoding="utf-8") for path in sorted((HERE / "sections").glob("*.html"))}
    return assembled(texts, findings, pictures, drawings, tables)


def assembled(texts: Mapping[str, str], findings, pictures, drawings, tables) -> str:
    """The page of these sections, by name, `0_explore`; one without an <h2> continues the previous one."""

    def figure_of(name: str) -> str:
        return figure(_named(name, drawings), pictures[name], findings)

    def equation_of(name: str) -> str:
        return checked_equation(name, findings["checks"]["equations"] | findings["checks"]["others"])

    inserts = {
        "figure": figure_of,
        "table": lambda name: table(_named(name, tables)),
        "equation": equation,
        "formula": formula,
        "code": with_code,
        "reference": reference,
        "derivation": lambda number: chapter(number, equation_of, figure_of),
        "puzzles": lambda: puzzles(findings["training"]["mistakes"]),
        "mistake_table": lambda: mistake_table(findings["training"]["mistakes"]),
        "exercises": exercises,
    }
    sections, headings = [], []
    for name, text in texts.items():
        try:
            filled = fill(text, findings, inserts)
        except ValueError as error:
            raise ValueError(f"sections/{name}.html: {error}") from error
        identifier = name.partition("_")[2]
        headings += [(identifier, heading) for heading in HEADING.findall(filled)[:1]]
        sections.append(f'<section id="{identifier}">\n{typeset(with_anchors(filled, identifier))}</section>\n')
    contents = "".join(f'<li><a href="#{identifier}">{heading}</a></li>\n' for identifier, heading in headings)
    parts = {
        "style": "".join(map(_read, STYLES)),
        "contents": contents,
        "sections": "\n".join(sections),
        "data": embedded(findings["explorer"]),
        "script": "".join(map(_read, SCRIPTS)),
    }
    return fill(_read("page.html"), findings, parts)


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


def figure(drawing: Drawing, picture: Picture, findings: Findings) -> str:
    """A figure with its caption. Both its images are embedded; the style sheet shows the one that fits the column."""
    alternative = escape(drawing.alternative(findings))
    images = "\n".join(_image(kind, image, alternative) for kind, image in picture._asdict().items())
    return (
        f'<figure id="figure-{drawing.name}">{images}\n'
        f"<figcaption>{with_code(drawing.caption(findings))}</figcaption></figure>\n"
    )


def _image(kind, image, alternative):
    svg, size = image
    source = " ".join(svg.decode("utf-8").split())
    if "'" not in source:
        source = source.replace('"', "'")  # which a data URL need not escape
    source = quote(source, safe=UNQUOTED)
    width, height = (96 * inches for inches in size)
    return (
        f'<img class="of-{kind}" src="data:image/svg+xml,{source}" width="{width:.0f}" height="{height:.0f}"'
        f' alt="{alternative}">'
    )


def table(content: Table) -> str:
    """A table; numbers are right-aligned, and `backticks` mark code."""
    head = "".join(f'<th scope="col">{with_code(cell)}</th>' if cell else "<td></td>" for cell in content.head)
    is_wide = len(content.head) > MAX_NARROW  # as cards on a narrow screen, on which every number has its label
    labels = content.head if is_wide else [""] * len(content.head)
    rows = "\n".join(f"<tr>{''.join(map(_cell, labels, row))}</tr>" for row in content.rows)
    kind = ' class="cards"' if is_wide else ""
    return (
        f'<div class="wide" role="region" tabindex="0" aria-labelledby="table-{content.name}"><table{kind}>\n'
        f'<caption id="table-{content.name}">{with_code(content.caption)}</caption>\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>{rows}</tbody></table></div>\n"
    )


def with_code(text: str) -> str:
    """Plain text as HTML, with `backticks` for code."""
    return CODE.sub(r"<code>\1</code>", escape(text, quote=False))


def embedded(value) -> str:
    """JSON without `<`, so that it may be put into a <script> element."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False, ensure_ascii=False).replace("<", "\\u003c")


def _cell(label, text):
    number = " class=number" if A_NUMBER.fullmatch(text) else ""
    named = f' data-label="{escape(label)}"' if label and text else ""
    return f"<td{number}{named}>{with_code(text)}</td>"


def _named(name, things):
    for thing in things:
        if thing.name == name:
            return thing
    raise ValueError(f"unknown name {name!r}: expected {', '.join(thing.name for thing in things)}")


def _read(name):
    return (HERE / name).read_text(encoding="utf-8")
