"""The project's documents: their blocks of code, what these print, and what they repeat from other files.

A document is any .md file of the project. Comments on the lines before a block, `<!-- ... -->`, say what it is:

    run: COMMAND          the block `text` is the output of this command, not of the program or commands before it
    numbers vary          its numbers depend on the processor; its words do not
    figure FILE: COPY     the commands draw this file, which is kept in the project
    both packages         the Python program prints the same with `import torch_rnn as rnn`
    from FILE: f, g       the block is these functions of a file, without their docstrings
    rows of FILE          the table consists of rows of a table in another file
    claims of FILE        the list is that of the claims in another file that do not pass

A block `text` is the output of the block before it: of a Python program, or of shell commands. In shell commands that
start with `python3 -m venv`, that is what follows the last `&&`. A line `...` in an output means lines that are
left out. A Python block whose first line is a comment such as `# my_rnn.py` is a file of this name in the folder in
which everything else is run. `python tests/update_documents.py` writes all of this anew.
"""

import ast
import difflib
import functools
import os
import re
import sys
from pathlib import Path
from typing import NamedTuple

import children

TOP = children.ROOT
PACKAGES = ("numpy_rnn", "torch_rnn", "benchmarks", "tests")
DOCUMENTS = (TOP / "README.md", *sorted(path for name in PACKAGES for path in (TOP / name).rglob("*.md")))
BLOCK = re.compile(r"^(?P<notes>(?:<!-- [^\n]* -->\n)*)```(?P<language>\w+)\n(?P<text>.*?)\n```$", re.M | re.S)
COPY = re.compile(r"^<!-- (?P<kind>rows|claims) of (?P<file>\S+) -->\n(?P<text>.*?)(?=\n\n|\n?\Z)", re.M | re.S)
NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?(?:e[+-]\d+)?")
GAP = "..."


class Block(NamedTuple):
    """A block of code or output; `start` and `end` are the places of its text in the document."""

    language: str
    text: str
    notes: tuple[str, ...]
    start: int
    end: int

    def note(self, name: str) -> str | None:
        """What follows the name of a note, "" if nothing does; None without such a note."""
        return next((note.removeprefix(name).strip() for note in self.notes if note.startswith(name)), None)

    @property
    def file(self) -> str | None:
        """The name of the file that this block is."""
        found = re.match(r"# (\w+\.py)\n", self.text)
        return found[1] if found and self.language == "python" else None


class Example(NamedTuple):
    """A Python program or shell commands, and the block with their output."""

    document: Path
    language: str
    source: str
    output: Block

    @property
    def needs_torch(self) -> bool:
        """Does it import torch or draw?"""
        return self.language == "sh" or bool(re.search(r"^(import|from) torch", self.source, re.M))


def name_of(document: Path) -> str:
    """The path of a document from the top of the project."""
    return document.relative_to(TOP).as_posix()


def blocks(text: str) -> list[Block]:
    """All blocks of a document with a language, in order."""
    return [
        Block(found["language"], found["text"], tuple(re.findall("<!-- (.*) -->", found["notes"])), *found.span("text"))
        for found in BLOCK.finditer(text)
    ]


def examples(document: Path) -> list[Example]:
    """Everything in a document that has an output."""
    found, source = [], Block("", "", (), 0, 0)
    for block in blocks(document.read_text(encoding="utf-8")):
        if block.language != "text":
            source = block
            continue
        command = block.note("run:")
        if command is not None:
            found.append(Example(document, "sh", command, block))
            continue
        found.append(Example(document, source.language, source.text, block))
        if source.note("both packages") is not None:
            other = source.text.replace("import numpy_rnn as rnn", "import torch_rnn as rnn")
            found.append(Example(document, source.language, other, block))
    return found


def commands(document: Path) -> list[str]:
    """All shell commands of a document, each as one line without its comment."""
    texts = [block.text for block in blocks(document.read_text(encoding="utf-8")) if block.language == "sh"]
    lines = "\n".join(texts).replace("\\\n", " ").splitlines()
    return [command for line in lines if (command := re.sub(r"(^|\s)#.*", "", line).strip())]


def files() -> dict[str, str]:
    """The files that the documents contain, by name."""
    of_all = [block for document in DOCUMENTS for block in blocks(document.read_text(encoding="utf-8"))]
    return {block.file: block.text + "\n" for block in of_all if block.file}


def run(example: Example, folder: Path) -> str:
    """Run an example in an empty folder, with the files that documents contain, and return what it prints."""
    for name, text in files().items():
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "tests").symlink_to(TOP / "tests")
    if example.language == "python":
        (folder / "program.py").write_text(example.source, encoding="utf-8")
        command = [sys.executable, "-W", "error", "program.py"]
    else:
        source = example.source
        if source.startswith("python3 -m venv"):
            source = source.rpartition("&& ")[2].replace(".venv/bin/", "")
        command = ["bash", "-uc", source]
    _programs(folder / "bin")
    variables = {name: value for name, value in children.environment().items() if not name.startswith("PYTEST")}
    variables |= {"PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}", "COLUMNS": "80"}
    done = children.run(command, cwd=folder, env=variables, timeout=300)
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout.rstrip()


