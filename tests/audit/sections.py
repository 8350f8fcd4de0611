"""The training loops of loops.txt, and one way to audit each of them in
this process.
"""

import contextlib
import functools
import io
import re
from pathlib import Path
from typing import NamedTuple

import torch_rnn

PRELUDE = """import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset
torch.manual_seed(0)

def update(optimizer, loss):
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()

"""


class Loop(NamedTuple):
    """A training loop, the kind of its warning or "right", and parts of its report."""

    name: str
    kind: str
    parts: list[str]
    source: str


def _changed(source, changes):
    """A loop in which the texts after "- " are replaced by those after "+ "."""
    for change in re.split(r"^- ", changes, flags=re.M)[1:]:
        old, *new = change.rstrip("\n").split("\n+ ")
        assert old in source, old
        source = source.replace(old, "\n".join(new))
    return source


def _loops():
    text = (Path(__file__).parent / "loops.txt").read_text(encoding="utf-8")
    sources = dict[str, str]()
    for section in re.split(r"^== ", text, flags=re.M)[1:]:
        heading, _, rest = section.partition("\n")
        name, kind, base = re.fullmatch(
            r"(\w+): ([^<]*?)(?: < (\w+))?", heading
        ).groups()
        parts = re.findall(r"^\| (.*)", rest, flags=re.M)
        source = re.sub(r"^\| .*\n", "", rest, flags=re.M)
        sources[name] = _changed(sources[base], source) if base else source
        yield Loop(name, kind, parts, PRELUDE + sources[name])


LOOPS = list(_loops())
SOURCES = {loop.name: loop.source for loop in LOOPS}


def run(source, namespace=None):
    """The exception that ends a loop, and what it prints."""
    error, printed = None, io.StringIO()
    namespace = {"__name__": "__main__"} if namespace is None else namespace
    with contextlib.redirect_stdout(printed):
        try:
            exec(compile(source, "loop.py", "exec"), namespace)
        except Exception as raised:
            error = raised
    return error, printed.getvalue()


def audited_anew(source, updates=200):
    """The report of a loop, the exception that ends it, and what it prints."""
    namespace = {"__name__": "__main__"}
    with torch_rnn.audit(updates) as report:
        ended = run(source, namespace)
    report.namespace = (
        namespace  # whose modules live until the report is read, as in a script
    )
    return report, *ended


audited = functools.cache(audited_anew)
