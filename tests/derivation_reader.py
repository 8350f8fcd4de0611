"""DERIVATION.md and the code that refers to it: ids, formulas, tables and programs."""

import ast
import io
import re
import tokenize
from contextlib import redirect_stdout
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCUMENT = (ROOT / "numpy_rnn/DERIVATION.md").read_text(encoding="utf-8")
OF_ENGINE = (ROOT / "numpy_rnn/engine/README.md").read_text(encoding="utf-8")
SOURCES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for folder in ("numpy_rnn", "numpy_rnn/engine", "numpy_rnn/common", "torch_rnn")
    for path in sorted((ROOT / folder).glob("*.py"))
}
IMPLEMENTATIONS = {"reference": "numpy_rnn", "engine": "numpy_rnn/engine"}  # the folders that compute all equations
SCHEDULES = {f"numpy_rnn/common/{file}.py" for file in ("windows",)}  # shared by all implementations
ID = re.compile(r"\(([A-Z][1-9][0-9]?)\)")
DEFINITION = re.compile(rf"\*\*{ID.pattern}\*\*")
MAX_ERROR = 1e-14  # the error allowed to the document's snippet: 45 eps


def folder_of(path):
    return path.rpartition("/")[0]


def computes(path):
    """Does this file compute the equations, so that its comments must carry the ids?"""
    return path in SCHEDULES or folder_of(path) in IMPLEMENTATIONS.values()


def carried(sources, folder):
    """The ids on the code lines of an implementation."""
    files = [path for path in sources if path in SCHEDULES or folder_of(path) == folder]
    return {name for path in files for name in ids_on_code_lines(sources[path])}


def computed_in(path):
    """The files whose code lines compute the formulas that this file's docstrings state."""
    return {path, *SCHEDULES} if path.endswith("/tbptt.py") else {path}


@cache  # of most sources, which no doctored copy changes
def comments(source):
    """(line number, code before it on that line, its ids) of every comment with an id."""
    return [
        (token.start[0], token.line[: token.start[1]].strip(), ids)
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT and (ids := ID.findall(token.string))
    ]


def ids_in_comments(source):
    return {name for _, _, ids in comments(source) for name in ids}


def ids_on_code_lines(source):
    return {name for _, code, ids in comments(source) for name in ids if code}


@cache
def docstrings(source):
    documented = ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef
    nodes = (node for node in ast.walk(ast.parse(source)) if isinstance(node, documented))
    return [text for node in nodes if (text := ast.get_docstring(node))]


def ids_in_docstrings(source):
    return {name for text in docstrings(source) for name in ID.findall(text)}


def ids_of_formulas(source):
    """The ids that end a line of a docstring, as they do after a formula."""
    lines = (line.rstrip() for text in docstrings(source) for line in text.splitlines())
    return {match[1] for line in lines if (match := re.search(rf"\S\s+{ID.pattern}$", line))}


def section(document, number):
    """The text between the heading with this number and the next heading."""
    return re.search(rf"^#+ {re.escape(number)} .*?\n(.*?)(?=^##|\Z)", document, re.DOTALL | re.MULTILINE)[1]


def table(text):
    """The cells of the rows of the one table in this text, without its head."""
    rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows[2:]]


def snippet(document):
    [code] = re.findall(r"^```python\n(.*?)^```$", document, re.DOTALL | re.MULTILINE)
    return code


def printed(code):
    """The one number that this program prints."""
    output = io.StringIO()
    with redirect_stdout(output):
        exec(compile(code, "DERIVATION.md", "exec"), {})
    return float(output.getvalue())
