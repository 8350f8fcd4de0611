"""Random changes to the code of an area, one at a time, and which test sees each of them.

    python -m tests.mutation core -n 40 --seed $(git rev-parse HEAD)

Each change is made in a copy of the checkout, which is first on the path of Python. The tests of the area run there
until one fails: it is printed with the change, or "time limit", or SURVIVED. The exit status is 1 if a change survived.
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
import time
from collections.abc import Sequence
from contextlib import suppress
from difflib import unified_diff
from itertools import accumulate, islice, pairwise
from pathlib import Path
from subprocess import Popen, TimeoutExpired

AREAS = {  # the files of each
    "core": ("numpy_rnn/[!_]*.py", "numpy_rnn/common/*.py", "numpy_rnn/engine/*.py", "torch_rnn/[!_]*.py"),
    **{name: (f"numpy_rnn/{name}/**/*.py",) for name in ("app", "conformance", "study")},
    "audit": ("torch_rnn/loop_audit/*.py",), "benchmarks": ("benchmarks/**/*.py",),
}  # fmt: skip
PAIRS = [("+", "-"), ("*", "/"), ("<", "<="), (">", ">="), ("==", "!="), ("and", "or"), ("in", "not in"), ("&", "|"),
         ("is", "is not"), ("+=", "-="), ("*=", "/="), ("|=", "&="), ("min", "max"), ("all", "any"), ("log", "log1p"),
         ("add", "subtract"), ("multiply", "divide"), ("minimum", "maximum"), ("zeros", "ones")]  # fmt: skip
OTHER = (
    {"@": "*", "**": "*", "//": "/", "%": "*"}
    | dict(PAIRS)
    | {second: first for first, second in PAIRS}
)
KEPT = {
    "annotation",
    "returns",
    "exc",
    "bases",
    "decorator_list",
}  # parts of nodes: types and messages


class Edits(ast.NodeVisitor):
    """All changes of a source, as (start, stop, new text), counted in its UTF-8 bytes."""

    def __init__(self, source: str):
        self.source, self.found = source.encode(), list[tuple[int, int, str]]()
        self.lines = [0, *accumulate(map(len, self.source.splitlines(keepends=True)))]
        self.visit(ast.parse(source))

    def place(self, node: ast.AST) -> tuple[int, int]:
        start, stop = (
            (getattr(node, f"{end}lineno"), getattr(node, f"{end}col_offset"))
            for end in ("", "end_")
        )
        return self.lines[start[0] - 1] + start[1], self.lines[stop[0] - 1] + stop[1]

    def replace(self, node: ast.AST, *texts: str) -> None:
        start, stop = self.place(node)
        self.found += [
            (start, stop, text.replace("{}", self.source[start:stop].decode())) for text in texts
        ]

    def exchange_operators(self, operands: Sequence[ast.AST]) -> None:
        for left, right in pairwise(operands):
            start, stop = self.place(left)[1], self.place(right)[0]
            between = self.source[start:stop].decode()
            operator = " ".join(re.sub(r"#.*|[()\\]", " ", between).split())
            self.found.append((start, stop, between.replace(operator, OTHER.get(operator, ""), 1)))

    def change_f_string(self, node: ast.JoinedStr) -> None:
        """Leave out a part, or change an expression; the places inside are not those of the file."""
        for n, part in enumerate(node.values):
            text = ast.unparse(part.value) if isinstance(part, ast.FormattedValue) else ""
            for other in ["", *(f"{{{apply(text, edit) or text}}}" for edit in Edits(text).found)]:
                with suppress(
                    SyntaxError, ValueError
                ):  # Python 3.11 has no backslash in an expression
                    new = ast.parse("f" + repr(other), mode="eval").body.values  # type: ignore[attr-defined]
                    changed = ast.unparse(
                        ast.JoinedStr([*node.values[:n], *new, *node.values[n + 1 :]])
                    )
                    self.found.append((*self.place(node), changed))

    def visit(self, node: ast.AST) -> None:
        if isinstance(node, ast.JoinedStr):
            self.change_f_string(node)
        elif not (
            isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        ):  # a docstring
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
                stop, module = (
                    self.place(node)[1],
                    "np." * (isinstance(node, ast.Name) and len(name) > 3),
                )
                self.found.append((stop - len(name), stop, module + OTHER[name]))
            case ast.BinOp() | ast.BoolOp() | ast.Compare():
                self.exchange_operators(
                    [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr)]
                )
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
            case ast.AugAssign(target=target, value=value):
                self.replace(node, "pass")
                self.exchange_operators([target, value])
            case (
                ast.Expr()
                | ast.Raise()
                | ast.Break()
                | ast.Assign(targets=[ast.Subscript() | ast.Attribute()])
            ):
                self.replace(node, "pass")
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                if any(isinstance(part, ast.Name) and part.id == name for part in ast.walk(value)):
                    self.replace(node, "pass")  # it has an older value


def apply(source: str, edit: tuple[int, int, str]) -> str | None:
    """The changed source; None if it does not compile, or is the same program."""
    changed = (source.encode()[: edit[0]] + edit[2].encode() + source.encode()[edit[1] :]).decode()
    with suppress(SyntaxError):
        return changed if ast.dump(ast.parse(changed)) != ast.dump(ast.parse(source)) else None
    return None


def first_failure(checkout: Path, tests: str, limit: float | None = None) -> str | None:
    """The test of a checkout that fails first, or "time limit"; None if all pass. Nothing that it starts is left."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-x",
        "-q",
        "-rfE",
        "--tb=no",
        "-p",
        "no:cacheprovider",
        tests,
    ]
    more = {
        "HYPOTHESIS_PROFILE": "few",
        "PYTHONPATH": str(checkout),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    with tempfile.TemporaryFile("w+") as output:
        process = Popen(
            command, cwd=checkout, env=os.environ | more, stdout=output, start_new_session=True
        )
        try:
            status = process.wait(limit)
        except TimeoutExpired:
            return "time limit"
        finally:
            with suppress(ProcessLookupError):
                os.killpg(
                    process.pid, signal.SIGKILL
                )  # also what the tests started, and after Ctrl-C
            process.wait()
        output.seek(0)
        found = re.search(r"^(?:FAILED|ERROR) (.*?)(?: - .*)?$", output.read(), re.MULTILINE)
    return None if status == 0 else found[1] if found else f"pytest's exit status {status}"


def survivors(root: Path, files: Sequence[str], tests: str, n: int, seed: str) -> int:
    """Print each of n changes with its verdict; return how many survive."""
    alive, number, began = 0, 0, time.monotonic()
    sources = {
        path.relative_to(root): path.read_text("utf-8")
        for name in files
        for path in sorted(root.glob(name))
    }
    edits = [(path, edit) for path, source in sources.items() for edit in Edits(source).found]
    random.Random(seed).shuffle(edits)
    drawn = ((path, changed) for path, edit in edits if (changed := apply(sources[path], edit)))
    with tempfile.TemporaryDirectory() as scratch:
        checkout = Path(
            shutil.copytree(root, Path(scratch, "checkout"), ignore=shutil.ignore_patterns(".*"))
        )
        if failed := first_failure(checkout, tests):
            sys.exit(f"{failed} fails without a change")
        limit = 60 + 5 * (time.monotonic() - began)  # seconds; the machine may become busier
        for number, (path, changed) in enumerate(islice(drawn, n), start=1):
            (checkout / path).write_text(changed, encoding="utf-8")
            killer = first_failure(checkout, tests, limit)
            (checkout / path).write_text(sources[path], encoding="utf-8")
            alive += killer is None
            diff = unified_diff(
                sources[path].splitlines(), changed.splitlines(), str(path), n=1, lineterm=""
            )
            print(
                f"{number}: {f'killed by {killer}' if killer else 'SURVIVED'}",
                *diff,
                sep="\n",
                flush=True,
            )
    print(f"{number - alive} of {number} killed")
    return alive


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        "python -m tests.mutation", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("area", choices=AREAS)
    parser.add_argument("-n", type=int, default=40, metavar="N", help="the number of changes (40)")
    parser.add_argument("--seed", default="", help="any text")
    given = parser.parse_args()
    sys.exit(
        survivors(
            Path(__file__).parents[1], AREAS[given.area], f"tests/{given.area}", given.n, given.seed
        )
        > 0
    )
