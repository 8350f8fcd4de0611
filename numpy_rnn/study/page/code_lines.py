"""The lines of the reference that compute an equation: those whose comment carries its id."""

import ast
import io
import re
import tokenize
from functools import cache
from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).parents[2]
FILES = ("elman.py", "loss.py", "bptt.py", "common/windows.py", "tbptt.py", "clipping.py", "momentum.py", "sgd.py")
ID = re.compile(r"\(([A-Z]\d+)\)")
COMMENT = re.compile(r"  # \([A-Z]\d+\).*$", re.MULTILINE)


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
        for number, ids in _comments(source):
            function, code = _function(tree, number), _statement(source, tree, number)
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


def _function(tree, number):
    around = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.lineno <= number <= node.end_lineno
    ]
    return max(around, key=lambda node: node.lineno).name


def _statement(source, tree, number):
    """The whole statement on this line; of one that contains others, the line."""
    simple = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.stmt) and not hasattr(node, "body") and node.lineno <= number <= node.end_lineno
    ]
    lines = source.splitlines()
    chosen = lines[simple[0].lineno - 1 : simple[0].end_lineno] if simple else [lines[number - 1]]
    indent = len(chosen[0]) - len(chosen[0].lstrip())
    return COMMENT.sub("", "\n".join(line[indent:] for line in chosen))
