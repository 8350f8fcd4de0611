"""The equations of DERIVATION.md as text and drawn formulas, read from the document so that none is typed twice."""

import re
from functools import cache
from html import escape
from pathlib import Path
from typing import NamedTuple

from numpy_rnn.study.page.templates import number

DOCUMENT = Path(__file__).parents[2] / "DERIVATION.md"
DEFINITION = re.compile(r"^- \*\*\(([A-Z]\d+)\)\*\* (.*(?:\n  .*)*)", re.MULTILINE)
SPACE_AROUND = re.compile(r"^(\\quad|\s)+|(\\quad|\s)+$")
EM = 100  # units of a drawn formula in one em of the text around it
MARGIN = 4  # of these units, around the formula

SYMBOLS = {
    r"\varphi": "φ",
    r"\theta": "θ",
    r"\eta": "η",
    r"\mu": "μ",
    r"\tau": "τ",
    r"\lambda": "λ",
    r"\ell": "ℓ",
    r"\partial": "∂",
    r"\sum": "Σ",
    r"\sqrt": "√",
    r"\circ": "∘",
    r"\top": "T",
    r"\leftarrow": "←",
    r"\le": "≤",
    r"\min": "min",
    r"\max": "max",
    r"\tanh": "tanh",
    r"\quad": " ",
    r"\ ": " ",
}


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
    """A definition as HTML: its id, its words, and its formulas drawn.

    Raises ValueError on an id that DERIVATION.md does not define. Needs matplotlib.
    """
    if name not in definitions():
        raise ValueError(f"({name}) is no equation of DERIVATION.md: expected one of {', '.join(definitions())}")
    pieces = (drawn(text) if is_formula else escape(text) for text, is_formula in definitions()[name])
    return f'<span class="equation"><b>({name})</b> {"".join(pieces)}</span>'


def plain(formula: str) -> str:
    """A formula of the document in plain characters, for those who do not see it: `\\frac{1}{N}` is 1/N.

    Raises ValueError on a command that is not known.
    """
    text = re.sub(r"\\mathrm\{(\w+)\}", r"\1", formula)
    text = re.sub(r"\\frac\{([^{}]*)\}\{([^{}]*)\}", r"\1/\2", text)
    text = text.replace(r"^{\top}", "ᵀ")
    for command in sorted(SYMBOLS, key=len, reverse=True):
        text = text.replace(command, SYMBOLS[command])
    text = re.sub(r"([_^])\{(\w+)\}", r"\1\2", text)
    text = re.sub(r"\{([^{}]*)\}", r"(\1)", text)
    if "\\" in text:
        raise ValueError(f"a command of {formula!r} has no plain form: add it to SYMBOLS")
    return " ".join(text.split())


@cache
def drawn(formula: str) -> str:
    """A formula as an SVG element that stands on the line of the text around it, in its colour. Needs matplotlib."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(size=EM, math_fontfamily="cm")
    text = f"${formula}$"
    width, height, depth = text_to_path.get_text_width_height_descent(text, font, ismath=True)
    vertices, codes = text_to_path.get_text_path(font, text, ismath=True)
    w, h, below = (round(length + MARGIN) for length in (width, height, depth))
    return (
        f'<svg class="formula" role="img" aria-label="{escape(plain(formula))}"'
        f' viewBox="0 {below - h} {w} {h + MARGIN}"'
        f' style="width:{w / EM:.2f}em;height:{(h + MARGIN) / EM:.2f}em;vertical-align:-{(below + MARGIN) / EM:.2f}em">'
        f'<path d="{outline(vertices, codes)}"/></svg>'
    )


def outline(vertices, codes) -> str:
    """The path data of Matplotlib's vertices (n, 2) and codes (n), y downwards, in whole units."""
    from matplotlib.path import Path as Outline

    letters = {Outline.MOVETO: ("M", 1), Outline.LINETO: ("L", 1), Outline.CURVE3: ("Q", 2), Outline.CURVE4: ("C", 3)}
    parts, i = [], 0
    while i < len(codes):
        if codes[i] == Outline.CLOSEPOLY:
            parts.append("Z")
            i += 1
            continue
        letter, points = letters[codes[i]]
        numbers = " ".join(f"{x:.0f} {-y:.0f}" for x, y in vertices[i : i + points])
        parts.append(letter + numbers)
        i += points
    return "".join(parts)


DIGITS = ".17g"  # enough to tell any two numbers of double precision apart
COLUMNS = {"difference": "largest difference", "ulps": "in ulps", "bounds": "in E", "compared": "of how many"}
FORMATS = {"compared": ""}
SHORT = ".2g"


def checked_equations(checks) -> str:
    """All equations of DERIVATION.md, each with what was compared, one element of it, and the largest differences.

    checks: by id, as `checks.measure` finds them. Raises ValueError where an equation has no check. Needs matplotlib.
    """
    missing = [name for name in definitions() if name not in checks]
    if missing:
        raise ValueError(f"not checked: {', '.join(missing)}")
    return "\n".join(_checked(name, checks[name]) for name in definitions())


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
