"""A progress bar with an estimate of what is left, on a terminal; nothing in a pipe."""

import sys
from contextlib import contextmanager
from importlib.util import find_spec


@contextmanager
def progress():
    """A function (done, total, name) that shows how far it is. On standard error, by tqdm if it is installed."""
    if not sys.stderr.isatty() or find_spec("tqdm") is None:
        yield lambda done, total, name: None
        return
    from tqdm import tqdm

    bar = tqdm(unit=" pieces", dynamic_ncols=True, leave=False, file=sys.stderr)

    def advance(done, total, name):
        bar.total = total
        bar.set_postfix_str(name, refresh=False)
        bar.update(done - bar.n)

    try:
        yield advance
    finally:
        bar.close()
