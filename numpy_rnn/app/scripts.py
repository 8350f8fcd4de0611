"""The console scripts numpy-rnn and torch-rnn, which run the command lines of the two packages."""

import sys

from numpy_rnn.app.command_line import main
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.packages import backend


def numpy_rnn() -> int:
    """The same as `python -m numpy_rnn`."""
    return _run("numpy_rnn")


def torch_rnn() -> int:
    """The same as `python -m torch_rnn`."""
    return _run("torch_rnn")


def _run(name):
    try:
        package = backend(name)
    except InputError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 2
    return main(package)
