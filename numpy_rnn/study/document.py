"""Markdown as HTML: DERIVATION.md and the study's own text, with formulas in MathML and
a block for every equation.
"""

import re
from collections.abc import Callable
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from markdown_it import MarkdownIt
from mdit_py_plugins.anchors import anchors_plugin
from mdit_py_plugins.dollarmath import dollarmath_plugin

DOCUMENT = Path(__file__).parents[1] / "DERIVATION.md"
SECTION = re.compile(r"^## ", re.MULTILINE)
DEFINED = re.compile(r"^- \*\*\(([A-Z]\d+)\)\*\*", re.MULTILINE)

Insert = Callable[[str], str]


@cache
def derivation() -> str:
    """DERIVATION.md, from its first section to the last one that defines an
    equation.
    """
    _, *sections = SECTION.split(DOCUMENT.read_text(encoding="utf-8"))
    last = max(n for n, section in enumerate(sections) if DEFINED.search(section))
    return "".join(f"## {section}" for section in sections[: last + 1])


def defined_equations() -> list[str]:
    """The ids of the equations that DERIVATION.md defines, in its order."""
    return DEFINED.findall(derivation())


# -- formulas
# ------------------------------------------------------------

NAME = re.compile(
    r"\\mathrm\{(\w+)\}|\b(target)(?=_)"
)  # of more than one letter, not a product
SPACE_AROUND = re.compile(r"^(\\quad|\\qquad|\s)+|(\\quad|\\qquad|\s)+$")
SIDE_BY_SIDE = re.compile(r"\s*\\q?quad\s*")
RELATION = re.compile(r"(?<= =) (?=\S)")
PRIME = re.compile(
    r"<msup>(<m(i|text)>[^<]*</m\2>)<mi>&#x02032;</mi></msup>"
)  # raised already
NARROW = 30  # characters of TeX that fit on every screen


def formula(tex: str, options: dict[str, Any]) -> str:
    """TeX as MathML. A long formula is several elements, so that a line may end after a
    relation.

    Raises ValueError where latex2mathml does not know a command.
    """
    is_large = options["display_mode"]
    result = []
    for part in split_formula(
        SPACE_AROUND.sub("", " ".join(tex.split())), SIDE_BY_SIDE
    ):
        pieces = (
            split_formula(part, RELATION) if is_large or len(part) > NARROW else [part]
        )
        result.append(" ".join(mathml(piece, is_large) for piece in pieces))
    if is_large:
        result = [f'<span class="part">{part}</span>' for part in result]
    return " ".join(result)


def split_formula(tex: str, separator: re.Pattern[str]) -> list[str]:
    """A formula, split at the separators that are in no braces and in no parentheses
    that grow.
    """
    result, begin = [], 0
    for match in separator.finditer(tex):
        before = tex[: match.start()]
        if all(
            before.count(a) == before.count(b)
            for a, b in (("{", "}"), (r"\left", r"\right"))
        ):
            result.append(tex[begin : match.start()])
            begin = match.end()
    return [part for part in (*result, tex[begin:]) if part.strip()]


@cache
def mathml(tex: str, is_large: bool) -> str:
    """One <math> element."""
    names = NAME.sub(lambda match: rf"\text{{{match[1] or match[2]}}}", tex)
    element = convert(names, display="block" if is_large else "inline")
    if unknown := re.search(r"\\\w+", element):
        raise ValueError(
            f"{tex!r} cannot be written in MathML: {unknown[0]} is unknown"
        )
    element = element.replace(' xmlns="http://www.w3.org/1998/Math/MathML"', "")
    element = PRIME.sub(r'<mrow>\1<mo lspace="0" rspace="0">′</mo></mrow>', element)
    element = element.replace(
        "<mo>&#x02016;</mo>", '<mo stretchy="false">&#x02016;</mo>'
    )
    style = ' displaystyle="true"' if is_large else ""
    return re.sub(r' display="\w+"', style, element, count=1)


