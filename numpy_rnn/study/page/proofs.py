"""The block of an equation on the page: its formula, the lines of code that compute it, one number, and its proof."""

import ast
import re
import textwrap
from collections.abc import Iterator, Mapping
from functools import cache
from html import escape
from math import isinf
from pathlib import Path
from typing import NamedTuple

from numpy_rnn.study.findings import Difference, EquationCheck
from numpy_rnn.study.page.document import equation
from numpy_rnn.study.page.templates import number

FOLDER = Path(__file__).parents[2]
FILES = (
    "elman.py",
    "loss.py",
    "backward.py",
    "truncation.py",
    "tbptt.py",
    "clipping.py",
    "momentum.py",
    "update.py",
)
ID = re.compile(r"\(([A-Z]\d+)\)")
COMMENT = re.compile(r"  # \([A-Z]\d+\).*$", re.MULTILINE)
DIGITS = ".17g"  # enough to tell any two numbers of double precision apart
COLUMNS = {"difference": "largest difference of all", "bounds": "in E", "compared": "numbers"}
COARSE = "central difference"


def checked_equation(name: str, checks: Mapping[str, EquationCheck]) -> str:
    """The block of an equation, with all of its checks. Raises ValueError on one that has no check."""
    found = [check for id, check in checks.items() if id.partition(",")[0] == name]
    if not found:
        raise ValueError(f"not checked: {name}")
    code = "".join(
        f"<code><span>{lines.file}, {lines.function}</span>\n{escape(lines.code, quote=False)}</code>"
        for lines in lines_of_equations()[name]
    )
    return (
        f'<div class="checked" id="equation-{name}">\n<p>{equation(name)}</p>\n<pre class="lines">{code}</pre>\n'
        f"{''.join(_proof(name, check) for check in found)}</div>\n"
    )


def _proof(name: str, check: EquationCheck) -> str:
    """One number, and the folded table of all methods."""
    differences = {one.witness: one for one in check.differences}
    names = [check.element, *COLUMNS.values()]
    rows = "\n".join(
        _row(names, by, check.values.get(by), differences.get(by))
        for by in dict.fromkeys([*check.values, *differences])
    )
    heads = "".join(f'<th scope="col">{head}</th>' for head in COLUMNS.values())
    value = number(next(iter(check.values.values())), ".6g")
    return (
        f'<p class="live">{escape(check.where[0].upper() + check.where[1:])},'
        f' <span class="value">{escape(check.element)}</span> is <span class="value">{value}</span>.</p>\n'
        f"<details><summary>Proof of ({name}): {_summary(differences)}</summary>\n"
        f'<div class="wide" role="region" tabindex="0" aria-label="proof of ({name}): {escape(check.what)}">'
        f'<table class="cards">\n<caption>{escape(check.what)}</caption>\n'
        f'<thead><tr><td></td><th scope="col">{escape(check.element)}</th>{heads}</tr></thead>\n'
        f"<tbody>{rows}</tbody></table></div></details>\n"
    )


def _summary(differences: Mapping[str, Difference]) -> str:
    """How many methods agree, and how far the farthest is; central differences have an error of their own."""
    ratios = [one.bounds for by, one in differences.items() if by != COARSE]
    methods = f"{len(ratios)} method{'s' if len(ratios) != 1 else ''}"
    if any(map(isinf, ratios)):
        return f"{methods}, one of which differs"
    return (
        f"{methods}, within {number(max(ratios), '.2g')} E" if any(ratios) else f"{methods}, equal"
    )


def _row(names: list[str], by: str, value: float | None, difference: Difference | None) -> str:
    cells = ["" if value is None else number(value, DIGITS)]
    cells += ["" if difference is None else number(getattr(difference, column), "" if column == "compared" else ".2g")
              for column in COLUMNS]  # fmt: skip
    return (
        f'<tr><th scope="row">{escape(by)}</th>'
        + "".join(
            f'<td class="number" data-label="{escape(name)}">{cell}</td>' if cell else "<td></td>"
            for name, cell in zip(names, cells, strict=True)
        )
        + "</tr>"
    )


class Lines(NamedTuple):
    """Some code of one function."""

    file: str
    function: str
    code: str  # without its comments


@cache
def lines_of_equations() -> dict[str, list[Lines]]:
    """By id, the statements of the reference that carry it, in the order of the files; one entry per function."""
    result: dict[str, list[Lines]] = {}
    for file in FILES:
        source = (FOLDER / file).read_text(encoding="utf-8")
        for function in ast.walk(ast.parse(source)):
            if not isinstance(function, ast.FunctionDef):
                continue
            found: dict[str, list[str]] = {}
            for text in _statements(function, source.splitlines()):
                for name in ID.findall(" ".join(COMMENT.findall(text))):
                    found.setdefault(name, []).append(COMMENT.sub("", text))
            for name, texts in found.items():
                result.setdefault(name, []).append(
                    Lines(file, function.name, "\n".join(dict.fromkeys(texts)))
                )
    return result


def _statements(function: ast.FunctionDef, lines: list[str]) -> Iterator[str]:
    """The statements in a function, in order; of one that contains others, its head."""
    statements = [
        node for node in ast.walk(function) if isinstance(node, ast.stmt) and node is not function
    ]
    for node in sorted(statements, key=lambda node: node.lineno):
        body = getattr(node, "body", None)
        stop = body[0].lineno - 1 if body else node.end_lineno
        yield textwrap.dedent("\n".join(lines[node.lineno - 1 : stop]))
