"""HTML with TeX between dollar signs: the sources of the lesson and of the evidence."""

import re
from collections.abc import Mapping
from functools import cache
from html import escape

from latex2mathml.converter import convert

TEX = re.compile(r"(\$\$?)([^$]+)\1([,.;:?!)]*)")
SLOT = re.compile(r"\{\{ (\w+) \}\}")
NAME = re.compile(r"\\mathrm\{(\w+)\}|\b(target)(?=_)")  # of more than one letter
PRIME = re.compile(r"<msup>(<m(i|text)>[^<]*</m\2>)<mi>&#x02032;</mi></msup>")
XML_NAMESPACE = ' xmlns="http://www.w3.org/1998/Math/MathML"'


def with_formulas(text: str) -> str:
    """Return HTML with a MathML element for each formula.

    Parameters
    ----------
    text : str
        HTML with TeX between single dollar signs, or between double ones where the
        formula is large. A sign that follows a formula stays in its line.

    Raises
    ------
    ValueError
        Where latex2mathml does not know a command.
    """
    return TEX.sub(_formula, text)


def _formula(match: re.Match[str]) -> str:
    dollars, tex, sign = match.groups()
    element = mathml(" ".join(tex.split()), dollars == "$$")
    return f'<span class="together">{element}{sign}</span>' if sign else element


@cache
def mathml(tex: str, is_large: bool = False) -> str:
    """Return one <math> element."""
    names = NAME.sub(lambda match: rf"\text{{{match[1] or match[2]}}}", tex)
    element = convert(names, display="block" if is_large else "inline")
    unknown = re.search(r"\\\w+", element)
    if unknown:
        raise ValueError(
            f"{tex!r} cannot be written in MathML: {unknown[0]} is unknown"
        )
    element = element.replace(XML_NAMESPACE, "")
    element = PRIME.sub(r'<mrow>\1<mo lspace="0" rspace="0">′</mo></mrow>', element)
    element = element.replace(
        "<mo>&#x02016;</mo>", '<mo stretchy="false">&#x02016;</mo>'
    )
    style = ' displaystyle="true"' if is_large else ""
    return re.sub(r' display="\w+"', style, element, count=1)


def fill(text: str, values: Mapping[str, object]) -> str:
    """Return a text with values in its places, {{ name }}.

    Raises
    ------
    KeyError
        On a name without a value.
    """
    return SLOT.sub(lambda match: str(values[match[1]]), text)


def table(caption: str, rows: list[list[str]], kind: str = "") -> str:
    """Return a table as HTML, in a region that scrolls, also with the keyboard.

    Parameters
    ----------
    caption : str
        As HTML.
    rows : list of list of str
        Cells as HTML; the first row and the first column are headings.
    kind : str
        Class of the table.
    """
    head, *body = rows
    cells = "".join(f'<th scope="col">{cell}</th>' for cell in head)
    lines = [f"<thead><tr>{cells}</tr></thead>", "<tbody>"]
    for first, *others in body:
        cells = "".join(f"<td>{cell}</td>" for cell in others)
        lines.append(f'<tr><th scope="row">{first}</th>{cells}</tr>')
    words = escape(re.sub(r"<[^>]*>", "", caption))
    return (
        f'<div class="wide" role="region" tabindex="0" aria-label="{words}">'
        f'<table class="{kind}"><caption>{caption}</caption>{"".join(lines)}'
        "</tbody></table></div>"
    )
