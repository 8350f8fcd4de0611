"""The training loops of loops.txt, and one way to audit each of them in this process."""

import contextlib
import functools
import io
import re
import sys
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import torch
from torch.nn.modules.module import register_module_forward_hook
from torch.nn.modules.rnn import RNNBase, RNNCellBase
from torch.nn.utils.rnn import PackedSequence
from torch.optim.optimizer import register_optimizer_step_post_hook

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
    """A training loop, the kind of its warning or "right", and the lines of its report that are not `Counted`."""

    name: str
    kind: str
    lines: list[str]
    source: str


def _loops():
    text = (Path(__file__).parent / "loops.txt").read_text(encoding="utf-8")
    for section in re.split(r"^== ", text, flags=re.M)[1:]:
        heading, _, rest = section.partition("\n")
        lines, _, source = ("\n" + rest).partition("\n\n")
        yield Loop(*heading.split(": ", 1), re.split(r"\n| \| ", lines.strip()), PRELUDE + source)


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


class Counted:
    """What torch's own hooks count in a loop: passes by module, steps by optimizer."""

    def __init__(self):
        self.places, self.passes, self.steps = {}, {}, {}

    def __enter__(self):
        self.hooks = [
            register_module_forward_hook(self.forward),
            register_optimizer_step_post_hook(self.step),
        ]
        return self

    def __exit__(self, *_):
        for hook in self.hooks:
            hook.remove()

    def forward(self, module, inputs, output):
        if not isinstance(module, RNNBase | RNNCellBase):
            return
        frame, x, last = sys._getframe(), inputs[0], output
        while isinstance(last, tuple):
            last = last[-1]
        while frame.f_code.co_filename != "loop.py":
            if frame.f_code.co_filename.endswith("replay.py"):
                return
            frame = frame.f_back
        if isinstance(x, PackedSequence):
            sizes = len(x.batch_sizes), int(x.batch_sizes[0])
        else:
            sizes = (
                (*x.shape[:-1], 1)
                if x.dim() == 2 and isinstance(module, RNNBase)
                else (1, *x.shape)[-3:-1]
            )
            sizes = sizes[:: -1 if getattr(module, "batch_first", False) and x.dim() == 3 else 1]
        if not torch._C._functorch.is_functorch_wrapped_tensor(last):
            self.places.setdefault(module, f"loop.py:{frame.f_lineno}")
            self.passes.setdefault(module, Counter())[*sizes, last.requires_grad] += 1

    def step(self, optimizer, *_):
        rates = " and ".join(f"{group['lr']:.4g}" for group in optimizer.param_groups)
        self.steps.setdefault(optimizer, []).append(rates)

    def passes_of(self, module):
        """The two lines of a report about the passes of a module."""
        nonlinearity = f", {module.nonlinearity}" if hasattr(module, "nonlinearity") else ""
        shapes = sorted({shape[:2] for shape in self.passes[module] if shape[2]})
        shown = [f"{steps} x {batch}" for steps, batch in shapes[:8]] + ["..."] * (len(shapes) > 8)
        order = "batch, time" if getattr(module, "batch_first", False) else "time, batch"
        layout = "" if isinstance(module, RNNCellBase) else f" of input ({order}, feature)"
        numbers = [
            sum(n for shape, n in self.passes[module].items() if shape[2] == graph)
            for graph in (1, 0)
        ]
        without = f", {numbers[1]} without a graph" if numbers[1] else ""
        return [
            f"nn.{module!r}{nonlinearity}, first called at {self.places[module]}",
            f"forward passes: {numbers[0]} with a graph, steps x batch {', '.join(shown)}{layout}{without}",
        ]

    def steps_of(self, optimizer):
        """The lines about its updates, all of whose gradients and steps are right where they are replayed."""
        rates = self.steps[optimizer]
        n, shown = len(rates), " to ".join(dict.fromkeys((rates[0], rates[-1])))
        made = f"{n} update{'s' * (n > 1)} by {type(optimizer).__name__}, learning rate {shown}"
        due = sum(update <= n for update in (1, 2, 3, 17, 65, 257))
        replayed = [
            f"{name}: {due} replayed in float64, each agrees" for name in ("gradient", "step")
        ]
        return [f"{made}, backward passes per update: 1", *replayed, "clipping: none seen"]


def lines_of(report):
    """The lines of a report, without the names of modules and the sizes of errors, which are those of rounding."""
    facts, _, warnings = str(report).partition("\nwarning: ")
    text = facts + ("\nwarning: " + warnings.replace("\n  ", " ") if warnings else "")
    for error in re.findall("agrees to (.*?) of", text):
        assert 0 <= float(error) < 1e-5
    text = re.sub(" to [^ ]* of its size, as rounding explains", "", text)
    text = re.sub(r"by [\d.e-]+ (?=of (its|the) size)", "", text)
    lines = [re.sub(r"^[\w.]+: (?=nn\.)", "", line.strip()) for line in text.splitlines()]
    return lines + [
        f"updates: {', '.join(_in_short(net.updates))}" for net in report.networks if net.updates
    ]


def _in_short(updates):
    """How many updates have these new steps, steps with a loss, and windows.

    Of a window: its initial state, steps x batch and passes, the reach of its gradient, updates back and attached.
    """
    counts = Counter()
    for u in updates:
        words = [f"{u.new_steps} {u.loss_steps}"]
        for w in u.windows:
            back = f"-{w.back}" * bool(w.back) + "!" * w.attached
            words.append(f"{w.initial[:2]}{w.steps}x{w.batch}/{w.passes}>{w.reach}{back}")
        counts[" ".join(words)] += 1
    return [f"{n}: {words}" for words, n in counts.items()]
