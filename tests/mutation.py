"""Random changes to the code of an area, one at a time, and which of them its tests do not see.

    python -m tests.mutation core -n 40 --seed $(git rev-parse HEAD)

Each change is made in a copy of the checkout, whose tests run until one fails. The diff of every survivor is printed;
the exit status is 1 if there is one.
"""

import argparse
import ast
import os
import random
import re
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from difflib import unified_diff
from itertools import accumulate, pairwise
from pathlib import Path
from subprocess import DEVNULL, Popen, TimeoutExpired

ROOT = Path(__file__).parents[1]
LIMIT = 600  # seconds
AREAS = {  # the files of each
    "core": ("numpy_rnn/[!_]*.py", "numpy_rnn/common/*.py", "numpy_rnn/engine/*.py", "torch_rnn/[!_]*.py"),
    **{name: (f"numpy_rnn/{name}/**/*.py",) for name in ("app", "conformance", "study")},
    "audit": ("torch_rnn/loop_audit/*.py",),
    "benchmarks": ("benchmarks/**/*.py",),
}
PAIRS = [("+", "-"), ("*", "/"), ("<", "<="), (">", ">="), ("==", "!="), ("and", "or"), ("in", "not in"), ("&", "|"),
         ("is", "is not"), ("min", "max"), ("minimum", "maximum"), ("all", "any")]  # fmt: skip
OTHER = {"@": "*", "**": "*", "//": "/", "%": "*"} | dict(PAIRS) | {second: first for first, second in PAIRS}
KEPT = {"annotation", "returns", "exc", "bases", "decorator_list"}  # parts of nodes: types and messages
COPIED = shutil.ignore_patterns(".*", "__pycache__")


class Edits(ast.NodeVisitor):
    """All changes of a source, as (start, stop, new text), counted in its UTF-8 bytes."""

    def __init__(self, source: str):
        self.source, self.found = source.encode(), list[tuple[int, int, str]]()
        self.lines = [0, *accumulate(map(len, self.source.splitlines(keepends=True)))]
        self.visit(ast.parse(source))

    def place(self, node: ast.AST) -> tuple[int, int]:
        start, stop = ((getattr(node, f"{end}lineno"), getattr(node, f"{end}col_offset")) for end in ("", "end_"))
        return self.lines[start[0] - 1] + start[1], self.lines[stop[0] - 1] + stop[1]

    def replace(self, node: ast.AST, *texts: str) -> None:
        start, stop = self.place(node)
        self.found += [(start, stop, text.replace("{}", self.source[start:stop].decode())) for text in texts]

    def exchange_operators(self, operands: Sequence[ast.AST]) -> None:
        for left, right in pairwise(operands):
            start, stop = self.place(left)[1], self.place(right)[0]
            between = self.source[start:stop].decode()
            operator = " ".join(re.sub(r"#.*|[()\\]", " ", between).split())
            self.found.append((start, stop, between.replace(operator, OTHER.get(operator, ""), 1)))

    def visit(self, node: ast.AST) -> None:
        if isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
            return  # messages and docstrings
        self.change(node)
        for name, value in ast.iter_fields(node):
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST) and name not in KEPT:
                    self.visit(child)

    def change(self, node: ast.AST) -> None:
        match node:
            case ast.Constant(value=bool(value)):
                self.replace(node, str(not value))
            case ast.Constant(value=int() | float()):
                self.replace(node, "({} + 1)", "({} - 1)")
            case ast.Constant(value=str(value)) if value.isidentifier():
                self.replace(node, repr(value + "_"))
            case ast.Name(id=name) | ast.Attribute(attr=name) if name in OTHER:
                stop = self.place(node)[1]
                self.found.append((stop - len(name), stop, OTHER[name]))
            case ast.BinOp() | ast.BoolOp() | ast.Compare():
                self.exchange_operators([child for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr)])
            case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
                self.replace(node, f"({ast.unparse(operand)})")
            case ast.If(test=test) | ast.While(test=test) | ast.IfExp(test=test):
                self.replace(test, "(not ({}))")
            case ast.Slice(lower=lower, upper=upper):
                for bound in filter(None, (lower, upper)):
                    self.replace(bound, "({} + 1)")
            case ast.Call(args=[first, second, *_]):
                start, stop = self.place(first)[0], self.place(second)[1]
                self.found.append((start, stop, f"{ast.unparse(second)}, {ast.unparse(first)}"))
            case ast.Expr() | ast.AugAssign() | ast.Raise() | ast.Assign(targets=[ast.Subscript() | ast.Attribute()]):
                self.replace(node, "pass")


def draw(root: Path, files: Sequence[str], n: int, seed: str) -> list[tuple[Path, str]]:
    """n files and their changed sources, drawn from all changes that compile."""
    sources = {path: path.read_text(encoding="utf-8") for name in files for path in sorted(root.glob(name))}
    edits = [(path, edit) for path, source in sources.items() for edit in Edits(source).found]
    drawn: list[tuple[Path, str]] = []
    for path, (start, stop, text) in random.Random(seed).sample(edits, len(edits)):
        source = sources[path].encode()
        changed = (source[:start] + text.encode() + source[stop:]).decode()
        with suppress(SyntaxError):
            if len(drawn) < n and ast.dump(ast.parse(changed)) != ast.dump(ast.parse(source)):
                drawn.append((path.relative_to(root), changed))
    return drawn


def passes(checkout: Path, tests: str) -> bool:
    """Whether the tests of a checkout pass within LIMIT seconds."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", tests]
    more = {"HYPOTHESIS_PROFILE": "few", "PYTHONPATH": str(checkout), "PYTHONDONTWRITEBYTECODE": "1"}
    process = Popen(command, cwd=checkout, env=os.environ | more, stdout=DEVNULL, start_new_session=True)
    with suppress(TimeoutExpired):
        process.wait(LIMIT)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # also what the tests started
    return process.wait() == 0


def survivors(root: Path, files: Sequence[str], tests: str, n: int, seed: str) -> int:
    """Print the verdict on each of n changes, and the diff of each survivor; return how many survive."""
    alive = 0
    with tempfile.TemporaryDirectory() as scratch:
        checkout = Path(shutil.copytree(root, Path(scratch, "checkout"), ignore=COPIED))
        if not passes(checkout, tests):
            sys.exit(f"{tests} fails without a change")
        for number, (path, changed) in enumerate(draw(root, files, n, seed), start=1):
            original = (root / path).read_text(encoding="utf-8")
            (checkout / path).write_text(changed, encoding="utf-8")
            survives = passes(checkout, tests)
            (checkout / path).write_text(original, encoding="utf-8")
            alive += survives
            diff = unified_diff(original.splitlines(), changed.splitlines(), str(path), str(path), n=1, lineterm="")
            print(f"{number}: {'SURVIVED' if survives else 'killed'}", *diff, sep="\n", flush=True)
        print(f"{number - alive} of {number} killed")
    return alive


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("area", choices=AREAS)
    parser.add_argument("-n", type=int, default=40, metavar="N", help="the number of changes; default: 40")
    parser.add_argument("--seed", default="", help="any text")
    given = parser.parse_args()
    sys.exit(survivors(ROOT, AREAS[given.area], f"tests/{given.area}", given.n, given.seed) > 0)
