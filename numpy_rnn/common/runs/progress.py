"""A progress bar on a terminal, for runs longer than two seconds; nothing in a pipe."""

import os
import sys
import time
from contextlib import contextmanager, nullcontext
from importlib.util import find_spec

import numpy as np

DELAY = 2.0  # seconds before it is shown
WIDTH = 100  # columns, below which the rate of the updates is left out, for the loss to have room,
NARROW = 70  # and below which their number and the time so far are too
REFRESH = 0.1  # seconds between two looks at the loss


class Progress:
    """A bar over the updates of a run, with the loss and the time that is left. On standard error, by tqdm.

    Without a terminal, or not `wanted`, there is none; without tqdm a line says why there is none, once it would have
    been shown.
    """

    def __init__(self, name: str, updates: int, done: int = 0, wanted: bool = True):
        self.name, self.seen, self.next_look = name, 0, time.monotonic() + DELAY
        self.shown = False
        self.on = wanted and sys.stderr is not None and sys.stderr.isatty() and updates > done
        self.bar = None
        if self.on and find_spec("tqdm") is not None:
            from tqdm import tqdm

            self.bar = tqdm(
                total=updates,
                initial=done,
                delay=DELAY,
                desc=name,
                unit=" updates",
                **_width(),
                leave=False,
                file=sys.stderr,
            )

    def update(self, epoch: int, loss, made: int = 1) -> None:
        """So many more updates have been made, the latest with this loss (of an ensemble, its median is shown)."""
        self.seen += made
        if not self.on or time.monotonic() < self.next_look:
            return
        self.next_look = time.monotonic() + REFRESH
        if self.bar is None:
            self.on = False
            print(f"{self.name}: no progress bar, as tqdm is not installed", file=sys.stderr)
            return
        finite = np.asarray(loss)[np.isfinite(loss)]
        self.bar.set_postfix(epoch=epoch, loss=f"{np.median(finite):.3g}" if finite.size else "nan", refresh=False)
        self.bar.update(self.seen)
        self.seen, self.shown = 0, True

    def aside(self):
        """A context in which something else is printed: the bar is out of the way."""
        return self.bar.external_write_mode(file=sys.stdout) if self.bar is not None and self.shown else nullcontext()

    def close(self) -> None:
        """Take it away."""
        if self.bar is not None:
            self.bar.close()


def _width():
    """As wide as the terminal; as WIDTH on one that does not know, where tqdm would draw nothing at all."""
    try:
        columns = os.get_terminal_size(sys.stderr.fileno()).columns
    except (AttributeError, OSError, ValueError):  # what stands for standard error has no descriptor
        columns = 0
    if columns == 0:
        return {"ncols": WIDTH}
    if columns >= WIDTH:
        return {"dynamic_ncols": True}
    number, elapsed = ("", "") if columns < NARROW else (" {n_fmt}/{total_fmt}", "{elapsed}<")
    form = f"{{desc}}: {{percentage:3.0f}}%|{{bar}}|{number} [{elapsed}{{remaining}}{{postfix}}]"
    return {"dynamic_ncols": True, "bar_format": form}


@contextmanager
def progress(name: str, updates: int, done: int = 0, wanted: bool = True):
    """A Progress that is taken away at the end, also when the run is broken off."""
    shown = Progress(name, updates, done, wanted)
    try:
        yield shown
    finally:
        shown.close()
