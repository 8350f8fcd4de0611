"""The project's documents: their blocks of code, what these print, and the code that they repeat.

A document is any .md file of the project. Comments on the lines before a block, `<!-- ... -->`, say what it is:

    run: COMMAND          the block `text` is the output of this command, not of the program or commands before it
    numbers vary          its numbers depend on the processor; its words do not
    figure FILE: COPY     the commands draw this file, which is kept in the project
    both packages         the Python program prints the same with `import torch_rnn as rnn`
    from FILE: f, g       the block is these functions of a file, without their docstrings

A block `text` is the output of the block before it: of a Python program, or of shell commands. In shell commands that
start with `python3 -m venv`, that is what follows the last `&&`. A line `...` in an output is any number of lines. A
Python block whose first line is a comment such as `# my_rnn.py` is a file of this name in the folder in which
everything else is run. `python tests/documents.py` updates outputs, figures and repeated code.
"""

import ast
import multiprocessing
import os
import re
import shlex
import shutil
import sys
import tempfile
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import children

TOP = children.ROOT
PACKAGES = ("numpy_rnn", "torch_rnn", "benchmarks")
OWN = (TOP / "README.md", TOP / ".github/CONTRIBUTING.md")
DOCUMENTS = (*OWN, *sorted(path for name in PACKAGES for path in (TOP / name).rglob("*.md")))
BLOCK = re.compile(
    r"^(?P<notes>(?:<!-- [^\n]* -->\n)*)```(?P<language>\w+)\n(?P<text>.*?)\n```$", re.M | re.S
)
NOTES = ("run:", "numbers vary", "figure", "both packages", "from")
NUMBER = r"-?\d[\d,]*(?:\.\d+)?(?:e[+-]\d+)?"
DECIMAL = r"-?\d.*[.e].*"
COMMAND = re.compile(  # sed ... > FILE; python -m MODULE ARGUMENTS | tail
    r"(?P<before>sed [^;]*; )?(?:python -m )?(?P<module>\w\S*)(?P<arguments>[^|;>&$]*)"
    r"(?:(?:2>&1 )?\| (?P<filter>[^;]*))?"
)
TOKEN = re.compile(rf"(?P<number>{NUMBER})|(?P<space>\s+)|(?P<rule>([-=_])\4+)|.")
GAP = r"^ *\.\.\.\n"  # in an output: any number of lines
LINES = r"(?:.*\n)*?"
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["torch", "torch._dynamo"])  # what optimizers import


class Block(NamedTuple):
    """A block of code or output, its notes by their first words, and the place of its text in the document."""

    language: str
    text: str
    notes: dict[str, str]
    span: tuple[int, int]

    @property
    def file(self) -> str | None:
        """The name of the file that this block is."""
        found = re.match(r"# (\w+\.py)\n", self.text)
        return found[1] if found and self.language == "python" else None


class Example(NamedTuple):
    """A Python program or shell commands, and the block with their output."""

    language: str
    source: str
    output: Block


def name_of(document: Path) -> str:
    return document.relative_to(TOP).as_posix()


def blocks(document: Path) -> list[Block]:
    found = []
    for block in BLOCK.finditer(document.read_text(encoding="utf-8")):
        notes = re.findall("<!-- (.*) -->", block["notes"])
        named = {
            name: note.removeprefix(name).strip()
            for note in notes
            for name in NOTES
            if note.startswith(name)
        }
        found.append(Block(block["language"], block["text"], named, block.span("text")))
    return found


def examples(document: Path) -> list[Example]:
    """Everything in a document that has an output."""
    found, source = [], Block("", "", {}, (0, 0))
    for block in blocks(document):
        if block.language != "text":
            source = block
        elif "run:" in block.notes:
            found.append(Example("sh", block.notes["run:"], block))
        else:
            found.append(Example(source.language, source.text, block))
            if "both packages" in source.notes:
                other = source.text.replace("import numpy_rnn as rnn", "import torch_rnn as rnn")
                found.append(Example(source.language, other, block))
    return found


def commands(document: Path) -> list[str]:
    """All shell commands of a document, each as one line without its comment."""
    texts = [block.text for block in blocks(document) if block.language == "sh"]
    lines = "\n".join(texts).replace("\\\n", " ").splitlines()
    return [command for line in lines if (command := re.sub(r"(^|\s)#.*", "", line).strip())]


def files() -> dict[str, str]:
    """The files that the documents contain, by name."""
    return {
        block.file: block.text + "\n"
        for document in DOCUMENTS
        for block in blocks(document)
        if block.file
    }


def run(example: Example, folder: Path) -> str:
    """Run an example in an empty folder, with the files that documents contain, and return what it prints."""
    printed = run_example(example, folder)
    assert "Traceback (most" not in printed, printed
    return printed