# -- Markdown
# ------------------------------------------------------------

EQUATION = re.compile(r"<li>\s*<strong>\(([A-Z]\d+)\)</strong>(.*?)</li>", re.DOTALL)
FIGURE = re.compile(
    r'<p><img src="figures/(\w+)\.svg"[^>]*></p>\s*(<p><em>(?:(?!</p>).)*</em></p>)?',
    re.DOTALL,
)
FILE_LINK = re.compile(r'<a href="(?!https:|#|lesson)[^"]*">(.*?)</a>', re.DOTALL)
REFERENCE = re.compile(r"(?<![\w>])\(([A-Z]\d+)\)")
SECTIONS = re.compile(
    r"(?<!\d{4},\s)\b([Ss]ections?\s)(\d(?:\.\d)?)(\s(?:to|and)\s)?(?(3)(\d(?:\.\d)?))(?!\.?\d)"
)
WIDE = re.compile(r"<(table|pre)>(.*?)</\1>", re.DOTALL)
UNSPACED = re.compile(r"(</math>)</span>([,.;:)?]+)")  # no line begins with the sign
HEADING_ID = re.compile(r'<h[23] id="([^"]+)"')


def slug(heading: str) -> str:
    """The id of a heading: section-4.1, or its words where it has no number."""
    first, *_ = heading.split()
    if first[0].isdigit():
        return f"section-{first.rstrip('.')}"
    return "-".join(re.findall(r"\w+", heading.lower()))


@cache
def _markdown() -> MarkdownIt:
    markdown = MarkdownIt("commonmark").enable("table")
    dollarmath_plugin(markdown, renderer=formula)
    anchors_plugin(markdown, 2, 3, slug_func=slug, permalink=True, permalinkSymbol="#")
    return markdown


def as_html(text: str, equation: Insert, figure: Insert) -> str:
    """Markdown as HTML.

    equation: what follows the definition of an equation, by its id. figure: what
    replaces an image, and the caption in emphasis below it, by the name of its file.
    Links to files are text only, as the page has no such files; equations and sections
    are links.
    """
    html = _markdown().render(text)
    html = FIGURE.sub(lambda match: figure(match[1]), html)
    html = FILE_LINK.sub(r"\1", html)
    html = UNSPACED.sub(r"\1\2</span>", html)
    html = WIDE.sub(_scrollable, html)
    html = _with_links(html)
    return EQUATION.sub(
        lambda match: (
            '<li class="equation" '
            f'id="equation-{match[1]}"><b>({match[1]})</b>{match[2]}\n'
            f"{equation(match[1])}</li>"
        ),
        html,
    )


def _scrollable(match: re.Match[str]) -> str:
    """A table or a program in a region that scrolls on narrow screens, also with the
    keyboard.
    """
    words = re.sub(r"<[^>]*>", " ", match[2]).split()
    label = escape(" ".join(words[:4]))
    return (
        '<div class="wide" role="region" tabindex="0" '
        f'aria-label="{label}">{match[0]}</div>'
    )


def _with_links(html: str) -> str:
    ids = set(HEADING_ID.findall(html))

    def section(number: str, text: str) -> str:
        target = f"section-{number}"
        return f'<a href="#{target}">{text}</a>' if target in ids else text

    def sections(match: re.Match[str]) -> str:
        word, first, way, last = match.groups()
        linked = section(first, word + first)
        return linked + (way + section(last, last) if way else "")

    parts = re.split(r"(<[^>]*>)", html)  # text, tag, text, ...
    for n in range(0, len(parts), 2):
        if n and parts[n - 1] in (
            "<strong>",
            "<mtext>",
        ):  # a definition; a word in a formula
            continue
        parts[n] = REFERENCE.sub(r'<a href="#equation-\1">(\1)</a>', parts[n])
        parts[n] = SECTIONS.sub(sections, parts[n])
    return "".join(parts)