def _programs(folder):
    """Make `python`, `pytest` and the commands of the project those that run here."""
    folder.mkdir()
    both = [(f"{name}-rnn", f"-m {name}_rnn") for name in ("numpy", "torch")]
    for name, words in (("python", ""), ("pytest", "-m pytest"), *both):
        (folder / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {words} "$@"\n')
        (folder / name).chmod(0o755)


# -- outputs --------------------------------------------------------------------------------------------------------


def excerpt(shown: str, printed: str) -> str:
    """The lines of `printed` that correspond to those of `shown`, an earlier output with gaps.

    The lines between two gaps are replaced by as many lines in a row, those that resemble them most. The first part is
    at the beginning and the last one at the end, unless there is a gap before or after it.
    """
    lines = printed.splitlines()
    parts: list[list[str]] = [[]]
    gaps = []
    for line in shown.splitlines():
        if line.strip() == GAP:
            gaps.append(line)
            parts.append([])
        else:
            parts[-1].append(line)
    if not gaps:
        return printed

    @functools.cache
    def best(number, start):
        """The likeness and the positions of the parts from this one on, if it begins at `start` or later."""
        size = len(parts[number])
        if number == 0:
            places = [0]
        elif number == len(parts) - 1:
            places = [len(lines) - size] if len(lines) - size >= start else []
        else:
            places = range(start, len(lines) - size + 1)
        found = (-1.0, ())
        for place in places:
            likeness = sum(map(_likeness, parts[number], lines[place : place + size]))
            if number < len(parts) - 1:
                rest, positions = best(number + 1, place + size)
                if not positions:
                    continue
                found = max(found, (likeness + rest, (place, *positions)))
            else:
                found = max(found, (likeness, (place,)))
        return found

    positions = best(0, 0)[1]
    if not positions:
        return printed
    chosen: list[str] = []
    for gap, part, place in zip(["", *gaps], parts, positions):
        chosen += ([gap] if gap else []) + lines[place : place + len(part)]
    return "\n".join(chosen)


@functools.cache
def _likeness(one, other):
    same_start = one.split()[:1] == other.split()[:1]
    return difflib.SequenceMatcher(None, one, other, autojunk=False).ratio() + same_start


def same(shown: str, printed: str, numbers_vary: bool) -> bool:
    """The same words; and numbers that differ by one unit of their last digit at most, unless they vary."""
    if _words(shown) != _words(printed):
        return False
    return numbers_vary or all(map(_is_near, NUMBER.findall(shown), NUMBER.findall(printed)))


def _words(text):
    """The text without its numbers and its layout: where lines are broken may depend on the length of a number."""
    return re.sub(r"([=_-])\1+", r"\1", " ".join(NUMBER.sub("#", text).split()))


def _is_near(one, other):
    mantissa, _, exponent = other.partition("e")
    unit = 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))
    one, other = (float(number.replace(",", "")) for number in (one, other))
    return abs(one - other) <= (1.01 * unit if unit < 1 else 0)


# -- what is repeated -----------------------------------------------------------------------------------------------


def functions_of(where: str) -> str:
    """The functions that "FILE: f, g" names, without their docstrings."""
    path, names = where.split(": ")
    source = (TOP / path).read_text(encoding="utf-8")
    lines, wanted = source.splitlines(), {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef):
            docstring = node.body[0]
            wanted[node.name] = (
                lines[node.lineno - 1 : docstring.lineno - 1] + lines[docstring.end_lineno : node.end_lineno]
            )
    return "\n\n\n".join("\n".join(wanted[name]) for name in names.split(", "))


def copied(kind: str, file: str, shown: str) -> str:
    """The lines of another file that a document repeats: rows of a table, or claims that do not pass."""
    source = (TOP / file).read_text(encoding="utf-8")
    if kind == "claims":
        return "\n".join(line for line in source.splitlines() if re.match(r"- (open|FAIL):", line))
    names = [_first_cell(row) for row in shown.splitlines()[2:]]
    for table in re.findall(r"(?:^\|.*\n)+", source, re.M):
        head, rule, *rows = table.splitlines()
        by_name = {_first_cell(row): row for row in rows}
        if by_name.keys() >= set(names):
            return "\n".join([head, rule, *(by_name[name] for name in names)])
    raise AssertionError(f"{file} has no table with the rows {', '.join(names)}")


def _first_cell(row):
    return row.split("|")[1].strip()


def repeated(document: Path) -> list[tuple[str, str, tuple[int, int]]]:
    """What a document repeats from other files: the text in the document, the one that it should be, its place."""
    text = document.read_text(encoding="utf-8")
    found = []
    for block in blocks(text):
        where = block.note("from")
        if where:
            found.append((block.text, functions_of(where), (block.start, block.end)))
    for copy in COPY.finditer(text):
        found.append((copy["text"], copied(copy["kind"], copy["file"], copy["text"]), copy.span("text")))
    return found