def run_example(example: Example, folder: Path) -> str:
    for name, text in files().items():
        (folder / name).write_text(text, encoding="utf-8")
    source = example.source.replace("\\\n", " ")
    if source.startswith("python3 -m venv"):
        source = source.rpartition("&& ")[2].replace(".venv/bin/", "")
    if example.language == "python":
        return run_program('__import__("warnings").simplefilter("error")\n' + source, folder)
    if not (found := COMMAND.fullmatch(source)):
        return run_script(source, folder)
    if found["before"]:
        run_script(found["before"], folder)
    arguments = ["", *shlex.split(found["arguments"])]
    program = f"import runpy, sys; sys.argv = {arguments}; runpy.run_module({found['module']!r}, alter_sys=True"
    printed = run_program(f"{program}, run_name='__main__')", folder)
    return run_script(f"{found['filter']} < printed.txt", folder) if found["filter"] else printed


def run_program(source: str, folder: Path) -> str:
    """Run a Python program in a process of its own, a fork of one that has imported torch, which takes seconds."""
    process = FORKS.Process(target=execute, args=(source, folder))
    process.start()
    process.join(300)
    process.kill()
    printed = (folder / "printed.txt").read_text(encoding="utf-8")
    assert process.exitcode is not None
    return printed.rstrip()


def execute(source: str, folder: Path) -> None:
    os.chdir(folder)
    sys.path.insert(0, "")
    with open("printed.txt", "wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    variables = environment()
    os.environ.clear()
    os.environ |= variables
    try:
        exec(compile(source, "<example>", "exec"), {"__name__": "__main__"})
    except Exception:
        sys.excepthook(*sys.exc_info())  # as the interpreter does; the audit replaces it


def environment() -> dict[str, str]:
    """The variables of the programs: those of the tests, without what pytest sets."""
    kept = {
        name: value
        for name, value in children.environment().items()
        if not name.startswith("PYTEST")
    }
    return kept | {"COLUMNS": "80"}


def run_script(source: str, folder: Path) -> str:
    (folder / "bin").mkdir(exist_ok=True)  # its programs are those that run here
    for name, module in {"python": "", "pytest": "-m pytest"}.items():
        (folder / "bin" / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {module} "$@"\n')
        (folder / "bin" / name).chmod(0o755)
    variables = environment() | {"PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    done = children.run(["bash", "-uc", source], cwd=folder, env=variables, timeout=300)
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout.rstrip()


# -- what a document shows --------------------------------------------------------------------------------------------


def excerpt(shown: str, printed: str, vary: bool) -> str | None:
    """The lines of `printed` that correspond to those of `shown`, an earlier output with gaps; None if words differ.

    Whole numbers are words too, unless numbers vary and there are no such lines with the same whole numbers.
    """
    parts, gaps = re.split(GAP, shown + "\n", flags=re.M), re.findall(GAP, shown + "\n", flags=re.M)
    for number in (DECIMAL, NUMBER)[: 1 + vary]:

        def pattern(token, number=number):
            if token.lastgroup == "number" and re.fullmatch(number, token[0]):
                return NUMBER
            return {"space": r"\s+", "rule": "[-=_]+"}.get(token.lastgroup, re.escape(token[0]))

        patterns = ["".join(map(pattern, TOKEN.finditer(part))) for part in parts]
        if found := re.fullmatch(LINES.join(f"({each})" for each in patterns), printed + "\n"):
            return "".join(
                text for pair in zip(found.groups(), [*gaps, ""]) for text in pair
            ).removesuffix("\n")
    return None


def same_numbers(shown: str, printed: str) -> bool:
    """Whether numbers differ by one unit of their last digit at most, and whole numbers not at all."""
    both = (
        [Decimal(number.replace(",", "")) for number in re.findall(NUMBER, text)]
        for text in (shown, printed)
    )
    return all(
        one == other or abs(one - other) <= Decimal(1).scaleb(int(other.as_tuple().exponent)) < 1
        for one, other in zip(*both, strict=True)
    )


def functions_of(where: str) -> str:
    """The functions that "FILE: f, g" names, without their docstrings."""
    path, names = where.split(": ")
    source, found = (TOP / path).read_text(encoding="utf-8"), {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef):
            text, doc = (ast.get_source_segment(source, part) for part in (node, node.body[0]))
            found[node.name] = str(text).replace(f"    {doc}\n", "", 1)
    return "\n\n\n".join(found[name] for name in names.split(", "))


def update(document: Path) -> None:
    """Write the outputs, figures and repeated code of a document anew. Where words differ, an output is whole."""
    new = {
        block.span: functions_of(block.notes["from"])
        for block in blocks(document)
        if "from" in block.notes
    }
    for example in examples(document):
        if example.output.span in new:  # a program for both packages has one output
            continue
        with tempfile.TemporaryDirectory() as folder:
            printed = run(example, Path(folder))
            if figure := example.output.notes.get("figure"):
                drawn, kept = figure.split(": ")
                shutil.copyfile(Path(folder) / drawn, TOP / kept)
        output = example.output
        new[output.span] = excerpt(output.text, printed, "numbers vary" in output.notes) or printed
    text = document.read_text(encoding="utf-8")
    for (start, end), wanted in sorted(new.items(), reverse=True):
        text = text[:start] + wanted + text[end:]
    document.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    for path in map(Path, sys.argv[1:] or DOCUMENTS):
        update(path.resolve())
