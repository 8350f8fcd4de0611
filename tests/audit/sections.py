"""The training loops of loops.txt, and one way to audit each of them in this process."""

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
    """A training loop, the kind of its warning or "right", and lines of its report."""

    name: str
    kind: str
    lines: list[str]
    source: str


def _loops():
    text = (Path(__file__).parent / "loops.txt").read_text(encoding="utf-8")
    for section in re.split(r"^== ", text, flags=re.M)[1:]:
        heading, _, rest = section.partition("\n")
        lines, _, source = ("\n" + rest).partition("\n\n")
        yield Loop(*heading.split(": ", 1), lines.strip().splitlines(), PRELUDE + source)


LOOPS = list(_loops())
SOURCES = {loop.name: loop.source for loop in LOOPS}


def run(source):
    """The exception that ends a loop, and what it prints."""
    error, printed = None, io.StringIO()
    with contextlib.redirect_stdout(printed):
        try:
            exec(compile(source, "loop.py", "exec"), {"__name__": "__main__"})
        except Exception as raised:
            error = raised
    return error, printed.getvalue()


@functools.cache
def audited(source):
    """The report of a loop, the exception that ends it, and what it prints."""
    with torch_rnn.audit() as report:
        ended = run(source)
    return report, *ended
