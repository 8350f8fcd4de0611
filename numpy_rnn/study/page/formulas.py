"""The equations of DERIVATION.md as MathML, read from the document so that none is typed twice, and their checks."""

import re
from functools import cache
from html import escape
from pathlib import Path
from typing import NamedTuple

from numpy_rnn.study.page.templates import number

NOT_STUDIED = ("F4", "L3", "L4", "U7", "U8", "U9")  # classes, cross-entropy, clipping by value and Adagrad: in no study
DOCUMENT = Path(__file__).parents[2] / "DERIVATION.md"
DEFINITION = re.compile(r"^- \*\*\(([A-Z]\d+)\)\*\* (.*(?:\n  .*)*)", re.MULTILINE)
SPACE_AROUND = re.compile(r"^(\\quad|\s)+|(\\quad|\s)+$")
WORD = re.compile(r"\\mathrm\{(\w+)\}|\b(target)(?=_)")  # names of more than one letter, which are no products


class Piece(NamedTuple):
    """A part of a definition: plain words, or a formula in TeX."""

    text: str
    is_formula: bool


@cache
def definitions(document: str | None = None) -> dict[str, tuple[Piece, ...]]:
    """The definitions `- **(B2)** $...$ words` of a document, by id, in its order; without one, of DERIVATION.md.

    Raises ValueError on an id that is defined twice.
    """
    result: dict[str, tuple[Piece, ...]] = {}
    for name, text in DEFINITION.findall(DOCUMENT.read_text(encoding="utf-8") if document is None else document):
        if name in result:
            raise ValueError(f"({name}) is defined twice")
        result[name] = tuple(_pieces(" ".join(text.split())))
    return result


def _pieces(text):
    for i, part in enumerate(text.split("$")):
        if i % 2:
            yield Piece(SPACE_AROUND.sub("", part), True)
        elif part:
            yield Piece(part, False)


def equation(name: str) -> str:
    """A definition as HTML: its id, which leads to its check, its words, and its formulas as MathML.

    Raises ValueError on an id that DERIVATION.md does not define. Needs latex2mathml.
    """
    if name not in definitions():
        raise ValueError(f"({name}) is no equation of DERIVATION.md: expected one of {', '.join(definitions())}")
    pieces = (formula(text) if is_formula else escape(text) for text, is_formula in definitions()[name])
    return f'<span class="equation"><b><a href="#equation-{name}">({name})</a></b> {"".join(pieces)}</span>'


REFERENCE = re.compile(r"^- (.*?), \[\"(.*?)\"\]\((https:.*?)\),", re.MULTILINE)


@cache
def reference(author: str) -> str:
    """The address of the one reference of DERIVATION.md whose first author this is; raises ValueError otherwise."""
    listed = REFERENCE.findall(DOCUMENT.read_text(encoding="utf-8"))
    found = [address for authors, _, address in listed if authors.startswith(author)]
    if len(found) != 1:
        raise ValueError(f"{len(found)} references of DERIVATION.md begin with {author!r}: expected one")
    return found[0]


@cache
def formula(tex: str) -> str:
    """A formula in TeX as an inline MathML element.

    Raises ValueError where latex2mathml does not know a command. Needs latex2mathml.
    """
    from latex2mathml.converter import convert

    text = WORD.sub(lambda match: rf"\text{{{match[1] or match[2]}}}", tex)
    element = convert(text)
    unknown = re.search(r"\\\w+", element)
    if unknown:
        raise ValueError(f"{tex!r} cannot be written in MathML: {unknown[0]} is unknown")
    return element.replace(' xmlns="http://www.w3.org/1998/Math/MathML" display="inline"', "")


DIGITS = ".17g"  # enough to tell any two numbers of double precision apart
COLUMNS = {"difference": "largest difference", "ulps": "in ulps", "bounds": "in E", "compared": "of how many"}
FORMATS = {"compared": ""}
SHORT = ".2g"


def checked_equations(checks) -> str:
    """The equations of DERIVATION.md, each with what was compared, one element of it, and the largest differences.

    checks: by id, as `measure_checks` returns them. Raises ValueError where an equation of a study has no check.
    """
    names = [name for name in definitions() if name not in NOT_STUDIED]
    missing = [name for name in names if name not in checks]
    if missing:
        raise ValueError(f"not checked: {', '.join(missing)}")
    return "\n".join(_checked(name, checks[name]) for name in names)


def _checked(name, check):
    """One equation; its table has a row for every way of knowing the number: an element of it, what it differs by."""
    example = check.get("example") or {"element": "", "values": []}
    values = {value["by"]: value["value"] for value in example["values"]}
    differences = {result["witness"]: result for result in check["checks"]}
    rows = "\n".join(_row(by, values.get(by), differences.get(by)) for by in dict.fromkeys([*values, *differences]))
    heads = "".join(f'<th scope="col">{head}</th>' for head in COLUMNS.values())
    return (
        f'<div class="checked" id="equation-{name}">\n<p>{equation(name)}</p>\n'
        f'<div class="wide" role="region" tabindex="0" aria-label="check of ({name})"><table>\n'
        f"<caption>{escape(check['what'])}</caption>\n"
        f'<thead><tr><td></td><th scope="col"><code>{escape(example["element"])}</code></th>{heads}</tr></thead>\n'
        f"<tbody>{rows}</tbody></table></div></div>\n"
    )


def _row(by, value, difference):
    shown = "" if value is None else number(value, DIGITS)
    cells = [
        shown,
        *("" if difference is None else number(difference[key], FORMATS.get(key, SHORT)) for key in COLUMNS),
    ]
    return (
        f'<tr><th scope="row">{escape(by)}</th>'
        + "".join(f'<td class="number">{cell}</td>' for cell in cells)
        + "</tr>"
    )
