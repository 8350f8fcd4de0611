"""The console scripts numpy-rnn, which is also `python -m numpy_rnn`, and torch-rnn."""

import importlib
import sys

import numpy_rnn
from numpy_rnn.app import command_line
from numpy_rnn.common.commands import backend, failed
from numpy_rnn.common.errors import InputError


def main(arguments: list[str] | None = None) -> int:
    """Run the command line of numpy_rnn. Returns the exit status."""
    return command_line.run_main(numpy_rnn, arguments)


def torch_main() -> int:
    """Run the command line of torch_rnn, which cannot be imported if torch is not
    installed.
    """
    try:
        backend("torch_rnn")
    except InputError as error:
        return failed("torch_rnn", 2, str(error))
    return importlib.import_module("torch_rnn.__main__").main()


if __name__ == "__main__":
    sys.exit(main())
