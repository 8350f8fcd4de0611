"""Placeholders in the page's prose: every number, figure, table and equation in it comes from elsewhere.

{{number PATH}}, {{number PATH FORMAT}}   the value at a dotted path of the findings, `items.reach.start.90`
{{if PATH}} ... {{end}}                   shown only where that value is truthy
{{each PATH}} ... {{end}}                 repeated for the values of a list, each with
{{.KEY}}, {{.KEY FORMAT}}, {{.}}          a value of the one at hand, or itself; also {{if .KEY}}
{{KIND NAME}}                             what the page inserts: figure, table, equation, equations
"""

import re
from collections.abc import Callable, Mapping
from html import escape
from typing import Any

PLACEHOLDER = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
BLOCKS = ("if", "each")
POWER = re.compile(r"e([+-])0*(\d+)$")
MINUS = {"-": "−", "+": ""}

Inserts = Mapping[str, Callable[[str], str]]  # by kind: NAME → HTML


def fill(text: str, findings: Mapping[str, Any], inserts: Inserts, item: Any = None) -> str:
    """The text with all its placeholders filled; `item` is the value at hand inside an {{each}}.

    Raises ValueError, naming the placeholder, on one that is unknown, on a path that leads nowhere, on a format that
    does not fit, and on an {{end}} too few or too many.
    """
    filled = []
    while match := PLACEHOLDER.search(text):
        filled.append(text[: match.start()])
        text = text[match.end() :]
        kind, _, rest = match[1].strip().partition(" ")
        try:
            if kind in BLOCKS:
                block, text = _block_and_rest(text)
                value = at(rest.strip(), findings, item)
                items = value if kind == "each" else [item] if value else []
                filled += [fill(block, findings, inserts, one) for one in items]
            else:
                filled.append(_value(kind, rest.strip(), findings, inserts, item))
        except (ValueError, TypeError) as error:
            raise ValueError(f"{match[0]}: {error}") from error
    return "".join(filled) + text


def at(path: str, findings: Mapping[str, Any], item: Any = None) -> Any:
    """The value at a dotted path of the findings; at one that starts with a dot, of the item at hand.

    Raises ValueError, saying what there is instead, where the path leads nowhere.
    """
    value: Any = item if path.startswith(".") else findings
    for key in filter(None, path.split(".")):
        try:
            value = value[int(key)] if isinstance(value, list) else value[key]
        except (KeyError, IndexError, TypeError, ValueError):
            there = f"only {', '.join(value)}" if isinstance(value, dict) else f"a {type(value).__name__}"
            raise ValueError(f"no {key!r} at {path!r}: there is {there}") from None
    return value


def number(value: Any, form: str = "") -> str:
    """A value as HTML, in a format of `format()`, with powers of ten as one writes them by hand; None is a dash."""
    if value is None:
        return "–"
    if isinstance(value, list):
        return ", ".join(number(v, form) for v in value)
    text = escape(format(value, form), quote=False)
    return POWER.sub(lambda m: f"·10<sup>{MINUS[m[1]]}{m[2]}</sup>", text) if isinstance(value, float) else text


def _block_and_rest(text):
    """What stands before the {{end}} of the block in which the text begins, and what after it."""
    depth = 1
    for match in PLACEHOLDER.finditer(text):
        word = match[1].strip().partition(" ")[0]
        depth += (word in BLOCKS) - (word == "end")
        if depth == 0:
            return text[: match.start()], text[match.end() :]
    raise ValueError("it has no {{end}}")


def _value(kind, rest, findings, inserts, item):
    if kind.startswith("."):
        return number(at(kind, findings, item), rest)
    if kind == "number":
        path, _, form = rest.partition(" ")
        return number(at(path, findings, item), form.strip())
    if kind in inserts:
        return inserts[kind](rest)
    raise ValueError(f"unknown: expected {', '.join(('number', *BLOCKS, 'end', *inserts))}")
