"""python -m numpy_rnn, and the console scripts numpy-rnn and torch-rnn."""

import importlib
import sys

import numpy_rnn
from numpy_rnn.app import command_line
from numpy_rnn.common.errors import InputError, failed
from numpy_rnn.common.packages import backend

# The commands besides `train`, as module:function; imported only if they are used.
COMMANDS = {
    "compare": "numpy_rnn.app.compare:run",
    "study": "numpy_rnn.study.study:run",  # it is about the gradient derived by hand
}


def main(arguments: list[str] | None = None) -> int:
    """Run the command line of numpy_rnn. Returns the exit status."""
    return command_line.main(numpy_rnn, arguments, COMMANDS)


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
