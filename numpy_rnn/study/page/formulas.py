"""The equations of DERIVATION.md as MathML, read from the document so that none is typed twice; the lines of the
reference that compute each, by the id in their comment; and their checks.
"""

import ast
import io
import re
import tokenize
from functools import cache
from html import escape
from pathlib import Path
from typing import NamedTuple

from numpy_rnn.study.page.templates import number

NOT_STUDIED = ("F4", "L3", "L4", "U7", "U8", "U9")  # of no run: checked by `check_others`
DOCUMENT = Path(__file__).parents[2] / "DERIVATION.md"
DEFINITION = re.compile(r"^- \*\*\(([A-Z]\d+)\)\*\* (.*(?:\n  .*)*)", re.MULTILINE)
SPACE_AROUND = re.compile(r"^(\\quad|\s)+|(\\quad|\s)+$")
WORD = re.compile(r"\\mathrm\{(\w+)\}|\b(target)(?=_)")  # names of more than one letter, which are no products
FOLDER = Path(__file__).parents[2]
FILES = ("elman.py", "loss.py", "bptt.py", "common/windows.py", "tbptt.py", "clipping.py", "momentum.py", "sgd.py")
ID = re.compile(r"\(([A-Z]\d+)\)")
COMMENT = re.compile(r"  # \([A-Z]\d+\).*$", re.MULTILINE)


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
    pieces = (breakable(text) if is_formula else escape(text) for text, is_formula in definitions()[name])
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
def formula(tex: str, large: bool = False) -> str:
    """A formula in TeX as an inline MathML element; a large one has its limits above and below its sums.

    Raises ValueError where latex2mathml does not know a command. Needs latex2mathml.
    """
    from latex2mathml.converter import convert

    text = WORD.sub(lambda match: rf"\text{{{match[1] or match[2]}}}", tex)
    element = convert(text, display="block" if large else "inline")
    unknown = re.search(r"\\\w+", element)
    if unknown:
        raise ValueError(f"{tex!r} cannot be written in MathML: {unknown[0]} is unknown")
    element = element.replace(' xmlns="http://www.w3.org/1998/Math/MathML"', "")
    return element.replace(' display="inline"', "").replace(' display="block"', ' displaystyle="true"')


def breakable(tex: str) -> str:
    """A formula in the line as MathML; a long one as several elements, so that a line may end after a relation."""
    return " ".join(map(formula, parts_of(tex, RELATION) if len(tex) > MAX_UNBROKEN else [tex]))


def displayed(tex: str) -> str:
    """A formula on a line of its own, which may end after a relation; formulas side by side stay whole if they fit."""
    parts = (
        " ".join(formula(piece, large=True) for piece in parts_of(part, RELATION))
        for part in parts_of(tex, SIDE_BY_SIDE)
    )
    return " ".join(f'<span class="part">{part}</span>' for part in parts)


RELATION = re.compile(r"(?<= =) (?=\S)")
SIDE_BY_SIDE = re.compile(r"\s*\\q?quad\s*")
MAX_UNBROKEN = 30  # characters of TeX


def parts_of(tex: str, separator: re.Pattern) -> list[str]:
    """A formula cut at the separators that are in no braces and in no parentheses that grow."""
    result, begin = [], 0
    for match in separator.finditer(tex):
        before = tex[: match.start()]
        if all(
            before.count(opening) == before.count(closing) for opening, closing in (("{", "}"), ("\\left", "\\right"))
        ):
            result.append(tex[begin : match.start()])
            begin = match.end()
    return [part for part in (*result, tex[begin:]) if part.strip()]


DIGITS = ".17g"  # enough to tell any two numbers of double precision apart
COLUMNS = {"difference": "largest difference", "ulps": "in ulps", "bounds": "in E", "compared": "of how many"}
FORMATS = {"compared": ""}
SHORT = ".2g"
LIVE = ".6g"
COARSE = "central difference"


def checked_equation(name: str, checks) -> str:
    """An equation of DERIVATION.md: its formula, the lines of code that compute it, one number of it, and its proof.

    checks: by id, as `measure_checks` returns them. Raises ValueError on an equation that has no check.
    """
    if name not in checks:
        raise ValueError(f"not checked: {name}")
    number_and_proof = _number_and_proof(name, checks[name])
    return (
        f'<div class="checked" id="equation-{name}">\n<p>{equation(name)}</p>\n{_code(name)}{number_and_proof}</div>\n'
    )


