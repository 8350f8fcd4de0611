"""python -m torch_rnn"""

import sys

import torch_rnn
from numpy_rnn.app import command_line

# The commands besides `train`, as module:function; imported only if they are used.
COMMANDS = {"compare": "numpy_rnn.app.compare:run"}


def main(arguments: list[str] | None = None) -> int:
    """Run the command line of torch_rnn. Returns the exit status."""
    return command_line.main(torch_rnn, arguments, COMMANDS)


if __name__ == "__main__":
    sys.exit(main())