def _code(name):
    """The lines of the reference with this id, file by file."""
    parts = (
        f"<code><span>{lines.file}, {lines.function}</span>\n{escape(lines.code, quote=False)}</code>"
        for lines in lines_of_equations()[name]
    )
    return f'<pre class="lines">{"".join(parts)}</pre>\n'


def _number_and_proof(name, check):
    """A sentence with one element, and a folded table with a row for every way of knowing it."""
    example = check.get("example") or {"element": "", "values": []}
    values = {value["by"]: value["value"] for value in example["values"]}
    differences = {result["witness"]: result for result in check["checks"]}
    names = [example["element"], *COLUMNS.values()]
    rows = "\n".join(
        _row(names, by, values.get(by), differences.get(by)) for by in dict.fromkeys([*values, *differences])
    )
    heads = "".join(f'<th scope="col">{head}</th>' for head in COLUMNS.values())
    live = ("no element", "there") if not values else (example["element"], number(next(iter(values.values())), LIVE))
    return (
        f'<p class="live">In this run, <span class="value">{escape(live[0])}</span> is'
        f' <span class="value">{live[1]}</span>.</p>\n'
        f"<details><summary>Proof of ({name}): {_summary(differences)}</summary>\n"
        f'<div class="wide" role="region" tabindex="0" aria-label="proof of ({name})"><table class="cards">\n'
        f"<caption>{escape(check['what'])}</caption>\n"
        f'<thead><tr><td></td><th scope="col"><code>{escape(example["element"])}</code></th>{heads}</tr></thead>\n'
        f"<tbody>{rows}</tbody></table></div></details>\n"
    )


def _summary(differences):
    """How many methods agree, and how far the farthest is; central differences have an error of their own."""
    accurate = {by: one for by, one in differences.items() if by != COARSE}
    ratios = [one["bounds"] for one in accurate.values()]
    if None in ratios:
        return f"{len(accurate)} other methods, one of which differs"
    methods = f"{len(accurate)} other method{'s' if len(accurate) != 1 else ''}"
    if not any(ratios):
        return f"{methods}, equal to the last bit"
    return f"{methods}, at most {number(max(ratios), SHORT)} E away"


def _row(names, by, value, difference):
    shown = "" if value is None else number(value, DIGITS)
    cells = [
        shown,
        *("" if difference is None else number(difference[key], FORMATS.get(key, SHORT)) for key in COLUMNS),
    ]
    return (
        f'<tr><th scope="row">{escape(by)}</th>'
        + "".join(
            f'<td class="number" data-label="{escape(name)}">{cell}</td>' if cell else "<td></td>"
            for name, cell in zip(names, cells, strict=True)
        )
        + "</tr>"
    )


# -- the lines of code -----------------------------------------------------------------------------------------------


class Lines(NamedTuple):
    """Some code of one function."""

    file: str
    function: str
    code: str  # without its comments


@cache
def lines_of_equations() -> dict[str, tuple[Lines, ...]]:
    """By id, the statements of the reference that carry it, in the order of the files."""
    result: dict[str, list[Lines]] = {}
    for file in FILES:
        source = (FOLDER / file).read_text(encoding="utf-8")
        tree = ast.parse(source)
        for line, ids in _comments(source):
            function, code = _function(tree, line), _statement(source, tree, line)
            for name in ids:
                of_id = result.setdefault(name, [])
                if of_id and of_id[-1][:2] == (file, function):
                    if code not in of_id[-1].code.split("\n"):
                        of_id[-1] = of_id[-1]._replace(code=f"{of_id[-1].code}\n{code}")
                else:
                    of_id.append(Lines(file, function, code))
    return {name: tuple(of_id) for name, of_id in result.items()}


def _comments(source):
    """(line, ids) of every comment behind code."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT and token.line[: token.start[1]].strip() and ID.search(token.string):
            yield token.start[0], ID.findall(token.string)


def _function(tree, line):
    around = [
        node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.lineno <= line <= node.end_lineno
    ]
    return max(around, key=lambda node: node.lineno).name


def _statement(source, tree, line):
    """The whole statement on this line; of one that contains others, the line."""
    simple = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.stmt) and not hasattr(node, "body") and node.lineno <= line <= node.end_lineno
    ]
    lines = source.splitlines()
    chosen = lines[simple[0].lineno - 1 : simple[0].end_lineno] if simple else [lines[line - 1]]
    indent = len(chosen[0]) - len(chosen[0].lstrip())
    return COMMENT.sub("", "\n".join(text[indent:] for text in chosen))
